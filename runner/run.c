/* SPDX-License-Identifier: Apache-2.0 */
/* One command in one guest, from the boot message to the verdict. */
#include "runner/run_parts.h"

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
#include "runner/copies.h"
#include "runner/network.h"
#include "runner/trace.h"

const struct run_limits run_limits = {
	.kill = 100 * MS,
	.flush = 100 * MS,
	.settle = 1000 * MS,
	.copy = 5000 * MS,
	/* These end what is stuck; a busy host may not run a thread for long. */
	.words = 10000 * MS,
	.stats = 10000 * MS,
};

/* --- the way out ------------------------------------------------------ */

void run_finish(struct run *run)
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
		run_finish(run);
}

void run_drain(struct run *run)
{
	enum verdict v;
	int hurry;

	if (run->state >= STATE_DRAIN)
		return;
	run_settle(run);
	v = run->result->verdict;
	hurry = v == VERDICT_TIMEOUT || v == VERDICT_CPU_TIMEOUT ||
		v == VERDICT_STOPPED;
	run->state = STATE_DRAIN;
	if (!run->result->exit_ns)
		run->result->exit_ns = io_now_ns();
	copies_cut(run->p->copies, "the VM has ended");
	ev_del(&run->control);
	session_end_input(run->session);
	run_stop_clock(run);
	machine_kill(run->p->machine);
	fault_point("launcher", "drain");
	console_drain(run->p->console);
	ev_timer_arm(run->limit_fd, 0);
	ev_timer_arm(run->grace_fd, hurry ? run->p->limits->flush : 0);
	check_drained(run);
}

void run_await(struct run *run, uint64_t ns)
{
	if (run->state < STATE_ENDING)
		run->state = STATE_ENDING;
	session_end_input(run->session);
	ev_timer_arm(run->limit_fd, 0);
	ev_timer_arm(run->grace_fd, ns);
}

void run_internal(struct run *run, int code, const char *what)
{
	if (run->state == STATE_DONE)
		return;
	if (run->result->verdict == VERDICT_NONE)
		run->failed = err_set(run->err, code, "%s", what);
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	run_drain(run);
	run_finish(run);
}

void run_crash(struct run *run, const char *fmt, const char *detail)
{
	char words[CONSOLE_LINE_MAX];

	run_settle(run);
	if (run->result->verdict == VERDICT_NONE) {
		console_drain(run->p->console);
		if (console_panic(run->p->console, words))
			err_say(run->err, -EIO,
				"the guest crashed: kernel panic: %s", words);
		else
			err_say(run->err, -EIO, fmt, detail);
	}
	verdict_set(run->result, VERDICT_VM_CRASH, EXIT_INTERNAL);
	run_drain(run);
}

void run_begin_command(struct run *run)
{
	run->state = STATE_COMMAND;
	run_limits_begin(run);
}

/* --- the command's session -------------------------------------------- */

static void on_ready(struct session *s)
{
	struct run *run = s->p.opaque;

	if (run->state != STATE_BOOT)
		return;
	run->result->ready = s->ready;
	run->result->ready_ns = s->ready_ns;
	fault_point("launcher", "ready");
	if (s->sent_exec)
		run_begin_command(run);
	else
		run_copies_ready(run);
}

static void on_mounted(struct session *s, int error)
{
	run_copies_mounted(s->p.opaque, error);
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
		run_internal(run, r, "record the start of the run");
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
	/* It may have gone on past a limit that we had yet to see. */
	cputime_look(&run->cpu);
	if (!cputime_is_doubtful(&run->cpu))
		run_settle(run);
	/* What is copied out meanwhile has a time of its own. */
	if (run->state < STATE_COPY_OUT && run_ask_stats(run))
		run_await(run, run->p->limits->stats);
	else
		run_end(run);
}

static void on_lost(struct session *s, const char *why)
{
	struct run *run = s->p.opaque;

	snprintf(run->why, sizeof(run->why), "%s", why);
	/* The end of an agent is a panic, which says more in a moment. One that
	 * still speaks has had its say. */
	if (run->state < STATE_ENDING)
		run_await(run, s->hung_up ? run->p->limits->words : 1);
	check_drained(run);
}

static void on_broke(struct session *s, const char *stream, int error)
{
	struct run *run = s->p.opaque;

	/* Nobody reads any more: what SIGPIPE would do to a command here. */
	if (error == -EPIPE) {
		verdict_stopped(run->result, SIGPIPE);
		run_end(run);
	} else {
		run_internal(run, error, stream);
	}
}

static void on_moved(struct session *s)
{
	check_drained(s->p.opaque);
}

static void on_full(struct session *s)
{
	run_full(s->p.opaque);
}

static const struct session_ops session_ops = {
	.ready = on_ready,
	.started = on_started,
	.ended = on_ended,
	.lost = on_lost,
	.broke = on_broke,
	.moved = on_moved,
	.mounted = on_mounted,
	.full = on_full,
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
		run_crash(run, "the guest crashed: it reset itself%s", "");
		break;
	case CTL_STOP_POWEROFF:
		run_crash(run, "the guest crashed: it powered itself off%s", "");
		break;
	case CTL_STOP_SHUTDOWN:
		run_crash(run, "the guest crashed: %s", e->msg);
		break;
	default:
		run->result->engine_failed = !run->result->ready_ns;
		run_crash(run, "the VM broke: %s", e->msg);
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
	run_stop_clock(run);
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
	run_crash(run, "mayfly-vmm ended: %s", how);
}

static void vmm_failed(struct run *run, const struct ctl_event *e)
{
	/* With a guest that runs this is the VMM's word on its own end, and no
	 * reason why nothing began: not to be told as ours. */
	if (run->result->ready_ns) {
		run_crash(run, "the VM broke: %s", e->msg);
		return;
	}
	/* Once it has started, it is no engine's fault: --strict, for one. */
	run->result->engine_failed = !run->p->machine->started;
	run->failed = err_say(run->err, e->code < 0 ? e->code : -EIO, "%s",
			      e->msg);
	if (e->hint[0])
		err_hint(run->err, "%s", e->hint);
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	run_drain(run);
}

static void on_control(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, control);
	struct ctl_event e;
	int r = machine_event(run->p->machine, &e);

	(void)events;
	/* Nonsense, or more than fits: it is not itself any more. */
	if (r == -EPROTO || r == -EMSGSIZE) {
		run_crash(run, "mayfly-vmm broke the protocol of its control "
			   "socket%s", "");
		return;
	}
	if (r < 0) {
		run_internal(run, r, "control socket");
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
		run->asked -= run->asked > 0;
		if (run->state > STATE_COMMAND)
			run->result->instructions = e.instructions;
		run->result->isa_missing = e.isa_missing;
		run_told(run, e.vcpu_ns);
		if (run->result->have_exit && !run->asked)
			run_end(run);
		break;
	case CTL_STOPPED:
		run_told(run, e.vcpu_ns);
		run->result->vcpu_ns = e.vcpu_ns; /* no more will come */
		vmm_stopped(run, &e);
		break;
	}
}

/* --- the network ------------------------------------------------------ */

static void on_fenced(void *opaque)
{
	struct run *run = opaque;
	int r = machine_fenced(run->p->machine, run->err);

	if (r < 0)
		run_internal(run, r, "let the guest go");
}

/* The guest goes on without one at its own peril, but for whom it was started:
 * what it does now is not what it was to do. */
static void on_unfenced(void *opaque, const struct err *err)
{
	struct run *run = opaque;

	if (run->p->machine->went) {
		run_crash(run, "%s", err->msg);
		return;
	}
	if (run->result->verdict == VERDICT_NONE) {
		*run->err = *err;
		run->failed = err->code;
	}
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	run_drain(run);
}

static const struct network_ops network_ops = {
	.ready = on_fenced,
	.failed = on_unfenced,
};

/* --- set-up ----------------------------------------------------------- */

int run_watch(struct run *run, struct ev *ev, int fd, ev_fn fn)
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
		.hold = run_copies_wanted(run->p),
		.set_clock = 1,
		.net = network_wire(run->p->network),
		.journal = run->p->journal,
		.argv = c->argv,
		.env = &c->env,
		.workdir = c->workdir,
		.user = c->user,
		.pids_max = c->pids_max,
		.output_max = c->output_max,
	};

	if (copies_count(run->p->copies, COPIES_OUT))
		p.flags |= WIRE_EXEC_STAY;
	/* Detached: input that stays open and empty, no terminal of ours. */
	if (p.journal)
		p.fd[0] = p.fd[1] = p.fd[2] = -1;
	return session_open(&run->session, &p, run->err);
}

static int set_up(struct run *run, const sigset_t *signals)
{
	int r = run_limits_open(run);

	if (r < 0)
		return r;
	r = run_watch(run, &run->control, run->p->machine->control,
		      on_control);
	if (r < 0)
		return err_set(run->err, r, "set up the run");
	r = network_watch(run->p->network, run->p->loop, &network_ops, run,
			  run->err);
	return r < 0 ? r : run_user_open(run, signals);
}

static void tear_down(struct run *run)
{
	run_stop_clock(run);
	machine_kill(run->p->machine);
	ev_del(&run->control);
	network_unwatch(run->p->network);
	run_user_close(run);
	run_limits_close(run);
	session_close(&run->session);
}

/* What the session knows of the command, for reports and the last words. */
static void look_back(const struct run *run, int went_well)
{
	const struct session *s = run->session;
	struct trace *trace = run->p->trace;

	run->result->output_ns = s->output_ns;
	run->result->output_bytes = session_written(s);
	run->result->output_truncated =
		s->full || run->result->output_bytes < s->output_bytes;
	if (trace) {
		trace->command_ns = s->started_ns;
		trace->guest_command_ns = s->started.boot_ns;
	}
	if (went_well && run->p->machine->boot.engine == CTL_ENGINE_SOFT)
		verdict_explain(run->result, s->tail, s->tail_len, run->err);
}

int run_command(const struct run_params *p, struct run_result *result,
		struct err *err)
{
	struct run run = { .p = p, .result = result, .err = err };
	sigset_t signals, before;
	int r;

	run.signal_fd = run.limit_fd = run.grace_fd = run.cpu.fd = -1;
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = open_session(&run);
	if (r == 0 && run.session->p.hold)
		r = run_copies_advance(&run);
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
	run_copies_close(&run);
	tear_down(&run);
	/* No more than the kernel has counted for the whole process. */
	result->vcpu_ns = MIN(result->vcpu_ns, p->machine->cpu_ns);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
