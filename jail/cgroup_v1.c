/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup v1: a hierarchy for each controller, or for a few. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"

/*
 * cpuacct counts CPU time. It is asked where it comes with the cpu controller,
 * as systemd mounts them; alone it would be one more directory to move the
 * process into, and the launcher learns the time when it reaps the process.
 */

static unsigned enable(int dir, unsigned controllers, int *code)
{
	if (faccessat(dir, ".", W_OK, AT_EACCESS) == 0)
		return controllers;
	*code = -errno;
	return 0;
}

/* Who may write to the new one's list may move its own processes there. */
static int may_move(int dir)
{
	(void)dir;
	return 0;
}

static int limit_memory(int dir, uint64_t max)
{
	int r = cgroup_write_number(dir, "memory.limit_in_bytes", max);

	if (r < 0)
		return r;
	/* Memory and swap together; not there without swap accounting. */
	r = cgroup_write_number(dir, "memory.memsw.limit_in_bytes", max);
	if (r == -ENOENT) {
		cgroup_write(dir, "memory.swappiness", "0");
		return 0;
	}
	return r;
}

#define PERIOD_US     100000u
#define PERIOD_MAX_US 1000000u
#define QUOTA_MIN_US  1000u

static int limit_quota(int dir, unsigned milli)
{
	/* A quota has at least a millisecond; a share below that of the
	 * usual period takes the longest one. */
	unsigned period = milli < 10 ? PERIOD_MAX_US : PERIOD_US;
	uint64_t quota = (uint64_t)milli * period / 1000;
	int r = cgroup_write_number(dir, "cpu.cfs_period_us", period);

	return r < 0 ? r :
		       cgroup_write_number(dir, "cpu.cfs_quota_us",
					   quota < QUOTA_MIN_US ? QUOTA_MIN_US :
								  quota);
}

static int limit_cpu(int dir, const struct cgroup_limits *l)
{
	int r = l->cpu_milli ? limit_quota(dir, l->cpu_milli) : 0;

	if (r == 0 && l->cpu_shares)
		r = cgroup_write_number(dir, "cpu.shares", l->cpu_shares);
	return r;
}

static int limit(int dir, enum cgroup_controller c,
		 const struct cgroup_limits *l)
{
	switch (c) {
	case CGROUP_MEMORY:
		return limit_memory(dir, l->memory_max);
	case CGROUP_CPU:
		return limit_cpu(dir, l);
	default:
		return cgroup_write_number(dir, "pids.max", l->pids_max);
	}
}

static void usage(int dir, unsigned controllers, struct cgroup_usage *u)
{
	if (controllers & (1u << CGROUP_MEMORY)) {
		u->memory_peak =
			cgroup_number(dir, "memory.max_usage_in_bytes");
		u->oom_kills = cgroup_field(dir, "memory.oom_control",
					    "oom_kill");
	}
	if (controllers & (1u << CGROUP_CPU)) {
		u->cpu_ns = cgroup_number(dir, "cpuacct.usage");
		u->throttled_ns = cgroup_field(dir, "cpu.stat",
					       "throttled_time");
	}
}

static void kill_all(int dir)
{
	cgroup_write(dir, "cpu.cfs_quota_us", "-1");
	cgroup_kill_each(dir);
}

const struct cgroup_ops cgroup_v1_ops = {
	.version = 1,
	.enable = enable,
	.may_move = may_move,
	.limit = limit,
	.usage = usage,
	.kill = kill_all,
};
