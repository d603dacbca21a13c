/* SPDX-License-Identifier: Apache-2.0 */
/* The host's limits for a VM, from what the user asked for. */
#include "runner/confine.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB CONFIG_MIB

static struct cgroup_limits limits_of(unsigned cpus, unsigned milli,
				      uint64_t memory, int disk,
				     enum ctl_disk_kind kind)
{
	struct config c = { .cpus = { cpus, milli }, .memory = memory };
	struct cgroup_limits l;
	struct machine m;

	machine_init(&m, &c);
	if (disk >= 0)
		machine_disk(&m, kind, &disk, 1, NULL);
	confine_limits(&m, &c, &l);
	machine_free(&m);
	return l;
}

Test(confine, memory_is_the_guests_and_an_overhead)
{
	cr_assert_eq(limits_of(1, 0, 64 * MIB, -1, 0).memory_max, 161 * MIB);
	cr_assert_eq(limits_of(1, 0, 512 * MIB, -1, 0).memory_max, 616 * MIB);
}

Test(confine, cpus_are_quota_and_tasks)
{
	struct cgroup_limits l = limits_of(2, 1250, 64 * MIB, -1, 0);

	cr_assert_eq(l.cpu_milli, 1250);
	cr_assert_eq(l.pids_max, 10);
	cr_assert_eq(limits_of(1, 0, 64 * MIB, -1, 0).cpu_milli, 0);
	cr_assert_eq(limits_of(1, 0, 64 * MIB, -1, 0).cpu_shares, 0);
}

/* What a memfd has is memory, as a file on tmpfs is. */
Test(confine, scratch_disk_in_memory_counts)
{
	int fd = memfd_create("scratch", MFD_CLOEXEC), ro;

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, 100 * (off_t)MIB), 0);
	ro = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	cr_assert_eq(limits_of(1, 0, 64 * MIB, fd, CTL_DISK_SCRATCH)
			     .memory_max, 261 * MIB);
	cr_assert_eq(limits_of(1, 0, 64 * MIB, ro, CTL_DISK_READ)
			     .memory_max, 161 * MIB);
}
