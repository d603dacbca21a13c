/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: diagnostics for --verbose, on stderr, one line each.
 *
 * The only global of the program is the level. Messages that a guest can
 * trigger must use log_limited(), which lets 10 lines per call site and second
 * through and then counts. Thread-safe: one write(2) a line.
 */
#ifndef MAYFLY_BASE_LOG_H
#define MAYFLY_BASE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum log_level { LOG_QUIET, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

struct log_limit {
	_Atomic uint64_t second;
	_Atomic uint32_t count;
};

/* True while this call site may speak. */
int log_allow(struct log_limit *l);

#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_limited(...)                                     \
	do {                                                 \
		static struct log_limit limit_;              \
		if (log_get_level() >= LOG_INFO &&           \
		    log_allow(&limit_))                      \
			log_line(LOG_INFO, __VA_ARGS__);     \
	} while (0)

#endif
