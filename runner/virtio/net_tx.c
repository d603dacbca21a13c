/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from the driver to the tap (virtio 1.2, 5.1.6.2). */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/virtio/net_impl.h"

/* The first bytes of a packet: no gap between. */
struct start {
	struct net_hdr hdr;
	uint8_t head[NET_HEAD];
};

/* Bytes that the frame in hand has, or 0 where it is none. */
static uint32_t frame_len(const struct net_tx *tx)
{
	uint32_t len = tx->chain.out_len;

	if (len < NET_HDR + NET_FRAME_MIN || len > NET_HDR + NET_FRAME_MAX)
		return 0;
	return len - NET_HDR;
}

/* The frame in hand as the tap is to have it. 0: not at all. */
static unsigned describe(struct net *n, uint32_t len, struct start *s,
			 struct iovec *iov)
{
	struct net_tx *tx = &n->tx;
	uint32_t got = NET_HDR + MIN(len, NET_HEAD);
	struct net_hdr asked;

	virtq_read(&tx->chain, 0, s, got);
	asked = s->hdr;
	switch (net_judge_tx(&s->hdr, s->head, len, n->dev.driver_features)) {
	case NET_DROP:
		return 0;
	case NET_SUM:
		memset(&s->hdr, 0, sizeof(s->hdr));
		virtq_read(&tx->chain, NET_HDR, tx->whole, len);
		net_sum(tx->whole, len, asked.csum_start, asked.csum_offset);
		iov[0] = (struct iovec){ &s->hdr, NET_HDR };
		iov[1] = (struct iovec){ tx->whole, len };
		return 2;
	default:
		iov[0] = (struct iovec){ s, got };
		return 1 + virtq_out(&tx->chain, got, UINT32_MAX, iov + 1);
	}
}

/* Send or drop the frame in hand; false where it has to wait. */
static bool send_frame(struct net *n, uint32_t len, bool serve)
{
	struct iovec iov[1 + VIRTQ_SIZE_MAX];
	struct start s;
	unsigned cnt = describe(n, len, &s, iov);

	if (!cnt)
		return true;
	while (writev(n->tap.fd, iov, (int)cnt) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
			n->tx.blocked = true;
			return false;
		case EBADFD: /* a tap without its device */
		case EPIPE:
		case ECONNRESET:
			if (serve)
				return false;
			net_gone(n);
			return true;
		default:
			/* It is down, has no memory, or wants no such frame:
			 * networks lose frames. */
			return true;
		}
	}
	return true;
}

bool net_tx_run(struct net *n, uint32_t most, bool serve)
{
	struct net_tx *tx = &n->tx;
	uint32_t left = most;

	tx->blocked = false;
	while (left && (tx->active ||
			virtio_pop(&n->dev, NET_TX, &tx->chain))) {
		uint32_t len = n->gone ? 0 : frame_len(tx);

		if (!tx->active)
			tx->paid = false;
		tx->active = true;
		if (serve && len > VIRTIO_NET_SHORT)
			break;
		if (len && (!net_pay(&n->tx_limit, len, &tx->paid) ||
			    !send_frame(n, len, serve)))
			break;
		virtq_push(&n->dev.vq[NET_TX], &tx->chain, 0);
		tx->active = false;
		left -= MIN(left, MAX(len, NET_COST_MIN));
	}
	virtio_flush(&n->dev, NET_TX);
	return left && !tx->active;
}
