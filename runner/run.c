/* SPDX-License-Identifier: Apache-2.0 */
/* One command in one guest, from the boot message to the verdict. */
#include "runner/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define MS 1000000ull
const struct run_limits run_limits = {
	.boot = 30000 * MS,
	.stop = 10000 * MS,
	.kill = 100 * MS,
	.flush = 100 * MS,
	.words = 2000 * MS,
	.stats = 100 * MS,
};

/* --- the way out ------------------------------------------------------ */

static void finish(struct session *s)
{
	s->state = STATE_DONE;
	ev_stop(s->p->loop);
}

void session_check_drained(struct session *s)
{
	if (s->state == STATE_DRAIN && s->agent_gone && !s->out.len &&
	    !s->errout.len)
		finish(s);
}

void session_drain(struct session *s)
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
	session_check_drained(s);
}

void session_await(struct session *s, uint64_t ns)
{
	if (s->state < STATE_ENDING)
		s->state = STATE_ENDING;
	ev_timer_arm(s->limit_fd, 0);
	ev_timer_arm(s->grace_fd, ns);
}

void session_internal(struct session *s, int code, const char *what)
{
	if (s->state == STATE_DONE)
		return;
	if (s->r->verdict == VERDICT_NONE)
		s->failed = err_set(s->err, code, "%s", what);
	verdict_set(s->r, VERDICT_INTERNAL, EXIT_INTERNAL);
	session_drain(s);
	finish(s);
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
	session_drain(s);
}

/* --- mayfly-vmm ------------------------------------------------------- */

static void vmm_stopped(struct session *s, const struct ctl_event *e)
{
	/* EXIT may still lie in the stream: it was sent before the stop. */
	session_pump_agent(s);
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

	session_pump_agent(s);
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
	session_drain(s);
}

static void on_control(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, control);
	struct ctl_event e;
	int r = machine_event(s->p->machine, &e);

	(void)events;
	if (r < 0) {
		session_internal(s, r, "control socket");
		return;
	}
	if (r == 0) {
		vmm_gone(s);
		return;
	}
	switch (e.type) {
	case CTL_STARTED:
		s->r->started_ns = io_now_ns();
		s->r->ncpus = e.ncpus;
		break;
	case CTL_FAILED:
		vmm_failed(s, &e);
		break;
	case CTL_STATS:
		s->r->vcpu_ns = e.vcpu_ns;
		s->r->instructions = e.instructions;
		if (s->r->have_exit)
			session_drain(s);
		break;
	case CTL_STOPPED:
		s->r->vcpu_ns = e.vcpu_ns;
		vmm_stopped(s, &e);
		break;
	}
}

static void on_signal(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, signals);
	struct signalfd_siginfo info;
	int signo;

	(void)events;
	if (read(ev->fd, &info, sizeof(info)) != sizeof(info))
		return;
	signo = (int)info.ssi_signo;
	if (s->state == STATE_COMMAND && !s->stop_signal) {
		s->stop_signal = signo;
		session_send_signal(s, signo);
		ev_timer_arm(s->grace_fd, s->p->limits->stop);
	} else if (s->state < STATE_DRAIN) {
		verdict_stopped(s->r, s->stop_signal ? s->stop_signal : signo);
		session_drain(s);
	} else {
		finish(s); /* output that nobody takes is given up */
	}
}

/* --- the clock -------------------------------------------------------- */

static void on_limit(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, limit);
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
		session_send_signal(s, SIGKILL);
		session_ask_stats(s);
		session_await(s, s->p->limits->kill);
	}
}

static void on_grace(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, grace);

	(void)events;
	ev_drain(ev->fd);
	if (s->state == STATE_DRAIN) {
		finish(s);
		return;
	}
	if (s->stop_signal)
		verdict_stopped(s->r, s->stop_signal);
	if (s->r->verdict == VERDICT_NONE)
		crash(s, "the guest crashed: %s",
		      "its agent ended the connection");
	session_drain(s);
}

/* --- set-up ----------------------------------------------------------- */

int session_watch(struct session *s, struct ev *ev, int fd, ev_fn fn)
{
	if (fd < 0)
		return fd;
	*ev = (struct ev){ .fd = fd, .fn = fn };
	return ev_set(s->p->loop, ev, EPOLLIN);
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
	int r = session_open_streams(s);

	if (r == 0) {
		s->signal_fd =
			signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
		s->limit_fd = ev_timer_fd();
		s->grace_fd = ev_timer_fd();
		r = session_watch(s, &s->signals, s->signal_fd, on_signal);
	}
	if (r == 0)
		r = session_watch(s, &s->limit, s->limit_fd, on_limit);
	if (r == 0)
		r = session_watch(s, &s->grace, s->grace_fd, on_grace);
	if (r == 0)
		r = session_watch(s, &s->control, s->p->machine->control,
				  on_control);
	if (r == 0)
		r = ev_timer_arm(s->limit_fd, s->p->limits->boot);
	if (r < 0)
		return err_set(s->err, r, "set up the session");
	return session_send_exec(s);
}

static void tear_down(struct session *s)
{
	machine_kill(s->p->machine);
	session_close_streams(s);
	ev_del(&s->control);
	ev_del(&s->signals);
	ev_del(&s->limit);
	ev_del(&s->grace);
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

	if (!s) {
		close(p->agent_fd);
		return err_set(err, -ENOMEM, "session");
	}
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
