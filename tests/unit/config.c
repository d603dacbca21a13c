/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of options read. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define S 1000000000ull

Test(config, sizes)
{
	static const struct {
		const char *text;
		int code;
		uint64_t bytes;
	} t[] = {
		{ "512", 0, 512ull << 20 },
		{ "512m", 0, 512ull << 20 },
		{ "512M", 0, 512ull << 20 },
		{ "2g", 0, 2ull << 30 },
		{ "1t", 0, 1ull << 40 },
		{ "64k", 0, 64ull << 10 },
		{ "4096b", 0, 4096 },
		{ "0", 0, 0 },
		{ "", -EINVAL, 0 },
		{ "m", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1.5g", -EINVAL, 0 },
		{ "1mm", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "18446744073709551616b", -ERANGE, 0 },
		{ "17592186044416", -ERANGE, 0 },
		{ "99999999999999t", -ERANGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		int r = config_parse_size(t[i].text, &v);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		if (r == 0)
			cr_expect_eq(v, t[i].bytes, "%s", t[i].text);
	}
}

Test(config, durations)
{
	static const struct {
		const char *text;
		int code;
		uint64_t ns;
	} t[] = {
		{ "1", 0, S },
		{ "1.5", 0, 1500000000 },
		{ "90s", 0, 90 * S },
		{ "500ms", 0, S / 2 },
		{ "2.5ms", 0, 2500000 },
		{ "10us", 0, 10000 },
		{ "1h30m", 0, 5400 * S },
		{ "0.0000001", 0, 0 },
		{ "", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "1.", -EINVAL, 0 },
		{ ".5", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "1s ", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "99999999999h", -ERANGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		int r = config_parse_duration(t[i].text, &v);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		if (r == 0)
			cr_expect_eq(v, t[i].ns, "%s: %llu", t[i].text,
				     (unsigned long long)v);
	}
}

Test(config, memory_is_whole_pages_and_enough_for_a_guest)
{
	struct err err = { 0 };
	uint64_t v = 0;

	cr_assert_eq(config_set_memory(&v, "67108865b", &err), 0);
	cr_assert_eq(v, (64ull << 20) + 4096);
	cr_assert_eq(config_set_memory(&v, "0", &err), -ERANGE);
	cr_assert(err.hint[0]);
	cr_assert_eq(config_set_memory(&v, "1m", &err), -ERANGE);
	cr_assert_eq(config_set_memory(&v, "18446744073709551615b", &err),
		     -ERANGE);
}

Test(config, more_memory_than_the_host_has_is_refused)
{
	struct err err = { 0 };
	struct config c;

	config_init(&c);
	cr_assert_eq(config_check_host(&c, &err), 0);
	c.memory = 1ull << 50;
	cr_assert_eq(config_check_host(&c, &err), -ERANGE);
	cr_assert(strstr(err.hint, "-m"));
}

Test(config, environment_is_taken_by_value_or_by_name)
{
	struct config c;

	config_init(&c);
	setenv("TEST_OWN", "mine", 1);
	unsetenv("TEST_UNSET");
	cr_assert_eq(config_add_env(&c.env, "A=b=c", NULL), 0);
	cr_assert_eq(config_add_env(&c.env, "TEST_OWN", NULL), 0);
	cr_assert_eq(config_add_env(&c.env, "TEST_UNSET", NULL), 0);
	cr_assert_eq(config_add_env(&c.env, "EMPTY=", NULL), 0);
	cr_assert_eq(c.env.n, 3);
	cr_assert_str_eq(c.env.v[0], "A=b=c");
	cr_assert_str_eq(c.env.v[1], "TEST_OWN=mine");
	cr_assert_str_eq(c.env.v[2], "EMPTY=");
	cr_assert_eq(config_add_env(&c.env, "=x", NULL), -EINVAL);
	cr_assert_eq(config_add_env(&c.env, "", NULL), -EINVAL);
	config_free(&c);
}

Test(config, engine_and_workdir_have_a_form)
{
	enum config_engine e = CONFIG_ENGINE_AUTO;
	const char *dir = NULL;

	cr_assert_eq(config_set_engine(&e, "soft", NULL), 0);
	cr_assert_eq(e, CONFIG_ENGINE_SOFT);
	cr_assert_eq(config_set_engine(&e, "xen", NULL), -EINVAL);
	cr_assert_eq(config_set_workdir(&dir, "/tmp", NULL), 0);
	cr_assert_eq(config_set_workdir(&dir, "tmp", NULL), -EINVAL);
}

Test(config, cpus_have_three_decimals_and_are_rounded_up)
{
	static const struct {
		const char *text;
		int code;
		unsigned n, milli;
	} t[] = {
		{ "1", 0, 1, 1000 },
		{ "2", 0, 2, 2000 },
		{ "0.5", 0, 1, 500 },
		{ "1.25", 0, 2, 1250 },
		{ "0.001", 0, 1, 1 },
		{ "64", 0, 64, 64000 },
		{ "64.000", 0, 64, 64000 },
		{ "0", -ERANGE, 0, 0 },
		{ "0.000", -ERANGE, 0, 0 },
		{ "64.001", -ERANGE, 0, 0 },
		{ "65", -ERANGE, 0, 0 },
		{ "99999999999999999999", -ERANGE, 0, 0 },
		{ "18446744073709551", -ERANGE, 0, 0 },
		{ "18446744073709551.999", -ERANGE, 0, 0 },
		{ "1.0001", -EINVAL, 0, 0 },
		{ "1.", -EINVAL, 0, 0 },
		{ ".5", -EINVAL, 0, 0 },
		{ "1,5", -EINVAL, 0, 0 },
		{ "2x", -EINVAL, 0, 0 },
		{ "1.5x", -EINVAL, 0, 0 },
		{ "-1", -EINVAL, 0, 0 },
		{ "", -EINVAL, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct config_cpus c = { 0 };
		struct err err = { 0 };
		int r = config_set_cpus(&c, t[i].text, &err);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		cr_expect(c.n == t[i].n && c.milli == t[i].milli, "%s",
			  t[i].text);
	}
}

Test(config, users_are_neither_root_nor_nobody_at_all)
{
	static const struct {
		const char *text;
		int code;
	} t[] = {
		{ "1900000000:4194304", 0 },
		{ "1:1", 0 },
		{ "1:4294967294", 0 },
		{ "4294967294:1", 0 },
		{ "0:10", -ERANGE },
		{ "5:0", -ERANGE },
		{ "1:4294967295", -ERANGE },
		{ "4294967294:2", -ERANGE },
		{ "4294967295:1", -ERANGE },
		{ "4294967296:1", -ERANGE },
		{ "99999999999999999999:1", -ERANGE },
		{ "1:18446744073709551615", -ERANGE },
		{ "1", -EINVAL },
		{ "1:", -EINVAL },
		{ ":1", -EINVAL },
		{ "1:2:3", -EINVAL },
		{ "1-2", -EINVAL },
		{ "-1:2", -EINVAL },
		{ "", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct jail_ids ids = { 7, 8 };
		struct err err = { 0 };
		int r = config_set_uid_range(&ids, t[i].text, &err);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		if (r < 0)
			cr_expect(ids.first == 7 && ids.count == 8, "%s",
				  t[i].text);
	}
}
