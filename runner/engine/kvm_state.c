/* SPDX-License-Identifier: Apache-2.0 */
/* struct vcpu_state to and from KVM's register ioctls. */
#include "runner/engine/kvm_state.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"

/* XSAVE header, SDM 1 13.4.2: the bitmap of components that are present. */
#define XSAVE_BV_OFFSET 512
#define XSAVE_BV_X87	(1ull << 0)
#define XSAVE_BV_SSE	(1ull << 1)

static_assert(sizeof(((struct vcpu_state *)NULL)->fxsave) == XSAVE_BV_OFFSET,
	      "the XSAVE area starts with the FXSAVE image");

struct msr_field {
	uint32_t index;
	uint16_t offset; /* of a uint64_t in struct vcpu_state */
	const char *name;
};

#define MSR_FIELD(nr, field) \
	{ nr, offsetof(struct vcpu_state, field), #field }

/* In the order they are written: a deadline is compared with the TSC when it
 * is set, so it comes after. */
static const struct msr_field msr_fields[] = {
	MSR_FIELD(0x174, sysenter_cs),
	MSR_FIELD(0x175, sysenter_esp),
	MSR_FIELD(0x176, sysenter_eip),
	MSR_FIELD(0x1a0, misc_enable),
	MSR_FIELD(0x277, pat),
	MSR_FIELD(0xc0000081, star),
	MSR_FIELD(0xc0000082, lstar),
	MSR_FIELD(0xc0000083, cstar),
	MSR_FIELD(0xc0000084, sfmask),
	MSR_FIELD(0xc0000102, kernel_gs_base),
	MSR_FIELD(0xc0000103, tsc_aux),
	MSR_FIELD(0x10, tsc),
	MSR_FIELD(0x3b, tsc_adjust),
	MSR_FIELD(0x6e0, tsc_deadline),
};

/* struct kvm_msrs ends in a flexible array: the same layout, sized. */
struct msr_block {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[ARRAY_SIZE(msr_fields)];
};

static_assert(offsetof(struct msr_block, entry) ==
	      offsetof(struct kvm_msrs, entries), "entries follow the head");

static int kvm_do(int fd, unsigned long request, void *arg, const char *what,
		  struct err *err)
{
	if (ioctl(fd, request, arg) < 0)
		return err_set(err, -errno, "%s", what);
	return 0;
}

static struct kvm_segment seg_to_kvm(const struct x86_seg *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->sel,
		.type = s->type,
		.s = s->s,
		.dpl = s->dpl,
		.present = s->p,
		.avl = s->avl,
		.l = s->l,
		.db = s->db,
		.g = s->g,
		.unusable = s->unusable,
	};
}

static struct x86_seg seg_from_kvm(const struct kvm_segment *k)
{
	return (struct x86_seg){
		.base = k->base,
		.limit = k->limit,
		.sel = k->selector,
		.type = k->type,
		.s = k->s,
		.dpl = k->dpl,
		.p = k->present,
		.avl = k->avl,
		.l = k->l,
		.db = k->db,
		.g = k->g,
		.unusable = k->unusable,
	};
}

static int set_sregs(int fd, const struct vcpu_state *s, struct err *err)
{
	struct kvm_sregs k = {
		.es = seg_to_kvm(&s->seg[X86_ES]),
		.cs = seg_to_kvm(&s->seg[X86_CS]),
		.ss = seg_to_kvm(&s->seg[X86_SS]),
		.ds = seg_to_kvm(&s->seg[X86_DS]),
		.fs = seg_to_kvm(&s->seg[X86_FS]),
		.gs = seg_to_kvm(&s->seg[X86_GS]),
		.tr = seg_to_kvm(&s->tr),
		.ldt = seg_to_kvm(&s->ldtr),
		.gdt = { .base = s->gdtr.base, .limit = s->gdtr.limit },
		.idt = { .base = s->idtr.base, .limit = s->idtr.limit },
		.cr0 = s->cr0,
		.cr2 = s->cr2,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.cr8 = s->cr8,
		.efer = s->efer,
		.apic_base = s->apic_base,
	};

	return kvm_do(fd, KVM_SET_SREGS, &k, "set system registers", err);
}

static int get_sregs(int fd, struct vcpu_state *s, struct err *err)
{
	struct kvm_sregs k;
	int rc = kvm_do(fd, KVM_GET_SREGS, &k, "get system registers", err);

	if (rc < 0)
		return rc;
	s->seg[X86_ES] = seg_from_kvm(&k.es);
	s->seg[X86_CS] = seg_from_kvm(&k.cs);
	s->seg[X86_SS] = seg_from_kvm(&k.ss);
	s->seg[X86_DS] = seg_from_kvm(&k.ds);
	s->seg[X86_FS] = seg_from_kvm(&k.fs);
	s->seg[X86_GS] = seg_from_kvm(&k.gs);
	s->tr = seg_from_kvm(&k.tr);
	s->ldtr = seg_from_kvm(&k.ldt);
	s->gdtr = (struct x86_table){ k.gdt.base, k.gdt.limit };
	s->idtr = (struct x86_table){ k.idt.base, k.idt.limit };
	s->cr0 = k.cr0;
	s->cr2 = k.cr2;
	s->cr3 = k.cr3;
	s->cr4 = k.cr4;
	s->cr8 = k.cr8;
	s->efer = k.efer;
	s->apic_base = k.apic_base;
	return 0;
}

static int set_regs(int fd, const struct vcpu_state *s, struct err *err)
{
	const uint64_t *g = s->gpr;
	struct kvm_regs k = {
		.rax = g[X86_RAX], .rbx = g[X86_RBX], .rcx = g[X86_RCX],
		.rdx = g[X86_RDX], .rsi = g[X86_RSI], .rdi = g[X86_RDI],
		.rsp = g[X86_RSP], .rbp = g[X86_RBP],
		.r8 = g[X86_R8], .r9 = g[X86_R9], .r10 = g[X86_R10],
		.r11 = g[X86_R11], .r12 = g[X86_R12], .r13 = g[X86_R13],
		.r14 = g[X86_R14], .r15 = g[X86_R15],
		.rip = s->rip, .rflags = s->rflags,
	};

	return kvm_do(fd, KVM_SET_REGS, &k, "set registers", err);
}

static int get_regs(int fd, struct vcpu_state *s, struct err *err)
{
	uint64_t *g = s->gpr;
	struct kvm_regs k;
	int rc = kvm_do(fd, KVM_GET_REGS, &k, "get registers", err);

	if (rc < 0)
		return rc;
	g[X86_RAX] = k.rax, g[X86_RBX] = k.rbx, g[X86_RCX] = k.rcx;
	g[X86_RDX] = k.rdx, g[X86_RSI] = k.rsi, g[X86_RDI] = k.rdi;
	g[X86_RSP] = k.rsp, g[X86_RBP] = k.rbp;
	g[X86_R8] = k.r8, g[X86_R9] = k.r9, g[X86_R10] = k.r10;
	g[X86_R11] = k.r11, g[X86_R12] = k.r12, g[X86_R13] = k.r13;
	g[X86_R14] = k.r14, g[X86_R15] = k.r15;
	s->rip = k.rip;
	s->rflags = k.rflags;
	return 0;
}

/* KVM_SET_FPU would leave the component bitmap as it is, and KVM takes a
 * component whose bit is clear for initial: so the XSAVE form, with x87 and
 * SSE present and everything above them initial. */
static int set_fpu(int fd, const struct vcpu_state *s, struct err *err)
{
	const uint64_t present = XSAVE_BV_X87 | XSAVE_BV_SSE;
	struct kvm_xsave k = { 0 };
	uint8_t *area = (uint8_t *)k.region;

	memcpy(area, s->fxsave, sizeof(s->fxsave));
	memcpy(area + XSAVE_BV_OFFSET, &present, sizeof(present));
	return kvm_do(fd, KVM_SET_XSAVE, &k, "set FPU state", err);
}

static int get_fpu(int fd, struct vcpu_state *s, struct err *err)
{
	struct kvm_xsave k;
	int rc = kvm_do(fd, KVM_GET_XSAVE, &k, "get FPU state", err);

	if (rc < 0)
		return rc;
	memcpy(s->fxsave, k.region, sizeof(s->fxsave));
	return 0;
}

static int set_msrs(int fd, const struct vcpu_state *s, struct err *err)
{
	struct msr_block b = { .head.nmsrs = ARRAY_SIZE(msr_fields) };
	int n;

	for (size_t i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		b.entry[i].index = msr_fields[i].index;
		memcpy(&b.entry[i].data,
		       (const char *)s + msr_fields[i].offset,
		       sizeof(uint64_t));
	}
	n = ioctl(fd, KVM_SET_MSRS, &b);
	if (n < 0)
		return err_set(err, -errno, "set MSRs");
	/* KVM stops at the first that it refuses. */
	if ((size_t)n < ARRAY_SIZE(msr_fields))
		return err_say(err, -EINVAL, "KVM refuses MSR %#x (%s)",
			       msr_fields[n].index, msr_fields[n].name);
	return 0;
}

static int get_msrs(int fd, struct vcpu_state *s, struct err *err)
{
	struct msr_block b = { .head.nmsrs = ARRAY_SIZE(msr_fields) };
	int n;

	for (size_t i = 0; i < ARRAY_SIZE(msr_fields); i++)
		b.entry[i].index = msr_fields[i].index;
	n = ioctl(fd, KVM_GET_MSRS, &b);
	if (n < 0)
		return err_set(err, -errno, "get MSRs");
	if ((size_t)n < ARRAY_SIZE(msr_fields))
		return err_say(err, -EINVAL, "KVM has no MSR %#x (%s)",
			       msr_fields[n].index, msr_fields[n].name);
	for (size_t i = 0; i < ARRAY_SIZE(msr_fields); i++)
		memcpy((char *)s + msr_fields[i].offset, &b.entry[i].data,
		       sizeof(uint64_t));
	return 0;
}

static int set_debug(int fd, const struct vcpu_state *s, struct err *err)
{
	struct kvm_debugregs k = { .dr6 = s->dr6, .dr7 = s->dr7 };

	memcpy(k.db, s->dr, sizeof(k.db));
	return kvm_do(fd, KVM_SET_DEBUGREGS, &k, "set debug registers", err);
}

static int get_debug(int fd, struct vcpu_state *s, struct err *err)
{
	struct kvm_debugregs k;
	int rc = kvm_do(fd, KVM_GET_DEBUGREGS, &k, "get debug registers", err);

	if (rc < 0)
		return rc;
	memcpy(s->dr, k.db, sizeof(s->dr));
	s->dr6 = k.dr6;
	s->dr7 = k.dr7;
	return 0;
}

static int set_mp(int fd, const struct vcpu_state *s, struct err *err)
{
	struct kvm_mp_state k = { .mp_state = KVM_MP_STATE_RUNNABLE };

	if (s->wait_sipi)
		k.mp_state = KVM_MP_STATE_UNINITIALIZED;
	else if (s->halted)
		k.mp_state = KVM_MP_STATE_HALTED;
	return kvm_do(fd, KVM_SET_MP_STATE, &k, "set run state", err);
}

static int get_mp(int fd, struct vcpu_state *s, struct err *err)
{
	struct kvm_mp_state k;
	int rc = kvm_do(fd, KVM_GET_MP_STATE, &k, "get run state", err);

	if (rc < 0)
		return rc;
	s->halted = k.mp_state == KVM_MP_STATE_HALTED;
	s->wait_sipi = k.mp_state == KVM_MP_STATE_UNINITIALIZED ||
		       k.mp_state == KVM_MP_STATE_INIT_RECEIVED;
	return 0;
}

/* Nothing but the shadow is kept: all else that KVM calls an event is either
 * delivered when run() returns, or still waits in the local APIC. */
static int set_events(int fd, const struct vcpu_state *s, struct err *err)
{
	struct kvm_vcpu_events k = {
		.flags = KVM_VCPUEVENT_VALID_SHADOW,
		.interrupt.shadow = s->intr_shadow ? KVM_X86_SHADOW_INT_STI : 0,
	};

	return kvm_do(fd, KVM_SET_VCPU_EVENTS, &k, "set events", err);
}

static int get_events(int fd, struct vcpu_state *s, struct err *err)
{
	struct kvm_vcpu_events k;
	int rc = kvm_do(fd, KVM_GET_VCPU_EVENTS, &k, "get events", err);

	if (rc < 0)
		return rc;
	s->intr_shadow = k.interrupt.shadow != 0;
	return 0;
}

typedef int (*set_fn)(int fd, const struct vcpu_state *s, struct err *err);
typedef int (*get_fn)(int fd, struct vcpu_state *s, struct err *err);

/*
 * The order is KVM's: SREGS before REGS, for it clears pending exceptions and
 * decides how RFLAGS is read; the run state after SREGS, which may wake a
 * halted vCPU; MSRs after SREGS, for the APIC mode decides whether a deadline
 * is armed.
 */
int kvm_state_set(int vcpu_fd, const struct vcpu_state *s, struct err *err)
{
	static const set_fn steps[] = {
		set_sregs, set_fpu, set_regs, set_debug, set_msrs, set_mp,
		set_events,
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int rc = steps[i](vcpu_fd, s, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The run state first: reading it lets KVM take in a pending INIT or SIPI,
 * which changes the registers. */
int kvm_state_get(int vcpu_fd, struct vcpu_state *s, struct err *err)
{
	static const get_fn steps[] = {
		get_mp, get_sregs, get_fpu, get_regs, get_debug, get_msrs,
		get_events,
	};

	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int rc = steps[i](vcpu_fd, s, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}
