/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio's header says of a frame, and whether it may. */
#include "runner/virtio/net_frame.h"

#include <stdbool.h>
#include <string.h>

#include "runner/base/mem.h"

#define ETH	14u
#define ETH_TYPE 12u
#define VLAN	4u
#define VLANS	2u

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_VLAN 0x8100
#define TYPE_QINQ 0x88a8

#define IPV4 20u
#define IPV6 40u
#define TCP  20u
#define UDP  8u

#define PROTO_TCP 6
#define PROTO_UDP 17

#define TCP_CSUM 16u
#define UDP_CSUM 6u

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Where TCP or UDP begins right behind an IP header. */
struct transport {
	uint8_t version, proto;
	uint32_t at;
	uint32_t len; /* as IP has it */
};

/* RFC 791. A fragment's transport header is not all of it, or not there. */
static bool find_ipv4(const uint8_t *head, uint32_t n, uint32_t at,
		      struct transport *t)
{
	const uint8_t *ip = head + at;
	uint32_t hlen, total;

	if (n - at < IPV4 || ip[0] >> 4 != 4 || be16(ip + 6) & 0x3fff)
		return false;
	hlen = (ip[0] & 15) * 4u;
	total = be16(ip + 2);
	if (hlen < IPV4 || total < hlen)
		return false;
	*t = (struct transport){ .version = 4, .proto = ip[9], .at = at + hlen,
				 .len = total - hlen };
	return true;
}

/* RFC 8200 */
static bool find_ipv6(const uint8_t *head, uint32_t n, uint32_t at,
		      struct transport *t)
{
	const uint8_t *ip = head + at;

	if (n - at < IPV6 || ip[0] >> 4 != 6)
		return false;
	*t = (struct transport){ .version = 6, .proto = ip[6], .at = at + IPV6,
				 .len = be16(ip + 4) };
	return true;
}

/* In the first @n bytes of a frame of @len. */
static bool find_transport(const uint8_t *head, uint32_t n, uint32_t len,
			   struct transport *t)
{
	uint32_t at = ETH;
	uint16_t type = be16(head + ETH_TYPE);
	bool found = false;

	for (unsigned i = 0; i < VLANS && n - at >= VLAN &&
	     (type == TYPE_VLAN || type == TYPE_QINQ); i++) {
		type = be16(head + at + 2);
		at += VLAN;
	}
	if (type == TYPE_IPV4)
		found = find_ipv4(head, n, at, t);
	else if (type == TYPE_IPV6)
		found = find_ipv6(head, n, at, t);
	return found && t->at <= len && t->len <= len - t->at;
}

/* The kernel writes what rules do not look at, and finds where. */
static bool is_plain(const struct net_hdr *h, const struct transport *t)
{
	if (h->csum_start != t->at)
		return false;
	if (t->proto == PROTO_TCP)
		return h->csum_offset == TCP_CSUM && t->len >= TCP;
	return t->proto == PROTO_UDP && h->csum_offset == UDP_CSUM &&
	       t->len >= UDP;
}

static uint64_t feature_of(uint8_t gso_type)
{
	switch (gso_type) {
	case NET_GSO_TCPV4:
		return NET_F_HOST_TSO4;
	case NET_GSO_TCPV6:
		return NET_F_HOST_TSO6;
	default:
		return 0; /* ECN, UDP: not offered */
	}
}

/* @head has all of the TCP header but its options. */
static bool may_segment(struct net_hdr *h, const uint8_t *head,
			const struct transport *t)
{
	uint8_t version = h->gso_type == NET_GSO_TCPV4 ? 4 : 6;
	uint32_t hlen = (head[t->at + 12] >> 4) * 4u;

	if (t->proto != PROTO_TCP || t->version != version || hlen < TCP ||
	    hlen >= t->len || h->gso_size < NET_GSO_SIZE_MIN)
		return false;
	/* 5.1.6.2: a hint of the driver's; this is what it is. */
	h->hdr_len = (uint16_t)(t->at + hlen);
	return true;
}

enum net_verdict_tx net_judge_tx(struct net_hdr *h, const uint8_t *head,
				 uint32_t len, uint64_t features)
{
	bool gso = h->gso_type != NET_GSO_NONE;
	struct transport t;

	/* 5.1.6.2.1: the others are not for a driver to set. */
	h->flags &= NET_HDR_NEEDS_CSUM;
	h->num_buffers = 0;
	if (!h->flags) {
		memset(h, 0, sizeof(*h));
		return gso ? NET_DROP : NET_SEND;
	}
	if (!(features & NET_F_CSUM) ||
	    (gso && !(features & feature_of(h->gso_type))))
		return NET_DROP;
	if (h->csum_start + h->csum_offset + 2u > len)
		return NET_DROP;
	if (!find_transport(head, MIN(len, NET_HEAD), len, &t) ||
	    !is_plain(h, &t))
		return gso ? NET_DROP : NET_SUM;
	if (gso)
		return may_segment(h, head, &t) ? NET_SEND : NET_DROP;
	h->hdr_len = h->gso_size = 0;
	return NET_SEND;
}

/* RFC 1071. The driver has put the sum of the pseudo header in its place. */
void net_sum(uint8_t *frame, uint32_t len, uint16_t start, uint16_t offset)
{
	uint8_t *field = frame + start + offset;
	uint64_t sum = 0;
	uint16_t v;
	uint32_t i;

	for (i = start; i + 2 <= len; i += 2) {
		memcpy(&v, frame + i, 2);
		sum += v;
	}
	if (i < len)
		sum += frame[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	v = (uint16_t)~sum;
	/* UDP: 0 is "no checksum"; elsewhere this is 0 as well. */
	if (!v)
		v = 0xffff;
	memcpy(field, &v, 2);
}

int net_judge_rx(struct net_hdr *h, uint64_t features)
{
	switch (h->gso_type) {
	case NET_GSO_NONE:
		break;
	case NET_GSO_TCPV4:
		if (!(features & NET_F_GUEST_TSO4))
			return 0;
		break;
	case NET_GSO_TCPV6:
		if (!(features & NET_F_GUEST_TSO6))
			return 0;
		break;
	default:
		return 0;
	}
	if (features & NET_F_GUEST_CSUM)
		return 1;
	/* 5.1.6.4.1: then no flag is set. */
	if (h->flags & NET_HDR_NEEDS_CSUM)
		return 0;
	h->flags = 0;
	return 1;
}
