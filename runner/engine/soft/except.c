/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions and interrupts: raising, the double fault rules, and delivery
 * through the 64-bit IDT (SDM 3A chapter 6, 6.14 for the 64-bit part).
 *
 * Outside long mode nothing is delivered: the only guest code that runs there
 * is a boot loader's step through compatibility mode, with interrupts off and
 * no handlers to call.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

/* Exceptions that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP. */
#define VEC_HAS_ERR 0x227d00u

/* Error code bits of selector errors, SDM 3A figure 6-7. */
#define ERR_EXT 1u
#define ERR_IDT 2u

#define TYPE_INT_GATE  14u
#define TYPE_TRAP_GATE 15u

/* 64-bit TSS, SDM 3A figure 8-11. */
#define TSS_RSP0 4u
#define TSS_IST1 36u

/* --- raising ------------------------------------------------------------ */

static _Noreturn void raise(struct cpu *cpu, const struct uop *op,
			    const struct exc *x)
{
	if (op)
		cpu->rip = uop_rip(cpu, op);
	cpu->exc = *x;
	longjmp(cpu->jmp, 1);
}

void cpu_raise_err(struct cpu *cpu, const struct uop *op, unsigned vec,
		   uint32_t err)
{
	struct exc x = {
		.pending = 1, .vec = (uint8_t)vec,
		.has_err = (VEC_HAS_ERR >> vec) & 1,
		.err = err,
	};

	raise(cpu, op, &x);
}

void cpu_raise(struct cpu *cpu, const struct uop *op, unsigned vec)
{
	cpu_raise_err(cpu, op, vec, 0);
}

void cpu_raise_pf(struct cpu *cpu, const struct uop *op, uint64_t va,
		  uint32_t err)
{
	struct exc x = {
		.pending = 1, .vec = EXC_PF, .has_err = 1, .err = err,
		.cr2 = va,
	};

	raise(cpu, op, &x);
}

void cpu_fail(struct cpu *cpu, const struct uop *op, const char *fmt, ...)
{
	va_list ap;

	if (op)
		cpu->rip = uop_rip(cpu, op);
	va_start(ap, fmt);
	vsnprintf(cpu->fail, sizeof(cpu->fail), fmt, ap);
	va_end(ap);
	cpu->exc.pending = 0;
	longjmp(cpu->jmp, 1);
}

/* INT n, INT3, INTO: .soft is the instruction's length, so that a fault in
 * the delivery is reported at the instruction and not behind it. */
static _Noreturn void raise_soft(struct cpu *cpu, const struct uop *op,
				 unsigned vec)
{
	struct exc x = { .pending = 1, .vec = (uint8_t)vec, .soft = op->len };

	cpu->rip = uop_next_rip(cpu, op);
	raise(cpu, NULL, &x);
}

SYSTEM(except_int)
{
	raise_soft(cpu, op, (uint8_t)op->imm);
}

SYSTEM(except_int3)
{
	raise_soft(cpu, op, EXC_BP);
}

SYSTEM(except_into)
{
	if (cpu->fl & FL_OF)
		raise_soft(cpu, op, EXC_OF);
	return op + 1;
}

/* INT1 is a trap without the DPL check of INT n (SDM 2A INT). */
SYSTEM(except_int1)
{
	struct exc x = { .pending = 1, .vec = EXC_DB, .trap = 1 };

	cpu->rip = uop_next_rip(cpu, op);
	raise(cpu, NULL, &x);
}

/* --- delivery ----------------------------------------------------------- */

struct event {
	uint8_t vec, has_err, soft;
	uint32_t ext;	 /* ERR_EXT unless the program asked for it */
	uint32_t err;
	uint64_t rip;	 /* to be pushed */
	uint64_t rflags; /* to be pushed */
};

struct gate {
	uint64_t offset;
	uint16_t sel;
	uint8_t ist, type;
};

static void read_gate(struct cpu *cpu, const struct event *e, struct gate *g)
{
	uint32_t w[4], at = e->vec * 16u;
	uint32_t err = e->vec * 8u | ERR_IDT | e->ext;

	if (at + 15 > cpu->idtr.limit)
		cpu_raise_err(cpu, NULL, EXC_GP, err);
	mmu_sys_read(cpu, NULL, cpu->idtr.base + at, w, sizeof(w));
	g->type = (w[1] >> 8) & 0x1f; /* with the S bit, which must be 0 */
	if (g->type != TYPE_INT_GATE && g->type != TYPE_TRAP_GATE)
		cpu_raise_err(cpu, NULL, EXC_GP, err);
	if (e->soft && ((w[1] >> 13) & 3) < cpu->cpl)
		cpu_raise_err(cpu, NULL, EXC_GP, err);
	if (!(w[1] & 0x8000))
		cpu_raise_err(cpu, NULL, EXC_NP, err);
	g->offset = (w[0] & 0xffff) | (w[1] & 0xffff0000) |
		    (uint64_t)w[2] << 32;
	g->sel = (uint16_t)(w[0] >> 16);
	g->ist = w[1] & 7;
}

static void read_handler_cs(struct cpu *cpu, const struct event *e,
			    uint16_t sel, struct desc *d)
{
	uint32_t err = SEL_ERR(sel) | e->ext;

	if (!(sel & ~SEL_RPL))
		cpu_raise_err(cpu, NULL, EXC_GP, e->ext);
	if (desc_read(cpu, NULL, sel, d) < 0 || !desc_is_code(d) ||
	    d->seg.dpl > cpu->cpl || !d->seg.l || d->seg.db)
		cpu_raise_err(cpu, NULL, EXC_GP, err);
	if (!d->seg.p)
		cpu_raise_err(cpu, NULL, EXC_NP, err);
}

/* RSP before the pushes: IST, the TSS's stack of @cpl, or the present one. */
static uint64_t handler_stack(struct cpu *cpu, const struct event *e,
			      unsigned ist, unsigned cpl)
{
	uint64_t sp = cpu->r[X86_RSP];
	uint32_t at = ist ? TSS_IST1 + (ist - 1) * 8 : TSS_RSP0 + cpl * 8;

	if (ist || cpl < cpu->cpl) {
		if (at + 7 > cpu->tr.limit)
			cpu_raise_err(cpu, NULL, EXC_TS,
				      SEL_ERR(cpu->tr.sel) | e->ext);
		mmu_sys_read(cpu, NULL, cpu->tr.base + at, &sp, 8);
	}
	sp &= ~15ull;
	if (!mmu_canonical(sp) || !mmu_canonical(sp - 48))
		cpu_raise_err(cpu, NULL, EXC_SS, e->ext);
	return sp;
}

/* The frame in one store, so that it faults as a whole. Returns the new RSP. */
static uint64_t push_frame(struct cpu *cpu, const struct event *e,
			   uint64_t sp, unsigned cpl)
{
	uint64_t frame[6] = {
		e->err, e->rip, cpu->seg[X86_CS].sel, e->rflags,
		cpu->r[X86_RSP], cpu->seg[X86_SS].sel,
	};
	const uint64_t *from = e->has_err ? frame : frame + 1;
	unsigned len = e->has_err ? 48 : 40;

	sp -= len;
	if (cpl == 3)
		mmu_write(cpu, NULL, sp, from, len);
	else
		mmu_sys_write(cpu, NULL, sp, from, len);
	return sp;
}

static void deliver(struct cpu *cpu, const struct event *e)
{
	uint64_t clear = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;
	unsigned cpl;
	struct gate g;
	struct desc cs;
	uint64_t sp;

	if (!(cpu->efer & EFER_LMA))
		cpu_fail(cpu, NULL, "vector %u outside long mode", e->vec);
	read_gate(cpu, e, &g);
	read_handler_cs(cpu, e, g.sel, &cs);
	cpl = cs.seg.type & SEG_CONFORMING ? cpu->cpl : cs.seg.dpl;
	sp = handler_stack(cpu, e, g.ist, cpl);
	if (!mmu_canonical(g.offset))
		cpu_raise_err(cpu, NULL, EXC_GP, e->ext);
	desc_touch(cpu, NULL, &cs);
	sp = push_frame(cpu, e, sp, cpl);

	/* nothing faults from here on */
	cs.seg.sel = (uint16_t)((g.sel & ~SEL_RPL) | cpl);
	seg_set(cpu, X86_CS, &cs.seg);
	if (cpl != cpu->cpl)
		seg_set_null(cpu, X86_SS, cpl);
	cpu->cpl = (uint8_t)cpl;
	cpu->r[X86_RSP] = sp;
	cpu->rip = g.offset;
	if (g.type == TYPE_INT_GATE)
		clear |= RFLAGS_IF;
	cpu->rflags &= ~clear;
	cpu->shadow = 0;
	cpu->halted = 0;
	cpu->rf = 0;
	cpu->partial = 0;
	cpu_update_mode(cpu);
}

/* SDM 3A table 6-5: which pairs make a double fault. */
enum { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static uint8_t class_of(unsigned vec)
{
	switch (vec) {
	case EXC_DE:
	case EXC_TS:
	case EXC_NP:
	case EXC_SS:
	case EXC_GP:
		return CONTRIBUTORY;
	case EXC_PF:
		return PAGE_FAULT;
	case EXC_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

/* A second exception, @x, while the first was being delivered: handle it
 * instead, turn it into #DF, or (-1) give up. */
static int merge(struct cpu *cpu, struct exc *x)
{
	unsigned first = cpu->delivery_err, second = class_of(x->vec);

	if (second == BENIGN || first == BENIGN ||
	    (first == CONTRIBUTORY && second == PAGE_FAULT))
		return 0;
	if (first == DOUBLE_FAULT)
		return -1;
	*x = (struct exc){ .vec = EXC_DF, .has_err = 1 };
	return 0;
}

/*
 * A fault pushes RF, so that the handler can return past a breakpoint on the
 * instruction; so does what comes between two steps of a REP, or before an
 * instruction that already has RF (SDM 3B 18.3.1.1). RF is kept only while
 * there are breakpoints in code: it would hide nothing else.
 */
static uint64_t pushed_flags(const struct cpu *cpu, int fault)
{
	return cpu_rflags(cpu) |
	       (fault || cpu->rf || cpu->partial ? RFLAGS_RF : 0);
}

static int is_fault(const struct exc *x)
{
	/* not a breakpoint in code: its handler sets RF itself */
	return !x->soft && !x->trap && x->vec != EXC_NMI &&
	       !(x->vec == EXC_DB && x->err & DR6_HITS);
}

void except_deliver(struct cpu *cpu)
{
	struct exc x = cpu->exc;
	struct event e;

	cpu->exc.pending = 0;
	if (x.vec == EXC_PF)
		cpu->cr2 = x.cr2;
	if (cpu->in_delivery && merge(cpu, &x) < 0) {
		cpu->shutdown = 1;
		cpu->in_delivery = 0;
		return;
	}
	if (x.vec == EXC_DB) {
		/* .err carries the reason, and is not pushed */
		cpu->dr6 |= x.err;
		cpu->dr7 &= ~(uint64_t)DR7_GD;
	}
	e = (struct event){
		.vec = x.vec, .has_err = x.has_err, .soft = x.soft,
		.ext = x.soft ? 0 : ERR_EXT,
		.err = x.err, .rip = cpu->rip,
		.rflags = pushed_flags(cpu, is_fault(&x)),
	};
	cpu->rip -= x.soft;
	cpu->in_delivery = (uint8_t)(1 + x.vec);
	cpu->delivery_err = x.soft ? BENIGN : class_of(x.vec);
	deliver(cpu, &e);
	cpu->in_delivery = 0;
}

void except_interrupt(struct cpu *cpu, unsigned vec)
{
	struct event e = {
		.vec = (uint8_t)vec, .ext = ERR_EXT, .rip = cpu->rip,
		.rflags = pushed_flags(cpu, 0),
	};

	/* BENIGN: what faults now is handled by itself */
	cpu->in_delivery = 1;
	cpu->delivery_err = BENIGN;
	deliver(cpu, &e);
	cpu->in_delivery = 0;
}
