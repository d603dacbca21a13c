/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks as machine code: the arena, what blocks share, and their making. */
#include "runner/engine/soft/xlate.h"

#include <assert.h>
#include <cpuid.h>
#include <stdlib.h>

#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/xlate_code.h"

#define ARENA_SIZE ENGINE_FILE_MAX

void xlate_free(struct xlate *x)
{
	if (!x)
		return;
	native_unmap(ARENA_SIZE, x->rw, x->rx);
	free(x);
}

int xlate_full(const struct xlate *x)
{
	return ARENA_SIZE - x->used < BLOCK_UOPS * XLATE_CODE_MAX;
}

void xlate_reset(struct xlate *x)
{
	unsigned a, b, c, d;

	x->used = x->shared;
	/* SDM 3A 8.1.3, as native_reset() */
	__cpuid(0, a, b, c, d);
}

/* SDM 3A 8.1.3: what was written by way of another linear address is what runs
 * from here on. CPUID would do, and costs an exit within a virtual machine. */
static void serialize(void)
{
	uint64_t sp, tmp;

	/* below the red zone */
	__asm__ volatile("mov	%%rsp, %0\n"
			 "	lea	-128(%%rsp), %%rsp\n"
			 "	mov	%%ss, %k1\n"
			 "	push	%1\n"
			 "	push	%0\n"
			 "	pushf\n"
			 "	mov	%%cs, %k1\n"
			 "	push	%1\n"
			 "	lea	1f(%%rip), %1\n"
			 "	push	%1\n"
			 "	iretq\n"
			 "1:\n"
			 : "=&r"(sp), "=&r"(tmp) : : "cc", "memory");
}

/* --- a block ------------------------------------------------------------- */

static int reads_flags(const struct row *w)
{
	return w->kind == X_JCC || w->kind == X_SETCC || w->kind == X_CMOV;
}

static int keeps_flags(const struct row *w)
{
	return w->kind == X_NOP || w->kind == X_LEA ||
	       w->kind == X_MOV + FORM_RR || w->kind == X_MOV + FORM_RI ||
	       w->kind == X_ZX_R || w->kind == X_SX_R;
}

/* Flags are needed unless all of them are set again before anybody looks: a
 * uop that may fault, or is left to C, lets everybody look. */
static void find_needed(struct code *c)
{
	int looked = 1;

	for (unsigned i = c->n; i-- > 0;) {
		const struct row *w = c->row[i];

		c->need[i] = (uint8_t)looked;
		switch (w->kind) {
		case X_ALU + FORM_RR:
		case X_ALU + FORM_RI:
			looked = w->op == 2 || w->op == 3;
			break;
		case X_SHIFT:
		case X_ZERO:
			looked = 0;
			break;
		case X_FENCE:
			break;
		default:
			looked |= !keeps_flags(w);
		}
	}
}

/* Who uses or hands on the host's flags is entered from elsewhere by way of
 * code that loads them. */
static void emit_flag_entries(struct code *c, uint8_t *const inner[])
{
	for (unsigned i = 0; i < c->n; i++) {
		if (!inner[i])
			continue;
		c->at[i] = c->p;
		flags_load(c);
		b1(c, 0xe9);
		b4(c, (uint32_t)(inner[i] - (c->p + 4)));
	}
}

/* A block's begin for who comes with its address in rax. */
static void begin(struct code *c, const struct block *b)
{
	call(c, c->x->enter);
	b1(c, 0x83); /* subl */
	at_mem(c, 5, DI, CPU(budget));
	b1(c, b->ninsns);
	const_to(c, CX, (uintptr_t)b);
	set(c, CPU(cur), CX);
}

void xlate_drop(struct xlate *x, const struct block *b)
{
	struct code c = { .x = x, .p = x->rw + (b->code - x->rx) };

	jump(&c, x->leave);
}

void xlate_dropped(void)
{
	serialize();
}

void xlate_block(struct xlate *x, struct block *b)
{
	uint16_t *handler = (uint16_t *)(b->uops + b->nuops);
	uint8_t *inner[BLOCK_UOPS];
	struct code c = { .x = x, .p = x->rw + x->used, .uops = b->uops,
			  .b = b, .n = b->nuops };

	for (unsigned i = 0; i < c.n; i++) {
		c.row[i] = xlate_row(&x->table, b->uops[i].fn);
		handler[i] = (uint16_t)(c.row[i] - x->table.row);
	}
	find_needed(&c);
	b->code = x->rx + x->used;
	begin(&c, b);
	for (c.i = 0; c.i < c.n; c.i++) {
		const struct row *w = c.row[c.i];

		inner[c.i] = NULL;
		c.at[c.i] = c.p;
		if (c.live && (reads_flags(w) || keeps_flags(w)))
			inner[c.i] = c.p;
		if (!c.live && reads_flags(w)) {
			flags_load(&c);
			c.live = 1;
		}
		xlate_uop(&c);
	}
	emit_flag_entries(&c, inner);
	for (unsigned i = 0; i < c.n; i++)
		b->uops[i].fn = (uop_fn)(uintptr_t)(x->rx + (c.at[i] - x->rw));
	x->used = (size_t)(c.p - x->rw);
	assert(x->used <= ARENA_SIZE);
}

/* --- what blocks share --------------------------------------------------- */

/* @at is in the code of a uop of the running block: its handler takes over.
 * Codes stand in the order of their uops; those of other places stand behind,
 * and in the place of a dropped block's first one is a function in C. */
static const struct uop *miss(struct cpu *cpu, const struct uop *at)
{
	const struct block *b = cpu->cur;
	const uint16_t *handler = (const uint16_t *)(b->uops + b->nuops);
	uintptr_t best = 0, code = (uintptr_t)at;
	unsigned found = 0;

	for (unsigned i = 1; i < b->nuops; i++) {
		uintptr_t fn = (uintptr_t)b->uops[i].fn;

		if (fn < code && fn >= best) {
			best = fn;
			found = i;
		}
	}
	return cpu->vm->xlate->table.row[handler[found]].fn(cpu,
							     &b->uops[found]);
}

/* The code before @at, a call of x->link, goes on at cpu->rip, in the block's
 * page: from now on directly, if there is a block that lies in it. */
static void __attribute__((noinline))
learn_link(struct cpu *cpu, const uint8_t *at)
{
	struct xlate *x = cpu->vm->xlate;
	uint64_t gpa = BLOCK_GPA(cpu->cur) + cpu->rip - cpu->r[SLOT_RIP];
	const struct block *b = block_beside(cpu, cpu->cur, gpa);
	struct code c = { .x = x };

	if (!b || cpu->armed & BREAK_EXEC)
		return;
	c.p = x->rw + (at - x->rx) - 5;
	jump(&c, x->rw + (b->code - x->rx));
	serialize();
}

static const struct uop *link(struct cpu *cpu, const struct uop *at)
{
	learn_link(cpu, (const uint8_t *)at);
	return block_next(cpu, cpu->rip);
}

static void share_link(struct code *c)
{
	b1(c, 0x58 | SI); /* pop */
	set(c, CPU(rip), AX);
	const_to(c, AX, (uintptr_t)link);
	b2(c, 0xff, 0xe0);
}

static void share_miss(struct code *c)
{
	b1(c, 0x58 | SI); /* pop */
	const_to(c, AX, (uintptr_t)miss);
	b2(c, 0xff, 0xe0);
}

/* rax: from virtual to host; mmu.h has it in C. Called. */
static void translate(struct code *c, unsigned size, size_t tag)
{
	uint8_t *miss;

	_Static_assert(sizeof(struct tlb_entry) == 32, "a shift by 5");

	b2(c, 0x89, 0xc1);	   /* mov %eax, %ecx */
	b3(c, 0xc1, 0xe9, 12 - 5); /* shr */
	b2(c, 0x81, 0xe1);	   /* and */
	b4(c, (TLB_SIZE - 1) << 5);
	ins_mem(c, 0x03, 3, CX, DI, CPU(tlb));
	b2(c, 0x48, 0x8d);	   /* lea size-1(%rax), %rdx */
	at_mem(c, DX, AX, (1 << size) - 1);
	b3(c, 0x48, 0x81, 0xe2);   /* and */
	b4(c, (uint32_t)PAGE_MASK);
	ins_mem(c, 0x3b, 3, DX, CX, (int32_t)tag);
	miss = jump_cc(c, CC_NE);
	ins_mem(c, 0x03, 3, AX, CX, offsetof(struct tlb_entry, addend));
	b1(c, 0xc3);
	land(c, miss);
	jump(c, c->x->miss);
}

/* rcx = the entry of the jump cache for rax; jumps that miss. */
static void probe_jump(struct code *c, uint8_t *out[2])
{
	const int32_t at = CPU(jc);

	_Static_assert(sizeof(struct jump_entry) == 32, "a shift by 5");
	b3(c, 0x48, 0x89, 0xc1); /* mov %rax, %rcx */
	b3(c, 0x48, 0xc1, 0xe9); /* shr */
	b1(c, JUMP_BITS);
	b2(c, 0x31, 0xc1);	 /* xor %eax, %ecx */
	b2(c, 0x81, 0xe1);	 /* and */
	b4(c, JUMP_SIZE - 1);
	b3(c, 0xc1, 0xe1, 5);	 /* shl */
	b3(c, 0x48, 0x01, 0xf9); /* add %rdi, %rcx */
	ins_mem(c, 0x3b, 3, AX, CX,
		at + (int32_t)offsetof(struct jump_entry, rip));
	out[0] = jump_cc(c, CC_NE);
	get(c, DX, CPU(jc_tag));
	ins_mem(c, 0x3b, 3, DX, CX,
		at + (int32_t)offsetof(struct jump_entry, tag));
	out[1] = jump_cc(c, CC_NE);
	ins_mem(c, 0x8b, 3, CX, CX,
		at + (int32_t)offsetof(struct jump_entry, code));
}

/* As block_find(): rax is where we are unless somebody wants attention. */
static void share_enter(struct code *c, uint8_t *out[2])
{
	b1(c, 0x83);
	at_mem(c, 7, DI, CPU(attention));
	b1(c, 0);
	out[0] = jump_cc(c, CC_NE);
	b1(c, 0x83);
	at_mem(c, 7, DI, CPU(budget));
	b1(c, 0);
	out[1] = jump_cc(c, CC_LE);
	set(c, REG(SLOT_RIP), AX);
	b1(c, 0xc3);
}

static void share(struct xlate *x)
{
	struct code c = { .x = x, .p = x->rw };
	uint8_t *out[2];

	x->miss = c.p;
	share_miss(&c);
	for (unsigned size = 0; size < 4; size++) {
		x->read[size] = c.p;
		translate(&c, size, offsetof(struct tlb_entry, rd));
		x->write[size] = c.p;
		translate(&c, size, offsetof(struct tlb_entry, wr));
	}
	x->find = c.p;
	probe_jump(&c, out);
	b1(&c, 0xc3);
	land(&c, out[0]);
	land(&c, out[1]);
	jump(&c, x->miss);

	x->enter = c.p;
	share_enter(&c, out);
	land(&c, out[0]);
	land(&c, out[1]);
	b1(&c, 0x59); /* pop %rcx */
	x->leave = c.p;
	set(&c, CPU(rip), AX);
	b3(&c, 0x31, 0xc0, 0xc3); /* xor %eax, %eax; ret */

	x->next = c.p;
	probe_jump(&c, out);
	b2(&c, 0xff, 0xe1); /* jmp *%rcx */
	land(&c, out[0]);
	land(&c, out[1]);
	jump(&c, x->leave);

	x->link = c.p;
	share_link(&c);
	x->shared = x->used = (size_t)(c.p - x->rw);
}

struct xlate *xlate_new(void)
{
	struct xlate *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	if (native_map(ARENA_SIZE, &x->rw, &x->rx)) {
		free(x);
		return NULL;
	}
	share(x);
	alu_templates(&x->table);
	shift_templates(&x->table);
	move_templates(&x->table);
	stack_templates(&x->table);
	branch_templates(&x->table);
	emit_templates(&x->table);
	block_templates(&x->table);
	return x;
}

