/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine: the host's cgroup of a machine, from what the user asked for.
 *
 * Between the machine's description and machine_start(), which moves the
 * process into it; machine_kill() reads what it used, and removes it.
 */
#ifndef MAYFLY_CONFINE_H
#define MAYFLY_CONFINE_H

#include "runner/machine.h"

/* What mayfly-vmm may have besides the guest's memory: its own, page tables
 * and the kernel's books for all of it, engine soft's decoded code (20 MiB) and
 * machine code (ENGINE_FILE_MAX). */
#define CONFINE_OVERHEAD (96 * CONFIG_MIB)
#define CONFINE_SHARE	 64 /* and one part in so many of the guest's */

/* Threads besides the vCPUs': the main one, KVM's own, a few to spare. */
#define CONFINE_TASKS 8

void confine_limits(const struct machine *m, const struct config *c,
		    struct cgroup_limits *l);

/* @id: the run's, or NULL. What the host does not allow is in m->jail. */
int confine(struct machine *m, const struct config *c, const char *id,
	    struct err *err);

#endif
