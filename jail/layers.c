/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a VM in, and what this host does not allow of it. */
#include "jail/layers.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "runner/base/err.h"

const char *jail_layer_name(enum jail_layer l)
{
	static const char *const name[JAIL_LAYERS] = {
		[JAIL_NAMESPACES] = "namespaces",
		[JAIL_ROOT] = "empty_root",
		[JAIL_UID] = "own_uid",
		[JAIL_RLIMITS] = "rlimits",
		[JAIL_CAPS] = "no_capabilities",
		[JAIL_NNP] = "no_new_privs",
		[JAIL_MEMORY] = "cgroup_memory",
		[JAIL_CPU] = "cgroup_cpu",
		[JAIL_PIDS] = "cgroup_pids",
		[JAIL_LANDLOCK] = "landlock",
		[JAIL_SECCOMP] = "seccomp",
	};

	return name[l];
}

void jail_report_on(struct jail_report *r, enum jail_layer l)
{
	r->on |= 1u << l;
}

void jail_report_missing(struct jail_report *r, enum jail_layer l,
			 const char *remedy, const char *why, ...)
{
	struct jail_missing *m;
	va_list ap;

	r->on &= ~(1u << l);
	for (unsigned i = 0; i < r->nmissing; i++)
		if (r->missing[i].layer == l)
			return;
	m = &r->missing[r->nmissing++];
	m->layer = l;
	va_start(ap, why);
	vsnprintf(m->why, sizeof(m->why), why, ap);
	va_end(ap);
	snprintf(m->remedy, sizeof(m->remedy), "%s", remedy);
}

int jail_report_strict(const struct jail_report *r, struct err *err)
{
	const struct jail_missing *m = &r->missing[0];
	int ret;

	if (!r->nmissing)
		return 0;
	ret = err_say(err, -EPERM, "jail: no %s: %s", jail_layer_name(m->layer),
		      m->why);
	err_hint(err, "%s", m->remedy);
	return ret;
}
