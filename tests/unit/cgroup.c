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

/* --- which hierarchies, and where in them --------------------------------- */

static const char apart[] =
	"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	"33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup none "
	"rw,memory\n"
	"39 31 0:36 / /sys/fs/cgroup/pids rw shared:4 master:2 - cgroup cgroup "
	"rw,pids\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char apart_self[] = "8:pids:/\n4:memory:/jobs/17\n"
				 "2:cpuacct:/\n1:cpu:/a:b\n0::/\n";

Test(cgroup, v1_with_its_controllers_apart)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map, apart, apart_self);
	cr_assert_eq(map.n, 3);
	cr_assert_eq(map.h[0].controllers, C);
	cr_assert_str_eq(map.h[0].mount, "/sys/fs/cgroup/cpu");
	cr_assert_str_eq(map.h[0].own, "a:b");
	cr_assert_eq(map.h[1].controllers, M);
	cr_assert(map.h[1].own_known && map.h[1].whole);
	cr_assert_str_eq(map.h[1].own, "jobs/17");
	cr_assert_eq(map.h[2].controllers, P);
	for (unsigned i = 0; i < map.n; i++)
		cr_assert_eq(map.h[i].version, 1);
}

Test(cgroup, one_mount_may_have_several_controllers)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map,
			 "32 31 0:29 / /cg/cpu,cpuacct rw - cgroup cgroup "
			 "rw,cpu,cpuacct\n"
			 "33 31 0:30 / /cg/rest rw - cgroup cgroup "
			 "rw,memory,pids,xattr,name=systemd",
			 "3:cpu,cpuacct:/x\n2:memory,pids,name=systemd:/y\n");
	cr_assert_eq(map.n, 2);
	cr_assert_eq(map.h[0].controllers, C);
	cr_assert_str_eq(map.h[0].own, "x");
	cr_assert_eq(map.h[1].controllers, M | P);
	cr_assert_str_eq(map.h[1].own, "y");
}

Test(cgroup, v2_where_v1_has_nothing_of_ours)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map,
			 "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - "
			 "cgroup2 cgroup2 rw,nsdelegate\n"
			 "31 23 0:27 / /sys/fs/systemd rw - cgroup cgroup "
			 "rw,name=systemd\n",
			 "1:name=systemd:/wrong\n"
			 "0::/user.slice/user@7.service/app.slice\n");
	cr_assert_eq(map.n, 1);
	cr_assert_eq(map.h[0].version, 2);
	cr_assert_str_eq(map.h[0].mount, "/sys/fs/cgroup");
	cr_assert_str_eq(map.h[0].own, "user.slice/user@7.service/app.slice");
}

/* A container of v1 sees its own part, one with a cgroup namespace may see
 * what is above it, and a bind mount may show another part altogether. */
Test(cgroup, own_place_is_relative_to_what_is_mounted)
{
	static const struct {
		const char *root, *self, *own;
	} c[] = {
		{ "/docker/f00", "/docker/f00", "" },
		{ "/docker/f00", "/docker/f00/a/b", "a/b" },
		{ "/docker/f00", "/docker/f00d", NULL },
		{ "/docker/f00", "/", NULL },
		{ "/..", "/", NULL },
		{ "/", "/../../other", NULL },
		{ "/", "/", "" },
		{ "/", "/a/..", NULL },
		{ "/", "/a..", "a.." },
	};

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		struct cgroup_map map = { 0 };
		char mounts[256], self[128];

		snprintf(mounts, sizeof(mounts),
			 "1 2 0:3 %s /cg rw - cgroup x rw,memory\n", c[i].root);
		snprintf(self, sizeof(self), "5:memory:%s\n", c[i].self);
		cgroup_map_parse(&map, mounts, self);
		cr_assert_eq(map.n, 1);
		cr_assert_eq(map.h[0].own_known, c[i].own != NULL, "case %zu",
			     i);
		if (c[i].own)
			cr_assert_str_eq(map.h[0].own, c[i].own);
	}
}

Test(cgroup, whole_and_writable_mount_goes_before_others)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map,
			 "1 2 0:3 / /ro ro - cgroup2 x rw\n"
			 "1 2 0:3 /part /part rw - cgroup2 x rw\n"
			 "1 2 0:3 / /good rw - cgroup2 x rw\n"
			 "1 2 0:3 / /later rw - cgroup2 x rw\n",
			 "0::/\n");
	cr_assert_eq(map.n, 1);
	cr_assert_str_eq(map.h[0].mount, "/good");
}

Test(cgroup, later_mount_on_one_place_covers_the_earlier)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map,
			 "1 2 0:3 / /cg rw - cgroup2 x rw\n"
			 "1 2 0:3 /part /cg rw - cgroup2 x rw\n",
			 "0::/part/a\n");
	cr_assert_eq(map.n, 1);
	cr_assert_str_eq(map.h[0].own, "a");
	cr_assert_not(map.h[0].whole);
}

Test(cgroup, escapes_in_mountinfo_are_undone)
{
	struct cgroup_map map = { 0 };

	cgroup_map_parse(&map, "1 2 0:3 / /a\\040b\\134 rw - cgroup2 x rw\n",
			 "0::/\n");
	cr_assert_eq(map.n, 1);
	cr_assert_str_eq(map.h[0].mount, "/a b\\");
}

Test(cgroup, lines_that_are_no_mounts_are_passed_over)
{
	static const char *const bad[] = {
		"",
		"\n\n",
		"1",
		"1 2 0:3 / /cg rw",
		"1 2 0:3 / /cg rw -",
		"1 2 0:3 / /cg rw - cgroup2",
		"1 2 0:3 / /cg rw - cgroup2 x",
		"1 2 0:3 / /cg\\0 rw - cgroup2 x rw",
		"1 2 0:3 / /cg\\000 rw - cgroup2 x rw",
		"1 2 0:3 / /cg\\999 rw - cgroup2 x rw",
		"1 2 0:3 / /cg rw - cgroup x rw,blkio",
		"1 2 0:3 / /cg rw - cgroup x rw,memoryx",
		"- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - "
		"- - - - - - - -",
	};
	struct cgroup_map map = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cgroup_map_parse(&map, bad[i], "0::/\n");
		cr_assert_eq(map.n, 0, "%s", bad[i]);
	}
}

static const char plain_v2[] = "1 2 0:3 / /cg rw - cgroup2 x rw";

Test(cgroup, own_place_may_be_unknown)
{
	static const char *const self[] = { "", "0", "0:", "0::", "::",
					    ":::/", "1:memory:/x\n" };
	struct cgroup_map map = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(self); i++) {
		cgroup_map_parse(&map, plain_v2, self[i]);
		cr_assert_eq(map.n, 1);
		cr_assert_not(map.h[0].own_known, "%s", self[i]);
	}
}

Test(cgroup, paths_longer_than_any_are_passed_over)
{
	struct cgroup_map map = { 0 };
	_cleanup_free_ char *mount = NULL, *self = NULL;

	cr_assert_gt(asprintf(&mount, "1 2 0:3 / /%06000d rw - cgroup2 x rw",
			      0), 0);
	cr_assert_gt(asprintf(&self, "0::/%06000d", 0), 0);
	cgroup_map_parse(&map, mount, "0::/\n");
	cr_assert_eq(map.n, 0);
	cgroup_map_parse(&map, plain_v2, self);
	cr_assert_eq(map.n, 1);
	cr_assert_not(map.h[0].own_known);
}

/* --- where a parent may be ------------------------------------------------ */

static void expect_candidates(const char *own, const char *parent, int root,
			      const char *const *want)
{
	struct cgroup_hierarchy h = { .own_known = own != NULL };
	char path[PATH_MAX];
	unsigned i = 0;

	strcpy(h.own, own ? own : "");
	for (; want[i]; i++) {
		cr_assert(cgroup_candidate(&h, parent, root, i, path));
		cr_assert_str_eq(path, want[i]);
	}
	cr_assert_not(cgroup_candidate(&h, parent, root, i, path));
}

#define PATHS(...) ((const char *const[]){ __VA_ARGS__, NULL })

Test(cgroup, root_begins_at_the_top_and_others_near)
{
	expect_candidates("a/b", "mayfly", 1, PATHS("", "a/b", "a"));
	expect_candidates("a/b", "mayfly", 0, PATHS("a/b", "a", ""));
	expect_candidates("", "mayfly", 1, PATHS(""));
	expect_candidates("", "mayfly", 0, PATHS(""));
	expect_candidates("a/b", "/x", 0, PATHS(""));
	expect_candidates(NULL, "mayfly", 0, PATHS(""));
}

Test(cgroup, parent_must_stay_inside)
{
	static const char *const bad[] = { "",	  "/",	  "//",	 "..",
					   "../x", "a/..", "a/./b", "/../x",
					   "a/../../b" };
	static const char *const good[] = { "mayfly", "/mayfly", "a/b/c/",
					    "a..b", "..." };
	char text[NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		cr_assert_eq(cgroup_check_parent(bad[i], &err), -EINVAL, "%s",
			     bad[i]);
		cr_assert(*err.msg);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_assert_eq(cgroup_check_parent(good[i], NULL), 0, "%s",
			     good[i]);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_eq(cgroup_check_parent(text, NULL), -EINVAL);
}

Test(cgroup, names_are_an_id_and_perhaps_a_digit)
{
	static const char *const good[] = { "0123456789ab", "ffffffffffff",
					    "0123456789ab-2",
					    "0123456789ab-9" };
	static const char *const bad[] = { "", "0123456789a", "0123456789abc",
					   "0123456789AB", "0123456789ab-",
					   "0123456789ab-1", "0123456789ab-10",
					   "0123456789ab-x", "mayfly",
					   "0123456789ab.scope" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_assert(cgroup_is_name(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_not(cgroup_is_name(bad[i]), "%s", bad[i]);
}

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
		cr_assert_eq(ops->limit(topfd, (enum cgroup_controller)c, l),
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
	cr_assert_eq(cgroup_v2_ops.limit(topfd, CGROUP_PIDS, &limits),
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
