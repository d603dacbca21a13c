/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that reads its first disk, 4 KiB at a time from places all over it,
 * and polls for the answer: no interrupt is wanted, nothing else runs. READS
 * requests, one on the ring at a time, between two bytes on the first serial
 * port. Finds the disk on mayfly's virtio-mmio slots and on QEMU microvm's.
 */
#include "runner/virtio/mmio.h"
#include "runner/virtio/queue.h"
#include "runner/vmm/bus.h"
#include "tests/guest/lib.h"

#ifndef READS
#define READS 20000
#endif

#define COM1	   0x3f8
#define MICROVM	   0xfeb00000ull
#define MICROVM_SIZE 0x200ull
#define MICROVM_SLOTS 24
#define MAGIC	   0x74726976u
#define BLK_ID	   2
#define QUEUE	   16
#define VERSION_1  (1ull << 32)

struct blk_hdr {
	uint32_t type, reserved;
	uint64_t sector;
};

struct disk {
	uint64_t base, pages;
	struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	struct blk_hdr *hdr;
	volatile uint8_t *data, *status;
};

static uint32_t get(uint64_t base, uint64_t off)
{
	return *(volatile uint32_t *)(base + off);
}

static void set(uint64_t base, uint64_t off, uint32_t v)
{
	*(volatile uint32_t *)(base + off) = v;
}

static void say(uint8_t c)
{
	__asm__ volatile("out %0, %1" : : "a"(c), "d"((uint16_t)COM1));
}

static uint64_t find_in(uint64_t base, uint64_t size, unsigned n)
{
	for (unsigned i = 0; i < n; i++, base += size)
		if (get(base, VIRTIO_MMIO_MAGIC) == MAGIC &&
		    get(base, VIRTIO_MMIO_DEVICE_ID) == BLK_ID)
			return base;
	return 0;
}

static void place(const struct disk *d, uint64_t low, const volatile void *p)
{
	set(d->base, low, (uint32_t)(uintptr_t)p);
	set(d->base, low + 4, 0);
}

/* virtio 1.2 3.1.1, no feature but the version. */
static int start(struct disk *d)
{
	set(d->base, VIRTIO_MMIO_STATUS, 0);
	set(d->base, VIRTIO_MMIO_STATUS, 1);
	set(d->base, VIRTIO_MMIO_STATUS, 3);
	set(d->base, VIRTIO_MMIO_DRV_FEATURES_SEL, 0);
	set(d->base, VIRTIO_MMIO_DRV_FEATURES, 0);
	set(d->base, VIRTIO_MMIO_DRV_FEATURES_SEL, 1);
	set(d->base, VIRTIO_MMIO_DRV_FEATURES, VERSION_1 >> 32);
	set(d->base, VIRTIO_MMIO_STATUS, 11);
	set(d->base, VIRTIO_MMIO_QUEUE_SEL, 0);
	set(d->base, VIRTIO_MMIO_QUEUE_NUM, QUEUE);
	place(d, VIRTIO_MMIO_QUEUE_DESC_LOW, d->desc);
	place(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, d->avail);
	place(d, VIRTIO_MMIO_QUEUE_USED_LOW, d->used);
	set(d->base, VIRTIO_MMIO_QUEUE_READY, 1);
	set(d->base, VIRTIO_MMIO_STATUS, 15);
	return get(d->base, VIRTIO_MMIO_STATUS) == 15;
}

static void lay_out(struct disk *d)
{
	d->desc = alloc_page();
	d->avail = alloc_page();
	d->used = alloc_page();
	d->hdr = alloc_page();
	d->data = alloc_page();
	d->status = (uint8_t *)(d->hdr + 1);
	d->desc[0] = (struct vring_desc){ (uintptr_t)d->hdr, sizeof(*d->hdr),
					  VRING_DESC_F_NEXT, 1 };
	d->desc[1] = (struct vring_desc){ (uintptr_t)d->data, PAGE,
					  VRING_DESC_F_NEXT |
						  VRING_DESC_F_WRITE, 2 };
	d->desc[2] = (struct vring_desc){ (uintptr_t)d->status, 1,
					  VRING_DESC_F_WRITE, 0 };
	d->avail->flags = 1; /* 2.7.6: no interrupt */
	d->pages = get(d->base, VIRTIO_MMIO_CONFIG) / 8;
}

/* 0, or the status. */
static uint8_t read_page(struct disk *d, uint16_t n, uint64_t page)
{
	d->hdr->type = 0;
	d->hdr->sector = page * 8;
	*d->status = 0xff;
	d->avail->ring[n % QUEUE] = 0;
	__atomic_store_n(&d->avail->idx, (uint16_t)(n + 1), __ATOMIC_SEQ_CST);
	set(d->base, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (__atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE) !=
	       (uint16_t)(n + 1))
		;
	return *d->status;
}

int main(void)
{
	struct disk d = { .base = find_in(BUS_MMIO_BASE, BUS_SLOT_SIZE, 1) };
	uint64_t at = 0;

	if (!d.base)
		d.base = find_in(MICROVM, MICROVM_SIZE, MICROVM_SLOTS);
	if (d.base)
		lay_out(&d);
	if (!d.base || !d.pages || !start(&d) || read_page(&d, 0, 0)) {
		say('?');
	} else {
		say('a');
		for (unsigned i = 1; i <= READS; i++) {
			at = (at * 1664525 + 1013904223) & 0xffffffff;
			if (read_page(&d, (uint16_t)i, at % d.pages))
				break;
		}
		say(*d.status ? '?' : 'b');
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}
