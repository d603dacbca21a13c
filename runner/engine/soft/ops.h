/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops: what the integer handlers share: widths, flags, and tables of
 * handlers by operand size. Private to the soft engine's handler files.
 *
 * Handlers are made by macros over a width in bits W (8, 16, 32, 64). The
 * host computes: FLAGS ends an asm statement whose "=&a" output then is
 * cpu->fl (cpu.h).
 */
#ifndef MAYFLY_SOFT_OPS_H
#define MAYFLY_SOFT_OPS_H

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/mmu.h"

#define U(W)   UW_##W
#define UW_8   uint8_t
#define UW_16  uint16_t
#define UW_32  uint32_t
#define UW_64  uint64_t
#define SFX(W) SFX_##W
#define SFX_8  "b"
#define SFX_16 "w"
#define SFX_32 "l"
#define SFX_64 "q"

/* Writing a 32-bit register clears its upper half; 8 and 16 bits keep it. */
#define SET_REG(W, cpu, off, v)	  SET_##W(cpu, off, v)
#define SET_8(cpu, off, v)	  (R8(cpu, off) = (v))
#define SET_16(cpu, off, v)	  (R16(cpu, off) = (v))
#define SET_32(cpu, off, v)	  (R64(cpu, off) = (uint32_t)(v))
#define SET_64(cpu, off, v)	  (R64(cpu, off) = (v))
#define GET_REG(W, cpu, off)	  (*(const U(W) *)((char *)(cpu)->r + (off)))

#define LOAD_MEM(W, cpu, op, va)     mmu_load##W(cpu, op, va)
#define STORE_MEM(W, cpu, op, va, v) mmu_store##W(cpu, op, va, v)

/* The two halves of a read-modify-write at mmu_rmw()'s @p (may be NULL). */
#define RMW(W)                                                               \
static inline U(W) rmw_load##W(struct cpu *cpu, const struct uop *op,        \
			       const void *p, uint64_t va)                   \
{                                                                            \
	U(W) v;                                                              \
                                                                             \
	if (__builtin_expect(!p, 0))                                         \
		return (U(W))mmu_load_slow(cpu, op, va, sizeof(v));          \
	memcpy(&v, p, sizeof(v));                                            \
	return v;                                                            \
}                                                                            \
static inline void rmw_store##W(struct cpu *cpu, const struct uop *op,       \
				void *p, uint64_t va, U(W) v)                \
{                                                                            \
	if (__builtin_expect(!p, 0))                                         \
		mmu_store_slow(cpu, op, va, v, sizeof(v));                   \
	else                                                                 \
		memcpy(p, &v, sizeof(v));                                    \
}
RMW(8) RMW(16) RMW(32) RMW(64)
#undef RMW
#define RMW_LOAD(W, cpu, op, p, va)	rmw_load##W(cpu, op, p, va)
#define RMW_STORE(W, cpu, op, p, va, v) rmw_store##W(cpu, op, p, va, v)

/* d = expr on the W bits at @at: through a host pointer, else in two steps. */
#define MODIFY_AT(W, at, expr)                                               \
	do {                                                                 \
		uint64_t va = (at);                                          \
		void *p = mmu_rmw(cpu, op, va, sizeof(U(W)));                \
		U(W) d = RMW_LOAD(W, cpu, op, p, va);                        \
									     \
		d = (expr);                                                  \
		RMW_STORE(W, cpu, op, p, va, d);                             \
	} while (0)
#define MODIFY(W, expr) MODIFY_AT(W, uop_ea(cpu, op), expr)

#define FLAGS	 "\n\tlahf\n\tseto %%al"
#define CARRY_IN "btl $8, %[fl]\n\t"
/* All guest flags into the host's, for what keeps some of them: OF by an
 * addition that overflows, then SAHF. */
#define FLAGS_IN "movl %[fl], %%eax\n\taddb $127, %%al\n\tsahf\n\t"

#define HANDLER(name) \
	static const struct uop *name(struct cpu *cpu, const struct uop *op)

/* { 8, 16, 32, 64 } variants, indexed by size_index(). */
#define BY_SIZE(name) { name##8, name##16, name##32, name##64 }
#define BY_SIZE3(name) { NULL, name##16, name##32, name##64 }
#define BY_FORM(n)                                                           \
	{ { BY_SIZE(n##_rr), BY_SIZE(n##_ri), BY_SIZE(n##_rm),               \
	    BY_SIZE(n##_mr), BY_SIZE(n##_mi) } }
#define ALL_SIZES(M) M(8) M(16) M(32) M(64)

static inline unsigned size_index(unsigned bytes)
{
	return (unsigned)__builtin_ctz(bytes);
}

/*
 * Conditions, SDM 1 appendix B: O B Z BE S P L LE and their opposites. L is
 * SF != OF, made into bit 1 here, so that each is one mask.
 */
#define FL_L 0x0002u
static inline int cond_mask(uint32_t fl, uint32_t mask)
{
	fl |= ((fl >> 15) ^ fl) << 1 & FL_L;
	return (fl & mask) != 0;
}

static const uint16_t cc_mask[8] = { FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF,
				     FL_SF, FL_PF, FL_L, FL_L | FL_ZF };

static inline int cond(uint32_t fl, unsigned cc)
{
	return cond_mask(fl, cc_mask[cc >> 1]) ^ (int)(cc & 1);
}

#endif
