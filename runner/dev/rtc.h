/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc: the time of day, as an MC146818 tells it at ports 0x70 and 0x71.
 *
 * Only the clock: no alarm, no interrupt, no memory, and nothing that the
 * guest writes changes it. It is here because Linux without a paravirtual
 * clock reads it at boot, and waits for two seconds where there is none. UTC,
 * BCD, 24 hours. No lock: the index is the only state.
 */
#ifndef MAYFLY_DEV_RTC_H
#define MAYFLY_DEV_RTC_H

#include <stdatomic.h>
#include <stdint.h>

struct rtc {
	_Atomic uint8_t index;
};

/* A bus_fn for the two ports. */
void rtc_access(void *dev, uint64_t offset, void *data, unsigned len,
		int write);

/* What register @index reads as at @unix_time. */
uint8_t rtc_register(uint8_t index, int64_t unix_time);

#endif
