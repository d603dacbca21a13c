/* SPDX-License-Identifier: Apache-2.0 */
/* A host with something to reach in it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/jail/outside.h"

#define DISK_SIZE (64u << 20) /* larger than ENGINE_FILE_MAX: the limit on files */

_Noreturn void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("jail-run: ", stderr);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(errno));
	va_end(ap);
	exit(2);
}

static int need(int fd, const char *what)
{
	if (fd < 0)
		die("%s", what);
	return fd;
}

/* --- files -------------------------------------------------------------- */

static int make_file(struct outside *o, const char *name, mode_t mode)
{
	int fd = need(openat(o->dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC,
			     mode), name);

	if (write(fd, "secret", 6) != 6 || fchmod(fd, mode) < 0)
		die("%s", name);
	return fd;
}

/* For reading, as the launcher opens what it gives. */
static int reopen(struct outside *o, const char *name)
{
	return need(openat(o->dirfd, name, O_RDONLY | O_CLOEXEC), name);
}

static int copy_program(struct outside *o, const char *name, mode_t mode)
{
	_cleanup_fd_ int to = make_file(o, name, 0700);
	struct stat st;
	off_t at = 0;

	if (fstat(o->program_fd, &st) < 0 || ftruncate(to, 0) < 0 ||
	    lseek(to, 0, SEEK_SET) < 0)
		die("%s", name);
	while (at < st.st_size)
		if (sendfile(to, o->program_fd, &at,
			     (size_t)(st.st_size - at)) <= 0)
			die("%s", name);
	if (fchmod(to, mode) < 0)
		die("%s", name);
	return reopen(o, name);
}

static void make_files(struct outside *o)
{
	struct {
		struct file_handle h;
		unsigned char data[sizeof(o->world.handle.data)];
	} f = { .h = { .handle_bytes = sizeof(f.data) } };
	int mount;

	snprintf(o->world.dir, sizeof(o->world.dir), "%s/mayfly-jail.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(o->world.dir) || chmod(o->world.dir, 0777) < 0)
		die("%s", o->world.dir);
	o->dirfd = need(open(o->world.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			o->world.dir);
	close(make_file(o, "secret", 0644));
	if (symlinkat("secret", o->dirfd, "link") < 0)
		die("link");
	close(make_file(o, "kernel", 0644));
	o->give[GIVEN_KERNEL] = reopen(o, "kernel");
	o->give[GIVEN_PROGRAM] = copy_program(o, "program", 0755);
	o->give[GIVEN_SETUID] = -1;
	if (geteuid() == 0)
		o->give[GIVEN_SETUID] = copy_program(o, "set-uid", 04755);
	o->give[GIVEN_DISK] = make_file(o, "disk", 0600);
	if (ftruncate(o->give[GIVEN_DISK], DISK_SIZE) < 0)
		die("disk");
	o->world.file_size = DISK_SIZE;
	if (name_to_handle_at(o->dirfd, "secret", &f.h, &mount, 0) == 0) {
		o->world.handle.bytes = f.h.handle_bytes;
		o->world.handle.type = f.h.handle_type;
		memcpy(o->world.handle.data, f.h.f_handle, f.h.handle_bytes);
	}
}

/* --- sockets ------------------------------------------------------------ */

static int listen_unix(const char *path, size_t len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = need(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

	memcpy(a.sun_path, path, len);
	if (bind(fd, (struct sockaddr *)&a,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		die("bind");
	if (listen(fd, 64) < 0)
		die("listen");
	return fd;
}

static void make_sockets(struct outside *o)
{
	char name[sizeof(o->world.abstract) + 1] = "";
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	char path[128];
	int tcp, udp, pair[2];

	snprintf(path, sizeof(path), "%s/socket", o->world.dir);
	o->give[GIVEN_LISTENER] = listen_unix(path, strlen(path) + 1);
	chmod(path, 0777);
	snprintf(o->world.abstract, sizeof(o->world.abstract), "mayfly-jail-%d",
		 getpid());
	memcpy(name + 1, o->world.abstract, strlen(o->world.abstract));
	listen_unix(name, 1 + strlen(o->world.abstract));
	tcp = need(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "TCP");
	if (bind(tcp, (struct sockaddr *)&a, n) < 0 || listen(tcp, 64) < 0 ||
	    getsockname(tcp, (struct sockaddr *)&a, &n) < 0)
		die("listen on loopback");
	o->world.port = ntohs(a.sin_port);
	udp = need(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "UDP");
	if (bind(udp, (struct sockaddr *)&a, n) < 0)
		die("UDP port %u", o->world.port);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	o->give[GIVEN_STREAM] = pair[0];
	if (pipe2(pair, O_CLOEXEC) < 0)
		die("pipe");
	o->give[GIVEN_CONSOLE] = pair[1];
}

/* --- processes, and what they share ------------------------------------- */

/* The terminal of a session that somebody else has. */
static void make_terminal(struct outside *o)
{
	int master = need(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "pty");
	const char *name;

	if (grantpt(master) < 0 || unlockpt(master) < 0 ||
	    !(name = ptsname(master)))
		die("pty");
	o->user_of_terminal = fork();
	if (o->user_of_terminal == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		need(open(name, O_RDWR), name);
		for (;;)
			pause();
	}
	o->give[GIVEN_TERMINAL] = need(open(name, O_RDONLY | O_NOCTTY |
					    O_CLOEXEC), name);
	/* Its session is there before anybody else can take the terminal. */
	while (tcgetsid(master) < 0 && kill(o->user_of_terminal, 0) == 0)
		usleep(1000);
}

/* With a number that no process of the jail's own has. */
static void make_victim(struct outside *o)
{
	static char secret[8] = "secret";
	pid_t pid;

	do {
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setpgid(0, 0);
			for (;;)
				pause();
		}
		if (pid < 0)
			die("fork");
		setpgid(pid, pid);
	} while (pid < 1000 && kill(pid, SIGKILL) == 0);
	o->world.victim = pid;
	o->world.victim_secret = (uint64_t)(uintptr_t)secret;
	o->world.launcher = getpid();
}

static void make_shared(struct outside *o)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	int id;

	o->world.shm_key = 0x6d660000 | (getpid() & 0xffff);
	id = shmget(o->world.shm_key, 4096, IPC_CREAT | IPC_EXCL | 0666);
	need(id, "shared memory");
	/* It stays while somebody has it, and we are the last. */
	if (shmat(id, NULL, 0) == (void *)-1)
		die("shared memory");
	snprintf(o->world.queue, sizeof(o->world.queue), "/mayfly-jail-%d",
		 getpid());
	umask(0);
	mq_open(o->world.queue, O_CREAT | O_RDWR, 0666, &attr);
	umask(022);
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0)
		syscall(SYS_add_key, "user", o->world.queue, "secret", 6,
			KEY_SPEC_SESSION_KEYRING);
}

void outside_leak(struct outside *o)
{
	o->leak[0] = need(socket(AF_INET, SOCK_STREAM, 0), "leak");
	o->leak[1] = need(fcntl(o->dirfd, F_DUPFD, 100), "leak");
	o->leak[2] = need(fcntl(o->dirfd, F_DUPFD, 900), "leak");
}

void outside_stop_leak(struct outside *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(o->leak); i++)
		close_fd(&o->leak[i]);
}

/* Ours are not the host's: what a probe mounts by success is seen by nobody. */
static void leave_the_real_host(void)
{
	const gid_t group = 1;

	if (geteuid())
		return;
	/* Some have no group at all; of a user namespace, none may have. */
	(void)!setgroups(1, &group);
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("namespaces of the test's own");
}

/* One that execve() does not take away: the jail has to. capabilities(7) */
static void have_an_ambient_capability(void)
{
	const cap_value_t c = CAP_NET_RAW;
	cap_t now = cap_get_proc();

	if (now && cap_set_flag(now, CAP_INHERITABLE, 1, &c, CAP_SET) == 0 &&
	    cap_set_proc(now) == 0)
		cap_set_ambient(c, CAP_SET);
	cap_free(now);
}

void outside_make(struct outside *o, const char *probe, int is_private)
{
	struct utsname u;

	memset(o, 0, sizeof(*o));
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	if (!is_private)
		leave_the_real_host();
	have_an_ambient_capability();
	o->program_fd = need(open(probe, O_RDONLY | O_CLOEXEC), probe);
	make_files(o);
	make_sockets(o);
	make_terminal(o);
	make_victim(o);
	make_shared(o);
	setenv("SECRET", "of the launcher's", 1);
	uname(&u);
	snprintf(o->world.nodename, sizeof(o->world.nodename), "%s",
		 u.nodename);
	o->give[GIVEN_KVM] = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	o->landlock = MAX(0, (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
					  1));
}

void outside_tidy(struct outside *o)
{
	static const char *const made[] = { "made", "device", "named",
		"made-fifo", "made-link", "made-name", "made-name2" };

	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		unlinkat(o->dirfd, made[i], 0);
	unlinkat(o->dirfd, "made-dir", AT_REMOVEDIR);
	unlinkat(o->dirfd, "made-dir2", AT_REMOVEDIR);
}

void outside_free(struct outside *o)
{
	static const char *const name[] = { "secret", "link", "kernel",
		"program", "set-uid", "disk", "socket" };

	kill(o->world.victim, SIGKILL);
	kill(o->user_of_terminal, SIGKILL);
	outside_tidy(o);
	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		unlinkat(o->dirfd, name[i], 0);
	if (rmdir(o->world.dir) < 0)
		die("something is left in %s", o->world.dir);
	shmctl(shmget(o->world.shm_key, 0, 0), IPC_RMID, NULL);
	mq_unlink(o->world.queue);
}
