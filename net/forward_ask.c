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

/* The same with records that are not understood. By TCP there is no way to say
 * that there is more: nobody would know where. */
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

/* --- asking ------------------------------------------------------------- */

static unsigned times_tried(const struct ask *k, unsigned upstream)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->ntries; i++)
		n += k->try[i].socket->upstream == upstream;
	return n;
}

/* The first of those that were asked least, and rather a healthy one. */
static unsigned choose(const struct forward *f, const struct ask *k,
		       uint64_t now)
{
	unsigned best = 0, least = ~0u;

	for (unsigned i = 0; i < f->nupstreams; i++) {
		unsigned cost = 2 * times_tried(k, i) + (f->sick[i] > now);

		if (cost < least) {
			least = cost;
			best = i;
		}
	}
	return best;
}

static int send_try(struct forward *f, struct ask *k, uint64_t now)
{
	const struct upstream_socket *s;
	uint8_t buf[DNS_UDP_MIN];
	unsigned upstream = choose(f, k, now);
	uint16_t chance[2];
	size_t n;

	/* Whoever can guess these can answer. RFC 5452 */
	if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
		return -EIO;
	s = &f->upstream[upstream][chance[0] % FORWARD_SOCKETS];
	n = dns_build_query(buf, sizeof(buf), chance[1], &k->q,
			    k->no_edns ? 0 : DNS_MESSAGE_MAX);
	k->try[k->ntries].socket = s;
	k->try[k->ntries].id = chance[1];
	k->ntries++;
	if (send(s->ev.fd, buf, n, MSG_NOSIGNAL) < 0) {
		f->sick[upstream] = now + SICK_NS;
		return -errno;
	}
	return 0;
}

/* Ask the next, or be at the end. Half as much patience more for each. */
static void try_next(struct forward *f, struct ask *k)
{
	uint64_t now = io_now_ns();

	while (f->nupstreams && k->ntries < TRIES_MAX)
		if (send_try(f, k, now) == 0) {
			k->deadline = now + f->patience +
				      f->patience / 2 * (k->ntries - 1);
			return;
		}
	ask_end(f, k, DNS_SERVFAIL, NULL);
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

/* Does the upstream have an answer? 0: another may. */
static int is_final(const struct dns_answer *a, int parsed)
{
	if (parsed < 0 || (a->rcode != DNS_NOERROR && a->rcode != DNS_NXDOMAIN))
		return 0;
	/* RFC 2181 9: a truncated one is good for what it has. Only who asked
	 * can ask again by TCP, and we have no way to. */
	return !a->truncated || a->naddrs ||
	       (a->q.type != DNS_A && a->q.type != DNS_AAAA);
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

	if (parsed == -EBADMSG)
		return;
	for (unsigned n = 0; n < ASKS_MAX && i < 0; n++) {
		k = &f->ask[n];
		i = answered_try(k, s, a);
	}
	if (i < 0)
		return;
	f->sick[s->upstream] = 0;
	if (!is_final(a, parsed)) {
		/* RFC 6891 7: it may not know EDNS. */
		if (a->rcode == DNS_FORMERR || a->rcode == DNS_NOTIMP)
			k->no_edns = 1;
		if ((unsigned)i + 1 == k->ntries)
			try_next(f, k);
	} else if (k->q.type == DNS_A || k->q.type == DNS_AAAA) {
		take_addresses(f, k, a);
	} else {
		pass_on(f, k, msg, a);
	}
}

/* Nobody listens there, or there is no way: no need to wait. */
static void upstream_broke(struct forward *f, const struct upstream_socket *s)
{
	f->sick[s->upstream] = io_now_ns() + SICK_NS;
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		struct ask *k = &f->ask[i];

		if (k->state == ASK_SENT && k->try[k->ntries - 1].socket == s)
			try_next(f, k);
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
				upstream_broke(s->f, s);
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
