/* SPDX-License-Identifier: Apache-2.0 */
/* The host's cgroup of a machine, from what the user asked for. */
#include "runner/confine.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "runner/base/err.h"
#include "runner/base/log.h"

/*
 * A file on tmpfs is memory of whoever writes to it, and is not given back
 * while the file is open: a scratch disk there would end a guest that fills
 * it, long before its quota does.
 */
static uint64_t disks_in_memory(const struct machine *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->boot.ndisks; i++) {
		int32_t at = ctl_disk_written(&m->boot.disk[i]);
		struct statfs fs;
		struct stat st;

		if (at < 0 || fstatfs(m->fd[at], &fs) < 0 ||
		    fstat(m->fd[at], &st) < 0 || st.st_size < 0)
			continue;
		if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
			sum += (uint64_t)st.st_size;
	}
	return sum;
}

void confine_limits(const struct machine *m, const struct config *c,
		    struct cgroup_limits *l)
{
	*l = (struct cgroup_limits){
		.memory_max = c->memory + CONFINE_OVERHEAD +
			      c->memory / CONFINE_SHARE + disks_in_memory(m),
		.cpu_milli = c->cpus.milli,
		.cpu_shares = c->cpu_shares,
		.pids_max = m->boot.ncpus + CONFINE_TASKS,
	};
}

static int random_id(char id[CGROUP_ID + 1], struct err *err)
{
	uint64_t n;

	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		return err_set(err, -errno, "cgroup: a name for it");
	snprintf(id, CGROUP_ID + 1, "%0*" PRIx64, CGROUP_ID, n >> 16);
	return 0;
}

int confine(struct machine *m, const struct config *c, const char *id,
	    struct err *err)
{
	char name[CGROUP_ID + 1];
	int r = 0;

	confine_limits(m, c, &m->limits);
	if (!id)
		r = random_id(name, err);
	if (r == 0)
		r = cgroup_create(&m->cgroup, c->cgroup_parent, id ? id : name,
				  &m->limits, &m->jail, err);
	if (r == 0 && m->cgroup.ndirs)
		log_info("cgroup %s, memory limit %llu MiB",
			 m->cgroup.dir[0].name,
			 m->limits.memory_max / CONFIG_MIB);
	return r;
}
