/* SPDX-License-Identifier: Apache-2.0 */
/* The clock of an MC146818. */
#include "runner/dev/rtc.h"

#include <string.h>
#include <time.h>

enum { REG_SECONDS = 0, REG_MINUTES = 2, REG_HOURS = 4, REG_WEEKDAY = 6,
       REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
       REG_CENTURY = 0x32 };

#define B_24_HOURS    0x02
#define D_VALID_RAM   0x80
#define INDEX_MASK    0x7f /* bit 7 of port 0x70 masks NMIs on a PC */
#define DAY_SECONDS   86400
#define ERA_DAYS      146097 /* the Gregorian calendar repeats: 400 years */
#define EPOCH_DAYS    719468 /* from 1 March of year 0 to 1 January 1970 */

struct date {
	unsigned year, month, day;
};

/*
 * Not gmtime_r(): the C library's opens the time zone file. Years start in
 * March here, so that the leap day is a year's last; 153 days are any five
 * months from March on.
 */
static struct date civil(uint64_t unix_days)
{
	uint64_t z = unix_days + EPOCH_DAYS;
	unsigned doe = (unsigned)(z % ERA_DAYS);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned m = (5 * doy + 2) / 153; /* 0 is March */
	struct date d = { .day = doy - (153 * m + 2) / 5 + 1,
			  .month = m < 10 ? m + 3 : m - 9 };

	d.year = (unsigned)(z / ERA_DAYS) * 400 + yoe + (d.month <= 2);
	return d;
}

static uint8_t bcd(unsigned v)
{
	return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

uint8_t rtc_register(uint8_t index, int64_t unix_time)
{
	uint64_t t = unix_time > 0 ? (uint64_t)unix_time : 0;
	unsigned s = (unsigned)(t % DAY_SECONDS);
	struct date d = civil(t / DAY_SECONDS);

	switch (index) {
	case REG_SECONDS:
		return bcd(s % 60);
	case REG_MINUTES:
		return bcd(s / 60 % 60);
	case REG_HOURS:
		return bcd(s / 3600);
	case REG_WEEKDAY: /* Sunday is 1; the epoch was a Thursday */
		return (uint8_t)((t / DAY_SECONDS + 4) % 7 + 1);
	case REG_DAY:
		return bcd(d.day);
	case REG_MONTH:
		return bcd(d.month);
	case REG_YEAR:
		return bcd(d.year);
	case REG_CENTURY:
		return bcd(d.year / 100);
	case REG_B:
		return B_24_HOURS;
	case REG_D:
		return D_VALID_RAM;
	default: /* REG_A: never in the middle of an update */
		return 0;
	}
}

void rtc_access(void *dev, uint64_t offset, void *data, unsigned len,
		int write)
{
	struct rtc *r = dev;
	uint8_t *p = data;
	struct timespec ts;

	if (write) {
		if (offset == 0)
			atomic_store(&r->index, p[0] & INDEX_MASK);
		return;
	}
	memset(p, 0xff, len);
	if (offset != 1)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	p[0] = rtc_register(atomic_load(&r->index), ts.tv_sec);
}
