/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_fake: a guest's driver of the vsock device, played by the test, and
 * the host's two sockets. One per process: Criterion forks for each test.
 */
#ifndef TESTS_UNIT_VSOCK_FAKE_H
#define TESTS_UNIT_VSOCK_FAKE_H

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

static inline void add_rx(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct fake_seg s = { fake_alloc(&f, RXBUF), RXBUF,
				      VRING_DESC_F_WRITE };

		rx_at[fake_add(&f, VSOCK_RX, &s, 1)] = s.addr;
	}
}

static inline void start(uint16_t size)
{
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, size);
	fake_run(&f);
}

static inline void setup(void)
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

static inline void teardown(void)
{
	fake_free(&f);
	close(host);
}

static inline void send_raw(const struct vsock_hdr *h, uint32_t payload)
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

static inline struct vsock_hdr hdr(uint16_t op, uint32_t host_port)
{
	return (struct vsock_hdr){ .src_cid = CID, .dst_cid = VSOCK_CID_HOST,
				   .src_port = GPORT, .dst_port = host_port,
				   .type = VSOCK_TYPE_STREAM, .op = op,
				   .buf_alloc = ALLOC };
}

static inline void send_op(uint16_t op)
{
	struct vsock_hdr h = hdr(op, PORT);

	send_raw(&h, 0);
}

static inline void send_data(const void *data, uint32_t len)
{
	struct vsock_hdr h = hdr(VSOCK_OP_RW, PORT);

	h.len = len;
	memcpy(fake_ptr(&f, tx_at + HDR), data, len);
	send_raw(&h, len);
}

static inline void send_shutdown(uint32_t flags)
{
	struct vsock_hdr h = hdr(VSOCK_OP_SHUTDOWN, PORT);

	h.flags = flags;
	send_raw(&h, 0);
}

/* The next packet for the guest; false when there is none. */
static inline bool recv_packet(struct vsock_hdr *h, uint8_t **payload)
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

static inline struct vsock_hdr expect(uint16_t op)
{
	struct vsock_hdr h = { 0 };

	cr_assert(recv_packet(&h, NULL), "no packet, wanted op %u", op);
	cr_assert_eq(h.op, op, "op %u, wanted %u", h.op, op);
	return h;
}

static inline void expect_nothing(void)
{
	struct vsock_hdr h = { 0 };

	cr_assert_not(recv_packet(&h, NULL), "unwanted op %u", h.op);
}

static inline void connect_stream(void)
{
	struct vsock_hdr h;

	add_rx(64);
	send_op(VSOCK_OP_REQUEST);
	h = expect(VSOCK_OP_RESPONSE);
	cr_assert_eq(h.src_port, PORT);
	cr_assert_eq(h.dst_port, GPORT);
	cr_assert_eq(h.buf_alloc, VSOCK_BUF);
}

static inline bool host_at_eof(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

#endif
