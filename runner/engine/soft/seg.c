/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation: descriptors, segment registers and the mode that follows
 * from them (SDM 3A chapters 3 and 5).
 *
 * In 64-bit mode data segments have no limit; elsewhere each access asks
 * seg_check(), which a flat segment answers at once.
 */
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

/* --- mode -------------------------------------------------------------- */

/* SDM 3A 5.3; expand-down segments begin behind their limit. */
static struct room room_of(const struct x86_seg *s)
{
	struct room r = { .last = s->limit };

	if (s->unusable)
		return r;
	r.rights = s->type & SEG_CODE && !(s->type & SEG_READABLE) ?
		   0 : ROOM_READ;
	if ((s->type & (SEG_CODE | SEG_WRITABLE)) == SEG_WRITABLE)
		r.rights |= ROOM_WRITE;
	if ((s->type & (SEG_CODE | SEG_DOWN)) == SEG_DOWN) {
		r.last = s->db ? 0xffffffff : 0xffff;
		r.first = s->limit + 1;
		if (!r.first)
			r.rights = 0;
	}
	/* of a segment that has a base, what wraps is beyond the limit */
	if (!r.first && r.last == 0xffffffff && !s->base)
		r.open = r.rights;
	return r;
}

/* In 64-bit mode only FS and GS have a base (SDM 3A 3.2.4), and none a limit;
 * what the others hold comes back with compatibility mode. */
static void update_derived(struct cpu *cpu, unsigned n)
{
	int flat = cpu->code64 && n != X86_FS && n != X86_GS;

	cpu->r[SLOT_SEG + n] = flat ? 0 : cpu->seg[n].base;
	if (!cpu->code64)
		cpu->room[n] = room_of(&cpu->seg[n]);
}

void cpu_update_mode(struct cpu *cpu)
{
	int was64 = cpu->code64;

	cpu->code64 = (cpu->efer & EFER_LMA) && cpu->seg[X86_CS].l;
	cpu->code32 = !cpu->code64 && cpu->seg[X86_CS].db;
	if (cpu->cpl == 3)
		cpu->mode = cpu->rflags & RFLAGS_AC && cpu->cr0 & CR0_AM ?
			    TLB_USER_AC : TLB_USER;
	else
		cpu->mode = cpu->rflags & RFLAGS_AC ? TLB_KERNEL_AC :
						      TLB_KERNEL;
	cpu->tlb = cpu->tlbs[cpu->mode];
	cpu->jc_tag = cpu_make_tag(cpu);
	if (!cpu->code64 && (cpu->seg[X86_CS].base != cpu->code_base ||
			     cpu->seg[X86_CS].limit != cpu->code_limit)) {
		cpu->code_base = cpu->seg[X86_CS].base;
		cpu->code_limit = cpu->seg[X86_CS].limit;
		mmu_forget_fetches(cpu, 0);
		mmu_forget_fetches(cpu, 1);
	}
	if (was64 != cpu->code64)
		for (unsigned n = 0; n < X86_SREGS; n++)
			update_derived(cpu, n);
}

void seg_set(struct cpu *cpu, unsigned n, const struct x86_seg *s)
{
	cpu->seg[n] = *s;
	update_derived(cpu, n);
}

void seg_refuse(struct cpu *cpu, const struct uop *op, unsigned n,
		uint32_t off, unsigned size, unsigned access)
{
	const struct room *r = &cpu->room[n];

	if ((r->rights & access) != access || off < r->first ||
	    (uint64_t)off + size - 1 > r->last)
		cpu_raise_err(cpu, op, n == X86_SS ? EXC_SS : EXC_GP, 0);
}

void seg_set_null(struct cpu *cpu, unsigned n, unsigned rpl)
{
	struct x86_seg s = { .sel = (uint16_t)rpl, .unusable = 1 };

	if (n == X86_SS) {
		s.dpl = (uint8_t)rpl;
		s.db = 1;
	}
	seg_set(cpu, n, &s);
}

void seg_set_flat(struct cpu *cpu, unsigned n, uint16_t sel, unsigned dpl,
		  int code64)
{
	int code = n == X86_CS;
	struct x86_seg s = {
		.limit = 0xffffffff, .sel = sel, .s = 1, .p = 1, .g = 1,
		.type = SEG_WRITABLE | SEG_ACCESSED | (code ? SEG_CODE : 0),
		.dpl = (uint8_t)dpl,
		.l = code && code64,
		.db = !(code && code64),
	};

	seg_set(cpu, n, &s);
}

/* --- descriptors ------------------------------------------------------- */

static void desc_decode(struct desc *d, uint16_t sel)
{
	uint64_t raw = d->raw;
	uint32_t limit = (raw & 0xffff) | ((raw >> 32) & 0xf0000);
	int g = (raw >> 55) & 1;

	d->seg = (struct x86_seg){
		.base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000),
		.limit = g ? limit << 12 | 0xfff : limit,
		.sel = sel,
		.type = (raw >> 40) & 15,
		.s = (raw >> 44) & 1,
		.dpl = (raw >> 45) & 3,
		.p = (raw >> 47) & 1,
		.avl = (raw >> 52) & 1,
		.l = (raw >> 53) & 1,
		.db = (raw >> 54) & 1,
		.g = (uint8_t)g,
	};
}

int desc_read(struct cpu *cpu, const struct uop *op, uint16_t sel,
	      struct desc *d)
{
	uint64_t base = cpu->gdtr.base;
	uint32_t limit = cpu->gdtr.limit;

	if (sel & SEL_TI) {
		if (cpu->ldtr.unusable)
			return -1;
		base = cpu->ldtr.base;
		limit = cpu->ldtr.limit;
	}
	if ((sel | 7u) > limit)
		return -1;
	d->addr = base + (sel & 0xfff8u);
	mmu_sys_read(cpu, op, d->addr, &d->raw, 8);
	desc_decode(d, sel);
	return 0;
}

void desc_touch(struct cpu *cpu, const struct uop *op, struct desc *d)
{
	uint8_t byte;

	if (d->seg.type & SEG_ACCESSED)
		return;
	d->seg.type |= SEG_ACCESSED;
	byte = (uint8_t)(d->raw >> 40) | SEG_ACCESSED;
	mmu_sys_write(cpu, op, d->addr + 5, &byte, 1);
}

/* LDT and TSS descriptors are 16 bytes in long mode (SDM 3A 8.2.3). Raises
 * #GP(sel) unless @type; the upper half's type must be 0. */
static void system_read(struct cpu *cpu, const struct uop *op, uint16_t sel,
			unsigned type, struct desc *d)
{
	uint32_t err = SEL_ERR(sel), high[2];

	if (sel & SEL_TI || desc_read(cpu, op, sel, d) < 0 || d->seg.s ||
	    d->seg.type != type)
		cpu_raise_err(cpu, op, EXC_GP, err);
	if (!d->seg.p)
		cpu_raise_err(cpu, op, EXC_NP, err);
	if (!(cpu->efer & EFER_LMA))
		return;
	if ((sel & 0xfff8u) + 15u > cpu->gdtr.limit)
		cpu_raise_err(cpu, op, EXC_GP, err);
	mmu_sys_read(cpu, op, d->addr + 8, high, 8);
	d->seg.base |= (uint64_t)high[0] << 32;
	if (high[1] & 0x1f00 || !mmu_canonical(d->seg.base))
		cpu_raise_err(cpu, op, EXC_GP, err);
}

/* --- segment registers ------------------------------------------------- */

static void load_ss(struct cpu *cpu, const struct uop *op, uint16_t sel)
{
	struct desc d;

	if (!(sel & ~SEL_RPL)) {
		/* SDM 2B MOV: only where the stack is 64-bit anyway */
		if (!cpu->code64 || cpu->cpl == 3 ||
		    (sel & SEL_RPL) != cpu->cpl)
			cpu_raise_err(cpu, op, EXC_GP, 0);
		seg_set_null(cpu, X86_SS, sel & SEL_RPL);
		return;
	}
	if (desc_read(cpu, op, sel, &d) < 0 ||
	    (sel & SEL_RPL) != cpu->cpl || !desc_is_writable(&d) ||
	    d.seg.dpl != cpu->cpl)
		cpu_raise_err(cpu, op, EXC_GP, SEL_ERR(sel));
	if (!d.seg.p)
		cpu_raise_err(cpu, op, EXC_SS, SEL_ERR(sel));
	desc_touch(cpu, op, &d);
	seg_set(cpu, X86_SS, &d.seg);
}

/* May a program with these rights reach data through the segment? */
static int data_allowed(const struct desc *d, unsigned cpl, unsigned rpl)
{
	int code = d->seg.type & SEG_CODE;

	if (!d->seg.s)
		return 0;
	if (code && d->seg.type & SEG_CONFORMING)
		return 1;
	return d->seg.dpl >= cpl && d->seg.dpl >= rpl;
}

static int is_readable(const struct desc *d)
{
	return !(d->seg.type & SEG_CODE) || d->seg.type & SEG_READABLE;
}

void seg_load(struct cpu *cpu, const struct uop *op, unsigned n, uint16_t sel)
{
	struct desc d;

	if (n == X86_SS) {
		load_ss(cpu, op, sel);
		return;
	}
	if (!(sel & ~SEL_RPL)) {
		seg_set_null(cpu, n, sel);
		return;
	}
	if (desc_read(cpu, op, sel, &d) < 0 ||
	    !data_allowed(&d, cpu->cpl, sel & SEL_RPL) || !is_readable(&d))
		cpu_raise_err(cpu, op, EXC_GP, SEL_ERR(sel));
	if (!d.seg.p)
		cpu_raise_err(cpu, op, EXC_NP, SEL_ERR(sel));
	desc_touch(cpu, op, &d);
	seg_set(cpu, n, &d.seg);
}

/* SS: no interrupt and no single step before the next instruction, which
 * loads the pointer (SDM 3A 6.8.3). */
static const struct uop *loaded(struct cpu *cpu, const struct uop *op)
{
	if (op->imm != X86_SS)
		return op + 1;
	/* a row of them holds nothing back but once */
	if (cpu->shadowed != SHADOW_SS) {
		cpu->shadow = SHADOW_SS;
		cpu->trap = 0;
	}
	LEAVE(cpu, uop_next_rip(cpu, op));
}

SYSTEM(seg_mov_to)
{
	uint64_t sel = sys_load(cpu, op, op->r0, 2);

	seg_load(cpu, op, (unsigned)op->imm, (uint16_t)sel);
	return loaded(cpu, op);
}

SYSTEM(seg_mov_from)
{
	unsigned size = op->aux & SYS_MEM ? 2 : op->aux & SYS_SIZE;

	sys_store(cpu, op, op->r0, size, cpu->seg[op->imm].sel);
	return op + 1;
}

SYSTEM(seg_push)
{
	uint64_t sp = stack_sp(cpu);

	stack_push(cpu, op, &sp, op->aux & SYS_SIZE, cpu->seg[op->imm].sel);
	stack_set_sp(cpu, sp);
	return op + 1;
}

SYSTEM(seg_pop)
{
	uint64_t sp = stack_sp(cpu);
	uint64_t sel = stack_pop(cpu, op, &sp, op->aux & SYS_SIZE);

	seg_load(cpu, op, (unsigned)op->imm, (uint16_t)sel);
	stack_set_sp(cpu, sp);
	return loaded(cpu, op);
}

/* LDS and its like: offset, then selector. */
SYSTEM(seg_lseg)
{
	unsigned size = op->aux & SYS_SIZE;
	uint64_t va = uop_ea(cpu, op);
	uint64_t off = sys_load(cpu, op, 0, size);
	uint16_t sel = mmu_load16(cpu, op, mmu_wrap(cpu, va + size));

	seg_load(cpu, op, (unsigned)op->imm, sel);
	if (size == 2)
		R16(cpu, op->r0) = (uint16_t)off;
	else
		R64(cpu, op->r0) = off;
	LEAVE(cpu, uop_next_rip(cpu, op)); /* LSS shadows nothing */
}

/* --- questions about selectors: ZF is the answer ------------------------ */

static void set_zf(struct cpu *cpu, int yes)
{
	cpu->fl = (cpu->fl & ~FL_ZF) | (yes ? FL_ZF : 0);
}

/* LAR, LSL: is the descriptor visible here, and its type in @types? */
static int visible(struct cpu *cpu, const struct uop *op, unsigned types,
		   struct desc *d)
{
	uint16_t sel = (uint16_t)sys_load(cpu, op, op->r1, 2);
	unsigned rpl = sel & SEL_RPL;

	if (!(sel & ~SEL_RPL) || desc_read(cpu, op, sel, d) < 0)
		return 0;
	if (!d->seg.s && !(types & 1u << d->seg.type))
		return 0;
	if (desc_is_code(d) && d->seg.type & SEG_CONFORMING)
		return 1;
	return d->seg.dpl >= cpu->cpl && d->seg.dpl >= rpl;
}

/* System types each accepts, by mode: SDM 2A tables 3-52 and 3-61. */
#define LAR_LONG   0x1a04u /* LDT, TSS, busy TSS, call gate */
#define LAR_LEGACY 0x1a3eu
#define LSL_LONG   0x0a04u
#define LSL_LEGACY 0x0a0eu

SYSTEM(seg_lar)
{
	int lma = !!(cpu->efer & EFER_LMA);
	struct desc d;
	int ok = visible(cpu, op, lma ? LAR_LONG : LAR_LEGACY, &d);

	if (ok && (op->aux & SYS_SIZE) == 2)
		R16(cpu, op->r0) = (uint16_t)((d.raw >> 32) & 0xff00);
	else if (ok) /* the limit's bits 19:16 come along, as on hardware */
		R64(cpu, op->r0) = (d.raw >> 32) & 0xffff00;
	set_zf(cpu, ok);
	return op + 1;
}

SYSTEM(seg_lsl)
{
	int lma = !!(cpu->efer & EFER_LMA);
	struct desc d;
	int ok = visible(cpu, op, lma ? LSL_LONG : LSL_LEGACY, &d);

	if (ok && (op->aux & SYS_SIZE) == 2)
		R16(cpu, op->r0) = (uint16_t)d.seg.limit;
	else if (ok)
		R64(cpu, op->r0) = d.seg.limit;
	set_zf(cpu, ok);
	return op + 1;
}

static int verify(struct cpu *cpu, const struct uop *op, struct desc *d)
{
	uint16_t sel = (uint16_t)sys_load(cpu, op, op->r0, 2);

	return (sel & ~SEL_RPL) && desc_read(cpu, op, sel, d) == 0 &&
	       data_allowed(d, cpu->cpl, sel & SEL_RPL);
}

SYSTEM(seg_verr)
{
	struct desc d;

	set_zf(cpu, verify(cpu, op, &d) && is_readable(&d));
	return op + 1;
}

SYSTEM(seg_verw)
{
	struct desc d;

	set_zf(cpu, verify(cpu, op, &d) && desc_is_writable(&d));
	return op + 1;
}

/* --- table registers ---------------------------------------------------- */

static void load_table(struct cpu *cpu, const struct uop *op,
		       struct x86_table *t)
{
	uint8_t image[10] = { 0 };
	uint64_t base;

	need_cpl0(cpu, op);
	mmu_read(cpu, op, uop_ea(cpu, op), image, cpu->code64 ? 10 : 6);
	memcpy(&base, image + 2, 8);
	if (!cpu->code64 && (op->aux & SYS_SIZE) == 2)
		base &= 0xffffff;
	if (!mmu_canonical(base))
		cpu_raise_err(cpu, op, EXC_GP, 0);
	memcpy(&t->limit, image, 2);
	t->base = base;
}

static void store_table(struct cpu *cpu, const struct uop *op,
			const struct x86_table *t)
{
	uint8_t image[10];

	memcpy(image, &t->limit, 2);
	memcpy(image + 2, &t->base, 8);
	mmu_write(cpu, op, uop_ea(cpu, op), image, cpu->code64 ? 10 : 6);
}

SYSTEM(seg_lgdt)
{
	load_table(cpu, op, &cpu->gdtr);
	return op + 1;
}

SYSTEM(seg_lidt)
{
	load_table(cpu, op, &cpu->idtr);
	return op + 1;
}

SYSTEM(seg_sgdt)
{
	store_table(cpu, op, &cpu->gdtr);
	return op + 1;
}

SYSTEM(seg_sidt)
{
	store_table(cpu, op, &cpu->idtr);
	return op + 1;
}

#define TYPE_LDT      2u
#define TYPE_TSS      9u
#define TYPE_TSS_BUSY 11u

SYSTEM(seg_lldt)
{
	uint16_t sel;
	struct desc d;

	need_cpl0(cpu, op);
	sel = (uint16_t)sys_load(cpu, op, op->r0, 2);
	if (sel & ~SEL_RPL) {
		system_read(cpu, op, sel, TYPE_LDT, &d);
		cpu->ldtr = d.seg;
	} else {
		cpu->ldtr = (struct x86_seg){ .sel = sel, .unusable = 1 };
	}
	return op + 1;
}

SYSTEM(seg_ltr)
{
	uint16_t sel;
	struct desc d;
	uint8_t byte;

	need_cpl0(cpu, op);
	sel = (uint16_t)sys_load(cpu, op, op->r0, 2);
	if (!(sel & ~SEL_RPL))
		cpu_raise_err(cpu, op, EXC_GP, 0);
	system_read(cpu, op, sel, TYPE_TSS, &d);
	byte = (uint8_t)(d.raw >> 40) | (TYPE_TSS ^ TYPE_TSS_BUSY);
	mmu_sys_write(cpu, op, d.addr + 5, &byte, 1);
	d.seg.type = TYPE_TSS_BUSY;
	cpu->tr = d.seg;
	return op + 1;
}

static const struct uop *store_sel(struct cpu *cpu, const struct uop *op,
				   uint16_t sel)
{
	unsigned size = op->aux & SYS_MEM ? 2 : op->aux & SYS_SIZE;

	sys_store(cpu, op, op->r0, size, sel);
	return op + 1;
}

SYSTEM(seg_sldt)
{
	return store_sel(cpu, op, cpu->ldtr.sel);
}

SYSTEM(seg_str)
{
	return store_sel(cpu, op, cpu->tr.sel);
}

/* --- FS and GS bases ---------------------------------------------------- */

static void set_base(struct cpu *cpu, unsigned n, uint64_t base)
{
	cpu->seg[n].base = base;
	cpu->r[SLOT_SEG + n] = base;
}

SYSTEM(seg_swapgs)
{
	uint64_t base = cpu->seg[X86_GS].base;

	if (!cpu->code64)
		cpu_raise(cpu, op, EXC_UD);
	need_cpl0(cpu, op);
	set_base(cpu, X86_GS, cpu->kernel_gs_base);
	cpu->kernel_gs_base = base;
	return op + 1;
}

static void need_fsgsbase(struct cpu *cpu, const struct uop *op)
{
	if (!cpu->code64 || !(cpu->cr4 & CR4_FSGSBASE))
		cpu_raise(cpu, op, EXC_UD);
}

static void read_base(struct cpu *cpu, const struct uop *op, unsigned n)
{
	uint64_t base = cpu->seg[n].base;

	need_fsgsbase(cpu, op);
	R64(cpu, op->r0) = (op->aux & SYS_SIZE) == 8 ? base : (uint32_t)base;
}

static void write_base(struct cpu *cpu, const struct uop *op, unsigned n)
{
	uint64_t base;

	need_fsgsbase(cpu, op);
	base = (op->aux & SYS_SIZE) == 8 ? R64(cpu, op->r0) :
					   R32(cpu, op->r0);
	if (!mmu_canonical(base))
		cpu_raise_err(cpu, op, EXC_GP, 0);
	set_base(cpu, n, base);
}

SYSTEM(seg_rdfsbase)
{
	read_base(cpu, op, X86_FS);
	return op + 1;
}

SYSTEM(seg_rdgsbase)
{
	read_base(cpu, op, X86_GS);
	return op + 1;
}

SYSTEM(seg_wrfsbase)
{
	write_base(cpu, op, X86_FS);
	return op + 1;
}

SYSTEM(seg_wrgsbase)
{
	write_base(cpu, op, X86_GS);
	return op + 1;
}
