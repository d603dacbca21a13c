/* SPDX-License-Identifier: Apache-2.0 */
/* MSRs: what can be written reads back, what cannot is #GP. SDM 4. */
#include "tests/guest/lib.h"

#define NON_CANONICAL 0x0000800000000000ull

static void keeps(uint32_t nr, uint64_t v, const char *name)
{
	uint64_t old = rdmsr(nr);

	wrmsr(nr, v);
	check_eq(rdmsr(nr), v, name);
	wrmsr(nr, old);
}

static void refuses(uint32_t nr, uint64_t v, const char *name)
{
	TRY("wrmsr", : : "c"(nr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
	    : "memory");
	check_trap(VEC_GP, 0, name);
}

static void good(void)
{
	keeps(MSR_STAR, 0x0023001000000000, "STAR");
	keeps(MSR_LSTAR, 0xffffffff81234560, "LSTAR");
	keeps(MSR_CSTAR, 0xffffffff81234570, "CSTAR");
	keeps(MSR_SFMASK, 0x47700, "SFMASK");
	keeps(MSR_KERNEL_GS, 0xffff888012345000, "KERNEL_GS_BASE");
	keeps(MSR_FS_BASE, 0x00007f1234567000, "FS_BASE");
	keeps(MSR_GS_BASE, 0xffff888012345000, "GS_BASE");
	keeps(0x174, 0x10, "SYSENTER_CS");
	keeps(0x175, 0xffffffff81000000, "SYSENTER_ESP");
	keeps(0x176, 0xffffffff81000010, "SYSENTER_EIP");
	keeps(MSR_PAT, 0x0407050600070106, "PAT: what Linux writes");
	keeps(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE,
	      "EFER: SCE and NXE");
	check_eq(rdmsr(MSR_EFER) & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME,
		 "EFER: LMA and LME read 1");
}

static void bases(void)
{
	uint64_t v;

	wrmsr(MSR_FS_BASE, 0x30000);
	*(volatile uint64_t *)0x30010 = 0x1234;
	__asm__ volatile("mov %%fs:0x10, %0" : "=r"(v));
	check_eq(v, 0x1234, "a load through FS");
	__asm__ volatile("mov %0, %%fs" : : "r"(0));
	check(rdmsr(MSR_FS_BASE) == 0 || rdmsr(MSR_FS_BASE) == 0x30000,
	      "a null selector in FS clears its base (Intel) or not (AMD)");
	__asm__ volatile("mov %0, %%fs" : : "r"(KERNEL_DS));
	check_eq(rdmsr(MSR_FS_BASE), 0, "a descriptor's base comes with it");
}

static void bad(void)
{
	refuses(MSR_EFER, rdmsr(MSR_EFER) | 1ull << 9, "a reserved EFER bit");
	refuses(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME, "LME off while paging");
	refuses(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1, "APIC_BASE, bit 0");
	refuses(0x12345, 0, "an MSR that there is not: write");
	TRY("rdmsr", : : "c"(0x12345) : "rax", "rdx", "memory");
	check_trap(VEC_GP, 0, "and read");
}

/* These a KVM may leave to the CPU beneath it. */
static void bad_for_the_cpu(void)
{
	refuses(MSR_LSTAR, NON_CANONICAL, "a non-canonical LSTAR");
	refuses(MSR_KERNEL_GS, NON_CANONICAL, "a non-canonical KERNEL_GS");
	refuses(MSR_FS_BASE, NON_CANONICAL, "a non-canonical FS_BASE");
	refuses(MSR_PAT, 0x0407050600070102, "PAT: type 2");
	refuses(MSR_PAT, 0x0007040600070408, "PAT: type 8");
}

static void tsc(void)
{
	uint64_t a, adjust;

	wrmsr(MSR_TSC, 1000);
	a = rdtsc();
	check(a >= 1000 && a < 1000 + 10000000000ull, "the TSC can be set");
	if (!(cpuid(7, 0).b >> 1 & 1)) {
		skip("TSC_ADJUST", "CPUID");
		return;
	}
	wrmsr(MSR_TSC_ADJUST, 0);
	adjust = 1ull << 40;
	a = rdtsc();
	wrmsr(MSR_TSC_ADJUST, adjust);
	check(rdtsc() - a >= adjust, "TSC_ADJUST moves the TSC");
	check_eq(rdmsr(MSR_TSC_ADJUST), adjust, "and reads back");
	wrmsr(MSR_TSC, 5000);
	check(rdtsc() - 5000 < adjust, "a TSC write");
	check(rdmsr(MSR_TSC_ADJUST) != adjust, "moves TSC_ADJUST with it");
	wrmsr(MSR_TSC_ADJUST, 0);
}

static void user(void)
{
	extern uint8_t m_rd[], m_wr[], m_end[];
	uint64_t code = user_code(m_rd, m_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "m_rd: mov $0xc0000080, %ecx; rdmsr; int3\n"
			 "m_wr: mov $0xc0000080, %ecx; wrmsr; int3\n"
			 "m_end:\n1:");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP && trap.f.rip == code + 5,
	      "rdmsr in user mode: #GP");
	run_user(code + (uint64_t)(m_wr - m_rd), sp, 0, RFLAGS_FIXED);
	check(trap.vector == VEC_GP, "wrmsr in user mode: #GP");
}

int main(void)
{
	good();
	bases();
	user();
	if (cpu_is_limited())
		skip("TSC", "this KVM shows the host's");
	else
		tsc();
	if (cpu_is_tcg() && !have_testdev())
		skip("wrong values", "TCG refuses next to nothing");
	else
		bad();
	if (cpu_is_tcg() || cpu_is_limited())
		skip("wrong addresses", "TCG, and this KVM, let them pass");
	else
		bad_for_the_cpu();
	return 0;
}
