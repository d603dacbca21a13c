/* SPDX-License-Identifier: Apache-2.0 */
/* Where a VM's cgroup goes, and what stands in its files: on fake trees. */
#include "jail/cgroup_impl.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define M (1u << CGROUP_MEMORY)
#define C (1u << CGROUP_CPU)
#define P (1u << CGROUP_PIDS)

/* --- a fake tree ----------------------------------------------------------- */

static char top[] = "/tmp/mayfly-unit-cgroup-XXXXXX";
static int topfd;
static struct cgroup_map map;

static void open_tree(void)
{
	cr_assert(mkdtemp(top));
	topfd = open(top, O_RDONLY | O_DIRECTORY);
	cr_assert(topfd >= 0);
	map = (struct cgroup_map){ .n = 1, .fake = 1 };
	map.h[0] = (struct cgroup_hierarchy){ .version = 2,
					      .controllers = CGROUP_ALL,
					      .own_known = 1 };
	strcpy(map.h[0].mount, top);
}

static void close_tree(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	cr_expect_eq(system(cmd), 0);
}

TestSuite(cgroup_tree, .init = open_tree, .fini = close_tree);

static void put(const char *path, const char *text)
{
	int fd = openat(topfd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void expect(const char *path, const char *text)
{
	char buf[256];

	cr_assert_eq(cgroup_read(topfd, path, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, text);
}

/* A directory of v2 with these controllers, and those given to others below;
 * NULL: its subtree_control cannot be written. */
static void dir_v2(const char *path, const char *there, const char *given)
{
	char name[128];

	if (*path)
		cr_assert_eq(mkdirat(topfd, path, 0700), 0);
	path = *path ? path : ".";
	snprintf(name, sizeof(name), "%s/cgroup.controllers", path);
	put(name, there);
	snprintf(name, sizeof(name), "%s/cgroup.procs", path);
	put(name, "");
	snprintf(name, sizeof(name), "%s/cgroup.subtree_control", path);
	if (given)
		put(name, given);
}

/* Is @fd the directory @path? */
static void expect_dir(int fd, const char *path)
{
	struct stat a, b;

	cr_assert_geq(fd, 0, "%s", strerror(-fd));
	cr_assert_eq(fstat(fd, &a), 0);
	cr_assert_eq(fstatat(topfd, path, &b, 0), 0);
	cr_assert_eq(a.st_ino, b.st_ino);
	close(fd);
}

static int place(const char *parent, int root, unsigned *got, int *code)
{
	return cgroup_open_parent(&map, &map.h[0], parent, root, CGROUP_ALL,
				  got, code);
}

#define ALL "cpu memory pids\n"

Test(cgroup_tree, root_gets_the_top_of_v2)
{
	unsigned got;
	int code;

	dir_v2("", "cpuset cpu io memory pids\n", ALL);
	dir_v2("mayfly", ALL, ALL);
	strcpy(map.h[0].own, "a");
	expect_dir(place("mayfly", 1, &got, &code), "mayfly");
	cr_assert_eq(got, CGROUP_ALL);
	cr_assert_eq(code, 0);
}

Test(cgroup_tree, nearest_above_that_hands_controllers_down)
{
	unsigned got;
	int code;

	dir_v2("", ALL, ALL);
	dir_v2("user", ALL, ALL);
	dir_v2("user/mayfly", ALL, ALL);
	dir_v2("user/shell", "\n", "\n");
	strcpy(map.h[0].own, "user/shell");
	expect_dir(place("mayfly", 0, &got, &code), "user/mayfly");
	cr_assert_eq(got, CGROUP_ALL);
	cr_assert_neq(faccessat(topfd, "mayfly", F_OK, 0), 0);
}

/* Not even cpu and pids, though the kernel would let us. */
Test(cgroup_tree, cgroup_with_processes_in_it_stays_as_it_is)
{
	unsigned got;
	int code;

	dir_v2("", ALL, ALL);
	dir_v2("mayfly", ALL, ALL);
	dir_v2("a", ALL, ALL);
	dir_v2("a/mayfly", ALL, ALL);
	put("a/cgroup.type", "domain\n");
	dir_v2("a/b", ALL, "");
	put("a/b/cgroup.type", "domain\n");
	put("a/b/cgroup.procs", "17\n");
	strcpy(map.h[0].own, "a/b");
	expect_dir(place("mayfly", 0, &got, &code), "a/mayfly");
	cr_assert_eq(got, CGROUP_ALL);
	expect("a/b/cgroup.subtree_control", "");
	cr_assert_neq(faccessat(topfd, "a/b/mayfly", F_OK, 0), 0);
	put("a/cgroup.type", "domain threaded\n");
	expect_dir(place("mayfly", 0, &got, &code), "mayfly");
}

Test(cgroup_tree, best_place_where_none_has_all)
{
	unsigned got;
	int code;

	dir_v2("", ALL, NULL);
	dir_v2("a", "memory pids\n", "memory pids\n");
	dir_v2("a/mayfly", "memory pids\n", "memory pids\n");
	dir_v2("a/b", "pids\n", "pids\n");
	dir_v2("a/b/mayfly", "pids\n", "pids\n");
	strcpy(map.h[0].own, "a/b");
	expect_dir(place("mayfly", 0, &got, &code), "a/mayfly");
	cr_assert_eq(got, M | P);
	cr_assert_eq(code, -ENXIO);
}

/* The fake's files keep what was not written over. */
Test(cgroup_tree, controllers_are_switched_on_one_by_one)
{
	unsigned got;
	int code;

	dir_v2("", "memory pids\n", "memory\n");
	dir_v2("mayfly", "memory pids\n", "");
	expect_dir(place("mayfly", 1, &got, &code), "mayfly");
	cr_assert_eq(got, M | P);
	cr_assert_eq(code, -ENXIO);
	expect("cgroup.subtree_control", "+pidsy\n");
	expect("mayfly/cgroup.subtree_control", "+pidsry");
}

Test(cgroup_tree, nothing_where_the_list_may_not_be_written)
{
	unsigned got;
	int code;

	dir_v2("", ALL, ALL);
	cr_assert_eq(unlinkat(topfd, "cgroup.procs", 0), 0);
	cr_assert_eq(place("mayfly", 0, &got, &code), -ENOENT);
	cr_assert_eq(got, 0);
	cr_assert_eq(code, -ENOENT);
	cr_assert_neq(faccessat(topfd, "mayfly", F_OK, 0), 0);
}

Test(cgroup_tree, parents_are_made)
{
	const struct cgroup_hierarchy *h = &map.h[0];
	unsigned got;
	int code;

	map.h[0].version = 1;
	map.h[0].controllers = M;
	strcpy(map.h[0].own, "job");
	cr_assert_eq(mkdirat(topfd, "job", 0700), 0);
	expect_dir(cgroup_open_parent(&map, h, "a/b", 1, M, &got, &code),
		   "a/b");
	expect_dir(cgroup_open_parent(&map, h, "/c//d/", 0, M, &got, &code),
		   "c/d");
	expect_dir(cgroup_open_parent(&map, h, "e", 0, M, &got, &code),
		   "job/e");
	cr_assert_eq(got, M);
}

Test(cgroup_tree, no_link_is_followed)
{
	unsigned got;
	int code;

	map.h[0].version = 1;
	cr_assert_eq(symlinkat("/tmp", topfd, "mayfly"), 0);
	cr_assert_eq(place("mayfly", 1, &got, &code), -ELOOP);
	cr_assert_eq(code, -ELOOP);
	cr_assert_eq(cgroup_open(topfd, "mayfly"), -ELOOP);
	cr_assert_eq(cgroup_open(topfd, ".."), -EXDEV);
	cr_assert_eq(cgroup_open(topfd, "/tmp"), -EXDEV);
	cr_assert_eq(symlinkat("elsewhere", topfd, "pids.max"), 0);
	put("elsewhere", "5\n");
	cr_assert_eq(cgroup_write(topfd, "pids.max", "1"), -ELOOP);
	cr_assert_eq(cgroup_number(topfd, "pids.max"), CGROUP_UNKNOWN);
}

Test(cgroup_tree, another_file_system_is_no_cgroup)
{
	unsigned got;
	int code;

	map.fake = 0;
	cr_assert_eq(place("mayfly", 1, &got, &code), -ENODEV);
}

/* --- what is written and read ----------------------------------------------- */

static const struct cgroup_limits limits = { .memory_max = 128 << 20,
					     .cpu_milli = 1250,
					     .pids_max = 9,
					     .cpu_shares = 512 };

static void set_all(const struct cgroup_ops *ops, const struct cgroup_limits *l)
{
	for (int c = 0; c < CGROUP_CONTROLLERS; c++)
		cr_assert_eq(cgroup_limit(ops, topfd,
					  (enum cgroup_controller)c, l),
			     0);
}

Test(cgroup_tree, values_of_v1)
{
	struct cgroup_limits little = { .memory_max = 1, .cpu_milli = 3,
					.pids_max = 1 };

	put("memory.limit_in_bytes", "");
	put("memory.memsw.limit_in_bytes", "");
	put("cpu.cfs_period_us", "");
	put("cpu.cfs_quota_us", "");
	put("cpu.shares", "");
	put("pids.max", "");
	set_all(&cgroup_v1_ops, &limits);
	expect("memory.limit_in_bytes", "134217728");
	expect("memory.memsw.limit_in_bytes", "134217728");
	expect("cpu.cfs_period_us", "100000");
	expect("cpu.cfs_quota_us", "125000");
	expect("cpu.shares", "512");
	expect("pids.max", "9");
	/* No swap accounting, and a quota too short for the usual period. */
	cr_assert_eq(unlinkat(topfd, "memory.memsw.limit_in_bytes", 0), 0);
	put("memory.swappiness", "60");
	put("cpu.cfs_period_us", "");
	put("cpu.cfs_quota_us", "");
	put("cpu.shares", "");
	set_all(&cgroup_v1_ops, &little);
	expect("cpu.shares", "");
	expect("memory.swappiness", "00");
	expect("cpu.cfs_period_us", "1000000");
	expect("cpu.cfs_quota_us", "3000");
	/* Who is killed ends at once. */
	put("cpu.cfs_quota_us", "");
	cgroup_v1_ops.kill(topfd);
	expect("cpu.cfs_quota_us", "-1");
}

Test(cgroup_tree, values_of_v2)
{
	struct cgroup_limits little = { .memory_max = 1, .cpu_milli = 1,
					.pids_max = 1 };

	put("memory.max", "");
	put("memory.swap.max", "");
	put("cpu.max", "");
	put("cpu.weight", "");
	put("pids.max", "");
	set_all(&cgroup_v2_ops, &limits);
	expect("memory.max", "134217728");
	expect("memory.swap.max", "0");
	expect("cpu.max", "125000 100000");
	expect("cpu.weight", "50");
	expect("pids.max", "9");
	cr_assert_eq(unlinkat(topfd, "memory.swap.max", 0), 0);
	put("cpu.max", "");
	set_all(&cgroup_v2_ops, &little);
	expect("cpu.max", "1000 1000000");
	/* A share alone is no quota; both ends of the scale. */
	put("cpu.max", "");
	put("cpu.weight", "");
	set_all(&cgroup_v2_ops, &(struct cgroup_limits){
		.memory_max = 1, .cpu_shares = 2, .pids_max = 1 });
	expect("cpu.max", "");
	expect("cpu.weight", "1");
	put("cpu.weight", "");
	set_all(&cgroup_v2_ops, &(struct cgroup_limits){
		.memory_max = 1, .cpu_shares = 262144, .pids_max = 1 });
	expect("cpu.weight", "10000");
	put("cpu.max", "");
	cgroup_v2_ops.kill(topfd);
	expect("cpu.max", "max");
	cr_assert_eq(unlinkat(topfd, "pids.max", 0), 0);
	cr_assert_eq(cgroup_limit(&cgroup_v2_ops, topfd, CGROUP_PIDS, &limits),
		     -ENOENT);
}

#define NONE                                                           \
	(struct cgroup_usage){ CGROUP_UNKNOWN, CGROUP_UNKNOWN,         \
			       CGROUP_UNKNOWN, CGROUP_UNKNOWN }

Test(cgroup_tree, usage_of_v1)
{
	struct cgroup_usage u = NONE;

	put("memory.max_usage_in_bytes", "1048576\n");
	put("memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
	put("cpu.stat", "nr_periods 3\nthrottled_time 17\n");
	cgroup_v1_ops.usage(topfd, M, &u);
	cr_assert_eq(u.memory_peak, 1048576);
	cr_assert_eq(u.oom_kills, 2);
	cr_assert_eq(u.throttled_ns, CGROUP_UNKNOWN);
	cgroup_v1_ops.usage(topfd, C, &u);
	cr_assert_eq(u.throttled_ns, 17);
	cr_assert_eq(u.cpu_ns, CGROUP_UNKNOWN);
	put("cpuacct.usage", "5\n");
	cgroup_v1_ops.usage(topfd, C, &u);
	cr_assert_eq(u.cpu_ns, 5);
}

Test(cgroup_tree, usage_of_v2)
{
	struct cgroup_usage u = NONE;

	put("memory.events", "low 0\noom 1\noom_kill 1\noom_group_kill 0\n");
	put("cpu.stat", "usage_usec 7\nthrottled_usec 18446744073709551615\n");
	cgroup_v2_ops.usage(topfd, CGROUP_ALL, &u);
	cr_assert_eq(u.memory_peak, CGROUP_UNKNOWN);
	cr_assert_eq(u.oom_kills, 1);
	cr_assert_eq(u.cpu_ns, 7000);
	cr_assert_eq(u.throttled_ns, CGROUP_UNKNOWN);
}

Test(cgroup_tree, numbers_that_are_none_are_unknown)
{
	static const char *const bad[] = { "", "\n", "max\n", "-1\n", "12x\n",
					   " 5\n", "99999999999999999999\n" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("n", bad[i]);
		cr_assert_eq(cgroup_number(topfd, "n"), CGROUP_UNKNOWN, "%s",
			     bad[i]);
	}
	put("n", "18446744073709551614\n");
	cr_assert_eq(cgroup_number(topfd, "n"), UINT64_MAX - 1);
	put("f", "key\nkey2 4\nkey 3\nkey 5\n");
	cr_assert_eq(cgroup_field(topfd, "f", "key"), 3);
	cr_assert_eq(cgroup_field(topfd, "f", "ke"), CGROUP_UNKNOWN);
	cr_assert_eq(cgroup_field(topfd, "none", "key"), CGROUP_UNKNOWN);
}

/* --- whose directory it is ------------------------------------------------- */

Test(cgroup_tree, lock_is_had_once_and_only_on_what_is_still_there)
{
	int a, b;

	cr_assert_eq(mkdirat(topfd, "x", 0700), 0);
	a = cgroup_open(topfd, "x");
	b = cgroup_open(topfd, "x");
	cr_assert(a >= 0 && b >= 0);
	cr_assert_eq(cgroup_lock(topfd, a, "x"), 1);
	cr_assert_eq(cgroup_lock(topfd, b, "x"), 0);
	/* Another has the name now. */
	cr_assert_eq(renameat(topfd, "x", topfd, "y"), 0);
	close(a);
	cr_assert_eq(cgroup_lock(topfd, b, "x"), 0);
	cr_assert_eq(mkdirat(topfd, "x", 0700), 0);
	cr_assert_eq(cgroup_lock(topfd, b, "x"), 0);
	cr_assert_eq(cgroup_lock(topfd, b, "y"), 1);
	close(b);
}

/* 0 is a process of another pid namespace, and none shall signal itself. */
Test(cgroup_tree, numbers_that_must_not_be_signalled_are_not)
{
	char text[64];

	snprintf(text, sizeof(text), "0\n%d\n", (int)getpid());
	put("cgroup.procs", text);
	cgroup_kill_each(topfd);
}

Test(cgroup, each_reason_has_a_remedy)
{
	static const int code[] = { -ENODEV, -ENXIO, -EROFS, -EBUSY, -EACCES,
				    -EPERM,  -ENOSYS, -ENOENT, -EIO };

	for (size_t i = 0; i < ARRAY_SIZE(code); i++)
		for (int version = 0; version <= 2; version++) {
			struct jail_report r = { .on = 1u << JAIL_PIDS };

			cgroup_explain(&r, CGROUP_PIDS, version, code[i]);
			cr_assert_eq(r.nmissing, 1);
			cr_assert_eq(r.missing[0].layer, JAIL_PIDS);
			cr_assert_eq(r.on, 0);
			cr_assert(*r.missing[0].why && *r.missing[0].remedy);
			cr_assert_lt(strlen(r.missing[0].why),
				     sizeof(r.missing[0].why) - 1);
			cr_assert_lt(strlen(r.missing[0].remedy),
				     sizeof(r.missing[0].remedy) - 1);
		}
}
