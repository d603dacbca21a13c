/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format: times, sizes and columns, as people and programs read them.
 *
 * Pure but for table_print(), which writes to stdout. Times are CLOCK_REALTIME
 * in nanoseconds; 0 is "never". One thread per table.
 */
#ifndef MAYFLY_FORMAT_H
#define MAYFLY_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define FORMAT_TIME_MAX 36
#define FORMAT_SPAN_MAX 32

uint64_t format_now(void);

/* RFC 3339, in UTC, with nanoseconds: 2026-11-21T09:30:00.123456789Z. */
void format_time(uint64_t ns, char buf[FORMAT_TIME_MAX]);
/* What format_time() writes, and nothing else. 0 or -EINVAL. */
int format_parse_time(const char *s, uint64_t *ns);

/* "3 s", "5 minutes", "1 hour": the largest unit, rounded down. */
void format_span(uint64_t ns, char buf[FORMAT_SPAN_MAX]);
/* "512 MiB", "1.5 GiB". */
void format_size(uint64_t bytes, char buf[FORMAT_SPAN_MAX]);

/* A copy in valid UTF-8: each byte that is not becomes U+FFFD. The caller
 * frees it; NULL without memory. */
char *format_utf8(const char *s, size_t len);
int format_is_utf8(const char *s, size_t len);

/* Columns, as wide as their widest cell; the last is not padded. */
#define TABLE_COLS 9
struct table {
	size_t ncols, n; /* n cells */
	char **cell;
	int failed; /* -ENOMEM */
};

void table_init(struct table *t, size_t ncols);
/* The next cell; header first, row after row. Copied. */
void table_add(struct table *t, const char *text);
/* 0 or -errno; main() sees what stdout refuses. */
int table_print(const struct table *t);
void table_free(struct table *t);

#endif
