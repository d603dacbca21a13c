/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: where the time of a run went, for --trace and Perfetto.
 *
 * Whoever passes a stage of a run marks it, which costs a look at the clock;
 * trace_write() makes spans of the marks when the run is over. Three tracks
 * keep apart who says what: launcher and mayfly-vmm are measured here, by one
 * clock; the guest's stages are the guest's word. Its clock is set against
 * ours at READY, and what it says is cut to the time in which it ran.
 *
 * The format is Chrome's trace events: a JSON object with "traceEvents", times
 * in microseconds since mayfly began. One thread.
 */
#ifndef MAYFLY_TRACE_H
#define MAYFLY_TRACE_H

#include <stdint.h>

#include "runner/meta.h"
#include "runner/vmm/ctl.h"

struct err;

/* Stages of the launcher; a mark is the stage's end. */
enum trace_mark {
	TRACE_OPTIONS, /* the command line is understood */
	TRACE_ENGINE,  /* one is chosen: /dev/kvm was probed */
	TRACE_RECORD,  /* the run is known to others */
	TRACE_NETWORK, /* there is a way out, its fence is being made */
	TRACE_FILES,   /* kernel and images are open */
	TRACE_SCRATCH, /* the disk that takes writes is made */
	TRACE_FORK,    /* mayfly-vmm is started */
	TRACE_DRAIN,   /* after the end: all output is out */
	TRACE_REAP,    /* the VM is gone */
	TRACE_MARKS,
};

struct trace {
	uint64_t mark[TRACE_MARKS];	/* CLOCK_MONOTONIC; 0: not reached */
	uint64_t vmm_ns[CTL_STAGES];	/* mayfly-vmm's, of the same clock */
	uint64_t command_ns;		/* the agent's STARTED came */
	uint64_t guest_command_ns;	/* and what the guest's clock was */
};

/* NULL marks nothing. */
void trace_mark(struct trace *t, enum trace_mark which);

/* The document as a string that the caller frees, or NULL. */
char *trace_format(const struct trace *t, const struct meta *m);

/* To a file, whole or not at all; see meta_write_file(). */
int trace_write(const struct trace *t, const struct meta *m, const char *path,
		struct err *err);

#endif
