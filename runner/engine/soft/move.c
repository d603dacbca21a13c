/* SPDX-License-Identifier: Apache-2.0 */
/* MOV and its kin, exchanges, conditional moves, flag instructions, NOPs. */
#include "runner/engine/soft/ops.h"
#include "runner/engine/soft/xlate.h"

#define MOVE(W)                                                              \
HANDLER(mov_rr##W)                                                           \
{                                                                            \
	SET_REG(W, cpu, op->r0, GET_REG(W, cpu, op->r1));                    \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(mov_ri##W)                                                           \
{                                                                            \
	SET_REG(W, cpu, op->r0, (U(W))op->imm);                              \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(mov_rm##W)                                                           \
{                                                                            \
	SET_REG(W, cpu, op->r0, LOAD_MEM(W, cpu, op, uop_ea(cpu, op)));      \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(mov_mr##W)                                                           \
{                                                                            \
	STORE_MEM(W, cpu, op, uop_ea(cpu, op), GET_REG(W, cpu, op->r1));     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(mov_mi##W)                                                           \
{                                                                            \
	STORE_MEM(W, cpu, op, uop_ea(cpu, op), (U(W))op->imm);               \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(xchg_rr##W)                                                          \
{                                                                            \
	U(W) a = GET_REG(W, cpu, op->r0), b = GET_REG(W, cpu, op->r1);       \
                                                                             \
	SET_REG(W, cpu, op->r0, b);                                          \
	SET_REG(W, cpu, op->r1, a);                                          \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(xchg_mr##W)                                                          \
{                                                                            \
	uint64_t va = uop_ea(cpu, op);                                       \
	void *p = mmu_rmw(cpu, op, va, sizeof(U(W)));                        \
	U(W) d = RMW_LOAD(W, cpu, op, p, va);                                \
                                                                             \
	RMW_STORE(W, cpu, op, p, va, GET_REG(W, cpu, op->r1));               \
	SET_REG(W, cpu, op->r1, d);                                          \
	NEXT(cpu, op);                                                       \
}
MOVE(8)
MOVE(16)
MOVE(32)
MOVE(64)

#define LEA(W)                                                               \
HANDLER(lea##W)                                                              \
{                                                                            \
	SET_REG(W, cpu, op->r0, (U(W))uop_ea(cpu, op));                      \
	NEXT(cpu, op);                                                       \
}
LEA(16)
LEA(32)
LEA(64)

/* XADD and CMPXCHG take their flags from an ADD and a CMP. */
#define EXCHANGE(W)                                                          \
static inline U(W) add_do##W(struct cpu *cpu, U(W) d, U(W) s)                \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__("add" SFX(W) " %[s], %[d]" FLAGS                             \
		: [d] "+r"(d), "=&a"(f) : [s] "r"(s) : "cc");                \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
HANDLER(xadd_r##W)                                                           \
{                                                                            \
	U(W) d = GET_REG(W, cpu, op->r0);                                    \
	U(W) sum = add_do##W(cpu, d, GET_REG(W, cpu, op->r1));               \
                                                                             \
	SET_REG(W, cpu, op->r1, d);                                          \
	SET_REG(W, cpu, op->r0, sum);                                        \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(xadd_m##W)                                                           \
{                                                                            \
	uint64_t va = uop_ea(cpu, op);                                       \
	void *p = mmu_rmw(cpu, op, va, sizeof(U(W)));                        \
	U(W) d = RMW_LOAD(W, cpu, op, p, va);                                \
	U(W) sum = add_do##W(cpu, d, GET_REG(W, cpu, op->r1));               \
                                                                             \
	RMW_STORE(W, cpu, op, p, va, sum);                                   \
	SET_REG(W, cpu, op->r1, d);                                          \
	NEXT(cpu, op);                                                       \
}                                                                            \
static inline int cmp_do##W(struct cpu *cpu, U(W) d)                         \
{                                                                            \
	U(W) a = GET_REG(W, cpu, SLOT_OFF(X86_RAX));                         \
	uint16_t f;                                                          \
                                                                             \
	__asm__("cmp" SFX(W) " %[s], %[d]" FLAGS                             \
		: "=&a"(f) : [d] "r"(a), [s] "r"(d) : "cc");                 \
	cpu->fl = f;                                                         \
	return a == d;                                                       \
}                                                                            \
HANDLER(cmpxchg_r##W)                                                        \
{                                                                            \
	U(W) d = GET_REG(W, cpu, op->r0);                                    \
                                                                             \
	if (cmp_do##W(cpu, d))                                               \
		SET_REG(W, cpu, op->r0, GET_REG(W, cpu, op->r1));            \
	else                                                                 \
		SET_REG(W, cpu, SLOT_OFF(X86_RAX), d);                       \
	NEXT(cpu, op);                                                       \
}                                                                            \
/* SDM 2A CMPXCHG: the destination is written either way. */                 \
HANDLER(cmpxchg_m##W)                                                        \
{                                                                            \
	uint64_t va = uop_ea(cpu, op);                                       \
	void *p = mmu_rmw(cpu, op, va, sizeof(U(W)));                        \
	U(W) d = RMW_LOAD(W, cpu, op, p, va);                                \
                                                                             \
	if (cmp_do##W(cpu, d))                                               \
		RMW_STORE(W, cpu, op, p, va, GET_REG(W, cpu, op->r1));       \
	else                                                                 \
		SET_REG(W, cpu, SLOT_OFF(X86_RAX), d);                       \
	NEXT(cpu, op);                                                       \
}
EXCHANGE(8)
EXCHANGE(16)
EXCHANGE(32)
EXCHANGE(64)

/* The two halves of a pair, at @p, or (NULL) at @va piece by piece. */
static void load_pair(struct cpu *cpu, const struct uop *op, const char *p,
		      uint64_t va, unsigned half, uint64_t v[2])
{
	v[0] = v[1] = 0;
	for (unsigned i = 0; i < 2; i++)
		if (p)
			memcpy(&v[i], p + i * half, half);
		else
			mmu_read(cpu, op, mmu_wrap(cpu, va + i * half), &v[i],
				 half);
}

static void store_pair(struct cpu *cpu, const struct uop *op, char *p,
		       uint64_t va, unsigned half, const uint64_t v[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (p)
			memcpy(p + i * half, &v[i], half);
		else
			mmu_write(cpu, op, mmu_wrap(cpu, va + i * half), &v[i],
				  half);
}

/* CMPXCHG8B and 16B: eDX:eAX against memory, eCX:eBX into it; ZF only. */
static inline void cmpxchg_pair(struct cpu *cpu, const struct uop *op,
				unsigned half)
{
	uint64_t va = uop_ea(cpu, op), seen[2];
	const uint64_t new[2] = { cpu->r[X86_RBX], cpu->r[X86_RCX] };
	uint64_t mask = half == 8 ? UINT64_MAX : UINT32_MAX;
	char *p;

	if (half == 8 && va & 15)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	p = mmu_rmw(cpu, op, va, 2 * half);
	load_pair(cpu, op, p, va, half, seen);
	if (seen[0] == (cpu->r[X86_RAX] & mask) &&
	    seen[1] == (cpu->r[X86_RDX] & mask)) {
		store_pair(cpu, op, p, va, half, new);
		cpu->fl |= FL_ZF;
	} else {
		cpu->r[X86_RAX] = seen[0];
		cpu->r[X86_RDX] = seen[1];
		cpu->fl &= ~FL_ZF;
	}
}

static void __attribute__((noinline))
do_cmpxchg8b(struct cpu *cpu, const struct uop *op)
{
	cmpxchg_pair(cpu, op, 4);
}

static void __attribute__((noinline))
do_cmpxchg16b(struct cpu *cpu, const struct uop *op)
{
	cmpxchg_pair(cpu, op, 8);
}

HANDLER(cmpxchg8b)
{
	do_cmpxchg8b(cpu, op);
	NEXT(cpu, op);
}

HANDLER(cmpxchg16b)
{
	do_cmpxchg16b(cpu, op);
	NEXT(cpu, op);
}

/* MOVZX, MOVSX, MOVSXD: source width S, signedness by type, to width W. */
#define EXTEND(name, TYPE, S, W)                                             \
HANDLER(name##_r##S##_##W)                                                   \
{                                                                            \
	SET_REG(W, cpu, op->r0, (U(W))(TYPE)GET_REG(S, cpu, op->r1));        \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_m##S##_##W)                                                   \
{                                                                            \
	SET_REG(W, cpu, op->r0,                                              \
		(U(W))(TYPE)LOAD_MEM(S, cpu, op, uop_ea(cpu, op)));          \
	NEXT(cpu, op);                                                       \
}
#define EXTENDS(S, W)                                                        \
	EXTEND(movzx, uint##S##_t, S, W) EXTEND(movsx, int##S##_t, S, W)
EXTENDS(8, 16)
EXTENDS(8, 32)
EXTENDS(8, 64)
EXTENDS(16, 16)
EXTENDS(16, 32)
EXTENDS(16, 64)
EXTENDS(32, 32)
EXTENDS(32, 64)

HANDLER(setcc_r)
{
	R8(cpu, op->r0) = (uint8_t)cond(cpu->fl, op->aux);
	NEXT(cpu, op);
}

HANDLER(setcc_m)
{
	mmu_store8(cpu, op, uop_ea(cpu, op),
		   (uint8_t)cond(cpu->fl, op->aux));
	NEXT(cpu, op);
}

/* The source is read, and a 32-bit destination cleared above, either way. */
#define CMOV(W)                                                              \
HANDLER(cmov##W)                                                             \
{                                                                            \
	U(W) d = GET_REG(W, cpu, op->r0), s = GET_REG(W, cpu, op->r1);       \
                                                                             \
	SET_REG(W, cpu, op->r0, cond(cpu->fl, op->aux) ? s : d);             \
	NEXT(cpu, op);                                                       \
}
CMOV(16)
CMOV(32)
CMOV(64)

/* TMP2 = AL, the index of what follows. */
HANDLER(xlat_index)
{
	cpu->r[SLOT_TMP2] = R8(cpu, 0);
	NEXT(cpu, op);
}

HANDLER(xlat)
{
	R8(cpu, 0) = mmu_load8(cpu, op, uop_ea(cpu, op));
	NEXT(cpu, op);
}

HANDLER(op_nop)
{
	NEXT(cpu, op);
}

HANDLER(sahf)
{
	cpu->fl = (cpu->fl & FL_OF) | ((uint32_t)R8(cpu, 1) & 0xd5) << 8;
	NEXT(cpu, op);
}

HANDLER(lahf)
{
	R8(cpu, 1) = (uint8_t)((cpu->fl >> 8 & 0xd5) | 2);
	NEXT(cpu, op);
}

/* CMC, CLC, STC: clear the flags in disp, then flip those in imm. */
HANDLER(carry)
{
	cpu->fl = (cpu->fl & ~(uint32_t)op->disp) ^ (uint32_t)op->imm;
	NEXT(cpu, op);
}

HANDLER(cld)
{
	cpu->rflags &= ~(uint64_t)RFLAGS_DF;
	NEXT(cpu, op);
}

HANDLER(std)
{
	cpu->rflags |= RFLAGS_DF;
	NEXT(cpu, op);
}

/* Spinning: let the host have the core for a moment. */
HANDLER(op_pause)
{
	__builtin_ia32_pause();
	NEXT(cpu, op);
}

static const struct forms mov = BY_FORM(mov);

static const uop_fn leas[] = BY_SIZE3(lea), cmovs[] = BY_SIZE3(cmov);

static void emit_lea(struct emitter *e, const struct insn *in)
{
	struct insn bare = *in;
	struct emit_ea a;
	struct uop *u;

	bare.seg = REG_NONE; /* an address, not an access */
	a = emit_address(e, &bare);
	u = emit_uop(e, leas[size_index(in->o[0].size)]);
	emit_set_ea(u, a);
	u->r0 = emit_reg(&in->o[0]);
}

#define EXTEND_ROW(n, k) {                                                   \
	{ NULL, n##_##k##8_16, n##_##k##8_32, n##_##k##8_64 },               \
	{ NULL, n##_##k##16_16, n##_##k##16_32, n##_##k##16_64 },            \
	{ NULL, n##_##k##16_16, n##_##k##32_32, n##_##k##32_64 } }
static const uop_fn extend[2][2][3][4] = {
	{ EXTEND_ROW(movzx, r), EXTEND_ROW(movzx, m) },
	{ EXTEND_ROW(movsx, r), EXTEND_ROW(movsx, m) },
};

static void emit_extend(struct emitter *e, const struct insn *in)
{
	const struct opnd *d = &in->o[0], *s = &in->o[1];
	int mem = s->kind == OPND_MEM;
	uop_fn f = extend[in->op == OP_MOVSX][mem][size_index(s->size)]
		     [size_index(d->size)];
	struct emit_ea a;
	struct uop *u;

	if (mem)
		a = emit_address(e, in);
	u = emit_uop(e, f);
	if (mem)
		emit_set_ea(u, a);
	else
		u->r1 = emit_reg(s);
	u->r0 = emit_reg(d);
}

/* A destination in memory or a register, and a register source: r1. */
static void emit_exchange(struct emitter *e, const struct insn *in,
			  const uop_fn reg[4], const uop_fn mem[4])
{
	int d = in->o[1].kind == OPND_MEM; /* XCHG reads either way round */
	unsigned i = size_index(in->o[d].size);

	emit_rm(e, in, &in->o[d], reg[i], mem[i])->r1 = emit_reg(&in->o[!d]);
}

static void emit_memory(struct emitter *e, const struct insn *in, uop_fn fn)
{
	struct emit_ea a = emit_address(e, in);

	emit_set_ea(emit_uop(e, fn), a);
}

/* The operand is implied: seg:[rBX + AL]. */
static void emit_xlat(struct emitter *e, const struct insn *in)
{
	struct insn implied = *in;

	implied.base = X86_RBX;
	implied.index = SLOT_TMP2;
	implied.scale = 0;
	implied.disp = 0;
	emit_uop(e, xlat_index);
	emit_memory(e, &implied, xlat);
}

static void emit_setcc(struct emitter *e, const struct insn *in)
{
	emit_rm(e, in, &in->o[0], setcc_r, setcc_m)->aux = in->cc;
}

static void emit_cmov(struct emitter *e, const struct insn *in)
{
	uint8_t src = emit_source(e, in, &in->o[1]);
	struct uop *u = emit_uop(e, cmovs[size_index(in->o[0].size)]);

	u->r0 = emit_reg(&in->o[0]);
	u->r1 = src;
	u->aux = in->cc;
}

static void emit_carry(struct emitter *e, uint32_t clear, uint32_t flip)
{
	struct uop *u = emit_uop(e, carry);

	u->disp = (int32_t)clear;
	u->imm = flip;
}

int emit_move(struct emitter *e, const struct insn *in)
{
	static const uop_fn xchg_r[] = BY_SIZE(xchg_rr), xchg_m[] =
		BY_SIZE(xchg_mr);
	static const uop_fn xadd_rs[] = BY_SIZE(xadd_r), xadd_ms[] =
		BY_SIZE(xadd_m);
	static const uop_fn cmpxchg_rs[] = BY_SIZE(cmpxchg_r), cmpxchg_ms[] =
		BY_SIZE(cmpxchg_m);

	switch (in->op) {
	case OP_MOV:
	case OP_MOVNTI:
		emit_forms(e, in, &mov);
		return 1;
	case OP_LEA:
		emit_lea(e, in);
		return 1;
	case OP_MOVZX:
	case OP_MOVSX:
		emit_extend(e, in);
		return 1;
	case OP_XCHG:
		emit_exchange(e, in, xchg_r, xchg_m);
		if (in->o[0].kind == OPND_MEM || in->o[1].kind == OPND_MEM)
			emit_fence(e); /* LOCK is implied */
		return 1;
	case OP_XADD:
		emit_exchange(e, in, xadd_rs, xadd_ms);
		break;
	case OP_CMPXCHG:
		emit_exchange(e, in, cmpxchg_rs, cmpxchg_ms);
		break;
	case OP_CMPXCHG8B:
		emit_memory(e, in, cmpxchg8b);
		break;
	case OP_CMPXCHG16B:
		emit_memory(e, in, cmpxchg16b);
		break;
	case OP_SETCC:
		emit_setcc(e, in);
		return 1;
	case OP_CMOVCC:
		emit_cmov(e, in);
		return 1;
	case OP_XLAT:
		emit_xlat(e, in);
		return 1;
	case OP_SAHF:
		emit_uop(e, sahf);
		return 1;
	case OP_LAHF:
		emit_uop(e, lahf);
		return 1;
	case OP_CMC:
		emit_carry(e, 0, FL_CF);
		return 1;
	case OP_CLC:
		emit_carry(e, FL_CF, 0);
		return 1;
	case OP_STC:
		emit_carry(e, FL_CF, FL_CF);
		return 1;
	case OP_CLD:
		emit_uop(e, cld);
		return 1;
	case OP_STD:
		emit_uop(e, std);
		return 1;
	case OP_NOP:
		emit_uop(e, op_nop);
		return 1;
	case OP_PAUSE:
		emit_uop(e, op_pause);
		return 1;
	case OP_LFENCE:
	case OP_MFENCE:
	case OP_SFENCE:
		emit_fence(e);
		return 1;
	default:
		return 0;
	}
	emit_fence_if_locked(e, in);
	return 1;
}

void move_templates(struct xlate_table *t)
{
	xlate_add_forms(t, &mov, X_MOV, 0);
	for (unsigned i = 1; i < 4; i++) {
		xlate_add(t, leas[i], X_LEA, i, 0);
		xlate_add(t, cmovs[i], X_CMOV, i, 0);
	}
	xlate_add(t, setcc_r, X_SETCC, 0, 0);
	xlate_add(t, op_nop, X_NOP, 0, 0);
	for (unsigned from = 0; from < 3; from++)
		for (unsigned to = from + (from < 2); to < 4; to++)
			for (unsigned k = 0; k < 4; k++)
				xlate_add(t, extend[k >> 1][k & 1][from][to],
					  X_ZX_R + k, to, 8u << from);
}
