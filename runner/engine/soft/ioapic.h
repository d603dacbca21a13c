/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioapic: 24 inputs at 0xfec0_0000 (82093AA datasheet), version 0x20 with the
 * EOI register, one lock inside: every function is for any thread.
 */
#ifndef MAYFLY_SOFT_IOAPIC_H
#define MAYFLY_SOFT_IOAPIC_H

#include <stdint.h>

struct ioapic;
struct lapic;

struct ioapic *ioapic_new(struct lapic *l);
void ioapic_free(struct ioapic *io);
void ioapic_line(struct ioapic *io, unsigned gsi, int level);
void ioapic_pulse(struct ioapic *io, unsigned gsi);
/* The local APIC saw an EOI for a level-triggered vector. */
void ioapic_eoi(struct ioapic *io, unsigned vec);
void ioapic_mmio(struct ioapic *io, uint32_t offset, void *data, unsigned len,
		 int write);

#endif
