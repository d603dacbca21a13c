/* SPDX-License-Identifier: Apache-2.0 */
/* One command in one guest, from the boot message to the verdict. */
#include "runner/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/sink.h"

/*
 * States, in order; each may be skipped, none comes back.
 *
 *   BOOT	EXEC is on its way; the boot limit runs until READY.
 *   COMMAND	the command runs; --timeout runs.
 *   ENDING	the outcome is known or suspected, the VM still lives: last
 *		words are awaited (EXIT after a kill, the reason of a crash,
 *		the VMM's statistics), until `grace` fires.
 *   DRAIN	the VM is dead; what it had sent is read and written out.
 *   DONE
 *
 * The verdict is settled by the first that knows (verdict_set()). Two timers:
 * `limit` is the user's (boot, --timeout), `grace` is ours.
 */
enum state { STATE_BOOT, STATE_COMMAND, STATE_ENDING, STATE_DRAIN, STATE_DONE };

#define MS 1000000ull
const struct run_limits run_limits = {
	.boot = 30000 * MS,
	.stop = 10000 * MS,
	.kill = 100 * MS,
	.flush = 100 * MS,
	.words = 2000 * MS,
	.stats = 100 * MS,
};

/* Room that input leaves in the sink: SIGNAL and STDIN_EOF always fit. */
#define INPUT_RESERVE 128

struct session {
	const struct run_params *p;
	struct run_result *r;
	struct err *err;
	enum state state;
	int failed;	 /* -errno: our own machinery broke */
	int stop_signal; /* forwarded to the command, or 0 */
	int agent_gone;
	struct ev control, agent, signals, limit, grace, input;
	int signal_fd, limit_fd, grace_fd, agent_fd;
	struct sink to_agent, out, errout;
	struct stream in;
	uint64_t in_flight; /* STDIN bytes without their STDIN_ACK */
	int in_eof;
	struct wire_reader reader;
};

static void pump_input(struct session *s);
static void pump_agent(struct session *s);

/* --- the way out ------------------------------------------------------ */

static void done_if_drained(struct session *s)
{
	if (s->state != STATE_DRAIN || !s->agent_gone || s->out.len ||
	    s->errout.len)
		return;
	s->state = STATE_DONE;
	ev_stop(s->p->loop);
}

/* The verdict stands: end the VM, then let what it sent come out. */
static void drain(struct session *s)
{
	int hurry = s->r->verdict == VERDICT_TIMEOUT ||
		    s->r->verdict == VERDICT_STOPPED;

	if (s->state >= STATE_DRAIN)
		return;
	s->state = STATE_DRAIN;
	s->r->exit_ns = io_now_ns();
	ev_del(&s->control);
	ev_del(&s->input);
	machine_kill(s->p->machine);
	console_drain(s->p->console);
	ev_timer_arm(s->limit_fd, 0);
	ev_timer_arm(s->grace_fd, hurry ? s->p->limits->flush : 0);
	done_if_drained(s);
}

static void await(struct session *s, uint64_t ns)
{
	if (s->state < STATE_ENDING)
		s->state = STATE_ENDING;
	ev_timer_arm(s->limit_fd, 0);
	ev_timer_arm(s->grace_fd, ns);
}

static void internal(struct session *s, int code, const char *what)
{
	if (s->state == STATE_DONE)
		return;
	if (s->r->verdict == VERDICT_NONE)
		s->failed = err_set(s->err, code, "%s", what);
	verdict_set(s->r, VERDICT_INTERNAL, EXIT_INTERNAL);
	drain(s);
	s->state = STATE_DONE;
	ev_stop(s->p->loop);
}

static void crash(struct session *s, const char *fmt, const char *detail)
{
	char words[CONSOLE_LINE_MAX];

	if (s->r->verdict == VERDICT_NONE) {
		console_drain(s->p->console);
		if (console_panic(s->p->console, words))
			err_say(s->err, -EIO,
				"the guest crashed: kernel panic: %s", words);
		else
			err_say(s->err, -EIO, fmt, detail);
	}
	verdict_set(s->r, VERDICT_VM_CRASH, EXIT_INTERNAL);
	drain(s);
}

/* --- mayfly-vmm ------------------------------------------------------- */

static void vmm_stopped(struct session *s, const struct ctl_event *e)
{
	/* EXIT may still lie in the stream: it was sent before the stop. */
	pump_agent(s);
	if (s->state >= STATE_DRAIN)
		return;
	switch (e->stop) {
	case CTL_STOP_RESET:
		crash(s, "the guest crashed: it reset itself%s", "");
		break;
	case CTL_STOP_POWEROFF:
		crash(s, "the guest crashed: it powered itself off%s", "");
		break;
	case CTL_STOP_SHUTDOWN:
		crash(s, "the guest crashed: %s", e->msg);
		break;
	default:
		s->r->engine_failed = !s->r->ready_ns;
		crash(s, "the VM broke: %s", e->msg);
		break;
	}
}

static void vmm_gone(struct session *s)
{
	char how[64] = "killed, or it closed its control socket";
	int status;

	pump_agent(s);
	if (s->state >= STATE_DRAIN)
		return;
	machine_kill(s->p->machine);
	status = s->p->machine->wait_status;
	if (WIFEXITED(status))
		snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
	else if (WTERMSIG(status) != SIGKILL)
		snprintf(how, sizeof(how), "signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	crash(s, "mayfly-vmm ended: %s", how);
}

static void vmm_failed(struct session *s, const struct ctl_event *e)
{
	s->r->engine_failed = 1;
	s->failed = err_say(s->err, e->code < 0 ? e->code : -EIO, "%s", e->msg);
	if (e->hint[0])
		err_hint(s->err, "%s", e->hint);
	verdict_set(s->r, VERDICT_INTERNAL, EXIT_INTERNAL);
	drain(s);
}

static void on_control(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, control);
	struct ctl_event e;
	int r = machine_event(s->p->machine, &e);

	(void)events;
	if (r < 0) {
		internal(s, r, "control socket");
		return;
	}
	if (r == 0) {
		vmm_gone(s);
		return;
	}
	switch (e.type) {
	case CTL_STARTED:
		s->r->started_ns = e.start_ns;
		s->r->ncpus = e.ncpus;
		break;
	case CTL_FAILED:
		vmm_failed(s, &e);
		break;
	case CTL_STATS:
		s->r->vcpu_ns = e.vcpu_ns;
		s->r->instructions = e.instructions;
		if (s->r->have_exit)
			drain(s);
		break;
	case CTL_STOPPED:
		s->r->vcpu_ns = e.vcpu_ns;
		vmm_stopped(s, &e);
		break;
	}
}

/* --- the agent -------------------------------------------------------- */

static void agent_lost(struct session *s)
{
	if (s->agent_gone)
		return;
	s->agent_gone = 1;
	ev_del(&s->agent);
	/* Its end is a panic that says more in a moment. */
	if (s->state < STATE_ENDING)
		await(s, s->p->limits->words);
	done_if_drained(s);
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

/* 1 where the report wants them and the VMM was asked. */
static int ask_stats(struct session *s)
{
	return s->p->config->meta &&
	       ctl_send_query(s->p->machine->control) == 0;
}

static void got_exit(struct session *s, const struct wire_frame *f)
{
	const struct config *c = s->p->config;

	if (s->r->have_exit)
		return;
	wire_get(f, &s->r->exit, sizeof(s->r->exit));
	s->r->have_exit = 1;
	if (s->stop_signal)
		verdict_stopped(s->r, s->stop_signal);
	if (s->r->verdict == VERDICT_NONE)
		verdict_from_exit(s->r, c->argv[0] ? c->argv[0] : "sh", s->err);
	if (s->state < STATE_DRAIN && ask_stats(s))
		await(s, s->p->limits->stats);
	else
		drain(s);
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
		drain(s);
	} else {
		internal(s, to->error, name);
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
	return s->agent_gone || s->state == STATE_DONE ||
	       !outputs_have_room(s);
}

/* Until the stream is empty, an output is full, or the agent is gone. */
static void pump_agent(struct session *s)
{
	while (!take_frames(s)) {
		size_t room;
		void *p = wire_room(&s->reader, &room);
		ssize_t n = recv(s->agent_fd, p, room, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			ev_set(s->p->loop, &s->agent, EPOLLIN);
			return;
		}
		if (n <= 0) {
			agent_lost(s);
			return;
		}
		wire_filled(&s->reader, (size_t)n);
	}
	ev_del(&s->agent); /* until an output has room again */
}

static void on_agent(struct ev *ev, uint32_t events)
{
	(void)events;
	pump_agent(container_of(ev, struct session, agent));
}

/* --- the user --------------------------------------------------------- */

static void output_moved(struct sink *k, void *opaque)
{
	struct session *s = opaque;

	if (k->error == -EPIPE) {
		verdict_stopped(s->r, SIGPIPE);
		drain(s);
	} else if (k->error) {
		internal(s, k->error, k == &s->out ? "stdout" : "stderr");
	}
	pump_agent(s);
	done_if_drained(s);
}

static void send_frame(struct session *s, enum wire_type type,
		       const void *payload, uint32_t len)
{
	uint8_t buf[WIRE_HDR + 16];

	if (!s->agent_gone && sink_room(&s->to_agent) >= sizeof(buf))
		sink_put(&s->to_agent, buf, wire_put(buf, type, payload, len));
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

static void on_signal(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, signals);
	struct signalfd_siginfo info;
	struct wire_signal sig;
	ssize_t n = read(ev->fd, &info, sizeof(info));

	(void)events;
	if (n != sizeof(info))
		return;
	sig.signo = info.ssi_signo;
	if (s->state == STATE_COMMAND && !s->stop_signal) {
		s->stop_signal = (int)sig.signo;
		send_frame(s, WIRE_SIGNAL, &sig, sizeof(sig));
		ev_timer_arm(s->grace_fd, s->p->limits->stop);
		return;
	}
	verdict_stopped(s->r, s->stop_signal ? s->stop_signal :
					       (int)sig.signo);
	if (s->state < STATE_DRAIN) {
		drain(s);
		return;
	}
	s->state = STATE_DONE; /* output that nobody takes is given up */
	ev_stop(s->p->loop);
}

/* --- the clock -------------------------------------------------------- */

static void on_limit(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, limit);
	struct wire_signal sig = { SIGKILL };
	char limit[32];

	(void)events;
	ev_drain(ev->fd);
	if (s->state == STATE_BOOT) {
		snprintf(limit, sizeof(limit), "%.3g",
			 (double)s->p->limits->boot / (1000 * MS));
		crash(s, "the guest was not up after %s seconds", limit);
	} else if (s->state == STATE_COMMAND) {
		/* The kill makes the agent send what it still holds. */
		verdict_set(s->r, VERDICT_TIMEOUT, EXIT_TIMED_OUT);
		send_frame(s, WIRE_SIGNAL, &sig, sizeof(sig));
		ask_stats(s);
		await(s, s->p->limits->kill);
	}
}

static void on_grace(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, grace);

	(void)events;
	ev_drain(ev->fd);
	if (s->state == STATE_DRAIN) {
		s->state = STATE_DONE;
		ev_stop(s->p->loop);
		return;
	}
	if (s->stop_signal)
		verdict_stopped(s->r, s->stop_signal);
	if (s->r->verdict == VERDICT_NONE)
		crash(s, "the guest crashed: %s",
		      "its agent ended the connection");
	drain(s);
}

/* --- set-up ----------------------------------------------------------- */

static int send_exec(struct session *s)
{
	static char *const shell[] = { (char *)"/bin/sh", NULL };
	const struct config *c = s->p->config;
	_cleanup_free_ char **env = calloc(c->env.n + 1, sizeof(*env));
	_cleanup_free_ uint8_t *buf = malloc(WIRE_HDR + WIRE_EXEC_MAX);
	struct timespec now;
	struct wire_command cmd = {
		.argv = c->argv[0] ? c->argv : shell,
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
	cmd.head.realtime_ns = (uint64_t)now.tv_sec * 1000000000u +
			       (uint64_t)now.tv_nsec;
	if (c->interactive)
		cmd.head.flags = WIRE_EXEC_STDIN;
	n = wire_put_exec(buf, sink_room(&s->to_agent), &cmd);
	if (n < 0)
		return err_say(s->err, (int)n,
			       "the command and its environment are too long "
			       "(%u bytes at the most)", WIRE_EXEC_MAX);
	sink_put(&s->to_agent, buf, (size_t)n);
	return 0;
}

static int watch(struct session *s, struct ev *ev, int fd, ev_fn fn)
{
	if (fd < 0)
		return fd;
	*ev = (struct ev){ .fd = fd, .fn = fn };
	return ev_set(s->p->loop, ev, EPOLLIN);
}

static int open_output(struct session *s, struct sink *k, int fd)
{
	struct stream st;
	int r = stream_private(&st, fd, O_WRONLY);

	return r < 0 ? r : sink_init(k, s->p->loop, &st, output_moved, s);
}

static int open_streams(struct session *s)
{
	struct stream st;
	int fd = fcntl(s->agent_fd, F_DUPFD_CLOEXEC, 3), r;

	if (fd < 0)
		return -errno;
	r = stream_own(&st, fd);
	if (r == 0)
		r = sink_init(&s->to_agent, s->p->loop, &st, to_agent_moved, s);
	if (r == 0)
		r = watch(s, &s->agent, s->agent_fd, on_agent);
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

/* Signals that the caller had ignored (nohup, a shell's &) stay ignored. */
static void forwarded_signals(sigset_t *set)
{
	static const int list[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa;

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		if (sigaction(list[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			sigaddset(set, list[i]);
}

static int set_up(struct session *s, const sigset_t *signals)
{
	int r = open_streams(s);

	if (r == 0) {
		s->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
		s->limit_fd = ev_timer_fd();
		s->grace_fd = ev_timer_fd();
		r = watch(s, &s->signals, s->signal_fd, on_signal);
	}
	if (r == 0)
		r = watch(s, &s->limit, s->limit_fd, on_limit);
	if (r == 0)
		r = watch(s, &s->grace, s->grace_fd, on_grace);
	if (r == 0)
		r = watch(s, &s->control, s->p->machine->control, on_control);
	if (r == 0)
		r = ev_timer_arm(s->limit_fd, s->p->limits->boot);
	if (r < 0)
		return err_set(s->err, r, "set up the session");
	return send_exec(s);
}

static void tear_down(struct session *s)
{
	machine_kill(s->p->machine);
	sink_free(&s->to_agent);
	sink_free(&s->out);
	sink_free(&s->errout);
	ev_del(&s->input);
	stream_close(&s->in);
	ev_del(&s->control);
	ev_del(&s->agent);
	ev_del(&s->signals);
	ev_del(&s->limit);
	ev_del(&s->grace);
	close_fd(&s->agent_fd);
	close_fd(&s->signal_fd);
	close_fd(&s->limit_fd);
	close_fd(&s->grace_fd);
}

int run_session(const struct run_params *p, struct run_result *r,
		struct err *err)
{
	_cleanup_free_ struct session *s = calloc(1, sizeof(*s));
	sigset_t signals, before;
	int code;

	if (!s)
		return err_set(err, -ENOMEM, "session");
	s->p = p;
	s->r = r;
	s->err = err;
	s->agent_fd = p->agent_fd;
	s->signal_fd = s->limit_fd = s->grace_fd = -1;
	s->in.fd = s->to_agent.s.fd = s->out.s.fd = s->errout.s.fd = -1;
	wire_reader_init(&s->reader, WIRE_FROM_GUEST);
	forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	code = set_up(s, &signals);
	if (code == 0)
		code = ev_run(p->loop);
	if (code == 0)
		code = s->failed;
	if (code < 0)
		verdict_set(r, VERDICT_INTERNAL, EXIT_INTERNAL);
	tear_down(s);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return code;
}
