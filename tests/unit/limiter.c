/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets, by a clock of their own. */
#include "runner/virtio/limiter.h"

#include <criterion/criterion.h>
#include <string.h>

#include "runner/base/mem.h"

#define MS    1000000ull
#define START (77 * MS)

static const struct limiter_rate none;
static struct limiter l;

static void bytes(uint64_t size, uint64_t burst, uint32_t refill_ms)
{
	struct limiter_rate r = { size, burst, refill_ms };

	limiter_init(&l, &none, &r, START);
}

static void ops(uint64_t size, uint64_t burst, uint32_t refill_ms)
{
	struct limiter_rate r = { size, burst, refill_ms };

	limiter_init(&l, &r, &none, START);
}

Test(limiter, size_or_time_of_zero_is_no_limit)
{
	bytes(0, 5, 100);
	cr_assert_not(limiter_limits(&l));
	bytes(5, 5, 0);
	cr_assert_not(limiter_limits(&l));
	for (int i = 0; i < 100; i++)
		cr_assert_eq(limiter_take(&l, UINT64_MAX, START), 0);
	ops(1, 0, 1);
	cr_assert(limiter_limits(&l));
}

Test(limiter, starts_full_and_fills_at_its_rate)
{
	bytes(1000, 0, 100);
	cr_assert_eq(limiter_take(&l, 400, START), 0);
	cr_assert_eq(limiter_take(&l, 600, START), 0);
	/* 10 a millisecond */
	cr_assert_eq(limiter_take(&l, 50, START), 5 * MS);
	cr_assert_eq(limiter_take(&l, 50, START + 3 * MS), 2 * MS);
	cr_assert_eq(limiter_take(&l, 50, START + 5 * MS), 0);
	cr_assert_neq(limiter_take(&l, 1, START + 5 * MS), 0);
	/* never more than it holds */
	cr_assert_eq(limiter_take(&l, 1000, START + 900 * MS), 0);
	cr_assert_neq(limiter_take(&l, 1, START + 900 * MS), 0);
}

Test(limiter, burst_is_spent_first_and_once)
{
	bytes(100, 250, 100);
	cr_assert_eq(limiter_take(&l, 200, START), 0);
	cr_assert_eq(l.bytes.tokens, 100);
	/* 50 of it, and 100 of the bucket */
	cr_assert_eq(limiter_take(&l, 150, START), 0);
	cr_assert_eq(limiter_take(&l, 100, START), 100 * MS);
	cr_assert_eq(limiter_take(&l, 100, START + 1000000 * MS), 0);
	cr_assert_neq(limiter_take(&l, 1, START + 1000000 * MS), 0);
	/* What is left of it and what is left of the bucket, together. */
	bytes(100, 70, 100);
	cr_assert_eq(limiter_take(&l, 30, START), 0);
	cr_assert_eq(limiter_take(&l, 100, START), 0);
	cr_assert_eq(limiter_take(&l, 41, START), MS);
	bytes(100, 70, 100);
	cr_assert_eq(limiter_take(&l, 50, START), 0);
	l.bytes.tokens = 30;
	cr_assert_eq(limiter_take(&l, 50, START), 0);
	cr_assert_eq(l.bytes.burst, 0);
	cr_assert_eq(l.bytes.tokens, 0);
}

Test(limiter, burst_makes_a_large_request_small)
{
	bytes(100, 1000, 100);
	cr_assert_eq(limiter_take(&l, 1100, START), 0);
	cr_assert_eq(limiter_take(&l, 1, START), MS);
}

Test(limiter, larger_than_the_bucket_passes_and_then_blocks)
{
	bytes(100, 0, 10);
	cr_assert_eq(limiter_take(&l, 1100, START), 0);
	cr_assert_eq(limiter_take(&l, 0, START), 100 * MS);
	cr_assert_eq(limiter_take(&l, 1, START + 99 * MS), MS);
	/* Then it is empty, not full. */
	cr_assert_eq(limiter_take(&l, 50, START + 100 * MS), 5 * MS);
	cr_assert_eq(limiter_take(&l, 50, START + 105 * MS), 0);
	/* and what is there counts */
	cr_assert_eq(limiter_take(&l, 150, START + 110 * MS), 0);
	cr_assert_eq(limiter_take(&l, 0, START + 110 * MS), 10 * MS);
}

Test(limiter, from_both_buckets_or_from_neither)
{
	struct limiter_rate o = { 2, 0, 1000 }, b = { 1000, 0, 100 };

	limiter_init(&l, &o, &b, START);
	cr_assert_eq(limiter_take(&l, 1000, START), 0);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(limiter_take(&l, 10, START), MS);
	cr_assert_eq(l.ops.tokens, 1);
	cr_assert_eq(limiter_take(&l, 10, START + MS), 0);
	/* no operation left: bytes stay */
	cr_assert_gt(limiter_take(&l, 10, START + 50 * MS), 400 * MS);
	cr_assert_eq(limiter_take(&l, 500, START + 500 * MS), 0);
	cr_assert_eq(l.bytes.tokens, 500);
}

Test(limiter, waits_are_worth_waking_up_for)
{
	bytes(1000000, 0, 1);
	cr_assert_eq(limiter_take(&l, 1000000, START), 0);
	cr_assert_eq(limiter_take(&l, 1, START), MS / 16);
	bytes(1000000, 0, 1000);
	cr_assert_eq(limiter_take(&l, 1000000, START), 0);
	cr_assert_eq(limiter_take(&l, 1, START), MS);
}

Test(limiter, clock_that_goes_back_gives_nothing)
{
	bytes(100, 0, 100);
	cr_assert_eq(limiter_take(&l, 100, START), 0);
	cr_assert_neq(limiter_take(&l, 1, START - 50 * MS), 0);
	cr_assert_neq(limiter_take(&l, 1, 0), 0);
	cr_assert_neq(limiter_take(&l, 100, START + 99 * MS), 0);
	cr_assert_eq(limiter_take(&l, 100, START + 100 * MS), 0);
}

static uint64_t seed = 1;

static uint64_t pick(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

/*
 * Whoever waits as he is told gets all of the rate and no more, whatever the
 * sizes. Fractions of tokens are the test: many small requests.
 */
Test(limiter, rate_is_kept)
{
	for (unsigned round = 0; round < 300; round++) {
		uint64_t size = pick(round & 1 ? 50 : 10000000) + 1;
		uint64_t burst = pick(2) ? pick(size * 3) : 0;
		uint32_t ms = (uint32_t)pick(pick(2) ? 20 : 2000) + 1;
		uint64_t most = pick(2) ? size : MAX(size / 50, 1);
		uint64_t now = START, sum = 0, end, rate;

		bytes(size, burst, ms);
		end = START + 40ull * ms * MS;
		while (now < end) {
			uint64_t n = pick(most) + 1;
			uint64_t wait = limiter_take(&l, n, now);

			if (wait)
				now += wait + pick(2) * pick(1000);
			else
				sum += n;
		}
		rate = (uint64_t)((__uint128_t)(now - START) * size /
				  (ms * MS));
		cr_assert_leq(sum, burst + size + rate);
		/* What a full bucket lost while a large request waited. */
		cr_assert_geq(sum + 2 * most + rate / 8, burst + rate,
			      "size %lu ms %u", size, ms);
	}
}

/* A request larger than the bucket is late by its own size at the most. */
Test(limiter, rate_of_large_requests_is_kept)
{
	uint64_t now = START, sum = 0, rate;

	bytes(100, 0, 10);
	while (now < START + 10000 * MS) {
		uint64_t n = pick(3000) + 1, wait = limiter_take(&l, n, now);

		now += wait;
		sum += wait ? 0 : n;
	}
	rate = (now - START) / (10 * MS) * 100;
	cr_assert_leq(sum, rate + 100 + 3000);
	cr_assert_geq(sum + rate / 20 + 3000, rate);
}

Test(limiter, no_number_overflows)
{
	static const uint64_t v[] = { 0, 1, 2, 1000, UINT32_MAX, 1ull << 52,
				      INT64_MAX, UINT64_MAX - 1, UINT64_MAX };
	const unsigned n = ARRAY_SIZE(v);

	for (unsigned i = 0; i < n * n * n * 3; i++) {
		struct limiter_rate r = { v[i % n], v[i / n % n],
				i % 3 ? UINT32_MAX : 1 };
		uint64_t ask = v[i / n / n % n], now = START;

		limiter_init(&l, &r, &r, now);
		for (unsigned k = 0; k < 20; k++) {
			uint64_t wait = limiter_take(&l, ask, now);

			cr_assert_leq(wait, INT64_MAX / 4);
			cr_assert_leq(l.bytes.tokens, r.size);
			cr_assert_leq(l.bytes.burst, r.burst);
			cr_assert_geq(now + wait, now);
			if (wait && now < INT64_MAX / 4)
				now += wait;
		}
	}
}
