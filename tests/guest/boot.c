/* SPDX-License-Identifier: Apache-2.0 */
/* The state in which a kernel is entered: 64-bit Linux boot protocol. */
#include "tests/guest/lib.h"

extern uint64_t boot_rsp, boot_rflags, boot_tr, boot_cs, boot_ss;
extern struct table boot_gdtr_seen;

static void registers(void)
{
	check_eq(boot_cs, 0x10, "CS is __BOOT_CS");
	check_eq(boot_ss, 0x18, "SS is __BOOT_DS");
	check_eq(boot_tr, 0x20, "TR is loaded");
	check_eq(boot_rflags & ~0xd5ull, RFLAGS_FIXED,
		 "RFLAGS: interrupts off, no trap, no direction");
	check(boot_rsp != 0 && boot_rsp % 16 == 0, "a stack");
	check(boot_gdtr_seen.limit >= 0x1f, "GDT holds the boot selectors");
	check_eq(read_cr0() & 0x80000001, 0x80000001, "CR0: PE and PG");
	check_eq(read_cr0() & 0x6000000c, 0, "CR0: caches on, no EM, no TS");
	check_eq(read_cr0() & 0x10, 0x10, "CR0: ET reads 1");
	check_eq(read_cr4() & 0x20, 0x20, "CR4: PAE");
	check_eq(rdmsr(MSR_EFER) & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA,
		 "EFER: LME and LMA");
	check_eq(read_cr8(), 0, "task priority is 0");
}

static void memory(void)
{
	volatile uint64_t *low = (volatile uint64_t *)0x30000;
	volatile uint64_t *high = (volatile uint64_t *)0x3000000;

	low[0] = 0x1122334455667788;
	check_eq(low[0], 0x1122334455667788, "RAM below 1 MiB");
	high[0] = 0x99aabbccddeeff00;
	check_eq(high[0], 0x99aabbccddeeff00, "RAM at 48 MiB");
	check_eq(low[0], 0x1122334455667788, "address lines are not folded");
	*(volatile uint8_t *)((uintptr_t)&high[0] + 3) = 0x5a;
	check_eq(high[0], 0x99aabbcc5aeeff00, "one byte of a word");
	*(volatile uint32_t *)((uintptr_t)&high[0] + 6) = 0x01020304;
	check_eq(high[0], 0x0304bbcc5aeeff00, "a write across two words");
}

static void arithmetic(void)
{
	uint64_t a = 0x8000000000000000, b = 3, hi, lo;
	uint8_t carry;

	__asm__("mul %3" : "=d"(hi), "=a"(lo) : "a"(a), "r"(b));
	check_eq(hi, 1, "64-bit multiply, high half");
	check_eq(lo, a, "64-bit multiply, low half");
	__asm__("div %4" : "=a"(lo), "=d"(hi) : "a"(7ull), "d"(1ull), "r"(b));
	check_eq(lo, 0x5555555555555557, "128 by 64-bit divide");
	check_eq(hi, 2, "128 by 64-bit divide, remainder");
	__asm__("add %2, %0; setc %1" : "+r"(a), "=q"(carry) : "r"(a));
	check_eq(carry, 1, "carry out of bit 63");
	__asm__("mov $-1, %0; mov $5, %k0" : "=r"(lo));
	check_eq(lo, 5, "a 32-bit write clears the upper half");
	__asm__("mov $-1, %0; movb $5, %b0" : "=q"(lo));
	check_eq(lo, 0xffffffffffffff05, "an 8-bit write does not");
}

int main(void)
{
	registers();
	memory();
	arithmetic();
	return 0;
}
