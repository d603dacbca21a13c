/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits of a run that the host holds: its time, by the wall's clock and
 * the CPU's, and its output. (Those of memory, processes and disk are the
 * guest's: rootfs/agent/limit.c.) What the guest says of itself changes no
 * verdict that one of these has made, and where it may have come too late they
 * are looked at first.
 */
#include "runner/run_parts.h"

#include <stdio.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/* --- the wall's clock ------------------------------------------------- */

/* The kill makes the agent send what it still holds. */
static void time_is_up(struct run *run, enum verdict v, int exit_code)
{
	verdict_set(run->result, v, exit_code);
	run_ask_stats(run);
	run_kill_command(run);
}

static void on_limit(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, limit);
	char limit[32];

	(void)events;
	if (!ev_drain(ev->fd))
		return; /* armed anew in this very round: not yet */
	if (run->state == STATE_BOOT) {
		snprintf(limit, sizeof(limit), "%.3g",
			 (double)run->p->config->boot_timeout_ns / (1000 * MS));
		run_crash(run, "the guest was not up after %s seconds", limit);
	} else if (run->state == STATE_COPY_IN) {
		run_copies_late_in(run);
	} else if (run->state == STATE_COMMAND) {
		time_is_up(run, VERDICT_TIMEOUT, EXIT_TIMED_OUT);
	}
}

static void on_grace(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, grace);

	(void)events;
	if (!ev_drain(ev->fd))
		return;
	if (run->state == STATE_DRAIN) {
		run_finish(run);
		return;
	}
	if (run->state == STATE_COPY_OUT) {
		run_copies_late_out(run);
		return;
	}
	run_settle(run);
	if (run->stop_signal)
		verdict_stopped(run->result, run->stop_signal);
	if (run->result->verdict == VERDICT_NONE)
		run_crash(run, "the guest crashed: %s", run->why);
	run_end(run);
}

/* --- the CPU's time --------------------------------------------------- */

static int on_soft(const struct run *run)
{
	return run->p->machine->boot.engine == CTL_ENGINE_SOFT;
}

static int ask(struct run *run)
{
	if (ctl_send_query(run->p->machine->control) < 0)
		return 0;
	run->asked++;
	return 1;
}

int run_ask_stats(struct run *run)
{
	const struct config *c = run->p->config;
	const struct run_result *r = run->result;
	int failed = r->have_exit && r->exit.stage == WIRE_STAGE_RUN &&
		     (r->exit.code || r->exit.signal);

	return (c->meta || c->stats || cputime_is_doubtful(&run->cpu) ||
		(failed && on_soft(run))) &&
	       ask(run);
}

static void check_cpu(struct run *run)
{
	/* Once the end is near, no look is wanted: one that is overdue would
	 * come again at once, and again. */
	if (run->state != STATE_COMMAND)
		return;
	if (cputime_is_over(&run->cpu))
		time_is_up(run, VERDICT_CPU_TIMEOUT, EXIT_CPU_TIMED_OUT);
	else
		cputime_arm(&run->cpu, run->asked > 0);
}

static void on_cpu(struct ev *ev, uint32_t events)
{
	struct run *run = container_of(ev, struct run, cpu_limit);

	(void)events;
	while (ev_signal(ev->fd))
		;
	cputime_look(&run->cpu);
	if (run->state == STATE_COMMAND && !run->asked &&
	    cputime_is_doubtful(&run->cpu))
		ask(run);
	check_cpu(run);
}

void run_told(struct run *run, uint64_t vcpu_ns)
{
	/* The report has what all of it took, and no sum on the way there. */
	if (run->state > STATE_COMMAND)
		run->result->vcpu_ns = vcpu_ns;
	cputime_look(&run->cpu);
	cputime_told(&run->cpu, vcpu_ns);
	check_cpu(run);
}

void run_stop_clock(struct run *run)
{
	cputime_look(&run->cpu);
	run->result->cpu_ns = cputime_used(&run->cpu);
	ev_del(&run->cpu_limit);
	cputime_close(&run->cpu);
}

/* --- its output ------------------------------------------------------- */

void run_full(struct run *run)
{
	verdict_set(run->result, VERDICT_OUTPUT_LIMIT, EXIT_OUTPUT_LIMIT);
	run_end(run);
}

/* --- all of them ------------------------------------------------------ */

void run_settle(struct run *run)
{
	const struct config *c = run->p->config;
	struct run_result *r = run->result;

	if (!r->have_exit || r->verdict != VERDICT_NONE)
		return;
	if (cputime_is_over(&run->cpu))
		verdict_set(r, VERDICT_CPU_TIMEOUT, EXIT_CPU_TIMED_OUT);
	else
		verdict_from_exit(r, c->argv[0], c->user, run->err);
}

void run_limits_begin(struct run *run)
{
	const struct config *c = run->p->config;

	ev_timer_arm(run->limit_fd, c->timeout_ns);
	cputime_begin(&run->cpu);
	/* The answer says what the boot took. */
	if (c->cpu_time_ns || c->meta || c->stats)
		ask(run);
}

int run_limits_open(struct run *run)
{
	const struct config *c = run->p->config;
	int r;

	run->result->pids_limited = c->pids_max != 0;
	run->limit_fd = ev_timer_fd();
	run->grace_fd = ev_timer_fd();
	r = run_watch(run, &run->limit, run->limit_fd, on_limit);
	if (r == 0)
		r = run_watch(run, &run->grace, run->grace_fd, on_grace);
	if (r == 0)
		r = ev_timer_arm(run->limit_fd,
				 machine_boot_left(run->p->machine));
	if (r < 0)
		return err_set(run->err, r, "set up the run");
	r = cputime_open(&run->cpu, run->p->machine->pid, c->cpu_time_ns);
	if (!c->cpu_time_ns)
		return 0; /* it is told by nobody, then */
	if (r == 0)
		r = run_watch(run, &run->cpu_limit, run->cpu.fd, on_cpu);
	return r < 0 ? err_set(run->err, r, "cpu-time: watch the VM's clock") :
		       0;
}

void run_limits_close(struct run *run)
{
	ev_del(&run->limit);
	ev_del(&run->grace);
	ev_del(&run->cpu_limit);
	close_fd(&run->limit_fd);
	close_fd(&run->grace_fd);
	cputime_close(&run->cpu);
}
