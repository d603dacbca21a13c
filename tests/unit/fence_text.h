/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence of a VM as text for nft: what net/table_vm.c is held against, set
 * by set and rule by rule. Names of chains must not be words of nft's grammar.
 */
#ifndef MAYFLY_TESTS_UNIT_FENCE_TEXT_H
#define MAYFLY_TESTS_UNIT_FENCE_TEXT_H

#include <stdio.h>

#include "net/plan.h"
#include "net/table.h"

#define FENCE_TEXT_MAX 65536

/* The steps are written for each kind of flow: what has a port, DNS where it is
 * guarded (rules that name the port only), echo (rules without a port only). */
enum kind {
	ANY_PORT,
	DNS_PORT,
	NO_PORT,
};

static int is_for(const struct net_rule *r, enum kind kind)
{
	if (kind == NO_PORT)
		return !r->port;
	if (kind == DNS_PORT)
		return r->port == 53 || r->port == 853;
	return 1;
}

static const char *ip(int family)
{
	return family == 6 ? "ip6" : "ip";
}

static void add_rule(struct table *t, const struct net_rule *r,
		     const char *verdict)
{
	/* "ip daddr 0.0.0.0/0" is no match to nft, only the family is. */
	if (r->prefix.len) {
		table_put(t, "\t\t%s daddr ", ip(r->prefix.addr.family));
		table_prefix(t, &r->prefix);
	} else {
		table_put(t, "\t\tmeta nfproto ipv%u", r->prefix.addr.family);
	}
	if (r->port)
		table_put(t, " th dport %u", r->port);
	table_put(t, " goto %s\n", verdict);
}

static void add_denied(struct table *t, const struct net_rules *rs,
		       enum kind kind)
{
	const struct net_rule *r;

	for (r = rs->deny; r < rs->deny + rs->ndeny; r++)
		if (!r->is_name && (is_for(r, kind) || !r->port))
			add_rule(t, r, "refuse");
}

static void add_allowed(struct table *t, const struct net_rules *rs,
			enum kind kind, int step)
{
	const struct net_rule *r;

	for (r = rs->allow; r < rs->allow + rs->nallow; r++)
		if (net_rule_step(r) == step && is_for(r, kind))
			add_rule(t, r, "admit");
}

static void add_refused(struct table *t, const char *set)
{
	for (int family = 4; family <= 6; family += 2)
		table_put(t, "\t\t%s daddr @%s%d goto refuse\n", ip(family),
			  set, family);
}

static void add_learned(struct table *t, enum kind kind)
{
	for (int family = 4; family <= 6; family += 2) {
		const char *all = family == 4 ? NET_SET_ADDR4 : NET_SET_ADDR6;
		const char *one = family == 4 ? NET_SET_ADDR4_PORT :
						NET_SET_ADDR6_PORT;

		if (kind != DNS_PORT)
			table_put(t, "\t\t%s daddr @%s goto admit\n",
				  ip(family), all);
		if (kind != NO_PORT)
			table_put(t, "\t\t%s daddr . th dport @%s goto admit\n",
				  ip(family), one);
	}
}

/* The steps of rule.h, but for those that no flow of this kind can meet. */
static void add_steps(struct table *t, const char *chain,
		      const struct net_rules *rs, enum kind kind)
{
	table_put(t, "\tchain %s {\n", chain);
	add_denied(t, rs, kind);
	add_refused(t, "own");
	add_allowed(t, rs, kind, 3);
	add_refused(t, "exact");
	add_allowed(t, rs, kind, 5);
	add_refused(t, "special");
	add_allowed(t, rs, kind, 8);
	if (net_learns(rs))
		add_learned(t, kind);
	table_put(t, "\t\tgoto %s\n\t}\n",
		  net_is_list(rs) || kind == DNS_PORT ? "refuse" : "admit");
}

static void add_to_world(struct table *t, const struct net_plan *plan,
		       const struct net_rules *rs)
{
	int guarded = net_guards_dns(rs);

	/*
	 * A host with many flows pays for them all: rule.h has no limit, for
	 * it is about one. The kernel goes through what it has counted for
	 * each packet that it is to count, and knows some of them twice: so a
	 * flow is counted by its first packet alone, and not too many a second.
	 */
	table_put(t, "\tchain admit {\n%s"
		  "\t\tct status confirmed accept\n"
		  "\t\tlimit rate over %d/second burst %d packets goto refuse\n"
		  "\t\tct count over %d goto refuse\n\t\taccept\n\t}\n",
		  plan->by_pasta ?
			  "\t\tmeta l4proto tcp ct status confirmed drop\n" :
			  "",
		  NET_FLOWS_SECOND, NET_FLOWS_MAX, NET_FLOWS_MAX);
	add_steps(t, "world_port", rs, ANY_PORT);
	if (guarded)
		add_steps(t, "world_dns", rs, DNS_PORT);
	add_steps(t, "world_echo", rs, NO_PORT);
	table_put(t, "\tchain to_world {\n");
	/* The second step; what the first refuses is refused here as well. */
	add_refused(t, NET_SET_LATER);
	if (!plan->has_v6)
		table_put(t, "\t\tmeta nfproto ipv6 goto refuse\n");
	if (guarded)
		table_put(t, "\t\tmeta l4proto { tcp, udp } th dport "
			  "{ 53, 853 } goto world_dns\n");
	table_put(t, "\t\tmeta l4proto { tcp, udp } goto world_port\n"
		  "\t\tip protocol icmp icmp type echo-request "
		  "goto world_echo\n"
		  "\t\tmeta nfproto ipv6 icmpv6 type echo-request "
		  "goto world_echo\n"
		  "\t\tgoto refuse\n\t}\n");
}

static void add_set(struct table *t, const char *name,
		    const struct net_prefix *(*get)(unsigned),
		    const struct net_rules *rs)
{
	char full[16];

	for (int family = 4; family <= 6; family += 2) {
		const struct net_prefix *p;
		int n = 0;

		snprintf(full, sizeof(full), "%s%d", name, family);
		table_set_open(t, full, family);
		for (unsigned i = 0; (p = get(i)); i++)
			if (p->addr.family == family)
				table_set_element(t, p, &n);
		for (unsigned i = 0; rs && i < rs->nown; i++)
			if (rs->own[i].addr.family == family)
				table_set_element(t, &rs->own[i], &n);
		table_set_close(t, n);
	}
}

/* Of addresses that the host gets while the guest runs. */
static void add_later_sets(struct table *t)
{
	for (int family = 4; family <= 6; family += 2)
		table_put(t, "\tset " NET_SET_LATER "%d {\n\t\ttype ipv%d_addr\n"
			  "\t\tsize %d\n\t}\n", family, family,
			  NET_LATER_MAX);
}

static void add_learned_sets(struct table *t)
{
	for (int family = 4; family <= 6; family += 2)
		for (unsigned port = 0; port < 2; port++) {
			struct net_addr a = { .family = family };

			table_put(t, "\tset %s {\n\t\ttype ipv%d_addr%s\n"
				  "\t\tsize %d\n\t\tflags timeout\n\t}\n",
				  net_learned_set(&a, port), family,
				  port ? " . inet_service" : "",
				  NET_LEARNED_MAX);
		}
}

/*
 * On the way in, before anything is kept of it: the guest's MAC and address
 * and no others, no fragment, no option that steers a packet (IPv4's all, for
 * nobody needs one; of IPv6 the extension headers). ARP asks for the gateway.
 * Broadcast and multicast end here, but for neighbour solicitations.
 */
static void add_source(struct table *t, const struct net_plan *plan)
{
	char gate[NET_ADDR_MAX], four[NET_ADDR_MAX], six[NET_ADDR_MAX];
	const uint8_t *m = plan->guest_mac;

	net_addr_format(&plan->gate4.addr, gate);
	net_addr_format(&plan->guest4, four);
	net_addr_format(&plan->guest6, six);
	table_put(t, "table netdev " NET_TABLE " {\n\tchain guest {\n"
		  "\t\ttype filter hook ingress device \"" NET_TAP "\" "
		  "priority 0; policy drop;\n"
		  "\t\tether saddr != %02x:%02x:%02x:%02x:%02x:%02x drop\n",
		  m[0], m[1], m[2], m[3], m[4], m[5]);
	table_put(t, "\t\tmeta pkttype host ip saddr %s ip hdrlength 5 "
		  "ip frag-off & 0x3fff == 0 accept\n", four);
	table_put(t, "\t\tip6 saddr != { %s, " NET_GUEST6_LINK " } drop\n"
		  "\t\tip6 nexthdr icmpv6 icmpv6 type "
		  "{ nd-neighbor-solicit, nd-neighbor-advert } accept\n"
		  "\t\tmeta pkttype host ip6 nexthdr != "
		  "{ 0, 43, 44, 51, 60, 135, 139, 140 } accept\n", six);
	table_put(t, "\t\tarp htype 1 arp ptype ip arp operation request "
		  "arp saddr ether %02x:%02x:%02x:%02x:%02x:%02x "
		  "arp saddr ip %s arp daddr ip %s accept\n\t}\n}\n",
		  m[0], m[1], m[2], m[3], m[4], m[5], four, gate);
}

/* The gateway's own: it has DNS for the guest, answers echo and neighbours,
 * and starts nothing. None of it is tracked, so none of it counts. */
static void add_gateway(struct table *t, const struct net_plan *plan)
{
	char four[NET_ADDR_MAX], six[NET_ADDR_MAX];

	net_addr_format(&plan->gate4.addr, four);
	net_addr_format(&plan->gate6.addr, six);
	table_put(t, "\tchain raw_in {\n"
		  "\t\ttype filter hook prerouting priority raw; policy accept;\n"
		  "\t\tiifname \"" NET_TAP "\" ip daddr %s notrack\n"
		  "\t\tiifname \"" NET_TAP "\" ip6 daddr %s notrack\n\t}\n",
		  four, six);
	table_put(t, "\tchain raw_out {\n"
		  "\t\ttype filter hook output priority raw; policy accept;\n"
		  "\t\toifname \"" NET_TAP "\" ip saddr %s notrack\n"
		  "\t\toifname \"" NET_TAP "\" ip6 saddr %s notrack\n\t}\n",
		  four, six);
	table_put(t, "\tchain to_gateway {\n"
		  "\t\tmeta l4proto { tcp, udp } th dport %d accept\n"
		  "\t\tip protocol icmp icmp type echo-request accept\n"
		  "\t\tmeta nfproto ipv6 icmpv6 type echo-request accept\n"
		  "\t\tgoto refuse\n\t}\n", NET_DNS_PORT);
	table_put(t, "\tchain to_us {\n"
		  "\t\ttype filter hook input priority filter; policy drop;\n"
		  "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
		  "ip6 hoplimit 255 accept\n"
		  "\t\tiifname != \"" NET_TAP "\" drop\n"
		  "\t\tip daddr %s goto to_gateway\n"
		  "\t\tip6 daddr %s goto to_gateway\n"
		  "\t\tgoto refuse\n\t}\n", four, six);
	table_put(t, "\tchain from_us {\n"
		  "\t\ttype filter hook output priority filter; policy drop;\n"
		  "\t\tip protocol icmp icmp type { echo-reply, "
		  "destination-unreachable, time-exceeded, parameter-problem } "
		  "accept\n"
		  "\t\tmeta nfproto ipv6 icmpv6 type { echo-reply, "
		  "destination-unreachable, packet-too-big, time-exceeded, "
		  "parameter-problem, nd-neighbor-solicit, nd-neighbor-advert "
		  "} accept\n"
		  "\t\toifname != \"" NET_TAP "\" drop\n"
		  "\t\tmeta l4proto { tcp, udp } th sport %d accept\n"
		  "\t\ttcp flags & rst == rst accept\n\t}\n", NET_DNS_PORT);
}

/* The order is that of how often they are met. Errors belong to a flow only
 * where conntrack has found the one that they are about. */
static void add_through(struct table *t)
{
	table_put(t, "\tchain through {\n"
		  "\t\ttype filter hook forward priority filter; policy drop;\n"
		  "\t\ttcp flags & (syn | rst) == syn "
		  "tcp option maxseg size set rt mtu\n"
		  "\t\tct state established accept\n"
		  "\t\tct state related meta l4proto { icmp, icmpv6 } accept\n"
		  "\t\tiifname != \"" NET_TAP "\" drop\n"
		  "\t\tct state != new drop\n"
		  "\t\toifname \"" NET_UPLINK "\" goto to_world\n"
		  "\t\tgoto refuse\n\t}\n");
	table_put(t, "\tchain masq {\n"
		  "\t\ttype nat hook postrouting priority srcnat; "
		  "policy accept;\n"
		  "\t\toifname \"" NET_UPLINK "\" masquerade\n\t}\n");
}

/* At once; but who asks for more than this is not answered. */
static void add_refuse(struct table *t)
{
	table_put(t, "\tchain refuse {\n"
		  "\t\tlimit rate over 1000/second burst 1000 packets drop\n"
		  "\t\tmeta l4proto tcp reject with tcp reset\n"
		  "\t\treject with icmpx type admin-prohibited\n\t}\n");
}

/* Its length, or -E2BIG. */
static int fence_text(const struct net_plan *plan, const struct net_rules *rules,
		      char *buf, size_t size)
{
	struct table t;

	table_open(&t, buf, size);
	add_source(&t, plan);
	table_put(&t, "table inet " NET_TABLE " {\n");
	add_set(&t, "own", net_ours, rules);
	add_set(&t, "exact", net_exact_only, NULL);
	add_set(&t, "special", net_special, NULL);
	add_later_sets(&t);
	if (net_learns(rules))
		add_learned_sets(&t);
	add_refuse(&t);
	add_to_world(&t, plan, rules);
	add_gateway(&t, plan);
	add_through(&t);
	table_put(&t, "}\n");
	return table_end(&t, NULL);
}

#endif
