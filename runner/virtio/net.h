/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: a network device (virtio 1.2, 5.1) over a tap, which it owns.
 *
 * The tap speaks virtio's own header (IFF_VNET_HDR, NET_HDR bytes of it), so a
 * frame goes from guest memory to the tap by one writev() and back by one
 * readv(), checksums and segments as the kernel left them. What is copied is
 * the headers: the guest's are judged before the tap sees them, in a copy that
 * the guest cannot change, for a checksum that lands on an address or a port
 * would be written after the host's rules have read that field.
 *
 * Two queues, RX and TX. Both are worked off on the main thread, a bounded
 * number of bytes at a turn of the loop; where a kick is a call (engine soft),
 * short frames are sent by the vCPU's own thread, which is the faster answer.
 * Long ones are many in a row: the guest makes the next while the main thread
 * has the host copy this one. Reading the tap pauses while the
 * driver has offered no buffers, or while a limiter says so, and goes on at the
 * kick or at the timer. What the limiters have spent survives a reset.
 *
 * A tap that is down loses frames. One that is gone does the same, costs no
 * system call any more, and is told to the driver as a link that is down.
 *
 * Any other descriptor that keeps datagrams whole can stand for the tap, as in
 * tests: then nobody is told which offloads the driver takes.
 */
#ifndef MAYFLY_VIRTIO_NET_H
#define MAYFLY_VIRTIO_NET_H

#include "runner/virtio/limiter.h"
#include "runner/virtio/virtio.h"

#define NET_HDR	      12
#define NET_FRAME_MIN 14    /* an Ethernet header */
#define NET_FRAME_MAX 65550 /* and the longest IP packet behind it */

/* Bytes a turn of the loop, each direction, and during a kick. */
#define VIRTIO_NET_ROUND (1u << 20)
#define VIRTIO_NET_SERVE (1u << 18)
#define VIRTIO_NET_SHORT (16u << 10) /* a frame that is sent there */

enum { NET_RX, NET_TX, NET_QUEUES };

struct virtio_net_rate {
	struct limiter_rate ops, bytes;
};

struct virtio_net_params {
	int fd;	      /* non-blocking from now on; taken over on success only */
	unsigned mtu; /* 0: the driver is not told */
	uint8_t mac[6];
	struct virtio_net_rate rx, tx; /* as the guest sees them */
};

/* NULL and *err on failure. Main thread, before the filters. */
struct virtio_dev *virtio_net_new(const struct virtio_host *host, unsigned gsi,
				  const struct virtio_net_params *p,
				  struct err *err);

#endif
