/* SPDX-License-Identifier: Apache-2.0 */
/* What a driver's header may have the host do to a frame. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/mem.h"
#include "runner/virtio/net_frame.h"

#define ALL (NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6)
#define ETH 14u

enum { TCP = 6, UDP = 17 };

static uint8_t frame[NET_HEAD + 2000];
static uint32_t len;

static void put16(uint32_t at, unsigned v)
{
	frame[at] = (uint8_t)(v >> 8);
	frame[at + 1] = (uint8_t)v;
}

/* A frame of @payload bytes behind TCP's or UDP's header; where that is. */
static uint16_t make(int version, unsigned proto, unsigned tags,
		     unsigned options, uint32_t payload)
{
	uint32_t at = ETH + 4 * tags, ip = at;
	uint32_t l4 = (proto == TCP ? 20 : 8) + payload;

	memset(frame, 0, sizeof(frame));
	for (unsigned i = 0; i < tags; i++)
		put16(12 + 4 * i, 0x8100);
	put16(at - 2, version == 4 ? 0x0800 : 0x86dd);
	if (version == 4) {
		at += 20 + options;
		frame[ip] = (uint8_t)(0x40 | (20 + options) / 4);
		put16(ip + 2, 20 + options + l4);
		frame[ip + 9] = (uint8_t)proto;
	} else {
		at += 40;
		frame[ip] = 0x60;
		put16(ip + 4, l4);
		frame[ip + 6] = (uint8_t)proto;
	}
	if (proto == TCP)
		frame[at + 12] = 0x50;
	len = at + l4;
	cr_assert(len <= sizeof(frame));
	return (uint16_t)at;
}

static struct net_hdr csum(uint16_t start, uint16_t offset)
{
	return (struct net_hdr){ .flags = NET_HDR_NEEDS_CSUM,
				 .csum_start = start, .csum_offset = offset };
}

static struct net_hdr tso(uint8_t type, uint16_t start)
{
	struct net_hdr h = csum(start, 16);

	h.gso_type = type;
	h.gso_size = 1000;
	return h;
}

static int judge(struct net_hdr h)
{
	return (int)net_judge_tx(&h, frame, len, ALL);
}

Test(net_frame, header_without_wishes_becomes_zeroes)
{
	struct net_hdr h = { .flags = 0xfe, .hdr_len = 9, .gso_size = 9,
			     .csum_start = 9, .csum_offset = 9,
			     .num_buffers = 9 }, none = { 0 };

	make(4, TCP, 0, 0, 100);
	cr_assert_eq(net_judge_tx(&h, frame, len, ALL), NET_SEND);
	cr_assert_eq(memcmp(&h, &none, sizeof(h)), 0);
}

Test(net_frame, checksum_of_plain_tcp_and_udp_is_left_to_the_host)
{
	for (int version = 4; version <= 6; version += 2)
		for (unsigned tags = 0; tags <= 2; tags++)
			for (unsigned o = 0; o <= 40; o += 40) {
				uint16_t at = make(version, TCP, tags, o, 10);

				cr_expect_eq(judge(csum(at, 16)), NET_SEND);
				at = make(version, UDP, tags, o, 0);
				cr_expect_eq(judge(csum(at, 6)), NET_SEND);
			}
}

/* A frame whose checksum lands anywhere else is summed before it is sent. */
Test(net_frame, checksum_elsewhere_is_never_left_to_the_host)
{
	static const unsigned protos[] = { TCP, UDP, 1, 47, 0 };

	for (int version = 4; version <= 6; version += 2)
		for (size_t p = 0; p < ARRAY_SIZE(protos); p++) {
			uint16_t at = make(version, protos[p], 0, 0, 64);
			uint16_t field = protos[p] == TCP ? 16 : 6;

			for (uint16_t start = 0; start < len; start++)
				for (uint16_t o = 0; o + start + 2u <= len;
				     o++) {
					bool plain = start == at && o == field &&
						     p < 2;

					cr_assert_eq(judge(csum(start, o)),
						     plain ? NET_SEND :
							     NET_SUM);
				}
		}
}

Test(net_frame, checksum_past_the_end_is_dropped)
{
	static const uint16_t v[] = { 0, 1, 34, 50, 52, 53, 54, 55, 0x7fff,
				      0x8000, 0xfffe, 0xffff };

	make(4, TCP, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		for (size_t k = 0; k < ARRAY_SIZE(v); k++)
			cr_expect_eq(judge(csum(v[i], v[k])) == NET_DROP,
				     v[i] + v[k] + 2u > len);
}

Test(net_frame, fragments_and_lengths_that_lie_are_not_left_to_the_host)
{
	uint16_t at = make(4, UDP, 0, 0, 64);

	put16(ETH + 6, 0x2000); /* more fragments */
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	put16(ETH + 6, 0x0001); /* a later one */
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	put16(ETH + 6, 0x4000); /* not to be fragmented */
	cr_expect_eq(judge(csum(at, 6)), NET_SEND);
	put16(ETH + 2, 27); /* shorter than its UDP header */
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	put16(ETH + 2, len); /* longer than the frame */
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	at = make(4, UDP, 0, 0, 64);
	frame[ETH] = 0x44; /* a header of 16 bytes */
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	frame[ETH] = 0x65;
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
	at = make(6, UDP, 0, 0, 64);
	put16(ETH + 4, 0xffff);
	cr_expect_eq(judge(csum(at, 6)), NET_SUM);
}

Test(net_frame, segments_are_cut_of_plain_tcp_only)
{
	struct net_hdr h;
	uint16_t at = make(4, TCP, 0, 0, 1500);

	h = tso(NET_GSO_TCPV4, at);
	h.hdr_len = 0xffff; /* whatever the driver says */
	cr_assert_eq(net_judge_tx(&h, frame, len, ALL), NET_SEND);
	cr_expect_eq(h.hdr_len, at + 20);
	cr_expect_eq(h.gso_size, 1000);
	cr_expect_eq(judge(tso(NET_GSO_TCPV6, at)), NET_DROP);
	cr_expect_eq(judge(tso(NET_GSO_TCPV4, at + 1)), NET_DROP);
	h = tso(NET_GSO_TCPV4, at);
	h.flags = 0;
	cr_expect_eq(judge(h), NET_DROP);
	frame[at + 12] = 0x40; /* TCP's header too short */
	cr_expect_eq(judge(tso(NET_GSO_TCPV4, at)), NET_DROP);
	at = make(4, TCP, 0, 0, 0); /* nothing to be cut */
	cr_expect_eq(judge(tso(NET_GSO_TCPV4, at)), NET_DROP);
	at = make(4, UDP, 0, 0, 1500);
	h = tso(NET_GSO_TCPV4, at);
	h.csum_offset = 6;
	cr_expect_eq(judge(h), NET_DROP);
	at = make(6, TCP, 0, 0, 1500);
	cr_expect_eq(judge(tso(NET_GSO_TCPV6, at)), NET_SEND);
	cr_expect_eq(judge(tso(NET_GSO_TCPV4, at)), NET_DROP);
}

Test(net_frame, every_gso_type_and_small_sizes)
{
	uint16_t at = make(4, TCP, 0, 0, 1500);
	struct net_hdr h;

	for (unsigned type = 1; type < 256; type++)
		cr_expect_eq(judge(tso((uint8_t)type, at)),
			     type == NET_GSO_TCPV4 ? NET_SEND : NET_DROP);
	for (unsigned size = 0; size < 65536; size++) {
		h = tso(NET_GSO_TCPV4, at);
		h.gso_size = (uint16_t)size;
		cr_assert_eq(judge(h), size < NET_GSO_SIZE_MIN ? NET_DROP :
								 NET_SEND);
	}
}

Test(net_frame, what_was_not_negotiated_is_dropped)
{
	uint16_t at = make(4, TCP, 0, 0, 1500);
	struct net_hdr h = csum(at, 16);

	cr_expect_eq(net_judge_tx(&h, frame, len, 0), NET_DROP);
	h = tso(NET_GSO_TCPV4, at);
	cr_expect_eq(net_judge_tx(&h, frame, len, ALL & ~NET_F_HOST_TSO4),
		     NET_DROP);
	at = make(6, TCP, 0, 0, 1500);
	h = tso(NET_GSO_TCPV6, at);
	cr_expect_eq(net_judge_tx(&h, frame, len, ALL & ~NET_F_HOST_TSO6),
		     NET_DROP);
}

/* No byte behind a frame is looked at (under ASan), and none is a reason. */
Test(net_frame, short_frames_are_judged_within_themselves)
{
	static const uint16_t types[] = { 0x0800, 0x86dd, 0x8100, 0x88a8 };

	for (uint32_t n = ETH; n < ETH + 80; n++)
		for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
			uint8_t *copy = malloc(n);
			struct net_hdr h = csum(0, 0);

			make(4, TCP, 0, 0, 100);
			put16(12, types[t]);
			memcpy(copy, frame, n);
			cr_expect_eq(net_judge_tx(&h, copy, n, ALL), NET_SUM);
			h = tso(NET_GSO_TCPV4, ETH + 20);
			cr_expect_eq(net_judge_tx(&h, copy, n, ALL) == NET_SEND,
				     false);
			free(copy);
		}
}

Test(net_frame, sum_is_that_of_rfc_1071)
{
	/* Its example, section 3: the sum is ddf2. */
	uint8_t f[] = { 0xaa, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7,
			0x00, 0x00 };
	uint8_t odd[] = { 1, 2, 3, 0, 0 };
	uint8_t ones[] = { 0xff, 0xff, 0, 0 };

	net_sum(f, 11, 1, 8);
	cr_expect_eq(f[0], 0xaa);
	cr_expect_eq(f[9], 0x22);
	cr_expect_eq(f[10], 0x0d);
	net_sum(odd, 5, 0, 3); /* 0102 + 0300, and a byte */
	cr_expect_eq(odd[3], 0xfb);
	cr_expect_eq(odd[4], 0xfd);
	net_sum(ones, 4, 0, 2); /* 0 would be "none" */
	cr_expect_eq(ones[2], 0xff);
	cr_expect_eq(ones[3], 0xff);
}

Test(net_frame, driver_gets_what_it_takes)
{
	struct net_hdr h = { .flags = NET_HDR_NEEDS_CSUM };

	cr_expect(net_judge_rx(&h, NET_F_GUEST_CSUM));
	cr_expect_eq(h.flags, NET_HDR_NEEDS_CSUM);
	cr_expect_not(net_judge_rx(&h, 0));
	h.flags = NET_HDR_DATA_VALID;
	cr_expect(net_judge_rx(&h, 0));
	cr_expect_eq(h.flags, 0);
	h = (struct net_hdr){ .gso_type = NET_GSO_TCPV4 };
	cr_expect(net_judge_rx(&h, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4));
	cr_expect_not(net_judge_rx(&h, NET_F_GUEST_CSUM | NET_F_GUEST_TSO6));
	h.gso_type = NET_GSO_TCPV6;
	cr_expect(net_judge_rx(&h, NET_F_GUEST_CSUM | NET_F_GUEST_TSO6));
	cr_expect_not(net_judge_rx(&h, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4));
	h.gso_type = 5; /* UDP, of later kernels */
	cr_expect_not(net_judge_rx(&h, ~0ull));
}
