/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers (SDM 4 table 2-2), time stamp counter, CPUID.
 *
 * One table. What is not in it does not exist, and raises #GP(0), which Linux
 * expects of every register that CPUID does not promise.
 */
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/engine/soft/lapic.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"
#include "runner/x86/cpuid.h"

#define MSR_TSC		     0x10
#define MSR_APIC_BASE	     0x1b
#define MSR_TSC_ADJUST	     0x3b
#define MSR_SPEC_CTRL	     0x48
#define MSR_PRED_CMD	     0x49
#define MSR_BIOS_SIGN_ID     0x8b
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_SYSENTER_CS	     0x174
#define MSR_SYSENTER_ESP     0x175
#define MSR_SYSENTER_EIP     0x176
#define MSR_MISC_ENABLE	     0x1a0
#define MSR_PAT		     0x277
#define MSR_TSC_DEADLINE     0x6e0
#define MSR_X2APIC_FIRST     0x800
#define MSR_X2APIC_LAST	     0x8ff
#define MSR_EFER	     0xc0000080
#define MSR_STAR	     0xc0000081
#define MSR_LSTAR	     0xc0000082
#define MSR_CSTAR	     0xc0000083
#define MSR_SFMASK	     0xc0000084
#define MSR_FS_BASE	     0xc0000100
#define MSR_GS_BASE	     0xc0000101
#define MSR_KERNEL_GS_BASE   0xc0000102
#define MSR_TSC_AUX	     0xc0000103

/* The microcode revision that Linux reads in 0x8b: none loaded is refused by
 * some errata checks, so a plain number above all of them. */
#define UCODE_REVISION (0xffull << 32)

/* --- time ---------------------------------------------------------------- */

uint64_t cpu_tsc(const struct cpu *cpu)
{
	return io_now_ns() + cpu->tsc_offset;
}

/* SDM 3B 18.17.3: writing either of the TSC and TSC_ADJUST moves both. */
static void move_tsc(struct cpu *cpu, uint64_t delta)
{
	cpu->tsc_offset += delta;
	cpu->tsc_adjust += delta;
	cpu_attend(cpu, ATTN_IRQ); /* the deadline is elsewhere now */
}

/* --- registers with a rule ------------------------------------------------ */

struct msr {
	uint32_t first, last;
	uint16_t field;	 /* offset in struct cpu, or 0 */
	uint8_t check;	 /* of a value written to .field */
	uint64_t fixed;	 /* value when neither field nor get */
	int (*get)(struct cpu *cpu, uint32_t msr, uint64_t *v);
	int (*set)(struct cpu *cpu, uint32_t msr, uint64_t v);
};

enum { ANY, CANONICAL, LOW32, PAT_TYPES };

static int get_tsc(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
	(void)msr;
	*v = cpu_tsc(cpu);
	return 0;
}

static int set_tsc(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	(void)msr;
	move_tsc(cpu, v - cpu_tsc(cpu));
	return 0;
}

static int set_tsc_adjust(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	(void)msr;
	move_tsc(cpu, v - cpu->tsc_adjust);
	return 0;
}

static int get_lapic(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
	return lapic_msr(cpu->lapic, msr, v, 0);
}

static int set_lapic(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	return lapic_msr(cpu->lapic, msr, &v, 1);
}

static int get_base(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
	*v = cpu->seg[X86_FS + (msr - MSR_FS_BASE)].base;
	return 0;
}

static int set_base(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	unsigned n = X86_FS + (msr - MSR_FS_BASE);

	if (!mmu_canonical(v))
		return -1;
	cpu->seg[n].base = v;
	cpu->r[SLOT_SEG + n] = v;
	return 0;
}

static int set_efer(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

	(void)msr;
	if (v & ~allowed ||
	    (cpu->cr0 & CR0_PG && (v ^ cpu->efer) & EFER_LME))
		return -1;
	/* LMA is the processor's own: SDM 3A 2.2.1 */
	v = (v & ~(uint64_t)EFER_LMA) | (cpu->efer & EFER_LMA);
	if ((v ^ cpu->efer) & EFER_NXE)
		mmu_flush(cpu);
	cpu->efer = v;
	return 0;
}

static int get_zero(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
	(void)cpu, (void)msr;
	*v = 0;
	return 0;
}

static int set_nothing(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	(void)cpu, (void)msr, (void)v;
	return 0;
}

/* IBRS and its like; IBPB: x86/cpuid.h says why they do nothing. */
static int set_spec(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	uint64_t known = msr == MSR_SPEC_CTRL ? CPUID_SPEC_CTRL_BITS : 1;

	(void)cpu;
	return v & ~known ? -1 : 0;
}

#define FIELD(msr, name, rule) \
	{ .first = (msr), .last = (msr), \
	  .field = offsetof(struct cpu, name), .check = (rule) }
#define CALLS(from, to, getter, setter) \
	{ .first = (from), .last = (to), .get = (getter), .set = (setter) }

/* The ones that a running Linux uses all the time come first. */
static const struct msr msrs[] = {
	CALLS(MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, get_lapic, set_lapic),
	CALLS(MSR_X2APIC_FIRST, MSR_X2APIC_LAST, get_lapic, set_lapic),
	CALLS(MSR_FS_BASE, MSR_GS_BASE, get_base, set_base),
	FIELD(MSR_KERNEL_GS_BASE, kernel_gs_base, CANONICAL),
	{ MSR_SPEC_CTRL, MSR_SPEC_CTRL, .get = get_zero, .set = set_spec },
	{ MSR_PRED_CMD, MSR_PRED_CMD, .set = set_spec },
	CALLS(MSR_TSC, MSR_TSC, get_tsc, set_tsc),
	CALLS(MSR_APIC_BASE, MSR_APIC_BASE, get_lapic, set_lapic),
	{ MSR_TSC_ADJUST, MSR_TSC_ADJUST, .set = set_tsc_adjust,
	  .field = offsetof(struct cpu, tsc_adjust) },
	{ MSR_EFER, MSR_EFER, .set = set_efer,
	  .field = offsetof(struct cpu, efer) },
	FIELD(MSR_STAR, star, ANY),
	FIELD(MSR_LSTAR, lstar, CANONICAL),
	FIELD(MSR_CSTAR, cstar, CANONICAL),
	FIELD(MSR_SFMASK, sfmask, LOW32),
	FIELD(MSR_TSC_AUX, tsc_aux, LOW32),
	FIELD(MSR_SYSENTER_CS, sysenter_cs, ANY),
	FIELD(MSR_SYSENTER_ESP, sysenter_esp, CANONICAL),
	FIELD(MSR_SYSENTER_EIP, sysenter_eip, CANONICAL),
	FIELD(MSR_PAT, pat, PAT_TYPES),
	FIELD(MSR_MISC_ENABLE, misc_enable, ANY),
	{ MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, .fixed = UCODE_REVISION,
	  .set = set_nothing },
	{ MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES,
	  .fixed = CPUID_ARCH_CAPABILITIES },
};

static const struct msr *find(uint32_t msr)
{
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		if (msr >= msrs[i].first && msr <= msrs[i].last)
			return &msrs[i];
	return NULL;
}

/* SDM 3A 12.12.2: UC, WC, WT, WP, WB, UC-; 2, 3 and all above are reserved. */
static int pat_ok(uint64_t v)
{
	for (; v; v >>= 8)
		if ((v & 0xff) > 7 || (v & 0xff) == 2 || (v & 0xff) == 3)
			return 0;
	return 1;
}

static int value_ok(uint8_t check, uint64_t v)
{
	switch (check) {
	case CANONICAL:
		return mmu_canonical(v);
	case LOW32:
		return !(v >> 32);
	case PAT_TYPES:
		return pat_ok(v);
	default:
		return 1;
	}
}

int msr_read(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
	const struct msr *m = find(msr);

	if (!m)
		return -1;
	if (m->get)
		return m->get(cpu, msr, v);
	if (m->field)
		*v = *(const uint64_t *)((const char *)cpu + m->field);
	else if (m->fixed)
		*v = m->fixed;
	else
		return -1;
	return 0;
}

int msr_write(struct cpu *cpu, uint32_t msr, uint64_t v)
{
	const struct msr *m = find(msr);

	if (!m)
		return -1;
	if (m->set)
		return m->set(cpu, msr, v);
	if (!m->field || !value_ok(m->check, v))
		return -1;
	*(uint64_t *)((char *)cpu + m->field) = v;
	return 0;
}

/* --- instructions ---------------------------------------------------------- */

static void set_edx_eax(struct cpu *cpu, uint64_t v)
{
	cpu->r[X86_RAX] = (uint32_t)v;
	cpu->r[X86_RDX] = v >> 32;
}

SYSTEM(msr_rdmsr)
{
	uint32_t msr = R32(cpu, SLOT_OFF(X86_RCX));
	uint64_t v = 0;

	need_cpl0(cpu, op);
	if (msr_read(cpu, msr, &v) < 0) {
		log_limited("soft: rdmsr %#x: no such register", msr);
		cpu_raise_err(cpu, op, EXC_GP, 0);
	}
	set_edx_eax(cpu, v);
	return op + 1;
}

SYSTEM(msr_wrmsr)
{
	uint32_t msr = R32(cpu, SLOT_OFF(X86_RCX));
	uint64_t v = R32(cpu, SLOT_OFF(X86_RAX)) | cpu->r[X86_RDX] << 32;

	need_cpl0(cpu, op);
	if (msr_write(cpu, msr, v) < 0) {
		log_limited("soft: wrmsr %#x: refused", msr);
		cpu_raise_err(cpu, op, EXC_GP, 0);
	}
	return op + 1;
}

static void need_tsc(struct cpu *cpu, const struct uop *op)
{
	if (cpu->cr4 & CR4_TSD && cpu->cpl != 0)
		cpu_raise_err(cpu, op, EXC_GP, 0);
}

SYSTEM(msr_rdtsc)
{
	need_tsc(cpu, op);
	set_edx_eax(cpu, cpu_tsc(cpu));
	return op + 1;
}

SYSTEM(msr_rdtscp)
{
	need_tsc(cpu, op);
	set_edx_eax(cpu, cpu_tsc(cpu));
	cpu->r[X86_RCX] = (uint32_t)cpu->tsc_aux;
	return op + 1;
}

/* No performance counters: every index is a bad one. */
SYSTEM(msr_rdpmc)
{
	cpu_raise_err(cpu, op, EXC_GP, 0);
}

SYSTEM(msr_cpuid)
{
	struct cpuid_leaf l;

	soft_cpuid(cpu->vm, R32(cpu, SLOT_OFF(X86_RAX)),
		   R32(cpu, SLOT_OFF(X86_RCX)), &l);
	cpu->r[X86_RAX] = l.eax;
	cpu->r[X86_RBX] = l.ebx;
	cpu->r[X86_RCX] = l.ecx;
	cpu->r[X86_RDX] = l.edx;
	return op + 1;
}
