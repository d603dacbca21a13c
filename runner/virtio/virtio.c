/* SPDX-License-Identifier: Apache-2.0 */
/* What every virtio device does alike, below the registers. */
#include "runner/virtio/virtio.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/virtio/mmio.h"

static void on_kick(struct ev *ev, uint32_t events)
{
	struct virtio_kick *k = container_of(ev, struct virtio_kick, ev);
	struct virtio_dev *dev = k->dev;

	(void)events;
	ev_drain(ev->fd);
	if (!virtio_enter(dev))
		return;
	fault_point("vmm", "kick");
	dev->ops->notify(dev, k->queue);
	virtio_leave(dev);
}

static int kick_init(struct virtio_dev *dev, unsigned queue)
{
	struct virtio_kick *k = &dev->kick[queue];

	k->dev = dev;
	k->queue = queue;
	k->ev.fn = on_kick;
	k->ev.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->ev.fd < 0)
		return -errno;
	return ev_set(dev->host.loop, &k->ev, EPOLLIN);
}

int virtio_init(struct virtio_dev *dev, const struct virtio_ops *ops,
		const struct virtio_host *host, unsigned gsi, struct err *err)
{
	dev->ops = ops;
	dev->host = *host;
	dev->gsi = gsi;
	dev->features = ops->features | VIRTIO_F_VERSION_1 |
			VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	pthread_mutex_init(&dev->lock, NULL);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		virtq_reset(&dev->vq[i]);
		dev->kick[i].ev.fd = -1;
	}
	for (unsigned i = 0; i < ops->nqueues; i++) {
		int r = kick_init(dev, i);

		if (r < 0) {
			virtio_fini(dev);
			return err_set(err, r, "virtio-%s: eventfd", ops->name);
		}
	}
	return 0;
}

void virtio_fini(struct virtio_dev *dev)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		ev_del(&dev->kick[i].ev);
		close_fd(&dev->kick[i].ev.fd);
	}
	pthread_mutex_destroy(&dev->lock);
}

void virtio_free(struct virtio_dev *dev)
{
	if (dev)
		dev->ops->free(dev);
}

bool virtio_running(const struct virtio_dev *dev)
{
	return (dev->status & (VIRTIO_S_DRIVER_OK | VIRTIO_S_NEEDS_RESET |
			       VIRTIO_S_FAILED)) == VIRTIO_S_DRIVER_OK;
}

bool virtio_has(const struct virtio_dev *dev, uint64_t feature)
{
	return (dev->driver_features & feature) == feature;
}

bool virtio_enter(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	if (dev->reset_due) {
		dev->reset_due = false;
		dev->ops->reset(dev);
	}
	if (dev->activate_due) {
		dev->activate_due = false;
		if (dev->ops->activate)
			dev->ops->activate(dev);
	}
	if (virtio_running(dev))
		return true;
	pthread_mutex_unlock(&dev->lock);
	return false;
}

void virtio_leave(struct virtio_dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

bool virtio_pop(struct virtio_dev *dev, unsigned queue, struct virtq_chain *c)
{
	int r;

	if (!virtio_running(dev))
		return false;
	r = virtq_pop(&dev->vq[queue], c);
	if (r < 0)
		virtio_fail(dev, r == -EFAULT ? "a buffer outside RAM"
					      : "a malformed ring");
	return r > 0;
}

void virtio_flush(struct virtio_dev *dev, unsigned queue)
{
	if (virtq_must_notify(&dev->vq[queue]))
		virtio_interrupt(dev, VIRTIO_ISR_USED);
}

void virtio_again(struct virtio_dev *dev, unsigned queue)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then it is readable. */
	if (write(dev->kick[queue].ev.fd, &one, sizeof(one)) < 0)
		return;
}

/* Where it is not ours to serve, or the main thread is in there or owes it
 * something, that one does it: the eventfd does not let it miss the kick. */
void virtio_kicked(struct virtio_dev *dev, unsigned queue)
{
	bool done = false;

	if (dev->host.serve && dev->ops->serve &&
	    pthread_mutex_trylock(&dev->lock) == 0) {
		if (!dev->reset_due && !dev->activate_due &&
		    virtio_running(dev))
			done = dev->ops->serve(dev, queue);
		pthread_mutex_unlock(&dev->lock);
	}
	if (!done)
		virtio_again(dev, queue);
}

void virtio_fail(struct virtio_dev *dev, const char *why)
{
	log_limited("virtio-%s: %s: stopped until reset", dev->ops->name, why);
	dev->status |= VIRTIO_S_NEEDS_RESET;
	/* 2.1.2: the notification is only due after DRIVER_OK. */
	if (dev->status & VIRTIO_S_DRIVER_OK)
		virtio_interrupt(dev, VIRTIO_ISR_CONFIG);
}

/*
 * The cause is set first: the driver's handler reads and acknowledges it, then
 * looks at the rings. A cause that is still set does not save the edge, since
 * the interrupt controller may have dropped the last one while it was masked.
 */
void virtio_interrupt(struct virtio_dev *dev, uint32_t bit)
{
	atomic_fetch_or(&dev->isr, bit);
	dev->host.irq(dev->host.irq_opaque, dev->gsi);
}

void virtio_config_changed(struct virtio_dev *dev)
{
	dev->generation++;
	if (dev->status & VIRTIO_S_DRIVER_OK)
		virtio_interrupt(dev, VIRTIO_ISR_CONFIG);
}

void virtio_cfg_copy(const void *cfg, size_t size, uint64_t off, void *data,
		     unsigned len)
{
	if (off >= size)
		return;
	memcpy(data, (const uint8_t *)cfg + off, MIN(len, size - off));
}
