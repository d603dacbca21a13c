/* SPDX-License-Identifier: Apache-2.0 */
/* String instructions: widths, directions, prefixes, and faults in the
 * middle. SDM 2B REP: after a fault RCX, RSI and RDI say what is left. */
#include "tests/guest/lib.h"

static uint8_t src[512], dst[512];
static uint64_t hole, hole_page, faults;

struct regs {
	uint64_t cx, si, di, flags;
};

#define STRING(insn, a)                                                   \
	static struct regs run_##a(uint64_t cx, const void *s, void *d,   \
				   uint64_t ax)                           \
	{                                                                 \
		struct regs r = { cx, (uintptr_t)s, (uintptr_t)d, 0 };    \
		__asm__ volatile(insn "; pushfq; pop %3; cld"             \
				 : "+c"(r.cx), "+S"(r.si), "+D"(r.di),    \
				   "=r"(r.flags), "+a"(ax)                \
				 : : "memory", "cc");                     \
		return r;                                                 \
	}
STRING("rep movsb", movsb)
STRING("rep movsw", movsw)
STRING("rep movsl", movsl)
STRING("rep movsq", movsq)
STRING("std; rep movsb", movsb_down)
STRING("std; rep movsq", movsq_down)
STRING("rep stosb", stosb)
STRING("rep stosw", stosw)
STRING("rep stosl", stosl)
STRING("rep stosq", stosq)
STRING("repe cmpsb", cmpsb)
STRING("repne cmpsl", cmpsl)
STRING("repne scasb", scasb)
STRING("repe scasq", scasq)
STRING("addr32 rep movsb", movsb32)
STRING("movsb", movsb_one)

static void fill(void)
{
	for (unsigned i = 0; i < sizeof(src); i++) {
		src[i] = (uint8_t)(i * 37 + 11);
		dst[i] = 0xee;
	}
}

static int same(const uint8_t *a, const uint8_t *b, unsigned n)
{
	while (n && *a == *b)
		a++, b++, n--;
	return n == 0;
}

static void copies(void)
{
	struct regs r;

	fill();
	r = run_movsb(100, src + 1, dst + 3, 0);
	check(r.cx == 0 && r.si == pa_of(src + 101) && r.di == pa_of(dst + 103),
	      "rep movsb: the registers");
	check(same(src + 1, dst + 3, 100) && dst[2] == 0xee &&
	      dst[103] == 0xee, "rep movsb: these bytes and no other");
	fill();
	r = run_movsw(33, src, dst + 1, 0);
	check(r.di == pa_of(dst + 67) && same(src, dst + 1, 66) &&
	      dst[67] == 0xee, "rep movsw");
	fill();
	r = run_movsl(20, src + 2, dst, 0);
	check(r.di == pa_of(dst + 80) && same(src + 2, dst, 80) &&
	      dst[80] == 0xee, "rep movsl");
	fill();
	r = run_movsq(17, src + 5, dst + 7, 0);
	check(r.di == pa_of(dst + 143) && same(src + 5, dst + 7, 136) &&
	      dst[143] == 0xee, "rep movsq");
	fill();
	r = run_movsb_down(10, src + 20, dst + 20, 0);
	check(r.si == pa_of(src + 10) && same(src + 11, dst + 11, 10) &&
	      dst[10] == 0xee, "downwards");
	fill();
	r = run_movsq_down(3, src + 64, dst + 64, 0);
	check(r.di == pa_of(dst + 40) && same(src + 48, dst + 48, 24) &&
	      dst[47] == 0xee && dst[72] == 0xee, "downwards, 8 bytes each");
	fill();
	r = run_movsb(0, src, dst, 0);
	check(r.si == pa_of(src) && dst[0] == 0xee, "a count of 0");
	r = run_movsb_one(7, src, dst, 0);
	check(r.cx == 7 && r.si == pa_of(src + 1), "without REP: one alone");
}

static void overlaps(void)
{
	int ok = 1;

	fill();
	dst[0] = 1, dst[1] = 2;
	run_movsb(100, dst, dst + 2, 0);
	for (unsigned i = 0; i < 102; i++)
		ok &= dst[i] == 1 + (i & 1);
	check(ok, "a copy onto itself repeats its pattern");
	fill();
	memcpy(dst, src, 64);
	run_movsb(63, dst + 1, dst, 0);
	check(same(src + 1, dst, 63), "a copy to just below");
	for (unsigned i = 0; i < 64; i++)
		dst[i] = src[i] = (uint8_t)i;
	run_movsq(4, dst, dst + 4, 0);
	for (unsigned i = 0; i < 4; i++)
		*(volatile uint64_t *)(src + 4 + 8 * i) =
			*(volatile uint64_t *)(src + 8 * i);
	check(same(src, dst, 64), "words that overlap their own source");
}

static void stores(void)
{
	int ok = 1;

	fill();
	run_stosb(5, NULL, dst + 1, 0x11);
	run_stosw(3, NULL, dst + 16, 0x2233);
	run_stosl(3, NULL, dst + 33, 0x44556677);
	run_stosq(3, NULL, dst + 65, 0x8899aabbccddeeff);
	for (unsigned i = 0; i < 5; i++)
		ok &= dst[1 + i] == 0x11;
	check(ok && dst[0] == 0xee && dst[6] == 0xee, "rep stosb");
	check(dst[16] == 0x33 && dst[21] == 0x22 && dst[22] == 0xee,
	      "rep stosw");
	check(*(uint32_t *)(dst + 41) == 0x44556677 && dst[45] == 0xee,
	      "rep stosl");
	check(*(uint64_t *)(dst + 81) == 0x8899aabbccddeeff &&
	      dst[89] == 0xee, "rep stosq");
}

static void compares(void)
{
	struct regs r;

	fill();
	memcpy(dst, src, 200);
	r = run_cmpsb(200, src, dst, 0);
	check(r.cx == 0 && (r.flags & 0x40), "repe cmpsb: equal to the end");
	dst[50] = (uint8_t)(src[50] + 1);
	r = run_cmpsb(200, src, dst, 0);
	check(r.cx == 149 && r.si == pa_of(src + 51) && !(r.flags & 0x40),
	      "it stops after the first that differs");
	check((r.flags & 1) == (src[50] < dst[50]), "with its flags");
	fill();
	memcpy(dst + 40, src + 40, 4);
	r = run_cmpsl(50, src, dst, 0);
	check(r.cx == 39 && (r.flags & 0x40), "repne cmpsl");
	fill();
	src[77] = 0;
	for (unsigned i = 0; i < 77; i++)
		src[i] |= 1;
	r = run_scasb(~0ull, NULL, src, 0);
	check(r.di == pa_of(src + 78) && r.cx == ~78ull, "repne scasb: strlen");
	run_stosq(10, NULL, dst, 5);
	r = run_scasq(12, NULL, dst, 5);
	check(r.cx == 1 && r.di == pa_of(dst + 88), "repe scasq");
	r = run_cmpsb(0, src, dst, 0);
	check(r.cx == 0 && r.si == pa_of(src), "a count of 0 compares nothing");
}

static void address_size(void)
{
	struct regs r;

	fill();
	r = run_movsb32(0xabc0000000aull, src, dst, 0);
	check(r.cx == 0 && same(src, dst, 10) && dst[10] == 0xee,
	      "a 32-bit address size counts in ECX");
}

/* The window: two pages with a hole between. */
static void three_pages(uint8_t **first, uint8_t **third)
{
	*first = alloc_page();
	*third = alloc_page();
	hole = WINDOW + PAGE;
	map(WINDOW, pa_of(*first), 1, PTE_P | PTE_W);
	map(hole, 0, 1, 0);
	map(WINDOW + 2 * PAGE, pa_of(*third), 1, PTE_P | PTE_W);
}

static void faults_in_the_middle(void)
{
	uint64_t s = pa_of(src), d = WINDOW + PAGE - 100, n = 300;
	uint8_t *a, *c;

	fill();
	three_pages(&a, &c);
	TRY("rep movsb", : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	check_pf(PF_W, hole, "rep movsb into a hole");
	check(trap.f.rcx == 200 && trap.f.rdi == hole &&
	      trap.f.rsi == pa_of(src + 100) && trap.f.rip == trap_insn,
	      "the registers say where it stopped");
	check(same(src, a + PAGE - 100, 100), "what was done is there");
	s = WINDOW + PAGE - 20, d = pa_of(dst), n = 10;
	TRY("rep movsq", : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	check_pf(0, hole, "rep movsq out of a hole");
	check(trap.f.rcx == 8 && trap.f.rsi == hole - 4,
	      "a word that straddles the edge is not half done");
	d = WINDOW + 2 * PAGE + 9, n = 20;
	TRY("std; rep stosb", "; cld" : "+D"(d), "+c"(n) : "a"(7) : "memory",
	    "cc");
	check(trap.vector == VEC_PF && trap.cr2 == hole + PAGE - 1 &&
	      trap.f.rcx == 10 && trap.f.rdi == hole + PAGE - 1,
	      "downwards into a hole");
	d = hole - 3, n = 1;
	TRY("rep stosl", : "+D"(d), "+c"(n) : "a"(7) : "memory");
	check(trap.vector == VEC_PF && trap.cr2 == hole && trap.f.rcx == 1,
	      "a store across the edge: CR2 is the second page");
	if (cpu_is_limited())
		skip("a store across the edge", "this KVM does the first half");
	else
		check(a[PAGE - 3] == src[97],
		      "and its first part is not written");
	s = hole - 5, n = 100;
	TRY("mov %%rsi, %%rdi; repe cmpsb", : "+S"(s), "+c"(n) : : "rdi",
	    "memory", "cc");
	check(trap.vector == VEC_PF && trap.f.rcx == 95, "repe cmpsb");
}

static void fill_hole(struct frame *f)
{
	(void)f;
	faults++;
	map(hole, hole_page, 1, PTE_P | PTE_W);
}

/* As a kernel does: map the page, go on as if nothing had been. */
static void restarts(void)
{
	uint8_t *a, *b = alloc_page(), *c;
	uint64_t n = 3 * PAGE / 8, d = WINDOW;
	int ok = 1;

	three_pages(&a, &c);
	hole_page = pa_of(b);
	faults = 0;
	irq_handler[VEC_PF] = fill_hole;
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(0x1122334455ull)
			 : "memory");
	irq_handler[VEC_PF] = NULL;
	for (unsigned i = 0; i < PAGE / 8; i++)
		ok &= ((uint64_t *)a)[i] == 0x1122334455 &&
		      ((uint64_t *)b)[i] == 0x1122334455 &&
		      ((uint64_t *)c)[i] == 0x1122334455;
	check(faults == 1 && n == 0 && d == WINDOW + 3 * PAGE,
	      "a fault that is mended: the instruction goes on");
	check(ok, "and all three pages are filled");
}

/* 67 and ECX 0: undocumented, and what an Intel processor does. */
static void no_rounds(void)
{
	const uint64_t high = 0xdeadbeef00000000;
	uint64_t c = high, d = high, s = high;

	if (cpuid(0, 0).b != 0x756e6547 || cpu_is_tcg() || cpu_is_limited()) {
		skip("no rounds", "not an Intel CPU");
		return;
	}
	__asm__ volatile("addr32 rep stosb" : "+c"(c), "+D"(d) : "a"(0)
			 : "memory");
	check(c == 0 && d == 0, "67 rep stosb, ECX 0: RCX and RDI lose a half");
	c = d = high;
	__asm__ volatile("addr32 rep movsb" : "+c"(c), "+D"(d), "+S"(s) : :
			 "memory");
	check(c == 0 && d == 0 && s == 0, "67 rep movsb: and RSI");
	c = d = s = high;
	__asm__ volatile("addr32 repe cmpsb" : "+c"(c), "+D"(d), "+S"(s) : :
			 "memory", "cc");
	check(c == 0 && d == high && s == high, "67 repe cmpsb: RCX alone");
}

int main(void)
{
	copies();
	overlaps();
	stores();
	compares();
	address_size();
	faults_in_the_middle();
	restarts();
	no_rounds();
	return 0;
}
