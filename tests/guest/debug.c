/* SPDX-License-Identifier: Apache-2.0 */
/* Single step and breakpoints in hardware. SDM 3B chapter 18. */
#include "tests/guest/lib.h"

#define DR6_B0	  0x1ull
#define DR6_B1	  0x2ull
#define DR6_BD	  0x2000ull
#define DR6_BS	  0x4000ull
#define DR6_FIXED 0xffff0ff0ull
#define DR7_FIXED 0x400ull
#define DR7_GD	  0x2000ull
#define CR4_DE	  (1ull << 3)

/* DR7: breakpoint @n enabled, of kind @rw and length code @len. */
#define ARM(n, rw, len) \
	(2ull << 2 * (n) | (uint64_t)((len) << 2 | (rw)) << (16 + 4 * (n)))
enum { EXEC, WRITE, IO, RW };
enum { LEN1, LEN2, LEN8, LEN4 };

#define READ_DR(n)                                                \
	static uint64_t read_dr##n(void)                          \
	{                                                         \
		uint64_t v;                                       \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); \
		return v;                                         \
	}
#define WRITE_DR(n)                                               \
	static void write_dr##n(uint64_t v)                       \
	{                                                         \
		__asm__ volatile("mov %0, %%dr" #n                \
				 : : "r"(v) : "memory");          \
	}
READ_DR(6) READ_DR(7)
WRITE_DR(0) WRITE_DR(1) WRITE_DR(6) WRITE_DR(7)

/* What the last #DBs looked like. */
static volatile uint64_t hits, seen_rip, seen_dr6, seen_flags, seen_rcx;
static volatile uint64_t rips[32];
static uint8_t room[2 * PAGE] __attribute__((aligned(4096)));
static uint64_t *const watched = (uint64_t *)(room + 64);

static void on_debug(struct frame *f)
{
	if (hits < 32)
		rips[hits] = f->rip;
	hits++;
	seen_rip = f->rip;
	seen_flags = f->rflags;
	seen_rcx = f->rcx;
	seen_dr6 = read_dr6();
	write_dr6(DR6_FIXED);
	/* what keeps a breakpoint in code from coming again at once: SDM 3B
	 * 18.3.1.1 leaves it to the handler */
	f->rflags |= RFLAGS_RF;
}

static void arm(uint64_t at, uint64_t dr7)
{
	hits = 0;
	write_dr7(DR7_FIXED);
	write_dr6(DR6_FIXED);
	write_dr0(at);
	write_dr7(DR7_FIXED | dr7);
}

static void disarm(void)
{
	write_dr7(DR7_FIXED);
}

/* --- single step ------------------------------------------------------- */

/* Instructions between setting TF and clearing it, the POPF that clears it
 * among them. */
#define STEP(insns, ...)                                           \
	do {                                                       \
		hits = 0;                                          \
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n" \
				 insns "\n"                        \
				 "pushfq; andq $~0x100, (%%rsp); popfq" \
				 __VA_ARGS__);                     \
	} while (0)
#define STEP_END 3 /* those of its own last line */

static void strings(void)
{
	uint64_t to = pa_of(room), n = 5, at;

	STEP("lea 1f(%%rip), %2\n1: rep stosb", : "+D"(to), "+c"(n),
	     "=&r"(at) : "a"(7) : "memory", "cc");
	check_eq(hits, 1 + 5 + STEP_END, "rep stosb: a #DB for each round");
	check(rips[1] == at && rips[4] == at && rips[5] == at + 2,
	      "RIP stays at the instruction until the last");
	n = 0;
	STEP("rep stosb", : "+D"(to), "+c"(n) : "a"(7) : "memory", "cc");
	check_eq(hits, 1 + STEP_END, "no round at all: one #DB");
}

/* SDM 3A 6.8.3. */
static void stack_segment(void)
{
	uint64_t a, b;

	if (cpu_is_tcg()) {
		skip("mov to SS twice, lss", "TCG knows neither rule");
		return;
	}
	STEP("mov %%ss, %0; mov %0, %%ss; mov %0, %%ss; nop; nop",
	     : "=&r"(a) : : "memory", "cc");
	check_eq(hits, 4 + STEP_END,
		 "of two mov to SS in a row, the first holds back");
	STEP("sub $16, %%rsp; movl $0x18, 8(%%rsp)\n"
	     "mov %%rsp, %1; mov %1, (%%rsp); .byte 0x48,0x0f,0xb2,0x24,0x24\n"
	     "add $16, %%rsp", : "=&r"(a), "=&r"(b) : : "memory", "cc");
	check_eq(hits, 6 + STEP_END, "lss holds nothing back");
}

__asm__(".text\ns_twice: nop; nop; ret");

static void steps(void)
{
	uint64_t before = 0;

	irq_handler[VEC_DB] = on_debug;
	for (int i = 0; i < 3; i++) {
		if (i < 2)
			__asm__ volatile("call s_twice" : : : "memory");
		STEP("call s_twice", : : : "memory", "cc");
		before += hits;
	}
	check_eq(before, 3 * (4 + STEP_END),
		 "code that ran before is stepped through");
	check(seen_dr6 & DR6_BS, "DR6.BS");
	check_eq(seen_dr6 & 15, 0, "and none of B0-3");
	STEP("", : : : "memory", "cc");
	check_eq(hits, STEP_END, "popf that clears TF is the last");
	check_eq(seen_flags & RFLAGS_TF, 0, "and its #DB has TF clear");
	strings();
	STEP("int $0x55; nop", : : : "memory", "cc");
	check_eq(hits, 1 + STEP_END, "int n is stepped over with its handler");
	stack_segment();
	irq_handler[VEC_DB] = NULL;
}

static void user_steps(void)
{
	extern uint8_t u_sys[], u_fault[], u_ss[], u_end[], k_sysret[];
	uint64_t code = user_code(u_sys, u_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "u_sys: syscall; nop; int3\n"
			 "u_fault: mov 0x1000, %al; int3\n"
			 "u_ss: mov %ss, %eax; int3\n"
			 "k_sysret: sysretq\n"
			 "u_end:\n1:");
	write_dr6(DR6_FIXED);
	run_user(code + (uint64_t)(u_ss - u_sys), sp, 0,
		 RFLAGS_FIXED | RFLAGS_TF);
	check(trap.vector == VEC_DB &&
	      trap.f.rip == code + (uint64_t)(u_ss - u_sys) + 2,
	      "TF from iretq: after the next instruction");
	check_eq(trap.f.rflags & RFLAGS_TF, RFLAGS_TF, "TF in its frame");
	write_dr6(DR6_FIXED);
	run_user(code + (uint64_t)(u_fault - u_sys), sp, 0,
		 RFLAGS_FIXED | RFLAGS_TF);
	check(trap.vector == VEC_PF && (trap.f.rflags & RFLAGS_TF) &&
	      !(read_dr6() & DR6_BS), "an instruction that faults is not over");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)(USER_CS - 16) << 48 |
			(uint64_t)KERNEL_CS << 32);
	wrmsr(MSR_LSTAR, pa_of(k_sysret));
	wrmsr(MSR_SFMASK, RFLAGS_TF);
	run_user(code, sp, 0, RFLAGS_FIXED | RFLAGS_TF);
	check(trap.vector == VEC_DB && trap.f.rip == code + 2 &&
	      trap.f.cs == USER_CS,
	      "syscall with TF masked: not in the kernel, but after sysret");
}

/* --- breakpoints in code ------------------------------------------------ */

static void code_breakpoints(void)
{
	extern uint8_t bp_at[], bp_rep[];
	uint64_t n = 0, to = pa_of(room), c = 4;

	for (int armed = 0; armed < 3; armed++) {
		if (armed)
			arm(pa_of(bp_at), ARM(0, EXEC, LEN1));
		if (armed == 2)
			disarm();
		__asm__ volatile("call 1f; call 1f; jmp 2f\n"
				 "1: inc %0; nop\n"
				 "bp_at: inc %0; ret\n2:"
				 : "+r"(n) : : "memory", "cc");
		if (armed == 1) {
			check_eq(hits, 2, "a breakpoint inside known code");
			check_eq(seen_rip, pa_of(bp_at), "before it runs");
			check_eq(seen_dr6 & (15 | DR6_BS), DR6_B0, "DR6.B0");
			check_eq(seen_flags & RFLAGS_RF, 0,
				 "no RF in its frame");
		}
	}
	check_eq(n, 12, "each instruction ran once a time");
	check_eq(hits, 0, "no longer enabled: no #DB");
	arm(pa_of(bp_rep), ARM(0, EXEC, LEN1));
	__asm__ volatile("bp_rep: rep stosb" : "+D"(to), "+c"(c) : "a"(1)
			 : "memory");
	check(hits == 1 && seen_rcx == 4, "rep stosb: once, before all rounds");
	disarm();
}

/* RF keeps the breakpoint quiet for one instruction, and survives what comes
 * in between. */
static void resume_flag(void)
{
	extern uint8_t rf_at[], rf_end[];
	uint64_t code = user_code(rf_at, rf_end), sp = user_stack();

	__asm__ volatile("jmp 1f\nrf_at: nop; jmp rf_at\nrf_end:\n1:");
	irq_handler[VEC_DB] = NULL;
	write_dr0(code);
	write_dr6(DR6_FIXED);
	write_dr7(DR7_FIXED | ARM(0, EXEC, LEN1));
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_DB && trap.f.rip == code &&
	      (read_dr6() & 15) == DR6_B0, "a breakpoint in user mode");
	write_dr6(DR6_FIXED);
	run_user(code, sp, 0, RFLAGS_FIXED | RFLAGS_RF | RFLAGS_TF);
	check(trap.vector == VEC_DB && trap.f.rip == code + 1 &&
	      (read_dr6() & (15 | DR6_BS)) == DR6_BS,
	      "RF by iretq: the instruction runs");
	check(!(trap.f.rflags & RFLAGS_RF), "and clears RF");
	write_dr6(DR6_FIXED);
	run_user(code, sp, 0, RFLAGS_FIXED | RFLAGS_RF);
	check(trap.vector == VEC_DB && trap.f.rip == code &&
	      (read_dr6() & 15) == DR6_B0, "the second time round it hits");
	disarm();
	irq_handler[VEC_DB] = on_debug;
}

/* --- breakpoints on data ------------------------------------------------- */

/* One instruction with what is armed: how many #DBs, and where. */
#define WATCH(insn, ...)                                              \
	do {                                                          \
		hits = 0;                                             \
		__asm__ volatile(insn "\n77: lea 77b(%%rip), %%rax"   \
				 : : __VA_ARGS__ : "rax", "rcx",      \
				 "rsi", "rdi", "memory", "cc");       \
	} while (0)

static void writes(void)
{
	uint64_t after;

	arm(pa_of(watched), ARM(0, WRITE, LEN4));
	hits = 0;
	__asm__ volatile("movl $5, (%1)\n1: lea 1b(%%rip), %0"
			 : "=r"(after) : "r"(watched) : "memory");
	check(hits == 1 && seen_rip == after && *(uint32_t *)watched == 5,
	      "a write: #DB after it");
	check_eq(seen_dr6 & (15 | DR6_BS), DR6_B0, "DR6.B0");
	WATCH("mov (%0), %%ecx", "r"(watched));
	check_eq(hits, 0, "a read of it: none");
	WATCH("movb $1, 3(%0)", "r"(watched));
	check_eq(hits, 1, "its last byte");
	WATCH("movb $1, 4(%0)", "r"(watched));
	check_eq(hits, 0, "the byte after it: none");
	WATCH("movb $1, -1(%0)", "r"(watched));
	check_eq(hits, 0, "the byte before it: none");
	WATCH("movq $1, -7(%0)", "r"(watched));
	check_eq(hits, 1, "a write that only reaches into it");
	WATCH("incl (%0)", "r"(watched));
	check_eq(hits, 1, "a read-modify-write");
	WATCH("lock xadd %%ecx, (%0)", "r"(watched));
	check_eq(hits, 1, "a locked one");
	WATCH("mov %%rsp, %%rcx; lea 8(%0), %%rsp; push $1; mov %%rcx, %%rsp",
	      "r"(watched));
	check_eq(hits, 1, "a push");
	WATCH("mov %0, %%rdi; mov $3, %%ecx; xor %%eax, %%eax; rep stosq",
	      "r"(watched - 1));
	check_eq(hits, 1, "rep stosq over it");
	*(volatile uint64_t *)(TD_MMIO + TD_MMIO_COUNT) = 0;
	WATCH("mov %0, %%rdi; mov %1, %%rsi; movsb", "r"(watched),
	      "r"(TD_MMIO));
	check(hits == 1 &&
	      *(volatile uint64_t *)(TD_MMIO + TD_MMIO_COUNT) >> 32 == 1,
	      "movsb from a device, which is read once");
	disarm();
	WATCH("movl $5, (%0)", "r"(watched));
	check_eq(hits, 0, "no longer enabled: none");
}

static void reads(void)
{
	arm(pa_of(watched), ARM(0, RW, LEN8));
	WATCH("mov 7(%0), %%cl", "r"(watched));
	check_eq(hits, 1, "a read where reads count");
	WATCH("movb $0, 7(%0)", "r"(watched));
	check_eq(hits, 1, "and a write");
	WATCH("mov 8(%0), %%cl", "r"(watched));
	check_eq(hits, 0, "not beyond the eighth byte");
	write_dr1(pa_of(watched) + 8);
	write_dr7(DR7_FIXED | ARM(0, RW, LEN8) | ARM(1, WRITE, LEN1));
	WATCH("mov %0, %%rsi; lea 8(%0), %%rdi; movsb",
	      "r"(watched));
	check(hits == 1 && (seen_dr6 & 15) == (DR6_B0 | DR6_B1),
	      "two at once: both bits");
	disarm();
}

/* The address is a linear one. */
static void aliases(void)
{
	volatile uint64_t *alias = (uint64_t *)(WINDOW + 64);

	map(WINDOW, pa_of(room), 1, PTE_P | PTE_W);
	arm(pa_of(watched), ARM(0, WRITE, LEN8));
	*alias = 1;
	check_eq(hits, 0, "the same memory at another address: none");
	arm((uintptr_t)alias, ARM(0, WRITE, LEN8));
	*alias = 2;
	check_eq(hits, 1, "at that address: #DB");
	disarm();
}

/* CVE-2018-8897 is what this rule is known for. */
static void held_back(void)
{
	uint64_t after;

	watched[0] = KERNEL_DS;
	arm(pa_of(watched), ARM(0, RW, LEN2));
	hits = 0;
	__asm__ volatile("mov (%1), %%ss; nop\n1: lea 1b(%%rip), %0"
			 : "=r"(after) : "r"(watched) : "memory");
	check(hits == 1 && seen_rip == after,
	      "mov to SS from it: after the next instruction");
	disarm();
}

/* --- the registers -------------------------------------------------------- */

static void registers(void)
{
	uint64_t de = read_cr4() | CR4_DE;

	write_dr6(1ull << 16); /* RTM, where it exists */
	check_eq(read_dr6(), DR6_FIXED, "fixed bits of DR6");
	write_dr7(0);
	check_eq(read_dr7(), DR7_FIXED, "fixed bits of DR7");
	TRY("mov %0, %%dr7", : : "r"(1ull << 32) : "memory");
	check_trap(VEC_GP, 0, "upper half of DR7: #GP");
	TRY("mov %0, %%dr6", : : "r"(1ull << 32) : "memory");
	check_trap(VEC_GP, 0, "upper half of DR6: #GP");
	TRY("mov %%dr4, %%rax", : : : "rax", "memory");
	check_trap(VEC_NONE, 0, "DR4 is DR6 without CR4.DE");
	write_cr4(de);
	TRY("mov %%dr4, %%rax", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "and does not exist with it");
	write_cr4(de & ~CR4_DE);
	TRY(".byte 0x44, 0x0f, 0x21, 0xc0", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "nor does DR8");
}

static void general_detect(void)
{
	irq_handler[VEC_DB] = NULL;
	write_dr6(DR6_FIXED);
	write_dr7(DR7_FIXED | DR7_GD);
	TRY("mov %%dr0, %%rax", : : : "rax", "memory");
	check(trap.vector == VEC_DB && trap.f.rip == trap_insn,
	      "a debug register with GD set: #DB before");
	check_eq(read_dr6() & (15 | DR6_BD | DR6_BS), DR6_BD, "DR6.BD");
	check_eq(read_dr7(), DR7_FIXED, "the handler finds GD clear");
	write_dr6(DR6_FIXED);
	TRY(".byte 0xf1", : : : "memory");
	check(trap.vector == VEC_DB && trap.f.rip == trap_insn + 1 &&
	      !(trap.f.rflags & RFLAGS_RF), "int1: #DB after it, without RF");
	check_eq(read_dr6(), DR6_FIXED, "which DR6 says nothing of");
	irq_handler[VEC_DB] = on_debug;
}

static void ports(void)
{
	write_cr4(read_cr4() | CR4_DE);
	arm(0x304, ARM(0, IO, LEN2));
	inb(0x304);
	check_eq(hits, 1, "a port with CR4.DE");
	inb(0x306);
	check_eq(hits, 1, "not the next one");
	write_cr4(read_cr4() & ~CR4_DE);
	disarm();
}

static void nothing(struct frame *f)
{
	(void)f;
}

int main(void)
{
	registers();
	if (cpu_is_limited()) {
		skip("breakpoints", "this KVM emulates the kernel's side");
		return 0;
	}
	irq_handler[0x55] = nothing;
	steps();
	user_steps();
	if (cpu_is_tcg()) {
		skip("breakpoints", "TCG has neither RF nor GD");
		return 0;
	}
	irq_handler[VEC_DB] = on_debug;
	general_detect();
	code_breakpoints();
	resume_flag();
	writes();
	reads();
	aliases();
	held_back();
	ports();
	return 0;
}
