/* SPDX-License-Identifier: Apache-2.0 */
/* Port access: the permission rules (SDM 1 chapter 19), IN and OUT. */
#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"

#define TSS_IOMAP 0x66u /* 16-bit offset of the I/O permission bitmap */

static void check_bitmap(struct cpu *cpu, const struct uop *op, uint16_t port,
			 unsigned size)
{
	uint16_t map, bits;
	uint32_t at;

	if (cpu->tr.unusable || cpu->tr.limit < TSS_IOMAP + 1)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	mmu_sys_read(cpu, op, cpu->tr.base + TSS_IOMAP, &map, 2);
	/* two bytes, since the bits of one access may straddle: SDM 1 19.5.2 */
	at = (uint32_t)map + port / 8;
	if (at + 1 > cpu->tr.limit)
		cpu_raise_err(cpu, op, EXC_GP, 0);
	mmu_sys_read(cpu, op, cpu->tr.base + at, &bits, 2);
	if ((bits >> (port % 8)) & ((1u << size) - 1))
		cpu_raise_err(cpu, op, EXC_GP, 0);
}

void pio_check(struct cpu *cpu, const struct uop *op, uint16_t port,
	       unsigned size)
{
	if (cpu->cpl > (cpu->rflags & RFLAGS_IOPL) >> 12)
		check_bitmap(cpu, op, port, size);
	if (__builtin_expect(cpu->armed & BREAK_IO, 0))
		debug_port(cpu, op, port, size);
}

uint32_t pio_in(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct engine_bus *bus = cpu->vm->bus;
	uint32_t v = 0;

	bus->pio(bus->opaque, port, &v, size, 0);
	return v;
}

void pio_out(struct cpu *cpu, uint16_t port, unsigned size, uint32_t v)
{
	const struct engine_bus *bus = cpu->vm->bus;

	bus->pio(bus->opaque, port, &v, size, 1);
}

static uint16_t port_of(const struct cpu *cpu, const struct uop *op)
{
	return op->aux & SYS_IMM ? (uint8_t)op->imm :
				   R16(cpu, SLOT_OFF(X86_RDX));
}

SYSTEM(pio_op_in)
{
	unsigned size = op->aux & SYS_SIZE;
	uint16_t port = port_of(cpu, op);
	uint32_t v;

	pio_check(cpu, op, port, size);
	v = pio_in(cpu, port, size);
	if (size == 1)
		R8(cpu, SLOT_OFF(X86_RAX)) = (uint8_t)v;
	else if (size == 2)
		R16(cpu, SLOT_OFF(X86_RAX)) = (uint16_t)v;
	else
		cpu->r[X86_RAX] = v;
	return op + 1;
}

SYSTEM(pio_op_out)
{
	unsigned size = op->aux & SYS_SIZE;
	uint16_t port = port_of(cpu, op);

	pio_check(cpu, op, port, size);
	pio_out(cpu, port, size, R32(cpu, SLOT_OFF(X86_RAX)));
	return op + 1;
}
