/* SPDX-License-Identifier: Apache-2.0 */
/* The soft engine as the other side of the differential tests. */
#include "tests/diff/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"
#include "runner/vmm/gmem.h"

#define RAM 0x400000u

/* Guest physical; linear is KERNEL above. */
#define GDT    0x1000u
#define IDT    0x2000u
#define TSS    0x3000u
#define STUBS  0x4000u /* 16 bytes each */
#define STACK  0x6000u /* its end */
#define TABLES 0x10000u
#define KERNEL 0xffff800000000000ull

#define VEC_END 0x80u /* INT 80: no case uses it otherwise */
#define ERR_VECS 0x227d00u /* exceptions with an error code */

struct guest {
	struct gmem gm;
	struct engine_bus bus;
	struct engine *engine;
	struct cpu *cpu;
	struct x86_seg cs[2]; /* 64-bit, compatibility */
	struct x86_seg data, null, gs32;
	uint8_t code[DIFF_CODE_MAX]; /* what is there now */
	uint32_t code_at, code_len;
	uint8_t code_compat;
	struct diff_case *now;
	uint8_t done;
	char why[200];
};

static uint8_t *ram(struct guest *g, uint64_t gpa)
{
	return gmem_ptr(&g->gm, gpa, 1);
}

static void put64(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(ram(g, gpa), &v, 8);
}

static uint64_t get64(struct guest *g, uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, ram(g, gpa), 8);
	return v;
}

/* --- taking the outcome ------------------------------------------------- */

static void take(struct guest *g, unsigned vec)
{
	struct diff_out *o = &g->now->soft;
	const struct cpu *cpu = g->cpu;
	static const uint8_t order[4] = { X86_DS, X86_ES, X86_FS, X86_GS };
	uint64_t frame = STACK - 40;

	fpu_sync(g->cpu);
	memcpy(o->s.gpr, cpu->r, sizeof(o->s.gpr));
	o->s.rip = get64(g, frame);
	o->s.rflags = get64(g, frame + 16);
	o->s.gpr[X86_RSP] = get64(g, frame + 24);
	memcpy(o->s.fx, cpu->fx, sizeof(o->s.fx));
	for (unsigned i = 0; i < 4; i++)
		o->s.sreg[i] = cpu->seg[order[i]].sel;
	o->s.fsbase = cpu->seg[X86_FS].base;
	o->s.gsbase = cpu->seg[X86_GS].base;
	memcpy(o->data, ram(g, DIFF_DATA), DIFF_DATA_SIZE);
	o->vec = (int32_t)vec;
	o->err = vec < 32 && ERR_VECS >> vec & 1 ?
		 (uint32_t)get64(g, frame - 8) : 0;
	o->cr2 = vec == EXC_PF ? cpu->cr2 : 0;
	if (vec == VEC_END) {
		o->vec = DIFF_END;
		o->s.rip -= 2;
	}
	g->done = 1;
	engine_soft.kick(g->engine, 0);
}

/* A step trap that is not the end: count it, and go on. */
static int counted(struct guest *g, unsigned vec)
{
	struct diff_out *o = &g->now->soft;
	uint64_t rip = get64(g, STACK - 40);
	uint64_t flags = get64(g, STACK - 24);

	if (vec != EXC_DB || !g->now->stepping || o->steps == DIFF_STEPS_MAX)
		return 0;
	o->steps++;
	o->trace = diff_trace(o->trace, rip);
	if (rip == DIFF_LEAVE)
		put64(g, STACK - 24, flags & ~(uint64_t)RFLAGS_TF);
	return 1;
}

static void on_pio(void *opaque, uint16_t port, void *data, unsigned len,
		   int write)
{
	struct guest *g = opaque;

	(void)data;
	(void)len;
	if (write && !g->done && !counted(g, port))
		take(g, port);
}

static void on_mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		    int write)
{
	(void)opaque, (void)gpa, (void)write;
	memset(data, 0, len);
}

/* --- the machine -------------------------------------------------------- */

static void make_tables(struct guest *g)
{
	static const uint32_t user[] = {
		DIFF_DATA, DIFF_DATA + 0x1000, DIFF_CODE, DIFF_CODE + 0x1000,
		DIFF_AREA, DIFF_LEAVE,
	};
	const uint64_t nx = 1ull << 63;
	uint64_t pml4 = TABLES, pdpt = TABLES + 0x1000, pd = TABLES + 0x2000,
		 pt = TABLES + 0x3000, kpdpt = TABLES + 0x5000,
		 kpd = TABLES + 0x6000;

	put64(g, pml4, pdpt | 7);
	put64(g, pdpt, pd | 7);
	put64(g, pd, pt | 7);
	put64(g, pd + 8, (pt + 0x1000) | 7);
	for (unsigned i = 0; i < sizeof(user) / sizeof(user[0]); i++)
		put64(g, pt + 8 * (user[i] >> 12), user[i] | 7 |
		      (i < 2 || user[i] == DIFF_AREA ? nx : 0));
	put64(g, pt + 8 * (DIFF_RO >> 12), DIFF_RO | 5 | nx);
	put64(g, pml4 + 8 * 256, kpdpt | 3);
	put64(g, kpdpt, kpd | 3);
	put64(g, kpd, 0x83);
}

static void make_idt(struct guest *g)
{
	for (unsigned v = 0; v < 256; v++) {
		uint64_t at = KERNEL + STUBS + 16 * v;
		unsigned dpl = v == 3 || v == 4 || v == VEC_END ? 3 : 0;
		/* out v, al; iretq */
		const uint8_t stub[] = { 0xe6, (uint8_t)v, 0x48, 0xcf };

		put64(g, IDT + 16 * v, (at & 0xffff) | 0x10 << 16 |
		      (uint64_t)(0x8e00 | dpl << 13) << 32 |
		      (at >> 16 & 0xffff) << 48);
		put64(g, IDT + 16 * v + 8, at >> 32);
		memcpy(ram(g, STUBS + 16 * v), stub, sizeof(stub));
	}
}

static void make_gdt(struct guest *g)
{
	static const uint64_t gdt[16] = {
		[1] = 0x00cf9b000000ffff, /* kernel, 32-bit code */
		[2] = 0x00af9b000000ffff, /* kernel, 64-bit code */
		[3] = 0x00cf93000000ffff, /* kernel data */
		[4] = 0x00cffb000000ffff, /* user, 32-bit code */
		[5] = 0x00cff3000000ffff, /* user data */
		[6] = 0x00affb000000ffff, /* user, 64-bit code */
		[15] = 0x0040f50000000000, /* CPU number, as a limit */
		[DIFF_GS32 >> 3] = 0x00dff3000000ffff |
				   (uint64_t)DIFF_GSBASE << 16,
	};

	_Static_assert(DIFF_GSBASE < 1u << 24, "one field of a descriptor");

	memcpy(ram(g, GDT), gdt, sizeof(gdt));
	put64(g, TSS + 4, KERNEL + STACK); /* RSP0 */
	memset(ram(g, TSS + 102), 0, 2);
	ram(g, TSS + 102)[0] = 104; /* no I/O bitmap */
}

static struct x86_seg segment(uint16_t sel, unsigned type, int l)
{
	return (struct x86_seg){
		.limit = 0xffffffff, .sel = sel, .type = (uint8_t)type,
		.s = 1, .dpl = 3, .p = 1, .l = (uint8_t)l,
		.db = (uint8_t)!l, .g = 1,
	};
}

static int set_state(struct guest *g, struct err *err)
{
	struct vcpu_state st = { .rflags = 2 };

	g->cs[0] = segment(DIFF_CS64, 11, 1);
	g->cs[1] = segment(DIFF_CS32, 11, 0);
	g->data = segment(DIFF_DS, 3, 0);
	g->gs32 = g->data;
	g->gs32.sel = DIFF_GS32;
	g->gs32.base = DIFF_GSBASE;
	g->null = (struct x86_seg){ .unusable = 1 };
	st.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	st.cr3 = TABLES;
	st.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
	st.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	st.gdtr = (struct x86_table){ KERNEL + GDT, 127 };
	st.idtr = (struct x86_table){ KERNEL + IDT, 4095 };
	st.tr = (struct x86_seg){ .base = KERNEL + TSS, .limit = 103,
				  .sel = 0x40, .type = 11, .p = 1 };
	st.ldtr = g->null;
	for (unsigned i = 0; i < X86_SREGS; i++)
		st.seg[i] = i >= X86_FS ? g->null : g->data;
	st.seg[X86_CS] = g->cs[0];
	st.apic_base = 0xfee00900;
	st.dr6 = DR6_FIXED;
	st.dr7 = DR7_FIXED;
	st.pat = 0x0007040600070406ull;
	return engine_soft.set_state(g->engine, 0, &st, err);
}

struct guest *guest_new(void)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct engine_params p = { .ncpus = 1, .kvm_fd = -1 };
	struct err err = { 0 };
	struct { uint32_t offset; uint16_t sel; } far = { DIFF_LEAVE,
							  DIFF_CS64 };

	if (!g)
		return NULL;
	g->bus = (struct engine_bus){ g, on_mmio, on_pio };
	p.gm = &g->gm;
	p.bus = &g->bus;
	if (gmem_init(&g->gm, RAM, &err) ||
	    engine_soft.create(&p, &g->engine, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return NULL;
	}
	g->cpu = ((struct soft *)g->engine)->cpu;
	make_tables(g);
	make_idt(g);
	make_gdt(g);
	diff_fill(ram(g, DIFF_RO), 0x1000);
	put64(g, DIFF_AREA + AREA_EXIT64, DIFF_LEAVE);
	memcpy(ram(g, DIFF_AREA + AREA_EXIT32), &far, 6);
	memcpy(ram(g, DIFF_LEAVE), "\xcd\x80", 2);
	if (set_state(g, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		guest_free(g);
		return NULL;
	}
	return g;
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	engine_soft.free(g->engine);
	gmem_free(&g->gm);
	free(g);
}

const char *guest_why(const struct guest *g)
{
	return g->why;
}

/* --- a case ------------------------------------------------------------- */

static void put_code(struct guest *g, const struct diff_case *c)
{
	if (c->code_at == g->code_at && c->code_len == g->code_len &&
	    c->compat == g->code_compat &&
	    !memcmp(c->code, g->code, c->code_len))
		return;
	diff_put_code(ram(g, DIFF_CODE), c);
	code_drop_page(g->cpu, DIFF_CODE);
	code_drop_page(g->cpu, DIFF_CODE + 0x1000);
	memcpy(g->code, c->code, c->code_len);
	g->code_at = c->code_at;
	g->code_len = c->code_len;
	g->code_compat = c->compat;
}

static void load(struct guest *g, const struct diff_case *c)
{
	struct cpu *cpu = g->cpu;

	memcpy(ram(g, DIFF_DATA), c->data, DIFF_DATA_SIZE);
	seg_set(cpu, X86_CS, &g->cs[c->compat]);
	seg_set(cpu, X86_SS, &g->data);
	seg_set(cpu, X86_DS, &g->data);
	seg_set(cpu, X86_ES, &g->data);
	g->null.base = c->in.fsbase;
	seg_set(cpu, X86_FS, &g->null);
	g->null.base = c->in.gsbase;
	seg_set(cpu, X86_GS, c->compat ? &g->gs32 : &g->null);
	cpu->cpl = 3;
	memcpy(cpu->r, c->in.gpr, sizeof(c->in.gpr));
	fpu_sync(cpu);
	memcpy(cpu->fx, c->in.fx, sizeof(c->in.fx));
	cpu->rip = c->code_at;
	cpu->rflags = 2 | (c->in.rflags & ~(uint64_t)RFLAGS_ARITH);
	cpu_set_arith(cpu, c->in.rflags);
	memset(&cpu->exc, 0, sizeof(cpu->exc));
	cpu->cr2 = 0;
	cpu->dr6 = DR6_FIXED;
	cpu->halted = 0;
	cpu->shadow = 0;
	cpu->shutdown = 0;
	cpu->in_delivery = 0;
	cpu_update_mode(cpu);
}

int guest_run(struct guest *g, struct diff_case *c)
{
	struct engine_exit x = { 0 };

	put_code(g, c);
	load(g, c);
	g->now = c;
	g->done = 0;
	c->soft.steps = 0;
	c->soft.trace = 0;
	while (!g->done) {
		engine_soft.run(g->engine, 0, &x);
		if (x.reason == ENGINE_EXIT_INTR)
			continue;
		snprintf(g->why, sizeof(g->why), "soft: %s at %llx", x.msg,
			 (unsigned long long)x.rip);
		return -1;
	}
	return 0;
}
