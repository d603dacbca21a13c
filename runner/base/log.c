/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics on stderr. */
#include "runner/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/mem.h"

#define LINES_PER_SECOND 10

static _Atomic int level_now = LOG_QUIET;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_now, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n, m;

	if (level > log_get_level())
		return;
	n = snprintf(line, sizeof(line), "mayfly: ");
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n = MIN(n + m, (int)sizeof(line) - 2);
	line[n++] = '\n';
	/* A diagnostic that cannot be written has nobody to tell. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

int log_allow(struct log_limit *l)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (uint64_t)ts.tv_sec;
	if (atomic_exchange(&l->second, now) != now)
		atomic_store(&l->count, 0);
	return atomic_fetch_add(&l->count, 1) < LINES_PER_SECOND;
}
