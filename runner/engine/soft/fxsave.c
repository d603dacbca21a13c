/* SPDX-License-Identifier: Apache-2.0 */
/* FXSAVE, FXRSTOR, and what a state from outside has to be made to hold. */
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/fpu_image.h"
#include "runner/engine/soft/mmu.h"

/* ES and B as FSW and FCW imply: the host would trust what it loads. */
static void settle(uint8_t *fx)
{
	uint16_t fsw = get16(fx + FXI_FSW) & (uint16_t)~FSW_ES_B;

	put16(fx + FXI_FSW, fpu_pending(fx) ? fsw | FSW_ES_B : fsw);
}

/* Outside 64-bit mode XMM8-15 are not in the image (SDM 1 10.5.1). */
static unsigned image_size(const struct cpu *cpu)
{
	return cpu->code64 ? FXI_SIZE : FXI_XMM + 8 * 16;
}

static uint64_t image_ea(struct cpu *cpu, const struct uop *op)
{
	uint64_t va = uop_ea(cpu, op);

	fpu_sync(cpu);
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, op, EXC_NM);
	if (!mmu_canonical(va))
		mmu_load8(cpu, op, va); /* knows which fault */
	if (va & 15)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	return va;
}

/* Without REX.W FIP and FDP have 32 bits, and selectors that are 0. */
static void narrow_pointers(const struct uop *op, uint8_t *fx)
{
	if (op->aux == 8)
		return;
	put32(fx + FXI_FIP + 4, 0);
	put32(fx + FXI_FDP + 4, 0);
}

static void __attribute__((noinline))
fxsave(struct cpu *cpu, const struct uop *op)
{
	uint64_t va = image_ea(cpu, op);
	struct image im;

	memcpy(im.b, cpu->fx, FXI_SIZE);
	narrow_pointers(op, im.b);
	put32(im.b + FXI_MASK, MXCSR_VALID);
	mmu_probe_write(cpu, op, va, sizeof(im.b));
	mmu_write(cpu, op, va, im.b, image_size(cpu));
}

/* FIP and FDP hold linear addresses, of 48 bits here. */
static void make_canonical(uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	put64(p, (uint64_t)((int64_t)(v << 16) >> 16));
}

/* What the registers have no room for reads as zero again. */
static void drop_reserved(uint8_t *fx)
{
	unsigned i;

	make_canonical(fx + FXI_FIP);
	make_canonical(fx + FXI_FDP);
	put16(fx + FXI_FCW, (get16(fx + FXI_FCW) & 0x1f3f) | 0x40);
	fx[FXI_FSW + 3] = 0;
	put16(fx + FXI_FOP, get16(fx + FXI_FOP) & FOP_MASK);
	put32(fx + FXI_MASK, MXCSR_VALID);
	for (i = 0; i < 8; i++)
		memset(fx + FXI_ST + 16 * i + 10, 0, 6);
}

static void __attribute__((noinline))
fxrstor(struct cpu *cpu, const struct uop *op)
{
	uint64_t va = image_ea(cpu, op);
	struct image im;

	mmu_read(cpu, op, va, im.b, sizeof(im.b));
	if (get32(im.b + FXI_MXCSR) & ~MXCSR_VALID)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	narrow_pointers(op, im.b);
	memcpy(cpu->fx, im.b, image_size(cpu));
	fpu_accept(cpu);
}

void fpu_accept(struct cpu *cpu)
{
	drop_reserved(cpu->fx);
	settle(cpu->fx);
	FX_MXCSR(cpu) &= MXCSR_VALID;
}

static const struct uop *op_fxsave(struct cpu *cpu, const struct uop *op)
{
	fxsave(cpu, op);
	NEXT(cpu, op);
}

static const struct uop *op_fxrstor(struct cpu *cpu, const struct uop *op)
{
	fxrstor(cpu, op);
	NEXT(cpu, op);
}

void emit_fxsave(struct emitter *e, const struct insn *in)
{
	struct emit_ea ea = emit_address(e, in);
	struct uop *u = emit_uop(e, in->op == OP_FXSAVE ? op_fxsave :
							  op_fxrstor);

	emit_set_ea(u, ea);
	u->aux = in->rex & 8;
}
