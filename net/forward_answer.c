/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a question: what the guest gets of an upstream's answer. */
#include "net/forward_impl.h"
#include "runner/base/mem.h"

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

/* --- addresses ---------------------------------------------------------- */

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

/* --- all ----------------------------------------------------------------- */

void ask_answer(struct forward *f, struct ask *k, const uint8_t *msg,
		struct dns_answer *a)
{
	stream_give_up(k);
	if (ask_is_for_addresses(k))
		take_addresses(f, k, a);
	else
		pass_on(f, k, msg, a);
}
