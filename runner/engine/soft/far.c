/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far transfers: JMP, CALL, RET, IRET through code segments, SYSCALL and
 * SYSENTER and their returns (SDM 2, under their names; 3A 5.8).
 *
 * Task gates raise #GP in long mode; call gates are far_gate.c's.
 */
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

static _Noreturn void gp(struct cpu *cpu, const struct uop *op, uint32_t err)
{
	cpu_raise_err(cpu, op, EXC_GP, err);
}

/* --- shared checks ------------------------------------------------------ */

static int lma(const struct cpu *cpu)
{
	return !!(cpu->efer & EFER_LMA);
}

/* A descriptor that may become CS, privilege aside. */
static void read_code(struct cpu *cpu, const struct uop *op, uint16_t sel,
		      struct desc *d)
{
	if (!(sel & ~SEL_RPL))
		gp(cpu, op, 0);
	if (desc_read(cpu, op, sel, d) < 0 || !desc_is_code(d) ||
	    (lma(cpu) && d->seg.l && d->seg.db))
		gp(cpu, op, SEL_ERR(sel));
}

static void need_present(struct cpu *cpu, const struct uop *op,
			 const struct desc *d)
{
	if (!d->seg.p)
		cpu_raise_err(cpu, op, EXC_NP, SEL_ERR(d->seg.sel));
}

/* The target in its segment: canonical, or below the limit. */
static void check_rip(struct cpu *cpu, const struct uop *op,
		      const struct desc *cs, uint64_t rip)
{
	if (lma(cpu) && cs->seg.l ? !mmu_canonical(rip) : rip > cs->seg.limit)
		gp(cpu, op, 0);
}

static uint64_t narrow(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1ull << size * 8) - 1);
}

static void enter_code(struct cpu *cpu, const struct uop *op, struct desc *cs,
		       unsigned cpl)
{
	desc_touch(cpu, op, cs);
	cs->seg.sel = (uint16_t)((cs->seg.sel & ~SEL_RPL) | cpl);
}

/* --- JMP and CALL ------------------------------------------------------- */

struct far_ptr {
	uint64_t off;
	uint16_t sel;
};

static struct far_ptr far_operand(struct cpu *cpu, const struct uop *op)
{
	unsigned size = op->aux & SYS_SIZE;
	struct far_ptr p;
	uint64_t va;

	if (!(op->aux & SYS_MEM)) {
		p.off = narrow(op->imm & 0xffffffff, size);
		p.sel = (uint16_t)(op->imm >> 32);
		return p;
	}
	va = uop_ea(cpu, op);
	p.off = sys_load(cpu, op, 0, size);
	p.sel = mmu_load16(cpu, op, mmu_wrap(cpu, va + size));
	return p;
}

static void read_target(struct cpu *cpu, const struct uop *op,
			struct far_ptr *p, struct desc *cs)
{
	read_code(cpu, op, p->sel, cs);
	if (cs->seg.type & SEG_CONFORMING ?
		    cs->seg.dpl > cpu->cpl :
		    cs->seg.dpl != cpu->cpl || (p->sel & SEL_RPL) > cpu->cpl)
		gp(cpu, op, SEL_ERR(p->sel));
	need_present(cpu, op, cs);
	if (!cs->seg.l) /* m16:64 into compatibility mode: cut off */
		p->off = (uint32_t)p->off;
	check_rip(cpu, op, cs, p->off);
}

static const struct uop *far_go(struct cpu *cpu, const struct desc *cs,
				uint64_t rip)
{
	seg_set(cpu, X86_CS, &cs->seg);
	cpu_update_mode(cpu);
	return block_find(cpu, rip);
}

SYSTEM(far_jmp)
{
	struct far_ptr p = far_operand(cpu, op);
	struct desc cs;

	if (far_is_gate(cpu, op, p.sel, &cs))
		return block_find(cpu, far_enter_gate(cpu, op, &cs, 0));
	read_target(cpu, op, &p, &cs);
	enter_code(cpu, op, &cs, cpu->cpl);
	return far_go(cpu, &cs, p.off);
}

SYSTEM(far_call)
{
	unsigned size = op->aux & SYS_SIZE;
	struct far_ptr p = far_operand(cpu, op);
	uint64_t sp = stack_sp(cpu);
	struct desc cs;

	if (far_is_gate(cpu, op, p.sel, &cs))
		return block_find(cpu, far_enter_gate(cpu, op, &cs, 1));
	read_target(cpu, op, &p, &cs);
	enter_code(cpu, op, &cs, cpu->cpl);
	stack_aligned(cpu, op, sp - size, size);
	stack_probe(cpu, op, sp - 2 * size, 2 * size);
	stack_push(cpu, op, &sp, size, cpu->seg[X86_CS].sel);
	stack_push(cpu, op, &sp, size, uop_next_rip(cpu, op));
	stack_set_sp(cpu, sp);
	return far_go(cpu, &cs, p.off);
}

/* --- returns ------------------------------------------------------------ */

/* What a far return or IRET goes back to. */
struct frame {
	uint64_t rip, rsp;
	uint16_t cs, ss;
	int has_stack; /* rsp and ss are from the frame */
};

static void read_return_cs(struct cpu *cpu, const struct uop *op,
			   const struct frame *f, struct desc *cs)
{
	unsigned rpl = f->cs & SEL_RPL;

	read_code(cpu, op, f->cs, cs);
	if (rpl < cpu->cpl ||
	    (cs->seg.type & SEG_CONFORMING ? cs->seg.dpl > rpl :
					     cs->seg.dpl != rpl))
		gp(cpu, op, SEL_ERR(f->cs));
	need_present(cpu, op, cs);
	check_rip(cpu, op, cs, f->rip);
}

/* 0: @ss becomes SS; 1: a null one does, which 64-bit code above CPL 3 may
 * have (SDM 2A IRET). */
static int read_return_ss(struct cpu *cpu, const struct uop *op,
			  const struct frame *f, const struct desc *cs,
			  struct desc *ss)
{
	unsigned rpl = f->cs & SEL_RPL;
	uint32_t err = SEL_ERR(f->ss);

	if (!(f->ss & ~SEL_RPL)) {
		if (!(lma(cpu) && cs->seg.l) || rpl == 3 ||
		    (f->ss & SEL_RPL) != rpl)
			gp(cpu, op, 0);
		return 1;
	}
	if (desc_read(cpu, op, f->ss, ss) < 0 || (f->ss & SEL_RPL) != rpl ||
	    !desc_is_writable(ss) || ss->seg.dpl != rpl)
		gp(cpu, op, err);
	if (!ss->seg.p)
		cpu_raise_err(cpu, op, EXC_SS, err);
	desc_touch(cpu, op, ss);
	return 0;
}

/* Data segments that the outer level may not use become null. */
static void drop_inner_segments(struct cpu *cpu)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < sizeof(data); i++) {
		const struct x86_seg *s = &cpu->seg[data[i]];
		int conforming = (s->type & (SEG_CODE | SEG_CONFORMING)) ==
				 (SEG_CODE | SEG_CONFORMING);

		if (!s->unusable && s->dpl < cpu->cpl && !conforming)
			seg_set_null(cpu, data[i], 0);
		else if (s->unusable) /* null selectors 1-3, too */
			cpu->seg[data[i]].sel = 0;
	}
}

/* Everything of a return but RFLAGS; @extra bytes are released afterwards. */
static void far_back(struct cpu *cpu, const struct uop *op,
		     const struct frame *f, uint64_t extra)
{
	unsigned rpl = f->cs & SEL_RPL;
	int outer, null_ss = 0;
	struct desc cs, ss;

	read_return_cs(cpu, op, f, &cs);
	if (f->has_stack)
		null_ss = read_return_ss(cpu, op, f, &cs, &ss);
	enter_code(cpu, op, &cs, rpl);

	/* nothing faults from here on */
	outer = rpl > cpu->cpl;
	cpu->cpl = (uint8_t)rpl;
	seg_set(cpu, X86_CS, &cs.seg);
	if (f->has_stack && null_ss)
		seg_set_null(cpu, X86_SS, rpl);
	else if (f->has_stack)
		seg_set(cpu, X86_SS, &ss.seg);
	cpu_update_mode(cpu);
	stack_set_sp(cpu, f->rsp + extra);
	if (outer)
		drop_inner_segments(cpu);
}

SYSTEM(far_ret)
{
	unsigned size = op->aux & SYS_SIZE;
	uint64_t sp = stack_sp(cpu), extra = op->imm & 0xffff;
	struct frame f;

	f.rip = stack_pop(cpu, op, &sp, size);
	f.cs = (uint16_t)stack_pop(cpu, op, &sp, size);
	f.rsp = sp;
	f.has_stack = (f.cs & SEL_RPL) > cpu->cpl;
	if (f.has_stack) {
		sp += extra;
		f.rsp = stack_pop(cpu, op, &sp, size);
		f.ss = (uint16_t)stack_pop(cpu, op, &sp, size);
	}
	far_back(cpu, op, &f, extra);
	return block_find(cpu, f.rip);
}

SYSTEM(far_iret)
{
	unsigned size = op->aux & SYS_SIZE, cpl = cpu->cpl;
	uint64_t mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT |
			RFLAGS_AC | RFLAGS_ID;
	uint64_t sp = stack_sp(cpu), flags;
	struct frame f;

	/* even when it faults: SDM 3A 6.7.1 */
	if (__builtin_expect(cpu->nmi_blocked, 0)) {
		cpu->nmi_blocked = 0;
		cpu_attend(cpu, ATTN_IRQ);
	}
	/* in protected mode, a task return: no tasks here */
	if (cpu->rflags & RFLAGS_NT)
		gp(cpu, op, 0);
	f.rip = stack_pop(cpu, op, &sp, size);
	f.cs = (uint16_t)stack_pop(cpu, op, &sp, size);
	flags = stack_pop(cpu, op, &sp, size);
	f.rsp = sp;
	f.has_stack = cpu->code64 || (f.cs & SEL_RPL) > cpl;
	if (f.has_stack) {
		f.rsp = stack_pop(cpu, op, &sp, size);
		f.ss = (uint16_t)stack_pop(cpu, op, &sp, size);
	}
	/* by the rights before the return */
	if (cpl <= (cpu->rflags & RFLAGS_IOPL) >> 12)
		mask |= RFLAGS_IF;
	if (cpl == 0)
		mask |= RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP;
	far_back(cpu, op, &f, 0);
	cpu_set_rflags(cpu, flags, size == 2 ? mask & 0xffff : mask);
	if (__builtin_expect(cpu->armed & BREAK_EXEC, 0) && size != 2 &&
	    flags & RFLAGS_RF) {
		cpu->rf = 1;
		LEAVE(cpu, f.rip);
	}
	return block_find(cpu, f.rip);
}

/* --- fast system calls --------------------------------------------------- */

static void set_flat(struct cpu *cpu, unsigned cpl, uint64_t cs, uint64_t ss,
		     int code64)
{
	cpu->cpl = (uint8_t)cpl;
	seg_set_flat(cpu, X86_CS, (uint16_t)((cs & ~3ull) | cpl), cpl, code64);
	seg_set_flat(cpu, X86_SS, (uint16_t)((ss & ~3ull) | cpl), cpl, 0);
	cpu_update_mode(cpu);
}

/*
 * SYSCALL and SYSRET trap by TF as they leave it (as hardware does; SDM 2B
 * only says that SFMASK is there for TF): a kernel that masks it is not
 * stepped through, and the #DB comes when SYSRET sets it, before the next
 * user instruction.
 */
static void trap_by_new_flags(struct cpu *cpu)
{
	cpu->trap = !!(cpu->rflags & RFLAGS_TF);
}

SYSTEM(far_syscall)
{
	uint64_t cs = cpu->star >> 32;

	/* Intel's has no compatibility-mode form */
	if (!(cpu->efer & EFER_SCE) || !cpu->code64)
		cpu_raise(cpu, op, EXC_UD);
	cpu->r[X86_RCX] = uop_next_rip(cpu, op);
	cpu->r[X86_R11] = cpu_rflags(cpu);
	set_flat(cpu, 0, cs, cs + 8, 1);
	cpu_set_rflags(cpu, 0, cpu->sfmask & ~2ull);
	trap_by_new_flags(cpu);
	return block_find(cpu, cpu->lstar);
}

SYSTEM(far_sysret)
{
	uint64_t base = cpu->star >> 48, rip = cpu->r[X86_RCX];
	int to64 = (op->aux & SYS_SIZE) == 8;

	if (!(cpu->efer & EFER_SCE) || !cpu->code64)
		cpu_raise(cpu, op, EXC_UD);
	need_cpl0(cpu, op);
	/* Intel checks before anything changes: the fault is the kernel's */
	if (to64 && !mmu_canonical(rip))
		gp(cpu, op, 0);
	set_flat(cpu, 3, to64 ? base + 16 : base, base + 8, to64);
	cpu_set_rflags(cpu, cpu->r[X86_R11],
		       ~(uint64_t)(RFLAGS_RF | RFLAGS_VM) & 0x3f7fd7);
	trap_by_new_flags(cpu);
	return block_find(cpu, to64 ? rip : (uint32_t)rip);
}

SYSTEM(far_sysenter)
{
	uint64_t cs = cpu->sysenter_cs & 0xffff;
	int to64 = lma(cpu);

	if (!(cs & ~3ull))
		gp(cpu, op, 0);
	set_flat(cpu, 0, cs, cs + 8, to64);
	cpu_set_rflags(cpu, 0, RFLAGS_IF);
	cpu->r[X86_RSP] = to64 ? cpu->sysenter_esp :
				 (uint32_t)cpu->sysenter_esp;
	return block_find(cpu, to64 ? cpu->sysenter_eip :
				      (uint32_t)cpu->sysenter_eip);
}

SYSTEM(far_sysexit)
{
	uint64_t cs = cpu->sysenter_cs & 0xffff;
	uint64_t rip = cpu->r[X86_RDX], rsp = cpu->r[X86_RCX];
	int to64 = (op->aux & SYS_SIZE) == 8;

	if (!(cs & ~3ull) || cpu->cpl != 0 ||
	    (to64 && (!mmu_canonical(rip) || !mmu_canonical(rsp))))
		gp(cpu, op, 0);
	set_flat(cpu, 3, to64 ? cs + 32 : cs + 16, to64 ? cs + 40 : cs + 24,
		 to64);
	cpu->r[X86_RSP] = to64 ? rsp : (uint32_t)rsp;
	return block_find(cpu, to64 ? rip : (uint32_t)rip);
}
