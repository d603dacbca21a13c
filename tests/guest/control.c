/* SPDX-License-Identifier: Apache-2.0 */
/* Control registers and MSRs: values that do not go, and what those that go
 * change. SDM 3A 2.5, 4.1.1, 11.6.4 (CR8); 2A and 2B under each name. */
#include "tests/guest/lib.h"

#define CR0_PE (1ull << 0)
#define CR0_ET (1ull << 4)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)

static void set_cr(int n, uint64_t v)
{
	switch (n) {
	case 0:
		TRY("mov %0, %%cr0", : : "r"(v) : "memory");
		break;
	case 3:
		TRY("mov %0, %%cr3", : : "r"(v) : "memory");
		break;
	case 4:
		TRY("mov %0, %%cr4", : : "r"(v) : "memory");
		break;
	default:
		TRY("mov %0, %%cr8", : : "r"(v) : "memory");
	}
}

#define REFUSED(n, v, name)                     \
	do {                                    \
		uint64_t was = read_cr##n();    \
		set_cr(n, v);                   \
		check_trap(VEC_GP, 0, name);    \
		check_eq(read_cr##n(), was, "and nothing changed"); \
	} while (0)

static void cr0(void)
{
	uint64_t v = read_cr0();

	REFUSED(0, v | 1ull << 32, "CR0: upper half: #GP");
	REFUSED(0, v & ~CR0_PE, "CR0: PG without PE: #GP");
	REFUSED(0, (v | CR0_NW) & ~CR0_CD, "CR0: NW without CD: #GP");
	REFUSED(0, v & ~CR0_PG, "CR0: paging off in 64-bit code: #GP");
	set_cr(0, v & ~CR0_ET);
	check(trap.vector == VEC_NONE && read_cr0() & CR0_ET,
	      "CR0.ET is always 1");
	write_cr0(v);
	TRY("lmsw %w0", : : "r"(0ull) : "memory");
	check(trap.vector == VEC_NONE && read_cr0() & CR0_PE,
	      "lmsw cannot clear PE");
	write_cr0(v | CR0_TS);
	__asm__ volatile("clts");
	check(!(read_cr0() & CR0_TS), "clts");
	write_cr0(v);
}

static void cr3(void)
{
	uint64_t bits = cpuid(0x80000008, 0).a & 0xff;

	REFUSED(3, read_cr3() | 1ull << 63, "CR3: bit 63 without PCIDE: #GP");
	if (bits < 52)
		REFUSED(3, read_cr3() | 1ull << bits,
			"CR3: above the physical address: #GP");
	set_cr(3, read_cr3() | 0x18);
	check(trap.vector == VEC_NONE && (read_cr3() & 0x18) == 0x18,
	      "CR3: PWT and PCD");
	write_cr3(read_cr3() & ~0x18ull);
}

static void cr4(void)
{
	REFUSED(4, read_cr4() | 1ull << 63, "CR4: bit 63: #GP");
	REFUSED(4, read_cr4() | 1ull << 15, "CR4: bit 15: #GP");
	REFUSED(4, read_cr4() & ~CR4_PAE, "CR4: PAE off in long mode: #GP");
	if (!(cpuid(1, 0).c >> 17 & 1))
		REFUSED(4, read_cr4() | 1ull << 17,
			"CR4: PCIDE without its CPUID bit: #GP");
	if (!(cpuid(1, 0).c >> 26 & 1))
		REFUSED(4, read_cr4() | 1ull << 18,
			"CR4: OSXSAVE without its CPUID bit: #GP");
	if (!(cpuid(7, 0).c >> 2 & 1))
		REFUSED(4, read_cr4() | 1ull << 11,
			"CR4: UMIP without its CPUID bit: #GP");
}

static void cr8(void)
{
	REFUSED(8, 16, "CR8: above 15: #GP");
	REFUSED(8, 1ull << 63, "CR8: upper half: #GP");
}

static void others(void)
{
	TRY(".byte 0x0f, 0x20, 0xc8", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "CR1: #UD");
	TRY(".byte 0x0f, 0x22, 0xe8", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "CR5: #UD");
	TRY(".byte 0x0f, 0x20, 0xf8", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "CR7: #UD");
	TRY(".byte 0x44, 0x0f, 0x20, 0xc8", : : : "rax", "memory");
	check_trap(VEC_UD, 0, "CR9: #UD");
	write_cr2(0x123456789abcull);
	check_eq(read_cr2(), 0x123456789abcull, "CR2 can be written");
	/* the mod field is ignored: SDM 2B MOV to and from CR */
	TRY(".byte 0x0f, 0x20, 0x10", : : : "rax", "memory");
	check(trap.vector == VEC_NONE, "mod of MOV CR does not matter");
	TRY(".byte 0xf0, 0x0f, 0x06", : : : "memory");
	check_trap(VEC_UD, 0, "lock clts: #UD");
	TRY(".byte 0x0f, 0xaa", : : : "memory");
	check_trap(VEC_UD, 0, "rsm outside SMM: #UD");
	TRY("invlpg (%0)", : : "r"(1ull << 47) : "memory");
	check_trap(VEC_NONE, 0, "invlpg of no address does nothing");
	TRY(".byte 0x0f, 0x01, 0xf8; .byte 0x0f, 0x01, 0xf8", : : : "memory");
	check_trap(VEC_NONE, 0, "swapgs twice");
	if (!(cpuid(1, 0).d >> 11 & 1)) {
		TRY("sysenter", : : : "memory");
		check_trap(VEC_UD, 0, "sysenter without its CPUID bit: #UD");
	} else {
		wrmsr(0x174, 0);
		TRY("sysenter", : : : "memory");
		check_trap(VEC_GP, 0, "sysenter with a null selector: #GP");
	}
}

#define WRMSR_REFUSED(nr, v, name)                                          \
	do {                                                                \
		TRY("wrmsr", : : "c"(nr), "a"((uint32_t)(v)),               \
		    "d"((uint32_t)((uint64_t)(v) >> 32)) : "memory");       \
		check_trap(VEC_GP, 0, name);                                \
	} while (0)

static void msrs(void)
{
	uint64_t efer = rdmsr(MSR_EFER);

	WRMSR_REFUSED(MSR_EFER, efer | 1ull << 63, "EFER: bit 63");
	WRMSR_REFUSED(MSR_EFER, efer | 2, "EFER: bit 1");
	WRMSR_REFUSED(MSR_EFER, efer & ~EFER_LME, "EFER: LME off");
	WRMSR_REFUSED(MSR_CSTAR, 1ull << 47, "CSTAR: no address");
	WRMSR_REFUSED(MSR_GS_BASE, 1ull << 63, "GS_BASE: no address");
	WRMSR_REFUSED(0x175, 1ull << 47, "SYSENTER_ESP: no address");
	WRMSR_REFUSED(0x176, 1ull << 47, "SYSENTER_EIP: no address");
	WRMSR_REFUSED(MSR_PAT, 2ull << 56, "PAT: type 2 in the last");
	WRMSR_REFUSED(0x12345678, 0, "none at all");
	wrmsr(MSR_EFER, efer & ~EFER_LMA);
	check_eq(rdmsr(MSR_EFER), efer, "EFER.LMA cannot be written");
	if (cpuid(0x80000001, 0).d >> 27 & 1)
		WRMSR_REFUSED(0xc0000103, 1ull << 32, "TSC_AUX: upper half");
}

int main(void)
{
	write_cr8(5);
	check_eq(read_cr8(), 5, "CR8 reads back");
	write_cr8(0);
	if (cpu_is_tcg() || cpu_is_limited()) {
		skip("bad values", "TCG and a limited KVM let many pass");
		return 0;
	}
	cr0();
	cr3();
	cr4();
	cr8();
	others();
	msrs();
	return 0;
}
