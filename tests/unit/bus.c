/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatch of MMIO and port accesses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/vmm/bus.h"

struct probe {
	unsigned calls;
	uint64_t offset;
	unsigned len;
	int write;
};

static void probe_fn(void *dev, uint64_t offset, void *data, unsigned len,
		     int write)
{
	struct probe *p = dev;

	p->calls++;
	p->offset = offset;
	p->len = len;
	p->write = write;
	if (!write)
		memset(data, 0x5a, len);
}

Test(bus, mmio_reaches_the_slot_with_its_offset)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };
	uint32_t v = 0;

	cr_assert_eq(bus_add_mmio(&bus, 3, probe_fn, &p), 0);
	bus_mmio(&bus, BUS_MMIO_BASE + 3 * BUS_SLOT_SIZE + 0x70, &v, 4, 0);
	cr_expect_eq(p.offset, 0x70);
	cr_expect_eq(p.len, 4);
	cr_expect_eq(p.write, 0);
	cr_expect_eq(v, 0x5a5a5a5a);
}

Test(bus, unclaimed_accesses_read_ones)
{
	static const uint64_t where[] = {
		0,
		BUS_MMIO_BASE - 4,
		BUS_MMIO_BASE,
		BUS_MMIO_BASE + 2 * BUS_SLOT_SIZE - 2, /* leaves its slot */
		BUS_MMIO_BASE + BUS_SLOTS * BUS_SLOT_SIZE,
		~0ull,
	};
	struct bus bus = { 0 };
	struct probe p = { 0 };

	cr_assert_eq(bus_add_mmio(&bus, 1, probe_fn, &p), 0);
	for (unsigned i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		uint64_t v = 0;

		bus_mmio(&bus, where[i], &v, 8, 0);
		cr_expect_eq(v, ~0ull);
		bus_mmio(&bus, where[i], &v, 8, 1);
	}
	cr_expect_eq(p.calls, 0);
}

Test(bus, ports_are_exclusive_and_whole)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };
	uint32_t v = 0;

	cr_assert_eq(bus_add_pio(&bus, 0x3f8, 8, probe_fn, &p), 0);
	cr_expect_eq(bus_add_pio(&bus, 0x3ff, 1, probe_fn, &p), -EBUSY);
	cr_expect_eq(bus_add_pio(&bus, 0x3f0, 9, probe_fn, &p), -EBUSY);
	cr_expect_eq(bus_add_pio(&bus, 0xffff, 2, probe_fn, &p), -EINVAL);
	cr_expect_eq(bus_add_pio(&bus, 0x400, 0, probe_fn, &p), -EINVAL);
	bus_pio(&bus, 0x3fd, &v, 1, 0);
	cr_expect_eq(p.offset, 5);
	bus_pio(&bus, 0x3fd, &v, 4, 0);
	cr_expect_eq(v, 0xffffffff, "an access past the last port is nobody's");
	bus_pio(&bus, 0x3f7, &v, 1, 1);
	bus_pio(&bus, 0x400, &v, 1, 1);
	cr_expect_eq(p.calls, 1);
}

Test(bus, tables_are_bounded)
{
	struct bus bus = { 0 };
	struct probe p = { 0 };

	cr_expect_eq(bus_add_mmio(&bus, BUS_SLOTS, probe_fn, &p), -ENOSPC);
	cr_expect_eq(bus_add_mmio(&bus, 0, probe_fn, &p), 0);
	cr_expect_eq(bus_add_mmio(&bus, 0, probe_fn, &p), -EBUSY);
	for (uint16_t i = 0; i < BUS_PORTS; i++)
		cr_expect_eq(bus_add_pio(&bus, i, 1, probe_fn, &p), 0);
	cr_expect_eq(bus_add_pio(&bus, 100, 1, probe_fn, &p), -ENOSPC);
}
