/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name. */
#include "runner/signo.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The kernel's: libc keeps some for itself. */
#define GUEST_RTMIN 34
#define GUEST_RTMAX SIGNO_MAX

static int number_in(const char *s, long min, long max)
{
	char *end;
	long v = strtol(s, &end, 10);

	return *s < '0' || *s > '9' || *end || v < min || v > max ? -1 : (int)v;
}

int signo_parse(const char *s)
{
	int n = number_in(s, 1, GUEST_RTMAX);

	if (n > 0)
		return n;
	if (!strncasecmp(s, "SIG", 3))
		s += 3;
	for (n = 1; n < 32; n++)
		if (sigabbrev_np(n) && !strcasecmp(s, sigabbrev_np(n)))
			return n;
	if (!strcasecmp(s, "RTMIN"))
		return GUEST_RTMIN;
	if (!strcasecmp(s, "RTMAX"))
		return GUEST_RTMAX;
	n = number_in(strncasecmp(s, "RTMIN+", 6) ? "" : s + 6, 0, 30);
	if (n >= 0)
		return GUEST_RTMIN + n;
	n = number_in(strncasecmp(s, "RTMAX-", 6) ? "" : s + 6, 0, 30);
	return n >= 0 ? GUEST_RTMAX - n : -1;
}
