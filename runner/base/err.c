/* SPDX-License-Identifier: Apache-2.0 */
/* Error values that carry their own words. */
#include "runner/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/control.h"

/* Names of files and words of others are in it: who shows it need not ask. */
static void say(struct err *err, int code, const char *fmt, va_list ap)
{
	err->code = code;
	err->hint[0] = '\0';
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	control_hide(err->msg);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!err)
		return code;
	va_start(ap, fmt);
	say(err, code, fmt, ap);
	va_end(ap);
	n = strlen(err->msg);
	if (code < 0)
		snprintf(err->msg + n, sizeof(err->msg) - n, ": %s",
			 strerror(-code));
	return code;
}

int err_say(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	say(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char old[ERR_MSG_MAX];
	va_list ap;
	size_t n;

	if (!err)
		return -EIO;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	control_hide(err->msg);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", old);
	return err->code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	control_hide(err->hint);
	return err->code;
}

void err_print(const struct err *err)
{
	if (!err->msg[0])
		return;
	dprintf(STDERR_FILENO, "mayfly: %s\n", err->msg);
	if (err->hint[0])
		dprintf(STDERR_FILENO, "hint: %s\n", err->hint);
}

void err_next(struct err *err, int *first, int code, const struct err *why)
{
	if (*first < 0)
		err_print(err);
	else
		*first = code;
	*err = *why;
}
