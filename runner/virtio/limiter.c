/* SPDX-License-Identifier: Apache-2.0 */
/* Two token buckets. */
#include "runner/virtio/limiter.h"

#include "runner/base/mem.h"

#define NS_PER_MS 1000000u

/* Some 73 years, and two of them make no overflow. */
#define FOREVER (UINT64_MAX >> 3)

static void bucket_init(struct bucket *b, const struct limiter_rate *r,
			uint64_t now)
{
	*b = (struct bucket){ .size = r->size, .tokens = r->size,
			      .burst = r->burst, .then_ns = now };
	if (r->size)
		b->refill_ns = (uint64_t)r->refill_ms * NS_PER_MS;
}

/* Count what has come in. The clock may be behind: see empty_until(). */
static void fill(struct bucket *b, uint64_t now)
{
	uint64_t past = now > b->then_ns ? now - b->then_ns : 0, n;

	if (past >= b->refill_ns) {
		b->tokens = b->size;
		b->then_ns = now;
		return;
	}
	n = (uint64_t)((__uint128_t)past * b->size / b->refill_ns);
	if (n >= b->size - b->tokens) {
		b->tokens = b->size;
		b->then_ns = now;
		return;
	}
	b->tokens += n;
	/* The time that whole tokens took; the rest counts on. */
	b->then_ns += (uint64_t)(((__uint128_t)n * b->refill_ns + b->size - 1) /
				 b->size);
}

/* How long until @n tokens come in. */
static uint64_t time_of(const struct bucket *b, uint64_t n)
{
	__uint128_t ns = ((__uint128_t)n * b->refill_ns + b->size - 1) / b->size;

	return ns > FOREVER ? FOREVER : (uint64_t)ns;
}

/* 0, or how long until @n can be taken. */
static uint64_t lacks(struct bucket *b, uint64_t n, uint64_t now)
{
	uint64_t wait, least;

	if (!b->refill_ns)
		return 0;
	fill(b, now);
	n -= MIN(n, b->burst);
	if (n <= b->tokens || n > b->size)
		return 0;
	/* Since then_ns some of it has passed, which is on the safe side. */
	wait = time_of(b, n - b->tokens);
	least = MIN(LIMITER_WAIT, b->refill_ns / 16);
	return MAX(wait, least);
}

/* Take @n. Returns until when what was too many of them is paid back. */
static uint64_t take(struct bucket *b, uint64_t n, uint64_t now)
{
	uint64_t k = MIN(n, b->burst);

	if (!b->refill_ns)
		return 0;
	b->burst -= k;
	n -= k;
	k = MIN(n, b->tokens);
	b->tokens -= k;
	n -= k;
	if (!n)
		return 0;
	/* Tokens of that time are spent: it counts from its end. */
	b->then_ns = now + time_of(b, n);
	return b->then_ns;
}

void limiter_init(struct limiter *l, const struct limiter_rate *ops,
		  const struct limiter_rate *bytes, uint64_t now)
{
	*l = (struct limiter){ 0 };
	bucket_init(&l->ops, ops, now);
	bucket_init(&l->bytes, bytes, now);
}

bool limiter_limits(const struct limiter *l)
{
	return l->ops.refill_ns || l->bytes.refill_ns;
}

uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now)
{
	uint64_t wait, for_ops, for_bytes;

	if (now < l->until_ns)
		return l->until_ns - now;
	for_ops = lacks(&l->ops, 1, now);
	for_bytes = lacks(&l->bytes, bytes, now);
	wait = MAX(for_ops, for_bytes);
	if (wait)
		return wait;
	for_ops = take(&l->ops, 1, now);
	for_bytes = take(&l->bytes, bytes, now);
	l->until_ns = MAX(for_ops, for_bytes);
	return 0;
}
