/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the initramfs to a usable root, in as few steps as it takes: every one
 * of them is between the user and the first byte of output.
 *
 * The machine is known, so there is nothing to configure: vda is the root
 * image, read-only; vdb, where it exists, is an ext4 with the directories
 * "up" and "work" for what the guest writes, else that is a tmpfs. The
 * initramfs has the mount points /dev, /lower, /upper and /root.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define ROOT_DISK    "/dev/vda"
#define SCRATCH_DISK "/dev/vdb"

#define SUPERBLOCK_SIZE 2048

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

const char *boot_fs_type(const uint8_t *disk, size_t len)
{
	if (len < SUPERBLOCK_SIZE)
		return NULL;
	if (le32(disk + 1024) == 0xe0f5e1e2)
		return "erofs";
	if (le32(disk) == 0x73717368) /* "hsqs" */
		return "squashfs";
	/* s_magic; the ext4 driver mounts ext2 and ext3 as well */
	if (disk[1024 + 56] == 0x53 && disk[1024 + 57] == 0xef)
		return "ext4";
	return NULL;
}

static void mount_lower(void)
{
	uint8_t disk[SUPERBLOCK_SIZE];
	const char *type;
	ssize_t n;
	int fd;

	fd = open(ROOT_DISK, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("open " ROOT_DISK, errno);
	n = read(fd, disk, sizeof(disk));
	close(fd);
	type = n < 0 ? NULL : boot_fs_type(disk, (size_t)n);
	if (!type)
		die(ROOT_DISK " holds no ext4, erofs or squashfs", 0);
	if (!mount(ROOT_DISK, "/lower", type, MS_RDONLY | MS_NOATIME, NULL))
		return;
	/* An ext4 that was not unmounted wants its journal replayed, which a
	 * read-only disk refuses: Documentation/filesystems/ext4. */
	if (strcmp(type, "ext4") || mount(ROOT_DISK, "/lower", type,
					  MS_RDONLY | MS_NOATIME, "noload"))
		die("mount " ROOT_DISK, errno);
}

static void mount_upper(void)
{
	if (!mount(SCRATCH_DISK, "/upper", "ext4", MS_NOATIME, NULL))
		return;
	if (errno != ENOENT && errno != ENXIO)
		die("mount " SCRATCH_DISK, errno);
	if (mount("tmpfs", "/upper", "tmpfs", MS_NOATIME, NULL))
		die("mount tmpfs", errno);
	if (mkdir("/upper/up", 0755) || mkdir("/upper/work", 0755))
		die("mkdir /upper", errno);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* A kernel without this knob is good enough. */
	if (write(fd, text, strlen(text)) < 0)
		(void)0;
	close(fd);
}

/* Mount at @dir below the new root; an image need not have the directory. */
static void mount_at(const char *dir, const char *source, const char *type,
		     unsigned long flags, const char *data)
{
	if (!mount(source, dir, type, flags, data))
		return;
	if (errno == ENOENT && !mkdir(dir, 0755) &&
	    !mount(source, dir, type, flags, data))
		return;
	die(dir, errno);
}

static void mount_api(void)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	mount_at("dev", "/dev", NULL, MS_MOVE, NULL);
	mount_at("dev/pts", "devpts", "devpts", MS_NOSUID | MS_NOEXEC,
		 "mode=620,gid=5,ptmxmode=666");
	mount_at("dev/shm", "tmpfs", "tmpfs", MS_NOSUID | MS_NODEV,
		 "mode=1777");
	mount_at("proc", "proc", "proc", safe, NULL);
	mount_at("sys", "sysfs", "sysfs", safe, NULL);
	mount_at("sys/fs/cgroup", "cgroup2", "cgroup2", safe, NULL);
	mount_at("tmp", "tmpfs", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
}

/* Names that programs expect and devtmpfs does not make. */
static void link_fds(void)
{
	if (symlink("/proc/self/fd", "dev/fd") ||
	    symlink("fd/0", "dev/stdin") || symlink("fd/1", "dev/stdout") ||
	    symlink("fd/2", "dev/stderr"))
		die("symlink /dev/fd", errno);
}

static void enter_root(void)
{
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("enter the new root", errno);
}

/* The kernel gives lo its addresses when it comes up. */
static void raise_lo(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("lo", errno);
	close(fd);
}

int boot(void)
{
	int upper;

	if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL))
		die("mount /dev", errno);
	mount_lower();
	mount_upper();
	upper = open("/upper", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (upper < 0)
		die("open /upper", errno);
	if (mount("overlay", "/root", "overlay", MS_NOATIME,
		  "lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work") ||
	    chdir("/root"))
		die("mount overlay", errno);
	mount_api();
	link_fds();
	enter_root();
	raise_lo();
	if (sethostname(AGENT_HOSTNAME, strlen(AGENT_HOSTNAME)))
		die("sethostname", errno);
	/* The heuristic refuses one big mapping in a small guest, where the
	 * memory would never be touched. */
	write_file("/proc/sys/vm/overcommit_memory", "1");
	write_file(AGENT_CGROUPS "/cgroup.subtree_control", "+memory +pids");
	return upper;
}

static int vsock(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("no vsock", errno);
	return fd;
}

int host_listen(void)
{
	struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = WIRE_PORT,
	};
	int fd = vsock();

	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    listen(fd, WIRE_SESSIONS_MAX))
		die("listen", errno);
	return fd;
}

int host_dial(void)
{
	struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = WIRE_PORT,
	};
	/* Linux gives up after 2 s, which a busy host may need; how long a boot
	 * may take is the launcher's to say. */
	const struct timeval patience = { .tv_sec = 3600 };
	int fd = vsock();

	if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
		       sizeof(patience)))
		die("vsock", errno);
	if (connect(fd, (struct sockaddr *)&host, sizeof(host)))
		die("cannot connect to host", errno);
	return fd;
}
