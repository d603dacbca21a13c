/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine code made for blocks does what the handlers in C do. Random programs
 * of small blocks that jump and call all over their pages, and overwrite each
 * other's immediates and branches, run on two engines, one of which has no
 * template; all registers and memory are the same afterwards, also while the
 * arena fills and starts over. XLATE_N and XLATE_SEED make more of it.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/xlate_code.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/regs.h"
#include "tests/unit/xlate_program.h"

#define RAM	  (4ull << 20)
#define HIGH	  0x200000u /* what is at 2 GiB */
#define ROUNDS	  2000u /* blocks of a program that are run */

struct side {
	struct gmem gm;
	struct engine *engine;
	struct vcpu_state s;
};

/* --- engines ---------------------------------------------------------- */

static struct side sides[2]; /* with templates, without */

static struct xlate *xlate_of(const struct side *s)
{
	return ((struct soft *)s->engine)->xlate;
}

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		 int write)
{
	(void)opaque, (void)gpa;
	if (!write)
		memset(data, 0xff, len);
}

static void pio(void *opaque, uint16_t port, void *data, unsigned len,
		int write)
{
	struct side *s = opaque;
	struct xlate *x = xlate_of(s);
	uint32_t at, v = 0x12345678;

	(void)write;
	if (port == PORT_END)
		engine_soft.kick(s->engine, 0);
	else if (port == PORT_FILL && x->used < ENGINE_FILE_MAX - 65536)
		x->used = ENGINE_FILE_MAX - 65536;
	if (port != PORT_WRITE || len != 4)
		return;
	memcpy(&at, data, 4);
	if (at >= CODE && at < CODE + CODE_SIZE) {
		gmem_write(&s->gm, at, &v, 4);
		gmem_wrote(&s->gm, at, 4);
	}
}

static void make_side(struct side *s)
{
	struct engine_bus bus = { .opaque = s, .mmio = mmio, .pio = pio };
	static struct engine_bus buses[2];
	struct engine_params p = { .gm = &s->gm, .ncpus = 1, .kvm_fd = -1,
				   .bus = &buses[s - sides] };

	buses[s - sides] = bus;
	cr_assert_eq(gmem_init(&s->gm, RAM, NULL), 0);
	cr_assert_eq(engine_soft.create(&p, &s->engine, NULL), 0);
}

static void start(void)
{
	for (unsigned i = 0; i < 2; i++)
		make_side(&sides[i]);
	for (unsigned i = 0; i < ROWS; i++)
		xlate_of(&sides[1])->table.row[i].kind = X_NONE;
}

static void finish(void)
{
	for (unsigned i = 0; i < 2; i++) {
		engine_soft.free(sides[i].engine);
		gmem_free(&sides[i].gm);
	}
}

TestSuite(xlate, .init = start, .fini = finish, .timeout = 3000);

static enum engine_exit_reason run(struct side *s, struct vcpu_state *v)
{
	struct engine_exit x;

	cr_assert_eq(engine_soft.set_state(s->engine, 0, v, NULL), 0);
	engine_soft.run(s->engine, 0, &x);
	cr_assert_eq(engine_soft.get_state(s->engine, 0, &s->s, NULL), 0);
	return x.reason;
}

static enum engine_exit_reason run_program(struct side *s,
					   const struct program *g)
{
	static const uint8_t end[] = { 0xe6, PORT_END, 0xf4 };
	uint8_t *data = gmem_ptr(&s->gm, DATA, DATA_SIZE);
	struct vcpu_state v;

	cr_assert_eq(regs_boot(&s->gm, g->spot[0], &v), 0);
	gmem_write(&s->gm, CODE, g->bytes, CODE_SIZE);
	gmem_write(&s->gm, END, end, sizeof(end));
	gmem_wrote(&s->gm, CODE, CODE_SIZE + sizeof(end));
	for (unsigned i = 0; i < DATA_SIZE; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	memset(gmem_ptr(&s->gm, STACK - 4096, 8192), 0, 8192);
	for (unsigned i = 0; i < 16; i++)
		v.gpr[i] = 0x0123456789abcdefull * (i + 1);
	v.gpr[X86_RBX] = DATA + DATA_SIZE / 2;
	v.gpr[X86_R14] = 5;
	v.gpr[X86_RSP] = STACK;
	v.gpr[X86_R15] = ROUNDS;
	v.seg[X86_FS].base = 16;
	return run(s, &v);
}

static int same(uint32_t at, uint32_t len)
{
	return !memcmp(gmem_ptr(&sides[0].gm, at, len),
		       gmem_ptr(&sides[1].gm, at, len), len);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

Test(xlate, random_programs_do_what_handlers_do)
{
	static struct program g;
	uint64_t seed = number("XLATE_SEED", 1);
	uint64_t count = number("XLATE_N", 300);
	unsigned ended = 0;

	for (uint64_t i = seed; i < seed + count; i++) {
		enum engine_exit_reason a, b;

		make_program(&g, i);
		a = run_program(&sides[0], &g);
		b = run_program(&sides[1], &g);
		cr_assert_eq(a, b, "XLATE_SEED=%llu: ends by %d, %d",
			     (unsigned long long)i, a, b);
		cr_assert_arr_eq(sides[0].s.gpr, sides[1].s.gpr,
				 sizeof(sides[0].s.gpr), "XLATE_SEED=%llu: gpr",
				 (unsigned long long)i);
		cr_assert_eq(sides[0].s.rflags, sides[1].s.rflags,
			     "XLATE_SEED=%llu: flags", (unsigned long long)i);
		cr_assert(same(DATA, DATA_SIZE) && same(CODE, CODE_SIZE) &&
			  same(STACK - 4096, 8192), "XLATE_SEED=%llu: memory",
			  (unsigned long long)i);
		ended += a == ENGINE_EXIT_INTR;
	}
	cr_expect_gt(ended, count * 9 / 10, "%u came to their end", ended);
}

/* A displacement and what comes before it in its block are more than 32 bits
 * hold: 20 NOPs, then the branch, to the page that lies 2 GiB above. */
static void branch_far(const char *branch, size_t len)
{
	static const uint8_t end[] = { 0xe6, PORT_END, 0xf4 };
	struct side *s = &sides[0];
	int32_t rel = INT32_MAX;
	uint8_t *code, *there;
	struct vcpu_state v;
	uint64_t *pdpt, *pd;

	code = gmem_ptr(&s->gm, CODE, 4096);
	there = gmem_ptr(&s->gm, HIGH + CODE, 4096);
	memset(code, 0x90, 4096);
	memset(there, 0x90, 4096);
	memcpy(code + 20, branch, len);
	memcpy(code + 20 + len, &rel, 4);
	memcpy(there + 256, end, sizeof(end));
	gmem_wrote(&s->gm, 0, RAM);
	cr_assert_eq(regs_boot(&s->gm, CODE, &v), 0);
	pdpt = gmem_ptr(&s->gm, *(uint64_t *)gmem_ptr(&s->gm, v.cr3, 8) &
			~0xfffull, 4096);
	pd = gmem_ptr(&s->gm, pdpt[2] & ~0xfffull, 4096);
	pd[0] = (pd[0] & 0xfff) | HIGH;
	v.gpr[X86_RSP] = STACK;
	cr_expect_eq(run(s, &v), ENGINE_EXIT_INTR);
	cr_expect_eq(s->s.rip, (2ull << 30) + CODE + 256 + sizeof(end));
}

Test(xlate, branches_reach_as_far_as_they_say)
{
	branch_far("\xe9", 1);
	branch_far("\xe8", 1);
	branch_far("\x0f\x89", 2); /* jns */
}

/* xlate_full() and the arena's end depend on it. */
Test(xlate, no_template_is_longer_than_promised)
{
	static struct {
		struct block b;
		struct uop uops[EMIT_MAX + 1];
		uint16_t more[EMIT_MAX + 1];
	} room;
	struct soft *soft = (struct soft *)sides[0].engine;
	struct xlate *x = soft->xlate;
	static struct program g;
	size_t most = 0;

	g.seed = 1;
	soft->cpu->code64 = 1;
	for (unsigned i = 0; i < 400000; i++) {
		struct emitter e = { .uops = room.b.uops, .cpu = soft->cpu,
				     .off = 4000 };
		uint8_t bytes[DECODE_MAX];
		struct insn in;
		size_t used;

		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)below(&g, 256);
		if (i % 2) /* segment, REX, and a SIB byte */
			memcpy(bytes, "\x65\x4f", 2), bytes[3] |= 4;
		if (decode(bytes, sizeof(bytes), DECODE_64, &in))
			continue;
		if (native_full(soft->native))
			native_reset(soft->native);
		if (xlate_full(x))
			xlate_reset(x);
		e.len = in.len;
		emit_insn(&e, &in);
		room.b.nuops = (uint16_t)e.n;
		used = x->used;
		xlate_block(x, &room.b);
		used = (x->used - used) / e.n;
		most = used > most ? used : most;
	}
	cr_expect_gt(most, 60, "the worst ones were among them");
	/* a block's begin is in it, whose room others leave */
	cr_expect_leq(most, XLATE_CODE_MAX, "%zu", most);
}
