/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_impl: the inside of the network device, for net.c, net_rx.c and
 * net_tx.c. All under the device's lock.
 */
#ifndef MAYFLY_VIRTIO_NET_IMPL_H
#define MAYFLY_VIRTIO_NET_IMPL_H

#include "runner/virtio/net.h"
#include "runner/virtio/net_frame.h"

/* What a frame at least counts for of a turn, in bytes: a system call. */
#define NET_COST_MIN 2048u

/* 5.1.4 */
struct net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
};
static_assert(sizeof(struct net_config) == 12, "5.1.4");

#define NET_S_LINK_UP 1

/* One direction's limits. */
struct net_limit {
	struct limiter limiter;
	struct ev timer;   /* fd -1: there is no limit */
	uint64_t retry_ns; /* not before: a frame waits */
};

/* The frame in hand stays so while it waits for tokens or for the tap. */
struct net_tx {
	bool active, paid;
	bool blocked; /* the tap takes no more */
	struct virtq_chain chain;
	uint8_t whole[NET_FRAME_MAX]; /* for net_sum() */
};

/*
 * Buffers that were taken from the ring before there is a frame for them, so
 * that one readv() can fill as many as the longest frame needs. They are used
 * up in order; what stays in the arrays moves to their front now and then.
 * Before the first segment is room for one more, for the header; behind the
 * last for `spare`, where the end of a frame goes for which there are too few.
 *
 * To offer the kernel many buffers costs as much as a short frame does. After
 * NET_RX_SHORT frames that fit into one buffer each, it gets one; the first
 * long frame is then copied out of `spare`.
 */
#define NET_RX_SHORT 16u
#define NET_RX_SEGS (3u * VIRTQ_SIZE_MAX)

struct net_rx_buf {
	uint16_t head, nsegs;
	uint32_t len; /* as much of it as a frame can need */
};

enum net_rx_wait {
	RX_FRAMES,  /* for the tap to be readable */
	RX_BUFFERS, /* for the driver's kick */
	RX_TOKENS,  /* for the timer */
};

struct net_rx {
	enum net_rx_wait wait;
	unsigned buf0, nbufs, seg0, nsegs;
	uint32_t room; /* bytes of all buffers */
	unsigned nshort; /* of the last frames: how many had one buffer */
	struct net_rx_buf buf[VIRTQ_SIZE_MAX];
	struct iovec iov[1 + NET_RX_SEGS + 1];
	uint64_t gpa[1 + NET_RX_SEGS + 1];

	/* The frame in hand: read, and not with the driver yet. */
	uint32_t len;  /* with its header; 0: there is none */
	uint32_t fits; /* bytes of it that lie in buffers, the rest in spare */
	bool paid;
	struct net_hdr hdr;
	uint8_t spare[NET_HDR + NET_FRAME_MAX];
};

struct net {
	struct virtio_dev dev;
	struct net_config cfg;
	struct ev tap;
	bool gone; /* the tap, for good */
	struct net_limit rx_limit, tx_limit;
	struct net_rx rx;
	struct net_tx tx;
};

/* net.c: whether a frame of @bytes may pass now; else the timer is set. */
bool net_pay(struct net_limit *l, uint32_t bytes, bool *paid);
/* The tap is no more: main thread. */
void net_gone(struct net *n);

/* net_rx.c: frames to the driver, for a turn. Main thread. */
void net_rx_run(struct net *n);
void net_rx_reset(struct net *n);

/*
 * net_tx.c: frames of the driver's, @most bytes. False: there is more. On a
 * vCPU thread (@serve) what needs the main thread is left to it.
 */
bool net_tx_run(struct net *n, uint32_t most, bool serve);

#endif
