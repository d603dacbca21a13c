/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A soft engine whose handlers run one instruction on a state, without paging
 * or a loop around. Only for native.c.
 */
#ifndef MAYFLY_TESTS_NATIVE_WORLD_H
#define MAYFLY_TESTS_NATIVE_WORLD_H

#include <criterion/criterion.h>
#include <setjmp.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"

#define DATA 0x80000ull	 /* two pages, operands */
#define DATA_SIZE 0x2000u
#define CODE 0x90000ull	 /* where the instruction seems to lie */
#define ARITH RFLAGS_ARITH

struct state {
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t vector; /* 1 + that of the exception, or 0 */
	uint64_t pad[2];
	uint8_t fx[512];
	uint8_t data[DATA_SIZE];
};

struct bench {
	struct gmem gm;
	struct engine_bus bus;
	struct engine *engine;
	struct cpu *cpu;
	struct uop uops[EMIT_MAX + 1];
	struct insn in;
	uint8_t bytes[16];
};

static const struct uop *op_stop(struct cpu *cpu, const struct uop *op)
{
	(void)cpu;
	(void)op;
	return NULL;
}

static void soft_init(struct bench *t)
{
	struct engine_params p = { .gm = &t->gm, .bus = &t->bus, .ncpus = 1,
				   .kvm_fd = -1 };
	struct err err;

	cr_assert_eq(gmem_init(&t->gm, 1 << 20, &err), 0);
	cr_assert_eq(engine_soft.create(&p, &t->engine, &err), 0);
	t->cpu = ((struct soft *)t->engine)->cpu;
	t->cpu->code64 = 1;
	t->cpu->cr0 = CR0_PE | CR0_NE | CR0_MP;
	t->cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
}

static void soft_prepare(struct bench *t)
{
	struct emitter e = { .uops = t->uops, .len = t->in.len,
			     .cpu = t->cpu };

	if (native_full(t->cpu->vm->native))
		native_reset(t->cpu->vm->native);
	emit_insn(&e, &t->in);
	emit_uop(&e, op_stop);
}

static void run_uops(struct cpu *cpu, const struct uop *op)
{
	while (op)
		op = op->fn(cpu, op);
}

static void soft_start(struct bench *t, const struct state *s)
{
	struct cpu *cpu = t->cpu;

	memcpy(cpu->r, s->gpr, sizeof(s->gpr));
	cpu->r[SLOT_RIP] = CODE;
	cpu_set_arith(cpu, s->rflags);
	fpu_sync(cpu);
	memcpy(cpu->fx, s->fx, 512);
	memcpy(gmem_ptr(&t->gm, DATA, DATA_SIZE), s->data, DATA_SIZE);
}

static void soft_run(struct bench *t, struct state *s)
{
	struct cpu *cpu = t->cpu;

	soft_start(t, s);
	s->vector = 0;
	if (!setjmp(cpu->jmp))
		run_uops(cpu, t->uops);
	else
		s->vector = 1 + cpu->exc.vec;
	cpu->exc.pending = 0;
	fpu_sync(cpu);
	memcpy(s->gpr, cpu->r, sizeof(s->gpr));
	s->rflags = cpu_rflags(cpu);
	memcpy(s->fx, cpu->fx, 512);
	memcpy(s->data, gmem_ptr(&t->gm, DATA, DATA_SIZE), DATA_SIZE);
}

#endif
