/* SPDX-License-Identifier: Apache-2.0 */
/* What root can do to the guest's kernel, and by it to the devices. */
#include "tests/system/liar/liar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

static int ask_reboot(const uint64_t *arg)
{
	reboot((int)arg[0]);
	give_up("reboot");
}

static int press_sysrq(const uint64_t *arg)
{
	const char key[] = { (char)arg[0], '\0' };

	put("/proc/sys/kernel/sysrq", "1");
	if (put("/proc/sysrq-trigger", key))
		give_up("sysrq");
	stay();
}

/* Another kernel: the guest's own has no such call. */
static int ask_kexec(const uint64_t *arg)
{
	(void)arg;
	if (!syscall(SYS_kexec_load, 0, 0, NULL, 0) || errno != ENOSYS ||
	    !syscall(SYS_kexec_file_load, -1, -1, 0, NULL, 0) ||
	    errno != ENOSYS)
		give_up("kexec");
	return LIAR_SAYS;
}

/* Connect to CID 2 at @port; a non-blocking socket if it is not to wait. */
static int dial(unsigned port, int flags)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_HOST,
				 .svm_port = port };
	struct timeval limit = { .tv_sec = 5 };
	int fd = socket(AF_VSOCK, SOCK_STREAM | flags, 0);

	if (fd < 0)
		give_up("vsock");
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
		   sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The port of the agent's connection, and ports that nobody listens at. */
static int dial_the_host(const uint64_t *arg)
{
	static const unsigned port[] = { 1024, 0,     1,     2,	    22,
					 80,   1023,  1025,  1026,  2375,
					 5000, 65535, 65536, 1u << 31 };
	int refused = 0, taken = 0;

	(void)arg;
	for (size_t i = 0; i < sizeof(port) / sizeof(*port); i++) {
		if (dial(port[i], 0) < 0)
			refused++;
		else
			taken++;
	}
	printf("%d refused, %d taken\n", refused, taken);
	return LIAR_SAYS;
}

/* Many at a time, none of them waited for. */
static int dial_without_end(const uint64_t *arg)
{
	int fd[512];

	for (uint64_t i = 0; i < arg[0]; i++) {
		for (size_t k = 0; k < sizeof(fd) / sizeof(*fd); k++)
			fd[k] = dial(1024 + (unsigned)k % 7, SOCK_NONBLOCK);
		for (size_t k = 0; k < sizeof(fd) / sizeof(*fd); k++)
			if (fd[k] >= 0)
				close(fd[k]);
	}
	return LIAR_SAYS;
}

/* Out of the command's cgroup, which goes, with all that it counted. */
static int leave_the_cgroup(const uint64_t *arg)
{
	(void)arg;
	put(CGROUPS "/command/memory.max", "max");
	put(CGROUPS "/command/pids.max", "max");
	if (put(CGROUPS "/cgroup.procs", "0"))
		give_up("cgroup.procs");
	if (rmdir(CGROUPS "/command"))
		give_up("rmdir command");
	put(CGROUPS "/cgroup.subtree_control", "-memory -pids");
	return LIAR_SAYS;
}

/* All the memory there is, and none of it where it is counted. */
static int eat_memory(const uint64_t *arg)
{
	const size_t step = 1u << 20;
	void *p;

	(void)arg;
	put(CGROUPS "/cgroup.procs", "0");
	put("/proc/self/oom_score_adj", "-1000");
	while ((p = mmap(NULL, step, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
		memset(p, 0xaa, step);
	give_up("mmap");
}

static void unbind_all(const char *bus, const char *driver)
{
	char path[512];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/bus/%s/drivers/%s", bus, driver);
	d = opendir(path);
	if (!d)
		give_up(path);
	while ((e = readdir(d))) {
		if (e->d_type != DT_LNK || !strcmp(e->d_name, "module"))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/%s/drivers/%s/unbind",
			 bus, driver);
		if (put(path, e->d_name))
			give_up(path);
	}
	closedir(d);
}

/* The drivers let go of their devices, and some take them again. */
static int unbind(const uint64_t *arg)
{
	static const struct {
		const char *bus, *driver;
	} all[] = {
		{ "virtio", "virtio_rng" },
		{ "virtio", "virtio_blk" },
		{ "virtio", "vmw_vsock_virtio_transport" },
		{ "platform", "virtio-mmio" },
		{ "platform", "vmgenid" },
	};

	unbind_all(all[arg[0] % 5].bus, all[arg[0] % 5].driver);
	return LIAR_SAYS;
}

static int write_forever(const char *path)
{
	static char line[900];
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		give_up(path);
	memset(line, 'x', sizeof(line) - 1);
	line[0] = '<'; /* to the log: of the highest level, so it is shown */
	line[1] = '0';
	line[2] = '>';
	line[sizeof(line) - 1] = '\n';
	say("held\n");
	for (;;)
		if (write(fd, line, sizeof(line)) < 0 && errno != EAGAIN)
			give_up(path);
}

static int flood_the_log(const uint64_t *arg)
{
	(void)arg;
	put("/proc/sys/kernel/printk_devkmsg", "on");
	put("/proc/sys/kernel/printk", "8 8 8 8");
	return write_forever("/dev/kmsg");
}

static int flood_the_console(const uint64_t *arg)
{
	(void)arg;
	return write_forever("/dev/ttyS0");
}

/* Words as a dying kernel has them, for a terminal to obey. */
static int false_panic(const uint64_t *arg)
{
	int fd = open("/dev/ttyS0", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	static const char words[] =
		"\nmayfly-agent: \033[2J\033]0;owned\007forged\x9b""1m\n"
		"Kernel panic - not syncing: \033[31mforged\033[0m\n"
		"hint: forged\n";

	(void)arg;
	if (fd < 0 || write(fd, words, sizeof(words) - 1) < 0)
		give_up("/dev/ttyS0");
	sleep(1); /* the bytes leave one by one */
	reboot(RB_AUTOBOOT);
	give_up("reboot");
}

/* To these seconds and back to as early as it goes, where it stays for 0. */
static int set_the_clock(const uint64_t *arg)
{
	struct timespec far = { .tv_sec = (time_t)arg[0] }, early;

	/* The kernel refuses a time before its own start. */
	clock_gettime(CLOCK_MONOTONIC, &early);
	early.tv_sec += 5;
	if (clock_settime(CLOCK_REALTIME, &early) ||
	    (far.tv_sec && clock_settime(CLOCK_REALTIME, &far)))
		give_up("clock_settime");
	say("held\n");
	for (;;)
		;
}

/* Over all that the agent could need of the file system. */
static int cover_all(const uint64_t *arg)
{
	static const char *const places[] = { "/proc", "/sys", "/dev", "/etc",
					      "/tmp", "/sbin", "/bin" };

	(void)arg;
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		umount2(places[i], MNT_DETACH); /* /bin is no mount */
		if (mount("none", places[i], "tmpfs", 0, NULL))
			give_up(places[i]);
	}
	return LIAR_SAYS;
}

const struct lie machine_lies[] = {
	{ "reboot", ask_reboot },
	{ "sysrq", press_sysrq },
	{ "kexec", ask_kexec },
	{ "dial", dial_the_host },
	{ "dial-without-end", dial_without_end },
	{ "leave-cgroup", leave_the_cgroup },
	{ "eat-memory", eat_memory },
	{ "unbind", unbind },
	{ "flood-log", flood_the_log },
	{ "flood-console", flood_the_console },
	{ "false-panic", false_panic },
	{ "clock", set_the_clock },
	{ "cover", cover_all },
	{ 0 },
};
