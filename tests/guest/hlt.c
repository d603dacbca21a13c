/* SPDX-License-Identifier: Apache-2.0 */
/* HLT, and the instruction boundaries at which interrupts are taken.
 * SDM 2B STI, 2A HLT, 3A 6.8. */
#include "tests/guest/apic.h"

#define VEC 0x45

static volatile uint64_t hits, seen_rip, seen_flag, flag;

static void on_irq(struct frame *f)
{
	hits++;
	seen_rip = f->rip;
	seen_flag = flag;
	lapic_eoi();
}

static void timer_in(uint32_t count)
{
	hits = 0;
	lapic_write(APIC_DIVIDE, 0xb);
	lapic_write(APIC_TIMER, VEC);
	lapic_write(APIC_COUNT, count);
}

static void wakes(void)
{
	uint64_t after, start;

	timer_in(1000000); /* 1 ms where the bus has 1 GHz */
	__asm__ volatile("sti; hlt\n1: cli; mov $1b, %0"
			 : "=r"(after) : : "memory");
	check_eq(hits, 1, "the timer wakes HLT");
	check_eq(seen_rip, after, "its frame points after HLT");
	self_ipi(VEC);
	hits = 0;
	sti_hlt_cli();
	check_eq(hits, 1, "an interrupt that waits already: no sleep");
	start = rdtsc();
	timer_in(5000000);
	while (!hits)
		sti_hlt_cli();
	check(rdtsc() > start, "the TSC goes on in HLT");
}

static void shadows(void)
{
	uint64_t at;

	hits = flag = 0;
	self_ipi(VEC);
	__asm__ volatile("sti; movq $1, %0; movq $2, %0; cli"
			 : "+m"(flag) : : "memory");
	check(hits == 1 && seen_flag == 1,
	      "STI: one instruction runs before the interrupt");
	hits = flag = 0;
	self_ipi(VEC);
	__asm__ volatile("pushfq; orq $0x200, (%%rsp); popfq\n"
			 "1: movq $1, %0; cli; mov $1b, %1"
			 : "+m"(flag), "=r"(at) : : "memory", "cc");
	check(hits == 1 && seen_flag == 0 && seen_rip == at,
	      "POPF: none does");
	hits = 0;
	self_ipi(VEC);
	__asm__ volatile("sti; cli" : : : "memory");
	wait_ticks(100000);
	check_eq(hits, 0, "sti; cli: no window between the two");
	sti();
	cli();
	check_eq(hits, 1, "it was kept");
}

/* STI's shadow does not add up: the second STI opens none. */
static void double_sti(void)
{
	hits = flag = 0;
	self_ipi(VEC);
	__asm__ volatile("sti; sti; movq $1, %0; cli"
			 : "+m"(flag) : : "memory");
	check(hits == 1 && seen_flag == 0, "a second STI has no shadow");
}

static void user(void)
{
	extern uint8_t h_hlt[], h_spin[], h_end[];
	uint64_t code = user_code(h_hlt, h_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "h_hlt: hlt; int3\n"
			 "h_spin: mov $1, %eax\n"
			 "2: inc %rax; cmpq $0, (%rdi); je 2b; int3\n"
			 "h_end:\n1:");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.error == 0 && trap.f.rip == code,
	      "HLT in user mode: #GP");
	/* hits, seen from user mode */
	uint64_t va = WINDOW, pa = pa_of((void *)&hits);
	map(va, pa & ~0xfffull, 1, PTE_P | PTE_W | PTE_U);
	timer_in(1000000);
	run_user(code + (uint64_t)(h_spin - h_hlt), sp, va + (pa & 0xfff),
		 RFLAGS_FIXED | RFLAGS_IF);
	check(trap.vector == VEC_USER_EXIT && hits == 1,
	      "a timer interrupt out of a user loop, and back");
}

int main(void)
{
	lapic_enable();
	irq_handler[VEC] = on_irq;
	wakes();
	user();
	if (cpu_is_limited()) {
		skip("boundaries", "this KVM takes interrupts late");
		return 0;
	}
	shadows();
	double_sti();
	return 0;
}
