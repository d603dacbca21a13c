/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of virtio over MMIO, version 2. */
#include "runner/virtio/mmio.h"

#include <string.h>

#include "runner/base/mem.h"
#include "runner/virtio/virtio.h"

#define MAGIC  0x74726976u /* "virt" */
#define VENDOR 0x4659414du /* "MAYF" */

static struct virtq *selected(struct virtio_dev *dev)
{
	return dev->queue_sel < dev->ops->nqueues ? &dev->vq[dev->queue_sel]
						  : NULL;
}

static uint32_t word(uint64_t v, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(v >> (32 * sel)) : 0;
}

static void set_word(uint64_t *v, uint32_t sel, uint32_t word)
{
	if (sel < 2)
		*v = (*v & ~(0xffffffffull << (32 * sel))) |
		     (uint64_t)word << (32 * sel);
}

/* 2.1: each step needs the one before; writing 0 is the way back. */
static const struct step {
	uint32_t bit, needs;
} steps[] = {
	{ VIRTIO_S_ACKNOWLEDGE, 0 },
	{ VIRTIO_S_DRIVER, VIRTIO_S_ACKNOWLEDGE },
	{ VIRTIO_S_FEATURES_OK, VIRTIO_S_DRIVER },
	{ VIRTIO_S_DRIVER_OK, VIRTIO_S_FEATURES_OK },
};

static void reset(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->ops->nqueues; i++)
		virtq_reset(&dev->vq[i]);
	dev->status = 0;
	atomic_store(&dev->isr, 0);
	dev->driver_features = 0;
	dev->features_sel = dev->driver_features_sel = dev->queue_sel = 0;
	dev->reset_due = true;
	dev->activate_due = false;
	virtio_again(dev, 0);
}

/* 2.2.2: a subset of what was offered, and no legacy driver. */
static bool features_ok(const struct virtio_dev *dev)
{
	return virtio_has(dev, VIRTIO_F_VERSION_1) &&
	       !(dev->driver_features & ~dev->features);
}

/*
 * Queues are judged and frozen here. All are kicked afterwards, because a
 * driver may fill them (and even notify) before it sets DRIVER_OK.
 */
static void driver_ok(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < dev->ops->nqueues; i++) {
		struct virtq *q = &dev->vq[i];

		if (q->ready && virtq_start(q, dev->host.gm,
					    dev->driver_features) < 0) {
			virtio_fail(dev, "a queue of bad size or place");
			return;
		}
	}
	dev->activate_due = true;
	for (unsigned i = 0; i < dev->ops->nqueues; i++)
		virtio_again(dev, i);
}

static void write_status(struct virtio_dev *dev, uint32_t v)
{
	if (v == 0) {
		reset(dev);
		return;
	}
	/* 2.1.1: a driver may not clear bits. NEEDS_RESET is ours. */
	if (dev->status & ~v & ~VIRTIO_S_NEEDS_RESET)
		return;
	dev->status |= v & VIRTIO_S_FAILED;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *s = &steps[i];

		if (!(v & s->bit) || (dev->status & s->bit))
			continue;
		if ((dev->status & s->needs) != s->needs)
			return;
		if (s->bit == VIRTIO_S_FEATURES_OK && !features_ok(dev))
			return;
		dev->status |= s->bit;
		if (s->bit == VIRTIO_S_DRIVER_OK)
			driver_ok(dev);
	}
}

static void write_features(struct virtio_dev *dev, uint32_t v)
{
	if ((dev->status & (VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK)) ==
	    VIRTIO_S_DRIVER)
		set_word(&dev->driver_features, dev->driver_features_sel, v);
}

static void write_queue(struct virtio_dev *dev, uint64_t off, uint32_t v)
{
	struct virtq *q = selected(dev);

	if (!q || (dev->status & (VIRTIO_S_FEATURES_OK | VIRTIO_S_DRIVER_OK)) !=
			  VIRTIO_S_FEATURES_OK)
		return;
	if (off == VIRTIO_MMIO_QUEUE_READY) {
		q->ready = v & 1;
		return;
	}
	/* 4.2.2.2: not while the queue is in use. */
	if (q->ready)
		return;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->size = v <= VIRTQ_SIZE_MAX ? (uint16_t)v : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_word(&q->desc_gpa, (off >> 2) & 1, v);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_word(&q->avail_gpa, (off >> 2) & 1, v);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_word(&q->used_gpa, (off >> 2) & 1, v);
		break;
	}
}

static uint32_t read_reg(struct virtio_dev *dev, uint64_t off)
{
	const struct virtq *q = selected(dev);

	switch (off) {
	case VIRTIO_MMIO_MAGIC:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEV_FEATURES:
		return word(dev->features, dev->features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? VIRTQ_SIZE_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	case VIRTIO_MMIO_STATUS:
		return dev->status;
	case VIRTIO_MMIO_GENERATION:
		return dev->generation;
	default:
		/* 4.2.2: no shared memory region has length and base -1. */
		if (off >= VIRTIO_MMIO_SHM_LEN_LOW &&
		    off <= VIRTIO_MMIO_SHM_BASE_HIGH)
			return UINT32_MAX;
		return 0; /* write-only and reserved ones */
	}
}

static void write_reg(struct virtio_dev *dev, uint64_t off, uint32_t v)
{
	switch (off) {
	case VIRTIO_MMIO_DEV_FEATURES_SEL:
		dev->features_sel = v;
		break;
	case VIRTIO_MMIO_DRV_FEATURES_SEL:
		dev->driver_features_sel = v;
		break;
	case VIRTIO_MMIO_DRV_FEATURES:
		write_features(dev, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		dev->queue_sel = v;
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(dev, v);
		break;
	default:
		write_queue(dev, off, v);
	}
}

/* The three registers of a driver at work wait for no lock: a vCPU must not
 * wait for the request that the main thread is busy with. */
static bool fast_reg(struct virtio_dev *dev, uint64_t off, uint32_t *v,
		     int write)
{
	switch (off) {
	case VIRTIO_MMIO_INTR_STATUS:
		if (!write)
			*v = atomic_load(&dev->isr);
		return true;
	case VIRTIO_MMIO_INTR_ACK:
		if (write)
			atomic_fetch_and(&dev->isr, ~*v);
		return true;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (write && *v < dev->ops->nqueues)
			virtio_kicked(dev, *v);
		return true;
	default:
		return false;
	}
}

static void reg_access(struct virtio_dev *dev, uint64_t off, void *data,
		       int write)
{
	uint32_t v = 0;

	if (write)
		memcpy(&v, data, sizeof(v));
	if (!fast_reg(dev, off, &v, write)) {
		pthread_mutex_lock(&dev->lock);
		if (write)
			write_reg(dev, off, v);
		else
			v = read_reg(dev, off);
		pthread_mutex_unlock(&dev->lock);
	}
	if (!write)
		memcpy(data, &v, sizeof(v));
}

static void config_access(struct virtio_dev *dev, uint64_t off, void *data,
			  unsigned len, int write)
{
	pthread_mutex_lock(&dev->lock);
	if (!write)
		dev->ops->cfg_read(dev, off, data, len);
	else if (dev->ops->cfg_write)
		dev->ops->cfg_write(dev, off, data, len);
	pthread_mutex_unlock(&dev->lock);
}

void virtio_mmio_access(void *opaque, uint64_t offset, void *data, unsigned len,
			int write)
{
	struct virtio_dev *dev = opaque;

	if (!write)
		memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG)
		config_access(dev, offset - VIRTIO_MMIO_CONFIG, data, len,
			      write);
	else if (len == 4 && offset % 4 == 0) /* 4.2.2.2: nothing else */
		reg_access(dev, offset, data, write);
}

int virtio_mmio_kick_fd(const struct virtio_dev *dev, unsigned queue)
{
	return dev->kick[queue].ev.fd;
}
