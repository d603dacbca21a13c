/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio: how a paravirtual device and its driver talk, and what a device of
 * ours must provide.
 *
 * The split ring (virtio 1.2, 2.7)
 *
 * A queue is three arrays in guest memory. All of them are the guest's; what
 * differs is who writes which.
 *
 *	descriptor table	written by the driver. An entry is a buffer:
 *				address, length, a direction, and perhaps the
 *				number of the next entry. Entries linked so
 *				are a chain: one request. First come the
 *				buffers that the device reads, then those that
 *				it writes.
 *	available ring		written by the driver. Numbers of the first
 *				descriptors of chains, and `idx`, which counts
 *				chains ever offered, modulo 2^16.
 *	used ring		written by the device. Numbers of chains that
 *				it is done with, how much it wrote into each,
 *				and an `idx` of its own.
 *
 *	   avail.idx = 7			      used.idx = 5
 *	   .. | 4 | 5 | 6 |	next_avail = 6	      .. | 3 | 4 |
 *	        |	    descriptors
 *	        +-> [2: read 16 B] -> [5: write 4 KiB] -> [3: write 1 B]
 *
 * Neither side ever writes what the other writes, so there is no lock: a side
 * fills an entry and then raises its idx with a release store, the other
 * reads idx with an acquire load and then the entry. Both idx run on freely;
 * the slot is idx modulo the size, a power of two. The device may complete in
 * any order. A driver can never have more than `size` chains on offer; an idx
 * further ahead than that is a lie.
 *
 * INDIRECT: a descriptor may point to a table of descriptors elsewhere, so
 * that a long request costs the ring one entry. Tables do not nest.
 *
 * Notifications are the expensive part, so each side may say that it needs
 * none. Without EVENT_IDX it is a flag. With EVENT_IDX each side writes, in
 * the slot after the other's ring, the idx that it wants to hear of next, and
 * is notified when idx passes that. The pattern on both sides: publish, full
 * barrier, look whether the other wants to hear; and on the way to sleep: say
 * what to be woken for, full barrier, look once more for work. Without the two
 * barriers both can go to sleep over a request.
 *
 * What is hostile here: every number above. A descriptor is copied once and
 * then judged, a chain is judged as a whole before the device sees any of it,
 * loops are bounded by the size of the table, addresses go through gmem_ptr().
 * A ring that breaks the rules stops the device (DEVICE_NEEDS_RESET, 2.1.1)
 * until the driver resets it. A request that is well-formed on the ring and
 * wrong in itself is the device's matter: it gets an error status.
 *
 * Threads
 *
 * Register accesses come on vCPU threads, kicks and back-end events on the
 * main thread. `lock` covers everything here but isr. Of the ops, cfg_read,
 * cfg_write and serve run on a vCPU thread; all others run on the main thread,
 * so that a device may use the event loop freely. For that, a reset and an
 * activation asked for by a register write are done late: the rings stop at
 * once, the op runs when the main thread next enters the device, before any
 * other work. I/O is synchronous under the lock, thus a reset finds none in
 * flight.
 */
#ifndef MAYFLY_VIRTIO_VIRTIO_H
#define MAYFLY_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "runner/base/ev.h"
#include "runner/virtio/queue.h"

struct err;
struct virtio_dev;

#define VIRTIO_QUEUES_MAX 4

/* virtio 1.2 chapter 6. Every device has this and the ring features. */
#define VIRTIO_F_VERSION_1 (1ull << 32)

/* What the devices of one machine share. Copied into each of them. */
struct virtio_host {
	struct gmem *gm;      /* borrowed */
	struct ev_loop *loop; /* borrowed; the main thread's */
	/* One edge on @gsi. Main thread or vCPU thread. */
	void (*irq)(void *opaque, unsigned gsi);
	void *irq_opaque;
	bool serve; /* kicks come as calls: devices may serve() them there */
};

struct virtio_ops {
	uint32_t id; /* virtio 1.2 chapter 5 */
	const char *name;
	unsigned nqueues;
	uint64_t features; /* beyond those that every device has */

	/* The driver is ready: the rings run. Optional. */
	void (*activate)(struct virtio_dev *dev);
	/* Forget all that the driver started. Rings are already stopped. */
	void (*reset)(struct virtio_dev *dev);
	/* The driver kicked @queue, or virtio_again() did. Does a bounded
	 * amount of work; only called while the rings run. */
	void (*notify)(struct virtio_dev *dev, unsigned queue);
	/* The same on the thread of the vCPU that kicked, where the host says
	 * so: what is done sooner than the main thread would be awake. False:
	 * there is more for the main thread. Optional. */
	bool (*serve)(struct virtio_dev *dev, unsigned queue);
	/* Bytes [off, off + len) of the config space. @data is zeroed; @off is
	 * anything, @len at most 8. cfg_write is optional. */
	void (*cfg_read)(struct virtio_dev *dev, uint64_t off, void *data,
			 unsigned len);
	void (*cfg_write)(struct virtio_dev *dev, uint64_t off,
			  const void *data, unsigned len);
	/* Free the device and what it owns; main thread, vCPUs ended. Ends
	 * with virtio_fini(). */
	void (*free)(struct virtio_dev *dev);
};

/* The eventfd of a queue: what ioeventfd signals and the loop watches. */
struct virtio_kick {
	struct ev ev;
	struct virtio_dev *dev;
	unsigned queue;
};

/* The common part of a device, embedded in it. */
struct virtio_dev {
	const struct virtio_ops *ops;
	struct virtio_host host;
	unsigned gsi;
	uint64_t features; /* offered; a constructor may add to it */

	pthread_mutex_t lock;
	struct virtq vq[VIRTIO_QUEUES_MAX];
	struct virtio_kick kick[VIRTIO_QUEUES_MAX];
	_Atomic uint32_t isr; /* 4.2.2 InterruptStatus */
	uint32_t status;      /* 2.1 */
	uint64_t driver_features;
	uint32_t features_sel, driver_features_sel, queue_sel;
	uint32_t generation;  /* 2.5.3: of the config space */
	bool reset_due, activate_due; /* ops that the main thread owes */
};

/* Constructors call init first; on failure there is nothing to undo. */
int virtio_init(struct virtio_dev *dev, const struct virtio_ops *ops,
		const struct virtio_host *host, unsigned gsi, struct err *err);
void virtio_fini(struct virtio_dev *dev);

/* ops->free, or nothing for NULL. */
void virtio_free(struct virtio_dev *dev);

/*
 * Around work that a device does on its own account (an event of its own,
 * main thread): take the lock and do what is owed. False, with the lock
 * released again, when the rings do not run. notify() is inside already.
 */
bool virtio_enter(struct virtio_dev *dev);
void virtio_leave(struct virtio_dev *dev);

/* Whether the driver is ready and no ring is broken. */
bool virtio_running(const struct virtio_dev *dev);
bool virtio_has(const struct virtio_dev *dev, uint64_t feature);

/* virtq_pop() of queue @queue; a broken ring stops the device. True: *c is
 * filled. */
bool virtio_pop(struct virtio_dev *dev, unsigned queue, struct virtq_chain *c);

/* The end of a batch of virtq_push(): one interrupt, if one is wanted. */
void virtio_flush(struct virtio_dev *dev, unsigned queue);

/* Have notify() called again from the loop: others get their turn first. */
void virtio_again(struct virtio_dev *dev, unsigned queue);

/* The driver kicked @queue, by a register: serve it, or have it served. Does
 * not wait for a main thread that is in the device. vCPU thread. */
void virtio_kicked(struct virtio_dev *dev, unsigned queue);

/* DEVICE_NEEDS_RESET: the driver broke a rule. Rings stop until it resets. */
void virtio_fail(struct virtio_dev *dev, const char *why);

/* Raise interrupt cause @bit (VIRTIO_ISR_*) and send an edge. Any thread. */
void virtio_interrupt(struct virtio_dev *dev, uint32_t bit);

/* The device has changed its config space, under the lock: tell the driver. */
void virtio_config_changed(struct virtio_dev *dev);

/* For cfg_read: copy from a config structure of @size bytes. */
void virtio_cfg_copy(const void *cfg, size_t size, uint64_t off, void *data,
		     unsigned len);

#endif
