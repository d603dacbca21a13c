/* SPDX-License-Identifier: Apache-2.0 */
/* Random states. */
#include "tests/diff/gen.h"

#include <string.h>

#include "runner/engine/soft/cpu.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PICK(r, a) ((a)[rnd_below((r), COUNT(a))])

static uint64_t integer(struct rng *r)
{
	static const uint64_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
		0x8000000000000000, UINT64_MAX, UINT64_MAX - 1, 63, 64, 31,
		32, 16, 15, 8, 0x99, 0x0909, 0xa0a,
	};

	switch (rnd_below(r, 5)) {
	case 0:
		return PICK(r, edge);
	case 1:
		return rnd(r) >> rnd_below(r, 64);
	case 2:
		return 1ull << rnd_below(r, 64);
	default:
		return rnd(r);
	}
}

/* Zeros, ones, halves, infinities, quiet and signalling NaNs, the smallest
 * and the largest of normal and denormal numbers, limits of integers and of
 * the other formats. */
static uint64_t floating(struct rng *r)
{
	static const uint64_t doubles[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000,
		0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
		0x7ff4000000000001, 1, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0x4330000000000000, 0x41dfffffffc00000,
		0x43e0000000000000, 0x3fe0000000000000, 0x36a0000000000000,
		0x47efffffe0000000, 0x8000000000000001, 0x4008000000000000,
		0x0020000000000000, 0x3810000000000000, 0xc1e0000000000000,
		0xfff8000000000000, 0x4340000000000000, 0x3ff8000000000000,
	};
	static const uint64_t floats[] = {
		0, 1u << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
		0x7fc00000, 0x7fa00001, 1, 0x007fffff, 0x00800000, 0x7f7fffff,
		0x4b000000, 0x4f000000, 0x5f000000, 0x3f000000, 0x80000001,
		0x40400000, 0x01000000, 0xff, 0x80, 0x8000, 0x7fff, 0xcf000000,
		0xffc00000, 0x3fc00000, 0x4effffff,
	};
	uint64_t v;

	if (one_in(r, 2))
		return one_in(r, 2) ? PICK(r, doubles) : rnd(r);
	v = one_in(r, 2) ? PICK(r, floats) : rnd(r) & 0xffffffff;
	return v | (one_in(r, 2) ? PICK(r, floats) : rnd(r)) << 32;
}

/* Also the pseudo-denormals, unnormals and pseudo-infinities that the 387
 * and its successors refuse (SDM 1 table 8-3). */
static void extended(struct rng *r, uint8_t *p)
{
	static const uint16_t exponents[] = {
		0x3fff, 0xbfff, 0, 0x8000, 0x7fff, 0xffff, 1, 0x7ffe, 0x403e,
		0x4000, 0x3ffe, 0x3c00, 0x43fe, 0x3f80, 0x407e, 0x401e, 0x3fbe,
		0xc03e, 0x4005, 0x3fcd,
	};
	static const uint64_t mantissas[] = {
		1ull << 63, UINT64_MAX, 0, 0xc000000000000000, 1,
		0xa000000000000001, 0x8000000000000800, 0xfffffffffffff800,
		0xc90fdaa22168c235, 0xffffff0000000000, 0x8000008000000000,
		0x4000000000000000,
	};
	uint64_t m = one_in(r, 2) ? PICK(r, mantissas) : rnd(r);
	uint16_t e = one_in(r, 3) ? (uint16_t)rnd(r) : PICK(r, exponents);

	if (one_in(r, 2))
		m |= 1ull << 63;
	memcpy(p, &m, 8);
	memcpy(p + 8, &e, 2);
}

static void fpu_state(struct rng *r, uint8_t *fx)
{
	uint64_t v = rnd(r);
	uint32_t mxcsr = (uint32_t)(v & 0xe07f) | 0x1f80;
	uint16_t fcw = 0x7f | (v >> 8 & 0xf00), fsw = v >> 24 & 0x7f7f;

	memset(fx, 0, 512);
	if (one_in(r, 3)) /* something is unmasked */
		mxcsr &= (uint32_t)(v >> 16) | ~0x1f80u;
	if (one_in(r, 2))
		mxcsr &= ~0x3fu;
	if (one_in(r, 3)) {
		fcw &= (uint16_t)(v >> 48) | 0xff40;
		if (!one_in(r, 8)) /* mostly with nothing pending */
			fsw &= (uint16_t)(0xff40 | fcw);
	}
	if (one_in(r, 2))
		fsw &= 0xff00;
	if (fsw & ~fcw & 0x3f)
		fsw |= 0x8080; /* ES and B, as the processor has them */
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	v = rnd(r);
	fx[4] = (uint8_t)(v & 7 ? v >> 8 : v & 8 ? 0xff : 0);
	memcpy(fx + 24, &mxcsr, 4);
	v = rnd(r) >> 17; /* FIP, FDP; FOP */
	memcpy(fx + 8, &v, 8);
	v = rnd(r) >> 17;
	memcpy(fx + 16, &v, 8);
	v = rnd(r) & 0x7ff;
	memcpy(fx + 6, &v, 2);
	for (unsigned i = 0; i < 8; i++)
		extended(r, fx + 32 + 16 * i);
	for (unsigned i = 0; i < 32; i++) {
		v = one_in(r, 4) ? integer(r) : floating(r);
		memcpy(fx + 160 + 8 * i, &v, 8);
	}
}

static uint8_t background[DIFF_DATA_SIZE];

void gen_state(struct rng *r, struct diff_case *c)
{
	struct diff_state *s = &c->in;

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = c->compat && i >= 8 ? rnd(r) : integer(r);
	/* no instruction reads these in 32-bit code */
	for (unsigned i = 0; c->compat && i < 8; i++)
		s->gpr[i] &= 0xffffffff;
	s->gpr[X86_RSP] = DIFF_DATA + 0x800 + 8 * rnd_below(r, 64);
	s->rflags = 0x202 | (rnd(r) & RFLAGS_ARITH) |
		    (one_in(r, 4) ? RFLAGS_DF : 0) |
		    (one_in(r, 16) ? RFLAGS_AC : 0) |
		    (one_in(r, 4) ? RFLAGS_ID : 0);
	c->stepping = one_in(r, 128); /* each step costs the host dearly */
	if (c->stepping)
		s->rflags |= RFLAGS_TF;
	s->fsbase = DIFF_DATA + 0x200;
	s->gsbase = DIFF_GSBASE;
	fpu_state(r, s->fx);
	if (!background[0])
		diff_fill(background, sizeof(background));
	memcpy(c->data, background, sizeof(background));
	for (unsigned i = 0; i < 64; i++) /* the stack, at its lowest */
		memcpy(c->data + 0x800 + 8 * i, &(uint64_t){ integer(r) }, 8);
}

/* --- operands ----------------------------------------------------------- */

uint64_t gen_target(struct rng *r, unsigned size, int compat)
{
	uint64_t mid = DIFF_DATA + 0x400 + 16 * rnd_below(r, 32);
	const uint64_t border = DIFF_DATA + 0x1000, end = border + 0x1000;

	switch (rnd_below(r, 64)) {
	case 0 ... 33:
		return mid;
	case 34 ... 47:
		return mid + rnd_below(r, 16);
	case 48 ... 53:
		return border - rnd_below(r, size + 1);
	case 54 ... 55:
		return end - size;
	case 56 ... 57:
		return end - rnd_below(r, size + 1);
	case 58:
		return DIFF_DATA - rnd_below(r, size + 1);
	case 59 ... 60:
		return DIFF_RO + rnd_below(r, 0x1000 - size);
	case 61:
		return DIFF_RO + 0x1000 - rnd_below(r, size + 1);
	case 62:
		return end + rnd_below(r, 0x800);
	default:
		if (compat) /* what begins there may end at 0 */
			return 0x100000000 - rnd_below(r, size + 1);
		return one_in(r, 2) ? 0x0000800000000000ull - rnd_below(r, 17) :
				      rnd(r) | 1ull << 63;
	}
}

/* What the operand reads: numbers of its kind. */
static void fill_operand(struct rng *r, struct diff_case *c,
			 const struct insn *in, uint64_t at, unsigned size)
{
	uint8_t v[512];
	int fp = in->op == OP_X87 || in->op == OP_X87_ENV ||
		 in->op == OP_SIMD;

	if (at < DIFF_DATA || at + size > DIFF_DATA + DIFF_DATA_SIZE)
		return;
	for (unsigned i = 0; i < size; i += 8)
		memcpy(v + i, &(uint64_t){ fp && !one_in(r, 4) ?
					   floating(r) : integer(r) }, 8);
	if (in->op == OP_X87 && size == 10 && !one_in(r, 4)) {
		if (in->opcode == 0xdf) /* FBLD: digits */
			for (unsigned i = 0; i < 9; i++)
				v[i] = (uint8_t)(rnd_below(r, 10) |
						 rnd_below(r, 10) << 4);
		else
			extended(r, v);
	}
	if (in->op == OP_FXRSTOR || in->op == OP_X87_ENV) {
		fpu_state(r, v);
		if (in->op == OP_X87_ENV && in->osize != 2)
			memmove(v + 4, v + 2, 8); /* 32-bit places */
		if (in->op == OP_FXRSTOR && one_in(r, 8))
			v[26 + rnd_below(r, 2)] |= 1; /* reserved in MXCSR */
	}
	if (in->op == OP_LDMXCSR && !one_in(r, 8))
		v[2] = v[3] = 0;
	memcpy(c->data + (at - DIFF_DATA), v, size);
}

static unsigned mem_size(const struct insn *in)
{
	if (in->op == OP_FXSAVE || in->op == OP_FXRSTOR)
		return 512;
	for (unsigned i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_MEM && in->o[i].size)
			return in->o[i].size;
	return in->osize;
}

static void set_low(uint64_t *reg, uint64_t v, unsigned size)
{
	memcpy(reg, &v, size);
}

static uint64_t seg_base(const struct diff_case *c, const struct insn *in)
{
	return in->seg == X86_FS ? c->in.fsbase :
	       in->seg == X86_GS ? c->in.gsbase : 0;
}

static void poke(struct diff_case *c, uint64_t at, uint64_t v, unsigned size)
{
	if (at >= DIFF_DATA && at + size <= DIFF_DATA + DIFF_DATA_SIZE)
		memcpy(c->data + (at - DIFF_DATA), &v, size);
}

/* No selector of 32-bit code, by chance or not: the way out would not lead
 * out of there. */
static void stay_in_mode(struct diff_case *c, uint64_t at)
{
	uint16_t sel;

	if (c->compat || at < DIFF_DATA || at + 2 > DIFF_DATA + DIFF_DATA_SIZE)
		return;
	memcpy(&sel, c->data + (at - DIFF_DATA), 2);
	if ((sel & ~3) == (DIFF_CS32 & ~3))
		poke(c, at, 0, 2);
}

static const uint16_t selectors[] = {
	0, 3, DIFF_CS32, DIFF_DS, DIFF_CS64, 0x10, 0x18, 0x200,
};

static int loads_selector(const struct insn *in)
{
	return in->op == OP_LAR || in->op == OP_LSL || in->op == OP_VERR ||
	       in->op == OP_VERW || in->op == OP_MOV_SREG ||
	       in->op == OP_LSEG ||
	       (in->op == OP_POP && in->o[0].kind == OPND_SREG);
}

static void aim_memory(struct rng *r, struct diff_case *c, struct gen_insn *g,
		       uint64_t at)
{
	const struct insn *in = &g->in;
	unsigned size = mem_size(in);
	uint64_t t = gen_target(r, size, c->compat), rel, index = 0;

	if ((in->op == OP_FXSAVE || in->op == OP_FXRSTOR ||
	     in->op == OP_CMPXCHG16B) && !one_in(r, 8))
		t &= ~15ull;
	/* the bit offset moves the operand */
	if (in->op >= OP_BT && in->op <= OP_BTC && in->o[1].kind == OPND_GPR &&
	    in->o[1].reg != in->base && in->o[1].reg != in->index)
		set_low(&c->in.gpr[in->o[1].reg], rnd(r) % 512 - 256,
			in->osize);
	rel = t - seg_base(c, in);
	fill_operand(r, c, in, t, size);
	if (in->op >= OP_JCC && in->op <= OP_IRET && !one_in(r, 8)) {
		poke(c, t, at + g->len, in->osize);
		poke(c, t + in->osize, c->compat ? DIFF_CS32 : DIFF_CS64, 2);
	}
	if (in->op == OP_JMPF || in->op == OP_CALLF)
		stay_in_mode(c, t + in->osize);
	if (loads_selector(in))
		poke(c, t + (in->op == OP_LSEG ? in->osize : 0),
		     PICK(r, selectors), 2);
	if (in->base == REG_RIP || (in->base == REG_NONE &&
				    in->index == REG_NONE)) {
		if (in->base == REG_RIP)
			rel -= at + g->len;
		if (g->disp_at && in->asize != 2)
			memcpy(g->bytes + g->disp_at, &rel, 4);
		else if (g->disp_at) /* moffs and 16-bit forms */
			memcpy(g->bytes + g->disp_at, &rel, in->asize);
		return;
	}
	if (in->index != REG_NONE)
		index = c->in.gpr[in->index] << in->scale;
	rel -= (uint64_t)in->disp;
	if (in->index == in->base) {
		/* base * (1 + scale): as near as division comes */
		set_low(&c->in.gpr[in->base], rel / (1 + (1u << in->scale)),
			in->asize);
		return;
	}
	if (in->base == REG_NONE)
		set_low(&c->in.gpr[in->index], rel >> in->scale, in->asize);
	else
		set_low(&c->in.gpr[in->base], rel - index, in->asize);
}

static void aim_string(struct rng *r, struct diff_case *c,
		       const struct insn *in)
{
	uint64_t *g = c->in.gpr;
	unsigned n = in->osize * 4;

	set_low(&g[X86_RSI], gen_target(r, n, c->compat) - seg_base(c, in),
		in->asize);
	set_low(&g[X86_RDI], gen_target(r, n, c->compat), in->asize);
	if (one_in(r, 3)) /* overlapping */
		set_low(&g[X86_RDI], g[X86_RSI] + rnd_below(r, 33) - 16,
			in->asize);
	if (in->pfx & (PFX_REP | PFX_REPNE) && !one_in(r, 32))
		set_low(&g[X86_RCX], rnd_below(r, one_in(r, 4) ? 600 : 9),
			in->asize);
	if (in->op == OP_CMPS || in->op == OP_SCAS) /* find equals */
		memset(c->data + 0x400, (int)g[X86_RAX], 0x300);
}

/* Return frames and far pointers that lead to the next instruction. */
static void aim_frame(struct rng *r, struct diff_case *c,
		      const struct gen_insn *g, uint64_t next)
{
	/* the way out is made for one mode */
	static const uint16_t sel[] = { DIFF_DS, 0, 0x10, 0x200, 0x18 };
	const struct insn *in = &g->in;
	uint64_t sp = c->in.gpr[X86_RSP];
	unsigned n = in->osize;

	poke(c, sp, next, n);
	poke(c, sp + n, one_in(r, 4) ? PICK(r, sel) :
	     c->compat ? DIFF_CS32 : DIFF_CS64, n);
	if (in->op != OP_IRET)
		return;
	poke(c, sp + 2 * n, 0x202 | (rnd(r) & 0x240cd5), n);
	poke(c, sp + 3 * n, DIFF_DATA + 0x900, n);
	poke(c, sp + 4 * n, one_in(r, 4) ? PICK(r, sel) : DIFF_DS, n);
}

static int is_maskmov(const struct insn *in)
{
	return in->op == OP_SIMD && in->map == 1 && in->opcode == 0xf7;
}

static int has_memory(const struct insn *in)
{
	return in->base != REG_NONE || in->index != REG_NONE ||
	       (in->has_modrm && in->modrm < 0xc0 && in->op != OP_MOV_CR &&
		in->op != OP_MOV_DR) ||
	       (in->nopnd && (in->o[0].kind == OPND_MEM ||
			      in->o[1].kind == OPND_MEM));
}

void gen_aim(struct rng *r, struct diff_case *c, struct gen_insn *g,
	     uint64_t at)
{
	const struct insn *in = &g->in;
	uint64_t *gpr = c->in.gpr, next = at + g->len;

	if (in->op == OP_DIV || in->op == OP_IDIV) {
		gpr[X86_RDX] = one_in(r, 3) ? UINT64_MAX :
			       one_in(r, 3) ? integer(r) : 0;
		if (in->osize == 1 && !one_in(r, 4))
			gpr[X86_RAX] = rnd_below(r, 0x800);
	}
	if (loads_selector(in) && in->o[in->nopnd - 1].kind == OPND_GPR)
		gpr[in->o[in->nopnd - 1].reg] = PICK(r, selectors);
	if (loads_selector(in) && in->op == OP_POP)
		poke(c, gpr[X86_RSP], PICK(r, selectors), 2);
	if ((in->op == OP_JMPI || in->op == OP_CALLI) &&
	    in->o[0].kind == OPND_GPR && !one_in(r, 8))
		gpr[in->o[0].reg] = next;
	if (in->op >= OP_MOVS && in->op <= OP_OUTS)
		aim_string(r, c, in);
	else if (in->op == OP_XLAT || is_maskmov(in))
		set_low(&gpr[in->op == OP_XLAT ? X86_RBX : X86_RDI],
			gen_target(r, 16, c->compat) - seg_base(c, in),
			in->asize);
	else if (has_memory(in))
		aim_memory(r, c, g, at);
	if (in->op == OP_LEAVE || in->op == OP_ENTER)
		gpr[X86_RBP] = DIFF_DATA + 0x880 + 8 * rnd_below(r, 16);
	if (in->op == OP_RET || in->op == OP_RETF || in->op == OP_IRET)
		if (!one_in(r, 6))
			aim_frame(r, c, g, next);
	if (in->op == OP_RETF || in->op == OP_IRET)
		stay_in_mode(c, gpr[X86_RSP] + in->osize);
}
