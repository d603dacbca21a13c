/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a VM in, and what this host does not allow of it. */
#include "jail/layers.h"

#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

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

/* --- the program's own ------------------------------------------------ */

#ifdef MAYFLY_SAN
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define OLDER_SECCOMP "use Linux 4.14 or newer, with CONFIG_SECCOMP_FILTER"
#define OLDER_LANDLOCK "use Linux 5.13 or newer, with CONFIG_SECURITY_LANDLOCK"
#define IN_CONTAINER "in a container: --security-opt seccomp=unconfined"

static void no_landlock(struct jail_report *r)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0 && errno == EOPNOTSUPP)
		jail_report_missing(r, JAIL_LANDLOCK,
				    "add landlock to the list in lsm= on the "
				    "kernel's command line",
				    "it was not switched on when this host "
				    "booted");
	else if (abi < 0 && errno == ENOSYS)
		jail_report_missing(r, JAIL_LANDLOCK, OLDER_LANDLOCK,
				    "this kernel does not have it");
	else
		jail_report_missing(r, JAIL_LANDLOCK, IN_CONTAINER,
				    "this host does not let us use it: %s",
				    strerror(abi < 0 ? errno : EPERM));
}

static void no_seccomp(struct jail_report *r)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		jail_report_missing(r, JAIL_SECCOMP, OLDER_SECCOMP,
				    "this kernel has no filters of system "
				    "calls: %s", strerror(errno));
	else
		jail_report_missing(r, JAIL_SECCOMP, IN_CONTAINER,
				    "this host does not let us use it");
}

void jail_report_program(struct jail_report *r, uint32_t told)
{
	static const struct {
		enum jail_layer layer;
		void (*explain)(struct jail_report *r);
	} own[] = {
		{ JAIL_LANDLOCK, no_landlock },
		{ JAIL_SECCOMP, no_seccomp },
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		enum jail_layer l = own[i].layer;

		if (told & (1u << l))
			jail_report_on(r, l);
		else if (IS_SANITIZED)
			jail_report_missing(r, l, "build without SAN",
					    "this is a sanitizer's build");
		else
			own[i].explain(r);
	}
}

/* --- in words ----------------------------------------------------------- */

const char *jail_layer_names(uint32_t mask, char names[JAIL_NAMES_MAX])
{
	size_t n = 0;

	names[0] = '\0';
	for (int l = 0; l < JAIL_LAYERS; l++)
		if (mask & (1u << l) && n < JAIL_NAMES_MAX)
			n += (size_t)snprintf(names + n, JAIL_NAMES_MAX - n,
					      "%s%s", n ? ", " : "",
					      jail_layer_name(l));
	return names;
}

uint32_t jail_report_lacks(const struct jail_report *r)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < r->nmissing; i++)
		mask |= 1u << r->missing[i].layer;
	return mask;
}

int jail_report_strict(const struct jail_report *r, struct err *err)
{
	const struct jail_missing *m = &r->missing[0];
	char others[JAIL_NAMES_MAX];
	int ret;

	if (!r->nmissing)
		return 0;
	jail_layer_names(jail_report_lacks(r) & ~(1u << m->layer), others);
	ret = err_say(err, -EPERM, "jail: no %s: %s%s%s",
		      jail_layer_name(m->layer), m->why,
		      *others ? "; nor " : "", others);
	err_hint(err, "%s%s", m->remedy,
		 *others ? "; mayfly doctor has the others" : "");
	return ret;
}
