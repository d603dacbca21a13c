/* SPDX-License-Identifier: Apache-2.0 */
/* One command in one guest, from the boot message to the verdict. */
#include "runner/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/control.h"
#include "runner/session.h"
#include "runner/trace.h"

#define MS 1000000ull
const struct run_limits run_limits = {
	.kill = 100 * MS,
	.flush = 100 * MS,
	.words = 2000 * MS,
	.stats = 100 * MS,
};

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
enum run_state {
	STATE_BOOT,
	STATE_COMMAND,
	STATE_ENDING,
	STATE_DRAIN,
	STATE_DONE
};

struct run {
	const struct run_params *p;
	struct run_result *result;
	struct err *err;
	struct session *session;
	enum run_state state;
	int failed;	 /* -errno: our own machinery broke */
	int stop_signal; /* sent to the command, or 0 */
	uint64_t stop_ns; /* and when the VM dies of it; CLOCK_MONOTONIC */
	char why[128];	 /* the agent's stream was lost */
	struct ev control, signals, limit, grace;
	int signal_fd, limit_fd, grace_fd;
};

/* --- the way out ------------------------------------------------------ */

static void finish(struct run *run)
{
	run->state = STATE_DONE;
	session_stop(run->session);
	ev_stop(run->p->loop);
}

/* The last byte may be out. */
static void check_drained(struct run *run)
{
	if (run->state == STATE_DRAIN && run->session->lost &&
	    session_is_flushed(run->session))
		finish(run);
}

/* The verdict stands: end the VM, then let what it sent come out. */
static void drain(struct run *run)
{
	int hurry = run->result->verdict == VERDICT_TIMEOUT ||
		    run->result->verdict == VERDICT_STOPPED;

	if (run->state >= STATE_DRAIN)
		return;
	run->state = STATE_DRAIN;
	run->result->exit_ns = io_now_ns();
	ev_del(&run->control);
	session_end_input(run->session);
	machine_kill(run->p->machine);
	fault_point("launcher", "drain");
	console_drain(run->p->console);
	ev_timer_arm(run->limit_fd, 0);
	ev_timer_arm(run->grace_fd, hurry ? run->p->limits->flush : 0);
	check_drained(run);
}

/* The outcome is near: ns more for last words. */
static void await(struct run *run, uint64_t ns)
{
	if (run->state < STATE_ENDING)
		run->state = STATE_ENDING;
	session_end_input(run->session);
	ev_timer_arm(run->limit_fd, 0);
	ev_timer_arm(run->grace_fd, ns);
}

/* Our own machinery broke. */
static void internal(struct run *run, int code, const char *what)
{
	if (run->state == STATE_DONE)
		return;
	if (run->result->verdict == VERDICT_NONE)
		run->failed = err_set(run->err, code, "%s", what);
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	drain(run);
	finish(run);
}

static void crash(struct run *run, const char *fmt, const char *detail)
{
	char words[CONSOLE_LINE_MAX];

	if (run->result->verdict == VERDICT_NONE) {
		console_drain(run->p->console);
		if (console_panic(run->p->console, words))
			err_say(run->err, -EIO,
				"the guest crashed: kernel panic: %s", words);
		else
			err_say(run->err, -EIO, fmt, detail);
	}
	verdict_set(run->result, VERDICT_VM_CRASH, EXIT_INTERNAL);
	drain(run);
}

/* --- the command's session -------------------------------------------- */

static void on_ready(struct session *s)
{
	struct run *run = s->p.opaque;

	if (run->state != STATE_BOOT)
		return;
	run->result->ready = s->ready;
	run->result->ready_ns = s->ready_ns;
	run->state = STATE_COMMAND;
	fault_point("launcher", "ready");
	ev_timer_arm(run->limit_fd, run->p->config->timeout_ns);
}

static void on_started(struct session *s)
{
	struct run *run = s->p.opaque;
	int r;

	/* Else its end was settled first: nobody is told that it began. */
	if (run->state != STATE_COMMAND || !run->p->started)
		return;
	r = run->p->started(run->p->opaque);
	fault_point("launcher", "running");
	if (r < 0)
		internal(run, r, "record the start of the run");
}

static int on_soft(const struct run *run)
{
	return run->p->machine->boot.engine == CTL_ENGINE_SOFT;
}

/* Ask the VMM for its statistics. 1 where the report wants them, or a failure
 * may be explained by them. */
static int ask_stats(struct run *run)
{
	const struct config *c = run->p->config;
	const struct run_result *r = run->result;
	int failed = r->have_exit && r->exit.stage == WIRE_STAGE_RUN &&
		     (r->exit.code || r->exit.signal);

	return (c->meta || c->stats || (failed && on_soft(run))) &&
	       ctl_send_query(run->p->machine->control) == 0;
}

static void on_ended(struct session *s)
{
	struct run *run = s->p.opaque;
	struct run_result *r = run->result;

	r->exit = s->exit;
	r->have_exit = 1;
	fault_point("launcher", "exit");
	if (run->stop_signal)
		verdict_stopped(r, run->stop_signal);
	if (r->verdict == VERDICT_NONE)
		verdict_from_exit(r, run->p->config->argv[0],
				  run->p->config->user, run->err);
	if (run->state < STATE_DRAIN && ask_stats(run))
		await(run, run->p->limits->stats);
	else
		drain(run);
}

static void on_lost(struct session *s, const char *why)
{
	struct run *run = s->p.opaque;

	snprintf(run->why, sizeof(run->why), "%s", why);
	/* Its end is a panic that says more in a moment. */
	if (run->state < STATE_ENDING)
		await(run, run->p->limits->words);
	check_drained(run);
}

static void on_broke(struct session *s, const char *stream, int error)
{
	struct run *run = s->p.opaque;

	/* Nobody reads any more: what SIGPIPE would do to a command here. */
	if (error == -EPIPE) {
		verdict_stopped(run->result, SIGPIPE);
		drain(run);
	} else {
		internal(run, error, stream);
	}
}

static void on_moved(struct session *s)
{
	check_drained(s->p.opaque);
}

static const struct session_ops session_ops = {
	.ready = on_ready,
	.started = on_started,
	.ended = on_ended,
	.lost = on_lost,
	.broke = on_broke,
	.moved = on_moved,
};

/* --- mayfly-vmm ------------------------------------------------------- */

static void vmm_stopped(struct run *run, const struct ctl_event *e)
{
	/* EXIT may still lie in the stream: it was sent before the stop. */
	session_pump(run->session);
	if (run->state >= STATE_DRAIN)
		return;
	switch (e->stop) {
	case CTL_STOP_RESET:
		crash(run, "the guest crashed: it reset itself%s", "");
		break;
	case CTL_STOP_POWEROFF:
		crash(run, "the guest crashed: it powered itself off%s", "");
		break;
	case CTL_STOP_SHUTDOWN:
		crash(run, "the guest crashed: %s", e->msg);
		break;
	default:
		run->result->engine_failed = !run->result->ready_ns;
		crash(run, "the VM broke: %s", e->msg);
		break;
	}
}

static void vmm_gone(struct run *run)
{
	const struct machine *m = run->p->machine;
	char how[128] = "killed, or it closed its control socket";
	int status;

	session_pump(run->session);
	if (run->state >= STATE_DRAIN)
		return;
	machine_kill(run->p->machine);
	status = m->wait_status;
	if (machine_is_oom(m))
		snprintf(how, sizeof(how),
			 "the host killed it at its memory limit of %llu MiB",
			 m->limits.memory_max / CONFIG_MIB);
	else if (WIFEXITED(status))
		snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
	else if (WTERMSIG(status) != SIGKILL)
		snprintf(how, sizeof(how), "signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	crash(run, "mayfly-vmm ended: %s", how);
}

static void vmm_failed(struct run *run, const struct ctl_event *e)
{
	/* Once it has started, it is no engine's fault: --strict, for one. */
	run->result->engine_failed = !run->p->machine->started;
	run->failed = err_say(run->err, e->code < 0 ? e->code : -EIO, "%s",
			      e->msg);
	if (e->hint[0])
		err_hint(run->err, "%s", e->hint);
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	drain(run);
}

static void on_control(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, control);
	struct ctl_event e;
	int r = machine_event(run->p->machine, &e);

	(void)events;
	/* Nonsense, or more than fits: it is not itself any more. */
	if (r == -EPROTO || r == -EMSGSIZE) {
		crash(run, "mayfly-vmm broke the protocol of its control "
			   "socket%s", "");
		return;
	}
	if (r < 0) {
		internal(run, r, "control socket");
		return;
	}
	if (r == 0) {
		vmm_gone(run);
		return;
	}
	switch (e.type) {
	case CTL_STARTED:
		run->result->started_ns = io_now_ns();
		fault_point("launcher", "started");
		run->result->ncpus = e.ncpus;
		if (run->p->locked)
			run->p->locked(run->p->opaque);
		if (run->p->trace)
			memcpy(run->p->trace->vmm_ns, e.stage_ns,
			       sizeof(e.stage_ns));
		break;
	case CTL_FAILED:
		vmm_failed(run, &e);
		break;
	case CTL_STATS:
		run->result->vcpu_ns = e.vcpu_ns;
		run->result->instructions = e.instructions;
		run->result->isa_missing = e.isa_missing;
		if (run->result->have_exit)
			drain(run);
		break;
	case CTL_STOPPED:
		run->result->vcpu_ns = e.vcpu_ns;
		vmm_stopped(run, &e);
		break;
	}
}

/* --- the user --------------------------------------------------------- */

/* Send @signo to the command; the VM dies after @ns. The first signal makes
 * the verdict, the earliest end counts. */
static void stop(struct run *run, int signo, uint64_t ns)
{
	uint64_t end;

	if (__builtin_add_overflow(io_now_ns(), ns, &end))
		end = UINT64_MAX;
	session_signal(run->session, signo);
	if (run->stop_signal && run->stop_ns <= end)
		return;
	if (!run->stop_signal)
		run->stop_signal = signo;
	run->stop_ns = end;
	ev_timer_arm(run->grace_fd, ns);
}

static void stop_now(struct run *run, int signo)
{
	if (run->state >= STATE_DRAIN) {
		finish(run); /* output that nobody takes is given up */
		return;
	}
	verdict_stopped(run->result,
			run->stop_signal ? run->stop_signal : signo);
	drain(run);
}

static void on_signal(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (!signo)
		return;
	if (run->state == STATE_COMMAND && !run->stop_signal)
		stop(run, signo, run->p->config->stop_timeout_ns);
	else
		stop_now(run, signo);
}

static int ask_signal(void *opaque, int signo)
{
	struct run *run = opaque;

	if (run->state == STATE_BOOT)
		return -EAGAIN;
	if (run->state != STATE_COMMAND)
		return -ESRCH;
	session_signal(run->session, signo);
	return 0;
}

static int ask_stop(void *opaque, int signo, uint64_t timeout_ns)
{
	struct run *run = opaque;

	if (run->state == STATE_COMMAND && timeout_ns)
		stop(run, signo, timeout_ns);
	else
		stop_now(run, signo);
	return 0;
}

static int ask_kill(void *opaque)
{
	stop_now(opaque, SIGKILL);
	return 0;
}

static const struct control_ops control_ops = {
	.signal = ask_signal,
	.stop = ask_stop,
	.kill = ask_kill,
};

/* --- the clock -------------------------------------------------------- */

static void on_limit(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, limit);
	char limit[32];

	(void)events;
	ev_drain(ev->fd);
	if (run->state == STATE_BOOT) {
		snprintf(limit, sizeof(limit), "%.3g",
			 (double)run->p->config->boot_timeout_ns / (1000 * MS));
		crash(run, "the guest was not up after %s seconds", limit);
	} else if (run->state == STATE_COMMAND) {
		/* The kill makes the agent send what it still holds. */
		verdict_set(run->result, VERDICT_TIMEOUT, EXIT_TIMED_OUT);
		session_signal(run->session, SIGKILL);
		ask_stats(run);
		await(run, run->p->limits->kill);
	}
}

static void on_grace(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, grace);

	(void)events;
	ev_drain(ev->fd);
	if (run->state == STATE_DRAIN) {
		finish(run);
		return;
	}
	if (run->stop_signal)
		verdict_stopped(run->result, run->stop_signal);
	if (run->result->verdict == VERDICT_NONE)
		crash(run, "the guest crashed: %s", run->why);
	drain(run);
}

/* --- set-up ----------------------------------------------------------- */

static int watch(struct run *run, struct ev *ev, int fd, ev_fn fn)
{
	if (fd < 0)
		return fd;
	*ev = (struct ev){ .fd = fd, .fn = fn };
	return ev_set(run->p->loop, ev, EPOLLIN);
}

static int open_session(struct run *run)
{
	const struct config *c = run->p->config;
	struct session_params p = {
		.ops = &session_ops,
		.opaque = run,
		.loop = run->p->loop,
		.agent_fd = run->p->agent_fd,
		.fd = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO },
		.flags = session_flags(c),
		.set_clock = 1,
		.journal = run->p->journal,
		.argv = c->argv,
		.env = &c->env,
		.workdir = c->workdir,
		.user = c->user,
	};

	/* Detached: input that stays open and empty, no terminal of ours. */
	if (p.journal)
		p.fd[0] = p.fd[1] = p.fd[2] = -1;
	return session_open(&run->session, &p, run->err);
}

static int set_up(struct run *run, const sigset_t *signals)
{
	int r;

	run->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	run->limit_fd = ev_timer_fd();
	run->grace_fd = ev_timer_fd();
	r = watch(run, &run->signals, run->signal_fd, on_signal);
	if (r == 0)
		r = watch(run, &run->limit, run->limit_fd, on_limit);
	if (r == 0)
		r = watch(run, &run->grace, run->grace_fd, on_grace);
	if (r == 0)
		r = watch(run, &run->control, run->p->machine->control,
			  on_control);
	if (r == 0)
		r = ev_timer_arm(run->limit_fd,
				 machine_boot_left(run->p->machine));
	if (r < 0)
		return err_set(run->err, r, "set up the run");
	if (!run->p->control)
		return 0;
	return control_listen(run->p->control, run->p->loop, run->p->state,
			      &control_ops, run, run->err);
}

static void tear_down(struct run *run)
{
	machine_kill(run->p->machine);
	session_close(&run->session);
	ev_del(&run->control);
	ev_del(&run->signals);
	ev_del(&run->limit);
	ev_del(&run->grace);
	close_fd(&run->signal_fd);
	close_fd(&run->limit_fd);
	close_fd(&run->grace_fd);
}

/* What the session knows of the command, for reports and the last words. */
static void look_back(const struct run *run, int went_well)
{
	const struct session *s = run->session;
	struct trace *trace = run->p->trace;

	run->result->output_ns = s->output_ns;
	if (trace) {
		trace->command_ns = s->started_ns;
		trace->guest_command_ns = s->started.boot_ns;
	}
	if (went_well && on_soft(run))
		verdict_explain(run->result, s->tail, s->tail_len, run->err);
}

int run_command(const struct run_params *p, struct run_result *result,
		struct err *err)
{
	struct run run = { .p = p, .result = result, .err = err };
	sigset_t signals, before;
	int r;

	run.signal_fd = run.limit_fd = run.grace_fd = -1;
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = open_session(&run);
	if (r == 0)
		r = set_up(&run, &signals);
	if (r == 0)
		r = ev_run(p->loop);
	if (r == 0)
		r = run.failed;
	if (r < 0)
		verdict_set(result, VERDICT_INTERNAL, EXIT_INTERNAL);
	if (run.session)
		look_back(&run, r == 0);
	tear_down(&run);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
