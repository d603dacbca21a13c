/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time: what the clocks mean together. */
#include "runner/cputime.h"

#include <criterion/criterion.h>

#include "runner/base/mem.h"

#define S 1000000000ull

/* A second's limit; the process's clock stood at 10 s as the command began,
 * and stands at @now; mayfly-vmm told @base at once. */
static struct cputime at(uint64_t now, uint64_t base)
{
	struct cputime t = { .limit_ns = S,
			     .begin_ns = 10 * S,
			     .told_at_ns = 10 * S,
			     .now_ns = 10 * S,
			     .begun = 1,
			     .fd = -1 };

	cputime_told(&t, base);
	t.now_ns = now;
	return t;
}

Test(cputime, what_is_told_counts_from_the_commands_start)
{
	struct cputime t = at(11 * S, 9 * S);

	cputime_told(&t, 9 * S + S / 2);
	cr_assert_eq(t.used_ns, S / 2);
	cr_assert_eq(cputime_used(&t), S / 2);
	t.now_ns += S / 4;
	cr_assert_eq(cputime_used(&t), S / 2 + S / 4, "what nobody told yet");
}

Test(cputime, no_more_is_believed_than_the_process_had)
{
	struct cputime t = at(10 * S + S / 4, 9 * S);

	cputime_told(&t, UINT64_MAX);
	cr_assert_eq(cputime_used(&t), S / 4);
	cr_assert(!cputime_is_doubtful(&t) && !cputime_is_over(&t));
	t.now_ns = 11 * S;
	cr_assert(cputime_is_doubtful(&t) && !cputime_is_over(&t));
	/* Nor that the machine had more before than all of it. */
	t = at(12 * S, UINT64_MAX);
	cr_assert_eq(t.base_ns, 10 * S);
	cputime_told(&t, 11 * S);
	cr_assert(cputime_is_over(&t));
}

Test(cputime, time_does_not_run_backwards)
{
	struct cputime t = at(11 * S, 9 * S);

	cputime_told(&t, 10 * S);
	cputime_told(&t, 9 * S + 1);
	cputime_told(&t, 0);
	cr_assert_eq(t.used_ns, S);
	cr_assert(cputime_is_over(&t));
}

Test(cputime, the_process_bears_out_doubt_and_decides_when_it_is_too_much)
{
	struct cputime t = at(11 * S - 1, 9 * S);

	cr_assert(!cputime_is_doubtful(&t));
	t.now_ns = 11 * S;
	cr_assert(cputime_is_doubtful(&t) && !cputime_is_over(&t));
	t.now_ns = 12 * S;
	cr_assert(!cputime_is_over(&t));
	t.now_ns = 12 * S + 1;
	cr_assert(cputime_is_over(&t));
}

Test(cputime, without_a_limit_nothing_is_over)
{
	struct cputime t = at(100 * S, 9 * S);

	t.limit_ns = 0;
	cputime_told(&t, 99 * S);
	cr_assert(!cputime_is_doubtful(&t) && !cputime_is_over(&t));
	cr_assert_eq(cputime_used(&t), 90 * S);
}

Test(cputime, the_next_look_is_when_the_limit_can_be_hit)
{
	struct cputime t = at(10 * S, 9 * S);

	cr_assert_eq(cputime_next(&t, 0), 11 * S);
	cr_assert_eq(cputime_next(&t, 1), 11 * S);
	t.now_ns = 11 * S;
	cputime_told(&t, 9 * S + 3 * S / 4);
	cr_assert_eq(cputime_next(&t, 0), 11 * S + S / 4);
	/* Asked, or nearly at its end: no look for every nanosecond. */
	cr_assert_eq(cputime_next(&t, 1), 12 * S + 1);
	cputime_told(&t, 10 * S - 1);
	cr_assert_eq(cputime_next(&t, 0), 11 * S + S / 64 + 1000000);
	t.now_ns = 12 * S;
	cr_assert_eq(cputime_next(&t, 0), 12 * S + 1);
}

Test(cputime, a_limit_beyond_all_time_is_never_hit)
{
	struct cputime t = at(11 * S, 9 * S);

	t.limit_ns = UINT64_MAX;
	cr_assert_eq(cputime_next(&t, 0), UINT64_MAX);
	t.now_ns = UINT64_MAX;
	cr_assert(!cputime_is_over(&t));
}
