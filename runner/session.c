/* SPDX-License-Identifier: Apache-2.0 */
/* One command over one stream to a guest's agent: the frames. */
#include "runner/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* Reads in one go: more than a socket holds, so that a stopped VM's last
 * bytes are taken at once. */
#define PUMP_ROUNDS 16

/* --- from the agent --------------------------------------------------- */

static void lose(struct session *s, const char *why)
{
	if (s->lost)
		return;
	s->lost = 1;
	ev_del(&s->agent);
	session_end_input(s);
	s->p.ops->lost(s, why);
}

static void got_ready(struct session *s, const struct wire_frame *f)
{
	char why[96];

	if (s->ready_ns) {
		lose(s, "its agent broke the protocol");
		return;
	}
	wire_get(f, &s->ready, sizeof(s->ready));
	if (s->ready.version != WIRE_VERSION) {
		snprintf(why, sizeof(why),
			 "its agent speaks version %u of the protocol, "
			 "this mayfly %d",
			 s->ready.version, WIRE_VERSION);
		lose(s, why);
		return;
	}
	s->ready_ns = io_now_ns();
	s->p.ops->ready(s);
	if (s->sent_exec)
		session_begin_input(s);
}

static void got_started(struct session *s, const struct wire_frame *f)
{
	if (s->started_ns) {
		lose(s, "its agent broke the protocol");
		return;
	}
	wire_get(f, &s->started, sizeof(s->started));
	s->started_ns = io_now_ns();
	s->p.ops->started(s);
}

static void got_mounted(struct session *s, const struct wire_frame *f)
{
	struct wire_mounted m;

	if (s->mounted == s->mounts) {
		lose(s, "its agent broke the protocol");
		return;
	}
	wire_get(f, &m, sizeof(m));
	s->mounted++;
	s->p.ops->mounted(s, (int)(m.error & 0xfff));
}

static void got_exit(struct session *s, const struct wire_frame *f)
{
	wire_get(f, &s->exit, sizeof(s->exit));
	s->have_exit = 1;
	session_end_input(s);
	s->p.ops->ended(s);
}

/* READY is first and EXIT is last, and of a command is nothing before it was
 * sent, and all that it asked for is mounted. */
static int is_in_order(const struct session *s, unsigned type)
{
	if (s->have_exit)
		return 0;
	return type == WIRE_READY ||
	       (s->ready_ns && (type == WIRE_MOUNTED ||
				(s->sent_exec && s->mounted == s->mounts)));
}

static void got_frame(struct session *s, const struct wire_frame *f)
{
	struct wire_ack ack;

	if (!is_in_order(s, f->type)) {
		lose(s, "its agent broke the protocol");
		return;
	}
	switch (f->type) {
	case WIRE_READY:
		got_ready(s, f);
		break;
	case WIRE_MOUNTED:
		got_mounted(s, f);
		break;
	case WIRE_STARTED:
		got_started(s, f);
		break;
	case WIRE_STDOUT:
		session_output(s, STDOUT_FILENO, f->data, f->len);
		break;
	case WIRE_STDERR:
		session_output(s, STDERR_FILENO, f->data, f->len);
		break;
	case WIRE_STDIN_ACK:
		wire_get(f, &ack, sizeof(ack));
		s->in_flight -= MIN(s->in_flight, ack.bytes);
		session_pump_input(s);
		break;
	case WIRE_EXIT:
		got_exit(s, f);
		break;
	}
}

static int may_take(const struct session *s)
{
	return !s->lost && !s->stopped && session_has_room(s);
}

/* Frames that are here already. 0 when more bytes are wanted. */
static int take_frames(struct session *s)
{
	struct wire_frame f;
	int r = 0;

	while (may_take(s) && (r = wire_next(&s->reader, &f)) > 0)
		got_frame(s, &f);
	if (r < 0) {
		log_info("the guest agent sent a frame that is not one");
		lose(s, "its agent broke the protocol");
	}
	return !may_take(s);
}

/* 0 when there is nothing to read now. */
static int read_agent(struct session *s)
{
	size_t room;
	void *p = wire_room(&s->reader, &room);
	ssize_t n = recv(s->agent_fd, p, room, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n > 0) {
		wire_filled(&s->reader, (size_t)n);
	} else {
		s->hung_up = 1;
		lose(s, "its agent ended the connection");
	}
	return 1;
}

/*
 * Until the stream is empty, an output is full, or the agent is gone. A guest
 * that writes faster than we read must not keep the loop from the clock. Frames
 * are taken after the last read too: no byte may follow that would wake us.
 */
void session_pump(struct session *s)
{
	int rounds = PUMP_ROUNDS;

	while (!take_frames(s)) {
		if (!rounds-- || !read_agent(s)) {
			ev_set(s->p.loop, &s->agent, EPOLLIN);
			return;
		}
	}
	ev_del(&s->agent); /* until an output has room again */
}

static void on_agent(struct ev *ev, uint32_t events)
{
	(void)events;
	session_pump(container_of(ev, struct session, agent));
}

/* --- to the agent ----------------------------------------------------- */

void session_send(struct session *s, enum wire_type type, const void *payload,
		  uint32_t len)
{
	uint8_t buf[WIRE_HDR + 16];

	/* Before EXEC there is nobody whom it could be for. */
	if (!s->lost && s->sent_exec && sink_room(&s->to_agent) >= sizeof(buf))
		sink_put(&s->to_agent, buf, wire_put(buf, type, payload, len));
}

unsigned session_flags(const struct config *c)
{
	return (c->interactive ? WIRE_EXEC_STDIN : 0u) |
	       (c->tty ? WIRE_EXEC_TTY : 0u);
}

void session_unignored(sigset_t *set, const int *list, size_t n)
{
	struct sigaction sa;

	sigemptyset(set);
	for (size_t i = 0; i < n; i++)
		if (sigaction(list[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			sigaddset(set, list[i]);
}

void session_forwarded_signals(sigset_t *set)
{
	static const int list[] = { SIGINT, SIGTERM, SIGHUP };

	session_unignored(set, list, ARRAY_SIZE(list));
}

void session_signal(struct session *s, int signo)
{
	struct wire_signal sig = { .signo = (uint32_t)signo };

	session_send(s, WIRE_SIGNAL, &sig, sizeof(sig));
}

void session_kill(struct session *s)
{
	session_send(s, WIRE_KILL, NULL, 0);
}

int session_mount(struct session *s, const struct wire_mount *m,
		  const char *path)
{
	uint8_t buf[WIRE_HDR + sizeof(*m) + WIRE_PATH_MAX];
	long n = wire_put_mount(buf, MIN(sizeof(buf), sink_room(&s->to_agent)),
				m, path);

	if (n < 0 || s->mounts == WIRE_MOUNTS_MAX)
		return -E2BIG;
	s->mounts++;
	sink_put(&s->to_agent, buf, (size_t)n);
	return 0;
}

/* "TERM=" and ours, unless @env has one, or ours is none. */
static char *default_term(const struct strings *env, char *buf, size_t cap)
{
	const char *type = terminal_type();

	for (size_t i = 0; i < env->n; i++)
		if (!strncmp(env->v[i], "TERM=", 5))
			return NULL;
	if (!type)
		return NULL;
	snprintf(buf, cap, "TERM=%s", type);
	return buf;
}

int session_exec(struct session *s, struct err *err)
{
	const struct session_params *p = &s->p;
	_cleanup_free_ char **env = calloc(p->env->n + 2, sizeof(*env));
	_cleanup_free_ uint8_t *buf = malloc(WIRE_HDR + WIRE_EXEC_MAX);
	struct wire_command cmd = {
		.head = { .flags = p->flags, .pids_max = p->pids_max },
		.argv = p->argv,
		.cwd = p->workdir ? p->workdir : "",
		.user = p->user ? p->user : "",
	};
	char term[TERMINAL_TYPE_MAX + 8];
	struct timespec now;
	long n;

	if (!env || !buf)
		return err_set(err, -ENOMEM, "command");
	for (size_t i = 0; i < p->env->n; i++)
		env[i] = (char *)p->env->v[i];
	if (p->flags & WIRE_EXEC_TTY) {
		env[p->env->n] = default_term(p->env, term, sizeof(term));
		if (s->tty_fd >= 0)
			terminal_size(s->tty_fd, &cmd.head.rows,
				      &cmd.head.cols);
	}
	cmd.env = env;
	clock_gettime(CLOCK_REALTIME, &now);
	if (p->set_clock) {
		cmd.head.realtime_ns = (uint64_t)now.tv_sec * 1000000000u +
				       (uint64_t)now.tv_nsec;
		if (!s->ready_ns)
			cmd.head.flags |= WIRE_EXEC_EARLY;
	}
	n = wire_put_exec(buf, sink_room(&s->to_agent), &cmd);
	if (n < 0)
		return err_say(err, (int)n,
			       "the command and its environment are too long "
			       "(%u bytes at the most)",
			       WIRE_EXEC_MAX);
	sink_put(&s->to_agent, buf, (size_t)n);
	s->sent_exec = 1;
	if (s->ready_ns)
		session_begin_input(s);
	return 0;
}

static void to_agent_moved(struct sink *k, void *opaque)
{
	(void)k;
	session_pump_input(opaque);
}

static int open_agent(struct session *s)
{
	struct stream st;
	int fd = fcntl(s->agent_fd, F_DUPFD_CLOEXEC, 3), r;

	if (fd < 0)
		return -errno;
	r = stream_own(&st, fd);
	if (r == 0)
		r = sink_init(&s->to_agent, s->p.loop, &st, to_agent_moved, s);
	s->agent = (struct ev){ .fd = s->agent_fd, .fn = on_agent };
	return r < 0 ? r : ev_set(s->p.loop, &s->agent, EPOLLIN);
}

/* Before all else: whatever is asked for may need it. */
static int send_net(struct session *s)
{
	uint8_t buf[WIRE_HDR + sizeof(*s->p.net)];

	if (!s->p.net)
		return 0;
	sink_put(&s->to_agent, buf, wire_put(buf, WIRE_NET, s->p.net,
					     sizeof(*s->p.net)));
	s->p.net = NULL;
	return s->to_agent.error;
}

/* --- life cycle ------------------------------------------------------- */

int session_open(struct session **out, const struct session_params *p,
		 struct err *err)
{
	struct session *s = calloc(1, sizeof(*s));
	int r;

	*out = s;
	if (!s) {
		close(p->agent_fd);
		return err_set(err, -ENOMEM, "session");
	}
	s->p = *p;
	s->agent_fd = p->agent_fd;
	s->in.fd = s->to_agent.s.fd = s->out.s.fd = s->errout.s.fd = -1;
	s->terminal.fd = s->tty_signals.fd = s->tty_fd = -1;
	wire_reader_init(&s->reader, WIRE_FROM_GUEST);
	r = open_agent(s);
	if (r == 0)
		r = send_net(s);
	if (r == 0)
		r = session_open_streams(s);
	if (r < 0)
		err_set(err, r, "streams");
	else if (!p->hold)
		r = session_exec(s, err);
	if (r < 0)
		session_close(out);
	return r;
}

void session_close(struct session **s)
{
	if (!*s)
		return;
	session_close_streams(*s);
	sink_free(&(*s)->to_agent);
	ev_del(&(*s)->agent);
	close_fd(&(*s)->agent_fd);
	free(*s);
	*s = NULL;
}

void session_stop(struct session *s)
{
	s->stopped = 1;
}
