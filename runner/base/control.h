/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: characters that steer a terminal and are not to be shown to one.
 *
 * C0, DEL, and C1 as UTF-8 has it (U+0080 to U+009F): "\xc2\x9b" begins a
 * sequence as ESC [ does. Pure, any thread.
 */
#ifndef MAYFLY_BASE_CONTROL_H
#define MAYFLY_BASE_CONTROL_H

#include <stddef.h>

/* Bytes of the one that @s begins with, 1 or 2; 0: none. */
static inline size_t control_len(const char *s)
{
	const unsigned char c = (unsigned char)s[0];
	const unsigned char next = c == 0xc2 ? (unsigned char)s[1] : 0;

	if ((c && c < 0x20) || c == 0x7f)
		return 1;
	return next >= 0x80 && next < 0xa0 ? 2 : 0;
}

/* '?' for each. */
static inline void control_hide(char *s)
{
	char *to = s;
	size_t n;

	for (; *s; s += n ? n : 1) {
		n = control_len(s);
		*to++ = n ? '?' : *s;
	}
	*to = '\0';
}

#endif
