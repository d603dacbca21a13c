/* SPDX-License-Identifier: Apache-2.0 */
/* The host's cgroup of one VM. */
#include "jail/cgroup.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"
#include "runner/base/err.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/*
 * Theory of operation
 *
 * Values first: a directory is made, locked and given its values while it is
 * empty, so no instant exists at which the process is in it without limits.
 * On v2 it is born there. On v1 it has to be moved, which waits in the kernel
 * for milliseconds, once for each hierarchy; the launcher does that while the
 * process makes its threads, and lets the guest run when it is done.
 *
 * The memory that the process has by then stays on the launcher's account (v1
 * moves no charges): that is mayfly-vmm's own, before there is a guest.
 *
 * The directory has the run's id for its name. Prune takes what has such a
 * name and no lock; a lock on the parent keeps it away between mkdir and
 * flock. As that one may be held by anybody it is not relied on: if prune was
 * there, the directory's lock is another's, or it is no more what its name
 * leads to, and the next name is tried. The directory itself is nobody else's
 * to open, or to lock.
 */

#define NAMES 9 /* id, id-2, ... id-9 */

static_assert(JAIL_CPU == JAIL_MEMORY + CGROUP_CPU &&
		      JAIL_PIDS == JAIL_MEMORY + CGROUP_PIDS,
	      "controllers and their layers stand in the same order");

static unsigned asked(const struct cgroup_limits *l)
{
	return (l->memory_max ? 1u << CGROUP_MEMORY : 0) |
	       (l->cpu_milli || l->cpu_shares ? 1u << CGROUP_CPU : 0) |
	       (l->pids_max ? 1u << CGROUP_PIDS : 0);
}

static void explain(struct jail_report *report, unsigned controllers,
		    int version, int code)
{
	for (int c = 0; c < CGROUP_CONTROLLERS; c++)
		if (controllers & (1u << c))
			cgroup_explain(report, (enum cgroup_controller)c,
				       version, code);
}

/* --- one directory -------------------------------------------------------- */

/* Make and lock @d->name. -EAGAIN: somebody was faster. */
static int make_named(struct cgroup_dir *d)
{
	_cleanup_fd_ int fd = -1;
	int r;

	if (mkdirat(d->parent, d->name, 0700) < 0)
		return errno == EEXIST ? -EAGAIN : -errno;
	fd = cgroup_open(d->parent, d->name);
	if (fd < 0)
		return fd == -ENOENT ? -EAGAIN : fd;
	r = cgroup_lock(d->parent, fd, d->name);
	if (r <= 0)
		return r < 0 ? r : -EAGAIN;
	d->fd = steal_fd(&fd);
	return 0;
}

static int make(struct cgroup_dir *d, const char *id)
{
	int r = -EAGAIN;

	cgroup_hold(d->parent, LOCK_SH);
	for (int i = 1; i <= NAMES && r == -EAGAIN; i++) {
		if (i == 1)
			snprintf(d->name, sizeof(d->name), "%s", id);
		else
			snprintf(d->name, sizeof(d->name), "%s-%d", id, i);
		r = make_named(d);
	}
	cgroup_let_go(d->parent);
	return r == -EAGAIN ? -EEXIST : r;
}

static void remove_dir(struct cgroup_dir *d)
{
	int r = 0;

	if (d->fd >= 0)
		r = cgroup_remove(d->ops, d->parent, d->fd, d->name);
	if (r < 0)
		log_info("cgroup %s stays: %s", d->name, strerror(-r));
	close_fd(&d->fd);
	close_fd(&d->parent);
}

/* A quota has at least a millisecond; a share of a CPU below that of the usual
 * period takes the longest one. */
#define PERIOD_US     100000u
#define PERIOD_MAX_US 1000000u
#define QUOTA_MIN_US  1000u

static int limit_cpu(const struct cgroup_ops *ops, int dir,
		     const struct cgroup_limits *l)
{
	unsigned period = l->cpu_milli < 10 ? PERIOD_MAX_US : PERIOD_US;
	uint64_t quota = (uint64_t)l->cpu_milli * period / 1000;
	int r = 0;

	if (l->cpu_milli)
		r = ops->limit_quota(dir, MAX(quota, (uint64_t)QUOTA_MIN_US),
				     period);
	if (r == 0 && l->cpu_shares)
		r = ops->limit_shares(dir, l->cpu_shares);
	return r;
}

int cgroup_limit(const struct cgroup_ops *ops, int dir,
		 enum cgroup_controller c, const struct cgroup_limits *l)
{
	switch (c) {
	case CGROUP_MEMORY:
		return ops->limit_memory(dir, l->memory_max);
	case CGROUP_CPU:
		return limit_cpu(ops, dir, l);
	default:
		return cgroup_write_number(dir, "pids.max", l->pids_max);
	}
}

/* The values of those of @want; which of them hold. */
static unsigned set_limits(struct cgroup_dir *d, unsigned want,
			   const struct cgroup_limits *l,
			   struct jail_report *report)
{
	unsigned held = 0;

	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		int r;

		if (!(want & (1u << c)))
			continue;
		r = cgroup_limit(d->ops, d->fd, (enum cgroup_controller)c, l);
		if (r == 0)
			held |= 1u << c;
		else
			explain(report, 1u << c, d->ops->version, r);
	}
	return held;
}

/* In one hierarchy: 1 where there is a directory now. */
static int create_in(struct cgroup_dir *d, const struct cgroup_map *map,
		     const struct cgroup_hierarchy *h, const char *parent,
		     const char *id, const struct cgroup_limits *l,
		     struct jail_report *report)
{
	unsigned want = asked(l) & h->controllers, got;
	int code = 0, r;

	*d = (struct cgroup_dir){ .fd = -1, .ops = cgroup_ops_of(h) };
	d->parent = cgroup_open_parent(map, h, parent, geteuid() == 0, want,
				       &got, &code);
	explain(report, want & ~got, h->version, code);
	if (d->parent < 0)
		return 0;
	r = make(d, id);
	if (r < 0) {
		explain(report, got, h->version, r);
		close_fd(&d->parent);
		return 0;
	}
	d->controllers = set_limits(d, got, l, report);
	if (!d->controllers)
		remove_dir(d);
	return d->controllers != 0;
}

/* --- all of them ----------------------------------------------------------- */

int cgroup_create(struct cgroup *cg, const char *parent, const char *id,
		  const struct cgroup_limits *limits,
		  struct jail_report *report, struct err *err)
{
	unsigned rest = asked(limits);
	struct cgroup_map map;
	int r;

	*cg = (struct cgroup){ 0 };
	parent = parent ? parent : CGROUP_PARENT;
	r = cgroup_check_parent(parent, err);
	if (r < 0)
		return r;
	assert(cgroup_is_name(id) && strlen(id) == CGROUP_ID);
	r = cgroup_map_read(&map);
	if (r < 0) {
		explain(report, rest, 0, r);
		return 0;
	}
	for (unsigned i = 0; i < map.n; i++) {
		struct cgroup_dir *d = &cg->dir[cg->ndirs];

		if (!(map.h[i].controllers & rest))
			continue;
		rest &= ~map.h[i].controllers;
		if (!create_in(d, &map, &map.h[i], parent, id, limits, report))
			continue;
		for (int c = 0; c < CGROUP_CONTROLLERS; c++)
			if (d->controllers & (1u << c))
				jail_report_on(report,
					       (enum jail_layer)(JAIL_MEMORY +
								 c));
		cg->ndirs++;
	}
	explain(report, rest, 0, -ENODEV);
	return 0;
}

int cgroup_fd(const struct cgroup *cg)
{
	return cg->ndirs && cg->dir[0].ops->version == 2 ? cg->dir[0].fd : -1;
}

static int attach(struct cgroup_dir *d, pid_t pid, struct jail_report *report)
{
	int r = cgroup_write_number(d->fd, "cgroup.procs", (uint64_t)pid);

	if (r < 0 && r != -ESRCH) {
		explain(report, d->controllers, d->ops->version, r);
		remove_dir(d);
		r = 0;
	}
	return r;
}

static int is_memory(const struct cgroup_dir *d)
{
	return (d->controllers & (1u << CGROUP_MEMORY)) != 0;
}

int cgroup_attach(struct cgroup *cg, pid_t pid, struct jail_report *report)
{
	int r = 0;

	/* Memory first, wherever it stands: the VM is making its threads. */
	for (int memory = 1; memory >= 0; memory--)
		for (unsigned i = 0; r == 0 && i < cg->ndirs; i++)
			if (cg->dir[i].fd >= 0 &&
			    is_memory(&cg->dir[i]) == memory)
				r = attach(&cg->dir[i], pid, report);
	return r;
}

void cgroup_usage(const struct cgroup *cg, struct cgroup_usage *u)
{
	*u = (struct cgroup_usage){ CGROUP_UNKNOWN, CGROUP_UNKNOWN,
				    CGROUP_UNKNOWN, CGROUP_UNKNOWN };
	for (unsigned i = 0; i < cg->ndirs; i++) {
		const struct cgroup_dir *d = &cg->dir[i];

		if (d->fd >= 0)
			d->ops->usage(d->fd, d->controllers, u);
	}
}

void cgroup_kill(const struct cgroup *cg)
{
	for (unsigned i = 0; i < cg->ndirs; i++)
		if (cg->dir[i].fd >= 0)
			cg->dir[i].ops->kill(cg->dir[i].fd);
}

void cgroup_free(struct cgroup *cg)
{
	while (cg->ndirs) {
		struct cgroup_dir *d = &cg->dir[--cg->ndirs];

		if (d->fd >= 0)
			remove_dir(d);
	}
}
