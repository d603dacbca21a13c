/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder's side towards the upstreams: questions and their answers. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "net/forward_impl.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define ANSWER_BATCH 16
#define SICK_NS	     (10 * SECOND)
/*
 * A port that is closed is told by ICMP, which hosts send once in a second: so
 * who has refused is not asked before that, where it would look as if it were
 * silent. RFC 1812 4.3.2.8
 */
#define REFUSES_NS   (SECOND + SECOND / 16)
/* By TCP it is a connection, and then an answer. */
#define STREAM_PATIENCE 3

int ask_room(const struct forward *f)
{
	return f->free_waiter && f->nasks < ASKS_MAX &&
	       f->tokens >= ASK_COST + QUERY_COST;
}

/* --- asking ------------------------------------------------------------- */

static unsigned times_tried(const struct ask *k, unsigned upstream)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->ntries; i++)
		n += k->try[i].socket->upstream == upstream;
	return n;
}

/* The first of those that were asked least, and rather a healthy one. -1: all
 * have failed. */
static int choose(const struct forward *f, const struct ask *k, uint64_t now)
{
	unsigned least = ~0u;
	int best = -1;

	for (unsigned i = 0; i < f->nupstreams; i++) {
		unsigned cost = 2 * times_tried(k, i) + (f->sick[i] > now);

		if (k->failed >> i & 1 || f->refuses[i] > now)
			continue;
		if (cost < least) {
			least = cost;
			best = (int)i;
		}
	}
	return best;
}

/* Nobody listens there, or there is no way. An error is told once, to whoever
 * uses the socket next, so it is that of all who have asked. */
static void is_broken(struct forward *f, unsigned upstream, int error,
		      uint64_t now)
{
	f->broken |= 1u << upstream;
	f->sick[upstream] = now + SICK_NS;
	if (error == ECONNREFUSED)
		f->refuses[upstream] = now + REFUSES_NS;
}

static int send_try(struct forward *f, struct ask *k, unsigned upstream,
		    uint64_t now)
{
	const struct upstream_socket *s;
	uint8_t buf[DNS_UDP_MIN];
	uint16_t chance[2];
	size_t n;

	/* Whoever can guess these can answer. RFC 5452 */
	if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
		return -EIO;
	s = &f->upstream[upstream][chance[0] % FORWARD_SOCKETS];
	n = dns_build_query(buf, sizeof(buf), chance[1], &k->q,
			    k->no_edns ? 0 : DNS_MESSAGE_MAX);
	if (send(s->ev.fd, buf, n, MSG_NOSIGNAL) < 0) {
		is_broken(f, upstream, errno, now);
		return -errno;
	}
	k->try[k->ntries].socket = s;
	k->try[k->ntries].id = chance[1];
	k->try[k->ntries].edns = !k->no_edns;
	k->ntries++;
	return 0;
}

/* Ask the next, or be at the end. Half as much patience more for each. */
static void try_next(struct forward *f, struct ask *k)
{
	uint64_t now = io_now_ns();
	int i;

	while (k->ntries < TRIES_MAX && (i = choose(f, k, now)) >= 0) {
		if (send_try(f, k, (unsigned)i, now) == 0) {
			k->deadline = now + f->patience +
				      f->patience / 2 * (k->ntries - 1);
			return;
		}
		k->failed |= 1u << i;
	}
	if (k->cut)
		ask_answer(f, k, NULL, &k->answer);
	else
		ask_end(f, k, DNS_SERVFAIL, NULL);
}

/* Another, if who was asked last is over. */
static void go_on(struct forward *f, struct ask *k, int is_over)
{
	unsigned last = k->try[k->ntries - 1].socket->upstream;

	if (!k->stream && (is_over || k->failed >> last & 1))
		try_next(f, k);
}

void ask_failed(struct forward *f, struct ask *k, unsigned upstream)
{
	k->failed |= 1u << upstream;
	go_on(f, k, 0);
}

static struct ask *find(struct forward *f, const struct dns_question *q)
{
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (f->ask[i].state != ASK_FREE &&
		    dns_question_equal(&f->ask[i].q, q))
			return &f->ask[i];
	return NULL;
}

static struct ask *find_free(struct forward *f)
{
	struct ask *k = f->ask;

	while (k->state != ASK_FREE)
		k++;
	return k;
}

void ask_add(struct forward *f, const struct waiter *from,
	     const uint16_t *ports, unsigned nports)
{
	struct waiter *w = f->free_waiter;
	struct ask *k = find(f, &from->query.q);
	int is_new = !k;

	f->free_waiter = w->next;
	*w = *from;
	if (is_new) {
		k = find_free(f);
		k->state = ASK_SENT;
		k->q = w->query.q;
		k->waiters = NULL;
		k->ntries = 0;
		k->no_edns = 0;
		k->failed = 0;
		k->stream = NULL;
		k->cut = 0;
		k->nports = nports;
		memcpy(k->ports, ports, nports * sizeof(*ports));
		f->nasks++;
		f->tokens -= ASK_COST;
	}
	w->next = k->waiters;
	k->waiters = w;
	if (is_new)
		try_next(f, k);
}

/* --- answers ------------------------------------------------------------ */

/* Does the upstream have an answer? 0: another may. */
static int is_answer(const struct dns_answer *a)
{
	return a->rcode == DNS_NOERROR || a->rcode == DNS_NXDOMAIN;
}

/* Records go as they came, so who has asked by UDP hears that they are too long
 * for that, and asks by TCP itself. */
static int needs_stream(const struct ask *k)
{
	const struct waiter *w = k->waiters;

	while (w && !w->conn)
		w = w->next;
	return w || ask_is_for_addresses(k);
}

/* RFC 2181 9: a truncated answer is asked for again by TCP. The addresses that
 * it has are better than none, should that fail. */
static void take_cut(struct forward *f, struct ask *k, unsigned upstream,
		     const uint8_t *msg, struct dns_answer *a)
{
	if (!needs_stream(k)) {
		ask_answer(f, k, msg, a);
		return;
	}
	if (a->naddrs && ask_is_for_addresses(k)) {
		k->answer = *a;
		k->cut = 1;
	}
	if (k->stream || k->failed >> upstream & 1)
		return;
	if (stream_begin(f, k, upstream) < 0)
		ask_failed(f, k, upstream);
	else
		k->deadline = io_now_ns() + STREAM_PATIENCE * f->patience;
}

void ask_told(struct forward *f, struct ask *k, unsigned upstream,
	      const uint8_t *msg, struct dns_answer *a)
{
	/* Truncated by TCP: nobody has more than this. */
	if (is_answer(a) &&
	    (!a->truncated || a->naddrs || !ask_is_for_addresses(k)))
		ask_answer(f, k, msg, a);
	else
		ask_failed(f, k, upstream);
}

/* Which of the tries of @k this answers; -1: none. */
static int answered_try(const struct ask *k, const struct upstream_socket *s,
			const struct dns_answer *a)
{
	if (k->state != ASK_SENT || !dns_question_equal(&k->q, &a->q))
		return -1;
	for (unsigned i = 0; i < k->ntries; i++)
		if (k->try[i].socket == s && k->try[i].id == a->id)
			return (int)i;
	return -1;
}

static void take_answer(struct forward *f, const struct upstream_socket *s,
			const uint8_t *msg, size_t len)
{
	struct dns_answer *a = &f->answer;
	int parsed = dns_parse_answer(a, msg, len), i = -1;
	struct ask *k = NULL;

	if (parsed == -EBADMSG || len > DNS_MESSAGE_MAX)
		return;
	for (unsigned n = 0; n < ASKS_MAX && i < 0; n++) {
		k = &f->ask[n];
		i = answered_try(k, s, a);
	}
	if (i < 0)
		return;
	f->sick[s->upstream] = f->refuses[s->upstream] = 0;
	/* RFC 6891 7: it may not know EDNS. */
	if ((a->rcode == DNS_FORMERR || a->rcode == DNS_NOTIMP) &&
	    k->try[i].edns) {
		k->no_edns = 1;
		go_on(f, k, (unsigned)i + 1 == k->ntries);
	} else if (parsed < 0 || !is_answer(a)) {
		ask_failed(f, k, s->upstream);
	} else if (a->truncated) {
		take_cut(f, k, s->upstream, msg, a);
	} else {
		ask_answer(f, k, msg, a);
	}
}

void ask_on_answer(struct ev *ev, uint32_t events)
{
	struct upstream_socket *s = container_of(ev, struct upstream_socket, ev);

	(void)events;
	for (unsigned i = 0; i < ANSWER_BATCH; i++) {
		ssize_t n = recv(ev->fd, s->f->buf, sizeof(s->f->buf), 0);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				is_broken(s->f, s->upstream, errno,
					  io_now_ns());
			return;
		}
		take_answer(s->f, s, s->f->buf, (size_t)n);
	}
}

/* --- time --------------------------------------------------------------- */

/* No question has to wait for who is broken; whom it is put to instead may turn
 * out to be. */
static void leave_broken(struct forward *f)
{
	while (f->broken) {
		unsigned upstream = (unsigned)__builtin_ctz(f->broken);

		f->broken &= f->broken - 1;
		for (unsigned i = 0; i < ASKS_MAX; i++)
			if (f->ask[i].state == ASK_SENT)
				ask_failed(f, &f->ask[i], upstream);
	}
}

void ask_expire(struct forward *f, uint64_t now)
{
	leave_broken(f);
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		struct ask *k = &f->ask[i];

		if (k->state != ASK_SENT || k->deadline > now)
			continue;
		if (k->stream) {
			stream_failed(k->stream);
			continue;
		}
		f->sick[k->try[k->ntries - 1].socket->upstream] = now + SICK_NS;
		try_next(f, k);
	}
}

uint64_t ask_deadline(const struct forward *f)
{
	uint64_t at = f->broken ? 0 : UINT64_MAX;

	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (f->ask[i].state == ASK_SENT)
			at = MIN(at, f->ask[i].deadline);
	return at;
}
