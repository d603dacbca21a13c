/* SPDX-License-Identifier: Apache-2.0 */
/* A network device with the driver of virtio_fake.h and a wire, `peer`. */
#ifndef MAYFLY_TESTS_NET_STAGE_H
#define MAYFLY_TESTS_NET_STAGE_H

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/virtio/net.h"
#include "runner/virtio/net_frame.h"
#include "tests/unit/virtio_fake.h"

#define W    VRING_DESC_F_WRITE
#define CFG  VIRTIO_MMIO_CONFIG
#define RING 64

static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };

struct net_stage {
	struct fake f;
	int peer; /* the other end of what stands for the tap, or -1 */
};

/* All features but @without; the device takes over @fd. */
static inline void stage_boot(struct net_stage *s, int fd,
			      struct virtio_net_params p, bool serve,
			      uint64_t without, uint16_t size)
{
	struct err err = { 0 };

	p.fd = fd;
	memcpy(p.mac, mac, sizeof(mac));
	fake_init(&s->f);
	s->f.host.serve = serve;
	s->f.dev = virtio_net_new(&s->f.host, 5, &p, &err);
	cr_assert_not_null(s->f.dev, "%s", err.msg);
	fake_start(&s->f, fake_offered(&s->f) & ~without, size);
	fake_run(&s->f);
}

/* A socket keeps frames whole, as a tap does. */
static inline void stage_start(struct net_stage *s, struct virtio_net_params p,
			       bool serve, uint64_t without, uint16_t size)
{
	int pair[2], room = 1 << 20;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	s->peer = pair[0];
	stage_boot(s, pair[1], p, serve, without, size);
}

static inline void stage_free(struct net_stage *s)
{
	fake_free(&s->f);
	if (s->peer >= 0)
		close(s->peer);
}

/* Offer a buffer for frames of @n segments of @len bytes; where it is. */
static inline uint64_t stage_offer(struct net_stage *s, uint32_t len,
				   unsigned n)
{
	uint64_t gpa = fake_alloc(&s->f, (uint64_t)len * n);
	struct fake_seg seg[VIRTQ_SIZE_MAX];

	for (unsigned i = 0; i < n; i++)
		seg[i] = (struct fake_seg){ gpa + i * len, len, W };
	memset(fake_ptr(&s->f, gpa), 0xee, (size_t)len * n);
	fake_add(&s->f, NET_RX, seg, n);
	return gpa;
}

/* A packet of @len bytes with its header, each byte its own. */
static inline void stage_fill(uint8_t *p, uint32_t len, unsigned salt)
{
	memset(p, 0, MIN(len, NET_HDR));
	for (uint32_t i = NET_HDR; i < len; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 8) + salt);
}

/* The host's network has a frame for the guest. */
static inline void stage_arrive(struct net_stage *s, uint32_t len,
				unsigned salt)
{
	static uint8_t p[NET_HDR + NET_FRAME_MAX + 4096];

	stage_fill(p, len, salt);
	cr_assert_eq(send(s->peer, p, len, MSG_DONTWAIT), (ssize_t)len);
}

/* The next frame is with the driver, from @gpa on, in so many buffers of
 * @each bytes, told at once. */
static inline void stage_received(struct net_stage *s, uint64_t gpa,
				  uint32_t each, uint32_t len, unsigned salt)
{
	static uint8_t want[NET_HDR + NET_FRAME_MAX];
	unsigned n = (len + each - 1) / each;
	struct vring_used_elem e;
	uint32_t left = len;

	stage_fill(want, len, salt);
	want[10] = (uint8_t)n;
	want[11] = (uint8_t)(n >> 8);
	for (unsigned i = 0; i < n; i++) {
		cr_assert(fake_take(&s->f, NET_RX, &e), "buffer %u of %u", i,
			  n);
		cr_assert_eq(e.len, MIN(left, each));
		left -= e.len;
	}
	cr_assert_eq(memcmp(fake_ptr(&s->f, gpa), want, len), 0);
}

static inline bool stage_idle(struct net_stage *s)
{
	return ev_once(&s->f.loop, 0) == 0;
}

#endif
