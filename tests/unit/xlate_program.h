/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xlate_program: random programs of small blocks at fixed spots of a few pages.
 *
 * They jump and call from any spot to any other, and overwrite immediates and
 * branches, their own among them. R15 counts down with each block; at 0 they go
 * to END. RBX and R14 address memory, RSP the stack.
 */
#ifndef MAYFLY_TESTS_XLATE_PROGRAM_H
#define MAYFLY_TESTS_XLATE_PROGRAM_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define CODE	  0x100000u
#define CODE_SIZE 0x8000u
#define DATA	  0x140000u
#define DATA_SIZE 0x4000u
#define STACK	  0x160000u
#define END	  (CODE + CODE_SIZE)
#define SPOTS	  96u
#define SITES	  512u

/* Ports: of the end, of a device that writes into code, and of a leap to the
 * arena's end. */
enum { PORT_END = 0x80, PORT_WRITE, PORT_FILL };

/* A number in the code that may change: after @at, a branch to anywhere or an
 * addend. */
struct site {
	uint32_t at;
	int branch;
};

struct program {
	uint64_t seed;
	uint8_t *p; /* where code goes, in bytes[] */
	uint32_t spot[SPOTS];
	struct site site[SITES];
	unsigned nsites;
	uint32_t to_patch[4 * SPOTS], target[4 * SPOTS];
	unsigned npatches;
	uint8_t bytes[CODE_SIZE];
};

static uint32_t below(struct program *g, uint32_t n)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return (uint32_t)((g->seed >> 32) * n >> 32);
}

static void put1(struct program *g, unsigned v)
{
	*g->p++ = (uint8_t)v;
}

static void put4(struct program *g, uint32_t v)
{
	memcpy(g->p, &v, 4);
	g->p += 4;
}

static void put(struct program *g, const char *bytes, size_t n)
{
	g->p = mempcpy(g->p, bytes, n);
}
#define PUT(g, bytes) put((g), bytes, sizeof(bytes) - 1)

static uint32_t here(const struct program *g)
{
	return CODE + (uint32_t)(g->p - g->bytes);
}

static void add_site(struct program *g, int branch)
{
	if (g->nsites < SITES)
		g->site[g->nsites++] = (struct site){ here(g), branch };
}

/* --- instructions ---------------------------------------------------------- */

/* All but RBX and R14, which address memory, R15, which counts, and RSP. */
static unsigned any_reg(struct program *g, int bytes_no_rex)
{
	static const uint8_t wide[] = { 0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12,
					13 };
	static const uint8_t low[] = { 0, 1, 2, 4, 5, 6 };

	return bytes_no_rex ? low[below(g, sizeof(low))] :
			      wide[below(g, sizeof(wide))];
}

static uint32_t any_place(struct program *g)
{
	uint32_t at = 64 + below(g, DATA_SIZE - 128);

	if (below(g, 3) == 0)
		at = (at & ~0xfffu) + 0xfff - below(g, 10);
	return at < DATA_SIZE - 64 ? at : 64;
}

static uint32_t any_number(struct program *g)
{
	static const uint32_t edge[] = { 0, 1, 127, 128, 0x7fffffff,
					 0x80000000, 0xffffff80, 0xffffffff };

	return below(g, 2) ? edge[below(g, 8)] : below(g, UINT32_MAX);
}

struct shape {
	uint8_t prefix; /* before REX */
	uint8_t two;	/* 0f first */
	uint8_t op;
	int8_t digit;	/* ModRM.reg, or -1: a register */
	uint8_t imm;	/* bytes of it */
	uint8_t mem;	/* only */
	uint8_t bytes;	/* 1: ModRM.rm names a byte, 2: .reg too */
};

/* ModRM and what follows; memory by RBX, RBX and R14, or RIP. */
static void put_operands(struct program *g, const struct shape *f, unsigned reg,
			 unsigned rm, int mem)
{
	uint32_t place = any_place(g);
	uint8_t *rip = NULL;

	reg &= 7;
	if (!mem) {
		put1(g, 0xc0 | reg << 3 | (rm & 7));
	} else if (rm == 0) {
		put1(g, 0x80 | reg << 3 | 3);
		put4(g, place - DATA_SIZE / 2);
	} else if (rm == 1) {
		put1(g, 0x80 | reg << 3 | 4);
		put1(g, below(g, 4) << 6 | 6 << 3 | 3);
		put4(g, place - DATA_SIZE / 2);
	} else {
		put1(g, reg << 3 | 5);
		rip = g->p;
		put4(g, DATA + place);
	}
	if (f->imm == 4)
		add_site(g, 0);
	for (unsigned i = 0; i < f->imm; i += 4) {
		uint32_t v = any_number(g);

		memcpy(g->p, &v, 4);
		g->p += f->imm < 4 ? f->imm : 4;
	}
	if (rip) {
		uint32_t v;

		memcpy(&v, rip, 4);
		v -= here(g);
		memcpy(rip, &v, 4);
	}
}

static void put_form(struct program *g, struct shape f)
{
	int mem = f.mem || below(g, 2);
	int rex = below(g, 2), wide = rex && below(g, 2);
	int small = f.bytes && !rex;
	unsigned reg = f.digit >= 0 ? (unsigned)f.digit :
				      any_reg(g, f.bytes == 2 && !rex);
	unsigned rm = mem ? below(g, 3) : any_reg(g, small);

	if (!rex && f.digit < 0 && reg >= 8)
		reg -= 8, reg = reg == 3 || reg == 4 ? 0 : reg;
	if (!rex && !mem && rm >= 8)
		rm -= 8, rm = rm == 3 || rm == 4 ? 0 : rm;
	if (below(g, 8) == 0)
		put1(g, 0x64);
	if (f.prefix)
		put1(g, f.prefix);
	if (rex)
		put1(g, 0x40 | wide << 3 | (f.digit < 0 && reg >= 8) << 2 |
			(mem && rm == 1) << 1 | (!mem && rm >= 8));
	else if (mem && rm == 1)
		rm = 0; /* R14 needs one */
	if (f.two)
		put1(g, 0x0f);
	if (f.prefix == 0x66 && f.imm == 4 && wide == 0)
		f.imm = 2;
	put1(g, f.op);
	put_operands(g, &f, reg, rm, mem);
}

static void put_alu(struct program *g)
{
	unsigned op = below(g, 8) << 3, way = below(g, 4);
	uint8_t prefix = below(g, 6) ? 0 : 0x66;
	uint8_t bytes = way & 1 ? 0 : 2;

	switch (below(g, 4)) {
	case 0: /* 00-03 and so on */
	case 1:
		put_form(g, (struct shape){ prefix, 0, (uint8_t)(op | way), -1,
					   0, 0, bytes });
		break;
	case 2:
		put_form(g, (struct shape){ prefix, 0, 0x81, (int8_t)(op >> 3),
					   4, 0, 0 });
		break;
	default:
		put_form(g, (struct shape){ prefix, 0, way & 1 ? 0x83 : 0x80,
					   (int8_t)(op >> 3), 1, 0,
					   way & 1 ? 0 : 1 });
	}
}

static void put_other(struct program *g)
{
	static const struct shape form[] = {
		{ 0, 0, 0x84, -1, 0, 0, 2 },  { 0, 0, 0x85, -1, 0, 0, 0 },
		{ 0, 0, 0xf6, 0, 1, 0, 1 },   { 0, 0, 0xf7, 0, 4, 0, 0 },
		{ 0, 0, 0xf6, 2, 0, 0, 1 },   { 0, 0, 0xf7, 2, 0, 0, 0 },
		{ 0, 0, 0xf6, 3, 0, 0, 1 },   { 0, 0, 0xf7, 3, 0, 0, 0 },
		{ 0, 0, 0xfe, 0, 0, 0, 1 },   { 0, 0, 0xff, 0, 0, 0, 0 },
		{ 0, 0, 0xfe, 1, 0, 0, 1 },   { 0, 0, 0xff, 1, 0, 0, 0 },
		{ 0, 0, 0x88, -1, 0, 0, 2 },  { 0, 0, 0x89, -1, 0, 0, 0 },
		{ 0, 0, 0x8a, -1, 0, 0, 2 },  { 0, 0, 0x8b, -1, 0, 0, 0 },
		{ 0x66, 0, 0x89, -1, 0, 0, 0 }, { 0x66, 0, 0x8b, -1, 0, 0, 0 },
		{ 0, 0, 0xc6, 0, 1, 0, 1 },   { 0, 0, 0xc7, 0, 4, 0, 0 },
		{ 0x66, 0, 0xc7, 0, 4, 0, 0 }, { 0, 0, 0x8d, -1, 0, 1, 0 },
		{ 0x66, 0, 0x8d, -1, 0, 1, 0 }, { 0, 0, 0x63, -1, 0, 0, 0 },
		{ 0, 1, 0xb6, -1, 0, 0, 1 },  { 0, 1, 0xb7, -1, 0, 0, 0 },
		{ 0, 1, 0xbe, -1, 0, 0, 1 },  { 0, 1, 0xbf, -1, 0, 0, 0 },
		{ 0, 0, 0xc1, 4, 1, 0, 0 },   { 0, 0, 0xc1, 5, 1, 0, 0 },
		{ 0, 0, 0xc1, 7, 1, 0, 0 },   { 0, 0, 0xd3, 4, 0, 0, 0 },
		{ 0, 0, 0xc1, 0, 1, 0, 0 },
	};
	struct shape f = form[below(g, sizeof(form) / sizeof(form[0]))];

	put_form(g, f);
}

static void put_by_flags(struct program *g)
{
	unsigned cc = below(g, 16);

	if (below(g, 2))
		put_form(g, (struct shape){ 0, 1, (uint8_t)(0x40 | cc), -1, 0,
					   0, 0 });
	else
		put_form(g, (struct shape){ 0, 1, (uint8_t)(0x90 | cc), 0, 0, 0,
					   1 });
}

/* Somewhere in the code becomes something else. */
static void put_change(struct program *g)
{
	const struct site *s;
	uint32_t v = any_number(g);

	if (!g->nsites)
		return;
	s = &g->site[below(g, g->nsites)];
	if (s->branch)
		v = g->spot[below(g, SPOTS)] - (s->at + 4);
	if (s->branch && !v)
		return;
	if (below(g, 3)) {
		PUT(g, "\xc7\x04\x25"); /* movl */
		put4(g, s->at);
		put4(g, v);
	} else if (!s->branch) {
		put1(g, 0xbf); /* mov, %edi; the device writes EAX there */
		put4(g, s->at);
		PUT(g, "\x97\xe7\x81\x97");
	}
}

static void put_stack(struct program *g)
{
	unsigned a = any_reg(g, 0) & 7, b = any_reg(g, 0) & 7;

	a = a == 3 || a == 4 ? 0 : a;
	b = b == 3 || b == 4 ? 1 : b;
	switch (below(g, 4)) {
	case 0:
		put1(g, 0x50 | a);
		put1(g, 0x58 | b);
		break;
	case 1:
		put1(g, 0x68);
		put4(g, any_number(g));
		put1(g, 0x58 | b);
		break;
	case 2: /* push %rbp; mov %rsp, %rbp; push; leave */
		PUT(g, "\x55\x48\x89\xe5\x50\xc9");
		break;
	default: /* push %rsp; pop */
		put1(g, 0x54);
		put1(g, 0x58 | b);
	}
}

static void put_insn(struct program *g)
{
	switch (below(g, 16)) {
	case 0 ... 5:
		put_alu(g);
		break;
	case 6 ... 10:
		put_other(g);
		break;
	case 11:
	case 12:
		put_by_flags(g);
		break;
	case 13:
		put_stack(g);
		break;
	case 14:
		if (below(g, 6) == 0)
			put_change(g);
		else /* movabs */
			PUT(g, "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x88");
		break;
	default:
		if (below(g, 40) == 0)
			PUT(g, "\xe6\x82");
		else
			PUT(g, "\x90\xf0\x48\x83\x03\x05"); /* lock addq */
	}
}

/* --- programs ---------------------------------------------------------- */

static void put_target(struct program *g)
{
	add_site(g, 1);
	g->to_patch[g->npatches] = here(g);
	g->target[g->npatches++] = below(g, SPOTS);
	put4(g, 0);
}

static void put_end(struct program *g)
{
	switch (below(g, 6)) {
	case 0:
		break;
	case 1:
	case 2:
		put1(g, 0x0f);
		put1(g, 0x80 | below(g, 16));
		put_target(g);
		break;
	case 3:
		put1(g, 0xbc); /* mov $STACK, %esp */
		put4(g, STACK);
		put1(g, 0xe8);
		put_target(g);
		break;
	case 4: /* lea target(%rip), %rax; push %rax; ret */
		PUT(g, "\x48\x8d\x05");
		put_target(g);
		PUT(g, "\x50\xc3");
		return;
	default: /* the same by CALL */
		put1(g, 0xbc);
		put4(g, STACK);
		PUT(g, "\x48\x8d\x05");
		put_target(g);
		PUT(g, "\xff\xd0");
	}
	put1(g, 0xe9);
	put_target(g);
}

static void make_program(struct program *g, uint64_t seed)
{
	memset(g, 0xf4, sizeof(*g));
	g->seed = seed * 0x9e3779b97f4a7c15ull | 1;
	g->nsites = g->npatches = 0;
	for (unsigned i = 0; i < SPOTS; i++) /* known to put_change() */
		g->spot[i] = CODE + i * (CODE_SIZE / SPOTS);
	for (unsigned i = 0; i < SPOTS; i++) {
		g->p = g->bytes + (g->spot[i] - CODE);
		for (unsigned n = below(g, 14); n; n--)
			put_insn(g);
		PUT(g, "\x49\xff\xcf\x0f\x84"); /* dec %r15; jz */
		put4(g, END - (here(g) + 4));
		put_end(g);
		cr_assert_leq(here(g), CODE + (i + 1) * (CODE_SIZE / SPOTS));
	}
	for (unsigned i = 0; i < g->npatches; i++) {
		uint32_t at = g->to_patch[i];
		uint32_t rel = g->spot[g->target[i]] - (at + 4);

		memcpy(g->bytes + (at - CODE), &rel, 4);
	}
}

#endif
