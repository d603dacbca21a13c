/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probe's guest (probe_guest.S) and its host (probe.c) agree on.
 *
 * Guest memory is PROBE_RAM bytes at 0, seen twice: at 0 for kernel mode only,
 * at PROBE_USER for user mode as well.
 */
#ifndef MAYFLY_ENGINE_PROBE_GUEST_H
#define MAYFLY_ENGINE_PROBE_GUEST_H

#define PROBE_RAM	   0x8000
#define PROBE_USER	   0x200000
#define PROBE_PML4	   0x1000
#define PROBE_PDPT	   0x2000
#define PROBE_PD	   0x3000
#define PROBE_STEP	   0x4000 /* u32: enum below */
#define PROBE_VECTOR	   0x4004 /* u32: an exception nobody asked for */
#define PROBE_UDS	   0x4008 /* u32: #UD seen */
#define PROBE_TICKS	   0x400c /* u32: timer interrupts seen */
#define PROBE_BPS	   0x4010 /* u32: #BP seen */
#define PROBE_PAIR	   0x4020 /* two u64, aligned for cmpxchg16b */
#define PROBE_AREA	   0x5000 /* fxsave and xsave, up to a page */
#define PROBE_KERNEL_STACK 0x7000
#define PROBE_USER_STACK   0x208000

/* GDT. SYSRET wants user data right before user code (SDM 2B SYSRET). */
#define PROBE_CS	0x08
#define PROBE_SS	0x10
#define PROBE_USER_SS	0x1b
#define PROBE_USER_CS	0x23
#define PROBE_TSS	0x28
#define PROBE_TIMER	0x20 /* its vector */

/* 32-bit values that the guest writes to PROBE_PORT. */
#define PROBE_PORT	0x80
#define PROBE_HELLO	0x6f6c6c68 /* after the first syscall */
#define PROBE_DONE	0x656e6f64 /* every step went right */
#define PROBE_WRONG	0x6e6f7277 /* a result in this step is wrong */
#define PROBE_FAULT	0x746c7561 /* exception PROBE_VECTOR */

#define PROBE_MAGIC	0x5a17c0de5a17c0de /* in R12, kept throughout */

#define PROBE_AT_START	   0
#define PROBE_AT_IRETQ	   1
#define PROBE_AT_SYSCALL   2
#define PROBE_AT_PORT	   3
#define PROBE_AT_SYSRET	   4
#define PROBE_AT_EXCEPTION 5
#define PROBE_AT_TIMER	   6
#define PROBE_AT_POPCNT	   7
#define PROBE_AT_CX16	   8
#define PROBE_AT_SMAP	   9
#define PROBE_AT_FXSAVE	   10
#define PROBE_AT_XSAVE	   11
#define PROBE_AT_FWAIT	   12
#define PROBE_AT_INT3	   13
#define PROBE_STEPS	   14

#ifndef __ASSEMBLER__
#include <stdint.h>

/* The image, to be copied to 0 and entered at its start, and where in it the
 * tables are. */
extern const uint8_t probe_guest_start[];
extern const struct probe_guest_layout {
	uint32_t size;
	uint32_t gdt, gdt_size;
	uint32_t idt, idt_size;
	uint32_t tss;
} probe_guest_layout;
#endif

#endif
