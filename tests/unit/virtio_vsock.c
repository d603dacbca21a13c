/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: streams, credit, closing, and guests that break the protocol. */
#include "tests/unit/vsock_fake.h"

TestSuite(virtio_vsock, .init = setup, .fini = teardown, .timeout = 60);

Test(virtio_vsock, config_is_the_cid)
{
	uint64_t cid;

	virtio_mmio_access(f.dev, VIRTIO_MMIO_CONFIG, &cid, 8, 0);
	cr_assert_eq(cid, CID);
}

Test(virtio_vsock, guest_connects_and_bytes_flow_both_ways)
{
	struct vsock_hdr h;
	uint8_t *p;
	char buf[8];

	connect_stream();
	send_data("hello", 5);
	cr_assert_eq(read(host, buf, sizeof(buf)), 5);
	cr_assert_arr_eq(buf, "hello", 5);
	cr_assert_eq(write(host, "world!", 6), 6);
	fake_run(&f);
	cr_assert(recv_packet(&h, &p));
	cr_assert_eq(h.op, VSOCK_OP_RW);
	cr_assert_eq(h.len, 6);
	cr_assert_eq(h.fwd_cnt, 5);
	cr_assert_arr_eq(p, "world!", 6);
	expect_nothing();
}

Test(virtio_vsock, a_stream_is_connected_once)
{
	struct vsock_hdr h = hdr(VSOCK_OP_REQUEST, PORT);

	connect_stream();
	h.src_port = GPORT + 1;
	send_raw(&h, 0);
	h = expect(VSOCK_OP_RST);
	cr_assert_eq(h.dst_port, GPORT + 1);
	cr_assert_eq(h.src_port, PORT);
}

Test(virtio_vsock, packets_to_nowhere_are_reset_but_resets_are_not)
{
	add_rx(64);
	for (uint16_t op = 0; op < 12; op++) {
		struct vsock_hdr h = hdr(op, PORT + 1);

		send_raw(&h, 0);
		if (op != VSOCK_OP_RST)
			expect(VSOCK_OP_RST);
		expect_nothing();
	}
}

Test(virtio_vsock, foreign_addresses_are_dropped)
{
	struct vsock_hdr h = hdr(VSOCK_OP_REQUEST, PORT);

	add_rx(8);
	h.src_cid = CID + 1;
	send_raw(&h, 0);
	h.src_cid = CID;
	h.dst_cid = 3;
	send_raw(&h, 0);
	h.dst_cid = 2 | 1ull << 32;
	send_raw(&h, 0);
	expect_nothing();
}

Test(virtio_vsock, other_socket_types_are_reset)
{
	struct vsock_hdr h = hdr(VSOCK_OP_REQUEST, PORT);

	add_rx(8);
	h.type = 2;
	send_raw(&h, 0);
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock, length_beyond_the_packet_closes_the_connection)
{
	struct vsock_hdr h = hdr(VSOCK_OP_RW, PORT);

	connect_stream();
	h.len = 101;
	send_raw(&h, 100);
	expect(VSOCK_OP_RST);
	cr_assert(host_at_eof(host));
}

Test(virtio_vsock, packet_without_a_header_needs_reset)
{
	struct fake_seg s = { tx_at, HDR - 1, 0 };

	connect_stream();
	fake_add(&f, VSOCK_TX, &s, 1);
	fake_kick(&f, VSOCK_TX);
	cr_assert(fake_broken(&f));
	/* the host learns that the guest is gone */
	cr_assert(host_at_eof(host));
}

Test(virtio_vsock, receive_buffer_without_room_needs_reset)
{
	struct fake_seg s = { tx_at, HDR, VRING_DESC_F_WRITE };

	fake_add(&f, VSOCK_RX, &s, 1);
	send_op(VSOCK_OP_REQUEST);
	cr_assert(fake_broken(&f));
	cr_assert(host_at_eof(host));
}

Test(virtio_vsock, half_close_by_the_guest)
{
	struct vsock_hdr h;

	connect_stream();
	send_data("x", 1);
	send_shutdown(VSOCK_SHUT_SEND);
	cr_assert_eq(read(host, &(char){ 0 }, 1), 1);
	cr_assert(host_at_eof(host));
	/* the other direction still works */
	cr_assert_eq(write(host, "late", 4), 4);
	fake_run(&f);
	h = expect(VSOCK_OP_RW);
	cr_assert_eq(h.len, 4);
	send_shutdown(VSOCK_SHUT_BOTH);
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock, half_close_by_the_host)
{
	struct vsock_hdr h;
	char c;

	connect_stream();
	cr_assert_eq(write(host, "abc", 3), 3);
	shutdown(host, SHUT_WR);
	fake_run(&f);
	expect(VSOCK_OP_RW);
	h = expect(VSOCK_OP_SHUTDOWN);
	cr_assert_eq(h.flags, VSOCK_SHUT_SEND);
	send_data("y", 1);
	cr_assert_eq(read(host, &c, 1), 1);
	send_shutdown(VSOCK_SHUT_BOTH);
	expect(VSOCK_OP_RST);
	cr_assert(host_at_eof(host));
}

Test(virtio_vsock, full_close_by_the_host_after_all_data)
{
	struct vsock_hdr h;

	connect_stream();
	cr_assert_eq(write(host, "abc", 3), 3);
	close(host);
	fake_run(&f);
	h = expect(VSOCK_OP_RW);
	cr_assert_eq(h.len, 3);
	h = expect(VSOCK_OP_SHUTDOWN);
	cr_assert_eq(h.flags, VSOCK_SHUT_BOTH);
	/* what the guest still sends is swallowed */
	send_data("zzz", 3);
	expect_nothing();
	send_op(VSOCK_OP_RST);
	expect_nothing();
	send_data("zzz", 3);
	expect(VSOCK_OP_RST);
	host = -1;
}

Test(virtio_vsock, guest_that_does_not_answer_a_close_is_reset)
{
	connect_stream();
	close(host);
	host = -1;
	fake_run(&f);
	expect(VSOCK_OP_SHUTDOWN);
	while (ev_once(&f.loop, -1) == 0)
		; /* a signal, or who has stopped us */
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock, reader_that_goes_away_shuts_the_guests_sending)
{
	struct vsock_hdr h;

	connect_stream();
	shutdown(host, SHUT_RD);
	send_data("x", 1);
	h = expect(VSOCK_OP_SHUTDOWN);
	cr_assert_eq(h.flags, VSOCK_SHUT_RCV);
	/* the host may still write */
	cr_assert_eq(write(host, "a", 1), 1);
	fake_run(&f);
	expect(VSOCK_OP_RW);
}

Test(virtio_vsock, data_after_the_guests_shutdown_is_a_violation)
{
	connect_stream();
	send_shutdown(VSOCK_SHUT_SEND);
	send_data("x", 1);
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock, unknown_op_closes)
{
	connect_stream();
	send_op(99);
	expect(VSOCK_OP_RST);
	cr_assert(host_at_eof(host));
}

static char block[64 << 10];

Test(virtio_vsock, slow_reader_is_buffered_within_the_credit)
{
	uint64_t sent = 0, got = 0;
	struct vsock_hdr h;
	uint32_t fwd = 0;
	char buf[4096];

	connect_stream();
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (char)(i % 251);
	/* as an honest guest: up to the credit that we know of */
	for (;;) {
		while (recv_packet(&h, NULL))
			fwd = h.fwd_cnt;
		if ((uint32_t)sent - fwd + sizeof(block) > VSOCK_BUF)
			break;
		send_data(block, sizeof(block));
		sent += sizeof(block);
	}
	cr_assert_geq(sent, VSOCK_BUF);
	while (got < sent) {
		ssize_t n = recv(host, buf, sizeof(buf), MSG_DONTWAIT);

		fake_run(&f);
		cr_assert(n > 0 || errno == EAGAIN);
		for (ssize_t i = 0; i < n; i++, got++)
			cr_assert_eq(buf[i], block[got % sizeof(block)]);
	}
	h = expect(VSOCK_OP_CREDIT_UPDATE);
	while (recv_packet(&h, NULL))
		;
	cr_assert_leq((uint32_t)sent - h.fwd_cnt, VSOCK_BUF / 2);
	send_op(VSOCK_OP_CREDIT_REQUEST);
	h = expect(VSOCK_OP_CREDIT_UPDATE);
	cr_assert_eq(h.fwd_cnt, (uint32_t)sent);
	cr_assert_eq(((struct vsock *)f.dev)->conn[0].len, 0);
}

Test(virtio_vsock, more_than_the_credit_is_reset)
{
	struct vsock_hdr h = { 0 };

	connect_stream();
	for (int i = 0; i < 100 && h.op != VSOCK_OP_RST; i++) {
		send_data(block, sizeof(block));
		while (h.op != VSOCK_OP_RST && recv_packet(&h, NULL))
			;
	}
	cr_assert_eq(h.op, VSOCK_OP_RST);
}

Test(virtio_vsock, close_in_good_order_drains_to_a_slow_reader)
{
	uint64_t sent = 0, got = 0;
	char buf[65536];
	ssize_t n;

	connect_stream();
	for (int i = 0; i < 5; i++, sent += sizeof(block))
		send_data(block, sizeof(block));
	cr_assert_gt(((struct vsock *)f.dev)->conn[0].len, 0);
	send_shutdown(VSOCK_SHUT_BOTH);
	/* the guest's kernel waits some seconds, then gives up */
	send_op(VSOCK_OP_RST);
	while ((n = recv(host, buf, sizeof(buf), MSG_DONTWAIT)) != 0) {
		cr_assert(n > 0 || errno == EAGAIN);
		got += n > 0 ? (uint64_t)n : 0;
		fake_run(&f);
	}
	cr_assert_eq(got, sent);
	cr_assert_eq(((struct vsock *)f.dev)->conn[0].state, CONN_FREE);
}

Test(virtio_vsock, the_guests_credit_is_respected)
{
	struct vsock_hdr h = hdr(VSOCK_OP_REQUEST, PORT);
	static char data[3000];

	add_rx(32);
	h.buf_alloc = 1000;
	send_raw(&h, 0);
	expect(VSOCK_OP_RESPONSE);
	cr_assert_eq(write(host, data, 3000), 3000);
	fake_run(&f);
	cr_assert_eq(expect(VSOCK_OP_RW).len, 1000);
	expect_nothing();
	/* the loop sleeps meanwhile, though the socket is readable */
	cr_assert_eq(ev_once(&f.loop, 0), 0);
	h = hdr(VSOCK_OP_CREDIT_UPDATE, PORT);
	h.buf_alloc = 1000;
	h.fwd_cnt = 300;
	send_raw(&h, 0);
	cr_assert_eq(expect(VSOCK_OP_RW).len, 300);
	/* lies: more forwarded than was ever sent, a buffer of 4 GiB */
	h.fwd_cnt = 5000;
	send_raw(&h, 0);
	expect_nothing();
	h.fwd_cnt = 1300;
	h.buf_alloc = UINT32_MAX;
	send_raw(&h, 0);
	cr_assert_eq(expect(VSOCK_OP_RW).len, 1700);
}

Test(virtio_vsock, without_receive_buffers_nothing_spins_and_kick_resumes)
{
	struct vsock_hdr h;
	uint8_t *p;

	send_op(VSOCK_OP_REQUEST);
	cr_assert_eq(write(host, "abc", 3), 3);
	fake_run(&f);
	cr_assert_eq(ev_once(&f.loop, 0), 0);
	add_rx(4);
	fake_kick(&f, VSOCK_RX);
	expect(VSOCK_OP_RESPONSE);
	cr_assert(recv_packet(&h, &p));
	cr_assert_arr_eq(p, "abc", 3);
}

Test(virtio_vsock, flood_of_stray_packets_waits_for_receive_buffers)
{
	struct vsock_hdr h = hdr(VSOCK_OP_RW, PORT + 9);
	struct fake_seg s = { tx_at, HDR, 0 };

	memcpy(fake_ptr(&f, tx_at), &h, HDR);
	for (int i = 0; i < 200; i++)
		fake_add(&f, VSOCK_TX, &s, 1);
	fake_kick(&f, VSOCK_TX);
	cr_assert_eq(fake_used_ring(&f, VSOCK_TX)->idx, VSOCK_RSTS_MAX);
	add_rx(200);
	fake_kick(&f, VSOCK_RX);
	for (int i = 0; i < 200; i++)
		expect(VSOCK_OP_RST);
	cr_assert_eq(fake_used_ring(&f, VSOCK_TX)->idx, 200);
}
