/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC (SDM 3A chapter 11). */
#include "runner/engine/soft/lapic.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/io.h"
#include "runner/engine/soft/ioapic.h"
#include "runner/engine/soft/soft.h"

#define MSR_APIC_BASE	 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC	 0x800u

#define BASE_BSP    (1ull << 8)
#define BASE_X2APIC (1ull << 10)
#define BASE_ENABLE (1ull << 11)
#define BASE_MODE   (BASE_X2APIC | BASE_ENABLE)

/* Registers by number: the xAPIC offset / 16, the x2APIC MSR - 0x800. */
enum {
	REG_ID = 0x02, REG_VERSION, REG_TPR = 0x08, REG_APR, REG_PPR, REG_EOI,
	REG_RRD, REG_LDR, REG_DFR, REG_SVR, REG_ISR, REG_TMR = 0x18,
	REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR = 0x30, REG_ICR2,
	REG_LVT_TIMER, REG_LVT_THERMAL, REG_LVT_PERF, REG_LVT_LINT0,
	REG_LVT_LINT1, REG_LVT_ERROR, REG_TIMER_INIT, REG_TIMER_NOW,
	REG_TIMER_DIVIDE = 0x3e, REG_SELF_IPI,
};
#define LVTS 6u /* from REG_LVT_TIMER on */

/* Integrated APIC, 6 LVT entries, no EOI broadcast suppression. */
#define VERSION ((LVTS - 1) << 16 | 0x14u)

#define LVT_MASKED   (1u << 16)
#define LVT_MODE     (3u << 17) /* of the timer */
#define LVT_PERIODIC (1u << 17)
#define LVT_DEADLINE (2u << 17)

#define SVR_ENABLE 0x100u

#define ESR_SEND_VECTOR	 (1u << 5)
#define ESR_RECV_VECTOR	 (1u << 6)
#define ESR_REGISTER	 (1u << 7)

#define MODE_FIXED  0u /* delivery modes */
#define MODE_LOWEST 1u
#define MODE_NMI    4u

/* The timer's clock is the crystal of CPUID leaf 0x15: 25 MHz. */
#define TICK_NS 40u

struct lapic {
	struct cpu *cpu;
	/* any thread */
	_Atomic uint32_t irr[8], tmr[8];
	_Atomic uint32_t accepts; /* enabled by APIC_BASE and SVR */
	_Atomic uint32_t x2apic, ldr, dfr, esr_new;
	/* the vCPU's */
	uint64_t base;
	uint32_t isr[8];
	uint32_t id, tpr, svr, esr, icr, icr2;
	uint32_t lvt[LVTS];
	uint32_t nmi; /* pending */
	uint32_t divide, initial;
	uint64_t expires;  /* ns, one-shot and periodic; UINT64_MAX: not armed */
	uint64_t deadline; /* guest TSC; 0: not armed */
};

static const uint32_t lvt_writable[LVTS] = {
	0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff,
};

static void update_accepts(struct lapic *l)
{
	l->accepts = l->base & BASE_ENABLE && l->svr & SVR_ENABLE;
	l->x2apic = (l->base & BASE_MODE) == BASE_MODE;
}

/* SDM 3A 11.4.7.1: the state after power-up. */
static void reset(struct lapic *l)
{
	for (unsigned i = 0; i < 8; i++)
		l->irr[i] = l->tmr[i] = l->isr[i] = 0;
	for (unsigned i = 0; i < LVTS; i++)
		l->lvt[i] = LVT_MASKED;
	l->tpr = l->esr = l->icr = l->icr2 = l->nmi = 0;
	l->esr_new = 0;
	l->ldr = 0;
	l->dfr = UINT32_MAX;
	l->svr = 0xff;
	l->divide = l->initial = 0;
	l->expires = UINT64_MAX;
	l->deadline = 0;
	update_accepts(l);
}

struct lapic *lapic_new(struct cpu *cpu)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->cpu = cpu;
	l->base = SOFT_LAPIC_BASE | BASE_BSP | BASE_ENABLE;
	reset(l);
	return l;
}

void lapic_free(struct lapic *l)
{
	free(l);
}

/* --- interrupts in -------------------------------------------------------- */

static void attend(struct lapic *l)
{
	cpu_attend(l->cpu, ATTN_IRQ);
	soft_wake(l->cpu->vm);
}

void lapic_post(struct lapic *l, unsigned vec, int level)
{
	uint32_t bit = 1u << (vec % 32);

	if (vec < 16) {
		l->esr_new |= ESR_RECV_VECTOR;
		return;
	}
	if (vec > 255 || !l->accepts)
		return;
	/* TMR before IRR: whoever sees the request sees its kind */
	if (level)
		l->tmr[vec / 32] |= bit;
	else
		l->tmr[vec / 32] &= ~bit;
	l->irr[vec / 32] |= bit;
	attend(l);
}

/* SDM 3A 11.6.2. A CPU in x2APIC mode has an ID of 32 bits; the IOAPIC's
 * 8-bit broadcast means it too. */
int lapic_matches(const struct lapic *l, uint32_t dest, int logical)
{
	uint32_t ldr = l->ldr;

	if (!logical)
		return dest == l->id || dest == UINT32_MAX || dest == 0xff;
	if (l->x2apic) {
		/* cluster in the upper half, a bit each in the lower */
		ldr = (l->id >> 4) << 16 | 1u << (l->id & 15);
		return dest == UINT32_MAX ||
		       (dest >> 16 == ldr >> 16 && dest & ldr & 0xffff);
	}
	ldr >>= 24;
	if (l->dfr >> 28 == 0xf)
		return !!(dest & ldr & 0xff);
	return (dest >> 4 == ldr >> 4 || dest >> 4 == 0xf) &&
	       dest & ldr & 0xf;
}

static int highest(const uint32_t w[8])
{
	for (int i = 7; i >= 0; i--)
		if (w[i])
			return i * 32 + 31 - __builtin_clz(w[i]);
	return -1;
}

static int highest_irr(const struct lapic *l)
{
	uint32_t w[8];

	for (unsigned i = 0; i < 8; i++)
		w[i] = l->irr[i];
	return highest(w);
}

static uint32_t ppr(const struct lapic *l)
{
	int vec = highest(l->isr);
	uint32_t isrv = vec < 0 ? 0 : (uint32_t)vec;

	return l->tpr >> 4 >= isrv >> 4 ? l->tpr : isrv & 0xf0;
}

int lapic_pending(struct lapic *l)
{
	int vec;

	if (l->nmi && !l->cpu->nmi_blocked)
		return EXC_NMI;
	vec = highest_irr(l);
	if (vec < 0 || (uint32_t)vec >> 4 <= ppr(l) >> 4)
		return -1;
	return vec;
}

void lapic_accept(struct lapic *l, unsigned vec)
{
	uint32_t bit = 1u << (vec % 32);

	if (vec == EXC_NMI) {
		l->nmi = 0;
		l->cpu->nmi_blocked = 1;
		return;
	}
	l->irr[vec / 32] &= ~bit;
	l->isr[vec / 32] |= bit;
}

/* What a priority that fell may let through. */
static void recheck(struct lapic *l)
{
	if (lapic_pending(l) >= 0)
		cpu_attend(l->cpu, ATTN_IRQ);
}

static void eoi(struct lapic *l)
{
	int vec = highest(l->isr);
	uint32_t bit;

	if (vec < 0)
		return;
	bit = 1u << (vec % 32);
	l->isr[vec / 32] &= ~bit;
	if (l->tmr[vec / 32] & bit)
		ioapic_eoi(l->cpu->vm->ioapic, (unsigned)vec);
	recheck(l);
}

static uint32_t lvt(const struct lapic *l, unsigned reg)
{
	return l->lvt[reg - REG_LVT_TIMER];
}

static void raise_error(struct lapic *l, uint32_t bits)
{
	uint32_t entry = lvt(l, REG_LVT_ERROR);

	l->esr_new |= bits;
	if (!(entry & LVT_MASKED))
		lapic_post(l, entry & 0xff, 0);
}

/* --- interrupts out: there is nobody else ----------------------------------- */

static void send(struct lapic *l, uint32_t icr, uint32_t dest)
{
	unsigned vec = icr & 0xff, mode = (icr >> 8) & 7;
	unsigned shorthand = (icr >> 18) & 3;

	/* 1 self, 2 all with self, 3 all but self */
	if (shorthand == 3 ||
	    (shorthand == 0 && !lapic_matches(l, dest, (icr >> 11) & 1)))
		return;
	if (mode == MODE_FIXED || mode == MODE_LOWEST) {
		if (vec < 16)
			raise_error(l, ESR_SEND_VECTOR);
		else
			lapic_post(l, vec, 0);
	} else if (mode == MODE_NMI && shorthand == 0) {
		/* with a shorthand, SDM 3A table 11-3 has none for ourselves */
		l->nmi = 1;
		cpu_attend(l->cpu, ATTN_IRQ);
	}
}

static void write_icr(struct lapic *l, uint32_t low, uint32_t high)
{
	/* delivery status reads as idle: all is sent at once */
	l->icr = low & 0xccfff;
	l->icr2 = high;
	send(l, l->icr, l->x2apic ? high : high >> 24);
}

/* --- timer ------------------------------------------------------------------ */

static uint32_t timer_mode(const struct lapic *l)
{
	return lvt(l, REG_LVT_TIMER) & LVT_MODE;
}

/* SDM 3A figure 11-10: bits 3, 1, 0; 7 is "by 1". */
static uint64_t period_of(const struct lapic *l, uint32_t count)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return (uint64_t)count * TICK_NS << ((code + 1) & 7);
}

static void timer_start(struct lapic *l, uint32_t count)
{
	l->initial = count;
	if (timer_mode(l) == LVT_DEADLINE)
		return;
	l->expires = count ? io_now_ns() + period_of(l, count) : UINT64_MAX;
	cpu_attend(l->cpu, ATTN_IRQ);
}

static uint32_t timer_count(const struct lapic *l)
{
	uint64_t now;

	if (l->expires == UINT64_MAX)
		return 0;
	now = io_now_ns();
	return now >= l->expires ?
		       0 : (uint32_t)((l->expires - now) / period_of(l, 1));
}

/* The guest TSC runs at 1 GHz, tsc_offset ahead of (or behind) our clock. */
static uint64_t tsc_to_ns(const struct lapic *l, uint64_t tsc)
{
	uint64_t offset = l->cpu->tsc_offset, ns = tsc - offset;

	if ((int64_t)offset >= 0)
		return tsc < offset ? 0 : ns;
	return ns < tsc ? UINT64_MAX : ns;
}

uint64_t lapic_deadline(const struct lapic *l)
{
	return l->deadline ? tsc_to_ns(l, l->deadline) : l->expires;
}

void lapic_timer(struct lapic *l, uint64_t now)
{
	uint32_t entry = lvt(l, REG_LVT_TIMER);

	if (now < lapic_deadline(l))
		return;
	l->deadline = 0;
	if (timer_mode(l) == LVT_PERIODIC && l->initial) {
		uint64_t period = period_of(l, l->initial);

		/* periods that nobody looked at are lost, not made up for */
		l->expires += period * ((now - l->expires) / period + 1);
	} else {
		l->expires = UINT64_MAX;
	}
	if (!(entry & LVT_MASKED))
		lapic_post(l, entry & 0xff, 0);
}

/* SDM 3A 11.5.4.1: 0 disarms; ignored in other modes. */
static void set_deadline(struct lapic *l, uint64_t tsc)
{
	if (timer_mode(l) != LVT_DEADLINE)
		return;
	l->deadline = tsc;
	if (tsc)
		lapic_timer(l, io_now_ns());
	cpu_attend(l->cpu, ATTN_IRQ);
}

/* --- registers ---------------------------------------------------------------- */

static int is_lvt(unsigned reg)
{
	return reg >= REG_LVT_TIMER && reg < REG_LVT_TIMER + LVTS;
}

static void write_lvt(struct lapic *l, unsigned reg, uint32_t v)
{
	unsigned i = reg - REG_LVT_TIMER;

	v &= lvt_writable[i];
	if (!(l->svr & SVR_ENABLE))
		v |= LVT_MASKED;
	/* between deadline and counting mode, both are disarmed */
	if (reg == REG_LVT_TIMER && (v ^ l->lvt[i]) & LVT_DEADLINE) {
		l->deadline = 0;
		l->expires = UINT64_MAX;
		l->initial = 0;
	}
	l->lvt[i] = v;
}

/* SDM 3A 11.4.7.2: software disabling masks every local interrupt. */
static void write_svr(struct lapic *l, uint32_t v)
{
	l->svr = v & 0x1ff;
	if (!(v & SVR_ENABLE))
		for (unsigned i = 0; i < LVTS; i++)
			l->lvt[i] |= LVT_MASKED;
	update_accepts(l);
}

/* 0, or -1 where there is no such register. */
static int reg_read(const struct lapic *l, unsigned reg, uint32_t *v)
{
	if (reg >= REG_ISR && reg < REG_ISR + 8)
		*v = l->isr[reg - REG_ISR];
	else if (reg >= REG_TMR && reg < REG_TMR + 8)
		*v = l->tmr[reg - REG_TMR];
	else if (reg >= REG_IRR && reg < REG_IRR + 8)
		*v = l->irr[reg - REG_IRR];
	else if (is_lvt(reg))
		*v = lvt(l, reg);
	else
		switch (reg) {
		case REG_ID:
			*v = l->x2apic ? l->id : l->id << 24;
			break;
		case REG_VERSION:
			*v = VERSION;
			break;
		case REG_TPR:
			*v = l->tpr;
			break;
		case REG_PPR:
			*v = ppr(l);
			break;
		case REG_LDR:
			*v = l->x2apic ? (l->id >> 4) << 16 |
						 1u << (l->id & 15) :
					 l->ldr;
			break;
		case REG_SVR:
			*v = l->svr;
			break;
		case REG_ESR:
			*v = l->esr;
			break;
		case REG_ICR:
			*v = l->icr;
			break;
		case REG_TIMER_INIT:
			*v = l->initial;
			break;
		case REG_TIMER_NOW:
			*v = timer_count(l);
			break;
		case REG_TIMER_DIVIDE:
			*v = l->divide;
			break;
		default:
			return -1;
		}
	return 0;
}

static void write_tpr(struct lapic *l, uint32_t v)
{
	l->tpr = v & 0xff;
	recheck(l);
}

static int reg_write(struct lapic *l, unsigned reg, uint32_t v)
{
	if (is_lvt(reg)) {
		write_lvt(l, reg, v);
		return 0;
	}
	switch (reg) {
	case REG_TPR:
		write_tpr(l, v);
		break;
	case REG_EOI:
		eoi(l);
		break;
	case REG_SVR:
		write_svr(l, v);
		break;
	case REG_ESR:
		l->esr = atomic_exchange(&l->esr_new, 0);
		break;
	case REG_TIMER_INIT:
		timer_start(l, v);
		break;
	case REG_TIMER_DIVIDE:
		l->divide = v & 0xb;
		break;
	default:
		return -1;
	}
	return 0;
}

/* Registers that only one of the two modes has. */
static int xapic_read(const struct lapic *l, unsigned reg, uint32_t *v)
{
	if (reg == REG_DFR)
		*v = l->dfr;
	else if (reg == REG_ICR2)
		*v = l->icr2;
	else if (reg == REG_APR || reg == REG_RRD || reg == REG_EOI)
		*v = 0;
	else
		return reg_read(l, reg, v);
	return 0;
}

static int xapic_write(struct lapic *l, unsigned reg, uint32_t v)
{
	switch (reg) {
	case REG_ID: /* read-only since the P4 (SDM 3A 11.4.6) */
		break;
	case REG_LDR:
		l->ldr = v & 0xff000000;
		break;
	case REG_DFR:
		l->dfr = v | 0x0fffffff;
		break;
	case REG_ICR:
		write_icr(l, v, l->icr2);
		break;
	case REG_ICR2:
		l->icr2 = v & 0xff000000;
		break;
	default:
		return reg_write(l, reg, v);
	}
	return 0;
}

/* SDM 3A 11.4.1: 32-bit accesses on 16-byte boundaries. Linux and others
 * read less now and then; the bytes of the register answer. */
void lapic_mmio(struct lapic *l, uint32_t offset, void *data, unsigned len,
		int write)
{
	unsigned reg = offset >> 4, byte = offset & 15;
	uint32_t v = 0;
	int bad;

	if (!write)
		memset(data, 0, len);
	if ((l->base & BASE_MODE) != BASE_ENABLE) {
		if (!write)
			memset(data, 0xff, len);
		return;
	}
	if (byte + len > 4 || (write && len != 4))
		return;
	if (write) {
		memcpy(&v, data, 4);
		bad = xapic_write(l, reg, v) < 0;
	} else {
		bad = xapic_read(l, reg, &v) < 0;
		memcpy(data, (const uint8_t *)&v + byte, len);
	}
	if (bad)
		raise_error(l, ESR_REGISTER);
}

/* --- model-specific registers ---------------------------------------------- */

/* SDM 3A 11.12.5: off to xAPIC to x2APIC, and off again from either. */
static int write_base(struct lapic *l, uint64_t v)
{
	uint64_t known = SOFT_LAPIC_BASE | BASE_BSP | BASE_MODE;
	uint64_t from = l->base & BASE_MODE, to = v & BASE_MODE;

	/* the page cannot be moved: nobody moves it */
	if ((v & ~(BASE_BSP | BASE_MODE)) != SOFT_LAPIC_BASE || v & ~known)
		return -1;
	if (to == BASE_X2APIC || (from == BASE_MODE && to == BASE_ENABLE) ||
	    (from == 0 && to == BASE_MODE))
		return -1;
	l->base = v;
	if (!to && from)
		reset(l);
	update_accepts(l);
	return 0;
}

static int x2apic_read(const struct lapic *l, unsigned reg, uint64_t *v)
{
	uint32_t low = 0;
	int r;

	r = reg_read(l, reg, &low);
	*v = low | (reg == REG_ICR ? (uint64_t)l->icr2 << 32 : 0);
	return r;
}

/* Reserved bits are checked here, and not in xAPIC mode: SDM 3A 11.12.1.3. */
static int x2apic_write(struct lapic *l, unsigned reg, uint64_t v)
{
	if (reg == REG_ICR) {
		if (v & 0xfff33000)
			return -1;
		write_icr(l, (uint32_t)v, (uint32_t)(v >> 32));
		return 0;
	}
	if (v >> 32 || ((reg == REG_EOI || reg == REG_ESR) && v) ||
	    (reg == REG_TPR && v > 0xff) ||
	    (reg == REG_TIMER_DIVIDE && v & ~0xbull) ||
	    (is_lvt(reg) && v & ~(lvt_writable[reg - REG_LVT_TIMER] | 0x5000)))
		return -1;
	if (reg == REG_SELF_IPI) {
		if (v > 0xff)
			return -1;
		send(l, 1u << 18 | (uint32_t)v, 0);
		return 0;
	}
	return reg_write(l, reg, (uint32_t)v);
}

int lapic_msr(struct lapic *l, uint32_t msr, uint64_t *v, int write)
{
	switch (msr) {
	case MSR_APIC_BASE:
		if (write)
			return write_base(l, *v);
		*v = l->base;
		return 0;
	case MSR_TSC_DEADLINE:
		if (write)
			set_deadline(l, *v);
		else
			*v = l->deadline;
		return 0;
	default:
		if (!l->x2apic || msr - MSR_X2APIC > 0xff)
			return -1;
		return write ? x2apic_write(l, msr - MSR_X2APIC, *v) :
			       x2apic_read(l, msr - MSR_X2APIC, v);
	}
}

/* SDM 3A 11.8.6: CR8 is the upper half of TPR. */
uint64_t lapic_cr8(const struct lapic *l)
{
	return l->tpr >> 4;
}

void lapic_set_cr8(struct lapic *l, uint64_t v)
{
	write_tpr(l, (uint32_t)(v & 15) << 4);
}
