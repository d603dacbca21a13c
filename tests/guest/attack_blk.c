/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that lie, to a disk and to a read-only disk (virtio 1.2, 5.2.6).
 * attack-run looks at the disks afterwards.
 */
#include "tests/guest/attack.h"

#define CAPACITY  (ATTACK_DISK / 512)
#define F_RO	  (1ull << 5)
#define BUF	  (BUFFERS + 0x10000)
#define DONE	  1
#define UNTOUCHED 0xee

struct range {
	uint64_t sector;
	uint32_t nsectors, flags;
};

static const uint32_t types[] = { T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD,
				  T_ZEROES, 99 };

/* Every chain of three descriptors, each one of five lengths, both ways. Only
 * the order decides whether it is a chain. */
static void all_chains(struct dev *d)
{
	static const uint32_t len[] = { 0, 1, 16, 17, 512 };
	unsigned wrong = 0, n = 0;
	struct vring_used_elem e;

	start(d);
	for (unsigned i = 0; i < 1000; i += attack_step(7)) {
		struct seg s[3];
		int bad = 0, in = 0, r;

		for (unsigned k = 0, v = i; k < 3; k++, v /= 10) {
			s[k] = (struct seg){ BUF + k * 0x1000, len[v % 5],
					     v / 5 % 2 };
			bad |= in && !s[k].in;
			in |= s[k].in && s[k].len;
		}
		*(struct blk_io *)BUF = (struct blk_io){
			.type = types[n++ % 7], .sector = 100 };
		submit(d, 0, s, 3);
		r = await(d, 0, &e);
		wrong += r != (bad ? 0 : DONE);
		if (r != DONE)
			start(d);
	}
	check_eq(wrong, 0, "all chains of three");
	check(recovers(d), "and it recovers");
}

static void past_the_end(struct dev *d)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		int want;
	} t[] = {
		{ CAPACITY - 1, 512, S_OK },	{ CAPACITY - 1, 1024, S_IOERR },
		{ CAPACITY, 512, S_IOERR },	{ CAPACITY + 1, 512, S_IOERR },
		{ ~0ull, 512, S_IOERR },	{ ~0ull / 512, 512, S_IOERR },
		{ 1ull << 55, 512, S_IOERR },	{ 1ull << 63, 512, S_IOERR },
		{ (1ull << 55) - 1, 1024, S_IOERR },
		{ 0, 511, S_IOERR },		{ 0, 513, S_IOERR },
	};
	unsigned wrong = 0;

	start(d);
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		wrong += blk_request(d, T_IN, t[i].sector, BUF, t[i].len, 1) !=
			 t[i].want;
		wrong += blk_request(d, T_OUT, t[i].sector, BUF, t[i].len, 0) !=
			 t[i].want;
	}
	check_eq(wrong, 0, "sectors past the end");
}

/* The last sectors, N descriptors of one each: as many as there are. */
static void summed(struct dev *d, uint32_t type)
{
	unsigned wrong = 0;

	start(d);
	for (unsigned room = 0; room < 8; room++)
		for (unsigned n = 1; n < 12; n++) {
			struct seg s[16] = { { pa_of(&blk_io), 16, 0 } };
			struct vring_used_elem e;

			for (unsigned i = 1; i <= n; i++)
				s[i] = (struct seg){ BUF, 512, type == T_IN };
			s[n + 1] = (struct seg){
				pa_of((void *)&blk_io.status), 1, 1 };
			blk_io = (struct blk_io){ type, 0, CAPACITY - room,
						  UNTOUCHED };
			submit(d, 0, s, n + 2);
			wrong += await(d, 0, &e) != DONE;
			wrong += blk_io.status != (n > room ? S_IOERR : S_OK);
		}
	check_eq(wrong, 0, "the last sectors, one descriptor each");
}

static int range_request(struct dev *d, uint32_t type, const struct range *r,
			 unsigned n)
{
	memcpy((void *)BUF, r, n * sizeof(*r));
	return blk_request(d, type, 0, BUF, n * (uint32_t)sizeof(*r), 0);
}

static void ranges(struct dev *d)
{
	static const struct range bad[] = {
		{ CAPACITY, 1, 0 },	  { CAPACITY - 1, 2, 0 },
		{ ~0ull, 1, 0 },	  { ~0ull, 0xffffffff, 0 },
		{ 0, 0xffffffff, 0 },	  { 1ull << 55, 8, 0 },
		{ 0, 8, 2 },		  { 0, 8, 0xffffffff },
	};
	struct range many[300] = { { 0, 0, 0 } };
	unsigned wrong = 0;

	start(d);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wrong += range_request(d, T_DISCARD, &bad[i], 1) == S_OK;
		wrong += range_request(d, T_ZEROES, &bad[i], 1) == S_OK;
	}
	wrong += range_request(d, T_DISCARD, many, 17) == S_OK;
	wrong += range_request(d, T_DISCARD, many, 300) == S_OK;
	wrong += range_request(d, T_ZEROES, many, 2) == S_OK;
	/* one bad range among good ones: none is done */
	many[0] = (struct range){ 1, 1, 0 };
	many[1] = (struct range){ CAPACITY, 1, 0 };
	wrong += range_request(d, T_DISCARD, many, 2) == S_OK;
	wrong += blk_request(d, T_IN, 1, BUF, 512, 1) != S_OK;
	wrong += *(uint8_t *)BUF != 2;
	for (uint32_t len = 0; len < 40; len++)
		if (len != 16)
			wrong += blk_request(d, T_DISCARD, 0, BUF, len, 0) ==
				 S_OK && len != 32;
	check_eq(wrong, 0, "ranges that cannot be discarded");
	negotiate(d, 1ull << 32);
	place_ring(d, 0, 64);
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
	many[0] = (struct range){ 1, 1, 0 };
	wrong = range_request(d, T_DISCARD, many, 1) != S_UNSUPP;
	wrong += range_request(d, T_ZEROES, many, 1) != S_UNSUPP;
	check_eq(wrong, 0, "nor without the feature");
}

/* The driver leaves RO out: the host refuses all the same. */
static void read_only(struct dev *d)
{
	static const struct range r = { 0, 8, 0 };
	unsigned wrong = 0;

	check(d->features & F_RO, "RO is offered");
	for (unsigned with = 0; with < 2; with++) {
		start_with(d, with ? d->features : d->features & ~F_RO, 64);
		memset((void *)BUF, 0xff, 4096);
		for (uint64_t sector = 0; sector < 80; sector += 8) {
			wrong += blk_request(d, T_OUT, sector, BUF, 4096, 0) !=
				 S_IOERR;
			wrong += blk_request(d, T_OUT, sector, BUF, 0, 0) !=
				 S_IOERR;
		}
		wrong += range_request(d, T_DISCARD, &r, 1) == S_OK;
		wrong += range_request(d, T_ZEROES, &r, 1) == S_OK;
		wrong += blk_request(d, T_FLUSH, 0, BUF, 0, 0) == 255;
	}
	check_eq(wrong, 0, "writes to a read-only disk");
	/* DISCARD is not offered by it, and so refused. */
	check(!(negotiate(d, d->features | 1ull << 13 | 1ull << 14) &
		VIRTIO_S_FEATURES_OK), "DISCARD that it does not offer");
	check(recovers(d), "and it works");
}

static struct seg big[RING_MAX];

/* Nearly 4 GiB in one request, over the same 32 MiB of memory. */
static unsigned big_chain(void)
{
	unsigned n = 0;

	big[n++] = (struct seg){ pa_of(&blk_io), 16, 0 };
	while (n < 128)
		big[n++] = (struct seg){ BUFFERS, BUFFERS_SIZE, 1 };
	big[n++] = (struct seg){ pa_of((void *)&blk_io.status), 1, 1 };
	return n;
}

static void huge(struct dev *d)
{
	unsigned n = big_chain();
	struct vring_used_elem e;

	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	blk_io = (struct blk_io){ T_IN, 0, 0, UNTOUCHED };
	submit(d, 0, big, n);
	check(await(d, 0, &e) == DONE && blk_io.status == S_OK &&
	      e.len == 127 * BUFFERS_SIZE + 1, "4 GiB in one request");
	/* not a sector less: all of it is refused */
	blk_io = (struct blk_io){ T_IN, 0, CAPACITY - 127 * BUFFERS_SIZE / 512
				  + 1, UNTOUCHED };
	submit(d, 0, big, n);
	check(await(d, 0, &e) == DONE && blk_io.status == S_IOERR,
	      "the same a sector too far");
	check(recovers(d), "and it works");
}

/* Reset while a long request runs: nothing is written after it. */
static void reset_in_flight(struct dev *d)
{
	static const unsigned waits[] = { 0, 1, 10, 100, 1000, 10000 };
	unsigned n = big_chain(), wrong = 0, step = attack_step(7) * PAGE;
	volatile uint64_t *probe = (volatile uint64_t *)BUFFERS;

	for (unsigned i = 0; i < 18; i++) {
		start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
		blk_io = (struct blk_io){ T_IN, 0, 0, UNTOUCHED };
		submit(d, 0, big, n);
		for (unsigned k = 0; k < waits[i % 6]; k++)
			__asm__ volatile("pause");
		reg_write(d, VIRTIO_MMIO_STATUS, 0);
		for (unsigned k = 0; k < BUFFERS_SIZE; k += step)
			probe[k / 8] = 0x5a5a5a5a5a5a5a5a;
		blk_io.status = UNTOUCHED;
		d->q[0].used->idx = 0;
		if (i % 3)
			wrong += !recovers(d);
		else
			for (unsigned k = 0; k < 20000; k++)
				__asm__ volatile("pause");
		for (unsigned k = 0; k < BUFFERS_SIZE; k += step)
			wrong += probe[k / 8] != 0x5a5a5a5a5a5a5a5a;
	}
	check_eq(wrong, 0, "a reset with a request in flight");
	check(recovers(d), "and it works");
}

/* Resets and starts as fast as they go, with requests on the rings. */
static void reset_storm(struct dev *d)
{
	struct seg s[] = { { pa_of(&blk_io), 16, 0 }, { BUF, 4096, 1 },
			   { pa_of((void *)&blk_io.status), 1, 1 } };

	blk_io = (struct blk_io){ T_IN, 0, 0, UNTOUCHED };
	for (unsigned i = 0; i < 1000 / attack_step(5); i++) {
		start(d);
		for (unsigned k = 0; k < 8; k++)
			offer(d, 0, write_chain(d, 0, s, 3));
		kick(d, 0);
		if (i % 3 == 0)
			reg_write(d, VIRTIO_MMIO_STATUS, 0);
	}
	check(recovers(d), "up to a thousand resets");
}

/* As many requests on offer as the ring holds, again and again. */
static void full_ring(struct dev *d)
{
	struct vring_used_elem e;
	struct vring_desc *t = (struct vring_desc *)BUFFERS;
	unsigned wrong = 0;

	t[0] = (struct vring_desc){ pa_of(&blk_io), 16, VRING_DESC_F_NEXT, 1 };
	t[1] = (struct vring_desc){ BUF, 512, VRING_DESC_F_NEXT |
				    VRING_DESC_F_WRITE, 2 };
	t[2] = (struct vring_desc){ pa_of((void *)&blk_io.status), 1,
				    VRING_DESC_F_WRITE, 0 };
	blk_io = (struct blk_io){ T_IN, 0, 3, UNTOUCHED };
	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	for (unsigned i = 0; i < RING_MAX; i++)
		d->q[0].desc[i] = (struct vring_desc){ BUFFERS, 48,
				VRING_DESC_F_INDIRECT, 0 };
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < RING_MAX; i++)
			offer(d, 0, (uint16_t)i);
		kick(d, 0);
		for (unsigned i = 0; i < RING_MAX; i++)
			wrong += await(d, 0, &e) != DONE || e.len != 513 ||
				 e.id != i;
	}
	check_eq(wrong, 0, "a full ring, twenty times");
}

/* 1,000 flushes and zeroings on offer at once: each waits for the disk, and
 * still the others get their turn. */
static void slow_ones(struct dev *d)
{
	struct dev *rng = attack_dev(RNG);
	struct range r = { 1000, 32768, 0 };
	unsigned wrong = 0;

	start(d);
	start(rng);
	for (unsigned i = 0; i < 50; i++) {
		wrong += range_request(d, T_ZEROES, &r, 1) != S_OK;
		wrong += blk_request(d, T_FLUSH, 0, BUF, 0, 0) != S_OK;
		r.flags = i & 1;
		wrong += !works(rng);
	}
	wrong += range_request(d, T_DISCARD, &r, 1) == 255;
	check_eq(wrong, 0, "requests that wait for the disk");
}

int main(void)
{
	static const unsigned writable[] = { BLK, BLK_COW };
	static const unsigned readonly[] = { BLK_RO, BLK_PARTS };

	for (unsigned i = 0; i < 2; i++) {
		struct dev *d = attack_dev(writable[i]);

		past_the_end(d);
		summed(d, T_IN);
		summed(d, T_OUT);
		ranges(d);
		huge(d);
		full_ring(d);
		all_chains(d);
		reset_in_flight(d);
		reset_storm(d);
		slow_ones(d);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct dev *d = attack_dev(readonly[i]);

		summed(d, T_IN);
		huge(d);
		read_only(d);
		all_chains(d);
		reset_in_flight(d);
	}
	return 0;
}
