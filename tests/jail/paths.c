/* SPDX-License-Identifier: Apache-2.0 */
/* Out by a path: files, programs, sockets, mounts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/jail/probe.h"

static const char *below(const struct world *w, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	return path;
}

static int read_a_file(const struct world *w)
{
	return open(below(w, "secret"), O_RDONLY) >= 0;
}

static int make_a_file(const struct world *w)
{
	return open(below(w, "made"), O_WRONLY | O_CREAT, 0600) >= 0;
}

/* The root's directory has more in it than itself and its parent. */
static int list_the_root(const struct world *w)
{
	char entries[1024];
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	(void)w;
	return fd >= 0 && syscall(SYS_getdents64, fd, entries,
				  sizeof(entries)) > 2 * 24;
}

static int write_to_the_root(const struct world *w)
{
	static const char path[] = "/.mayfly-probe";
	int reached = mkdir(path, 0700) == 0;

	(void)w;
	if (reached)
		rmdir(path);
	return reached;
}

static int open_proc(const struct world *w)
{
	(void)w;
	return open("/proc/self/status", O_RDONLY) >= 0;
}

static int open_a_device(const struct world *w)
{
	(void)w;
	return open("/dev/null", O_RDONLY) >= 0;
}

static int make_a_device(const struct world *w)
{
	return mknod(below(w, "device"), S_IFCHR | 0600, makedev(1, 3)) == 0;
}

/* A program that is started says so by its exit code: main() of probe.c. */
static int execute_a_program(const struct world *w)
{
	char name[] = "program", what[] = "reached";
	char *argv[] = { name, what, NULL };

	execv(below(w, "program"), argv);
	return HELD;
}

static int connect_to_a_path(const struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%.90s/socket", w->dir);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* Where there is a place for it, else over the root, which nobody leaves. */
static int mounts(const struct world *w, const char *type)
{
	if (mount("probe", w->dir, type, 0, NULL) == 0) {
		umount2(w->dir, MNT_DETACH);
		return REACHED;
	}
	return errno == ENOENT && mount("probe", "/", type, 0, NULL) == 0;
}

static int mount_something(const struct world *w)
{
	return mounts(w, "tmpfs");
}

static int mount_proc(const struct world *w)
{
	return mounts(w, "proc");
}

static int make_the_root_writable(const struct world *w)
{
	(void)w;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0;
}

static int begin_a_file_system(const struct world *w)
{
	(void)w;
	return syscall(SYS_fsopen, "tmpfs", 0) >= 0;
}

static int change_the_root(const struct world *w)
{
	(void)w;
	return chroot("/") == 0;
}

static int make_a_user_namespace(const struct world *w)
{
	(void)w;
	return unshare(CLONE_NEWUSER) == 0;
}

/* All privileges, but over what? */
static int mount_in_a_user_namespace(const struct world *w)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && mounts(w, "tmpfs");
}

static int follow_a_mount_handle(const struct world *w)
{
	struct {
		struct file_handle h;
		unsigned char data[128];
	} f = { .h = { .handle_bytes = w->handle.bytes,
		       .handle_type = w->handle.type } };

	if (!w->handle.bytes)
		return ABSENT;
	memcpy(f.h.f_handle, w->handle.data, w->handle.bytes);
	/* The disk is on the same file system. */
	return open_by_handle_at(given[GIVEN_KERNEL], &f.h, O_RDONLY) >= 0;
}

#define PATHS (ROOT | LANDLOCK | SECCOMP)
#define MOUNTS (CAPS | UID | LANDLOCK | SECCOMP)
const struct probe probe_paths[] = {
	{ "read a file", PATHS, .reach = read_a_file },
	{ "make a file", PATHS, .reach = make_a_file },
	{ "list the root", PATHS, .reach = list_the_root },
	{ "write to the root", PATHS, .flags = FOR_ROOT,
	  .reach = write_to_the_root },
	{ "open something of /proc", PATHS, .reach = open_proc },
	{ "open a device", PATHS, .reach = open_a_device },
	{ "make a device", PATHS | CAPS | UID, .flags = FOR_ROOT,
	  .reach = make_a_device },
	{ "execute a program", PATHS, .reach = execute_a_program },
	{ "connect to a socket's path", ROOT | SECCOMP,
	  .reach = connect_to_a_path },
	{ "mount something", MOUNTS, .flags = FOR_ROOT,
	  .reach = mount_something },
	{ "mount /proc", MOUNTS, .flags = FOR_ROOT, .reach = mount_proc },
	{ "make the root writable", MOUNTS, .flags = FOR_ROOT,
	  .reach = make_the_root_writable },
	{ "begin a file system", CAPS | UID | SECCOMP, .flags = FOR_ROOT,
	  .reach = begin_a_file_system },
	{ "change the root", CAPS | UID | SECCOMP, .flags = FOR_ROOT,
	  .reach = change_the_root },
	{ "make a user namespace", SECCOMP, .flags = MAY_LACK,
	  .reach = make_a_user_namespace },
	{ "mount in a user namespace", LANDLOCK | SECCOMP, .flags = MAY_LACK,
	  .reach = mount_in_a_user_namespace },
	{ "open a file by its handle", MOUNTS, .flags = FOR_ROOT | MAY_LACK,
	  .reach = follow_a_mount_handle },
	{ .name = NULL },
};
