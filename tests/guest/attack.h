/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack: a virtio driver for payloads that play the hostile guest.
 *
 * These run in a whole machine of mayfly-vmm's, on its real devices, made by
 * attack-run (attack_run.c): slots in the order below. The driver can do what
 * a good one does, and leaves every step open to one that does not. After each
 * attack a device must be reset and must then work: recovers() is the check.
 *
 * QEMU is no third opinion here: its devices are other devices, with other
 * limits, status bytes and config spaces.
 */
#ifndef MAYFLY_TESTS_GUEST_ATTACK_H
#define MAYFLY_TESTS_GUEST_ATTACK_H

#include "runner/virtio/mmio.h"
#include "runner/virtio/queue.h"
#include "runner/vmm/bus.h"
#include "tests/guest/attack_host.h"
#include "tests/guest/lib.h"

#define QUEUES 3
#define RING_MAX 256

struct ring {
	struct vring_desc *desc; /* a page each, and a page of room behind */
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	uint16_t size, offered, seen, next;
};

struct dev {
	unsigned slot, nqueues;
	uint64_t base, features; /* offered */
	struct ring q[QUEUES];
};

struct seg {
	uint64_t addr;
	uint32_t len;
	int in; /* the device writes it */
};

#define ALL_OK                                                           \
	(VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK | \
	 VIRTIO_S_DRIVER_OK)

static inline uint32_t reg_read(const struct dev *d, uint64_t off)
{
	return *(volatile uint32_t *)(d->base + off);
}

static inline void reg_write(const struct dev *d, uint64_t off, uint32_t v)
{
	*(volatile uint32_t *)(d->base + off) = v;
}

static inline uint32_t status(const struct dev *d)
{
	return reg_read(d, VIRTIO_MMIO_STATUS);
}

/* The device in @slot, with memory for its rings. */
struct dev *attack_dev(unsigned slot);

/* Whether there is one. */
int attack_has(unsigned slot);

/* Of many alike: 1, each of them, or one in @thin on a KVM within a VM that takes
 * 0.3 us for an instruction. The devices are the same on every engine. */
unsigned attack_step(unsigned thin);

void accept_features(struct dev *d, uint64_t features);
/* Up to FEATURES_OK, after a reset. The status. */
uint32_t negotiate(struct dev *d, uint64_t features);
/* Registers of one queue but QueueReady; the ring is emptied. */
void place_ring(struct dev *d, unsigned q, uint16_t size);
/* All of it; whether the device says DRIVER_OK and nothing else. */
int start_with(struct dev *d, uint64_t features, uint16_t size);
/* The same, all that is offered but EVENT_IDX, 64 descriptors. */
int start(struct dev *d);

/* Write a chain; its head. Then put a head on offer; then tell. */
uint16_t write_chain(struct dev *d, unsigned q, const struct seg *s,
		     unsigned n);
void offer(struct dev *d, unsigned q, uint16_t head);
void kick(struct dev *d, unsigned q);
void submit(struct dev *d, unsigned q, const struct seg *s, unsigned n);

/* 1 and the next used element; 0: the device wants a reset; -1: nothing came
 * for long. */
int await(struct dev *d, unsigned q, struct vring_used_elem *e);
/* Whether the device stops (NEEDS_RESET) for what was offered. */
int breaks(struct dev *d);

/* One request that every driver makes gets its right answer. */
int works(struct dev *d);
/* Reset and start, and it works. */
int recovers(struct dev *d);

/* A request to a disk: header, data, status. The status byte, or 255. */
#define T_IN	  0
#define T_OUT	  1
#define T_FLUSH	  4
#define T_GET_ID  8
#define T_DISCARD 11
#define T_ZEROES  13
#define S_OK	  0
#define S_IOERR	  1
#define S_UNSUPP  2
int blk_request(struct dev *d, uint32_t type, uint64_t sector, uint64_t data,
		uint32_t len, int in);
/* Where blk_request() has its header and status, for who writes his own. */
struct blk_io {
	uint32_t type, reserved;
	uint64_t sector;
	volatile uint8_t status;
};
extern struct blk_io blk_io;

/* 32 MiB of buffers that hold no part of the payload. */
#define BUFFERS	     0x2000000ull
#define BUFFERS_SIZE (ATTACK_RAM - BUFFERS)

/* A number from a fixed sequence. */
uint32_t next_random(void);

#endif
