/* SPDX-License-Identifier: Apache-2.0 */
/* engine: from the name that a user types to an ops table. */
#include "runner/engine/engine.h"

#include <stddef.h>
#include <string.h>

#include "runner/base/mem.h"

const struct engine_ops *engine_by_name(const char *name)
{
	const struct engine_ops *const engines[] = {
		&engine_kvm,
		&engine_soft,
	};

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return NULL;
}
