/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a VM in, for who starts it. */
#include "runner/jail_tell.h"

#include <stdio.h>
#include <unistd.h>

#include "runner/base/log.h"

/*
 * Without one of these a VMM that its guest has taken over can do more to this
 * host. A user of its own is one of them for root alone, whose VMM is then user
 * 0; without root it is the caller's, alone in its user namespace.
 */
#define MATTERS                                                       \
	((1u << JAIL_NAMESPACES) | (1u << JAIL_ROOT) |                \
	 (1u << JAIL_MEMORY) | (1u << JAIL_CPU) | (1u << JAIL_PIDS) | \
	 (1u << JAIL_LANDLOCK) | (1u << JAIL_SECCOMP))

int jail_notice(const struct jail_report *r, char *line, size_t size)
{
	uint32_t matters = MATTERS | (geteuid() ? 0 : 1u << JAIL_UID);
	uint32_t lacks = jail_report_lacks(r) & matters;
	char names[JAIL_NAMES_MAX];

	if (!lacks)
		return 0;
	snprintf(line, size,
		 "jail: no %s on this host; mayfly doctor says what "
		 "mends it", jail_layer_names(lacks, names));
	return 1;
}

void jail_tell(const struct jail_report *r)
{
	char names[JAIL_NAMES_MAX], line[JAIL_NAMES_MAX + 100];

	if (log_get_level() > LOG_QUIET) {
		log_info("jail: %s", jail_layer_names(r->on, names));
		for (unsigned i = 0; i < r->nmissing; i++) {
			const struct jail_missing *m = &r->missing[i];

			log_info("jail: no %s: %s; %s",
				 jail_layer_name(m->layer), m->why, m->remedy);
		}
	} else if (isatty(STDERR_FILENO) &&
		   jail_notice(r, line, sizeof(line))) {
		dprintf(STDERR_FILENO, "mayfly: %s\n", line);
	}
}
