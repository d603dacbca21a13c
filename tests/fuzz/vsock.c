/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends any packet, and a host that writes, reads, closes and
 * dials at any moment.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/virtio/vsock_conn.h"
#include "tests/fuzz/device.h"

#define CID	7u
#define PORT	1024u
#define STREAMS 2
#define DIALS	4
#define HDR	((uint32_t)sizeof(struct vsock_hdr))
#define HDR_AT	(FUZZ_DATA + 0x8000)
#define RX_AT	(FUZZ_DATA + 0x10000)

/* The host's ends. */
static struct host {
	int lsock;
	struct sockaddr_un addr;
	socklen_t addr_len;
	int fd[STREAMS + DIALS];
} host = { .lsock = -1 };

static void make_listener(void)
{
	host.lsock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	host.addr.sun_family = AF_UNIX;
	/* autobind: an abstract name of the kernel's choice */
	must(bind(host.lsock, (struct sockaddr *)&host.addr,
		  sizeof(host.addr.sun_family)) == 0);
	host.addr_len = sizeof(host.addr);
	must(getsockname(host.lsock, (struct sockaddr *)&host.addr,
			 &host.addr_len) == 0);
	must(listen(host.lsock, 16) == 0);
}

/* Who dialled the last device and was not taken. */
static void hang_up(void)
{
	int fd;

	for (unsigned i = 0; i < STREAMS + DIALS; i++)
		close_fd(&host.fd[i]);
	while ((fd = accept(host.lsock, NULL, NULL)) >= 0)
		close(fd);
}

static void make_device(struct fuzz *f)
{
	struct virtio_vsock_params p = { .guest_cid = CID,
					 .nstreams = STREAMS };
	int sv[2];

	for (unsigned i = 0; i < STREAMS + DIALS; i++)
		host.fd[i] = -1;
	for (unsigned i = 0; i < STREAMS; i++) {
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
		host.fd[i] = sv[0];
		p.stream[i] = (struct virtio_vsock_stream){ PORT + i, sv[1] };
	}
	p.listen_fd = dup(host.lsock);
	f->dev = virtio_vsock_new(&f->host, 5, &p, NULL);
	must(f->dev);
}

static void dial(struct bytes *b)
{
	static const char *const hello[] = { "CONNECT 5000\n", "connect 1\n",
					     "CONNECT 4294967296\n", "x" };
	unsigned i = STREAMS + take8(b) % DIALS;
	const char *s = hello[take8(b) % 4];

	if (host.fd[i] < 0) {
		host.fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(host.fd[i], (struct sockaddr *)&host.addr,
			    host.addr_len) < 0)
			close_fd(&host.fd[i]);
	}
	if (host.fd[i] >= 0)
		send(host.fd[i], s, strlen(s), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void host_acts(struct bytes *b)
{
	static uint8_t buf[65536];
	uint8_t how = take8(b);
	int *fd = &host.fd[how % (STREAMS + DIALS)];
	size_t n = (how & 0x80 ? 1u : 256u) * (take8(b) + 1u);

	if (*fd < 0)
		return;
	switch (how >> 4 & 7) {
	case 0: case 1: case 2:
		send(*fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 3: case 4: case 5:
		recv(*fd, buf, n, MSG_DONTWAIT);
		break;
	case 6:
		shutdown(*fd, how & 8 ? SHUT_RD : SHUT_WR);
		break;
	default:
		close_fd(fd);
	}
}

static void packet(struct fuzz *f, struct bytes *b)
{
	uint8_t how = take8(b), op = take8(b);
	struct vsock_hdr h = {
		.src_cid = CID, .dst_cid = VSOCK_CID_HOST,
		.src_port = 5000 + (how & 1), .dst_port = PORT + (how >> 1 & 1),
		.type = VSOCK_TYPE_STREAM, .op = op & 15,
		.flags = op >> 4 & 3,
		.buf_alloc = how & 4 ? take32(b) : 65536,
		.fwd_cnt = how & 8 ? take32(b) : 0,
	};
	struct fuzz_seg s[2] = { { HDR_AT, HDR, false },
				 { HDR_AT + 64, 0, false } };

	if (how & 0x10)
		h.dst_port = VSOCK_FIRST_PORT + take8(b) % 4;
	h.len = s[1].len = how & 0x20 ? take16(b) : 0;
	if (how & 0x40)
		h.len = take32(b);
	if (how & 0x80) {
		uint8_t at = take8(b) % HDR, bits = take8(b);

		((uint8_t *)&h)[at] ^= bits;
	}
	memcpy(fuzz_ptr(f, HDR_AT), &h, sizeof(h));
	fuzz_offer(f, VSOCK_TX, s, 2);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, VSOCK_TX);
	fuzz_turns(f);
}

static void receive_buffers(struct fuzz *f, struct bytes *b)
{
	for (unsigned n = take8(b) % 8 + 1; n; n--) {
		struct fuzz_seg s = { RX_AT + n * 0x2000, 4096, true };

		fuzz_offer(f, VSOCK_RX, &s, 1);
	}
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, VSOCK_RX);
}

static void own(struct fuzz *f, struct bytes *b, unsigned what)
{
	switch (what - FUZZ_COMMON) {
	case 0:
		receive_buffers(f, b);
		break;
	case 1:
		dial(b);
		break;
	case 2:
		host_acts(b);
		break;
	default:
		packet(f, b);
	}
	fuzz_turns(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	static struct fuzz f;

	if (host.lsock < 0)
		make_listener();
	fuzz_begin(&f);
	make_device(&f);
	if (!(take8(&b) & 1))
		fuzz_start(&f, 0);
	fuzz_steps(&f, &b, FUZZ_COMMON + 6, own);
	fuzz_end(&f);
	hang_up();
	return 0;
}
