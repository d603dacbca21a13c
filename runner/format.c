/* SPDX-License-Identifier: Apache-2.0 */
/* Times, sizes and columns, as people and programs read them. */
#include "runner/format.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/base/mem.h"

#define NS_PER_SEC 1000000000ull
#define TIME_LEN   30 /* 2026-11-21T09:30:00.123456789Z */
#define GAP	   3  /* blanks between columns */

uint64_t format_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

void format_time(uint64_t ns, char buf[FORMAT_TIME_MAX])
{
	time_t sec = (time_t)(ns / NS_PER_SEC);
	struct tm tm;

	/* 2^64 ns are the year 2554: four digits, always. */
	gmtime_r(&sec, &tm);
	strftime(buf, FORMAT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + strlen(buf), FORMAT_TIME_MAX - strlen(buf), ".%09uZ",
		 (unsigned)(ns % NS_PER_SEC));
}

/* @n digits; -1 where they are not. */
static int digits(const char *s, int n)
{
	int v = 0;

	for (; n; n--, s++) {
		if (*s < '0' || *s > '9')
			return -1;
		v = 10 * v + (*s - '0');
	}
	return v;
}

int format_parse_time(const char *s, uint64_t *ns)
{
	char again[FORMAT_TIME_MAX];
	struct tm tm;
	time_t sec;

	if (strlen(s) != TIME_LEN)
		return -EINVAL;
	tm = (struct tm){ .tm_year = digits(s, 4) - 1900,
			  .tm_mon = digits(s + 5, 2) - 1,
			  .tm_mday = digits(s + 8, 2),
			  .tm_hour = digits(s + 11, 2),
			  .tm_min = digits(s + 14, 2),
			  .tm_sec = digits(s + 17, 2) };
	sec = timegm(&tm);
	if (sec < 0 || (uint64_t)sec >= UINT64_MAX / NS_PER_SEC)
		return -EINVAL;
	*ns = (uint64_t)sec * NS_PER_SEC + (uint64_t)digits(s + 20, 9);
	/* What was no digit, no separator or no date comes out different. */
	format_time(*ns, again);
	return strcmp(s, again) ? -EINVAL : 0;
}

void format_span(uint64_t ns, char buf[FORMAT_SPAN_MAX])
{
	static const struct {
		uint64_t sec;
		const char *name;
	} unit[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" } };
	uint64_t sec = ns / NS_PER_SEC;

	for (size_t i = 0; i < ARRAY_SIZE(unit); i++) {
		uint64_t n = sec / unit[i].sec;

		if (!n)
			continue;
		snprintf(buf, FORMAT_SPAN_MAX, "%llu %s%s",
			 (unsigned long long)n, unit[i].name, n > 1 ? "s" : "");
		return;
	}
	snprintf(buf, FORMAT_SPAN_MAX, "%llu s", (unsigned long long)sec);
}

void format_size(uint64_t bytes, char buf[FORMAT_SPAN_MAX])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i + 1 < ARRAY_SIZE(unit)) {
		v /= 1024;
		i++;
	}
	/* One digit where it says something: 1.5 GiB, but 512 MiB. */
	if (i && v < 100 && (uint64_t)(v * 10) % 10)
		snprintf(buf, FORMAT_SPAN_MAX, "%.1f %s", v, unit[i]);
	else
		snprintf(buf, FORMAT_SPAN_MAX, "%.0f %s", v, unit[i]);
}

/* Bytes of the UTF-8 sequence at @s, or 0 (RFC 3629 section 4). */
static size_t sequence(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 :
		   s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

int format_is_utf8(const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = sequence((const unsigned char *)s + i, len - i);
		if (!n)
			return 0;
	}
	return 1;
}

char *format_utf8(const char *s, size_t len)
{
	static const char stand_in[] = "\xef\xbf\xbd";
	char *out = len < SIZE_MAX / 4 ? malloc(3 * len + 1) : NULL, *p = out;
	size_t n;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i += n ? n : 1) {
		n = sequence((const unsigned char *)s + i, len - i);
		memcpy(p, n ? s + i : stand_in, n ? n : 3);
		p += n ? n : 3;
	}
	*p = '\0';
	return out;
}

void table_init(struct table *t, size_t ncols)
{
	assert(ncols && ncols <= TABLE_COLS);
	*t = (struct table){ .ncols = ncols };
}

void table_add(struct table *t, const char *text)
{
	char **cell;

	if (t->failed)
		return;
	cell = realloc(t->cell, (t->n + 1) * sizeof(*cell));
	if (cell) {
		t->cell = cell;
		cell[t->n] = strdup(text);
	}
	if (!cell || !cell[t->n])
		t->failed = -ENOMEM;
	else
		t->n++;
}

static int width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

int table_print(const struct table *t)
{
	int wide[TABLE_COLS] = { 0 };

	if (t->failed)
		return t->failed;
	for (size_t i = 0; i < t->n; i++)
		wide[i % t->ncols] =
			MAX(wide[i % t->ncols], width(t->cell[i]) + GAP);
	for (size_t i = 0; i < t->n; i++) {
		size_t col = i % t->ncols;

		fputs(t->cell[i], stdout);
		if (col + 1 == t->ncols)
			putchar('\n');
		else
			printf("%*s", wide[col] - width(t->cell[i]), "");
	}
	return 0;
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct table){ .ncols = t->ncols };
}
