/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep: every system call there is, from behind the filter of a role.
 *
 * One child makes one call. Inside: sweep(). Outside: what the tables of
 * sweep_kept.c say is to become of it.
 */
#ifndef MAYFLY_TESTS_JAIL_SWEEP_H
#define MAYFLY_TESTS_JAIL_SWEEP_H

#include <stdint.h>

#include "jail/lock.h"

#define SWEEP_CALLS 471

enum sweep_kind {
	SWEEP_ZERO,	 /* all arguments 0 */
	SWEEP_ONES,	 /* -1 */
	SWEEP_PLAUSIBLE, /* a descriptor, an address, a length */
	SWEEP_X32,	 /* numbers of that other ABI */
	SWEEP_INT80,	 /* calls of 32-bit programs */
	SWEEP_THREADS,	 /* number 0: not all kept; is it the whole process? */
	SWEEP_KINDS,
};

static inline uint32_t sweep_index(enum sweep_kind kind, unsigned nr)
{
	return (uint32_t)kind << 16 | nr;
}

/* Does this filter keep the call, and if so, whatever its arguments? */
enum sweep_kept { DIES, LIVES, ARGUMENTS_DECIDE };
enum sweep_kept sweep_kept(enum lock_role role, unsigned nr);

struct world;
void sweep(const struct world *w);

#endif
