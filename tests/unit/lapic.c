/* SPDX-License-Identifier: Apache-2.0 */
/* The soft engine's local APIC and IOAPIC. */
#include <time.h>

#include "runner/base/io.h"
#include "runner/engine/soft/ioapic.h"
#include "tests/unit/soft_fake.h"

#define MSR_BASE     0x1b
#define MSR_DEADLINE 0x6e0
#define LEVEL	     (1u << 15)
#define MASKED	     (1u << 16)

static struct lapic *l;
static struct ioapic *io;

static uint32_t get(uint32_t off)
{
	uint32_t v;

	lapic_mmio(l, off, &v, 4, 0);
	return v;
}

static void put(uint32_t off, uint32_t v)
{
	lapic_mmio(l, off, &v, 4, 1);
}

static int msr(uint32_t n, uint64_t v)
{
	return lapic_msr(l, n, &v, 1);
}

static uint32_t io_get(uint8_t reg)
{
	uint32_t v = reg;

	ioapic_mmio(io, 0, &v, 4, 1);
	ioapic_mmio(io, 0x10, &v, 4, 0);
	return v;
}

static void io_put(uint8_t reg, uint32_t v)
{
	uint32_t sel = reg;

	ioapic_mmio(io, 0, &sel, 4, 1);
	ioapic_mmio(io, 0x10, &v, 4, 1);
}

static void setup(void)
{
	fake_reset();
	l = fake.cpu.lapic = lapic_new(&fake.cpu);
	io = fake.soft.ioapic = ioapic_new(l);
	put(0xf0, 0x1ff);
}

static void teardown(void)
{
	ioapic_free(io);
	lapic_free(l);
}

TestSuite(lapic, .init = setup, .fini = teardown);
TestSuite(ioapic, .init = setup, .fini = teardown);

/* Take the pending interrupt as the CPU would. */
static int take(void)
{
	int vec = lapic_pending(l);

	if (vec >= 0)
		lapic_accept(l, (unsigned)vec);
	return vec;
}

Test(lapic, post_wakes_and_attends)
{
	lapic_post(l, 0x41, 0);
	cr_assert(atomic_load(&fake.cpu.attention) & ATTN_IRQ);
	cr_assert_eq(fake.wakes, 1);
	cr_assert_eq(get(0x220), 2, "IRR");
	cr_assert_eq(take(), 0x41);
	cr_assert_eq(get(0x220), 0);
	cr_assert_eq(get(0x120), 2, "ISR");
	put(0xb0, 0);
	cr_assert_eq(get(0x120), 0);
}

Test(lapic, a_higher_class_interrupts_a_lower_one)
{
	lapic_post(l, 0x41, 0);
	cr_assert_eq(take(), 0x41);
	lapic_post(l, 0x4f, 0);
	cr_assert_eq(take(), -1, "same class");
	lapic_post(l, 0x51, 0);
	cr_assert_eq(take(), 0x51);
	cr_assert_eq(get(0xa0), 0x50, "PPR");
	put(0xb0, 0);
	put(0xb0, 0);
	cr_assert_eq(take(), 0x4f);
}

Test(lapic, tpr_holds_back_and_cr8_is_its_upper_half)
{
	lapic_set_cr8(l, 5);
	cr_assert_eq(get(0x80), 0x50);
	lapic_post(l, 0x5f, 0);
	cr_assert_eq(lapic_pending(l), -1);
	atomic_store(&fake.cpu.attention, 0);
	put(0x80, 0x4f);
	cr_assert_eq(lapic_cr8(l), 4);
	cr_assert(atomic_load(&fake.cpu.attention) & ATTN_IRQ);
	cr_assert_eq(lapic_pending(l), 0x5f);
}

Test(lapic, software_disable_refuses_and_masks)
{
	put(0x320, 0x40);
	put(0xf0, 0xff);
	lapic_post(l, 0x41, 0);
	cr_assert_eq(lapic_pending(l), -1);
	cr_assert_eq(get(0x320), 0x40 | MASKED);
	put(0x320, 0x40);
	cr_assert_eq(get(0x320), 0x40 | MASKED, "stays masked");
}

Test(lapic, self_ipi_nmi_and_illegal_vectors)
{
	put(0x300, 1u << 18 | 0x33);
	cr_assert_eq(take(), 0x33);
	put(0xb0, 0);
	put(0x310, 0);
	put(0x300, 0x34);
	cr_assert_eq(take(), 0x34, "physical destination 0");
	put(0xb0, 0);
	put(0x300, 3u << 18 | 0x35);
	cr_assert_eq(take(), -1, "all but self");
	put(0x300, 4u << 8);
	cr_assert_eq(take(), EXC_NMI);
	put(0x300, 4u << 8);
	cr_assert_eq(take(), -1, "until IRET");
	put(0x300, 1u << 18 | 5);
	put(0x280, 0);
	cr_assert_eq(get(0x280), 1u << 5, "send illegal vector");
}

Test(lapic, one_shot_fires_once_at_its_time)
{
	uint64_t start = io_now_ns(), due;

	put(0x3e0, 3); /* by 16 */
	put(0x320, 0x40);
	put(0x380, 1000);
	due = lapic_deadline(l);
	cr_assert(due >= start + 1000 * 16 * 40);
	cr_assert(due <= io_now_ns() + 1000 * 16 * 40);
	cr_assert(get(0x390) <= 1000);
	lapic_timer(l, due - 1);
	cr_assert_eq(take(), -1);
	lapic_timer(l, due);
	cr_assert_eq(take(), 0x40);
	cr_assert_eq(lapic_deadline(l), UINT64_MAX);
	cr_assert_eq(get(0x390), 0);
}

Test(lapic, periodic_skips_what_it_missed)
{
	uint64_t due;

	put(0x3e0, 0xb); /* by 1 */
	put(0x320, 1u << 17 | 0x40);
	put(0x380, 1000);
	due = lapic_deadline(l);
	lapic_timer(l, due + 2 * 40000 + 1);
	cr_assert_eq(lapic_deadline(l), due + 3 * 40000);
	cr_assert_eq(take(), 0x40);
}

Test(lapic, deadline_follows_the_guest_tsc)
{
	uint64_t v;

	fake.cpu.tsc_offset = 5000000000;
	cr_assert_eq(msr(MSR_DEADLINE, 1), 0);
	lapic_msr(l, MSR_DEADLINE, &v, 0);
	cr_assert_eq(v, 0, "ignored in another mode");
	put(0x320, 2u << 17 | 0x40);
	v = cpu_tsc(&fake.cpu) + 1000000000;
	cr_assert_eq(msr(MSR_DEADLINE, v), 0);
	cr_assert_eq(lapic_deadline(l), v - 5000000000);
	fake.cpu.tsc_offset = -(uint64_t)1000;
	cr_assert_eq(lapic_deadline(l), v + 1000);
	cr_assert_eq(take(), -1);
	cr_assert_eq(msr(MSR_DEADLINE, 1), 0);
	cr_assert_eq(take(), 0x40, "one in the past fires at once");
	lapic_msr(l, MSR_DEADLINE, &v, 0);
	cr_assert_eq(v, 0);
}

Test(lapic, x2apic_registers_and_their_faults)
{
	uint64_t v;

	cr_assert_eq(lapic_msr(l, 0x802, &v, 0), -1, "not yet");
	cr_assert_eq(msr(MSR_BASE, 0xfee00d00), 0);
	cr_assert_eq(get(0x30), UINT32_MAX, "the page is gone");
	cr_assert_eq(lapic_msr(l, 0x803, &v, 0), 0);
	cr_assert_eq(v, 0x50014);
	cr_assert_eq(lapic_msr(l, 0x80d, &v, 0), 0);
	cr_assert_eq(v, 1, "LDR");
	cr_assert_eq(msr(0x83f, 0x61), 0);
	cr_assert_eq(take(), 0x61);
	cr_assert_eq(msr(0x80b, 1), -1, "EOI takes 0");
	cr_assert_eq(msr(0x80b, 0), 0);
	cr_assert_eq(msr(0x802, 1), -1, "read-only");
	cr_assert_eq(msr(0x80e, 1), -1, "no DFR");
	cr_assert_eq(msr(0x831, 1), -1, "no ICR2");
	cr_assert_eq(msr(0x830, 0x62), 0);
	cr_assert_eq(take(), 0x62);
	cr_assert_eq(msr(MSR_BASE, 0xfee00900), -1, "not straight back");
	cr_assert_eq(msr(MSR_BASE, 0xfed00d00), -1, "not elsewhere");
	cr_assert_eq(msr(MSR_BASE, 0xfee00100), 0);
}

Test(ioapic, identity_and_reset_state)
{
	cr_assert_eq(io_get(1), 0x170020);
	cr_assert_eq(io_get(0x10), MASKED);
	io_put(0, 0xffffffff);
	cr_assert_eq(io_get(0), 0x0f000000);
	cr_assert_eq(io_get(0x40), 0, "past the last entry");
	io_put(0xff, 1);
}

Test(ioapic, an_edge_is_one_interrupt_and_lost_when_masked)
{
	ioapic_pulse(io, 5);
	io_put(0x1a, 0x45);
	cr_assert_eq(take(), -1, "came while masked");
	ioapic_line(io, 5, 1);
	ioapic_line(io, 5, 1);
	cr_assert_eq(take(), 0x45);
	put(0xb0, 0);
	cr_assert_eq(take(), -1);
	ioapic_line(io, 5, 0);
	ioapic_pulse(io, 5);
	cr_assert_eq(take(), 0x45);
	ioapic_pulse(io, 24);
}

Test(ioapic, a_level_speaks_again_after_eoi_while_it_is_high)
{
	io_put(0x1a, LEVEL | 0x45);
	ioapic_line(io, 5, 1);
	cr_assert_eq(io_get(0x1a), LEVEL | 1u << 14 | 0x45, "remote IRR");
	cr_assert_eq(take(), 0x45);
	cr_assert_eq(take(), -1);
	put(0xb0, 0);
	cr_assert_eq(take(), 0x45);
	ioapic_line(io, 5, 0);
	put(0xb0, 0);
	cr_assert_eq(take(), -1);
	cr_assert_eq(io_get(0x1a), LEVEL | 0x45);
}

Test(ioapic, a_level_that_rose_while_masked_comes_at_unmask)
{
	io_put(0x1a, LEVEL | MASKED | 0x45);
	ioapic_line(io, 5, 1);
	cr_assert_eq(take(), -1);
	io_put(0x1a, LEVEL | 0x45);
	cr_assert_eq(take(), 0x45);
}

Test(ioapic, eoi_register_and_edge_clear_remote_irr)
{
	uint32_t vec = 0x45;

	io_put(0x1a, LEVEL | 0x45);
	ioapic_line(io, 5, 1);
	ioapic_line(io, 5, 0);
	ioapic_mmio(io, 0x40, &vec, 4, 1);
	cr_assert_eq(io_get(0x1a), LEVEL | 0x45);
	ioapic_line(io, 5, 1);
	io_put(0x1a, 0x45 | MASKED);
	cr_assert_eq(io_get(0x1a), 0x45 | MASKED);
}

Test(ioapic, destinations)
{
	io_put(0x1a, 0x45);
	io_put(0x1b, 7u << 24);
	ioapic_pulse(io, 5);
	cr_assert_eq(take(), -1, "physical, somebody else");
	io_put(0x1b, 0xffu << 24);
	ioapic_pulse(io, 5);
	cr_assert_eq(take(), 0x45, "broadcast");
	put(0xb0, 0);
	put(0xd0, 2u << 24);
	io_put(0x1a, 1u << 11 | 0x45);
	io_put(0x1b, 3u << 24);
	ioapic_pulse(io, 5);
	cr_assert_eq(take(), 0x45, "logical, flat");
	put(0xb0, 0);
	io_put(0x1b, 4u << 24);
	ioapic_pulse(io, 5);
	cr_assert_eq(take(), -1);
}
