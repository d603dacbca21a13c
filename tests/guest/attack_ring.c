/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that break the rules (virtio 1.2, 2.7), on a queue of every device:
 * each stops the device until it is reset, and it works again after that. What
 * looks odd and is allowed must get its answer.
 */
#include "tests/guest/attack.h"

#include "runner/virtio/vsock_conn.h"

#define W	 VRING_DESC_F_WRITE
#define NEXT	 VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT
#define SIZE	 64u

/* The queue that a device pops by itself when kicked. */
static unsigned queue_of(const struct dev *d)
{
	return d->slot == VSOCK ? VSOCK_TX : d->slot == NET ? 1 : 0;
}

/* Start anew, and whether one descriptor at @head breaks the device. */
static int one_breaks(struct dev *d, uint64_t addr, uint32_t len,
		      uint16_t flags, uint16_t next)
{
	unsigned q = queue_of(d);

	if (!start(d))
		return 0;
	d->q[q].desc[0] = (struct vring_desc){ addr, len, flags, next };
	offer(d, q, 0);
	kick(d, q);
	return breaks(d);
}

static void outside(struct dev *d)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} t[] = {
		{ ATTACK_RAM, 1 },	 { ATTACK_RAM - 1, 2 },
		{ ATTACK_RAM - 16, 17 }, { ATTACK_RAM - 4096, 4097 },
		{ 0, 0xffffffff },	 { 0, ATTACK_RAM + 1 },
		{ 0xc0000000, 16 },	 { 0xbffffff0, 32 },
		{ 0xd0000000, 16 },	 { 0xfee00000, 16 },
		{ 0xfffffff0, 32 },	 { 0x100000000, 16 },
		{ 1ull << 52, 16 },	 { 1ull << 63, 16 },
		{ ~0ull, 1 },		 { ~0ull, 2 },
		{ ~0ull - 15, 16 },	 { ~0ull - 15, 32 },
		{ ~0ull - 0xfffffffe, 0xffffffff },
	};
	unsigned wrong = 0;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		wrong += !one_breaks(d, t[i].addr, t[i].len, 0, 0);
		wrong += !one_breaks(d, t[i].addr, t[i].len, W, 0);
	}
	check_eq(wrong, 0, "buffers past RAM, in the hole, wrapping");
	check(recovers(d), "and it recovers");
}

static void shapes(struct dev *d)
{
	unsigned q = queue_of(d), wrong = 0;

	check(one_breaks(d, BUFFERS, 16, NEXT, 0), "a loop of one");
	check(one_breaks(d, BUFFERS, 0, NEXT, 0), "of an empty one");
	check(one_breaks(d, BUFFERS, 16, NEXT, SIZE), "next is the size");
	check(one_breaks(d, BUFFERS, 16, NEXT, 65535), "next is 65535");
	start(d);
	for (unsigned i = 0; i < SIZE; i++)
		d->q[q].desc[i] = (struct vring_desc){
			BUFFERS, 16, NEXT, (uint16_t)(i + 1) % SIZE };
	offer(d, q, 0);
	kick(d, q);
	check(breaks(d), "a loop of all");
	start(d);
	d->q[q].desc[0] = (struct vring_desc){ BUFFERS, 16, W | NEXT, 1 };
	d->q[q].desc[1] = (struct vring_desc){ BUFFERS, 16, 0, 0 };
	offer(d, q, 0);
	kick(d, q);
	check(breaks(d), "what is read after what is written");
	for (unsigned i = 0; i < 3; i++) {
		static const uint16_t head[] = { SIZE, 32768, 65535 };

		start(d);
		offer(d, q, head[i]);
		kick(d, q);
		wrong += !breaks(d);
	}
	check_eq(wrong, 0, "a head past the table");
	check(recovers(d), "and it recovers");
}

/* More chains on offer than there can be. */
static void jumps(struct dev *d)
{
	static const uint16_t by[] = { SIZE + 1, 256, 257, 32767,
				       32768,	 32769, 65535 };
	unsigned q = queue_of(d), wrong = 0;

	for (unsigned i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		start(d);
		d->q[q].offered = by[i];
		__atomic_store_n(&d->q[q].avail->idx, by[i], __ATOMIC_SEQ_CST);
		kick(d, q);
		wrong += !breaks(d);
	}
	check_eq(wrong, 0, "avail idx jumps");
	/* back by one is ahead by 65535 */
	wrong = !(start(d) && works(d));
	__atomic_store_n(&d->q[q].avail->idx, 0, __ATOMIC_SEQ_CST);
	kick(d, q);
	check(!wrong && breaks(d), "avail idx goes back");
	check(recovers(d), "and it recovers");
}

/* One INDIRECT descriptor; the table is at BUFFERS. */
static int table_breaks(struct dev *d, uint32_t len, uint16_t more)
{
	return one_breaks(d, BUFFERS, len, INDIRECT | more, 1);
}

static void indirect(struct dev *d)
{
	struct vring_desc *t = (struct vring_desc *)BUFFERS;
	uint64_t without = d->features & ~VIRTIO_F_INDIRECT_DESC;
	static const uint32_t lens[] = { 0, 1, 15, 17, 16 * 257, 16 * 256 + 8,
					 1 << 20, 0xfffffff0, 0xffffffff };
	unsigned q = queue_of(d), wrong = 0;

	memset(t, 0, 16 * 1024);
	*t = (struct vring_desc){ BUFFERS + 0x10000, 16, 0, 0 };
	start_with(d, without, SIZE);
	d->q[q].desc[0] = (struct vring_desc){ BUFFERS, 16, INDIRECT, 0 };
	offer(d, q, 0);
	kick(d, q);
	check(breaks(d), "INDIRECT without the feature");
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		wrong += !table_breaks(d, lens[i], 0);
	check_eq(wrong, 0, "tables of odd lengths");
	check(table_breaks(d, 16, NEXT), "INDIRECT and NEXT");
	*t = (struct vring_desc){ BUFFERS + 0x100, 16, INDIRECT, 0 };
	check(table_breaks(d, 16, 0), "a table in a table");
	*t = (struct vring_desc){ BUFFERS, 16, NEXT, 0 };
	check(table_breaks(d, 64, 0), "a loop in a table");
	*t = (struct vring_desc){ BUFFERS, 16, NEXT, 4 };
	check(table_breaks(d, 64, 0), "next past a table");
	wrong = !one_breaks(d, ATTACK_RAM - 16, 32, INDIRECT, 0);
	wrong += !one_breaks(d, ATTACK_RAM, 16, INDIRECT, 0);
	wrong += !one_breaks(d, ~0ull - 15, 32, INDIRECT, 0);
	wrong += !one_breaks(d, 0xd0000000, 16, INDIRECT, 0);
	check_eq(wrong, 0, "tables outside RAM");
	check(recovers(d), "and it recovers");
}

/* A chain of more than 2^32 bytes; 4 GiB - 1 MiB of the same memory is not. */
static void too_long(struct dev *d)
{
	unsigned q = queue_of(d);
	struct seg s[RING_MAX];

	for (unsigned i = 0; i < RING_MAX; i++)
		s[i] = (struct seg){ BUFFERS, BUFFERS_SIZE, d->slot == RNG };
	start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, RING_MAX);
	submit(d, q, s, 128 + 1);
	check(breaks(d), "a chain of more than 4 GiB");
	check(recovers(d), "and it recovers");
}

/* All that a ring can hold, empty: answered, or refused, but not for ever. */
static void empties(struct dev *d)
{
	unsigned q = queue_of(d);
	struct vring_used_elem e;
	struct seg s[SIZE] = { { 0, 0, 0 } };
	unsigned wrong = 0;
	int r;

	for (unsigned n = 1; n <= SIZE; n++) {
		start(d);
		s[n - 1] = (struct seg){ ~0ull - n, 0, n & 1 };
		for (unsigned i = 0; i + 1 < n; i++)
			s[i].in = 0;
		submit(d, q, s, n);
		r = await(d, q, &e);
		wrong += r < 0 || (r && e.len);
	}
	check_eq(wrong, 0, "chains of empty descriptors");
	check(recovers(d), "and it recovers");
}

/* EVENT_IDX with lies in the event fields: late at worst, never stuck. */
static void events(struct dev *d)
{
	unsigned wrong = 0;

	start_with(d, d->features, SIZE);
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned q = 0; q < d->nqueues; q++) {
			volatile uint16_t *ev = &d->q[q].avail->ring[SIZE];

			*ev = (uint16_t)next_random();
			/* what is the device's to write */
			d->q[q].used->idx = (uint16_t)(d->q[q].used->idx);
			*(volatile uint16_t *)&d->q[q].used->ring[SIZE] =
				(uint16_t)next_random();
		}
		wrong += !works(d);
	}
	check_eq(wrong, 0, "event fields that lie");
}

/* The used ring is the device's to write: it goes by its own count. */
static void used_idx(struct dev *d)
{
	unsigned q = queue_of(d);
	uint16_t seen;

	start(d);
	check(works(d), "works");
	seen = d->q[q].seen;
	d->q[q].used->idx = 31000;
	d->q[q].seen = 31000;
	kick(d, q);
	d->q[q].seen = seen;
	d->q[q].used->idx = seen;
	check(works(d), "used idx written by the driver");
}

/* One page is all three parts of a ring: bounded nonsense. */
static void on_itself(struct dev *d)
{
	unsigned q = queue_of(d);

	for (unsigned i = 0; i < 64; i += attack_step(3)) {
		uint32_t at = (uint32_t)pa_of(d->q[q].desc);

		negotiate(d, d->features);
		place_ring(d, q, SIZE);
		reg_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + i % 8 * 2);
		reg_write(d, VIRTIO_MMIO_QUEUE_USED_LOW, at + i / 8 * 4);
		reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
		for (unsigned k = 0; k < 1024; k++)
			((volatile uint16_t *)d->q[q].desc)[k] =
				(uint16_t)(next_random() % 8);
		reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
		for (unsigned k = 0; k < 8; k++)
			kick(d, q);
	}
	check(recovers(d), "a ring over itself");
}

/* Rings of noise: any end but a crash. */
static void noise(struct dev *d)
{
	unsigned q = queue_of(d);

	for (unsigned i = 0; i < 300 / attack_step(6); i++) {
		start_with(d, d->features, SIZE);
		for (unsigned k = 0; k < SIZE; k++)
			d->q[q].desc[k] = (struct vring_desc){
				BUFFERS + next_random() % 0x100000,
				next_random() % (k & 1 ? 64 : 0x20000),
				(uint16_t)(next_random() % 8),
				(uint16_t)(next_random() % (SIZE + 1)) };
		for (unsigned k = 0; k < SIZE; k++)
			d->q[q].avail->ring[k] =
				(uint16_t)(next_random() % SIZE);
		__atomic_store_n(&d->q[q].avail->idx, (uint16_t)(i % SIZE),
				 __ATOMIC_SEQ_CST);
		kick(d, q);
	}
	check(recovers(d), "rings of noise");
}

/* The receive queue of vsock is looked at when there is something to say. */
static void receive_queue(struct dev *d)
{
	struct vsock_hdr *h = (struct vsock_hdr *)BUFFERS;
	struct seg s = { BUFFERS, sizeof(*h), 0 };
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
	} t[] = {
		{ BUFFERS, 4096, 0 },	  { BUFFERS, 43, W },
		{ BUFFERS, 44, W },	  { BUFFERS, 0, W },
		{ ATTACK_RAM - 8, 64, W }, { BUFFERS, 4096, W | NEXT },
	};
	unsigned wrong = 0;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(d);
		d->q[VSOCK_RX].desc[0] = (struct vring_desc){
			t[i].addr, t[i].len, t[i].flags, 0 };
		offer(d, VSOCK_RX, 0);
		kick(d, VSOCK_RX);
		memset(h, 0, sizeof(*h));
		h->src_cid = ATTACK_CID;
		h->dst_cid = VSOCK_CID_HOST;
		h->type = VSOCK_TYPE_STREAM;
		h->op = VSOCK_OP_RW;
		submit(d, VSOCK_TX, &s, 1);
		wrong += !breaks(d);
	}
	check_eq(wrong, 0, "receive buffers that are none");
	check(recovers(d), "and it recovers");
}

int main(void)
{
	static const unsigned slots[] = { BLK, VSOCK, RNG, NET };

	for (unsigned i = 0; i < 3u + !!attack_has(NET); i++) {
		struct dev *d = attack_dev(slots[i]);

		print("slot %d\n", (uint64_t)slots[i]);
		outside(d);
		shapes(d);
		jumps(d);
		indirect(d);
		too_long(d);
		empties(d);
		events(d);
		used_idx(d);
		on_itself(d);
		noise(d);
		if (slots[i] == VSOCK)
			receive_queue(d);
	}
	return 0;
}
