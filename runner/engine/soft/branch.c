/* SPDX-License-Identifier: Apache-2.0 */
/* Near control flow: every handler here ends its block. */
#include "runner/engine/soft/ops.h"
#include "runner/engine/soft/sys.h"
#include "runner/engine/soft/xlate.h"

#define RSP cpu->r[X86_RSP]

/*
 * Direct targets: imm is the taken target and disp the next instruction, both
 * relative to the block's start. 64-bit code uses the specialized handlers;
 * elsewhere the instruction pointer wraps at 32 bits, or at 16 with a 16-bit
 * operand size (aux), and has the code segment's limit: the fault is the
 * branch's, not its target's (SDM 2A JMP).
 */
static inline uint64_t narrow(struct cpu *cpu, const struct uop *op,
			      uint64_t rip)
{
	rip = op->aux == 2 ? (uint16_t)rip : (uint32_t)rip;
	if (__builtin_expect(rip > cpu->seg[X86_CS].limit, 0))
		cpu_raise_err(cpu, op, EXC_GP, 0);
	return rip;
}

HANDLER(jmp64)
{
	return block_next(cpu, cpu->r[SLOT_RIP] + op->imm);
}

HANDLER(jmp_narrow)
{
	return block_next(cpu, narrow(cpu, op, cpu->r[SLOT_RIP] + op->imm));
}

#define JCC(n)                                                               \
HANDLER(jcc64_##n)                                                           \
{                                                                            \
	uint64_t rip = cpu->r[SLOT_RIP];                                     \
                                                                             \
	if (cond(cpu->fl, n))                                                \
		return block_next(cpu, rip + op->imm);                       \
	return block_next(cpu, rip + (uint64_t)(int64_t)op->disp);           \
}
JCC(0) JCC(1) JCC(2) JCC(3) JCC(4) JCC(5) JCC(6) JCC(7)
JCC(8) JCC(9) JCC(10) JCC(11) JCC(12) JCC(13) JCC(14) JCC(15)

HANDLER(jcc_narrow)
{
	uint64_t rip = cpu->r[SLOT_RIP];

	if (cond(cpu->fl, op->r0))
		return block_next(cpu, narrow(cpu, op, rip + op->imm));
	return block_next(cpu, (uint32_t)(rip + (uint32_t)op->disp));
}

/* SDM 2A JMP, CALL, 2B RET: the fault is the branch's, not its target's. */
static inline void check_target(struct cpu *cpu, const struct uop *op,
				uint64_t target)
{
	if (__builtin_expect(!mmu_canonical(target), 0))
		cpu_raise_err(cpu, op, EXC_GP, 0);
}

HANDLER(jmp_ind64)
{
	uint64_t target = R64(cpu, op->r1);

	check_target(cpu, op, target);
	return block_next(cpu, target);
}

HANDLER(jmp_ind_narrow)
{
	return block_next(cpu, narrow(cpu, op, R64(cpu, op->r1)));
}

HANDLER(call64)
{
	uint64_t rip = cpu->r[SLOT_RIP], sp = RSP - 8;

	mmu_store64(cpu, op, sp, rip + (uint64_t)(int64_t)op->disp);
	RSP = sp;
	return block_next(cpu, rip + op->imm);
}

HANDLER(call_ind64)
{
	uint64_t sp = RSP - 8, target = R64(cpu, op->r1);

	check_target(cpu, op, target);
	mmu_store64(cpu, op, sp, uop_next_rip(cpu, op));
	RSP = sp;
	return block_next(cpu, target);
}

HANDLER(ret64)
{
	uint64_t rip = mmu_load64(cpu, op, RSP);

	check_target(cpu, op, rip);
	RSP += op->imm;
	return block_next(cpu, rip);
}

/* A call outside 64-bit code: r0 is set for an indirect one. */
HANDLER(call_narrow)
{
	uint64_t target = narrow(cpu, op, op->r0 ? R64(cpu, op->r1) :
				 cpu->r[SLOT_RIP] + op->imm);

	stack_push_one(cpu, op, op->aux, uop_next_rip(cpu, op));
	return block_next(cpu, target);
}

HANDLER(ret_narrow)
{
	uint64_t rip = narrow(cpu, op, stack_top(cpu, op, op->aux));

	stack_set_sp(cpu, stack_sp(cpu) + op->imm);
	return block_next(cpu, rip);
}

/* Where a conditional branch goes on. */
static inline uint64_t near(struct cpu *cpu, const struct uop *op, int taken)
{
	uint64_t rip = cpu->r[SLOT_RIP];

	rip += taken ? op->imm : (uint64_t)(int64_t)op->disp;
	if (op->aux == 8)
		return rip;
	return taken ? narrow(cpu, op, rip) : (uint32_t)rip;
}

/* LOOPcc and JRCXZ: the counter has the address size (r1 bytes). */
HANDLER(loop)
{
	uint64_t mask = op->r1 == 8 ? UINT64_MAX :
			op->r1 == 4 ? UINT32_MAX : UINT16_MAX;
	uint64_t n = (cpu->r[X86_RCX] - 1) & mask, rip;
	int taken = n != 0;

	if (op->r0 == OP_LOOPE)
		taken = taken && cpu->fl & FL_ZF;
	else if (op->r0 == OP_LOOPNE)
		taken = taken && !(cpu->fl & FL_ZF);
	rip = near(cpu, op, taken);
	cpu->r[X86_RCX] = op->r1 == 2 ?
		(cpu->r[X86_RCX] & ~mask) | n : n;
	return block_next(cpu, rip);
}

HANDLER(jrcxz)
{
	uint64_t mask = op->r1 == 8 ? UINT64_MAX :
			op->r1 == 4 ? UINT32_MAX : UINT16_MAX;

	return block_next(cpu, near(cpu, op, !(cpu->r[X86_RCX] & mask)));
}

static struct uop *emit_direct(struct emitter *e, const struct insn *in,
			       uop_fn fn)
{
	struct uop *u = emit_uop(e, fn);

	u->disp = e->off + e->len;
	u->imm = in->imm + (uint64_t)(e->off + e->len);
	u->aux = in->osize;
	return u;
}

static struct uop *emit_indirect(struct emitter *e, const struct insn *in,
				 uop_fn fn)
{
	uint8_t src = emit_source(e, in, &in->o[0]);
	struct uop *u = emit_uop(e, fn);

	u->r1 = src;
	u->aux = in->osize;
	return u;
}

static const uop_fn jcc[16] = {
	jcc64_0, jcc64_1, jcc64_2, jcc64_3, jcc64_4, jcc64_5, jcc64_6, jcc64_7,
	jcc64_8, jcc64_9, jcc64_10, jcc64_11, jcc64_12, jcc64_13, jcc64_14,
	jcc64_15,
};

static void emit_jcc(struct emitter *e, const struct insn *in)
{
	if (e->cpu->code64)
		emit_direct(e, in, jcc[in->cc & 15]);
	else
		emit_direct(e, in, jcc_narrow)->r0 = in->cc & 15;
}

static void emit_ret(struct emitter *e, const struct insn *in, int wide)
{
	struct uop *u = emit_uop(e, wide ? ret64 : ret_narrow);

	u->aux = in->osize;
	u->base = SLOT_OFF(X86_RSP);
	u->imm = (wide ? 8u : in->osize) +
		 (in->nopnd ? in->imm & 0xffff : 0);
}

int emit_branch(struct emitter *e, const struct insn *in)
{
	int wide = e->cpu->code64;
	struct uop *u;

	switch (in->op) {
	case OP_JCC:
		emit_jcc(e, in);
		break;
	case OP_JMP:
		emit_direct(e, in, wide ? jmp64 : jmp_narrow);
		break;
	case OP_JMPI:
		emit_indirect(e, in, wide ? jmp_ind64 : jmp_ind_narrow);
		break;
	case OP_CALL:
		u = emit_direct(e, in, wide ? call64 : call_narrow);
		u->base = SLOT_OFF(X86_RSP); /* bad stacks raise #SS */
		break;
	case OP_CALLI:
		u = emit_indirect(e, in, wide ? call_ind64 : call_narrow);
		u->base = SLOT_OFF(X86_RSP);
		u->r0 = 1;
		break;
	case OP_RET:
		emit_ret(e, in, wide);
		break;
	case OP_LOOP:
	case OP_LOOPE:
	case OP_LOOPNE:
	case OP_JRCXZ:
		u = emit_direct(e, in, in->op == OP_JRCXZ ? jrcxz : loop);
		u->r0 = (uint8_t)in->op;
		u->r1 = in->asize;
		break;
	default:
		return 0;
	}
	e->ends = 1;
	return 1;
}

void branch_templates(struct xlate_table *t)
{
	for (unsigned cc = 0; cc < 16; cc++)
		xlate_add(t, jcc[cc], X_JCC, 3, cc);
	xlate_add(t, jmp64, X_JMP, 3, 0);
	xlate_add(t, call64, X_CALL, 3, 0);
	xlate_add(t, ret64, X_RET, 3, 0);
	xlate_add(t, jmp_ind64, X_JMP_IND, 3, 0);
	xlate_add(t, call_ind64, X_CALL_IND, 3, 0);
}
