/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: regions, the hole, and overflow in the one translator. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/vmm/gmem.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

Test(gmem, small_memory_is_one_region)
{
	struct gmem gm;

	cr_assert_eq(gmem_init(&gm, 64 * MIB, NULL), 0);
	cr_assert_eq(gm.nregions, 1);
	cr_assert_eq(gmem_size(&gm), 64 * MIB);
	gmem_free(&gm);
	cr_assert_eq(gmem_size(&gm), 0);
}

Test(gmem, memory_above_3_gib_goes_past_the_hole)
{
	struct gmem gm;

	cr_assert_eq(gmem_init(&gm, 5 * GIB, NULL), 0);
	cr_assert_eq(gm.nregions, 2);
	cr_assert_eq(gm.r[0].size, GMEM_HOLE_START);
	cr_assert_eq(gm.r[1].gpa, GMEM_HOLE_END);
	cr_assert_eq(gmem_size(&gm), 5 * GIB);
	cr_assert_null(gmem_ptr(&gm, GMEM_HOLE_START, 1));
	cr_assert_null(gmem_ptr(&gm, GMEM_HOLE_START - 1, 2));
	cr_assert_null(gmem_ptr(&gm, GMEM_HOLE_END - 1, 1));
	cr_assert_eq(gmem_ptr(&gm, GMEM_HOLE_END, 1), gm.r[1].hva);
	gmem_free(&gm);
}

Test(gmem, bad_sizes_are_refused)
{
	static const uint64_t bad[] = { 0, 4096, MIB - 1, MIB + 1, ~0ull,
					65 * GIB };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };
		struct gmem gm;

		cr_expect_eq(gmem_init(&gm, bad[i], &err), -EINVAL);
		cr_expect_neq(err.msg[0], '\0');
		cr_expect_eq(gm.nregions, 0);
	}
}

Test(gmem, translator_survives_overflow)
{
	struct gmem gm;

	cr_assert_eq(gmem_init(&gm, MIB, NULL), 0);
	cr_expect_not_null(gmem_ptr(&gm, 0, MIB));
	cr_expect_not_null(gmem_ptr(&gm, MIB - 1, 1));
	cr_expect_null(gmem_ptr(&gm, 0, MIB + 1));
	cr_expect_null(gmem_ptr(&gm, 0, 0));
	cr_expect_null(gmem_ptr(&gm, MIB, 1));
	cr_expect_null(gmem_ptr(&gm, MIB - 1, ~0ull));
	cr_expect_null(gmem_ptr(&gm, ~0ull, 2));
	cr_expect_null(gmem_ptr(&gm, 4096, ~0ull - 4095));
	gmem_free(&gm);
}

static void note(void *opaque, uint64_t gpa, uint64_t len)
{
	uint64_t *seen = opaque;

	seen[0] = gpa;
	seen[1] = len;
}

Test(gmem, writes_are_told_and_read_back)
{
	uint64_t seen[2] = { 0, 0 };
	struct gmem gm;
	char b[4];

	cr_assert_eq(gmem_init(&gm, MIB, NULL), 0);
	gm.wrote = note;
	gm.wrote_opaque = seen;
	cr_assert_eq(gmem_write(&gm, 0x100, "abcd", 4), 0);
	cr_expect_eq(seen[0], 0x100);
	cr_expect_eq(seen[1], 4);
	cr_assert_eq(gmem_read(&gm, 0x100, b, 4), 0);
	cr_expect_eq(memcmp(b, "abcd", 4), 0);
	cr_expect_eq(gmem_write(&gm, MIB - 2, "abcd", 4), -EFAULT);
	cr_expect_eq(gmem_read(&gm, MIB - 2, b, 4), -EFAULT);
	gmem_free(&gm);
}
