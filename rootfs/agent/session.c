/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving loop.
 *
 * poll(2) and not epoll: seven descriptors at most, whose interest changes in
 * nearly every round, so that epoll would cost more calls.
 */
#include "rootfs/agent/session.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	P_CTL,
	P_CHILD,
	P_STDOUT,
	P_STDERR,
	P_STDIN,
	P_MORE,
	P_LIMIT,
	P_COUNT,
};

uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int take_signal(struct session *s, const struct wire_frame *f)
{
	struct wire_signal sig;

	wire_get(f, &sig, sizeof(sig));
	if (!sig.signo || sig.signo > 64)
		return -EPROTO;
	command_signal(s, (int)sig.signo);
	return 0;
}

static void take_winch(struct session *s, const struct wire_frame *f)
{
	struct wire_winch w;

	wire_get(f, &w, sizeof(w));
	command_resize(s, w.rows, w.cols);
}

/* After one that failed nothing is as it was to be: no more are done. */
static int take_mount(struct session *s, const struct wire_frame *f)
{
	struct wire_mounted done = { 0 };
	struct wire_mount m;
	char *path;
	int ret;

	if (!is_own(s) || s->state != IDLE || s->mounts++ >= WIRE_MOUNTS_MAX)
		return -EPROTO;
	ret = wire_get_mount(f, &m, &path);
	if (ret)
		return ret;
	if (!s->mount_error)
		s->mount_error = mount_do(&m, path, s->sv.upper);
	done.error = (uint32_t)s->mount_error;
	out_put(s, WIRE_MOUNTED, &done, sizeof(done));
	return 0;
}

/* All that follows may count on it, or nothing does. */
static int take_net(struct session *s, const struct wire_frame *f)
{
	struct wire_net net;
	int ret;

	if (!is_own(s) || s->state != IDLE || s->net_told++)
		return -EPROTO;
	ret = wire_get_net(f, &net);
	if (ret)
		return ret;
	s->net_error = net_up(&net);
	if (!s->net_error && net.flags & WIRE_NET_DIAL)
		s->net_error = more_dialer(s, &net);
	return 0;
}

static int take_frame(struct session *s, const struct wire_frame *f)
{
	if (f->type == WIRE_EXEC)
		return command_start(s, f);
	if (f->type == WIRE_MOUNT)
		return take_mount(s, f);
	if (f->type == WIRE_NET)
		return take_net(s, f);
	if (s->state == IDLE)
		return -EPROTO;
	switch (f->type) {
	case WIRE_STDIN:
		return in_push(s, f->data, f->len);
	case WIRE_STDIN_EOF:
		in_end(s);
		return 0;
	case WIRE_SIGNAL:
		return take_signal(s, f);
	case WIRE_WINCH:
		take_winch(s, f);
		return 0;
	case WIRE_KILL:
		command_kill(s);
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
	ssize_t n = recv(s->sv.ctl, p, room, MSG_DONTWAIT);
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

/* In ms; -1: for ever. */
static int patience(const struct session *s)
{
	if (s->reap_more)
		return 0;
	if (s->state == SETTLING)
		return limit_look_ms(s);
	return command_lingers(s) ? LINGER_MS : -1;
}

/* With the run's own command the machine ends, unless the host has more to
 * ask: then what it had asked before is gone. */
static int takes_more(const struct session *s)
{
	return s->state < DRAINING ||
	       s->spawn.cmd.head.flags & WIRE_EXEC_STAY;
}

static int wait_events(struct session *s, struct pollfd *p)
{
	int room = out_has_data_room(s);
	int pending = s->out.head != s->out.tail;
	int i, n;

	p[P_CTL].fd = s->sv.ctl;
	p[P_CTL].events = (short)(POLLIN | (pending ? POLLOUT : 0));
	p[P_CHILD].fd = s->child_fd;
	p[P_CHILD].events = POLLIN;
	p[P_STDOUT].fd = room ? s->fd_out : -1;
	p[P_STDOUT].events = POLLIN;
	p[P_STDERR].fd = room ? s->fd_err : -1;
	p[P_STDERR].events = POLLIN;
	p[P_STDIN].fd = s->in.len ? s->fd_in : -1;
	p[P_STDIN].events = POLLOUT;
	p[P_MORE].fd = takes_more(s) ? s->sv.listener : -1;
	p[P_MORE].events = POLLIN;
	p[P_LIMIT].fd = s->state < DRAINING ? s->fd_limit : -1;
	p[P_LIMIT].events = POLLPRI;
	for (i = 0; i < P_COUNT; i++)
		p[i].revents = 0;
	n = poll(p, P_COUNT, patience(s));
	return !n && room;
}

static int serve_round(struct session *s)
{
	struct pollfd p[P_COUNT];
	int ret = 1, silent;

	silent = wait_events(s, p);
	/* Output before deaths: fewer rounds for a command that ends. */
	if (p[P_STDOUT].revents)
		out_pump(s, &s->fd_out, WIRE_STDOUT, &s->left_out);
	if (p[P_STDERR].revents)
		out_pump(s, &s->fd_err, WIRE_STDERR, &s->left_err);
	if (p[P_CHILD].revents || s->reap_more)
		command_reap(s);
	if (p[P_LIMIT].revents)
		limit_hit(s);
	command_settle(s);
	if (p[P_CTL].revents & ~POLLOUT)
		ret = receive(s);
	if (ret <= 0)
		return ret;
	/* After the frames: KILL is not for what the host asked since. */
	if (p[P_MORE].revents)
		more_accept(s);
	if (p[P_STDIN].revents)
		in_drain(s);
	in_ack(s);
	if (command_lingers(s))
		command_linger(s, silent);
	command_finish(s);
	ret = out_flush(s);
	/* The host may have bytes of ours in hand yet: it is to hang up. */
	if (s->state == DONE && s->out.head == s->out.tail && !is_own(s))
		shutdown(s->sv.ctl, SHUT_WR);
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

/*
 * Do not preempt the command when it writes: it goes on until its pipe is
 * full, and one frame carries what would be many (20 MB in 4 KiB writes: 550
 * frames instead of 3,000). In return a command that writes and then computes
 * may keep us waiting for a scheduler slice. It is born with the ordinary
 * policy itself. (musl's wrapper of this call is a stub.)
 */
static void be_patient(void)
{
	struct sched_param none = { 0 };

	syscall(SYS_sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK,
		&none);
}

int session_serve(const struct serve *sv)
{
	struct wire_ready ready = {
		.version = WIRE_VERSION,
		.boot_ns = boot_ns(),
		.init_ns = sv->init_ns,
	};
	/* Mapped and not allocated: zeroed, and touched only where used. */
	struct session *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (s == MAP_FAILED)
		return -errno;
	s->sv = *sv;
	s->left_out = s->left_err = UINT32_MAX;
	s->child_fd = open_child_fd();
	s->fd_in = s->fd_out = s->fd_err = -1;
	s->spawn.cgroup = -1;
	s->spawn.self = sv->self;
	s->spawn.upper = sv->upper;
	s->spawn.fd[0] = s->spawn.fd[1] = s->spawn.fd[2] = -1;
	s->fd_limit = -1;
	s->exit.user_us = s->exit.system_us = WIRE_UNKNOWN;
	s->exit.max_rss = s->exit.disk_avail = WIRE_UNKNOWN;
	s->exit.pids_refused = WIRE_UNKNOWN;
	wire_reader_init(&s->reader, WIRE_FROM_HOST);
	if (s->child_fd < 0)
		return -errno;
	be_patient();
	out_put(s, WIRE_READY, &ready, sizeof(ready));
	ret = out_flush(s);
	if (!ret)
		ret = 1;
	while (ret > 0)
		ret = serve_round(s);
	if (!is_own(s))
		command_abandon(s);
	return ret;
}
