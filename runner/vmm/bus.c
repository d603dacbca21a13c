/* SPDX-License-Identifier: Apache-2.0 */
/* Which device an MMIO or port access goes to. */
#include "runner/vmm/bus.h"

#include <errno.h>
#include <string.h>

int bus_add_mmio(struct bus *bus, unsigned slot, bus_fn fn, void *dev)
{
	if (slot >= BUS_SLOTS)
		return -ENOSPC;
	if (bus->slot[slot].fn)
		return -EBUSY;
	bus->slot[slot] = (struct bus_dev){ .fn = fn, .dev = dev };
	return 0;
}

static int ports_overlap(const struct bus_dev *d, uint16_t port, uint16_t n)
{
	return port < d->port + d->nports && d->port < port + n;
}

int bus_add_pio(struct bus *bus, uint16_t port, uint16_t n, bus_fn fn,
		void *dev)
{
	if (!n || port + n > 0x10000)
		return -EINVAL;
	if (bus->nports == BUS_PORTS)
		return -ENOSPC;
	for (unsigned i = 0; i < bus->nports; i++)
		if (ports_overlap(&bus->port[i], port, n))
			return -EBUSY;
	bus->port[bus->nports++] = (struct bus_dev){
		.fn = fn, .dev = dev, .port = port, .nports = n
	};
	return 0;
}

void bus_mmio(void *opaque, uint64_t gpa, void *data, unsigned len, int write)
{
	struct bus *bus = opaque;
	uint64_t off = gpa - BUS_MMIO_BASE;
	uint64_t in_slot = off % BUS_SLOT_SIZE;

	/* gpa below the window wraps to an offset past it. */
	if (off < BUS_SLOTS * BUS_SLOT_SIZE && in_slot + len <= BUS_SLOT_SIZE) {
		const struct bus_dev *d = &bus->slot[off / BUS_SLOT_SIZE];

		if (d->fn) {
			d->fn(d->dev, in_slot, data, len, write);
			return;
		}
	}
	if (!write)
		memset(data, 0xff, len);
}

void bus_pio(void *opaque, uint16_t port, void *data, unsigned len, int write)
{
	struct bus *bus = opaque;

	for (unsigned i = 0; i < bus->nports; i++) {
		const struct bus_dev *d = &bus->port[i];
		unsigned off = (unsigned)port - d->port;

		if (port >= d->port && off + len <= d->nports) {
			d->fn(d->dev, off, data, len, write);
			return;
		}
	}
	if (!write)
		memset(data, 0xff, len);
}
