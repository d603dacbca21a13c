/* SPDX-License-Identifier: Apache-2.0 */
/* The soft engine as engine.h wants it. */
#include "runner/engine/soft/soft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/ioapic.h"
#include "runner/engine/soft/lapic.h"
#include "runner/engine/soft/loop.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/sys.h"
#include "runner/engine/soft/xlate.h"
#include "runner/vmm/gmem.h"

static struct soft *to_soft(struct engine *e)
{
	return (struct soft *)e;
}

void *soft_reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* gmem_wrote_fn: a device stored into guest memory. */
static void device_wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	struct soft *s = opaque;

	code_note_write(s->code, gpa, len);
	if (code_noted(s->code))
		cpu_attend(s->cpu, ATTN_CODE);
}

static void soft_free(struct engine *e)
{
	struct soft *s = to_soft(e);

	if (!s)
		return;
	if (s->gm->wrote_opaque == s)
		s->gm->wrote = NULL;
	ioapic_free(s->ioapic);
	if (s->cpu)
		lapic_free(s->cpu->lapic);
	code_free(s->code);
	native_free(s->native);
	xlate_free(s->xlate);
	if (s->cpu)
		munmap(s->cpu, sizeof(*s->cpu));
	free(s);
}

static uint64_t ram_top(const struct gmem *gm)
{
	const struct gmem_region *r = &gm->r[gm->nregions - 1];

	return r->gpa + r->size;
}

static int soft_create(const struct engine_params *p, struct engine **out,
		       struct err *err)
{
	struct soft *s = calloc(1, sizeof(*s));
	struct cpu *cpu = NULL;

	*out = NULL;
	if (!s)
		return err_set(err, -ENOMEM, "soft engine");
	s->gm = p->gm;
	s->bus = p->bus;
	s->pa_reserved = 0x000fffffffffffffull & ~((1ull << 40) - 1);
	cpu = soft_reserve(sizeof(*cpu));
	if (!cpu) {
		soft_free((struct engine *)s);
		return err_set(err, -ENOMEM, "soft engine");
	}
	s->cpu = cpu;
	cpu->vm = s;
	cpu->rflags = 2;
	cpu->pat = 0x0007040600070406ull; /* SDM 3A 11.12.4, at reset */
	cpu->tlb_used = (1u << TLB_MODES) - 1;
	cpu->lapic = lapic_new(cpu);
	s->ioapic = cpu->lapic ? ioapic_new(cpu->lapic) : NULL;
	s->code = code_new(ram_top(p->gm));
	s->native = native_new();
	s->xlate = xlate_new();
	if (!s->ioapic || !s->code || !s->native || !s->xlate) {
		soft_free((struct engine *)s);
		return err_set(err, -ENOMEM, "soft engine");
	}
	memset(cpu->tlb_filled, 0xff, sizeof(cpu->tlb_filled));
	mmu_flush(cpu);
	cpu_update_mode(cpu);
	p->gm->wrote = device_wrote;
	p->gm->wrote_opaque = s;
	*out = (struct engine *)s;
	return 0;
}

static unsigned soft_ncpus(const struct engine *e)
{
	(void)e;
	return 1;
}

static int soft_set_cpuid(struct engine *e, unsigned cpu,
			  const struct cpuid_leaf *leaves, unsigned n,
			  struct err *err)
{
	struct soft *s = to_soft(e);
	struct cpuid_leaf l;

	if (cpu || n > CPUID_LEAVES_MAX)
		return err_set(err, -EINVAL, "CPUID table");
	memcpy(s->cpuid, leaves, n * sizeof(*leaves));
	s->ncpuid = n;
	soft_cpuid(s, 0x80000008, 0, &l);
	if ((l.eax & 0xff) >= 32 && (l.eax & 0xff) < 52)
		s->pa_reserved = 0x000fffffffffffffull &
				 ~((1ull << (l.eax & 0xff)) - 1);
	return 0;
}

void soft_cpuid(const struct soft *s, uint32_t leaf, uint32_t subleaf,
		struct cpuid_leaf *out)
{
	uint32_t max = 0;

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < s->ncpuid; i++) {
		const struct cpuid_leaf *l = &s->cpuid[i];

		if (l->leaf == 0)
			max = l->eax;
		if (l->leaf == leaf && (l->subleaf == subleaf ||
					l->subleaf == CPUID_ANY_SUBLEAF)) {
			*out = *l;
			return;
		}
	}
	if (leaf > max && leaf < 0x40000000 && max)
		soft_cpuid(s, max, subleaf, out);
}

int soft_has(const struct soft *s, uint32_t leaf, char reg, unsigned bit)
{
	struct cpuid_leaf l;
	uint32_t v;

	soft_cpuid(s, leaf, 0, &l);
	v = reg == 'a' ? l.eax : reg == 'b' ? l.ebx : reg == 'c' ? l.ecx :
								  l.edx;
	return v >> bit & 1;
}

static int soft_set_state(struct engine *e, unsigned n,
			  const struct vcpu_state *st, struct err *err)
{
	struct cpu *c = to_soft(e)->cpu;
	uint64_t apic_base = st->apic_base, deadline = st->tsc_deadline;

	if (n)
		return err_set(err, -EINVAL, "vCPU %u", n);
	memcpy(c->r, st->gpr, sizeof(st->gpr));
	c->rip = st->rip;
	c->rflags = (st->rflags &
		     ~(uint64_t)(RFLAGS_ARITH | RFLAGS_RF | RFLAGS_VM)) | 2;
	cpu_set_arith(c, st->rflags);
	memcpy(c->seg, st->seg, sizeof(c->seg));
	c->tr = st->tr;
	c->ldtr = st->ldtr;
	c->gdtr = st->gdtr;
	c->idtr = st->idtr;
	c->cr0 = st->cr0 | CR0_ET;
	c->cr2 = st->cr2;
	c->cr3 = st->cr3;
	c->cr4 = st->cr4;
	c->efer = st->efer;
	c->star = st->star;
	c->lstar = st->lstar;
	c->cstar = st->cstar;
	c->sfmask = st->sfmask;
	c->kernel_gs_base = st->kernel_gs_base;
	c->tsc_aux = st->tsc_aux;
	c->sysenter_cs = st->sysenter_cs;
	c->sysenter_esp = st->sysenter_esp;
	c->sysenter_eip = st->sysenter_eip;
	c->pat = st->pat;
	c->misc_enable = st->misc_enable;
	c->tsc_adjust = st->tsc_adjust;
	c->tsc_offset = st->tsc - io_now_ns();
	memcpy(c->dr, st->dr, sizeof(c->dr));
	c->dr6 = st->dr6;
	c->dr7 = st->dr7;
	memcpy(c->fx, st->fxsave, sizeof(c->fx));
	fpu_accept(c);
	c->halted = st->halted;
	c->shadow = st->intr_shadow ? SHADOW_STI : 0;
	c->cpl = c->seg[X86_SS].dpl;
	mmu_flush(c);
	debug_update(c);
	c->rf = st->rflags & RFLAGS_RF && c->armed & BREAK_EXEC;
	c->trap = c->hits = c->held = c->partial = c->step_once = 0;
	cpu_update_mode(c);
	for (unsigned i = 0; i < X86_SREGS; i++)
		seg_set(c, i, &st->seg[i]);
	if (lapic_msr(c->lapic, 0x1b, &apic_base, 1) ||
	    lapic_msr(c->lapic, 0x6e0, &deadline, 1))
		return err_set(err, -EINVAL, "local APIC state");
	lapic_set_cr8(c->lapic, st->cr8);
	return 0;
}

static int soft_get_state(struct engine *e, unsigned n, struct vcpu_state *st,
			  struct err *err)
{
	struct cpu *c = to_soft(e)->cpu;

	if (n)
		return err_set(err, -EINVAL, "vCPU %u", n);
	memset(st, 0, sizeof(*st));
	memcpy(st->gpr, c->r, sizeof(st->gpr));
	st->rip = c->rip;
	st->rflags = cpu_rflags(c) | (c->rf ? RFLAGS_RF : 0);
	memcpy(st->seg, c->seg, sizeof(c->seg));
	st->tr = c->tr;
	st->ldtr = c->ldtr;
	st->gdtr = c->gdtr;
	st->idtr = c->idtr;
	st->cr0 = c->cr0;
	st->cr2 = c->cr2;
	st->cr3 = c->cr3;
	st->cr4 = c->cr4;
	st->cr8 = lapic_cr8(c->lapic);
	st->efer = c->efer;
	st->star = c->star;
	st->lstar = c->lstar;
	st->cstar = c->cstar;
	st->sfmask = c->sfmask;
	st->kernel_gs_base = c->kernel_gs_base;
	st->tsc_aux = c->tsc_aux;
	st->sysenter_cs = c->sysenter_cs;
	st->sysenter_esp = c->sysenter_esp;
	st->sysenter_eip = c->sysenter_eip;
	st->pat = c->pat;
	st->misc_enable = c->misc_enable;
	lapic_msr(c->lapic, 0x1b, &st->apic_base, 0);
	lapic_msr(c->lapic, 0x6e0, &st->tsc_deadline, 0);
	st->tsc = cpu_tsc(c);
	st->tsc_adjust = c->tsc_adjust;
	memcpy(st->dr, c->dr, sizeof(c->dr));
	st->dr6 = c->dr6;
	st->dr7 = c->dr7;
	memcpy(st->fxsave, c->fx, sizeof(c->fx));
	st->halted = c->halted;
	st->intr_shadow = !!c->shadow;
	return 0;
}

static void soft_run(struct engine *e, unsigned cpu, struct engine_exit *x)
{
	(void)cpu;
	cpu_loop(to_soft(e)->cpu, x);
}

static void soft_kick(struct engine *e, unsigned cpu)
{
	struct soft *s = to_soft(e);

	(void)cpu;
	cpu_attend(s->cpu, ATTN_KICK);
	soft_wake(s);
}

static void soft_irq_line(struct engine *e, unsigned gsi, int level)
{
	ioapic_line(to_soft(e)->ioapic, gsi, level);
}

static void soft_irq_pulse(struct engine *e, unsigned gsi)
{
	ioapic_pulse(to_soft(e)->ioapic, gsi);
}

static int soft_ioeventfd(struct engine *e, uint64_t gpa, uint32_t match,
			  int fd, struct err *err)
{
	struct soft *s = to_soft(e);

	if (s->nioevents == SOFT_IOEVENTS)
		return err_set(err, -ENOSPC, "ioeventfd");
	s->ioevent[s->nioevents++] =
		(struct soft_ioevent){ gpa, match, fd };
	return 0;
}

static int ioevent(const struct soft *s, uint64_t gpa, const void *data)
{
	uint32_t v;

	memcpy(&v, data, sizeof(v));
	for (unsigned i = 0; i < s->nioevents; i++) {
		const struct soft_ioevent *io = &s->ioevent[i];

		if (io->gpa == gpa && io->match == v) {
			uint64_t one = 1;

			/* a full counter already says what we say */
			if (write(io->fd, &one, sizeof(one)) < 0)
				return 1;
			return 1;
		}
	}
	return 0;
}

void soft_mmio(struct cpu *cpu, uint64_t gpa, void *data, unsigned len,
	       int write)
{
	struct soft *s = cpu->vm;

	if ((gpa & PAGE_MASK) == SOFT_LAPIC_BASE)
		lapic_mmio(cpu->lapic, (uint32_t)(gpa - SOFT_LAPIC_BASE), data,
			   len, write);
	else if ((gpa & PAGE_MASK) == SOFT_IOAPIC_BASE)
		ioapic_mmio(s->ioapic, (uint32_t)(gpa - SOFT_IOAPIC_BASE),
			    data, len, write);
	else if (!(write && len == 4 && ioevent(s, gpa, data)))
		s->bus->mmio(s->bus->opaque, gpa, data, len, write);
}

static uint64_t soft_instructions(const struct engine *e)
{
	return cpu_instructions(((const struct soft *)e)->cpu);
}

static uint32_t soft_isa_missing(const struct engine *e)
{
	return atomic_load_explicit(&((const struct soft *)e)->cpu->isa_missing,
				    memory_order_relaxed);
}

const struct engine_ops engine_soft = {
	.name = "soft",
	.calls = true,
	.create = soft_create,
	.free = soft_free,
	.ncpus = soft_ncpus,
	.set_cpuid = soft_set_cpuid,
	.set_state = soft_set_state,
	.get_state = soft_get_state,
	.run = soft_run,
	.kick = soft_kick,
	.irq_line = soft_irq_line,
	.irq_pulse = soft_irq_pulse,
	.ioeventfd = soft_ioeventfd,
	.instructions = soft_instructions,
	.isa_missing = soft_isa_missing,
};
