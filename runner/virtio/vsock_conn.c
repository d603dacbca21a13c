/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the vsock device: the host's sockets. */
#include "runner/virtio/vsock_conn.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

/* How long the guest may take to answer a full SHUTDOWN, and how often we look
 * whether those still wait for whom it has not answered a REQUEST. */
#define ANSWER_NS 2000000000ull

static void on_conn(struct ev *ev, uint32_t events);

struct vsock_conn *conn_new(struct vsock *v, int fd, enum conn_state state)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++) {
		struct vsock_conn *c = &v->conn[i];
		bool queued = c->queued;

		if (c->state != CONN_FREE)
			continue;
		*c = (struct vsock_conn){
			.v = v,
			.ev = { .fd = fd, .fn = on_conn },
			.state = state,
			.queued = queued,
			.buf = v->arena + (size_t)i * VSOCK_BUF,
		};
		return c;
	}
	return NULL;
}

struct vsock_conn *conn_find(struct vsock *v, uint32_t host_port,
			     uint32_t guest_port)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++) {
		struct vsock_conn *c = &v->conn[i];

		if (c->state >= CONN_REQUESTED && c->state <= CONN_CLOSING &&
		    c->host_port == host_port && c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

static void close_socket(struct vsock_conn *c)
{
	ev_del(&c->ev);
	close_fd(&c->ev.fd);
	if (c->backed)
		madvise(c->buf, VSOCK_BUF, MADV_DONTNEED);
	c->backed = false;
	c->len = 0;
	c->deadline = 0;
}

void conn_free(struct vsock_conn *c)
{
	close_socket(c);
	c->owes = 0;
	c->state = CONN_FREE;
}

void conn_reset(struct vsock_conn *c)
{
	close_socket(c);
	c->state = CONN_CLOSING;
	c->owes = 0;
	conn_owe(c, OWE_RST);
}

void conn_owe(struct vsock_conn *c, uint8_t what)
{
	struct vsock *v = c->v;

	c->owes |= what;
	if (c->queued)
		return;
	c->queued = true;
	v->fifo[(v->fifo_head + v->fifo_len++) % VSOCK_CONNS] =
		(uint8_t)(c - v->conn);
}

struct vsock_conn *conn_next_owing(struct vsock *v)
{
	while (v->fifo_len) {
		struct vsock_conn *c = &v->conn[v->fifo[v->fifo_head]];

		v->fifo_head = (v->fifo_head + 1) % VSOCK_CONNS;
		v->fifo_len--;
		c->queued = false;
		if (c->owes)
			return c;
	}
	return NULL;
}

/* --- deadlines ------------------------------------------------------------ */

void vsock_arm_timer(struct vsock *v)
{
	if (!v->timer_armed)
		v->timer_armed = ev_timer_arm(v->timer.fd, ANSWER_NS) == 0;
}

void conn_set_deadline(struct vsock_conn *c)
{
	struct vsock *v = c->v;

	c->deadline = io_now_ns() + ANSWER_NS;
	vsock_arm_timer(v);
}

static bool host_gone(const struct vsock_conn *c)
{
	struct pollfd p = { .fd = c->ev.fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* A busy host may not run the guest for seconds: how long a caller waits for
 * it is the caller's to say. */
static bool may_wait(const struct vsock_conn *c)
{
	return c->state == CONN_REQUESTED && !host_gone(c);
}

void vsock_on_timer(struct ev *ev, uint32_t events)
{
	struct vsock *v = container_of(ev, struct vsock, timer);
	uint64_t now = io_now_ns(), next = 0;

	(void)events;
	ev_drain(ev->fd);
	v->timer_armed = false;
	if (!vsock_enter(v))
		return;
	vsock_listen(v);
	for (unsigned i = 0; i < VSOCK_CONNS; i++) {
		struct vsock_conn *c = &v->conn[i];

		if (c->deadline && c->deadline <= now && may_wait(c))
			c->deadline = now + ANSWER_NS;
		if (c->deadline && c->deadline <= now)
			conn_reset(c);
		else if (c->deadline && (!next || c->deadline < next))
			next = c->deadline;
	}
	if (next)
		v->timer_armed = ev_timer_arm(ev->fd, next - now) == 0;
	vsock_send_owed(v);
	vsock_leave(v);
}

/* --- guest to host -------------------------------------------------------- */

/*
 * Tell the guest of room before it has used up what it knows of. That may be
 * less than our buffer: Linux holds what it has under way to the size of its
 * own, too.
 */
static void forwarded(struct vsock_conn *c, uint32_t n)
{
	c->fwd += n;
	if (c->fwd - c->told_fwd > MIN(VSOCK_BUF, c->peer_alloc) / 2)
		conn_owe(c, OWE_CREDIT);
}

static void host_shut(struct vsock_conn *c, uint8_t flags)
{
	c->host_shut |= flags;
	conn_owe(c, OWE_SHUTDOWN);
	if (c->host_shut == VSOCK_SHUT_BOTH && !c->deadline)
		conn_set_deadline(c);
}

/* The host does not read any more: its bytes are taken and dropped. */
static void host_stopped_reading(struct vsock_conn *c)
{
	forwarded(c, c->len);
	c->len = 0;
	host_shut(c, VSOCK_SHUT_RCV);
}

/* Bytes written, 0 when the socket is full, or -errno. */
static ssize_t send_iov(struct vsock_conn *c, struct iovec *iov, unsigned n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r = sendmsg(c->ev.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return r;
}

/* The buffer is empty: what the guest's shutdown was waiting for. */
static void drained(struct vsock_conn *c)
{
	c->head = 0;
	if (c->state == CONN_DRAINING)
		conn_free(c);
	else if (c->guest_shut == VSOCK_SHUT_BOTH)
		conn_reset(c);
	else if (c->guest_shut & VSOCK_SHUT_SEND)
		shutdown(c->ev.fd, SHUT_WR);
}

static void drain(struct vsock_conn *c)
{
	uint32_t first = MIN(c->len, VSOCK_BUF - c->head);
	struct iovec iov[2] = {
		{ .iov_base = c->buf + c->head, .iov_len = first },
		{ .iov_base = c->buf, .iov_len = c->len - first },
	};
	ssize_t n = send_iov(c, iov, c->len > first ? 2 : 1);

	if (n < 0) {
		host_stopped_reading(c);
	} else {
		c->head = (c->head + (uint32_t)n) % VSOCK_BUF;
		c->len -= (uint32_t)n;
		forwarded(c, (uint32_t)n);
	}
	if (!c->len)
		drained(c);
}

/* Keep payload [off, off + len); the caller knows that it fits. */
static void keep(struct vsock_conn *c, const struct virtq_chain *chain,
		 uint32_t off, uint32_t len)
{
	uint32_t tail = (c->head + c->len) % VSOCK_BUF;
	uint32_t first = MIN(len, VSOCK_BUF - tail);

	virtq_read(chain, off, c->buf + tail, first);
	virtq_read(chain, off + first, c->buf, len - first);
	c->len += len;
	c->backed = true;
}

void conn_receive(struct vsock_conn *c, const struct virtq_chain *chain,
		  uint32_t len)
{
	uint32_t off = sizeof(struct vsock_hdr);
	struct iovec iov[VIRTQ_SIZE_MAX];
	ssize_t n = 0;

	/* More than the credit, or after the end: the guest broke the rules. */
	if (len > VSOCK_BUF - c->len || (c->guest_shut & VSOCK_SHUT_SEND)) {
		conn_reset(c);
		return;
	}
	if (c->host_shut & VSOCK_SHUT_RCV) {
		forwarded(c, len);
		return;
	}
	if (len && !c->len)
		n = send_iov(c, iov, virtq_out(chain, off, len, iov));
	if (n < 0) {
		forwarded(c, len);
		host_stopped_reading(c);
	} else {
		forwarded(c, (uint32_t)n);
		if ((uint32_t)n < len)
			keep(c, chain, off + (uint32_t)n, len - (uint32_t)n);
	}
	conn_update(c);
}

void conn_guest_shutdown(struct vsock_conn *c, uint32_t flags)
{
	c->guest_shut |= flags & VSOCK_SHUT_BOTH;
	if (c->guest_shut & VSOCK_SHUT_RCV) {
		c->owes &= ~OWE_DATA;
		shutdown(c->ev.fd, SHUT_RD);
	}
	if (!c->len)
		drained(c);
	conn_update(c);
}

/*
 * A guest that closes in good order and then gives up waiting for a slow host
 * ends with an RST: the host still gets what was sent before.
 */
void conn_guest_rst(struct vsock_conn *c)
{
	if (c->len && c->guest_shut == VSOCK_SHUT_BOTH &&
	    c->state == CONN_OPEN) {
		c->state = CONN_DRAINING;
		c->owes = 0;
		c->deadline = 0;
		conn_update(c);
	} else {
		conn_free(c);
	}
}

/* --- host to guest -------------------------------------------------------- */

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd;

	return in_flight < c->peer_alloc ? c->peer_alloc - in_flight : 0;
}

void conn_credit(struct vsock_conn *c, uint32_t alloc, uint32_t fwd)
{
	c->peer_alloc = alloc;
	c->peer_fwd = fwd;
	if (c->starved && credit(c)) {
		c->starved = false;
		conn_owe(c, OWE_DATA);
	}
}

static bool reads(const struct vsock_conn *c)
{
	return c->state == CONN_OPEN && !(c->host_shut & VSOCK_SHUT_SEND) &&
	       !(c->guest_shut & VSOCK_SHUT_RCV);
}

void conn_update(struct vsock_conn *c)
{
	uint32_t want = 0;

	if (c->state == CONN_HELLO ||
	    (reads(c) && !c->starved && !(c->owes & OWE_DATA)))
		want |= EPOLLIN;
	if (c->len)
		want |= EPOLLOUT;
	if (c->ev.fd >= 0 && ev_set(c->v->dev.host.loop, &c->ev, want) < 0)
		conn_reset(c);
}

/* End of file: only this direction, or did the host close altogether? */
static void host_eof(struct vsock_conn *c)
{
	bool gone = host_gone(c) && !(c->guest_shut & VSOCK_SHUT_SEND);

	host_shut(c, gone ? VSOCK_SHUT_BOTH : VSOCK_SHUT_SEND);
}

uint32_t conn_fill(struct vsock_conn *c, const struct virtq_chain *chain)
{
	uint32_t off = sizeof(struct vsock_hdr);
	uint32_t room = MIN(chain->in_len - off, credit(c));
	struct iovec iov[VIRTQ_SIZE_MAX];
	ssize_t n = -1;

	c->starved = !room;
	if (room) {
		unsigned cnt = virtq_in(chain, off, room, iov);

		n = readv(c->ev.fd, iov, (int)cnt);
		if (n == 0)
			host_eof(c);
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			host_shut(c, VSOCK_SHUT_BOTH);
	}
	if (n > 0)
		c->sent += (uint32_t)n;
	/* A short read found the socket empty. */
	if (n < (ssize_t)room || !room) {
		c->owes &= ~OWE_DATA;
		conn_update(c);
	}
	return n > 0 ? (uint32_t)n : 0;
}

/* --- events --------------------------------------------------------------- */

static void on_conn(struct ev *ev, uint32_t events)
{
	struct vsock_conn *c = container_of(ev, struct vsock_conn, ev);
	struct vsock *v = c->v;

	/* Entering may have carried out a reset, and c with it. */
	if (!vsock_enter(v))
		return;
	if (c->state == CONN_HELLO)
		conn_hello(c);
	else if (c->len && (events & ~EPOLLIN))
		drain(c);
	if (reads(c) && (events & ~EPOLLOUT))
		conn_owe(c, OWE_DATA);
	vsock_send_owed(v);
	conn_update(c);
	vsock_leave(v);
}
