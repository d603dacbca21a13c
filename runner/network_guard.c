/* SPDX-License-Identifier: Apache-2.0 */
/* The host's fence, made again when somebody has flushed it. */
#include "runner/network_impl.h"

#include <errno.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* A firewall that starts changes the rules many times. */
#define SETTLE_NS 20000000ull
#define TRIES	  100

void network_guard_init(struct network_guard *g)
{
	*g = (struct network_guard){ .changes = -1, .timer = -1, .state = -1 };
}

int network_guard_open(struct network_guard *g, int state,
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
}

void network_guard_close(struct network_guard *g)
{
	close_fd(&g->changes);
	close_fd(&g->timer);
}
