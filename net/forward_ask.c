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

/* --- the end of one ----------------------------------------------------- */

static struct waiter *next_waiter(struct forward *f, struct ask *k)
{
	struct waiter *w = k->waiters;

	if (w) {
		k->waiters = w->next;
		w->next = f->free_waiter;
		f->free_waiter = w;
	}
	return w;
}

static size_t room_of(const struct forward *f, const struct waiter *w)
{
	return w->conn ? sizeof(f->out) : w->query.udp_size;
}

static void forget(struct forward *f, struct ask *k)
{
	stream_give_up(k);
	k->state = ASK_FREE;
	f->nasks--;
}

void ask_end(struct forward *f, struct ask *k, unsigned rcode,
	     const struct dns_answer *a)
{
	struct waiter *w;

	while ((w = next_waiter(f, k)))
		guest_reply(f, w, f->out,
			    dns_build_answer(f->out, room_of(f, w), &w->query,
					     rcode, a));
	forget(f, k);
}

/* The same with records that are not understood. Who has asked by TCP cannot be
 * told that there is more: nobody would know where. */
static void pass_on(struct forward *f, struct ask *k, const uint8_t *msg,
		    const struct dns_answer *a)
{
	struct waiter *w;

	while ((w = next_waiter(f, k))) {
		size_t room = room_of(f, w), n;

		if (w->conn && a->truncated)
			n = dns_build_answer(f->out, room, &w->query,
					     DNS_SERVFAIL, NULL);
		else
			n = dns_pass_on(f->out, room, &w->query, msg, a);
		guest_reply(f, w, f->out, n);
	}
	forget(f, k);
}

/* --- addresses ----------------------------------------------------------- */

/* May the chain lead where it leads? */
static int chain_is_denied(const struct forward *f, const struct dns_answer *a)
{
	uint16_t ports[NET_RULES_MAX];
	char name[DNS_TEXT_MAX];
	unsigned n;

	for (unsigned i = 0; i < a->nlinks; i++)
		if (dns_name_text(&a->link[i], name) < 0 ||
		    !net_name_allowed(&f->denied, name, ports, &n))
			return 1;
	return 0;
}

static void drop_unreachable(const struct forward *f, struct dns_answer *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->naddrs; i++)
		if (net_answerable(&f->rules, &a->addr[i]))
			a->addr[n++] = a->addr[i];
	a->naddrs = n;
}

static void take_addresses(struct forward *f, struct ask *k,
			   struct dns_answer *a)
{
	if (chain_is_denied(f, a)) {
		ask_end(f, k, DNS_BLOCKED, NULL);
		return;
	}
	/* RFC 2308 2.1: there may be aliases, but no data. */
	if (a->rcode == DNS_NXDOMAIN)
		a->naddrs = 0;
	drop_unreachable(f, a);
	a->ttl = MAX(MIN(a->ttl, FORWARD_TTL_MAX), FORWARD_TTL_MIN);
	if (!a->naddrs || !k->nports) {
		ask_end(f, k, a->rcode, a);
		return;
	}
	k->answer = *a;
	learn_add(f, k);
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

static void is_broken(struct forward *f, unsigned upstream, int error,
		      uint64_t now)
{
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
		take_addresses(f, k, &k->answer);
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

static int is_for_addresses(const struct ask *k)
{
	return k->q.type == DNS_A || k->q.type == DNS_AAAA;
}

static void take_whole(struct forward *f, struct ask *k, const uint8_t *msg,
		       struct dns_answer *a)
{
	stream_give_up(k);
	if (is_for_addresses(k))
		take_addresses(f, k, a);
	else
		pass_on(f, k, msg, a);
}

/* Records go as they came, so who has asked by UDP hears that they are too long
 * for that, and asks by TCP itself. */
static int needs_stream(const struct ask *k)
{
	const struct waiter *w = k->waiters;

	while (w && !w->conn)
		w = w->next;
	return w || is_for_addresses(k);
}

/* RFC 2181 9: a truncated answer is asked for again by TCP. The addresses that
 * it has are better than none, should that fail. */
static void take_cut(struct forward *f, struct ask *k, unsigned upstream,
		     const uint8_t *msg, struct dns_answer *a)
{
	if (!needs_stream(k)) {
		pass_on(f, k, msg, a);
		return;
	}
	if (a->naddrs && is_for_addresses(k)) {
		k->answer = *a;
		k->cut = 1;
	}
	if (k->stream)
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
	if (is_answer(a) && (!a->truncated || a->naddrs || !is_for_addresses(k)))
		take_whole(f, k, msg, a);
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
		take_whole(f, k, msg, a);
	}
}

/* Nobody listens there, or there is no way: no need to wait, for any question
 * that it was asked. */
static void upstream_broke(struct forward *f, unsigned upstream, int error)
{
	is_broken(f, upstream, error, io_now_ns());
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (f->ask[i].state == ASK_SENT)
			ask_failed(f, &f->ask[i], upstream);
}

void ask_on_answer(struct ev *ev, uint32_t events)
{
	struct upstream_socket *s = container_of(ev, struct upstream_socket, ev);

	(void)events;
	for (unsigned i = 0; i < ANSWER_BATCH; i++) {
		ssize_t n = recv(ev->fd, s->f->buf, sizeof(s->f->buf), 0);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				upstream_broke(s->f, s->upstream, errno);
			return;
		}
		take_answer(s->f, s, s->f->buf, (size_t)n);
	}
}

/* --- time --------------------------------------------------------------- */

void ask_expire(struct forward *f, uint64_t now)
{
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
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (f->ask[i].state == ASK_SENT)
			at = MIN(at, f->ask[i].deadline);
	return at;
}
