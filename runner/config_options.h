/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_options: rows that several option tables have, of a struct config.
 */
#ifndef MAYFLY_CONFIG_OPTIONS_H
#define MAYFLY_CONFIG_OPTIONS_H

#include <stddef.h>

#include "runner/config.h"
#include "runner/opts.h"

#define CONFIG_FIELD(f) offsetof(struct config, f)

/* How large the machine is. */
#define CONFIG_SIZE_OPTIONS \
	{ "memory", 'm', "SIZE", "MAYFLY_MEMORY", \
	  "memory: 512m, 2g; a bare number is MiB (512m)", config_set_memory, \
	  CONFIG_FIELD(memory) }, \
	{ "cpus", 0, "N", "MAYFLY_CPUS", \
	  "number of CPUs, and the limit of the host's: 2, 0.5 (1, none)", \
	  config_set_cpus, CONFIG_FIELD(cpus) }

/* What keeps it in. */
#define CONFIG_JAIL_OPTIONS \
	{ "strict", 0, NULL, NULL, \
	  "fail where a layer of the jail is impossible on this host", \
	  opt_flag, CONFIG_FIELD(strict) }, \
	{ "uid-range", 0, "FIRST:COUNT", "MAYFLY_UID_RANGE", \
	  "users of which mayfly-vmm becomes one, if run by root", \
	  config_set_uid_range, CONFIG_FIELD(uid_range) }, \
	{ "cgroup-parent", 0, "PATH", "MAYFLY_CGROUP_PARENT", \
	  "cgroup of the host below which the VM gets its own (mayfly)", \
	  opt_string, CONFIG_FIELD(cgroup_parent) }

#endif
