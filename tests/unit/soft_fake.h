/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft_fake: a CPU of the soft engine with flat memory and no engine around
 * it, for unit tests of its system half. It stands in for mmu.c, emit.c and
 * soft.c; addresses above FAKE_RAM fault, as do stores to fake.read_only.
 */
#ifndef MAYFLY_TESTS_SOFT_FAKE_H
#define MAYFLY_TESTS_SOFT_FAKE_H

#include <criterion/criterion.h>
#include <string.h>

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/lapic.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"

#define FAKE_RAM    0x10000u
#define FAKE_NO_PAGE UINT64_MAX

static struct fake {
	struct soft soft;
	struct cpu cpu;
	uint64_t read_only; /* a page that stores fault in */
	unsigned wakes;
	uint8_t ram[FAKE_RAM];
} fake;

/* --- what the real files would do ----------------------------------------- */

static uint8_t *fake_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
			 unsigned len, int write)
{
	for (unsigned i = 0; i < len; i++)
		if (va + i >= FAKE_RAM)
			cpu_raise_pf(cpu, op, va + i, write ? 2 : 0);
		else if (write && ((va + i) & PAGE_MASK) == fake.read_only)
			cpu_raise_pf(cpu, op, va + i, 3);
	return fake.ram + va;
}

uint64_t mmu_load_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, fake_ptr(cpu, op, va, size, 0), size);
	return v;
}

void mmu_store_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		    uint64_t v, unsigned size)
{
	memcpy(fake_ptr(cpu, op, va, size, 1), &v, size);
}

void mmu_read(struct cpu *cpu, const struct uop *op, uint64_t va, void *buf,
	      unsigned len)
{
	memcpy(buf, fake_ptr(cpu, op, va, len, 0), len);
}

void mmu_write(struct cpu *cpu, const struct uop *op, uint64_t va,
	       const void *buf, unsigned len)
{
	memcpy(fake_ptr(cpu, op, va, len, 1), buf, len);
}

void mmu_sys_read(struct cpu *cpu, const struct uop *op, uint64_t va,
		  void *buf, unsigned len)
{
	mmu_read(cpu, op, va, buf, len);
}

void mmu_sys_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		   const void *buf, unsigned len)
{
	mmu_write(cpu, op, va, buf, len);
}

void mmu_probe_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		     unsigned len)
{
	fake_ptr(cpu, op, va, len, 1);
}

const void *mmu_read_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
			 unsigned len)
{
	return fake_ptr(cpu, op, va, len, 0);
}

void *mmu_write_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
		    unsigned len)
{
	return fake_ptr(cpu, op, va, len, 1);
}

void mmu_check_aligned(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size)
{
	(void)cpu, (void)op, (void)va, (void)size;
}

void mmu_flush(struct cpu *cpu)
{
	cpu->gen_kernel++;
}

void mmu_flush_local(struct cpu *cpu)
{
	mmu_flush(cpu);
}

void mmu_forget_fetches(struct cpu *cpu, int user)
{
	(void)user;
	cpu->jc_tag = cpu_make_tag(cpu);
}

void mmu_flush_page(struct cpu *cpu, uint64_t va)
{
	(void)cpu, (void)va;
}

void soft_wake(struct soft *s)
{
	(void)s;
	fake.wakes++;
}

void soft_cpuid(const struct soft *s, uint32_t leaf, uint32_t subleaf,
		struct cpuid_leaf *out)
{
	(void)s;
	*out = (struct cpuid_leaf){ leaf, subleaf, 0, 0, 0, 0 };
}

int soft_has(const struct soft *s, uint32_t leaf, char reg, unsigned bit)
{
	(void)s, (void)leaf, (void)reg, (void)bit;
	return 1;
}

struct uop *emit_uop(struct emitter *e, uop_fn fn)
{
	struct uop *u = &e->uops[e->n++];

	*u = (struct uop){ .fn = fn, .off = e->off, .len = e->len,
			   .base = SLOT_OFF(SLOT_ZERO),
			   .index = SLOT_OFF(SLOT_ZERO),
			   .seg = SLOT_OFF(SLOT_ZERO) };
	return u;
}

/* --- the CPU --------------------------------------------------------------- */

/* Selectors of the GDT that fake_reset() makes. */
#define FAKE_KERNEL_CS 0x08
#define FAKE_KERNEL_SS 0x10
#define FAKE_USER_SS   0x1b
#define FAKE_USER_CS   0x23
#define FAKE_USER_CS32 0x2b
#define FAKE_TSS       0x30

#define FAKE_GDT   0x1000u
#define FAKE_IDT   0x2000u
#define FAKE_TSS_AT 0x3000u

static inline void fake_put64(uint64_t at, uint64_t v)
{
	memcpy(fake.ram + at, &v, 8);
}

static inline uint64_t fake_get64(uint64_t at)
{
	uint64_t v;

	memcpy(&v, fake.ram + at, 8);
	return v;
}

/* A 64-bit gate; @type 0x8e interrupt, 0x8f trap, | dpl << 5. */
static inline void fake_gate(unsigned vec, uint64_t to, uint16_t sel,
			     unsigned type, unsigned ist)
{
	uint64_t at = FAKE_IDT + vec * 16u;

	fake_put64(at, (to & 0xffff) | (uint64_t)sel << 16 |
			       (uint64_t)ist << 32 | (uint64_t)type << 40 |
			       (to >> 16 & 0xffff) << 48);
	fake_put64(at + 8, to >> 32);
}

/* 64-bit kernel code at 0x5000 with RSP 0x8000, tables in place. */
static inline void fake_reset(void)
{
	struct cpu *c = &fake.cpu;

	memset(&fake, 0, sizeof(fake));
	fake.read_only = FAKE_NO_PAGE;
	c->vm = &fake.soft;
	fake.soft.cpu = c;
	for (unsigned m = 0; m < TLB_MODES; m++)
		for (unsigned i = 0; i < TLB_SIZE; i++)
			c->tlbs[m][i].rd = c->tlbs[m][i].wr = TLB_NONE;
	c->efer = EFER_LME | EFER_LMA | EFER_SCE;
	c->cr0 = CR0_PE | CR0_PG;
	c->cr4 = CR4_PAE;
	c->rflags = 2;
	c->budget = 1000;
	fake_put64(FAKE_GDT + 0x08, 0x00af9b000000ffff);
	fake_put64(FAKE_GDT + 0x10, 0x00cf93000000ffff);
	fake_put64(FAKE_GDT + 0x18, 0x00cff3000000ffff);
	fake_put64(FAKE_GDT + 0x20, 0x00affb000000ffff);
	fake_put64(FAKE_GDT + 0x28, 0x00cffb000000ffff);
	fake_put64(FAKE_GDT + 0x30, 0x0000890030000067);
	c->gdtr = (struct x86_table){ FAKE_GDT, 0x3f };
	c->idtr = (struct x86_table){ FAKE_IDT, 0xfff };
	c->tr = (struct x86_seg){ .base = FAKE_TSS_AT, .limit = 0x67,
				  .sel = FAKE_TSS, .type = 11, .p = 1 };
	fake_put64(FAKE_TSS_AT + 4, 0x9000);	  /* RSP0 */
	fake_put64(FAKE_TSS_AT + 36 + 8, 0xa000); /* IST2 */
	seg_set_flat(c, X86_CS, FAKE_KERNEL_CS, 0, 1);
	for (unsigned n = 0; n < X86_SREGS; n++)
		if (n != X86_CS)
			seg_set_flat(c, n, FAKE_KERNEL_SS, 0, 0);
	cpu_update_mode(c);
	c->r[X86_RSP] = 0x8000;
	c->rip = c->r[SLOT_RIP] = 0x5000;
}

static inline void fake_user(void)
{
	seg_set_flat(&fake.cpu, X86_CS, FAKE_USER_CS, 3, 1);
	seg_set_flat(&fake.cpu, X86_SS, FAKE_USER_SS, 3, 0);
	fake.cpu.cpl = 3;
	cpu_update_mode(&fake.cpu);
}

static const struct uop *fake_end(struct cpu *cpu, const struct uop *op)
{
	cpu->rip = cpu->r[SLOT_RIP] + op->off;
	return NULL;
}

/* Run one uop, then deliver what it raised, until nothing is pending. */
static inline void fake_run(struct uop u)
{
	struct uop block[2] = { u, { .fn = fake_end } };
	struct cpu *c = &fake.cpu;
	volatile int ran = 0;

	block[1].off = (uint16_t)(u.off + u.len);
	c->r[SLOT_RIP] = c->rip;
	setjmp(c->jmp);
	if (!ran) {
		const struct uop *op = block;

		ran = 1;
		op = op->fn(c, op);
		if (op)
			op->fn(c, op);
	}
	if (c->exc.pending && !c->shutdown)
		except_deliver(c);
	cr_assert(!c->exc.pending, "a nested fault was left behind");
}

/* The same without delivery: 1 + vector of what it raised, or 0. */
static inline int fake_try(struct uop u)
{
	struct uop block[2] = { u, { .fn = fake_end } };
	struct cpu *c = &fake.cpu;

	block[1].off = (uint16_t)(u.off + u.len);
	c->r[SLOT_RIP] = c->rip;
	c->exc.pending = 0;
	if (!setjmp(c->jmp)) {
		const struct uop *op = block[0].fn(c, block);

		if (op)
			op->fn(c, op);
	}
	return c->exc.pending ? 1 + c->exc.vec : 0;
}

#endif
