/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies below a disk: the borders of its parts, the clusters of a copy on
 * write, and a limit that a guest wants to be rid of. attack-run looks at the
 * files afterwards.
 */
#include "tests/guest/attack.h"

#define CAPACITY  (ATTACK_DISK / 512)
#define BUF	  (BUFFERS + 0x10000)
#define CLUSTER	  8u /* sectors */
#define UNTOUCHED 0xee

static uint8_t *const buf = (uint8_t *)BUF;

/* --- parts ---------------------------------------------------------------- */

/* @n sectors from @sector on, in buffers of @step bytes. */
static int read_cut(struct dev *d, uint64_t sector, unsigned n, unsigned step)
{
	struct seg s[64] = { { pa_of(&blk_io), 16, 0 } };
	unsigned k = 1, left = n * 512;
	struct vring_used_elem e;

	for (uint64_t at = BUF; left && k < 63; k++, at += s[k - 1].len) {
		s[k] = (struct seg){ at, left < step ? left : step, 1 };
		left -= s[k].len;
	}
	s[k++] = (struct seg){ pa_of((void *)&blk_io.status), 1, 1 };
	blk_io = (struct blk_io){ T_IN, 0, sector, UNTOUCHED };
	submit(d, 0, s, k);
	if (await(d, 0, &e) != 1 || e.len != n * 512 + 1)
		return S_IOERR;
	return blk_io.status;
}

/* Every read of some sectors that touches the borders, however it is cut. */
static void across_parts(struct dev *d)
{
	static const unsigned steps[] = { 100, 512, 700, 4096, 1 << 20 };
	unsigned wrong = 0;

	start(d);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned from = 0; from < 5 * ATTACK_PART; from += 3)
			for (unsigned n = 1; n < 30 && n * 512 < steps[i] * 60;
			     n += 4) {
				memset(buf, 0xee, n * 512);
				wrong += read_cut(d, from, n, steps[i]) != S_OK;
				for (unsigned k = 0; k < n; k++) {
					uint64_t s = from + k;
					uint8_t want = s < ATTACK_FILLED ?
						(uint8_t)(s + 1) : 0;

					wrong += buf[k * 512] != want;
					wrong += buf[k * 512 + 511] != want;
				}
			}
	check_eq(wrong, 0, "reads across the borders of parts");
}

/* From any part: what ends past the last one is refused whole. */
static void past_parts(struct dev *d)
{
	static struct seg s[RING_MAX] = { { 0 } };
	struct vring_used_elem e;
	unsigned wrong = 0;

	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	for (unsigned from = 0; from < 5 * ATTACK_PART; from += ATTACK_PART) {
		uint64_t far = CAPACITY - 126 * (BUFFERS_SIZE / 512) - from;
		unsigned n = 0;

		s[n++] = (struct seg){ pa_of(&blk_io), 16, 0 };
		while (n < 127)
			s[n++] = (struct seg){ BUFFERS, BUFFERS_SIZE, 1 };
		s[n++] = (struct seg){ BUFFERS, (from + 1) * 512, 1 };
		s[n++] = (struct seg){ pa_of((void *)&blk_io.status), 1, 1 };
		buf[0] = UNTOUCHED;
		blk_io = (struct blk_io){ T_IN, 0, far, UNTOUCHED };
		submit(d, 0, s, n);
		wrong += await(d, 0, &e) != 1 || blk_io.status != S_IOERR;
		wrong += buf[0] != UNTOUCHED;
	}
	check_eq(wrong, 0, "from any part past the end");
	check(recovers(d), "and it works");
}

/* --- copy on write -------------------------------------------------------- */

struct range {
	uint64_t sector;
	uint32_t nsectors, flags;
};

static int range_request(struct dev *d, uint32_t type, uint64_t sector,
			 uint32_t n)
{
	*(struct range *)BUF = (struct range){ sector, n, type == T_ZEROES };
	return blk_request(d, type, 0, BUF, sizeof(struct range), 0);
}

static uint8_t model[ATTACK_FILLED + 64];
#define MODEL sizeof(model)

static unsigned differs(struct dev *d)
{
	unsigned wrong = blk_request(d, T_IN, 0, BUF, MODEL * 512, 1) != S_OK;

	for (unsigned i = 0; i < MODEL; i++)
		wrong += buf[i * 512] != model[i] ||
			 buf[i * 512 + 511] != model[i];
	return wrong;
}

/* Writes, zeroes and discards of any sectors: what is beside them stays. */
static void clusters(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (unsigned i = 0; i < ATTACK_FILLED; i++)
		model[i] = (uint8_t)(i + 1);
	wrong += blk_request(d, T_IN, 0, BUF, MODEL * 512, 1) != S_OK;
	for (unsigned i = 0; i < MODEL; i++)
		model[i] = buf[i * 512]; /* another boot may have been here */
	for (unsigned i = 0; i < 2000 / attack_step(5); i++) {
		unsigned sector = next_random() % MODEL;
		unsigned n = next_random() % 20 + 1, what = next_random() % 4;

		n = n < MODEL - sector ? n : (unsigned)MODEL - sector;
		if (what < 2) {
			memset(buf, (int)i, n * 512);
			memset(model + sector, (int)i, n);
			wrong += blk_request(d, T_OUT, sector, BUF, n * 512,
					     0) != S_OK;
		} else if (what == 2) {
			memset(model + sector, 0, n);
			wrong += range_request(d, T_ZEROES, sector, n) != S_OK;
		} else { /* whole clusters, which become zeros */
			sector -= sector % CLUSTER;
			memset(model + sector, 0, CLUSTER);
			wrong += range_request(d, T_DISCARD, sector,
					       CLUSTER) != S_OK;
		}
		if (i % 20 == 0)
			wrong += differs(d);
	}
	wrong += differs(d);
	check_eq(wrong, 0, "writes at any sector");
}

/* The last cluster, and ranges that would end past it. */
static void last_cluster(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	memset(buf, 0x77, 1024);
	wrong += blk_request(d, T_OUT, CAPACITY - 2, BUF, 1024, 0) != S_OK;
	for (unsigned n = 1; n < 20; n++)
		for (unsigned back = 0; back < n; back++) {
			wrong += range_request(d, T_DISCARD, CAPACITY - back,
					       n) == S_OK;
			wrong += range_request(d, T_ZEROES, CAPACITY - back,
					       n) == S_OK;
		}
	wrong += range_request(d, T_DISCARD, ~0ull - 6, 8) == S_OK;
	wrong += range_request(d, T_ZEROES, 1ull << 55, 8) == S_OK;
	wrong += blk_request(d, T_IN, CAPACITY - 2, BUF, 1024, 1) != S_OK;
	wrong += buf[0] != 0x77 || buf[1023] != 0x77;
	wrong += range_request(d, T_ZEROES, CAPACITY - 1, 1) != S_OK;
	wrong += blk_request(d, T_IN, CAPACITY - 2, BUF, 1024, 1) != S_OK;
	wrong += buf[0] != 0x77 || buf[512] || buf[1023];
	check_eq(wrong, 0, "the last cluster");
}

/* --- a limit -------------------------------------------------------------- */

static unsigned offer_many(struct dev *d, unsigned n)
{
	struct seg s[] = { { pa_of(&blk_io), 16, 0 }, { BUF, 512, 1 },
			   { pa_of((void *)&blk_io.status), 1, 1 } };

	blk_io = (struct blk_io){ T_IN, 0, 3, UNTOUCHED };
	for (unsigned i = 0; i < n; i++)
		offer(d, 0, write_chain(d, 0, s, 3));
	kick(d, 0);
	return n;
}

/* While it is held back others work. */
static void held_back(struct dev *d)
{
	struct dev *rng = attack_dev(RNG), *other = attack_dev(BLK);
	struct vring_used_elem e;
	unsigned wrong = 0, waited = 0;

	start(rng);
	start(other);
	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	for (unsigned i = 0; i < 5; i++) {
		unsigned n = offer_many(d, 80);

		wrong += !works(rng) || !works(other);
		waited += d->q[0].used->idx != d->q[0].offered;
		kick(d, 0);
		while (n--)
			wrong += await(d, 0, &e) != 1 || e.len != 513;
	}
	check_eq(wrong, 0, "400 requests, and others meanwhile");
	check(waited, "while they waited");
	check(works(d), "and it works");
}

/* Resets buy nothing, and what they drop stays dropped. */
static void reset_held_back(struct dev *d)
{
	unsigned wrong = 0, waiting = 0;

	for (unsigned i = 0; i < 60 / attack_step(3); i++) {
		start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
		offer_many(d, 80);
		for (unsigned k = 0; k < 1000 * (i % 7); k++)
			__asm__ volatile("pause");
		waiting += d->q[0].used->idx < 80;
		reg_write(d, VIRTIO_MMIO_STATUS, 0);
		blk_io.status = UNTOUCHED;
		d->q[0].used->idx = 0;
		for (unsigned k = 0; k < 20000; k++)
			__asm__ volatile("pause");
		wrong += d->q[0].used->idx != 0;
		wrong += blk_io.status != UNTOUCHED;
	}
	check_eq(wrong, 0, "resets while requests wait");
	check(waiting, "which they did");
	check(recovers(d), "and it works");
}

/* 30 times what the bucket holds: it passes, and the next one waits. */
static void larger(struct dev *d)
{
	struct dev *rng = attack_dev(RNG);

	start(d);
	start(rng);
	check(blk_request(d, T_IN, 0, BUFFERS, 30 * ATTACK_BYTES, 1) == S_OK,
	      "a request larger than the bucket");
	offer_many(d, 1);
	check(works(rng), "others work");
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	check(recovers(d), "and so does it, later");
}

int main(void)
{
	struct dev *parts = attack_dev(BLK_PARTS), *cow = attack_dev(BLK_COW);
	struct dev *slow = attack_dev(BLK_SLOW);

	across_parts(parts);
	past_parts(parts);
	clusters(cow);
	last_cluster(cow);
	held_back(slow);
	reset_held_back(slow);
	larger(slow);
	check(works(cow) && works(parts), "all work");
	return 0;
}
