/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command, from EXEC to EXIT.
 *
 * Its end is the end of its main process: all that it left behind is killed,
 * then the pipes are read to their end, then EXIT is sent.
 */
#include "rootfs/agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#define REAP_BATCH 64
#define SLACK	   65536 /* of what a terminal's driver may hold */
/* How long a command that was left alone has to end by itself, on a machine that
 * may be busy. */
#define HANGUP_MS    5000
#define HANGUP_STEPS 10

static uint64_t timeval_us(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * 1000000u + (uint64_t)tv.tv_usec;
}

static int nonblock(int fd)
{
	return fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void set_size(int fd, uint16_t rows, uint16_t cols)
{
	struct winsize ws = { .ws_row = rows, .ws_col = cols };

	if (rows && cols)
		ioctl(fd, TIOCSWINSZ, &ws);
}

static int open_tty(struct session *s, int child[3])
{
	const struct wire_exec *h = &s->spawn.cmd.head;
	int unlock = 0;

	s->fd_out = open("/dev/ptmx",
			 O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (s->fd_out < 0 || ioctl(s->fd_out, TIOCSPTLCK, &unlock))
		return errno;
	child[0] = ioctl(s->fd_out, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	s->fd_in = fcntl(s->fd_out, F_DUPFD_CLOEXEC, 3);
	if (child[0] < 0 || s->fd_in < 0)
		return errno;
	/* The group is tty's and the mode 620 by how devpts is mounted. */
	if (s->spawn.user.uid && fchown(child[0], s->spawn.user.uid, -1u))
		return errno;
	set_size(s->fd_out, h->rows, h->cols);
	child[1] = child[2] = child[0];
	return 0;
}

static int open_pipe(int *ours, int *child, int child_end)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return errno;
	*child = p[child_end];
	*ours = p[!child_end];
	return nonblock(*ours) ? errno : 0;
}

/* Nothing to read; a guest may be without its /dev. */
static int open_null(struct session *s, int *child)
{
	int error;

	*child = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (*child >= 0)
		return 0;
	error = open_pipe(&s->fd_in, child, 0);
	close_fd(&s->fd_in);
	return error;
}

static int open_streams(struct session *s, int child[3])
{
	uint32_t flags = s->spawn.cmd.head.flags;
	int error;

	if (flags & WIRE_EXEC_TTY)
		return open_tty(s, child);
	if (flags & WIRE_EXEC_STDIN) {
		error = open_pipe(&s->fd_in, &child[0], 0);
	} else {
		error = open_null(s, &child[0]);
	}
	if (!error)
		error = open_pipe(&s->fd_out, &child[1], 1);
	if (!error)
		error = open_pipe(&s->fd_err, &child[2], 1);
	return error;
}

static void close_streams(int child[3])
{
	close_fd(&child[0]);
	if (child[1] != child[2])
		close_fd(&child[1]);
	close_fd(&child[2]);
}

/*
 * The launcher says it to the user: standard error is the command's. ENOENT
 * for a file that is there means its interpreter or its loader.
 */
static int error_to_tell(const struct spawn *sp)
{
	const char *file = sp->cmd.argv[0];

	if (sp->stage == WIRE_STAGE_EXEC && sp->error == ENOENT &&
	    strchr(file, '/') && !access(file, F_OK))
		return ELIBACC;
	return sp->error;
}

static void failed(struct session *s)
{
	struct spawn *sp = &s->spawn;

	s->exit.stage = sp->stage;
	s->exit.error = (uint32_t)error_to_tell(sp);
	s->exit.code = spawn_exit_code(sp->stage, sp->error);
	close_fd(&s->fd_in);
	close_fd(&s->fd_out);
	close_fd(&s->fd_err);
	s->state = DRAINING;
}

static int try_start(struct session *s)
{
	struct spawn *sp = &s->spawn;
	char path[CGROUP_PATH_MAX];
	uint64_t memory_max = sp->cmd.head.memory_max;
	int error;

	sp->stage = WIRE_STAGE_USER;
	sp->error = user_find("/etc", sp->cmd.user, &sp->user);
	if (sp->error)
		return -1;
	spawn_env(sp);
	sp->stage = WIRE_STAGE_FORK;
	if (s->sv.cgroups) {
		if (is_own(s) && !memory_max)
			memory_max = limit_memory();
		cgroup_path(path, s->sv.cgroups, s->sv.number);
		sp->cgroup = cgroup_make(path, memory_max,
					 sp->cmd.head.pids_max);
		limit_watch(s);
	}
	error = open_streams(s, sp->fd);
	if (error)
		sp->error = error;
	else
		s->pid = spawn_start(sp);
	close_streams(sp->fd);
	return sp->error ? -1 : 0;
}

static void set_clock(const struct wire_exec *head)
{
	uint64_t ns = head->realtime_ns;
	struct timespec ts;

	if (!ns)
		return;
	if (head->flags & WIRE_EXEC_EARLY)
		ns += boot_ns();
	ts.tv_sec = (time_t)(ns / 1000000000u);
	ts.tv_nsec = (long)(ns % 1000000000u);
	clock_settime(CLOCK_REALTIME, &ts);
}

/* The guest is not what the host wanted for its command. */
static int not_as_asked(struct session *s)
{
	struct spawn *sp = &s->spawn;

	if (s->net_error)
		sp->stage = WIRE_STAGE_NET;
	else if (s->mount_error)
		sp->stage = WIRE_STAGE_MOUNT;
	else
		return 0;
	sp->error = s->net_error ? s->net_error : s->mount_error;
	return -1;
}

int command_start(struct session *s, const struct wire_frame *f)
{
	struct wire_started st = { 0 };
	int ret;

	if (s->state != IDLE)
		return -EPROTO;
	ret = wire_get_exec(f, s->slots, &s->spawn.cmd);
	if (ret)
		return ret;
	if (is_own(s))
		set_clock(&s->spawn.cmd.head);
	s->state = RUNNING;
	if (not_as_asked(s) || try_start(s)) {
		failed(s);
		return 0;
	}
	st.pid = (uint32_t)s->pid;
	st.boot_ns = boot_ns();
	out_put(s, WIRE_STARTED, &st, sizeof(st));
	return 0;
}

void command_signal(struct session *s, int signo)
{
	/* The group is the command's own: it called setsid(). A shell's jobs
	 * have groups of their own, and it is the shell that passes signals
	 * on; what a user types reaches the job through the terminal. While it
	 * settles, what it left behind is who is to hear. */
	if (s->state == RUNNING || s->state == SETTLING)
		kill(-s->pid, signo);
}

void command_resize(struct session *s, uint16_t rows, uint16_t cols)
{
	if (s->spawn.cmd.head.flags & WIRE_EXEC_TTY && s->fd_out >= 0)
		set_size(s->fd_out, rows, cols);
}

/* All that the command left behind. At the end of the run's own nothing else
 * is to live in the machine, and so even what has left its cgroup is reached. */
static void kill_rest(struct session *s)
{
	cgroup_kill(s->spawn.cgroup);
	kill(is_own(s) ? -1 : -s->pid, SIGKILL);
}

static void settled(struct session *s)
{
	/* The host may have made more since it had all of it killed. */
	if (!s->killed)
		kill_rest(s);
	s->state = DRAINING;
}

static void ended(struct session *s, int status, const struct rusage *ru)
{
	if (WIFSIGNALED(status))
		s->exit.signal = (uint32_t)WTERMSIG(status);
	else
		s->exit.code = (uint32_t)WEXITSTATUS(status);
	s->exit.user_us = timeval_us(ru->ru_utime);
	s->exit.system_us = timeval_us(ru->ru_stime);
	s->exit.max_rss = (uint64_t)ru->ru_maxrss << 10;
	s->exit.ended_ns = boot_ns();
	s->exit.disk_avail = limit_disk();
	close_fd(&s->fd_in);
	s->state = SETTLING;
	if (s->killed || !limit_may_grow(s))
		settled(s);
}

void command_kill(struct session *s)
{
	if (s->state != RUNNING && s->state != SETTLING)
		return;
	kill_rest(s);
	s->killed = 1;
	if (s->state == SETTLING)
		settled(s);
}

void command_settle(struct session *s)
{
	if (s->state == SETTLING && limit_has_settled(s))
		settled(s);
}

/* Every orphan of the guest is ours; what remains after a batch waits for
 * the next round, so that output moves on. */
void command_reap(struct session *s)
{
	struct signalfd_siginfo si;
	struct rusage ru;
	int i, status;
	pid_t pid;

	/* First the notice, then the waits: no death goes unseen. */
	if (read(s->child_fd, &si, sizeof(si)) < 0 && !s->reap_more)
		return;
	s->reap_more = 0;
	for (i = 0; i < REAP_BATCH; i++) {
		pid = wait4(-1, &status, WNOHANG, &ru);
		if (pid <= 0)
			break;
		if (pid == s->pid && s->state == RUNNING)
			ended(s, status, &ru);
		else
			more_reaped(s, pid);
	}
	s->reap_more = i == REAP_BATCH;
	more_sweep(s);
}

int command_lingers(const struct session *s)
{
	return !is_own(s) && s->state == DRAINING &&
	       (s->fd_out >= 0 || s->fd_err >= 0);
}

/* What @fd holds now, and a little more. */
static uint32_t holds(int fd)
{
	int n = 0;

	if (fd >= 0 && ioctl(fd, FIONREAD, &n))
		n = 0;
	return (uint32_t)n + SLACK;
}

void command_linger(struct session *s, int silent)
{
	if (!s->sealed) {
		if (cgroup_read(s->spawn.cgroup, "cgroup.events",
				"populated") == 1)
			return;
		s->sealed = 1;
		s->left_out = holds(s->fd_out);
		s->left_err = holds(s->fd_err);
	} else if (silent) {
		close_fd(&s->fd_out);
		close_fd(&s->fd_err);
	}
}

void command_finish(struct session *s)
{
	struct wire_exit *x = &s->exit;
	int dir = s->spawn.cgroup;

	if (s->state != DRAINING || s->fd_out >= 0 || s->fd_err >= 0 ||
	    out_room(s) < WIRE_HDR + sizeof(*x))
		return;
	x->memory_peak = cgroup_read(dir, "memory.peak", NULL);
	x->oom_kills = cgroup_read(dir, "memory.events", "oom_kill");
	if (s->fd_limit >= 0)
		x->pids_refused = cgroup_read_fd(s->fd_limit, "max");
	else if (x->pids_refused == WIRE_UNKNOWN)
		x->pids_refused = cgroup_read(dir, "pids.events", "max");
	out_put(s, WIRE_EXIT, x, sizeof(*x));
	s->state = DONE;
}

void command_abandon(struct session *s)
{
	struct pollfd p = { .fd = s->child_fd, .events = POLLIN };
	struct signalfd_siginfo si;
	int i;

	if (s->state != RUNNING)
		return;
	/* A terminal hangs up by this. Pipes stay: to die of SIGPIPE is no
	 * chance to clean up. */
	close_fd(&s->fd_in);
	if (s->spawn.cmd.head.flags & WIRE_EXEC_TTY)
		close_fd(&s->fd_out);
	kill(-s->pid, SIGHUP);
	kill(-s->pid, SIGCONT);
	for (i = 0; i < HANGUP_STEPS; i++) {
		if (waitpid(s->pid, NULL, WNOHANG))
			break;
		if (poll(&p, 1, HANGUP_MS / HANGUP_STEPS) > 0 &&
		    read(s->child_fd, &si, sizeof(si)) < 0)
			break;
	}
	kill_rest(s);
}
