/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port and its neighbours: input without end, output without end,
 * every port at every width. The port must then still print the verdict.
 */
#include "tests/guest/attack.h"

#include "runner/x86/layout.h"

#define IER (LAYOUT_COM1 + 1)
#define FCR (LAYOUT_COM1 + 2)
#define LCR (LAYOUT_COM1 + 3)
#define MCR (LAYOUT_COM1 + 4)
#define LSR (LAYOUT_COM1 + 5)
#define SCR (LAYOUT_COM1 + 7)

#define LSR_DR 0x01

static void settle(void)
{
	outb(IER, 0);
	outb(LCR, 3);
	outb(MCR, 3);
	outb(FCR, 7);
}

/* What is still in the host's pipe. */
static void drain(void)
{
	for (uint64_t from = rdtsc(); rdtsc() - from < 100000000ull;)
		if (inb(LSR) & LSR_DR) {
			(void)inb(LAYOUT_COM1);
			from = rdtsc();
		}
}

/* `yes` on standard input: what is not read waits, and reading goes on. */
static void input(void)
{
	unsigned got = 0, odd = 0;
	uint64_t from;

	settle();
	print("%s\n", SAY_FLOOD);
	/* let it press for a while */
	for (from = rdtsc(); rdtsc() - from < 200000000ull;)
		__asm__ volatile("pause");
	for (from = rdtsc();
	     got < 20000 && rdtsc() - from < 60000000000ull;) {
		if (!(inb(LSR) & LSR_DR))
			continue;
		odd += inb(LAYOUT_COM1) != 'y';
		got++;
	}
	check(got == 20000 && !odd, "20,000 bytes of a flood");
	for (unsigned i = 0; i < 2000; i++) {
		outb(FCR, (uint8_t)(i % 8));
		inb(LAYOUT_COM1);
		outb(IER, (uint8_t)i);
	}
	settle();
	print("%s\n", SAY_QUIET);
	drain();
	check(1, "and the FIFO cleared under it");
}

static void output(void)
{
	static char line[256];
	const char *s;
	uint64_t n;

	memset(line, '#', sizeof(line));
	for (unsigned i = 0; i < 200; i++) {
		s = line;
		n = sizeof(line);
		__asm__ volatile("rep outsb" : "+S"(s), "+c"(n)
				 : "d"(LAYOUT_COM1) : "memory");
	}
	outb(LAYOUT_COM1, '\n');
	for (unsigned i = 0; i < 2000; i++)
		outb(LAYOUT_COM1, '\n');
	check(1, "50,000 bytes without a newline, 2,000 newlines");
}

static void loopback(void)
{
	unsigned n = 0;

	outb(MCR, 0x13);
	for (unsigned i = 0; i < 1000; i++)
		outb(LAYOUT_COM1, (uint8_t)i);
	while (inb(LSR) & LSR_DR && n < 2000) {
		inb(LAYOUT_COM1);
		n++;
	}
	settle();
	check(n <= 64, "loopback overruns its FIFO");
}

/* All ports that are ours but those that end the machine. */
static int ends_the_machine(uint16_t port)
{
	return (port + 3 >= LAYOUT_I8042_CMD && port <= LAYOUT_I8042_CMD) ||
	       (port + 3 >= LAYOUT_SLEEP && port <= LAYOUT_SLEEP);
}

static void ports(void)
{
	for (unsigned port = 0; port < 0x10000; port++) {
		/* every port near one of ours, some of the others */
		if (port > 0x700 && port % 257)
			continue;
		if ((port & 0xfff0) == 0xe0 || port == 0xf4)
			continue;
		(void)inb((uint16_t)port);
		(void)inw((uint16_t)port);
		(void)inl((uint16_t)port);
		if (ends_the_machine((uint16_t)port))
			continue;
		/* not as text: the transmitter is left alone */
		if (port + 3 >= LAYOUT_COM1 && port < LAYOUT_COM1 + 8)
			continue;
		outb((uint16_t)port, 0xff);
		outw((uint16_t)port, 0xffff);
		outl((uint16_t)port, 0xffffffff);
	}
	check(1, "every port at every width");
}

static void noise(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t v = next_random();
		uint16_t reg = (uint16_t)(LAYOUT_COM1 + v % 8);

		if (v & 0x100)
			(void)inb(reg);
		else if (reg != LAYOUT_COM1 || v & 0x200)
			outb(reg, (uint8_t)(v >> 16));
		if (v % 61 == 0)
			(void)inl(LAYOUT_COM1 + v % 5);
	}
	settle();
	outb(LAYOUT_COM1, '\n');
	outb(SCR, 0xa5);
	check_eq(inb(SCR), 0xa5, "20,000 random accesses");
}

int main(void)
{
	input();
	output();
	loopback();
	ports();
	noise();
	return 0;
}
