/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between two instructions: when an interrupt that waits is taken, what holds
 * it back, NMI blocking, and faults in the delivery of others. SDM 3A 6.7,
 * 6.8, 6.9, 6.15 (#DF).
 */
#include "tests/guest/apic.h"

#define VEC 0x61

static volatile uint64_t hits, seen_rip, nested, deepest;
static uint8_t ist_stack[4096] __attribute__((aligned(16)));

static void on_irq(struct frame *f)
{
	hits++;
	seen_rip = f->rip;
	lapic_eoi();
}

/* One interrupt waits while @insns run, from IF clear; where it came. */
#define WAITING(insns, ...)                                  \
	do {                                                 \
		hits = 0;                                    \
		self_ipi(VEC);                               \
		__asm__ volatile(insns "; cli" __VA_ARGS__); \
	} while (0)

static void shadows(void)
{
	uint64_t at;

	WAITING("sti; mov %1, %%ss; nop; lea 1f(%%rip), %0\n1: nop\n"
		"lea 1b(%%rip), %0; sub $7, %0", : "=&r"(at) : "r"(KERNEL_DS)
		: "memory");
	check(hits == 1 && seen_rip == at,
	      "sti; mov to SS: one instruction after the second");
	WAITING("lea 1f(%%rip), %0; sti; mov %1, %%ss; mov %1, %%ss\n"
		"1: nop", : "=&r"(at) : "r"(KERNEL_DS) : "memory");
	check(hits == 1 && seen_rip == at, "two mov to SS: after the second");
	WAITING("mov %%rsp, %%rbx; lea 1f(%%rip), %0\n"
		"pushq $0x18; push %%rbx; pushq $0x202; pushq $0x10; push %0\n"
		"iretq\n1: nop", : "=&r"(at) : : "rbx", "memory", "cc");
	check(hits == 1 && seen_rip == at, "iretq that sets IF: at its target");
}

static void priority(void)
{
	uint64_t at;

	write_cr8(7);
	hits = 0;
	self_ipi(VEC);
	sti();
	wait_ticks(100000);
	check_eq(hits, 0, "CR8 above its class: not taken");
	__asm__ volatile("lea 1f(%%rip), %0; mov %1, %%cr8\n1: nop; cli"
			 : "=&r"(at) : "r"(0ull) : "memory");
	check(hits == 1 && seen_rip == at, "CR8 lowered: at once");
	write_cr8(VEC >> 4);
	hits = 0;
	self_ipi(VEC);
	sti();
	wait_ticks(100000);
	check_eq(hits, 0, "CR8 of its class: not taken");
	cli();
	write_cr8(0);
	sti();
	cli();
	check_eq(hits, 1, "it was kept");
}

static void strings(void)
{
	uint64_t to = pa_of(alloc_2m()), n = 1ull << 20, at, left;

	hits = 0;
	self_ipi(VEC);
	__asm__ volatile("lea 1f(%%rip), %2; sti\n1: rep stosb; cli"
			 : "+D"(to), "+c"(n), "=&r"(at) : "a"(0)
			 : "memory");
	left = n;
	check(hits == 1 && left == 0 &&
	      (seen_rip == at || seen_rip == at + 2),
	      "rep stosb: taken at it or after it, and all is written");
}

/* --- NMI -------------------------------------------------------------------- */

static void send_nmi(void)
{
	lapic_write(APIC_ICR2, 0);
	lapic_write(APIC_ICR, ICR_NMI);
}

/* The first sends another, which has to wait for IRET. */
static void on_nmi(struct frame *f)
{
	(void)f;
	nested++;
	if (nested > deepest)
		deepest = nested;
	if (hits++ == 0) {
		send_nmi();
		wait_ticks(1000000);
	}
	nested--;
}

static void wait_hits(uint64_t n)
{
	for (uint64_t start = rdtsc();
	     hits < n && rdtsc() - start < SOME_MS;)
		__asm__ volatile("pause");
}

static void nmi(void)
{
	irq_handler[2] = on_nmi;
	hits = nested = deepest = 0;
	send_nmi();
	wait_hits(2);
	check_eq(hits, 2, "two NMIs, IF clear");
	check_eq(deepest, 1, "the second waits for IRET");
	irq_handler[2] = NULL;
}

/* --- faults in a delivery ----------------------------------------------------- */

/* What comes of @vector when its gate is no good. */
static void deliver_badly(unsigned vector, uint64_t want, uint64_t error,
			  const char *name)
{
	struct gate old = idt[vector], df = idt[VEC_DF];

	idt[vector].type &= 0x7f;
	idt[VEC_DF].ist = 1;
	tss.ist[0] = pa_of(ist_stack + sizeof(ist_stack));
	switch (vector) {
	case VEC_UD:
		TRY("ud2", : : : "memory");
		break;
	case VEC_DE:
		TRY("div %0", : : "r"(0) : "rax", "rdx", "cc", "memory");
		break;
	case VEC_PF:
		TRY("mov (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
		break;
	default:
		TRY("mov (%0), %%rax", : : "r"(1ull << 47) : "rax", "memory");
	}
	check_trap(want, error, name);
	idt[vector] = old;
	idt[VEC_DF] = df;
}

static void in_delivery(void)
{
	deliver_badly(VEC_UD, VEC_NP, VEC_UD << 3 | 3,
		      "#UD without a gate: #NP, IDT and EXT bits");
	deliver_badly(VEC_DE, VEC_DF, 0, "#DE without a gate: #DF");
	deliver_badly(VEC_GP, VEC_DF, 0, "#GP without a gate: #DF");
	deliver_badly(VEC_PF, VEC_DF, 0, "#PF without a gate: #DF");
}

int main(void)
{
	lapic_enable();
	irq_handler[VEC] = on_irq;
	self_ipi(VEC);
	sti();
	wait_hits(1);
	cli();
	check_eq(hits, 1, "an interrupt");
	if (cpu_is_limited()) {
		skip("boundaries", "this KVM takes interrupts late");
		return 0;
	}
	if (!cpu_is_tcg())
		shadows();
	priority();
	strings();
	nmi();
	if (cpu_is_tcg())
		skip("double faults", "TCG: see traps.c");
	else
		in_delivery();
	return 0;
}
