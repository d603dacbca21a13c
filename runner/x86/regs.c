/* SPDX-License-Identifier: Apache-2.0 */
/* Boot page tables, GDT and registers. */
#include "runner/x86/regs.h"

#include <errno.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/layout.h"

#define CR0_PE (1ull << 0)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define APIC_BASE_BSP	 (1ull << 8)
#define APIC_BASE_ENABLE (1ull << 11)
#define MISC_ENABLE_FAST_STRINGS 1ull
#define PAT_RESET 0x0007040600070406ull /* SDM 3A 12.12.4 */
#define RFLAGS_RESERVED 2

#define PTE_P  1ull
#define PTE_RW 2ull
#define PTE_PS 0x80ull
#define PTES   512u

/* Selectors that the 64-bit boot protocol fixes: __BOOT_CS and __BOOT_DS. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define BOOT_TR 0x20

/* Segment types, SDM 3A 3.4.5.1 and 3.5. */
#define TYPE_DATA 0x3 /* read, write, accessed */
#define TYPE_CODE 0xb /* execute, read, accessed */
#define TYPE_LDT  0x2
#define TYPE_TSS  0xb /* 64-bit, busy; 32-bit in real mode */

static void put_pt(const struct gmem *gm, uint64_t table, unsigned i,
		   uint64_t pte)
{
	uint64_t *p = gmem_ptr(gm, table, PTES * sizeof(*p));

	p[i] = pte;
}

static int write_page_tables(const struct gmem *gm)
{
	uint64_t len = LAYOUT_PD + 4 * PTES * 8 - LAYOUT_PML4;

	if (!gmem_ptr(gm, LAYOUT_PML4, len))
		return -EFAULT;
	put_pt(gm, LAYOUT_PML4, 0, LAYOUT_PDPT | PTE_P | PTE_RW);
	for (unsigned g = 0; g < 4; g++) {
		uint64_t pd = LAYOUT_PD + g * PTES * 8;

		put_pt(gm, LAYOUT_PDPT, g, pd | PTE_P | PTE_RW);
		for (uint64_t i = 0; i < PTES; i++)
			put_pt(gm, pd, (unsigned)i,
			       (g * PTES + i) << 21 | PTE_P | PTE_RW | PTE_PS);
	}
	gmem_wrote(gm, LAYOUT_PML4, len);
	return 0;
}

/* SDM 3A 3.4.5, figure 3-8. Bases are 0 here. */
static uint64_t descriptor(const struct x86_seg *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | (uint64_t)s->type << 40 |
	       (uint64_t)s->s << 44 | (uint64_t)s->dpl << 45 |
	       (uint64_t)s->p << 47 | (limit >> 16 & 0xf) << 48 |
	       (uint64_t)s->avl << 52 | (uint64_t)s->l << 53 |
	       (uint64_t)s->db << 54 | (uint64_t)s->g << 55;
}

static struct x86_seg flat(uint16_t sel, uint8_t type, uint8_t l, uint8_t db)
{
	return (struct x86_seg){ .limit = 0xffffffff, .sel = sel, .type = type,
				 .s = 1, .p = 1, .l = l, .db = db, .g = 1 };
}

static void set_common(struct vcpu_state *s)
{
	memset(s, 0, sizeof(*s));
	s->rflags = RFLAGS_RESERVED;
	s->pat = PAT_RESET;
	s->misc_enable = MISC_ENABLE_FAST_STRINGS;
	s->apic_base = LAYOUT_LAPIC | APIC_BASE_ENABLE;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	/* FCW 0x37f and MXCSR 0x1f80: all exceptions masked (SDM 1 10.5.1). */
	s->fxsave[0] = 0x7f;
	s->fxsave[1] = 0x03;
	s->fxsave[24] = 0x80;
	s->fxsave[25] = 0x1f;
}

int regs_boot(const struct gmem *gm, uint64_t entry, struct vcpu_state *s)
{
	struct x86_seg cs = flat(BOOT_CS, TYPE_CODE, 1, 0);
	struct x86_seg ds = flat(BOOT_DS, TYPE_DATA, 0, 1);
	uint64_t gdt[6] = { 0 };
	int r;

	set_common(s);
	s->apic_base |= APIC_BASE_BSP;
	s->rip = entry;
	s->gpr[X86_RSI] = LAYOUT_ZEROPAGE;
	s->gpr[X86_RSP] = LAYOUT_STACK_TOP;
	for (unsigned i = 0; i < X86_SREGS; i++)
		s->seg[i] = ds;
	s->seg[X86_CS] = cs;
	/* VM entry wants a busy TSS in TR (SDM 3C 27.3.1.2). */
	s->tr = (struct x86_seg){ .limit = 0x67, .sel = BOOT_TR,
				  .type = TYPE_TSS, .p = 1 };
	s->ldtr = (struct x86_seg){ .type = TYPE_LDT, .unusable = 1 };
	gdt[BOOT_CS / 8] = descriptor(&cs);
	gdt[BOOT_DS / 8] = descriptor(&ds);
	gdt[BOOT_TR / 8] = descriptor(&s->tr);
	s->gdtr = (struct x86_table){ LAYOUT_GDT, sizeof(gdt) - 1 };
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	s->cr3 = LAYOUT_PML4;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	r = gmem_write(gm, LAYOUT_GDT, gdt, sizeof(gdt));
	return r ? r : write_page_tables(gm);
}

void regs_wait_sipi(struct vcpu_state *s)
{
	struct x86_seg data = { .limit = 0xffff, .type = TYPE_DATA, .s = 1,
				.p = 1 };

	set_common(s);
	for (unsigned i = 0; i < X86_SREGS; i++)
		s->seg[i] = data;
	s->seg[X86_CS].sel = 0xf000;
	s->seg[X86_CS].base = 0xffff0000;
	s->seg[X86_CS].type = TYPE_CODE;
	s->rip = 0xfff0;
	s->tr = (struct x86_seg){ .limit = 0xffff, .type = TYPE_TSS, .p = 1 };
	s->ldtr = (struct x86_seg){ .limit = 0xffff, .type = TYPE_LDT, .p = 1 };
	s->gdtr.limit = 0xffff;
	s->idtr.limit = 0xffff;
	s->cr0 = CR0_ET | CR0_NW | CR0_CD;
	s->wait_sipi = 1;
}
