/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats: what a run cost, in a few lines for a person, for --stats.
 *
 * Lines that come from the guest say so. What is not known is left out. One
 * thread.
 */
#ifndef MAYFLY_STATS_H
#define MAYFLY_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "runner/meta.h"

/* Besides what the report has; 0: not known. */
struct stats {
	uint64_t vmm_peak;   /* bytes of memory that mayfly-vmm had at once */
};

/* Into @buf, cut where it does not fit. */
void stats_format(const struct stats *s, const struct meta *m, char *buf,
		  size_t size);

#endif
