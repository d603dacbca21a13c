/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power: the two ways in which a guest ends itself.
 *
 * An i8042 that knows only the pulse of its reset line (the FADT's reset
 * register, and Linux's reboot=k), and the sleep control register of
 * hardware-reduced ACPI, for S5. The callback comes on a vCPU thread, perhaps
 * more than once, and must be quick; the guest runs on until it is stopped.
 * Filled in by the owner and constant from then on, so there is no lock.
 */
#ifndef MAYFLY_DEV_POWER_H
#define MAYFLY_DEV_POWER_H

#include <stdint.h>

enum power_event { POWER_RESET, POWER_OFF };

struct power {
	void (*fn)(void *opaque, enum power_event what);
	void *opaque;
};

/* bus_fns: ports 0x60-0x64, and sleep control and status. */
void power_i8042_access(void *dev, uint64_t offset, void *data, unsigned len,
			int write);
void power_sleep_access(void *dev, uint64_t offset, void *data, unsigned len,
			int write);

#endif
