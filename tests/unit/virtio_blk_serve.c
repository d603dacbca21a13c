/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk does at the kick itself, on the thread of the vCPU, and what
 * it leaves to the main thread. */
#include <errno.h>
#include <stdlib.h>

#include "runner/virtio/blk.h"
#include "tests/unit/virtio_fake.h"

#define W    VRING_DESC_F_WRITE
#define SIZE (4ull << 20)

enum { IN = 0, OUT = 1, GET_ID = 8 };
enum { OK = 0, IOERR = 1, UNTOUCHED = 0xee };

struct hdr {
	uint32_t type, reserved;
	uint64_t sector;
};

/* A disk that says what it was asked. */
static struct told {
	int reads, patient; /* of them: without DISK_NOWAIT */
	int writes;
	int cold; /* nothing is in memory */
	int error;
} told;

static int told_readv(struct disk *d, struct iovec *iov, unsigned n,
		      uint64_t off, int flags)
{
	(void)d;
	(void)off;
	told.reads++;
	told.patient += !(flags & DISK_NOWAIT);
	if (flags & DISK_NOWAIT && told.cold)
		return -EAGAIN;
	for (unsigned i = 0; i < n; i++)
		memset(iov[i].iov_base, 'r', iov[i].iov_len);
	return told.error;
}

static int told_writev(struct disk *d, struct iovec *iov, unsigned n,
		       uint64_t off)
{
	(void)d;
	(void)iov;
	(void)n;
	(void)off;
	told.writes++;
	return told.error;
}

static int told_flush(struct disk *d)
{
	(void)d;
	return 0;
}

static void told_free(struct disk *d)
{
	free(d);
}

static const struct disk_ops told_ops = {
	.readv = told_readv,
	.writev = told_writev,
	.flush = told_flush,
	.free = told_free,
};

static struct fake f;
static uint64_t hdr_at, data_at, status_at;

static void start_limited(bool durable, struct limiter_rate ops)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	struct virtio_blk_params p = { .disk = disk, .serial = "", .ops = ops };

	cr_assert_not_null(disk);
	*disk = (struct disk){ .ops = &told_ops, .size = SIZE,
			       .durable = durable };
	fake_init(&f);
	f.host.serve = true;
	f.dev = virtio_blk_new(&f.host, 5, &p, NULL);
	cr_assert_not_null(f.dev);
	fake_start(&f, fake_offered(&f), 64);
	fake_run(&f);
	told = (struct told){ 0 };
	hdr_at = fake_alloc(&f, 64 * 16);
	data_at = fake_alloc(&f, 2 * VIRTIO_BLK_SERVE);
	status_at = fake_alloc(&f, 64);
}

static void start(bool durable)
{
	start_limited(durable, (struct limiter_rate){ 0 });
}

static void setup(void)
{
	start(false);
}

static void teardown(void)
{
	fake_free(&f);
}

TestSuite(virtio_blk_serve, .init = setup, .fini = teardown, .timeout = 60);

static void add(unsigned i, uint32_t type, uint32_t len)
{
	struct hdr h = { type, 0, 0 };
	struct fake_seg s[3] = { { hdr_at + i * 16, 16, 0 },
				 { data_at, len,
				   type == IN || type == GET_ID ? W : 0 },
				 { status_at + i, 1, W } };

	memcpy(fake_ptr(&f, hdr_at + i * 16), &h, sizeof(h));
	*((uint8_t *)fake_ptr(&f, status_at) + i) = UNTOUCHED;
	fake_add_indirect(&f, 0, s, 3);
}

static uint8_t status(unsigned i)
{
	return *((uint8_t *)fake_ptr(&f, status_at) + i);
}

/* The register alone: the main thread gets no turn. */
static void kick(void)
{
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static bool main_is_woken(void)
{
	return ev_once(&f.loop, 0) > 0;
}

/* It is done, but not at the kick. */
static void expect_main(uint32_t type, uint32_t len)
{
	add(0, type, len);
	kick();
	cr_assert_eq(status(0), UNTOUCHED);
	cr_assert(main_is_woken());
	fake_run(&f);
	cr_assert_eq(status(0), OK);
}

Test(virtio_blk_serve, reads_of_what_is_in_memory_are_done_at_the_kick)
{
	add(0, IN, 4096);
	add(1, IN, 512);
	kick();
	cr_assert_eq(status(0), OK);
	cr_assert_eq(status(1), OK);
	cr_assert_eq(*(char *)fake_ptr(&f, data_at), 'r');
	cr_assert_eq(told.reads, 2);
	cr_assert_eq(told.patient, 0);
	cr_assert_eq(f.irqs, 1);
	cr_assert_not(main_is_woken());
}

Test(virtio_blk_serve, so_are_writes_that_nobody_wants_durable)
{
	add(0, OUT, 4096);
	kick();
	cr_assert_eq(status(0), OK);
	cr_assert_eq(told.writes, 1);
	cr_assert_not(main_is_woken());
}

Test(virtio_blk_serve, a_read_that_would_wait_is_the_main_threads)
{
	told.cold = 1;
	expect_main(IN, 4096);
	cr_assert_eq(told.reads, 2);
	cr_assert_eq(told.patient, 1);
}

Test(virtio_blk_serve, requests_behind_one_that_waits_stay_behind_it)
{
	struct vring_used_elem e;

	told.cold = 1;
	add(0, IN, 4096);
	add(1, OUT, 4096);
	kick();
	cr_assert_eq(told.writes, 0);
	add(2, OUT, 512);
	kick();
	cr_assert_eq(told.writes, 0);
	fake_run(&f);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(status(i), OK);
		cr_assert(fake_take(&f, 0, &e));
	}
	cr_assert_eq(told.writes, 2);
}

Test(virtio_blk_serve, what_is_wrong_is_refused_at_once)
{
	told.error = -EIO;
	add(0, IN, 4096);
	add(1, 77, 512);
	kick();
	cr_assert_eq(status(0), IOERR);
	cr_assert_neq(status(1), UNTOUCHED);
}

Test(virtio_blk_serve, a_long_transfer_is_the_main_threads)
{
	expect_main(IN, VIRTIO_BLK_SERVE + 512);
}

Test(virtio_blk_serve, many_short_ones_are_served_up_to_a_bound)
{
	unsigned done = 0;

	for (unsigned i = 0; i < 40; i++)
		add(i, IN, 65536);
	kick();
	for (unsigned i = 0; i < 40; i++)
		done += status(i) == OK;
	cr_assert_eq(done, VIRTIO_BLK_SERVE / 65536);
	fake_run(&f);
	cr_assert_eq(status(39), OK);
}

Test(virtio_blk_serve, what_is_no_transfer_is_the_main_threads)
{
	expect_main(GET_ID, 512);
}

Test(virtio_blk_serve, so_is_what_has_to_be_durable, .init = NULL)
{
	start(true);
	expect_main(OUT, 4096);
	add(0, IN, 4096);
	kick();
	cr_assert_eq(status(0), OK);
}

Test(virtio_blk_serve, so_is_all_that_is_limited, .init = NULL)
{
	start_limited(false, (struct limiter_rate){ .size = 100,
						    .refill_ms = 1000 });
	expect_main(IN, 4096);
}

Test(virtio_blk_serve, a_vcpu_does_not_wait_for_the_main_thread)
{
	pthread_mutex_lock(&f.dev->lock);
	add(0, IN, 4096);
	kick();
	pthread_mutex_unlock(&f.dev->lock);
	cr_assert_eq(status(0), UNTOUCHED);
	fake_run(&f);
	cr_assert_eq(status(0), OK);
}

Test(virtio_blk_serve, a_reset_that_is_owed_comes_first)
{
	told.cold = 1;
	add(0, IN, 4096);
	kick();
	/* A new driver, before the main thread had a turn. */
	fake_start(&f, fake_offered(&f), 64);
	told.cold = 0;
	add(1, IN, 4096);
	kick();
	cr_assert_eq(status(1), UNTOUCHED);
	fake_run(&f);
	cr_assert_eq(status(0), UNTOUCHED);
	cr_assert_eq(status(1), OK);
}

Test(virtio_blk_serve, without_the_hosts_word_none_is_served)
{
	f.dev->host.serve = false;
	expect_main(IN, 4096);
}
