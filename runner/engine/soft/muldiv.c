/* SPDX-License-Identifier: Apache-2.0 */
/* MUL IMUL DIV IDIV and the sign extensions that go with them. */
#include "runner/engine/soft/ops.h"

#define RAX SLOT_OFF(X86_RAX)
#define RDX SLOT_OFF(X86_RDX)

/* One operand: rDX:rAX = rAX * r1. The flags want AX too, so the low half
 * moves out first (MOV keeps flags). */
#define MUL(name, W, insn)                                                   \
HANDLER(name##W)                                                             \
{                                                                            \
	uint64_t a = GET_REG(W, cpu, RAX), d, lo;                            \
                                                                             \
	__asm__(insn SFX(W) " %[s]\n\tmovq %%rax, %[lo]" FLAGS               \
		: "+a"(a), "=&d"(d), [lo] "=&r"(lo)                          \
		: [s] "r"(GET_REG(W, cpu, op->r1)) : "cc");                  \
	SET_REG(W, cpu, RAX, (U(W))lo);                                      \
	SET_REG(W, cpu, RDX, (U(W))d);                                       \
	cpu->fl = (uint16_t)a;                                               \
	NEXT(cpu, op);                                                       \
}
#define MULS(W) MUL(mul, W, "mul") MUL(imul1_, W, "imul")
MULS(16)
MULS(32)
MULS(64)

/* 8 bits: AX = AL * r1. */
#define MUL8(name, insn)                                                     \
HANDLER(name##8)                                                             \
{                                                                            \
	uint64_t a = R8(cpu, RAX), lo;                                       \
                                                                             \
	__asm__(insn "b %[s]\n\tmovq %%rax, %[lo]" FLAGS                     \
		: "+a"(a), [lo] "=&r"(lo)                                    \
		: [s] "r"(R8(cpu, op->r1)) : "cc");                          \
	R16(cpu, RAX) = (uint16_t)lo;                                        \
	cpu->fl = (uint16_t)a;                                               \
	NEXT(cpu, op);                                                       \
}
MUL8(mul, "mul")
MUL8(imul1_, "imul")

/* Two operands (r0 *= r1) and three (r0 = r1 * imm). */
#define IMUL(W)                                                              \
static inline U(W) imul_do##W(struct cpu *cpu, U(W) d, U(W) s)               \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__("imul" SFX(W) " %[s], %[d]" FLAGS                            \
		: [d] "+r"(d), "=&a"(f) : [s] "r"(s) : "cc");                \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
HANDLER(imul2_##W)                                                           \
{                                                                            \
	SET_REG(W, cpu, op->r0, imul_do##W(cpu, GET_REG(W, cpu, op->r0),     \
					   GET_REG(W, cpu, op->r1)));        \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(imul3_##W)                                                           \
{                                                                            \
	SET_REG(W, cpu, op->r0, imul_do##W(cpu, GET_REG(W, cpu, op->r1),     \
					   (U(W))op->imm));                  \
	NEXT(cpu, op);                                                       \
}
IMUL(16)
IMUL(32)
IMUL(64)

/*
 * Division never reaches the host's #DE: the quotient is judged first. Flags
 * are undefined (SDM 2A DIV) and stay as they are.
 */
#define DIV(W, WIDE)                                                         \
HANDLER(div##W)                                                              \
{                                                                            \
	WIDE n = (WIDE)GET_REG(W, cpu, RDX) << W | GET_REG(W, cpu, RAX);     \
	U(W) s = GET_REG(W, cpu, op->r1);                                    \
                                                                             \
	if (!s || GET_REG(W, cpu, RDX) >= s)                                 \
		cpu_raise(cpu, op, EXC_DE);                                  \
	SET_REG(W, cpu, RAX, (U(W))(n / s));                                 \
	SET_REG(W, cpu, RDX, (U(W))(n % s));                                 \
	NEXT(cpu, op);                                                       \
}
DIV(16, uint32_t)
DIV(32, uint64_t)

HANDLER(div8)
{
	uint16_t n = R16(cpu, RAX);
	uint8_t s = R8(cpu, op->r1);

	if (!s || n / s > 0xff)
		cpu_raise(cpu, op, EXC_DE);
	R16(cpu, RAX) = (uint16_t)((n / s) | (n % s) << 8);
	NEXT(cpu, op);
}

HANDLER(div64)
{
	uint64_t lo = cpu->r[X86_RAX], hi = cpu->r[X86_RDX];
	uint64_t s = R64(cpu, op->r1);

	if (hi >= s)
		cpu_raise(cpu, op, EXC_DE);
	__asm__("divq %2" : "+a"(lo), "+d"(hi) : "r"(s) : "cc");
	cpu->r[X86_RAX] = lo;
	cpu->r[X86_RDX] = hi;
	NEXT(cpu, op);
}

#define IDIV(W, WIDE)                                                        \
HANDLER(idiv##W)                                                             \
{                                                                            \
	WIDE n = (WIDE)((U##WIDE)GET_REG(W, cpu, RDX) << W |                 \
			GET_REG(W, cpu, RAX));                               \
	WIDE s = (int##W##_t)GET_REG(W, cpu, op->r1), q;                     \
                                                                             \
	/* -1 apart: the most negative n would overflow in the host too */   \
	if (!s || (s == -1 && n < -(WIDE)INT##W##_MAX))                      \
		cpu_raise(cpu, op, EXC_DE);                                  \
	q = n / s;                                                           \
	if (q != (int##W##_t)q)                                              \
		cpu_raise(cpu, op, EXC_DE);                                  \
	SET_REG(W, cpu, RAX, (U(W))q);                                       \
	SET_REG(W, cpu, RDX, (U(W))(n % s));                                 \
	NEXT(cpu, op);                                                       \
}
typedef __int128 wide128;
typedef unsigned __int128 Uwide128;
typedef uint64_t Uint64_t;
typedef uint32_t Uint32_t;
IDIV(16, int32_t)
IDIV(32, int64_t)
IDIV(64, wide128)

HANDLER(idiv8)
{
	int16_t n = (int16_t)R16(cpu, RAX);
	int s = (int8_t)R8(cpu, op->r1);

	if (!s || n / s != (int8_t)(n / s))
		cpu_raise(cpu, op, EXC_DE);
	R16(cpu, RAX) = (uint16_t)((uint8_t)(n / s) | (uint8_t)(n % s) << 8);
	NEXT(cpu, op);
}

HANDLER(cbw16)
{
	R16(cpu, RAX) = (uint16_t)(int8_t)R8(cpu, RAX);
	NEXT(cpu, op);
}

HANDLER(cbw32)
{
	R64(cpu, RAX) = (uint32_t)(int16_t)R16(cpu, RAX);
	NEXT(cpu, op);
}

HANDLER(cbw64)
{
	R64(cpu, RAX) = (uint64_t)(int64_t)(int32_t)R32(cpu, RAX);
	NEXT(cpu, op);
}

#define CWD(W)                                                               \
HANDLER(cwd##W)                                                              \
{                                                                            \
	SET_REG(W, cpu, RDX,                                                 \
		(U(W))((int##W##_t)GET_REG(W, cpu, RAX) >> (W - 1)));        \
	NEXT(cpu, op);                                                       \
}
CWD(16)
CWD(32)
CWD(64)

static int emit_one_operand(struct emitter *e, const struct insn *in,
			    const uop_fn fn[4])
{
	/* the explicit operand, whichever place the decoder gives it */
	const struct opnd *o = &in->o[0];
	uint8_t src;

	src = emit_source(e, in, o);
	emit_uop(e, fn[size_index(o->size)])->r1 = src;
	return 1;
}

static int emit_imul(struct emitter *e, const struct insn *in)
{
	static const uop_fn two[] = BY_SIZE3(imul2_), three[] =
		BY_SIZE3(imul3_);
	unsigned i = size_index(in->o[0].size);
	uint8_t src = emit_source(e, in, &in->o[1]);
	struct uop *u = emit_uop(e, in->nopnd == 3 ? three[i] : two[i]);

	u->r0 = emit_reg(&in->o[0]);
	u->r1 = src;
	u->imm = in->imm;
	return 1;
}

int emit_muldiv(struct emitter *e, const struct insn *in)
{
	static const uop_fn mul[] = BY_SIZE(mul), imul1[] = BY_SIZE(imul1_);
	static const uop_fn div[] = BY_SIZE(div), idiv[] = BY_SIZE(idiv);
	static const uop_fn cbw[] = BY_SIZE3(cbw), cwd[] = BY_SIZE3(cwd);

	switch (in->op) {
	case OP_MUL:
		return emit_one_operand(e, in, mul);
	case OP_IMUL1:
		return emit_one_operand(e, in, imul1);
	case OP_DIV:
		return emit_one_operand(e, in, div);
	case OP_IDIV:
		return emit_one_operand(e, in, idiv);
	case OP_IMUL:
		return emit_imul(e, in);
	case OP_CBW:
		emit_uop(e, cbw[size_index(in->osize)]);
		return 1;
	case OP_CWD:
		emit_uop(e, cwd[size_index(in->osize)]);
		return 1;
	default:
		return 0;
	}
}
