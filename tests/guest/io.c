/* SPDX-License-Identifier: Apache-2.0 */
/* Port and memory-mapped accesses, of every width and kind. */
#include "tests/guest/lib.h"

#define RAM ((volatile uint8_t *)TD_MMIO)
#define REG(off) (*(volatile uint64_t *)(TD_MMIO + (off)))

/* A check that the last accesses were @n, of @bytes in all. */
static void check_count(uint32_t n, uint32_t bytes, const char *name)
{
	uint64_t got = REG(TD_MMIO_COUNT);

	check_eq(got, (uint64_t)n << 32 | bytes, name);
	REG(TD_MMIO_COUNT) = 0;
}

static void check_ports(uint32_t n, uint32_t bytes, const char *name)
{
	check_eq(inl(TD_PIO_COUNT), n << 16 | bytes, name);
	outl(TD_PIO_COUNT, 0);
}

static void ports(void)
{
	uint64_t rax;

	outl(TD_PIO_COUNT, 0);
	outl(TD_PIO_RAM, 0x44332211);
	check_eq(inl(TD_PIO_RAM), 0x44332211, "out, in: 4 bytes");
	check_eq(inw(TD_PIO_RAM + 1), 0x3322, "2 bytes, unaligned");
	check_eq(inb(TD_PIO_RAM + 3), 0x44, "1 byte");
	outw(TD_PIO_RAM + 2, 0xbeef);
	outb(TD_PIO_RAM, 0x77);
	check_eq(inl(TD_PIO_RAM), 0xbeef2277, "narrow writes");
	check_ports(7, 18, "seven accesses of 18 bytes");
	__asm__ volatile("mov $-1, %0; in %%dx, %%eax" : "=&a"(rax)
			 : "d"(TD_PIO_RAM));
	check_eq(rax, 0xbeef2277, "in %eax clears the upper half");
	__asm__ volatile("mov $-1, %0; in %%dx, %%ax" : "=&a"(rax)
			 : "d"(TD_PIO_RAM));
	check_eq(rax, 0xffffffffffff2277, "in %ax does not");
	check_eq(inl(0x5658), 0xffffffff, "nobody's port reads as ones");
	outl(TD_PIO_COUNT, 0);
}

static void port_strings(void)
{
	static uint8_t out[300], in[300];
	const void *s;
	void *d;
	uint64_t n;

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	s = out, n = 300;
	__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(TD_PIO_FIFO)
			 : "memory");
	check(n == 0 && s == out + 300, "rep outsb: RCX and RSI at the end");
	check_ports(300, 300, "300 accesses of a byte");
	d = in, n = 150;
	__asm__ volatile("rep insw" : "+D"(d), "+c"(n) : "d"(TD_PIO_FIFO)
			 : "memory");
	check(n == 0 && d == in + 300, "rep insw: RCX and RDI at the end");
	check_ports(150, 300, "150 accesses of two bytes");
	for (n = 0; n < 300 && in[n] == out[n]; n++)
		;
	check_eq(n, 300, "the same bytes");
	s = out + 4;
	__asm__ volatile("outsl" : "+S"(s) : "d"(TD_PIO_FIFO) : "memory");
	check_eq(inl(TD_PIO_FIFO), *(uint32_t *)(out + 4), "one outsl");
	d = in + 8;
	outl(TD_PIO_FIFO, 0x04030201);
	n = 2;
	__asm__ volatile("std; rep insw; cld" : "+D"(d), "+c"(n)
			 : "d"(TD_PIO_FIFO) : "memory", "cc");
	check(d == in + 4 && in[8] == 1 && in[9] == 2 && in[6] == 3,
	      "rep insw downwards");
	n = 0, d = in;
	__asm__ volatile("rep insb" : "+D"(d), "+c"(n) : "d"(TD_PIO_FIFO)
			 : "memory");
	outl(TD_PIO_COUNT, 0);
	check(d == in, "a count of 0 does nothing");
}

/* rep insb into a page that is not there: what was done stays done. */
static void port_fault(void)
{
	uint64_t va = WINDOW, d = va + PAGE - 4, n = 8;
	uint8_t *p = alloc_page();

	map(va, pa_of(p), 1, PTE_P | PTE_W);
	map(va + PAGE, 0, 1, 0);
	outl(TD_PIO_FIFO, 0x04030201);
	outl(TD_PIO_FIFO, 0x08070605);
	TRY("rep insb", : "+D"(d), "+c"(n) : "d"(TD_PIO_FIFO) : "memory");
	check_pf(PF_W, va + PAGE, "rep insb into a hole: #PF");
	check(trap.f.rcx == 4 && trap.f.rdi == va + PAGE,
	      "RCX and RDI at the first that was not done");
	check_eq(*(uint32_t *)(p + PAGE - 4), 0x04030201,
	      "the bytes before it are there");
	/* KVM reads the port before it finds the hole, and loses what it
	 * read: what is left in the queue is not looked at. */
	inl(TD_PIO_FIFO);
	outl(TD_PIO_COUNT, 0);
}

static void permissions(void)
{
	extern uint8_t i_in[], i_cli[], i_end[];
	uint64_t code = user_code(i_in, i_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "i_in: mov $0x300, %edx; in %dx, %al; int3\n"
			 "i_cli: cli; int3\n"
			 "i_end:\n1:");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == 0,
	      "a port in user mode, IOPL 0: #GP");
	run_user(code + (uint64_t)(i_cli - i_in), sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP, "cli in user mode, IOPL 0: #GP");
	if (cpu_is_limited()) {
		skip("IOPL 3", "this KVM has no IOPL in user mode");
		return;
	}
	outb(TD_PIO_RAM, 0x5a);
	run_user(code, sp, 0, RFLAGS_FIXED | RFLAGS_IOPL3);
	check(trap.vector == VEC_USER_EXIT && (trap.f.rax & 0xff) == 0x5a,
	      "a port in user mode, IOPL 3");
	run_user(code + (uint64_t)(i_cli - i_in), sp, 0,
		 RFLAGS_FIXED | RFLAGS_IOPL3 | RFLAGS_IF);
	check(trap.vector == VEC_USER_EXIT && !(trap.f.rflags & RFLAGS_IF),
	      "cli in user mode, IOPL 3");
	outl(TD_PIO_COUNT, 0);
}

static void mmio_moves(void)
{
	uint64_t v;

	REG(TD_MMIO_COUNT) = 0;
	REG(0) = 0x8877665544332211;
	check_eq(REG(0), 0x8877665544332211, "8 bytes");
	check_eq(*(volatile uint32_t *)(RAM + 4), 0x88776655, "4 bytes");
	check_eq(*(volatile uint16_t *)(RAM + 2), 0x4433, "2 bytes");
	check_eq(RAM[7], 0x88, "1 byte");
	check_count(5, 23, "five accesses of 23 bytes");
	*(volatile uint32_t *)RAM = 0xa1a2a3a4;
	*(volatile uint16_t *)(RAM + 4) = 0xb1b2;
	RAM[6] = 0xc1;
	check_eq(REG(0), 0x88c1b1b2a1a2a3a4, "narrow writes");
	check_eq(*(volatile uint32_t *)(RAM + 1), 0xb2a1a2a3, "unaligned");
	check_count(5, 19, "each of them one access");
	__asm__ volatile("movzbl 7(%1), %k0" : "=r"(v) : "r"(RAM));
	check_eq(v, 0x88, "movzx");
	__asm__ volatile("movsbq 7(%1), %0" : "=r"(v) : "r"(RAM));
	check_eq(v, 0xffffffffffffff88, "movsx");
	__asm__ volatile("movslq 0(%1), %0" : "=r"(v) : "r"(RAM));
	check_eq(v, 0xffffffffa1a2a3a4, "movsxd");
	__asm__ volatile("movb $0x12, (%0); movl $-2, 8(%0); movq $-3, 16(%0)"
			 : : "r"(RAM) : "memory");
	check_eq(REG(16), 0xfffffffffffffffd, "an immediate, sign-extended");
	check_eq(*(volatile uint32_t *)(RAM + 8), 0xfffffffe, "and of 4 bytes");
	check_eq(*(volatile uint64_t *)(TD_MMIO + 0x1000), ~0ull,
		 "nobody's memory reads as ones");
	REG(TD_MMIO_COUNT) = 0;
}

static void mmio_rmw(void)
{
	volatile uint64_t *m = (volatile uint64_t *)(RAM + 0x20);
	uint64_t v = 5, f;

	*m = 10;
	REG(TD_MMIO_COUNT) = 0;
	__asm__ volatile("addq $3, %0" : "+m"(*m) : : "cc");
	check_count(2, 16, "add is a read and a write");
	check_eq(*m, 13, "add");
	__asm__ volatile("lock orq $0x40, %0" : "+m"(*m) : : "cc");
	check_eq(*m, 77, "lock or");
	__asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(*m));
	check(v == 77 && *m == 5, "xchg");
	__asm__ volatile("notq %0; negq %0" : "+m"(*m) : : "cc");
	check_eq(*m, 6, "not, neg");
	__asm__ volatile("cmpq $6, %1; setz %b0" : "=q"(f) : "m"(*m) : "cc");
	check_eq(f & 1, 1, "cmp");
	__asm__ volatile("testb $1, %1; setz %b0" : "=q"(f) : "m"(*m) : "cc");
	check_eq(f & 1, 1, "test");
	__asm__ volatile("push %0; pop %1" : : "m"(*m), "m"(m[1]) : "memory");
	check_eq(m[1], 6, "push from, pop to");
	__asm__ volatile("incl %0; shlq $4, %0" : "+m"(*m) : : "cc");
	check_eq(*m, 0x70, "inc, shl");
	v = 0x70;
	__asm__ volatile("lock cmpxchgq %2, %1; setz %b0"
			 : "=q"(f), "+m"(*m) : "r"(0x99ull), "a"(v) : "cc");
	check(*m == 0x99 && (f & 1), "lock cmpxchg");
	REG(TD_MMIO_COUNT) = 0;
}

static void mmio_strings(void)
{
	static uint8_t buf[64];
	volatile void *d = RAM + 0x40;
	const volatile void *s = buf;
	uint64_t n = 7;

	for (unsigned i = 0; i < 64; i++)
		buf[i] = (uint8_t)(i + 1);
	REG(TD_MMIO_COUNT) = 0;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	check_eq(REG(0x40), 0x07060504030201 | (uint64_t)RAM[0x47] << 56,
		 "rep movsb to it");
	d = buf, s = RAM + 0x40, n = 3;
	__asm__ volatile("rep movsw" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	check(buf[0] == 1 && buf[5] == 6, "rep movsw from it");
	d = RAM + 0x80, s = RAM + 0x40, n = 1;
	__asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	check_eq(*(volatile uint32_t *)(RAM + 0x80), 0x04030201,
		 "movsl from it to it");
	d = RAM + 0x90, n = 2;
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(0x55aaull)
			 : "memory");
	check(REG(0x90) == 0x55aa && REG(0x98) == 0x55aa, "rep stosq");
	s = RAM + 0x40;
	__asm__ volatile("lodsb" : "+S"(s), "=a"(n) : : "memory");
	check_eq(n & 0xff, 1, "lodsb");
	d = RAM + 0x40, n = 8;
	__asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(3) : "memory",
			 "cc");
	check_eq(n, 5, "repne scasb");
	REG(TD_MMIO_COUNT) = 0;
}

/* Half of the access is RAM, half is the device. */
static void mmio_across(void)
{
	uint64_t va = WINDOW + 0x10000;
	uint8_t *p = alloc_page();
	volatile uint64_t *m = (volatile uint64_t *)(va + PAGE - 3);

	map(va, pa_of(p), 1, PTE_P | PTE_W);
	map(va + PAGE, TD_MMIO, 1, PTE_P | PTE_W | PTE_PCD);
	*m = 0x8877665544332211;
	check_eq(*m, 0x8877665544332211, "a word half in RAM");
	check_eq(p[PAGE - 1], 0x33, "its RAM half");
	check_eq(*(volatile uint32_t *)RAM, 0x77665544, "its device half");
}

static void ioeventfd(void)
{
	volatile uint32_t *e = (volatile uint32_t *)(TD_MMIO + TD_MMIO_EVENT);

	REG(TD_MMIO_EVENT) = 1;
	check_eq(REG(TD_MMIO_PLAIN), 1, "8 bytes: the bus");
	*e = 9;
	check_eq(REG(TD_MMIO_PLAIN), 9, "another value: the bus");
	check_eq(REG(TD_MMIO_EVENTS), 0, "no event so far");
	*e = TD_EVENT_VALUE;
	*e = TD_EVENT_VALUE;
	check_eq(REG(TD_MMIO_EVENTS), 2, "the value: an event each");
	check_eq(REG(TD_MMIO_PLAIN), 9, "and nothing on the bus");
	*(volatile uint16_t *)e = TD_EVENT_VALUE;
	check_eq(REG(TD_MMIO_EVENTS), 0, "2 bytes of it: no event");
}

int main(void)
{
	if (!have_testdev()) {
		check(inl(0x5658) == 0xffffffff, "nobody's port reads as ones");
		skip("devices", "no test device");
		return 0;
	}
	ports();
	port_strings();
	port_fault();
	permissions();
	mmio_moves();
	mmio_rmw();
	mmio_strings();
	mmio_across();
	ioeventfd();
	return 0;
}
