/* SPDX-License-Identifier: Apache-2.0 */
/* Which cgroup hierarchies there are, and where a parent may be in them. */
#include "jail/cgroup_impl.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
