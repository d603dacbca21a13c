/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host: runs instructions on the host CPU, as the oracle of the differential
 * tests.
 *
 * A child process maps code and data at the addresses that the guest has them
 * at (below 2 GiB), and for each case loads every register, jumps to the
 * code, and stores what came out; a fault is caught and told by signal. Cases
 * lie in memory shared with the child and go in batches. One owner, one
 * thread.
 */
#ifndef MAYFLY_TESTS_DIFF_HOST_H
#define MAYFLY_TESTS_DIFF_HOST_H

#include <stdint.h>
#include <sys/types.h>

#define HOST_DATA      0x100000u /* a page, then a page that is not there */
#define HOST_DATA_SIZE 0x1000u
#define HOST_CODE      0x180000u
#define HOST_CODE_MAX  400u
#define HOST_WINDOW    256u /* bytes of data kept per case */
#define HOST_WINDOW_AT (HOST_DATA + 0x700u)

struct host_regs {
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t rip; /* out: where it ended or faulted */
};

struct host_case {
	struct host_regs in, out;
	uint8_t code[HOST_CODE_MAX];
	uint32_t code_len;
	int32_t signal; /* 0, or SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGBUS */
	uint8_t data_in[HOST_WINDOW], data_out[HOST_WINDOW];
};

struct host;

struct host *host_new(unsigned max_cases);
void host_free(struct host *h);
struct host_case *host_cases(struct host *h);
/* Run cases 0..n-1. 0, or -1 when the child died. */
int host_run(struct host *h, unsigned n);

#endif
