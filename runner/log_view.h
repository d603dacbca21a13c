/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_view: entries of a journal as text or as lines of JSON.
 *
 * A line is numbered by its first byte, in the order of the journal, whatever
 * the other stream wrote before it ended: so "the last N lines" are the same
 * bytes however the command wrote them. Text goes to the descriptor of its
 * stream, as it was; with times, each line has its own. Writes wait for a slow
 * reader. One thread.
 */
#ifndef MAYFLY_LOG_VIEW_H
#define MAYFLY_LOG_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "runner/journal.h"

/* Of a line that is kept back until it is whole, as JSON needs it. */
#define LOG_LINE_MAX 65536u

struct log_stream {
	int open;  /* the last byte was not the end of a line */
	int shown; /* that line is one of those to print */
	uint64_t time_ns;
	char *line; /* JSON: what came of it; LOG_LINE_MAX bytes */
	size_t len;
};

struct log_view {
	int json, times;
	uint64_t since_ns; /* entries before are left out */
	uint64_t skip;	   /* so many lines are left out */
	int fd[2];	   /* for STDOUT and STDERR; borrowed */
	uint64_t lines;	   /* seen */
	struct log_stream stream[2];
};

/* Only count lines. */
void log_count(struct log_view *v, const struct journal_entry *e);
/* Print what is to be printed. 0 or -errno; -EPIPE: the reader is gone. */
int log_show(struct log_view *v, const struct journal_entry *e);
/* The last line may have no end. */
int log_finish(struct log_view *v);
void log_free(struct log_view *v);

#endif
