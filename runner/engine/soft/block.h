/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block: decoded code, cached by physical address.
 *
 * A block is a run of instructions that starts at one physical address and
 * ends at a branch, at an instruction that changes the machine's mode, at
 * the page's end, or after BLOCK_INSNS instructions. Only a block's first
 * instruction may cross into a second page; the block then belongs to both.
 * Pages that hold blocks are write-protected in the TLB (mmu.h); a write
 * drops every block of the page. Blocks and uops come from one arena that is
 * emptied as a whole, between blocks, when full: a pointer to a dropped block
 * stays readable until then.
 *
 * emit.c turns instructions into uops, xlate.c gives these machine code.
 */
#ifndef MAYFLY_SOFT_BLOCK_H
#define MAYFLY_SOFT_BLOCK_H

#include "runner/engine/soft/cpu.h"
#include "runner/engine/soft/decode.h"

#define BLOCK_INSNS 32
/* An instruction makes at most this many uops, and a block one more. */
#define EMIT_MAX 5
#define BLOCK_UOPS (BLOCK_INSNS * EMIT_MAX + 1)

struct block {
	uint64_t key;  /* physical address | mode bits in 60.. */
	uint64_t gpa2; /* the page a first instruction crosses into, or NONE */
	struct block *hash_next;
	struct block *page_next[2]; /* lists of gpa's and of gpa2's page */
	const uint8_t *code; /* xlate.h */
	uint16_t ninsns;
	uint16_t bytes; /* of code */
	uint16_t nuops;
	uint8_t dead; /* dropped: uops[0] leads back to cpu_loop() */
	struct uop uops[]; /* nuops of them, then xlate.c's */
};
#define BLOCK_NONE UINT64_MAX
#define BLOCK_GPA(b) ((b)->key & ((1ull << 60) - 1))

/* The live block at physical address @gpa in the page and the mode of @b, if
 * it is known and lies in one page. */
const struct block *block_beside(struct cpu *cpu, const struct block *b,
				 uint64_t gpa);

static inline int block_in_page(const struct block *b, uint64_t gpa)
{
	return ((BLOCK_GPA(b) ^ gpa) & PAGE_MASK) == 0 ||
	       (b->gpa2 ^ gpa) < PAGE_SIZE;
}

static inline struct jump_entry *jump_entry(struct cpu *cpu, uint64_t rip)
{
	return &cpu->jc[(rip ^ rip >> JUMP_BITS) & (JUMP_SIZE - 1)];
}

/* The block at @rip, entered, when it is known and nobody wants attention;
 * else NULL, which is cpu_loop(). */
static inline const struct uop *block_find(struct cpu *cpu, uint64_t rip)
{
	const struct jump_entry *j = jump_entry(cpu, rip);
	const struct block *b = j->block;

	cpu->rip = rip;
	if (__builtin_expect(j->rip != rip || j->tag != cpu->jc_tag, 0) ||
	    __builtin_expect(atomic_load_explicit(&cpu->attention,
						  memory_order_acquire), 0) ||
	    __builtin_expect(cpu->budget <= 0, 0))
		return NULL;
	cpu->budget -= (int32_t)b->ninsns;
	cpu->cur = b;
	cpu->r[SLOT_RIP] = rip;
	return b->uops;
}

/* The tail of every block. */
static inline const struct uop *block_next(struct cpu *cpu, uint64_t rip)
{
	const struct uop *first = block_find(cpu, rip);

	if (__builtin_expect(!first, 0))
		return NULL;
	GO_ON(cpu, first);
}

struct code_cache;

/* For guest physical addresses below @ram_top. NULL: out of memory. */
struct code_cache *code_new(uint64_t ram_top);
void code_free(struct code_cache *c);

/* The block at cpu->rip in the present mode, decoded now if need be. Raises
 * on a fetch fault. @one: a block of just one instruction, not cached. */
const struct block *block_get(struct cpu *cpu, int one);

/* Does this page hold decoded code? Any thread. */
int code_page_test(const struct code_cache *c, uint64_t gpa);
/* vCPU thread: drop every block of the page. */
void code_drop_page(struct cpu *cpu, uint64_t gpa);
/* Any thread: a device wrote; the vCPU drops the pages at its next look. */
void code_note_write(struct code_cache *c, uint64_t gpa, uint64_t len);
int code_noted(const struct code_cache *c);
void code_drop_noted(struct cpu *cpu);

/* --- emit -------------------------------------------------------------- */

struct emitter {
	struct uop *uops;
	unsigned n;
	uint16_t off;	/* of the instruction being emitted */
	uint8_t len;
	uint8_t ends;	/* the block ends after this instruction */
	struct cpu *cpu;
};

/* Append a uop for the current instruction, operands absent. */
struct uop *emit_uop(struct emitter *e, uop_fn fn);
/* Fill base, index, scale, seg, disp from the insn's memory operand; emits a
 * uop that computes the address into SLOT_TMP first where the addressing is
 * not plain (32-bit addresses, 64-bit displacement). So: call it BEFORE
 * emit_uop() and apply the result: */
struct emit_ea {
	int32_t disp;
	uint8_t base, index, seg, scale;
};
struct emit_ea emit_address(struct emitter *e, const struct insn *in);
static inline void emit_set_ea(struct uop *u, struct emit_ea a)
{
	u->disp = a.disp;
	u->base = a.base;
	u->index = a.index;
	u->seg = a.seg;
	u->scale = a.scale;
}
/* Byte offset in r[] of a GPR operand (OPND_GPR or OPND_GPR8H). */
uint8_t emit_reg(const struct opnd *o);

/* A uop for an operand that is a register (@reg, in r0) or memory (@mem, its
 * address filled in). */
struct uop *emit_rm(struct emitter *e, const struct insn *in,
		    const struct opnd *o, uop_fn reg, uop_fn mem);

/* What two-operand instructions come in: destination, source. */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORMS };
struct forms {
	uop_fn fn[FORMS][4]; /* by operand size: 1, 2, 4, 8 bytes */
};
void emit_forms(struct emitter *e, const struct insn *in,
		const struct forms *f);

/* The offset in r[] of a source operand: of its register, or of SLOT_TMP2
 * after a uop that loads the memory operand or the immediate there. */
uint8_t emit_source(struct emitter *e, const struct insn *in,
		    const struct opnd *o);

/* LOCK orders memory for device threads too; atomicity needs nothing more,
 * with one vCPU. */
void emit_fence(struct emitter *e);
static inline void emit_fence_if_locked(struct emitter *e,
					const struct insn *in)
{
	if (in->pfx & PFX_LOCK)
		emit_fence(e);
}

/* Raise @vec at this instruction. */
void emit_raise(struct emitter *e, unsigned vec);

/* One instruction; never fails: what is not implemented raises #UD. */
void emit_insn(struct emitter *e, const struct insn *in);

/* Parts of emit_insn() by family, each in the file of its handlers. Return 1
 * when the instruction is theirs. */
int emit_alu(struct emitter *e, const struct insn *in);	   /* alu.c */
int emit_shift(struct emitter *e, const struct insn *in);  /* shift.c */
int emit_muldiv(struct emitter *e, const struct insn *in); /* muldiv.c */
int emit_bits(struct emitter *e, const struct insn *in);   /* bits.c */
int emit_move(struct emitter *e, const struct insn *in);   /* move.c */
int emit_stack(struct emitter *e, const struct insn *in);  /* stack.c */
int emit_branch(struct emitter *e, const struct insn *in); /* branch.c */
int emit_string(struct emitter *e, const struct insn *in); /* string.c */
int emit_system(struct emitter *e, const struct insn *in); /* sys.c, seg.c */
int emit_simd(struct emitter *e, const struct insn *in);   /* simd.c, x87.c */
int emit_legacy(struct emitter *e, const struct insn *in); /* legacy.c */

#endif
