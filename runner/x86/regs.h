/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regs: the state in which a vCPU starts.
 *
 * The first one is in long mode at the kernel's 64-bit entry point (boot.rst,
 * "64-bit BOOT PROTOCOL"); the others wait for INIT and SIPI.
 */
#ifndef MAYFLY_X86_REGS_H
#define MAYFLY_X86_REGS_H

#include <stdint.h>

struct gmem;
struct vcpu_state;

/* GDT and page tables (first 4 GiB, identity, 2 MiB pages), and @s to enter
 * at @entry with the zero page in RSI. */
int regs_boot(const struct gmem *gm, uint64_t entry, struct vcpu_state *s);

/* After INIT (SDM 3A, table 10-1). */
void regs_wait_sipi(struct vcpu_state *s);

#endif
