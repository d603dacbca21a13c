/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from the tap to the driver (virtio 1.2, 5.1.6.3 and 5.1.6.4). */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>

#include "runner/base/mem.h"
#include "runner/virtio/net_impl.h"
#include "runner/vmm/gmem.h"

#define PACKET_MAX (NET_HDR + NET_FRAME_MAX)

static_assert((uint64_t)VIRTQ_SIZE_MAX * PACKET_MAX <= UINT32_MAX, "room");
static_assert(1 + NET_RX_SEGS + 1 <= IOV_MAX, "one readv() takes all");

void net_rx_reset(struct net *n)
{
	struct net_rx *rx = &n->rx;

	rx->buf0 = rx->nbufs = 0;
	rx->seg0 = 1;
	rx->nsegs = 0;
	rx->room = 0;
	rx->nshort = 0;
	rx->len = 0;
	rx->wait = RX_FRAMES;
}

/* --- buffers -------------------------------------------------------------- */

static void move_to_front(struct net_rx *rx)
{
	memmove(rx->buf, rx->buf + rx->buf0, rx->nbufs * sizeof(*rx->buf));
	memmove(rx->iov + 1, rx->iov + rx->seg0, rx->nsegs * sizeof(*rx->iov));
	memmove(rx->gpa + 1, rx->gpa + rx->seg0, rx->nsegs * sizeof(*rx->gpa));
	rx->buf0 = 0;
	rx->seg0 = 1;
}

/* Room for one more buffer of any shape. */
static bool has_place(struct net_rx *rx)
{
	if (rx->seg0 + rx->nsegs + VIRTQ_SIZE_MAX <= 1 + NET_RX_SEGS &&
	    rx->buf0 + rx->nbufs < ARRAY_SIZE(rx->buf))
		return true;
	move_to_front(rx);
	return rx->nsegs + VIRTQ_SIZE_MAX <= NET_RX_SEGS &&
	       rx->nbufs < ARRAY_SIZE(rx->buf);
}

static void keep(struct net_rx *rx, const struct virtq_chain *c)
{
	unsigned at = rx->seg0 + rx->nsegs;

	rx->buf[rx->buf0 + rx->nbufs++] = (struct net_rx_buf){
		.head = c->head, .nsegs = c->nin,
		.len = MIN(c->in_len, PACKET_MAX) };
	memcpy(rx->iov + at, c->iov, c->nin * sizeof(*c->iov));
	memcpy(rx->gpa + at, c->gpa, c->nin * sizeof(*c->gpa));
	rx->nsegs += c->nin;
	rx->room += MIN(c->in_len, PACKET_MAX);
}

/* Take one more buffer; false where there is none. */
static bool take(struct net *n)
{
	struct virtq_chain c;

	if (!virtio_pop(&n->dev, NET_RX, &c))
		return false;
	/* 5.1.6.3.1 */
	if (c.nout || c.in_len < NET_HDR) {
		virtio_fail(&n->dev, "a bad receive buffer");
		return false;
	}
	keep(&n->rx, &c);
	return true;
}

/* Have room for the longest frame, or as much as there is. Without MRG_RXBUF a
 * frame has one buffer, be it long enough or not. */
static void top_up(struct net *n)
{
	bool merge = virtio_has(&n->dev, NET_F_MRG_RXBUF);
	struct net_rx *rx = &n->rx;

	while (merge ? rx->room < PACKET_MAX : !rx->nbufs)
		if (!has_place(rx) || !take(n))
			return;
}

/* --- reading -------------------------------------------------------------- */

/* Let the first segments begin where a frame does, behind the header. What
 * they were is in @was. Returns their number. */
static unsigned hide_header(struct net_rx *rx, struct iovec *was)
{
	uint32_t left = NET_HDR;
	unsigned k = 0;

	for (; left; k++) {
		struct iovec *v = &rx->iov[rx->seg0 + k];
		size_t some = MIN(v->iov_len, left);

		was[k] = *v;
		v->iov_base = (uint8_t *)v->iov_base + some;
		v->iov_len -= some;
		left -= (uint32_t)some;
	}
	return k;
}

static ssize_t read_frame(struct net *n)
{
	struct net_rx *rx = &n->rx;
	const struct net_rx_buf *b = &rx->buf[rx->buf0];
	bool one = rx->nshort >= NET_RX_SHORT;
	unsigned nsegs = one ? b->nsegs : rx->nsegs;
	struct iovec was[NET_HDR], *v = &rx->iov[rx->seg0], next = v[nsegs];
	unsigned k = hide_header(rx, was);
	ssize_t r;

	/* Before them is what was used up, or the place for this. */
	v[-1] = (struct iovec){ &rx->hdr, NET_HDR };
	v[nsegs] = (struct iovec){ rx->spare, sizeof(rx->spare) };
	do
		r = readv(n->tap.fd, v - 1, (int)nsegs + 2);
	while (r < 0 && errno == EINTR);
	v[nsegs] = next;
	memcpy(v, was, k * sizeof(*v));
	rx->fits = one ? b->len : rx->room;
	if (r > 0)
		rx->nshort = r <= b->len ? rx->nshort + 1 : 0;
	return r;
}

/* A frame in hand, or a reason to wait for one. */
static bool fetch(struct net *n)
{
	struct net_rx *rx = &n->rx;
	ssize_t r;

	top_up(n);
	if (!virtio_running(&n->dev))
		return false;
	rx->wait = rx->nbufs ? RX_FRAMES : RX_BUFFERS;
	if (!rx->nbufs || n->gone)
		return false;
	r = read_frame(n);
	if (r < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS))
		return false;
	if (r <= 0) {
		net_gone(n);
		return false;
	}
	rx->len = (uint32_t)r;
	rx->fits = MIN(rx->fits, rx->len);
	rx->paid = false;
	return true;
}

/* --- delivery ------------------------------------------------------------- */

/* Copy to byte @off of the buffers, from segment @v on. */
static void scatter(const struct iovec *v, uint32_t off, const void *src,
		    uint32_t len)
{
	const uint8_t *p = src;

	for (; len; v++) {
		size_t some;

		if (off >= v->iov_len) {
			off -= (uint32_t)v->iov_len;
			continue;
		}
		some = MIN(v->iov_len - off, len);
		memcpy((uint8_t *)v->iov_base + off, p, some);
		p += some;
		len -= (uint32_t)some;
		off = 0;
	}
}

static void note(const struct net *n)
{
	const struct net_rx *rx = &n->rx;
	uint32_t left = rx->len;

	for (unsigned i = rx->seg0; left; i++) {
		uint32_t some = (uint32_t)MIN(rx->iov[i].iov_len, left);

		gmem_wrote(n->dev.host.gm, rx->gpa[i], some);
		left -= some;
	}
}

static void use_up(struct net_rx *rx, unsigned nbufs)
{
	for (; nbufs; nbufs--) {
		const struct net_rx_buf *b = &rx->buf[rx->buf0++];

		rx->nbufs--;
		rx->seg0 += b->nsegs;
		rx->nsegs -= b->nsegs;
		rx->room -= b->len;
	}
}

/* There is room for all of the frame in hand: the driver has it. */
static void deliver(struct net *n)
{
	struct vring_used_elem e[VIRTQ_SIZE_MAX];
	struct net_rx *rx = &n->rx;
	uint32_t left = rx->len;
	unsigned k = 0;

	scatter(&rx->iov[rx->seg0], rx->fits, rx->spare, rx->len - rx->fits);
	for (; left; k++) {
		const struct net_rx_buf *b = &rx->buf[rx->buf0 + k];
		uint32_t some = MIN(b->len, left);

		e[k] = (struct vring_used_elem){ b->head, some };
		left -= some;
	}
	rx->hdr.num_buffers = (uint16_t)k;
	scatter(&rx->iov[rx->seg0], 0, &rx->hdr, NET_HDR);
	note(n);
	use_up(rx, k);
	virtq_push_all(&n->dev.vq[NET_RX], e, k);
}

/* Whether the frame in hand is one, and one for this driver. */
static bool is_good(struct net *n)
{
	struct net_rx *rx = &n->rx;

	return rx->len >= NET_HDR + NET_FRAME_MIN && rx->len <= PACKET_MAX &&
	       net_judge_rx(&rx->hdr, n->dev.driver_features);
}

/* Buffers for all of the frame in hand. False: there are none to be waited
 * for either, or it is the kick that brings them (then .wait says so). */
static bool has_room(struct net *n)
{
	struct net_rx *rx = &n->rx;

	if (!virtio_has(&n->dev, NET_F_MRG_RXBUF))
		return rx->len <= rx->buf[rx->buf0].len;
	while (rx->room < rx->len) {
		if (!has_place(rx) || rx->nbufs == n->dev.vq[NET_RX].size)
			return false;
		if (!take(n)) {
			rx->wait = RX_BUFFERS;
			return false;
		}
	}
	return rx->nbufs != 0;
}

/* Deliver or drop the frame in hand; false where it has to wait. */
static bool finish(struct net *n)
{
	struct net_rx *rx = &n->rx;

	if (is_good(n)) {
		if (!net_pay(&n->rx_limit, rx->len - NET_HDR, &rx->paid)) {
			rx->wait = RX_TOKENS;
			return false;
		}
		rx->wait = RX_FRAMES;
		if (has_room(n))
			deliver(n);
		else if (rx->wait == RX_BUFFERS)
			return false;
	}
	rx->len = 0;
	return true;
}

void net_rx_run(struct net *n)
{
	uint32_t left = VIRTIO_NET_ROUND;

	while (left && virtio_running(&n->dev) && (n->rx.len || fetch(n))) {
		uint32_t cost = MAX(n->rx.len, NET_COST_MIN);

		if (!finish(n))
			break;
		left -= MIN(left, cost);
	}
	virtio_flush(&n->dev, NET_RX);
}
