/* SPDX-License-Identifier: Apache-2.0 */
/* Entropy (virtio 1.2, 5.4) from getrandom(2). */
#include "runner/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/* A request that asks for little still takes its share of the turn. */
#define COST_MIN 4096u

/* By way of a buffer: one system call a piece, however small the segments. */
static uint32_t fill(struct virtq *q, const struct virtq_chain *c, uint32_t max)
{
	uint32_t want = MIN(c->in_len, max), done = 0;
	uint8_t buf[4096];

	while (done < want) {
		ssize_t n = getrandom(buf, MIN(want - done, sizeof(buf)),
				      GRND_NONBLOCK);

		if (n <= 0)
			break;
		virtq_write(q, c, done, buf, (uint32_t)n);
		done += (uint32_t)n;
	}
	return done;
}

static void rng_notify(struct virtio_dev *dev, unsigned queue)
{
	struct virtq *q = &dev->vq[queue];
	uint32_t left = VIRTIO_RNG_ROUND;
	struct virtq_chain c;

	while (left && virtio_pop(dev, queue, &c)) {
		uint32_t n = fill(q, &c, MIN(left, VIRTIO_RNG_MAX));

		virtq_push(q, &c, n);
		left -= MIN(left, MAX(n, COST_MIN));
	}
	if (!left)
		virtio_again(dev, queue);
	virtio_flush(dev, queue);
}

static void rng_reset(struct virtio_dev *dev)
{
	(void)dev; /* nothing outlives a call of notify */
}

/* 5.4.4: there is no config space. */
static void rng_cfg_read(struct virtio_dev *dev, uint64_t off, void *data,
			 unsigned len)
{
	(void)dev, (void)off, (void)data, (void)len;
}

static void rng_free(struct virtio_dev *dev)
{
	virtio_fini(dev);
	free(dev);
}

static const struct virtio_ops rng_ops = {
	.id = 4,
	.name = "rng",
	.nqueues = 1,
	.reset = rng_reset,
	.notify = rng_notify,
	.cfg_read = rng_cfg_read,
	.free = rng_free,
};

struct virtio_dev *virtio_rng_new(const struct virtio_host *host, unsigned gsi,
				  struct err *err)
{
	struct virtio_dev *dev = calloc(1, sizeof(*dev));

	if (!dev) {
		err_set(err, -ENOMEM, "virtio-rng");
		return NULL;
	}
	if (virtio_init(dev, &rng_ops, host, gsi, err) < 0) {
		free(dev);
		return NULL;
	}
	return dev;
}
