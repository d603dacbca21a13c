/* SPDX-License-Identifier: Apache-2.0 */
/* Breakpoints in hardware: what DR0-3 and DR7 say, and who asks. */
#include "runner/engine/soft/debug.h"

#include <string.h>

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/mmu.h"

void debug_update(struct cpu *cpu)
{
	static const uint8_t length[4] = { 1, 2, 8, 4 };
	uint8_t before = cpu->armed;

	cpu->armed = 0;
	memset(cpu->bp, 0, sizeof(cpu->bp));
	for (unsigned n = 0; n < 4; n++) {
		unsigned rw = cpu->dr7 >> (16 + 4 * n) & 3;
		unsigned len = length[cpu->dr7 >> (18 + 4 * n) & 3];
		uint8_t kind = (uint8_t)(1u << rw);

		/* SDM 3B 18.2.4: without CR4.DE there is no such thing */
		if (!(cpu->dr7 >> (2 * n) & 3) ||
		    (kind == BREAK_IO && !(cpu->cr4 & CR4_DE)))
			continue;
		if (kind == BREAK_EXEC)
			len = 1;
		cpu->bp[n] = (struct breakpoint){
			.addr = cpu->dr[n] & ~(uint64_t)(len - 1),
			.kind = kind, .len = (uint8_t)len,
		};
		cpu->armed |= kind;
	}
	if ((before | cpu->armed) & (BREAK_DATA | BREAK_EXEC))
		mmu_flush(cpu);
}

/* Breakpoints of @kinds that the addresses from @first to @last touch. */
static unsigned find(const struct cpu *cpu, unsigned kinds, uint64_t first,
		     uint64_t last)
{
	unsigned bits = 0;

	for (unsigned n = 0; n < 4; n++) {
		const struct breakpoint *b = &cpu->bp[n];

		if (b->kind & kinds && first <= b->addr + (b->len - 1) &&
		    last >= b->addr)
			bits |= 1u << n;
	}
	return bits;
}

int debug_watches_page(const struct cpu *cpu, uint64_t va)
{
	return find(cpu, BREAK_DATA, va & PAGE_MASK, va | ~PAGE_MASK) != 0;
}

unsigned debug_code(const struct cpu *cpu, uint64_t first, uint64_t last)
{
	return find(cpu, BREAK_EXEC, first, last);
}

void debug_run_alone(struct cpu *cpu, const struct uop *op)
{
	if (!cpu->cur || cpu->cur->key == BLOCK_NONE)
		return;
	cpu->rip = uop_rip(cpu, op);
	cpu->step_once = 1;
	longjmp(cpu->jmp, 1);
}

/* The trap comes after this instruction, which so has to be the last one. */
static void hit(struct cpu *cpu, const struct uop *op, unsigned bits)
{
	if (!bits)
		return;
	debug_run_alone(cpu, op);
	cpu->hits |= (uint8_t)bits;
	cpu_attend(cpu, ATTN_STATE);
}

void debug_access(struct cpu *cpu, const struct uop *op, uint64_t va,
		  unsigned len, int write)
{
	hit(cpu, op, find(cpu, write ? BREAK_DATA : BREAK_RW, va,
			  va + (len - 1)));
}

void debug_port(struct cpu *cpu, const struct uop *op, uint16_t port,
		unsigned len)
{
	hit(cpu, op, find(cpu, BREAK_IO, port, port + (len - 1)));
}
