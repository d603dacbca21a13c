/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every vector and x87 instruction, run by the soft engine's handlers and by
 * the host as it stands, on the same random states: registers, flags, memory
 * and exceptions must be the same. Both worlds use the same addresses: what
 * is guest RAM at DATA for one is mapped there for the other.
 * MAYFLY_SEED repeats a run, MAYFLY_LONG=1 makes it longer.
 */
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
	memcpy(cpu->fx, s->fx, 512);
	memcpy(gmem_ptr(&t->gm, DATA, DATA_SIZE), s->data, DATA_SIZE);
	s->vector = 0;
	if (!setjmp(cpu->jmp))
		run_uops(cpu, t->uops);
	else
		s->vector = 1 + cpu->exc.vec;
	cpu->exc.pending = 0;
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

/* --- comparing --------------------------------------------------------- */

/*
 * MXCSR's flags after an unmasked exception that the SDM leaves open, or that
 * cannot be learnt from running masked:
 * - With overflow or underflow unmasked, PE is about the result before its
 *   exponent is bounded (SDM 1 4.9.1.4 ff); only the trap handler could care.
 * - DPPS and DPPD raise after each of their steps (SDM 2A DPPS), we at the
 *   end of them all.
 */
static uint32_t mxcsr_known(const struct insn *in, uint32_t mxcsr)
{
	uint32_t unmasked = ~mxcsr >> 7 & mxcsr;

	if (in->map == 3 && (in->opcode & 0xfe) == 0x40)
		return ~MXCSR_FLAGS;
	return unmasked & 0x18 ? ~0x20u : UINT32_MAX;
}

/* A conversion between MMX and XMM that raises #XM may have entered MMX state
 * before (SDM 3A 12.5 says nothing of it; processors did). */
static int x87_known(const struct insn *in, const struct state *s)
{
	return s->vector != 1 + EXC_XM || !(in->attr & INSN_MMX);
}

static const char *differs(const struct state *a, const struct state *b,
			   const struct insn *in)
{
	uint32_t ma, mb, known = UINT32_MAX;
	unsigned i;

	if (a->vector != b->vector)
		return "exception";
	for (i = 0; i < 16; i++)
		if (i != X86_RSP && a->gpr[i] != b->gpr[i])
			return "general register";
	if ((a->rflags ^ b->rflags) & ARITH)
		return "flags";
	if (memcmp(a->fx + 160, b->fx + 160, 256))
		return "XMM";
	memcpy(&ma, a->fx + 24, 4);
	memcpy(&mb, b->fx + 24, 4);
	if (b->vector == 1 + EXC_XM)
		known = mxcsr_known(in, mb);
	if ((ma ^ mb) & known)
		return "MXCSR";
	if (!x87_known(in, b))
		return memcmp(a->data, b->data, DATA_SIZE) ? "memory" : NULL;
	if (memcmp(a->fx, b->fx, 5))
		return "x87 control, status or tags";
	if (memcmp(a->fx + 32, b->fx + 32, 128))
		return "x87 registers";
	if (memcmp(a->data, b->data, DATA_SIZE))
		return "memory";
	return NULL;
}

static void dump(const char *who, const struct state *s)
{
	unsigned i, j;

	printf("  %s: vec %d fl %03llx fcw %02x%02x fsw %02x%02x ftw %02x "
	       "mxcsr %02x%02x rdi %llx\n", who, (int)s->vector - 1,
	       (unsigned long long)(s->rflags & ARITH), s->fx[1], s->fx[0],
	       s->fx[3], s->fx[2], s->fx[4], s->fx[25], s->fx[24],
	       (unsigned long long)s->gpr[7]);
	for (i = 0; i < 16; i++) {
		printf("    %2u %016llx x", i, (unsigned long long)s->gpr[i]);
		for (j = 16; j--;)
			printf("%02x", s->fx[160 + 16 * i + j]);
		for (j = 10; i < 8 && j--;)
			printf("%s%02x", j == 9 ? " st " : "",
			       s->fx[32 + 16 * i + j]);
		printf("\n");
	}
}

static void compare(struct bench *t)
{
	static struct state start, ours, theirs;
	const char *what;
	unsigned i;

	random_state(t, &start);
	/* what no register can hold is not to be compared */
	memcpy(t->cpu->fx, start.fx, 512);
	fpu_accept(t->cpu);
	memcpy(start.fx, t->cpu->fx, 512);
	ours = theirs = start;
	soft_run(t, &ours);
	host_run(&theirs);
	t->cases++;
	what = differs(&ours, &theirs, &t->in);
	if (!what)
		return;
	t->bad++;
	if (t->shown[t->in.map][t->in.opcode])
		return;
	t->shown[t->in.map][t->in.opcode] = 1;
	printf("%s:", what);
	for (i = 0; i < t->in.len; i++)
		printf(" %02x", t->bytes[i]);
	printf("\n");
	if (getenv("MAYFLY_DUMP")) {
		dump("start", &start);
		dump("ours", &ours);
		dump("host", &theirs);
	}
}

/* --- every form -------------------------------------------------------- */

static int ours_to_run(const struct insn *in)
{
	unsigned i;

	switch (in->op) {
	case OP_SIMD:
	case OP_X87:
	case OP_X87_ENV:
	case OP_LDMXCSR:
	case OP_STMXCSR:
	case OP_FXSAVE:
	case OP_FXRSTOR:
	case OP_FWAIT:
		break;
	default:
		return 0;
	}
	for (i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_GPR && in->o[i].reg == X86_RSP)
			return 0;
	return 1;
}

static void one_form(struct bench *t, unsigned long states)
{
	if (decode(t->bytes, sizeof(t->bytes), DECODE_64, &t->in) !=
		    DECODE_OK || !ours_to_run(&t->in))
		return;
	soft_prepare(t);
	host_prepare(t->bytes, t->in.len);
	while (states--)
		compare(t);
}

/* Prefix, REX, opcode, ModRM with a register or [rdi], random immediate. */
static void build(struct bench *t, uint8_t prefix, uint8_t rex, unsigned map,
		  unsigned opcode, unsigned modrm)
{
	uint8_t *p = t->bytes;

	if (prefix)
		*p++ = prefix;
	*p++ = 0x40 | rex;
	if (map)
		*p++ = 0x0f;
	if (map > 1)
		*p++ = map == 2 ? 0x38 : 0x3a;
	*p++ = (uint8_t)opcode;
	*p++ = (uint8_t)modrm;
	*p++ = (uint8_t)next_random(t);
	memset(p, 0, (size_t)(t->bytes + sizeof(t->bytes) - p));
}

static void start(struct bench *t)
{
	const char *seed = getenv("MAYFLY_SEED");

	memset(t, 0, sizeof(*t));
	t->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) | 1;
	printf("MAYFLY_SEED=%llu\n", (unsigned long long)t->seed);
	host_init();
	soft_init(t);
}

static void finish(struct bench *t)
{
	printf("%lu cases, %lu mismatches\n", t->cases, t->bad);
	cr_expect_eq(t->bad, 0);
	cr_expect_gt(t->cases, 0);
	engine_soft.free(t->engine);
	gmem_free(&t->gm);
}

static unsigned long states(unsigned long normal)
{
	const char *env = getenv("MAYFLY_LONG");

	return env && *env == '1' ? normal * 40 : normal;
}

static void two_byte_forms(struct bench *t, unsigned map, unsigned long n)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned p, op, w, reg;
	uint8_t rex;

	for (p = 0; p < 4; p++)
	for (op = 0; op < 256; op++)
	for (w = 0; w < 2; w++)
	for (reg = 0; reg < 8; reg++) {
		if (map == 1 && (op == 0x38 || op == 0x3a))
			continue; /* the other two maps */
		rex = (uint8_t)(w << 3 | (next_random(t) & 5));
		build(t, prefix[p], rex, map, op,
		      0xc0 | reg << 3 | (next_random(t) & 7));
		one_form(t, n);
		build(t, prefix[p], rex & 12, map, op, reg << 3 | 7);
		one_form(t, n);
	}
}

Test(native, vector_instructions_do_as_the_host, .timeout = 600)
{
	static struct bench t;
	unsigned map;

	start(&t);
	for (map = 1; map < 4; map++)
		two_byte_forms(&t, map, states(20));
	finish(&t);
}

Test(native, x87_instructions_do_as_the_host, .timeout = 600)
{
	static struct bench t;
	unsigned op, modrm, p;

	start(&t);
	for (p = 0; p < 2; p++)
	for (op = 0xd8; op <= 0xdf; op++) {
		for (modrm = 0xc0; modrm < 0x100; modrm++) {
			build(&t, p ? 0x66 : 0, 0, 0, op, modrm);
			one_form(&t, states(40));
		}
		for (modrm = 7; modrm < 0x40; modrm += 8) {
			build(&t, p ? 0x66 : 0, 0, 0, op, modrm);
			one_form(&t, states(200));
		}
	}
	build(&t, 0, 0, 0, 0x9b, 0);
	one_form(&t, states(200));
	finish(&t);
}

/* --- what depends on control registers, and on nothing of the host ----- */

/* The vector raised, or -1. */
static int run_bytes(struct bench *t, const char *bytes, struct state *s)
{
	memcpy(t->bytes, bytes, strlen(bytes));
	cr_assert_eq(decode(t->bytes, sizeof(t->bytes), DECODE_64, &t->in),
		     DECODE_OK);
	soft_prepare(t);
	soft_run(t, s);
	return (int)s->vector - 1;
}

static void quiet_state(struct state *s)
{
	static const uint8_t init[] = { 0x7f, 0x03 };

	memset(s, 0, sizeof(*s));
	s->gpr[X86_RDI] = DATA + 0x100;
	memcpy(s->fx, init, 2);
	memcpy(s->fx + 24, &(uint32_t){ MXCSR_MASKS }, 4);
}

Test(native, control_registers_forbid)
{
	static const char *const bytes[4] = {
		"\x0f\x28\xca", "\x0f\xfc\xca", "\xd9\xe8", "\x9b",
	}; /* movaps, paddb mm, fld1, fwait */
	static const struct {
		uint64_t cr0, cr4;
		int vec[4];
	} row[] = {
		{ 0, CR4_OSFXSR, { -1, -1, -1, -1 } },
		{ CR0_EM, CR4_OSFXSR, { EXC_UD, EXC_UD, EXC_NM, -1 } },
		{ CR0_TS, CR4_OSFXSR, { EXC_NM, EXC_NM, EXC_NM, -1 } },
		{ CR0_TS | CR0_MP, CR4_OSFXSR,
		  { EXC_NM, EXC_NM, EXC_NM, EXC_NM } },
		{ CR0_TS, 0, { EXC_UD, EXC_NM, EXC_NM, -1 } },
		{ 0, 0, { EXC_UD, -1, -1, -1 } },
	};
	static struct bench t;
	static struct state s;
	unsigned i, j;

	start(&t);
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		t.cpu->cr0 = CR0_PE | CR0_NE | row[i].cr0;
		t.cpu->cr4 = row[i].cr4;
		for (j = 0; j < 4; j++) {
			quiet_state(&s);
			cr_expect_eq(run_bytes(&t, bytes[j], &s),
				     row[i].vec[j], "row %u, %u", i, j);
		}
	}
}

Test(native, unmasked_exception_without_osxmmexcpt_is_ud)
{
	static struct bench t;
	static struct state s;

	start(&t);
	t.cpu->cr4 = CR4_OSFXSR;
	quiet_state(&s);
	memset(s.fx + 24, 0, 4);
	s.fx[160 + 3] = 0x3f; /* 0.5 / 0 */
	cr_expect_eq(run_bytes(&t, "\xf3\x0f\x5e\xc1", &s), EXC_UD);
}

Test(native, x87_pointers_are_the_guests)
{
	static struct bench t;
	static struct state s;
	uint64_t fip, fdp;
	uint16_t fop;

	start(&t);
	quiet_state(&s);
	cr_expect_eq(run_bytes(&t, "\xd9\x47\x08", &s), -1); /* fld [rdi+8] */
	memcpy(&fop, s.fx + 6, 2);
	memcpy(&fip, s.fx + 8, 8);
	memcpy(&fdp, s.fx + 16, 8);
	cr_expect_eq(fop, 0x147);
	cr_expect_eq(fip, CODE);
	cr_expect_eq(fdp, DATA + 0x108);
	/* fnstenv [rdi] tells of the same, and changes nothing of it */
	cr_expect_eq(run_bytes(&t, "\xd9\x37", &s), -1);
	memcpy(&fip, s.data + 0x100 + 12, 4);
	cr_expect_eq((uint32_t)fip, CODE);
	cr_expect_eq(run_bytes(&t, "\xdb\xe3", &s), -1); /* fninit */
	memcpy(&fip, s.fx + 8, 8);
	cr_expect_eq(fip, 0);
}

Test(native, thunks_are_shared_and_forgotten)
{
	struct native *n = native_new();
	struct insn in;
	native_fn a, b;

	cr_assert_not_null(n);
	decode((const uint8_t *)"\x66\x0f\xfc\xca", 4, DECODE_64, &in);
	a = native_get(n, &in);
	decode((const uint8_t *)"\x66\x45\x0f\xfc\xff", 5, DECODE_64, &in);
	cr_expect_eq(native_get(n, &in), a, "one thunk for all registers");
	decode((const uint8_t *)"\x66\x0f\xfd\xca", 4, DECODE_64, &in);
	b = native_get(n, &in);
	cr_expect_neq(a, b);
	native_reset(n);
	cr_expect_eq(native_get(n, &in), a, "from the start again");
	native_free(n);
}
