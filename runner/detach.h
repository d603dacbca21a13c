/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detach: a run that goes on without who started it.
 *
 * detach_fork() makes two processes. The child is the supervisor: leader of a
 * session of its own, standard input and output on /dev/null, everything else
 * that the caller had left open closed, but for what is named to be kept, and
 * standard error, on which notices may still come until detach_tell(). The
 * parent waits for
 * that and does nothing else; it has no part in the run, and makes none of
 * its descriptors. The working directory stays: options name files by it.
 *
 * Call it before anything is opened or locked, state_create() for one.
 */
#ifndef MAYFLY_DETACH_H
#define MAYFLY_DETACH_H

#include "runner/base/err.h"
#include "runner/record.h"

struct detach {
	int fd; /* supervisor: to tell the parent; -1: told, or not detached */
};

struct detach_report {
	int code; /* exit code, or -errno, as a subcommand returns it */
	char id[STATE_ID_MAX]; /* the run that now goes on; "": none */
	struct err err;
};

/* Descriptors that the supervisor has as well. */
struct detach_keep {
	const int *fds;
	size_t n;
};

/*
 * 0 in the supervisor; 1 in the parent, when the supervisor has told or died,
 * with *@report filled; -errno where there are not two. The supervisor must
 * not go back to main() with words: nobody hears them. It ends by returning
 * 0 from the subcommand.
 */
int detach_fork(struct detach *d, const struct detach_keep *keep,
		struct detach_report *report, struct err *err);

/*
 * The command runs (@id), or the start failed (@id NULL, @code and @err as
 * the subcommand would return them). Standard error is /dev/null afterwards.
 * Once; later calls do nothing. -EPIPE: the parent died before; nobody will
 * know of the run, so end it.
 */
int detach_tell(struct detach *d, int code, const char *id,
		const struct err *err);

#endif
