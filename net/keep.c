/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of a VM's network, as its launcher sees it. */
#include "net/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/keep_wire.h"
#include "net/tap.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

/*
 * Theory of operation
 *
 * What stands between a guest and everybody else's networks is a network
 * namespace: the guest's frames come out of a tap there, and whatever is let
 * through leaves by one link. Making all that takes CAP_NET_ADMIN, so who
 * makes it is not to have that on the host: the namespace belongs to a user
 * namespace of its own, in which the keeper is user 0, and which maps that to
 * a user who is nobody on the host (root's launcher), or to the caller.
 *
 * The keeper's way, launcher on the left:
 *
 *   clone	Into the two namespaces. It still is the launcher's copy, and
 *		the launcher's user: root's may open /dev/net/tun whatever its
 *		mode is. A tap belongs to the namespace that the file was
 *		opened in. Mustn't: come after "user".
 *   map	The launcher writes who user 0 is, then says KEEP_GO.
 *   user	No groups, user 0 of its own namespace: nothing on the host. A
 *		change of user forgets that the process is to die with its
 *		parent (prctl(2), PR_SET_PDEATHSIG), so that is said again.
 *   program	mayfly-net, by descriptor, with an empty environment: the
 *		launcher's memory, with the user's secrets in it, is gone.
 *
 * And then keeper.c, while the launcher goes on with other things:
 *
 *   KEEP_SETUP	-> tap0 and the sockets of DNS.
 *		<- KEEP_TAP, with the descriptors: the launcher waits for them
 *		Then settings, addresses, neighbours of tap0; and the fence,
 *		in one transaction. No other program has part in it.
 *   KEEP_UPLINK -> addresses and route of up0.
 *   lock	runner/net/main.c: no capability but CAP_NET_ADMIN over this
 *		namespace, no file, no system call but for what follows.
 *		<- KEEP_READY
 *   hold	The forwarder's questions, each checked against the rules as
 *		if nobody had looked at it before: the forwarder parses what
 *		strangers send, and may be theirs. What it can do at worst is
 *		open public addresses that no rule denies.
 * KEEP_OWN	-> addresses that the host has got since: refused as the rest of
 *		its own. Where these do not fit in, or a link of the network
 *		is removed, the keeper says so and ends:
 *		<- KEEP_FAILED
 *
 * Its end, however it comes, is the end of the namespace as soon as nobody
 * else has it: the tap's descriptor and the sockets of DNS keep it. Who has
 * those dies with the launcher as well, or is killed by it. The kernel then
 * removes tap, table, and both ends of the veth pair, at its leisure: the
 * names of the next run are others.
 */

#define PROGRAM_FD (KEEP_TUN_FD + 1)
#define ENDING_MS  20000 /* to end, for one that has closed its socket */

#ifdef MAYFLY_SAN
#define KEEP_STDERR 1 /* where a sanitizer reports */
#else
#define KEEP_STDERR 0
#endif

void keep_init(struct keep *k)
{
	*k = (struct keep){ .pid = -1, .pidfd = -1, .control = -1,
			    .netns = -1, .userns = -1, .become = KEEP_SELF };
}

/* --- in the child, until it executes mayfly-net -------------------------- */

struct birth {
	const struct keep_params *p;
	int control, program;
	int in_user_ns;
	pid_t parent;
};

static int die_with_parent(const struct birth *b, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(err, -errno, "PR_SET_PDEATHSIG");
	/* It may have died before that. */
	if (getppid() != b->parent)
		return err_say(err, -ESRCH, "the launcher is gone");
	return 0;
}

static int step_session(struct birth *b, struct err *err)
{
	const unsigned long none_of_it[4] = { 0 }; /* SIG_DFL */
	sigset_t none;
	int r = die_with_parent(b, err);

	if (r < 0)
		return r;
	/* Keys are inherited as descriptors are. It may be refused: then
	 * there were none to read. */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	/* By system call, for libc keeps two signals to itself. */
	for (int n = 1; n < NSIG; n++)
		(void)syscall(SYS_rt_sigaction, n, none_of_it, NULL, NSIG / 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return setsid() < 0 ? err_set(err, -errno, "setsid") : 0;
}

static int step_descriptors(struct birth *b, struct err *err)
{
	int from[] = { -1, -1, STDERR_FILENO, b->control, -1, b->program };
	int tun = tap_open(err), null, high[ARRAY_SIZE(from)];

	if (tun < 0)
		return tun;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_set(err, -errno, "open /dev/null");
	from[STDIN_FILENO] = from[STDOUT_FILENO] = null;
	if (!KEEP_STDERR)
		from[STDERR_FILENO] = null;
	from[KEEP_TUN_FD] = tun;
	/* First out of the way, so that none covers another. */
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, PROGRAM_FD + 1);
		if (high[i] < 0)
			return err_set(err, -errno, "move descriptors");
	}
	for (int i = 0; i < (int)ARRAY_SIZE(from); i++)
		if (dup3(high[i], i, i == PROGRAM_FD ? O_CLOEXEC : 0) < 0)
			return err_set(err, -errno, "descriptor %d", i);
	b->control = KEEP_CONTROL_FD;
	if (syscall(SYS_close_range, PROGRAM_FD + 1, ~0u, 0) < 0)
		return err_set(err, -errno, "close_range");
	return 0;
}

static int step_go(struct birth *b, struct err *err)
{
	struct keep_go go;
	ssize_t n;

	do
		n = recv(b->control, &go, sizeof(go), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(go) || go.type != KEEP_GO)
		return err_say(err, -ESRCH, "the launcher is gone");
	return 0;
}

static int step_user(struct birth *b, struct err *err)
{
	if (!b->in_user_ns)
		return 0;
	/* Where the caller is nobody special it may not drop its groups:
	 * user_namespaces(7), "setgroups". */
	if (b->p->host_id != KEEP_SELF && setgroups(0, NULL) < 0)
		return err_set(err, -errno, "setgroups");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_set(err, -errno, "change user");
	return die_with_parent(b, err);
}

static int step_program(struct birth *b, struct err *err)
{
	char *const argv[] = { "mayfly-net", "keep", fault_text(), NULL };
	char *const no_environment[] = { NULL };
	int r;

	(void)b;
	(void)syscall(SYS_execveat, PROGRAM_FD, "", argv, no_environment,
		      AT_EMPTY_PATH);
	r = err_set(err, -errno, "execute mayfly-net");
	if (r == -EACCES)
		err_hint(err, "everybody must be allowed to execute it: chmod "
			      "a+rx");
	return r;
}

static _Noreturn void child(struct birth *b)
{
	static const struct {
		const char *name;
		int (*fn)(struct birth *b, struct err *err);
	} step[] = {
		{ "session", step_session }, { "descriptors", step_descriptors },
		{ "go", step_go },	     { "user", step_user },
		{ "program", step_program },
	};
	struct err err = { 0 };
	struct keep_word w;
	size_t i = 0;

	while (step[i].fn(b, &err) == 0) {
		fault_point("keep", step[i].name);
		i++; /* the last one only comes back to fail */
	}
	keep_word_fill(&w, KEEP_FAILED, &err);
	io_send_fds(b->control, &w, sizeof(w), NULL, 0);
	_exit(125);
}

/* --- in the launcher ----------------------------------------------------- */

void keep_fds_close(struct keep_fds *fds)
{
	close_fd(&fds->tap);
	close_fd(&fds->udp4);
	close_fd(&fds->tcp4);
	close_fd(&fds->udp6);
	close_fd(&fds->tcp6);
}

/* Why it has hung up without a word. */
static int tell_end(struct keep *k, struct err *err)
{
	struct pollfd p = { .fd = k->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };

	if (poll(&p, 1, ENDING_MS) == 1 &&
	    waitid(P_PID, (id_t)k->pid, &info,
		   WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED))
		return err_say(err, -EPIPE,
			       "mayfly-net was killed by signal %d (%s)",
			       info.si_status, strsignal(info.si_status));
	return err_say(err, -EPIPE, "mayfly-net has ended without saying why");
}

static int take_word(struct keep_word *w, const int *fd, size_t nfds,
		     struct keep_fds *fds, struct err *err)
{
	switch (w->type) {
	case KEEP_TAP:
		if (nfds != 3 && nfds != KEEP_FDS_MAX)
			break;
		*fds = (struct keep_fds){ fd[0], fd[1], fd[2], -1, -1 };
		if (nfds == KEEP_FDS_MAX) {
			fds->udp6 = fd[3];
			fds->tcp6 = fd[4];
		}
		return KEEP_TAP;
	case KEEP_READY:
		if (nfds)
			break;
		return KEEP_READY;
	case KEEP_FAILED:
		w->msg[sizeof(w->msg) - 1] = '\0';
		w->hint[sizeof(w->hint) - 1] = '\0';
		control_hide(w->msg);
		control_hide(w->hint);
		err_say(err, w->code < 0 ? w->code : -EIO, "%s", w->msg);
		if (*w->hint)
			err_hint(err, "%s", w->hint);
		while (nfds)
			close(fd[--nfds]);
		return w->code < 0 ? w->code : -EIO;
	default:
		break;
	}
	while (nfds)
		close(fd[--nfds]);
	return err_say(err, -EPROTO, "mayfly-net has said what means nothing");
}

int keep_recv(struct keep *k, struct keep_fds *fds, int timeout_ms,
	      struct err *err)
{
	struct pollfd p = { .fd = k->control, .events = POLLIN };
	int fd[KEEP_FDS_MAX], r;
	size_t nfds = KEEP_FDS_MAX;
	struct keep_word w;
	ssize_t n;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? err_set(err, -errno, "poll") : 0;
	n = io_recv_fds(k->control, &w, sizeof(w), fd, &nfds);
	/* What we have sent was not read: that is told first, and once. */
	if (n == -ECONNRESET) {
		nfds = KEEP_FDS_MAX;
		n = io_recv_fds(k->control, &w, sizeof(w), fd, &nfds);
	}
	if (n == 0 || n == -ECONNRESET)
		return tell_end(k, err);
	if (n < 0)
		return err_set(err, (int)n, "hear mayfly-net");
	if (n != sizeof(w))
		w.type = 0;
	r = take_word(&w, fd, nfds, fds, err);
	if (r == KEEP_READY) {
		k->ready_ns = MIN(w.at_ns, io_now_ns());
		k->layers = w.layers;
	}
	return r;
}

static void stop(struct keep *k, int flags)
{
	if (k->pid > 0) {
		/* Not reaped yet: the number is its own. */
		kill(k->pid, SIGKILL);
		while (waitpid(k->pid, NULL, flags) < 0 && errno == EINTR)
			;
	}
	close_fd(&k->pidfd);
	close_fd(&k->control);
	close_fd(&k->netns);
	close_fd(&k->userns);
	k->pid = -1;
}

void keep_stop(struct keep *k)
{
	stop(k, WNOHANG);
}

void keep_end(struct keep *k)
{
	stop(k, 0);
}

static int refused(int code)
{
	return code == -EPERM || code == -EACCES || code == -ENOSYS ||
	       code == -EINVAL || code == -ENOSPC || code == -EUSERS;
}

/*
 * The plain call, which every container's filter knows: clone3() is refused by
 * some. The child runs on the parent's stack, a copy. The number, 0 in the
 * child, or -errno.
 */
static pid_t spawn(unsigned long namespaces, int *pidfd)
{
	long pid = syscall(SYS_clone, namespaces | CLONE_PIDFD | SIGCHLD, NULL,
			   pidfd, NULL, NULL);

	return pid < 0 ? -errno : (pid_t)pid;
}

static int put(int dir, const char *name, const char *text)
{
	_cleanup_fd_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* A user that this namespace does not know (a container's) cannot be: then it
 * is ours, without its rights. */
static int map_one(int dir, const char *name, uint32_t id, uint32_t own)
{
	char line[40];
	int r;

	snprintf(line, sizeof(line), "0 %u 1", id);
	r = put(dir, name, line);
	if (r != -EPERM || id == own)
		return r;
	snprintf(line, sizeof(line), "0 %u 1", own);
	return put(dir, name, line);
}

/* user_namespaces(7): who has no right over the groups gives up setgroups(). */
static int map(int dir, uint32_t host_id)
{
	uint32_t uid = geteuid(), gid = getegid();
	int self = host_id == KEEP_SELF;
	int r = self ? put(dir, "setgroups", "deny") : 0;

	if (r == 0)
		r = map_one(dir, "gid_map", self ? gid : host_id, gid);
	if (r == 0)
		r = map_one(dir, "uid_map", self ? uid : host_id, uid);
	return r;
}

/* Its directory in /proc. That it is its own: the process has not ended, so
 * nobody else has had its number. */
static int open_proc(const struct keep *k)
{
	char path[32];
	int dir;

	snprintf(path, sizeof(path), "/proc/%d", k->pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (pidfd_send_signal(k->pidfd, 0, NULL, 0) == 0)
		return dir;
	close(dir);
	return -ESRCH;
}

static int open_namespaces(struct keep *k, int dir, int in_user_ns,
			   struct err *err)
{
	k->netns = openat(dir, "ns/net", O_RDONLY | O_CLOEXEC);
	if (k->netns < 0)
		return err_set(err, -errno, "open a network namespace");
	if (!in_user_ns)
		return 0;
	k->userns = openat(dir, "ns/user", O_RDONLY | O_CLOEXEC);
	if (k->userns < 0)
		return err_set(err, -errno, "open a user namespace");
	return 0;
}

static int introduce(struct keep *k, const struct keep_params *p,
		     int in_user_ns, struct err *err)
{
	const struct keep_go go = { .type = KEEP_GO };
	_cleanup_fd_ int dir = open_proc(k);
	int r = dir < 0 ? dir : 0;

	if (r == 0 && in_user_ns)
		r = map(dir, p->host_id);
	if (r < 0)
		return err_set(err, r, "map user %u",
			       p->host_id == KEEP_SELF ? geteuid() :
							 p->host_id);
	fault_point("launcher", "keep_mapped");
	r = open_namespaces(k, dir, in_user_ns, err);
	if (r < 0)
		return r;
	/* What may be wrong with the child is in its own words by then. */
	(void)io_send_fds(k->control, &go, sizeof(go), NULL, 0);
	return 0;
}

/* The child has ended early, and said why: words better than ours. */
static int own_words(struct keep *k, int code, struct err *err)
{
	struct err theirs = { 0 };
	struct keep_fds fds;
	int r = keep_recv(k, &fds, 0, &theirs);

	if (r >= 0 || r == -EPIPE)
		return code;
	if (err)
		*err = theirs;
	return r;
}

int keep_start(struct keep *k, const struct keep_params *p, struct err *err)
{
	struct birth b = { .p = p, .program = p->program_fd,
			   .parent = getpid(), .in_user_ns = !p->no_user_ns };
	int pair[2], r = -EPERM;

	keep_init(k);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "start a network");
	b.control = pair[1];
	if (b.in_user_ns)
		r = spawn(CLONE_NEWUSER | CLONE_NEWNET, &k->pidfd);
	if (r < 0 && refused(r) && geteuid() == 0) {
		b.in_user_ns = 0;
		r = spawn(CLONE_NEWNET, &k->pidfd);
	}
	if (r == 0)
		child(&b);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		err_set(err, r, "make a network namespace");
		if (refused(r))
			err_hint(err, "%s", sysctl_userns_remedy(r));
		return r;
	}
	k->pid = r;
	k->control = pair[0];
	fault_point("launcher", "keep_cloned");
	if (!b.in_user_ns)
		k->become = p->host_id;
	r = introduce(k, p, b.in_user_ns, err);
	if (r < 0) {
		r = own_words(k, r, err);
		keep_end(k);
	}
	return r;
}

int keep_setup(struct keep *k, const struct net_plan *plan,
	       const struct net_rules *rules, int learn_fd, struct err *err)
{
	_cleanup_free_ struct keep_setup *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "start a network");
	s->type = KEEP_SETUP;
	s->become = k->become;
	s->plan = *plan;
	s->rules = *rules;
	r = io_send_fds(k->control, s, sizeof(*s), &learn_fd, learn_fd >= 0);
	fault_point("launcher", "keep_setup");
	/* One that is gone has left words: keep_recv(). */
	return r < 0 && r != -EPIPE && r != -ECONNRESET
		       ? err_set(err, r, "start a network") : 0;
}

int keep_uplink(struct keep *k, int configured, struct err *err)
{
	const struct keep_uplink u = { .type = KEEP_UPLINK,
				       .configured = !!configured };
	int r = io_send_fds(k->control, &u, sizeof(u), NULL, 0);

	fault_point("launcher", "keep_uplink");
	return r < 0 && r != -EPIPE && r != -ECONNRESET
		       ? err_set(err, r, "start a network") : 0;
}

int keep_own(struct keep *k, const struct net_addr *a, unsigned n,
	     struct err *err)
{
	struct keep_own o = { .type = KEEP_OWN, .n = n };

	if (!n || n > KEEP_OWN_MAX)
		return err_say(err, -EINVAL, "%u addresses of the host", n);
	memcpy(o.addr, a, n * sizeof(*a));
	/* One that is gone has left words: keep_recv(). */
	if (send(k->control, &o, sizeof(o), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    errno != EPIPE && errno != ECONNRESET)
		return err_set(err, -errno, "tell mayfly-net of the host's "
			       "addresses");
	return 0;
}
