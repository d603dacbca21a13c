/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft engine's integer instructions against the host CPU: random
 * encodings of every form that the decoder knows, random states, registers,
 * defined flags, memory and faults compared. DIFF_SEED repeats a run,
 * DIFF_N sets the cases per opcode and prefix (default 100).
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/base/err.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"
#include "tests/diff/host.h"

#define RAM   (2u << 20)
#define BATCH 2048u

static uint64_t rng_state;

static uint64_t rnd(void)
{
	/* splitmix64 */
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Values where carries, signs and widths change. */
static uint64_t operand(void)
{
	static const uint64_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
		0x8000000000000000, UINT64_MAX, UINT64_MAX - 1, 63, 64, 31,
	};

	switch (rnd() % 4) {
	case 0:
		return edge[rnd() % (sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return rnd() >> (rnd() % 64);
	default:
		return rnd();
	}
}

struct guest {
	struct gmem gm;
	struct engine_bus bus;
	struct engine *engine;
	struct cpu *cpu;
};

static void no_mmio(void *o, uint64_t gpa, void *d, unsigned len, int write)
{
	(void)o, (void)gpa, (void)d, (void)len, (void)write;
}

static void no_pio(void *o, uint16_t port, void *d, unsigned len, int write)
{
	(void)o, (void)port, (void)d, (void)len, (void)write;
}

static void guest_init(struct guest *g)
{
	struct engine_params p = { .gm = &g->gm, .bus = &g->bus, .ncpus = 1,
				   .kvm_fd = -1 };
	struct err err = { 0 };

	memset(g, 0, sizeof(*g));
	g->bus.mmio = no_mmio;
	g->bus.pio = no_pio;
	cr_assert_eq(gmem_init(&g->gm, RAM, &err), 0, "%s", err.msg);
	cr_assert_eq(engine_soft.create(&p, &g->engine, &err), 0, "%s",
		     err.msg);
	g->cpu = ((struct soft *)g->engine)->cpu;
	g->cpu->code64 = 1; /* paging off: linear is physical */
	g->cpu->jc_tag = cpu_make_tag(g->cpu);
}

/* Run from HOST_CODE to its end, or to a fault: its vector, or -1. */
static int guest_run(struct guest *g, const struct host_case *c,
		     struct host_regs *out, uint8_t *data)
{
	struct cpu *cpu = g->cpu;
	uint8_t *win = gmem_ptr(&g->gm, HOST_WINDOW_AT, HOST_WINDOW);
	uint8_t *code = gmem_ptr(&g->gm, HOST_CODE, HOST_CODE_MAX);
	static const uint8_t ud2[] = { 0x0f, 0x0b };
	volatile int steps = 0, vec = -1;

	memcpy(win, c->data_in, HOST_WINDOW);
	memcpy(code, c->code, c->code_len);
	memcpy(code + c->code_len, ud2, sizeof(ud2)); /* where it ends */
	code_drop_page(cpu, HOST_CODE);
	memcpy(cpu->r, c->in.gpr, sizeof(c->in.gpr));
	cpu->rflags = 0x202 | (c->in.rflags & RFLAGS_DF);
	cpu_set_arith(cpu, c->in.rflags);
	cpu->rip = HOST_CODE;
	cpu->budget = 1 << 20;
	memset(&cpu->exc, 0, sizeof(cpu->exc));
	if (!setjmp(cpu->jmp)) {
		while (cpu->rip != HOST_CODE + c->code_len && steps++ < 2000) {
			const struct uop *op;

			atomic_store(&cpu->attention, ATTN_STATE);
			cpu->cur = block_get(cpu, 0);
			cpu->r[SLOT_RIP] = cpu->rip;
			op = cpu->cur->uops;
#ifdef SOFT_LOOP
			while (op)
				op = op->fn(cpu, op);
#else
			op->fn(cpu, op);
#endif
		}
	} else if (cpu->exc.pending && cpu->rip != HOST_CODE + c->code_len) {
		vec = cpu->exc.vec;
	}
	memcpy(out->gpr, cpu->r, sizeof(out->gpr));
	out->rflags = cpu_rflags(cpu);
	out->rip = cpu->rip;
	memcpy(data, win, HOST_WINDOW);
	return vec;
}

/* Which instructions are compared here: integer, unprivileged, in line. */
static int wanted(const struct insn *in)
{
	return (in->op >= OP_ADD && in->op <= OP_STD && in->op != OP_PUSHA &&
		in->op != OP_POPA && in->op != OP_POPF && in->op != OP_PUSHF) ||
	       (in->op >= OP_MOVS && in->op <= OP_SCAS) || in->op == OP_NOP;
}

/* What the SDM leaves undefined, where the host's CL form and its immediate
 * form, or two of its generations, do differ. */
static uint64_t undefined_flags(const struct insn *in,
				const struct host_case *c)
{
	unsigned bits = in->o[0].size * 8, n;

	switch (in->op) {
	case OP_DIV:
	case OP_IDIV:
		return RFLAGS_ARITH;
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR:
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR:
	case OP_SHLD:
	case OP_SHRD:
		n = (unsigned)(in->o[in->nopnd - 1].kind == OPND_IMM ? in->imm :
			       c->in.gpr[X86_RCX]) & (bits == 64 ? 63 : 31);
		if (n > bits)
			return RFLAGS_ARITH; /* SHLD r16: all of it */
		return n == 1 ? RFLAGS_AF :
		       RFLAGS_AF | RFLAGS_OF | (n == bits ? RFLAGS_CF : 0);
	default:
		return 0;
	}
}

static int touches_sreg(const struct insn *in)
{
	for (int i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_SREG)
			return 1;
	return in->seg == X86_FS || in->seg == X86_GS;
}

static uint64_t window_target(void)
{
	return HOST_WINDOW_AT + 64 + rnd() % 96;
}

/* Make the memory operand fall into the window. 0: cannot. */
static int aim(struct host_case *c, struct insn *in)
{
	uint64_t t = window_target(), index = 0;
	int32_t disp;

	if (in->op == OP_XLAT) {
		c->in.gpr[X86_RBX] = HOST_WINDOW_AT;
		return in->asize == 8;
	}
	if (in->op >= OP_MOVS && in->op <= OP_SCAS) {
		c->in.gpr[X86_RSI] = window_target();
		c->in.gpr[X86_RDI] = window_target();
		if (in->pfx & (PFX_REP | PFX_REPNE))
			c->in.gpr[X86_RCX] = rnd() % 8;
		return 1;
	}
	if (in->op == OP_CMPXCHG16B && rnd() % 8)
		t &= ~15ull;
	if (in->op >= OP_BT && in->op <= OP_BTC && in->o[1].kind == OPND_GPR)
		c->in.gpr[in->o[1].reg] = rnd() % 512 - 256;
	if (!in->has_modrm || in->base == REG_RIP || in->base == REG_NONE)
		return 0; /* absolute forms have a test of their own */
	if (in->index != REG_NONE) {
		if (in->index == in->base)
			return 0;
		index = c->in.gpr[in->index] << in->scale;
	}
	disp = (int32_t)in->disp;
	/* where RSP is the stack as well, it has to stay near the window */
	if ((in->op == OP_PUSH || in->op == OP_POP) && in->base == X86_RSP &&
	    (in->index != REG_NONE || disp > 64 || disp < -64))
		return 0;
	if (in->op >= OP_BT && in->op <= OP_BTC && in->o[1].kind == OPND_GPR &&
	    (in->base == in->o[1].reg || in->index == in->o[1].reg))
		return 0;
	c->in.gpr[in->base] = t - index - (uint64_t)(int64_t)disp;
	return 1;
}

static int has_mem(const struct insn *in)
{
	for (int i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_MEM)
			return 1;
	return in->op == OP_XLAT || (in->op >= OP_MOVS && in->op <= OP_SCAS);
}

/* One random instruction of this map, opcode and prefixes; 0: not ours. */
static int make_case(struct host_case *c, int map, int opcode, int pfx)
{
	uint8_t *p = c->code;
	struct insn in;

	if (pfx & 1)
		*p++ = 0x66;
	if (pfx & 2)
		*p++ = 0xf3;
	if (pfx & 4)
		*p++ = 0xf2;
	if (pfx & 8)
		*p++ = 0xf0;
	if (pfx & 16)
		*p++ = 0x67;
	if (pfx & 32)
		*p++ = (uint8_t)(0x40 | rnd() % 16);
	if (map)
		*p++ = 0x0f;
	if (map == 2)
		*p++ = 0x38;
	*p++ = (uint8_t)opcode;
	for (int i = 0; i < 12; i++)
		p[i] = (uint8_t)rnd();
	if (rnd() % 2)
		p[0] |= 0xc0;
	if (decode(c->code, 15, DECODE_64, &in) != DECODE_OK || !wanted(&in) ||
	    touches_sreg(&in) || in.op == OP_UD)
		return 0;
	/* F3 makes these TZCNT and LZCNT on a host that has them */
	if ((in.op == OP_BSF || in.op == OP_BSR) && in.pfx & PFX_REP)
		return 0;
	c->code_len = in.len;
	for (int i = 0; i < 16; i++)
		c->in.gpr[i] = operand();
	c->in.gpr[X86_RSP] = window_target() & ~7ull;
	if (in.op == OP_LEAVE)
		c->in.gpr[X86_RBP] = window_target();
	if (in.op == OP_ENTER) {
		c->in.gpr[X86_RBP] = window_target();
		if (in.imm2 || in.imm > 64)
			return 0;
	}
	if (in.op == OP_DIV || in.op == OP_IDIV)
		c->in.gpr[X86_RDX] = rnd() % 3 ? 0 : rnd() % 2 ? UINT64_MAX :
								 operand();
	c->in.rflags = 0x202 | (rnd() & RFLAGS_ARITH) |
		       (rnd() % 4 ? 0 : RFLAGS_DF);
	for (unsigned i = 0; i < HOST_WINDOW; i++)
		c->data_in[i] = (uint8_t)rnd();
	return !has_mem(&in) || aim(c, &in);
}

static int to_signal(int vec)
{
	switch (vec) {
	case -1:
		return 0;
	case EXC_DE:
		return SIGFPE;
	case EXC_UD:
		return SIGILL;
	case EXC_SS:
		return SIGBUS;
	case EXC_GP:
	case EXC_PF:
		return SIGSEGV;
	default:
		return -1;
	}
}

static void report(const struct host_case *c, const struct host_regs *out,
		   const uint8_t *data, int vec, const char *what)
{
	char hex[64] = "";

	for (unsigned i = 0; i < c->code_len && i < 20; i++)
		snprintf(hex + 3 * i, 4, "%02x ", c->code[i]);
	cr_log_error("%s: %s(signal %d, vector %d)", what, hex, c->signal,
		     vec);
	for (int i = 0; i < 16; i++)
		if (out->gpr[i] != c->out.gpr[i])
			cr_log_error("  r%d in %llx host %llx soft %llx", i,
				     (unsigned long long)c->in.gpr[i],
				     (unsigned long long)c->out.gpr[i],
				     (unsigned long long)out->gpr[i]);
	cr_log_error("  flags in %llx host %llx soft %llx",
		     (unsigned long long)c->in.rflags,
		     (unsigned long long)c->out.rflags,
		     (unsigned long long)out->rflags);
	for (unsigned i = 0; i < HOST_WINDOW; i++)
		if (data[i] != c->data_out[i])
			cr_log_error("  mem %x in %02x host %02x soft %02x",
				     HOST_WINDOW_AT + i, c->data_in[i],
				     c->data_out[i], data[i]);
}

/* 1 when soft did what the host did. */
static int check_case(struct guest *g, const struct host_case *c)
{
	uint8_t data[HOST_WINDOW];
	struct host_regs out;
	struct insn in;
	uint64_t mask;
	int vec = guest_run(g, c, &out, data);

	decode(c->code, 15, DECODE_64, &in);
	mask = (RFLAGS_ARITH | RFLAGS_DF) & ~undefined_flags(&in, c);
	if (to_signal(vec) != c->signal)
		report(c, &out, data, vec, "fault differs");
	else if (memcmp(out.gpr, c->out.gpr, sizeof(out.gpr)))
		report(c, &out, data, vec, "registers differ");
	else if ((out.rflags ^ c->out.rflags) & mask)
		report(c, &out, data, vec, "flags differ");
	else if (memcmp(data, c->data_out, sizeof(data)))
		report(c, &out, data, vec, "memory differs");
	else if (out.rip != c->out.rip)
		report(c, &out, data, vec, "rip differs");
	else
		return 1;
	return 0;
}

static unsigned long env_number(const char *name, unsigned long def)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : def;
}

Test(diff_int, every_form_does_what_the_host_does, .timeout = 3000)
{
	unsigned long each = env_number("DIFF_N", 100), bad = 0, total = 0;
	uint64_t seed = env_number("DIFF_SEED", (unsigned long)time(NULL));
	struct host *h = host_new(BATCH);
	unsigned long per_op[OP_COUNT] = { 0 };
	unsigned nops = 0, n = 0;
	struct guest g;

	rng_state = seed;
	cr_assert_not_null(h);
	guest_init(&g);
	for (int map = 0; map < 3; map++)
	for (int opcode = 0; opcode < 256; opcode++)
	for (int pfx = 0; pfx < 64; pfx++) {
		for (unsigned long i = 0; i < each; i++) {
			struct insn in;

			if (!make_case(&host_cases(h)[n], map, opcode, pfx))
				continue;
			decode(host_cases(h)[n].code, 15, DECODE_64, &in);
			per_op[in.op]++;
			n++;
			if (n < BATCH)
				continue;
			cr_assert_eq(host_run(h, n), 0);
			for (unsigned k = 0; k < n && bad < 20; k++)
				bad += !check_case(&g, &host_cases(h)[k]);
			total += n;
			n = 0;
		}
	}
	cr_assert_eq(host_run(h, n), 0);
	for (unsigned k = 0; k < n && bad < 20; k++)
		bad += !check_case(&g, &host_cases(h)[k]);
	total += n;
	for (int i = 0; i < OP_COUNT; i++)
		nops += per_op[i] != 0;
	cr_log_info("%lu cases of %u operations, seed %llu: %lu differ", total,
		    nops, (unsigned long long)seed, bad);
	cr_expect_eq(bad, 0, "seed %llu", (unsigned long long)seed);
	cr_expect_gt(nops, 60u, "only %u operations met", nops);
	host_free(h);
	engine_soft.free(g.engine);
	gmem_free(&g.gm);
}
