/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys: what the privileged half of the processor shares: descriptors, far
 * transfers, model-specific registers, port access.
 *
 * sys.c emits: one table says which handler an instruction has and whether
 * it ends the block. The handlers live in the file of their subject (seg.c,
 * far.c, ctrl.c, msr.c, flags.c, pio.c). All of it is the vCPU thread's.
 */
#ifndef MAYFLY_SOFT_SYS_H
#define MAYFLY_SOFT_SYS_H

#include "runner/engine/soft/mmu.h"

/*
 * Operands of a system uop: r0 and r1 are the GPR operands in their order;
 * imm a number: of a control, debug or segment register, an immediate, a far
 * pointer; aux the operand size and these:
 */
#define SYS_SIZE 0x0fu
#define SYS_MEM	 0x10u /* the r/m operand is in memory, not in a register */
#define SYS_IMM	 0x20u /* IN, OUT: the port is imm, not DX */

#define UOP(name) const struct uop *name(struct cpu *cpu, const struct uop *op)

/*
 * Defines a handler that may keep operands and descriptors on the stack: what
 * follows is its body, which returns the uop to go on with (op + 1, or
 * block_find()), or NULL for cpu_loop(). See NEXT().
 */
#define SYSTEM(name)                                                    \
	static UOP(name##_body);                                        \
	UOP(name)                                                       \
	{                                                               \
		op = name##_body(cpu, op);                              \
		if (!op)                                                \
			return NULL;                                    \
		GO_ON(cpu, op);                                         \
	}                                                               \
	static __attribute__((noinline)) UOP(name##_body)

/* DR6 and DR7, SDM 3B 18.2. */
#define DR6_HITS  0xfu
#define DR6_BD	  0x2000u
#define DR6_BS	  0x4000u
#define DR6_FIXED 0xffff0ff0u
#define DR7_GD	  0x2000u
#define DR7_FIXED 0x400u

static inline void need_cpl0(struct cpu *cpu, const struct uop *op)
{
	if (__builtin_expect(cpu->cpl != 0, 0))
		cpu_raise_err(cpu, op, EXC_GP, 0);
}

/* --- descriptors (seg.c), SDM 3A 3.4.5 and 5.8 -------------------------- */

#define SEL_RPL	 3u
#define SEL_TI	 4u
#define SEL_ERR(sel) ((sel) & 0xfffcu) /* as an error code */

/* Type bits of code and data segments. */
#define SEG_ACCESSED   1u
#define SEG_WRITABLE   2u /* data */
#define SEG_READABLE   2u /* code */
#define SEG_CONFORMING 4u /* code */
#define SEG_DOWN       4u /* data: expands downwards */
#define SEG_CODE       8u

struct desc {
	uint64_t raw;
	uint64_t addr;	    /* linear, of the descriptor */
	struct x86_seg seg; /* decoded; .sel is the selector given */
};

static inline int desc_is_code(const struct desc *d)
{
	return d->seg.s && (d->seg.type & SEG_CODE);
}

static inline int desc_is_writable(const struct desc *d)
{
	return d->seg.s && (d->seg.type & (SEG_CODE | SEG_WRITABLE)) ==
			   SEG_WRITABLE;
}

/* 0, or -1 when @sel lies beyond its table. Not for null selectors. */
int desc_read(struct cpu *cpu, const struct uop *op, uint16_t sel,
	      struct desc *d);
/* Set the accessed bit, in memory too. */
void desc_touch(struct cpu *cpu, const struct uop *op, struct desc *d);
/* Put a checked segment into a register. */
void seg_set(struct cpu *cpu, unsigned n, const struct x86_seg *s);
/* Make it null; the selector's RPL and SS.DPL keep @rpl. */
void seg_set_null(struct cpu *cpu, unsigned n, unsigned rpl);
/* What MOV and POP do, with all checks. */
void seg_load(struct cpu *cpu, const struct uop *op, unsigned n, uint16_t sel);
/* The flat segments of SYSCALL and its like. */
void seg_set_flat(struct cpu *cpu, unsigned n, uint16_t sel, unsigned dpl,
		  int code64);

UOP(seg_mov_to);
UOP(seg_mov_from);
UOP(seg_push);
UOP(seg_pop);
UOP(seg_lseg);
UOP(seg_lar);
UOP(seg_lsl);
UOP(seg_verr);
UOP(seg_verw);
UOP(seg_lgdt);
UOP(seg_lidt);
UOP(seg_sgdt);
UOP(seg_sidt);
UOP(seg_lldt);
UOP(seg_ltr);
UOP(seg_sldt);
UOP(seg_str);
UOP(seg_swapgs);
UOP(seg_rdfsbase);
UOP(seg_rdgsbase);
UOP(seg_wrfsbase);
UOP(seg_wrgsbase);

/* Outside 64-bit mode: may @access reach @size bytes at @off of segment @n?
 * Raises #GP(0), or #SS(0) for SS (SDM 3A 5.3). */
void seg_refuse(struct cpu *cpu, const struct uop *op, unsigned n,
		uint32_t off, unsigned size, unsigned access);
static inline void seg_check(struct cpu *cpu, const struct uop *op, unsigned n,
			     uint32_t off, unsigned size, unsigned access)
{
	if (__builtin_expect((cpu->room[n].open & access) != access, 0))
		seg_refuse(cpu, op, n, off, size, access);
}

/* --- r/m operands and the stack (operand.c) ----------------------------- */

/* The r/m operand in @reg or memory, zero-extended. */
uint64_t sys_load(struct cpu *cpu, const struct uop *op, uint8_t reg,
		  unsigned size);
/* Registers: 32 bits zero-extend, 16 merge. */
void sys_store(struct cpu *cpu, const struct uop *op, uint8_t reg,
	       unsigned size, uint64_t v);

/*
 * The stack pointer's width is the mode's (SDM 1 6.2.3). Pushes and pops run
 * on a copy, @sp, so that a fault leaves RSP alone: stack_sp(), then any
 * number of pushes or pops, then stack_set_sp().
 */
static inline uint64_t stack_sp(const struct cpu *cpu)
{
	return cpu->r[X86_RSP];
}
void stack_set_sp(struct cpu *cpu, uint64_t sp);
/* #AC where it is due, which comes before the faults of stack_probe(). */
void stack_aligned(struct cpu *cpu, const struct uop *op, uint64_t sp,
		   unsigned size);
void stack_push(struct cpu *cpu, const struct uop *op, uint64_t *sp,
		unsigned size, uint64_t v);
uint64_t stack_pop(struct cpu *cpu, const struct uop *op, uint64_t *sp,
		   unsigned size);
/* The linear address of stack offset @sp. */
uint64_t stack_va(const struct cpu *cpu, uint64_t sp);
/* Raise what a store of @size bytes at @sp would raise. */
void stack_probe(struct cpu *cpu, const struct uop *op, uint64_t sp,
		 unsigned size);
/* For handlers that must not hand out the address of a local (NEXT). */
void stack_push_one(struct cpu *cpu, const struct uop *op, unsigned size,
		    uint64_t v);
uint64_t stack_top(struct cpu *cpu, const struct uop *op, unsigned size);

/* --- far transfers (far.c), exceptions by instruction (except.c) -------- */

/* Does @sel name a call gate? Then what JMP or CALL through it leads to: the
 * new RIP, all else done. */
int far_is_gate(struct cpu *cpu, const struct uop *op, uint16_t sel,
		struct desc *d);
uint64_t far_enter_gate(struct cpu *cpu, const struct uop *op,
			const struct desc *d, int call);

UOP(far_jmp);
UOP(far_call);
UOP(far_ret);
UOP(far_iret);
UOP(far_syscall);
UOP(far_sysret);
UOP(far_sysenter);
UOP(far_sysexit);
UOP(except_int);
UOP(except_int3);
UOP(except_into);
UOP(except_int1);

/* --- flags (flags.c) ---------------------------------------------------- */

UOP(flags_cli);
UOP(flags_sti);
UOP(flags_pushf);
UOP(flags_popf);
UOP(flags_stac);
UOP(flags_clac);

/* --- control and debug registers, the rest (ctrl.c) --------------------- */

UOP(ctrl_from_cr);
UOP(ctrl_to_cr);
UOP(ctrl_from_dr);
UOP(ctrl_to_dr);
UOP(ctrl_clts);
UOP(ctrl_lmsw);
UOP(ctrl_smsw);
UOP(ctrl_hlt);
UOP(ctrl_invlpg);
UOP(ctrl_wbinvd);
UOP(ctrl_clflush);

/* --- model-specific registers and counters (msr.c) ---------------------- */

/* 0, or -1 for #GP(0). */
int msr_read(struct cpu *cpu, uint32_t msr, uint64_t *v);
int msr_write(struct cpu *cpu, uint32_t msr, uint64_t v);

UOP(msr_rdmsr);
UOP(msr_wrmsr);
UOP(msr_rdtsc);
UOP(msr_rdtscp);
UOP(msr_rdpmc);
UOP(msr_cpuid);

/* --- ports (pio.c) ------------------------------------------------------ */

/* #GP(0) unless IOPL or the TSS lets us (SDM 1 19.5). */
void pio_check(struct cpu *cpu, const struct uop *op, uint16_t port,
	       unsigned size);
uint32_t pio_in(struct cpu *cpu, uint16_t port, unsigned size);
void pio_out(struct cpu *cpu, uint16_t port, unsigned size, uint32_t v);

UOP(pio_op_in);
UOP(pio_op_out);

#endif
