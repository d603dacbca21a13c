/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving loop: one command, its streams, one control connection.
 *
 * poll(2) and not epoll: five descriptors at most, whose interest changes in
 * nearly every round, so that epoll would cost more calls. Bytes move by
 * 64 KiB: a pipe is read right behind the header of the frame that carries
 * it, and input is written to the command from where it was received; only
 * what the command does not take at once is copied.
 *
 * The end of a command is the end of its main process: all that it left
 * behind is killed, then the pipes are read to their end, then EXIT is sent.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUT_SIZE	(2 * (WIRE_HDR + WIRE_DATA_MAX) + 1024)
#define ACK_STEP	(WIRE_STDIN_WINDOW / 4)
#define REAP_BATCH	64
#define CTRL_D		4

enum { P_CTL, P_CHILD, P_STDOUT, P_STDERR, P_STDIN, P_COUNT };

/* Where the command is; each state leads to the next. */
enum state { IDLE, RUNNING, DRAINING, DONE };

/* Input on its way to the command: a ring. */
struct input {
	uint32_t start, len; /* the bytes not yet taken */
	uint32_t window;     /* received and not acknowledged */
	uint32_t taken;	     /* of those, ready to acknowledge */
	int eof;
	uint8_t buf[WIRE_STDIN_WINDOW];
};

/* Frames on their way to the host. */
struct output {
	uint32_t head, tail;
	uint8_t buf[OUT_SIZE];
};

struct session {
	int ctl, child_fd;
	enum state state;
	pid_t pid;
	int reap_more;
	int fd_in, fd_out, fd_err; /* our ends, or -1 */
	struct wire_exit exit;
	const char *cgroups;
	struct output out;
	struct input in;
	struct wire_reader reader;
	char *slots[WIRE_SLOTS];
	struct spawn spawn;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t timeval_us(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * 1000000u + (uint64_t)tv.tv_usec;
}

/* --- towards the host ------------------------------------------------- */

static uint32_t out_room(const struct session *s)
{
	return (uint32_t)sizeof(s->out.buf) - s->out.tail;
}

static int out_has_data_room(const struct session *s)
{
	return out_room(s) >= WIRE_HDR + WIRE_DATA_MAX;
}

/* The caller knows that there is room. */
static void out_put(struct session *s, enum wire_type type,
		    const void *payload, uint32_t len)
{
	s->out.tail += (uint32_t)wire_put(s->out.buf + s->out.tail, type,
					  payload, len);
}

static int out_flush(struct session *s)
{
	struct output *o = &s->out;
	ssize_t n;

	if (o->head == o->tail)
		return 0;
	n = send(s->ctl, o->buf + o->head, o->tail - o->head,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	o->head += (uint32_t)n;
	if (o->head == o->tail)
		o->head = o->tail = 0;
	return 0;
}

/* Move what a pipe holds into a frame; its end closes it. */
static void pump(struct session *s, int *fd, enum wire_type type)
{
	uint8_t *frame = s->out.buf + s->out.tail;
	ssize_t n;

	if (!out_has_data_room(s))
		return;
	n = read(*fd, frame + WIRE_HDR, WIRE_DATA_MAX);
	if (n > 0) {
		wire_put_hdr(frame, type, (uint32_t)n);
		s->out.tail += WIRE_HDR + (uint32_t)n;
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		close_fd(fd); /* a terminal ends with EIO */
	}
}

/* --- input ------------------------------------------------------------ */

/* How many bytes the command took; closes what it no longer reads. */
static uint32_t in_write(struct session *s, const uint8_t *p, uint32_t len)
{
	ssize_t n = write(s->fd_in, p, len);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_fd(&s->fd_in);
		return 0;
	}
	s->in.taken += (uint32_t)n;
	return (uint32_t)n;
}

static void in_finish(struct session *s)
{
	static const char ctrl_d = CTRL_D;

	if (s->fd_in < 0 || s->in.len || !s->in.eof)
		return;
	/* A terminal stays open: its end of file is a character. */
	if (s->spawn.cmd.head.flags & WIRE_EXEC_TTY)
		in_write(s, (const uint8_t *)&ctrl_d, 1);
	close_fd(&s->fd_in);
}

static void in_drain(struct session *s)
{
	struct input *in = &s->in;
	uint32_t end, n;

	while (s->fd_in >= 0 && in->len) {
		end = WIRE_STDIN_WINDOW - in->start;
		n = in_write(s, in->buf + in->start,
			     in->len < end ? in->len : end);
		if (!n)
			return;
		in->start = (in->start + n) % WIRE_STDIN_WINDOW;
		in->len -= n;
	}
	in_finish(s);
}

static int in_push(struct session *s, const uint8_t *p, uint32_t len)
{
	struct input *in = &s->in;
	uint32_t n, at;

	if (in->eof || len > WIRE_STDIN_WINDOW - in->window)
		return -EPROTO;
	in->window += len;
	if (s->fd_in >= 0 && !in->len) {
		n = in_write(s, p, len);
		p += n;
		len -= n;
	}
	/* Nobody reads: what is never acknowledged stops the host. */
	if (s->fd_in < 0)
		return 0;
	while (len) {
		at = (in->start + in->len) % WIRE_STDIN_WINDOW;
		n = WIRE_STDIN_WINDOW - at;
		n = len < n ? len : n;
		memcpy(in->buf + at, p, n);
		in->len += n;
		p += n;
		len -= n;
	}
	return 0;
}

static void in_ack(struct session *s)
{
	struct wire_ack ack = { .bytes = s->in.taken };

	if (s->in.taken < ACK_STEP || out_room(s) < WIRE_HDR + sizeof(ack))
		return;
	s->in.window -= s->in.taken;
	s->in.taken = 0;
	out_put(s, WIRE_STDIN_ACK, &ack, sizeof(ack));
}

/* --- the command ------------------------------------------------------ */

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

static int open_streams(struct session *s, int child[3])
{
	uint32_t flags = s->spawn.cmd.head.flags;
	int error;

	if (flags & WIRE_EXEC_TTY)
		return open_tty(s, child);
	if (flags & WIRE_EXEC_STDIN) {
		error = open_pipe(&s->fd_in, &child[0], 0);
	} else {
		child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		error = child[0] < 0 ? errno : 0;
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

/* "mayfly: exec foo: not found", on the command's own stderr. */
static void say_failure(struct session *s)
{
	const struct spawn *sp = &s->spawn;
	int tty = (sp->cmd.head.flags & WIRE_EXEC_TTY) != 0;
	const char *file = sp->cmd.argv[0];
	char line[512] = "mayfly: ";
	static const char *const verb[WIRE_STAGES] = {
		[WIRE_STAGE_FORK] = "start ",
		[WIRE_STAGE_USER] = "user ",
		[WIRE_STAGE_CWD] = "chdir ",
		[WIRE_STAGE_EXEC] = "exec ",
	};

	say_add(line, sizeof(line), verb[sp->stage]);
	/* Leave room for the reason: cut a long name. */
	say_add(line, sizeof(line) - 128,
		sp->stage == WIRE_STAGE_USER ? sp->cmd.user :
		sp->stage == WIRE_STAGE_CWD ? sp->cmd.cwd : file);
	say_add(line, sizeof(line), ": ");
	if (sp->stage != WIRE_STAGE_EXEC || sp->error != ENOENT)
		say_add(line, sizeof(line), strerror(sp->error));
	else if (strchr(file, '/') && !access(file, F_OK))
		say_add(line, sizeof(line), "its interpreter is not found");
	else
		say_add(line, sizeof(line), "not found");
	say_add(line, sizeof(line), "\n");
	out_put(s, tty ? WIRE_STDOUT : WIRE_STDERR, line,
		(uint32_t)strlen(line));
}

static void failed(struct session *s)
{
	struct spawn *sp = &s->spawn;

	say_failure(s);
	s->exit.stage = sp->stage;
	s->exit.error = (uint32_t)sp->error;
	s->exit.code = spawn_exit_code(sp->stage, sp->error);
	close_fd(&s->fd_in);
	close_fd(&s->fd_out);
	close_fd(&s->fd_err);
	s->state = DRAINING;
}

static int try_start(struct session *s)
{
	struct spawn *sp = &s->spawn;
	int error;

	sp->stage = WIRE_STAGE_USER;
	sp->error = user_find("/etc", sp->cmd.user, &sp->user);
	if (sp->error)
		return -1;
	spawn_env(sp);
	sp->stage = WIRE_STAGE_FORK;
	if (s->cgroups)
		sp->cgroup = cgroup_make(s->cgroups, sp->cmd.head.memory_max,
					 sp->cmd.head.pids_max);
	error = open_streams(s, sp->fd);
	if (error)
		sp->error = error;
	else
		s->pid = spawn_start(sp);
	close_streams(sp->fd);
	return sp->error ? -1 : 0;
}

static void set_clock(uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u),
	};

	if (ns)
		clock_settime(CLOCK_REALTIME, &ts);
}

static int start(struct session *s, const struct wire_frame *f)
{
	struct wire_started st = { 0 };
	int ret;

	if (s->state != IDLE)
		return -EPROTO;
	ret = wire_get_exec(f, s->slots, &s->spawn.cmd);
	if (ret)
		return ret;
	set_clock(s->spawn.cmd.head.realtime_ns);
	s->state = RUNNING;
	if (try_start(s)) {
		failed(s);
		return 0;
	}
	st.pid = (uint32_t)s->pid;
	st.boot_ns = boot_ns();
	out_put(s, WIRE_STARTED, &st, sizeof(st));
	return 0;
}

/* All that the command left behind. As PID 1 we reach even what has left its
 * cgroup; there is nothing else in the machine. */
static void kill_rest(struct session *s)
{
	cgroup_kill(s->spawn.cgroup);
	kill(getpid() == 1 ? -1 : -s->pid, SIGKILL);
}

static void ended(struct session *s, int status, const struct rusage *ru)
{
	if (WIFSIGNALED(status))
		s->exit.signal = (uint32_t)WTERMSIG(status);
	else
		s->exit.code = (uint32_t)WEXITSTATUS(status);
	s->exit.user_us = timeval_us(ru->ru_utime);
	s->exit.system_us = timeval_us(ru->ru_stime);
	kill_rest(s);
	close_fd(&s->fd_in);
	s->state = DRAINING;
}

/* Every orphan of the guest is ours; what remains after a batch waits for
 * the next round, so that output moves on. */
static void reap(struct session *s)
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
			return;
		if (pid == s->pid && s->state == RUNNING)
			ended(s, status, &ru);
	}
	s->reap_more = 1;
}

static void finish(struct session *s)
{
	struct wire_exit *x = &s->exit;
	int dir = s->spawn.cgroup;
	struct statvfs fs;

	if (s->state != DRAINING || s->fd_out >= 0 || s->fd_err >= 0 ||
	    out_room(s) < WIRE_HDR + sizeof(*x))
		return;
	x->memory_peak = cgroup_read(dir, "memory.peak", NULL);
	x->oom_kills = cgroup_read(dir, "memory.events", "oom_kill");
	x->pids_refused = cgroup_read(dir, "pids.events", "max");
	x->disk_avail = WIRE_UNKNOWN;
	if (!statvfs("/", &fs))
		x->disk_avail = fs.f_favail ? fs.f_bavail * fs.f_frsize : 0;
	out_put(s, WIRE_EXIT, x, sizeof(*x));
	s->state = DONE;
}

/* --- from the host ---------------------------------------------------- */

static int take_signal(struct session *s, const struct wire_frame *f)
{
	struct wire_signal sig;

	wire_get(f, &sig, sizeof(sig));
	if (!sig.signo || sig.signo > 64)
		return -EPROTO;
	/* The group is the command's own: it called setsid(). */
	if (s->state == RUNNING)
		kill(-s->pid, (int)sig.signo);
	return 0;
}

static void take_winch(struct session *s, const struct wire_frame *f)
{
	struct wire_winch w;

	wire_get(f, &w, sizeof(w));
	if (s->spawn.cmd.head.flags & WIRE_EXEC_TTY && s->fd_out >= 0)
		set_size(s->fd_out, w.rows, w.cols);
}

static int take_frame(struct session *s, const struct wire_frame *f)
{
	if (f->type == WIRE_EXEC)
		return start(s, f);
	if (s->state == IDLE)
		return -EPROTO;
	switch (f->type) {
	case WIRE_STDIN:
		return in_push(s, f->data, f->len);
	case WIRE_STDIN_EOF:
		s->in.eof = 1;
		in_finish(s);
		return 0;
	case WIRE_SIGNAL:
		return take_signal(s, f);
	case WIRE_WINCH:
		take_winch(s, f);
		return 0;
	default:
		return -EPROTO;
	}
}

/* 1 while the stream lives, 0 at its end, or -errno. */
static int receive(struct session *s)
{
	struct wire_frame f;
	size_t room;
	void *p = wire_room(&s->reader, &room);
	ssize_t n = recv(s->ctl, p, room, MSG_DONTWAIT);
	int ret;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : -errno;
	if (!n)
		return 0;
	wire_filled(&s->reader, (size_t)n);
	while ((ret = wire_next(&s->reader, &f)) > 0) {
		ret = take_frame(s, &f);
		if (ret)
			return ret;
	}
	return ret < 0 ? ret : 1;
}

/* --- the loop --------------------------------------------------------- */

static void wait_events(struct session *s, struct pollfd *p)
{
	int room = out_has_data_room(s);
	int pending = s->out.head != s->out.tail;
	int i;

	p[P_CTL].fd = s->ctl;
	p[P_CTL].events = (short)(POLLIN | (pending ? POLLOUT : 0));
	p[P_CHILD].fd = s->child_fd;
	p[P_CHILD].events = POLLIN;
	p[P_STDOUT].fd = room ? s->fd_out : -1;
	p[P_STDOUT].events = POLLIN;
	p[P_STDERR].fd = room ? s->fd_err : -1;
	p[P_STDERR].events = POLLIN;
	p[P_STDIN].fd = s->in.len ? s->fd_in : -1;
	p[P_STDIN].events = POLLOUT;
	for (i = 0; i < P_COUNT; i++)
		p[i].revents = 0;
	poll(p, P_COUNT, s->reap_more ? 0 : -1);
}

static int serve_round(struct session *s)
{
	struct pollfd p[P_COUNT];
	int ret = 1;

	wait_events(s, p);
	/* Output before deaths: fewer rounds for a command that ends. */
	if (p[P_STDOUT].revents)
		pump(s, &s->fd_out, WIRE_STDOUT);
	if (p[P_STDERR].revents)
		pump(s, &s->fd_err, WIRE_STDERR);
	if (p[P_CHILD].revents || s->reap_more)
		reap(s);
	if (p[P_CTL].revents & ~POLLOUT)
		ret = receive(s);
	if (ret <= 0)
		return ret;
	if (p[P_STDIN].revents)
		in_drain(s);
	in_ack(s);
	finish(s);
	ret = out_flush(s);
	return ret < 0 ? ret : 1;
}

static int open_child_fd(void)
{
	sigset_t all, child;

	/* Nothing is to interrupt us; SIGPIPE and the like stay pending. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

int session_serve(int ctl, const char *cgroups)
{
	struct wire_ready ready = {
		.version = WIRE_VERSION,
		.boot_ns = boot_ns(),
	};
	/* Mapped and not allocated: zeroed, and touched only where used. */
	struct session *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (s == MAP_FAILED)
		return -errno;
	s->ctl = ctl;
	s->child_fd = open_child_fd();
	s->fd_in = s->fd_out = s->fd_err = -1;
	s->spawn.cgroup = -1;
	s->spawn.fd[0] = s->spawn.fd[1] = s->spawn.fd[2] = -1;
	s->exit.user_us = s->exit.system_us = WIRE_UNKNOWN;
	s->cgroups = cgroups;
	wire_reader_init(&s->reader, WIRE_FROM_HOST);
	if (s->child_fd < 0)
		return -errno;
	out_put(s, WIRE_READY, &ready, sizeof(ready));
	ret = out_flush(s);
	while (ret >= 0) {
		ret = serve_round(s);
		if (!ret)
			return 0;
	}
	return ret;
}
