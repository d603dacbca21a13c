/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions, gates, stacks and iretq. SDM 3A chapter 6. */
#include "tests/guest/lib.h"

static uint8_t ist_stack[4096] __attribute__((aligned(16)));
static volatile uint64_t hits, seen_rip, seen_flags;

static void faults(void)
{
	TRY("ud2", : : : "memory");
	check_trap(VEC_UD, 0, "ud2: #UD");
	TRY("div %0", : : "r"(0) : "rax", "rdx", "cc");
	check_trap(VEC_DE, 0, "divide by zero: #DE");
	TRY("mov $2, %%edx; xor %%eax, %%eax; div %0", : : "r"(1)
	    : "rax", "rdx", "cc");
	check(trap.vector == VEC_DE, "a quotient that does not fit: #DE");
	TRY("mov $0x8000000000000000, %%rax; cqto; idivq %0", : :
	    "r"(-1ll) : "rax", "rdx", "cc");
	check(trap.vector == VEC_DE, "most negative by -1: #DE");
	TRY("mov %0, %%ds", : : "r"(NP_SEL) : "memory");
	check_trap(VEC_NP, NP_SEL, "a segment not present: #NP");
	TRY("mov %0, %%ss", : : "r"(NP_SEL) : "memory");
	check_trap(VEC_SS, NP_SEL, "the same in SS: #SS");
	TRY("mov %0, %%ss", : : "r"(RO_SEL) : "memory");
	check_trap(VEC_GP, RO_SEL, "a read-only SS: #GP");
	TRY("mov %0, %%ds", : : "r"(0x7f8) : "memory");
	check_trap(VEC_GP, 0x7f8, "a selector past the GDT: #GP");
	TRY(".byte 0xf0; nop", : : : "memory");
	check_trap(VEC_UD, 0, "LOCK before what cannot be locked: #UD");
	TRY(".byte 0x06", : : : "memory");
	check_trap(VEC_UD, 0, "push %es in 64-bit mode: #UD");
	TRY(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
	    "0x66,0x66,0x66,0x66,0x90", : : : "memory");
	check_trap(VEC_GP, 0, "an instruction of 16 bytes: #GP");
}

/* SDM 3A 2.5: what MOV to a control register refuses. */
static void control_registers(void)
{
	if (cpu_is_tcg()) {
		skip("control registers", "TCG lets wrong values pass");
		return;
	}
	TRY("mov %0, %%cr0", : : "r"(1ull << 31) : "memory");
	check_trap(VEC_GP, 0, "CR0 with PG and no PE: #GP");
	TRY("mov %0, %%cr4", : : "r"(read_cr4() | 1ull << 15) : "memory");
	check_trap(VEC_GP, 0, "reserved CR4 bit: #GP");
	TRY("mov %0, %%cr8", : : "r"(16ull) : "memory");
	check_trap(VEC_GP, 0, "CR8 above 15: #GP");
	TRY("mov %0, %%cr4", : : "r"(read_cr4() & ~0x20) : "memory");
	check_trap(VEC_GP, 0, "PAE off in long mode: #GP");
}

static void traps(void)
{
	TRY("int $0xff", : : : "memory");
	check(trap.vector == 0xff, "a gate beyond the exceptions");
	TRY("int3", : : : "memory");
	check(trap.vector == VEC_BP && trap.f.rip == trap_insn + 1,
	      "int3: #BP, RIP after it");
	TRY(".byte 0xcd, 3", : : : "memory");
	check(trap.vector == VEC_BP && trap.f.rip == trap_insn + 2,
	      "its two-byte form the same");
	TRY("int $0x55", : : : "memory");
	check(trap.vector == 0x55 && trap.f.rip == trap_insn + 2 &&
	      trap.error == 0, "int n: no error code, RIP after it");
	check_eq(trap.f.cs, KERNEL_CS, "CS in the frame");
	check_eq(trap.f.ss, KERNEL_DS, "SS in the frame");
	check(trap.handler_rsp % 16 == 0, "the stack is aligned to 16");
}

/* SDM 3A 6.5: RF is set in the image that a fault pushes. */
static void flags_image(void)
{
	TRY("stc; ud2", : : : "memory", "cc");
	check(trap.f.rflags & 1, "flags in the frame");
	if (cpu_is_tcg())
		skip("RF is set by a fault", "TCG has no RF");
	else
		check(trap.f.rflags & RFLAGS_RF, "RF is set by a fault");
	TRY("int3", : : : "memory");
	check(!(trap.f.rflags & RFLAGS_RF), "and not by int3");
	check(!(rflags() & RFLAGS_RF), "pushfq shows RF as 0");
}

/* SDM 3A 6.13: the index counts gates. TCG counts 8-byte halves. */
static uint64_t idt_error(unsigned vector)
{
	return (cpu_is_tcg() ? vector << 4 : vector << 3) | 2;
}

static void gates(void)
{
	struct gate old = idt[0x55];

	idt[0x55].type &= 0x7f;
	TRY("int $0x55", : : : "memory");
	check_trap(VEC_NP, idt_error(0x55), "a gate not present: #NP, IDT bit");
	idt[0x55] = old;
	idt[0x55].type = 0x85;
	TRY("int $0x55", : : : "memory");
	check_trap(VEC_GP, idt_error(0x55), "a gate of a wrong type: #GP");
	idt[0x55] = old;
	idt[0x55].sel = KERNEL_DS;
	TRY("int $0x55", : : : "memory");
	check_trap(VEC_GP, KERNEL_DS, "a gate to a data segment: #GP");
	idt[0x55] = old;
	idt[0x55].ist = 3;
	tss.ist[2] = pa_of(ist_stack + sizeof(ist_stack));
	TRY("int $0x55", : : : "memory");
	check(trap.vector == 0x55 &&
	      trap.handler_rsp == pa_of(ist_stack + sizeof(ist_stack)),
	      "IST 3: its stack, from the top");
	tss.ist[2] -= 8;
	TRY("int $0x55", : : : "memory");
	check_eq(trap.handler_rsp, tss.ist[2] - 8,
		 "an IST stack is aligned down to 16");
	idt[0x55] = old;
}

static void note_flags(struct frame *f)
{
	(void)f;
	hits++;
	seen_flags = rflags();
}

static void gate_flags(void)
{
	struct gate old = idt[0x55];

	irq_handler[0x55] = note_flags;
	sti();
	__asm__ volatile("int $0x55" : : : "memory");
	check_eq(seen_flags & RFLAGS_IF, 0, "an interrupt gate clears IF");
	idt[0x55].type = 0x8f;
	__asm__ volatile("int $0x55" : : : "memory");
	check_eq(seen_flags & RFLAGS_IF, RFLAGS_IF, "a trap gate leaves it");
	cli();
	irq_handler[0x55] = NULL;
	idt[0x55] = old;
}

/* A #PF whose handler's gate is broken becomes #DF, on a stack of its own. */
static void double_fault(void)
{
	struct gate pf = idt[VEC_PF], df = idt[VEC_DF];

	if (cpu_is_tcg() && have_testdev()) {
		skip("#DF", "TCG's SVM delivers the second fault alone");
		return;
	}
	idt[VEC_PF].type &= 0x7f;
	idt[VEC_DF].ist = 1;
	tss.ist[0] = pa_of(ist_stack + sizeof(ist_stack));
	TRY("mov (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
	check(trap.vector == VEC_DF && trap.error == 0,
	      "#NP in the delivery of #PF: #DF, error code 0");
	check_eq(trap.handler_rsp, tss.ist[0], "#DF on its IST stack");
	idt[VEC_PF] = pf;
	idt[VEC_DF] = df;
}

static void step(struct frame *f)
{
	hits++;
	seen_rip = f->rip;
	if (hits == 4)
		f->rflags &= ~RFLAGS_TF;
}

/* SDM 3B 17.3.1.4: a trap after each instruction, from the one after POPF. */
static void single_step(void)
{
	uint64_t after;

	hits = 0;
	irq_handler[VEC_DB] = step;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "nop; nop; nop\n"
			 "mov $1f, %0\n1:"
			 : "=&r"(after) : : "memory", "cc");
	check_eq(hits, 4, "TF: a #DB after each of four instructions");
	check_eq(seen_rip, after, "the last one after the fourth");
	hits = 0;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "mov %1, %%ss; nop; nop; nop\n"
			 "lea 1f(%%rip), %0\n1: nop"
			 : "=&r"(after) : "r"(KERNEL_DS) : "memory", "cc");
	check(hits == 4 && seen_rip == after,
	      "mov to SS holds the trap back by one instruction");
	irq_handler[VEC_DB] = NULL;
}

/* SDM 2A IRET, 2B POPF: the virtual interrupt flags of ring 0. */
static void virtual_flags(void)
{
	uint64_t loaded, after;

	__asm__ volatile("mov %%rsp, %%rbx; pushq $0x18; push %%rbx\n"
			 "pushq $0x180002; pushq $0x10; pushq $1f; iretq\n"
			 "1: pushfq; pop %0; pushq $2; popfq; pushfq; pop %1\n"
			 "pushq $0x18; push %%rbx; pushq $2; pushq $0x10\n"
			 "pushq $1f; iretq\n1:"
			 : "=&r"(loaded), "=&r"(after)
			 : : "rbx", "memory", "cc");
	check_eq(loaded, 0x180002, "VIF and VIP come by iretq");
	check_eq(after, 0x180002, "and popfq leaves them");
}

static void iretq(void)
{
	uint64_t sp_before, sp_after, flags;

	__asm__ volatile("mov %%rsp, %0\n"
			 "mov %%ss, %%eax; push %%rax; push %0\n"
			 "pushq $0x203; mov %%cs, %%eax; push %%rax\n"
			 "pushq $1f; iretq\n"
			 "1: pushfq; pop %2; cli; mov %%rsp, %1"
			 : "=&r"(sp_before), "=&r"(sp_after), "=&r"(flags)
			 : : "rax", "memory", "cc");
	check_eq(sp_after, sp_before, "iretq in ring 0 restores RSP");
	check_eq(flags, 0x203, "and the flags");
	TRY("mov %%rsp, %%rbx; pushq $0x18; push %%rbx; pushq $2;"
	    "pushq $0x10; push %0; iretq",
	    "\n\tmov %%rbx, %%rsp" : : "r"(1ull << 47) : "rbx", "memory");
	check(trap.vector == VEC_GP && trap.error == 0,
	      "iretq to a non-canonical address: #GP");
	TRY("mov %%rsp, %%rbx; pushq $0x18; push %%rbx; pushq $2;"
	    "pushq $0x58; pushq $77f; iretq",
	    "\n\tmov %%rbx, %%rsp" : : : "rbx", "memory");
	check(trap.vector == VEC_GP && trap.error == 0x58,
	      "iretq to a data segment: #GP with its selector");
	TRY("mov %%rsp, %%rbx; pushq $0; push %%rbx; pushq $2;"
	    "pushq $0x43; pushq $77f; iretq",
	    "\n\tmov %%rbx, %%rsp" : : : "rbx", "memory");
	check(trap.vector == VEC_GP,
	      "iretq to ring 3 with a null SS: #GP");
}

/* SDM 2A JMP, CALL, 2B RET; AMD's fault is at the target. */
static void branches(void)
{
	uint64_t bad = 1ull << 47;

	if (cpuid(0, 0).b != 0x756e6547 || cpu_is_tcg()) {
		skip("branches to nowhere", "not an Intel CPU");
		return;
	}
	TRY("jmp *%0", : : "r"(bad) : "memory");
	check_trap(VEC_GP, 0, "jmp to a non-canonical address: #GP at the jmp");
	TRY("call *%0", : : "r"(bad) : "memory");
	check_trap(VEC_GP, 0, "call: at the call");
	TRY("push %0; ret", "\n\tpop %%rbx" : : "r"(bad) : "rbx", "memory");
	check(trap.vector == VEC_GP && trap.f.rip - trap_insn < 4,
	      "ret: at the ret, which pops nothing");
}

int main(void)
{
	faults();
	branches();
	control_registers();
	double_fault();
	if (cpu_is_limited()) {
		skip("int n, TF, iretq", "this KVM cannot emulate int n");
		return 0;
	}
	traps();
	flags_image();
	gates();
	gate_flags();
	single_step();
	iretq();
	if (cpu_is_tcg())
		skip("VIF and VIP", "TCG has neither");
	else
		virtual_flags();
	return 0;
}
