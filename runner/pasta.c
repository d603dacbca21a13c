/* SPDX-License-Identifier: Apache-2.0 */
/* pasta, started, heard and ended. */
#include "runner/pasta.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define WORDS_MAX 4096
/* Two for each flow that the fence lets be open, and some of its own. What a
 * guest closes where pasta does not see it has none of the others'. */
#define FDS_HARD  18432
static_assert(FDS_HARD >= 2 * NET_FLOWS_MAX + 1024, "two for each");
#define NO_PASTA  "without root the way out is pasta: sudo apt-get install " \
		  "passt; or run mayfly as root"

/* Where pasta finds what it is given. */
enum { NETNS_FD = STDERR_FILENO + 1, USERNS_FD, READY_FD, FDS };
#define FD_PATH(n)  "/proc/self/fd/" FD_PATH_(n)
#define FD_PATH_(n) #n
#define NETNS_PATH  FD_PATH(3)
#define USERNS_PATH FD_PATH(4)
#define READY_PATH  FD_PATH(5)
static_assert(NETNS_FD == 3 && USERNS_FD == 4 && READY_FD == 5, "the paths");

void pasta_init(struct pasta *p)
{
	*p = (struct pasta){ .pid = -1, .pidfd = -1, .ready = -1,
			     .words = -1 };
}

/* --- in the child ------------------------------------------------------- */

/* @fd[i] becomes i, and nothing else stays open. */
static int place(const int fd[FDS])
{
	int high[FDS];

	for (int i = 0; i < FDS; i++) {
		high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, FDS);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < FDS; i++)
		if (dup2(high[i], i) < 0)
			return -errno;
	return close_range(FDS, ~0u, 0) < 0 ? -errno : 0;
}

/* As a new process has them. pasta takes a SIGPIPE that is ignored already for
 * a failure of its own. */
static void reset_signals(void)
{
	sigset_t none;

	for (int n = 1; n < NSIG; n++)
		signal(n, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* It takes as many as it may, each with a socket of the host's. */
static void bound_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_max <= FDS_HARD)
		return;
	l.rlim_cur = MIN(l.rlim_cur, FDS_HARD);
	l.rlim_max = FDS_HARD;
	setrlimit(RLIMIT_NOFILE, &l);
}

/*
 * --no-map-gw: else the gateway's address is the host's loopback.
 * none for the ports: nothing listens on the host, nor in the namespace.
 * No DHCP, no router advertisements: up0 gets what it is to have right now.
 */
static void execute(const struct net_plan *plan)
{
	char up4[NET_ADDR_MAX], host4[NET_ADDR_MAX], mtu[16];
	char up6[NET_ADDR_MAX], host6[NET_ADDR_MAX];
	char *const no_environment[] = { NULL };
	const char *argv[48] = {
		"pasta", "--foreground", "--quiet", "--config-net",
		"--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra",
		"--tcp-ports", "none", "--udp-ports", "none",
		"--tcp-ns", "none", "--udp-ns", "none",
		"--ns-ifname", NET_UPLINK, "--pid", READY_PATH,
		"--netns", NETNS_PATH, "--userns", USERNS_PATH,
		"--netmask", "31", "--mtu", mtu,
		"--address", net_addr_format(&plan->up4, up4),
		"--gateway", net_addr_format(&plan->host4, host4),
	};
	size_t n = 0;

	while (argv[n])
		n++;
	snprintf(mtu, sizeof(mtu), "%u", plan->mtu);
	if (plan->has_v6) {
		argv[n++] = "--address";
		argv[n++] = net_addr_format(&plan->up6, up6);
		argv[n++] = "--gateway";
		argv[n++] = net_addr_format(&plan->host6, host6);
	} else {
		argv[n++] = "--ipv4-only";
	}
	execvpe(argv[0], (char *const *)argv, no_environment);
}

static _Noreturn void child(const struct pasta_params *params,
			    const int fd[FDS], pid_t parent)
{
	int r;

	reset_signals();
	bound_descriptors();
	r = setsid() < 0 ? -errno : place(fd);
	if (r == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It may have died before that. */
		if (getppid() != parent)
			_exit(1);
		execute(params->plan);
		r = -errno;
	}
	/* Where pasta's number is awaited. */
	dprintf(READY_FD, "%d\n", r);
	_exit(1);
}

/* --- in the launcher ----------------------------------------------------- */

int pasta_start(struct pasta *p, const struct pasta_params *params,
		struct err *err)
{
	int ready[2] = { -1, -1 }, words[2] = { -1, -1 }, r = 0;
	_cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t self = getpid();

	pasta_init(p);
	if (null < 0 || pipe2(ready, O_CLOEXEC) < 0 ||
	    pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0) {
		const int fd[FDS] = { null, null, words[1], params->netns,
				      params->userns, ready[1] };

		p->pid = fork();
		if (p->pid == 0)
			child(params, fd, self);
		if (p->pid > 0)
			p->pidfd = pidfd_open(p->pid, 0);
		r = p->pid < 0 || p->pidfd < 0 ? -errno : 0;
	}
	close_fd(&ready[1]);
	close_fd(&words[1]);
	p->ready = ready[0];
	p->words = words[0];
	return r < 0 ? err_set(err, r, "start pasta") : 0;
}

/* Its last line that is not about its own log, without the time before it. */
static void last_line(char *text, char line[ERR_MSG_MAX])
{
	char *save, *s = strtok_r(text, "\n", &save);

	*line = '\0';
	for (; s; s = strtok_r(NULL, "\n", &save)) {
		size_t n = strspn(s, "0123456789.");

		if (strstr(s, "to syslog"))
			continue;
		if (n && s[n] == ':')
			s += n + 1;
		snprintf(line, ERR_MSG_MAX / 2, "%s", s + strspn(s, " "));
	}
	control_hide(line);
}

int pasta_ended(struct pasta *p, struct err *err)
{
	char text[WORDS_MAX + 1], line[ERR_MSG_MAX];
	ssize_t n = read(p->words, text, WORDS_MAX);
	int r;

	text[MAX(n, 0)] = '\0';
	last_line(text, line);
	if (*line)
		r = err_say(err, -EIO, "pasta: %s", line);
	else
		r = err_say(err, -EIO, "pasta has ended");
	if (strstr(line, "External interface"))
		err_hint(err, "this host has no default route that it could "
			      "use");
	if (strstr(line, "/dev/net/tun"))
		err_hint(err, "everybody must be allowed to open it: sudo "
			      "chmod 666 /dev/net/tun");
	return r;
}

static int not_executed(int code, struct err *err)
{
	if (code == -ENOENT)
		err_say(err, code, "pasta: not found");
	else
		err_set(err, code, "start pasta");
	/* EACCES is what execvp(3) says, too, where PATH has a directory that
	 * cannot be searched and no other has it. */
	return code == -ENOENT || code == -EACCES ? err_hint(err, NO_PASTA) :
						    code;
}

int pasta_wait(struct pasta *p, int timeout_ms, struct err *err)
{
	struct pollfd pfd = { .fd = p->ready, .events = POLLIN };
	char text[24] = "";
	ssize_t n;
	int r;

	do
		r = poll(&pfd, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_set(err, -errno, "wait for pasta");
	if (r == 0)
		return err_say(err, -ETIMEDOUT, "pasta: not ready after %d s",
			       timeout_ms / 1000);
	n = read(p->ready, text, sizeof(text) - 1);
	close_fd(&p->ready);
	if (n <= 0)
		return pasta_ended(p, err);
	return *text == '-' ? not_executed(atoi(text), err) : 0;
}

void pasta_stop(struct pasta *p)
{
	close_fd(&p->ready);
	close_fd(&p->words);
	if (p->pid > 0) {
		kill(p->pid, SIGKILL); /* not reaped yet: it is its own */
		waitpid(p->pid, NULL, WNOHANG);
	}
	p->pid = -1;
	close_fd(&p->pidfd);
}
