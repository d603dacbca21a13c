/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: the life of a vCPU between blocks - faults to deliver, interrupts,
 * timer, HLT, single steps, code that devices overwrote.
 */
#ifndef MAYFLY_SOFT_LOOP_H
#define MAYFLY_SOFT_LOOP_H

struct cpu;
struct engine_exit;

/* Run until there is something to tell (engine.h run()). vCPU thread. */
void cpu_loop(struct cpu *cpu, struct engine_exit *x);

/* Guest instructions executed so far. vCPU thread, or a race that is right
 * to within one budget. */
unsigned long long cpu_instructions(const struct cpu *cpu);

#endif
