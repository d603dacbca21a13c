/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device: a virtio device met by a driver whose every move is input bytes.
 *
 * A target makes its device, then fuzz_steps() walks the input: a step is a
 * byte that says what, and what that needs. Steps do a driver's common errands
 * right (negotiate, place queues, offer a chain), and any register access and
 * any write to memory besides. The target adds steps of its own.
 */
#ifndef MAYFLY_TESTS_FUZZ_DEVICE_H
#define MAYFLY_TESTS_FUZZ_DEVICE_H

#include <sys/random.h>

#include "runner/base/ev.h"
#include "runner/virtio/mmio.h"
#include "runner/virtio/virtio.h"
#include "runner/vmm/gmem.h"
#include "tests/fuzz/bytes.h"

#define FUZZ_RAM   (1ull << 20)
#define FUZZ_RINGS 0x1000u  /* 0x4000 for each queue: desc, avail, used */
#define FUZZ_DATA  0x20000u /* buffers of 0x400 */
#define FUZZ_SIZE  16u	    /* of a queue placed right */
#define FUZZ_STEPS 200

struct fuzz {
	struct gmem gm;
	struct ev_loop loop;
	struct virtio_host host;
	struct virtio_dev *dev;
	uint16_t avail[VIRTIO_QUEUES_MAX];
	uint16_t desc;
	uint64_t irqs;
};

/* Inputs must repeat: no randomness but this. */
ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	(void)flags;
	memset(buf, 0xa5, len);
	return (ssize_t)len;
}

static inline void fuzz_irq(void *opaque, unsigned gsi)
{
	(void)gsi;
	((struct fuzz *)opaque)->irqs++;
}

static inline void fuzz_wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	must(gmem_ptr(&((struct fuzz *)opaque)->gm, gpa, len));
}

/* Memory is kept from input to input, zeroed. */
static inline void fuzz_begin(struct fuzz *f)
{
	struct gmem gm = f->gm;

	if (!gm.nregions)
		must(gmem_init(&gm, FUZZ_RAM, NULL) == 0);
	memset(gm.r[0].hva, 0, FUZZ_RAM);
	*f = (struct fuzz){ .gm = gm };
	f->gm.wrote = fuzz_wrote;
	f->gm.wrote_opaque = f;
	must(ev_loop_init(&f->loop) == 0);
	f->host = (struct virtio_host){ &f->gm, &f->loop, fuzz_irq, f, false };
}

static inline void fuzz_end(struct fuzz *f)
{
	virtio_free(f->dev);
	ev_loop_free(&f->loop);
}

static inline void *fuzz_ptr(struct fuzz *f, uint64_t gpa)
{
	return f->gm.r[0].hva + gpa % FUZZ_RAM;
}

static inline void fuzz_reg(struct fuzz *f, uint64_t off, uint32_t v)
{
	virtio_mmio_access(f->dev, off, &v, 4, 1);
}

static inline uint32_t fuzz_status(struct fuzz *f)
{
	uint32_t v = 0;

	virtio_mmio_access(f->dev, VIRTIO_MMIO_STATUS, &v, 4, 0);
	return v;
}

/* A few turns of the loop; a device may ask for more for ever. */
static inline void fuzz_turns(struct fuzz *f)
{
	for (unsigned i = 0; i < 8 && ev_once(&f->loop, 0) > 0; i++)
		;
}

static inline void fuzz_place(struct fuzz *f, unsigned q)
{
	uint64_t at = FUZZ_RINGS + q * 0x4000u;

	fuzz_reg(f, VIRTIO_MMIO_QUEUE_SEL, q);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NUM, FUZZ_SIZE);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)at);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)at + 0x1000);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)at + 0x2000);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* A reset and the whole way to DRIVER_OK; @without: features left out. */
static inline void fuzz_start(struct fuzz *f, uint64_t without)
{
	fuzz_reg(f, VIRTIO_MMIO_STATUS, 0);
	memset(fuzz_ptr(f, FUZZ_RINGS), 0, 0x4000 * VIRTIO_QUEUES_MAX);
	memset(f->avail, 0, sizeof(f->avail));
	fuzz_reg(f, VIRTIO_MMIO_STATUS, 1);
	fuzz_reg(f, VIRTIO_MMIO_STATUS, 3);
	fuzz_reg(f, VIRTIO_MMIO_DRV_FEATURES,
		 (uint32_t)(f->dev->features & ~without));
	fuzz_reg(f, VIRTIO_MMIO_DRV_FEATURES_SEL, 1);
	fuzz_reg(f, VIRTIO_MMIO_DRV_FEATURES,
		 (uint32_t)(f->dev->features >> 32));
	fuzz_reg(f, VIRTIO_MMIO_STATUS, 11);
	for (unsigned q = 0; q < f->dev->ops->nqueues; q++)
		fuzz_place(f, q);
	fuzz_reg(f, VIRTIO_MMIO_STATUS, 15);
	must(fuzz_status(f) == 15);
	fuzz_turns(f);
}

struct fuzz_seg {
	uint64_t addr;
	uint32_t len;
	bool in; /* the device writes it */
};

/* Offer @n segments to queue @q, as a driver would; no kick. */
static inline void fuzz_offer(struct fuzz *f, unsigned q,
			      const struct fuzz_seg *s, unsigned n)
{
	uint64_t at = FUZZ_RINGS + q * 0x4000u;
	struct vring_desc *d = fuzz_ptr(f, at);
	struct vring_avail *a = fuzz_ptr(f, at + 0x1000);
	uint16_t head = f->desc % FUZZ_SIZE;

	for (unsigned i = 0; i < n; i++) {
		bool more = i + 1 < n;

		d[f->desc++ % FUZZ_SIZE] = (struct vring_desc){
			s[i].addr, s[i].len,
			(uint16_t)((s[i].in ? VRING_DESC_F_WRITE : 0) |
				   (more ? VRING_DESC_F_NEXT : 0)),
			f->desc % FUZZ_SIZE };
	}
	a->ring[f->avail[q] % FUZZ_SIZE] = head;
	a->idx = ++f->avail[q];
}

/* Where a segment lies and how long it is, from two bytes. */
static inline struct fuzz_seg fuzz_seg(struct bytes *b)
{
	static const uint32_t len[] = { 0, 1, 15, 16, 17, 20, 21, 44, 45, 511,
					512, 513, 1024, 4096, 65536, ~0u };
	uint8_t where = take8(b), how = take8(b);
	struct fuzz_seg s = { FUZZ_DATA + (where & 63) * 0x400u,
			      len[how & 15], where & 0x80 };

	if (how & 0x40)
		s.addr = FUZZ_RINGS + (where & 63) * 0x100u;
	if (how & 0x80)
		s.addr = FUZZ_RAM - s.len;
	return s;
}

static inline void fuzz_chain(struct fuzz *f, struct bytes *b)
{
	uint8_t how = take8(b);
	unsigned q = how % f->dev->ops->nqueues, n = (how >> 4 & 7) + 1;
	struct fuzz_seg s[8];

	for (unsigned i = 0; i < n; i++)
		s[i] = fuzz_seg(b);
	fuzz_offer(f, q, s, n);
	if (how & 0x80)
		fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static inline void fuzz_poke(struct fuzz *f, struct bytes *b)
{
	uint32_t at = FUZZ_RINGS + take16(b);
	uint8_t buf[32];
	unsigned n = take8(b) % sizeof(buf) + 1;

	take(b, buf, n);
	memcpy(fuzz_ptr(f, at), buf, n);
}

static inline void fuzz_access(struct fuzz *f, struct bytes *b, int write)
{
	static const unsigned len[] = { 4, 4, 4, 4, 4, 1, 2, 8 };
	uint16_t where = take16(b);
	uint8_t buf[8];

	take(b, buf, write ? 4 : 0);
	virtio_mmio_access(f->dev, where & 0xfff, buf, len[where >> 13], write);
}

static inline void fuzz_step(struct fuzz *f, struct bytes *b, uint8_t what)
{
	switch (what) {
	case 0:
		fuzz_start(f, (uint64_t)take8(b) << 24 & 0xff000000);
		break;
	case 1:
		fuzz_chain(f, b);
		break;
	case 2:
		fuzz_poke(f, b);
		break;
	case 3:
		fuzz_access(f, b, 1);
		break;
	case 4:
		fuzz_access(f, b, 0);
		break;
	case 5:
		fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, take8(b));
		break;
	default:
		fuzz_turns(f);
	}
}
#define FUZZ_COMMON 7 /* steps below this are the ones above */

/* @own does the steps from FUZZ_COMMON to @n - 1; NULL for none. */
static inline void fuzz_steps(struct fuzz *f, struct bytes *b, unsigned n,
			      void (*own)(struct fuzz *, struct bytes *,
					  unsigned))
{
	for (unsigned i = 0; b->n && i < FUZZ_STEPS; i++) {
		unsigned what = take8(b) % n;

		if (what < FUZZ_COMMON)
			fuzz_step(f, b, (uint8_t)what);
		else
			own(f, b, what);
	}
	fuzz_turns(f);
	/* Whatever was done to it: a reset makes it a good device again. */
	fuzz_start(f, 0);
}

#endif
