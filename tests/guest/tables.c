/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging, level by level: reserved bits, rights and accessed bits in every
 * table, large pages, accesses across two pages, implicit accesses. SDM 3A
 * 4.5 to 4.8, 4.10; what concerns one page only is in paging.c.
 */
#include "tests/guest/lib.h"

#define RWU (PTE_P | PTE_W | PTE_U)
#define AT  (WINDOW + 0x12345000)

#define READ(va)  TRY("mov (%0), %%rax", : : "r"(va) : "rax", "memory")
#define WRITE(va) TRY("movq $1, (%0)", : : "r"(va) : "memory")
#define EXEC(va)                                            \
	TRY("mov %%rsp, %%rbx; call *%0; mov %%rsp, %%rbx", \
	    "\n\tmov %%rbx, %%rsp" : : "r"(va) : "rbx", "memory")

static uint64_t user_read_at, user_write_at, user_sp;

static void flush(void)
{
	write_cr3(read_cr3());
}

static void as_user(uint64_t code, uint64_t va)
{
	run_user(code, user_sp, va, RFLAGS_FIXED);
}

/* --- each level ---------------------------------------------------------- */

static const char *const level_name[] = { "", "in the page's entry",
					  "a level above", "two levels above",
					  "three levels above" };

static void reserved(void)
{
	uint64_t bits = cpuid(0x80000008, 0).a & 0xff;

	for (int level = 4; level >= 1 && bits < 52; level--) {
		uint64_t *e = pte_of(AT, level), old = *e;

		*e |= 1ull << bits;
		flush();
		WRITE(AT);
		check_pf(PF_P | PF_W | PF_RSVD, AT, level_name[level]);
		*e = old;
		flush();
	}
	if (!cpu_is_tcg()) {
		uint64_t *e = pte_of(AT, 4);

		*e |= PTE_PS;
		flush();
		READ(AT);
		check_pf(PF_P | PF_RSVD, AT, "the size bit in a PML4 entry");
		*e &= ~PTE_PS;
		flush();
	}
	READ(AT);
	check_trap(VEC_NONE, 0, "and all is well again");
}

static void rights(void)
{
	for (int level = 4; level >= 1; level--) {
		uint64_t *e = pte_of(AT, level);

		*e &= ~PTE_W;
		flush();
		WRITE(AT);
		check_pf(PF_P | PF_W, AT, "read-only");
		as_user(user_write_at, AT);
		check_pf(PF_P | PF_W | PF_U, AT, level_name[level]);
		*e = (*e | PTE_W) & ~PTE_U;
		flush();
		as_user(user_read_at, AT);
		check_pf(PF_P | PF_U, AT, "not the user's");
		READ(AT);
		check_trap(VEC_NONE, 0, level_name[level]);
		*e |= PTE_U | PTE_NX;
		flush();
		EXEC(AT);
		check_pf(PF_P | PF_I, AT, "not to be executed");
		*e &= ~(PTE_NX | PTE_P);
		flush();
		as_user(user_write_at, AT);
		check_pf(PF_W | PF_U, AT, "not there");
		*e |= PTE_P;
		flush();
	}
}

static void accessed(void)
{
	for (int level = 1; level <= 4; level++)
		*pte_of(AT, level) &= ~(PTE_A | PTE_D);
	flush();
	READ(AT);
	for (int level = 4; level >= 1; level--)
		check(*pte_of(AT, level) & PTE_A, level_name[level]);
	check(!(*pte_of(AT, 1) & PTE_D), "a read leaves D clear");
	WRITE(AT);
	check(*pte_of(AT, 1) & PTE_D, "a write sets it");
	check(!(*pte_of(AT, 2) & PTE_D) && !(*pte_of(AT, 3) & PTE_D),
	      "but not in the tables above");
	*pte_of(AT, 1) &= ~(PTE_A | PTE_D);
	flush();
	EXEC(AT);
	check((*pte_of(AT, 1) & (PTE_A | PTE_D)) == PTE_A,
	      "execution sets A alone");
	*pte_of(AT, 1) &= ~(PTE_A | PTE_D);
	flush();
	TRY("xor %%eax, %%eax; lock cmpxchg %%rbx, 8(%0)", : : "r"(AT)
	    : "rax", "rbx", "memory", "cc");
	check(*pte_of(AT, 1) & PTE_D, "a compare-exchange is a write");
}

/* --- large pages ----------------------------------------------------------- */

static void two_megabytes(void)
{
	uint64_t va = WINDOW + 0x40000000, pa = pa_of(alloc_2m());
	uint64_t other = pa_of(alloc_2m()), v;
	uint64_t *pd = pte_of(va, 2);

	*(volatile uint64_t *)(pa + 0x155000) = 0x11;
	*(volatile uint64_t *)(other + 0x155000) = 0x22;
	map(va, pa, 2, RWU);
	v = *(volatile uint64_t *)(va + 0x155000);
	check_eq(v, 0x11, "a 2 MiB page, somewhere in it");
	check(*pd & PTE_A && !(*pd & PTE_D), "A in its entry");
	*pd = (*pd & ~PTE_ADDR) | other;
	invlpg(va + 0x1000);
	v = *(volatile uint64_t *)(va + 0x155000);
	check_eq(v, 0x22, "invlpg of any address drops it whole");
	for (unsigned bit = 13; bit <= 20; bit += 7) {
		*pd |= 1ull << bit;
		invlpg(va);
		READ(va + 0x2000);
		check_pf(PF_P | PF_RSVD, va + 0x2000, "a reserved bit of it");
		*pd &= ~(1ull << bit);
		invlpg(va);
	}
	*pd |= 1ull << 12; /* PAT */
	invlpg(va);
	READ(va);
	check_trap(VEC_NONE, 0, "bit 12 is none");
	*pd = 0;
	invlpg(va);
}

static void one_gigabyte(void)
{
	uint64_t va = WINDOW + 0x80000000, *e = pte_of(va, 3);

	if (!(cpuid(0x80000001, 0).d >> 26 & 1)) {
		skip("1 GiB pages", "CPUID");
		return;
	}
	*e = RWU | PTE_PS;
	flush();
	READ(va + 0x123456);
	check_trap(VEC_NONE, 0, "a 1 GiB page");
	for (unsigned bit = 13; bit <= 29; bit += 16) {
		*e |= 1ull << bit;
		flush();
		READ(va);
		check_pf(PF_P | PF_RSVD, va, "a reserved bit of it");
		*e &= ~(1ull << bit);
	}
	*e = 0;
	flush();
}

/* --- two pages at once ------------------------------------------------------- */

static void across(void)
{
	uint64_t va = WINDOW + 0x50000, a = pa_of(alloc_page());
	uint64_t b = pa_of(alloc_page());
	volatile uint8_t *end = (uint8_t *)(a + PAGE - 4);

	map(va, a, 1, PTE_P | PTE_W);
	map(va + PAGE, b, 1, 0);
	*end = 0x77;
	WRITE(va + PAGE - 4);
	check_pf(PF_W, va + PAGE, "across to a page that is not there");
	check_eq(*end, 0x77, "nothing was written to the first");
	map(va + PAGE, b, 1, PTE_P);
	WRITE(va + PAGE - 4);
	check_pf(PF_P | PF_W, va + PAGE, "across to a read-only one");
	check_eq(*end, 0x77, "nor then");
	TRY("lock incq (%0)", : : "r"(va + PAGE - 4) : "memory", "cc");
	check_pf(PF_P | PF_W, va + PAGE, "a locked increment of both");
	map(va + PAGE, b, 1, PTE_P | PTE_W);
	WRITE(va + PAGE - 4);
	check(trap.vector == VEC_NONE && *end == 1 &&
	      !*(volatile uint32_t *)b, "and with both: both");
	map(0x7ffffffff000, a, 1, PTE_P | PTE_W);
	READ(0x7ffffffffffcull);
	check_trap(VEC_GP, 0, "off the end of the lower half: #GP");
	map(0x7ffffffff000, a, 1, 0);
	if (cpu_is_tcg()) {
		skip("first page absent", "TCG looks at one page at a time");
		return;
	}
	READ(0x7ffffffffffcull);
	check_trap(VEC_GP, 0, "even with the first page absent");
}

/* An instruction whose second half may not be executed. */
static void code_across(void)
{
	uint64_t va = WINDOW + 0x60000, a = pa_of(alloc_page());
	uint64_t b = pa_of(alloc_page());
	uint8_t *p = (uint8_t *)(a + PAGE - 2);

	p[0] = 0x48; /* mov $0, %rax; ret */
	p[1] = 0xc7;
	memset((void *)b, 0, 16);
	*(uint8_t *)b = 0xc0;
	*(uint8_t *)(b + 5) = 0xc3;
	map(va, a, 1, PTE_P);
	map(va + PAGE, b, 1, PTE_P);
	EXEC(va + PAGE - 2);
	check_eq(trap.vector, VEC_NONE, "an instruction across two pages");
	map(va + PAGE, b, 1, PTE_P | PTE_NX);
	EXEC(va + PAGE - 2);
	check(trap.vector == VEC_PF && trap.error == (PF_P | PF_I) &&
	      trap.cr2 == va + PAGE && trap.f.rip == va + PAGE - 2,
	      "its second page NX: RIP at its start, CR2 there");
}

/* --- implicit accesses --------------------------------------------------------- */

/* SDM 3A 4.6.1: tables are read as the supervisor, whatever CPL and AC say. */
static void implicit(void)
{
	extern uint8_t m_ds[], m_end[];
	uint64_t va = WINDOW + 0x70000, page = pa_of(alloc_page());
	uint64_t ldt_va = va + PAGE, ldt = pa_of(alloc_page());
	uint64_t *mine_at = (uint64_t *)page;
	struct table mine = { sizeof(gdt) + 15, va };
	struct table old = { sizeof(gdt) - 1, pa_of(gdt) };
	uint64_t code = user_code(m_ds, m_end);

	__asm__ volatile("jmp 1f\n"
			 "m_ds: mov $0x3b, %eax; mov %eax, %ds; int3\n"
			 "m_end:\n1:");
	memcpy((void *)page, gdt, sizeof(gdt));
	mine_at[GDT_SIZE] = 0x820000000fffull | (ldt_va & 0xffffff) << 16 |
			    (ldt_va >> 24 & 0xff) << 56;
	mine_at[GDT_SIZE + 1] = ldt_va >> 32;
	((uint64_t *)ldt)[1] = 0x00cf93000000ffff;
	map(va, page, 1, PTE_P | PTE_W);
	map(ldt_va, ldt, 1, RWU);
	__asm__ volatile("lgdt %0" : : "m"(mine));
	run_user(code, user_sp, 0, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT,
		 "user code loads DS from a kernel page");
	if ((cpuid(7, 0).b >> 20 & 1) && !cpu_is_tcg()) {
		__asm__ volatile("lldt %w0" : : "r"(GDT_SIZE * 8));
		write_cr4(read_cr4() | CR4_SMAP);
		TRY("stac; mov %0, %%ds; clac", : : "r"(8 | 4) : "memory");
		check(trap.vector == VEC_PF && trap.error == PF_P &&
		      trap.cr2 == ldt_va + 8,
		      "SMAP holds for tables, AC or not");
		__asm__ volatile("clac");
		write_cr4(read_cr4() & ~CR4_SMAP);
		__asm__ volatile("lldt %w0" : : "r"(0));
	} else {
		skip("SMAP of tables", "CPUID, or TCG, which lets it pass");
	}
	__asm__ volatile("lgdt %0" : : "m"(old));
	__asm__ volatile("mov %0, %%ds" : : "r"(KERNEL_DS));
}

int main(void)
{
	extern uint8_t u_read[], u_write[], u_end[];
	uint8_t *page = alloc_page();
	int nx = cpuid(0x80000001, 0).d >> 20 & 1;

	__asm__ volatile("jmp 1f\n"
			 "u_read: mov (%rdi), %rax; int3\n"
			 "u_write: mov %rax, (%rdi); int3\n"
			 "u_end:\n1:");
	user_read_at = user_code(u_read, u_write);
	user_write_at = user_code(u_write, u_end);
	user_sp = user_stack();
	*page = 0xc3;
	map(AT, pa_of(page), 1, RWU);
	write_cr0(read_cr0() | CR0_WP);
	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	reserved();
	accessed();
	two_megabytes();
	one_gigabyte();
	if (cpu_is_limited()) {
		skip("rights", "this KVM leaves them out in kernel mode");
		return 0;
	}
	across();
	if (nx)
		rights();
	if (nx)
		code_across();
	implicit();
	return 0;
}
