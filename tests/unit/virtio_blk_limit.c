/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk with a limiter: what it holds back, and how it goes on. A bucket that
 * fills in an hour is one that does not; one that does in a millisecond is
 * there soon.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "runner/virtio/blk.h"
#include "tests/unit/virtio_fake.h"

#define W	  VRING_DESC_F_WRITE
#define HOUR_MS	  3600000u
#define UNTOUCHED 0xee

enum { IN = 0, FLUSH = 4, DISCARD = 11, ZEROES = 13 };

struct hdr {
	uint32_t type, reserved;
	uint64_t sector;
};

static struct fake f;
static int file;
static uint64_t hdr_at, data_at, status_at;

static void start(struct limiter_rate ops, struct limiter_rate bytes,
		  uint64_t without)
{
	struct virtio_blk_params p = { .serial = "", .ops = ops,
				       .bytes = bytes };

	fake_init(&f);
	file = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(file, 1 << 20), 0);
	p.disk = disk_raw_new(dup(file), false, false, NULL);
	f.dev = virtio_blk_new(&f.host, 5, &p, NULL);
	cr_assert_not_null(f.dev);
	fake_start(&f, fake_offered(&f) & ~without, 64);
	fake_run(&f);
	hdr_at = fake_alloc(&f, 64 * 16);
	data_at = fake_alloc(&f, 1 << 20);
	status_at = fake_alloc(&f, 64);
}

static void teardown(void)
{
	fake_free(&f);
	close(file);
}

TestSuite(virtio_blk_limit, .fini = teardown, .timeout = 60);

static volatile uint8_t *status(unsigned i)
{
	return (uint8_t *)fake_ptr(&f, status_at) + i;
}

/* Request @i with its own header and status; no kick. Its head. */
static uint16_t add(unsigned i, uint32_t type, uint32_t len)
{
	struct hdr h = { type, 0, 0 };
	struct fake_seg s[3] = { { hdr_at + i * 16, 16, 0 },
				 { data_at, len, type == IN ? W : 0 },
				 { status_at + i, 1, W } };

	memcpy(fake_ptr(&f, hdr_at + i * 16), &h, sizeof(h));
	*status(i) = UNTOUCHED;
	return fake_add_indirect(&f, 0, s, 3);
}

static uint16_t used(void)
{
	return fake_used_ring(&f, 0)->idx;
}

/* Turns of the loop that wait for timers, until so many are done. */
static void run_until(uint16_t n)
{
	while (used() != n)
		cr_assert_geq(ev_once(&f.loop, 10000), 1, "nothing happens");
}

#define NONE (struct limiter_rate){ 0 }

Test(virtio_blk_limit, operations_are_counted_and_the_loop_sleeps)
{
	int irqs;

	start((struct limiter_rate){ 3, 0, HOUR_MS }, NONE,
	      VIRTIO_F_EVENT_IDX);
	irqs = f.irqs;
	for (unsigned i = 0; i < 10; i++)
		add(i, IN, 512);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 3);
	cr_assert_eq(f.irqs, irqs + 1, "what is done is told");
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(*status(i), i < 3 ? 0 : UNTOUCHED);
	/* Nobody is kept busy, whatever the driver does. */
	cr_assert_eq(ev_once(&f.loop, 0), 0);
	for (int i = 0; i < 100; i++)
		fake_kick(&f, 0);
	cr_assert_eq(used(), 3);
	cr_assert_eq(ev_once(&f.loop, 0), 0);
}

Test(virtio_blk_limit, bytes_are_counted_over_all_requests)
{
	start(NONE, (struct limiter_rate){ 4096, 1024, HOUR_MS },
	      VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 20; i++)
		add(i, IN, 512);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 10);
}

Test(virtio_blk_limit, requests_without_data_cost_no_bytes)
{
	start(NONE, (struct limiter_rate){ 512, 0, HOUR_MS },
	      VIRTIO_F_EVENT_IDX);
	add(0, IN, 512);
	add(1, FLUSH, 0);
	add(2, IN, 511); /* refused, in words of one byte */
	add(3, IN, 512);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 3);
	cr_assert_eq(*status(1), 0);
	cr_assert_eq(*status(2), 1);
}

/* They may have to be written out: no way around the limit. */
Test(virtio_blk_limit, zeroes_cost_what_they_cover_and_discards_do_not)
{
	struct {
		uint64_t sector;
		uint32_t n, flags;
	} r = { 0, 8, 0 };

	start(NONE, (struct limiter_rate){ 4096, 0, HOUR_MS },
	      VIRTIO_F_EVENT_IDX);
	memcpy(fake_ptr(&f, data_at), &r, sizeof(r));
	add(0, DISCARD, 16);
	add(1, DISCARD, 16);
	add(2, ZEROES, 16);
	add(3, ZEROES, 16);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 3);
}

Test(virtio_blk_limit, goes_on_by_itself_in_the_order_of_the_ring)
{
	struct vring_used_elem e;
	uint16_t head[40];

	start((struct limiter_rate){ 4, 0, 1 }, NONE, VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 40; i++)
		head[i] = add(i, IN, 512);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	run_until(40);
	for (unsigned i = 0; i < 40; i++) {
		cr_assert(fake_take(&f, 0, &e));
		cr_assert_eq(e.id, head[i]);
		cr_assert_eq(e.len, 513);
		cr_assert_eq(*status(i), 0);
	}
}

Test(virtio_blk_limit, larger_than_the_bucket_passes)
{
	start(NONE, (struct limiter_rate){ 1000, 0, 1 }, VIRTIO_F_EVENT_IDX);
	add(0, IN, 1 << 14);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 1);
	add(1, FLUSH, 0);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	run_until(2);
}

/* 2.7.10: no kick is asked for while requests wait, and one is afterwards; an
 * interrupt comes for the one that the driver named. */
Test(virtio_blk_limit, event_indices_while_blocked)
{
	struct vring_avail *a;
	uint16_t *event;
	int irqs;

	start((struct limiter_rate){ 2, 0, 1 }, NONE, 0);
	a = fake_avail(&f, 0);
	event = (uint16_t *)&fake_used_ring(&f, 0)->ring[64];
	irqs = f.irqs;
	a->ring[64] = 29; /* used_event: of the thirtieth */
	for (unsigned i = 0; i < 30; i++)
		add(i, IN, 512);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (used() == 0)
		ev_once(&f.loop, -1);
	if (used() < 30)
		cr_assert_neq(*event, 30);
	run_until(30);
	fake_run(&f);
	cr_assert_eq(*event, 30);
	cr_assert_eq(f.irqs, irqs + 1);
}

/* The next driver has what the last one left, and no more. */
Test(virtio_blk_limit, reset_gives_no_tokens_and_drops_what_waits)
{
	start((struct limiter_rate){ 2, 0, HOUR_MS }, NONE,
	      VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 5; i++)
		add(i, IN, 512);
	fake_kick(&f, 0);
	cr_assert_eq(used(), 2);
	for (int round = 0; round < 5; round++) {
		fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, 64);
		fake_run(&f);
		cr_assert_eq(*status(2), UNTOUCHED);
		add(9, IN, 512);
		fake_kick(&f, 0);
		cr_assert_eq(used(), 0);
		cr_assert_eq(*status(9), UNTOUCHED);
	}
}

Test(virtio_blk_limit, timer_after_a_reset_touches_nothing)
{
	for (;;) {
		start((struct limiter_rate){ 1, 0, 20 }, NONE,
		      VIRTIO_F_EVENT_IDX);
		add(0, IN, 512);
		add(1, IN, 512);
		fake_kick(&f, 0);
		if (used() == 1)
			break;
		teardown(); /* held up for its 20 ms, it is done already */
	}
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	for (int i = 0; i < 3; i++)
		ev_once(&f.loop, 100);
	cr_assert_eq(*status(1), UNTOUCHED);
	cr_assert_eq(used(), 1);
	/* and it is a good disk */
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, 64);
	add(2, IN, 512);
	add(3, IN, 512);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	run_until(2);
	cr_assert_eq(*status(3), 0);
}

Test(virtio_blk_limit, timer_of_a_broken_ring_touches_nothing)
{
	start((struct limiter_rate){ 1, 0, 5 }, NONE, VIRTIO_F_EVENT_IDX);
	add(0, IN, 512);
	add(1, IN, 512);
	fake_offer(&f, 0, 999);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (!fake_broken(&f))
		cr_assert_geq(ev_once(&f.loop, 10000), 1);
	for (int i = 0; i < 3; i++)
		ev_once(&f.loop, 20);
	cr_assert_eq(*status(1), 0);
	cr_assert_eq(used(), 2);
}

/* A vCPU thread resets and kicks while requests wait and the timer fires. */
static void *reset_again_and_again(void *arg)
{
	_Atomic bool *stop = arg;

	for (int i = 0; i < 1500; i++) {
		fake_negotiate(&f, VIRTIO_F_VERSION_1 |
					   VIRTIO_F_INDIRECT_DESC);
		fake_place_queue(&f, 0, 64);
		fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 1);
		fake_write(&f, VIRTIO_MMIO_STATUS, FAKE_OK);
		f.heap = data_at + (2 << 20);
		for (unsigned k = 0; k < 8; k++)
			add(k, IN, 4096);
		fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		if (i % 8 == 0)
			usleep(300);
	}
	*stop = true;
	return NULL;
}

Test(virtio_blk_limit, reset_under_load)
{
	_Atomic bool stop = false;
	pthread_t thread;

	start((struct limiter_rate){ 5, 0, 1 },
	      (struct limiter_rate){ 9000, 0, 1 }, VIRTIO_F_EVENT_IDX);
	pthread_create(&thread, NULL, reset_again_and_again, &stop);
	while (!stop)
		ev_once(&f.loop, 1);
	pthread_join(thread, NULL);
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, 64);
	add(0, IN, 512);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	run_until(1);
	cr_assert_eq(*status(0), 0);
}
