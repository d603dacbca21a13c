/* SPDX-License-Identifier: Apache-2.0 */
/* The host's fence, made again when somebody has flushed it; and addresses that
 * the host gets, told to the keeper. */
#include "runner/network_impl.h"

#include <errno.h>
#include <unistd.h>

#include "net/nl.h"
#include "net/watch.h"
#include "runner/base/err.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* A firewall that starts changes the rules many times. */
#define SETTLE_NS 20000000ull
#define TRIES	  1000

void network_guard_init(struct network_guard *g)
{
	*g = (struct network_guard){ .changes = -1, .timer = -1, .addrs = -1,
				      .state = -1 };
}

/* --- rules ---------------------------------------------------------------- */

int network_guard_rules(struct network_guard *g, int state,
			const struct net_host_want *want, struct err *err)
{
	g->state = state;
	g->want = *want;
	g->want.again = 1;
	g->timer = ev_timer_fd();
	if (g->timer < 0)
		return err_set(err, g->timer, "timer");
	g->changes = net_host_watch(err);
	return MIN(g->changes, 0);
}

static void on_change(struct ev *ev, uint32_t events)
{
	struct network_guard *g =
		container_of(ev, struct network_guard, on_change);

	(void)events;
	/* Not put off by what comes before it fires. */
	if (net_host_changed(g->changes) && !g->tries) {
		g->tries = TRIES;
		ev_timer_arm(g->timer, SETTLE_NS);
	}
}

static void on_timer(struct ev *ev, uint32_t events)
{
	struct network *n = container_of(ev, struct network, guard.on_timer);
	struct network_guard *g = &n->guard;
	struct err err = { 0 };
	int r;

	(void)events;
	ev_drain(g->timer);
	/* Ours come back as changes of somebody's. */
	net_host_changed(g->changes);
	r = net_host_apply(g->state, &g->want, &err);
	if (r == -EBUSY && --g->tries) {
		ev_timer_arm(g->timer, SETTLE_NS);
		return;
	}
	g->tries = 0;
	if (r < 0)
		network_fail(n, &err);
}

/* --- addresses ------------------------------------------------------------ */

struct news {
	const struct net_rules *rules;
	struct keep *keep;
	unsigned n;
	struct net_addr addr[KEEP_OWN_MAX];
	struct err *err;
};

static int tell(struct news *news)
{
	unsigned n = news->n;

	news->n = 0;
	return n ? keep_own(news->keep, news->addr, n, news->err) : 0;
}

/*
 * What the rules have as the host's is no news. Link-local addresses of IPv6 are
 * not forwarded from one link to another (ip6_route_input() looks at those of
 * the link alone), and each link that comes has a new one.
 */
static int is_news(const struct news *news, const struct net_addr *a)
{
	const struct net_rules *rules = news->rules;

	if (net_addr_link_local6(a))
		return 0;
	for (unsigned i = 0; i < rules->nown; i++)
		if (net_prefix_has(&rules->own[i], a))
			return 0;
	for (unsigned i = 0; i < news->n; i++)
		if (net_addr_equal(&news->addr[i], a))
			return 0;
	return 1;
}

static int take_addr(const struct net_addr *a, void *opaque)
{
	struct news *news = opaque;

	if (!is_news(news, a))
		return 0;
	news->addr[news->n++] = *a;
	return news->n == KEEP_OWN_MAX ? tell(news) : 0;
}

static int take_seen(const struct rt_seen_addr *a, void *opaque)
{
	return take_addr(&a->prefix.addr, opaque);
}

static int take_all(struct news *news)
{
	struct rt *rt = NULL;
	int r = rt_open(&rt, news->err);

	if (r == 0)
		r = rt_addr_each(rt, take_seen, news);
	rt_close(rt);
	return r;
}

static int tell_addrs(struct network *n, struct err *err)
{
	struct news news = { .rules = &n->rules, .keep = &n->keep, .err = err };
	int r = watch_addrs_new(n->guard.addrs, take_addr, &news);

	if (r == -ENOBUFS)
		r = take_all(&news);
	if (r == 0)
		r = tell(&news);
	if (r < 0 && !err->code)
		err_set(err, r, "addresses of the host");
	return r;
}

static void on_addrs(struct ev *ev, uint32_t events)
{
	struct network *n = container_of(ev, struct network, guard.on_addrs);
	struct err err = { 0 };

	(void)events;
	if (tell_addrs(n, &err) < 0)
		network_fail(n, &err);
}

int network_guard_addrs(struct network_guard *g, struct err *err)
{
	g->addrs = watch_addrs(err);
	return MIN(g->addrs, 0);
}

int network_guard_fenced(struct network *n, struct err *err)
{
	struct network_guard *g = &n->guard;
	int r;

	if (g->addrs < 0)
		return 0;
	g->on_addrs = (struct ev){ .fd = g->addrs, .fn = on_addrs };
	r = ev_set(n->loop, &g->on_addrs, EPOLLIN);
	if (r < 0)
		return err_set(err, r, "watch the host's addresses");
	return tell_addrs(n, err);
}

/* --- both ----------------------------------------------------------------- */

int network_guard_watch(struct network *n)
{
	struct network_guard *g = &n->guard;
	int r;

	if (g->changes < 0)
		return 0;
	g->on_change = (struct ev){ .fd = g->changes, .fn = on_change };
	g->on_timer = (struct ev){ .fd = g->timer, .fn = on_timer };
	r = ev_set(n->loop, &g->on_change, EPOLLIN);
	return r < 0 ? r : ev_set(n->loop, &g->on_timer, EPOLLIN);
}

void network_guard_unwatch(struct network_guard *g)
{
	ev_del(&g->on_change);
	ev_del(&g->on_timer);
	ev_del(&g->on_addrs);
}

void network_guard_close(struct network_guard *g)
{
	close_fd(&g->changes);
	close_fd(&g->timer);
	close_fd(&g->addrs);
}
