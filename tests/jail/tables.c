/* SPDX-License-Identifier: Apache-2.0 */
/* All probes, by number. */
#include <stddef.h>

#include "runner/base/mem.h"
#include "tests/jail/probe.h"

int given[GIVEN];

const struct probe *probe_at(unsigned i)
{
	static const struct probe *const table[] = { probe_paths, probe_fds,
						     probe_others,
						     probe_rights };

	for (size_t t = 0; t < ARRAY_SIZE(table); t++)
		for (const struct probe *p = table[t]; p->name; p++)
			if (i-- == 0)
				return p;
	return NULL;
}
