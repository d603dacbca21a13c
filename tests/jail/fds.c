/* SPDX-License-Identifier: Apache-2.0 */
/* Out by a descriptor: what leads on from one that is open. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/jail/probe.h"

#define SIOCUNIXFILE_ 0x89e0 /* linux/un.h; the libc's has no such thing */
#define SO_PEERPIDFD_ 77     /* asm-generic/socket.h, since Linux 6.5 */

/* One for each descriptor that is open; stops at the first that leads out. */
static int any_fd(int (*leads)(int fd, const struct world *w),
		  const struct world *w)
{
	for (int fd = 0; fd < FDS_MAX; fd++) {
		int r = fcntl(fd, F_GETFD) < 0 ? HELD : leads(fd, w);

		if (r != HELD)
			return r;
	}
	return HELD;
}

static int opens(int fd, const struct world *w)
{
	(void)w;
	return openat(fd, "secret", O_RDONLY) >= 0 ||
	       openat(fd, ".", O_RDONLY | O_DIRECTORY) >= 0;
}

static int open_below(const struct world *w)
{
	return any_fd(opens, w);
}

/* Every call that takes a directory, from here to the file or back. */
static int leads_somewhere(int fd, const struct world *w)
{
	struct {
		struct file_handle h;
		unsigned char data[128];
	} f = { .h = { .handle_bytes = sizeof(f.data) } };
	struct timespec now[2] = { { .tv_nsec = UTIME_NOW },
				   { .tv_nsec = UTIME_NOW } };
	struct stat st;
	struct statx stx;
	char buf[64], *none[] = { NULL };
	int mount, k = GIVEN_KERNEL;

	(void)w;
	return openat(fd, "..", O_PATH) >= 0 ||
	       fstatat(fd, "secret", &st, 0) == 0 ||
	       statx(fd, "secret", 0, STATX_BASIC_STATS, &stx) == 0 ||
	       faccessat(fd, "secret", R_OK, 0) == 0 ||
	       readlinkat(fd, "link", buf, sizeof(buf)) >= 0 ||
	       name_to_handle_at(fd, "secret", &f.h, &mount, 0) == 0 ||
	       mkdirat(fd, "made-dir", 0700) == 0 ||
	       mknodat(fd, "made-fifo", S_IFIFO | 0600, 0) == 0 ||
	       symlinkat("/", fd, "made-link") == 0 ||
	       linkat(fd, "secret", fd, "made-name", 0) == 0 ||
	       linkat(given[k], "", fd, "made-name2", AT_EMPTY_PATH) == 0 ||
	       renameat2(fd, "made-dir", fd, "made-dir2", 0) == 0 ||
	       unlinkat(fd, "made-dir", AT_REMOVEDIR) == 0 ||
	       fchmodat(fd, "secret", 0644, 0) == 0 ||
	       fchownat(fd, "secret", geteuid(), (gid_t)-1, 0) == 0 ||
	       utimensat(fd, "secret", now, 0) == 0 ||
	       syscall(SYS_open_tree, fd, "secret", 0) >= 0 ||
	       syscall(SYS_execveat, fd, "program", none, none, 0) == 0;
}

static int name_below(const struct world *w)
{
	return any_fd(leads_somewhere, w);
}

static int enters(int fd, const struct world *w)
{
	(void)w;
	return fchdir(fd) == 0;
}

static int enter_a_directory(const struct world *w)
{
	return any_fd(enters, w);
}

static int connects(int fd, const struct world *w)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(w->port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static int connect_a_descriptor(const struct world *w)
{
	return any_fd(connects, w);
}

/* Those that jail.h promises, those of the boot message; by their type. */
static mode_t expected(int fd, const struct world *w)
{
	mode_t type[FDS_MAX] = { S_IFCHR, S_IFCHR, S_IFCHR, S_IFSOCK };
	static const mode_t of[GIVEN] = {
		[GIVEN_KERNEL] = S_IFREG,   [GIVEN_PROGRAM] = S_IFREG,
		[GIVEN_SETUID] = S_IFREG,   [GIVEN_DISK] = S_IFREG,
		[GIVEN_CONSOLE] = S_IFIFO,  [GIVEN_LISTENER] = S_IFSOCK,
		[GIVEN_STREAM] = S_IFSOCK,  [GIVEN_TERMINAL] = S_IFCHR,
		[GIVEN_KVM] = S_IFCHR,
	};

	(void)w;
	for (int i = 0; i < GIVEN; i++)
		if (given[i] >= 0)
			type[given[i]] = of[i];
	return type[fd];
}

static int is_surprise(int fd, const struct world *w)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return BROKEN;
	if ((st.st_mode & S_IFMT) != expected(fd, w))
		return REACHED;
	return fd < CONTROL_FD && st.st_rdev != makedev(1, 3);
}

static int have_another_descriptor(const struct world *w)
{
	struct stat st;

	for (int fd = 0; fd < FDS_MAX; fd++) {
		int open = fstat(fd, &st) == 0;
		int r = open ? is_surprise(fd, w) : expected(fd, w) != 0;

		if (r)
			return r;
	}
	return HELD;
}

static int execute_a_descriptor(const struct world *w)
{
	char name[] = "program", what[] = "reached";
	char *argv[] = { name, what, NULL }, *none[] = { NULL };

	(void)w;
	syscall(SYS_execveat, given[GIVEN_PROGRAM], "", argv, none,
		AT_EMPTY_PATH);
	return HELD;
}

static int gain_by_set_user_id(const struct world *w)
{
	char name[] = "program", what[] = "capable";
	char *argv[] = { name, what, NULL }, *none[] = { NULL };

	(void)w;
	if (given[GIVEN_SETUID] < 0)
		return ABSENT;
	syscall(SYS_execveat, given[GIVEN_SETUID], "", argv, none,
		AT_EMPTY_PATH);
	return HELD;
}

static int name_a_descriptor(const struct world *w)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/named", w->dir);
	return linkat(given[GIVEN_KERNEL], "", AT_FDCWD, path,
		      AT_EMPTY_PATH) == 0;
}

/* The kernel's image was opened to be read. */
static int reopen_for_writing(const struct world *w)
{
	char path[64];

	(void)w;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", given[GIVEN_KERNEL]);
	return open(path, O_RDWR) >= 0;
}

static int change_the_mode(const struct world *w)
{
	(void)w;
	return fchmod(given[GIVEN_KERNEL], 0644) == 0;
}

/* unix(7) has no word of it: a descriptor of the path that it is bound to. */
static int open_a_socket_s_path(const struct world *w)
{
	(void)w;
	return ioctl(given[GIVEN_LISTENER], SIOCUNIXFILE_, 0) >= 0;
}

/* Whoever made the control socket. */
static int peer(void)
{
	int fd = -1;
	socklen_t n = sizeof(fd);

	if (getsockopt(CONTROL_FD, SOL_SOCKET, SO_PEERPIDFD_, &fd, &n) < 0)
		return -1;
	return fd;
}

static int signal_the_launcher(const struct world *w)
{
	int fd = peer();

	(void)w;
	return fd < 0 ? ABSENT : pidfd_send_signal(fd, 0, NULL, 0) == 0;
}

static int take_a_descriptor_of_the_launcher(const struct world *w)
{
	int fd = peer();

	(void)w;
	return fd < 0 ? ABSENT : pidfd_getfd(fd, 0, 0) >= 0;
}

static int enter_the_launcher_s_namespaces(const struct world *w)
{
	int fd = peer();

	(void)w;
	return fd < 0 ? ABSENT : setns(fd, CLONE_NEWNS) == 0;
}

/* Words for a shell that reads there once we are gone. tty_ioctl(4) */
static int type_at_a_terminal(const struct world *w)
{
	int fd = given[GIVEN_TERMINAL];

	(void)w;
	setsid();
	ioctl(fd, TIOCSCTTY, 0); /* not by force: others come after us */
	return ioctl(fd, TIOCSTI, "x") == 0;
}

#define LEAK (STEPS | SECCOMP)
const struct probe probe_fds[] = {
	{ "open a file below a descriptor", LEAK | LANDLOCK,
	  .reach = open_below },
	{ "name a file below a descriptor", LEAK, .reach = name_below },
	{ "enter a directory by descriptor", LEAK,
	  .reach = enter_a_directory },
	{ "connect a descriptor to the host", LEAK | LANDLOCK, .landlock = 4,
	  .reach = connect_a_descriptor },
	{ "have another descriptor", STEPS,
	  .reach = have_another_descriptor },
	{ "execute a descriptor", LANDLOCK | SECCOMP,
	  .reach = execute_a_descriptor },
	{ "gain by a set-user-ID program",
	  NSPACE | CAPS | NNP | LANDLOCK | SECCOMP, .base = UID,
	  .flags = FOR_ROOT | MAY_LACK, .reach = gain_by_set_user_id },
	{ "give a descriptor a name", ROOT | LANDLOCK | SECCOMP,
	  .flags = FOR_ROOT, .reach = name_a_descriptor },
	{ "reopen a file for writing", ROOT | UID | LANDLOCK | SECCOMP,
	  .reach = reopen_for_writing },
	{ "change the mode of a file", UID | SECCOMP,
	  .reach = change_the_mode },
	{ "open a socket's path", CAPS | UID | SECCOMP,
	  .flags = FOR_ROOT | MAY_LACK, .reach = open_a_socket_s_path },
	{ "type at a terminal", CAPS | UID | SECCOMP, .flags = FOR_ROOT,
	  .reach = type_at_a_terminal },
	{ "signal the launcher", NSPACE | UID | LANDLOCK | SECCOMP,
	  .flags = MAY_LACK, .landlock = 6, .reach = signal_the_launcher },
	{ "take a descriptor of the launcher's",
	  UID | LANDLOCK | SECCOMP, .flags = MAY_LACK,
	  .reach = take_a_descriptor_of_the_launcher },
	{ "enter the launcher's namespaces", CAPS | UID | SECCOMP,
	  .flags = FOR_ROOT | MAY_LACK,
	  .reach = enter_the_launcher_s_namespaces },
	{ .name = NULL },
};
