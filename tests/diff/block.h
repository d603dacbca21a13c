/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block: random sequences of instructions for the differential tests.
 *
 * Any mix of forms that leave nothing undefined for the next one, with
 * branches forward, and faults where operands happen to lie. Pointers live in
 * a few registers that the other instructions mostly leave alone.
 */
#ifndef MAYFLY_TESTS_DIFF_BLOCK_H
#define MAYFLY_TESTS_DIFF_BLOCK_H

#include "tests/diff/gen.h"

#define BLOCK_MAX 20u

struct diff_block {
	unsigned n;
	struct block_insn {
		struct gen_insn g;
		unsigned target;    /* of a branch: an index, up to n */
		uint32_t at;	    /* its address, by block_put() */
	} i[2 * BLOCK_MAX];	    /* what follows to define flags again */
};

/* A block and its state, all from @seed. */
void block_make(struct diff_block *b, struct diff_case *c,
		const struct diff_forms *fs, uint64_t seed);
/* Lay its code out in @c, branches resolved. */
void block_put(struct diff_block *b, struct diff_case *c);
/* Take instruction @k out. */
void block_remove(struct diff_block *b, unsigned k);
/* What differs, or NULL, once @c has both outcomes. */
const char *block_check(const struct diff_block *b, const struct diff_case *c);

#endif
