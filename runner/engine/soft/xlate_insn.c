/* SPDX-License-Identifier: Apache-2.0 */
/* The templates. In them rax is an address, then what flags are made in; rcx
 * and rdx are operands. */
#include "runner/engine/soft/xlate_code.h"

/* To the uop's handler in C, that of @fn. */
static void to_handler(struct code *c, unsigned i, uop_fn fn)
{
	b2(c, 0x48, 0xb8 | SI);
	b8(c, (uintptr_t)&c->uops[i]);
	b2(c, 0x48, 0xb8);
	b8(c, (uintptr_t)fn);
	b2(c, 0xff, 0xe0); /* jmp *%rax */
}

/* rax = the uop's effective address. */
static void address(struct code *c, const struct uop *op)
{
	const uint8_t zero = SLOT_OFF(SLOT_ZERO);

	if (op->index != zero) {
		get(c, CX, op->index);
		if (op->base != zero) {
			get(c, AX, op->base);
			/* lea disp(%rax,%rcx,scale), %rax */
			b3(c, 0x48, 0x8d, 0x84);
			b1(c, (unsigned)op->scale << 6 | CX << 3 | AX);
		} else {
			b3(c, 0x48, 0x8d, 0x04);
			b1(c, (unsigned)op->scale << 6 | CX << 3 | BP);
		}
		b4(c, (uint32_t)op->disp);
	} else if (op->base != zero) {
		get(c, AX, op->base);
		add_const(c, AX, op->disp);
	} else {
		const_to(c, AX, (uint64_t)(int64_t)op->disp);
	}
	if (op->seg != zero)
		ins_mem(c, 0x03, 3, AX, DI, op->seg);
}

static void to_read(struct code *c, const struct uop *op, unsigned size)
{
	address(c, op);
	call(c, c->x->read[size]);
}

static void to_write(struct code *c, const struct uop *op, unsigned size)
{
	address(c, op);
	call(c, c->x->write[size]);
}

/* eax = 0, before the instruction whose flags are kept; not to be used where
 * the instruction before has set CF for it. */
static void flags_begin(struct code *c)
{
	if (c->need[c->i])
		b2(c, 0x31, 0xc0);
}

static void flags_end(struct code *c)
{
	c->live = 1;
	if (!c->need[c->i])
		return;
	b1(c, 0x9f);		 /* lahf */
	b3(c, 0x0f, 0x90, 0xc0); /* seto %al */
	b1(c, 0x89);
	at_mem(c, AX, DI, CPU(fl));
}

/* CF from cpu->fl. */
static void carry_load(struct code *c)
{
	b2(c, 0x0f, 0xba); /* btl $8, fl */
	at_mem(c, 4, DI, CPU(fl));
	b1(c, 8);
}

/* --- arithmetic ---------------------------------------------------------- */

#define ALU_CMP	 7
#define ALU_TEST 8

static void alu_carry(struct code *c, unsigned op)
{
	flags_begin(c);
	if (op == 2 || op == 3) /* ADC, SBB */
		carry_load(c);
}

/* r0 op= rcx */
static void alu_reg(struct code *c, const struct row *w, const struct uop *op)
{
	unsigned code = w->op == ALU_TEST ? 0x84 : (unsigned)w->op << 3;

	if (w->size == 2 && w->op < ALU_CMP) {
		load(c, 2, DX, DI, op->r0);
		alu_carry(c, w->op);
		ins_reg(c, code, 2, CX, DX);
		flags_end(c);
		set_reg(c, 2, op->r0, DX);
		return;
	}
	alu_carry(c, w->op);
	ins_mem(c, code, w->size, CX, DI, op->r0);
	flags_end(c);
}

/* The instruction with an immediate that fits, on [@base + @disp]. */
static void alu_imm(struct code *c, const struct row *w, unsigned base,
		    int32_t disp, uint64_t imm)
{
	int small = w->size && w->op != ALU_TEST && fits8((int64_t)imm);

	prefix(c, w->size);
	if (w->op == ALU_TEST)
		b1(c, w->size ? 0xf7 : 0xf6);
	else
		b1(c, !w->size ? 0x80 : small ? 0x83 : 0x81);
	at_mem(c, w->op == ALU_TEST ? 0 : w->op, base, disp);
	if (!w->size || small)
		b1(c, (uint8_t)imm);
	else if (w->size == 1)
		b2(c, (uint8_t)imm, (uint8_t)(imm >> 8));
	else
		b4(c, imm);
}

/* The immediate as a signed number of the operand's size. */
static int64_t signed_imm(const struct row *w, const struct uop *op)
{
	switch (w->size) {
	case 0:
		return (int8_t)op->imm;
	case 1:
		return (int16_t)op->imm;
	case 2:
		return (int32_t)op->imm;
	default:
		return (int64_t)op->imm;
	}
}

static void alu_ri(struct code *c, const struct row *w, const struct uop *op)
{
	int64_t imm = signed_imm(w, op);

	if (!fits32(imm) || (w->size == 2 && w->op < ALU_CMP)) {
		const_to(c, CX, w->size == 2 ? (uint32_t)imm : (uint64_t)imm);
		alu_reg(c, w, op);
		return;
	}
	alu_carry(c, w->op);
	alu_imm(c, w, DI, op->r0, (uint64_t)imm);
	flags_end(c);
}

static void alu_to_mem(struct code *c, const struct row *w,
		       const struct uop *op, int by_imm)
{
	int64_t imm = signed_imm(w, op);
	unsigned code = w->op == ALU_TEST ? 0x84 : (unsigned)w->op << 3;

	if (w->op < ALU_CMP)
		to_write(c, op, w->size);
	else
		to_read(c, op, w->size);
	b3(c, 0x48, 0x89, 0xc2); /* mov %rax, %rdx */
	if (by_imm && fits32(imm)) {
		alu_carry(c, w->op);
		alu_imm(c, w, DX, 0, (uint64_t)imm);
	} else {
		if (by_imm)
			const_to(c, CX, (uint64_t)imm);
		else
			load(c, w->size, CX, DI, op->r1);
		alu_carry(c, w->op);
		ins_mem(c, code, w->size, CX, DX, 0);
	}
	flags_end(c);
}

static void alu(struct code *c, const struct row *w, const struct uop *op)
{
	switch (w->kind - X_ALU) {
	case FORM_RR:
		load(c, w->size, CX, DI, op->r1);
		alu_reg(c, w, op);
		break;
	case FORM_RI:
		alu_ri(c, w, op);
		break;
	case FORM_RM:
		to_read(c, op, w->size);
		load(c, w->size, CX, AX, 0);
		alu_reg(c, w, op);
		break;
	case FORM_MR:
		alu_to_mem(c, w, op, 0);
		break;
	default:
		alu_to_mem(c, w, op, 1);
	}
}

/* INC 0 and DEC 1 of FE, NOT 2 and NEG 3 of F6. */
static void unary(struct code *c, const struct row *w, const struct uop *op)
{
	unsigned code = w->op < 2 ? 0xfe : 0xf6, base = DI;
	int32_t disp = op->r0;

	if (w->kind == X_UNARY_M) {
		to_write(c, op, w->size);
		b3(c, 0x48, 0x89, 0xc2);
		base = DX;
		disp = 0;
	} else if (w->size == 2) {
		load(c, 2, DX, DI, op->r0);
	}
	if (w->op != 2)
		flags_begin(c);
	if (w->op < 2)
		carry_load(c);
	if (w->size == 2 && base == DI)
		ins_reg(c, code, 2, w->op, DX);
	else
		ins_mem(c, code, w->size, w->op, base, disp);
	if (w->op != 2)
		flags_end(c);
	if (w->size == 2 && base == DI)
		set_reg(c, 2, op->r0, DX);
}

static void shift(struct code *c, const struct row *w, const struct uop *op)
{
	load(c, w->size, DX, DI, op->r0);
	flags_begin(c);
	prefix(c, w->size);
	b3(c, 0xc1, 0xc0 | (unsigned)w->op << 3 | DX, op->aux);
	flags_end(c);
	set_reg(c, w->size, op->r0, DX);
}

/* --- moves --------------------------------------------------------------- */

static void store_imm(struct code *c, unsigned size, unsigned base,
		      int32_t disp, uint64_t imm)
{
	if (size == 3 && !fits32((int64_t)imm)) {
		const_to(c, CX, imm);
		ins_mem(c, 0x88, 3, CX, base, disp);
		return;
	}
	ins_mem(c, 0xc6, size, 0, base, disp);
	if (size == 0)
		b1(c, (uint8_t)imm);
	else if (size == 1)
		b2(c, (uint8_t)imm, (uint8_t)(imm >> 8));
	else
		b4(c, imm);
}

static void mov(struct code *c, const struct row *w, const struct uop *op)
{
	switch (w->kind - X_MOV) {
	case FORM_RR:
		load(c, w->size, CX, DI, op->r1);
		set_reg(c, w->size, op->r0, CX);
		return;
	case FORM_RI:
		if (w->size == 2 && (int32_t)op->imm < 0) {
			const_to(c, CX, (uint32_t)op->imm);
			set_reg(c, 2, op->r0, CX);
		} else {
			store_imm(c, w->size == 2 ? 3 : w->size, DI, op->r0,
				  w->size == 2 ? (uint32_t)op->imm : op->imm);
		}
		return;
	case FORM_RM:
		to_read(c, op, w->size);
		load(c, w->size, CX, AX, 0);
		set_reg(c, w->size, op->r0, CX);
		break;
	case FORM_MR:
		to_write(c, op, w->size);
		load(c, w->size, CX, DI, op->r1);
		ins_mem(c, 0x88, w->size, CX, AX, 0);
		break;
	default:
		to_write(c, op, w->size);
		store_imm(c, w->size, AX, 0, op->imm);
	}
	c->live = 0;
}

/* MOVZX, MOVSX, MOVSXD from w->op bits to 1 << size bytes. */
static void extend(struct code *c, const struct row *w, const struct uop *op)
{
	int sign = w->kind >= X_SX_R, mem = w->kind == X_ZX_M ||
					    w->kind == X_SX_M;
	unsigned base = DI;
	int32_t disp = op->r1;

	if (mem) {
		to_read(c, op, w->op == 8 ? 0 : w->op == 16 ? 1 : 2);
		c->live = 0;
		base = AX;
		disp = 0;
	}
	if (sign && w->size == 3)
		b1(c, 0x48);
	if (w->op == 32)
		b1(c, sign ? 0x63 : 0x8b);
	else
		b2(c, 0x0f, (sign ? 0xbe : 0xb6) | (w->op == 16));
	at_mem(c, CX, base, disp);
	set_reg(c, w->size, op->r0, CX);
}

static void lea(struct code *c, const struct row *w, const struct uop *op)
{
	address(c, op);
	if (op->seg != SLOT_OFF(SLOT_ZERO))
		c->live = 0;
	if (w->size == 2)
		b2(c, 0x89, 0xc0); /* mov %eax, %eax */
	set_reg(c, w->size, op->r0, AX);
}

static void cmov(struct code *c, const struct row *w, const struct uop *op)
{
	load(c, w->size, CX, DI, op->r1);
	load(c, w->size, DX, DI, op->r0);
	prefix(c, w->size);
	b3(c, 0x0f, 0x40 | op->aux, 0xc0 | DX << 3 | CX);
	set_reg(c, w->size, op->r0, DX);
}

static void setcc(struct code *c, const struct uop *op)
{
	b2(c, 0x0f, 0x90 | op->aux);
	at_mem(c, 0, DI, op->r0);
}

/* --- stack --------------------------------------------------------------- */

/* RSP += n, in one instruction. */
static void add_rsp(struct code *c, int32_t n)
{
	b2(c, 0x48, fits8(n) ? 0x83 : 0x81);
	at_mem(c, 0, DI, (int32_t)REG(X86_RSP));
	if (fits8(n))
		b1(c, (uint8_t)n);
	else
		b4(c, (uint32_t)n);
}

/* rax: where 8 bytes are pushed. */
static void to_push(struct code *c)
{
	get(c, AX, REG(X86_RSP));
	add_const(c, AX, -8);
	call(c, c->x->write[3]);
}

static void push(struct code *c, const struct row *w, const struct uop *op)
{
	to_push(c);
	if (w->kind == X_PUSH_R) {
		get(c, CX, op->r1);
		ins_mem(c, 0x88, 3, CX, AX, 0);
	} else {
		store_imm(c, 3, AX, 0, op->imm);
	}
	add_rsp(c, -8);
}

static void pop(struct code *c, const struct uop *op)
{
	get(c, AX, REG(X86_RSP));
	call(c, c->x->read[3]);
	load(c, 3, CX, AX, 0);
	add_rsp(c, 8);
	set_reg(c, 3, op->r0, CX);
}

static void leave(struct code *c)
{
	get(c, AX, REG(X86_RBP));
	call(c, c->x->read[3]);
	load(c, 3, CX, AX, 0);
	get(c, AX, REG(X86_RBP));
	add_const(c, AX, 8);
	set(c, REG(X86_RSP), AX);
	set(c, REG(X86_RBP), CX);
}

/* --- branches ------------------------------------------------------------ */

/* Does what is @off from the block's start lie in its only page? Then going
 * there needs no look at a page table, and whatever drops the one drops the
 * other. */
static int in_page(const struct block *b, int64_t off)
{
	return b->gpa2 == BLOCK_NONE &&
	       (uint64_t)((int64_t)(b->key & ~PAGE_MASK) + off) < PAGE_SIZE;
}

static void next_at(struct code *c, int64_t off)
{
	get(c, AX, REG(SLOT_RIP));
	if (fits32(off)) {
		add_const(c, AX, (int32_t)off);
	} else { /* a displacement, and what of the block is before it */
		const_to(c, CX, (uint64_t)off);
		b3(c, 0x48, 0x01, 0xc8); /* add %rcx, %rax */
	}
	if (in_page(c->b, off))
		call(c, c->x->link);
	else
		jump(c, c->x->next);
}

static void jcc(struct code *c, const struct row *w, const struct uop *op)
{
	uint8_t *taken = jump_cc(c, w->op);

	next_at(c, op->disp);
	land(c, taken);
	next_at(c, (int64_t)op->imm);
}

/* Push the address @off from the block's start. */
static void push_return(struct code *c, int32_t off)
{
	to_push(c);
	get(c, CX, REG(SLOT_RIP));
	add_const(c, CX, off);
	ins_mem(c, 0x88, 3, CX, AX, 0);
	add_rsp(c, -8);
}

static void ret(struct code *c, const struct uop *op)
{
	get(c, AX, REG(X86_RSP));
	call(c, c->x->read[3]);
	load(c, 3, AX, AX, 0);
	call(c, c->x->find);
	add_rsp(c, (int32_t)op->imm);
	b2(c, 0xff, 0xe1); /* jmp *%rcx */
}

static void indirect(struct code *c, const struct row *w, const struct uop *op)
{
	if (w->kind == X_CALL_IND) {
		/* where the target is not known, nothing has happened yet */
		get(c, AX, op->r1);
		call(c, c->x->find);
		push_return(c, op->off + op->len);
	}
	get(c, AX, op->r1);
	/* CALL *%rsp's target is what RSP was */
	if (w->kind == X_CALL_IND && op->r1 == SLOT_OFF(X86_RSP))
		add_const(c, AX, 8);
	call(c, c->x->find);
	b2(c, 0xff, 0xe1); /* jmp *%rcx */
}

/* --- all of them --------------------------------------------------------- */

void xlate_uop(struct code *c)
{
	const struct row *w = c->row[c->i];
	const struct uop *op = &c->uops[c->i];

	switch (w->kind) {
	case X_NOP:
		return;
	case X_FENCE:
		b3(c, 0xf0, 0x83, 0x0c); /* lock orl $0, (%rsp) */
		b2(c, 0x24, 0);
		break;
	case X_ZERO:
		store_imm(c, 3, DI, op->r0, 0);
		b1(c, 0xc7);
		at_mem(c, 0, DI, CPU(fl));
		b4(c, FL_ZF | FL_PF);
		break;
	case X_ALU ... X_ALU + FORM_MI:
		alu(c, w, op);
		return;
	case X_UNARY_R:
	case X_UNARY_M:
		unary(c, w, op);
		break;
	case X_SHIFT:
		shift(c, w, op);
		return;
	case X_MOV ... X_MOV + FORM_MI:
		mov(c, w, op);
		return;
	case X_ZX_R ... X_SX_M:
		extend(c, w, op);
		return;
	case X_LEA:
		lea(c, w, op);
		return;
	case X_LOAD:
		to_read(c, op, w->size);
		load(c, w->size, CX, AX, 0);
		set(c, REG(SLOT_TMP2), CX);
		break;
	case X_SETCC:
		setcc(c, op);
		return;
	case X_CMOV:
		cmov(c, w, op);
		return;
	case X_PUSH_R:
	case X_PUSH_I:
		push(c, w, op);
		break;
	case X_POP_R:
		pop(c, op);
		break;
	case X_LEAVE:
		leave(c);
		break;
	case X_JMP:
	case X_FALL:
		next_at(c, (int64_t)op->imm);
		break;
	case X_JCC:
		jcc(c, w, op);
		break;
	case X_CALL:
		push_return(c, op->disp);
		next_at(c, (int64_t)op->imm);
		break;
	case X_RET:
		ret(c, op);
		break;
	case X_JMP_IND:
	case X_CALL_IND:
		indirect(c, w, op);
		break;
	default:
		to_handler(c, c->i, op->fn);
	}
	c->live = 0;
}
