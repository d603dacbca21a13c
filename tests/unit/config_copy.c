/* SPDX-License-Identifier: Apache-2.0 */
/* How --tmpfs, -v, --copy-in and --copy-out read. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

typedef int (*setter)(void *field, const char *arg, struct err *err);

struct good {
	const char *arg, *host, *guest;
	uint64_t size;
};

static void take(setter set, const struct good *t, size_t n)
{
	struct config_copies l = { .n = 0 };
	struct err err;

	for (size_t i = 0; i < n; i++) {
		cr_assert_eq(set(&l, t[i].arg, &err), 0, "%s: %s", t[i].arg,
			     err.msg);
		cr_assert_eq(l.n, i + 1);
		cr_assert_str_eq(l.v[i].host, t[i].host, "%s", t[i].arg);
		cr_assert_str_eq(l.v[i].guest, t[i].guest, "%s", t[i].arg);
		cr_assert_eq(l.v[i].size, t[i].size, "%s", t[i].arg);
	}
	config_copies_free(&l);
	cr_assert_eq(l.n, 0);
}

static void refuse(setter set, const char *const *t, size_t n)
{
	struct config_copies l = { .n = 0 };

	for (size_t i = 0; i < n; i++) {
		struct err err = { 0 };

		cr_assert_lt(set(&l, t[i], &err), 0, "%s is taken", t[i]);
		cr_assert(err.msg[0], "%s", t[i]);
		cr_assert_eq(l.n, 0);
	}
}

Test(config_copy, into_the_guest)
{
	static const struct good t[] = {
		{ "a:/b", "a", "/b", 0 },
		{ "/x/y/.:/", "/x/y/.", "/", 0 },
		{ "a:b:/c", "a:b", "/c", 0 },
		{ "/a:/b:/c", "/a:/b", "/c", 0 },
		{ "a b\n:/ \xff/", "a b\n", "/ \xff/", 0 },
	};
	static const char *const bad[] = { "", ":", "a", "a:", ":/b", "a:b",
					   "/a", "a:/b:", "a:/b:ro" };

	take(config_add_copy_in, t, ARRAY_SIZE(t));
	refuse(config_add_copy_in, bad, ARRAY_SIZE(bad));
}

Test(config_copy, out_of_the_guest)
{
	static const struct good t[] = {
		{ "/b:a", "a", "/b", 0 },
		{ "/:.", ".", "/", 0 },
		{ "/b:/c:/d", "/c:/d", "/b", 0 },
	};
	static const char *const bad[] = { "", ":", "/b", "/b:", ":a", "b:a",
					   "a" };

	take(config_add_copy_out, t, ARRAY_SIZE(t));
	refuse(config_add_copy_out, bad, ARRAY_SIZE(bad));
}

Test(config_copy, volumes_are_read_only_by_any_spelling)
{
	static const struct good t[] = {
		{ "a:/b", "a", "/b", 0 },
		{ "a:/b:ro", "a", "/b", 0 },
		{ "a:ro:/b", "a:ro", "/b", 0 },
		{ "/:/host", "/", "/host", 0 },
	};
	static const char *const bad[] = { "", "a", "a:", "a:b", "/b:ro",
					   "a:/b:rw", "a:/b:z", "a:/b:",
					   "a:/", "a://", "a:/.", "a:/../..",
					   "a:ro", ":/b:ro" };
	struct config_copies l = { .n = 0 };
	struct err err = { 0 };

	take(config_add_volume, t, ARRAY_SIZE(t));
	refuse(config_add_volume, bad, ARRAY_SIZE(bad));
	config_add_volume(&l, "a:/b:rw", &err);
	cr_assert(strstr(err.hint, "--copy-in"));
	cr_assert(strstr(err.hint, "--copy-out"));
}

/* The longer path lies in the shorter one, also where slashes make it so. */
Test(config_copy, what_is_mounted_has_one_spelling)
{
	static const struct good t[] = {
		{ "a:/b/", "a", "/b", 0 },
		{ "a://b///c", "a", "/b/c", 0 },
		{ "a:/./b/./c/.", "a", "/b/c", 0 },
		{ "a:/..b/c..", "a", "/..b/c..", 0 },
		{ "a:/.../.b", "a", "/.../.b", 0 },
	};
	static const char *const bad[] = { "a:/b/..", "a:/b/../c", "a:/../c" };

	take(config_add_volume, t, ARRAY_SIZE(t));
	refuse(config_add_volume, bad, ARRAY_SIZE(bad));
}

Test(config_copy, nothing_hides_what_holds_the_limits)
{
	static const struct good t[] = {
		{ "/dev/shm:1", "", "/dev/shm", 1 << 20 },
		{ "/device", "", "/device", 0 },
		{ "/system", "", "/system", 0 },
		{ "/a/proc", "", "/a/proc", 0 },
	};
	static const char *const bad[] = { "/dev", "/dev/", "//dev", "/proc",
					   "/proc/sys", "/./sys",
					   "/sys/fs/cgroup/command:1m" };

	take(config_add_tmpfs, t, ARRAY_SIZE(t));
	refuse(config_add_tmpfs, bad, ARRAY_SIZE(bad));
}

Test(config_copy, tmpfs_has_a_size_in_pages)
{
	static const struct good t[] = {
		{ "/a", "", "/a", 0 },
		{ "/a:1", "", "/a", 1 << 20 },
		{ "/a:1b", "", "/a", 4096 },
		{ "/a:4097b", "", "/a", 8192 },
		{ "/a b:2g", "", "/a b", 2ull << 30 },
	};
	static const char *const bad[] = { "", "a", ":1", "/a:", "/a:0",
					   "/a:x", "/a:1m:1m", "/", "/..:1",
					   "/a:99999999999999999999",
					   "/a:8388608t" };

	take(config_add_tmpfs, t, ARRAY_SIZE(t));
	refuse(config_add_tmpfs, bad, ARRAY_SIZE(bad));
}

Test(config_copy, so_many_of_each_and_no_more)
{
	struct config_copies l = { .n = 0 };
	struct err err = { 0 };

	for (int i = 0; i < CONFIG_COPIES_MAX; i++)
		cr_assert_eq(config_add_copy_in(&l, "a:/b", &err), 0);
	cr_assert_eq(config_add_copy_in(&l, "a:/b", &err), -E2BIG);
	cr_assert(strstr(err.msg, "32"));
	config_copies_free(&l);
}
