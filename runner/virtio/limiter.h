/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter: how many operations and how many bytes a device may do in a time.
 *
 * Two token buckets, as Firecracker has them. A bucket of `size` tokens is
 * full at first and fills again at a rate of `size` in `refill_ms`; `burst`
 * are tokens besides, spent first and never filled again. A size or a time of
 * 0: no bucket, no limit. A request takes one token of the first bucket and as
 * many of the second as it has bytes, from both or from neither. One for more
 * than the bucket holds would wait for ever: it passes, and then all wait
 * until the tokens that it took too many have come in.
 *
 * So in any time t no more than burst + size + t * size / refill pass, and the
 * one request that is larger. (Firecracker counts the time of such a wait
 * twice, and wakes up each 100 ms only, which of a bucket that is full in 10
 * leaves a tenth.)
 *
 * Pure arithmetic on CLOCK_MONOTONIC in ns, which the caller passes; no value
 * of any argument overflows. Who waits sets the timer.
 */
#ifndef MAYFLY_VIRTIO_LIMITER_H
#define MAYFLY_VIRTIO_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct limiter_rate {
	uint64_t size, burst;
	uint32_t refill_ms;
};

struct bucket {
	uint64_t size, tokens, burst;
	uint64_t refill_ns; /* 0: no bucket */
	uint64_t then_ns;   /* when tokens was true */
};

struct limiter {
	struct bucket ops, bytes;
	uint64_t until_ns; /* nothing passes before */
};

/*
 * How long a request that is refused waits: until what it lacks is there, so
 * that the rate is kept whatever the bucket's time. Many small ones would wake
 * the device for each: they wait for 1 ms at least, in which more come in; or a
 * 16th of the bucket's time, of which no more is lost by being full.
 */
#define LIMITER_WAIT 1000000u

void limiter_init(struct limiter *l, const struct limiter_rate *ops,
		  const struct limiter_rate *bytes, uint64_t now_ns);
bool limiter_limits(const struct limiter *l);

/* 0: one operation of @bytes may be done, and is paid for. Else nothing was
 * taken, and it is worth asking again after so many ns. */
uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now_ns);

#endif
