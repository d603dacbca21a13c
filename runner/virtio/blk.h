/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk: a disk (virtio 1.2, 5.2) over a raw file.
 *
 * Owns its struct raw. Requests are done one after the other on the main
 * thread, at most VIRTIO_BLK_ROUND bytes at a turn of the event loop.
 */
#ifndef MAYFLY_VIRTIO_BLK_H
#define MAYFLY_VIRTIO_BLK_H

#include "runner/disk/raw.h"
#include "runner/virtio/virtio.h"

#define VIRTIO_BLK_ROUND   (4u << 20)
#define VIRTIO_BLK_ID_SIZE 20

/* @raw is taken over on success only. @serial is cut to 20 bytes. NULL and
 * *err on failure. */
struct virtio_dev *virtio_blk_new(const struct virtio_host *host, unsigned gsi,
				  struct raw *raw, const char *serial,
				  struct err *err);

#endif
