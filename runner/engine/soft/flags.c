/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that move RFLAGS, and the rules of who may change what. */
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

void cpu_set_rflags(struct cpu *cpu, uint64_t v, uint64_t mask)
{
	uint64_t old = cpu_rflags(cpu);
	uint64_t new = (old & ~mask) | (v & mask);

	cpu_set_arith(cpu, new);
	cpu->rflags = (new & ~(uint64_t)(RFLAGS_ARITH | RFLAGS_RF)) | 2;
	if (new & ~old & (RFLAGS_IF | RFLAGS_TF))
		cpu_attend(cpu, ATTN_STATE);
	if ((new ^ old) & RFLAGS_AC)
		cpu_update_mode(cpu);
}

static unsigned iopl(const struct cpu *cpu)
{
	return (cpu->rflags & RFLAGS_IOPL) >> 12;
}

/* Neither VME nor PVI is offered: CPL above IOPL is #GP. */
static void need_iopl(struct cpu *cpu, const struct uop *op)
{
	if (cpu->cpl > iopl(cpu))
		cpu_raise_err(cpu, op, EXC_GP, 0);
}

SYSTEM(flags_cli)
{
	need_iopl(cpu, op);
	cpu->rflags &= ~(uint64_t)RFLAGS_IF;
	return op + 1;
}

/* SDM 2B STI: interrupts wait for the end of the next instruction, but only
 * when IF was clear. */
SYSTEM(flags_sti)
{
	need_iopl(cpu, op);
	if (cpu->rflags & RFLAGS_IF)
		return op + 1;
	cpu->shadow = SHADOW_STI;
	cpu_set_rflags(cpu, RFLAGS_IF, RFLAGS_IF);
	LEAVE(cpu, uop_next_rip(cpu, op));
}

SYSTEM(flags_pushf)
{
	uint64_t sp = stack_sp(cpu);

	stack_push(cpu, op, &sp, op->aux & SYS_SIZE, cpu_rflags(cpu));
	stack_set_sp(cpu, sp);
	return op + 1;
}

SYSTEM(flags_popf)
{
	unsigned size = op->aux & SYS_SIZE;
	uint64_t mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT |
			RFLAGS_AC | RFLAGS_ID;
	uint64_t sp = stack_sp(cpu);
	uint64_t v = stack_pop(cpu, op, &sp, size);

	if (cpu->cpl <= iopl(cpu))
		mask |= RFLAGS_IF;
	if (cpu->cpl == 0)
		mask |= RFLAGS_IOPL;
	stack_set_sp(cpu, sp);
	/* where that matters to cpu_loop(), the block's end sees attention */
	cpu_set_rflags(cpu, v, size == 2 ? mask & 0xffff : mask);
	return op + 1;
}

static void set_ac(struct cpu *cpu, const struct uop *op, uint64_t ac)
{
	if (cpu->cpl != 0)
		cpu_raise(cpu, op, EXC_UD);
	cpu->rflags = (cpu->rflags & ~(uint64_t)RFLAGS_AC) | ac;
	cpu_update_mode(cpu);
}

SYSTEM(flags_stac)
{
	set_ac(cpu, op, RFLAGS_AC);
	return op + 1;
}

SYSTEM(flags_clac)
{
	set_ac(cpu, op, 0);
	return op + 1;
}
