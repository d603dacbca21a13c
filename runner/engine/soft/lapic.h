/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lapic: the local APIC of the soft engine's CPU, xAPIC and x2APIC mode
 * (SDM 3A chapter 11), with one-shot, periodic and TSC-deadline timer.
 *
 * lapic_post() and lapic_matches() are for any thread; the rest is the vCPU
 * thread's. Timers do not run by themselves: whoever runs the CPU asks for
 * lapic_deadline() and calls lapic_timer().
 */
#ifndef MAYFLY_SOFT_LAPIC_H
#define MAYFLY_SOFT_LAPIC_H

#include <stdint.h>

struct cpu;
struct lapic;

struct lapic *lapic_new(struct cpu *cpu);
void lapic_free(struct lapic *l);

/* A fixed interrupt arrives: sets IRR (and TMR when @level), raises
 * ATTN_IRQ, wakes a halted CPU. Any thread. */
void lapic_post(struct lapic *l, unsigned vec, int level);

/* Is this CPU meant by a message's destination? Any thread. */
int lapic_matches(const struct lapic *l, uint32_t dest, int logical);

/* The vector to deliver now (its class is above PPR), or -1. EXC_NMI does not
 * ask for RFLAGS.IF, all others do. */
int lapic_pending(struct lapic *l);
/* The CPU takes it: IRR to ISR. */
void lapic_accept(struct lapic *l, unsigned vec);

/* When the timer fires next, in CLOCK_MONOTONIC ns, or UINT64_MAX. */
uint64_t lapic_deadline(const struct lapic *l);
/* Fire what is due at @now. */
void lapic_timer(struct lapic *l, uint64_t now);

void lapic_mmio(struct lapic *l, uint32_t offset, void *data, unsigned len,
		int write);
/* IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC MSRs 0x800-0x8ff: 0, or
 * -1 for #GP(0). */
int lapic_msr(struct lapic *l, uint32_t msr, uint64_t *v, int write);
uint64_t lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint64_t v);

#endif
