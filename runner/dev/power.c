/* SPDX-License-Identifier: Apache-2.0 */
/* i8042 reset line and ACPI sleep control. */
#include "runner/dev/power.h"

#include <string.h>

#include "runner/x86/acpi.h"
#include "runner/x86/layout.h"

#define I8042_CMD_OFFSET (LAYOUT_I8042_CMD - LAYOUT_I8042_DATA)
#define I8042_RESET	 0xfe

/* ACPI 6.5, 4.8.3.7.1: sleep control register */
#define SLEEP_TYPE(v) ((v) >> 2 & 7)
#define SLEEP_ENABLE  0x20

/*
 * Only the command port acts. Reads give 0: no data, and, what a driver waits
 * for before it writes a command, no input pending either.
 */
void power_i8042_access(void *dev, uint64_t offset, void *data, unsigned len,
			int write)
{
	const struct power *p = dev;
	const uint8_t *b = data;

	if (!write)
		memset(data, 0, len);
	else if (offset == I8042_CMD_OFFSET && b[0] == I8042_RESET)
		p->fn(p->opaque, POWER_RESET);
}

/* Offset 0 is the control register, 1 the status register, which reads 0:
 * no wake-up has happened. */
void power_sleep_access(void *dev, uint64_t offset, void *data, unsigned len,
			int write)
{
	const struct power *p = dev;
	const uint8_t *b = data;

	if (!write)
		memset(data, 0, len);
	else if (offset == 0 && b[0] & SLEEP_ENABLE &&
		 SLEEP_TYPE(b[0]) == ACPI_SLEEP_TYPE_S5)
		p->fn(p->opaque, POWER_OFF);
}
