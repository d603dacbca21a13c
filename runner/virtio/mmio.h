/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmio: the registers of virtio over MMIO, version 2 (virtio 1.2, 4.2).
 *
 * State lives in struct virtio_dev. Accesses come on vCPU threads, several at
 * once; each takes the device's lock, but for the three that a driver uses
 * while it works: InterruptStatus, InterruptACK and QueueNotify.
 *
 *	bus_add_mmio(bus, slot, virtio_mmio_access, dev);
 *	ops->ioeventfd(e, base + VIRTIO_MMIO_QUEUE_NOTIFY, q,
 *		       virtio_mmio_kick_fd(dev, q), err);	for each queue
 */
#ifndef MAYFLY_VIRTIO_MMIO_H
#define MAYFLY_VIRTIO_MMIO_H

#include <stdint.h>

struct virtio_dev;

#define VIRTIO_MMIO_MAGIC	    0x000
#define VIRTIO_MMIO_VERSION	    0x004
#define VIRTIO_MMIO_DEVICE_ID	    0x008
#define VIRTIO_MMIO_VENDOR_ID	    0x00c
#define VIRTIO_MMIO_DEV_FEATURES    0x010
#define VIRTIO_MMIO_DEV_FEATURES_SEL 0x014
#define VIRTIO_MMIO_DRV_FEATURES    0x020
#define VIRTIO_MMIO_DRV_FEATURES_SEL 0x024
#define VIRTIO_MMIO_QUEUE_SEL	    0x030
#define VIRTIO_MMIO_QUEUE_NUM_MAX   0x034
#define VIRTIO_MMIO_QUEUE_NUM	    0x038
#define VIRTIO_MMIO_QUEUE_READY	    0x044
#define VIRTIO_MMIO_QUEUE_NOTIFY    0x050
#define VIRTIO_MMIO_INTR_STATUS	    0x060
#define VIRTIO_MMIO_INTR_ACK	    0x064
#define VIRTIO_MMIO_STATUS	    0x070
#define VIRTIO_MMIO_QUEUE_DESC_LOW  0x080
#define VIRTIO_MMIO_QUEUE_DESC_HIGH 0x084
#define VIRTIO_MMIO_QUEUE_AVAIL_LOW 0x090
#define VIRTIO_MMIO_QUEUE_AVAIL_HIGH 0x094
#define VIRTIO_MMIO_QUEUE_USED_LOW  0x0a0
#define VIRTIO_MMIO_QUEUE_USED_HIGH 0x0a4
#define VIRTIO_MMIO_SHM_LEN_LOW	    0x0b0
#define VIRTIO_MMIO_SHM_BASE_HIGH   0x0bc
#define VIRTIO_MMIO_GENERATION	    0x0fc
#define VIRTIO_MMIO_CONFIG	    0x100

/* 2.1 Device Status Field */
#define VIRTIO_S_ACKNOWLEDGE 1
#define VIRTIO_S_DRIVER	     2
#define VIRTIO_S_DRIVER_OK   4
#define VIRTIO_S_FEATURES_OK 8
#define VIRTIO_S_NEEDS_RESET 64
#define VIRTIO_S_FAILED	     128

/* InterruptStatus */
#define VIRTIO_ISR_USED	  1
#define VIRTIO_ISR_CONFIG 2

/* A bus_fn; @dev is a struct virtio_dev. Any offset, any length up to 8. */
void virtio_mmio_access(void *dev, uint64_t offset, void *data, unsigned len,
			int write);

/* The eventfd that a write of @queue to QueueNotify signals. Borrowed. */
int virtio_mmio_kick_fd(const struct virtio_dev *dev, unsigned queue);

#endif
