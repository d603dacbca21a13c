/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's own steps, in its namespaces: keep.c says what for. */
#include "net/keep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/keep_wire.h"
#include "net/learn.h"
#include "net/nl.h"
#include "net/tap.h"
#include "net/watch.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

#define DNS_BACKLOG 16

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78 /* linux/in6.h, which netinet/in.h is in the way of */
#endif

struct keeper {
	struct keep_setup setup;
	int learn; /* the forwarder's socket; -1: none */
	struct rt *rt;
	struct nfnl *nfnl;
	int links;	  /* tells when one goes */
	unsigned link[2]; /* tap0, and up0 if it is not pasta's */
	int tap;
	int dns[KEEP_FDS_MAX - 1];
	unsigned ndns;
	struct learn asked;
};

/* --- what the launcher says ---------------------------------------------- */

static int expect(void *msg, size_t len, uint32_t type, int *fd,
		  struct err *err)
{
	size_t nfds = fd ? 1 : 0;
	ssize_t n = io_recv_fds(KEEP_CONTROL_FD, msg, len, fd, &nfds);
	uint32_t got;

	if (n < 0)
		return err_set(err, (int)n, "hear the launcher");
	if (n == 0)
		return err_say(err, -ESRCH, "the launcher is gone");
	memcpy(&got, msg, sizeof(got));
	if ((size_t)n != len || got != type)
		return err_say(err, -EPROTO, "the launcher has said what means "
					     "nothing");
	if (fd && !nfds)
		*fd = -1;
	return 0;
}

static int hear_setup(struct keeper *k, struct err *err)
{
	struct keep_setup *s = &k->setup;
	int r = expect(s, sizeof(*s), KEEP_SETUP, &k->learn, err);

	if (r < 0)
		return r;
	/* Answers never wait for who asks: below, in answer(). */
	if (k->learn >= 0)
		r = io_set_nonblock(k->learn, 1);
	if (r < 0)
		return err_set(err, r, "the forwarder's socket");
	if (!net_plan_valid(&s->plan) || !net_rules_valid(&s->rules))
		return err_say(err, -EINVAL, "no such network can be");
	return 0;
}

/* --- tap0 ------------------------------------------------------------------ */

/*
 * Writing these two tries for the lock of all links again and again, without
 * sleeping: with 20 starts at once that was most of their CPU time. Netlink
 * waits for it: set_up_tap(). So does a third one, of IPv6, for which there is
 * nothing else.
 */
static int is_by_netlink(const struct net_sysctl *s)
{
	return !strcmp(s->path, "net/ipv4/ip_forward") ||
	       !strcmp(s->path, "net/ipv6/conf/" NET_TAP "/addr_gen_mode");
}

/* Those of tap0 come with it, and before its addresses. */
static int put_setting(const struct net_sysctl *s, struct err *err)
{
	int r = sysctl_write(s->value, "%s", s->path);

	if (r == -ENOENT && !strncmp(s->path, "net/ipv6/", 9))
		return 0; /* a kernel without, or one that is older */
	if (r < 0)
		err_set(err, r, "write /proc/sys/%s", s->path);
	if (r == -EROFS)
		err_hint(err, "in a container: --security-opt "
			      "systempaths=unconfined");
	return r;
}

static int put_settings(struct keeper *k, struct err *err)
{
	const struct net_sysctl *s;
	int r = 0;

	for (unsigned i = 0; r == 0 && (s = net_plan_sysctl(i)); i++)
		if (!is_by_netlink(s) && (k->setup.plan.has_v6 ||
					  strncmp(s->path, "net/ipv6/", 9)))
			r = put_setting(s, err);
	return r;
}

static int make_tap(struct keeper *k, struct err *err)
{
	int r = tap_attach(k->tap, NET_TAP, err);

	if (r == -EPERM)
		err_hint(err, "this host gives user namespaces no rights: sudo "
			 "sysctl kernel.apparmor_restrict_unprivileged_userns="
			 "0");
	return r;
}

static int set_up_tap(struct keeper *k, struct err *err)
{
	const struct net_plan *p = &k->setup.plan;
	int index = rt_link_index(k->rt, NET_TAP), r;
	struct rt_link l = { .name = NET_TAP, .up = 1, .mtu = p->mtu,
			     .mac = p->tap_mac, .no_link_local = 1,
			     .forward4 = 1 };

	if (index < 0)
		return err_set(err, index, NET_TAP);
	l.index = k->link[0] = (unsigned)index;
	r = rt_link_set(k->rt, &l, err);
	if (r == 0)
		r = rt_addr_add(k->rt, l.index, &p->gate4, err);
	if (r == 0)
		r = rt_neigh_add(k->rt, l.index, &p->guest4, p->guest_mac, err);
	if (r == 0 && p->has_v6)
		r = rt_addr_add(k->rt, l.index, &p->gate6, err);
	if (r == 0 && p->has_v6)
		r = rt_neigh_add(k->rt, l.index, &p->guest6, p->guest_mac, err);
	return r;
}

/* --- the sockets of DNS ------------------------------------------------------ */

static socklen_t socket_address(const struct net_addr *a,
				struct sockaddr_storage *out)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (a->family == 6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(NET_DNS_PORT);
		memcpy(&v6->sin6_addr, a->b, 16);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(NET_DNS_PORT);
	memcpy(&v4->sin_addr, a->b, 4);
	return sizeof(*v4);
}

/*
 * Bound to the tap as well as to its address: nothing from up0 comes in. The
 * address is not there yet (ip(7), IP_FREEBIND), for the launcher waits.
 */
static int make_listener(const struct net_addr *a, int type, struct err *err)
{
	_cleanup_fd_ int fd = socket(a->family == 6 ? AF_INET6 : AF_INET,
				     type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	socklen_t len = socket_address(a, &sa);
	const int on = 1, v6 = a->family == 6;

	if (fd < 0 ||
	    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       v6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NET_TAP,
		       sizeof(NET_TAP)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    (type == SOCK_STREAM && listen(fd, DNS_BACKLOG) < 0))
		return err_set(err, -errno, "listen for DNS");
	return steal_fd(&fd);
}

static int make_listeners(struct keeper *k, struct err *err)
{
	const struct net_plan *p = &k->setup.plan;
	const struct net_addr *at[] = { &p->gate4.addr, &p->gate6.addr };
	const int type[] = { SOCK_DGRAM, SOCK_STREAM };

	for (unsigned i = 0; i < (p->has_v6 ? 4u : 2u); i++) {
		int fd = make_listener(at[i / 2], type[i % 2], err);

		if (fd < 0)
			return fd;
		k->dns[k->ndns++] = fd;
	}
	return 0;
}

/* --- the table, the uplink ----------------------------------------------------- */

static int load_table(struct keeper *k, struct err *err)
{
	_cleanup_free_ void *batch = malloc(NET_TABLE_MAX);
	int len;

	if (!batch)
		return err_set(err, -ENOMEM, "table");
	len = net_plan_vm_table(&k->setup.plan, &k->setup.rules, batch,
				NET_TABLE_MAX, err);
	return len < 0 ? len : nfnl_send(k->nfnl, batch, (size_t)len, err);
}

static int set_up_uplink(struct keeper *k, struct err *err)
{
	static const struct net_prefix all4 = { .addr.family = 4 };
	static const struct net_prefix all6 = { .addr.family = 6 };
	const struct net_plan *p = &k->setup.plan;
	const struct net_prefix up4 = { p->up4, 31 }, up6 = { p->up6, 127 };
	struct rt_link l = { .name = NET_UPLINK, .up = 1, .mtu = p->mtu,
			     .forward4 = 1 };
	struct keep_uplink u;
	int r, index;

	r = expect(&u, sizeof(u), KEEP_UPLINK, NULL, err);
	if (r < 0)
		return r;
	index = rt_link_index(k->rt, NET_UPLINK);
	if (index < 0)
		return err_set(err, index, NET_UPLINK);
	l.index = (unsigned)index;
	/* pasta's goes with pasta, which the launcher sees. */
	if (!u.configured)
		k->link[1] = l.index;
	r = rt_link_set(k->rt, &l, err);
	if (r < 0 || u.configured)
		return r;
	r = rt_addr_add(k->rt, l.index, &up4, err);
	if (r == 0)
		r = rt_route_add(k->rt, l.index, &all4, &p->host4, err);
	if (r == 0 && p->has_v6)
		r = rt_addr_add(k->rt, l.index, &up6, err);
	if (r == 0 && p->has_v6)
		r = rt_route_add(k->rt, l.index, &all6, &p->host6, err);
	return r < 0 ? err_wrap(err, NET_UPLINK) : 0;
}

/* --- all of it -------------------------------------------------------------------- */

static int tell(uint32_t type, const struct err *err, const int *fds,
		size_t nfds)
{
	struct keep_word w;

	keep_word_fill(&w, type, err);
	return io_send_fds(KEEP_CONTROL_FD, &w, sizeof(w), fds, nfds);
}

/*
 * The tap stays open here as well, for no use: it takes the kernel some 20 ms
 * to remove it when it is closed, and who closes it last waits for that. That
 * is to be this process and neither mayfly-vmm nor the launcher.
 */
static int give_tap(struct keeper *k, struct err *err)
{
	int fds[KEEP_FDS_MAX] = { k->tap }, r;

	memcpy(fds + 1, k->dns, k->ndns * sizeof(*fds));
	r = tell(KEEP_TAP, NULL, fds, 1 + k->ndns);
	for (unsigned i = 0; i < k->ndns; i++)
		close_fd(&k->dns[i]);
	return r < 0 ? err_set(err, r, "answer the launcher") : 0;
}

static int add_elements(void *opaque, const struct nfnl_element *e,
			unsigned count)
{
	return nfnl_add(opaque, NET_TABLE, e, count);
}

/* All that questions will take: no memory is to be had any more by then. */
static int open_tools(struct keeper *k, struct err *err)
{
	int r = rt_open(&k->rt, err);

	/* Before they are looked for. */
	if (r == 0)
		r = k->links = watch_links(err);
	if (r >= 0)
		r = nfnl_open(&k->nfnl, err);
	if (r < 0 || k->learn < 0)
		return r;
	r = learn_init(&k->asked, &k->setup.rules, io_now_ns());
	if (r < 0)
		return err_set(err, r, "network");
	k->asked.add = add_elements;
	k->asked.opaque = k->nfnl;
	return 0;
}

int keeper_make(struct keeper **out, uint32_t *become, struct err *err)
{
	static const struct {
		const char *name;
		int (*fn)(struct keeper *k, struct err *err);
	} step[] = {
		{ "setup", hear_setup },	 { "tap", make_tap },
		{ "listeners", make_listeners }, { "told", give_tap },
		{ "settings", put_settings },	 { "tools", open_tools },
		{ "link", set_up_tap },		 { "fence", load_table },
		{ "uplink", set_up_uplink },
	};
	struct keeper *k = calloc(1, sizeof(*k));
	int r = 0;

	if (!k)
		return err_set(err, -ENOMEM, "network");
	k->learn = k->links = -1;
	k->tap = KEEP_TUN_FD;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(step); i++) {
		r = step[i].fn(k, err);
		if (r == 0)
			fault_point("keep", step[i].name);
	}
	rt_close(k->rt);
	k->rt = NULL;
	*out = k;
	*become = k->setup.become;
	return r;
}

int keeper_ready(uint32_t layers)
{
	struct keep_word w;

	fault_point("keep", "locked");
	keep_word_fill(&w, KEEP_READY, NULL);
	w.layers = layers;
	return io_send_fds(KEEP_CONTROL_FD, &w, sizeof(w), NULL, 0);
}

void keeper_failed(const struct err *err)
{
	(void)tell(KEEP_FAILED, err, NULL, 0);
}

/* --- holding ------------------------------------------------------------------- */

/* -errno when this forwarder is not to be heard any more. */
static int answer(struct keeper *k)
{
	struct keep_learned a[KEEP_LEARN_MAX];
	uint8_t q[KEEP_LEARN_MAX * sizeof(struct keep_learn) + 1];
	size_t none = 0;
	ssize_t n = io_recv_fds(k->learn, q, sizeof(q), NULL, &none);
	int r;

	if (n <= 0)
		return n == -EAGAIN ? 0 : n < 0 ? (int)n : -EPIPE;
	r = learn_answer(&k->asked, q, (size_t)n, io_now_ns(), a);
	if (r < 0)
		return r;
	/* Hundreds fit in: one that reads none of them (-EAGAIN) is done. */
	return io_send_fds(k->learn, a, (size_t)r * sizeof(*a), NULL, 0);
}

static int is_among(const struct net_addr *a, const struct net_addr *list,
		    unsigned n)
{
	for (; n; n--)
		if (net_addr_equal(a, &list[n - 1]))
			return 1;
	return 0;
}

/* The host has more addresses now. -ESRCH: there is no launcher any more. */
static int hear_own(struct keeper *k, struct err *err)
{
	struct nfnl_element e[KEEP_OWN_MAX];
	struct keep_own o;
	int r = expect(&o, sizeof(o), KEEP_OWN, NULL, err);

	if (r < 0)
		return r;
	if (!o.n || o.n > KEEP_OWN_MAX)
		r = -EPROTO;
	for (unsigned i = 0; r == 0 && i < o.n; i++) {
		const struct net_addr *a = &o.addr[i];

		if (!net_addr_valid(a) || is_among(a, o.addr, i))
			r = -EPROTO;
		e[i] = (struct nfnl_element){
			.set = a->family == 6 ? NET_SET_LATER6 : NET_SET_LATER4,
			.key = a->b,
			.key_len = net_addr_bits(a) / 8,
		};
	}
	if (r == 0)
		r = nfnl_add(k->nfnl, NET_TABLE, e, o.n);
	return r < 0 ? err_set(err, r, "refuse a new address of the host") : 0;
}

/* Until the launcher hangs up, or the network is not what it was. */
static int hold_one(struct keeper *k, struct pollfd p[3], struct err *err)
{
	if (poll(p, 3, -1) < 0)
		return 0;
	if (p[0].revents)
		return hear_own(k, err);
	if (p[2].revents &&
	    watch_links_gone(k->links, k->link, ARRAY_SIZE(k->link)))
		return err_say(err, -ENODEV, "somebody has removed a link of "
			       "it");
	if (p[1].revents && answer(k) < 0) {
		close_fd(&k->learn);
		p[1].fd = -1;
	}
	return 0;
}

void keeper_hold(struct keeper *k)
{
	struct pollfd p[] = { { .fd = KEEP_CONTROL_FD, .events = POLLIN },
			      { .fd = k->learn, .events = POLLIN },
			      { .fd = k->links, .events = POLLIN } };
	struct err err = { 0 };

	fault_point("keep", "held");
	while (hold_one(k, p, &err) == 0)
		;
	keeper_failed(&err);
}
