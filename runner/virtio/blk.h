/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk: a disk (virtio 1.2, 5.2) over a struct disk, which it owns.
 *
 * Requests are done one after the other, in the order of the ring, on the main
 * thread, at most VIRTIO_BLK_ROUND bytes at a turn of the event loop. A limiter
 * may hold the one in hand back; a timer then goes on with it, and the loop is
 * free for others until then. What was spent survives a reset.
 *
 * Where the guest's kick is a call (engine soft), its own thread does what is
 * quick: reads of what the host has in memory and writes that nobody wants
 * durable, VIRTIO_BLK_SERVE bytes at most; the main thread does the rest. To
 * wake that one takes longer than such a request.
 */
#ifndef MAYFLY_VIRTIO_BLK_H
#define MAYFLY_VIRTIO_BLK_H

#include "runner/disk/disk.h"
#include "runner/virtio/limiter.h"
#include "runner/virtio/virtio.h"

#define VIRTIO_BLK_ROUND   (4u << 20)
#define VIRTIO_BLK_SERVE   (1u << 20)
#define VIRTIO_BLK_ID_SIZE 20

struct virtio_blk_params {
	struct disk *disk;  /* taken over on success only */
	const char *serial; /* cut to 20 bytes */
	struct limiter_rate ops, bytes;
};

/* NULL and *err on failure. */
struct virtio_dev *virtio_blk_new(const struct virtio_host *host, unsigned gsi,
				  const struct virtio_blk_params *p,
				  struct err *err);

#endif
