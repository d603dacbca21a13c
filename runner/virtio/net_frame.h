/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_frame: what virtio's header says of a frame, and whether it may.
 *
 * A header that comes from a guest has the host write two bytes into the frame
 * (its checksum), or cut it into segments, long after the rules of the host
 * have judged it. Only what cannot change a field that rules look at is left
 * to the kernel: the checksum of TCP or UDP right behind an IP header, and
 * segments of such TCP. Any other checksum that a driver may ask for (behind
 * extension headers, inside of tunnels) is written here, before the frame is
 * sent, so that the rules see what goes out.
 *
 * Pure functions.
 */
#ifndef MAYFLY_VIRTIO_NET_FRAME_H
#define MAYFLY_VIRTIO_NET_FRAME_H

#include <assert.h>
#include <stdint.h>

/* Features, virtio 1.2 5.1.3. */
#define NET_F_CSUM	 (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MTU	 (1ull << 3)
#define NET_F_MAC	 (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_HOST_TSO4	 (1ull << 11)
#define NET_F_HOST_TSO6	 (1ull << 12)
#define NET_F_MRG_RXBUF	 (1ull << 15)
#define NET_F_STATUS	 (1ull << 16)

/* 5.1.6 */
#define NET_HDR_NEEDS_CSUM 1
#define NET_HDR_DATA_VALID 2

#define NET_GSO_NONE  0
#define NET_GSO_TCPV4 1
#define NET_GSO_TCPV6 4

/* The least that a segment may carry: Linux sends none below TCP_MIN_SND_MSS
 * (48, with options). A frame of 64 KiB is not to become as many frames. */
#define NET_GSO_SIZE_MIN 48

/* As much of a frame as is looked at: Ethernet, two VLAN tags, the longest
 * IPv4 header, TCP without its options. */
#define NET_HEAD (14 + 8 + 60 + 20)

struct net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size;
	uint16_t csum_start, csum_offset;
	uint16_t num_buffers;
};
static_assert(sizeof(struct net_hdr) == 12, "5.1.6");

enum net_verdict_tx {
	NET_SEND,
	NET_SUM, /* with net_sum(), and a header of zeroes */
	NET_DROP,
};

/*
 * A frame of @len bytes from the driver, of which @head has the first
 * MIN(@len, NET_HEAD). *h becomes what the tap may be told: the host may rely
 * on what it says of @head, so @head is what must be sent.
 */
enum net_verdict_tx net_judge_tx(struct net_hdr *h, const uint8_t *head,
				 uint32_t len, uint64_t features);

/* Write the checksum that was asked for at @start and @offset, which
 * net_judge_tx() found to be inside of the frame. */
void net_sum(uint8_t *frame, uint32_t len, uint16_t start, uint16_t offset);

/* A frame from the tap: 0 where the driver did not say that it can take such.
 * A frame may have waited since another driver was there. */
int net_judge_rx(struct net_hdr *h, uint64_t features);

#endif
