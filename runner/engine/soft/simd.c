/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSE to SSE4.2 on XMM registers, and MXCSR.
 *
 * Moves and logic that C says as well are handlers of their own, because
 * every memcpy() and strlen() of a guest runs on them; all else is a thunk
 * (native.h). Handlers come in kinds named for ModRM.reg and ModRM.rm:
 * x an XMM register, g a general one, m memory.
 */
#include <string.h>

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"

/* 16 bytes of guest memory or of a register, at any address. */
typedef long long v128 __attribute__((vector_size(16), aligned(1)));

/* uop: imm is the thunk, r0 the ModRM.reg operand, r1 the ModRM.rm operand
 * (an XMM's offset in its file, a GPR's in r[]), aux the memory operand's
 * size, ext[0] the alignment mask. */
#define THUNK(op) ((native_fn)(uintptr_t)(op)->imm)
#define XMM_OFF(n) ((uint8_t)((n) * 16))

static inline void *xmm(struct cpu *cpu, uint8_t off)
{
	return cpu->fx + 160 + off;
}

static inline void *gpr(struct cpu *cpu, uint8_t off)
{
	return (char *)cpu->r + off;
}

/* Both return from the handler when the guest gets an exception: as tail
 * calls they leave it without a stack frame. */
#define SIMD_CHECK(cpu, op)                                               \
	do {                                                              \
		if (__builtin_expect(((cpu)->cr0 & (CR0_EM | CR0_TS)) ||  \
				     !((cpu)->cr4 & CR4_OSFXSR), 0))      \
			return fpu_refuse_simd(cpu, op);                  \
	} while (0)
#define ALIGN_CHECK(cpu, op, va)                                          \
	do {                                                              \
		if (__builtin_expect((va) & (op)->ext[0], 0))             \
			return misaligned(cpu, op);                       \
	} while (0)

static const struct uop *misaligned(struct cpu *cpu, const struct uop *op)
{
	cpu_raise_err(cpu, op, EXC_GP, 0);
}

/* --- floating point ---------------------------------------------------- */

/* Run with the guest's rounding and denormal modes, and nothing unmasked;
 * the exceptions that it met. */
static uint32_t run_masked(struct cpu *cpu, const struct uop *op, void *rm,
			   void *reg, uint32_t control)
{
	uint32_t flags;

	mxcsr_set((control & ~MXCSR_FLAGS) | MXCSR_MASKS);
	THUNK(op)(rm, reg, cpu);
	flags = mxcsr_get() & MXCSR_FLAGS;
	mxcsr_set(MXCSR_HOST);
	return flags;
}

/*
 * Unmasked underflow is about tiny results, exact ones included (SDM 1
 * 4.9.1.5), which a masked run keeps quiet about: flushing to zero makes the
 * host tell.
 */
static uint32_t tiny_flag(struct cpu *cpu, const struct uop *op, void *rm,
			  const void *reg)
{
	uint8_t out[16] __attribute__((aligned(16)));

	memcpy(out, reg, sizeof(out));
	return run_masked(cpu, op, rm, out, FX_MXCSR(cpu) | MXCSR_FTZ) &
	       MXCSR_UE;
}

/* Some exception is unmasked: compute aside, store when none of them came.
 * @size of the register at @reg. */
static void __attribute__((noinline))
run_unmasked(struct cpu *cpu, const struct uop *op, void *rm, void *reg,
	     unsigned size)
{
	uint8_t in[16] __attribute__((aligned(16))) = { 0 };
	uint8_t out[16] __attribute__((aligned(16)));
	uint32_t guest = FX_MXCSR(cpu), unmasked = ~guest >> 7 & MXCSR_FLAGS;
	uint32_t fl = cpu->fl, flags;

	memcpy(in, reg, size);
	memcpy(out, in, sizeof(out));
	if (unmasked & MXCSR_UE) {
		/* SDM 1 10.2.3.3: FTZ is off then */
		flags = run_masked(cpu, op, rm, out, guest & ~MXCSR_FTZ);
		flags |= tiny_flag(cpu, op, rm, in);
	} else {
		flags = run_masked(cpu, op, rm, out, guest);
	}
	flags = fpu_reported(flags, guest);
	FX_MXCSR(cpu) |= flags;
	if (flags & unmasked) {
		cpu->fl = fl;
		fpu_raise_simd(cpu, op);
	}
	memcpy(reg, out, size);
}

/*
 * Nothing unmasked: the guest's MXCSR serves as it is, and collects its own
 * flags. Loading another value costs some 60 ns on recent processors, so the
 * flags stay in the host's MXCSR, where C looks at none of them; the control
 * bits do not.
 */
static inline void run_fp(struct cpu *cpu, const struct uop *op, void *rm,
			  void *reg, unsigned size)
{
	uint32_t guest = FX_MXCSR(cpu);

	if (__builtin_expect((guest & MXCSR_MASKS) != MXCSR_MASKS, 0)) {
		run_unmasked(cpu, op, rm, reg, size);
		return;
	}
	if (__builtin_expect(mxcsr_get() != guest, 0))
		mxcsr_set(guest);
	THUNK(op)(rm, reg, cpu);
	guest = mxcsr_get();
	FX_MXCSR(cpu) = guest;
	if (__builtin_expect((guest ^ MXCSR_HOST) & ~MXCSR_FLAGS, 0))
		mxcsr_set(MXCSR_HOST);
}

static inline void run_int(struct cpu *cpu, const struct uop *op, void *rm,
			   void *reg, unsigned size)
{
	(void)size;
	THUNK(op)(rm, reg, cpu);
}

/* --- operands ---------------------------------------------------------- */

typedef void (*run_fn)(struct cpu *cpu, const struct uop *op, void *rm,
		       void *reg, unsigned size);

/* The TLB's own answer, or NULL. */
static inline void *fast_read(struct cpu *cpu, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = mmu_entry(cpu, va);

	if (__builtin_expect(e->rd == ((va + size - 1) & PAGE_MASK), 1))
		return (void *)(uintptr_t)(va + e->addend);
	return NULL;
}

static inline void *fast_write(struct cpu *cpu, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = mmu_entry(cpu, va);

	if (__builtin_expect(e->wr == ((va + size - 1) & PAGE_MASK), 1))
		return (void *)(uintptr_t)(va + e->addend);
	return NULL;
}

/* By way of a buffer: page crossings, MMIO, TLB misses. */
static void __attribute__((noinline))
slow_load(struct cpu *cpu, const struct uop *op, uint64_t va, run_fn run,
	  void *reg, unsigned size)
{
	uint8_t buf[16] __attribute__((aligned(16)));

	mmu_read(cpu, op, va, buf, op->aux);
	run(cpu, op, buf, reg, size);
}

static void __attribute__((noinline))
slow_store(struct cpu *cpu, const struct uop *op, uint64_t va, void *reg)
{
	uint8_t buf[16] __attribute__((aligned(16)));

	THUNK(op)(buf, reg, cpu);
	mmu_write(cpu, op, va, buf, op->aux);
}

#define REG_HANDLER(name, run, reg, rm, size)                           \
static const struct uop *name(struct cpu *cpu, const struct uop *op)    \
{                                                                       \
	SIMD_CHECK(cpu, op);                                            \
	run(cpu, op, rm(cpu, op->r1), reg(cpu, op->r0), size);          \
	NEXT(cpu, op);                                                  \
}
/* The slow half is a function of its own so that the fast one needs no stack
 * frame; neither may hold a buffer, or NEXT would be no tail call. */
#define LOAD_HANDLER(name, run, reg, size)                              \
static const struct uop *__attribute__((noinline))                      \
name##_slow(struct cpu *cpu, const struct uop *op, uint64_t va)         \
{                                                                       \
	slow_load(cpu, op, va, run, reg(cpu, op->r0), size);            \
	NEXT(cpu, op);                                                  \
}                                                                       \
static const struct uop *name(struct cpu *cpu, const struct uop *op)    \
{                                                                       \
	uint64_t va;                                                    \
	void *p;                                                        \
                                                                        \
	SIMD_CHECK(cpu, op);                                            \
	va = uop_ea(cpu, op);                                           \
	ALIGN_CHECK(cpu, op, va);                                       \
	p = fast_read(cpu, va, op->aux);                                \
	if (__builtin_expect(!p, 0))                                    \
		return name##_slow(cpu, op, va);                        \
	run(cpu, op, p, reg(cpu, op->r0), size);                        \
	NEXT(cpu, op);                                                  \
}
REG_HANDLER(int_xx, run_int, xmm, xmm, 16)
REG_HANDLER(int_xg, run_int, xmm, gpr, 16)
REG_HANDLER(int_gx, run_int, gpr, xmm, 8)
LOAD_HANDLER(int_xm, run_int, xmm, 16)
REG_HANDLER(fp_xx, run_fp, xmm, xmm, 16)
REG_HANDLER(fp_xg, run_fp, xmm, gpr, 16)
REG_HANDLER(fp_gx, run_fp, gpr, xmm, 8)
LOAD_HANDLER(fp_xm, run_fp, xmm, 16)
LOAD_HANDLER(fp_gm, run_fp, gpr, 8)

static const struct uop *store_mx(struct cpu *cpu, const struct uop *op)
{
	uint64_t va;
	void *p;

	SIMD_CHECK(cpu, op);
	va = uop_ea(cpu, op);
	ALIGN_CHECK(cpu, op, va);
	p = fast_write(cpu, va, op->aux);
	if (__builtin_expect(!p, 0))
		slow_store(cpu, op, va, xmm(cpu, op->r0));
	else
		THUNK(op)(p, xmm(cpu, op->r0), cpu);
	NEXT(cpu, op);
}

/* --- moves and logic in C ---------------------------------------------- */

#define V128(p) (*(v128 *)(p))
#define U64(p)	(*(uint64_t *)(p))

static void copy16(struct cpu *cpu, const struct uop *op, void *rm, void *reg,
		   unsigned size)
{
	(void)cpu;
	(void)op;
	(void)size;
	V128(reg) = V128(rm);
}
LOAD_HANDLER(mov_load16, copy16, xmm, 16)
REG_HANDLER(mov_xx, copy16, xmm, xmm, 16)

static const struct uop *__attribute__((noinline))
mov_store16_slow(struct cpu *cpu, const struct uop *op, uint64_t va)
{
	mmu_write(cpu, op, va, xmm(cpu, op->r0), 16);
	NEXT(cpu, op);
}

static const struct uop *mov_store16(struct cpu *cpu, const struct uop *op)
{
	uint64_t va;
	void *p;

	SIMD_CHECK(cpu, op);
	va = uop_ea(cpu, op);
	ALIGN_CHECK(cpu, op, va);
	p = fast_write(cpu, va, 16);
	if (__builtin_expect(!p, 0))
		return mov_store16_slow(cpu, op, va);
	V128(p) = V128(xmm(cpu, op->r0));
	NEXT(cpu, op);
}

#define MOVE(name, body)                                               \
static const struct uop *name(struct cpu *cpu, const struct uop *op)   \
{                                                                      \
	uint64_t *x, v;                                                \
                                                                       \
	SIMD_CHECK(cpu, op);                                           \
	x = xmm(cpu, op->r0);                                          \
	body;                                                          \
	NEXT(cpu, op);                                                 \
}
/* MOVD, MOVQ, MOVSS, MOVSD: the rest of the register becomes 0 */
MOVE(mov_load4, (v = mmu_load32(cpu, op, uop_ea(cpu, op)), x[0] = v, x[1] = 0))
MOVE(mov_load8, (v = mmu_load64(cpu, op, uop_ea(cpu, op)), x[0] = v, x[1] = 0))
MOVE(mov_xg4, (v = R32(cpu, op->r1), x[0] = v, x[1] = 0))
MOVE(mov_xg8, (v = R64(cpu, op->r1), x[0] = v, x[1] = 0))
MOVE(mov_xx8, (v = U64(xmm(cpu, op->r1)), x[0] = v, x[1] = 0))
MOVE(mov_gx4, (v = (uint32_t)x[0], R64(cpu, op->r1) = v))
MOVE(mov_gx8, (v = x[0], R64(cpu, op->r1) = v))
/* MOVLPS, MOVHPS and their like: half of the register */
MOVE(mov_load_low, (v = mmu_load64(cpu, op, uop_ea(cpu, op)), x[0] = v))
MOVE(mov_load_high, (v = mmu_load64(cpu, op, uop_ea(cpu, op)), x[1] = v))
MOVE(mov_store4, (v = x[0], mmu_store32(cpu, op, uop_ea(cpu, op),
					(uint32_t)v)))
MOVE(mov_store8, (v = x[0], mmu_store64(cpu, op, uop_ea(cpu, op), v)))
MOVE(mov_store_high, (v = x[1], mmu_store64(cpu, op, uop_ea(cpu, op), v)))

#define LOGIC(name, expr)                                              \
static const struct uop *name(struct cpu *cpu, const struct uop *op)   \
{                                                                      \
	v128 a, b;                                                     \
                                                                       \
	SIMD_CHECK(cpu, op);                                           \
	a = V128(xmm(cpu, op->r0));                                    \
	b = V128(xmm(cpu, op->r1));                                    \
	V128(xmm(cpu, op->r0)) = (expr);                               \
	NEXT(cpu, op);                                                 \
}
LOGIC(logic_and, a & b)
LOGIC(logic_andn, ~a & b)
LOGIC(logic_or, a | b)
LOGIC(logic_xor, a ^ b)

/* --- MASKMOVDQU -------------------------------------------------------- */

/* The bytes written are those that come out the same over zeros and ones. */
static void __attribute__((noinline))
store_masked(struct cpu *cpu, const struct uop *op)
{
	uint8_t zero[16], ones[16];

	memset(zero, 0, sizeof(zero));
	memset(ones, 0xff, sizeof(ones));
	THUNK(op)(xmm(cpu, op->r1), xmm(cpu, op->r0), zero);
	THUNK(op)(xmm(cpu, op->r1), xmm(cpu, op->r0), ones);
	fpu_write_masked(cpu, op, uop_ea(cpu, op), zero, ones, 16, 1);
}

static const struct uop *maskmov(struct cpu *cpu, const struct uop *op)
{
	SIMD_CHECK(cpu, op);
	store_masked(cpu, op);
	NEXT(cpu, op);
}

/* --- MXCSR ------------------------------------------------------------- */

static const struct uop *op_ldmxcsr(struct cpu *cpu, const struct uop *op)
{
	uint32_t v;

	SIMD_CHECK(cpu, op);
	v = mmu_load32(cpu, op, uop_ea(cpu, op));
	if (v & ~MXCSR_VALID)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	FX_MXCSR(cpu) = v;
	NEXT(cpu, op);
}

static const struct uop *op_stmxcsr(struct cpu *cpu, const struct uop *op)
{
	SIMD_CHECK(cpu, op);
	mmu_store32(cpu, op, uop_ea(cpu, op), FX_MXCSR(cpu));
	NEXT(cpu, op);
}

/* --- emit -------------------------------------------------------------- */

/* Handlers in C by 0f opcode and mandatory prefix (none, 66, F3, F2). */
struct plain {
	uint8_t opcode;
	uint8_t rm_kind; /* OPND_MEM, OPND_XMM, OPND_GPR */
	uop_fn fn[4];
};

static const struct plain plain[] = {
	{ 0x10, OPND_MEM, { mov_load16, mov_load16, mov_load4, mov_load8 } },
	{ 0x10, OPND_XMM, { mov_xx, mov_xx } },
	{ 0x11, OPND_MEM, { mov_store16, mov_store16, mov_store4,
			    mov_store8 } },
	{ 0x12, OPND_MEM, { mov_load_low, mov_load_low } },
	{ 0x13, OPND_MEM, { mov_store8, mov_store8 } },
	{ 0x16, OPND_MEM, { mov_load_high, mov_load_high } },
	{ 0x17, OPND_MEM, { mov_store_high, mov_store_high } },
	{ 0x28, OPND_MEM, { mov_load16, mov_load16 } },
	{ 0x28, OPND_XMM, { mov_xx, mov_xx } },
	{ 0x29, OPND_MEM, { mov_store16, mov_store16 } },
	{ 0x2b, OPND_MEM, { mov_store16, mov_store16 } },
	{ 0x54, OPND_XMM, { logic_and, logic_and } },
	{ 0x55, OPND_XMM, { logic_andn, logic_andn } },
	{ 0x56, OPND_XMM, { logic_or, logic_or } },
	{ 0x57, OPND_XMM, { logic_xor, logic_xor } },
	{ 0x6f, OPND_MEM, { NULL, mov_load16, mov_load16 } },
	{ 0x6f, OPND_XMM, { NULL, mov_xx, mov_xx } },
	{ 0x7e, OPND_MEM, { NULL, NULL, mov_load8 } },
	{ 0x7e, OPND_XMM, { NULL, NULL, mov_xx8 } },
	{ 0x7f, OPND_MEM, { NULL, mov_store16, mov_store16 } },
	{ 0xd6, OPND_MEM, { NULL, mov_store8 } },
	{ 0xdb, OPND_XMM, { NULL, logic_and } },
	{ 0xdf, OPND_XMM, { NULL, logic_andn } },
	{ 0xe7, OPND_MEM, { NULL, mov_store16 } },
	{ 0xeb, OPND_XMM, { NULL, logic_or } },
	{ 0xef, OPND_XMM, { NULL, logic_xor } },
	{ 0xf0, OPND_MEM, { NULL, NULL, NULL, mov_load16 } },
};

/* MOVD and MOVQ with a general register's width, to or from memory too. */
static uop_fn find_movd(const struct insn *in, const struct opnd *rm)
{
	int mem = rm->kind == OPND_MEM, wide = rm->size == 8;

	if (in->opcode == 0x6e)
		return mem ? (wide ? mov_load8 : mov_load4) :
			     (wide ? mov_xg8 : mov_xg4);
	return mem ? (wide ? mov_store8 : mov_store4) :
		     (wide ? mov_gx8 : mov_gx4);
}

static uop_fn find_plain(const struct insn *in)
{
	const struct opnd *rm = &in->o[in->rm_opnd];
	unsigned i, mand = in->mand == 0 ? 0 : in->mand == 0x66 ? 1 :
			   in->mand == 0xf3 ? 2 : 3;

	if (in->map != 1)
		return NULL;
	if (mand == 1 && (in->opcode == 0x6e || in->opcode == 0x7e))
		return find_movd(in, rm);
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (plain[i].opcode == in->opcode &&
		    plain[i].rm_kind == rm->kind)
			return plain[i].fn[mand];
	return NULL;
}

static uop_fn find_thunk_handler(const struct insn *in)
{
	const struct opnd *rm = &in->o[in->rm_opnd];
	int reg_gpr = in->reg_opnd != REG_NONE &&
		      in->o[in->reg_opnd].kind == OPND_GPR;
	int fp = in->attr & INSN_MXCSR;

	if (in->opcode == 0xf7 && in->map == 1)
		return maskmov;
	if (rm->kind == OPND_MEM && rm->access & OPND_W)
		return store_mx;
	if (rm->kind == OPND_MEM)
		return reg_gpr ? fp_gm : fp ? fp_xm : int_xm;
	if (rm->kind == OPND_GPR)
		return fp ? fp_xg : int_xg;
	if (reg_gpr)
		return fp ? fp_gx : int_gx;
	return fp ? fp_xx : int_xx;
}

static uint8_t reg_off(const struct insn *in, uint8_t which)
{
	const struct opnd *o;

	if (which == REG_NONE)
		return 0;
	o = &in->o[which];
	if (o->kind == OPND_MEM)
		return 0;
	return o->kind == OPND_XMM ? XMM_OFF(o->reg) : SLOT_OFF(o->reg);
}

static void emit_vector(struct emitter *e, const struct insn *in)
{
	int implied = in->map == 1 && in->opcode == 0xf7;
	uop_fn fn = find_plain(in);
	struct emit_ea ea = { 0 };
	struct uop *u;

	if (in->o[in->rm_opnd].kind == OPND_MEM || implied)
		ea = emit_address(e, in);
	/* CVTPI2PS, CVTPI2PD from memory: their thunk empties x87's tags */
	if (in->map == 1 && in->opcode == 0x2a && !(in->pfx & PFX_REP) &&
	    !(in->pfx & PFX_REPNE))
		emit_fpu_sync(e);
	u = emit_uop(e, fn ? fn : find_thunk_handler(in));
	if (in->o[in->rm_opnd].kind == OPND_MEM || implied)
		emit_set_ea(u, ea);
	if (!fn)
		u->imm = (uintptr_t)native_get(e->cpu->vm->native, in);
	u->r0 = reg_off(in, in->reg_opnd);
	u->r1 = reg_off(in, in->rm_opnd);
	u->aux = in->o[in->rm_opnd].size;
	u->ext[0] = in->attr & INSN_ALIGN16 ? 15 : 0;
	/* MOVAPS and the like as stores: ModRM.rm is the destination */
	if (fn == mov_xx && in->rm_opnd == 0) {
		u->r0 = reg_off(in, in->rm_opnd);
		u->r1 = reg_off(in, in->reg_opnd);
	}
}

static void emit_mxcsr(struct emitter *e, const struct insn *in)
{
	struct emit_ea ea = emit_address(e, in);

	emit_set_ea(emit_uop(e, in->op == OP_LDMXCSR ? op_ldmxcsr :
						       op_stmxcsr), ea);
}

int emit_simd(struct emitter *e, const struct insn *in)
{
	switch (in->op) {
	case OP_LDMXCSR:
	case OP_STMXCSR:
		emit_mxcsr(e, in);
		return 1;
	case OP_SIMD:
		if (!(in->attr & INSN_MMX)) {
			emit_vector(e, in);
			return 1;
		}
		/* fall through */
	default:
		return emit_x87(e, in);
	}
}
