/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses, routes and neighbours, by libnl-route-3. */
#include "net/nl.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define MAC_BYTES 6

/*
 * libnl's own numbers for errors are fewer than the kernel's: the kernel's is
 * caught as it comes in.
 */
struct rt {
	struct nl_sock *sk;
	int error; /* -errno of the request that failed last, or 0 */
};

static void cleanup_link(struct rtnl_link **l)
{
	if (*l)
		rtnl_link_put(*l);
}

static void cleanup_addr(struct rtnl_addr **a)
{
	if (*a)
		rtnl_addr_put(*a);
}

static void cleanup_route(struct rtnl_route **r)
{
	if (*r)
		rtnl_route_put(*r);
}

static void cleanup_neigh(struct rtnl_neigh **n)
{
	if (*n)
		rtnl_neigh_put(*n);
}

static void cleanup_nl_addr(struct nl_addr **a)
{
	if (*a)
		nl_addr_put(*a);
}

static void cleanup_cache(struct nl_cache **c)
{
	if (*c)
		nl_cache_free(*c);
}

/* --- the socket --------------------------------------------------------- */

static int caught(struct sockaddr_nl *from, struct nlmsgerr *e, void *opaque)
{
	struct rt *rt = opaque;

	(void)from;
	rt->error = e->error;
	return NL_STOP;
}

/* -errno for what a function of libnl has given. */
static int code_of(struct rt *rt, int nle)
{
	int error = rt->error;

	rt->error = 0;
	if (nle >= 0)
		return 0;
	if (error < 0)
		return error;
	switch (-nle) {
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
		return -EPERM;
	case NLE_OBJ_NOTFOUND:
	case NLE_NODEV:
		return -ENODEV;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_OPNOTSUPP:
	case NLE_AF_NOSUPPORT:
		return -EAFNOSUPPORT;
	case NLE_DUMP_INTR:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

int rt_open(struct rt **out, struct err *err)
{
	struct rt *rt = calloc(1, sizeof(*rt));
	int r;

	if (!rt)
		return err_set(err, -ENOMEM, "netlink");
	rt->sk = nl_socket_alloc();
	r = rt->sk ? nl_connect(rt->sk, NETLINK_ROUTE) : -NLE_NOMEM;
	if (r == 0)
		r = nl_socket_modify_err_cb(rt->sk, NL_CB_CUSTOM, caught, rt);
	if (r < 0) {
		r = code_of(rt, r);
		rt_close(rt);
		return err_set(err, r, "netlink");
	}
	*out = rt;
	return 0;
}

void rt_close(struct rt *rt)
{
	if (!rt)
		return;
	if (rt->sk)
		nl_socket_free(rt->sk);
	free(rt);
}

/* --- addresses of ours as libnl has them -------------------------------- */

static int family_of(const struct net_addr *a)
{
	return a->family == 6 ? AF_INET6 : AF_INET;
}

static struct nl_addr *make_addr(const struct net_addr *a, unsigned len)
{
	struct nl_addr *n = nl_addr_build(family_of(a), a->b,
					  a->family == 6 ? 16 : 4);

	if (n)
		nl_addr_set_prefixlen(n, (int)len);
	return n;
}

static unsigned whole(const struct net_addr *a)
{
	return a->family == 6 ? 128 : 32;
}

/* 0, or -1 for what is no IP address. */
static int read_addr(const struct nl_addr *n, struct net_prefix *p)
{
	size_t len = nl_addr_get_len(n);

	memset(p, 0, sizeof(*p));
	if (nl_addr_get_family(n) == AF_INET && len <= 4)
		p->addr.family = 4;
	else if (nl_addr_get_family(n) == AF_INET6 && len <= 16)
		p->addr.family = 6;
	else
		return -1;
	memcpy(p->addr.b, nl_addr_get_binary_addr(n), len);
	p->len = (uint8_t)nl_addr_get_prefixlen(n);
	return 0;
}

/* --- links -------------------------------------------------------------- */

int rt_link_index(struct rt *rt, const char *name)
{
	_cleanup_(cleanup_link) struct rtnl_link *l = NULL;
	int r = code_of(rt, rtnl_link_get_kernel(rt->sk, 0, name, &l));

	return r < 0 ? r : rtnl_link_get_ifindex(l);
}

static const char *shown(const struct rt_link *l)
{
	return l->name ? l->name : "link";
}

/* What can be asked for when a link is made as well as later. */
static int fill(struct rtnl_link *to, const struct rt_link *l)
{
	_cleanup_(cleanup_nl_addr) struct nl_addr *mac = NULL;

	if (l->name)
		rtnl_link_set_name(to, l->name);
	if (l->mtu)
		rtnl_link_set_mtu(to, l->mtu);
	if (l->mac) {
		mac = nl_addr_build(AF_LLC, l->mac, MAC_BYTES);
		if (!mac)
			return -NLE_NOMEM;
		rtnl_link_set_addr(to, mac);
	}
	return 0;
}

static int change(struct rt *rt, unsigned index, struct rtnl_link *changes)
{
	_cleanup_(cleanup_link) struct rtnl_link *which = rtnl_link_alloc();

	if (!which)
		return -NLE_NOMEM;
	rtnl_link_set_ifindex(which, (int)index);
	return rtnl_link_change(rt->sk, which, changes, 0);
}

static int set_inet(struct rtnl_link *to, const struct rt_link *l)
{
	int r = 0;

	if (l->forward4)
		r = rtnl_link_inet_set_conf(to, IPV4_DEVCONF_FORWARDING, 1);
	if (r == 0 && l->strange4)
		r = rtnl_link_inet_set_conf(to, IPV4_DEVCONF_ARP_IGNORE, 1);
	if (r == 0 && l->strange4)
		r = rtnl_link_inet_set_conf(to, IPV4_DEVCONF_ACCEPT_REDIRECTS,
					    0);
	return r;
}

/* The kernel makes an IPv6 address when a link comes up, and looks at how in
 * the same request only after that: two requests. */
static int set_link(struct rt *rt, const struct rt_link *l, unsigned index)
{
	_cleanup_(cleanup_link) struct rtnl_link *c = rtnl_link_alloc();
	_cleanup_(cleanup_link) struct rtnl_link *up = rtnl_link_alloc();
	struct rt_link rest = *l;
	int r;

	if (!c || !up)
		return -NLE_NOMEM;
	rest.name = NULL;
	r = fill(c, &rest);
	if (r == 0 && l->alias && *l->alias)
		rtnl_link_set_ifalias(c, l->alias);
	if (r == 0 && l->no_link_local)
		r = rtnl_link_inet6_set_addr_gen_mode(c,
						      IN6_ADDR_GEN_MODE_NONE);
	if (r == 0)
		r = set_inet(c, l);
	if (r == 0 && (l->mtu || l->mac || (l->alias && *l->alias) ||
		       l->no_link_local || l->forward4 || l->strange4))
		r = change(rt, index, c);
	if (r == 0 && l->up) {
		rtnl_link_set_flags(up, IFF_UP);
		r = change(rt, index, up);
	}
	return r;
}

int rt_link_set(struct rt *rt, const struct rt_link *l, struct err *err)
{
	int index = (int)l->index, r;

	if (!index)
		index = rt_link_index(rt, l->name);
	if (index < 0)
		return err_set(err, index, "%s", shown(l));
	r = code_of(rt, set_link(rt, l, (unsigned)index));
	return r < 0 ? err_set(err, r, "set up %s", shown(l)) : 0;
}

int rt_link_del(struct rt *rt, const char *name, struct err *err)
{
	_cleanup_(cleanup_link) struct rtnl_link *l = rtnl_link_alloc();
	int r;

	if (!l)
		return err_set(err, -ENOMEM, "remove %s", name);
	rtnl_link_set_name(l, name);
	r = code_of(rt, rtnl_link_delete(rt->sk, l));
	return r < 0 ? err_set(err, r, "remove %s", name) : 0;
}

/*
 * Said, or the kernel makes one for each CPU and takes all but one away again,
 * waiting for RCU under the lock of all links (veth_init_queues()): 3 ms each,
 * one network after the other.
 */
static void set_queues(struct rtnl_link *l)
{
	rtnl_link_set_num_tx_queues(l, 1);
	rtnl_link_set_num_rx_queues(l, 1);
}

int rt_veth_add(struct rt *rt, const struct rt_link *l,
		const struct rt_link *peer, int netns_fd, struct err *err)
{
	_cleanup_(cleanup_link) struct rtnl_link *a = rtnl_link_veth_alloc();
	_cleanup_(cleanup_link) struct rtnl_link *b = NULL;
	struct rt_link later = *l;
	int r;

	if (!a)
		return err_set(err, -ENOMEM, "make %s", shown(l));
	b = rtnl_link_veth_get_peer(a);
	rtnl_link_set_ns_fd(b, netns_fd);
	set_queues(a);
	set_queues(b);
	r = fill(a, l);
	if (r == 0)
		r = fill(b, peer);
	if (r == 0)
		r = rtnl_link_add(rt->sk, a, NLM_F_CREATE | NLM_F_EXCL);
	r = code_of(rt, r);
	if (r < 0)
		return err_set(err, r, "make the veth %s", shown(l));
	/* A new link takes neither: do_setlink() in the kernel's
	 * net/core/rtnetlink.c. */
	later.mtu = 0;
	later.mac = NULL;
	if (!l->up && !l->alias && !l->no_link_local)
		return 0;
	r = rt_link_set(rt, &later, err);
	if (r < 0)
		rt_link_del(rt, l->name, NULL);
	return r;
}

/* --- addresses, routes, neighbours --------------------------------------- */

int rt_addr_add(struct rt *rt, unsigned index, const struct net_prefix *p,
		struct err *err)
{
	_cleanup_(cleanup_addr) struct rtnl_addr *a = rtnl_addr_alloc();
	_cleanup_(cleanup_nl_addr) struct nl_addr *local =
		make_addr(&p->addr, p->len);
	int r;

	if (!a || !local)
		return err_set(err, -ENOMEM, "add an address");
	rtnl_addr_set_ifindex(a, (int)index);
	r = rtnl_addr_set_local(a, local);
	if (p->addr.family == 6)
		rtnl_addr_set_flags(a, IFA_F_NODAD);
	if (r == 0)
		r = rtnl_addr_add(rt->sk, a, NLM_F_EXCL);
	r = code_of(rt, r);
	return r < 0 ? err_set(err, r, "add an address") : 0;
}

int rt_route_add(struct rt *rt, unsigned index, const struct net_prefix *to,
		 const struct net_addr *via, struct err *err)
{
	_cleanup_(cleanup_route) struct rtnl_route *route = rtnl_route_alloc();
	_cleanup_(cleanup_nl_addr) struct nl_addr *dst =
		make_addr(&to->addr, to->len);
	_cleanup_(cleanup_nl_addr) struct nl_addr *gateway = NULL;
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	int r;

	if (via)
		gateway = make_addr(via, whole(via));
	if (!route || !dst || !hop || (via && !gateway)) {
		if (hop)
			rtnl_route_nh_free(hop);
		return err_set(err, -ENOMEM, "add a route");
	}
	rtnl_route_nh_set_ifindex(hop, (int)index);
	if (gateway)
		rtnl_route_nh_set_gateway(hop, gateway);
	rtnl_route_add_nexthop(route, hop);
	rtnl_route_set_family(route, (uint8_t)family_of(&to->addr));
	rtnl_route_set_scope(route, gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
	r = rtnl_route_set_dst(route, dst);
	if (r == 0)
		r = rtnl_route_add(rt->sk, route, NLM_F_EXCL);
	r = code_of(rt, r);
	return r < 0 ? err_set(err, r, "add a route") : 0;
}

int rt_neigh_add(struct rt *rt, unsigned index, const struct net_addr *addr,
		 const uint8_t mac[6], struct err *err)
{
	_cleanup_(cleanup_neigh) struct rtnl_neigh *n = rtnl_neigh_alloc();
	_cleanup_(cleanup_nl_addr) struct nl_addr *dst =
		make_addr(addr, whole(addr));
	_cleanup_(cleanup_nl_addr) struct nl_addr *lladdr =
		nl_addr_build(AF_LLC, mac, MAC_BYTES);
	int r;

	if (!n || !dst || !lladdr)
		return err_set(err, -ENOMEM, "add a neighbour");
	rtnl_neigh_set_ifindex(n, (int)index);
	rtnl_neigh_set_state(n, NUD_PERMANENT);
	rtnl_neigh_set_lladdr(n, lladdr);
	r = rtnl_neigh_set_dst(n, dst);
	if (r == 0)
		r = rtnl_neigh_add(rt->sk, n, NLM_F_CREATE | NLM_F_REPLACE);
	r = code_of(rt, r);
	return r < 0 ? err_set(err, r, "add a neighbour") : 0;
}

/* --- what there is ------------------------------------------------------- */

int rt_link_each(struct rt *rt,
		 int (*fn)(const struct rt_seen_link *l, void *opaque),
		 void *opaque)
{
	_cleanup_(cleanup_cache) struct nl_cache *c = NULL;
	int r = code_of(rt, rtnl_link_alloc_cache(rt->sk, AF_UNSPEC, &c));

	if (r < 0)
		return r;
	for (struct nl_object *o = nl_cache_get_first(c); o && r == 0;
	     o = nl_cache_get_next(o)) {
		struct rtnl_link *l = (struct rtnl_link *)o;
		const char *name = rtnl_link_get_name(l);
		const char *alias = rtnl_link_get_ifalias(l);
		const char *kind = rtnl_link_get_type(l);
		struct rt_seen_link seen = {
			.index = (unsigned)rtnl_link_get_ifindex(l),
			.mtu = rtnl_link_get_mtu(l),
			.up = !!(rtnl_link_get_flags(l) & IFF_UP),
		};

		snprintf(seen.name, sizeof(seen.name), "%s", name ? name : "");
		snprintf(seen.alias, sizeof(seen.alias), "%s",
			 alias ? alias : "");
		snprintf(seen.kind, sizeof(seen.kind), "%s", kind ? kind : "");
		r = fn(&seen, opaque);
	}
	return r;
}

int rt_addr_each(struct rt *rt,
		 int (*fn)(const struct rt_seen_addr *a, void *opaque),
		 void *opaque)
{
	_cleanup_(cleanup_cache) struct nl_cache *c = NULL;
	int r = code_of(rt, rtnl_addr_alloc_cache(rt->sk, &c));

	if (r < 0)
		return r;
	for (struct nl_object *o = nl_cache_get_first(c); o && r == 0;
	     o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;
		struct rt_seen_addr seen = {
			.index = (unsigned)rtnl_addr_get_ifindex(a),
		};
		struct nl_addr *local = rtnl_addr_get_local(a);
		struct nl_addr *peer = rtnl_addr_get_peer(a);

		if (!local || read_addr(local, &seen.prefix) < 0)
			continue;
		seen.prefix.len = (uint8_t)rtnl_addr_get_prefixlen(a);
		seen.on_link = seen.prefix;
		if (peer)
			(void)read_addr(peer, &seen.on_link);
		seen.on_link = net_prefix_of(&seen.on_link.addr,
					     seen.prefix.len);
		r = fn(&seen, opaque);
	}
	return r;
}

int rt_route_each(struct rt *rt, int family,
		  int (*fn)(const struct rt_seen_route *r, void *opaque),
		  void *opaque)
{
	_cleanup_(cleanup_cache) struct nl_cache *c = NULL;
	int r = code_of(rt, rtnl_route_alloc_cache(rt->sk, family, 0, &c));

	if (r < 0)
		return r;
	for (struct nl_object *o = nl_cache_get_first(c); o && r == 0;
	     o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);
		struct nl_addr *dst = rtnl_route_get_dst(route);
		struct rt_seen_route seen = {
			.protocol = rtnl_route_get_protocol(route),
			.type = rtnl_route_get_type(route),
		};

		if (rtnl_route_get_table(route) != RT_TABLE_MAIN ||
		    rtnl_route_get_family(route) != family)
			continue;
		if (!dst || read_addr(dst, &seen.to) < 0)
			continue;
		if (hop)
			seen.index = (unsigned)rtnl_route_nh_get_ifindex(hop);
		r = fn(&seen, opaque);
	}
	return r;
}
