/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus: which device an MMIO or port access goes to.
 *
 * MMIO devices sit in BUS_SLOTS slots of 4 KiB from BUS_MMIO_BASE: dispatch
 * is an array index. Ports are a short table. Filled before the vCPUs run and
 * constant from then on. Handlers run on vCPU threads, several at once: a
 * device takes its own lock. Accesses that nobody claims read all ones and
 * are ignored when written.
 */
#ifndef MAYFLY_VMM_BUS_H
#define MAYFLY_VMM_BUS_H

#include <stdint.h>

#define BUS_MMIO_BASE 0xd0000000ull
#define BUS_SLOT_SIZE 0x1000ull
#define BUS_SLOTS     16
#define BUS_PORTS     8

typedef void (*bus_fn)(void *dev, uint64_t offset, void *data, unsigned len,
		       int write);

struct bus_dev {
	bus_fn fn;
	void *dev; /* borrowed */
	uint16_t port, nports; /* port devices only */
};

struct bus {
	struct bus_dev slot[BUS_SLOTS];
	struct bus_dev port[BUS_PORTS];
	unsigned nports;
};

int bus_add_mmio(struct bus *bus, unsigned slot, bus_fn fn, void *dev);
int bus_add_pio(struct bus *bus, uint16_t port, uint16_t n, bus_fn fn,
		void *dev);

/* struct engine_bus callbacks; opaque is the struct bus. */
void bus_mmio(void *bus, uint64_t gpa, void *data, unsigned len, int write);
void bus_pio(void *bus, uint16_t port, void *data, unsigned len, int write);

#endif
