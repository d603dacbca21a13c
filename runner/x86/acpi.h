/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi: the tables that tell the guest what machine it is on.
 *
 * Hardware-reduced ACPI 6.5: no PM timer, no SCI, no 8259, no i8042 to probe.
 * RSDP -> XSDT -> { FADT -> DSDT, MADT }. The DSDT names COM1, one LNRO0005
 * (virtio-mmio) a slot, and the VM generation id with the event device that
 * announces its change. Built once on the main thread, into guest memory.
 */
#ifndef MAYFLY_X86_ACPI_H
#define MAYFLY_X86_ACPI_H

#include <stdint.h>

struct err;
struct gmem;

#define ACPI_VMGENID_SIZE 16

struct acpi_params {
	unsigned ncpus;
	unsigned nslots; /* virtio-mmio slots 0..nslots-1 are there */
	uint8_t vmgenid[ACPI_VMGENID_SIZE];
};

int acpi_write(const struct gmem *gm, const struct acpi_params *p,
	       uint64_t *rsdp, struct err *err);

/* Values of the sleep control register (4.8.3.7) for S5, which _S5 names. */
#define ACPI_SLEEP_TYPE_S5 5

#endif
