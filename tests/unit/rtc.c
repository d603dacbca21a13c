/* SPDX-License-Identifier: Apache-2.0 */
/* The clock's calendar against the C library's. */
#include <criterion/criterion.h>
#include <time.h>

#include "runner/dev/rtc.h"

static int reg(uint8_t index, int64_t t)
{
	uint8_t v = rtc_register(index, t);

	return (v >> 4) * 10 + (v & 0xf);
}

Test(rtc, every_day_until_2200_is_the_right_one)
{
	for (int64_t day = 0; day < 84006; day++) {
		time_t t = day * 86400 + day * 7919 % 86400;
		struct tm tm;

		gmtime_r(&t, &tm);
		cr_assert_eq(reg(0, t), tm.tm_sec);
		cr_assert_eq(reg(2, t), tm.tm_min);
		cr_assert_eq(reg(4, t), tm.tm_hour);
		cr_assert_eq(reg(6, t), tm.tm_wday + 1);
		cr_assert_eq(reg(7, t), tm.tm_mday);
		cr_assert_eq(reg(8, t), tm.tm_mon + 1);
		cr_assert_eq(reg(0x32, t) * 100 + reg(9, t),
			     tm.tm_year + 1900);
	}
}

Test(rtc, index_selects_and_data_is_read_only)
{
	struct rtc r = { 0 };
	uint8_t v = 0x8b; /* register B, with the NMI bit */

	rtc_access(&r, 0, &v, 1, 1);
	rtc_access(&r, 1, &v, 1, 0);
	cr_expect_eq(v, 2, "24 hours, BCD");
	v = 0xff;
	rtc_access(&r, 1, &v, 1, 1);
	rtc_access(&r, 1, &v, 1, 0);
	cr_expect_eq(v, 2);
	v = 10;
	rtc_access(&r, 0, &v, 1, 1);
	rtc_access(&r, 1, &v, 1, 0);
	cr_expect_eq(v & 0x80, 0, "no update in progress, ever");
}
