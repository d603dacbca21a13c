/* SPDX-License-Identifier: Apache-2.0 */
/* Shifts and rotates, by an immediate or CL, and SHLD, SHRD. */
#include "runner/engine/soft/ops.h"
#include "runner/engine/soft/xlate.h"

/* A count of 0 keeps every flag, rotates keep most: the guest's flags go in.
 * The host masks the count as the guest's CPU would. */
#define SHIFT(name, W, insn)                                                 \
static inline U(W) name##_do##W(struct cpu *cpu, U(W) d, uint8_t n)          \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(FLAGS_IN insn SFX(W) " %%cl, %[d]" FLAGS                     \
		: [d] "+r"(d), "=&a"(f)                                      \
		: "c"(n), [fl] "m"(cpu->fl) : "cc");                         \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
HANDLER(name##_ri##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0, name##_do##W(cpu, GET_REG(W, cpu, op->r0),   \
					     op->aux));                      \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_rc##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0,                                              \
		name##_do##W(cpu, GET_REG(W, cpu, op->r0),                   \
			     (uint8_t)cpu->r[X86_RCX]));                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
static inline void name##_mem##W(struct cpu *cpu, const struct uop *op,      \
				 uint8_t n)                                  \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d, n));                                  \
}                                                                            \
HANDLER(name##_mi##W)                                                        \
{                                                                            \
	name##_mem##W(cpu, op, op->aux);                                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mc##W)                                                        \
{                                                                            \
	name##_mem##W(cpu, op, (uint8_t)cpu->r[X86_RCX]);                    \
	NEXT(cpu, op);                                                       \
}

#define SHIFTS(name, insn)                                                   \
	SHIFT(name, 8, insn) SHIFT(name, 16, insn)                           \
	SHIFT(name, 32, insn) SHIFT(name, 64, insn)
SHIFTS(rol, "rol")
SHIFTS(ror, "ror")
SHIFTS(rcl, "rcl")
SHIFTS(rcr, "rcr")
SHIFTS(shl, "shl")
SHIFTS(shr, "shr")
SHIFTS(sar, "sar")

/* The common case: a constant count that is not 0 sets all flags. */
#define QUICK(name, W, insn)                                                 \
HANDLER(name##_quick##W)                                                     \
{                                                                            \
	U(W) d = GET_REG(W, cpu, op->r0);                                    \
	uint16_t f;                                                          \
                                                                             \
	__asm__(insn SFX(W) " %%cl, %[d]" FLAGS                              \
		: [d] "+r"(d), "=&a"(f) : "c"(op->aux) : "cc");              \
	cpu->fl = f;                                                         \
	SET_REG(W, cpu, op->r0, d);                                          \
	NEXT(cpu, op);                                                       \
}
#define QUICKS(W) QUICK(shl, W, "shl") QUICK(shr, W, "shr") QUICK(sar, W, "sar")
QUICKS(32)
QUICKS(64)

/* SHLD, SHRD: r0 or memory, filled from r1. */
#define DOUBLE(name, W, insn)                                                \
static inline U(W) name##_do##W(struct cpu *cpu, U(W) d, U(W) s, uint8_t n)  \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(FLAGS_IN insn SFX(W) " %%cl, %[s], %[d]" FLAGS               \
		: [d] "+r"(d), "=&a"(f)                                      \
		: "c"(n), [s] "r"(s), [fl] "m"(cpu->fl) : "cc");             \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
static inline uint8_t name##_count##W(const struct cpu *cpu,                 \
				      const struct uop *op)                  \
{                                                                            \
	return op->imm ? (uint8_t)cpu->r[X86_RCX] : op->aux;                 \
}                                                                            \
HANDLER(name##_r##W)                                                         \
{                                                                            \
	SET_REG(W, cpu, op->r0,                                              \
		name##_do##W(cpu, GET_REG(W, cpu, op->r0),                   \
			     GET_REG(W, cpu, op->r1),                        \
			     name##_count##W(cpu, op)));                     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_m##W)                                                         \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d, GET_REG(W, cpu, op->r1),              \
			       name##_count##W(cpu, op)));                   \
	NEXT(cpu, op);                                                       \
}
#define DOUBLES(W) DOUBLE(shld, W, "shld") DOUBLE(shrd, W, "shrd")
DOUBLES(16)
DOUBLES(32)
DOUBLES(64)

struct shift {
	uop_fn ri[4], rc[4], mi[4], mc[4];
};
#define SHIFT_ROW(n) { BY_SIZE(n##_ri), BY_SIZE(n##_rc), BY_SIZE(n##_mi),    \
		       BY_SIZE(n##_mc) }
static const struct shift shifts[] = { /* from OP_ROL */
	SHIFT_ROW(rol), SHIFT_ROW(ror), SHIFT_ROW(rcl), SHIFT_ROW(rcr),
	SHIFT_ROW(shl), SHIFT_ROW(shr), SHIFT_ROW(shl), SHIFT_ROW(sar),
};

static uop_fn quick_shift(const struct insn *in)
{
	unsigned mask = in->o[0].size == 8 ? 63 : 31;
	int wide = in->o[0].size == 8;

	if (in->o[0].size < 4 || !(in->imm & mask))
		return NULL;
	switch (in->op) {
	case OP_SHL:
	case OP_SAL:
		return wide ? shl_quick64 : shl_quick32;
	case OP_SHR:
		return wide ? shr_quick64 : shr_quick32;
	case OP_SAR:
		return wide ? sar_quick64 : sar_quick32;
	default:
		return NULL;
	}
}

static void emit_one_shift(struct emitter *e, const struct insn *in)
{
	const struct shift *s = &shifts[in->op - OP_ROL];
	const struct opnd *d = &in->o[0];
	unsigned i = size_index(d->size);
	int by_imm = in->o[1].kind == OPND_IMM;
	uop_fn quick = by_imm ? quick_shift(in) : NULL;
	struct uop *u;

	u = emit_rm(e, in, d, quick ? quick : by_imm ? s->ri[i] : s->rc[i],
		    by_imm ? s->mi[i] : s->mc[i]);
	u->aux = (uint8_t)in->imm;
}

static void emit_double(struct emitter *e, const struct insn *in)
{
	static const uop_fn fn[2][2][4] = {
		{ BY_SIZE3(shld_r), BY_SIZE3(shld_m) },
		{ BY_SIZE3(shrd_r), BY_SIZE3(shrd_m) },
	};
	const uop_fn (*f)[4] = fn[in->op == OP_SHRD];
	unsigned size = size_index(in->o[0].size);
	struct uop *u;

	u = emit_rm(e, in, &in->o[0], f[0][size], f[1][size]);
	u->r1 = emit_reg(&in->o[1]);
	u->aux = (uint8_t)in->imm;
	u->imm = in->o[2].kind != OPND_IMM; /* the count is CL */
}

int emit_shift(struct emitter *e, const struct insn *in)
{
	if (in->op >= OP_ROL && in->op <= OP_SAR)
		emit_one_shift(e, in);
	else if (in->op == OP_SHLD || in->op == OP_SHRD)
		emit_double(e, in);
	else
		return 0;
	return 1;
}

void shift_templates(struct xlate_table *t)
{
	xlate_add(t, shl_quick32, X_SHIFT, 2, 4);
	xlate_add(t, shl_quick64, X_SHIFT, 3, 4);
	xlate_add(t, shr_quick32, X_SHIFT, 2, 5);
	xlate_add(t, shr_quick64, X_SHIFT, 3, 5);
	xlate_add(t, sar_quick32, X_SHIFT, 2, 7);
	xlate_add(t, sar_quick64, X_SHIFT, 3, 7);
}
