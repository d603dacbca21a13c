/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC: timer, priorities, IPIs, x2APIC. SDM 3A chapter 11. */
#include "tests/guest/apic.h"

#define TIMER 0x40

static volatile uint64_t hits, order, isr_seen, isr_after;

static void on_timer(struct frame *f)
{
	hits++;
	isr_seen = (uint64_t)lapic_bit(APIC_ISR, (unsigned)f->vector);
	lapic_eoi();
	isr_after = (uint64_t)lapic_bit(APIC_ISR, (unsigned)f->vector);
}

static void on_ipi(struct frame *f)
{
	hits++;
	order = order << 8 | f->vector;
	lapic_eoi();
}

/* Interrupts on until `n` have come, or a long time has passed. */
static void await(uint64_t n)
{
	uint64_t start = rdtsc();

	sti();
	while (hits < n && rdtsc() - start < 50 * SOME_MS)
		__asm__ volatile("pause");
	cli();
}

static void registers(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	check_eq(base & ~0xfffull & 0xffffff000, APIC_BASE,
		 "APIC_BASE: the address");
	check_eq(base & 0xf00, 0x900, "enabled, xAPIC, bootstrap processor");
	check_eq(lapic_read(APIC_ID), 0, "APIC id 0");
	check((lapic_read(APIC_VERSION) & 0xff) >= 0x10 &&
	      (lapic_read(APIC_VERSION) & 0xff) <= 0x15, "version 1xH");
	check_eq(lapic_read(APIC_TIMER) & LVT_MASKED, LVT_MASKED,
		 "the timer is masked after reset");
	lapic_enable();
	check_eq(lapic_read(APIC_SVR) & 0x1ff, 0x1ff, "software enable");
	lapic_write(APIC_LDR, 0x01000000);
	check_eq(lapic_read(APIC_LDR), 0x01000000, "LDR keeps its 8 bits");
	lapic_write(APIC_TIMER, LVT_PERIODIC | LVT_MASKED | TIMER);
	check_eq(lapic_read(APIC_TIMER), LVT_PERIODIC | LVT_MASKED | TIMER,
		 "LVT timer keeps what is written");
}

static void one_shot(void)
{
	irq_handler[TIMER] = on_timer;
	lapic_write(APIC_DIVIDE, 0xb); /* by 1 */
	hits = 0;
	lapic_write(APIC_TIMER, TIMER);
	lapic_write(APIC_COUNT, 100000);
	await(1);
	check_eq(hits, 1, "one-shot: an interrupt");
	if (cpu_is_limited())
		skip("ISR", "this KVM ends an interrupt as it delivers it");
	else
		check_eq(isr_seen, 1, "its bit is in ISR meanwhile");
	check_eq(isr_after, 0, "and out of it after EOI");
	check_eq(lapic_read(APIC_CURRENT), 0, "the count stays at 0");
	sti();
	wait_ticks(SOME_MS);
	cli();
	check_eq(hits, 1, "and none after it");
	lapic_write(APIC_COUNT, 0xffffffff);
	uint32_t a = lapic_read(APIC_CURRENT);
	wait_ticks(100000);
	uint32_t b = lapic_read(APIC_CURRENT);
	check(a > b && b > 0, "the count goes down");
	lapic_write(APIC_COUNT, 0);
	check_eq(lapic_read(APIC_CURRENT), 0, "writing 0 stops it");
}

static void masked(void)
{
	hits = 0;
	lapic_write(APIC_TIMER, LVT_MASKED | TIMER);
	lapic_write(APIC_COUNT, 1000);
	sti();
	wait_ticks(SOME_MS);
	cli();
	check_eq(hits, 0, "masked: none");
	check_eq((uint64_t)lapic_bit(APIC_IRR, TIMER), 0, "nor one pending");
	lapic_write(APIC_TIMER, TIMER);
	lapic_write(APIC_COUNT, 1000);
	wait_ticks(SOME_MS);
	check_eq((uint64_t)lapic_bit(APIC_IRR, TIMER), 1,
		 "with IF clear it waits in IRR");
	await(1);
	check_eq(hits, 1, "and comes with IF set");
}

static void periodic(void)
{
	hits = 0;
	lapic_write(APIC_TIMER, LVT_PERIODIC | TIMER);
	lapic_write(APIC_COUNT, 300000);
	await(4);
	check(hits >= 4, "periodic: it comes again and again");
	lapic_write(APIC_COUNT, 0);
	lapic_write(APIC_TIMER, LVT_MASKED | TIMER);
	sti(); /* one may be on its way */
	wait_ticks(SOME_MS);
	hits = 0;
	wait_ticks(SOME_MS);
	cli();
	check_eq(hits, 0, "until it is stopped");
}

static void deadline(void)
{
	if (!(cpuid(1, 0).c >> 24 & 1)) {
		skip("TSC deadline", "CPUID");
		return;
	}
	hits = 0;
	lapic_write(APIC_TIMER, LVT_DEADLINE | TIMER);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 1000000000ull * 1000);
	check(rdmsr(MSR_TSC_DEADLINE) != 0, "a deadline reads back");
	wrmsr(MSR_TSC_DEADLINE, 0);
	check_eq(rdmsr(MSR_TSC_DEADLINE), 0, "0 disarms it");
	uint64_t at = rdtsc() + 3000000;
	wrmsr(MSR_TSC_DEADLINE, at);
	await(1);
	check_eq(hits, 1, "TSC deadline: an interrupt");
	check(rdtsc() >= at, "not before its time");
	check_eq(rdmsr(MSR_TSC_DEADLINE), 0, "the MSR reads 0 after it");
	wrmsr(MSR_TSC_DEADLINE, 1);
	await(2);
	check_eq(hits, 2, "a deadline in the past fires at once");
	lapic_write(APIC_COUNT, 1000);
	sti();
	wait_ticks(SOME_MS);
	cli();
	check_eq(hits, 2, "the initial count does nothing in this mode");
	lapic_write(APIC_TIMER, LVT_MASKED | TIMER);
}

static void priorities(void)
{
	irq_handler[0x41] = irq_handler[0x51] = irq_handler[0x61] = on_ipi;
	hits = order = 0;
	self_ipi(0x41);
	self_ipi(0x61);
	self_ipi(0x51);
	await(3);
	check_eq(order, 0x615141, "three self IPIs, highest vector first");
	hits = order = 0;
	write_cr8(5);
	check_eq(lapic_read(APIC_TPR), 0x50, "CR8 is TPR's upper half");
	self_ipi(0x51);
	self_ipi(0x61);
	await(1);
	check_eq(order, 0x61, "TPR 5 holds class 5 back, not class 6");
	check_eq((uint64_t)lapic_bit(APIC_IRR, 0x51), 1, "it waits in IRR");
	sti();
	write_cr8(0);
	await(2);
	check_eq(order, 0x6151, "a lower TPR lets it go");
	lapic_write(APIC_TPR, 0x30);
	check_eq(read_cr8(), 3, "CR8 reads TPR");
	lapic_write(APIC_TPR, 0);
}

static void on_nmi(struct frame *f)
{
	(void)f;
	hits++;
}

static void nmi(void)
{
	uint64_t start = rdtsc();

	irq_handler[2] = on_nmi;
	hits = 0;
	lapic_write(APIC_ICR, ICR_SELF | ICR_NMI);
	/* A shorthand of self with NMI is not in SDM table 11-3's valid list:
	 * physical, to our own id, is. */
	if (!hits) {
		lapic_write(APIC_ICR2, 0);
		lapic_write(APIC_ICR, ICR_NMI);
	}
	while (!hits && rdtsc() - start < SOME_MS)
		__asm__ volatile("pause");
	check(hits >= 1, "NMI comes with IF clear");
	irq_handler[2] = NULL;
}

static void x2apic(void)
{
	if (!(cpuid(1, 0).c >> 21 & 1)) {
		skip("x2APIC", "CPUID");
		return;
	}
	lapic_x2apic();
	check_eq(rdmsr(MSR_APIC_BASE) & 0xc00, 0xc00, "x2APIC mode is on");
	check_eq(lapic_read(APIC_ID), 0, "x2APIC id");
	check_eq(lapic_read(APIC_SVR) & 0x1ff, 0x1ff, "SVR is kept");
	check_eq(lapic_read(APIC_LDR), 1, "LDR: cluster 0, bit 0");
	hits = order = 0;
	lapic_write(APIC_SELF_IPI, 0x41);
	await(1);
	check_eq(order, 0x41, "the self-IPI register");
	hits = order = 0;
	wrmsr(0x830, 0x51); /* ICR whole: destination 0 in the upper half */
	await(1);
	check_eq(order, 0x51, "a 64-bit ICR write, physical destination");
	hits = 0;
	lapic_write(APIC_TIMER, TIMER);
	lapic_write(APIC_COUNT, 100000);
	await(1);
	check_eq(hits, 1, "the timer in x2APIC mode");
	TRY("wrmsr", : : "c"(0x802), "a"(0), "d"(0));
	check_trap(VEC_GP, 0, "the id is read-only: #GP");
	TRY("rdmsr", : : "c"(0x80b) : "rax", "rdx");
	check_trap(VEC_GP, 0, "EOI is write-only: #GP");
	TRY("wrmsr", : : "c"(MSR_APIC_BASE), "a"(0xfee00900), "d"(0));
	check_trap(VEC_GP, 0, "from x2APIC straight to xAPIC: #GP");
}

int main(void)
{
	registers();
	one_shot();
	masked();
	periodic();
	deadline();
	priorities();
	nmi();
	x2apic();
	return 0;
}
