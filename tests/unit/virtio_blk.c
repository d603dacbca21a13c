/* SPDX-License-Identifier: Apache-2.0 */
/* The disk: requests as drivers make them and as they should not. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/virtio/blk.h"
#include "tests/unit/virtio_fake.h"

#define SECTORS 64u
#define W	VRING_DESC_F_WRITE

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

#define F_RO	  (1ull << 5)
#define F_DISCARD (1ull << 13)
#define F_ZEROES  (1ull << 14)

struct hdr {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

static struct fake f;
static int file;
static uint64_t hdr_at, data_at, status_at;

static void plug(struct disk *disk, const struct limiter_rate *ops,
		 const struct limiter_rate *bytes)
{
	struct virtio_blk_params p = { .disk = disk,
				       .serial = "serial-0123456789-abc" };

	cr_assert_not_null(disk);
	if (ops)
		p.ops = *ops;
	if (bytes)
		p.bytes = *bytes;
	f.dev = virtio_blk_new(&f.host, 5, &p, NULL);
	cr_assert_not_null(f.dev);
}

static void start(bool readonly, uint64_t features)
{
	fake_init(&f);
	file = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(file, SECTORS * 512), 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		char sector[512];

		memset(sector, 'a' + (int)(i % 26), sizeof(sector));
		cr_assert_eq(pwrite(file, sector, 512, i * 512), 512);
	}
	plug(disk_raw_new(dup(file), readonly, !readonly, NULL), NULL, NULL);
	if (!features)
		features = fake_offered(&f);
	fake_start(&f, features & ~VIRTIO_F_EVENT_IDX, 64);
	fake_run(&f);
	hdr_at = fake_alloc(&f, 16);
	data_at = fake_alloc(&f, 1 << 20);
	status_at = fake_alloc(&f, 1);
}

static void setup(void)
{
	start(false, 0);
}

static void teardown(void)
{
	fake_free(&f);
	close(file);
}

TestSuite(virtio_blk, .init = setup, .fini = teardown, .timeout = 60);

/* One request; its data segment is readable or writable. Status or -1. */
static int request_used(uint32_t type, uint64_t sector, uint32_t len,
			bool to_guest, uint32_t *used)
{
	struct fake_seg s[3] = { { hdr_at, 16, 0 },
				 { data_at, len, to_guest ? W : 0 },
				 { status_at, 1, W } };
	struct hdr h = { type, 0, sector };
	struct vring_used_elem e;

	memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
	*(uint8_t *)fake_ptr(&f, status_at) = UNTOUCHED;
	fake_add(&f, 0, s, 3);
	fake_kick(&f, 0);
	if (!fake_take(&f, 0, &e))
		return -1;
	*used = e.len;
	return *(uint8_t *)fake_ptr(&f, status_at);
}

static int request(uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
	uint32_t used;

	return request_used(type, sector, len, to_guest, &used);
}

static int range_request(uint32_t type, const struct range *r, unsigned n)
{
	memcpy(fake_ptr(&f, data_at), r, n * sizeof(*r));
	return request(type, 0, n * (uint32_t)sizeof(*r), false);
}

static char byte_at(uint64_t off)
{
	char c;

	cr_assert_eq(pread(file, &c, 1, (off_t)off), 1);
	return c;
}

Test(virtio_blk, config_says_what_there_is)
{
	uint64_t capacity;

	virtio_mmio_access(f.dev, VIRTIO_MMIO_CONFIG, &capacity, 8, 0);
	cr_assert_eq(capacity, SECTORS);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_CONFIG + 12), 254);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_CONFIG + 20), 512);
}

Test(virtio_blk, reads)
{
	uint32_t used;

	f.noted = 0;
	cr_assert_eq(request_used(IN, 3, 1024, true, &used), OK);
	cr_assert_eq(used, 1025);
	cr_assert_eq(f.noted, 1025 + 10);
	cr_assert_eq(*(char *)fake_ptr(&f, data_at), 'd');
	cr_assert_eq(*(char *)fake_ptr(&f, data_at + 512), 'e');
}

Test(virtio_blk, writes)
{
	memset(fake_ptr(&f, data_at), 'Z', 1024);
	cr_assert_eq(request(OUT, 62, 1024, false), OK);
	cr_assert_eq(byte_at(62 * 512 - 1), 'j');
	cr_assert_eq(byte_at(62 * 512), 'Z');
	cr_assert_eq(byte_at(64 * 512 - 1), 'Z');
}

Test(virtio_blk, flush_and_id)
{
	uint32_t used;

	cr_assert_eq(request(FLUSH, 0, 0, false), OK);
	cr_assert_eq(request_used(GET_ID, 0, 20, true, &used), OK);
	cr_assert_eq(used, 21);
	cr_assert_arr_eq(fake_ptr(&f, data_at), "serial-0123456789-ab", 20);
	cr_assert_eq(request(GET_ID, 0, 19, true), IOERR);
}

Test(virtio_blk, nothing_past_the_end)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		int want;
	} t[] = {
		{ 63, 512, OK },	 { 63, 1024, IOERR },
		{ 64, 0, OK },		 { 64, 512, IOERR },
		{ 65, 0, IOERR },	 { UINT64_MAX, 512, IOERR },
		{ UINT64_MAX, 0, IOERR },
		{ UINT64_MAX / 512, 1024, IOERR },
		{ 1ull << 55, 512, IOERR }, { (1ull << 55) - 1, 1024, IOERR },
		{ 0, 512 * 64, OK },	 { 0, 512 * 65, IOERR },
		{ 0, 511, IOERR },	 { 0, 513, IOERR },
	};
	struct stat st;

	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		cr_assert_eq(request(IN, t[i].sector, t[i].len, true),
			     t[i].want, "read %u", i);
		cr_assert_eq(request(OUT, t[i].sector, t[i].len, false),
			     t[i].want, "write %u", i);
	}
	fstat(file, &st);
	cr_assert_eq(st.st_size, SECTORS * 512);
}

Test(virtio_blk, length_is_summed_over_descriptors)
{
	struct hdr h = { OUT, 0, 62 };
	struct fake_seg s[] = { { hdr_at, 16, 0 },    { data_at, 700, 0 },
				{ data_at, 324, 0 },  { data_at, 512, 0 },
				{ status_at, 1, W } };
	struct vring_used_elem e;

	memset(fake_ptr(&f, data_at), 'Z', 1024);
	memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
	fake_add(&f, 0, s, 5);
	fake_kick(&f, 0);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(*(uint8_t *)fake_ptr(&f, status_at), IOERR);
	cr_assert_eq(byte_at(62 * 512), 'k');
	s[3].len = 0;
	fake_add(&f, 0, s, 5);
	fake_kick(&f, 0);
	cr_assert_eq(*(uint8_t *)fake_ptr(&f, status_at), OK);
	cr_assert_eq(byte_at(62 * 512), 'Z');
}

Test(virtio_blk, header_and_status_may_be_scattered)
{
	struct hdr h = { IN, 0, 1 };
	struct fake_seg s[] = { { hdr_at, 3, 0 },	{ hdr_at + 3, 13, 0 },
				{ data_at, 100, W },	{ data_at + 100, 413, W } };
	struct vring_used_elem e;

	memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
	memset(fake_ptr(&f, data_at), UNTOUCHED, 513);
	fake_add_indirect(&f, 0, s, 4);
	fake_kick(&f, 0);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(e.len, 513);
	cr_assert_eq(*(char *)fake_ptr(&f, data_at + 511), 'b');
	cr_assert_eq(*(char *)fake_ptr(&f, data_at + 512), OK);
}

Test(virtio_blk, unknown_types_are_unsupported)
{
	static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 16,
					  0x80000000, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
		cr_assert_eq(request(types[i], 0, 512, true), UNSUPP);
}

Test(virtio_blk, short_requests_end_without_a_crash)
{
	for (uint32_t out = 0; out < 18; out++)
		for (uint32_t in = 0; in < 3; in++) {
			struct fake_seg s[] = { { hdr_at, out, 0 },
						{ status_at, in, W } };
			struct vring_used_elem e;
			uint8_t *st = fake_ptr(&f, status_at);

			memset(fake_ptr(&f, hdr_at), 0, 16);
			memset(st, UNTOUCHED, 2);
			fake_add(&f, 0, s, 2);
			fake_kick(&f, 0);
			cr_assert(fake_take(&f, 0, &e));
			if (in)
				cr_assert_eq(st[in - 1],
					     out >= 16 && in == 1 ? OK : IOERR);
		}
	cr_assert_not(fake_broken(&f));
}

Test(virtio_blk, discard_and_write_zeroes)
{
	struct range r = { 8, 8, 0 };
	struct range two[] = { { 16, 1, 0 }, { 18, 1, 0 } };

	cr_assert_eq(range_request(ZEROES, &r, 1), OK);
	cr_assert_eq(byte_at(8 * 512 - 1), 'h');
	cr_assert_eq(byte_at(8 * 512), 0);
	cr_assert_eq(byte_at(16 * 512 - 1), 0);
	cr_assert_eq(byte_at(16 * 512), 'q');
	cr_assert_eq(range_request(DISCARD, two, 2), OK);
	cr_assert_eq(byte_at(16 * 512), 0);
	cr_assert_eq(byte_at(17 * 512), 'r');
	r = (struct range){ 32, 1, 1 };
	cr_assert_eq(range_request(ZEROES, &r, 1), OK);
	cr_assert_eq(byte_at(32 * 512), 0);
}

Test(virtio_blk, bad_ranges_touch_nothing)
{
	static const struct {
		struct range r;
		int want;
	} t[] = {
		{ { 64, 1, 0 }, IOERR },	{ { 63, 2, 0 }, IOERR },
		{ { 0, UINT32_MAX, 0 }, IOERR }, { { UINT64_MAX, 2, 0 }, IOERR },
		{ { UINT64_MAX, 1, 0 }, IOERR }, { { 0, 1, 2 }, UNSUPP },
		{ { 0, 1, 0x80000000 }, UNSUPP }, { { 0, 65, 0 }, IOERR },
	};
	struct range mixed[] = { { 0, 1, 0 }, { 64, 1, 0 } };
	struct range many[17] = { { 0, 1, 0 } };

	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		cr_assert_eq(range_request(ZEROES, &t[i].r, 1), t[i].want);
		cr_assert_eq(range_request(DISCARD, &t[i].r, 1), t[i].want);
	}
	cr_assert_eq(range_request(DISCARD, mixed, 2), IOERR);
	cr_assert_eq(range_request(DISCARD, many, 17), IOERR);
	cr_assert_eq(request(DISCARD, 0, 0, false), IOERR);
	cr_assert_eq(request(DISCARD, 0, 17, false), IOERR);
	cr_assert_eq(byte_at(0), 'a');
}

TestSuite(virtio_blk_bare, .fini = teardown, .timeout = 60);

Test(virtio_blk_bare, ranges_need_negotiation)
{
	struct range r = { 0, 1, 0 };

	start(false, VIRTIO_F_VERSION_1);
	cr_assert_eq(range_request(DISCARD, &r, 1), UNSUPP);
	cr_assert_eq(range_request(ZEROES, &r, 1), UNSUPP);
	/* and without FLUSH writes go through */
	cr_assert_eq(request(OUT, 0, 512, false), OK);
}

Test(virtio_blk_bare, readonly_disk_refuses_writes_without_negotiation)
{
	struct range r = { 0, 1, 0 };

	start(true, VIRTIO_F_VERSION_1);
	cr_assert(fake_offered(&f) & F_RO);
	cr_assert_not(fake_offered(&f) & (F_DISCARD | F_ZEROES));
	memset(fake_ptr(&f, data_at), 'Z', 512);
	cr_assert_eq(request(OUT, 0, 512, false), IOERR);
	cr_assert_eq(range_request(DISCARD, &r, 1), IOERR);
	cr_assert_eq(range_request(ZEROES, &r, 1), IOERR);
	cr_assert_eq(request(FLUSH, 0, 0, false), OK);
	cr_assert_eq(request(IN, 0, 512, true), OK);
	cr_assert_eq(byte_at(0), 'a');
}

Test(virtio_blk, a_batch_gives_one_interrupt)
{
	struct hdr h = { IN, 0, 0 };
	struct fake_seg s[] = { { hdr_at, 16, 0 }, { data_at, 512, W },
				{ status_at, 1, W } };
	int irqs = f.irqs;

	memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
	for (int i = 0; i < 20; i++)
		fake_add(&f, 0, s, 3);
	fake_kick(&f, 0);
	cr_assert_eq(fake_used_ring(&f, 0)->idx, 20);
	cr_assert_eq(f.irqs, irqs + 1);
}

/* A sparse disk, a request larger than a turn of the loop. */
static void start_large(uint32_t len)
{
	struct fake_seg s[50] = { { hdr_at, 16, 0 } };
	struct hdr h = { IN, 0, 0 };
	unsigned n = len >> 20;

	memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
	for (unsigned i = 0; i < n; i++)
		s[i + 1] = (struct fake_seg){ data_at, 1 << 20, W };
	s[n + 1] = (struct fake_seg){ status_at, 1, W };
	*(uint8_t *)fake_ptr(&f, status_at) = UNTOUCHED;
	fake_add_indirect(&f, 0, s, n + 2);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void regrow(uint64_t size)
{
	virtio_free(f.dev);
	cr_assert_eq(ftruncate(file, (off_t)size), 0);
	plug(disk_raw_new(dup(file), false, false, NULL), NULL, NULL);
	fake_start(&f, fake_offered(&f) & ~VIRTIO_F_EVENT_IDX, 64);
	fake_run(&f);
}

Test(virtio_blk, large_request_is_done_in_turns)
{
	struct vring_used_elem e;
	int turns = 0;

	regrow(64 << 20);
	start_large(32 << 20);
	while (ev_once(&f.loop, 0) > 0)
		turns++;
	cr_assert_geq(turns, (32 << 20) / (int)VIRTIO_BLK_ROUND);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(e.len, (32 << 20) + 1);
	cr_assert_eq(*(uint8_t *)fake_ptr(&f, status_at), OK);
}

Test(virtio_blk, reset_in_the_middle_of_a_request_drops_it)
{
	struct vring_used_elem e;

	regrow(64 << 20);
	start_large(32 << 20);
	ev_once(&f.loop, 0);
	fake_start(&f, fake_offered(&f) & ~VIRTIO_F_EVENT_IDX, 64);
	fake_run(&f);
	cr_assert_not(fake_take(&f, 0, &e));
	cr_assert_eq(*(uint8_t *)fake_ptr(&f, status_at), UNTOUCHED);
	cr_assert_eq(request(IN, 0, 512, true), OK);
}

/* CVE-2026-45782: a vCPU thread resets while the main thread works. */
struct resetter {
	pthread_t thread;
	_Atomic bool stop;
};

static void *reset_again_and_again(void *arg)
{
	struct resetter *r = arg;

	for (int i = 0; i < 2000; i++) {
		struct hdr h = { IN, 0, 0 };
		struct fake_seg s[] = { { hdr_at, 16, 0 },
					{ data_at, 1 << 14, W },
					{ status_at, 1, W } };

		fake_negotiate(&f, VIRTIO_F_VERSION_1);
		fake_place_queue(&f, 0, 64);
		fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 1);
		fake_write(&f, VIRTIO_MMIO_STATUS, FAKE_OK);
		memcpy(fake_ptr(&f, hdr_at), &h, sizeof(h));
		for (int k = 0; k < 16; k++)
			fake_add(&f, 0, s, 3);
		fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		if (i % 8 == 0)
			usleep(100);
	}
	r->stop = true;
	return NULL;
}

Test(virtio_blk, reset_under_load)
{
	struct resetter r = { .stop = false };

	pthread_create(&r.thread, NULL, reset_again_and_again, &r);
	while (!r.stop)
		ev_once(&f.loop, 1);
	pthread_join(r.thread, NULL);
	fake_start(&f, VIRTIO_F_VERSION_1, 64);
	cr_assert_eq(request(IN, 1, 512, true), OK);
}

/* The guest changes the header while it is being looked at. */
static void *flip_sector(void *arg)
{
	struct resetter *r = arg;
	struct hdr *h = fake_ptr(&f, hdr_at);

	while (!r->stop) {
		__atomic_store_n(&h->sector, UINT64_MAX - 7, __ATOMIC_RELAXED);
		__atomic_store_n(&h->sector, 62, __ATOMIC_RELAXED);
	}
	return NULL;
}

Test(virtio_blk, header_is_fetched_once)
{
	struct resetter r = { .stop = false };
	struct stat st;

	pthread_create(&r.thread, NULL, flip_sector, &r);
	for (int i = 0; i < 3000; i++) {
		int status = request(OUT, 62, 1024, false);

		cr_assert(status == OK || status == IOERR);
	}
	r.stop = true;
	pthread_join(r.thread, NULL);
	cr_assert_eq(fstat(file, &st), 0);
	cr_assert_eq(st.st_size, SECTORS * 512);
	cr_assert_not(fake_broken(&f));
}

Test(virtio_blk, file_that_shrank_reads_as_zeros)
{
	cr_assert_eq(ftruncate(file, 512), 0);
	cr_assert_eq(request(IN, 0, 1024, true), OK);
	cr_assert_eq(*(char *)fake_ptr(&f, data_at), 'a');
	cr_assert_eq(*(char *)fake_ptr(&f, data_at + 512), 0);
}

Test(virtio_blk, guest_that_writes_a_qcow_header_keeps_a_raw_disk)
{
	struct disk *again;

	memcpy(fake_ptr(&f, data_at), "QFI\xfb\0\0\0\2", 8);
	cr_assert_eq(request(OUT, 0, 512, false), OK);
	again = disk_raw_new(dup(file), false, true, NULL);
	cr_assert_eq(again->size, SECTORS * 512);
	disk_free(again);
}
