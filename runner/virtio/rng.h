/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng: entropy (virtio 1.2, 5.4) from getrandom(2).
 *
 * Owns nothing but itself. At most VIRTIO_RNG_MAX bytes a request and
 * VIRTIO_RNG_ROUND a turn of the event loop, whatever the guest asks for.
 */
#ifndef MAYFLY_VIRTIO_RNG_H
#define MAYFLY_VIRTIO_RNG_H

#include "runner/virtio/virtio.h"

#define VIRTIO_RNG_MAX	 (64u << 10)
#define VIRTIO_RNG_ROUND (256u << 10)

/* NULL and *err on failure. */
struct virtio_dev *virtio_rng_new(const struct virtio_host *host, unsigned gsi,
				  struct err *err);

#endif
