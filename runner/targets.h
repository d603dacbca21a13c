/* SPDX-License-Identifier: Apache-2.0 */
/*
 * targets: the runs that a command line names.
 *
 * stop, rm and the like take several names, do what they can with each,
 * and fail in the end if one failed:
 *
 *	targets_parse()		options and names; the runs are found
 *	targets_each()		do something with each that did not fail yet
 *	targets_end()		the outcome for main()
 *
 * main() prints one error, so all but the last failure are printed here. One
 * thread.
 */
#ifndef MAYFLY_TARGETS_H
#define MAYFLY_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "runner/control.h"
#include "runner/state.h"

struct err;
struct opt_table;

struct target {
	const char *word;    /* as the user named it */
	struct state *state; /* NULL: it failed */
	int fd;		     /* control connection, or -1 */
};

struct targets {
	struct target *v;
	size_t n;
	struct err *err;
	int code; /* -errno of the first failure */
};

/* 1: go on; 0: --help was printed; -errno. Some name is required. In each
 * case targets_end() has nothing to do unless this was 1. */
int targets_parse(struct targets *t, const struct opt_table *table,
		  void *options, int argc, char **argv, struct err *err);

/* 0 or -errno with words. */
typedef int (*target_fn)(struct target *t, void *opaque, struct err *err);
void targets_each(struct targets *t, target_fn fn, void *opaque);

/* 0 or the -errno of the first that failed. */
int targets_end(struct targets *t);

/* --- what can be done with one --------------------------------------- */

/* Have .fd: connect to the supervisor where that is not done yet. -ESRCH: it
 * is not running. */
int target_connect(struct target *t, struct err *err);

/* Ask it (control.h), and again where it has no room for us. 0 done; -ESRCH:
 * it is not running, or ended before it answered. */
int target_ask(struct target *t, enum control_type type, int value,
	       uint64_t timeout_ns, struct err *err);

/* Wait for its end, at most @timeout_ns (0: for ever), else -ETIMEDOUT. Where
 * it ended before, at once. -ENOENT: it was removed, -ECHILD: it is lost. */
int target_await(struct target *t, uint64_t timeout_ns, int *exit_code,
		 struct err *err);

/* The VM dies now; comes back when it is gone. -ESRCH as above. */
int target_kill(struct target *t, struct err *err);

#endif
