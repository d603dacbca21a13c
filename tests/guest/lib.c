/* SPDX-License-Identifier: Apache-2.0 */
/* Reporting, descriptor tables, traps, page tables and user mode. */
#include "tests/guest/lib.h"

#include <stdarg.h>

#include "runner/x86/layout.h"

#define SLEEP_S5 0x34 /* ACPI: SLP_EN, and type 5 as our DSDT has it */
#define HEAP	0x400000ull  /* pages */
#define HEAP_2M 0x1000000ull /* 2 MiB pieces */

/* start.S */
extern uint8_t trap_stubs[];
void user_leave(uint64_t rax) __attribute__((noreturn));
void lib_init(void);
void trap_entry(struct frame *f);

struct trap trap;
volatile uint64_t trap_resume, trap_insn;
irq_fn irq_handler[256];
struct gate idt[256] __attribute__((aligned(16)));
struct tss tss __attribute__((aligned(16)));
uint64_t gdt[GDT_SIZE] __attribute__((aligned(16)));

static uint8_t trap_stack[8192] __attribute__((aligned(16)));
static uint64_t next_page = HEAP, next_2m = HEAP_2M;
static unsigned checks, failures;
static uint16_t text_port = TD_DEBUG;

/* --- reporting --------------------------------------------------------- */

static void put(const char *s, size_t n)
{
	__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(text_port)
			 : "memory");
}

static void put_number(uint64_t v, unsigned base)
{
	char buf[24];
	size_t i = sizeof(buf);

	do {
		buf[--i] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	put(buf + i, sizeof(buf) - i);
}

static void put_string(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	put(s, n);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	while (*fmt) {
		const char *run = fmt;

		while (*fmt && *fmt != '%')
			fmt++;
		put(run, (size_t)(fmt - run));
		if (!*fmt)
			break;
		fmt++;
		if (*fmt == 's')
			put_string(va_arg(ap, const char *));
		else if (*fmt == 'x')
			put_number(va_arg(ap, uint64_t), 16);
		else
			put_number(va_arg(ap, uint64_t), 10);
		fmt++;
	}
	va_end(ap);
}

void check(int ok, const char *name)
{
	checks++;
	failures += !ok;
	print("%s %d %s\n", ok ? "PASS" : "FAIL", (uint64_t)checks, name);
}

void check_eq(uint64_t got, uint64_t want, const char *name)
{
	if (got == want) {
		check(1, name);
		return;
	}
	checks++;
	failures++;
	print("FAIL %d %s: %x, not %x\n", (uint64_t)checks, name, got, want);
}

void skip(const char *name, const char *why)
{
	checks++;
	print("SKIP %d %s: %s\n", (uint64_t)checks, name, why);
}

void quit(void)
{
	for (;;) {
		outb(TD_EXIT, failures > 255 ? 255 : (uint8_t)failures);
		if (text_port == LAYOUT_COM1)
			outb(LAYOUT_SLEEP, SLEEP_S5);
		__asm__ volatile("cli; hlt");
	}
}

int have_testdev(void)
{
	return inl(TD_ID) == TD_ID_VALUE;
}

int cpu_is_limited(void)
{
	return have_testdev() && (inl(TD_FLAGS) & TD_FLAG_LIMITED);
}

int cpu_is_tcg(void)
{
	if (have_testdev())
		return (inl(TD_FLAGS) & TD_FLAG_TCG) != 0;
	return 1; /* whoever else runs payloads is QEMU */
}

/* --- memory ------------------------------------------------------------ */

void *memset(void *p, int c, size_t n)
{
	void *d = p;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *d, const void *s, size_t n)
{
	void *to = d;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n) : : "memory");
	return d;
}

void *alloc_page(void)
{
	void *p = (void *)next_page;

	next_page += PAGE;
	return memset(p, 0, PAGE);
}

void *alloc_2m(void)
{
	void *p = (void *)next_2m;

	next_2m += 2ull << 20;
	return p;
}

uint64_t *pte_of(uint64_t va, int level)
{
	uint64_t *table = (uint64_t *)(read_cr3() & PTE_ADDR);

	for (int l = 4; l > level; l--) {
		uint64_t *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (!(*e & PTE_P))
			*e = pa_of(alloc_page()) | PTE_P | PTE_W | PTE_U;
		table = (uint64_t *)(*e & PTE_ADDR);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

void map(uint64_t va, uint64_t pa, int level, uint64_t flags)
{
	*pte_of(va, level) = pa | flags | (level > 1 ? PTE_PS : 0);
	invlpg(va);
}

/* --- traps ------------------------------------------------------------- */

static void die(struct frame *f)
{
	print("FAIL vector %x error %x at %x, cr2 %x, nobody expected it\n",
	      f->vector, f->error, f->rip, read_cr2());
	failures++;
	quit();
}

void trap_entry(struct frame *f)
{
	if (irq_handler[f->vector & 255]) {
		irq_handler[f->vector & 255](f);
		return;
	}
	trap.vector = f->vector;
	trap.error = f->error;
	trap.cr2 = read_cr2();
	trap.f = *f;
	trap.handler_rsp = (uintptr_t)f + sizeof(*f);
	if ((f->cs & 3) == 3)
		user_leave(f->rax);
	if (!trap_resume)
		die(f);
	f->rip = trap_resume;
	f->rflags &= ~RFLAGS_TF;
}

void trap_clear(void)
{
	trap = (struct trap){ .vector = VEC_NONE };
}

void check_trap(uint64_t vector, uint64_t error, const char *name)
{
	int ok = trap.vector == vector && trap.error == error &&
		 (vector == VEC_NONE || trap.f.rip == trap_insn);

	check(ok, name);
	if (!ok)
		print("     vector %x error %x rip %x, not %x %x %x\n",
		      trap.vector, trap.error, trap.f.rip, vector, error,
		      trap_insn);
}

void check_pf(uint64_t error, uint64_t cr2, const char *name)
{
	uint64_t got = trap.error;
	int ok;

	if ((error & PF_RSVD) && cpu_is_tcg())
		got |= PF_P;
	ok = trap.vector == VEC_PF && got == error && trap.cr2 == cr2;

	check(ok, name);
	if (!ok)
		print("     vector %x error %x cr2 %x, not e %x %x\n",
		      trap.vector, trap.error, trap.cr2, error, cr2);
}

static void set_gate(unsigned n, unsigned dpl)
{
	uint64_t at = (uintptr_t)trap_stubs + 16 * n;

	idt[n] = (struct gate){
		.low = (uint16_t)at,
		.sel = KERNEL_CS,
		.type = (uint8_t)(0x8e | dpl << 5), /* interrupt gate */
		.mid = (uint16_t)(at >> 16),
	};
}

static void load_tables(void)
{
	struct table g = { sizeof(gdt) - 1, pa_of(gdt) };
	struct table i = { sizeof(idt) - 1, pa_of(idt) };
	uint64_t t = pa_of(&tss);

	gdt[KERNEL_CS / 8] = 0x00af9b000000ffff;
	gdt[KERNEL_DS / 8] = 0x00cf93000000ffff;
	gdt[TSS_SEL / 8] = 0x0000890000000067 | (t & 0xffffff) << 16 |
			   (t >> 24 & 0xff) << 56;
	gdt[TSS_SEL / 8 + 1] = t >> 32;
	gdt[USER_CS32 / 8] = 0x00cffb000000ffff;
	gdt[USER_DS / 8] = 0x00cff3000000ffff;
	gdt[USER_CS / 8] = 0x00affb000000ffff;
	gdt[KERNEL_CS32 / 8] = 0x00cf9b000000ffff;
	gdt[NP_SEL / 8] = 0x00cf13000000ffff;
	gdt[RO_SEL / 8] = 0x00cf91000000ffff;
	tss.rsp[0] = pa_of(trap_stack + sizeof(trap_stack));
	tss.iomap = sizeof(tss);
	for (unsigned n = 0; n < 256; n++)
		set_gate(n, n == VEC_BP || n == VEC_OF ? 3 : 0);
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(g), "m"(i),
			 "r"(TSS_SEL) : "memory");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : :
			 "r"(KERNEL_DS));
}

/* QEMU's debug port answers with its own number, and where nobody does there
 * is neither: mayfly's machine, whose one way out is the serial port. */
static void find_text_port(void)
{
	if (!have_testdev() && inb(TD_DEBUG) != TD_DEBUG)
		text_port = LAYOUT_COM1;
}

void lib_init(void)
{
	find_text_port();
	load_tables();
	trap_clear();
}

uint64_t run_user(uint64_t rip, uint64_t rsp, uint64_t arg, uint64_t flags)
{
	return run_user_cs(rip, rsp, arg, flags, USER_CS);
}

/* --- user mode --------------------------------------------------------- */

/* Past the window, and not below the first PML4 entry: that one is the
 * kernel's alone. */
#define USER_AREA 0x10000000000ull

static uint64_t user_page(void *page)
{
	static uint64_t next = USER_AREA;
	uint64_t va = next;

	next += 2 * PAGE; /* a hole after each */
	map(va, pa_of(page), 1, PTE_P | PTE_W | PTE_U);
	return va;
}

uint64_t user_code(const void *start, const void *end)
{
	void *page = alloc_page();

	memcpy(page, start, (size_t)((const char *)end - (const char *)start));
	return user_page(page);
}

uint64_t user_stack(void)
{
	return user_page(alloc_page()) + PAGE;
}
