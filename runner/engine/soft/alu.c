/* SPDX-License-Identifier: Apache-2.0 */
/* ADD OR ADC SBB AND SUB XOR CMP, TEST, INC DEC NEG NOT. */
#include "runner/engine/soft/ops.h"
#include "runner/engine/soft/xlate.h"

/* d = d insn s, by the host, flags included. */
#define COMPUTE(name, W, insn, pre)                                          \
static inline U(W) name##_do##W(struct cpu *cpu, U(W) d, U(W) s)             \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(pre insn SFX(W) " %[s], %[d]" FLAGS                          \
		: [d] "+r"(d), "=&a"(f)                                      \
		: [s] "r"(s), [fl] "m"(cpu->fl) : "cc");                     \
	cpu->fl = f;                                                         \
	return d;                                                            \
}

#define ALU_FORMS(name, W)                                                   \
HANDLER(name##_rr##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0, name##_do##W(cpu, GET_REG(W, cpu, op->r0),   \
					     GET_REG(W, cpu, op->r1)));      \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_ri##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0, name##_do##W(cpu, GET_REG(W, cpu, op->r0),   \
					     (U(W))op->imm));                \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_rm##W)                                                        \
{                                                                            \
	U(W) s = LOAD_MEM(W, cpu, op, uop_ea(cpu, op));                      \
                                                                             \
	SET_REG(W, cpu, op->r0,                                              \
		name##_do##W(cpu, GET_REG(W, cpu, op->r0), s));              \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mr##W)                                                        \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d, GET_REG(W, cpu, op->r1)));            \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mi##W)                                                        \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d, (U(W))op->imm));                      \
	NEXT(cpu, op);                                                       \
}

#define ALU(name, insn, pre)                                                 \
	COMPUTE(name, 8, insn, pre) COMPUTE(name, 16, insn, pre)             \
	COMPUTE(name, 32, insn, pre) COMPUTE(name, 64, insn, pre)            \
	ALU_FORMS(name, 8) ALU_FORMS(name, 16)                               \
	ALU_FORMS(name, 32) ALU_FORMS(name, 64)

ALU(add, "add", "")
ALU(or, "or", "")
ALU(adc, "adc", CARRY_IN)
ALU(sbb, "sbb", CARRY_IN)
ALU(and, "and", "")
ALU(sub, "sub", "")
ALU(xor, "xor", "")

/* CMP and TEST write flags only. */
#define COMPARE(name, W, insn)                                               \
static inline void name##_do##W(struct cpu *cpu, U(W) d, U(W) s)             \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(insn SFX(W) " %[s], %[d]" FLAGS                              \
		: "=&a"(f) : [d] "r"(d), [s] "r"(s) : "cc");                 \
	cpu->fl = f;                                                         \
}                                                                            \
HANDLER(name##_rr##W)                                                        \
{                                                                            \
	name##_do##W(cpu, GET_REG(W, cpu, op->r0), GET_REG(W, cpu, op->r1)); \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_ri##W)                                                        \
{                                                                            \
	name##_do##W(cpu, GET_REG(W, cpu, op->r0), (U(W))op->imm);           \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_rm##W)                                                        \
{                                                                            \
	U(W) s = LOAD_MEM(W, cpu, op, uop_ea(cpu, op));                      \
                                                                             \
	name##_do##W(cpu, GET_REG(W, cpu, op->r0), s);                       \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mr##W)                                                        \
{                                                                            \
	U(W) d = LOAD_MEM(W, cpu, op, uop_ea(cpu, op));                      \
                                                                             \
	name##_do##W(cpu, d, GET_REG(W, cpu, op->r1));                       \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mi##W)                                                        \
{                                                                            \
	U(W) d = LOAD_MEM(W, cpu, op, uop_ea(cpu, op));                      \
                                                                             \
	name##_do##W(cpu, d, (U(W))op->imm);                                 \
	NEXT(cpu, op);                                                       \
}

#define CMP_W(W) COMPARE(cmp, W, "cmp")
ALL_SIZES(CMP_W)
#define TEST_W(W) COMPARE(test, W, "test")
ALL_SIZES(TEST_W)

/* INC and DEC keep CF; NEG sets it; NOT touches no flag. */
#define UNARY(name, W, insn, pre)                                            \
static inline U(W) name##_do##W(struct cpu *cpu, U(W) d)                     \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(pre insn SFX(W) " %[d]" FLAGS                                \
		: [d] "+r"(d), "=&a"(f) : [fl] "m"(cpu->fl) : "cc");         \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
HANDLER(name##_r##W)                                                         \
{                                                                            \
	SET_REG(W, cpu, op->r0,                                              \
		name##_do##W(cpu, GET_REG(W, cpu, op->r0)));                 \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_m##W)                                                         \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d));                                     \
	NEXT(cpu, op);                                                       \
}
#define INC_W(W) UNARY(inc, W, "inc", CARRY_IN)
ALL_SIZES(INC_W)
#define DEC_W(W) UNARY(dec, W, "dec", CARRY_IN)
ALL_SIZES(DEC_W)
#define NEG_W(W) UNARY(neg, W, "neg", "")
ALL_SIZES(NEG_W)

#define NOT_W(W)                                                             \
HANDLER(not_r##W)                                                            \
{                                                                            \
	SET_REG(W, cpu, op->r0, (U(W))~GET_REG(W, cpu, op->r0));             \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(not_m##W)                                                            \
{                                                                            \
	MODIFY(W, (U(W))~d);                                                 \
	NEXT(cpu, op);                                                       \
}
ALL_SIZES(NOT_W)

/* XOR and SUB of a register with itself: the usual way to write 0. */
HANDLER(op_zero)
{
	R64(cpu, op->r0) = 0;
	cpu->fl = FL_ZF | FL_PF;
	NEXT(cpu, op);
}

static const struct forms binary[] = {
	[OP_ADD] = BY_FORM(add), [OP_OR] = BY_FORM(or),	[OP_ADC] = BY_FORM(adc),
	[OP_SBB] = BY_FORM(sbb), [OP_AND] = BY_FORM(and), [OP_SUB] = BY_FORM(sub),
	[OP_XOR] = BY_FORM(xor), [OP_CMP] = BY_FORM(cmp),
};
static const struct forms test = BY_FORM(test);

/* By the digits of FE and F6 (SDM 2D A.4.2): INC DEC, NOT NEG. */
static const uop_fn unary[][2][4] = {
	{ BY_SIZE(inc_r), BY_SIZE(inc_m) },
	{ BY_SIZE(dec_r), BY_SIZE(dec_m) },
	{ BY_SIZE(not_r), BY_SIZE(not_m) },
	{ BY_SIZE(neg_r), BY_SIZE(neg_m) },
};

static void emit_unary(struct emitter *e, const struct insn *in)
{
	int which = in->op == OP_INC ? 0 : in->op == OP_DEC ? 1 :
		    in->op == OP_NOT ? 2 : 3;
	unsigned size = size_index(in->o[0].size);

	emit_rm(e, in, &in->o[0], unary[which][0][size],
		unary[which][1][size]);
}

int emit_alu(struct emitter *e, const struct insn *in)
{
	const struct opnd *d = &in->o[0], *s = &in->o[1];

	switch (in->op) {
	case OP_XOR:
	case OP_SUB:
		if (d->kind == OPND_GPR && s->kind == OPND_GPR &&
		    d->reg == s->reg && d->size >= 4) {
			emit_uop(e, op_zero)->r0 = emit_reg(d);
			return 1;
		}
		/* fall through */
	case OP_ADD:
	case OP_OR:
	case OP_ADC:
	case OP_SBB:
	case OP_AND:
	case OP_CMP:
		emit_forms(e, in, &binary[in->op]);
		break;
	case OP_TEST:
		emit_forms(e, in, &test);
		break;
	case OP_INC:
	case OP_DEC:
	case OP_NEG:
	case OP_NOT:
		emit_unary(e, in);
		break;
	default:
		return 0;
	}
	emit_fence_if_locked(e, in);
	return 1;
}

void alu_templates(struct xlate_table *t)
{
	/* by the digits of 80 (SDM 2D A.4.2) */
	static const uint8_t ops[] = { OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND,
				       OP_SUB, OP_XOR, OP_CMP };

	for (unsigned i = 0; i < sizeof(ops); i++)
		xlate_add_forms(t, &binary[ops[i]], X_ALU, i);
	xlate_add_forms(t, &test, X_ALU, 8);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned size = 0; size < 4; size++) {
			xlate_add(t, unary[i][0][size], X_UNARY_R, size, i);
			xlate_add(t, unary[i][1][size], X_UNARY_M, size, i);
		}
	xlate_add(t, op_zero, X_ZERO, 3, 0);
}
