/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: the guest physical map. The one place where these numbers are.
 *
 *	00000000  +-----------------------------+
 *		  | unused (Linux keeps page 0) |
 *	00006000  | boot GDT			|
 *	00007000  | zero page (boot_params)	|
 *	00008000  | boot stack, grows down	|
 *	00009000  | PML4, PDPT, 4 PDs		| first 4 GiB, identity
 *	0000f000  | seed of the guest's random numbers
 *	00010000  | MP wake-up mailbox		| reserved, soft with > 1 CPU
 *	00020000  | command line		|
 *	0009fc00  +-----------------------------+ RAM ends
 *		  | hole			|
 *	000e0000  +-----------------------------+
 *		  | ACPI: RSDP first, tables	| reserved
 *	000ff000  | VM generation id		| reserved
 *	00100000  +-----------------------------+ RAM again
 *		  | kernel (its own addresses)	|
 *		  | ...				|
 *		  | initrd, page aligned, high	|
 *	c0000000  +-----------------------------+ RAM ends here at the latest
 *	d0000000  | virtio-mmio, 4 KiB a slot	| bus.h
 *	fec00000  | IOAPIC			|
 *	fee00000  | local APIC			|
 *	100000000 +-----------------------------+ the rest of RAM
 *
 * All that lies below 1 MiB in RAM is dead once the kernel has copied it.
 */
#ifndef MAYFLY_X86_LAYOUT_H
#define MAYFLY_X86_LAYOUT_H

#include "runner/vmm/bus.h"

#define LAYOUT_GDT	  0x6000ull
#define LAYOUT_ZEROPAGE	  0x7000ull
#define LAYOUT_STACK_TOP  0x9000ull
#define LAYOUT_PML4	  0x9000ull
#define LAYOUT_PDPT	  0xa000ull
#define LAYOUT_PD	  0xb000ull /* 4 pages */
#define LAYOUT_SEED	  0xf000ull
#define LAYOUT_MAILBOX	  0x10000ull
#define LAYOUT_CMDLINE	  0x20000ull
#define LAYOUT_LOWMEM_END 0x9fc00ull
#define LAYOUT_ACPI	  0xe0000ull
#define LAYOUT_ACPI_SIZE  0x1f000ull
#define LAYOUT_VMGENID	  0xff000ull
#define LAYOUT_HIMEM	  0x100000ull

#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LAPIC  0xfee00000u

/* Ports */
#define LAYOUT_COM1	    0x3f8
#define LAYOUT_COM1_PORTS   8
#define LAYOUT_I8042_DATA   0x60
#define LAYOUT_I8042_CMD    0x64
#define LAYOUT_RTC	    0x70
#define LAYOUT_RTC_PORTS    2
#define LAYOUT_SLEEP	    0x600 /* ACPI sleep control, then status */
#define LAYOUT_SLEEP_PORTS  2

/* Global system interrupts: inputs of the one IOAPIC. */
#define LAYOUT_GSI_COM1	  4
#define LAYOUT_GSI_VIRTIO 5 /* + slot */
#define LAYOUT_GSI_GED	  (LAYOUT_GSI_VIRTIO + BUS_SLOTS)

static inline uint64_t layout_slot_gpa(unsigned slot)
{
	return BUS_MMIO_BASE + slot * BUS_SLOT_SIZE;
}

static inline unsigned layout_slot_gsi(unsigned slot)
{
	return LAYOUT_GSI_VIRTIO + slot;
}

#endif
