/* SPDX-License-Identifier: Apache-2.0 */
/* From a launcher that may do much to a program that can do nothing. */
#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/*
 * Theory of operation
 *
 * mayfly-vmm runs next to a guest that may take it over. What the process
 * cannot reach, the guest cannot reach, so the launcher opens everything
 * beforehand, and its child walks down these steps before the program starts.
 * Each step either succeeds or ends the child.
 *
 * The child is born into namespaces: mount, pid (it is number 1), net, ipc,
 * uts and cgroup, and without root a user namespace, which gives it the
 * privileges that the steps need and nothing of the host.
 *
 *   session      A session of its own: a terminal's ^C goes to the launcher,
 *		  which decides. Should: not be reachable by job control. And a
 *		  keyring of its own: keys are inherited as descriptors are.
 *   signals	  Dispositions and mask as a new process has them; the
 *		  launcher's own must not leak through execve().
 *   descriptors  0, 1 (and 2) are /dev/null, 3 is the control socket, 4 the
 *		  program and 5 the launcher's word, both closed by execve();
 *		  everything above is gone. Mustn't: come after "room", for a
 *		  terminal is opened anew, by /proc.
 *   word	  The launcher says who we shall be. It had to know our number.
 *   room	  The mount tree is made private, then replaced by an empty
 *		  read-only root; the old one is detached. No /proc, no /dev: no
 *		  path leads anywhere from here on, and so the launcher's
 *		  directories, sockets and devices are out of reach by name.
 *		  Mustn't: fail later, for the launcher then thinks that it was
 *		  possible. It waits to hear of this step.
 *   bounds	  The bounding set and the securebits: no capability comes back
 *		  by execve(), as user 0 or any other.
 *   user	  No groups; the group and the user of this VM alone. The
 *		  capabilities stay for one more step, by the securebits.
 *   privileges	  All five sets are emptied, then no_new_privs. Mustn't come
 *		  before "user", which needs CAP_SETUID.
 *   limits	  Descriptors, file size (its signal ignored: the write fails),
 *		  no core, for it would hold the guest's memory, no locked
 *		  memory, no message queues, and as many tasks as the program
 *		  has threads. After "user": tasks are counted per user.
 *   program	  execveat() of the open binary with an empty environment: no
 *		  path is looked up, no variable reaches the program.
 *
 * The program's own steps (parent death signal, dumpable, Landlock, seccomp)
 * follow in runner/vmm/main.c: execve() and the change of user reset the first
 * two, and the last two would forbid the execve().
 *
 * The launcher may die at any moment. Before "word" the child reads the end of
 * the socket and leaves; after it, the program finds its control socket closed.
 */

#define PROGRAM_FD (JAIL_CONTROL_FD + 1)
#define WORD_FD	   (PROGRAM_FD + 1)

struct jail {
	const struct jail_params *p;
	uid_t uid; /* the launcher's, as its user namespace has them */
	gid_t gid;
	int control_fd; /* follows the socket as it moves */
	int word_fd;
	struct jail_word word;
};

/* --- in the child ----------------------------------------------------- */

static int step_session(struct jail *j, struct err *err)
{
	(void)j;
	/* A container's filter may refuse this: then there were no keys to
	 * read either. keyctl(2) */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	return setsid() < 0 ? err_set(err, -errno, "setsid") : 0;
}

static int step_signals(struct jail *j, struct err *err)
{
	/* struct kernel_sigaction: SIG_DFL, and nothing else */
	const unsigned long none_of_it[4] = { 0 };
	sigset_t none;

	(void)j;
	/*
	 * By system call, for libc keeps two signals to itself, and what it
	 * spawns (make's recipes, for one) starts with those ignored. SIGKILL
	 * and SIGSTOP refuse, and are right already.
	 */
	for (int n = 1; n < NSIG; n++)
		(void)syscall(SYS_rt_sigaction, n, none_of_it, NULL, NSIG / 8);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return err_set(err, -errno, "sigprocmask");
	return 0;
}

static int place(int from, int to, int flags, struct err *err)
{
	return dup3(from, to, flags) < 0
		       ? err_set(err, -errno, "descriptor %d", to)
		       : 0;
}

/*
 * A terminal is open for reading as well, and of a session that is not ours no
 * job control keeps us from what the user types. Where it may not be opened
 * anew, as after su, its words are lost.
 */
static int settle_stderr(int null, int keep, struct err *err)
{
	_cleanup_fd_ int terminal = -1;

	if (!keep)
		return place(null, STDERR_FILENO, 0, err);
	if (!isatty(STDERR_FILENO))
		return 0;
	terminal = open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	return place(terminal < 0 ? null : terminal, STDERR_FILENO, 0, err);
}

static int step_descriptors(struct jail *j, struct err *err)
{
	const struct jail_params *p = j->p;
	int null, control, program, word, r;

	/*
	 * Move all above the range that is filled, so that no dup3() covers a
	 * descriptor that is still needed.
	 */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_set(err, -errno, "open /dev/null");
	null = fcntl(null, F_DUPFD_CLOEXEC, WORD_FD + 1);
	control = fcntl(j->control_fd, F_DUPFD_CLOEXEC, WORD_FD + 1);
	program = fcntl(p->program_fd, F_DUPFD_CLOEXEC, WORD_FD + 1);
	word = fcntl(j->word_fd, F_DUPFD_CLOEXEC, WORD_FD + 1);
	if (null < 0 || control < 0 || program < 0 || word < 0)
		return err_set(err, -errno, "move descriptors");
	r = place(null, STDIN_FILENO, 0, err);
	if (r == 0)
		r = place(null, STDOUT_FILENO, 0, err);
	if (r == 0)
		r = settle_stderr(null, p->keep_stderr, err);
	if (r == 0)
		r = place(control, JAIL_CONTROL_FD, 0, err);
	if (r < 0)
		return r;
	j->control_fd = JAIL_CONTROL_FD;
	r = place(program, PROGRAM_FD, O_CLOEXEC, err);
	if (r == 0)
		r = place(word, WORD_FD, O_CLOEXEC, err);
	if (r < 0)
		return r;
	j->word_fd = WORD_FD;
	if (close_range(WORD_FD + 1, ~0u, 0) < 0)
		return err_set(err, -errno, "close_range");
	return 0;
}

static int step_word(struct jail *j, struct err *err)
{
	ssize_t n = recv(j->word_fd, &j->word, sizeof(j->word), 0);

	if (n != sizeof(j->word))
		return err_say(err, -ESRCH, "the launcher is gone");
	return 0;
}

static int make_room(struct jail *j, struct err *err)
{
	int r = 0;

	if (j->word.mode == JAIL_BARE)
		return chdir("/") < 0 ? err_set(err, -errno, "chdir /") : 0;
	if (j->word.mode == JAIL_ROOTLESS && !j->word.mapped)
		r = ids_map_self(j->uid, j->gid, err);
	return r < 0 ? r : room_enter(err);
}

static int step_room(struct jail *j, struct err *err)
{
	int32_t answer;
	int r;

	umask(077);
	answer = r = make_room(j, err);
	/* Should nobody listen any more, the program will find that out. */
	(void)!write(j->word_fd, &answer, sizeof(answer));
	return r;
}

static int step_bounds(struct jail *j, struct err *err)
{
	(void)j;
	return caps_forbid_regaining(err);
}

static int step_user(struct jail *j, struct err *err)
{
	return ids_become(&j->word, err);
}

static int step_privileges(struct jail *j, struct err *err)
{
	int r = caps_drop(err);

	(void)j;
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_set(err, -errno, "PR_SET_NO_NEW_PRIVS");
	return r;
}

/* Not above what the launcher has itself: only less may be asked for. */
static int limit(int which, const char *name, uint64_t most, struct err *err)
{
	struct rlimit l;

	if (getrlimit(which, &l) < 0)
		return err_set(err, -errno, "%s", name);
	l.rlim_cur = l.rlim_max = MIN(l.rlim_max, (rlim_t)most);
	return setrlimit(which, &l) < 0 ? err_set(err, -errno, "%s", name) : 0;
}

/* Since Linux 5.14 a user's tasks are counted in each user namespace apart. */
static int tasks_are_counted_apart(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 14));
}

static int step_limits(struct jail *j, struct err *err)
{
	const struct jail_params *p = j->p;
	int own = j->word.id != UINT32_MAX ||
		  (j->word.mode == JAIL_ROOTLESS && tasks_are_counted_apart());
	int r = limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err);

	if (r == 0)
		r = limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", p->nofile, err);
	if (r == 0)
		r = limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", p->file_size, err);
	if (r == 0)
		r = limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0, err);
	if (r == 0)
		r = limit(RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0, err);
	/* All that this user runs counts, here and elsewhere. */
	if (r == 0 && own)
		r = limit(RLIMIT_NPROC, "RLIMIT_NPROC", p->tasks, err);
	return r;
}

static int step_program(struct jail *j, struct err *err)
{
	char *const no_environment[] = { NULL };
	int r;

	(void)syscall(SYS_execveat, PROGRAM_FD, "", j->p->argv, no_environment,
		      AT_EMPTY_PATH);
	r = err_set(err, -errno, "execute");
	if (r == -EACCES)
		err_hint(err, "everybody must be allowed to execute it: chmod "
			      "a+rx");
	return r;
}

static _Noreturn void child(struct jail *j)
{
	static const struct {
		const char *name;
		int (*fn)(struct jail *j, struct err *err);
	} step[] = {
		{ "session", step_session },
		{ "signals", step_signals },
		{ "descriptors", step_descriptors },
		{ "word", step_word },
		{ "room", step_room },
		{ "bounds", step_bounds },
		{ "user", step_user },
		{ "privileges", step_privileges },
		{ "limits", step_limits },
		{ "program", step_program },
	};
	struct err err = { 0 };
	size_t i = 0;

	fault_point("jail", "born");
	while (step[i].fn(j, &err) == 0) {
		fault_point("jail", step[i].name);
		i++; /* the last one only comes back to fail */
	}
	err_wrap(&err, "jail: %s", step[i].name);
	if (step[i].fn != step_room)
		j->p->failed(j->control_fd, &err);
	_exit(125);
}

/* --- in the launcher -------------------------------------------------- */

static void end_child(struct jail_process *c)
{
	kill(c->pid, SIGKILL); /* not reaped yet: the number is its own */
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close_fd(&c->pidfd);
	c->pid = -1;
}

/* Say who it shall be, and hear whether it stands in its room. One that is
 * stuck on the way is taken for one that stands: who waits for what it does
 * next has a limit for that. */
static int give_word(const struct jail_params *p, enum jail_mode mode,
		     int fd, struct jail_process *c, struct jail_report *r)
{
	const struct timeval patience = {
		.tv_sec = (time_t)(p->patience_ns / 1000000000),
		.tv_usec = (suseconds_t)(p->patience_ns % 1000000000 / 1000),
	};
	struct jail_word word = { .mode = mode };
	int32_t answer;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ids_choose(p, c->pid, &word, r);
	if (send(fd, &word, sizeof(word), MSG_NOSIGNAL) < 0)
		return 0; /* it failed before, and has told why */
	do
		n = recv(fd, &answer, sizeof(answer), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(answer) ? answer : 0;
}

/*
 * Where it is the host that says no, as a matter of policy. Being short of
 * something is none: nobody shall get a weaker jail by using it up.
 */
static int is_refusal(enum jail_mode mode, int code)
{
	switch (code) {
	case -EPERM:
	case -EACCES:
	case -ENOSYS:
	case -EINVAL: /* a kernel without one of them; initramfs for a root */
		return 1;
	case -ENOSPC: /* user.max_user_namespaces */
	case -EUSERS:
		return mode == JAIL_ROOTLESS;
	default:
		return 0;
	}
}

/* One try, in this mode: 0, or -errno where the host does not allow it. */
static int try_start(const struct jail_params *p, enum jail_mode mode,
		     struct jail_report *r, struct jail_process *out)
{
	struct jail j = {
		.p = p,
		.uid = geteuid(),
		.gid = getegid(),
		.control_fd = p->control_fd,
	};
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	j.word_fd = pair[1];
	ret = spawn_child(mode, p->cgroup_fd, out);
	out->in_cgroup = ret > 0 && p->cgroup_fd >= 0;
	if (ret < 0 && p->cgroup_fd >= 0)
		ret = spawn_child(mode, -1, out);
	if (ret == 0)
		child(&j);
	close(pair[1]);
	fault_victim(out->pid);
	fault_point("launcher", "cloned");
	if (ret > 0) {
		ret = give_word(p, mode, pair[0], out, r);
		if (ret < 0)
			end_child(out);
	}
	close(pair[0]);
	return ret;
}

int jail_start(const struct jail_params *p, struct jail_report *report,
	       struct jail_process *out, struct err *err)
{
	enum jail_mode mode = spawn_is_privileged() ? JAIL_PRIVILEGED :
						      JAIL_ROOTLESS;
	struct jail_report r = *report;
	int ret;

	*out = (struct jail_process){ .pid = -1, .pidfd = -1 };
	ret = try_start(p, mode, &r, out);
	if (is_refusal(mode, ret)) {
		r = *report;
		spawn_explain(mode, ret, &r);
		mode = JAIL_BARE;
		ret = try_start(p, mode, &r, out);
	}
	if (ret < 0)
		return err_set(err, ret, "start a process");
	fault_point("launcher", "word");
	if (mode != JAIL_BARE) {
		jail_report_on(&r, JAIL_NAMESPACES);
		jail_report_on(&r, JAIL_ROOT);
	}
	if (!ROOM_IS_EMPTY)
		jail_report_missing(&r, JAIL_ROOT, "build without SAN",
				    "this is a sanitizer's build");
	jail_report_on(&r, JAIL_RLIMITS);
	jail_report_on(&r, JAIL_CAPS);
	jail_report_on(&r, JAIL_NNP);
	*report = r;
	return 0;
}
