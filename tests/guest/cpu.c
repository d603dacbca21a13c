/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID, the time-stamp counter, and instructions that privilege decides. */
#include "tests/guest/lib.h"

#define CR4_TSD	 (1ull << 2)
#define CR4_UMIP (1ull << 11)

static void identification(void)
{
	struct cpuid l0 = cpuid(0, 0), l1 = cpuid(1, 0);
	struct cpuid e0 = cpuid(0x80000000, 0), e1 = cpuid(0x80000001, 0);
	struct cpuid past = cpuid(l0.a + 1, 0), basic = cpuid(l0.a, 0);

	check(l0.a >= 7, "basic leaves up to 7 at least");
	check(l0.b && l0.c && l0.d, "a vendor");
	check_eq(l1.d & 0x07808371, 0x07808371 & l1.d, "leaf 1 is readable");
	check((l1.d & 0x0780a371) == 0x0780a371,
	      "x86-64's base: FPU, TSC, MSR, PAE, CX8, APIC, PGE, CMOV, "
	      "MMX, FXSR, SSE, SSE2");
	check(l1.c >> 31 & 1, "the hypervisor bit");
	check_eq(l1.b >> 24, 0, "initial APIC id 0");
	check(e0.a >= 0x80000008, "extended leaves up to 8 at least");
	check((e1.d >> 29 & 1) && (e1.d >> 11 & 1), "long mode and syscall");
	check((cpuid(0x80000008, 0).a & 0xff) >= 36, "36 address bits");
	/* SDM 2A CPUID: past the last, Intel's last basic leaf; AMD's zeros. */
	check((past.a == basic.a && past.b == basic.b) ||
	      (!past.a && !past.b && !past.c && !past.d),
	      "past the last basic leaf");
}

static void clock(void)
{
	uint64_t last = rdtsc(), back = 0;

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = rdtsc();

		back += now < last;
		last = now;
	}
	check_eq(back, 0, "rdtsc never goes back");
	check(rdtsc() != last, "and does go on");
	if (cpuid(0x80000001, 0).d >> 27 & 1) {
		uint32_t lo, hi, aux;

		wrmsr(0xc0000103, 0x1234);
		__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
		check_eq(aux, 0x1234, "rdtscp reads TSC_AUX");
		check((lo | (uint64_t)hi << 32) > last, "and the TSC");
	} else {
		skip("rdtscp", "CPUID");
	}
}

/* One privileged instruction each, in user mode. */
static void privileged(void)
{
	static const struct {
		const char *name;
		uint8_t code[8];
	} t[] = {
		{ "mov from CR0 in user mode: #GP", { 0x0f, 0x20, 0xc0 } },
		{ "mov to CR3 in user mode: #GP", { 0x0f, 0x22, 0xd8 } },
		{ "mov from DR7 in user mode: #GP", { 0x0f, 0x21, 0xf8 } },
		{ "clts in user mode: #GP", { 0x0f, 0x06 } },
		{ "lgdt in user mode: #GP", { 0x0f, 0x01, 0x17 } },
		{ "lidt in user mode: #GP", { 0x0f, 0x01, 0x1f } },
		{ "lmsw in user mode: #GP", { 0x0f, 0x01, 0xf0 } },
		{ "ltr in user mode: #GP", { 0x0f, 0x00, 0xd8 } },
		{ "lldt in user mode: #GP", { 0x0f, 0x00, 0xd0 } },
		{ "invlpg in user mode: #GP", { 0x0f, 0x01, 0x3f } },
		{ "wbinvd in user mode: #GP", { 0x0f, 0x09 } },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t code = user_code(t[i].code, t[i].code + 8);

		run_user(code, user_stack(), 0, RFLAGS_FIXED);
		check(trap.vector == VEC_GP && trap.error == 0 &&
		      trap.f.rip == code, t[i].name);
	}
}

static void tsd(void)
{
	extern uint8_t c_tsc[], c_cpuid[], c_end[];
	uint64_t code = user_code(c_tsc, c_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "c_tsc: rdtsc; int3\n"
			 "c_cpuid: xor %eax, %eax; cpuid; int3\n"
			 "c_end:\n1:");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT, "rdtsc in user mode");
	run_user(code + (uint64_t)(c_cpuid - c_tsc), sp, 0, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT, "cpuid in user mode");
	if (cpu_is_limited()) {
		skip("CR4.TSD", "this KVM runs user mode without it");
		return;
	}
	check_eq(trap.f.rbx, cpuid(0, 0).b, "gives the same vendor");
	write_cr4(read_cr4() | CR4_TSD);
	run_user(code, sp, 0, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_GP, "rdtsc in user mode with TSD: #GP");
	rdtsc();
	check(1, "with TSD the kernel still reads it");
	write_cr4(read_cr4() & ~CR4_TSD);
}

static void fpu_switches(void)
{
	if (cpu_is_limited()) {
		skip("TS and EM", "this KVM emulates next to no FPU");
		return;
	}
	write_cr0((read_cr0() | CR0_TS | CR0_MP) & ~CR0_EM);
	TRY("fnop", : : : "memory");
	check_trap(VEC_NM, 0, "x87 with TS: #NM");
	TRY("fwait", : : : "memory");
	check_trap(VEC_NM, 0, "fwait with TS and MP: #NM");
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY("movaps %%xmm0, %%xmm1", : : : "memory");
	check_trap(VEC_NM, 0, "SSE with TS: #NM");
	__asm__ volatile("clts" : : : "memory");
	TRY("fnop; movaps %%xmm0, %%xmm1", : : : "memory");
	check_trap(VEC_NONE, 0, "neither after clts");
	write_cr0(read_cr0() | CR0_EM);
	TRY("fnop", : : : "memory");
	check_trap(VEC_NM, 0, "x87 with EM: #NM");
	TRY("movaps %%xmm0, %%xmm1", : : : "memory");
	check_trap(VEC_UD, 0, "SSE with EM: #UD");
	write_cr0(read_cr0() & ~CR0_EM);
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	TRY("movaps %%xmm0, %%xmm1", : : : "memory");
	check_trap(VEC_UD, 0, "SSE without OSFXSR: #UD");
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY("movaps 1(%0), %%xmm1", : : "r"(0x30000ull) : "memory");
	check_trap(VEC_GP, 0, "movaps from an odd address: #GP");
}

static void alignment(void)
{
	extern uint8_t a_odd[], a_end[];
	uint64_t code = user_code(a_odd, a_end), sp = user_stack();

	__asm__ volatile("jmp 1f\n"
			 "a_odd: mov -7(%rsp), %eax; int3\n"
			 "a_end:\n1:");
	if (cpu_is_tcg() || cpu_is_limited()) {
		skip("#AC", "neither TCG nor a limited KVM checks alignment");
		return;
	}
	write_cr0(read_cr0() | 1ull << 18); /* AM */
	run_user(code, sp, 0, RFLAGS_FIXED | RFLAGS_AC);
	check(trap.vector == VEC_AC && trap.error == 0,
	      "an odd address in user mode with AM and AC: #AC");
	run_user(code, sp, 0, RFLAGS_FIXED);
	check_eq(trap.vector, VEC_USER_EXIT, "without AC: fine");
	write_cr0(read_cr0() & ~(1ull << 18));
}

int main(void)
{
	identification();
	clock();
	privileged();
	tsd();
	fpu_switches();
	alignment();
	return 0;
}
