/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's stream and the standard streams of a run. */
#include "runner/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* Room that input leaves in the sink: SIGNAL and STDIN_EOF always fit. */
#define INPUT_RESERVE 128
/* Reads in one go: more than a socket holds, so that a stopped VM's last
 * bytes are taken at once. */
#define PUMP_ROUNDS 16

static void pump_input(struct session *s);

/* --- the agent -------------------------------------------------------- */

static void agent_lost(struct session *s)
{
	if (s->agent_gone)
		return;
	s->agent_gone = 1;
	ev_del(&s->agent);
	/* Its end is a panic that says more in a moment. */
	if (s->state < STATE_ENDING)
		session_await(s, s->p->limits->words);
	session_check_drained(s);
}

static void got_ready(struct session *s, const struct wire_frame *f)
{
	wire_get(f, &s->r->ready, sizeof(s->r->ready));
	if (s->state != STATE_BOOT || s->r->ready.version != WIRE_VERSION) {
		agent_lost(s);
		return;
	}
	s->r->ready_ns = io_now_ns();
	s->state = STATE_COMMAND;
	ev_timer_arm(s->limit_fd, s->p->config->timeout_ns);
	pump_input(s);
}

int session_ask_stats(struct session *s)
{
	return s->p->config->meta &&
	       ctl_send_query(s->p->machine->control) == 0;
}

static void got_exit(struct session *s, const struct wire_frame *f)
{
	if (s->r->have_exit)
		return;
	wire_get(f, &s->r->exit, sizeof(s->r->exit));
	s->r->have_exit = 1;
	if (s->stop_signal)
		verdict_stopped(s->r, s->stop_signal);
	if (s->r->verdict == VERDICT_NONE)
		verdict_from_exit(s->r, s->p->config->argv[0], s->err);
	if (s->state < STATE_DRAIN && session_ask_stats(s))
		session_await(s, s->p->limits->stats);
	else
		session_drain(s);
}

static void got_output(struct session *s, struct sink *to,
		       const struct wire_frame *f)
{
	const char *name = to == &s->out ? "stdout" : "stderr";

	if (!s->r->output_ns)
		s->r->output_ns = io_now_ns();
	sink_put(to, f->data, f->len);
	if (!to->error)
		return;
	/* Nobody reads any more: what SIGPIPE would do to a command here. */
	if (to->error == -EPIPE) {
		verdict_stopped(s->r, SIGPIPE);
		session_drain(s);
	} else {
		session_internal(s, to->error, name);
	}
}

static void got_frame(struct session *s, const struct wire_frame *f)
{
	struct wire_ack ack;

	switch (f->type) {
	case WIRE_READY:
		got_ready(s, f);
		break;
	case WIRE_STDOUT:
		got_output(s, &s->out, f);
		break;
	case WIRE_STDERR:
		got_output(s, &s->errout, f);
		break;
	case WIRE_STDIN_ACK:
		wire_get(f, &ack, sizeof(ack));
		s->in_flight -= MIN(s->in_flight, ack.bytes);
		pump_input(s);
		break;
	case WIRE_EXIT:
		got_exit(s, f);
		break;
	}
}

static int outputs_have_room(const struct session *s)
{
	return sink_room(&s->out) >= WIRE_DATA_MAX &&
	       sink_room(&s->errout) >= WIRE_DATA_MAX;
}

/* Frames that are here already. 0 when more bytes are wanted. */
static int take_frames(struct session *s)
{
	struct wire_frame f;
	int r = 0;

	while (!s->agent_gone && s->state != STATE_DONE &&
	       outputs_have_room(s) && (r = wire_next(&s->reader, &f)) > 0)
		got_frame(s, &f);
	if (r < 0) {
		log_info("the guest agent sent a frame that is not one");
		agent_lost(s);
	}
	return s->agent_gone || s->state == STATE_DONE || !outputs_have_room(s);
}

/* 0 when there is nothing to read now. */
static int read_agent(struct session *s)
{
	size_t room;
	void *p = wire_room(&s->reader, &room);
	ssize_t n = recv(s->agent_fd, p, room, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n > 0)
		wire_filled(&s->reader, (size_t)n);
	else
		agent_lost(s);
	return 1;
}

/*
 * Until the stream is empty, an output is full, or the agent is gone. A guest
 * that writes faster than we read must not keep the loop from the clock. Frames
 * are taken after the last read too: no byte may follow that would wake us.
 */
void session_pump_agent(struct session *s)
{
	int rounds = PUMP_ROUNDS;

	while (!take_frames(s)) {
		if (!rounds-- || !read_agent(s)) {
			ev_set(s->p->loop, &s->agent, EPOLLIN);
			return;
		}
	}
	ev_del(&s->agent); /* until an output has room again */
}

static void on_agent(struct ev *ev, uint32_t events)
{
	(void)events;
	session_pump_agent(container_of(ev, struct session, agent));
}

/* --- the user --------------------------------------------------------- */

static void output_moved(struct sink *k, void *opaque)
{
	struct session *s = opaque;

	if (k->error == -EPIPE) {
		verdict_stopped(s->r, SIGPIPE);
		session_drain(s);
	} else if (k->error) {
		session_internal(s, k->error,
				 k == &s->out ? "stdout" : "stderr");
	}
	session_pump_agent(s);
	session_check_drained(s);
}

static void send_frame(struct session *s, enum wire_type type,
		       const void *payload, uint32_t len)
{
	uint8_t buf[WIRE_HDR + 16];

	if (!s->agent_gone && sink_room(&s->to_agent) >= sizeof(buf))
		sink_put(&s->to_agent, buf, wire_put(buf, type, payload, len));
}

void session_send_signal(struct session *s, int signo)
{
	struct wire_signal sig = { .signo = (uint32_t)signo };

	send_frame(s, WIRE_SIGNAL, &sig, sizeof(sig));
}

/* How much of standard input may be sent at once; 0: not now. */
static size_t input_room(const struct session *s)
{
	size_t room = sink_room(&s->to_agent), window;

	if (s->in_eof || s->state != STATE_COMMAND || s->to_agent.error ||
	    room <= INPUT_RESERVE)
		return 0;
	window = WIRE_STDIN_WINDOW - s->in_flight;
	room = MIN(room - INPUT_RESERVE, window);
	return MIN(room, WIRE_DATA_MAX);
}

static void end_input(struct session *s)
{
	s->in_eof = 1;
	ev_del(&s->input);
	send_frame(s, WIRE_STDIN_EOF, NULL, 0);
}

/* A shared description blocks: read it only when epoll said so. */
static void read_input(struct session *s, int ready)
{
	uint8_t buf[WIRE_HDR + WIRE_DATA_MAX];
	size_t room;

	while ((room = input_room(s)) > 0) {
		ssize_t n = -EAGAIN;

		if (ready || s->in.kind != STREAM_SHARED)
			n = stream_read(&s->in, buf + WIRE_HDR, room);
		ready = 0;
		if (n == -EAGAIN) {
			ev_set(s->p->loop, &s->input, EPOLLIN);
			return;
		}
		/* An unreadable input ends like an empty one. */
		if (n <= 0) {
			end_input(s);
			return;
		}
		wire_put_hdr(buf, WIRE_STDIN, (uint32_t)n);
		s->in_flight += (uint64_t)n;
		sink_put(&s->to_agent, buf, WIRE_HDR + (size_t)n);
	}
	ev_del(&s->input); /* until the window opens */
}

static void pump_input(struct session *s)
{
	if (s->p->config->interactive)
		read_input(s, 0);
}

static void on_input(struct ev *ev, uint32_t events)
{
	(void)events;
	read_input(container_of(ev, struct session, input), 1);
}

static void to_agent_moved(struct sink *k, void *opaque)
{
	(void)k;
	pump_input(opaque);
}

/* --- set-up ----------------------------------------------------------- */

int session_send_exec(struct session *s)
{
	const struct config *c = s->p->config;
	_cleanup_free_ char **env = calloc(c->env.n + 1, sizeof(*env));
	_cleanup_free_ uint8_t *buf = malloc(WIRE_HDR + WIRE_EXEC_MAX);
	struct timespec now;
	struct wire_command cmd = {
		.argv = c->argv,
		.cwd = c->workdir ? c->workdir : "",
		.user = "",
	};
	long n;

	if (!env || !buf)
		return err_set(s->err, -ENOMEM, "command");
	for (size_t i = 0; i < c->env.n; i++)
		env[i] = (char *)c->env.v[i];
	cmd.env = env;
	clock_gettime(CLOCK_REALTIME, &now);
	cmd.head.realtime_ns =
		(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (c->interactive)
		cmd.head.flags = WIRE_EXEC_STDIN;
	n = wire_put_exec(buf, sink_room(&s->to_agent), &cmd);
	if (n < 0)
		return err_say(s->err, (int)n,
			       "the command and its environment are too long "
			       "(%u bytes at the most)",
			       WIRE_EXEC_MAX);
	sink_put(&s->to_agent, buf, (size_t)n);
	return 0;
}

static int open_output(struct session *s, struct sink *k, int fd)
{
	struct stream st;
	int r = stream_private(&st, fd, O_WRONLY);

	return r < 0 ? r : sink_init(k, s->p->loop, &st, output_moved, s);
}

int session_open_streams(struct session *s)
{
	struct stream st;
	int fd = fcntl(s->agent_fd, F_DUPFD_CLOEXEC, 3), r;

	if (fd < 0)
		return -errno;
	r = stream_own(&st, fd);
	if (r == 0)
		r = sink_init(&s->to_agent, s->p->loop, &st, to_agent_moved, s);
	if (r == 0)
		r = session_watch(s, &s->agent, s->agent_fd, on_agent);
	if (r == 0)
		r = open_output(s, &s->out, STDOUT_FILENO);
	if (r == 0)
		r = open_output(s, &s->errout, STDERR_FILENO);
	if (r == 0 && s->p->config->interactive) {
		r = stream_private(&s->in, STDIN_FILENO, O_RDONLY);
		s->input = (struct ev){ .fd = s->in.fd, .fn = on_input };
	}
	return r;
}

void session_close_streams(struct session *s)
{
	sink_free(&s->to_agent);
	sink_free(&s->out);
	sink_free(&s->errout);
	ev_del(&s->input);
	stream_close(&s->in);
	ev_del(&s->agent);
	close_fd(&s->agent_fd);
}
