/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table_host: what VMs share on the host, as nft reads it. Nothing in it is of
 * one VM, or of one directory of runs: it knows links by their names, mfy*, and
 * addresses by the routes to them.
 *
 * It is a second fence behind that of each VM's netns: it holds where the host
 * has got an address since, and where a netns itself were taken over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/plan.h"
#include "net/table.h"
#include "runner/base/err.h"

#define LINKS "\"" NET_HOST_LINK "*\""

/* A source must be one that the host would answer by the same link: each link
 * has a route to its own VM alone; and for IPv6 one to link-local addresses. 0/8
 * is where fib lets pass what is sent to all. */
static void add_source(struct table *t)
{
	table_put(t, "\tchain source {\n"
		  "\t\ttype filter hook prerouting priority raw; policy accept;\n"
		  "\t\tiifname " LINKS " goto source_vm\n\t}\n"
		  "\tchain source_vm {\n"
		  "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
		  "ip6 hoplimit 255 accept\n"
		  "\t\tip saddr 0.0.0.0/8 drop\n"
		  "\t\tip6 saddr != " NET_POOL6 " drop\n"
		  "\t\tfib saddr . iif oif missing drop\n\t}\n");
}

/*
 * To the host: nothing. Before destinations are changed, for a port that is
 * published by a container is an address of the host until then, and is
 * forwarded behind it.
 */
static void add_input(struct table *t)
{
	table_put(t, "\tchain to_host {\n"
		  "\t\ttype filter hook prerouting priority dstnat - 10; "
		  "policy accept;\n"
		  "\t\tiifname " LINKS " ct state new fib daddr type "
		  "{ local, broadcast, anycast, multicast } "
		  "goto to_host_vm\n\t}\n"
		  "\tchain input_host {\n"
		  "\t\ttype filter hook input priority filter; policy accept;\n"
		  "\t\tiifname " LINKS " goto to_host_vm\n\t}\n"
		  "\tchain to_host_vm {\n"
		  "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
		  "ip6 hoplimit 255 accept\n"
		  "\t\tgoto refuse\n\t}\n");
}

static int has_closed(const struct net_router *r)
{
	return r->was_off && (r->all_closed || r->nclosed);
}

static void add_closed(struct table *t, const struct net_router *r,
		       const char *family)
{
	if (!has_closed(r))
		return;
	table_put(t, "\t\tmeta nfproto %s ", family);
	for (unsigned i = 0; !r->all_closed && i < r->nclosed; i++)
		table_put(t, "%s%u", i ? ", " : "iif { ", r->closed[i]);
	table_put(t, r->all_closed ? "drop\n" : " } drop\n");
}

/* Forwarding is on for our links, not for those that were there before us. */
static void add_router(struct table *t, const struct net_shared *shared)
{
	if (!has_closed(&shared->router4) && !has_closed(&shared->router6))
		return;
	/* Answers, and ports that somebody else has published. */
	table_put(t, "\t\tct state established,related accept\n"
		  "\t\tct status dnat accept\n");
	add_closed(t, &shared->router4, "ipv4");
	add_closed(t, &shared->router6, "ipv6");
}

static void add_forward(struct table *t, const struct net_shared *shared)
{
	table_put(t, "\tchain through {\n"
		  "\t\ttype filter hook forward priority filter; policy accept;\n"
		  "\t\tiifname " LINKS " goto from_vm\n"
		  "\t\toifname " LINKS " goto to_vm\n");
	add_router(t, shared);
	table_put(t, "\t}\n");
	/* No longer than one must be kept that says nothing (RFC 5382 5):
	 * Linux has 5 days, and a VM that ends closes nothing (flows.h). One
	 * that is over is not counted, so it is not to stay for minutes. */
	table_put(t, "\tct timeout vm_tcp {\n"
		  "\t\tprotocol tcp\n\t\tpolicy = "
		  "{ established : 7440, time_wait : 10 }\n\t}\n");
	/* How many each link has, by a number that no later one gets: the next
	 * VM has not what one that was killed has left. The kernel forgets links
	 * that have none. */
	table_put(t, "\tset flows {\n\t\ttype iface_index\n\t\tsize 65535\n"
		  "\t\tflags dynamic\n\t}\n");
	table_put(t, "\tchain from_vm {\n"
		  "\t\toifname " LINKS " goto refuse\n%s"
		  "\t\tmeta l4proto tcp ct state new "
		  "ct timeout set \"vm_tcp\"\n"
		  "\t\tct state new ct status & confirmed == 0 add @flows "
		  "{ iif ct count over %d } goto refuse\n"
		  "\t\ttcp flags & (syn | rst) == syn "
		  "tcp option maxseg size set rt mtu\n"
		  "\t\taccept\n\t}\n",
		  shared->has_v6 ? "" : "\t\tmeta nfproto ipv6 goto refuse\n",
		  NET_HOST_FLOWS_MAX);
	/* nft itself knows "icmpv6"; "ipv6-icmp" it would look for in
	 * /etc/protocols, which a small system lacks. */
	table_put(t, "\tchain to_vm {\n"
		  "\t\ttcp flags & (syn | rst) == syn "
		  "tcp option maxseg size set rt mtu\n"
		  "\t\tct state established accept\n"
		  "\t\tct state related meta l4proto { icmp, icmpv6 } accept\n"
		  "\t\tdrop\n\t}\n");
}

/* By what it came from, for others may have addresses of a pool that is large.
 * (Linux 5.7: postrouting knows that, too.) */
static void add_masquerade(struct table *t)
{
	table_put(t, "\tchain masq {\n"
		  "\t\ttype nat hook postrouting priority srcnat; "
		  "policy accept;\n"
		  "\t\toifname " LINKS " accept\n"
		  "\t\tiifname " LINKS " masquerade\n\t}\n");
}

/* FNV-1a: to tell texts of ours apart, of which nobody else makes any. */
static unsigned long long hash(const char *s, size_t n)
{
	unsigned long long h = 0xcbf29ce484222325;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 0x100000001b3;
	return h;
}

static void add_table(struct table *t, const struct net_shared *shared)
{
	table_put(t, "table inet " NET_TABLE "\n"
		  "delete table inet " NET_TABLE "\n"
		  "table inet " NET_TABLE " {\n");
	/* Who asks for more is not answered; others are. */
	table_put(t, "\tset refused {\n\t\ttype iface_index\n"
		  "\t\tsize 65535\n\t\tflags dynamic,timeout\n"
		  "\t\ttimeout 10s\n\t}\n"
		  "\tchain refuse {\n"
		  "\t\tupdate @refused { iif limit rate over 1000/second "
		  "burst 1000 packets } drop\n"
		  "\t\tmeta l4proto tcp reject with tcp reset\n"
		  "\t\treject with icmpx type admin-prohibited\n\t}\n");
	add_source(t);
	add_input(t);
	add_forward(t, shared);
	add_masquerade(t);
	table_put(t, "}\n");
}

static int shared_check(const struct net_shared *shared, struct err *err)
{
	if (shared->router4.nclosed > NET_CLOSED_MAX ||
	    shared->router6.nclosed > NET_CLOSED_MAX)
		return err_say(err, -EINVAL, "more than %d closed links",
			       NET_CLOSED_MAX);
	return 0;
}

/* "mark_KIND_FLAGS_TEXT": version, what of IPv6 and of routers is in it, all of
 * it. */
#define KIND_LEN 13 /* "mark_01234567" */

static int make_mark(const struct net_shared *shared, const struct table *t,
		     char mark[NET_MARK_MAX])
{
	const struct net_shared plain = { .has_v6 = 0 };
	char buf[NET_HOST_TABLE_MAX];
	struct table kind;

	table_open(&kind, buf, sizeof(buf));
	add_table(&kind, &plain);
	snprintf(mark, NET_MARK_MAX, NET_MARK "%08x_%d_%08x",
		 (unsigned)hash(kind.buf, kind.len),
		 (shared->has_v6 != 0) | (shared->router4.was_off != 0) << 1 |
			 (shared->router6.was_off != 0) << 2,
		 (unsigned)hash(t->buf, t->len));
	return kind.bad ? -E2BIG : 0;
}

int net_mark_serves(const char *has, const char *wants)
{
	int a, b;

	if (strlen(has) <= KIND_LEN || strncmp(has, wants, KIND_LEN) ||
	    sscanf(has + KIND_LEN, "_%1d", &a) != 1 ||
	    sscanf(wants + KIND_LEN, "_%1d", &b) != 1)
		return 0;
	return (a & b) == b;
}

int net_plan_host_table(const struct net_shared *shared, char *buf, size_t size,
			struct err *err)
{
	char mark[NET_MARK_MAX];
	struct table t;

	table_open(&t, buf, size);
	if (shared_check(shared, err) < 0)
		return -EINVAL;
	add_table(&t, shared);
	if (make_mark(shared, &t, mark) < 0)
		t.bad = 1;
	table_put(&t, "add chain inet " NET_TABLE " %s\n", mark);
	return table_end(&t, err);
}

int net_plan_host_mark(const struct net_shared *shared, char mark[NET_MARK_MAX])
{
	char buf[NET_HOST_TABLE_MAX];
	struct table t;

	table_open(&t, buf, sizeof(buf));
	if (shared_check(shared, NULL) < 0)
		return -EINVAL;
	add_table(&t, shared);
	return t.bad ? -E2BIG : make_mark(shared, &t, mark);
}
