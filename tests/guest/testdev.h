/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runner's test devices, as both the payloads and the runner see them.
 *
 * Port 0xe9 takes debug text and port 0xf4 the exit code, as QEMU's isa
 * devices do; all else is the runner's own.
 */
#ifndef MAYFLY_TESTS_GUEST_TESTDEV_H
#define MAYFLY_TESTS_GUEST_TESTDEV_H

#define TD_DEBUG 0xe9
#define TD_EXIT	 0xf4

/* Reads of 4 bytes: who is there, and what it cannot do. */
#define TD_ID	       0xf0
#define TD_ID_VALUE    0x594c464d /* "MFLY" */
#define TD_FLAGS       0xf8
#define TD_FLAG_LIMITED 1u /* the probe refuses this KVM */
#define TD_FLAG_TCG	2u /* KVM inside QEMU: the CPU beneath is TCG */

/* Interrupts: writes of 4 bytes. LINE: GSI | level << 8. PULSE: GSI.
 * LATER: GSI | microseconds << 8, a pulse from another thread. */
#define TD_IRQ_LINE  0xe0
#define TD_IRQ_PULSE 0xe4
#define TD_IRQ_LATER 0xec

/* 16 ports that keep what is written, one that is a byte queue (a read takes
 * the oldest, 0xee when there is none), and how many accesses and bytes they
 * saw; a write to the count clears it. */
#define TD_PIO_RAM   0x300
#define TD_PIO_FIFO  0x310
#define TD_PIO_COUNT 0x318 /* 4 bytes: accesses << 16 | bytes */
#define TD_PIO_END   0x320

/* MMIO, slot 0: RAM that counts, then registers. */
#define TD_MMIO	      0xd0000000ull
#define TD_MMIO_RAM   0x000 /* 256 bytes that keep what is written */
#define TD_MMIO_COUNT 0x100 /* accesses to it << 32 | bytes; write: clear */
#define TD_MMIO_DMA_TO	 0x108 /* a guest-physical address */
#define TD_MMIO_DMA_DATA 0x110
#define TD_MMIO_DMA_GO	 0x118 /* write N <= 8: that many bytes go there */
#define TD_MMIO_EVENT	 0x120 /* an ioeventfd for the value 7 */
#define TD_MMIO_EVENTS	 0x128 /* how often it was signalled since */
#define TD_MMIO_PLAIN	 0x130 /* other values written to EVENT */
#define TD_EVENT_VALUE	 7

#endif
