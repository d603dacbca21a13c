/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What 64-bit mode has no more: decimal adjustments, BOUND, ARPL, SALC. The
 * host cannot run them either. Flags that the SDM leaves undefined are what
 * Intel's processors give.
 */
#include "runner/engine/soft/ops.h"

#define AL R8(cpu, 0)
#define AH R8(cpu, 1)
#define AX R16(cpu, 0)

/* SF, ZF and PF of @v with CF and AF as given; OF is clear. */
static uint32_t decimal_flags(uint8_t v, uint32_t carries)
{
	return carries | (v & 0x80 ? FL_SF : 0) | (v ? 0 : FL_ZF) |
	       (__builtin_parity(v) ? 0 : FL_PF);
}

static int low_digit_over(const struct cpu *cpu)
{
	return (AL & 15) > 9 || cpu->fl & FL_AF;
}

/* DAA, DAS: @sign is 1 or -1. */
static inline void adjust_packed(struct cpu *cpu, int sign)
{
	int high = AL > 0x99 || cpu->fl & FL_CF;
	uint32_t carries = 0;

	if (low_digit_over(cpu)) {
		carries = FL_AF | (cpu->fl & FL_CF) |
			  (sign < 0 && AL < 6 ? FL_CF : 0);
		AL = (uint8_t)(AL + 6 * sign);
	}
	if (high) {
		carries |= FL_CF;
		AL = (uint8_t)(AL + 0x60 * sign);
	}
	cpu->fl = decimal_flags(AL, carries);
}

HANDLER(daa)
{
	adjust_packed(cpu, 1);
	NEXT(cpu, op);
}

HANDLER(das)
{
	adjust_packed(cpu, -1);
	NEXT(cpu, op);
}

/* AAA, AAS: @by is 0x106 or -0x106. */
static inline void adjust_digit(struct cpu *cpu, int by)
{
	uint32_t carries = 0;

	if (low_digit_over(cpu)) {
		carries = FL_AF | FL_CF;
		AX = (uint16_t)(AX + by);
	}
	AL &= 15;
	cpu->fl = decimal_flags(AL, carries);
}

HANDLER(aaa)
{
	adjust_digit(cpu, 0x106);
	NEXT(cpu, op);
}

HANDLER(aas)
{
	adjust_digit(cpu, -0x106);
	NEXT(cpu, op);
}

HANDLER(aam)
{
	uint8_t base = (uint8_t)op->imm, v = AL;

	if (!base)
		cpu_raise(cpu, op, EXC_DE);
	AH = v / base;
	AL = v % base;
	cpu->fl = decimal_flags(AL, 0);
	NEXT(cpu, op);
}

/* All flags are those of the addition. */
HANDLER(aad)
{
	uint8_t d = AL, s = (uint8_t)(AH * (uint8_t)op->imm);
	uint16_t f;

	__asm__("addb %[s], %[d]" FLAGS
		: [d] "+q"(d), "=&a"(f) : [s] "q"(s) : "cc");
	AX = d;
	cpu->fl = f;
	NEXT(cpu, op);
}

HANDLER(salc)
{
	AL = cpu->fl & FL_CF ? 0xff : 0;
	NEXT(cpu, op);
}

/* SDM 2A BOUND: lower and upper bound lie one after the other. */
#define BOUND(W)                                                             \
HANDLER(bound##W)                                                            \
{                                                                            \
	int##W##_t i = (int##W##_t)GET_REG(W, cpu, op->r0);                  \
	uint64_t va = uop_ea(cpu, op);                                       \
                                                                             \
	if (i < (int##W##_t)LOAD_MEM(W, cpu, op, va) ||                      \
	    i > (int##W##_t)LOAD_MEM(W, cpu, op,                             \
				     mmu_wrap(cpu, va + W / 8)))             \
		cpu_raise(cpu, op, EXC_BR);                                  \
	NEXT(cpu, op);                                                       \
}
BOUND(16)
BOUND(32)

/* The destination's RPL rises to the source's; ZF says whether it did. */
static inline uint16_t adjust_rpl(struct cpu *cpu, uint16_t d, uint16_t s)
{
	if ((d & 3) >= (s & 3)) {
		cpu->fl &= ~FL_ZF;
		return d;
	}
	cpu->fl |= FL_ZF;
	return (uint16_t)((d & ~3) | (s & 3));
}

HANDLER(arpl_r)
{
	R16(cpu, op->r0) = adjust_rpl(cpu, R16(cpu, op->r0),
				      R16(cpu, op->r1));
	NEXT(cpu, op);
}

HANDLER(arpl_m)
{
	uint64_t va = uop_ea(cpu, op);
	uint16_t d = mmu_load16(cpu, op, va), s = R16(cpu, op->r1);

	/* what is not changed need not be writable */
	if ((d & 3) < (s & 3))
		mmu_store16(cpu, op, va, (uint16_t)((d & ~3) | (s & 3)));
	adjust_rpl(cpu, d, s);
	NEXT(cpu, op);
}

static void emit_bound(struct emitter *e, const struct insn *in)
{
	struct emit_ea a = emit_address(e, in);
	struct uop *u = emit_uop(e, in->osize == 2 ? bound16 : bound32);

	emit_set_ea(u, a);
	u->r0 = emit_reg(&in->o[0]);
}

int emit_legacy(struct emitter *e, const struct insn *in)
{
	switch (in->op) {
	case OP_DAA:
		emit_uop(e, daa);
		return 1;
	case OP_DAS:
		emit_uop(e, das);
		return 1;
	case OP_AAA:
		emit_uop(e, aaa);
		return 1;
	case OP_AAS:
		emit_uop(e, aas);
		return 1;
	case OP_AAM:
		emit_uop(e, aam)->imm = in->imm;
		return 1;
	case OP_AAD:
		emit_uop(e, aad)->imm = in->imm;
		return 1;
	case OP_SALC:
		emit_uop(e, salc);
		return 1;
	case OP_BOUND:
		emit_bound(e, in);
		return 1;
	case OP_ARPL:
		emit_rm(e, in, &in->o[0], arpl_r, arpl_m)->r1 =
			emit_reg(&in->o[1]);
		return 1;
	default:
		return 0;
	}
}
