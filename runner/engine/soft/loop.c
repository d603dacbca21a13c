/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a vCPU between blocks. */
#include "runner/engine/soft/loop.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/fpu.h"
#include "runner/engine/soft/lapic.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/sys.h"

/* Instructions between two looks at the clock: some 50-100 us. */
#define BUDGET 10000

unsigned long long cpu_instructions(const struct cpu *cpu)
{
	return cpu->insns + (unsigned long long)(BUDGET - cpu->budget);
}

static void refill(struct cpu *cpu)
{
	cpu->insns += (uint64_t)(BUDGET - cpu->budget);
	cpu->budget = BUDGET;
}

/* The sleeper announces itself, then looks; the waker changes `wake`, then
 * looks for a sleeper: one of them sees the other. */
void soft_wake(struct soft *s)
{
	atomic_fetch_add(&s->wake, 1);
	if (atomic_load(&s->sleeping))
		syscall(SYS_futex, &s->wake, FUTEX_WAKE_PRIVATE, 1, NULL,
			NULL, 0);
}

static void sleep_until(struct cpu *cpu, uint64_t deadline)
{
	struct timespec ts = { (time_t)(deadline / 1000000000u),
			       (long)(deadline % 1000000000u) };
	struct soft *s = cpu->vm;
	uint32_t seen = atomic_load(&s->wake);

	atomic_store(&s->sleeping, 1);
	/* absolute CLOCK_MONOTONIC; EINTR and EAGAIN only mean: look again */
	if (!atomic_load(&cpu->attention))
		syscall(SYS_futex, &s->wake, FUTEX_WAIT_BITSET_PRIVATE, seen,
			deadline == UINT64_MAX ? NULL : &ts, NULL,
			FUTEX_BITSET_MATCH_ANY);
	atomic_store(&s->sleeping, 0);
}

static void run_block(struct cpu *cpu, const struct block *b)
{
	const struct uop *op = b->uops;

	cpu->cur = b;
	cpu->partial = 0;
	cpu->r[SLOT_RIP] = cpu->rip;
	cpu->budget -= (int32_t)b->ninsns;
#ifdef SOFT_LOOP
	while (op)
		op = op->fn(cpu, op);
#else
	op->fn(cpu, op);
#endif
	cpu->cur = NULL;
}

/* One instruction by itself: after STI and MOV SS, with TF set, with RF where
 * a breakpoint is, and for a store into the block that it is in. */
static void run_one(struct cpu *cpu)
{
	const struct block *b = block_get(cpu, 1);

	cpu->trap = !!(cpu->rflags & RFLAGS_TF);
	cpu->shadowed = cpu->shadow;
	cpu->shadow = 0;
	cpu->step_once = 0;
	cpu->rf = 0;
	cpu_attend(cpu, ATTN_STATE); /* so that no block follows */
	run_block(cpu, b);
	cpu->shadowed = 0;
	/* the next step of a REP is not the instruction's begin */
	if (cpu->partial && cpu->armed & BREAK_EXEC)
		cpu->rf = 1;
}

/*
 * An instruction ended: is it followed by a #DB? TF was set when it began (a
 * few instructions decide that themselves, and may be part of a longer block
 * then), or it hit a breakpoint. MOV SS keeps what it hit for the end of the
 * next one, be that one's end the delivery of an exception.
 */
static int trapped(struct cpu *cpu)
{
	unsigned hits = cpu->hits;

	if (cpu->shadow == SHADOW_SS)
		cpu->held |= cpu->hits;
	else
		hits |= cpu->held;
	cpu->hits = 0;
	if (cpu->shadow == SHADOW_SS || !(hits | cpu->trap))
		return 0;
	memset(&cpu->exc, 0, sizeof(cpu->exc));
	cpu->exc.vec = EXC_DB;
	cpu->exc.trap = 1;
	cpu->exc.err = hits | (cpu->trap ? DR6_BS : 0);
	cpu->exc.pending = 1;
	cpu->held = 0;
	cpu->trap = 0;
	return 1;
}

/* Must the next instruction run by itself? */
static int alone(const struct cpu *cpu)
{
	return cpu->shadow || cpu->step_once || cpu->rf ||
	       cpu->rflags & RFLAGS_TF;
}

/* Run until somebody wants attention. Whatever makes an interrupt deliverable
 * sets cpu->attention, so that a mere miss of the jump cache stays in here. */
static void run_blocks(struct cpu *cpu)
{
	do
		run_block(cpu, block_get(cpu, 0));
	while (cpu->budget > 0 && !cpu->halted && !alone(cpu) &&
	       !atomic_load_explicit(&cpu->attention, memory_order_acquire));
}

/* Interrupts and timers; 1 when the CPU has an instruction to run. */
static int ready(struct cpu *cpu)
{
	int vec;

	if (cpu->budget <= 0 || cpu->halted) {
		refill(cpu);
		lapic_timer(cpu->lapic, io_now_ns());
	}
	if (!cpu->shadow) {
		vec = lapic_pending(cpu->lapic);
		if (vec == EXC_NMI || (vec >= 0 && cpu->rflags & RFLAGS_IF)) {
			cpu->halted = 0;
			lapic_accept(cpu->lapic, (unsigned)vec);
			except_interrupt(cpu, (unsigned)vec);
			return 0;
		}
	}
	if (!cpu->halted)
		return 1;
	cpu->shadow = 0;
	sleep_until(cpu, lapic_deadline(cpu->lapic));
	return 0;
}

static void leave(struct cpu *cpu, struct engine_exit *x,
		  enum engine_exit_reason why, const char *words)
{
	fpu_sync(cpu);
	x->reason = why;
	x->rip = cpu->rip;
	snprintf(x->msg, sizeof(x->msg), "%s", words);
}

void cpu_loop(struct cpu *cpu, struct engine_exit *x)
{
	/* Every fault comes back here; all state is in *cpu. */
	setjmp(cpu->jmp);
	cpu->cur = NULL;
	/* a fault is no end of an instruction */
	cpu->trap = 0;
	cpu->hits = 0;
	cpu->shadowed = 0;
	for (;;) {
		uint32_t attn;

		if (cpu->fail[0]) {
			leave(cpu, x, ENGINE_EXIT_ERROR, cpu->fail);
			return;
		}
		if (cpu->shutdown) {
			leave(cpu, x, ENGINE_EXIT_SHUTDOWN, "triple fault");
			return;
		}
		if (cpu->exc.pending) {
			except_deliver(cpu);
			continue;
		}
		if (__builtin_expect(cpu->trap | cpu->hits | cpu->held, 0) &&
		    trapped(cpu))
			continue;
		/* the other reasons are looked at anew anyway; what devices
		 * overwrote must not run when we come back */
		attn = atomic_exchange(&cpu->attention, 0);
		if (attn & ATTN_CODE)
			code_drop_noted(cpu);
		if (attn & ATTN_KICK) {
			leave(cpu, x, ENGINE_EXIT_INTR, "");
			return;
		}
		if (!ready(cpu))
			continue;
		if (alone(cpu))
			run_one(cpu);
		else
			run_blocks(cpu);
	}
}
