/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue: the device's end of one split ring (the essay is in virtio.h).
 *
 * Owns nothing: rings and buffers are guest memory, translated through gmem.
 * The driver fills in size, ready and the three addresses; virtq_start()
 * judges them once and keeps host pointers, and from then on only the ring
 * contents are the guest's. Not locked: the caller holds the device's lock.
 *
 *	virtq_start()		 at DRIVER_OK
 *	virtq_pop()		 a chain, judged as a whole
 *	virtq_read(), _write()	 small things: headers, status bytes
 *	virtq_out(), _in()	 an iovec for readv() and writev()
 *	virtq_wrote()		 after readv() into the chain
 *	virtq_push(), _push_all() back to the driver
 *	virtq_must_notify()	 after a batch of pushes
 *
 * x86-64 hosts only, so the little-endian fields are read as they are.
 */
#ifndef MAYFLY_VIRTIO_QUEUE_H
#define MAYFLY_VIRTIO_QUEUE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct gmem;

#define VIRTQ_SIZE_MAX 256 /* descriptors of a queue, segments of a chain */

/* Features of the ring, virtio 1.2 chapter 6. */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)

/* 2.7.5: flags of a descriptor. */
#define VRING_DESC_F_NEXT     1
#define VRING_DESC_F_WRITE    2 /* the device writes, else it reads */
#define VRING_DESC_F_INDIRECT 4

/* 2.7.6: the driver asks for no interrupts. */
#define VRING_AVAIL_F_NO_INTERRUPT 1

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vring_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* size entries, then used_event */
};

struct vring_used_elem {
	uint32_t id;
	uint32_t len;
};

struct vring_used {
	uint16_t flags;
	uint16_t idx;
	struct vring_used_elem ring[]; /* size entries, then avail_event */
};

static_assert(sizeof(struct vring_desc) == 16, "2.7.5");
static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
static_assert(offsetof(struct vring_avail, ring) == 4, "2.7.6");
static_assert(offsetof(struct vring_used, ring) == 4, "2.7.8");

struct virtq {
	/* What the driver set; frozen from DRIVER_OK to the next reset. */
	uint16_t size;
	bool ready;
	uint64_t desc_gpa, avail_gpa, used_gpa;

	/* What virtq_start() made of it; gm is NULL while stopped. */
	const struct gmem *gm;
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	bool event_idx, indirect;

	uint16_t next_avail;  /* index of the next chain to take */
	uint16_t next_used;   /* our used idx: the guest's copy is not read */
	uint16_t told_used;   /* next_used when we last notified */
	uint16_t avail_event; /* what stands in the ring */
};

/*
 * One request: the segments that the device reads, then those that it writes.
 * All lie wholly in guest RAM and none is empty. The bytes may change at any
 * time; the shape is ours.
 */
struct virtq_chain {
	uint16_t head;
	uint16_t nout, nin;	  /* iov[0..nout), iov[nout..nout + nin) */
	uint32_t out_len, in_len; /* bytes */
	struct iovec iov[VIRTQ_SIZE_MAX];
	uint64_t gpa[VIRTQ_SIZE_MAX];
};

/* To what a reset leaves. */
void virtq_reset(struct virtq *q);

/* Freeze: -EINVAL for a bad size or alignment, -EFAULT outside RAM.
 * @features: what the driver accepted. */
int virtq_start(struct virtq *q, const struct gmem *gm, uint64_t features);

static inline bool virtq_running(const struct virtq *q)
{
	return q->gm != NULL;
}

/*
 * Take the next chain. 1 and *c filled; 0 when there is none (the driver will
 * then kick for the next); -EPROTO or -EFAULT when the ring is broken, and the
 * device must stop (virtio_pop() sees to that).
 */
int virtq_pop(struct virtq *q, struct virtq_chain *c);

/* Undo the last virtq_pop(), of which nothing was used yet. */
void virtq_unpop(struct virtq *q);

/* Give a chain back, @len bytes written from its first writable byte on. */
void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t len);

/* The same for @n chains, which the driver is to find there all at once. */
void virtq_push_all(struct virtq *q, const struct vring_used_elem *e,
		    unsigned n);

/* Whether the driver wants an interrupt for what was pushed since last asked. */
bool virtq_must_notify(struct virtq *q);

/* Copy at byte offset @off of the readable or the writable part. False, with
 * nothing copied, when that part is shorter. virtq_write() notes. */
bool virtq_read(const struct virtq_chain *c, uint32_t off, void *buf,
		uint32_t len);
bool virtq_write(const struct virtq *q, const struct virtq_chain *c,
		 uint32_t off, const void *buf, uint32_t len);

/* Bytes [off, off + len), cut to what is there, as an iovec with room for
 * VIRTQ_SIZE_MAX. Returns the number of entries. */
unsigned virtq_out(const struct virtq_chain *c, uint32_t off, uint32_t len,
		   struct iovec *iov);
unsigned virtq_in(const struct virtq_chain *c, uint32_t off, uint32_t len,
		  struct iovec *iov);

/* Note that the device wrote [off, off + len) of the writable part. */
void virtq_wrote(const struct virtq *q, const struct virtq_chain *c,
		 uint32_t off, uint32_t len);

#endif
