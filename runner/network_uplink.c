/* SPDX-License-Identifier: Apache-2.0 */
/* What a network finds on the host, and its way out through it. */
#include "runner/network_impl.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "net/nl.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"
#include "runner/state.h"

/* The kernel takes 30 ms to remove a link with its namespace, or longer where
 * there are many. */
#define LINK_GOES_NS (1ULL * 1000000000)
#define LINK_STEP_NS (10L * 1000000)

static struct net_prefix pool_of(const struct config *c)
{
	struct net_prefix p = c->net.pool;

	if (!p.addr.family)
		net_prefix_parse(&p, NET_POOL4, NULL);
	return p;
}

/* --- what there is -------------------------------------------------------- */

/* Why a rule opens nothing; NULL where it does, or may. "*.NAME" is below itself
 * as any of its names is. */
static const char *why_shut(const struct net_rules *rules,
			    const struct net_rule *r)
{
	uint16_t ports[NET_RULES_MAX];
	unsigned n;

	if (r->is_name)
		return net_name_allowed(rules, r->name, ports, &n) ? NULL :
								     "denied";
	if (r->prefix.len < net_addr_bits(&r->prefix.addr) ||
	    net_decide(rules, &r->prefix.addr, r->port) != NET_REFUSED)
		return NULL;
	return "denied, or an address of this host's or of a guest's";
}

/* No error: a list may be one for many hosts. */
static void tell_shut(const struct net_rules *rules)
{
	const struct net_rule *r = rules->allow;
	char text[NET_RULE_MAX];

	for (; r < rules->allow + rules->nallow; r++) {
		const char *why = why_shut(rules, r);

		if (why)
			log_info("network: --allow %s opens nothing: %s",
				 net_rule_format(r, text), why);
	}
}

int network_look(struct network *n, struct err *err)
{
	const struct config_net *c = &n->c->net;
	const struct net_prefix pool = pool_of(n->c);
	int r;

	if (c->rules)
		n->rules = *c->rules;
	net_taken_init(&n->taken, &pool);
	r = net_rules_own(&n->rules, &pool, err);
	/* Before they are looked at. */
	if (r == 0 && geteuid())
		r = network_guard_addrs(&n->guard, err);
	if (r == 0)
		r = net_host_look(&n->host, &n->rules, &n->taken, &n->notes,
				  err);
	if (r < 0)
		return r;
	if (geteuid()) {
		/* pasta's: nothing is forwarded by this host. */
		n->host.has_v6 = n->notes.has_default6;
		n->host.mtu = PASTA_MTU;
	}
	if (c->mtu)
		n->host.mtu = c->mtu;
	if (!n->host.has_v6)
		snprintf(n->facts->no_v6, sizeof(n->facts->no_v6), "%s",
			 geteuid() || !n->notes.no_v6 ?
				 "this host has no default route for it" :
				 n->notes.no_v6);
	tell_shut(&n->rules);
	return 0;
}

/* --- the way out ---------------------------------------------------------- */

/* The same of IPv6, for which there is nothing else. The host's table lets
 * neither through, so it is no failure where /proc/sys is not ours to write. */
static void shut_v6(const char *link)
{
	static const char *const name[] = { "accept_ra", "accept_redirects" };

	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		(void)sysctl_write("0", "net/ipv6/conf/%s/%s", link, name[i]);
}

/* -EEXIST: somebody else's link has the name. */
static int make_veth(struct network *n, struct rt *rt, const char *id,
		     struct err *err)
{
	const struct net_plan *plan = &n->plan;
	struct net_prefix host4 = { plan->host4, 31 };
	struct net_prefix host6 = { plan->host6, 127 };
	char alias[NET_ALIAS_MAX];
	/* Both ends keep the address that the kernel gives them: what a router
	 * forwards, it asks neighbours for from there (RFC 4861 7.2.2). */
	const struct rt_link ours = {
		.name = plan->link, .mtu = plan->mtu, .alias = alias,
		.strange4 = 1,
	};
	struct rt_link up = { .name = plan->link, .up = 1 };
	const struct rt_link theirs = { .name = NET_UPLINK, .mtu = plan->mtu };
	int r = net_lease_alias(&n->lease, id, alias), index;

	if (r < 0)
		return err_set(err, r, "network");
	r = rt_veth_add(rt, &ours, &theirs, n->keep.netns, err);
	if (r == -EPERM)
		err_hint(err, "root needs CAP_NET_ADMIN; in a container: "
			      "--cap-add NET_ADMIN");
	if (r < 0)
		return r;
	fault_point("launcher", "veth");
	index = rt_link_index(rt, plan->link);
	if (index < 0)
		return err_set(err, index, "%s", plan->link);
	shut_v6(plan->link);
	up.index = (unsigned)index;
	r = rt_link_set(rt, &up, err);
	if (r == 0)
		r = rt_addr_add(rt, (unsigned)index, &host4, err);
	if (r == 0 && plan->has_v6)
		r = rt_addr_add(rt, (unsigned)index, &host6, err);
	return r;
}

static int make_plan(struct network *n, const struct net_prefix *pool,
		     struct err *err)
{
	int r = net_plan_make(&n->plan, &n->host, n->lease.number, pool, err);

	n->facts->mtu = n->plan.mtu;
	n->facts->has_v6 = n->plan.has_v6;
	return r;
}

static int is_own_of_before(const struct rt_seen_link *l, void *opaque)
{
	const struct network *n = opaque;

	return !strcmp(l->name, n->plan.link) &&
	       net_lease_has_alias(&n->lease, l->alias);
}

/* With the number in our hands its link is of a run that is over: of one whose
 * network the kernel has not got round to, or somebody else is still in. 0: it is
 * gone, by us or by the kernel. */
static int remove_link_of_before(struct network *n, struct rt *rt)
{
	int r = rt_link_each(rt, is_own_of_before, n);

	if (r <= 0)
		return -EEXIST;
	r = rt_link_del(rt, n->plan.link, NULL);
	return r == -ENODEV ? 0 : r;
}

/* From number *@from on, which is set to the next; -EEXIST: try that. Links of
 * runs before are in the way, unless @reclaim. */
static int lease_and_veth(struct network *n, struct state *state, struct rt *rt,
			  unsigned *from, int reclaim, struct err *err)
{
	const struct net_prefix pool = pool_of(n->c);
	unsigned end = net_pool_leases(&pool);
	int r;

	*err = (struct err){ 0 };
	net_lease_drop(&n->lease);
	/* The number's link is another's, and its flows: forget_flows(). */
	n->plan.link[0] = '\0';
	r = net_lease_take(&n->lease, state_rootfd(state),
			   net_taken_skip(&n->taken, *from), end,
			   state_id(state), NULL, err);
	if (r == -EADDRINUSE && n->taken.n) {
		err_say(err, r, "all %u networks of the pool are in use, %u of "
			"them by links that this host has without us",
			MIN(end, NET_LEASE_MAX), n->taken.n);
		err_hint(err, "--net-pool CIDR takes another pool");
	}
	if (r < 0)
		return r;
	fault_point("launcher", "lease");
	*from = n->lease.number + 1;
	if (net_taken_has(&n->taken, n->lease.number))
		return -EEXIST;
	r = make_plan(n, &pool, err);
	if (r == 0) {
		r = net_lease_note(&n->lease, &n->plan.up4);
		if (r < 0)
			return err_set(err, r, "lease of network %u",
				       n->lease.number);
	}
	if (r == 0)
		r = make_veth(n, rt, state_id(state), err);
	if (r == -EEXIST && reclaim && remove_link_of_before(n, rt) == 0) {
		*err = (struct err){ 0 };
		r = make_veth(n, rt, state_id(state), err);
	}
	return r;
}

/* A lease whose link can be made. Nobody waits for the end of a network, so the
 * links of runs that are over may be all that a small pool lacks: those of
 * others are waited for. To remove one takes longer than to have another. */
static int take_link(struct network *n, struct state *state, struct rt *rt,
		     struct err *err)
{
	const struct timespec step = { 0, LINK_STEP_NS };
	uint64_t until = io_now_ns() + LINK_GOES_NS;
	int r, going, reclaim = 0;

	do {
		unsigned from = 0;

		going = 0;
		while ((r = lease_and_veth(n, state, rt, &from, reclaim,
					   err)) == -EEXIST)
			going |= !net_taken_has(&n->taken, n->lease.number);
		reclaim = 1;
	} while (r == -EADDRINUSE && going && io_now_ns() < until &&
		 nanosleep(&step, NULL) == 0);
	return r;
}

/* That, and what all VMs share. */
static int lead_out_root(struct network *n, struct state *state, struct err *err)
{
	const struct net_host_want want = { .v6 = n->host.has_v6 };
	int root = state_rootfd(state), r;
	struct rt *rt;

	r = rt_open(&rt, err);
	if (r < 0)
		return r;
	r = take_link(n, state, rt, err);
	rt_close(rt);
	/* With a link of ours nobody takes it back: the lease is known to those
	 * of the same directory of runs only. */
	if (r == 0)
		r = network_guard_rules(&n->guard, root, &want, err);
	if (r == 0)
		r = net_host_apply(root, &want, err);
	snprintf(n->facts->link, sizeof(n->facts->link), "%s", n->plan.link);
	n->facts->kind = "nat";
	return r;
}

/* Without: its addresses are nobody else's concern. */
static int lead_out_rootless(struct network *n, struct state *state,
			     struct err *err)
{
	const struct net_prefix pool = pool_of(n->c);
	const struct pasta_params p = {
		.plan = &n->plan,
		.netns = n->keep.netns,
		.userns = n->keep.userns,
	};
	int r = net_lease_take(&n->lease, state_rootfd(state), 0,
			       net_pool_leases(&pool), state_id(state),
			       "pasta", err);

	if (r == 0)
		r = make_plan(n, &pool, err);
	n->plan.by_pasta = 1;
	if (r == 0)
		r = pasta_start(&n->pasta, &p, err);
	n->facts->kind = "pasta";
	return r;
}

int network_lead_out(struct network *n, struct state *state, struct err *err)
{
	return geteuid() ? lead_out_rootless(n, state, err) :
			   lead_out_root(n, state, err);
}
