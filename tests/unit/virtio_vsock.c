/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: streams, credit, closing, and guests that break the protocol. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/virtio/vsock_conn.h"
#include "tests/unit/virtio_fake.h"

#define CID   7u
#define PORT  1024u /* the stream's */
#define GPORT 5000u /* the guest's */
#define HDR   44u
#define RXBUF 4096u
#define ALLOC (256u << 10)

static struct fake f;
static int host;   /* our end of the stream */
static int lsock;  /* listener */
static struct sockaddr_un laddr;
static socklen_t laddr_len;
static uint64_t rx_at[256];  /* receive buffers, by descriptor */
static uint64_t tx_at;

static void add_rx(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct fake_seg s = { fake_alloc(&f, RXBUF), RXBUF,
				      VRING_DESC_F_WRITE };

		rx_at[fake_add(&f, VSOCK_RX, &s, 1)] = s.addr;
	}
}

static void start(uint16_t size)
{
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, size);
	fake_run(&f);
}

static void setup(void)
{
	struct virtio_vsock_params p = { .guest_cid = CID, .nstreams = 1 };
	int sv[2];

	fake_init(&f);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	host = sv[0];
	p.stream[0] = (struct virtio_vsock_stream){ PORT, sv[1] };
	lsock = socket(AF_UNIX, SOCK_STREAM, 0);
	laddr.sun_family = AF_UNIX;
	/* autobind: an abstract name of the kernel's choice */
	cr_assert_eq(bind(lsock, (struct sockaddr *)&laddr,
			  sizeof(laddr.sun_family)), 0);
	laddr_len = sizeof(laddr);
	cr_assert_eq(getsockname(lsock, (struct sockaddr *)&laddr, &laddr_len),
		     0);
	cr_assert_eq(listen(lsock, 16), 0);
	p.listen_fd = lsock;
	f.dev = virtio_vsock_new(&f.host, 5, &p, NULL);
	cr_assert_not_null(f.dev);
	tx_at = fake_alloc(&f, HDR + (1 << 20));
	start(256);
}

static void teardown(void)
{
	fake_free(&f);
	close(host);
}

TestSuite(virtio_vsock, .init = setup, .fini = teardown, .timeout = 60);

static void send_raw(const struct vsock_hdr *h, uint32_t payload)
{
	struct fake_seg s[] = { { tx_at, HDR, 0 },
				{ tx_at + HDR, payload, 0 } };
	struct vring_used_elem e;

	memcpy(fake_ptr(&f, tx_at), h, HDR);
	fake_add(&f, VSOCK_TX, s, payload ? 2 : 1);
	fake_kick(&f, VSOCK_TX);
	while (fake_take(&f, VSOCK_TX, &e))
		;
}

static struct vsock_hdr hdr(uint16_t op, uint32_t host_port)
{
	return (struct vsock_hdr){ .src_cid = CID, .dst_cid = VSOCK_CID_HOST,
				   .src_port = GPORT, .dst_port = host_port,
				   .type = VSOCK_TYPE_STREAM, .op = op,
				   .buf_alloc = ALLOC };
}

static void send_op(uint16_t op)
{
	struct vsock_hdr h = hdr(op, PORT);

	send_raw(&h, 0);
}

static void send_data(const void *data, uint32_t len)
{
	struct vsock_hdr h = hdr(VSOCK_OP_RW, PORT);

	h.len = len;
	memcpy(fake_ptr(&f, tx_at + HDR), data, len);
	send_raw(&h, len);
}

static void send_shutdown(uint32_t flags)
{
	struct vsock_hdr h = hdr(VSOCK_OP_SHUTDOWN, PORT);

	h.flags = flags;
	send_raw(&h, 0);
}

/* The next packet for the guest; false when there is none. */
static bool recv_packet(struct vsock_hdr *h, uint8_t **payload)
{
	struct vring_used_elem e;
	uint8_t *p;

	if (!fake_take(&f, VSOCK_RX, &e))
		return false;
	p = fake_ptr(&f, rx_at[e.id]);
	memcpy(h, p, HDR);
	cr_assert_eq(e.len, HDR + h->len);
	cr_assert_eq(h->src_cid, VSOCK_CID_HOST);
	cr_assert_eq(h->dst_cid, CID);
	if (payload)
		*payload = p + HDR;
	return true;
}

static struct vsock_hdr expect(uint16_t op)
{
	struct vsock_hdr h = { 0 };

	cr_assert(recv_packet(&h, NULL), "no packet, wanted op %u", op);
	cr_assert_eq(h.op, op, "op %u, wanted %u", h.op, op);
	return h;
}

static void expect_nothing(void)
{
	struct vsock_hdr h = { 0 };

	cr_assert_not(recv_packet(&h, NULL), "unwanted op %u", h.op);
}

static void connect_stream(void)
{
	struct vsock_hdr h;

	add_rx(64);
	send_op(VSOCK_OP_REQUEST);
	h = expect(VSOCK_OP_RESPONSE);
	cr_assert_eq(h.src_port, PORT);
	cr_assert_eq(h.dst_port, GPORT);
	cr_assert_eq(h.buf_alloc, VSOCK_BUF);
}

static bool host_at_eof(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

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
	cr_assert_eq(ev_once(&f.loop, 3000), 1);
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

static int dial(const char *line)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(connect(s, (struct sockaddr *)&laddr, laddr_len), 0);
	cr_assert_eq(write(s, line, strlen(line)), (ssize_t)strlen(line));
	fake_run(&f);
	return s;
}

Test(virtio_vsock, host_connects_by_the_hybrid_protocol)
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

Test(virtio_vsock, refused_host_connection_is_closed_silently)
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

Test(virtio_vsock, guest_that_does_not_answer_a_connect_times_out)
{
	int s;

	add_rx(32);
	s = dial("CONNECT 52\n");
	expect(VSOCK_OP_REQUEST);
	cr_assert_eq(ev_once(&f.loop, 3000), 1);
	cr_assert(host_at_eof(s));
	expect(VSOCK_OP_RST);
	close(s);
}

Test(virtio_vsock, hello_line_is_parsed_strictly)
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

Test(virtio_vsock, long_or_torn_hello_lines)
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

Test(virtio_vsock, table_is_bounded)
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

Test(virtio_vsock, reset_closes_connections_and_keeps_unused_streams)
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

Test(virtio_vsock, reset_while_a_socket_event_is_pending)
{
	connect_stream();
	cr_assert_eq(write(host, "abc", 3), 3);
	/* what a vCPU thread does in between */
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_run(&f);
	cr_assert_eq(((struct vsock *)f.dev)->conn[0].state, CONN_FREE);
}

/* Random packets on three connections, and a host that does as it likes. */
Test(virtio_vsock, random_packets_are_survived)
{
	int s[3] = { dial("CONNECT 1\n"), dial("CONNECT 2\n"), -1 };
	struct vring_used_elem e;

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
		recv(s[0], block, sizeof(block), MSG_DONTWAIT);
		if (send(s[1], block, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			close(s[1]);
			s[1] = dial("CONNECT 2\n");
		}
	}
	close(s[0]);
	close(s[1]);
}
