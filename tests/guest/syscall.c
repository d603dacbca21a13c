/* SPDX-License-Identifier: Apache-2.0 */
/* SYSCALL and SYSRET, SWAPGS. SDM 2B. */
#include "tests/guest/lib.h"

extern uint8_t sc_entry[];
extern uint64_t sc_rsp, sc_rcx, sc_r11, sc_flags, sc_cs, sc_ss, sc_count;

/* RAX 1: return by SYSRET. RAX 2: with every flag of R11 set that may be.
 * Anything else ends run_user(). */
__asm__(".pushsection .text\n"
	".globl sc_entry\n"
	"sc_entry: mov %rsp, sc_rsp(%rip); mov %rcx, sc_rcx(%rip)\n"
	"mov %r11, sc_r11(%rip); mov $sc_stack_top, %rsp\n"
	"pushfq; popq sc_flags(%rip)\n"
	"mov %cs, sc_cs(%rip); mov %ss, sc_ss(%rip)\n"
	"incq sc_count(%rip)\n"
	"cmp $1, %eax; je 1f; cmp $2, %eax; je 2f\n"
	"mov %rax, %rdi; jmp user_leave\n"
	"2: mov $0x257fd7, %r11d; and $~0x300, %r11d\n"
	"1: mov sc_rsp(%rip), %rsp; sysretq\n"
	".popsection\n"
	".bss; .balign 16; .space 1024; sc_stack_top:\n"
	".globl sc_rsp, sc_rcx, sc_r11, sc_flags, sc_cs, sc_ss, sc_count\n"
	"sc_rsp: .quad 0\n sc_rcx: .quad 0\n sc_r11: .quad 0\n"
	"sc_flags: .quad 0\n sc_cs: .quad 0\n sc_ss: .quad 0\n"
	"sc_count: .quad 0\n .text");

static void enter_and_leave(uint64_t code, uint64_t sp, uint64_t after)
{
	uint64_t flags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_DF | 0xd5;

	wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_DF | RFLAGS_TF);
	run_user(code, sp, 99, flags);
	check_eq(sc_count, 1, "syscall arrives at LSTAR");
	check_eq(sc_rcx, after, "RCX: the next instruction");
	check_eq(sc_r11, flags, "R11: the flags");
	if (cpu_is_tcg()) /* it clears the arithmetic flags, too */
		sc_flags |= 0xd5;
	check_eq(sc_flags, flags & ~(RFLAGS_IF | RFLAGS_DF),
		 "SFMASK's flags are clear, the others not");
	check_eq(sc_cs, KERNEL_CS, "CS from STAR");
	check_eq(sc_ss, KERNEL_CS + 8, "SS from STAR + 8");
	check_eq(sc_rsp, sp, "RSP is not touched");
	run_user(code, sp, 1, RFLAGS_FIXED | RFLAGS_IF);
	check_eq(trap.vector, VEC_USER_EXIT, "sysretq: back in user mode");
	check_eq(trap.f.cs, USER_CS, "CS: STAR + 16, RPL 3");
	check_eq(trap.f.ss, USER_DS, "SS: STAR + 8, RPL 3");
	check_eq(trap.f.rsp, sp, "RSP as it was");
	check_eq(trap.f.rflags & ~RFLAGS_RF, RFLAGS_FIXED | RFLAGS_IF,
		 "flags from R11");
	check_eq(trap.f.rip, after + 1, "RIP from RCX");
	run_user(code, sp, 2, RFLAGS_FIXED);
	check_eq(trap.f.rflags & 0x3ffffd & ~RFLAGS_RF, 0x247cd5,
		 "sysret takes no RF, no VM, no reserved flag");
}

/* TF counts as SYSCALL and SYSRET leave it: a kernel that masks it is not
 * stepped through, and the trap comes right after SYSRET. */
static void stepped(uint64_t sp)
{
	extern uint8_t t_step[], t_after[], t_end[];
	uint64_t code = user_code(t_step, t_end);
	uint64_t after = code + (uint64_t)(t_after - t_step);

	__asm__ volatile("jmp 1f\n"
			 "t_step: mov %edi, %eax; pushfq\n"
			 "orl $0x100, (%rsp); popfq; syscall\n"
			 "t_after: nop; nop; int3\n"
			 "t_end:\n1:");
	sc_count = 0;
	run_user(code, sp, 1, RFLAGS_FIXED);
	check_eq(sc_count, 1, "syscall with TF is not trapped in the kernel");
	check_eq(sc_r11 & RFLAGS_TF, RFLAGS_TF, "R11 has TF");
	check(trap.vector == VEC_DB && trap.f.rip == after,
	      "sysret with TF: #DB before the next instruction");
}

static void disabled(uint64_t code, uint64_t sp)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
	run_user(code, sp, 99, RFLAGS_FIXED);
	check(trap.vector == VEC_UD && trap.f.rip == code + 2,
	      "syscall without SCE: #UD");
	TRY("sysretq", : : "c"(sc_rcx), "d"(0) : "r11", "memory");
	check_trap(VEC_UD, 0, "sysret without SCE: #UD");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

static void kernel_only(uint64_t sp)
{
	extern uint8_t k_sysret[], k_swapgs[], k_end[];
	uint64_t code = user_code(k_sysret, k_end);

	__asm__ volatile("jmp 1f\n"
			 "k_sysret: sysretq; int3\n"
			 "k_swapgs: swapgs; int3\n"
			 "k_end:\n1:");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == 0,
	      "sysret in user mode: #GP");
	run_user(code + (uint64_t)(k_swapgs - k_sysret), sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == 0,
	      "swapgs in user mode: #GP");
}

static void swapgs(void)
{
	wrmsr(MSR_GS_BASE, 0x1111000);
	wrmsr(MSR_KERNEL_GS, 0xffff800022220000);
	__asm__ volatile("swapgs" : : : "memory");
	check_eq(rdmsr(MSR_GS_BASE), 0xffff800022220000, "swapgs: GS base");
	check_eq(rdmsr(MSR_KERNEL_GS), 0x1111000, "and the other");
	__asm__ volatile("swapgs" : : : "memory");
}

/* SDM 2B SYSRET: Intel's looks before it leaves. */
static void sysret_nowhere(void)
{
	if (cpuid(0, 0).b != 0x756e6547 || cpu_is_tcg()) {
		skip("sysret to no address", "not an Intel CPU");
		return;
	}
	TRY("sysretq", : : "c"(1ull << 47) : "r11", "memory");
	check_trap(VEC_GP, 0, "sysretq to no address: #GP, still in ring 0");
	check_eq(trap.f.cs, KERNEL_CS, "its CS");
	check_eq(trap.f.ss & 3, 0, "its SS");
}

int main(void)
{
	extern uint8_t s_call[], s_after[], s_end[];
	uint64_t code = user_code(s_call, s_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "s_call: mov %edi, %eax; syscall\n"
			 "s_after: int3\n"
			 "s_end:\n1:");
	swapgs();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)(USER_DS - 8) << 48 |
			(uint64_t)KERNEL_CS << 32);
	wrmsr(MSR_LSTAR, pa_of(sc_entry));
	kernel_only(sp);
	if (cpu_is_limited()) {
		skip("syscall", "this KVM loses it");
		return 0;
	}
	enter_and_leave(code, sp, code + (uint64_t)(s_after - s_call));
	stepped(sp);
	sysret_nowhere();
	disabled(code, sp);
	return 0;
}
