/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent sees of the command's limits: files stand for a cgroup. */
#include "rootfs/agent/session.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/mayfly-agent-XXXXXX";
static struct session s;

static void put_file(const char *name, const char *text)
{
	int fd = openat(s.spawn.cgroup, name,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int killed(void)
{
	char c = 0;
	int fd = openat(s.spawn.cgroup, "cgroup.kill", O_RDONLY | O_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_geq(read(fd, &c, 1), 0);
	close(fd);
	return c == '1';
}

static void make_cgroup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	s.spawn.cgroup = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.spawn.cmd.head.pids_max = 20;
	s.fd_limit = -1;
	s.exit.pids_refused = WIRE_UNKNOWN;
	put_file("cgroup.kill", "");
	put_file("cgroup.events", "populated 1\nfrozen 0\n");
	put_file("pids.events.local", "max 0\n");
	put_file("pids.events", "max 3\n");
	put_file("pids.peak", "4\n");
}

static void remove_cgroup(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(limit, .init = make_cgroup, .fini = remove_cgroup, .timeout = 60);

Test(limit, the_first_refused_process_ends_the_command)
{
	limit_watch(&s);
	cr_assert_geq(s.fd_limit, 0);
	limit_hit(&s);
	cr_assert(!killed(), "what is refused further down is no matter");
	put_file("pids.events.local", "max 2\n");
	limit_hit(&s);
	cr_assert(killed());
	cr_assert_eq(s.exit.pids_refused, 2);
	cr_assert_eq(s.fd_limit, -1);
}

Test(limit, an_old_kernel_has_one_count)
{
	cr_assert_eq(unlinkat(s.spawn.cgroup, "pids.events.local", 0), 0);
	limit_watch(&s);
	limit_hit(&s);
	cr_assert_eq(s.exit.pids_refused, 3);
	cr_assert(killed());
}

Test(limit, without_one_nothing_is_watched)
{
	s.spawn.cmd.head.pids_max = 0;
	limit_watch(&s);
	cr_assert_eq(s.fd_limit, -1);
	s.spawn.cmd.head.pids_max = 20;
	s.sv.number = 1; /* not the run's own */
	limit_watch(&s);
	cr_assert_eq(s.fd_limit, -1);
}

Test(limit, a_count_that_is_none_kills_nobody)
{
	limit_watch(&s);
	put_file("pids.events.local", "nonsense\n");
	limit_hit(&s);
	cr_assert(!killed());
	cr_assert_eq(s.fd_limit, -1);
}

/* The next look that is due. */
static int settled(void)
{
	usleep((useconds_t)limit_look_ms(&s) * 1000);
	return limit_has_settled(&s);
}

Test(limit, what_grows_is_given_time)
{
	char peak[24];
	int n;

	limit_watch(&s);
	cr_assert_eq(limit_may_grow(&s), 1);
	for (n = 5; n < 20; n++) {
		snprintf(peak, sizeof(peak), "%d\n", n);
		put_file("pids.peak", peak);
		cr_assert_eq(settled(), 0);
	}
	for (n = 1; !settled(); n++)
		cr_assert_lt(n, 100);
	cr_assert_gt(n, 1, "one look is no proof");
}

Test(limit, what_has_ended_needs_no_more_time)
{
	limit_watch(&s);
	cr_assert_eq(limit_may_grow(&s), 1);
	put_file("pids.peak", "5\n");
	cr_assert_eq(settled(), 0);
	put_file("cgroup.events", "populated 0\nfrozen 0\n");
	cr_assert_eq(settled(), 1);
}

Test(limit, what_hits_the_limit_has_had_its_time)
{
	limit_watch(&s);
	cr_assert_eq(limit_may_grow(&s), 1);
	put_file("pids.events.local", "max 1\n");
	limit_hit(&s);
	cr_assert_eq(limit_has_settled(&s), 1);
}

Test(limit, who_left_nobody_behind_is_not_waited_for)
{
	limit_watch(&s);
	put_file("cgroup.events", "populated 0\nfrozen 0\n");
	cr_assert_eq(limit_may_grow(&s), 0);
	put_file("cgroup.events", "populated 1\nfrozen 0\n");
	cr_assert_eq(unlinkat(s.spawn.cgroup, "pids.peak", 0), 0);
	cr_assert_eq(limit_may_grow(&s), 0, "a kernel without it");
}

Test(limit, the_machine_keeps_some_memory)
{
	uint64_t max = limit_memory();

	cr_assert_gt(max, 0);
	cr_assert_lt(max,
		     (uint64_t)sysconf(_SC_PHYS_PAGES) *
			     (uint64_t)sysconf(_SC_PAGESIZE));
	cr_assert_neq(limit_disk(), WIRE_UNKNOWN);
}
