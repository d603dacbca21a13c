/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends and takes frames and polls for what comes back: nothing
 * else runs, no interrupt is wanted, kicks come as EVENT_IDX asks for them.
 * Between bytes on the first serial port: SMALL frames of 60 bytes sent, LARGE
 * ones of some 64 KiB that the host may cut, then as many of either taken,
 * merged from buffers of BUF bytes. Finds the network on mayfly's virtio-mmio
 * slots and on QEMU microvm's.
 */
#include "runner/virtio/mmio.h"
#include "runner/virtio/net_frame.h"
#include "runner/virtio/queue.h"
#include "runner/vmm/bus.h"
#include "tests/guest/lib.h"

#ifndef SMALL
#define SMALL 50000
#endif
#ifndef LARGE
#define LARGE 5000
#endif

#define COM1	      0x3f8
#define MICROVM	      0xfeb00000ull
#define MICROVM_SIZE  0x200ull
#define MICROVM_SLOTS 24
#define MAGIC	      0x74726976u
#define NET_ID	      1
#define QUEUE	      256u
#define BATCH	      32u
#define RX	      0
#define TX	      1
#define VERSION_1     (1ull << 32)
#define FEATURES                                                             \
	(VERSION_1 | VIRTIO_F_EVENT_IDX | NET_F_CSUM | NET_F_GUEST_CSUM |    \
	 NET_F_HOST_TSO4 | NET_F_GUEST_TSO4 | NET_F_MRG_RXBUF)

#define BUFS	  0x2000000ull /* of 32 MiB on */
#define BUF	  2048u
#define FRAMES	  0x2800000ull
#define HDR	  12u
#define SMALL_LEN 60u
#define LARGE_LEN 65226u
#define IS_LARGE  2000u

struct ring {
	struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	uint16_t offered, told, seen;
};

static uint64_t base;
static struct ring rx, tx;

static uint32_t get(uint64_t at, uint64_t off)
{
	return *(volatile uint32_t *)(at + off);
}

static void set(uint64_t off, uint32_t v)
{
	*(volatile uint32_t *)(base + off) = v;
}

static void say(uint8_t c)
{
	__asm__ volatile("out %0, %1" : : "a"(c), "d"((uint16_t)COM1));
}

static uint64_t find_in(uint64_t at, uint64_t size, unsigned n)
{
	for (unsigned i = 0; i < n; i++, at += size)
		if (get(at, VIRTIO_MMIO_MAGIC) == MAGIC &&
		    get(at, VIRTIO_MMIO_DEVICE_ID) == NET_ID)
			return at;
	return 0;
}

static void place(uint64_t low, const volatile void *p)
{
	set(low, (uint32_t)(uintptr_t)p);
	set(low + 4, 0);
}

static void place_ring(unsigned q, struct ring *r)
{
	r->desc = alloc_page();
	r->avail = alloc_page();
	r->used = alloc_page();
	set(VIRTIO_MMIO_QUEUE_SEL, q);
	set(VIRTIO_MMIO_QUEUE_NUM, QUEUE);
	place(VIRTIO_MMIO_QUEUE_DESC_LOW, r->desc);
	place(VIRTIO_MMIO_QUEUE_AVAIL_LOW, r->avail);
	place(VIRTIO_MMIO_QUEUE_USED_LOW, r->used);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
}

/* virtio 1.2 3.1.1 */
static int start(void)
{
	uint64_t offered;

	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, 1);
	set(VIRTIO_MMIO_STATUS, 3);
	set(VIRTIO_MMIO_DEV_FEATURES_SEL, 0);
	offered = get(base, VIRTIO_MMIO_DEV_FEATURES);
	set(VIRTIO_MMIO_DEV_FEATURES_SEL, 1);
	offered |= (uint64_t)get(base, VIRTIO_MMIO_DEV_FEATURES) << 32;
	if ((offered & FEATURES) != FEATURES)
		return 0;
	set(VIRTIO_MMIO_DRV_FEATURES_SEL, 0);
	set(VIRTIO_MMIO_DRV_FEATURES, (uint32_t)FEATURES);
	set(VIRTIO_MMIO_DRV_FEATURES_SEL, 1);
	set(VIRTIO_MMIO_DRV_FEATURES, FEATURES >> 32);
	set(VIRTIO_MMIO_STATUS, 11);
	place_ring(RX, &rx);
	place_ring(TX, &tx);
	set(VIRTIO_MMIO_STATUS, 15);
	return get(base, VIRTIO_MMIO_STATUS) == 15;
}

static void offer(struct ring *r, uint16_t head)
{
	r->avail->ring[r->offered++ % QUEUE] = head;
	__atomic_store_n(&r->avail->idx, r->offered, __ATOMIC_SEQ_CST);
}

/* 2.7.10: for what was offered since the last time. */
static void kick(struct ring *r, unsigned queue)
{
	uint16_t event = *(volatile uint16_t *)&r->used->ring[QUEUE];
	uint16_t fresh = (uint16_t)(r->offered - r->told);

	if ((uint16_t)(r->offered - event - 1) < fresh)
		set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	r->told = r->offered;
	/* 2.7.7: no interrupt soon. */
	r->avail->ring[QUEUE] = (uint16_t)(r->seen + 0x7fff);
}

static unsigned waiting(const struct ring *r)
{
	return (uint16_t)(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) -
			  r->seen);
}

/* IPv4 and TCP to nobody: what the host makes of it is its affair. */
static void make_frame(uint32_t len)
{
	struct net_hdr *h = (struct net_hdr *)FRAMES;
	uint8_t *p = (uint8_t *)FRAMES + HDR;

	memset(h, 0, HDR + 60);
	memset(p, 2, 12);
	p[12] = 8;
	p[14] = 0x45;
	p[16] = (uint8_t)((len - 14) >> 8);
	p[17] = (uint8_t)(len - 14);
	p[23] = 6;
	p[46] = 0x50;
	if (len > IS_LARGE)
		*h = (struct net_hdr){ .flags = NET_HDR_NEEDS_CSUM,
				       .gso_type = NET_GSO_TCPV4,
				       .hdr_len = 54, .gso_size = 1448,
				       .csum_start = 34, .csum_offset = 16 };
}

static void transmit(unsigned n, uint32_t len)
{
	unsigned free = QUEUE, sent = 0, done = 0;

	make_frame(len);
	for (unsigned i = 0; i < QUEUE; i++)
		tx.desc[i] = (struct vring_desc){ FRAMES, HDR + len, 0, 0 };
	while (done < n) {
		unsigned came = waiting(&tx), put = 0;

		tx.seen = (uint16_t)(tx.seen + came);
		done += came;
		for (free += came; free && sent < n && put < BATCH; put++) {
			offer(&tx, (uint16_t)(sent++ % QUEUE));
			free--;
		}
		if (put)
			kick(&tx, TX);
	}
}

static void give(uint16_t i)
{
	rx.desc[i] = (struct vring_desc){ BUFS + i * BUF, BUF,
					  VRING_DESC_F_WRITE, 0 };
	offer(&rx, i);
}

/* One frame's buffers go back. Its length; 0: there is none. */
static uint32_t take(void)
{
	const struct net_hdr *h;
	uint32_t id, len = 0;
	unsigned n;

	if (!waiting(&rx))
		return 0;
	id = rx.used->ring[rx.seen % QUEUE].id;
	h = (const struct net_hdr *)(BUFS + id * BUF);
	for (n = h->num_buffers; n; n--) {
		id = rx.used->ring[rx.seen % QUEUE].id;
		len += rx.used->ring[rx.seen++ % QUEUE].len;
		give((uint16_t)id);
	}
	return len;
}

static void receive(unsigned n, int large)
{
	while (n) {
		uint32_t len;

		for (unsigned k = 0; n && k < BATCH && (len = take()); k++)
			n -= (len > IS_LARGE) == large;
		if (rx.offered != rx.told)
			kick(&rx, RX);
	}
}

int main(void)
{
	base = find_in(BUS_MMIO_BASE, BUS_SLOT_SIZE, 8);
	if (!base)
		base = find_in(MICROVM, MICROVM_SIZE, MICROVM_SLOTS);
	if (!base || !start()) {
		say('?');
	} else {
		for (unsigned i = 0; i < QUEUE; i++)
			give((uint16_t)i);
		kick(&rx, RX);
		say('a');
		transmit(SMALL, SMALL_LEN);
		say('b');
		transmit(LARGE, LARGE_LEN);
		say('c');
		receive(SMALL, 0);
		say('d');
		receive(LARGE, 1);
		say('e');
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}
