/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A as Linux's driver uses it, and under abuse. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/dev/power.h"
#include "runner/dev/serial.h"
#include "runner/x86/layout.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct ev_loop loop;
static struct serial s;
static int out[2], in[2], level, edges;

static void irq(void *opaque, int l)
{
	(void)opaque;
	edges += l && !level;
	level = l;
}

static void setup(void)
{
	struct serial_host host = { .irq = irq };

	cr_assert_eq(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(pipe2(in, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(ev_loop_init(&loop), 0);
	host.out_fd = out[1];
	host.in_fd = in[0];
	cr_assert_eq(serial_init(&s, &host, &loop), 0);
}

static void teardown(void)
{
	serial_free(&s);
	ev_loop_free(&loop);
}

TestSuite(serial, .init = setup, .fini = teardown);

static void outb(unsigned reg, uint8_t v)
{
	serial_access(&s, reg, &v, 1, 1);
}

static uint8_t inb(unsigned reg)
{
	uint8_t v = 0;

	serial_access(&s, reg, &v, 1, 0);
	return v;
}

static void put(const char *str)
{
	while (*str)
		outb(DATA, (uint8_t)*str++);
}

static void expect_out(const char *want)
{
	char got[256] = { 0 };
	ssize_t n = read(out[0], got, sizeof(got) - 1);

	cr_expect_str_eq(n < 0 ? "" : got, want);
}

Test(serial, line_leaves_at_its_newline)
{
	put("hello");
	expect_out("");
	put("\n");
	expect_out("hello\n");
}

Test(serial, rest_without_newline_leaves_after_a_while)
{
	put("login: ");
	expect_out("");
	cr_assert_eq(ev_once(&loop, 1000), 1);
	expect_out("login: ");
}

Test(serial, what_is_left_leaves_at_the_end)
{
	put("last words");
	serial_free(&s);
	expect_out("last words");
}

Test(serial, reader_that_does_not_read_costs_bytes_not_time)
{
	for (int i = 0; i < 1 << 20; i++)
		outb(DATA, 'x');
	cr_expect(s.dropped > 0);
	cr_expect(s.tx_len < SERIAL_TX);
}

Test(serial, linux_probe_finds_a_16550a)
{
	outb(IER, 0);
	cr_expect_eq(inb(IER), 0);
	outb(IER, 0x0f);
	cr_expect_eq(inb(IER), 0x0f);
	outb(IER, 0x4f);
	cr_expect_eq(inb(IER), 0x0f, "no UUE: not an XScale");
	outb(IER, 0);
	outb(MCR, 0x1a);
	cr_expect_eq(inb(MSR) & 0xf0, 0x90, "loopback of RTS and OUT2");
	outb(MCR, 0);
	outb(IIR, 0x01);
	cr_expect_eq(inb(IIR) >> 6, 3);
	outb(SCR, 0x5a);
	cr_expect_eq(inb(SCR), 0x5a);
	outb(LCR, 0x80);
	outb(DATA, 12);
	cr_expect_eq(inb(DATA), 12);
	outb(LCR, 3);
	cr_expect_eq(inb(LSR), 0x60);
}

Test(serial, enabling_thre_interrupts_each_time)
{
	for (int i = 0; i < 2; i++) {
		outb(IER, 2);
		cr_expect_eq(level, 1);
		cr_expect_eq(inb(IIR) & 0xf, 2);
		cr_expect_eq(level, 0, "reading IIR acknowledges");
		cr_expect_eq(inb(IIR) & 0xf, 1);
		outb(IER, 0);
	}
	cr_expect_eq(edges, 2);
}

Test(serial, each_transmitted_byte_interrupts_again)
{
	outb(IER, 2);
	inb(IIR);
	edges = 0;
	for (int i = 0; i < 10; i++) {
		put("a");
		cr_expect_eq(inb(IIR) & 0xf, 2);
	}
	cr_expect_eq(edges, 10);
}

Test(serial, input_interrupts_until_it_is_read)
{
	outb(IER, 1);
	cr_assert_eq(write(in[1], "ab", 2), 2);
	ev_once(&loop, 1000);
	cr_expect_eq(level, 1);
	cr_expect_eq(inb(IIR) & 0xf, 4);
	cr_expect_eq(inb(DATA), 'a');
	cr_expect_eq(level, 1);
	cr_expect_eq(inb(DATA), 'b');
	cr_expect_eq(level, 0);
	cr_expect_eq(inb(DATA), 0, "an empty FIFO reads as zero");
}

Test(serial, flood_of_input_waits_for_the_guest_and_none_is_lost)
{
	uint8_t flood[4096];
	unsigned got = 0;

	for (unsigned i = 0; i < sizeof(flood); i++)
		flood[i] = (uint8_t)(i * 7);
	cr_assert_eq(write(in[1], flood, sizeof(flood)), sizeof(flood));
	while (got < sizeof(flood) && ev_once(&loop, 1000) > 0) {
		cr_assert(s.rx_len <= SERIAL_RX);
		while (inb(LSR) & 1)
			cr_assert_eq(inb(DATA), flood[got++]);
	}
	cr_expect_eq(got, sizeof(flood));
	cr_expect_eq(inb(LSR) & 2, 0, "no overrun");
}

Test(serial, loopback_overrun_is_bounded_and_told_once)
{
	outb(MCR, 0x10);
	for (int i = 0; i < 1000; i++)
		outb(DATA, (uint8_t)i);
	cr_expect_eq(s.rx_len, SERIAL_RX);
	cr_expect_eq(inb(LSR) & 3, 3);
	cr_expect_eq(inb(LSR) & 3, 1);
	outb(IIR, 0x03);
	cr_expect_eq(inb(LSR) & 1, 0, "FCR empties the FIFO");
}

Test(serial, input_waits_for_the_end_of_loopback)
{
	cr_assert_eq(write(in[1], "a", 1), 1);
	outb(MCR, 0x10);
	cr_expect_eq(ev_once(&loop, 1000), 1);
	cr_expect_eq(inb(LSR) & 1, 0);
	cr_expect_eq(ev_once(&loop, 0), 0, "it is not polled for ever");
	outb(DATA, 'l');
	cr_expect_eq(inb(DATA), 'l');
	outb(MCR, 0);
	for (int i = 0; i < 2; i++)
		cr_expect_eq(ev_once(&loop, 1000), 1);
	cr_expect_eq(inb(DATA), 'a');
}

Test(serial, closed_input_is_not_polled_for_ever)
{
	close(in[1]);
	cr_expect_eq(ev_once(&loop, 1000), 1);
	cr_expect_eq(ev_once(&loop, 0), 0);
}

Test(serial, wide_accesses_stay_inside)
{
	uint32_t v = 0xffffffff;

	for (unsigned reg = 0; reg < 8; reg++) {
		serial_access(&s, reg, &v, 4, 1);
		serial_access(&s, reg, &v, 4, 0);
	}
}

static int events[2];

static void on_power(void *opaque, enum power_event what)
{
	(void)opaque;
	events[what]++;
}

Test(power, only_the_right_value_at_the_right_port_ends_the_guest)
{
	struct power p = { .fn = on_power };

	for (unsigned v = 0; v < 256; v++)
		for (unsigned off = 0; off < 5; off++) {
			uint8_t b = (uint8_t)v;

			power_i8042_access(&p, off, &b, 1, 1);
			power_i8042_access(&p, off, &b, 1, 0);
			cr_expect_eq(b, 0);
			b = (uint8_t)v;
			power_sleep_access(&p, off % 2, &b, 1, 1);
		}
	cr_expect_eq(events[POWER_RESET], 1);
	/* SLP_EN and type 5, any of the four other bits; and of 0 to 4 three
	 * offsets are even. */
	cr_expect_eq(events[POWER_OFF], 3 * 16);
}
