/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder and the keeper: addresses are opened, then answered. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/forward_impl.h"
#include "runner/base/mem.h"

/*
 * One question at a time is with the keeper, the others queue: it answers in
 * some microseconds, and there is nothing to match. An address is opened for a
 * while longer than its answer may be kept, so that a connection that begins
 * in the last second still finds it open.
 */
#define GRACE 30 /* seconds */

static struct keep_learn learn_of(const struct ask *k, unsigned i)
{
	const struct net_addr *a = &k->answer.addr[i / k->nports];
	struct keep_learn l = { .family = a->family,
				.port = k->ports[i % k->nports],
				.ttl = k->answer.ttl + GRACE };

	memcpy(l.addr, a->b, sizeof(l.addr));
	return l;
}

static void learn_more(struct forward *f)
{
	struct ask *k = f->learn;
	unsigned all = k->answer.naddrs * k->nports;
	struct keep_learn l[KEEP_LEARN_MAX];
	size_t n;

	k->sent = MIN(all - k->done, KEEP_LEARN_MAX);
	for (unsigned i = 0; i < k->sent; i++)
		l[i] = learn_of(k, k->done + i);
	n = k->sent * sizeof(*l);
	if (send(f->keeper.fd, l, n, MSG_NOSIGNAL) != (ssize_t)n)
		forward_stop(f, -EPIPE);
}

void learn_add(struct forward *f, struct ask *k)
{
	struct ask **end = &f->learn;

	k->state = ASK_LEARNS;
	k->next = NULL;
	k->sent = k->done = 0;
	k->opened = 0;
	k->error = 0;
	while (*end)
		end = &(*end)->next;
	*end = k;
	if (f->learn == k)
		learn_more(f);
}

/* With those that are open now. If none is, and not for a rule, this is a
 * failure and no answer. */
static void learn_end(struct forward *f, struct ask *k)
{
	struct dns_answer *a = &k->answer;
	unsigned n = 0;

	for (unsigned i = 0; i < a->naddrs; i++)
		if (k->opened >> i & 1)
			a->addr[n++] = a->addr[i];
	a->naddrs = n;
	if (!n && k->error)
		ask_end(f, k, DNS_SERVFAIL, NULL);
	else
		ask_end(f, k, a->rcode, a);
}

static_assert(DNS_ADDRS_MAX <= 32, "bits of struct ask's .opened");

void learn_on_keeper(struct ev *ev, uint32_t events)
{
	struct forward *f = container_of(ev, struct forward, keeper);
	struct keep_learned said[KEEP_LEARN_MAX + 1];
	ssize_t n = recv(ev->fd, said, sizeof(said), 0);
	struct ask *k = f->learn;

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	/* Its end is that of the network. */
	if (n <= 0 || !k || (size_t)n != k->sent * sizeof(*said)) {
		forward_stop(f, -EPIPE);
		return;
	}
	for (unsigned i = 0; i < k->sent; i++)
		if (said[i].error == 0)
			k->opened |= 1u << (k->done + i) / k->nports;
		else if (said[i].error != -EPERM)
			k->error = said[i].error;
	k->done += k->sent;
	if (k->done == k->answer.naddrs * k->nports) {
		f->learn = k->next;
		learn_end(f, k);
	}
	if (f->learn)
		learn_more(f);
}
