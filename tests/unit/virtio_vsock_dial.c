/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: connections that the host opens, the table's bound, resets. */
#include "tests/unit/vsock_fake.h"

TestSuite(virtio_vsock_dial, .init = setup, .fini = teardown, .timeout = 60);

static int dial(const char *line)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(connect(s, (struct sockaddr *)&laddr, laddr_len), 0);
	cr_assert_eq(write(s, line, strlen(line)), (ssize_t)strlen(line));
	fake_run(&f);
	return s;
}

Test(virtio_vsock_dial, host_connects_by_the_hybrid_protocol)
{
	struct vsock_hdr h, r;
	char buf[64] = "";
	uint8_t *p;
	int s;

	add_rx(32);
	/* bytes right behind the line are the guest's */
	s = dial("connect 52\nearly");
	h = expect(VSOCK_OP_REQUEST);
	cr_assert_eq(h.dst_port, 52);
	cr_assert_eq(h.src_port, 1u << 30);
	expect_nothing();
	r = hdr(VSOCK_OP_RESPONSE, h.src_port);
	r.src_port = 52;
	send_raw(&r, 0);
	cr_assert_eq(read(s, buf, sizeof(buf)), 14);
	cr_assert_str_eq(buf, "OK 1073741824\n");
	fake_run(&f);
	cr_assert(recv_packet(&h, &p));
	cr_assert_eq(h.len, 5);
	cr_assert_arr_eq(p, "early", 5);
	close(s);
}

Test(virtio_vsock_dial, refused_host_connection_is_closed_silently)
{
	struct vsock_hdr h, r;
	int s;

	add_rx(32);
	s = dial("CONNECT 52\n");
	h = expect(VSOCK_OP_REQUEST);
	r = hdr(VSOCK_OP_RST, h.src_port);
	r.src_port = 52;
	send_raw(&r, 0);
	cr_assert(host_at_eof(s));
	close(s);
}

/* How long to wait for a slow guest is the caller's to say. */
Test(virtio_vsock_dial, guest_may_answer_a_connect_while_its_caller_waits)
{
	struct vsock_hdr h, r;
	char buf[64];
	int s;

	add_rx(32);
	s = dial("CONNECT 52\n");
	h = expect(VSOCK_OP_REQUEST);
	cr_assert_eq(ev_once(&f.loop, 20000), 1, "the timer");
	expect_nothing();
	r = hdr(VSOCK_OP_RESPONSE, h.src_port);
	r.src_port = 52;
	send_raw(&r, 0);
	cr_assert_eq(read(s, buf, sizeof(buf)), 14);
	close(s);
}

Test(virtio_vsock_dial, connect_without_an_answer_ends_when_its_caller_hangs_up)
{
	int s;

	add_rx(32);
	s = dial("CONNECT 52\n");
	expect(VSOCK_OP_REQUEST);
	cr_assert_eq(ev_once(&f.loop, 20000), 1, "the timer");
	expect_nothing();
	close(s);
	cr_assert_eq(ev_once(&f.loop, 20000), 1, "and again");
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock_dial, hello_line_is_parsed_strictly)
{
	static const struct {
		const char *s;
		bool ok;
		uint32_t port;
	} t[] = {
		{ "CONNECT 1\n", true, 1 },
		{ "CoNnEcT 4294967295\n", true, UINT32_MAX },
		{ "CONNECT 4294967296\n", false, 0 },
		{ "CONNECT 99999999999999999999\n", false, 0 },
		{ "CONNECT \n", false, 0 },
		{ "CONNECT -1\n", false, 0 },
		{ "CONNECT 1 \n", false, 0 },
		{ "CONNECT 1\r\n", false, 0 },
		{ "CONNECT1\n", false, 0 },
		{ "\n", false, 0 },
		{ "", false, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		uint32_t port = 0;

		cr_assert_eq(vsock_parse_hello(t[i].s,
					       (unsigned)strlen(t[i].s), &port),
			     t[i].ok, "%s", t[i].s);
		cr_assert_eq(port, t[i].port);
	}
}

Test(virtio_vsock_dial, long_or_torn_hello_lines)
{
	int s = dial("CONN");

	cr_assert_eq(ev_once(&f.loop, 0), 0);
	add_rx(4);
	cr_assert_eq(write(s, "ECT 7\n", 6), 6);
	fake_run(&f);
	cr_assert_eq(expect(VSOCK_OP_REQUEST).dst_port, 7);
	close(s);
	s = dial("CONNECT 000000000000000000000000000000000001\n");
	cr_assert_neq(recv(s, &(char){ 0 }, 1, MSG_DONTWAIT), 1);
	expect_nothing();
	close(s);
}

Test(virtio_vsock_dial, table_is_bounded)
{
	int s[VSOCK_CONNS + 1];

	for (unsigned i = 0; i < VSOCK_CONNS; i++)
		s[i] = dial("");
	s[VSOCK_CONNS] = dial("");
	cr_assert(host_at_eof(s[VSOCK_CONNS]));
	cr_assert_not(host_at_eof(s[0]));
	/* and the guest's stream is refused while it is full, not lost */
	add_rx(8);
	send_op(VSOCK_OP_REQUEST);
	expect(VSOCK_OP_RST);
	close(s[0]);
	fake_run(&f);
	send_op(VSOCK_OP_REQUEST);
	expect(VSOCK_OP_RESPONSE);
	for (unsigned i = 1; i <= VSOCK_CONNS; i++)
		close(s[i]);
}

Test(virtio_vsock_dial, reset_closes_connections_and_keeps_unused_streams)
{
	start(256);
	connect_stream();
	send_data("q", 1);
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_run(&f);
	cr_assert_eq(read(host, &(char){ 0 }, 1), 1);
	cr_assert(host_at_eof(host));
	start(256);
	add_rx(8);
	send_op(VSOCK_OP_REQUEST);
	expect(VSOCK_OP_RST);
}

Test(virtio_vsock_dial, reset_while_a_socket_event_is_pending)
{
	connect_stream();
	cr_assert_eq(write(host, "abc", 3), 3);
	/* what a vCPU thread does in between */
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_run(&f);
	cr_assert_eq(((struct vsock *)f.dev)->conn[0].state, CONN_FREE);
}

/* Random packets on three connections, and a host that does as it likes. */
Test(virtio_vsock_dial, random_packets_are_survived)
{
	int s[3] = { dial("CONNECT 1\n"), dial("CONNECT 2\n"), -1 };
	struct vring_used_elem e;
	char bytes[3000] = "";

	srand(5);
	for (int i = 0; i < 30000; i++) {
		struct vsock_hdr h = hdr((uint16_t)(rand() % 9), PORT);
		uint32_t n = (uint32_t)rand() % 3000;

		if (rand() % 2) {
			h.dst_port = (1u << 30) + (uint32_t)rand() % 3;
			h.src_port = 1 + (uint32_t)rand() % 2;
		}
		h.len = rand() % 8 ? n : (uint32_t)rand();
		h.flags = (uint32_t)rand() % 4;
		h.buf_alloc = (uint32_t)rand() % 100000;
		h.fwd_cnt = (uint32_t)rand() % 1000;
		if (f.heap > FAKE_RAM / 2)
			f.heap = tx_at + (2 << 20);
		if (rand() % 2)
			add_rx(1);
		send_raw(&h, n);
		while (fake_take(&f, VSOCK_RX, &e))
			;
		cr_assert_not(fake_broken(&f));
		if (rand() % 16 == 0) {
			close(s[0]);
			s[0] = dial("CONNECT 1\n");
		}
		recv(s[0], bytes, sizeof(bytes), MSG_DONTWAIT);
		if (send(s[1], bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			close(s[1]);
			s[1] = dial("CONNECT 2\n");
		}
	}
	close(s[0]);
	close(s[1]);
}
