/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debug: breakpoints in hardware (SDM 3B 18.2).
 *
 * With none enabled nothing looks for them. A page with a data breakpoint
 * stays out of the TLB, so that each access to it takes the slow path, where
 * the check is. An instruction that hits one runs, or starts again, as a
 * block of its own, and cpu_loop() raises the #DB after it. A block that
 * holds the address of a code breakpoint is run one instruction at a time,
 * and the block that starts there is never in the jump cache: block_get()
 * raises. All of it is the vCPU thread's.
 */
#ifndef MAYFLY_SOFT_DEBUG_H
#define MAYFLY_SOFT_DEBUG_H

#include "runner/engine/soft/cpu.h"

/* After DR0-3, DR7 or CR4.DE changed. */
void debug_update(struct cpu *cpu);

/* Is any byte of va's page watched? */
int debug_watches_page(const struct cpu *cpu, uint64_t va);
/* Start this instruction again as a block of its own, unless it is one. */
void debug_run_alone(struct cpu *cpu, const struct uop *op);
/* An access is about to be made. May start the instruction again. */
void debug_access(struct cpu *cpu, const struct uop *op, uint64_t va,
		  unsigned len, int write);
void debug_port(struct cpu *cpu, const struct uop *op, uint16_t port,
		unsigned len);
/* A code breakpoint among the addresses @first to @last? Bits as in DR6. */
unsigned debug_code(const struct cpu *cpu, uint64_t first, uint64_t last);

#endif
