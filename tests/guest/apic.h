/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apic: local APIC and IOAPIC registers, for payloads.
 *
 * The local APIC in either mode: lapic_x2apic() switches for good.
 */
#ifndef MAYFLY_TESTS_GUEST_APIC_H
#define MAYFLY_TESTS_GUEST_APIC_H

#include "tests/guest/lib.h"

/* Offsets of the memory-mapped registers; x2APIC MSRs are 0x800 + offset/16.
 * SDM 3A table 11-1 and 11-6. */
#define APIC_ID	      0x20
#define APIC_VERSION  0x30
#define APIC_TPR      0x80
#define APIC_PPR      0xa0
#define APIC_EOI      0xb0
#define APIC_LDR      0xd0
#define APIC_SVR      0xf0
#define APIC_ISR      0x100
#define APIC_TMR      0x180
#define APIC_IRR      0x200
#define APIC_ESR      0x280
#define APIC_ICR      0x300
#define APIC_ICR2     0x310
#define APIC_TIMER    0x320
#define APIC_LINT0    0x350
#define APIC_ERROR    0x370
#define APIC_COUNT    0x380
#define APIC_CURRENT  0x390
#define APIC_DIVIDE   0x3e0
#define APIC_SELF_IPI 0x3f0

#define APIC_BASE     0xfee00000ull
#define APIC_ENABLE   0x100
#define LVT_MASKED    0x10000
#define LVT_PERIODIC  0x20000
#define LVT_DEADLINE  0x40000
#define ICR_SELF      0x40000
#define ICR_NMI	      0x400
#define ICR_FIXED     0x000

static int apic_is_x2;

static inline uint32_t lapic_read(unsigned reg)
{
	if (apic_is_x2)
		return (uint32_t)rdmsr(0x800 + reg / 16);
	return *(volatile uint32_t *)(APIC_BASE + reg);
}

static inline void lapic_write(unsigned reg, uint32_t v)
{
	if (apic_is_x2)
		wrmsr(0x800 + reg / 16, v);
	else
		*(volatile uint32_t *)(APIC_BASE + reg) = v;
}

static inline void lapic_eoi(void)
{
	lapic_write(APIC_EOI, 0);
}

/* One of 256 vectors in ISR, TMR or IRR. */
static inline int lapic_bit(unsigned reg, unsigned vector)
{
	return lapic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}

static inline void lapic_enable(void)
{
	lapic_write(APIC_SVR, APIC_ENABLE | 0xff);
}

static inline void lapic_x2apic(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0xc00);
	apic_is_x2 = 1;
}

static inline void self_ipi(unsigned vector)
{
	lapic_write(APIC_ICR, ICR_SELF | ICR_FIXED | vector);
}

/* Long enough for whatever is on its way, on any of our CPUs. */
static inline void wait_ticks(uint64_t tsc)
{
	for (uint64_t start = rdtsc(); rdtsc() - start < tsc;)
		__asm__ volatile("pause");
}
#define SOME_MS 20000000ull

/* --- IOAPIC ------------------------------------------------------------ */

#define IOAPIC_BASE	0xfec00000ull
#define IOAPIC_ID	0
#define IOAPIC_VERSION	1
#define IOAPIC_REDIR(n) (0x10 + 2 * (n))

#define REDIR_LEVEL	 0x8000u
#define REDIR_MASKED	 0x10000u
#define REDIR_LOGICAL	 0x800u
#define REDIR_LOWEST	 0x100u
#define REDIR_REMOTE_IRR 0x4000u

static inline uint32_t ioapic_read(unsigned reg)
{
	*(volatile uint32_t *)IOAPIC_BASE = reg;
	return *(volatile uint32_t *)(IOAPIC_BASE + 0x10);
}

static inline void ioapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC_BASE = reg;
	*(volatile uint32_t *)(IOAPIC_BASE + 0x10) = v;
}

/* The half with the mask bit last when opening, first when closing. */
static inline void ioapic_route(unsigned gsi, uint32_t low, uint32_t dest)
{
	ioapic_write(IOAPIC_REDIR(gsi), REDIR_MASKED);
	ioapic_write(IOAPIC_REDIR(gsi) + 1, dest << 24);
	ioapic_write(IOAPIC_REDIR(gsi), low);
}

#endif
