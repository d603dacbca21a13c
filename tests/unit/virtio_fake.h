/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for unit tests of virtio devices: real guest memory, registers by
 * virtio_mmio_access(), rings written by hand. It tells lies when asked to.
 */
#ifndef MAYFLY_TESTS_VIRTIO_FAKE_H
#define MAYFLY_TESTS_VIRTIO_FAKE_H

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/virtio/mmio.h"
#include "runner/virtio/virtio.h"
#include "runner/vmm/gmem.h"

#define FAKE_RAM   (16ull << 20)
#define FAKE_RINGS 0x100000ull /* a page each: desc, avail, used */
#define FAKE_HEAP  0x200000ull

struct fake_queue {
	uint16_t size, avail_idx, seen_used, next_desc;
	uint64_t desc, avail, used;
};

struct fake {
	struct gmem gm;
	struct ev_loop loop;
	struct virtio_host host;
	struct virtio_dev *dev;
	struct fake_queue q[VIRTIO_QUEUES_MAX];
	uint64_t heap;
	int irqs;
	uint64_t noted; /* bytes */
};

struct fake_seg {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* VRING_DESC_F_WRITE or 0 */
};

static inline void fake_irq(void *opaque, unsigned gsi)
{
	(void)gsi;
	((struct fake *)opaque)->irqs++;
}

static inline void fake_noted(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)gpa;
	((struct fake *)opaque)->noted += len;
}

static inline void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	cr_assert_eq(gmem_init(&f->gm, FAKE_RAM, NULL), 0);
	cr_assert_eq(ev_loop_init(&f->loop), 0);
	f->gm.wrote = fake_noted;
	f->gm.wrote_opaque = f;
	f->host = (struct virtio_host){ &f->gm, &f->loop, fake_irq, f, false };
	f->heap = FAKE_HEAP;
}

static inline void fake_free(struct fake *f)
{
	virtio_free(f->dev);
	ev_loop_free(&f->loop);
	gmem_free(&f->gm);
}

/* Host pointer and guest memory, from a bump allocator. */
static inline void *fake_ptr(struct fake *f, uint64_t gpa)
{
	return gmem_ptr(&f->gm, gpa, 1);
}

static inline uint64_t fake_alloc(struct fake *f, uint64_t len)
{
	uint64_t gpa = f->heap;

	f->heap += (len + 63) & ~63ull;
	cr_assert(f->heap <= FAKE_RAM);
	return gpa;
}

static inline uint32_t fake_read(struct fake *f, uint64_t off)
{
	uint32_t v = 0x5a5a5a5a;

	virtio_mmio_access(f->dev, off, &v, 4, 0);
	return v;
}

static inline void fake_write(struct fake *f, uint64_t off, uint32_t v)
{
	virtio_mmio_access(f->dev, off, &v, 4, 1);
}

static inline uint64_t fake_offered(struct fake *f)
{
	uint64_t v;

	fake_write(f, VIRTIO_MMIO_DEV_FEATURES_SEL, 1);
	v = (uint64_t)fake_read(f, VIRTIO_MMIO_DEV_FEATURES) << 32;
	fake_write(f, VIRTIO_MMIO_DEV_FEATURES_SEL, 0);
	return v | fake_read(f, VIRTIO_MMIO_DEV_FEATURES);
}

static inline void fake_accept(struct fake *f, uint64_t features)
{
	fake_write(f, VIRTIO_MMIO_DRV_FEATURES_SEL, 0);
	fake_write(f, VIRTIO_MMIO_DRV_FEATURES, (uint32_t)features);
	fake_write(f, VIRTIO_MMIO_DRV_FEATURES_SEL, 1);
	fake_write(f, VIRTIO_MMIO_DRV_FEATURES, (uint32_t)(features >> 32));
}

/* Registers of one queue, without QueueReady. */
static inline void fake_place_queue(struct fake *f, unsigned i, uint16_t size)
{
	struct fake_queue *q = &f->q[i];

	*q = (struct fake_queue){ .size = size,
				  .desc = FAKE_RINGS + i * 0x4000,
				  .avail = FAKE_RINGS + i * 0x4000 + 0x1000,
				  .used = FAKE_RINGS + i * 0x4000 + 0x2000 };
	memset(fake_ptr(f, q->desc), 0, 0x4000);
	fake_write(f, VIRTIO_MMIO_QUEUE_SEL, i);
	fake_write(f, VIRTIO_MMIO_QUEUE_NUM, size);
	fake_write(f, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)q->desc);
	fake_write(f, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	fake_write(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)q->avail);
	fake_write(f, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	fake_write(f, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)q->used);
	fake_write(f, VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
}

/* Up to FEATURES_OK. */
static inline void fake_negotiate(struct fake *f, uint64_t features)
{
	fake_write(f, VIRTIO_MMIO_STATUS, 0);
	fake_write(f, VIRTIO_MMIO_STATUS, VIRTIO_S_ACKNOWLEDGE);
	fake_write(f, VIRTIO_MMIO_STATUS,
		   VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	fake_accept(f, features);
	fake_write(f, VIRTIO_MMIO_STATUS,
		   VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER |
			   VIRTIO_S_FEATURES_OK);
}

#define FAKE_OK                                                       \
	(VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK | \
	 VIRTIO_S_DRIVER_OK)

/* The whole start, all queues at @size. */
static inline void fake_start(struct fake *f, uint64_t features, uint16_t size)
{
	fake_negotiate(f, features);
	for (unsigned i = 0; i < f->dev->ops->nqueues; i++) {
		fake_place_queue(f, i, size);
		fake_write(f, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	fake_write(f, VIRTIO_MMIO_STATUS, FAKE_OK);
	cr_assert_eq(fake_read(f, VIRTIO_MMIO_STATUS), FAKE_OK);
}

static inline struct vring_desc *fake_desc(struct fake *f, unsigned qi,
					   unsigned i)
{
	return (struct vring_desc *)fake_ptr(f, f->q[qi].desc) + i;
}

static inline struct vring_avail *fake_avail(struct fake *f, unsigned qi)
{
	return fake_ptr(f, f->q[qi].avail);
}

static inline struct vring_used *fake_used_ring(struct fake *f, unsigned qi)
{
	return fake_ptr(f, f->q[qi].used);
}

/* Offer the chain at @head. */
static inline void fake_offer(struct fake *f, unsigned qi, uint16_t head)
{
	struct fake_queue *q = &f->q[qi];
	struct vring_avail *a = fake_avail(f, qi);

	a->ring[q->avail_idx % q->size] = head;
	q->avail_idx++;
	__atomic_store_n(&a->idx, q->avail_idx, __ATOMIC_RELEASE);
}

/* Write and offer a chain; descriptors are taken round and round. */
static inline uint16_t fake_add(struct fake *f, unsigned qi,
				const struct fake_seg *s, unsigned n)
{
	struct fake_queue *q = &f->q[qi];
	uint16_t head = q->next_desc % q->size;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = q->next_desc++ % q->size;

		*fake_desc(f, qi, at) = (struct vring_desc){
			s[i].addr, s[i].len,
			s[i].flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			q->next_desc % q->size };
	}
	fake_offer(f, qi, head);
	return head;
}

static inline uint16_t fake_add_indirect(struct fake *f, unsigned qi,
					 const struct fake_seg *s, unsigned n)
{
	uint64_t table = fake_alloc(f, n * sizeof(struct vring_desc));
	struct vring_desc *d = fake_ptr(f, table);
	struct fake_queue *q = &f->q[qi];
	uint16_t head = q->next_desc++ % q->size;

	for (unsigned i = 0; i < n; i++)
		d[i] = (struct vring_desc){
			s[i].addr, s[i].len,
			s[i].flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			(uint16_t)(i + 1) };
	*fake_desc(f, qi, head) = (struct vring_desc){
		table, n * (uint32_t)sizeof(*d), VRING_DESC_F_INDIRECT, 0 };
	fake_offer(f, qi, head);
	return head;
}

/* Run the loop until it has nothing to do. */
static inline void fake_run(struct fake *f)
{
	while (ev_once(&f->loop, 0) > 0)
		;
}

static inline void fake_kick(struct fake *f, unsigned qi)
{
	fake_write(f, VIRTIO_MMIO_QUEUE_NOTIFY, qi);
	fake_run(f);
}

/* The next used element; false when there is none. */
static inline bool fake_take(struct fake *f, unsigned qi,
			     struct vring_used_elem *e)
{
	struct fake_queue *q = &f->q[qi];
	struct vring_used *u = fake_used_ring(f, qi);

	if (__atomic_load_n(&u->idx, __ATOMIC_ACQUIRE) == q->seen_used)
		return false;
	*e = u->ring[q->seen_used++ % q->size];
	return true;
}

static inline bool fake_broken(struct fake *f)
{
	return fake_read(f, VIRTIO_MMIO_STATUS) & VIRTIO_S_NEEDS_RESET;
}

#endif
