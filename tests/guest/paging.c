/* SPDX-License-Identifier: Apache-2.0 */
/* Paging: who may touch which page, and what #PF says otherwise.
 * SDM 3A 4.5 (translation), 4.6 (access rights), 4.7 (#PF), 4.8 (A and D),
 * 4.10 (TLBs). */
#include "tests/guest/lib.h"

#define RWU (PTE_P | PTE_W | PTE_U)

static int smep, smap, nx, pages_1g;

/* A `ret` on the page, for execution. */
static void *code_page(void)
{
	uint8_t *p = alloc_page();

	*p = 0xc3;
	return p;
}

#define READ(va)  TRY("mov (%0), %%rax", : : "r"(va) : "rax", "memory")
#define WRITE(va) TRY("movq $1, (%0)", : : "r"(va) : "memory")
/* A fault leaves the return address behind; the stack is put right. */
#define EXEC(va)                                            \
	TRY("mov %%rsp, %%rbx; call *%0; mov %%rsp, %%rbx", \
	    "\n\tmov %%rbx, %%rsp" : : "r"(va) : "rbx", "memory")

static void supervisor(void)
{
	uint64_t va = WINDOW, pa = pa_of(code_page());

	map(va, pa, 1, PTE_P | PTE_W);
	READ(va);
	check_trap(VEC_NONE, 0, "read a present page");
	WRITE(va);
	check_trap(VEC_NONE, 0, "write a writable page");
	map(va, pa, 1, 0);
	READ(va + 8);
	check_pf(0, va + 8, "read, not present");
	WRITE(va + 16);
	check_pf(PF_W, va + 16, "write, not present");
	map(va, pa, 1, PTE_P);
	write_cr0(read_cr0() & ~CR0_WP);
	WRITE(va);
	check_trap(VEC_NONE, 0, "without WP the kernel writes read-only pages");
	write_cr0(read_cr0() | CR0_WP);
	WRITE(va + 0xff8);
	check_pf(PF_P | PF_W, va + 0xff8, "with WP it does not");
	TRY("lock cmpxchg %%rbx, (%0)", : : "r"(va) : "rax", "memory");
	check_pf(PF_P | PF_W, va, "a locked compare is a write, equal or not");
	write_cr0(read_cr0() & ~CR0_WP);
	map(va, pa, 1, PTE_P | PTE_W);
}

static void reserved(void)
{
	uint64_t va = WINDOW + 0x10000, pa = pa_of(alloc_page());
	uint64_t bits = cpuid(0x80000008, 0).a & 0xff;

	map(va, pa, 1, RWU | 1ull << 51);
	READ(va);
	if (bits > 51)
		skip("reserved address bit", "52-bit physical addresses");
	else
		check_pf(PF_P | PF_RSVD, va, "reserved address bit");
	*pte_of(va, 2) = pa_of(alloc_2m()) | RWU | PTE_PS | 1ull << 13;
	invlpg(va);
	WRITE(va + 0x1000);
	check_pf(PF_P | PF_W | PF_RSVD, va + 0x1000,
		 "bit 13 of a 2 MiB page is reserved");
	*pte_of(va, 2) = 0;
	invlpg(va);
	if (!nx)
		return;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NXE);
	map(va, pa, 1, RWU | PTE_NX);
	READ(va);
	check_pf(PF_P | PF_RSVD, va, "NX is reserved while EFER.NXE is 0");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	READ(va);
	check_trap(VEC_NONE, 0, "and is not when it is 1");
}

static void canonical(void)
{
	READ(0x0000800000000000);
	check_trap(VEC_GP, 0, "a non-canonical address is #GP");
	READ(0xffff7fffffffffff);
	check_trap(VEC_GP, 0, "so is one just below the upper half");
	if (cpu_is_tcg()) {
		skip("#SS through RBP", "TCG raises #GP");
		return;
	}
	TRY("mov %%rbp, %%rbx; mov %0, %%rbp; mov (%%rbp), %%rax",
	    "\n\tmov %%rbx, %%rbp" : : "r"(0x1234567890abcdef)
	    : "rax", "rbx", "memory");
	check(trap.vector == VEC_SS && trap.error == 0,
	      "through RBP it is #SS");
}

static void no_execute(void)
{
	uint64_t va = WINDOW + 0x20000, pa = pa_of(code_page());

	map(va, pa, 1, PTE_P);
	EXEC(va);
	check(trap.vector == VEC_NONE, "execute a page");
	if (!nx) {
		skip("NX", "CPUID");
		return;
	}
	map(va, pa, 1, PTE_P | PTE_NX);
	READ(va);
	check_trap(VEC_NONE, 0, "an NX page can be read");
	EXEC(va);
	check_pf(PF_P | PF_I, va, "and not executed");
	map(va, pa, 1, PTE_P);
	*pte_of(va, 2) |= PTE_NX;
	invlpg(va);
	EXEC(va);
	check_pf(PF_P | PF_I, va, "NX in the table above holds as well");
	*pte_of(va, 2) &= ~PTE_NX;
	map(va, pa, 1, 0);
	EXEC(va);
	check_pf(PF_I, va, "execute, not present");
}

static void smep_smap(void)
{
	uint64_t va = WINDOW + 0x30000, pa = pa_of(code_page());

	map(va, pa, 1, RWU);
	EXEC(va);
	check(trap.vector == VEC_NONE, "without SMEP user code runs in ring 0");
	if (smep) {
		write_cr4(read_cr4() | CR4_SMEP);
		EXEC(va);
		check_pf(PF_P | PF_I, va, "with SMEP it does not");
		READ(va);
		check_trap(VEC_NONE, 0, "SMEP leaves reads alone");
		write_cr4(read_cr4() & ~CR4_SMEP);
	} else {
		skip("SMEP", "CPUID");
	}
	if (!smap) {
		skip("SMAP", "CPUID");
		return;
	}
	if (cpu_is_limited()) {
		skip("SMAP", "this KVM cannot emulate stac");
		return;
	}
	write_cr4(read_cr4() | CR4_SMAP);
	READ(va);
	check_pf(PF_P, va, "SMAP: the kernel reads no user page");
	WRITE(va);
	check_pf(PF_P | PF_W, va, "SMAP: nor writes one");
	TRY("stac; mov (%0), %%rax; clac", : : "r"(va) : "rax", "memory");
	check(trap.vector == VEC_NONE, "but it does with AC set");
	write_cr4(read_cr4() & ~CR4_SMAP);
}

static void accessed_dirty(void)
{
	uint64_t va = WINDOW + 0x40000, pa = pa_of(alloc_page());
	volatile uint64_t *pte = pte_of(va, 1);

	map(va, pa, 1, RWU);
	READ(va);
	check_eq(*pte & (PTE_A | PTE_D), PTE_A, "a read sets A alone");
	check_eq(*pte_of(va, 2) & PTE_A, PTE_A, "in the table above, too");
	WRITE(va);
	check_eq(*pte & (PTE_A | PTE_D), PTE_A | PTE_D, "a write sets D");
	*pte &= ~(PTE_A | PTE_D);
	invlpg(va);
	WRITE(va);
	check_eq(*pte & (PTE_A | PTE_D), PTE_A | PTE_D,
		 "a first write sets both");
	*pte &= ~PTE_D;
	invlpg(va);
	READ(va);
	check_eq(*pte & PTE_D, 0, "a read after invlpg leaves D clear");
	WRITE(va);
	check_eq(*pte & PTE_D, PTE_D, "a write to a page read before sets D");
}

static void big_pages(void)
{
	uint64_t va = WINDOW + (1ull << 30), pa = pa_of(alloc_2m());
	volatile uint64_t *direct = (volatile uint64_t *)(pa + 0x123450);

	map(va, pa, 2, RWU);
	*direct = 0xabcdef;
	check_eq(*(volatile uint64_t *)(va + 0x123450), 0xabcdef,
		 "a 2 MiB page");
	WRITE(va);
	check_eq(*pte_of(va, 2) & PTE_D, PTE_D, "its D bit");
	map(va, pa, 2, PTE_P | PTE_U);
	write_cr0(read_cr0() | CR0_WP);
	WRITE(va + 0x1fff00);
	check_pf(PF_P | PF_W, va + 0x1fff00, "a read-only 2 MiB page");
	write_cr0(read_cr0() & ~CR0_WP);
	if (!pages_1g) {
		skip("a 1 GiB page", "CPUID");
		return;
	}
	map(WINDOW + (4ull << 30), 0, 3, RWU);
	check_eq(*(volatile uint64_t *)(WINDOW + (4ull << 30) + pa + 0x123450),
		 0xabcdef, "a 1 GiB page");
}

static void tlb(void)
{
	uint64_t va = WINDOW + 0x50000;
	uint64_t *a = alloc_page(), *b = alloc_page();
	volatile uint64_t *p = (volatile uint64_t *)va;

	*a = 1, *b = 2;
	map(va, pa_of(a), 1, RWU);
	check_eq(*p, 1, "one page");
	*pte_of(va, 1) = pa_of(b) | RWU;
	invlpg(va);
	check_eq(*p, 2, "invlpg makes the new entry seen");
	*pte_of(va, 1) = pa_of(a) | RWU;
	write_cr3(read_cr3());
	check_eq(*p, 1, "so does a write of CR3");
	write_cr4(read_cr4() | CR4_PGE);
	*pte_of(va, 1) = pa_of(a) | RWU | PTE_G;
	invlpg(va);
	check_eq(*p, 1, "a global page");
	*pte_of(va, 1) = pa_of(b) | RWU | PTE_G;
	invlpg(va);
	check_eq(*p, 2, "invlpg drops a global page");
	*pte_of(va, 1) = pa_of(a) | RWU | PTE_G;
	write_cr4(read_cr4() & ~CR4_PGE);
	check_eq(*p, 1, "clearing PGE drops global pages");
	map(va, pa_of(a), 1, PTE_P | PTE_U);
	write_cr0(read_cr0() | CR0_WP);
	READ(va);
	*pte_of(va, 1) |= PTE_W;
	WRITE(va);
	check(trap.vector == VEC_NONE || trap.vector == VEC_PF,
	      "more rights without invlpg: seen now, or after one #PF");
	WRITE(va);
	check_trap(VEC_NONE, 0, "at the second try always (SDM 4.10.4.3)");
	write_cr0(read_cr0() & ~CR0_WP);
}

static void user_access(void)
{
	extern uint8_t u_read[], u_write[], u_exec[], u_end[];
	uint64_t code = user_code(u_read, u_end), sp = user_stack();
	uint64_t write = code + (uint64_t)(u_write - u_read);
	uint64_t exec = code + (uint64_t)(u_exec - u_read);
	uint64_t va = WINDOW + 0x60000, pa = pa_of(code_page());

	__asm__ volatile("jmp 1f\n"
			 "u_read: mov (%rdi), %rax; int3\n"
			 "u_write: movb $1, (%rdi); int3\n"
			 "u_exec: call *%rdi; int3\n"
			 "u_end:\n1:");
	map(va, pa, 1, RWU);
	run_user(code, sp, va, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT, "user reads a user page");
	run_user(exec, sp, va, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT, "user executes a user page");
	map(va, pa, 1, PTE_P | PTE_W);
	run_user(code, sp, va, RFLAGS_FIXED);
	check_pf(PF_P | PF_U, va, "user reads a kernel page");
	run_user(write, sp, va + 4, RFLAGS_FIXED);
	check_pf(PF_P | PF_W | PF_U, va + 4, "user writes a kernel page");
	run_user(exec, sp, va, RFLAGS_FIXED);
	if (nx)
		check_pf(PF_P | PF_U | PF_I, va, "user executes a kernel page");
	run_user(write, sp, 0x100000, RFLAGS_FIXED);
	check_pf(PF_P | PF_W | PF_U, 0x100000, "user writes the kernel itself");
	map(va, pa, 1, 0);
	run_user(code, sp, va + 0x10, RFLAGS_FIXED);
	check_pf(PF_U, va + 0x10, "user reads where nothing is");
	map(va, pa, 1, PTE_P | PTE_U);
	run_user(write, sp, va, RFLAGS_FIXED);
	check_pf(PF_P | PF_W | PF_U, va,
		 "user never writes a read-only page, WP or not");
	map(va, pa, 1, RWU);
	*pte_of(va, 2) &= ~PTE_U;
	invlpg(va);
	run_user(code, sp, va, RFLAGS_FIXED);
	check_pf(PF_P | PF_U, va,
		 "U clear in a table above takes its pages away");
	*pte_of(va, 2) |= PTE_U;
	invlpg(va);
}

int main(void)
{
	struct cpuid c7 = cpuid(7, 0), e1 = cpuid(0x80000001, 0);

	smep = c7.b >> 7 & 1;
	smap = c7.b >> 20 & 1;
	nx = e1.d >> 20 & 1;
	pages_1g = e1.d >> 26 & 1;
	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	supervisor();
	reserved();
	canonical();
	no_execute();
	smep_smap();
	accessed_dirty();
	big_pages();
	tlb();
	user_access();
	return 0;
}
