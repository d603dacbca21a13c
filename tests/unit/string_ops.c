/* SPDX-License-Identifier: Apache-2.0 */
/* String instructions against the host's, on flat fake memory. */
#include <stdlib.h>

#include "tests/unit/soft_fake.h"

#define BASE 0x4000u
#define SPAN 0x4000u

static struct cpu *const cpu = &fake.cpu;

TestSuite(string_ops, .init = fake_reset);

static struct uop make(unsigned op, unsigned size, unsigned asize,
		       unsigned pfx)
{
	struct uop block[4];
	struct emitter e = { .uops = block, .len = 2, .cpu = cpu };
	struct insn in = { .op = (uint16_t)op, .osize = (uint8_t)size,
			   .asize = (uint8_t)asize, .pfx = (uint8_t)pfx,
			   .seg = X86_DS };

	cr_assert_eq(emit_string(&e, &in), 1);
	return block[0];
}

static void set(uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	cpu->r[X86_RCX] = rcx;
	cpu->r[X86_RSI] = rsi;
	cpu->r[X86_RDI] = rdi;
}

/* Run to the end: a step may leave early, at the same instruction. */
static int run(struct uop u)
{
	uint64_t at = cpu->rip;
	int vec;

	do {
		cpu->budget = 1000;
		atomic_store(&cpu->attention, 0);
		vec = fake_try(u);
	} while (!vec && cpu->rip == at);
	return vec;
}

static void fill_random(uint8_t *p, size_t n, unsigned mask)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((unsigned)rand() & mask);
}

#define HOST_REP(insn, rcx, rsi, rdi, rax)                               \
	__asm__ volatile("rep " insn : "+c"(rcx), "+S"(rsi), "+D"(rdi)   \
			 : "a"(rax) : "memory", "cc")

static void host_movs(unsigned size, uint64_t *n, uint8_t **from, uint8_t **to)
{
	switch (size) {
	case 1:
		HOST_REP("movsb", *n, *from, *to, 0);
		break;
	case 2:
		HOST_REP("movsw", *n, *from, *to, 0);
		break;
	case 4:
		HOST_REP("movsl", *n, *from, *to, 0);
		break;
	default:
		HOST_REP("movsq", *n, *from, *to, 0);
	}
}

/* Any overlap, any page crossing, both directions. */
Test(string_ops, movs_is_what_the_host_does)
{
	static uint8_t model[FAKE_RAM];

	srand(1);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned size = 1u << rand() % 4, down = rand() % 4 == 0;
		uint64_t n = (uint64_t)rand() % 700;
		uint64_t from = BASE + SPAN / 2 + (uint64_t)rand() % 64;
		uint64_t to = from + (uint64_t)(rand() % 257) - 128;
		uint8_t *mf = model + from, *mt = model + to;
		uint64_t mn = n;

		fill_random(fake.ram + BASE, SPAN, 0xff);
		memcpy(model, fake.ram, sizeof(model));
		if (down)
			__asm__ volatile("std");
		host_movs(size, &mn, &mf, &mt);
		__asm__ volatile("cld");
		cpu->rip = 0x5000;
		cpu->rflags = down ? 2 | RFLAGS_DF : 2;
		set(n, from, to);
		cr_assert_eq(run(make(OP_MOVS, size, 8, PFX_REP)), 0);
		cr_assert_eq(memcmp(model, fake.ram, sizeof(model)), 0,
			     "case %u size %u n %lu", i, size, n);
		cr_assert_eq(cpu->r[X86_RCX], 0);
		cr_assert_eq(cpu->r[X86_RSI], (uint64_t)(mf - model));
		cr_assert_eq(cpu->r[X86_RDI], (uint64_t)(mt - model));
	}
}

Test(string_ops, stos_of_every_size)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };

	for (unsigned i = 0; i < 8; i++) {
		unsigned size = sizes[i / 2];
		uint64_t v = i & 1 ? 0x1122334455667788 : 0, n = 5000 / size;

		memset(fake.ram + BASE, 0xee, SPAN);
		cpu->rip = 0x5000;
		cpu->r[X86_RAX] = v;
		set(n, 0, BASE + 3);
		cr_assert_eq(run(make(OP_STOS, size, 8, PFX_REP)), 0);
		cr_assert_eq(cpu->r[X86_RDI], BASE + 3 + n * size);
		cr_assert_eq(fake.ram[BASE + 2], 0xee);
		cr_assert_eq(fake.ram[BASE + 3 + n * size], 0xee);
		for (uint64_t k = 0; k < n; k++)
			cr_assert_eq(memcmp(fake.ram + BASE + 3 + k * size,
					    &v, size), 0);
	}
}

Test(string_ops, fault_in_the_middle_leaves_exact_registers)
{
	struct uop u = make(OP_MOVS, 8, 8, PFX_REP);

	fake.read_only = 0x6000;
	memset(fake.ram + 0x4000, 7, 0x1000);
	set(0x300, 0x4000, 0x5800);
	cr_assert_eq(run(u), 1 + EXC_PF);
	cr_assert_eq(cpu->exc.cr2, 0x6000);
	cr_assert_eq(cpu->rip, 0x5000, "at the instruction");
	cr_assert_eq(cpu->r[X86_RCX], 0x300 - 0x100);
	cr_assert_eq(cpu->r[X86_RSI], 0x4800);
	cr_assert_eq(cpu->r[X86_RDI], 0x6000);
	fake.read_only = FAKE_NO_PAGE;
	cr_assert_eq(run(u), 0);
	cr_assert_eq(cpu->rip, 0x5002);
	cr_assert_eq(cpu->r[X86_RCX], 0);
	cr_assert_eq(fake.ram[0x5800 + 0xfff], 7);
}

Test(string_ops, attention_interrupts_between_pages)
{
	atomic_store(&cpu->attention, ATTN_KICK);
	set(0x2000, 0x4000, 0x8000);
	cr_assert_eq(fake_try(make(OP_MOVS, 1, 8, PFX_REP)), 0);
	cr_assert_eq(cpu->rip, 0x5000);
	cr_assert_eq(cpu->r[X86_RCX], 0x1000);
}

Test(string_ops, single_step_traps_after_every_element)
{
	cpu->rflags |= RFLAGS_TF;
	set(3, 0x4000, 0x8000);
	cr_assert_eq(fake_try(make(OP_MOVS, 4, 8, PFX_REP)), 0);
	cr_assert_eq(cpu->rip, 0x5000);
	cr_assert_eq(cpu->r[X86_RCX], 2);
	cr_assert_eq(cpu->r[X86_RDI], 0x8004);
}

Test(string_ops, count_zero_does_nothing)
{
	set(0, UINT64_MAX / 2, UINT64_MAX / 2);
	cr_assert_eq(fake_try(make(OP_MOVS, 8, 8, PFX_REP)), 0);
	cr_assert_eq(fake_try(make(OP_CMPS, 1, 8, PFX_REP)), 0);
	cr_assert_eq(cpu->rip, 0x5004);
}

Test(string_ops, address_size_32_uses_and_clears_the_low_half)
{
	set(0xffffffff00000002, 0xabc00004000, 0xabc00008000);
	fake.ram[0x4001] = 0x99;
	cr_assert_eq(run(make(OP_MOVS, 1, 4, PFX_REP)), 0);
	cr_assert_eq(fake.ram[0x8001], 0x99);
	cr_assert_eq(cpu->r[X86_RCX], 0);
	cr_assert_eq(cpu->r[X86_RSI], 0x4002);
	cr_assert_eq(cpu->r[X86_RDI], 0x8002);
}

#define HOST_CMP(prefix, insn)                                           \
	__asm__ volatile(prefix insn "\n\tpushfq\n\tpop %0"              \
			 : "=&r"(fl), "+c"(n), "+S"(a), "+D"(b)          \
			 : "a"(rax) : "memory", "cc")

Test(string_ops, compares_and_scans_as_the_host_does)
{
	srand(2);
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t n = (uint64_t)rand() % 40, n0 = n, fl;
		unsigned ne = rand() & 1, scan = rand() & 1;
		uint64_t rax = (uint64_t)rand() & 3;
		uint8_t *a = fake.ram + BASE, *b = a + 0x200;

		/* flags survive where nothing is compared: n is not 0 */
		n = n0 = n + 1;
		fill_random(a, 0x400, ne ? 0x3 : 0x1);
		if (!ne)
			memcpy(b, a, (size_t)rand() % 40);
		cpu->rip = 0x5000;
		cpu->r[X86_RAX] = rax;
		if (scan && ne)
			HOST_CMP("repne ", "scasb");
		else if (scan)
			HOST_CMP("repe ", "scasw");
		else if (ne)
			HOST_CMP("repne ", "cmpsl");
		else
			HOST_CMP("repe ", "cmpsb");
		set(n0, BASE, BASE + 0x200);
		cr_assert_eq(run(make(scan ? OP_SCAS : OP_CMPS,
				      scan ? (ne ? 1 : 2) : ne ? 4 : 1, 8,
				      ne ? PFX_REPNE : PFX_REP)), 0);
		cr_assert_eq(cpu->r[X86_RCX], n, "case %u", i);
		cr_assert_eq(cpu->r[X86_RDI], (uint64_t)(b - fake.ram));
		cr_assert_eq(cpu_rflags(cpu) & RFLAGS_ARITH,
			     fl & RFLAGS_ARITH, "case %u", i);
	}
}

/* --- ports ------------------------------------------------------------------- */

static unsigned port_reads;

static void bus_pio(void *opaque, uint16_t port, void *data, unsigned len,
		    int write)
{
	(void)opaque, (void)port;
	if (!write)
		memset(data, (int)++port_reads, len);
}

Test(string_ops, ins_reads_no_port_when_its_store_would_fault)
{
	static const struct engine_bus bus = { .pio = bus_pio };

	fake.soft.bus = &bus;
	fake.read_only = 0x8000;
	port_reads = 0;
	set(3, 0, 0x7fff);
	cr_assert_eq(run(make(OP_INS, 1, 8, PFX_REP)), 1 + EXC_PF);
	cr_assert_eq(port_reads, 1);
	cr_assert_eq(fake.ram[0x7fff], 1);
	cr_assert_eq(cpu->r[X86_RCX], 2);
}
