/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instruction decoding: prefixes, opcode, ModRM, operands, in that order.
 */
#include "runner/engine/soft/decode.h"

#include <string.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/decode_table.h"

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

/* Bytes not yet taken. Past the end, zeros are read and `ended` is set: the
 * result is thrown away then. */
struct cursor {
	const uint8_t *p;
	uint8_t pos, end, ended;
	enum decode_mode mode;
};

static uint64_t take(struct cursor *c, unsigned n)
{
	uint64_t v = 0;
	unsigned i;

	if (n > (unsigned)(c->end - c->pos)) {
		c->ended = 1;
		return 0;
	}
	for (i = 0; i < n; i++)
		v |= (uint64_t)c->p[c->pos + i] << (8 * i);
	c->pos = (uint8_t)(c->pos + n);
	return v;
}

static uint64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(v << shift) >> shift);
}

static int segment_prefix(struct insn *in, const struct cursor *c,
			  unsigned sreg)
{
	/* SDM 1 3.4.4.1: the other four are ignored in 64-bit mode. */
	if (c->mode == DECODE_64 && sreg < X86_FS)
		return 1;
	in->pfx |= PFX_SEG;
	in->seg = (uint8_t)sreg;
	return 1;
}

/* A REX prefix counts only right before the opcode (SDM 2A 2.2.1). */
static int take_prefix(struct insn *in, const struct cursor *c, uint8_t b)
{
	if (c->mode == DECODE_64 && (b & 0xf0) == 0x40) {
		in->rex = b & 0xf;
		in->pfx |= PFX_REX;
		return 1;
	}
	switch (b) {
	case 0xf0:
		in->pfx |= PFX_LOCK;
		break;
	case 0xf2:
		in->pfx = (uint8_t)((in->pfx & ~PFX_REP) | PFX_REPNE);
		break;
	case 0xf3:
		in->pfx = (uint8_t)((in->pfx & ~PFX_REPNE) | PFX_REP);
		break;
	case 0x66:
		in->pfx |= PFX_66;
		break;
	case 0x67:
		in->pfx |= PFX_67;
		break;
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		segment_prefix(in, c, b >> 3 & 3);
		break;
	case 0x64:
	case 0x65:
		segment_prefix(in, c, b & 7);
		break;
	default:
		return 0;
	}
	in->rex = 0;
	in->pfx &= (uint8_t)~PFX_REX;
	return 1;
}

static const struct form *take_opcode(struct insn *in, struct cursor *c)
{
	uint8_t b = (uint8_t)take(c, 1);

	while (!c->ended && take_prefix(in, c, b))
		b = (uint8_t)take(c, 1);
	in->opcode = b;
	if (b != 0x0f)
		return &form_map0[b];
	in->opcode = b = (uint8_t)take(c, 1);
	in->map = b == 0x38 ? 2 : b == 0x3a ? 3 : 1;
	if (in->map == 1)
		return &form_0f[b];
	in->opcode = b = (uint8_t)take(c, 1);
	return in->map == 2 ? &form_0f38[b] : &form_0f3a[b];
}

static void take_modrm(struct insn *in, struct cursor *c)
{
	if (in->has_modrm)
		return;
	in->modrm = (uint8_t)take(c, 1);
	in->has_modrm = 1;
}

static unsigned modrm_mod(const struct insn *in)
{
	return in->modrm >> 6;
}

static unsigned modrm_reg(const struct insn *in)
{
	return in->modrm >> 3 & 7;
}

static unsigned modrm_rm(const struct insn *in)
{
	return in->modrm & 7;
}

/* The mandatory prefix's place in tables and masks: F2 and F3 hide 66. */
static unsigned mandatory(const struct insn *in)
{
	if (in->pfx & PFX_REPNE)
		return 3;
	if (in->pfx & PFX_REP)
		return 2;
	return in->pfx & PFX_66 ? 1 : 0;
}

/* From the opcode's form to the one that ModRM, prefix and mode choose. */
static const struct form *select_form(const struct form *f, struct insn *in,
				      struct cursor *c)
{
	unsigned i;

	while (f->op >= OP_COUNT) {
		if (f->op <= SUB_MOD)
			take_modrm(in, c);
		switch (f->op) {
		case SUB_REG:
			i = modrm_reg(in);
			break;
		case SUB_RM:
			i = modrm_rm(in);
			break;
		case SUB_MOD:
			i = modrm_mod(in) == 3;
			break;
		case SUB_PFX:
			i = mandatory(in);
			break;
		case SUB_MODE:
			i = c->mode != DECODE_64;
			break;
		default: /* SUB_W */
			i = !!(in->rex & REX_W);
			break;
		}
		f = &f->sub[i];
	}
	return f;
}

/* --- memory operand ---------------------------------------------------- */

static void take_disp(struct insn *in, struct cursor *c, unsigned size)
{
	if (size)
		in->disp = (int64_t)sign_extend(take(c, size), size);
}

static void default_seg(struct insn *in, unsigned sreg)
{
	if (!(in->pfx & PFX_SEG))
		in->seg = (uint8_t)sreg;
}

/* SDM 2A table 2-1. */
static void take_mem16(struct insn *in, struct cursor *c)
{
	static const uint8_t base[8] = {
		X86_RBX, X86_RBX, X86_RBP, X86_RBP,
		X86_RSI, X86_RDI, X86_RBP, X86_RBX,
	};
	static const uint8_t index[8] = {
		X86_RSI, X86_RDI, X86_RSI, X86_RDI,
		REG_NONE, REG_NONE, REG_NONE, REG_NONE,
	};
	unsigned mod = modrm_mod(in), rm = modrm_rm(in);

	if (mod == 0 && rm == 6) {
		default_seg(in, X86_DS);
		take_disp(in, c, 2);
		return;
	}
	in->base = base[rm];
	in->index = index[rm];
	default_seg(in, in->base == X86_RBP ? X86_SS : X86_DS);
	take_disp(in, c, mod);
}

/* SDM 2A tables 2-2, 2-3, section 2.2.1.6 for RIP. */
static void take_mem(struct insn *in, struct cursor *c)
{
	unsigned mod = modrm_mod(in), base = modrm_rm(in), index;
	uint8_t sib;

	if (base == 4) {
		sib = (uint8_t)take(c, 1);
		base = sib & 7;
		index = (sib >> 3 & 7) | (in->rex & REX_X ? 8 : 0);
		if (index != X86_RSP) {
			in->index = (uint8_t)index;
			in->scale = sib >> 6;
		}
	} else if (base == 5 && mod == 0) {
		if (c->mode == DECODE_64)
			in->base = REG_RIP;
		default_seg(in, X86_DS);
		take_disp(in, c, 4);
		return;
	}
	if (base == 5 && mod == 0) {
		default_seg(in, X86_DS);
		take_disp(in, c, 4);
		return;
	}
	in->base = (uint8_t)(base | (in->rex & REX_B ? 8 : 0));
	default_seg(in, in->base == X86_RSP || in->base == X86_RBP ? X86_SS :
								     X86_DS);
	take_disp(in, c, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

/* --- operands ---------------------------------------------------------- */

static unsigned operand_size(const struct insn *in, const struct cursor *c,
			     unsigned code, int reg)
{
	static const uint8_t fixed[] = {
		[S_B] = 1, [S_W] = 2, [S_D] = 4, [S_Q] = 8, [S_DQ] = 16,
		[S_T] = 10,
	};
	int z4 = in->osize == 2 ? 2 : 4;

	switch (code) {
	case S_NONE:
		return 0;
	case S_V:
		return in->osize;
	case S_Z:
		return (unsigned)z4;
	case S_Y:
		return in->rex & REX_W ? 8 : 4;
	case S_NAT:
		return c->mode == DECODE_64 ? 8 : 4;
	case S_X:
		return in->mand == 0x66 ? 16 : 8;
	case S_DX:
		return in->mand == 0x66 ? 16 : 4;
	case S_PF:
		return in->mand == 0xf3 ? 4 : in->mand == 0xf2 ? 8 : 16;
	case S_VW:
		return reg ? in->osize : 2;
	case S_YD:
		return !reg ? 4 : in->rex & REX_W ? 8 : 4;
	case S_DW:
		return reg ? 4 : 2;
	case S_DB:
		return reg ? 4 : 1;
	case S_P:
		return in->osize + 2u;
	case S_GDT:
		return c->mode == DECODE_64 ? 10 : 6;
	case S_ENV:
		return z4 == 2 ? 14 : 28;
	case S_SAVE:
		return z4 == 2 ? 94 : 108;
	case S_FX:
		return 0; /* 512 does not fit; the operation says it */
	default:
		return fixed[code];
	}
}

/* Without REX, byte registers 4-7 are AH, CH, DH, BH. */
static void set_gpr(struct opnd *o, const struct insn *in, unsigned reg)
{
	o->kind = OPND_GPR;
	o->reg = (uint8_t)reg;
	if (o->size == 1 && !(in->pfx & PFX_REX) && reg >= 4 && reg < 8) {
		o->kind = OPND_GPR8H;
		o->reg = (uint8_t)(reg - 4);
	}
}

static void set_reg(struct opnd *o, unsigned kind, unsigned reg, unsigned size)
{
	o->kind = (uint8_t)kind;
	o->reg = (uint8_t)reg;
	o->size = (uint8_t)size;
}

/* The operands that ModRM does not describe. */
static int implied_operand(struct opnd *o, struct insn *in, struct cursor *c,
			   unsigned method)
{
	unsigned n = o->size;

	switch (method) {
	case M_ACC:
		set_gpr(o, in, X86_RAX);
		break;
	case M_CL:
		set_gpr(o, in, X86_RCX);
		break;
	case M_DX:
		set_gpr(o, in, X86_RDX);
		break;
	case M_Z:
		set_gpr(o, in, (in->opcode & 7u) |
			(in->rex & REX_B ? 8 : 0));
		break;
	case M_ONE:
		o->kind = OPND_IMM;
		in->imm = 1;
		break;
	case M_I:
		if (o->kind == OPND_IMM) /* ENTER's second */
			break;
		o->kind = OPND_IMM;
		in->imm = take(c, n);
		break;
	case M_SI:
		o->kind = OPND_IMM;
		in->imm = sign_extend(take(c, n), n);
		o->size = in->osize;
		break;
	case M_J:
		o->kind = OPND_REL;
		in->imm = sign_extend(take(c, n), n);
		break;
	case M_O:
		o->kind = OPND_MEM;
		in->disp = (int64_t)take(c, in->asize);
		default_seg(in, X86_DS);
		break;
	case M_A:
		o->kind = OPND_FAR;
		in->imm = take(c, n);
		in->imm2 = take(c, 2);
		break;
	case M_SEG:
		set_reg(o, OPND_SREG, in->opcode >> 3 & 7, 2);
		break;
	default:
		return 0;
	}
	return 1;
}

/* 0, or -1 where the operand makes the instruction undefined. */
static int modrm_operand(struct opnd *o, struct insn *in, const struct cursor *c,
			 unsigned method)
{
	unsigned reg = modrm_reg(in) | (in->rex & REX_R ? 8 : 0);
	unsigned rm = modrm_rm(in) | (in->rex & REX_B ? 8 : 0);
	int is_reg = modrm_mod(in) == 3;

	switch (method) {
	case M_E:
		if (is_reg)
			set_gpr(o, in, rm);
		else
			o->kind = OPND_MEM;
		return 0;
	case M_G:
		set_gpr(o, in, reg);
		return 0;
	case M_M:
		o->kind = OPND_MEM;
		return is_reg ? -1 : 0;
	case M_R:
		set_gpr(o, in, rm);
		return is_reg ? 0 : -1;
	case M_T:
		set_gpr(o, in, rm);
		return 0;
	case M_S:
		set_reg(o, OPND_SREG, modrm_reg(in), 2);
		/* MOV to CS is undefined, as are registers 6 and 7. */
		return o->reg >= X86_SREGS ||
		       (o->reg == X86_CS && o->access & OPND_W) ? -1 : 0;
	case M_C:
		set_reg(o, OPND_CR, reg, o->size);
		return reg == 0 || (reg >= 2 && reg <= 4) ||
		       (reg == 8 && c->mode == DECODE_64) ? 0 : -1;
	case M_D:
		set_reg(o, OPND_DR, reg, o->size);
		return reg < 8 ? 0 : -1;
	case M_PV:
		method = in->mand == 0x66 ? M_V : M_P;
		break;
	case M_QW:
		method = in->mand == 0x66 ? M_W : M_Q;
		break;
	case M_NU:
		method = in->mand == 0x66 ? M_U : M_N;
		break;
	}

	switch (method) {
	case M_P: /* REX.R and REX.B do not reach MMX registers */
		set_reg(o, OPND_MMX, modrm_reg(in), 8);
		return 0;
	case M_V:
		set_reg(o, OPND_XMM, reg, 16);
		return 0;
	case M_STI:
		set_reg(o, OPND_X87, modrm_rm(in), 10);
		return 0;
	}
	if (!is_reg && (method == M_Q || method == M_W)) {
		o->kind = OPND_MEM;
		return 0;
	}
	if (method == M_Q || method == M_N)
		set_reg(o, OPND_MMX, modrm_rm(in), 8);
	else
		set_reg(o, OPND_XMM, rm, 16);
	return is_reg ? 0 : -1;
}

/* The methods that ModRM.reg serves; the others are ModRM.rm's. */
static int names_reg(unsigned method)
{
	switch (method) {
	case M_G:
	case M_S:
	case M_C:
	case M_D:
	case M_P:
	case M_V:
	case M_PV:
		return 1;
	default:
		return 0;
	}
}

static int take_operands(struct insn *in, const struct form *f,
			 struct cursor *c)
{
	unsigned i, method, reg = in->has_modrm && modrm_mod(in) == 3;
	struct opnd *o;

	for (i = 0; i < 3 && f->o[i]; i++) {
		o = &in->o[i];
		method = OPND_METHOD(f->o[i]);
		o->size = (uint8_t)operand_size(in, c, OPND_SIZE(f->o[i]),
						(int)reg);
		o->access = OPND_ACCESS(f->o[i]);
		if (i && method == M_I && in->o[i - 1].kind == OPND_IMM) {
			o->kind = OPND_IMM; /* ENTER */
			in->imm2 = take(c, o->size);
		} else if (!implied_operand(o, in, c, method)) {
			if (modrm_operand(o, in, c, method) < 0)
				return -1;
			if (names_reg(method))
				in->reg_opnd = (uint8_t)i;
			else
				in->rm_opnd = (uint8_t)i;
		}
		in->nopnd++;
	}
	return 0;
}

/* --- the whole --------------------------------------------------------- */

/* Whether the first operand makes it a byte operation. */
static int byte_form(const struct form *f)
{
	unsigned method = OPND_METHOD(f->o[0]);

	return f->flags & FORM_BYTE ||
	       (OPND_SIZE(f->o[0]) == S_B && method != M_I && method != M_SI &&
		method != M_J);
}

static void set_sizes(struct insn *in, const struct form *f,
		      const struct cursor *c)
{
	int small = in->pfx & PFX_66 ? 1 : 0;

	if (c->mode == DECODE_64)
		in->asize = in->pfx & PFX_67 ? 4 : 8;
	else
		in->asize = (c->mode == DECODE_32) == !(in->pfx & PFX_67) ? 4 :
									    2;
	/* A mandatory 66 is no operand size. */
	if (f->flags & FORM_PFX && !(f->flags & FORM_OSZ))
		small = 0;
	if (byte_form(f))
		in->osize = 1;
	else if (c->mode != DECODE_64)
		in->osize = (c->mode == DECODE_32) == !small ? 4 : 2;
	else if (f->flags & FORM_F64 || in->rex & REX_W)
		in->osize = 8;
	else if (small)
		in->osize = 2;
	else
		in->osize = f->flags & FORM_D64 ? 8 : 4;
}

static int writes_sreg(const struct insn *in)
{
	return in->nopnd && in->o[0].kind == OPND_SREG &&
	       in->o[0].access & OPND_W;
}

/* Branches, and what changes the mode, the flags' side effects, or what an
 * address means. */
static int ends_block(const struct insn *in)
{
	switch (in->op) {
	case OP_JCC ... OP_SYSEXIT:
	case OP_UD:
	case OP_CLI:
	case OP_STI:
	case OP_POPF:
	case OP_HLT:
	case OP_WRMSR:
	case OP_MOV_DR:
	case OP_LSEG:
	case OP_CLTS:
	case OP_LMSW:
	case OP_LLDT:
	case OP_LTR:
	case OP_INVLPG:
	case OP_STAC:
	case OP_CLAC:
		return 1;
	case OP_MOV_CR:
		return in->o[0].kind == OPND_CR;
	case OP_MOV_SREG:
	case OP_POP:
		return writes_sreg(in);
	default:
		return 0;
	}
}

static void set_attr(struct insn *in, const struct form *f)
{
	unsigned i;

	in->attr = f->attr;
	if (ends_block(in))
		in->attr |= INSN_ENDS;
	if (in->op != OP_SIMD)
		return;
	for (i = 0; i < in->nopnd; i++) {
		if (in->o[i].kind == OPND_MMX)
			in->attr |= INSN_MMX;
		if (in->o[i].kind == OPND_MEM && in->o[i].size == 16 &&
		    !(f->flags & FORM_LOOSE))
			in->attr |= INSN_ALIGN16;
	}
}

static int undefined(const struct insn *in, const struct form *f,
		     const struct cursor *c)
{
	if (f->flags & FORM_PFX && !(f->flags & 1u << mandatory(in)))
		return 1;
	if (f->flags & (c->mode == DECODE_64 ? FORM_I64 : FORM_O64))
		return 1;
	if (f->rm && !(f->rm >> modrm_rm(in) & 1))
		return 1;
	/* SDM 2A LOCK: only with a memory destination. */
	return in->pfx & PFX_LOCK &&
	       (!(f->flags & FORM_LOCK) || modrm_mod(in) == 3);
}

static void make_undefined(struct insn *in)
{
	in->op = OP_UD;
	in->attr = INSN_ENDS;
	in->nopnd = 0;
	in->rm_opnd = REG_NONE;
	in->reg_opnd = REG_NONE;
	memset(in->o, 0, sizeof(in->o));
}

/* NOP and its relatives among the exchanges (SDM 2B NOP, PAUSE). */
static void fix_nop(struct insn *in)
{
	if (in->map || in->opcode != 0x90 ||
	    (in->rex & REX_B && !(in->pfx & PFX_REP)))
		return;
	in->op = in->pfx & PFX_REP ? OP_PAUSE : OP_NOP;
	in->nopnd = 0;
	memset(in->o, 0, sizeof(in->o));
}

static void decode_form(struct insn *in, const struct form *f, struct cursor *c)
{
	static const uint8_t mand[4] = { 0, 0x66, 0xf3, 0xf2 };

	if (OPND_METHOD(f->o[0]) >= M_E || OPND_METHOD(f->o[1]) >= M_E)
		take_modrm(in, c);
	if (f->flags & FORM_PFX)
		in->mand = mand[mandatory(in)];
	set_sizes(in, f, c);
	in->op = f->op;
	in->cc = in->opcode & 0xf;
	default_seg(in, X86_DS);
	if (in->has_modrm && modrm_mod(in) != 3 &&
	    OPND_METHOD(f->o[0]) != M_T && OPND_METHOD(f->o[1]) != M_T) {
		if (in->asize == 2)
			take_mem16(in, c);
		else
			take_mem(in, c);
	}
	if (f->flags & FORM_RDI)
		in->base = X86_RDI;
	if (take_operands(in, f, c) < 0 || undefined(in, f, c)) {
		make_undefined(in);
		return;
	}
	if (in->op == OP_LEA) /* SDM 2A LEA: no segment is added */
		in->seg = X86_DS;
	set_attr(in, f);
	fix_nop(in);
}

enum decode_result decode(const uint8_t *bytes, size_t len,
			  enum decode_mode mode, struct insn *in)
{
	struct cursor c = {
		.p = bytes,
		.end = (uint8_t)(len < DECODE_MAX ? len : DECODE_MAX),
		.mode = mode,
	};
	const struct form *f;

	memset(in, 0, sizeof(*in));
	in->base = REG_NONE;
	in->index = REG_NONE;
	in->rm_opnd = REG_NONE;
	in->reg_opnd = REG_NONE;
	f = take_opcode(in, &c);
	f = select_form(f, in, &c);
	decode_form(in, f, &c);
	if (c.ended)
		return len < DECODE_MAX ? DECODE_SHORT : DECODE_LONG;
	in->len = c.pos;
	return DECODE_OK;
}
