/* SPDX-License-Identifier: Apache-2.0 */
/* Register-or-memory operands and stack accesses of system instructions. */
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

uint64_t sys_load(struct cpu *cpu, const struct uop *op, uint8_t reg,
		  unsigned size)
{
	if (op->aux & SYS_MEM)
		return mmu_load(cpu, op, uop_ea(cpu, op), size);
	switch (size) {
	case 1:
		return R8(cpu, reg);
	case 2:
		return R16(cpu, reg);
	case 4:
		return R32(cpu, reg);
	default:
		return R64(cpu, reg);
	}
}

void sys_store(struct cpu *cpu, const struct uop *op, uint8_t reg,
	       unsigned size, uint64_t v)
{
	if (op->aux & SYS_MEM)
		mmu_store(cpu, op, uop_ea(cpu, op), v, size);
	else if (size == 2)
		R16(cpu, reg) = (uint16_t)v;
	else
		R64(cpu, reg) = size == 4 ? (uint32_t)v : v;
}

/* Bits of RSP that the mode uses: all, ESP or SP. */
static uint64_t stack_mask(const struct cpu *cpu)
{
	if (cpu->code64)
		return ~0ull;
	return cpu->seg[X86_SS].db ? 0xffffffffu : 0xffffu;
}

/* A 16-bit one leaves the upper half of ESP alone, which is how a kernel's
 * shows after IRET; but above that nothing is left of it. */
void stack_set_sp(struct cpu *cpu, uint64_t sp)
{
	uint64_t mask = stack_mask(cpu);

	if (mask == 0xffff)
		cpu->r[X86_RSP] = (cpu->r[X86_RSP] & 0xffff0000) |
				  (sp & 0xffff);
	else
		cpu->r[X86_RSP] = sp & mask;
}

uint64_t stack_va(const struct cpu *cpu, uint64_t sp)
{
	if (cpu->code64)
		return sp;
	return (uint32_t)((sp & stack_mask(cpu)) + cpu->r[SLOT_SEG + X86_SS]);
}

/*
 * A bad stack address raises #SS, not #GP (SDM 1 3.3.7.1); the MMU cannot
 * tell, because the operand here is not the uop's own.
 */
static uint64_t checked_va(struct cpu *cpu, const struct uop *op, uint64_t sp,
			   unsigned size, unsigned access)
{
	uint64_t va = stack_va(cpu, sp);

	if (!cpu->code64)
		seg_check(cpu, op, X86_SS, (uint32_t)(sp & stack_mask(cpu)),
			  size, access);
	else if (!mmu_canonical(va) || !mmu_canonical(va + size - 1))
		cpu_raise_err(cpu, op, EXC_SS, 0);
	return va;
}

void stack_probe(struct cpu *cpu, const struct uop *op, uint64_t sp,
		 unsigned size)
{
	mmu_probe_write(cpu, op, checked_va(cpu, op, sp, size, ROOM_WRITE),
			size);
}

void stack_aligned(struct cpu *cpu, const struct uop *op, uint64_t sp,
		   unsigned size)
{
	mmu_check_aligned(cpu, op, checked_va(cpu, op, sp, size, ROOM_WRITE),
			  size);
}

void stack_push(struct cpu *cpu, const struct uop *op, uint64_t *sp,
		unsigned size, uint64_t v)
{
	uint64_t to = *sp - size;

	mmu_store(cpu, op, checked_va(cpu, op, to, size, ROOM_WRITE), v,
		  size);
	*sp = to;
}

uint64_t stack_pop(struct cpu *cpu, const struct uop *op, uint64_t *sp,
		   unsigned size)
{
	uint64_t v = mmu_load(cpu, op, checked_va(cpu, op, *sp, size,
						  ROOM_READ), size);

	*sp += size;
	return v;
}

void stack_push_one(struct cpu *cpu, const struct uop *op, unsigned size,
		    uint64_t v)
{
	uint64_t sp = stack_sp(cpu);

	stack_push(cpu, op, &sp, size, v);
	stack_set_sp(cpu, sp);
}

uint64_t stack_top(struct cpu *cpu, const struct uop *op, unsigned size)
{
	uint64_t sp = stack_sp(cpu);

	return stack_pop(cpu, op, &sp, size);
}
