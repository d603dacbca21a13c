/* SPDX-License-Identifier: Apache-2.0 */
/* Compatibility mode: a 32-bit code segment under long mode, in ring 0 and
 * in user mode, and far transfers between the two. SDM 3A 2.2, 5.8. */
#include "tests/guest/lib.h"

/* Below 4 GiB, where a 32-bit program can be; not the kernel's mapping. */
#define LOW_USER 0x60000000ull

/*
 * To ring 0's 32-bit segment and back. 0x40 is `inc %eax` there and a REX
 * prefix here, which tells the modes apart. Returns EAX | ESP's change << 32.
 */
static uint64_t ring0(void)
{
	uint64_t rax;

	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "pushq $0x48; pushq $1f; lretq\n"
			 ".code32\n"
			 "1: mov $5, %%eax\n"
			 ".byte 0x40\n"			/* inc %eax */
			 "mov %%esp, %%ecx\n"
			 "push %%eax\n"
			 "sub %%esp, %%ecx\n"
			 "pop %%edx\n"
			 "ljmp $0x10, $2f\n"
			 ".code64\n"
			 "2: mov %%rbx, %%rsp\n"
			 "shl $32, %%rcx; mov %%eax, %%eax; or %%rcx, %%rax"
			 : "=a"(rax) : : "rbx", "rcx", "rdx", "memory", "cc");
	return rax;
}

static uint64_t wraps(void)
{
	uint64_t v;

	/* 0x10 past a base just under 4 GiB: 32-bit addresses wrap to RAM. */
	*(volatile uint32_t *)0x30000 = 0xfeedface;
	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "pushq $0x48; pushq $1f; lretq\n"
			 ".code32\n"
			 "1: mov $0xffff0000, %%esi\n"
			 "mov 0x40000(%%esi), %%eax\n"
			 "ljmp $0x10, $2f\n"
			 ".code64\n"
			 "2: mov %%rbx, %%rsp; mov %%eax, %%eax"
			 : "=a"(v) : : "rbx", "rsi", "memory", "cc");
	return v;
}

static void far_transfers(void)
{
	struct {
		uint64_t offset;
		uint16_t sel;
	} __attribute__((packed)) to;
	uint64_t v;

	__asm__ volatile("movq $1f, %1; movw $0x10, 8+%1\n"
			 "mov $1, %0; rex.W ljmp *%1\n"
			 "mov $2, %0\n1:" : "=&r"(v), "=m"(to) : : "memory");
	check_eq(v, 1, "an indirect far jump");
	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "movq $1f, %1; movw $0x10, 8+%1\n"
			 "rex.W lcall *%1; jmp 2f\n"
			 "1: mov 8(%%rsp), %0; lretq\n2: sub %%rsp, %%rbx"
			 : "=&r"(v), "=m"(to) : : "rbx", "memory", "cc");
	check_eq(v, KERNEL_CS, "a far call pushes CS, lretq comes back");
	TRY("mov %%rsp, %%rbx; pushq $0x18; pushq $77f; lretq",
	    "\n\tmov %%rbx, %%rsp" : : : "rbx", "memory");
	check(trap.vector == VEC_GP && trap.error == 0x18,
	      "lretq to a data segment: #GP");
}

static void map_low(const void *start, const void *end)
{
	uint8_t *code = alloc_page(), *stack = alloc_page();
	uint64_t *pml4 = (uint64_t *)(read_cr3() & PTE_ADDR);

	memcpy(code, start, (size_t)((const char *)end - (const char *)start));
	pml4[0] |= PTE_U;
	*pte_of(LOW_USER, 3) |= PTE_U;
	*pte_of(LOW_USER, 2) = 0;
	write_cr3(read_cr3());
	map(LOW_USER, pa_of(code), 1, PTE_P | PTE_W | PTE_U);
	map(LOW_USER + PAGE, pa_of(stack), 1, PTE_P | PTE_W | PTE_U);
}

static uint64_t run32(const void *at, const void *start, uint64_t arg)
{
	return run_user_cs(LOW_USER +
			   (uint64_t)((const char *)at - (const char *)start),
			   LOW_USER + 2 * PAGE, arg, RFLAGS_FIXED, USER_CS32);
}

static void user(void)
{
	extern uint8_t c_start[], c_into[], c_bound[], c_pusha[], c_to64[];
	extern uint8_t c_end[];

	__asm__ volatile("jmp 1f\n.code32\n"
			 "c_start: mov %edi, %eax\n"
			 ".byte 0x40\n"			/* inc %eax */
			 "int3\n"
			 "c_into: mov $0x7fffffff, %eax; add $1, %eax\n"
			 ".byte 0xce; int3\n"		/* into */
			 "c_bound: .byte 0x06; int3\n"	/* push %es */
			 "c_pusha: pusha; popa; mov %esp, %eax; int3\n"
			 "c_to64: ljmp $0x43, $(0x60000000 + 2f - c_start)\n"
			 ".code64\n"
			 "2: mov $0x123456789, %rax; int3\n"
			 "c_end:\n1:");
	map_low(c_start, c_end);
	check_eq(run32(c_start, c_start, 0x1fffffffffull), 0,
		 "32-bit user code: inc wraps at 32 bits");
	check(trap.vector == VEC_USER_EXIT && trap.f.cs == USER_CS32,
	      "its CS in the frame");
	check(trap.f.rip < 1ull << 32 && trap.f.rsp < 1ull << 32,
	      "RIP and RSP below 4 GiB");
	run32(c_into, c_start, 0);
	check_eq(trap.vector, VEC_OF, "into: #OF");
	run32(c_bound, c_start, 0);
	check(trap.vector == VEC_USER_EXIT &&
	      trap.f.rsp == LOW_USER + 2 * PAGE - 4, "push %es is 4 bytes");
	check_eq(run32(c_pusha, c_start, 0), LOW_USER + 2 * PAGE,
		 "pusha, popa");
	check_eq(trap.vector, VEC_USER_EXIT, "both instructions are there");
	check_eq(run32(c_to64, c_start, 0), 0x123456789,
		 "a far jump to 64-bit code");
	check_eq(trap.f.cs, USER_CS, "CS says so");
}

int main(void)
{
	far_transfers();
	check_eq(ring0(), 4ull << 32 | 6,
		 "ring 0: inc is an instruction, push moves ESP by 4");
	check_eq(wraps(), 0xfeedface, "an address wraps at 4 GiB");
	if (cpu_is_limited())
		skip("user mode", "this KVM keeps its own segments there");
	else
		user();
	return 0;
}
