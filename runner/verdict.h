/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict: how a run ended, who says so, and the exit code that follows.
 *
 * Host facts win: a verdict that the host settled is not changed by what the
 * guest says later. Plain data; one thread.
 */
#ifndef MAYFLY_VERDICT_H
#define MAYFLY_VERDICT_H

#include <stdint.h>

#include "rootfs/wire.h"

struct err;

enum verdict {
	VERDICT_NONE,
	VERDICT_OK,
	VERDICT_RUNTIME_ERROR,
	VERDICT_SIGNAL,
	VERDICT_OOM,
	VERDICT_PIDS_LIMIT,
	VERDICT_DISK_FULL,
	VERDICT_TIMEOUT,
	VERDICT_CPU_TIMEOUT,
	VERDICT_OUTPUT_LIMIT,
	VERDICT_STOPPED,
	VERDICT_VM_CRASH,
	VERDICT_INTERNAL,
	VERDICT_COUNT,
};

#define EXIT_TIMED_OUT	   124
#define EXIT_INTERNAL	   125
#define EXIT_CPU_TIMED_OUT 152 /* 128 + SIGXCPU */
#define EXIT_OUTPUT_LIMIT  153 /* 128 + SIGXFSZ */

struct run_result {
	enum verdict verdict;
	int exit_code;
	int signal; /* STOPPED: what stopped it */
	/* Measured here. CLOCK_MONOTONIC in ns; 0: it did not come to that. */
	uint64_t begin_ns;     /* mayfly's main() */
	uint64_t started_ns;   /* the vCPUs */
	uint64_t ready_ns;     /* the agent's READY came */
	uint64_t output_ns;    /* the first byte of output came */
	uint64_t exit_ns;      /* the verdict was there */
	uint64_t vcpu_ns;      /* CPU time of the vCPU threads, or 0 */
	uint64_t cpu_ns;       /* the same since READY (cputime_used()) */
	uint64_t output_bytes; /* of stdout and stderr, written out */
	int output_truncated;  /* there were more */
	int pids_limited;      /* the guest was told to limit processes */
	uint64_t instructions; /* soft: executed, or 0 */
	unsigned ncpus;	       /* what the engine really has */
	int engine_failed;     /* it gave up before READY: try another */
	uint32_t isa_missing;  /* soft: ENGINE_ISA_* that user code tried */
	/* Said by the guest. */
	int have_exit;
	struct wire_ready ready;
	struct wire_exit exit;
};

const char *verdict_name(enum verdict v);

/* 1 where the guest's own words lead to it, 0 where the host decides. */
int verdict_by_guest(enum verdict v);

/* Settle verdict and exit code, once: later calls change nothing. */
void verdict_set(struct run_result *r, enum verdict v, int exit_code);
void verdict_stopped(struct run_result *r, int signo);

/* From the guest's EXIT in @r->exit. Words in @err where the program could
 * not be started; @name is what was to run, @user as who (NULL: root). */
void verdict_from_exit(struct run_result *r, const char *name,
		       const char *user, struct err *err);

/*
 * Words, where there are none yet, for a command that failed on the soft
 * engine for want of instructions. @said is the end of its standard error: a
 * loader may have refused it before it tried any.
 */
void verdict_explain(const struct run_result *r, const char *said, size_t len,
		     struct err *err);

#endif
