/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of a run's disks read. */
#include "runner/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/scratch.h"
#include "runner/vmm/ctl.h"

Test(config_disk, sizes_are_quotas_in_whole_blocks)
{
	static const struct {
		const char *text;
		int code;
		uint64_t size;
	} t[] = {
		{ "64m", 0, 64ull << 20 },
		{ "64", 0, 64ull << 20 },
		{ "1m", 0, 1ull << 20 },
		{ "1048576b", 0, 1ull << 20 },
		{ "1048577b", 0, 1ull << 20 },
		{ "1052671b", 0, 1ull << 20 },
		{ "1052672b", 0, (1ull << 20) + 4096 },
		{ "10g", 0, SCRATCH_SIZE },
		{ "16t", 0, SCRATCH_MAX },
		{ "1048575b", -ERANGE, 0 },
		{ "0", -ERANGE, 0 },
		{ "17592186044417b", -ERANGE, 0 },
		{ "17t", -ERANGE, 0 },
		{ "99999999999t", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "big", -EINVAL, 0 },
		{ "1.5g", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		int r = config_set_disk(&v, t[i].text, NULL);

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		cr_expect_eq(v, t[i].size, "%s: %llu", t[i].text,
			     (unsigned long long)v);
	}
}

Test(config_disk, drives_say_how_they_are_used)
{
	static const struct {
		const char *text, *path;
		enum config_drive_mode mode;
	} t[] = {
		{ "a.img", "a.img", CONFIG_DRIVE_WRITE },
		{ "/dev/sdb,ro", "/dev/sdb", CONFIG_DRIVE_READ },
		{ "a,b.img,cow", "a,b.img", CONFIG_DRIVE_COW },
		{ "a,b.img", "a,b.img", CONFIG_DRIVE_WRITE },
		{ "a,ro,cow", "a,ro", CONFIG_DRIVE_COW },
		{ "a,row", "a,row", CONFIG_DRIVE_WRITE },
	};
	struct config c;

	config_init(&c);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		cr_assert_eq(config_add_drive(&c.drives, t[i].text, NULL), 0);
		cr_assert_eq(c.drives.n, i + 1);
		cr_expect_str_eq(c.drives.v[i].path, t[i].path);
		cr_expect_eq(c.drives.v[i].mode, t[i].mode, "%s", t[i].text);
	}
	cr_expect_eq(config_add_drive(&c.drives, ",ro", NULL), -EINVAL);
	cr_expect_eq(c.drives.n, ARRAY_SIZE(t));
	config_free(&c);
}

Test(config_disk, there_are_as_many_drives_as_a_vm_can_have)
{
	struct err err = { 0 };
	struct config c;

	cr_assert_eq(CONFIG_DRIVES_MAX + 2, CTL_DISKS);
	config_init(&c);
	for (int i = 0; i < CONFIG_DRIVES_MAX; i++)
		cr_assert_eq(config_add_drive(&c.drives, "x", NULL), 0);
	cr_expect_eq(config_add_drive(&c.drives, "x", &err), -E2BIG);
	cr_expect(strstr(err.msg, "10"));
	config_free(&c);
}

Test(config_disk, rates)
{
	static const struct {
		const char *text;
		int code;
		uint64_t rates[4]; /* bytes, their burst, ops, theirs */
	} t[] = {
		{ "bw=50m", 0, { 50 << 20 } },
		{ "bw=1k:4k", 0, { 1024, 4096 } },
		{ "ops=1000", 0, { 0, 0, 1000 } },
		{ "ops=7:9,bw=1m:2m", 0, { 1 << 20, 2 << 20, 7, 9 } },
		{ "bw=1m,bw=2m", 0, { 2 << 20 } },
		{ "", -EINVAL, { 0 } },
		{ "bw", -EINVAL, { 0 } },
		{ "bw=", -EINVAL, { 0 } },
		{ "bw=1m:", -EINVAL, { 0 } },
		{ "bw=:1m", -EINVAL, { 0 } },
		{ "bw=1m,", -EINVAL, { 0 } },
		{ ",bw=1m", -EINVAL, { 0 } },
		{ "bw=1m,,ops=1", -EINVAL, { 0 } },
		{ "ops=1k", -EINVAL, { 0 } },
		{ "ops=-1", -EINVAL, { 0 } },
		{ "ops=1:2:3", -EINVAL, { 0 } },
		{ "iops=1", -EINVAL, { 0 } },
		{ "ops=0", -ERANGE, { 0 } },
		{ "bw=0", -ERANGE, { 0 } },
		{ "ops=1:0", -ERANGE, { 0 } },
		{ "ops=9223372036854775807", -ERANGE, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct config_rates got = { .ops = { 0, 0 } };
		struct err err = { 0 };
		/* An empty argument never comes here: opts.c refuses it. */
		int r = *t[i].text ? config_set_rates(&got, t[i].text, &err) :
				     -EINVAL;

		cr_expect_eq(r, t[i].code, "%s: %d", t[i].text, r);
		if (r == 0)
			cr_expect_eq(memcmp(&got, t[i].rates, sizeof(got)), 0,
				     "%s", t[i].text);
		else if (*t[i].text)
			cr_expect(*err.hint, "%s", t[i].text);
	}
}
