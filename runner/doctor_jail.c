/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a VM in on this host: a VM is made as a run's, and asked. */
#include "runner/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/confine.h"
#include "runner/machine.h"

#define PATIENCE_NS 60000000000ull /* for a VM that does nothing yet */

/* --- in words ----------------------------------------------------------- */

static void say_uid(struct doctor *d, const char *name)
{
	if (geteuid() == 0)
		doctor_say(d, DOCTOR_OK, name, "a user for each VM");
	else
		doctor_say(d, DOCTOR_OK, name, "a subordinate user for each VM");
}

/* Where its directory stands: that of its controller, without its own name. */
static void say_cgroup(struct doctor *d, const char *name,
		       const struct cgroup *cg, enum cgroup_controller c)
{
	char link[40], path[PATH_MAX];
	ssize_t n = -1;
	char *slash;

	for (unsigned i = 0; i < cg->ndirs && n < 0; i++) {
		if (!(cg->dir[i].controllers & (1u << c)))
			continue;
		snprintf(link, sizeof(link), "/proc/self/fd/%d",
			 cg->dir[i].fd);
		n = readlink(link, path, sizeof(path) - 1);
	}
	path[MAX(n, 0)] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	doctor_say(d, DOCTOR_OK, name, "a limit%s%s", *path ? " below " : "",
		   path);
}

static void say_landlock(struct doctor *d, const char *name)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	doctor_say(d, DOCTOR_OK, name, "no path opens (version %ld)", abi);
}

static void say_on(struct doctor *d, enum jail_layer l,
		   const struct cgroup *cg)
{
	static const char *const words[JAIL_LAYERS] = {
		[JAIL_NAMESPACES] = "mount, pid, net, ipc, uts and cgroup of "
				    "its own",
		[JAIL_ROOT] = "read-only, with no /proc and no /dev",
		[JAIL_RLIMITS] = "descriptors, file sizes, tasks, core",
		[JAIL_CAPS] = "none in any set, and none to regain",
		[JAIL_NNP] = "set",
		[JAIL_SECCOMP] = "a filter of system calls for each thread",
	};
	const char *name = jail_layer_name(l);

	switch (l) {
	case JAIL_UID:
		say_uid(d, name);
		break;
	case JAIL_MEMORY:
	case JAIL_CPU:
	case JAIL_PIDS:
		say_cgroup(d, name, cg,
			   (enum cgroup_controller)(l - JAIL_MEMORY));
		break;
	case JAIL_LANDLOCK:
		say_landlock(d, name);
		break;
	default:
		doctor_say(d, DOCTOR_OK, name, "%s", words[l]);
		break;
	}
}

void doctor_layers(struct doctor *d, const struct jail_report *r,
		   const struct cgroup *cg)
{
	for (int l = 0; l < JAIL_LAYERS; l++) {
		if (r->on & (1u << l))
			say_on(d, (enum jail_layer)l, cg);
		for (unsigned i = 0; i < r->nmissing; i++) {
			const struct jail_missing *m = &r->missing[i];

			if ((int)m->layer != l)
				continue;
			doctor_say(d, DOCTOR_WARN, jail_layer_name(m->layer),
				   "missing: %s", m->why);
			doctor_remedy(d, "%s", m->remedy);
		}
	}
}

/* --- the trial ------------------------------------------------------------ */

/* Until it is locked in, or has failed. */
static int await_started(struct machine *m, struct err *err)
{
	uint64_t end = io_now_ns() + PATIENCE_NS;
	struct pollfd p = { .fd = m->control, .events = POLLIN };
	struct ctl_event e;
	int r;

	while (io_now_ns() < end && poll(&p, 1, 100) <= 0)
		;
	if (!p.revents)
		return err_say(err, -ETIMEDOUT, "mayfly-vmm says nothing");
	r = machine_event(m, &e);
	if (r <= 0)
		return err_say(err, -EIO, "mayfly-vmm ended unexpectedly");
	if (e.type == CTL_STARTED)
		return 0;
	r = err_say(err, -EIO, "%s", e.msg);
	if (e.hint[0])
		err_hint(err, "%s", e.hint);
	return r;
}

/* As launch() does it, with the guest's kernel in memory, and no word to go. */
static int try(struct machine *m, const struct config *c, struct err *err)
{
	_cleanup_fd_ int vmm = -1;
	struct artifacts a;
	int r = artifacts_find(&a, err);

	if (r < 0) {
		err_hint(err, "see above");
		return r;
	}
	vmm = artifact_open(&a, ARTIFACT_VMM, err);
	if (vmm < 0)
		return vmm;
	r = artifact_open(&a, ARTIFACT_KERNEL, err);
	if (r < 0)
		return r;
	m->boot.kernel_fd = machine_give(m, r);
	r = machine_pick_engine(m, CONFIG_ENGINE_AUTO, err);
	if (r == 0)
		r = confine(m, c, NULL, err);
	if (r == 0)
		r = machine_start(m, vmm, err);
	return r < 0 ? r : await_started(m, err);
}

void doctor_jail(struct doctor *d)
{
	struct err err = { 0 };
	struct machine m;
	struct config c;

	config_init(&c);
	c.cpus.milli = 1000; /* a quota, to see whether there can be one */
	machine_init(&m, &c);
	m.hold = 1;
	if (try(&m, &c, &err) == 0) {
		doctor_say(d, DOCTOR_OK, "jail", "a VM was locked in for a "
						 "look; its layers:");
		doctor_layers(d, &m.jail, &m.cgroup);
	} else {
		doctor_say(d, DOCTOR_FAIL, "jail", "no VM can be started: %s",
			   err.msg);
		doctor_remedy(d, "%s", err.hint[0] ? err.hint :
						     "mayfly run --verbose -- "
						     "true may say more");
	}
	machine_free(&m);
	config_free(&c);
}
