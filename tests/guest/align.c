/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alignment checks in user mode. SDM 3A 6.15 (#AC), table 6-7. What the SDM
 * leaves to the processor (16-byte moves, what comes before a page fault) is
 * as measured on an Intel one.
 */
#include "tests/guest/lib.h"

#define CR0_AM (1ull << 18)
#define RAN VEC_USER_EXIT

struct row {
	const char *name;
	uint8_t code[12]; /* its operand is at [rdi] */
	uint8_t offset;
	uint8_t vector;
};

static const struct row rows[] = {
	{ "mov al", { 0x8a, 0x07 }, 1, RAN },
	{ "mov ax", { 0x66, 0x8b, 0x07 }, 1, VEC_AC },
	{ "mov ax", { 0x66, 0x8b, 0x07 }, 2, RAN },
	{ "mov eax", { 0x8b, 0x07 }, 2, VEC_AC },
	{ "mov eax, a store", { 0x89, 0x07 }, 2, VEC_AC },
	{ "mov rax", { 0x48, 0x8b, 0x07 }, 4, VEC_AC },
	{ "add to memory", { 0x83, 0x07, 1 }, 1, VEC_AC },
	{ "lock xadd", { 0xf0, 0x0f, 0xc1, 0x07 }, 2, VEC_AC },
	{ "push", { 0x48, 0x89, 0xfc, 0x50 }, 4, VEC_AC },
	{ "pop", { 0x48, 0x89, 0xfc, 0x58 }, 4, VEC_AC },
	{ "call", { 0x48, 0x89, 0xfc, 0xe8, 1, 0, 0, 0, 0x90 }, 4, VEC_AC },
	{ "bt dword", { 0x0f, 0xba, 0x27, 1 }, 2, VEC_AC },
	{ "xlat", { 0x48, 0x89, 0xfb, 0xd7 }, 1, RAN },
	{ "movsq", { 0x48, 0x89, 0xfe, 0x48, 0xa5 }, 4, VEC_AC },
	{ "rep stosd", { 0xb9, 4, 0, 0, 0, 0xf3, 0xab }, 2, VEC_AC },
	{ "rep stosb", { 0xb9, 4, 0, 0, 0, 0xf3, 0xaa }, 1, RAN },
	{ "cmpxchg8b", { 0x0f, 0xc7, 0x0f }, 4, VEC_AC },
	{ "cmpxchg8b", { 0x0f, 0xc7, 0x0f }, 8, RAN },
	{ "cmpxchg16b", { 0x48, 0x0f, 0xc7, 0x0f }, 8, VEC_GP },
	{ "movss", { 0xf3, 0x0f, 0x10, 0x07 }, 2, VEC_AC },
	{ "movq", { 0xf3, 0x0f, 0x7e, 0x07 }, 4, VEC_AC },
	{ "movhps", { 0x0f, 0x16, 0x07 }, 4, VEC_AC },
	{ "movups", { 0x0f, 0x10, 0x07 }, 1, RAN },
	{ "movups, a store", { 0x0f, 0x11, 0x07 }, 1, RAN },
	{ "lddqu", { 0xf2, 0x0f, 0xf0, 0x07 }, 1, RAN },
	{ "pcmpistri", { 0x66, 0x0f, 0x3a, 0x63, 0x07, 0 }, 1, RAN },
	{ "movaps", { 0x0f, 0x28, 0x07 }, 8, VEC_GP },
	{ "cvtps2pd", { 0x0f, 0x5a, 0x07 }, 4, VEC_AC },
	{ "pmovzxbd", { 0x66, 0x0f, 0x38, 0x31, 0x07 }, 2, VEC_AC },
	{ "pinsrw", { 0x66, 0x0f, 0xc4, 0x07, 0 }, 1, VEC_AC },
	{ "ldmxcsr", { 0x0f, 0xae, 0x17 }, 2, VEC_AC },
	{ "stmxcsr", { 0x0f, 0xae, 0x1f }, 4, RAN },
	{ "flds", { 0xd9, 0x07 }, 2, VEC_AC },
	{ "fldl", { 0xdd, 0x07 }, 4, VEC_AC },
	{ "fldt", { 0xdb, 0x2f }, 4, VEC_AC },
	{ "fldt", { 0xdb, 0x2f }, 8, RAN },
	{ "fstpt", { 0xd9, 0xe8, 0xdb, 0x3f }, 4, VEC_AC },
	{ "fstpt", { 0xd9, 0xe8, 0xdb, 0x3f }, 8, RAN },
	{ "fnstenv", { 0xd9, 0x37 }, 2, VEC_AC },
	{ "fnstenv", { 0xd9, 0x37 }, 4, RAN },
	{ "fnstenv, 16 bits", { 0x66, 0xd9, 0x37 }, 2, RAN },
	{ "fnstenv, 16 bits", { 0x66, 0xd9, 0x37 }, 1, VEC_AC },
	{ "fnsave", { 0xdd, 0x37 }, 2, VEC_AC },
	{ "fnsave", { 0xdd, 0x37 }, 4, RAN },
	{ "fxsave", { 0x0f, 0xae, 0x07 }, 8, VEC_GP },
	{ "lea", { 0x8d, 0x47, 1 }, 1, RAN },
};

static uint64_t code_at, data_at, sp_at;
static uint8_t *code_page, *data;

static uint64_t run(const struct row *r, uint64_t at, uint64_t flags)
{
	memset(code_page, 0xcc, 64);
	memcpy(code_page, r->code, sizeof(r->code));
	for (int i = 11; i >= 0 && !r->code[i] && i > 1; i--)
		code_page[i] = 0xcc;
	memset(data, 0, PAGE);
	run_user(code_at, sp_at, at, flags);
	return trap.vector;
}

static void table(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		uint64_t at = data_at + 512 + r->offset;
		uint64_t got;

		/* without AC: what it does anyway */
		got = run(r, at, RFLAGS_FIXED);
		check_eq(got, r->vector == VEC_AC ? RAN : r->vector, r->name);
		got = run(r, at, RFLAGS_FIXED | RFLAGS_AC);
		check_eq(got, r->vector, "the same with AC");
		if (got == VEC_AC)
			check_eq(trap.error, 0, "error code 0");
	}
}

static void order(void)
{
	static const struct row load = { "", { 0x8b, 0x07 }, 0, 0 };
	const uint64_t ac = RFLAGS_FIXED | RFLAGS_AC;

	check_eq(run(&load, data_at + PAGE + 1, ac), VEC_AC,
		 "odd and not mapped: #AC");
	check_eq(run(&load, data_at + PAGE, ac), VEC_PF, "even: #PF");
	check_eq(run(&load, data_at + PAGE - 2, ac), VEC_AC,
		 "odd and half mapped: #AC");
	check_eq(run(&load, 1ull << 47 | 1, ac), VEC_GP,
		 "odd and no address at all: #GP");
}

static uint64_t user_page(uint8_t **page)
{
	uint64_t va = user_stack() - PAGE;

	*page = (uint8_t *)(*pte_of(va, 1) & PTE_ADDR);
	return va;
}

int main(void)
{
	write_cr0((read_cr0() | CR0_AM) & ~(CR0_EM | CR0_TS));
	check((read_cr0() & CR0_AM) != 0, "CR0.AM");
	if (cpu_is_tcg() || cpu_is_limited()) {
		skip("#AC", "neither TCG nor a limited KVM checks alignment");
		return 0;
	}
	write_cr4(read_cr4() | CR4_OSFXSR);
	code_at = user_page(&code_page);
	data_at = user_page(&data);
	sp_at = user_stack();
	table();
	order();
	write_cr0(read_cr0() & ~CR0_AM);
	check_eq(run(&rows[1], data_at + 1, RFLAGS_FIXED | RFLAGS_AC), RAN,
		 "without CR0.AM: no check");
	return 0;
}
