/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder's side towards its guest: UDP, TCP, what may be asked. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/forward_impl.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/* --- what may be asked -------------------------------------------------- */

/* RFC 6895 3.1: types that are no data, from 128 on; ANY (RFC 8482) and
 * transfers of zones among them. */
static int is_data(uint16_t type)
{
	return type && type != DNS_OPT && (type < 128 || type > 255);
}

/* RFC 6303: who is at an address that the guest cannot reach is the host's own
 * network's affair. */
static int is_private(const struct forward *f, const char *name)
{
	struct net_addr a;

	return dns_name_address(name, &a) == 0 && !net_answerable(&f->rules, &a);
}

/* 0, or what to answer at once. */
static int judge(const struct forward *f, const struct dns_query *q,
		 uint16_t ports[NET_RULES_MAX], unsigned *nports)
{
	char name[DNS_TEXT_MAX];

	if (q->q.class != DNS_CLASS_IN || !is_data(q->q.type))
		return DNS_REFUSED;
	/* A name that has no text cannot be compared with rules. */
	if (dns_name_text(&q->q.name, name) < 0 ||
	    !net_name_allowed(&f->rules, name, ports, nports) ||
	    is_private(f, name))
		return DNS_BLOCKED;
	return 0;
}

static size_t build(struct forward *f, const struct dns_query *q, size_t size,
		    unsigned rcode)
{
	return q->q.name.len ? dns_build_answer(f->out, size, q, rcode, NULL) :
			       dns_build_error(f->out, size, q, rcode);
}

/* @w is a query's origin. -EINVAL: it was none. */
static int take_query(struct forward *f, struct waiter *w, const uint8_t *msg,
		      size_t len)
{
	struct dns_query *q = &w->query;
	uint16_t ports[NET_RULES_MAX];
	unsigned nports = 0;
	int rcode = dns_parse_query(q, msg, len);

	f->tokens -= QUERY_COST;
	if (rcode < 0)
		return rcode;
	if (rcode == 0)
		rcode = judge(f, q, ports, &nports);
	if (rcode == 0 && q->q.type != DNS_SVCB && q->q.type != DNS_HTTPS) {
		ask_add(f, w, ports, nports);
		return 0;
	}
	/* RFC 9460: they may have addresses, which nobody opens. A client
	 * without them asks for A and AAAA. */
	guest_reply(f, w, f->out,
		    build(f, q, w->conn ? sizeof(f->out) : q->udp_size,
			  (unsigned)rcode));
	return 0;
}

/* --- UDP ---------------------------------------------------------------- */

static int udp_take(struct listener *l)
{
	struct forward *f = l->f;
	struct waiter w = { .listener = l, .fromlen = sizeof(w.from) };
	ssize_t n = recvfrom(l->ev.fd, f->buf, sizeof(f->buf), 0,
			     (struct sockaddr *)&w.from, &w.fromlen);

	l->turn = n >= 0;
	if (n >= 0)
		(void)take_query(f, &w, f->buf, (size_t)n);
	return n >= 0;
}

/* --- TCP ---------------------------------------------------------------- */

static void conn_close(struct conn *c)
{
	ev_del(&c->ev);
	close_fd(&c->ev.fd);
}

/* -errno: it is over. 1: all is written. */
static int conn_write(struct conn *c)
{
	while (c->sent < c->nout) {
		ssize_t n = send(c->ev.fd, c->out + c->sent, c->nout - c->sent,
				 MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->sent += (unsigned)n;
	}
	c->sent = c->nout = 0;
	return 1;
}

/* The length of the query that is there whole; 0: none is. */
static int conn_query(const struct conn *c)
{
	unsigned len = (unsigned)c->in[0] << 8 | c->in[1];

	if (c->nin < 2)
		return 0;
	if (len < DNS_HEADER || len > DNS_QUERY_MAX)
		return -EMSGSIZE;
	return c->nin >= 2 + len ? (int)len : 0;
}

/*
 * RFC 7766 6.2.1 has queries one after another, and their answers in any order.
 * Here one at a time is under way, in their order; each waits for its turn.
 */
static int conn_go(struct conn *c)
{
	struct forward *f = c->f;
	int r = conn_write(c);

	if (r <= 0)
		return r < 0 ? r : ev_set(&f->loop, &c->ev, EPOLLOUT);
	if (!c->waits) {
		r = conn_query(c);
		if (r < 0)
			return r;
		if (r == 0)
			return ev_set(&f->loop, &c->ev, EPOLLIN);
		c->turn = 1;
	}
	ev_del(&c->ev);
	return 0;
}

static void conn_try(struct conn *c)
{
	if (conn_go(c) < 0)
		conn_close(c);
}

static void conn_take(struct conn *c)
{
	struct waiter w = { .conn = c };
	unsigned len = (unsigned)conn_query(c);

	c->turn = 0;
	c->waits = 1;
	if (take_query(c->f, &w, c->in + 2, len) < 0) {
		conn_close(c);
		return;
	}
	c->nin -= 2 + len;
	memmove(c->in, c->in + 2 + len, c->nin);
}

static void on_conn(struct ev *ev, uint32_t events)
{
	struct conn *c = container_of(ev, struct conn, ev);
	ssize_t n;

	(void)events;
	if (!c->nout) {
		n = recv(ev->fd, c->in + c->nin, sizeof(c->in) - c->nin, 0);
		if (n <= 0) {
			if (n == 0 || errno != EAGAIN)
				conn_close(c);
			return;
		}
		c->nin += (unsigned)n;
	}
	conn_try(c);
}

static struct conn *free_conn(struct forward *f)
{
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		if (f->conn[i].ev.fd < 0)
			return &f->conn[i];
	return NULL;
}

static int tcp_take(struct listener *l)
{
	struct forward *f = l->f;
	struct conn *c = free_conn(f);
	int fd = c ? accept4(l->ev.fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC) :
		     -1;

	l->turn = fd >= 0;
	if (fd < 0)
		return 0;
	f->tokens -= QUERY_COST;
	c->ev = (struct ev){ .fd = fd, .fn = on_conn };
	c->f = f;
	c->waits = c->turn = c->told = 0;
	c->nin = c->nout = c->sent = 0;
	c->deadline = io_now_ns() + f->idle;
	if (ev_set(&f->loop, &c->ev, EPOLLIN) < 0)
		conn_close(c);
	return 1;
}

/* --- both --------------------------------------------------------------- */

static void conn_reply(struct conn *c, const uint8_t *msg, size_t len)
{
	c->out[0] = (uint8_t)(len >> 8);
	c->out[1] = (uint8_t)len;
	memcpy(c->out + 2, msg, len);
	c->nout = 2 + (unsigned)len;
	c->waits = 0;
	c->told = 1;
	c->deadline = io_now_ns() + c->f->idle;
}

void guest_reply(struct forward *f, struct waiter *w, const uint8_t *msg,
		 size_t len)
{
	(void)f;
	if (w->conn)
		conn_reply(w->conn, msg, len);
	else if (len) /* what the guest does not take is lost, as UDP may be */
		(void)!sendto(w->listener->ev.fd, msg, len, MSG_NOSIGNAL,
			      (struct sockaddr *)&w->from, w->fromlen);
}

void guest_on_listener(struct ev *ev, uint32_t events)
{
	(void)events;
	container_of(ev, struct listener, ev)->turn = 1;
}

/* What there is no room for would be told on and on. So nobody listens, but
 * has a look when it is its turn. */
static void listen_if(struct listener *l, int room)
{
	if (l->ev.fd < 0)
		return;
	if (room) {
		(void)!ev_set(&l->f->loop, &l->ev, EPOLLIN);
	} else {
		ev_del(&l->ev);
		l->turn = 1;
	}
}

/* The query or connection of @party, if it has one. */
static int take(struct forward *f, unsigned party)
{
	if (party < FORWARD_LISTENERS)
		return f->udp[party].turn && udp_take(&f->udp[party]);
	party -= FORWARD_LISTENERS;
	if (party < FORWARD_LISTENERS)
		return f->tcp[party].turn && tcp_take(&f->tcp[party]);
	party -= FORWARD_LISTENERS;
	if (f->conn[party].ev.fd < 0 || !f->conn[party].turn)
		return 0;
	conn_take(&f->conn[party]);
	return 1;
}

/*
 * One from each, and on from there the next time: whoever asks without end, and
 * has used up what the guest may have, holds up nobody else.
 */
int guest_turn(struct forward *f)
{
	int taken = 0, room;

	for (unsigned i = 0; i < PARTIES && ask_room(f); i++) {
		taken += take(f, f->party);
		f->party = (f->party + 1) % PARTIES;
	}
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		struct conn *c = &f->conn[i];

		if (c->ev.fd >= 0 && c->told) {
			c->told = 0;
			conn_try(c);
		}
	}
	room = ask_room(f);
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++) {
		listen_if(&f->udp[i], room);
		listen_if(&f->tcp[i], room && free_conn(f));
	}
	return taken;
}

/* A query that waits has a deadline of its own. */
void guest_expire(struct forward *f, uint64_t now)
{
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		struct conn *c = &f->conn[i];

		if (c->ev.fd >= 0 && !c->waits && !c->told && !c->turn &&
		    c->deadline <= now)
			conn_close(c);
	}
}

uint64_t guest_deadline(const struct forward *f, uint64_t now)
{
	uint64_t at = UINT64_MAX;
	int room = ask_room(f);

	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++) {
		const struct conn *c = &f->conn[i];

		if (c->ev.fd < 0 || c->waits)
			continue;
		if (c->told || (c->turn && room))
			return now;
		if (!c->turn)
			at = MIN(at, c->deadline);
	}
	/* Places come with an answer, tokens with time: some for a few at once,
	 * where somebody has waited for them. */
	return !room && f->nasks < ASKS_MAX && f->free_waiter ?
		       MIN(at, now + 4 * ASK_COST) : at;
}
