/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC: edge and level, masks, remote IRR. 82093AA data sheet. */
#include "tests/guest/apic.h"

#define GSI   9
#define VEC   0x45
#define OTHER 0x35

static volatile uint64_t hits, others;
static volatile int drop_line, remote_irr, tmr;

static void line(int level)
{
	outl(TD_IRQ_LINE, GSI | (uint32_t)level << 8);
}

static void pulse(void)
{
	outl(TD_IRQ_PULSE, GSI);
}

static void on_irq(struct frame *f)
{
	(void)f;
	hits++;
	remote_irr = (ioapic_read(IOAPIC_REDIR(GSI)) & REDIR_REMOTE_IRR) != 0;
	tmr = lapic_bit(APIC_TMR, VEC);
	if (drop_line && hits >= (uint64_t)drop_line)
		line(0);
	lapic_eoi();
}

static void on_other(struct frame *f)
{
	(void)f;
	others++;
	lapic_eoi();
}

/* With interrupts on for a while; how many came. */
static uint64_t count(void)
{
	hits = 0;
	sti();
	wait_ticks(SOME_MS);
	cli();
	return hits;
}

static void registers(void)
{
	uint32_t v = ioapic_read(IOAPIC_VERSION);

	check_eq(v >> 16 & 0xff, 23, "24 inputs");
	check_eq(ioapic_read(IOAPIC_REDIR(GSI)) & REDIR_MASKED, REDIR_MASKED,
		 "masked after reset");
	ioapic_write(IOAPIC_REDIR(GSI) + 1, 0xab000000);
	check_eq(ioapic_read(IOAPIC_REDIR(GSI) + 1), 0xab000000,
		 "the destination reads back");
	ioapic_write(IOAPIC_REDIR(GSI), REDIR_MASKED | REDIR_LEVEL | VEC);
	check_eq(ioapic_read(IOAPIC_REDIR(GSI)),
		 REDIR_MASKED | REDIR_LEVEL | VEC, "an entry reads back");
	ioapic_write(IOAPIC_REDIR(GSI), REDIR_MASKED | REDIR_REMOTE_IRR);
	check_eq(ioapic_read(IOAPIC_REDIR(GSI)) & REDIR_REMOTE_IRR, 0,
		 "remote IRR is read-only");
	check_eq(ioapic_read(0xf0), ioapic_read(0xf1),
		 "registers beyond the last do no harm");
}

static void edge(void)
{
	ioapic_route(GSI, VEC, 0);
	pulse();
	check_eq(count(), 1, "edge: one pulse, one interrupt");
	check_eq((uint64_t)tmr, 0, "TMR says edge");
	pulse();
	pulse();
	check_eq(count(), 1, "two pulses before the first is taken are one");
	line(1);
	check_eq(count(), 1, "a rise is an edge");
	check_eq(count(), 0, "a line that stays up is not");
	line(0);
	check_eq(count(), 0, "nor is a fall");
	ioapic_write(IOAPIC_REDIR(GSI), REDIR_MASKED | VEC);
	pulse();
	check_eq(count(), 0, "masked: none");
	ioapic_write(IOAPIC_REDIR(GSI), VEC);
	check_eq(count(), 0, "an edge while masked is lost");
	ioapic_write(IOAPIC_REDIR(GSI), OTHER);
	pulse();
	check(count() == 0 && others == 1, "the vector is the entry's");
}

static void level(void)
{
	if (cpu_is_limited()) {
		skip("level", "this KVM ends an interrupt as it delivers it");
		return;
	}
	ioapic_route(GSI, REDIR_LEVEL | VEC, 0);
	drop_line = 1;
	line(1);
	check_eq(count(), 1, "level: one, when the handler drops the line");
	check_eq((uint64_t)remote_irr, 1, "remote IRR is set in the handler");
	check_eq((uint64_t)tmr, 1, "TMR says level");
	check_eq(ioapic_read(IOAPIC_REDIR(GSI)) & REDIR_REMOTE_IRR, 0,
		 "and clear after EOI");
	drop_line = 3;
	line(1);
	check_eq(count(), 3, "it comes again after EOI while the line is up");
	ioapic_write(IOAPIC_REDIR(GSI), REDIR_MASKED | REDIR_LEVEL | VEC);
	line(1);
	check_eq(count(), 0, "masked: none");
	drop_line = 1;
	ioapic_write(IOAPIC_REDIR(GSI), REDIR_LEVEL | VEC);
	check_eq(count(), 1, "unmasked with the line up: there it is");
	line(1);
	line(0);
	check(count() <= 1, "a line that fell before it was taken");
	drop_line = 0;
}

static void destinations(void)
{
	lapic_write(APIC_LDR, 0x01000000);
	ioapic_route(GSI, REDIR_LOGICAL | VEC, 1);
	pulse();
	check_eq(count(), 1, "logical destination");
	ioapic_route(GSI, REDIR_LOGICAL | VEC, 2);
	pulse();
	check_eq(count(), 0, "somebody else's");
	ioapic_route(GSI, REDIR_LOGICAL | REDIR_LOWEST | VEC, 0xff);
	pulse();
	check_eq(count(), 1, "lowest priority among all");
	ioapic_route(GSI, VEC, 0xff);
	pulse();
	check_eq(count(), 1, "physical broadcast");
	ioapic_route(GSI, VEC, 7);
	pulse();
	check_eq(count(), 0, "a CPU that is not there");
	ioapic_route(GSI, VEC, 0);
}

/* Another thread of the VMM raises it while this CPU runs, and halts. */
static void from_outside(void)
{
	uint64_t start;

	hits = 0;
	sti();
	outl(TD_IRQ_LATER, GSI | 2000 << 8);
	for (start = rdtsc(); !hits && rdtsc() - start < 50 * SOME_MS;)
		__asm__ volatile("pause");
	cli();
	check_eq(hits, 1, "from another thread, while the CPU spins");
	hits = 0;
	outl(TD_IRQ_LATER, GSI | 2000 << 8);
	while (!hits)
		sti_hlt_cli();
	check_eq(hits, 1, "from another thread, while the CPU halts");
}

int main(void)
{
	lapic_enable();
	irq_handler[VEC] = on_irq;
	irq_handler[OTHER] = on_other;
	registers();
	if (!have_testdev()) {
		skip("interrupts", "no test device to raise them");
		return 0;
	}
	edge();
	level();
	destinations();
	from_outside();
	return 0;
}
