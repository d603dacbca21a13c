/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control and debug registers, and the instructions about caches and rest
 * (SDM 3A 2.5, 3B 18.2).
 *
 * Real mode and paging without long mode are not offered: the first never
 * happens after the 64-bit boot protocol, the second only in 32-bit kernels.
 */
#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/lapic.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | \
		   CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

static _Noreturn void gp(struct cpu *cpu, const struct uop *op)
{
	cpu_raise_err(cpu, op, EXC_GP, 0);
}

/* --- control registers -------------------------------------------------- */

/* CR0.PG rises: which paging it is to be (SDM 3A 4.1.1). */
static void paging_on(struct cpu *cpu, const struct uop *op)
{
	if (!(cpu->efer & EFER_LME))
		cpu_fail(cpu, op, "paging outside long mode");
	if (!(cpu->cr4 & CR4_PAE) || cpu->seg[X86_CS].l)
		gp(cpu, op);
	cpu->efer |= EFER_LMA;
}

static void set_cr0(struct cpu *cpu, const struct uop *op, uint64_t v)
{
	uint64_t flips;

	if (v >> 32 || (v & CR0_PG && !(v & CR0_PE)) ||
	    (v & CR0_NW && !(v & CR0_CD)))
		gp(cpu, op);
	v = (v & CR0_KNOWN) | CR0_ET;
	flips = v ^ cpu->cr0;
	if (!(flips & CR0_PG) && !(v & CR0_PE))
		cpu_fail(cpu, op, "real mode");
	if (flips & v & CR0_PG)
		paging_on(cpu, op);
	if (flips & cpu->cr0 & CR0_PG) {
		/* only from compatibility mode: SDM 3A 10.8.5.4 */
		if (cpu->code64)
			gp(cpu, op);
		cpu->efer &= ~(uint64_t)EFER_LMA;
	}
	cpu->cr0 = v;
	if (flips & (CR0_PG | CR0_WP))
		mmu_flush(cpu);
	cpu_update_mode(cpu);
}

static void set_cr3(struct cpu *cpu, const struct uop *op, uint64_t v)
{
	if (!(cpu->efer & EFER_LMA))
		v = (uint32_t)v;
	else if (v & (cpu->vm->pa_reserved | 0xfffull << 52))
		gp(cpu, op);
	cpu->cr3 = v;
	mmu_flush_local(cpu);
}

/* A CR4 bit exists when CPUID has its feature (SDM 3A 2.5). */
static uint64_t cr4_allowed(const struct soft *s)
{
	static const struct {
		uint32_t bit, leaf;
		char reg;
		uint8_t feature;
	} bits[] = {
		{ CR4_TSD, 1, 'd', 4 },	     { CR4_DE, 1, 'd', 2 },
		{ CR4_PSE, 1, 'd', 3 },	     { CR4_PAE, 1, 'd', 6 },
		{ CR4_MCE, 1, 'd', 7 },	     { CR4_PGE, 1, 'd', 13 },
		{ CR4_OSFXSR, 1, 'd', 24 },  { CR4_OSXMMEXCPT, 1, 'd', 25 },
		{ CR4_UMIP, 7, 'c', 2 },     { CR4_FSGSBASE, 7, 'b', 0 },
		{ CR4_SMEP, 7, 'b', 7 },     { CR4_SMAP, 7, 'b', 20 },
	};
	uint64_t allowed = CR4_PCE;

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (soft_has(s, bits[i].leaf, bits[i].reg, bits[i].feature))
			allowed |= bits[i].bit;
	return allowed;
}

static void set_cr4(struct cpu *cpu, const struct uop *op, uint64_t v)
{
	uint64_t flips = v ^ cpu->cr4;

	if (v & ~cr4_allowed(cpu->vm) ||
	    (!(v & CR4_PAE) && cpu->efer & EFER_LMA))
		gp(cpu, op);
	cpu->cr4 = v;
	if (flips & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP))
		mmu_flush(cpu);
	if (flips & CR4_DE)
		debug_update(cpu);
	cpu_update_mode(cpu);
}

/* The emitter lets only CR0, 2, 3, 4 and 8 through. */
SYSTEM(ctrl_from_cr)
{
	uint64_t v;

	need_cpl0(cpu, op);
	switch (op->imm) {
	case 0:
		v = cpu->cr0;
		break;
	case 2:
		v = cpu->cr2;
		break;
	case 3:
		v = cpu->cr3;
		break;
	case 4:
		v = cpu->cr4;
		break;
	default:
		v = lapic_cr8(cpu->lapic);
	}
	R64(cpu, op->r0) = cpu->code64 ? v : (uint32_t)v;
	return op + 1;
}

SYSTEM(ctrl_to_cr)
{
	uint64_t v = cpu->code64 ? R64(cpu, op->r0) : R32(cpu, op->r0);

	need_cpl0(cpu, op);
	switch (op->imm) {
	case 0:
		set_cr0(cpu, op, v);
		break;
	case 2:
		cpu->cr2 = v;
		break;
	case 3:
		set_cr3(cpu, op, v);
		break;
	case 4:
		set_cr4(cpu, op, v);
		break;
	default:
		if (v > 15)
			gp(cpu, op);
		lapic_set_cr8(cpu->lapic, v);
	}
	return op + 1;
}

SYSTEM(ctrl_clts)
{
	need_cpl0(cpu, op);
	cpu->cr0 &= ~(uint64_t)CR0_TS;
	return op + 1;
}

/* MP, EM, TS; PE can be set but not cleared (SDM 2A LMSW). */
SYSTEM(ctrl_lmsw)
{
	uint64_t v;

	need_cpl0(cpu, op);
	v = sys_load(cpu, op, op->r0, 2) & 0xf;
	set_cr0(cpu, op, (cpu->cr0 & ~0xeull) | v);
	return op + 1;
}

SYSTEM(ctrl_smsw)
{
	unsigned size = op->aux & SYS_MEM ? 2 : op->aux & SYS_SIZE;

	sys_store(cpu, op, op->r0, size, cpu->cr0);
	return op + 1;
}

/* --- debug registers ----------------------------------------------------- */

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
static unsigned dr_number(struct cpu *cpu, const struct uop *op)
{
	unsigned n = (unsigned)op->imm;

	if (n > 7 || ((n == 4 || n == 5) && cpu->cr4 & CR4_DE))
		cpu_raise(cpu, op, EXC_UD);
	need_cpl0(cpu, op);
	if (cpu->dr7 & DR7_GD)
		cpu_raise_err(cpu, op, EXC_DB, DR6_BD);
	return n == 4 || n == 5 ? n + 2 : n;
}

SYSTEM(ctrl_from_dr)
{
	unsigned n = dr_number(cpu, op);

	R64(cpu, op->r0) = n == 6 ? cpu->dr6 : n == 7 ? cpu->dr7 : cpu->dr[n];
	return op + 1;
}

SYSTEM(ctrl_to_dr)
{
	unsigned n = dr_number(cpu, op);
	uint64_t v = cpu->code64 ? R64(cpu, op->r0) : R32(cpu, op->r0);

	if (n >= 6 && v >> 32)
		gp(cpu, op);
	if (n == 6)
		cpu->dr6 = (v & 0xe00f) | DR6_FIXED;
	else if (n == 7)
		cpu->dr7 = (v & 0xffff23ff) | DR7_FIXED;
	else
		cpu->dr[n] = v;
	debug_update(cpu);
	return op + 1;
}

/* --- caches and rest ------------------------------------------------------ */

SYSTEM(ctrl_hlt)
{
	need_cpl0(cpu, op);
	cpu->halted = 1;
	LEAVE(cpu, uop_next_rip(cpu, op));
}

SYSTEM(ctrl_invlpg)
{
	uint64_t va = uop_ea(cpu, op);

	need_cpl0(cpu, op);
	/* SDM 2A INVLPG: a non-canonical address does nothing */
	if (mmu_canonical(va))
		mmu_flush_page(cpu, va);
	return op + 1;
}

SYSTEM(ctrl_wbinvd)
{
	need_cpl0(cpu, op);
	return op + 1;
}

/* Checked like a load of one byte (SDM 2A CLFLUSH). */
SYSTEM(ctrl_clflush)
{
	mmu_load8(cpu, op, uop_ea(cpu, op));
	return op + 1;
}
