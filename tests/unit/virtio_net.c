/* SPDX-License-Identifier: Apache-2.0 */
/* The network device: frames out and in, whole and in order. */
#include <errno.h>

#include "tests/unit/net_stage.h"

static struct net_stage s;
static uint8_t got[NET_HDR + NET_FRAME_MAX];

static void start(uint64_t without, uint16_t size)
{
	struct virtio_net_params p = { .mtu = 1500 };

	stage_start(&s, p, false, without, size);
}

static void setup(void)
{
	start(0, RING);
}

static void teardown(void)
{
	stage_free(&s);
}

TestSuite(virtio_net, .fini = teardown, .timeout = 60);

/* --- what it is ----------------------------------------------------------- */

Test(virtio_net, config_has_mac_link_and_mtu, .init = setup)
{
	uint64_t want = NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC |
			NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_HOST_TSO4 |
			NET_F_HOST_TSO6 | NET_F_MRG_RXBUF | NET_F_STATUS |
			VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
			VIRTIO_F_VERSION_1;
	uint8_t c[16];

	cr_assert_eq(fake_read(&s.f, VIRTIO_MMIO_DEVICE_ID), 1);
	cr_assert_eq(fake_offered(&s.f), want);
	for (unsigned i = 0; i < sizeof(c); i++)
		virtio_mmio_access(s.f.dev, CFG + i, &c[i], 1, 0);
	cr_assert_eq(memcmp(c, mac, 6), 0);
	cr_assert_eq(c[6] | c[7] << 8, 1);
	cr_assert_eq(c[10] | c[11] << 8, 1500);
	cr_assert_eq(c[12] | c[13] | c[14] | c[15], 0);
}

Test(virtio_net, without_an_mtu_none_is_offered)
{
	stage_start(&s, (struct virtio_net_params){ 0 }, false, 0, RING);
	cr_assert_eq(fake_offered(&s.f) & NET_F_MTU, 0);
}

/* --- from the driver ------------------------------------------------------ */

/* A chain of segments of these lengths, made of one packet. */
static void transmit(const uint8_t *p, const uint32_t *len, unsigned n)
{
	struct fake_seg seg[VIRTQ_SIZE_MAX];

	for (unsigned i = 0; i < n; i++) {
		seg[i] = (struct fake_seg){ fake_alloc(&s.f, len[i]), len[i],
					    0 };
		memcpy(fake_ptr(&s.f, seg[i].addr), p, len[i]);
		p += len[i];
	}
	fake_add_indirect(&s.f, NET_TX, seg, n);
}

static ssize_t sent(void)
{
	return recv(s.peer, got, sizeof(got), MSG_DONTWAIT);
}

static void all_used(unsigned n)
{
	struct vring_used_elem e;

	for (unsigned i = 0; i < n; i++) {
		cr_assert(fake_take(&s.f, NET_TX, &e));
		cr_assert_eq(e.len, 0);
	}
	cr_assert_not(fake_take(&s.f, NET_TX, &e));
}

Test(virtio_net, frame_goes_out_whole_however_it_is_cut, .init = setup)
{
	static const uint32_t cuts[][6] = {
		{ 12, 14, 474 }, { 500 }, { 1, 1, 1, 1, 20, 476 },
		{ 11, 489 }, { 13, 487 }, { 114, 386 }, { 115, 385 },
	};
	uint8_t p[500];

	stage_fill(p, sizeof(p), 7);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		unsigned n = 0;

		while (n < 6 && cuts[i][n])
			n++;
		transmit(p, cuts[i], n);
		fake_kick(&s.f, NET_TX);
		cr_assert_eq(sent(), 500);
		cr_assert_eq(memcmp(got, p, 500), 0);
	}
	all_used(ARRAY_SIZE(cuts));
}

Test(virtio_net, header_is_the_devices_word, .init = setup)
{
	const uint32_t len = 300;
	uint8_t p[300];

	stage_fill(p, sizeof(p), 0);
	p[0] = 0xfe;			/* flags that are not a driver's */
	memset(p + 2, 0xff, NET_HDR - 2); /* and fields that mean nothing */
	transmit(p, &len, 1);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(sent(), 300);
	for (unsigned i = 0; i < NET_HDR; i++)
		cr_assert_eq(got[i], 0);
	cr_assert_eq(memcmp(got + NET_HDR, p + NET_HDR, 288), 0);
}

/* In an ICMP packet, say: no rule may be passed before it is written. */
Test(virtio_net, checksum_that_a_rule_could_miss_is_written_first, .init = setup)
{
	uint8_t p[20 + 60] = { [0] = NET_HDR_NEEDS_CSUM, [6] = 14, [8] = 4 };
	const uint32_t all[] = { 12, sizeof(p) - 12 };

	stage_fill(p + NET_HDR, sizeof(p) - NET_HDR, 3);
	p[NET_HDR + 18] = p[NET_HDR + 19] = 0;
	transmit(p, all, 2);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(sent(), sizeof(p));
	for (unsigned i = 0; i < NET_HDR; i++)
		cr_assert_eq(got[i], 0);
	net_sum(p + NET_HDR, sizeof(p) - NET_HDR, 14, 4);
	cr_assert_eq(memcmp(got + NET_HDR, p + NET_HDR, sizeof(p) - NET_HDR),
		     0);
}

Test(virtio_net, what_is_no_frame_is_dropped_and_used, .init = setup)
{
	static uint8_t p[NET_HDR + NET_FRAME_MAX + 1];
	const uint32_t bad[] = { 1, 11, 12, 25, NET_HDR + NET_FRAME_MAX + 1 };
	const uint32_t good[] = { 26, NET_HDR + NET_FRAME_MAX };
	struct fake_seg in = { 0, 100, W };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		transmit(p, &bad[i], 1);
	in.addr = fake_alloc(&s.f, 100);
	fake_add(&s.f, NET_TX, &in, 1); /* one that the device would write */
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(sent(), -1);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		transmit(p, &good[i], 1);
		fake_kick(&s.f, NET_TX);
		cr_assert_eq(sent(), (ssize_t)good[i]);
	}
	all_used(ARRAY_SIZE(bad) + 1 + ARRAY_SIZE(good));
	cr_assert_not(fake_broken(&s.f));
}

Test(virtio_net, oversize_gso_is_dropped, .init = setup)
{
	uint8_t p[200] = { [0] = NET_HDR_NEEDS_CSUM, [1] = NET_GSO_TCPV4,
			   [4] = 0xff, [5] = 0xff, [6] = 34, [8] = 16 };
	const uint32_t len = sizeof(p);

	/* Which is more than the frame has, and it is no TCP at all. */
	transmit(p, &len, 1);
	fake_kick(&s.f, NET_TX);
	cr_assert_eq(sent(), -1);
	all_used(1);
}

/* The wire is full: nothing is lost, and nobody runs in a circle. */
Test(virtio_net, transmission_goes_on_where_it_stopped, .init = setup)
{
	static uint8_t p[32000];
	const uint32_t len = sizeof(p);
	struct fake *f = &s.f;
	unsigned n = 0;
	uint64_t heap = f->heap;

	for (unsigned i = 0; i < RING; i++) {
		stage_fill(p, sizeof(p), i);
		f->heap = heap + i * 65536; /* and a table behind each */
		transmit(p, &len, 1);
	}
	fake_kick(f, NET_TX);
	cr_assert_lt(fake_used_ring(f, NET_TX)->idx, RING);
	for (int i = 0; i < 3; i++)
		fake_kick(f, NET_TX);
	cr_assert(stage_idle(&s));
	while (n < RING) {
		while (sent() == (ssize_t)len) {
			stage_fill(p, sizeof(p), n++);
			cr_assert_eq(memcmp(p, got, len), 0);
		}
		fake_run(f);
	}
	all_used(RING);
}

/* --- to the driver -------------------------------------------------------- */

Test(virtio_net, frame_is_merged_from_buffers_as_needed, .init = setup)
{
	static const uint32_t lens[] = { 26, 60, 999, 1000, 1001, 2000, 9014 };
	uint64_t at[RING];
	unsigned next = 0;

	for (unsigned i = 0; i < 40; i++) {
		at[i] = fake_alloc(&s.f, 0);
		s.f.heap = at[0] + i * 1000; /* side by side */
		at[i] = s.f.heap;
		stage_offer(&s, 1000, 1);
	}
	fake_kick(&s.f, NET_RX);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		stage_arrive(&s, lens[i], (unsigned)i);
		fake_run(&s.f);
		stage_received(&s, at[next], 1000, lens[i], (unsigned)i);
		next += (lens[i] + 999) / 1000;
	}
}

/* Long after short, which come to be read into one buffer. */
Test(virtio_net, long_frames_among_short_ones)
{
	uint64_t at = 0;
	unsigned next = 0;

	start(0, 256);
	for (unsigned i = 0; i < 250; i++) {
		uint64_t here;

		if (i)
			s.f.heap = at + i * 900;
		here = stage_offer(&s, 900, 1);
		at = i ? at : here;
	}
	fake_kick(&s.f, NET_RX);
	for (unsigned i = 0; i < 60; i++) {
		uint32_t len = i % 20 == 19 ? 20000 : 901 - i % 20;

		len = i < 3 ? 2000 : len;
		stage_arrive(&s, len, i);
		fake_run(&s.f);
		stage_received(&s, at + next * 900, 900, len, i);
		next += (len + 899) / 900;
	}
}

Test(virtio_net, longest_frame_in_buffers_of_any_shape)
{
	static const struct {
		uint32_t len;
		unsigned n;
	} shape[] = { { 1, 256 }, { 12, 4 }, { 7, 13 }, { 4096, 1 },
		      { 300, 3 }, { 65562, 1 }, { 16, 256 } };

	for (size_t i = 0; i < ARRAY_SIZE(shape); i++) {
		uint32_t each = shape[i].len * shape[i].n;
		unsigned bufs = MIN(256 / shape[i].n, 65562 / each + 1);
		uint32_t len = MIN(each * bufs, NET_HDR + NET_FRAME_MAX);
		uint64_t at = 0;

		start(0, 256);
		for (unsigned k = 0; k < bufs; k++) {
			uint64_t here;

			if (k)
				s.f.heap = at + (uint64_t)each * k;
			here = stage_offer(&s, shape[i].len, shape[i].n);
			at = k ? at : here;
		}
		fake_kick(&s.f, NET_RX);
		stage_arrive(&s, len, 1);
		fake_run(&s.f);
		stage_received(&s, at, each, len, 1);
		cr_assert_not(fake_broken(&s.f));
		if (i + 1 < ARRAY_SIZE(shape))
			stage_free(&s);
	}
}

Test(virtio_net, frame_waits_for_the_buffers_that_it_lacks, .init = setup)
{
	struct vring_used_elem e;
	uint64_t at = stage_offer(&s, 1000, 1);

	fake_kick(&s.f, NET_RX);
	stage_arrive(&s, 2500, 1);
	stage_arrive(&s, 100, 2);
	fake_run(&s.f);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
	cr_assert(stage_idle(&s), "a loop without rest");
	s.f.heap = at + 1000;
	stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
	s.f.heap = at + 2000;
	stage_offer(&s, 1000, 1);
	s.f.heap = at + 3000;
	stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	stage_received(&s, at, 1000, 2500, 1);
	stage_received(&s, at + 3000, 1000, 100, 2);
}

/* CVE-2020-16843: buffers run out while frames come; kicks bring it back. */
Test(virtio_net, reception_starves_and_resumes_at_the_kick, .init = setup)
{
	struct vring_used_elem e;
	unsigned n = 0;

	for (unsigned i = 0; i < 100; i++)
		stage_arrive(&s, 600, i);
	fake_run(&s.f);
	cr_assert(stage_idle(&s), "no buffers, no work");
	while (n < 100) {
		uint64_t at[3];

		for (int i = 0; i < 3; i++)
			at[i] = stage_offer(&s, 700, 1);
		cr_assert_not(fake_take(&s.f, NET_RX, &e));
		fake_kick(&s.f, NET_RX);
		for (int i = 0; i < 3 && n < 100; i++, n++)
			stage_received(&s, at[i], 700, 600, n);
		cr_assert(stage_idle(&s));
	}
}

Test(virtio_net, frame_for_which_the_ring_is_too_small_is_dropped)
{
	struct vring_used_elem e;
	uint64_t at;

	start(0, 4);
	at = stage_offer(&s, 1000, 1);
	for (int i = 0; i < 3; i++)
		stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	stage_arrive(&s, 4001, 1);
	fake_run(&s.f);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
	stage_arrive(&s, 900, 2);
	fake_run(&s.f);
	stage_received(&s, at, 1000, 900, 2);
}

Test(virtio_net, without_merging_a_frame_has_one_buffer)
{
	struct vring_used_elem e;
	uint64_t at, next;

	start(NET_F_MRG_RXBUF, RING);
	at = stage_offer(&s, 500, 3);
	next = stage_offer(&s, 500, 3);
	fake_kick(&s.f, NET_RX);
	stage_arrive(&s, 1501, 1); /* too long for it */
	stage_arrive(&s, 1500, 2);
	stage_arrive(&s, 40, 3);
	fake_run(&s.f);
	stage_received(&s, at, 1500, 1500, 2);
	stage_received(&s, next, 1500, 40, 3);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
}

Test(virtio_net, what_is_no_frame_does_not_arrive, .init = setup)
{
	struct vring_used_elem e;
	uint64_t at = stage_offer(&s, 70000, 1);

	fake_kick(&s.f, NET_RX);
	for (uint32_t len = 1; len < NET_HDR + NET_FRAME_MIN; len++)
		stage_arrive(&s, len, 0);
	stage_arrive(&s, NET_HDR + NET_FRAME_MAX + 1, 0);
	fake_run(&s.f);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
	stage_arrive(&s, NET_HDR + NET_FRAME_MAX, 1);
	fake_run(&s.f);
	stage_received(&s, at, 70000, NET_HDR + NET_FRAME_MAX, 1);
}

/* Left in the tap from another driver's time. */
Test(virtio_net, offloads_that_were_not_taken_do_not_arrive)
{
	uint8_t p[100] = { [0] = NET_HDR_NEEDS_CSUM };
	struct vring_used_elem e;

	start(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6, RING);
	stage_offer(&s, 1000, 1);
	fake_kick(&s.f, NET_RX);
	cr_assert_eq(send(s.peer, p, sizeof(p), 0), sizeof(p));
	p[0] = NET_HDR_DATA_VALID;
	p[1] = NET_GSO_TCPV4;
	cr_assert_eq(send(s.peer, p, sizeof(p), 0), sizeof(p));
	fake_run(&s.f);
	cr_assert_not(fake_take(&s.f, NET_RX, &e));
	p[1] = NET_GSO_NONE;
	cr_assert_eq(send(s.peer, p, sizeof(p), 0), sizeof(p));
	fake_run(&s.f);
	cr_assert(fake_take(&s.f, NET_RX, &e));
}

Test(virtio_net, bad_receive_buffers_stop_the_device)
{
	struct fake_seg seg;

	for (int i = 0; i < 2; i++) {
		start(0, RING);
		seg = (struct fake_seg){ fake_alloc(&s.f, 100), 100, 0 };
		if (i)
			seg = (struct fake_seg){ seg.addr, 11, W };
		fake_add(&s.f, NET_RX, &seg, 1);
		fake_kick(&s.f, NET_RX);
		stage_arrive(&s, 60, 1);
		fake_run(&s.f);
		cr_assert(fake_broken(&s.f));
		cr_assert(stage_idle(&s));
		if (!i)
			stage_free(&s);
	}
}

Test(virtio_net, every_byte_written_is_noted, .init = setup)
{
	uint64_t before;

	stage_offer(&s, 100, 1);
	stage_offer(&s, 100, 1);
	fake_kick(&s.f, NET_RX);
	before = s.f.noted;
	stage_arrive(&s, 150, 1);
	fake_run(&s.f);
	/* The frame, two elements, their index. */
	cr_assert_eq(s.f.noted - before, 150 + 16 + 2);
}
