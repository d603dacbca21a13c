/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress: one line on a terminal that says how far a long job is.
 *
 * Nothing is shown where standard error is no terminal, nor in the first
 * moments of a job, nor more often than a person reads. One thread.
 */
#ifndef MAYFLY_PROGRESS_H
#define MAYFLY_PROGRESS_H

#include <stdint.h>

struct progress {
	int on;	       /* there is somebody to read it */
	int shown;     /* the line is on the terminal */
	uint64_t since; /* io_now_ns() when the bytes began to count */
	uint64_t next; /* not before */
};

void progress_init(struct progress *p, int quiet);

/* @done of @total bytes (0: not known) of something begun at .since:
 * "WHAT: 118.2 MB of 240.0 MB, 310 MB/s". */
void progress_show(struct progress *p, const char *what, uint64_t done,
		   uint64_t total);

/* Count from now, with a new line. */
void progress_restart(struct progress *p);

/* Take the line away: before anything else is printed. */
void progress_clear(struct progress *p);

#endif
