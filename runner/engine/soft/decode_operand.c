/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of an instruction: what ModRM, SIB and displacement say, and the
 * notation of the tables made concrete.
 */
#include "runner/engine/engine.h"
#include "runner/engine/soft/decode_table.h"

static uint64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(v << shift) >> shift);
}

/* --- memory operand ---------------------------------------------------- */

static void take_disp(struct insn *in, struct cursor *c, unsigned size)
{
	if (size)
		in->disp = (int64_t)sign_extend(decode_take(c, size), size);
}

void decode_default_seg(struct insn *in, unsigned sreg)
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
		decode_default_seg(in, X86_DS);
		take_disp(in, c, 2);
		return;
	}
	in->base = base[rm];
	in->index = index[rm];
	decode_default_seg(in, in->base == X86_RBP ? X86_SS : X86_DS);
	take_disp(in, c, mod);
}

/* SDM 2A tables 2-2, 2-3, section 2.2.1.6 for RIP. */
static void take_mem32(struct insn *in, struct cursor *c)
{
	unsigned mod = modrm_mod(in), base = modrm_rm(in), index;
	uint8_t sib;

	if (base == 4) {
		sib = decode_byte(c);
		base = sib & 7;
		index = (sib >> 3 & 7) | (in->rex & REX_X ? 8 : 0);
		if (index != X86_RSP) {
			in->index = (uint8_t)index;
			in->scale = sib >> 6;
		}
	} else if (base == 5 && mod == 0) {
		if (c->mode == DECODE_64)
			in->base = REG_RIP;
		decode_default_seg(in, X86_DS);
		take_disp(in, c, 4);
		return;
	}
	if (base == 5 && mod == 0) {
		decode_default_seg(in, X86_DS);
		take_disp(in, c, 4);
		return;
	}
	in->base = (uint8_t)(base | (in->rex & REX_B ? 8 : 0));
	decode_default_seg(in, in->base == X86_RSP || in->base == X86_RBP ? X86_SS :
								     X86_DS);
	take_disp(in, c, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

void decode_memory(struct insn *in, struct cursor *c)
{
	if (in->asize == 2)
		take_mem16(in, c);
	else
		take_mem32(in, c);
}

/* --- operands ---------------------------------------------------------- */

static unsigned operand_size(const struct insn *in, const struct cursor *c,
			     unsigned code, int reg)
{
	static const uint8_t fixed[] = {
		[S_NONE] = 0, [S_B] = 1, [S_W] = 2, [S_D] = 4, [S_Q] = 8, [S_DQ] = 16,
		[S_T] = 10,
	};
	int z4 = in->osize == 2 ? 2 : 4;

	if (code == S_V)
		return in->osize;
	if (code <= S_T)
		return fixed[code];
	switch (code) {
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
	case S_A:
		return in->osize * 2u;
	case S_P:
		return in->osize + 2u;
	case S_GDT:
		return c->mode == DECODE_64 ? 10 : 6;
	case S_ENV:
		return z4 == 2 ? 14 : 28;
	case S_SAVE:
		return z4 == 2 ? 94 : 108;
	default: /* S_FX: 512 does not fit; the operation says it */
		return 0;
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
static void implied_operand(struct opnd *o, struct insn *in, struct cursor *c,
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
		o->kind = OPND_IMM;
		in->imm = decode_take(c, n);
		break;
	case M_SI:
		o->kind = OPND_IMM;
		in->imm = sign_extend(decode_take(c, n), n);
		o->size = in->osize;
		break;
	case M_J:
		o->kind = OPND_REL;
		in->imm = sign_extend(decode_take(c, n), n);
		break;
	case M_O:
		o->kind = OPND_MEM;
		in->disp = (int64_t)decode_take(c, in->asize);
		decode_default_seg(in, X86_DS);
		break;
	case M_A:
		o->kind = OPND_FAR;
		in->imm = decode_take(c, n);
		in->imm2 = decode_take(c, 2);
		break;
	case M_SEG:
		set_reg(o, OPND_SREG, in->opcode >> 3 & 7, 2);
		break;
	}
}

/* 0, or -1 where the operand makes the instruction undefined. */
static int modrm_operand(struct opnd *o, struct insn *in,
			 const struct cursor *c, unsigned method)
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
	case M_R: /* FNSTSW AX has no other */
		set_gpr(o, in, in->op == OP_X87 ? modrm_rm(in) : rm);
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
	const uint32_t set = 1u << M_G | 1u << M_S | 1u << M_C | 1u << M_D |
			     1u << M_P | 1u << M_V | 1u << M_PV;

	return set >> method & 1;
}

int decode_operands(struct insn *in, const struct form *f,
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
			in->imm2 = decode_take(c, o->size);
		} else if (method < M_E) {
			implied_operand(o, in, c, method);
		} else {
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

