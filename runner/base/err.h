/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err: what went wrong, in words, with the errno that caused it.
 *
 * Set-up paths take a trailing `struct err *` owned by the caller and return
 * 0 or -errno. The module that fails calls err_set(); each caller on the way
 * up may name its own part with err_wrap(). Only main() prints, and err_next()
 * where there is more than one: what steers a terminal is a '?' by then, whoever
 * it came from. A `struct err` belongs to one thread; NULL is accepted where
 * words are made, and means "no words".
 */
#ifndef MAYFLY_BASE_ERR_H
#define MAYFLY_BASE_ERR_H

#define ERR_MSG_MAX 512
#define ERR_HINT_MAX 256

struct err {
	int code;		    /* -errno, 0 while nothing failed */
	char msg[ERR_MSG_MAX];	    /* "open a.img: Permission denied" */
	char hint[ERR_HINT_MAX];    /* the remedy, or empty */
};

/*
 * Record a failure and return @code, so that `return err_set(...)` reads well.
 * ": strerror(-code)" is appended when @code is negative.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, without strerror: the words say all. */
int err_say(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "fmt: " before the message that is there. Returns err->code, so that a
 * caller may return it; -EIO where nobody keeps the words (NULL). */
int err_wrap(struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Say what the user can do about it. Returns as err_wrap() does. */
int err_hint(struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Message and hint, if any, on standard error. */
void err_print(const struct err *err);

/* One more of several failures, none of which ends the work: the one before is
 * printed now, @why is left for main(). *@first is the first one's @code; 0
 * before. */
void err_next(struct err *err, int *first, int code, const struct err *why);

#endif
