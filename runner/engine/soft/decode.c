/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instruction decoding: prefixes, opcode, the table's form, operands (which
 * are decode_operand.c's), and what follows from all that.
 */
#include "runner/engine/soft/decode.h"

#include <string.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/decode_table.h"

static void segment_prefix(struct insn *in, const struct cursor *c,
			   unsigned sreg)
{
	/* SDM 1 3.4.4.1: the other four are ignored in 64-bit mode. */
	if (c->mode == DECODE_64 && sreg < X86_FS)
		return;
	in->pfx |= PFX_SEG;
	in->seg = (uint8_t)sreg;
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

/* The bytes that take_prefix() may know, a bit each. */
static int maybe_prefix(uint8_t b)
{
	static const uint64_t set[4] = {
		1ull << 0x26 | 1ull << 0x2e | 1ull << 0x36 | 1ull << 0x3e,
		0xffffull | 0xfull << 0x24, 0, 1ull << 0x30 | 3ull << 0x32,
	};

	return set[b >> 6] >> (b & 63) & 1;
}

static const struct form *take_opcode(struct insn *in, struct cursor *c)
{
	uint8_t b = decode_byte(c);

	while (maybe_prefix(b) && !c->ended && take_prefix(in, c, b))
		b = decode_byte(c);
	in->opcode = b;
	if (b != 0x0f)
		return &form_map0[b];
	in->opcode = b = decode_byte(c);
	in->map = b == 0x38 ? 2 : b == 0x3a ? 3 : 1;
	if (in->map == 1)
		return &form_0f[b];
	in->opcode = b = decode_byte(c);
	return in->map == 2 ? &form_0f38[b] : &form_0f3a[b];
}

static void take_modrm(struct insn *in, struct cursor *c)
{
	if (in->has_modrm)
		return;
	in->modrm = decode_byte(c);
	in->has_modrm = 1;
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

/* Branches, and what changes the mode, the flags' side effects, or what an
 * address means. */
enum { ENDS = 1, ENDS_IF_SREG, ENDS_IF_CR };
static const uint8_t ends_block[OP_COUNT] = {
	[OP_JCC ... OP_SYSEXIT] = ENDS, [OP_UD] = ENDS, [OP_CLI] = ENDS,
	[OP_STI] = ENDS, [OP_POPF] = ENDS, [OP_HLT] = ENDS, [OP_WRMSR] = ENDS,
	[OP_MOV_DR] = ENDS, [OP_LSEG] = ENDS, [OP_CLTS] = ENDS,
	[OP_LMSW] = ENDS, [OP_LLDT] = ENDS, [OP_LTR] = ENDS,
	[OP_INVLPG] = ENDS, [OP_STAC] = ENDS, [OP_CLAC] = ENDS,
	[OP_MOV_CR] = ENDS_IF_CR, [OP_MOV_SREG] = ENDS_IF_SREG,
	[OP_POP] = ENDS_IF_SREG,
};

static int ends(const struct insn *in)
{
	unsigned how = ends_block[in->op];

	return how == ENDS ||
	       (how == ENDS_IF_SREG && in->o[0].kind == OPND_SREG) ||
	       (how == ENDS_IF_CR && in->o[0].kind == OPND_CR);
}

static void set_attr(struct insn *in, const struct form *f)
{
	unsigned i;

	in->attr = f->attr;
	if (ends(in))
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
	/* most forms are good whatever surrounds them */
	if (!(f->flags & FORM_CHECKS) && !f->rm && !(in->pfx & PFX_LOCK))
		return 0;
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
	if (in->op != OP_XCHG || in->opcode != 0x90 ||
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
	decode_default_seg(in, X86_DS);
	if (in->has_modrm && modrm_mod(in) != 3 &&
	    OPND_METHOD(f->o[0]) != M_T && OPND_METHOD(f->o[1]) != M_T) {
		decode_memory(in, c);
	}
	if (f->flags & FORM_RDI)
		in->base = X86_RDI;
	if (decode_operands(in, f, c) < 0 || undefined(in, f, c)) {
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
