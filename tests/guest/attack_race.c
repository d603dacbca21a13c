/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Double fetch: fields that change while the device looks at them. The device
 * works on a thread of its own, so that one CPU is enough to race with it: it
 * kicks, and then flips between a good value and a bad one until the request
 * is answered or the device has stopped. Either is right; what must hold is
 * that the VMM lives and that nothing outside the buffers is written.
 */
#include "tests/guest/attack.h"

#include "runner/virtio/vsock_conn.h"

#define BUF	BUFFERS
#define GUARD	0x5a
/* A batch keeps the device busy for milliseconds: time enough for the two
 * threads to run side by side, even where others want the CPUs too. */
#define BATCH	200
#define LEN	65536u
#define RX_BUFS 64
#define ROUNDS	4
#define STARTS	8
#define PATIENCE 20000000ull /* ticks, for requests that nobody answers */

/* What is flipped: up to 8 bytes at @at, between the two. */
struct flip {
	volatile void *at;
	unsigned size;
	uint64_t good, bad;
};

static void put(const struct flip *f, uint64_t v)
{
	switch (f->size) {
	case 2:
		*(volatile uint16_t *)f->at = (uint16_t)v;
		break;
	case 4:
		*(volatile uint32_t *)f->at = (uint32_t)v;
		break;
	default:
		*(volatile uint64_t *)f->at = v;
	}
}

/* Half of the time each, so that one is as likely seen as the other. */
static void flip(const struct flip *f)
{
	for (unsigned i = 0; i < 64; i++) {
		put(f, f->bad);
		__asm__ volatile("nop; nop; nop; nop");
		put(f, f->good);
		__asm__ volatile("nop; nop");
	}
}

/* Buffers that came back go out again: answers never want for one. */
static void recycle(struct dev *d)
{
	struct ring *r = &d->q[VSOCK_RX];

	for (; r->seen != r->used->idx; r->seen++) {
		uint32_t id = r->used->ring[r->seen % r->size].id;

		offer(d, VSOCK_RX, (uint16_t)id);
	}
	kick(d, VSOCK_RX);
}

/* Offer chain 0 of queue @q many times, flipping until all are answered: the
 * device may take a while to wake. False once it has stopped. */
static int flip_while_busy(struct dev *d, unsigned q, const struct flip *f)
{
	struct ring *r = &d->q[q];
	uint16_t was = r->seen;
	uint64_t from = rdtsc();

	put(f, f->good);
	for (unsigned k = 0; k < BATCH; k++)
		offer(d, q, 0);
	kick(d, q);
	for (unsigned k = 1; rdtsc() - from < PATIENCE; k++) {
		flip(f);
		if ((uint16_t)(r->used->idx - was) >= BATCH)
			break;
		if (d->slot == VSOCK)
			recycle(d);
		/* seldom: it waits for the lock, and then nothing races */
		if (k % 128 == 0 && (status(d) & VIRTIO_S_NEEDS_RESET))
			return 0;
	}
	r->seen = r->used->idx;
	return 1;
}

static void race(struct dev *d, unsigned q, const struct flip *f)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		if (!flip_while_busy(d, q, f))
			return;
}

/* Chain 0: header, data, status. */
static void blk_chain(struct dev *d)
{
	struct ring *r = &d->q[0];

	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	blk_io = (struct blk_io){ T_IN, 0, 1, 0 };
	r->desc[0] = (struct vring_desc){ pa_of(&blk_io), 16,
					  VRING_DESC_F_NEXT, 1 };
	r->desc[1] = (struct vring_desc){ BUF, LEN, VRING_DESC_F_NEXT |
					  VRING_DESC_F_WRITE, 2 };
	r->desc[2] = (struct vring_desc){ pa_of((void *)&blk_io.status), 1,
					  VRING_DESC_F_WRITE, 0 };
}

/* Each of these fields, raced on many fresh starts. */
static void race_all(struct dev *d, unsigned q, void (*make)(struct dev *),
		     const struct flip *f, unsigned n, const char *name)
{
	uint8_t *guard = (uint8_t *)BUFFERS + 0x100000;
	unsigned wrong = 0;

	memset(guard, GUARD, 4096);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < STARTS; k++) {
			make(d);
			race(d, q, &f[i]);
		}
	for (unsigned i = 0; i < 4096; i++)
		wrong += guard[i] != GUARD;
	check(!wrong && recovers(d), name);
}

static void blk(struct dev *d)
{
	struct vring_desc *t = d->q[0].desc;
	volatile struct vring_avail *a = d->q[0].avail;
	const struct flip f[] = {
		{ &t[1].addr, 8, BUF, ATTACK_RAM - 256 },
		{ &t[1].addr, 8, BUF, ~0ull - 100 },
		{ &t[1].len, 4, LEN, 0xffffffff },
		{ &t[1].len, 4, LEN, LEN + 1 },
		{ &t[1].len, 4, LEN, 0 },
		{ &t[1].flags, 2, 3, 7 },
		{ &t[1].flags, 2, 3, 0 },
		{ &t[0].next, 2, 1, 0xffff },
		{ &t[1].next, 2, 2, 0 },
		{ &t[0].len, 4, 16, 15 },
		{ &t[2].len, 4, 1, 0 },
		{ &blk_io.type, 4, T_IN, T_OUT },
		{ &blk_io.type, 4, T_IN, T_DISCARD },
		{ &blk_io.sector, 8, 1, ATTACK_DISK / 512 },
		{ &blk_io.sector, 8, 1, ~0ull },
		{ &a->ring[0], 2, 0, 0xffff },
		{ &a->idx, 2, BATCH, 0x8000 },
	};

	race_all(d, 0, blk_chain, f, sizeof(f) / sizeof(f[0]),
		 "disk: descriptors and header flip");
}

/* The same request by way of a table. */
static struct vring_desc *const table = (void *)(BUFFERS + 0x200000);

static void blk_indirect(struct dev *d)
{
	blk_chain(d);
	for (unsigned i = 0; i < 3; i++)
		table[i] = d->q[0].desc[i];
	d->q[0].desc[0] = (struct vring_desc){ pa_of(table), 48,
					       VRING_DESC_F_INDIRECT, 0 };
}

static void indirect(struct dev *d)
{
	struct vring_desc *t = d->q[0].desc;
	const struct flip f[] = {
		{ &t[0].addr, 8, pa_of(table), ATTACK_RAM - 16 },
		{ &t[0].len, 4, 48, 0xfffffff0 },
		{ &t[0].len, 4, 48, 16 },
		{ &t[0].flags, 2, 4, 5 },
		{ &table[1].addr, 8, BUF, ATTACK_RAM },
		{ &table[1].len, 4, LEN, 0xffffff00 },
		{ &table[0].next, 2, 1, 3 },
		{ &table[1].flags, 2, 3, 4 },
	};

	race_all(d, 0, blk_indirect, f, sizeof(f) / sizeof(f[0]),
		 "disk: a table flips");
}

static void rng_chain(struct dev *d)
{
	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	d->q[0].desc[0] = (struct vring_desc){ BUF, LEN, VRING_DESC_F_WRITE,
					       0 };
}

static void rng(struct dev *d)
{
	struct vring_desc *t = d->q[0].desc;
	const struct flip f[] = {
		{ &t[0].addr, 8, BUF, ATTACK_RAM - LEN + 1 },
		{ &t[0].addr, 8, BUF, 1ull << 40 },
		{ &t[0].len, 4, LEN, 0xffffffff },
		{ &t[0].flags, 2, 2, 0 },
	};

	race_all(d, 0, rng_chain, f, sizeof(f) / sizeof(f[0]),
		 "rng: a buffer flips");
}

static struct vsock_hdr *const hdr = (void *)(BUFFERS + 0x300000);

static void vsock_chain(struct dev *d)
{
	struct ring *rx = &d->q[VSOCK_RX];

	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	*hdr = (struct vsock_hdr){ .src_cid = ATTACK_CID,
				   .dst_cid = VSOCK_CID_HOST, .src_port = 5,
				   .dst_port = PORT_ECHO, .len = 100,
				   .type = VSOCK_TYPE_STREAM,
				   .op = VSOCK_OP_REQUEST };
	d->q[VSOCK_TX].desc[0] = (struct vring_desc){
		pa_of(hdr), sizeof(*hdr), VRING_DESC_F_NEXT, 1 };
	d->q[VSOCK_TX].desc[1] = (struct vring_desc){ BUF, 100, 0, 0 };
	for (unsigned i = 0; i < RX_BUFS; i++) {
		rx->desc[i] = (struct vring_desc){ BUF + 0x1000 * (i + 1), 4096,
						   VRING_DESC_F_WRITE, 0 };
		offer(d, VSOCK_RX, (uint16_t)i);
	}
}

static void vsock(struct dev *d)
{
	struct vring_desc *t = d->q[VSOCK_TX].desc;
	struct vring_desc *rx = d->q[VSOCK_RX].desc;
	const struct flip f[] = {
		{ (void *)((uint8_t *)hdr + 24), 4, 100, 0xffffffff }, /* len */
		{ (void *)((uint8_t *)hdr + 30), 2, VSOCK_OP_REQUEST,
		  VSOCK_OP_RW },
		{ (void *)((uint8_t *)hdr + 16), 8,
		  5 | (uint64_t)PORT_ECHO << 32, 6 | 99ull << 32 },
		{ &t[0].len, 4, sizeof(*hdr), 43 },
		{ &t[0].addr, 8, pa_of(hdr), 1ull << 40 },
		{ &t[1].addr, 8, BUF, ATTACK_RAM - 50 },
		{ &t[1].len, 4, 100, 0xffffff00 },
		{ &rx[3].len, 4, 4096, 20 },
		{ &rx[3].addr, 8, BUF, ~0ull - 4096 },
	};

	race_all(d, VSOCK_TX, vsock_chain, f, sizeof(f) / sizeof(f[0]),
		 "vsock: packets and buffers flip");
}

/* The status goes to 0 and back while requests run, on all devices. */
static void resets(struct dev *d, unsigned q, void (*make)(struct dev *))
{
	for (unsigned i = 0; i < 300; i++) {
		make(d);
		for (unsigned k = 0; k < 8; k++)
			offer(d, q, 0);
		kick(d, q);
		for (unsigned k = 0; k < i; k++)
			__asm__ volatile("pause");
		if (i & 1)
			reg_write(d, VIRTIO_MMIO_STATUS, 0);
	}
	check(recovers(d), "resets among requests");
}

int main(void)
{
	struct dev *d = attack_dev(BLK);

	blk(d);
	indirect(d);
	resets(d, 0, blk_indirect);
	d = attack_dev(RNG);
	rng(d);
	resets(d, 0, rng_chain);
	d = attack_dev(VSOCK);
	vsock(d);
	resets(d, VSOCK_TX, vsock_chain);
	return 0;
}
