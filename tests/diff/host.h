/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host: runs code on the host CPU, as the oracle of the differential tests.
 *
 * A case is a state, memory and code; its outcome is all of that after the
 * code, or at the fault that ended it. A child process maps data and code
 * where the guest has them (below 4 GiB), enters each case by IRETQ into
 * 64-bit or compatibility mode, and catches faults as signals. It holds no
 * descriptors but its two pipes, and its seccomp filter knows read, write,
 * sigreturn and exit. Cases lie in memory shared with the child and go in
 * batches. One owner, one thread.
 */
#ifndef MAYFLY_TESTS_DIFF_HOST_H
#define MAYFLY_TESTS_DIFF_HOST_H

#include <stdint.h>

#include "tests/diff/enter.h"

/* Linear addresses, the same for host and guest. Around each is a hole. */
#define DIFF_DATA      0x100000u /* two pages */
#define DIFF_DATA_SIZE 0x2000u
#define DIFF_RO	       0x103000u /* one page, read-only, diff_fill()ed */
#define DIFF_CODE      0x180000u /* two pages, or as far as one exists */
#define DIFF_CODE_SIZE 0x2000u
#define DIFF_CODE_MAX  480u
#define DIFF_GSBASE    (DIFF_DATA - 0x2000u)
#define DIFF_STEPS_MAX 64u /* single steps before a case ends */

struct diff_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint64_t fsbase, gsbase;
	uint16_t sreg[4]; /* DS, ES, FS, GS; out only */
	uint8_t fx[512] __attribute__((aligned(64)));
};

#define DIFF_END (-1) /* vec: it came to its end */

struct diff_out {
	struct diff_state s;
	int32_t vec;	/* of the exception, or DIFF_END */
	uint32_t err;	/* its error code; 0 where it has none */
	uint64_t cr2;	/* #PF */
	uint32_t steps; /* single-step traps before that ... */
	uint64_t trace; /* ... and where: a hash of their RIPs */
	uint8_t data[DIFF_DATA_SIZE];
};

struct diff_case {
	uint8_t compat;	  /* 32-bit code */
	uint8_t stepping; /* TF is set: step traps are counted */
	uint32_t code_at;
	uint32_t code_len; /* the way out is appended */
	uint8_t code[DIFF_CODE_MAX];
	struct diff_state in;
	uint8_t data[DIFF_DATA_SIZE];
	struct diff_out host, soft;
};

struct host;

/* Words for why this host cannot be an oracle, or NULL. */
const char *host_cannot(void);
/* 0 under AddressSanitizer, which maps memory all over the place: cases are
 * only made then, and host_run() does nothing. */
int host_answers(void);
struct host *host_new(unsigned max_cases);
void host_free(struct host *h); /* takes NULL */
struct diff_case *host_cases(struct host *h);
/* Run cases 0..n-1. 0, or -1 when the child died or hangs. */
int host_run(struct host *h, unsigned n);

/* --- what both sides do alike ------------------------------------------- */

/* Unchanging bytes for memory that no case sets. */
void diff_fill(uint8_t *p, unsigned len);
/* Put code and way out at @code, which is DIFF_CODE; what does not fit the
 * two pages is cut off. */
void diff_put_code(uint8_t *code, const struct diff_case *c);

static inline uint64_t diff_trace(uint64_t trace, uint64_t rip)
{
	return (trace ^ rip) * 0x100000001b3ull; /* FNV-1a's step */
}

#endif
