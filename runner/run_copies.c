/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run has mounted and copied in before its command, and copied out
 * after it.
 *
 * In: volumes are copied to where no command of the guest looks, then all that
 * is to be mounted is, what lies deeper after what it lies in; then --copy-in,
 * into that; then what is to be read-only becomes so, and EXEC follows. What
 * needs no answer is sent at once: without copies nothing waits, and without
 * mounts either there is nothing.
 *
 * A guest that lets us wait: going in, each --boot-timeout must see a MiB pass,
 * or the rest. Coming out after a command that ended by itself, each
 * limits->copy must see 4 MiB; after one that was ended, that is all it has.
 */
#include "runner/run_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/copies.h"

#define STEP_IN	 (1u << 20)
#define STEP_OUT (4u << 20)

/* --- mounts ----------------------------------------------------------- */

/* One that is to be asked for. */
struct spot {
	const char *path;
	struct wire_mount m;
};

struct spots {
	struct spot v[WIRE_MOUNTS_MAX];
	size_t n;
	size_t seals; /* from here on, after --copy-in */
};

static_assert(4 * CONFIG_COPIES_MAX <= WIRE_MOUNTS_MAX,
	      "a tmpfs each, a volume and its seal, and some to spare");

static void add(struct spots *l, const char *path, enum wire_mount_kind kind,
		uint64_t size, size_t number)
{
	l->v[l->n++] = (struct spot){
		.path = path,
		.m = { .kind = kind, .size = size, .number = (uint32_t)number },
	};
}

/* A shorter path lies in no longer one; as long ones stay as they were. */
static void sort(struct spots *l)
{
	for (size_t i = 1; i < l->n; i++) {
		struct spot s = l->v[i];
		size_t at = i;

		for (; at && strlen(l->v[at - 1].path) > strlen(s.path); at--)
			l->v[at] = l->v[at - 1];
		l->v[at] = s;
	}
}

/* All of them, in the order in which they are sent. */
static void list_spots(struct spots *l, const struct config *c)
{
	l->n = 0;
	for (size_t i = 0; i < c->tmpfs.n; i++)
		add(l, c->tmpfs.v[i].guest, WIRE_MOUNT_TMPFS,
		    c->tmpfs.v[i].size, 0);
	for (size_t i = 0; i < c->volumes.n; i++)
		add(l, c->volumes.v[i].guest, WIRE_MOUNT_VOLUME, 0, i);
	sort(l);
	/* Once the root is sealed the agent could not make it. */
	if (c->read_only && c->workdir)
		add(l, c->workdir, WIRE_MOUNT_DIR, 0, 0);
	l->seals = l->n;
	for (size_t i = 0; i < c->volumes.n; i++)
		add(l, c->volumes.v[i].guest, WIRE_MOUNT_SEAL, 0, 0);
	if (c->read_only)
		add(l, "/", WIRE_MOUNT_SEAL, 0, 0);
}

/* Those that come before --copy-in, or those after. */
static int mount_them(struct run *run, int after)
{
	struct spots l;

	list_spots(&l, run->p->config);
	for (size_t i = after ? l.seals : 0; i < (after ? l.n : l.seals); i++)
		if (session_mount(run->session, &l.v[i].m, l.v[i].path) < 0)
			return err_say(run->err, -E2BIG,
				       "%s: too many mounts at once",
				       l.v[i].path);
	return 0;
}

/* The VM is not what it was to be: the command shall not have run in it. */
static void fail(struct run *run, int r)
{
	run->failed = r;
	verdict_set(run->result, VERDICT_INTERNAL, EXIT_INTERNAL);
	run_drain(run);
}

static void go_on(struct run *run)
{
	int r = run_copies_advance(run);

	if (r < 0)
		fail(run, r);
}

void run_copies_mounted(struct run *run, int error)
{
	struct spots l;

	if (run->state >= STATE_ENDING)
		return;
	if (!error) {
		go_on(run);
		return;
	}
	list_spots(&l, run->p->config);
	fail(run, err_set(run->err, -error, "%s: mount in the guest",
			  l.v[run->session->mounted - 1].path));
}

/* --- before the command ----------------------------------------------- */

static void came_in(void *opaque, int result)
{
	struct run *run = opaque;

	if (run->state != STATE_COPY_IN)
		return;
	if (result < 0) {
		*run->err = *copies_error(run->p->copies);
		fail(run, result);
		return;
	}
	run->copying = 0;
	run->step++;
	go_on(run);
}

/* 1 where the group is under way, or will be in a moment. */
static int copy_in(struct run *run, enum copies_group g)
{
	const struct session *s = run->session;

	if (!copies_count(run->p->copies, g))
		return 0;
	if (run->state == STATE_COPY_IN && s->mounted == s->mounts &&
	    !run->copying) {
		run->copying = 1;
		copies_begin(run->p->copies, g, run->p->loop, run->p->state,
			     came_in, run);
	}
	return 1;
}

static int mounts_and_exec(struct run *run)
{
	int r = mount_them(run, 1);

	if (r == 0)
		r = session_exec(run->session, run->err);
	if (r == 0 && run->state == STATE_COPY_IN)
		run_begin_command(run);
	return r;
}

int run_copies_advance(struct run *run)
{
	int r = 0;

	if (run->step == STEP_VOLUMES && !copy_in(run, COPIES_VOLUMES))
		run->step = STEP_MOUNTS;
	if (run->step == STEP_MOUNTS) {
		r = mount_them(run, 0);
		run->step = STEP_COPIES;
	}
	if (r == 0 && run->step == STEP_COPIES && !copy_in(run, COPIES_IN))
		run->step = STEP_EXEC;
	if (r == 0 && run->step == STEP_EXEC) {
		run->step = STEP_DONE;
		r = mounts_and_exec(run);
	}
	return r;
}

void run_copies_ready(struct run *run)
{
	run->state = STATE_COPY_IN;
	ev_timer_arm(run->limit_fd, run->p->config->boot_timeout_ns);
	go_on(run);
}

int run_copies_wanted(const struct run_params *p)
{
	const struct config *c = p->config;

	return c->tmpfs.n || c->read_only ||
	       copies_count(p->copies, COPIES_VOLUMES) ||
	       copies_count(p->copies, COPIES_IN);
}

/* 1 where enough has passed since it was asked for the last time. */
static int has_moved(struct run *run, uint64_t step)
{
	const struct copies *c = run->p->copies;
	uint64_t now = c ? copies_moved(c) : 0;
	int enough = now - run->moved >= step;

	run->moved = now;
	return enough;
}

void run_copies_late_in(struct run *run)
{
	uint64_t ns = run->p->config->boot_timeout_ns;
	char limit[32];

	if (has_moved(run, STEP_IN)) {
		ev_timer_arm(run->limit_fd, ns);
		return;
	}
	snprintf(limit, sizeof(limit), "%.3g", (double)ns / (1000 * MS));
	run_crash(run, "the guest took less than a MiB of its files in %s "
		       "seconds", limit);
}

/* --- after the command ------------------------------------------------ */

/* Is there a command whose files could be wanted, and an agent to ask? */
static int has_files(const struct run *run)
{
	return copies_count(run->p->copies, COPIES_OUT) &&
	       run->session->sent_exec && !run->session->lost &&
	       run->p->machine->pid >= 0 &&
	       (!run->result->have_exit ||
		run->result->exit.stage == WIRE_STAGE_RUN);
}

static void came_out(void *opaque, int result)
{
	struct run *run = opaque;

	(void)result; /* run_copies_close() looks at it */
	run_drain(run);
}

/* By the host, or its guest's kernel: what it left may be without end. */
static int was_ended(const struct run *run)
{
	switch (run->result->verdict) {
	case VERDICT_OK:
	case VERDICT_RUNTIME_ERROR:
	case VERDICT_SIGNAL:
	case VERDICT_DISK_FULL:
		return 0;
	default:
		return 1;
	}
}

static void limit_copies(struct run *run)
{
	uint64_t ns = run->p->limits->copy, now = io_now_ns();

	run->hard = was_ended(run);
	if (run->hard && run->killed_ns)
		ns -= MIN(ns - 1, now - run->killed_ns);
	/* Who asked it to stop gave it so much time. */
	if (run->hard && run->stop_signal && run->stop_ns > now + ns)
		ns = run->stop_ns - now;
	run->moved = copies_moved(run->p->copies);
	ev_timer_arm(run->grace_fd, ns);
}

void run_kill_command(struct run *run)
{
	session_kill(run->session);
	if (!run->killed_ns)
		run->killed_ns = io_now_ns();
	run_await(run, copies_count(run->p->copies, COPIES_OUT) ?
			       run->p->limits->settle :
			       run->p->limits->kill);
}

void run_end(struct run *run)
{
	if (run->state >= STATE_COPY_OUT)
		return;
	run_settle(run);
	if (!has_files(run)) {
		run_drain(run);
		return;
	}
	if (!run->result->have_exit && !run->killed_ns) {
		run_kill_command(run);
		return;
	}
	run->state = STATE_COPY_OUT;
	run->copied_out = 1;
	run->result->exit_ns = io_now_ns();
	session_end_input(run->session);
	run_stop_clock(run);
	ev_timer_arm(run->limit_fd, 0);
	limit_copies(run);
	copies_begin(run->p->copies, COPIES_OUT, run->p->loop, run->p->state,
		     came_out, run);
}

void run_copies_late_out(struct run *run)
{
	if (!run->hard && has_moved(run, STEP_OUT)) {
		ev_timer_arm(run->grace_fd, run->p->limits->copy);
		return;
	}
	copies_cut(run->p->copies, run->hard ? "the VM has had its time" :
					       "the guest gave nothing more");
	run_drain(run);
}

void run_copies_hurry(struct run *run, uint64_t ns)
{
	run->hard = 1;
	ev_timer_arm(run->grace_fd, MIN(ns, run->p->limits->copy));
}

/* The command's own end counts, and what it wrote is a part of that only where
 * it ended well. */
static void tell_failure(struct run *run, const struct err *why)
{
	if (run->err->code)
		fprintf(stderr, "mayfly: %s\n", why->msg);
	else
		*run->err = *why;
	if (run->result->exit_code == 0)
		run->result->exit_code = EXIT_INTERNAL;
}

void run_copies_close(struct run *run)
{
	const struct run_result *r = run->result;

	if (!copies_count(run->p->copies, COPIES_OUT) || !run->session ||
	    !run->session->sent_exec)
		return;
	if (run->copied_out) {
		if (copies_finish(run->p->copies, "the VM has ended") < 0)
			tell_failure(run, copies_error(run->p->copies));
	} else if (!r->have_exit || r->exit.stage == WIRE_STAGE_RUN) {
		fprintf(stderr, "mayfly: --copy-out: nothing was copied: the "
				"VM has ended\n");
	}
}
