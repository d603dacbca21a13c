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

static int limit_quota(int dir, uint64_t quota_us, unsigned period_us)
{
	int r = cgroup_write_number(dir, "cpu.cfs_period_us", period_us);

	return r < 0 ? r :
		       cgroup_write_number(dir, "cpu.cfs_quota_us", quota_us);
}

static int limit_shares(int dir, unsigned shares)
{
	return cgroup_write_number(dir, "cpu.shares", shares);
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
	.limit_memory = limit_memory,
	.limit_quota = limit_quota,
	.limit_shares = limit_shares,
	.usage = usage,
	.kill = kill_all,
};
