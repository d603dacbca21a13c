/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup v2: one hierarchy for all controllers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"

#define LIST_MAX  512

/*
 * Processes in a directory keep it from sharing memory out, but not cpu and
 * pids: with these it would become the root of a threaded subtree, in which no
 * directory below takes processes. Our own cgroup is the first that is looked
 * at without root: leave it as it is. Only the hierarchy's root has no type.
 */
static int may_divide(int dir)
{
	char text[LIST_MAX];
	int r = cgroup_read(dir, "cgroup.type", text, sizeof(text));

	if (r == -ENOENT)
		return 0;
	if (r == 0 && strcmp(text, "domain\n"))
		r = -EBUSY;
	if (r == 0)
		r = cgroup_read(dir, "cgroup.procs", text, sizeof(text));
	return r == 0 && *text ? -EBUSY : r;
}

/*
 * A controller is there for those below a directory when the directory's
 * subtree_control has it, and that may be written while no process is in the
 * directory itself (cgroup-v2.rst, "No Internal Process Constraint"). One
 * write each, so that one that cannot be had costs no other.
 */
static unsigned enable(int dir, unsigned controllers, int *code)
{
	char list[LIST_MAX];
	unsigned have, there;
	int r = may_divide(dir);

	if (r == 0)
		r = cgroup_read(dir, "cgroup.controllers", list, sizeof(list));
	if (r < 0) {
		*code = r;
		return 0;
	}
	there = cgroup_controllers(list, " \n");
	cgroup_read(dir, "cgroup.subtree_control", list, sizeof(list));
	have = cgroup_controllers(list, " \n") & controllers;
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		unsigned bit = 1u << c;
		char word[16];

		if (!(controllers & ~have & bit))
			continue;
		snprintf(word, sizeof(word), "+%s",
			 cgroup_controller_name((enum cgroup_controller)c));
		r = there & bit ?
			    cgroup_write(dir, "cgroup.subtree_control", word) :
			    -ENXIO;
		if (r == 0)
			have |= bit;
		else if (!*code)
			*code = r;
	}
	return have;
}

/* cgroup-v2.rst, "Delegation Containment": who moves a process must be able to
 * write to the list of the cgroup that both places have in common. */
static int may_move(int dir)
{
	return faccessat(dir, "cgroup.procs", W_OK, AT_EACCESS) < 0 ? -errno :
								      0;
}

static int limit_memory(int dir, uint64_t max)
{
	int r = cgroup_write_number(dir, "memory.max", max);

	if (r < 0)
		return r;
	/* Without swap accounting there is no such file. */
	r = cgroup_write(dir, "memory.swap.max", "0");
	return r == -ENOENT ? 0 : r;
}

static int limit_quota(int dir, uint64_t quota_us, unsigned period_us)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRIu64 " %u", quota_us, period_us);
	return cgroup_write(dir, "cpu.max", text);
}

/* What 1024 is to shares 100 is to weights, which go from 1 to 10000. */
static unsigned weight(unsigned shares)
{
	uint64_t w = (uint64_t)shares * 100 / 1024;

	return w < 1 ? 1 : w > 10000 ? 10000 : (unsigned)w;
}

static int limit_shares(int dir, unsigned shares)
{
	return cgroup_write_number(dir, "cpu.weight", weight(shares));
}

static uint64_t microseconds(uint64_t us)
{
	return us > UINT64_MAX / 1000 ? CGROUP_UNKNOWN : us * 1000;
}

static void usage(int dir, unsigned controllers, struct cgroup_usage *u)
{
	if (controllers & (1u << CGROUP_MEMORY)) {
		u->memory_peak = cgroup_number(dir, "memory.peak");
		u->oom_kills = cgroup_field(dir, "memory.events", "oom_kill");
	}
	/* The time is there without the controller as well. */
	u->cpu_ns = microseconds(cgroup_field(dir, "cpu.stat", "usage_usec"));
	if (controllers & (1u << CGROUP_CPU))
		u->throttled_ns = microseconds(
			cgroup_field(dir, "cpu.stat", "throttled_usec"));
}

static void kill_all(int dir)
{
	cgroup_write(dir, "cpu.max", "max");
	/* Since Linux 5.14; whoever is being born in it dies as well. */
	if (cgroup_write(dir, "cgroup.kill", "1") < 0)
		cgroup_kill_each(dir);
}

const struct cgroup_ops cgroup_v2_ops = {
	.version = 2,
	.enable = enable,
	.may_move = may_move,
	.limit_memory = limit_memory,
	.limit_quota = limit_quota,
	.limit_shares = limit_shares,
	.usage = usage,
	.kill = kill_all,
};
