/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen: random instructions and states for the differential tests.
 *
 * Everything comes from one 64-bit seed. Values lie at the edges of their
 * formats half of the time; memory operands are aimed at the data pages:
 * aligned, not aligned, across their border, into the holes around them, into
 * the read-only page, at addresses that are not canonical.
 */
#ifndef MAYFLY_TESTS_DIFF_GEN_H
#define MAYFLY_TESTS_DIFF_GEN_H

#include "tests/diff/forms.h"
#include "tests/diff/host.h"

struct rng {
	uint64_t s;
};

static inline uint64_t rnd(struct rng *r)
{
	/* splitmix64 (Steele, Lea, Flood 2014) */
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline unsigned rnd_below(struct rng *r, unsigned n)
{
	return (unsigned)((rnd(r) >> 32) * n >> 32);
}

static inline int one_in(struct rng *r, unsigned n)
{
	return rnd_below(r, n) == 0;
}

/* An instruction, and where in it what may have to be patched lies. */
struct gen_insn {
	uint8_t bytes[DECODE_MAX];
	uint8_t len;
	uint8_t disp_at; /* of a 4-byte displacement that has no base, or 0 */
	uint8_t imm_at;  /* of a branch's displacement, or 0 */
	uint8_t imm_len;
	struct insn in;
};

/* A random encoding of the form. -1 when none came out (rare). */
int gen_insn(struct rng *r, const struct diff_form *f, struct gen_insn *g);

/* The same without prefixes that need not be; memory at GEN_POINTERS, a mask
 * of registers, and 128 bytes around. */
#define GEN_POINTERS 0xe8e8u
int gen_plain_insn(struct rng *r, const struct diff_form *f,
		   struct gen_insn *g);

/* A random state and memory; no code. */
void gen_state(struct rng *r, struct diff_case *c);

/* Where a memory operand of @size bytes might go. */
uint64_t gen_target(struct rng *r, unsigned size, int compat);

/* Registers, displacement and what else this instruction, at @at, needs to
 * do something that a test can use. May change @g's bytes. */
void gen_aim(struct rng *r, struct diff_case *c, struct gen_insn *g,
	     uint64_t at);

#endif
