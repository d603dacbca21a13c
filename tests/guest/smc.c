/* SPDX-License-Identifier: Apache-2.0 */
/* Code that changes: what is written is what runs next. SDM 3A 8.1.3 asks a
 * jump or a serializing instruction of the programmer for code reached by
 * another address; every x86 snoops its own stores to the same one. */
#include "tests/guest/lib.h"

typedef uint32_t (*code_fn)(void);

/* mov $imm, %eax; ret */
static void put_code(uint8_t *p, uint32_t imm)
{
	p[0] = 0xb8;
	memcpy(p + 1, &imm, 4);
	p[5] = 0xc3;
}

static void set_imm(volatile uint8_t *p, uint32_t imm)
{
	*(volatile uint32_t *)(p + 1) = imm;
}

static void same_page(void)
{
	uint32_t v;

	__asm__ volatile("movl $7, smc_next + 1(%%rip)\n"
			 "jmp smc_next\n"
			 "smc_next: mov $1, %0" : "=a"(v) : : "memory");
	check_eq(v, 7, "this page, after a jump");
	__asm__ volatile("movl $9, 1f + 1(%%rip)\n"
			 "1: mov $1, %0" : "=a"(v) : : "memory");
	check_eq(v, 9, "the very next instruction");
	__asm__ volatile("xor %0, %0; mov $3, %%ecx\n"
			 "1: add $1, %0; addb $1, 1b + 2(%%rip)\n"
			 "dec %%ecx; jnz 1b" : "=&a"(v) : : "ecx", "memory");
	check_eq(v, 1 + 2 + 3, "a loop that changes its own addend");
	__asm__ volatile("movb $0xeb, 1f(%%rip)\n" /* jmp +1 for mov $.., %cl */
			 "xor %0, %0\n"
			 "1: .byte 0xb1, 2\n inc %0\n 2: nop" : "=a"(v)
			 : : "ecx", "memory");
	check_eq(v, 0, "another instruction in its place");
}

static void other_page(void)
{
	uint8_t *p = alloc_page();
	code_fn f = (code_fn)p;
	uint32_t v;
	int ok = 1;

	put_code(p, 11);
	check_eq(f(), 11, "code in a data page");
	set_imm(p, 12);
	check_eq(f(), 12, "changed from elsewhere");
	for (uint32_t i = 0; i < 100; i++) {
		set_imm(p, i);
		ok &= f() == i;
	}
	check(ok, "a hundred times");
	put_code(p + 512, 13);
	check_eq(((code_fn)(p + 512))(), 13, "a second piece of that page");
	check_eq(f(), 99, "leaves the first alone");
	p[600] = 1;
	check_eq(f(), 99, "so does data beside it");
	memset(p, 0x90, 5); /* nops, and the ret is still there */
	__asm__ volatile("mov $21, %%eax; call *%1" : "=a"(v)
			 : "r"(f) : "memory");
	check_eq(v, 21, "overwritten by rep stosb");
}

static void alias(void)
{
	uint8_t *p = alloc_page();
	code_fn f = (code_fn)WINDOW;
	volatile uint8_t *w = (volatile uint8_t *)(WINDOW + 0x10000);

	put_code(p, 31);
	map(WINDOW, pa_of(p), 1, PTE_P | PTE_W);
	map(WINDOW + 0x10000, pa_of(p), 1, PTE_P | PTE_W);
	check_eq(f(), 31, "through one address");
	set_imm(w, 32);
	cpuid(0, 0);
	check_eq(f(), 32, "changed through another");
	set_imm(p, 33);
	cpuid(0, 0);
	check_eq(f(), 33, "and through a third");
	check_eq(((code_fn)p)(), 33, "run through that one");
}

static void remap(void)
{
	uint8_t *a = alloc_page(), *b = alloc_page();
	code_fn f = (code_fn)(WINDOW + 0x20000);

	put_code(a, 41);
	put_code(b, 42);
	map((uint64_t)(uintptr_t)f, pa_of(a), 1, PTE_P | PTE_W);
	check_eq(f(), 41, "one page at an address");
	map((uint64_t)(uintptr_t)f, pa_of(b), 1, PTE_P | PTE_W);
	check_eq(f(), 42, "another page at the same address");
	set_imm(a, 43);
	check_eq(f(), 42, "a write to the first is not seen there");
	map((uint64_t)(uintptr_t)f, pa_of(a), 1, PTE_P | PTE_W);
	check_eq(f(), 43, "but when it is back");
}

/* mov $imm, %eax across two pages: its immediate starts the second. */
static void across(void)
{
	uint8_t *a = alloc_page(), *b = alloc_page();
	uint64_t va = WINDOW + 0x30000;
	uint8_t *code = (uint8_t *)(va + PAGE - 1);

	map(va, pa_of(a), 1, PTE_P | PTE_W);
	map(va + PAGE, pa_of(b), 1, PTE_P | PTE_W);
	put_code(code, 51);
	check_eq(((code_fn)code)(), 51, "an instruction across two pages");
	b[0] = 52;
	cpuid(0, 0);
	check_eq(((code_fn)code)(), 52, "its second page changed");
	uint8_t *c = alloc_page();
	c[0] = 53, c[4] = 0xc3;
	map(va + PAGE, pa_of(c), 1, PTE_P | PTE_W);
	check_eq(((code_fn)code)(), 53, "its second page replaced");
	map(va + PAGE, 0, 1, 0);
	TRY("mov %%rsp, %%rbx; call *%0; mov %%rsp, %%rbx",
	    "\n\tmov %%rbx, %%rsp" : : "r"(code) : "rax", "rbx", "memory");
	check(trap.vector == VEC_PF && trap.cr2 == va + PAGE &&
	      trap.f.rip == (uintptr_t)code,
	      "its second page gone: #PF there, RIP at its start");
}

/*
 * Pages of code change places under addresses that ran a moment ago, and only
 * the flush that SDM 3A 4.10.4 asks for says so. Each page holds a function at
 * 64, and an instruction at its end whose immediate starts the next page.
 */
#define SPOTS	16u
#define SPOT(i) (WINDOW + 0x100000 + (i) * PAGE)

static void fill_spot_page(uint8_t *p, uint32_t number)
{
	memcpy(p, &number, 4);
	p[4] = 0xc3;
	put_code(p + 64, number + 100);
	p[PAGE - 1] = 0xb8;
}

static void flush(uint64_t va, uint64_t old, unsigned how)
{
	if (!(old & PTE_P))
		return;
	if (how == 0) {
		write_cr4(read_cr4() & ~CR4_PGE);
		write_cr4(read_cr4() | CR4_PGE);
	} else if (how == 1 && !(old & PTE_G)) {
		write_cr3(read_cr3());
	} else {
		invlpg(va);
	}
}

static int gone(uint64_t at, uint64_t cr2)
{
	TRY("mov %%rsp, %%rbx; call *%0; mov %%rsp, %%rbx",
	    "\n\tmov %%rbx, %%rsp" : : "r"(at) : "rax", "rbx", "memory");
	return trap.vector == VEC_PF && trap.cr2 == cr2 && trap.f.rip == at;
}

static int spot_is(uint64_t va, uint32_t here, uint32_t next)
{
	if (!here)
		return gone(va + 64, va + 64);
	if (((code_fn)(va + 64))() != here + 100)
		return 0;
	return next ? ((code_fn)(va + PAGE - 1))() == next :
		      gone(va + PAGE - 1, va + PAGE);
}

static void shuffle(void)
{
	uint32_t number[SPOTS + 1] = { 0 }, r = 1;
	uint8_t *page[8];
	unsigned bad = 0;

	for (unsigned i = 0; i < 8; i++)
		fill_spot_page(page[i] = alloc_page(), i + 1);
	map(SPOT(0), 0, 1, 0);
	write_cr4(read_cr4() | CR4_PGE);
	for (unsigned n = 0; n < 4000; n++) {
		r = r * 1664525 + 1013904223;
		unsigned i = r >> 28, k = r >> 25 & 7;
		uint64_t *pte = pte_of(SPOT(i), 1), old = *pte;

		number[i] = r >> 22 & 7 ? k + 1 : 0;
		*pte = number[i] ? pa_of(page[k]) | PTE_P | PTE_W |
				   (r >> 21 & 1 ? PTE_G : 0) : 0;
		flush(SPOT(i), old, r >> 16 & 3);
		bad += !spot_is(SPOT(i), number[i], number[i + 1]);
		if (i && number[i - 1])
			bad += !spot_is(SPOT(i - 1), number[i - 1],
					number[i]);
	}
	write_cr4(read_cr4() & ~CR4_PGE);
	check_eq(bad, 0, "4000 times other code at an address, and flushed");
}

static void device(void)
{
	uint8_t *p = alloc_page();
	code_fn f = (code_fn)p;
	volatile uint64_t *td = (volatile uint64_t *)TD_MMIO;

	if (!have_testdev()) {
		skip("device writes", "no test device");
		return;
	}
	put_code(p, 61);
	check_eq(f(), 61, "before");
	td[TD_MMIO_DMA_TO / 8] = pa_of(p) + 1;
	td[TD_MMIO_DMA_DATA / 8] = 62;
	td[TD_MMIO_DMA_GO / 8] = 4;
	check_eq(f(), 62, "a device changed it");
}

int main(void)
{
	same_page();
	other_page();
	alias();
	remap();
	across();
	shuffle();
	device();
	return 0;
}
