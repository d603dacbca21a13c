/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table_vm: the fence of a VM.
 *
 *	guest -> tap0   netdev mayfly/guest: who it says that it is
 *	to the gateway  inet mayfly/to_us: DNS and echo
 *	to the world    inet mayfly/through: what goes on goes on; a new flow
 *			is for to_world, which has net_decide()'s steps in order
 *	from the world  what belongs to a flow of the guest's, and no more
 *
 * tests/unit/fence_text.h has the same as nft reads it, and the tests hold the
 * one against the other: names of chains must not be words of nft's grammar.
 */
#include <netinet/in.h> /* first: the kernel's headers have it as well */

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

#include "net/batch.h"
#include "net/expr.h"
#include "net/plan.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

static const uint8_t tcp_or_udp[] = { IPPROTO_TCP, IPPROTO_UDP };
static const uint8_t neighbours[] = { ND_NEIGHBOR_SOLICIT,
				      ND_NEIGHBOR_ADVERT };

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

static enum field daddr(int family)
{
	return family == 6 ? IP6_DADDR : IP_DADDR;
}

static struct term is_family(int family)
{
	return is(NFPROTO, family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
}

static void add_rule(struct batch *b, const struct net_rule *r,
		     const char *chain)
{
	int family = r->prefix.addr.family;
	/* "ip daddr 0.0.0.0/0" is no match, only the family is. */
	struct term to = r->prefix.len ? within(daddr(family), &r->prefix) :
					 is_family(family);

	if (r->port)
		rule(b, to, is(TH_DPORT, r->port), go_to(chain));
	else
		rule(b, to, go_to(chain));
}

static void add_denied(struct batch *b, const struct net_rules *rs,
		       enum kind kind)
{
	const struct net_rule *r;

	for (r = rs->deny; r < rs->deny + rs->ndeny; r++)
		if (!r->is_name && (is_for(r, kind) || !r->port))
			add_rule(b, r, "refuse");
}

static void add_allowed(struct batch *b, const struct net_rules *rs,
			enum kind kind, int step)
{
	const struct net_rule *r;

	for (r = rs->allow; r < rs->allow + rs->nallow; r++)
		if (net_rule_step(r) == step && is_for(r, kind))
			add_rule(b, r, "admit");
}

static void add_refused(struct batch *b, const char *set4, const char *set6)
{
	rule(b, in_set(IP_DADDR, set4), go_to("refuse"));
	rule(b, in_set(IP6_DADDR, set6), go_to("refuse"));
}

static void add_learned(struct batch *b, enum kind kind)
{
	for (int family = 4; family <= 6; family += 2) {
		const struct net_addr a = { .family = (uint8_t)family };
		const char *all = net_learned_set(&a, 0);
		const char *one = net_learned_set(&a, 1);

		if (kind != DNS_PORT)
			rule(b, in_set(daddr(family), all), go_to("admit"));
		if (kind != NO_PORT)
			rule(b, in_set_with_port(daddr(family), one),
			     go_to("admit"));
	}
}

/* The steps of rule.h, but for those that no flow of this kind can meet. */
static void add_steps(struct batch *b, const char *chain,
		      const struct net_rules *rs, enum kind kind)
{
	batch_chain(b, chain, NULL);
	add_denied(b, rs, kind);
	add_refused(b, "own4", "own6");
	add_allowed(b, rs, kind, 3);
	add_refused(b, "exact4", "exact6");
	add_allowed(b, rs, kind, 5);
	add_refused(b, "special4", "special6");
	add_allowed(b, rs, kind, 8);
	if (net_learns(rs))
		add_learned(b, kind);
	rule(b, go_to(net_is_list(rs) || kind == DNS_PORT ? "refuse" :
							    "admit"));
}

static void add_to_world(struct batch *b, const struct net_plan *plan,
			 const struct net_rules *rs)
{
	static const uint8_t dns_ports[][2] = { { 0, 53 },
						{ 853 >> 8, 853 & 0xff } };
	int guarded = net_guards_dns(rs);

	/*
	 * A host with many flows pays for them all: rule.h has no limit, for
	 * it is about one. The kernel goes through what it has counted for
	 * each packet that it is to count, and knows some of them twice: so a
	 * flow is counted by its first packet alone, and not too many a second.
	 *
	 * pasta loses nothing, but that of Debian 12 never comes to an end with
	 * two packets of a connection that it takes from up0 at once, the first
	 * of which begins it (tcp_tap_handler() says that it has taken one, then
	 * that it has taken both). A second SYN comes after a second of silence,
	 * or by a guest's malice: there is none until there was an answer.
	 */
	batch_chain(b, "admit", NULL);
	if (plan->by_pasta)
		rule(b, is(L4PROTO, IPPROTO_TCP),
		     has(CT_STATUS, IPS_CONFIRMED), verdict(NF_DROP));
	rule(b, has(CT_STATUS, IPS_CONFIRMED), verdict(NF_ACCEPT));
	rule(b, limit_over(NET_FLOWS_SECOND, NET_FLOWS_MAX), go_to("refuse"));
	rule(b, ct_count_over(NET_FLOWS_MAX), go_to("refuse"));
	rule(b, verdict(NF_ACCEPT));

	add_steps(b, "world_port", rs, ANY_PORT);
	if (guarded)
		add_steps(b, "world_dns", rs, DNS_PORT);
	add_steps(b, "world_echo", rs, NO_PORT);

	batch_chain(b, "to_world", NULL);
	/* The second step; what the first refuses is refused here as well. */
	add_refused(b, NET_SET_LATER4, NET_SET_LATER6);
	if (!plan->has_v6)
		rule(b, is_family(6), go_to("refuse"));
	if (guarded)
		rule(b, among(L4PROTO, 2, tcp_or_udp),
		     among(TH_DPORT, 2, dns_ports), go_to("world_dns"));
	rule(b, among(L4PROTO, 2, tcp_or_udp), go_to("world_port"));
	rule(b, is(IP_PROTO, IPPROTO_ICMP), is(ICMP_TYPE, ICMP_ECHO),
	     go_to("world_echo"));
	rule(b, is(ICMPV6_TYPE, ICMP6_ECHO_REQUEST), go_to("world_echo"));
	rule(b, go_to("refuse"));
}

/* --- sets ------------------------------------------------------------------- */

static uint32_t open_set(struct batch *b, const char *name, int family,
			 uint32_t flags, uint32_t size)
{
	return batch_set(b, &(struct batch_set){
		.name = name, .flags = flags, .size = size,
		.type = family == 6 ? TYPE_IPV6_ADDR : TYPE_IPV4_ADDR,
		.key_len = family == 6 ? 16 : 4 });
}

static void add_set(struct batch *b, const char *name4, const char *name6,
		    const struct net_prefix *(*get)(unsigned),
		    const struct net_rules *rs)
{
	for (int family = 4; family <= 6; family += 2) {
		const struct net_prefix *p, *all[BATCH_RANGES_MAX];
		const char *name = family == 6 ? name6 : name4;
		unsigned n = 0;

		for (unsigned i = 0; (p = get(i)); i++)
			if (p->addr.family == family && n < ARRAY_SIZE(all))
				all[n++] = p;
		for (unsigned i = 0; rs && i < rs->nown; i++)
			if (rs->own[i].addr.family == family &&
			    n < ARRAY_SIZE(all))
				all[n++] = &rs->own[i];
		/* Some may be missing. */
		if (n == ARRAY_SIZE(all))
			b->bad = 1;
		batch_ranges(b, name, open_set(b, name, family,
					       NFT_SET_INTERVAL, 0), all, n);
	}
}

/* Of addresses that the host gets while the guest runs. */
static void add_later_sets(struct batch *b)
{
	open_set(b, NET_SET_LATER4, 4, 0, NET_LATER_MAX);
	open_set(b, NET_SET_LATER6, 6, 0, NET_LATER_MAX);
}

static void add_learned_sets(struct batch *b)
{
	open_set(b, NET_SET_ADDR4, 4, NFT_SET_TIMEOUT, NET_LEARNED_MAX);
	batch_set(b, &(struct batch_set){
		.name = NET_SET_ADDR4_PORT, .flags = NFT_SET_TIMEOUT,
		.type = TYPE_CONCAT(TYPE_IPV4_ADDR, TYPE_INET_SERVICE),
		.key_len = 4 + 4, .size = NET_LEARNED_MAX });
	open_set(b, NET_SET_ADDR6, 6, NFT_SET_TIMEOUT, NET_LEARNED_MAX);
	batch_set(b, &(struct batch_set){
		.name = NET_SET_ADDR6_PORT, .flags = NFT_SET_TIMEOUT,
		.type = TYPE_CONCAT(TYPE_IPV6_ADDR, TYPE_INET_SERVICE),
		.key_len = 16 + 4, .size = NET_LEARNED_MAX });
}

/* --- the guest, the gateway, the way through ---------------------------------- */

/* As a request for the gateway's MAC has it (RFC 826). */
static void put_sender(uint8_t out[12], const struct net_plan *plan)
{
	static const uint8_t request[] = { 0, 1 };

	memcpy(out, request, 2);
	memcpy(out + 2, plan->guest_mac, 6);
	memcpy(out + 8, plan->guest4.b, 4);
}

/*
 * On the way in, before anything is kept of it: the guest's MAC and address
 * and no others, no fragment, no option that steers a packet (IPv4's all, for
 * nobody needs one; of IPv6 the extension headers). ARP asks for the gateway.
 * Broadcast and multicast end here, but for neighbour solicitations.
 */
static void add_source(struct batch *b, const struct net_plan *plan)
{
	static const uint8_t steering[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING,
		IPPROTO_FRAGMENT, IPPROTO_AH, IPPROTO_DSTOPTS, IPPROTO_MH,
		139 /* HIP */, 140 /* Shim6 */ };
	static const uint8_t ether_ip[] = { 0, 1, 8, 0 };
	struct net_addr link;
	uint8_t own[2][16], sender[12];

	b->bad |= net_addr_read(&link, NET_GUEST6_LINK) < 0;
	memcpy(own[0], plan->guest6.b, 16);
	memcpy(own[1], link.b, 16);
	put_sender(sender, plan);
	batch_table(b, NFPROTO_NETDEV, NET_TABLE);
	batch_chain(b, "guest", &(struct batch_hook){
		"filter", NF_NETDEV_INGRESS, 0, NF_DROP, NET_TAP });
	rule(b, is_not_bytes(ETHER_SADDR, plan->guest_mac), verdict(NF_DROP));
	rule(b, is(PKTTYPE, 0 /* to us */), is_bytes(IP_SADDR, plan->guest4.b),
	     masked(IP_VERSION_IHL, 0x0f, 5), masked(IP_FRAG_OFF, 0x3fff, 0),
	     verdict(NF_ACCEPT));
	rule(b, not_among(IP6_SADDR, 2, own), verdict(NF_DROP));
	rule(b, is(IP6_NEXTHDR, IPPROTO_ICMPV6),
	     among(ICMPV6_TYPE, 2, neighbours), verdict(NF_ACCEPT));
	rule(b, is(PKTTYPE, 0), not_among(IP6_NEXTHDR, ARRAY_SIZE(steering),
					  steering), verdict(NF_ACCEPT));
	rule(b, is_bytes(ARP_HTYPE_PTYPE, ether_ip),
	     is_bytes(ARP_OPERATION_SENDER, sender),
	     is_bytes(ARP_DADDR_IP, plan->gate4.addr.b), verdict(NF_ACCEPT));
}

/* The gateway's own: it has DNS for the guest, answers echo and neighbours,
 * and starts nothing. None of it is tracked, so none of it counts. */
static void add_gateway(struct batch *b, const struct net_plan *plan)
{
	static const uint8_t errors4[] = { ICMP_ECHOREPLY, ICMP_DEST_UNREACH,
		ICMP_TIME_EXCEEDED, ICMP_PARAMETERPROB };
	static const uint8_t errors6[] = { ICMP6_ECHO_REPLY, ICMP6_DST_UNREACH,
		ICMP6_PACKET_TOO_BIG, ICMP6_TIME_EXCEEDED, ICMP6_PARAM_PROB,
		ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT };
	const uint8_t *four = plan->gate4.addr.b, *six = plan->gate6.addr.b;

	batch_chain(b, "raw_in", &(struct batch_hook){
		"filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_ACCEPT, NULL });
	rule(b, is_link(IIFNAME, NET_TAP), is_bytes(IP_DADDR, four), notrack());
	rule(b, is_link(IIFNAME, NET_TAP), is_bytes(IP6_DADDR, six), notrack());

	batch_chain(b, "raw_out", &(struct batch_hook){
		"filter", NF_INET_LOCAL_OUT, NF_IP_PRI_RAW, NF_ACCEPT, NULL });
	rule(b, is_link(OIFNAME, NET_TAP), is_bytes(IP_SADDR, four), notrack());
	rule(b, is_link(OIFNAME, NET_TAP), is_bytes(IP6_SADDR, six), notrack());

	batch_chain(b, "to_gateway", NULL);
	rule(b, among(L4PROTO, 2, tcp_or_udp), is(TH_DPORT, NET_DNS_PORT),
	     verdict(NF_ACCEPT));
	rule(b, is(IP_PROTO, IPPROTO_ICMP), is(ICMP_TYPE, ICMP_ECHO),
	     verdict(NF_ACCEPT));
	rule(b, is(ICMPV6_TYPE, ICMP6_ECHO_REQUEST), verdict(NF_ACCEPT));
	rule(b, go_to("refuse"));

	batch_chain(b, "to_us", &(struct batch_hook){
		"filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER, NF_DROP, NULL });
	rule(b, among(ICMPV6_TYPE, 2, neighbours), is(IP6_HOPLIMIT, 255),
	     verdict(NF_ACCEPT));
	rule(b, is_not_link(IIFNAME, NET_TAP), verdict(NF_DROP));
	rule(b, is_bytes(IP_DADDR, four), go_to("to_gateway"));
	rule(b, is_bytes(IP6_DADDR, six), go_to("to_gateway"));
	rule(b, go_to("refuse"));

	batch_chain(b, "from_us", &(struct batch_hook){
		"filter", NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER, NF_DROP, NULL });
	rule(b, is(IP_PROTO, IPPROTO_ICMP),
	     among(ICMP_TYPE, ARRAY_SIZE(errors4), errors4), verdict(NF_ACCEPT));
	rule(b, among(ICMPV6_TYPE, ARRAY_SIZE(errors6), errors6),
	     verdict(NF_ACCEPT));
	rule(b, is_not_link(OIFNAME, NET_TAP), verdict(NF_DROP));
	rule(b, among(L4PROTO, 2, tcp_or_udp), is(TH_SPORT, NET_DNS_PORT),
	     verdict(NF_ACCEPT));
	rule(b, masked(TCP_FLAGS, TH_RST, TH_RST), verdict(NF_ACCEPT));
}

/* The order is that of how often they are met. Errors belong to a flow only
 * where conntrack has found the one that they are about. */
static void add_through(struct batch *b)
{
	static const uint8_t icmp[] = { IPPROTO_ICMP, IPPROTO_ICMPV6 };

	batch_chain(b, "through", &(struct batch_hook){
		"filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_DROP, NULL });
	rule(b, masked(TCP_FLAGS, TH_SYN | TH_RST, TH_SYN), clamp_mss());
	rule(b, has(CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED)),
	     verdict(NF_ACCEPT));
	rule(b, has(CT_STATE, NF_CT_STATE_BIT(IP_CT_RELATED)),
	     among(L4PROTO, 2, icmp), verdict(NF_ACCEPT));
	rule(b, is_not_link(IIFNAME, NET_TAP), verdict(NF_DROP));
	rule(b, is_not(CT_STATE, NF_CT_STATE_BIT(IP_CT_NEW)), verdict(NF_DROP));
	rule(b, is_link(OIFNAME, NET_UPLINK), go_to("to_world"));
	rule(b, go_to("refuse"));

	batch_chain(b, "masq", &(struct batch_hook){
		"nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_ACCEPT,
		NULL });
	rule(b, is_link(OIFNAME, NET_UPLINK), masquerade());
}

/* At once; but who asks for more than this is not answered. */
static void add_refuse(struct batch *b)
{
	batch_chain(b, "refuse", NULL);
	rule(b, limit_over(1000, 1000), verdict(NF_DROP));
	rule(b, is(L4PROTO, IPPROTO_TCP), reject_with_tcp_reset());
	rule(b, reject_as_prohibited());
}

int net_plan_vm_table(const struct net_plan *plan,
		      const struct net_rules *rules, void *buf, size_t size,
		      struct err *err)
{
	struct batch b;

	if (!net_plan_valid(plan) || !net_rules_valid(rules))
		return err_say(err, -EINVAL, "no such plan of a network");
	batch_open(&b, buf, size, 0);
	add_source(&b, plan);
	batch_table(&b, NFPROTO_INET, NET_TABLE);
	add_set(&b, "own4", "own6", net_ours, rules);
	add_set(&b, "exact4", "exact6", net_exact_only, NULL);
	add_set(&b, "special4", "special6", net_special, NULL);
	add_later_sets(&b);
	if (net_learns(rules))
		add_learned_sets(&b);
	add_refuse(&b);
	add_to_world(&b, plan, rules);
	add_gateway(&b, plan);
	add_through(&b);
	return batch_close(&b, err);
}
