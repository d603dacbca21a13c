/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xlate_code: writing machine code. Private to the xlate files.
 *
 * b1() to b8() append bytes; the others an instruction. @reg, @base and @rm
 * are numbers of the first eight registers, @size is log2 of the operand's
 * bytes, @op an opcode of 8-bit operands, the next one being that of wider
 * ones (SDM 2D A.2).
 */
#ifndef MAYFLY_SOFT_XLATE_CODE_H
#define MAYFLY_SOFT_XLATE_CODE_H

#include <string.h>

#include "runner/engine/soft/xlate.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

/* No template is longer, with what it is entered by from elsewhere. */
#define XLATE_CODE_MAX 128u

/* What is known of a handler in C. */
struct row {
	uop_fn fn;
	uint8_t kind, size, op;
};

#define ROW_BITS 12
#define ROWS	 (1u << ROW_BITS)
struct xlate_table {
	unsigned n;
	struct row row[ROWS]; /* hashed by fn */
};

struct xlate {
	uint8_t *rw;
	const uint8_t *rx;
	size_t used;
	struct xlate_table table;
	/* What all blocks share, at the arena's begin. */
	size_t shared;
	uint8_t *read[4], *write[4]; /* rax: from virtual to host address */
	uint8_t *miss;		     /* called, leaves the uop to C */
	uint8_t *next;		     /* to the block at rax */
	uint8_t *find;		     /* called, rcx = its code, or a miss */
	uint8_t *enter;		     /* called at the begin of a block */
	uint8_t *leave;		     /* to cpu_loop(), which goes on at rax */
	uint8_t *link;		     /* called, goes to next and learns */
};

/* A block on its way. */
struct code {
	struct xlate *x;
	uint8_t *p;
	struct uop *uops;
	const struct block *b;
	unsigned n, i;
	const struct row *row[BLOCK_UOPS];
	uint8_t *at[BLOCK_UOPS];  /* a uop's code, entered from anywhere */
	uint8_t need[BLOCK_UOPS]; /* its flags are looked at: in cpu->fl */
	/* The host's flags are the guest's, here in the code: a template that
	 * reads or keeps flags may rely on it, any other sets it. */
	uint8_t live;
};

/* The row of @fn, a new one where it has none. */
struct row *xlate_row(struct xlate_table *t, uop_fn fn);

/* The code of uop c->i, of which c->row says what it is. */
void xlate_uop(struct code *c);

static inline void b1(struct code *c, unsigned v)
{
	*c->p++ = (uint8_t)v;
}

static inline void b2(struct code *c, unsigned v, unsigned w)
{
	b1(c, v);
	b1(c, w);
}

static inline void b3(struct code *c, unsigned v, unsigned w, unsigned u)
{
	b2(c, v, w);
	b1(c, u);
}

static inline void b4(struct code *c, uint64_t v)
{
	uint32_t w = (uint32_t)v;

	memcpy(c->p, &w, 4);
	c->p += 4;
}

static inline void b8(struct code *c, uint64_t v)
{
	memcpy(c->p, &v, 8);
	c->p += 8;
}

static inline int fits8(int64_t v)
{
	return v == (int8_t)v;
}

static inline int fits32(int64_t v)
{
	return v == (int32_t)v;
}

/* ModRM and displacement of [@base + @disp]; @base is none of SP and BP. */
static inline void at_mem(struct code *c, unsigned reg, unsigned base,
			  int32_t disp)
{
	if (!disp) {
		b1(c, reg << 3 | base);
	} else if (fits8(disp)) {
		b2(c, 0x40 | reg << 3 | base, (uint8_t)disp);
	} else {
		b1(c, 0x80 | reg << 3 | base);
		b4(c, (uint32_t)disp);
	}
}

/* The prefixes of an operand of 1 << @size bytes. */
static inline void prefix(struct code *c, unsigned size)
{
	if (size == 1)
		b1(c, 0x66);
	else if (size == 3)
		b1(c, 0x48);
}

/* @op is that of the byte form: the next one is that of all others. */
static inline void ins_mem(struct code *c, unsigned op, unsigned size,
			   unsigned reg, unsigned base, int32_t disp)
{
	prefix(c, size);
	b1(c, size ? op | 1 : op);
	at_mem(c, reg, base, disp);
}

static inline void ins_reg(struct code *c, unsigned op, unsigned size,
			   unsigned reg, unsigned rm)
{
	prefix(c, size);
	b2(c, size ? op | 1 : op, 0xc0 | reg << 3 | rm);
}

/* 64 bits from and to a field of struct cpu. */
static inline void get(struct code *c, unsigned reg, size_t off)
{
	ins_mem(c, 0x8b, 3, reg, DI, (int32_t)off);
}

static inline void set(struct code *c, size_t off, unsigned reg)
{
	ins_mem(c, 0x89, 3, reg, DI, (int32_t)off);
}

#define CPU(field) offsetof(struct cpu, field)
#define REG(n)	   (CPU(r) + 8 * (n))
_Static_assert(CPU(r) == 0, "offsets in r[] are offsets in the cpu");

/* @reg = 1 << @size bytes, zero-extended. */
static inline void load(struct code *c, unsigned size, unsigned reg,
			unsigned base, int32_t disp)
{
	if (size < 2) {
		b2(c, 0x0f, 0xb6 | size);
		at_mem(c, reg, base, disp);
	} else {
		ins_mem(c, 0x8b, size, reg, base, disp);
	}
}

/* As SET_REG() of ops.h; @reg is zero-extended. */
static inline void set_reg(struct code *c, unsigned size, unsigned off,
			   unsigned reg)
{
	ins_mem(c, 0x88, size == 2 ? 3 : size, reg, DI, (int32_t)off);
}

static inline void const_to(struct code *c, unsigned reg, uint64_t v)
{
	if (v <= UINT32_MAX) {
		b1(c, 0xb8 | reg);
		b4(c, v);
	} else if (fits32((int64_t)v)) {
		b3(c, 0x48, 0xc7, 0xc0 | reg);
		b4(c, v);
	} else {
		b2(c, 0x48, 0xb8 | reg);
		b8(c, v);
	}
}

/* reg += v */
static inline void add_const(struct code *c, unsigned reg, int32_t v)
{
	if (!v)
		return;
	b2(c, 0x48, 0x8d); /* lea */
	at_mem(c, reg, reg, v);
}

/* The jump whose rel32 is at @from comes here. */
static inline void land(const struct code *c, uint8_t *from)
{
	int32_t rel = (int32_t)(c->p - (from + 4));

	memcpy(from, &rel, 4);
}

static inline uint8_t *jump_cc(struct code *c, unsigned cc)
{
	b2(c, 0x0f, 0x80 | cc);
	b4(c, 0);
	return c->p - 4;
}

enum { CC_NE = 5, CC_LE = 14 };

static inline void rel32(struct code *c, const uint8_t *to)
{
	b4(c, (uint32_t)(to - (c->p + 4)));
}

static inline void call(struct code *c, const uint8_t *to)
{
	b1(c, 0xe8);
	rel32(c, to);
}

static inline void jump(struct code *c, const uint8_t *to)
{
	b1(c, 0xe9);
	rel32(c, to);
}

/* The host's flags from cpu->fl: OF by an addition that overflows. */
static inline void flags_load(struct code *c)
{
	b1(c, 0x8b);
	at_mem(c, AX, DI, CPU(fl));
	b2(c, 0x04, 127); /* add $127, %al */
	b1(c, 0x9e);	  /* sahf */
}

#endif
