/* SPDX-License-Identifier: Apache-2.0 */
/* System instructions to uops: one table, one shape of operands (sys.h). */
#include "runner/engine/soft/sys.h"

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/soft.h"

/* @to is for the forms that write what @fn reads: MOV to CR, DR and segment
 * registers. */
struct sys_op {
	uop_fn fn, to;
};

static const struct sys_op sys_ops[OP_COUNT] = {
	[OP_MOV_SREG] = { seg_mov_from, seg_mov_to },
	[OP_PUSH] = { seg_push, NULL },
	[OP_POP] = { seg_pop, NULL },
	[OP_LSEG] = { seg_lseg, NULL },
	[OP_LAR] = { seg_lar, NULL },
	[OP_LSL] = { seg_lsl, NULL },
	[OP_VERR] = { seg_verr, NULL },
	[OP_VERW] = { seg_verw, NULL },
	[OP_LGDT] = { seg_lgdt, NULL },
	[OP_LIDT] = { seg_lidt, NULL },
	[OP_SGDT] = { seg_sgdt, NULL },
	[OP_SIDT] = { seg_sidt, NULL },
	[OP_LLDT] = { seg_lldt, NULL },
	[OP_LTR] = { seg_ltr, NULL },
	[OP_SLDT] = { seg_sldt, NULL },
	[OP_STR] = { seg_str, NULL },
	[OP_SWAPGS] = { seg_swapgs, NULL },
	[OP_RDFSBASE] = { seg_rdfsbase, NULL },
	[OP_RDGSBASE] = { seg_rdgsbase, NULL },
	[OP_WRFSBASE] = { seg_wrfsbase, NULL },
	[OP_WRGSBASE] = { seg_wrgsbase, NULL },

	[OP_JMPF] = { far_jmp, NULL },
	[OP_CALLF] = { far_call, NULL },
	[OP_RETF] = { far_ret, NULL },
	[OP_IRET] = { far_iret, NULL },
	[OP_SYSCALL] = { far_syscall, NULL },
	[OP_SYSRET] = { far_sysret, NULL },
	[OP_SYSENTER] = { far_sysenter, NULL },
	[OP_SYSEXIT] = { far_sysexit, NULL },
	[OP_INT] = { except_int, NULL },
	[OP_INT3] = { except_int3, NULL },
	[OP_INTO] = { except_into, NULL },
	[OP_INT1] = { except_int1, NULL },

	[OP_CLI] = { flags_cli, NULL },
	[OP_STI] = { flags_sti, NULL },
	[OP_PUSHF] = { flags_pushf, NULL },
	[OP_POPF] = { flags_popf, NULL },
	[OP_STAC] = { flags_stac, NULL },
	[OP_CLAC] = { flags_clac, NULL },

	[OP_MOV_CR] = { ctrl_from_cr, ctrl_to_cr },
	[OP_MOV_DR] = { ctrl_from_dr, ctrl_to_dr },
	[OP_CLTS] = { ctrl_clts, NULL },
	[OP_LMSW] = { ctrl_lmsw, NULL },
	[OP_SMSW] = { ctrl_smsw, NULL },
	[OP_HLT] = { ctrl_hlt, NULL },
	[OP_INVLPG] = { ctrl_invlpg, NULL },
	[OP_INVD] = { ctrl_wbinvd, NULL },
	[OP_WBINVD] = { ctrl_wbinvd, NULL },
	[OP_CLFLUSH] = { ctrl_clflush, NULL },

	[OP_RDMSR] = { msr_rdmsr, NULL },
	[OP_WRMSR] = { msr_wrmsr, NULL },
	[OP_RDTSC] = { msr_rdtsc, NULL },
	[OP_RDTSCP] = { msr_rdtscp, NULL },
	[OP_RDPMC] = { msr_rdpmc, NULL },
	[OP_CPUID] = { msr_cpuid, NULL },

	[OP_IN] = { pio_op_in, NULL },
	[OP_OUT] = { pio_op_out, NULL },
};

static int is_special(const struct opnd *o)
{
	return o->kind == OPND_SREG || o->kind == OPND_CR ||
	       o->kind == OPND_DR;
}

/* PUSH and POP of anything but a segment register are stack.c's. */
static int is_ours(const struct insn *in)
{
	if (!sys_ops[in->op].fn)
		return 0;
	return (in->op != OP_PUSH && in->op != OP_POP) ||
	       in->o[0].kind == OPND_SREG;
}

/* Registers that do not exist, or cannot be loaded this way. */
static int bad_register(const struct insn *in)
{
	for (unsigned i = 0; i < in->nopnd; i++) {
		const struct opnd *o = &in->o[i];

		if (o->kind == OPND_CR && o->reg != 0 && o->reg != 8 &&
		    (o->reg < 2 || o->reg > 4))
			return 1;
		if (o->kind == OPND_DR && o->reg > 7)
			return 1;
		if (o->kind == OPND_SREG &&
		    (o->reg >= X86_SREGS ||
		     (o->reg == X86_CS && o->access & OPND_W)))
			return 1;
	}
	return 0;
}

/* LES and LDS, LSS, LFS, LGS name their register by the opcode. */
static uint64_t lseg_register(const struct insn *in)
{
	switch (in->opcode) {
	case 0xc4:
		return X86_ES;
	case 0xc5:
		return X86_DS;
	case 0xb2:
		return X86_SS;
	case 0xb4:
		return X86_FS;
	default:
		return X86_GS;
	}
}

static void set_operands(struct uop *u, const struct insn *in)
{
	unsigned regs = 0;

	u->aux = in->osize;
	for (unsigned i = 0; i < in->nopnd; i++) {
		const struct opnd *o = &in->o[i];

		switch (o->kind) {
		case OPND_GPR:
			if (regs++ == 0)
				u->r0 = emit_reg(o);
			else
				u->r1 = emit_reg(o);
			break;
		case OPND_SREG:
		case OPND_CR:
		case OPND_DR:
			u->imm = o->reg;
			break;
		case OPND_IMM:
			u->imm = in->imm;
			u->aux |= SYS_IMM;
			break;
		case OPND_FAR:
			u->imm = in->imm2 << 32 | (in->imm & 0xffffffff);
			break;
		case OPND_MEM:
			u->aux |= SYS_MEM;
			break;
		default:
			break;
		}
	}
}

/* Instructions that a CPUID bit promises. The table is the same for the life
 * of a VM, so that asking once is enough. */
static int not_offered(const struct soft *s, const struct insn *in)
{
	switch (in->op) {
	case OP_STAC:
	case OP_CLAC:
		return !soft_has(s, 7, 'b', 20);
	case OP_SYSENTER:
	case OP_SYSEXIT:
		return !soft_has(s, 1, 'd', 11);
	case OP_RDTSCP:
		return !soft_has(s, 0x80000001, 'd', 27);
	default:
		return 0;
	}
}

int emit_system(struct emitter *e, const struct insn *in)
{
	const struct sys_op *s = &sys_ops[in->op];
	struct emit_ea ea = { .base = SLOT_OFF(SLOT_ZERO),
			      .index = SLOT_OFF(SLOT_ZERO),
			      .seg = SLOT_OFF(SLOT_ZERO) };
	struct uop *u;

	if (!is_ours(in))
		return 0;
	if (bad_register(in) || not_offered(e->cpu->vm, in)) {
		emit_raise(e, EXC_UD);
		e->ends = 1;
		return 1;
	}
	for (unsigned i = 0; i < in->nopnd; i++)
		if (in->o[i].kind == OPND_MEM)
			ea = emit_address(e, in);
	u = emit_uop(e, s->to && is_special(&in->o[0]) ? s->to : s->fn);
	emit_set_ea(u, ea);
	set_operands(u, in);
	if (in->op == OP_LSEG)
		u->imm = lseg_register(in);
	/* the port's width is that of AL, AX, EAX: REX.W does not count */
	if ((in->op == OP_IN || in->op == OP_OUT) && in->osize == 8)
		u->aux = (uint8_t)((u->aux & ~SYS_SIZE) | 4);
	return 1;
}
