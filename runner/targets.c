/* SPDX-License-Identifier: Apache-2.0 */
/* The runs that a command line names. */
#include "runner/targets.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/control.h"
#include "runner/opts.h"

/* A supervisor makes its socket at once, and a killed VM is gone at once:
 * longer than this is not going to happen. */
#define PATIENCE_NS 10000000000ull
#define STEP_NS	    10000000

static void rest(void)
{
	const struct timespec step = { 0, STEP_NS };

	nanosleep(&step, NULL);
}

static void fail(struct targets *t, struct target *one, int code,
		 const struct err *why)
{
	err_next(t->err, &t->code, code, why);
	state_close(&one->state);
}

int targets_parse(struct targets *t, const struct opt_table *table,
		  void *options, int argc, char **argv, struct err *err)
{
	struct opt_rest left;
	int r = opts_parse(table, options, argc, argv, &left, err);

	if (r < 0)
		return r;
	if (left.help)
		return opts_help(table);
	if (left.first >= argc) {
		r = err_say(err, -EINVAL, "%s: no name", table->command);
		err_hint(err, "`mayfly ps` lists what runs");
		return r;
	}
	*t = (struct targets){ .n = (size_t)(argc - left.first), .err = err };
	t->v = calloc(t->n, sizeof(*t->v));
	if (!t->v)
		return err_set(err, -ENOMEM, "%s", table->command);
	for (size_t i = 0; i < t->n; i++) {
		struct target *one = &t->v[i];
		struct err why = { 0 };

		*one = (struct target){ .word = argv[left.first + (int)i],
					.fd = -1 };
		r = state_find(&one->state, one->word, &why);
		if (r < 0)
			fail(t, one, r, &why);
	}
	return 1;
}

void targets_each(struct targets *t, target_fn fn, void *opaque)
{
	for (size_t i = 0; i < t->n; i++) {
		struct err why = { 0 };
		int r;

		if (!t->v[i].state)
			continue;
		r = fn(&t->v[i], opaque, &why);
		if (r < 0)
			fail(t, &t->v[i], r, &why);
	}
}

int targets_end(struct targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		state_close(&t->v[i].state);
		close_fd(&t->v[i].fd);
	}
	free(t->v);
	t->v = NULL;
	t->n = 0;
	return t->code;
}

int target_connect(struct target *t, struct err *err)
{
	uint64_t until = io_now_ns() + PATIENCE_NS;

	while (t->fd < 0) {
		int fd = state_connect_control(t->state, err);

		if (fd >= 0)
			t->fd = fd;
		else if (fd != -EAGAIN || io_now_ns() > until)
			return fd;
		else
			rest();
	}
	return 0;
}

static int stuck(const struct target *t, struct err *err)
{
	err_say(err, -ETIMEDOUT, "%s: its supervisor does not answer", t->word);
	err_hint(err, "end it, and with it the VM: kill -9 %d",
		 state_record(t->state)->pid);
	return -ETIMEDOUT;
}

int target_ask(struct target *t, enum control_type type, int value,
	       uint64_t timeout_ns, struct err *err)
{
	uint64_t until = io_now_ns() + PATIENCE_NS;

	for (;;) {
		int r = target_connect(t, err), ended;

		if (r < 0)
			return r;
		r = control_ask(t->fd, type, value, timeout_ns, &ended);
		if (r == 1)
			return err_say(err, -ESRCH, "%s: it has just ended",
				       t->word);
		if (r == -EAGAIN)
			return err_say(err, r, "%s: the command does not run "
					       "yet", t->word);
		if (r == -ETIMEDOUT || io_now_ns() > until)
			return stuck(t, err);
		if (r != -EPIPE)
			return r < 0 ? err_set(err, r, "%s", t->word) : 0;
		close_fd(&t->fd);
		rest();
	}
}

/* 1 the exit code is known, 0 it runs, -errno it never will be. */
static int look(struct target *t, int *exit_code, struct err *err)
{
	const struct record *r = state_record(t->state);
	int code = state_refresh(t->state);

	if (code == -ENOENT)
		return err_say(err, code, "%s: it was removed", t->word);
	if (code < 0)
		return err_set(err, code, "%s: read its record", t->word);
	if (r->phase == PHASE_LOST)
		return err_say(err, -ECHILD, "%s: its supervisor died", t->word);
	*exit_code = r->exit_code;
	return r->phase == PHASE_EXITED;
}

int target_await(struct target *t, uint64_t timeout_ns, int *exit_code,
		 struct err *err)
{
	uint64_t until = timeout_ns ? io_now_ns() + timeout_ns : UINT64_MAX;

	for (;;) {
		uint64_t now = io_now_ns();
		int r;

		if (now >= until)
			return stuck(t, err);
		/* One that has just ended answers no more, but has written.
		 * One that is slow to answer will tell of its end all the
		 * same. */
		r = target_connect(t, err);
		if (r == 0)
			r = control_ask(t->fd, CONTROL_WAIT, 0, 0, exit_code);
		if (r == 0 || r == -ETIMEDOUT)
			r = control_wait(t->fd, timeout_ns ? until - now : 0,
					 exit_code);
		if (r == 1)
			return 0;
		if (r == -ETIMEDOUT)
			return stuck(t, err);
		close_fd(&t->fd);
		r = look(t, exit_code, err);
		if (r)
			return MIN(r, 0);
		rest();
	}
}

int target_kill(struct target *t, struct err *err)
{
	int r = target_ask(t, CONTROL_KILL, 0, 0, err), code;

	if (r == 0)
		r = target_await(t, PATIENCE_NS, &code, err);
	/* Gone, and it took its record along. */
	return r == -ENOENT || r == -ECHILD ? 0 : r;
}
