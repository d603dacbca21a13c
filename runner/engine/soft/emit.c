/* SPDX-License-Identifier: Apache-2.0 */
/* From decoded instructions to uops: what all instruction families share. */
#include "runner/engine/soft/block.h"

#include <string.h>

#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"
#include "runner/engine/soft/xlate.h"

static const struct uop *op_raise(struct cpu *cpu, const struct uop *op)
{
	if (op->imm && cpu->cpl == 3)
		atomic_fetch_or_explicit(&cpu->isa_missing, (uint32_t)op->imm,
					 memory_order_relaxed);
	cpu_raise_err(cpu, op, op->aux, 0);
}

/* The offset modulo 2^32 or 2^16. */
static inline uint32_t narrow_offset(const struct cpu *cpu,
				     const struct uop *op)
{
	uint64_t ea = R64(cpu, op->base) + (R64(cpu, op->index) << op->scale) +
		      (uint64_t)(int64_t)op->disp;

	return op->aux == 2 ? (uint16_t)ea : (uint32_t)ea;
}

/* SLOT_TMP = that plus the segment's base, in 64-bit code. */
static const struct uop *op_ea_narrow(struct cpu *cpu, const struct uop *op)
{
	cpu->r[SLOT_TMP] = narrow_offset(cpu, op) + R64(cpu, op->seg);
	NEXT(cpu, op);
}

/* Outside it, where segments have limits and linear addresses 32 bits. r0 is
 * the segment, ext[0] the access, imm the bytes accessed; none: unchecked. */
static const struct uop *op_ea_segment(struct cpu *cpu, const struct uop *op)
{
	uint32_t off = narrow_offset(cpu, op);

	if (op->imm)
		seg_check(cpu, op, op->r0, off, (unsigned)op->imm, op->ext[0]);
	cpu->r[SLOT_TMP] = (uint32_t)(off + R64(cpu, op->seg));
	NEXT(cpu, op);
}

static const struct uop *op_ea_imm(struct cpu *cpu, const struct uop *op)
{
	cpu->r[SLOT_TMP] = op->imm + R64(cpu, op->seg);
	NEXT(cpu, op);
}

static const struct uop *op_imm(struct cpu *cpu, const struct uop *op)
{
	cpu->r[SLOT_TMP2] = op->imm;
	NEXT(cpu, op);
}

#define LOAD(bits)                                                      \
static const struct uop *op_load##bits(struct cpu *cpu,                 \
				       const struct uop *op)            \
{                                                                       \
	cpu->r[SLOT_TMP2] = mmu_load##bits(cpu, op, uop_ea(cpu, op));   \
	NEXT(cpu, op);                                                  \
}
LOAD(8)
LOAD(16)
LOAD(32)
LOAD(64)

struct uop *emit_uop(struct emitter *e, uop_fn fn)
{
	struct uop *u = &e->uops[e->n++];

	memset(u, 0, sizeof(*u));
	u->fn = fn;
	u->off = e->off;
	u->len = e->len;
	u->base = u->index = u->seg = SLOT_OFF(SLOT_ZERO);
	return u;
}

static const struct uop *op_fence(struct cpu *cpu, const struct uop *op)
{
	atomic_thread_fence(memory_order_seq_cst);
	NEXT(cpu, op);
}

void emit_fence(struct emitter *e)
{
	emit_uop(e, op_fence);
}

void emit_raise(struct emitter *e, unsigned vec)
{
	emit_uop(e, op_raise)->aux = (uint8_t)vec;
}

static uint8_t gpr_or_zero(uint8_t reg)
{
	return reg == REG_NONE ? SLOT_OFF(SLOT_ZERO) : SLOT_OFF(reg);
}

/* That a vector or x87 unit is off comes before what a segment refuses (SDM
 * 3A table 6-2). aux is an enum x86_op, r0 set for MMX. */
_Static_assert(OP_COUNT <= 256, "an enum x86_op fits a byte");
static const struct uop *op_unit_ready(struct cpu *cpu, const struct uop *op)
{
	uint64_t off = cpu->cr0 & (CR0_EM | CR0_TS);

	if (op->aux == OP_SIMD && !op->r0 &&
	    (off || !(cpu->cr4 & CR4_OSFXSR)))
		return fpu_refuse_simd(cpu, op);
	if (off)
		cpu_raise(cpu, op, op->r0 && off & CR0_EM ? EXC_UD : EXC_NM);
	NEXT(cpu, op);
}

static void emit_unit_ready(struct emitter *e, const struct insn *in)
{
	struct uop *u;

	if (in->op != OP_SIMD && in->op != OP_X87 && in->op != OP_X87_ENV &&
	    in->op != OP_FXSAVE && in->op != OP_FXRSTOR)
		return;
	u = emit_uop(e, op_unit_ready);
	u->aux = (uint8_t)in->op;
	u->r0 = !!(in->attr & INSN_MMX);
}

/* What @in does at its memory operand, for op_ea_segment(). */
static void set_access(struct uop *u, const struct insn *in)
{
	const struct opnd *o = NULL;

	for (unsigned i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_MEM)
			o = &in->o[i];
	u->r0 = in->seg;
	if (o) {
		u->ext[0] = o->access;
		/* FXSAVE's 512 bytes do not fit where operands have sizes */
		u->imm = o->size ? o->size : 512;
	} else if (in->op == OP_XLAT) {
		u->ext[0] = ROOM_READ;
		u->imm = 1;
	} else { /* MASKMOVQ, MASKMOVDQU */
		u->ext[0] = ROOM_WRITE;
		u->imm = in->mand == 0x66 ? 16 : 8;
	}
	if (in->op == OP_CLFLUSH)
		u->ext[0] = ROOM_READ;
	if (!u->ext[0] || in->seg == REG_NONE) /* an address only */
		u->imm = 0;
}

struct emit_ea emit_address(struct emitter *e, const struct insn *in)
{
	struct emit_ea tmp = { .base = SLOT_OFF(SLOT_TMP),
			       .index = SLOT_OFF(SLOT_ZERO),
			       .seg = SLOT_OFF(SLOT_ZERO) };
	int64_t disp = in->disp;
	struct emit_ea a;
	struct uop *u;

	/* In 64-bit code only FS and GS have a base; the others' slots are
	 * 0 (seg.c), but reading SLOT_ZERO keeps the handlers' loads hot. */
	a.seg = in->seg == REG_NONE ||
		(e->cpu->code64 && in->seg != X86_FS && in->seg != X86_GS) ?
		SLOT_OFF(SLOT_ZERO) : SLOT_OFF(SLOT_SEG + in->seg);
	a.index = gpr_or_zero(in->index);
	a.scale = in->scale;
	if (in->base == REG_RIP) {
		a.base = SLOT_OFF(SLOT_RIP);
		disp += e->off + e->len;
	} else {
		a.base = gpr_or_zero(in->base);
	}
	a.disp = (int32_t)disp;

	/* 64 bits of it (MOV moffs), or a sum that needs them: the base of a
	 * segment is as good a place */
	if (a.disp != disp && in->asize == 8) {
		u = emit_uop(e, op_ea_imm);
		u->imm = (uint64_t)disp;
		u->seg = a.seg;
		a.seg = SLOT_OFF(SLOT_TMP);
		a.disp = 0;
	}
	if (in->asize == 8)
		return a;
	if (!e->cpu->code64)
		emit_unit_ready(e, in);
	u = emit_uop(e, e->cpu->code64 ? op_ea_narrow : op_ea_segment);
	emit_set_ea(u, a);
	u->aux = in->asize;
	if (!e->cpu->code64)
		set_access(u, in);
	return tmp;
}

uint8_t emit_reg(const struct opnd *o)
{
	if (o->kind == OPND_GPR8H)
		return (uint8_t)(o->reg * 8 + 1);
	return (uint8_t)(o->reg * 8);
}

struct uop *emit_rm(struct emitter *e, const struct insn *in,
		    const struct opnd *o, uop_fn reg, uop_fn mem)
{
	struct emit_ea a;
	struct uop *u;

	if (o->kind == OPND_MEM) {
		a = emit_address(e, in);
		u = emit_uop(e, mem);
		emit_set_ea(u, a);
	} else {
		u = emit_uop(e, reg);
		u->r0 = emit_reg(o);
	}
	return u;
}

void emit_forms(struct emitter *e, const struct insn *in,
		const struct forms *f)
{
	const struct opnd *d = &in->o[0], *s = &in->o[1];
	unsigned i = (unsigned)__builtin_ctz(d->size);
	int imm = s->kind == OPND_IMM;
	struct uop *u;

	if (s->kind == OPND_MEM) {
		u = emit_rm(e, in, s, NULL, f->fn[FORM_RM][i]);
		u->r0 = emit_reg(d);
		return;
	}
	u = emit_rm(e, in, d, f->fn[imm ? FORM_RI : FORM_RR][i],
		    f->fn[imm ? FORM_MI : FORM_MR][i]);
	if (imm)
		u->imm = in->imm;
	else
		u->r1 = emit_reg(s);
}

uint8_t emit_source(struct emitter *e, const struct insn *in,
		    const struct opnd *o)
{
	static const uop_fn load[] = { [1] = op_load8, [2] = op_load16,
				       [4] = op_load32, [8] = op_load64 };
	struct emit_ea a;

	switch (o->kind) {
	case OPND_MEM:
		a = emit_address(e, in);
		emit_set_ea(emit_uop(e, load[o->size]), a);
		return SLOT_OFF(SLOT_TMP2);
	case OPND_IMM:
		emit_uop(e, op_imm)->imm = in->imm;
		return SLOT_OFF(SLOT_TMP2);
	default:
		return emit_reg(o);
	}
}

/* ENGINE_ISA_*: what an undefined instruction would be on a newer CPU. */
static uint32_t newer_isa(const struct insn *in)
{
	unsigned reg = in->modrm >> 3 & 7, is_reg = in->modrm >= 0xc0;

	switch (in->map) {
	case 0: /* LDS, LES and BOUND take these bytes only with memory */
		return in->opcode == 0xc4 || in->opcode == 0xc5 ||
		       in->opcode == 0x62 ? ENGINE_ISA_V3 : 0;
	case 1: /* RDRAND, RDSEED */
		return in->opcode == 0xc7 && is_reg && reg >= 6 ?
		       ENGINE_ISA_OTHER : 0;
	case 2: /* SHA; AES; MOVBE; ADCX, ADOX */
		if (in->opcode == 0xf0 || in->opcode == 0xf1)
			return is_reg ? 0 : ENGINE_ISA_V3;
		return (in->opcode >= 0xc8 && in->opcode <= 0xcd) ||
		       (in->opcode >= 0xdb && in->opcode <= 0xdf) ||
		       in->opcode == 0xf6 ? ENGINE_ISA_OTHER : 0;
	default: /* PCLMULQDQ, SHA1RNDS4, AESKEYGENASSIST */
		return in->opcode == 0x44 || in->opcode == 0xcc ||
		       in->opcode == 0xdf ? ENGINE_ISA_OTHER : 0;
	}
}

static void emit_undefined(struct emitter *e, uint32_t isa)
{
	struct uop *u = emit_uop(e, op_raise);

	u->aux = EXC_UD;
	u->imm = isa;
	e->ends = 1;
}

void emit_insn(struct emitter *e, const struct insn *in)
{
	if (in->op != OP_UD &&
	    (emit_move(e, in) || emit_alu(e, in) || emit_branch(e, in) ||
	     emit_stack(e, in) || emit_shift(e, in) || emit_bits(e, in) ||
	     emit_muldiv(e, in) || emit_string(e, in) || emit_simd(e, in) ||
	     emit_system(e, in) || emit_legacy(e, in)))
		return;
	emit_undefined(e, in->op == OP_UD ? newer_isa(in) : 0);
}

void emit_templates(struct xlate_table *t)
{
	xlate_add(t, op_load8, X_LOAD, 0, 0);
	xlate_add(t, op_load16, X_LOAD, 1, 0);
	xlate_add(t, op_load32, X_LOAD, 2, 0);
	xlate_add(t, op_load64, X_LOAD, 3, 0);
	xlate_add(t, op_fence, X_FENCE, 0, 0);
}
