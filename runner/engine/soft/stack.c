/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. Segment registers: seg.c. */
#include "runner/engine/soft/ops.h"
#include "runner/engine/soft/xlate.h"
#include "runner/engine/soft/sys.h"

#define RSP cpu->r[X86_RSP]
#define RBP cpu->r[X86_RBP]

/* 64-bit code, where SS has no base and RSP all its bits. */
#define STACK(W)                                                             \
HANDLER(push_r##W)                                                           \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W));                                    \
                                                                             \
	STORE_MEM(W, cpu, op, sp, GET_REG(W, cpu, op->r1));                  \
	RSP = sp;                                                            \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(push_i##W)                                                           \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W));                                    \
                                                                             \
	STORE_MEM(W, cpu, op, sp, (U(W))op->imm);                            \
	RSP = sp;                                                            \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(pop_r##W)                                                            \
{                                                                            \
	U(W) v = LOAD_MEM(W, cpu, op, RSP);                                  \
                                                                             \
	/* POP RSP: the value popped wins */                                 \
	RSP = RSP + sizeof(U(W));                                            \
	SET_REG(W, cpu, op->r0, v);                                          \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(pop_m##W)                                                            \
{                                                                            \
	U(W) v;                                                              \
                                                                             \
	/* the uop's base is the operand's: tell a bad stack from that */    \
	if (!mmu_canonical(RSP))                                             \
		cpu_raise_err(cpu, op, EXC_SS, 0);                           \
	v = LOAD_MEM(W, cpu, op, RSP);                                       \
	STORE_MEM(W, cpu, op, uop_ea(cpu, op), v);                           \
	RSP = RSP + sizeof(U(W));                                            \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(leave##W)                                                            \
{                                                                            \
	uint64_t bp = RBP;                                                   \
	U(W) v = LOAD_MEM(W, cpu, op, bp);                                   \
                                                                             \
	RSP = bp + sizeof(U(W));                                             \
	SET_REG(W, cpu, SLOT_OFF(X86_RBP), v);                               \
	NEXT(cpu, op);                                                       \
}                                                                            \
/* ENTER size (imm), nesting level (r0): SDM 2A ENTER. */                    \
HANDLER(enter##W)                                                            \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W)), bp = RBP, frame = sp;              \
                                                                             \
	STORE_MEM(W, cpu, op, sp, (U(W))bp);                                 \
	for (unsigned i = 1; i < op->r0; i++) {                              \
		bp -= sizeof(U(W));                                          \
		sp -= sizeof(U(W));                                          \
		STORE_MEM(W, cpu, op, sp,                                    \
			  LOAD_MEM(W, cpu, op, bp));                         \
	}                                                                    \
	if (op->r0) {                                                        \
		sp -= sizeof(U(W));                                          \
		STORE_MEM(W, cpu, op, sp, (U(W))frame);                      \
	}                                                                    \
	sp -= op->imm;                                                       \
	mmu_check_aligned(cpu, op, sp, sizeof(U(W)));                        \
	mmu_probe_write(cpu, op, sp, sizeof(U(W)));                          \
	RSP = sp;                                                            \
	SET_REG(W, cpu, SLOT_OFF(X86_RBP), (U(W))frame);                     \
	NEXT(cpu, op);                                                       \
}
STACK(16)
STACK(64)

/*
 * Elsewhere the stack has the width that SS says, a base and a limit: all of
 * that is operand.c's. aux is the operand size.
 */
HANDLER(push_r)
{
	stack_push_one(cpu, op, op->aux, R64(cpu, op->r1));
	NEXT(cpu, op);
}

HANDLER(push_i)
{
	stack_push_one(cpu, op, op->aux, op->imm);
	NEXT(cpu, op);
}

static void set_reg(struct cpu *cpu, const struct uop *op, uint8_t reg,
		    uint64_t v)
{
	if (op->aux == 2)
		R16(cpu, reg) = (uint16_t)v;
	else
		R64(cpu, reg) = v;
}

HANDLER(pop_r)
{
	uint64_t v = stack_top(cpu, op, op->aux);

	stack_set_sp(cpu, stack_sp(cpu) + op->aux);
	set_reg(cpu, op, op->r0, v);
	NEXT(cpu, op);
}

HANDLER(pop_m)
{
	mmu_store(cpu, op, uop_ea(cpu, op), stack_top(cpu, op, op->aux),
		  op->aux);
	stack_set_sp(cpu, stack_sp(cpu) + op->aux);
	NEXT(cpu, op);
}

static void __attribute__((noinline))
do_leave(struct cpu *cpu, const struct uop *op)
{
	uint64_t sp = RBP, v = stack_pop(cpu, op, &sp, op->aux);

	stack_set_sp(cpu, sp);
	set_reg(cpu, op, SLOT_OFF(X86_RBP), v);
}

HANDLER(leave)
{
	do_leave(cpu, op);
	NEXT(cpu, op);
}

/* ENTER size (imm), nesting level (r0): SDM 2A ENTER. */
static void __attribute__((noinline))
do_enter(struct cpu *cpu, const struct uop *op)
{
	uint64_t sp = stack_sp(cpu), bp = RBP, frame;

	stack_push(cpu, op, &sp, op->aux, bp);
	frame = sp;
	for (unsigned i = 1; i < op->r0; i++) {
		uint64_t at = bp -= op->aux;

		stack_push(cpu, op, &sp, op->aux,
			   stack_pop(cpu, op, &at, op->aux));
	}
	if (op->r0)
		stack_push(cpu, op, &sp, op->aux, frame);
	sp -= op->imm;
	stack_aligned(cpu, op, sp, op->aux);
	stack_probe(cpu, op, sp, op->aux);
	stack_set_sp(cpu, sp);
	set_reg(cpu, op, SLOT_OFF(X86_RBP), (uint32_t)frame);
}

HANDLER(enter)
{
	do_enter(cpu, op);
	NEXT(cpu, op);
}

/* All eight, RSP's place skipped on the way back. */
static void __attribute__((noinline))
do_pusha(struct cpu *cpu, const struct uop *op)
{
	uint64_t sp = stack_sp(cpu);

	for (unsigned i = 0; i < 8; i++)
		stack_push(cpu, op, &sp, op->aux, cpu->r[i]);
	stack_set_sp(cpu, sp);
}

HANDLER(pusha)
{
	do_pusha(cpu, op);
	NEXT(cpu, op);
}

static void __attribute__((noinline))
do_popa(struct cpu *cpu, const struct uop *op)
{
	uint64_t sp = stack_sp(cpu), v[8];

	for (unsigned i = 0; i < 8; i++)
		v[i] = stack_pop(cpu, op, &sp, op->aux);
	stack_set_sp(cpu, sp);
	for (unsigned i = 0; i < 8; i++)
		if (i != 7 - X86_RSP)
			set_reg(cpu, op, SLOT_OFF(7 - i), v[i]);
}

HANDLER(popa)
{
	do_popa(cpu, op);
	NEXT(cpu, op);
}

struct stack_ops {
	uop_fn push_r, push_i, pop_r, pop_m, leave, enter;
};
#define STACK_ROW(W)                                                         \
	{ push_r##W, push_i##W, pop_r##W, pop_m##W, leave##W, enter##W }
static const struct stack_ops wide[2] = { /* [full width] */
	STACK_ROW(16), STACK_ROW(64),
};
static const struct stack_ops legacy = STACK_ROW();

static int emit_push(struct emitter *e, const struct insn *in,
		     const struct stack_ops *s)
{
	const struct opnd *o = &in->o[0];
	struct uop *u;
	uint8_t src;

	switch (o->kind) {
	case OPND_IMM:
		u = emit_uop(e, s->push_i);
		u->imm = in->imm;
		break;
	case OPND_GPR:
	case OPND_MEM:
		src = emit_source(e, in, o);
		u = emit_uop(e, s->push_r);
		u->r1 = src;
		break;
	default:
		return 0; /* segment registers: seg.c */
	}
	u->aux = in->osize;
	/* a bad address is #SS, not #GP: the base says that it is a stack */
	u->base = SLOT_OFF(X86_RSP);
	return 1;
}

static int emit_pop(struct emitter *e, const struct insn *in,
		    const struct stack_ops *s)
{
	const struct opnd *o = &in->o[0];
	struct emit_ea a;
	struct uop *u;

	if (o->kind == OPND_MEM) {
		struct insn after = *in;

		/* SDM 2B POP: RSP in the address is what the pop leaves */
		if (in->base == X86_RSP)
			after.disp += o->size;
		a = emit_address(e, &after);
		u = emit_uop(e, s->pop_m);
		emit_set_ea(u, a);
		u->aux = in->osize;
		return 1;
	}
	if (o->kind != OPND_GPR)
		return 0;
	u = emit_uop(e, s->pop_r);
	u->aux = in->osize;
	u->r0 = emit_reg(o);
	u->base = SLOT_OFF(X86_RSP);
	return 1;
}

int emit_stack(struct emitter *e, const struct insn *in)
{
	const struct stack_ops *s = e->cpu->code64 ? &wide[in->osize != 2] :
						     &legacy;
	struct uop *u;

	switch (in->op) {
	case OP_PUSH:
		return emit_push(e, in, s);
	case OP_POP:
		return emit_pop(e, in, s);
	case OP_PUSHA:
		emit_uop(e, pusha)->aux = in->osize;
		return 1;
	case OP_POPA:
		emit_uop(e, popa)->aux = in->osize;
		return 1;
	case OP_LEAVE:
		u = emit_uop(e, s->leave);
		u->aux = in->osize;
		u->base = SLOT_OFF(X86_RBP);
		return 1;
	case OP_ENTER:
		u = emit_uop(e, s->enter);
		u->imm = in->imm & 0xffff;
		u->r0 = in->imm2 & 31;
		u->aux = in->osize;
		u->base = SLOT_OFF(X86_RSP);
		return 1;
	default:
		return 0;
	}
}

void stack_templates(struct xlate_table *t)
{
	xlate_add(t, push_r64, X_PUSH_R, 3, 0);
	xlate_add(t, push_i64, X_PUSH_I, 3, 0);
	xlate_add(t, pop_r64, X_POP_R, 3, 0);
	xlate_add(t, leave64, X_LEAVE, 3, 0);
}
