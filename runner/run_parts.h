/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_parts: what the files of a run share. For them alone: run.c joins the
 * parties and has the ways out, run_limits.c is the clock and what the run may
 * use, run_copies.c its files before and after, run_user.c is the user. One thread, the loop's.
 */
#ifndef MAYFLY_RUN_PARTS_H
#define MAYFLY_RUN_PARTS_H

#include "runner/base/ev.h"
#include "runner/cputime.h"
#include "runner/run.h"
#include "runner/session.h"

#define MS 1000000ull

/*
 * States, in order; each may be skipped, none comes back.
 *
 *   BOOT	EXEC is on its way, or waits; the boot limit runs until READY.
 *   COPY_IN	the agent mounts, and takes what the command is to find; EXEC
 *		follows.
 *   COMMAND	the command runs, and with it --timeout and --cpu-time.
 *   ENDING	the outcome is known or suspected, the VM still lives: last
 *		words are awaited (EXIT after a kill, the reason of a crash,
 *		the VMM's statistics), until `grace` fires.
 *   COPY_OUT	the verdict stands; the agent gives what is to be kept, until
 *		`grace` fires.
 *   DRAIN	the VM is dead; what it had sent is read and written out.
 *   DONE
 *
 * The verdict is settled by the first that knows (verdict_set()). Two timers:
 * `limit` is the user's (boot, --timeout), `grace` is ours.
 */
enum run_state {
	STATE_BOOT,
	STATE_COPY_IN,
	STATE_COMMAND,
	STATE_ENDING,
	STATE_COPY_OUT,
	STATE_DRAIN,
	STATE_DONE
};

/* What comes before EXEC, in order (run_copies.c). */
enum run_step { STEP_VOLUMES, STEP_MOUNTS, STEP_COPIES, STEP_EXEC, STEP_DONE };

struct run {
	const struct run_params *p;
	struct run_result *result;
	struct err *err;
	struct session *session;
	enum run_state state;
	int failed;	 /* -errno: our own machinery broke */
	int stop_signal; /* sent to the command, or 0 */
	uint64_t stop_ns; /* and when the VM dies of it; CLOCK_MONOTONIC */
	uint64_t killed_ns; /* all of the command was, at our word; or 0 */
	enum run_step step;
	int copying;	 /* what a step has to copy in is under way */
	int copied_out;	 /* that has begun, at least */
	int hard;	 /* it has so much time and no more */
	uint64_t moved;	 /* when it was looked at for the last time */
	unsigned asked;	 /* CTL_QUERY without their CTL_STATS */
	struct cputime cpu; /* since READY */
	char why[128];	 /* the agent's stream was lost */
	struct ev control, signals, limit, grace, cpu_limit;
	int signal_fd, limit_fd, grace_fd;
};

/* run.c: the ways out. */

/* The command begins: its limits do. */
void run_begin_command(struct run *run);
/* The verdict stands: end the VM, then let what it sent come out. */
void run_drain(struct run *run);
/* The outcome is near: @ns more for last words. */
void run_await(struct run *run, uint64_t ns);
/* The guest or its VM is to blame: vm_crash, unless there is a verdict. */
void run_crash(struct run *run, const char *fmt, const char *detail);
/* Our own machinery broke. */
void run_internal(struct run *run, int code, const char *what);
/* Done: what is not written yet is given up. */
void run_finish(struct run *run);
int run_watch(struct run *run, struct ev *ev, int fd, ev_fn fn);

/* run_limits.c */

int run_limits_open(struct run *run);
void run_limits_close(struct run *run);
/* The command begins. */
void run_limits_begin(struct run *run);
/* No more looks at the VM's clock: it is about to be waited for. */
void run_stop_clock(struct run *run);
/* Ask mayfly-vmm for its statistics. 1 where the report wants them, a limit
 * may be hit by them, or a failure explained. */
int run_ask_stats(struct run *run);
/* mayfly-vmm told the time of its vCPUs. */
void run_told(struct run *run, uint64_t vcpu_ns);
/* The command wrote more than it may. */
void run_full(struct run *run);
/* The verdict, where the guest's EXIT is there, and nothing else sooner. */
void run_settle(struct run *run);

/* run_copies.c */

/* Is there anything to do before EXEC? */
int run_copies_wanted(const struct run_params *p);
/* Go on with that as far as it goes without waiting. 0 or -errno with words. */
int run_copies_advance(struct run *run);
/* READY came, and EXEC was not sent. */
void run_copies_ready(struct run *run);
void run_copies_mounted(struct run *run, int error);
/* It is taking its time: `limit` fired. */
void run_copies_late_in(struct run *run);
/* All of the command dies, and its EXIT is awaited. */
void run_kill_command(struct run *run);
/* The verdict stands, or EXIT is there: copy out what there is to be copied,
 * then run_drain(). */
void run_end(struct run *run);
/* Coming out takes its time: `grace` fired. */
void run_copies_late_out(struct run *run);
/* Somebody wants it to end in @ns. */
void run_copies_hurry(struct run *run, uint64_t ns);
/* The run is over: say what was not copied. */
void run_copies_close(struct run *run);

/* run_user.c */

int run_user_open(struct run *run, const sigset_t *signals);
void run_user_close(struct run *run);

#endif
