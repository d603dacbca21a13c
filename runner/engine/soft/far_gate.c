/* SPDX-License-Identifier: Apache-2.0 */
/* Call gates of long mode (SDM 3A 5.8.3.1, 5.8.4; 2A CALL, JMP). */
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

#define TYPE_CALL_GATE 12u

/* 64-bit TSS, SDM 3A figure 8-11. */
#define TSS_RSP0 4u

struct gate {
	uint64_t rip;
	uint16_t cs;
};

static _Noreturn void gp(struct cpu *cpu, const struct uop *op, uint32_t err)
{
	cpu_raise_err(cpu, op, EXC_GP, err);
}

int far_is_gate(struct cpu *cpu, const struct uop *op, uint16_t sel,
		struct desc *d)
{
	return cpu->efer & EFER_LMA && sel & ~SEL_RPL &&
	       desc_read(cpu, op, sel, d) == 0 && !d->seg.s &&
	       d->seg.type == TYPE_CALL_GATE;
}

static struct gate read_gate(struct cpu *cpu, const struct uop *op,
			     const struct desc *d)
{
	uint16_t sel = d->seg.sel;
	uint32_t limit = sel & SEL_TI ? cpu->ldtr.limit : cpu->gdtr.limit;
	uint32_t high[2];

	if (d->seg.dpl < cpu->cpl || (sel & SEL_RPL) > d->seg.dpl ||
	    (sel & 0xfff8u) + 15u > limit)
		gp(cpu, op, SEL_ERR(sel));
	mmu_sys_read(cpu, op, d->addr + 8, high, sizeof(high));
	if (high[1] & 0x1f00) /* the upper half's type */
		gp(cpu, op, SEL_ERR(sel));
	if (!d->seg.p)
		cpu_raise_err(cpu, op, EXC_NP, SEL_ERR(sel));
	return (struct gate){
		.rip = (d->raw & 0xffff) | (d->raw >> 32 & 0xffff0000) |
		       (uint64_t)high[0] << 32,
		.cs = (uint16_t)(d->raw >> 16),
	};
}

/* Only to 64-bit code; a call may raise the privilege, a jump may not. */
static void read_gate_cs(struct cpu *cpu, const struct uop *op,
			 const struct gate *g, int call, struct desc *cs)
{
	uint32_t err = SEL_ERR(g->cs);

	if (!(g->cs & ~SEL_RPL))
		gp(cpu, op, 0);
	if (desc_read(cpu, op, g->cs, cs) < 0 || !desc_is_code(cs) ||
	    cs->seg.dpl > cpu->cpl || !cs->seg.l || cs->seg.db ||
	    (!call && !(cs->seg.type & SEG_CONFORMING) &&
	     cs->seg.dpl != cpu->cpl))
		gp(cpu, op, err);
	if (!cs->seg.p)
		cpu_raise_err(cpu, op, EXC_NP, err);
	if (!mmu_canonical(g->rip))
		gp(cpu, op, 0);
}

static uint64_t inner_stack(struct cpu *cpu, const struct uop *op,
			    unsigned cpl)
{
	uint32_t at = TSS_RSP0 + cpl * 8;
	uint64_t sp;

	if (at + 7 > cpu->tr.limit)
		cpu_raise_err(cpu, op, EXC_TS, SEL_ERR(cpu->tr.sel));
	mmu_sys_read(cpu, op, cpu->tr.base + at, &sp, 8);
	return sp;
}

/* What a return needs, in one store; the stack pointer after it. */
static uint64_t push_return(struct cpu *cpu, const struct uop *op,
			    unsigned cpl)
{
	uint64_t frame[4] = {
		uop_next_rip(cpu, op), cpu->seg[X86_CS].sel,
		cpu->r[X86_RSP], cpu->seg[X86_SS].sel,
	};
	unsigned len = cpl < cpu->cpl ? sizeof(frame) : sizeof(frame) / 2;
	uint64_t sp = cpl < cpu->cpl ? inner_stack(cpu, op, cpl) :
				       cpu->r[X86_RSP];

	sp -= len;
	if (!mmu_canonical(sp) || !mmu_canonical(sp + len - 1))
		cpu_raise_err(cpu, op, EXC_SS, 0);
	if (cpl == 3)
		mmu_write(cpu, op, sp, frame, len);
	else
		mmu_sys_write(cpu, op, sp, frame, len);
	return sp;
}

uint64_t far_enter_gate(struct cpu *cpu, const struct uop *op,
			const struct desc *d, int call)
{
	struct gate g = read_gate(cpu, op, d);
	unsigned cpl = cpu->cpl;
	struct desc cs;

	read_gate_cs(cpu, op, &g, call, &cs);
	if (call && !(cs.seg.type & SEG_CONFORMING))
		cpl = cs.seg.dpl;
	desc_touch(cpu, op, &cs);
	if (call)
		cpu->r[X86_RSP] = push_return(cpu, op, cpl);

	/* nothing faults from here on */
	cs.seg.sel = (uint16_t)((g.cs & ~SEL_RPL) | cpl);
	seg_set(cpu, X86_CS, &cs.seg);
	if (cpl < cpu->cpl)
		seg_set_null(cpu, X86_SS, cpl);
	cpu->cpl = (uint8_t)cpl;
	cpu_update_mode(cpu);
	return g.rip;
}
