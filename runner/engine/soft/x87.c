/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 and MMX.
 *
 * The host runs x87 and MMX instructions on a copy of the guest's FXSAVE
 * image, which becomes the state when nothing faulted. x87 exceptions need
 * no masking for that: unmasked, they only leave ES set, and the #MF comes
 * with the next instruction that waits (SDM 1 8.7) - which here is ours to
 * raise, before the thunk. FIP, FDP and FOP in the image are the guest's.
 *
 * That copy costs some 300 ns. While all exceptions are masked, the state
 * stays in the host's registers instead, from instruction to instruction
 * (fpu.h); what cannot fault any more then runs at once.
 */
#include <string.h>

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/fpu_image.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"

#define OPND_MAX 112 /* FNSAVE's 108 and room */

/*
 * uop: imm is the thunk; aux the memory operand's size; r0 a general
 * register; r1 and ext[1] the low three bits of the opcode, and ModRM, for
 * FOP, and in r1 from bit 4 on 1 + the segment that the address has in it;
 * ext[0] is how:
 */
#define X_LOAD	0x01 /* the memory operand is read */
#define X_STORE 0x02 /* ... is written */
#define X_WAIT	0x04 /* a pending x87 exception is raised first */
#define X_NOTES 0x08 /* leaves its address, operand and opcode behind */
#define X_MMX	0x10
#define X_SSE	0x20 /* an MMX conversion: rounds, raises #XM */
#define X_ENV	0x40 /* the memory operand begins with an environment */
#define X_RESET 0x80 /* FNINIT, FNSAVE: FIP, FDP, FOP become 0 */

/* --- exceptions -------------------------------------------------------- */

const struct uop *fpu_refuse_simd(struct cpu *cpu, const struct uop *op)
{
	if (cpu->cr0 & CR0_EM || !(cpu->cr4 & CR4_OSFXSR))
		cpu_raise(cpu, op, EXC_UD);
	cpu_raise(cpu, op, EXC_NM);
}

void fpu_raise_simd(struct cpu *cpu, const struct uop *op)
{
	cpu_raise(cpu, op, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

/* SDM 3A table 2-2: EM and TS for x87, MMX and WAIT. */
static void check(struct cpu *cpu, const struct uop *op)
{
	unsigned how = op->ext[0];

	if (how & X_SSE && !(cpu->cr4 & CR4_OSFXSR))
		cpu_raise(cpu, op, EXC_UD);
	if (cpu->cr0 & CR0_EM)
		cpu_raise(cpu, op, how & X_MMX ? EXC_UD : EXC_NM);
	if (cpu->cr0 & CR0_TS)
		cpu_raise(cpu, op, EXC_NM);
	if (how & X_WAIT && fpu_pending(cpu->fx))
		cpu_raise(cpu, op, EXC_MF);
}

static const struct uop *op_fwait(struct cpu *cpu, const struct uop *op)
{
	if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_raise(cpu, op, EXC_NM);
	if (fpu_pending(cpu->fx))
		cpu_raise(cpu, op, EXC_MF);
	NEXT(cpu, op);
}

/* --- FIP, FDP, FOP ----------------------------------------------------- */

/* Their places in an environment of 16-bit format (SDM 1 figure 8-12), and
 * else (figure 8-9). The selectors are 0, as where CPUID deprecates them. */
static int is_env16(unsigned size)
{
	return size == 14 || size == 94;
}

static void env_store(uint8_t *env, unsigned size, const uint8_t *fx)
{
	if (is_env16(size)) {
		put32(env + 6, get16(fx + FXI_FIP));
		put32(env + 10, get16(fx + FXI_FDP));
		return;
	}
	put32(env + 12, get32(fx + FXI_FIP));
	put32(env + 16, (uint32_t)get16(fx + FXI_FOP) << 16);
	put32(env + 20, get32(fx + FXI_FDP));
	put32(env + 24, 0xffff0000);
}

static void env_load(const uint8_t *env, unsigned size, uint8_t *fx)
{
	if (is_env16(size)) {
		put64(fx + FXI_FIP, get16(env + 6));
		put64(fx + FXI_FDP, get16(env + 10));
		put16(fx + FXI_FOP, 0);
		return;
	}
	put64(fx + FXI_FIP, get32(env + 12));
	put64(fx + FXI_FDP, get32(env + 20));
	put16(fx + FXI_FOP, get16(env + 18) & FOP_MASK);
}

/* FDP is an offset: without the segment's base. */
static uint64_t data_offset(const struct cpu *cpu, const struct uop *op)
{
	uint64_t va = uop_ea(cpu, op);
	unsigned seg = op->r1 >> 4;

	if (seg)
		va -= cpu->r[SLOT_SEG + seg - 1];
	return cpu->code64 ? va : (uint32_t)va;
}

/* SDM 1 8.1.8 for what is noted. */
static void note_pointers(const struct cpu *cpu, const struct uop *op,
			  uint8_t *fx)
{
	unsigned how = op->ext[0];

	if (how & X_RESET) {
		memset(fx + FXI_FOP, 0, 2);
		memset(fx + FXI_FIP, 0, 16);
	} else if (how & X_NOTES) {
		put64(fx + FXI_FIP, uop_rip(cpu, op));
		put16(fx + FXI_FOP, (op->r1 & 7u) << 8 | op->ext[1]);
		if (how & (X_LOAD | X_STORE))
			put64(fx + FXI_FDP, data_offset(cpu, op));
	}
}

/* The thunk left the host's. */
static void set_pointers(const struct cpu *cpu, const struct uop *op,
			 uint8_t *fx, const uint8_t *mem)
{
	unsigned how = op->ext[0];

	memcpy(fx + FXI_FOP, cpu->fx + FXI_FOP, 2);
	memcpy(fx + FXI_FIP, cpu->fx + FXI_FIP, 16);
	if (how & X_ENV && how & X_LOAD)
		env_load(mem, op->aux, fx);
	note_pointers(cpu, op, fx);
}

/* --- the state in the host --------------------------------------------- */

static void __attribute__((noinline)) go_live(struct cpu *cpu)
{
	struct image im;

	memcpy(im.b, cpu->fx, FXI_SIZE);
	put32(im.b + FXI_MXCSR, mxcsr_get());
	__asm__ volatile("fxrstor64 %0" : : "m"(im) : "xmm0", "xmm1", "xmm2",
			 "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			 "xmm15");
	cpu->fpu_live = 1;
}

void __attribute__((noinline)) fpu_sync(struct cpu *cpu)
{
	struct image im;

	if (!cpu->fpu_live)
		return;
	/* a host need not write what is reserved: no stack for the guest */
	memset(im.b, 0, FXI_XMM);
	__asm__ volatile("fxsave64 %0\n\tfninit" : "+m"(im));
	/* FIP, FDP and FOP in there are the host's, XMM nobody's */
	memcpy(cpu->fx, im.b, FXI_FOP);
	memcpy(cpu->fx + FXI_ST, im.b + FXI_ST, FXI_XMM - FXI_ST);
	cpu->fpu_live = 0;
}

/* All exceptions are masked: none is pending, and none will be. */
static inline int all_masked(const struct cpu *cpu)
{
	return (FX_FCW(cpu) & FSW_FLAGS) == FSW_FLAGS;
}

/* FLDCW and FNINIT: what they leave in FCW, which cpu->fx always has. Returns
 * where to load it from, as another thread can write to guest memory between
 * our look at it and the host's; NULL where it unmasks something. */
static inline void *note_control(struct cpu *cpu, const struct uop *op,
				 void *mem)
{
	unsigned how = op->ext[0];
	uint16_t v;

	if (how == X_RESET) {
		FX_FCW(cpu) = 0x37f;
	} else if (how == (X_WAIT | X_LOAD)) {
		v = get16(mem);
		__asm__("" : "+r"(v)); /* read once */
		if ((v & FSW_FLAGS) != FSW_FLAGS)
			return NULL;
		FX_FCW(cpu) = (v & 0x1f3f) | 0x40;
		mem = &cpu->r[SLOT_TMP2];
		put16(mem, v);
	}
	return mem;
}

/* The memory operand where the host can reach it, or NULL. */
static void *operand(struct cpu *cpu, const struct uop *op)
{
	uint64_t va = uop_ea(cpu, op);

	if (op->ext[0] & X_LOAD)
		return (void *)(uintptr_t)mmu_read_ptr(cpu, op, va, op->aux);
	return mmu_write_ptr(cpu, op, va, op->aux);
}

/* 0: it is op_run()'s, which follows. */
static inline int run_live(struct cpu *cpu, const struct uop *op)
{
	void *gpr = &R64(cpu, op->r0), *mem = gpr;
	unsigned how = op->ext[0];

	check(cpu, op);
	if (!all_masked(cpu))
		return 0;
	if (how & (X_LOAD | X_STORE)) {
		mem = operand(cpu, op);
		if (!mem)
			return 0;
	}
	if (!cpu->fpu_live)
		go_live(cpu);
	mem = note_control(cpu, op, mem);
	if (!mem)
		return 0;
	((native_fn)(uintptr_t)op->imm)(
		mem, how & X_MMX ? gpr : (void *)&cpu->fl, NULL);
	note_pointers(cpu, op, cpu->fx);
	return 1;
}

static const struct uop *op_live(struct cpu *cpu, const struct uop *op)
{
	if (__builtin_expect(run_live(cpu, op), 1))
		GO_ON(cpu, op + 2);
	NEXT(cpu, op);
}

/* --- running on the host ----------------------------------------------- */

/*
 * @mem is the memory operand. x87 never names a general register by
 * ModRM.reg, and uses that pointer for the flags. Returns the SSE exceptions
 * that it met.
 */
static uint32_t execute(struct cpu *cpu, const struct uop *op,
			struct image *im, void *mem)
{
	uint32_t mxcsr = FX_MXCSR(cpu), flags;
	unsigned how = op->ext[0];
	void *gpr = &R64(cpu, op->r0);

	memcpy(im->b, cpu->fx, FXI_SIZE);
	/* a value that the host has already loads much faster */
	put32(im->b + FXI_MXCSR, how & X_SSE ?
	      (mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS : mxcsr_get());
	((native_fn)(uintptr_t)op->imm)(
		how & (X_LOAD | X_STORE) ? mem : gpr,
		how & X_MMX ? gpr : (void *)&cpu->fl, im->b);
	flags = get32(im->b + FXI_MXCSR) & MXCSR_FLAGS;
	put32(im->b + FXI_MXCSR, how & X_SSE ? mxcsr | flags : mxcsr);
	put32(im->b + FXI_MASK, MXCSR_VALID);
	set_pointers(cpu, op, im->b, mem);
	return how & X_SSE ? flags : 0;
}

static void commit(struct cpu *cpu, const struct image *im)
{
	memcpy(cpu->fx, im->b, FXI_SIZE);
}

/*
 * An instruction that meets an unmasked exception may or may not have stored:
 * what it does store comes out the same over another background.
 */
static int has_stored(struct cpu *cpu, const struct uop *op,
		      const uint8_t *mem)
{
	uint8_t again[OPND_MAX];
	uint32_t fl = cpu->fl;
	struct image im;

	memset(again, 0xff, sizeof(again));
	(void)execute(cpu, op, &im, again);
	cpu->fl = fl;
	if (op->ext[0] & X_ENV)
		env_store(again, op->aux, cpu->fx);
	return !memcmp(mem, again, op->aux);
}

static void __attribute__((noinline))
run(struct cpu *cpu, const struct uop *op)
{
	unsigned how = op->ext[0];
	uint64_t va = uop_ea(cpu, op);
	/* CVTPD2PI on the host wants its 16 bytes aligned */
	uint8_t mem[OPND_MAX] __attribute__((aligned(16))) = { 0 };
	struct image im;
	uint32_t flags;

	fpu_sync(cpu);
	check(cpu, op);
	if (how & X_SSE && op->aux == 16 && va & 15)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	if (how & X_LOAD)
		mmu_read(cpu, op, va, mem, op->aux);
	flags = fpu_reported(execute(cpu, op, &im, mem), FX_MXCSR(cpu));
	if (flags & ~FX_MXCSR(cpu) >> 7) {
		FX_MXCSR(cpu) |= flags;
		fpu_raise_simd(cpu, op);
	}
	if (how & X_ENV && how & X_STORE)
		env_store(mem, op->aux, cpu->fx);
	if (how & X_STORE && (!fpu_pending(im.b) || has_stored(cpu, op, mem)))
		mmu_write(cpu, op, va, mem, op->aux);
	commit(cpu, &im);
}

/* Before a memory operand's segment is looked at. */
static const struct uop *op_check(struct cpu *cpu, const struct uop *op)
{
	check(cpu, op);
	NEXT(cpu, op);
}

static const struct uop *op_run(struct cpu *cpu, const struct uop *op)
{
	run(cpu, op);
	NEXT(cpu, op);
}

void fpu_write_masked(struct cpu *cpu, const struct uop *op, uint64_t va,
		      const uint8_t *a, const uint8_t *b, unsigned len,
		      unsigned aligned)
{
	unsigned i;

	for (i = 0; i < len && a[i] != b[i]; i++)
		;
	if (i < len)
		mmu_check_aligned(cpu, op, va, aligned);
	for (i = 0; i < len; i++)
		if (a[i] == b[i])
			mmu_probe_write(cpu, op, va + i, 1);
	for (i = 0; i < len; i++)
		if (a[i] == b[i])
			mmu_write(cpu, op, va + i, a + i, 1);
}

/* MASKMOVQ, as simd.c does MASKMOVDQU. */
static void __attribute__((noinline))
store_masked(struct cpu *cpu, const struct uop *op)
{
	native_fn thunk = (native_fn)(uintptr_t)op->imm;
	uint8_t zero[8], ones[8];
	struct image im;

	fpu_sync(cpu);
	check(cpu, op);
	memset(zero, 0, sizeof(zero));
	memset(ones, 0xff, sizeof(ones));
	memcpy(im.b, cpu->fx, FXI_SIZE);
	put32(im.b + FXI_MXCSR, mxcsr_get());
	thunk(NULL, zero, im.b);
	thunk(NULL, ones, im.b);
	fpu_write_masked(cpu, op, uop_ea(cpu, op), zero, ones, 8, 8);
	put32(im.b + FXI_MXCSR, FX_MXCSR(cpu));
	put32(im.b + FXI_MASK, MXCSR_VALID);
	set_pointers(cpu, op, im.b, NULL);
	commit(cpu, &im);
}

static const struct uop *op_maskmovq(struct cpu *cpu, const struct uop *op)
{
	store_masked(cpu, op);
	NEXT(cpu, op);
}

/* --- emit -------------------------------------------------------------- */

static const struct uop *op_sync(struct cpu *cpu, const struct uop *op)
{
	fpu_sync(cpu);
	NEXT(cpu, op);
}

void emit_fpu_sync(struct emitter *e)
{
	emit_uop(e, op_sync);
}

/* Opcode and ModRM.reg of the control instructions (SDM 1 8.3.11), which
 * leave FIP, FDP and FOP alone. With memory: */
#define KEY(in) (((in)->opcode & 7u) << 3 | ((in)->modrm >> 3 & 7))
enum {
	FLDENV = 1 << 3 | 4, FLDCW, FNSTENV, FNSTCW,
	FRSTOR = 5 << 3 | 4, FNSAVE = 5 << 3 | 6, FNSTSW,
	/* with registers: FNENI, FNDISI, FNCLEX, FNINIT, FNSETPM; FNSTSW AX */
	FNCLEX = 3 << 3 | 4, FNSTSW_AX = 7 << 3 | 4,
};

static unsigned x87_how(const struct insn *in)
{
	if (in->modrm >> 6 == 3) {
		if (KEY(in) == FNCLEX)
			return in->modrm == 0xe3 ? X_RESET : 0;
		return KEY(in) == FNSTSW_AX ? 0 : X_WAIT | X_NOTES;
	}
	switch (KEY(in)) {
	case FLDENV:
	case FRSTOR:
		return X_WAIT | X_ENV;
	case FLDCW:
		return X_WAIT;
	case FNSTENV:
		return X_ENV;
	case FNSAVE:
		return X_ENV | X_RESET;
	case FNSTCW:
	case FNSTSW:
		return 0;
	default:
		return X_WAIT | X_NOTES;
	}
}

static unsigned how_to_run(const struct insn *in)
{
	const struct opnd *rm = NULL;
	unsigned how;

	if (in->rm_opnd != REG_NONE)
		rm = &in->o[in->rm_opnd];
	if (in->op == OP_SIMD)
		how = X_MMX | X_WAIT | (in->attr & INSN_MXCSR ? X_SSE : 0);
	else
		how = x87_how(in);
	if (rm && rm->kind == OPND_MEM)
		how |= rm->access & OPND_W ? X_STORE : X_LOAD;
	return how;
}

static uint8_t general_reg(const struct insn *in)
{
	unsigned i;

	for (i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_GPR)
			return SLOT_OFF(in->o[i].reg);
	return SLOT_OFF(SLOT_TMP2);
}

/* An XMM operand is in the image only, as is the environment. */
static int can_be_live(const struct insn *in, unsigned how)
{
	unsigned i;

	for (i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_XMM)
			return 0;
	return !(how & (X_SSE | X_ENV));
}

static struct uop *emit_one(struct emitter *e, const struct insn *in,
			    uop_fn fn, native_fn thunk, unsigned how)
{
	struct uop *u = emit_uop(e, fn);

	u->imm = (uintptr_t)thunk;
	u->r0 = general_reg(in);
	u->r1 = in->opcode & 7;
	if (how & (X_LOAD | X_STORE)) {
		u->aux = in->o[in->rm_opnd].size;
		if (!e->cpu->code64 || in->seg == X86_FS || in->seg == X86_GS)
			u->r1 |= (uint8_t)((in->seg + 1) << 4);
	}
	u->ext[0] = (uint8_t)how;
	u->ext[1] = in->modrm;
	return u;
}

static void emit_run(struct emitter *e, const struct insn *in)
{
	unsigned how = how_to_run(in);
	int maskmov = in->op == OP_SIMD && in->map == 1 && in->opcode == 0xf7;
	struct native *n = e->cpu->vm->native;
	struct emit_ea ea = { .base = SLOT_OFF(SLOT_ZERO),
			      .index = SLOT_OFF(SLOT_ZERO),
			      .seg = SLOT_OFF(SLOT_ZERO) };

	if (!e->cpu->code64)
		emit_uop(e, op_check)->ext[0] = (uint8_t)how;
	if (how & (X_LOAD | X_STORE) || maskmov)
		ea = emit_address(e, in);
	if (!maskmov && can_be_live(in, how))
		emit_set_ea(emit_one(e, in, op_live, native_get_live(n, in),
				     how), ea);
	emit_set_ea(emit_one(e, in, maskmov ? op_maskmovq : op_run,
			     native_get(n, in), how), ea);
}

int emit_x87(struct emitter *e, const struct insn *in)
{
	switch (in->op) {
	case OP_SIMD:
	case OP_X87:
	case OP_X87_ENV:
		emit_run(e, in);
		return 1;
	case OP_FWAIT:
		emit_uop(e, op_fwait);
		return 1;
	case OP_FXSAVE:
	case OP_FXRSTOR:
		emit_fxsave(e, in);
		return 1;
	default:
		return 0;
	}
}
