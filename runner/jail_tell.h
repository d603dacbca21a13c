/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail_tell: say what keeps a VM in, and what this host does not allow of it.
 *
 * To be called when the report is complete and no guest has run yet. With
 * --verbose that is a line for what is on and one for each layer that is
 * missing, with the remedy; without, on a terminal, one line in all if
 * something is missing that matters. Else nothing. One thread.
 */
#ifndef MAYFLY_JAIL_TELL_H
#define MAYFLY_JAIL_TELL_H

#include <stddef.h>

#include "jail/layers.h"

void jail_tell(const struct jail_report *r);

/* The one line for a terminal, into @line; 0: there is nothing to say. */
int jail_notice(const struct jail_report *r, char *line, size_t size);

#endif
