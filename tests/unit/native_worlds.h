/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two worlds that run one instruction on one state: the soft engine's
 * handlers, and the host as it stands. Both use the same addresses: what is
 * guest RAM at DATA for one is mapped there for the other. Only for native.c.
 */
#ifndef MAYFLY_TESTS_NATIVE_WORLDS_H
#define MAYFLY_TESTS_NATIVE_WORLDS_H

#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "runner/base/err.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"

#define DATA 0x80000ull	 /* two pages, operands */
#define DATA_SIZE 0x2000u
#define CODE 0x90000ull	 /* the instruction; its harness is around it */
#define STATE 0xa0000ull /* struct state */
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
	uint64_t seed;
	unsigned long cases, bad;
	uint8_t shown[4][256]; /* one line for each opcode */
};

/* --- the host ---------------------------------------------------------- */

static sigjmp_buf host_fault;
static struct state *host; /* at STATE */

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
	/* The kernel's order of general registers, by encoding. */
	static const int order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
		REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13,
		REG_R14, REG_R15,
	};
	mcontext_t *mc = &((ucontext_t *)ctx)->uc_mcontext;
	unsigned i;

	(void)sig;
	(void)si;
	for (i = 0; i < 16; i++)
		host->gpr[i] = (uint64_t)mc->gregs[order[i]];
	host->rflags = (uint64_t)mc->gregs[REG_EFL];
	host->vector = 1 + (uint64_t)mc->gregs[REG_TRAPNO];
	memcpy(host->fx, mc->fpregs, 512);
	siglongjmp(host_fault, 1);
}

static void *map_at(uint64_t va, size_t size, int prot)
{
	void *p = mmap((void *)(uintptr_t)va, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       0);

	cr_assert_eq(p, (void *)(uintptr_t)va);
	return p;
}

static uint8_t *put_abs(uint8_t *p, const char *op, size_t n, uint64_t va)
{
	uint32_t disp = (uint32_t)va;

	memcpy(p, op, n);
	memcpy(p + n, &disp, 4);
	return p + n + 4;
}
#define PUT_ABS(p, op, va) put_abs(p, op, sizeof(op) - 1, va)
#define PUT(p, s) ((uint8_t *)mempcpy(p, s, sizeof(s) - 1))

#define ST(field) (STATE + offsetof(struct state, field))

/* mov between a general register and the state; rsp stays the host's */
static uint8_t *put_gprs(uint8_t *p, uint8_t opcode)
{
	char op[5] = { 0x48, (char)opcode, 0, 0x25, 0 };
	unsigned i;

	for (i = 0; i < 16; i++) {
		if (i == X86_RSP)
			continue;
		op[0] = (char)(i < 8 ? 0x48 : 0x4c);
		op[2] = (char)((i & 7) << 3 | 4);
		p = put_abs(p, op, 4, ST(gpr) + 8 * i);
	}
	return p;
}

/* The harness around an instruction that lies at CODE itself. */
static void host_prepare(const uint8_t *bytes, unsigned len)
{
	uint8_t *p = (uint8_t *)(uintptr_t)(CODE - 0x200), *at;

	/* push rbx, rbp, r12-r15 and one more for the alignment */
	p = PUT(p, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57\x50");
	p = PUT_ABS(p, "\x48\x0f\xae\x0c\x25", ST(fx)); /* fxrstor64 */
	p = PUT_ABS(p, "\xff\x34\x25", ST(rflags));	/* push */
	p = PUT(p, "\x9d");				/* popfq */
	p = put_gprs(p, 0x8b);
	at = (uint8_t *)(uintptr_t)CODE;
	*p = 0xe9; /* jmp CODE */
	memcpy(p + 1, &(int32_t){ (int32_t)(at - (p + 5)) }, 4);

	memcpy(at, bytes, len);
	p = put_gprs(at + len, 0x89);
	p = PUT(p, "\x9c");			    /* pushfq */
	p = PUT_ABS(p, "\x8f\x04\x25", ST(rflags)); /* pop */
	p = PUT_ABS(p, "\x48\x0f\xae\x04\x25", ST(fx));
	p = PUT(p, "\xdb\xe3\x58\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b"
		   "\xc3"); /* fninit, pop ..., ret */
}

static void host_run(struct state *s)
{
	uint32_t mxcsr;

	*host = *s;
	memcpy((void *)(uintptr_t)DATA, s->data, DATA_SIZE);
	host->rflags |= 0x202;
	host->vector = 0;
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	if (!sigsetjmp(host_fault, 1))
		((void (*)(void))(uintptr_t)(CODE - 0x200))();
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	memcpy(host->data, (void *)(uintptr_t)DATA, DATA_SIZE);
	*s = *host;
}

static void host_init(void)
{
	static uint8_t stack[1 << 16];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};

	sigaltstack(&ss, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	map_at(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
	map_at(CODE - 0x1000, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC);
	host = map_at(STATE, 0x4000, PROT_READ | PROT_WRITE);
}

/* --- the soft engine --------------------------------------------------- */

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

static void soft_run(struct bench *t, struct state *s)
{
	struct cpu *cpu = t->cpu;

	memcpy(cpu->r, s->gpr, sizeof(s->gpr));
	cpu->r[SLOT_RIP] = CODE;
	cpu_set_arith(cpu, s->rflags);
	fpu_sync(cpu);
	memcpy(cpu->fx, s->fx, 512);
	memcpy(gmem_ptr(&t->gm, DATA, DATA_SIZE), s->data, DATA_SIZE);
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

/* --- random states ----------------------------------------------------- */

static uint64_t next_random(struct bench *t)
{
	/* xorshift64* (Vigna 2016) */
	t->seed ^= t->seed >> 12;
	t->seed ^= t->seed << 25;
	t->seed ^= t->seed >> 27;
	return t->seed * 0x2545f4914f6cdd1dull;
}

static uint64_t pick(struct bench *t, const uint64_t *list, unsigned n)
{
	uint64_t r = next_random(t);

	return r >> 60 < 8 ? list[(r & 0xffff) % n] : r * 3;
}

/* Values at the edges of each format. */
static uint64_t random64(struct bench *t)
{
	static const uint64_t doubles[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000,
		0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
		0x7ff4000000000001, 1, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0x4330000000000000, 0x41dfffffffc00000,
		0x43e0000000000000, 0x3fe0000000000000, 0x36a0000000000000,
		0x47efffffe0000000, 0x8000000000000001, 0x4008000000000000,
		0x0020000000000000, 0x3810000000000000, 0xc1e0000000000000,
	};
	static const uint64_t floats[] = {
		0, 1u << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
		0x7fc00000, 0x7fa00001, 1, 0x007fffff, 0x00800000, 0x7f7fffff,
		0x4b000000, 0x4f000000, 0x5f000000, 0x3f000000, 0x80000001,
		0x40400000, 0x01000000, 0xff, 0x80, 0x8000, 0x7fff, 0xcf000000,
	};
	unsigned nf = sizeof(floats) / sizeof(floats[0]);

	if (next_random(t) & 1)
		return pick(t, doubles, sizeof(doubles) / sizeof(doubles[0]));
	return (uint32_t)pick(t, floats, nf) | pick(t, floats, nf) << 32;
}

static void random80(struct bench *t, uint8_t *p)
{
	static const uint64_t exponents[] = {
		0x3fff, 0xbfff, 0, 0x8000, 0x7fff, 0xffff, 1, 0x7ffe, 0x403e,
		0x4000, 0x3ffe, 0x3c00, 0x43fe, 0x3f80, 0x407e, 0x401e, 0x3fbe,
	};
	static const uint64_t mantissas[] = {
		1ull << 63, UINT64_MAX, 0, 0xc000000000000000, 1,
		0xa000000000000001, 0x8000000000000800, 0xfffffffffffff800,
		0xc90fdaa22168c235, 0xffffff0000000000, 0x8000008000000000,
	};
	uint64_t m = pick(t, mantissas,
			  sizeof(mantissas) / sizeof(mantissas[0]));
	uint16_t e = (uint16_t)pick(t, exponents,
				    sizeof(exponents) / sizeof(exponents[0]));

	memcpy(p, &m, 8);
	memcpy(p + 8, &e, 2);
}

static void random_fx(struct bench *t, uint8_t *fx)
{
	uint64_t r = next_random(t), x;
	uint32_t mxcsr = (r & 0xe07f) | MXCSR_MASKS;
	uint16_t fcw = 0x7f | (r >> 8 & 0xf00), fsw = r >> 24 & 0x7f7f;
	unsigned i;

	memset(fx, 0, 512);
	if (!(r >> 40 & 3)) /* something is unmasked */
		mxcsr &= (uint32_t)(r >> 16) | ~MXCSR_MASKS;
	if (!(r >> 42 & 3)) {
		fcw &= (uint16_t)(r >> 48) | 0xff40;
		if (r >> 44 & 7) /* mostly with nothing pending */
			fsw &= (uint16_t)(0xff40 | fcw);
	}
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	r = next_random(t);
	fx[4] = (uint8_t)(r & 7 ? r >> 8 : r & 8 ? 0xff : 0);
	memcpy(fx + 24, &mxcsr, 4);
	for (i = 0; i < 8; i++)
		random80(t, fx + 32 + 16 * i);
	for (i = 0; i < 32; i++) {
		x = random64(t);
		memcpy(fx + 160 + 8 * i, &x, 8);
	}
}

static void random_state(struct bench *t, struct state *s)
{
	uint64_t r = next_random(t), v;
	unsigned i;

	for (i = 0; i < 16; i++)
		s->gpr[i] = random64(t);
	/* [rdi]: aligned to 16, or not, or across the page's end */
	s->gpr[X86_RDI] = DATA + 0x100 + 16 * (r & 31);
	if (!(r >> 8 & 7))
		s->gpr[X86_RDI] += r >> 16 & 15;
	if (!(r >> 24 & 7))
		s->gpr[X86_RDI] = DATA + 0x1000 - (r >> 32 & 31);
	s->rflags = next_random(t) & ARITH;
	random_fx(t, s->fx);
	/* Only around the operand; the rest stays zero in both worlds. */
	memset(s->data, 0, DATA_SIZE);
	for (i = 0; i < 64; i++) {
		v = random64(t);
		memcpy(s->data + (s->gpr[X86_RDI] - DATA) + 8 * i, &v, 8);
	}
	if (r >> 40 & 1)
		random80(t, s->data + (s->gpr[X86_RDI] - DATA));
}

#endif
