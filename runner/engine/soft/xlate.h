/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xlate: uops as machine code.
 *
 * A uop's handler is found by an indirect jump, which the host's predictor
 * misses once the guest's code is bigger than its tables, as a kernel's is. So
 * a block's uops get code of their own, laid out one after the other, by a
 * template for each of the common handlers. What has no template is a jump to
 * its handler, which comes back by way of the next uop's `fn`.
 *
 * Thus the code of every uop is a handler like those in C: rdi is the cpu, the
 * guest's registers are in it, and rsi matters to nobody but handlers in C.
 * A template does only what cannot fail. Where an access misses the TLB or a
 * branch leaves canonical space it has changed nothing, and leaves the whole
 * uop to the handler: faults, MMIO, watched pages and #AC are known there only.
 *
 * The code of a block is its begin, where other code enters it with the
 * guest's address in rax and which does what block_find() does in C: every way
 * from block to block leads through one, so that a kick is seen; then the
 * uops' in their order; then, for those that expect the guest's flags in the
 * host's, code that loads them, which is what `fn` of such a uop points to.
 *
 * Jumps. One that stays in its page begins as a call of link(), which makes it
 * a jump to the other's begin once that exists: a page is dropped as a whole.
 * All others look in the jump cache, as block_find() does. Of a dropped block
 * only the begin is overwritten, by a jump to cpu_loop(); so nobody has to know
 * who jumps there, and code that is running stays as it is. The arena is reused
 * between blocks only, with the blocks' own (code_reset()), when no entry of
 * the jump cache is good any more.
 *
 * The arena has a fixed size and is mapped twice, as that of thunks is
 * (native.h). vCPU thread only.
 */
#ifndef MAYFLY_SOFT_XLATE_H
#define MAYFLY_SOFT_XLATE_H

#include "runner/engine/soft/block.h"

struct xlate;
struct xlate_table;

/* NULL with errno. */
struct xlate *xlate_new(void);
void xlate_free(struct xlate *x); /* takes NULL */

/* There is no room for one more block. */
int xlate_full(const struct xlate *x);
void xlate_reset(struct xlate *x);

/* Give the uops of @b code, their handlers being C's as of now. */
void xlate_block(struct xlate *x, struct block *b);
/* Nobody is to run @b any more; after the last of them xlate_dropped(). */
void xlate_drop(struct xlate *x, const struct block *b);
void xlate_dropped(void);
/* Room that this takes behind the uops, a uop. */
#define XLATE_UOP sizeof(uint16_t)

/* What a template is told of: the family's handlers, by xlate_new(). */
enum xlate_kind {
	X_NONE, X_NOP, X_FENCE, X_ZERO,
	X_ALU,	 /* to X_ALU + FORM_MI; op: /digit of 80-83, 8 for TEST */
	X_UNARY_R = X_ALU + FORMS, /* op: the bytes' /digit, 2 and 3 of F6 */
	X_UNARY_M, X_SHIFT, /* op: /digit of C1 */
	X_MOV,	 /* to X_MOV + FORM_MI */
	X_ZX_R = X_MOV + FORMS, X_ZX_M, X_SX_R, X_SX_M, /* op: source bits */
	X_LEA, X_SETCC, X_CMOV, X_LOAD,
	X_PUSH_R, X_PUSH_I, X_POP_R, X_LEAVE,
	X_JMP, X_JCC, X_CALL, X_RET, X_JMP_IND, X_CALL_IND, X_FALL,
};
/* @size: log2 of the operand's bytes. @fn may be NULL. */
void xlate_add(struct xlate_table *t, uop_fn fn, enum xlate_kind kind,
	       unsigned size, unsigned op);
void xlate_add_forms(struct xlate_table *t, const struct forms *f,
		     enum xlate_kind kind, unsigned op);

/* In the files of the handlers. */
void alu_templates(struct xlate_table *t);
void shift_templates(struct xlate_table *t);
void move_templates(struct xlate_table *t);
void stack_templates(struct xlate_table *t);
void branch_templates(struct xlate_table *t);
void emit_templates(struct xlate_table *t);
void block_templates(struct xlate_table *t);

#endif
