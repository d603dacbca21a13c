/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio driver of payloads that attack. */
#include "tests/guest/attack.h"

#include "runner/virtio/vsock_conn.h"

/* Ticks of the TSC that mean "never": most of a minute on any host. */
#define LONG 60000000000ull

struct blk_io blk_io;
static struct dev devs[SLOTS];
static uint8_t work[512] __attribute__((aligned(16)));

uint32_t next_random(void)
{
	static uint64_t s = 88172645463325252ull;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (uint32_t)(s >> 16);
}

/* --- start --------------------------------------------------------------- */

struct dev *attack_dev(unsigned slot)
{
	static const uint8_t nqueues[SLOTS] = { 1, 1, 1, 1, 1, 3, 1,
							2 };
	struct dev *d = &devs[slot];

	d->slot = slot;
	d->base = BUS_MMIO_BASE + slot * BUS_SLOT_SIZE;
	d->nqueues = nqueues[slot];
	for (unsigned i = 0; i < d->nqueues && !d->q[i].desc; i++) {
		d->q[i].desc = alloc_page();
		d->q[i].avail = alloc_page();
		d->q[i].used = alloc_page();
	}
	reg_write(d, VIRTIO_MMIO_DEV_FEATURES_SEL, 1);
	d->features = (uint64_t)reg_read(d, VIRTIO_MMIO_DEV_FEATURES) << 32;
	reg_write(d, VIRTIO_MMIO_DEV_FEATURES_SEL, 0);
	d->features |= reg_read(d, VIRTIO_MMIO_DEV_FEATURES);
	return d;
}

int attack_has(unsigned slot)
{
	const struct dev d = { .base = BUS_MMIO_BASE + slot * BUS_SLOT_SIZE };

	return reg_read(&d, VIRTIO_MMIO_MAGIC) == 0x74726976;
}

/* Ticks of a turn: a few, ten times that under a sanitizer, and above a thousand
 * where each instruction is interpreted by another kernel. */
static uint64_t ticks_of_a_turn(void)
{
	uint64_t least = ~0ull;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t from = rdtsc(), took;

		for (volatile unsigned k = 0; k < 100; k++)
			;
		took = (rdtsc() - from) / 100;
		least = took < least ? took : least;
	}
	return least;
}

unsigned attack_step(unsigned thin)
{
	static uint64_t ticks;

	if (!ticks)
		ticks = ticks_of_a_turn() + 1;
	return ticks > 800 ? thin : 1;
}

void accept_features(struct dev *d, uint64_t features)
{
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES_SEL, 0);
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES, (uint32_t)features);
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES_SEL, 1);
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES, (uint32_t)(features >> 32));
}

uint32_t negotiate(struct dev *d, uint64_t features)
{
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_S_ACKNOWLEDGE);
	reg_write(d, VIRTIO_MMIO_STATUS,
		  VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	accept_features(d, features);
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK & ~VIRTIO_S_DRIVER_OK);
	return status(d);
}

/* Eight bytes at a time, and no more than is used: a KVM that emulates kernel
 * mode takes a step for each. */
static void clear(void *p, uint64_t bytes)
{
	uint64_t n = (bytes + 7) / 8;

	__asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0ull)
			 : "memory");
}

void place_ring(struct dev *d, unsigned q, uint16_t size)
{
	struct ring *r = &d->q[q];

	clear(r->desc, 16u * size);
	clear((void *)r->avail, 2u * size + 8);
	clear((void *)r->used, 8u * size + 8);
	r->size = size;
	r->offered = r->seen = r->next = 0;
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, q);
	reg_write(d, VIRTIO_MMIO_QUEUE_NUM, size);
	reg_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)pa_of(r->desc));
	reg_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		  (uint32_t)pa_of((void *)r->avail));
	reg_write(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	reg_write(d, VIRTIO_MMIO_QUEUE_USED_LOW,
		  (uint32_t)pa_of((void *)r->used));
	reg_write(d, VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
}

int start_with(struct dev *d, uint64_t features, uint16_t size)
{
	negotiate(d, features);
	for (unsigned q = 0; q < d->nqueues; q++) {
		place_ring(d, q, size);
		reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
	return status(d) == ALL_OK;
}

int start(struct dev *d)
{
	return start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, 64);
}

/* --- rings ---------------------------------------------------------------- */

uint16_t write_chain(struct dev *d, unsigned q, const struct seg *s,
		     unsigned n)
{
	struct ring *r = &d->q[q];
	uint16_t head = r->next;

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc *e = &r->desc[r->next];

		r->next = (uint16_t)(r->next + 1) % r->size;
		e->addr = s[i].addr;
		e->len = s[i].len;
		e->flags = (uint16_t)((s[i].in ? VRING_DESC_F_WRITE : 0) |
				      (i + 1 < n ? VRING_DESC_F_NEXT : 0));
		e->next = r->next;
	}
	return head;
}

void offer(struct dev *d, unsigned q, uint16_t head)
{
	struct ring *r = &d->q[q];

	r->avail->ring[r->offered % r->size] = head;
	r->offered++;
	__atomic_store_n(&r->avail->idx, r->offered, __ATOMIC_SEQ_CST);
}

void kick(struct dev *d, unsigned q)
{
	reg_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

void submit(struct dev *d, unsigned q, const struct seg *s, unsigned n)
{
	offer(d, q, write_chain(d, q, s, n));
	kick(d, q);
}

static int await_for(struct dev *d, unsigned q, struct vring_used_elem *e,
		     uint64_t ticks)
{
	struct ring *r = &d->q[q];
	uint64_t from = rdtsc();

	for (unsigned i = 0; rdtsc() - from < ticks; i++) {
		if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) !=
		    r->seen) {
			unsigned at = r->seen++ % r->size;

			e->id = r->used->ring[at].id;
			e->len = r->used->ring[at].len;
			return 1;
		}
		if (i % 64 == 63 && (status(d) & VIRTIO_S_NEEDS_RESET))
			return 0;
		__asm__ volatile("pause");
	}
	return -1;
}

int await(struct dev *d, unsigned q, struct vring_used_elem *e)
{
	return await_for(d, q, e, LONG);
}

int breaks(struct dev *d)
{
	uint64_t from = rdtsc();

	while (rdtsc() - from < LONG) {
		if (status(d) & VIRTIO_S_NEEDS_RESET)
			return 1;
		__asm__ volatile("pause");
	}
	return 0;
}

/* --- devices -------------------------------------------------------------- */

int blk_request(struct dev *d, uint32_t type, uint64_t sector, uint64_t data,
		uint32_t len, int in)
{
	struct seg s[] = { { pa_of(&blk_io), 16, 0 },
			   { data, len, in },
			   { pa_of((void *)&blk_io.status), 1, 1 } };
	struct vring_used_elem e;

	blk_io.type = type;
	blk_io.reserved = 0;
	blk_io.sector = sector;
	blk_io.status = 255;
	if (!len)
		s[1] = s[2];
	submit(d, 0, s, len ? 3 : 2);
	if (await(d, 0, &e) != 1)
		return 255;
	return blk_io.status;
}

static int blk_works(struct dev *d)
{
	uint64_t sector = next_random() % ATTACK_FILLED;

	memset(work, 0xee, sizeof(work));
	return blk_request(d, T_IN, sector, pa_of(work), sizeof(work), 1) ==
		       S_OK &&
	       (work[0] == sector + 1 ||
		(d->slot != BLK_RO && d->slot != BLK_PARTS));
}

static int rng_works(struct dev *d)
{
	struct seg s = { pa_of(work), 16, 1 };
	struct vring_used_elem e;
	uint8_t any = 0;

	memset(work, 0, 17);
	submit(d, 0, &s, 1);
	if (await(d, 0, &e) != 1 || e.len != 16)
		return 0;
	for (unsigned i = 0; i < 16; i++)
		any |= work[i];
	return any && !work[16];
}

/* Nobody listens at port 1: the answer is RST, after what those say who are
 * still on the line. */
static int vsock_works(struct dev *d)
{
	struct vsock_hdr *tx = (struct vsock_hdr *)work;
	struct vsock_hdr *rx = (struct vsock_hdr *)(work + 64);
	struct seg to = { pa_of(tx), sizeof(*tx), 0 };
	struct seg from = { pa_of(rx), 128, 1 };
	struct vring_used_elem e;
	int callers = 0;

	memset(work, 0, sizeof(work));
	tx->src_cid = ATTACK_CID;
	tx->dst_cid = VSOCK_CID_HOST;
	tx->src_port = 5;
	tx->dst_port = 1;
	tx->type = VSOCK_TYPE_STREAM;
	tx->op = VSOCK_OP_REQUEST;
	submit(d, VSOCK_TX, &to, 1);
	if (await(d, VSOCK_TX, &e) != 1)
		return 0;
	do {
		submit(d, VSOCK_RX, &from, 1);
		if (await(d, VSOCK_RX, &e) != 1)
			return 0;
	} while (rx->dst_port != tx->src_port && callers++ < 2 * VSOCK_CONNS);
	return e.len == sizeof(*rx) && rx->op == VSOCK_OP_RST &&
	       rx->src_port == 1 && rx->dst_port == 5;
}

/* virtio's header, Ethernet and RFC 826. */
struct arp {
	uint8_t hdr[12], dst[6], src[6], type[2];
	uint8_t fixed[6], op[2], sha[6], spa[4], tha[6], tpa[4];
};

static void put_ip(uint8_t *p, uint32_t ip)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(ip >> (24 - 8 * i));
}

/* Who has the host's address? The host, after whatever else it says. Networks
 * lose frames: it is asked again. */
static int net_works(struct dev *d)
{
	static uint8_t frame[2048];
	struct arp *tx = (struct arp *)work, *rx = (struct arp *)frame;
	struct seg to = { pa_of(tx), sizeof(*tx), 0 };
	struct seg from = { pa_of(frame), sizeof(frame), 1 };
	struct vring_used_elem e;

	memset(tx, 0, sizeof(*tx));
	memset(tx->dst, 0xff, 6);
	memcpy(tx->src, attack_mac, 6);
	memcpy(tx->type, "\x08\x06", 2);
	memcpy(tx->fixed, "\0\1\x08\0\6\4", 6);
	tx->op[1] = 1;
	memcpy(tx->sha, attack_mac, 6);
	put_ip(tx->spa, ATTACK_GUEST_IP);
	put_ip(tx->tpa, ATTACK_HOST_IP);
	for (uint64_t start = rdtsc(); rdtsc() - start < LONG;) {
		int r;

		submit(d, 1, &to, 1);
		if (await(d, 1, &e) != 1 || e.len)
			return 0;
		submit(d, 0, &from, 1);
		while ((r = await_for(d, 0, &e, LONG / 64)) == 1) {
			if (e.len >= sizeof(*rx) && rx->hdr[10] == 1 &&
			    rx->type[0] == 8 && rx->type[1] == 6 &&
			    rx->op[1] == 2)
				return 1;
			submit(d, 0, &from, 1);
		}
		if (r == 0)
			return 0;
	}
	return 0;
}

int works(struct dev *d)
{
	if (status(d) != ALL_OK)
		return 0;
	if (d->slot == NET)
		return net_works(d);
	if (d->slot == VSOCK)
		return vsock_works(d);
	return d->slot == RNG ? rng_works(d) : blk_works(d);
}

int recovers(struct dev *d)
{
	return start(d) && works(d);
}
