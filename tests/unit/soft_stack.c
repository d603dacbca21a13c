/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that repeats one instruction must not pile up frames on the host's
 * stack: handlers end in jumps, or leave (cpu.h, NEXT). Each handler that the
 * emitter knows for 64-bit and for 32-bit code runs some thousand times in a
 * row, on a thread whose stack is too small for a frame each.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/cpuid.h"
#include "runner/x86/regs.h"

#define RAM	(2ull << 20)
#define CODE	0x100000ull
#define HANDLER 0x101000ull /* of every exception: ends the round */
#define IDT	0x102000ull
#define DATA	0x180000ull
#define COUNT	0x190000u /* 32-bit code: the rounds left */
#define STACK	0x1a0000ull
#define TIMES	6000u
#define HOST_STACK (64u << 10)
#define SEEN	4096u

static struct {
	struct gmem gm;
	pthread_mutex_t lock; /* of engine */
	struct engine *engine;
	_Atomic int stop;
	unsigned nseen, rounds;
	enum decode_mode mode;
	uop_fn seen[SEEN];
} t;

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		 int write)
{
	(void)opaque, (void)gpa;
	if (!write)
		memset(data, 0, len);
}

/* A write to 0x80 ends the round; IN and OUT themselves do not. */
static void pio(void *opaque, uint16_t port, void *data, unsigned len,
		int write)
{
	(void)opaque;
	if (!write)
		memset(data, 0, len);
	else if (port == 0x80)
		engine_soft.kick(t.engine, 0);
}

static struct cpu *cpu(void)
{
	return ((struct soft *)t.engine)->cpu;
}

static void make_engine(void)
{
	static const struct engine_bus bus = { .mmio = mmio, .pio = pio };
	static struct cpuid_table table;
	struct engine_params p = { .gm = &t.gm, .bus = &bus, .ncpus = 1,
				   .kvm_fd = -1 };

	pthread_mutex_lock(&t.lock);
	engine_soft.free(t.engine);
	cr_assert_eq(engine_soft.create(&p, &t.engine, NULL), 0);
	cpuid_build_soft(&table, 0, 1);
	cr_assert_eq(engine_soft.set_cpuid(t.engine, 0, table.leaf, table.n,
					   NULL), 0);
	pthread_mutex_unlock(&t.lock);
}

static void make_idt(void)
{
	static const uint8_t end[] = { 0xe6, 0x80, 0xf4 }; /* out; hlt */
	uint64_t gate[2] = { (HANDLER & 0xffff) | 0x10 << 16 |
			     0x8e00ull << 32 | HANDLER >> 16 << 48, 0 };

	cr_assert_eq(gmem_write(&t.gm, HANDLER, end, sizeof(end)), 0);
	for (unsigned v = 0; v < 256; v++)
		gmem_write(&t.gm, IDT + v * 16, gate, sizeof(gate));
}

/* @insn TIMES over, then the end. */
static void make_loop(const uint8_t *insn, unsigned len)
{
	uint8_t code[64], *p = code;
	uint32_t count = COUNT, times = TIMES;
	int32_t back;

	p = mempcpy(p, insn, len);
	if (t.mode == DECODE_64) {
		p = mempcpy(p, "\x49\xff\xcf", 3); /* dec %r15 */
	} else {
		p = mempcpy(p, "\xff\x0d", 2); /* decl COUNT */
		p = mempcpy(p, &count, 4);
	}
	p = mempcpy(p, "\x0f\x85", 2); /* jnz */
	back = -(int32_t)(p + 4 - code);
	p = mempcpy(p, &back, 4);
	p = mempcpy(p, "\xe6\x80\xf4", 3);
	gmem_write(&t.gm, CODE, code, (uint64_t)(p - code));
	gmem_write(&t.gm, COUNT, &times, sizeof(times));
}

static void run_loop(const uint8_t *insn, unsigned len)
{
	struct vcpu_state s;
	struct engine_exit x;

	cr_assert_eq(regs_boot(&t.gm, CODE, &s), 0);
	make_idt();
	make_loop(insn, len);
	for (unsigned i = 0; i < 15; i++)
		s.gpr[i] = DATA;
	s.gpr[X86_R15] = TIMES;
	s.gpr[X86_RSP] = STACK;
	s.gpr[X86_RCX] = 1;
	s.gpr[X86_RDX] = 0;
	s.idtr = (struct x86_table){ IDT, 0xfff };
	s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
	s.efer |= EFER_SCE;
	s.lstar = CODE + len;
	s.seg[X86_CS].l = t.mode == DECODE_64;
	s.seg[X86_CS].db = t.mode != DECODE_64;
	(void)engine_soft.set_state(t.engine, 0, &s, NULL);
	engine_soft.run(t.engine, 0, &x);
	if (x.reason != ENGINE_EXIT_INTR)
		make_engine();
	t.rounds++;
}

static int first_time(uop_fn fn)
{
	for (unsigned i = 0; i < t.nseen; i++)
		if (t.seen[i] == fn)
			return 0;
	cr_assert_lt(t.nseen, SEEN);
	t.seen[t.nseen++] = fn;
	return 1;
}

/* Does the instruction have a handler that was not run yet? */
static int is_new(const uint8_t *bytes, unsigned *len)
{
	struct uop uops[16];
	struct emitter e = { .uops = uops, .cpu = cpu() };
	struct native *n = ((struct soft *)t.engine)->native;
	struct insn in;
	int news = 0;

	if (decode(bytes, DECODE_MAX, t.mode, &in) || in.op == OP_UD)
		return 0;
	if (native_full(n))
		native_reset(n);
	cpu()->code64 = t.mode == DECODE_64;
	cpu()->code32 = t.mode == DECODE_32;
	*len = e.len = in.len;
	emit_insn(&e, &in);
	for (unsigned i = 0; i < e.n; i++)
		news |= first_time(uops[i].fn);
	return news;
}

/* Opcode by opcode, each with a register and with a memory operand. */
static void try_opcode(const char *prefix, const char *map, unsigned opcode)
{
	uint8_t bytes[32], *p;
	unsigned len;

	for (unsigned reg = 0; reg < 16; reg++) {
		memset(bytes, 0, sizeof(bytes));
		p = mempcpy(bytes, prefix, strlen(prefix));
		p = mempcpy(p, map, strlen(map));
		*p++ = (uint8_t)opcode;
		*p++ = (uint8_t)((reg & 8 ? 0xc0 : 0) | (reg & 7) << 3 | 3);
		if (is_new(bytes, &len))
			run_loop(bytes, len);
	}
}

/* What needs a frame or a pointer made for it. */
static void far_transfers(void)
{
	static const struct {
		uint8_t len, code[24];
	} c[] = {
		/* iretq to what follows, on the same stack */
		{ 20, "\x48\x89\xe0\x6a\x18\x50\x6a\x02\x6a\x10"
		      "\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcf" },
		/* lretq to what follows */
		{ 12, "\x6a\x10\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcb" },
		/* ret to what follows */
		{ 9, "\x48\x8d\x05\x02\x00\x00\x00\x50\xc3" },
		/* pushfq; popfq */
		{ 2, "\x9c\x9d" },
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		run_loop(c[i].code, c[i].len);
}

static void try_all(enum decode_mode mode)
{
	static const char *const maps[] = { "", "\x0f", "\x0f\x38",
					    "\x0f\x3a" };
	static const char *const prefixes[] = { "", "\x48", "\x66", "\xf3",
						"\xf2", "\x67" };

	t.mode = mode;
	for (unsigned m = 0; m < 4; m++)
		for (unsigned i = 0; i < 6; i++)
			for (unsigned opcode = 0; opcode < 256; opcode++)
				try_opcode(prefixes[i], maps[m], opcode);
}

static void *inside(void *arg)
{
	unsigned wide;

	(void)arg;
	try_all(DECODE_64);
	far_transfers();
	wide = t.rounds;
	try_all(DECODE_32);
	cr_assert_gt(wide, 500, "%u rounds", wide);
	cr_assert_gt(t.rounds - wide, 25, "%u rounds", t.rounds - wide);
	t.stop = 1;
	return NULL;
}

/* Ends the rounds that got lost: HLT, jumps to nowhere. */
static void *outside(void *arg)
{
	(void)arg;
	while (!t.stop) {
		struct timespec ms = { 0, 20000000 };

		nanosleep(&ms, NULL);
		pthread_mutex_lock(&t.lock);
		engine_soft.kick(t.engine, 0);
		pthread_mutex_unlock(&t.lock);
	}
	return NULL;
}

Test(soft_stack, no_instruction_grows_it)
{
	pthread_t in, out;
	pthread_attr_t attr;

	pthread_mutex_init(&t.lock, NULL);
	cr_assert_eq(gmem_init(&t.gm, RAM, NULL), 0);
	make_engine();
	pthread_attr_init(&attr);
	cr_assert_eq(pthread_attr_setstacksize(&attr, HOST_STACK), 0);
	cr_assert_eq(pthread_create(&in, &attr, inside, NULL), 0);
	cr_assert_eq(pthread_create(&out, NULL, outside, NULL), 0);
	pthread_attr_destroy(&attr);
	pthread_join(in, NULL);
	pthread_join(out, NULL);
	engine_soft.free(t.engine);
	gmem_free(&t.gm);
}
