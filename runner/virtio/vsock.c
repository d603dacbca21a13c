/* SPDX-License-Identifier: Apache-2.0 */
/* The vsock device (virtio 1.2, 5.10): packets. */
#include "runner/virtio/vsock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/virtio/vsock_conn.h"

#define ARENA ((size_t)VSOCK_CONNS * VSOCK_BUF)
#define HDR   ((uint32_t)sizeof(struct vsock_hdr))

/* Bytes a turn of the loop, each direction, and what a packet at least
 * counts for. */
#define ROUND	 (1u << 20)
#define COST_MIN 1024u

static struct vsock *to_vsock(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

static void drop_all(struct vsock *v)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++)
		if (v->conn[i].state != CONN_FREE)
			conn_free(&v->conn[i]);
	v->rst_len = 0;
	v->tx_stalled = false;
	ev_del(&v->listen);
}

bool vsock_enter(struct vsock *v)
{
	if (virtio_enter(&v->dev))
		return true;
	drop_all(v);
	return false;
}

/* A ring that broke meanwhile took the connections with it; their peers on
 * the host learn it now. */
void vsock_leave(struct vsock *v)
{
	if (!virtio_running(&v->dev))
		drop_all(v);
	virtio_leave(&v->dev);
}

/* --- to the guest --------------------------------------------------------- */

static void put_packet(struct vsock *v, const struct virtq_chain *chain,
		       struct vsock_hdr *h)
{
	struct virtq *q = &v->dev.vq[VSOCK_RX];

	h->src_cid = VSOCK_CID_HOST;
	h->dst_cid = v->guest_cid;
	h->type = VSOCK_TYPE_STREAM;
	virtq_write(q, chain, 0, h, HDR);
	virtq_wrote(q, chain, HDR, h->len);
	virtq_push(q, chain, HDR + h->len);
}

static void put_rst(struct vsock *v, const struct virtq_chain *chain)
{
	const struct vsock_rst *r = &v->rst[v->rst_head];
	struct vsock_hdr h = { .src_port = r->host_port,
			       .dst_port = r->guest_port,
			       .op = VSOCK_OP_RST };

	v->rst_head = (v->rst_head + 1) % VSOCK_RSTS_MAX;
	v->rst_len--;
	put_packet(v, chain, &h);
}

/* The most urgent packet that @c owes; 0 when it turns out to owe none. */
static uint16_t pick_op(struct vsock_conn *c, const struct virtq_chain *chain,
			struct vsock_hdr *h)
{
	static const struct {
		uint8_t owe;
		uint16_t op;
	} ops[] = {
		{ OWE_RST, VSOCK_OP_RST },
		{ OWE_REQUEST, VSOCK_OP_REQUEST },
		{ OWE_RESPONSE, VSOCK_OP_RESPONSE },
		{ OWE_DATA, VSOCK_OP_RW },
		{ OWE_CREDIT, VSOCK_OP_CREDIT_UPDATE },
		{ OWE_SHUTDOWN, VSOCK_OP_SHUTDOWN },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!(c->owes & ops[i].owe))
			continue;
		if (ops[i].owe == OWE_DATA) {
			h->len = conn_fill(c, chain);
			if (!h->len)
				continue;
		} else {
			c->owes &= ~ops[i].owe;
		}
		if (ops[i].owe == OWE_SHUTDOWN)
			h->flags = c->host_shut;
		return ops[i].op;
	}
	return 0;
}

/* One packet of @c. Its length with header; 0 when it owed none. */
static uint32_t put_owed(struct vsock_conn *c, const struct virtq_chain *chain)
{
	struct vsock_hdr h = { .src_port = c->host_port,
			       .dst_port = c->guest_port };

	h.op = pick_op(c, chain, &h);
	if (h.op) {
		/* Every packet tells the credit. */
		h.buf_alloc = VSOCK_BUF;
		h.fwd_cnt = c->told_fwd = c->fwd;
		c->owes &= ~OWE_CREDIT;
		put_packet(c->v, chain, &h);
	}
	if (h.op == VSOCK_OP_RST)
		conn_free(c);
	else if (c->owes)
		conn_owe(c, 0);
	return h.op ? HDR + h.len : 0;
}

void vsock_send_owed(struct vsock *v)
{
	uint32_t left = ROUND;
	struct virtq_chain chain;

	while (left && (v->rst_len || v->fifo_len)) {
		struct vsock_conn *c = NULL;
		uint32_t n = HDR;

		if (!v->rst_len && !(c = conn_next_owing(v)))
			break;
		if (!virtio_pop(&v->dev, VSOCK_RX, &chain)) {
			if (c)
				conn_owe(c, 0);
			break;
		}
		/* 5.10.6: receive buffers have room for a header and more. */
		if (chain.nout || chain.in_len <= HDR) {
			virtio_fail(&v->dev, "a bad receive buffer");
			break;
		}
		if (c)
			n = put_owed(c, &chain);
		else
			put_rst(v, &chain);
		if (!n)
			virtq_unpop(&v->dev.vq[VSOCK_RX]);
		left -= MIN(left, MAX(n, COST_MIN));
	}
	if (!left)
		virtio_again(&v->dev, VSOCK_RX);
	if (v->tx_stalled && v->rst_len < VSOCK_RSTS_MAX) {
		v->tx_stalled = false;
		virtio_again(&v->dev, VSOCK_TX);
	}
	virtio_flush(&v->dev, VSOCK_RX);
}

/* --- from the guest ------------------------------------------------------- */

static void owe_stray_rst(struct vsock *v, const struct vsock_hdr *h)
{
	unsigned i = (v->rst_head + v->rst_len++) % VSOCK_RSTS_MAX;

	v->rst[i] = (struct vsock_rst){ .host_port = h->dst_port,
					.guest_port = h->src_port };
}

/* The guest connects: only to a stream that waits for it, and once. */
static bool accept_guest(struct vsock *v, const struct vsock_hdr *h)
{
	for (unsigned i = 0; i < v->nstreams; i++) {
		struct virtio_vsock_stream *s = &v->stream[i];
		struct vsock_conn *c;

		if (s->port != h->dst_port || s->fd < 0)
			continue;
		c = conn_new(v, s->fd, CONN_OPEN);
		if (!c)
			return false;
		s->fd = -1;
		c->host_port = h->dst_port;
		c->guest_port = h->src_port;
		conn_credit(c, h->buf_alloc, h->fwd_cnt);
		conn_owe(c, OWE_RESPONSE);
		conn_update(c);
		return true;
	}
	return false;
}

static void conn_packet(struct vsock_conn *c, const struct vsock_hdr *h,
			const struct virtq_chain *chain)
{
	if (h->op == VSOCK_OP_RST) {
		conn_guest_rst(c);
		return;
	}
	if (c->state == CONN_CLOSING)
		return;
	conn_credit(c, h->buf_alloc, h->fwd_cnt);
	if (c->state == CONN_REQUESTED) {
		if (h->op == VSOCK_OP_RESPONSE)
			conn_established(c);
		else
			conn_reset(c);
		return;
	}
	switch (h->op) {
	case VSOCK_OP_RW:
		conn_receive(c, chain, h->len);
		break;
	case VSOCK_OP_SHUTDOWN:
		conn_guest_shutdown(c, h->flags);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		conn_owe(c, OWE_CREDIT);
		break;
	default:
		conn_reset(c);
	}
}

static void packet(struct vsock *v, const struct virtq_chain *chain)
{
	struct vsock_conn *c;
	struct vsock_hdr h;

	if (!virtq_read(chain, 0, &h, HDR)) {
		virtio_fail(&v->dev, "a packet without a header");
		return;
	}
	/* 5.10.6.4: addresses that are not ours are not answered. */
	if (h.src_cid != v->guest_cid || h.dst_cid != VSOCK_CID_HOST)
		return;
	c = conn_find(v, h.dst_port, h.src_port);
	if (h.type != VSOCK_TYPE_STREAM || h.len > chain->out_len - HDR) {
		if (c && c->state != CONN_CLOSING)
			conn_reset(c);
		else if (!c && h.op != VSOCK_OP_RST)
			owe_stray_rst(v, &h);
		return;
	}
	if (c)
		conn_packet(c, &h, chain);
	else if (h.op == VSOCK_OP_REQUEST && accept_guest(v, &h))
		return;
	else if (h.op != VSOCK_OP_RST)
		owe_stray_rst(v, &h);
}

/* A packet calls for one stray RST at most: with no room for that, wait. */
static void receive(struct vsock *v)
{
	uint32_t left = ROUND;
	struct virtq_chain chain;

	while (left && v->rst_len < VSOCK_RSTS_MAX &&
	       virtio_pop(&v->dev, VSOCK_TX, &chain)) {
		packet(v, &chain);
		virtq_push(&v->dev.vq[VSOCK_TX], &chain, 0);
		left -= MIN(left, MAX(chain.out_len, COST_MIN));
	}
	v->tx_stalled = v->rst_len == VSOCK_RSTS_MAX;
	if (!left)
		virtio_again(&v->dev, VSOCK_TX);
	virtio_flush(&v->dev, VSOCK_TX);
}

/* --- the device ----------------------------------------------------------- */

static void vsock_notify(struct virtio_dev *dev, unsigned queue)
{
	struct vsock *v = to_vsock(dev);

	if (queue == VSOCK_EVENT)
		return;
	if (queue == VSOCK_TX)
		receive(v);
	vsock_send_owed(v);
	if (!virtio_running(dev))
		drop_all(v);
}

static void vsock_activate(struct virtio_dev *dev)
{
	vsock_listen(to_vsock(dev));
}

static void vsock_reset(struct virtio_dev *dev)
{
	drop_all(to_vsock(dev));
}

static void vsock_cfg_read(struct virtio_dev *dev, uint64_t off, void *data,
			   unsigned len)
{
	struct vsock *v = to_vsock(dev);

	virtio_cfg_copy(&v->guest_cid, sizeof(v->guest_cid), off, data, len);
}

static void vsock_free(struct virtio_dev *dev)
{
	struct vsock *v = to_vsock(dev);

	drop_all(v);
	for (unsigned i = 0; i < v->nstreams; i++)
		close_fd(&v->stream[i].fd);
	close_fd(&v->listen.fd);
	ev_del(&v->timer);
	close_fd(&v->timer.fd);
	if (v->arena)
		munmap(v->arena, ARENA);
	virtio_fini(dev);
	free(v);
}

static const struct virtio_ops vsock_ops = {
	.id = 19,
	.name = "vsock",
	.nqueues = VSOCK_QUEUES,
	.activate = vsock_activate,
	.reset = vsock_reset,
	.notify = vsock_notify,
	.cfg_read = vsock_cfg_read,
	.free = vsock_free,
};

static int start_timer(struct vsock *v)
{
	v->timer.fn = vsock_on_timer;
	v->timer.fd = ev_timer_fd();
	if (v->timer.fd < 0)
		return v->timer.fd;
	return ev_set(v->dev.host.loop, &v->timer, EPOLLIN);
}

/* All that can fail comes before the descriptors change hands. */
static int build(struct vsock *v, const struct virtio_vsock_params *p)
{
	int r = start_timer(v);
	void *arena;

	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return -errno;
	v->arena = arena;
	for (unsigned i = 0; i < p->nstreams && r == 0; i++)
		r = io_set_nonblock(p->stream[i].fd, 1);
	if (r == 0 && p->listen_fd >= 0)
		r = io_set_nonblock(p->listen_fd, 1);
	return r;
}

struct virtio_dev *virtio_vsock_new(const struct virtio_host *host,
				    unsigned gsi,
				    const struct virtio_vsock_params *p,
				    struct err *err)
{
	struct vsock *v;
	int r;

	if (p->guest_cid < VSOCK_CID_MIN || p->guest_cid > UINT32_MAX ||
	    p->nstreams > VSOCK_STREAMS_MAX) {
		err_say(err, -EINVAL, "virtio-vsock: bad CID or stream count");
		return NULL;
	}
	v = calloc(1, sizeof(*v));
	if (!v) {
		err_set(err, -ENOMEM, "virtio-vsock");
		return NULL;
	}
	v->guest_cid = p->guest_cid;
	v->next_port = VSOCK_FIRST_PORT;
	v->listen = (struct ev){ .fd = -1, .fn = vsock_on_listen };
	v->timer.fd = -1;
	if (virtio_init(&v->dev, &vsock_ops, host, gsi, err) < 0) {
		free(v);
		return NULL;
	}
	r = build(v, p);
	if (r < 0) {
		err_set(err, r, "virtio-vsock");
		vsock_free(&v->dev);
		return NULL;
	}
	v->nstreams = p->nstreams;
	memcpy(v->stream, p->stream, sizeof(v->stream));
	v->listen.fd = p->listen_fd;
	return &v->dev;
}
