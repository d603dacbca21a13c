/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. Segment registers: seg.c. */
#include "runner/engine/soft/ops.h"

#define RSP cpu->r[X86_RSP]
#define RBP cpu->r[X86_RBP]

/*
 * Two worlds: 64-bit code, where SS has no base and RSP all its bits, and the
 * rest, where ESP wraps at 4 GiB and SS.base counts. 16-bit stacks are not
 * there (SS.B = 0 outside 64-bit code: no Linux start-up path uses one).
 */
#define AT64(sp) (sp)
#define AT32(sp) ((uint32_t)(cpu->r[SLOT_SEG + X86_SS] + (uint32_t)(sp)))
#define SP64(sp) (sp)
#define SP32(sp) ((uint32_t)(sp))

#define STACK(W, A)                                                          \
HANDLER(push_r##W##_##A)                                                     \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W));                                    \
                                                                             \
	STORE_MEM(W, cpu, op, AT##A(sp), GET_REG(W, cpu, op->r1));           \
	RSP = SP##A(sp);                                                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(push_i##W##_##A)                                                     \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W));                                    \
                                                                             \
	STORE_MEM(W, cpu, op, AT##A(sp), (U(W))op->imm);                     \
	RSP = SP##A(sp);                                                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(pop_r##W##_##A)                                                      \
{                                                                            \
	U(W) v = LOAD_MEM(W, cpu, op, AT##A(RSP));                           \
                                                                             \
	/* POP RSP: the value popped wins */                                 \
	RSP = SP##A(RSP + sizeof(U(W)));                                     \
	SET_REG(W, cpu, op->r0, v);                                          \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(pop_m##W##_##A)                                                      \
{                                                                            \
	U(W) v;                                                              \
                                                                             \
	/* the uop's base is the operand's: tell a bad stack from that */    \
	if (!mmu_canonical(AT##A(RSP)))                                      \
		cpu_raise_err(cpu, op, EXC_SS, 0);                           \
	v = LOAD_MEM(W, cpu, op, AT##A(RSP));                                \
	STORE_MEM(W, cpu, op, uop_ea(cpu, op), v);                           \
	RSP = SP##A(RSP + sizeof(U(W)));                                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(leave##W##_##A)                                                      \
{                                                                            \
	uint64_t bp = RBP;                                                   \
	U(W) v = LOAD_MEM(W, cpu, op, AT##A(bp));                            \
                                                                             \
	RSP = SP##A(bp + sizeof(U(W)));                                      \
	SET_REG(W, cpu, SLOT_OFF(X86_RBP), v);                               \
	NEXT(cpu, op);                                                       \
}                                                                            \
/* ENTER size (imm), nesting level (aux): SDM 2A ENTER. */                   \
HANDLER(enter##W##_##A)                                                      \
{                                                                            \
	uint64_t sp = RSP - sizeof(U(W)), bp = RBP, frame = sp;              \
                                                                             \
	STORE_MEM(W, cpu, op, AT##A(sp), (U(W))bp);                          \
	for (unsigned i = 1; i < op->aux; i++) {                             \
		bp -= sizeof(U(W));                                          \
		sp -= sizeof(U(W));                                          \
		STORE_MEM(W, cpu, op, AT##A(sp),                             \
			  LOAD_MEM(W, cpu, op, AT##A(bp)));                  \
	}                                                                    \
	if (op->aux) {                                                       \
		sp -= sizeof(U(W));                                          \
		STORE_MEM(W, cpu, op, AT##A(sp), (U(W))frame);               \
	}                                                                    \
	sp -= op->imm;                                                       \
	mmu_probe_write(cpu, op, AT##A(sp), sizeof(U(W)));                   \
	RSP = SP##A(sp);                                                     \
	SET_REG(W, cpu, SLOT_OFF(X86_RBP), (U(W))frame);                     \
	NEXT(cpu, op);                                                       \
}
STACK(16, 64)
STACK(64, 64)
STACK(16, 32)
STACK(32, 32)

/* PUSHA, POPA (not in 64-bit code): all eight, RSP's place skipped on the
 * way back. */
#define STACK_ALL(W)                                                         \
HANDLER(pusha##W)                                                            \
{                                                                            \
	uint64_t sp = RSP;                                                   \
                                                                             \
	mmu_probe_write(cpu, op, AT32(sp - 8 * sizeof(U(W))),                \
			8 * sizeof(U(W)));                                   \
	for (unsigned i = 0; i < 8; i++) {                                   \
		sp -= sizeof(U(W));                                          \
		STORE_MEM(W, cpu, op, AT32(sp), (U(W))cpu->r[i]);            \
	}                                                                    \
	RSP = SP32(sp);                                                      \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(popa##W)                                                             \
{                                                                            \
	U(W) v[8];                                                           \
                                                                             \
	for (unsigned i = 0; i < 8; i++)                                     \
		v[i] = LOAD_MEM(W, cpu, op,                                  \
				AT32(RSP + i * sizeof(U(W))));               \
	RSP = SP32(RSP + 8 * sizeof(U(W)));                                  \
	for (unsigned i = 0; i < 8; i++)                                     \
		if (i != 7 - X86_RSP)                                        \
			SET_REG(W, cpu, SLOT_OFF(7 - i), v[i]);              \
	NEXT(cpu, op);                                                       \
}
STACK_ALL(16)
STACK_ALL(32)

struct stack_ops {
	uop_fn push_r, push_i, pop_r, pop_m, leave, enter;
};
#define STACK_ROW(W, A) { push_r##W##_##A, push_i##W##_##A, pop_r##W##_##A,  \
			  pop_m##W##_##A, leave##W##_##A, enter##W##_##A }
static const struct stack_ops ops[2][2] = { /* [64-bit code][full width] */
	{ STACK_ROW(16, 32), STACK_ROW(32, 32) },
	{ STACK_ROW(16, 64), STACK_ROW(64, 64) },
};

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
		emit_set_ea(emit_uop(e, s->pop_m), a);
		return 1;
	}
	if (o->kind != OPND_GPR)
		return 0;
	u = emit_uop(e, s->pop_r);
	u->r0 = emit_reg(o);
	u->base = SLOT_OFF(X86_RSP);
	return 1;
}

int emit_stack(struct emitter *e, const struct insn *in)
{
	const struct stack_ops *s = &ops[e->cpu->code64][in->osize != 2];
	struct uop *u;

	switch (in->op) {
	case OP_PUSH:
		return emit_push(e, in, s);
	case OP_POP:
		return emit_pop(e, in, s);
	case OP_PUSHA:
		emit_uop(e, in->osize == 2 ? pusha16 : pusha32);
		return 1;
	case OP_POPA:
		emit_uop(e, in->osize == 2 ? popa16 : popa32);
		return 1;
	case OP_LEAVE:
		emit_uop(e, s->leave)->base = SLOT_OFF(X86_RBP);
		return 1;
	case OP_ENTER:
		u = emit_uop(e, s->enter);
		u->imm = in->imm & 0xffff;
		u->aux = in->imm2 & 31;
		u->base = SLOT_OFF(X86_RSP);
		return 1;
	default:
		return 0;
	}
}
