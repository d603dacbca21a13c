/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal that says how far a long job is. */
#include "runner/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "runner/base/io.h"

#define PATIENCE_NS 400000000ull /* shorter jobs need no progress */
#define STEP_NS	    100000000ull
#define LINE_MAX    80

void progress_init(struct progress *p, int quiet)
{
	*p = (struct progress){ .on = !quiet && isatty(STDERR_FILENO),
				.since = io_now_ns() };
	p->next = p->since + PATIENCE_NS;
}

void progress_restart(struct progress *p)
{
	p->since = io_now_ns();
	p->next = p->since + (p->shown ? 0 : PATIENCE_NS);
}

void progress_show(struct progress *p, const char *what, uint64_t done,
		   uint64_t total)
{
	uint64_t now = p->on ? io_now_ns() : 0;
	double mb = (double)done / 1e6, of = (double)total / 1e6, rate;
	char line[LINE_MAX];
	int n;

	if (!p->on || now < p->next)
		return;
	p->next = now + STEP_NS;
	p->shown = 1;
	rate = mb * 1e9 / (double)(now - p->since + 1);
	n = snprintf(line, sizeof(line), "%s", what);
	if (done && n > 0 && n < LINE_MAX)
		n += snprintf(line + n, LINE_MAX - (size_t)n, ": %.1f MB", mb);
	if (done && total && n > 0 && n < LINE_MAX)
		n += snprintf(line + n, LINE_MAX - (size_t)n, " of %.1f MB",
			      of);
	if (done && n > 0 && n < LINE_MAX)
		snprintf(line + n, LINE_MAX - (size_t)n, ", %.0f MB/s", rate);
	dprintf(STDERR_FILENO, "\r\033[K%s", line);
}

void progress_clear(struct progress *p)
{
	if (p->shown)
		dprintf(STDERR_FILENO, "\r\033[K");
	p->shown = 0;
}
