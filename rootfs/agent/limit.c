/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits of the run's own command: the run ends with the first that is hit.
 *
 * Memory: the kernel kills all of the cgroup at once (memory.oom.group), so
 * that the end does not hang on which process was the largest, or on what a
 * shell makes of a child that died. The cgroup may have a little less than
 * there is, so that it meets its own limit before the machine's: the kernel,
 * this program and what more sessions run go on, and no page of a tmpfs, which
 * outlives its writer, is left to starve them.
 *
 * Processes: the kernel only refuses, and counts that. A bomb may go off after
 * its main process has ended, so what that leaves behind lives on as long as
 * it grows.
 *
 * Disk: the kernel only refuses. What is free is looked at as the main process
 * ends, before what it left behind is killed.
 */
#include "rootfs/agent/session.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#define RESERVE	      (2u << 20) /* bytes of memory, and one part in: */
#define RESERVE_SHARE 64

#define GROW_MS	   20
#define GROW_IDLE  10 /* looks in a row that see it no larger */
#define GROW_LOOKS 500

uint64_t limit_memory(void)
{
	struct sysinfo si;
	uint64_t spare;

	if (sysinfo(&si))
		return 0;
	spare = ((uint64_t)si.freeram + si.bufferram) * si.mem_unit;
	spare -= spare / RESERVE_SHARE;
	return spare > 2 * RESERVE ? spare - RESERVE : 0;
}

void limit_watch(struct session *s)
{
	int dir = s->spawn.cgroup;

	if (!is_own(s) || !s->spawn.cmd.head.pids_max || dir < 0)
		return;
	/* Without what root of the guest makes of limits further down; an old
	 * kernel has only the sum. */
	s->fd_limit = openat(dir, "pids.events.local", O_RDONLY | O_CLOEXEC);
	if (s->fd_limit < 0)
		s->fd_limit = openat(dir, "pids.events", O_RDONLY | O_CLOEXEC);
	cgroup_read_fd(s->fd_limit, "max"); /* poll tells of changes since */
}

void limit_hit(struct session *s)
{
	uint64_t refused = cgroup_read_fd(s->fd_limit, "max");

	if (!refused)
		return;
	s->exit.pids_refused = refused;
	close_fd(&s->fd_limit);
	if (refused != WIRE_UNKNOWN)
		cgroup_kill(s->spawn.cgroup);
}

int limit_may_grow(struct session *s)
{
	int dir = s->spawn.cgroup;

	if (s->fd_limit < 0 ||
	    cgroup_read(dir, "cgroup.events", "populated") != 1)
		return 0;
	s->grown = cgroup_read(dir, "pids.peak", NULL);
	s->look_ns = boot_ns() + GROW_MS * 1000000u;
	s->looks = s->idle_looks = 0;
	return s->grown != WIRE_UNKNOWN;
}

int limit_look_ms(const struct session *s)
{
	uint64_t now = boot_ns();

	return now < s->look_ns ? (int)((s->look_ns - now) / 1000000u) + 1 : 0;
}

int limit_has_settled(struct session *s)
{
	uint64_t grown;

	if (s->fd_limit < 0)
		return 1; /* it was hit */
	if (boot_ns() < s->look_ns)
		return 0;
	if (!cgroup_read(s->spawn.cgroup, "cgroup.events", "populated"))
		return 1; /* all of it has ended */
	grown = cgroup_read(s->spawn.cgroup, "pids.peak", NULL);
	s->idle_looks = grown == s->grown ? s->idle_looks + 1 : 0;
	s->grown = grown;
	s->look_ns = boot_ns() + GROW_MS * 1000000u;
	return s->idle_looks == GROW_IDLE || ++s->looks == GROW_LOOKS;
}

uint64_t limit_disk(void)
{
	struct statvfs fs;

	if (statvfs("/", &fs))
		return WIRE_UNKNOWN;
	return fs.f_favail ? fs.f_bavail * fs.f_frsize : 0;
}
