/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expr: rules of nftables, a line a rule.
 *
 *	nft	iifname != "tap0" drop
 *	here	rule(b, is_not_link(IIFNAME, "tap0"), verdict(NF_DROP));
 *
 * A term is a match or what is done; the kernel goes through them from left to
 * right and on to the next rule at the first one that does not match. Fields
 * have the names that nft has for them. What a field needs to be one (an IPv4
 * packet for ip daddr, ICMPv6 for its type) is looked at before it, once a
 * rule, as nft does: expr.c has the list.
 *
 * Terms are values that are written at once: what they point to need not last.
 */
#ifndef MAYFLY_NET_EXPR_H
#define MAYFLY_NET_EXPR_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct batch;

enum field {
	IIFTYPE, PKTTYPE, PROTOCOL, NFPROTO, L4PROTO, IIFNAME, OIFNAME,
	ETHER_SADDR,
	/* The two of the first four bytes at once; then the operation and the
	 * sender's MAC and address. */
	ARP_HTYPE_PTYPE, ARP_OPERATION_SENDER, ARP_DADDR_IP,
	IP_VERSION_IHL, IP_FRAG_OFF, IP_PROTO, IP_SADDR, IP_DADDR,
	IP6_NEXTHDR, IP6_HOPLIMIT, IP6_SADDR, IP6_DADDR,
	TH_SPORT, TH_DPORT, TCP_FLAGS, ICMP_TYPE, ICMPV6_TYPE,
	CT_STATE, CT_STATUS,
};

struct term {
	enum {
		TERM_END, TERM_IS, TERM_MASKED, TERM_HAS, TERM_WITHIN,
		TERM_AMONG, TERM_IN, TERM_LIMIT, TERM_CT_COUNT, TERM_REJECT,
		TERM_NOTRACK, TERM_MASQUERADE, TERM_CLAMP_MSS, TERM_VERDICT,
	} kind;
	enum field field;
	int not;
	uint32_t number, mask;
	const void *bytes; /* of the field's length; NULL: .number */
	const char *name;
};

/* --- matches ---------------------------------------------------------------- */

static inline struct term is(enum field f, uint32_t number)
{
	return (struct term){ .kind = TERM_IS, .field = f, .number = number };
}

static inline struct term is_not(enum field f, uint32_t number)
{
	return (struct term){ .kind = TERM_IS, .field = f, .number = number,
			      .not = 1 };
}

static inline struct term is_bytes(enum field f, const void *bytes)
{
	return (struct term){ .kind = TERM_IS, .field = f, .bytes = bytes };
}

static inline struct term is_not_bytes(enum field f, const void *bytes)
{
	return (struct term){ .kind = TERM_IS, .field = f, .bytes = bytes,
			      .not = 1 };
}

static inline struct term is_link(enum field f, const char *name)
{
	return (struct term){ .kind = TERM_IS, .field = f, .name = name };
}

static inline struct term is_not_link(enum field f, const char *name)
{
	return (struct term){ .kind = TERM_IS, .field = f, .name = name,
			      .not = 1 };
}

/* "ip frag-off & 0x3fff == 0" */
static inline struct term masked(enum field f, uint32_t mask, uint32_t number)
{
	return (struct term){ .kind = TERM_MASKED, .field = f, .mask = mask,
			      .number = number };
}

/* Any of these bits: "ct state established" */
static inline struct term has(enum field f, uint32_t bits)
{
	return (struct term){ .kind = TERM_HAS, .field = f, .mask = bits };
}

/* An address in a network: "ip daddr 10.0.0.0/8" */
static inline struct term within(enum field f, const struct net_prefix *p)
{
	return (struct term){ .kind = TERM_WITHIN, .field = f, .bytes = p };
}

/* One of @n values, which are one behind the other: "{ tcp, udp }" */
static inline struct term among(enum field f, unsigned n, const void *values)
{
	return (struct term){ .kind = TERM_AMONG, .field = f, .number = n,
			      .bytes = values };
}

static inline struct term not_among(enum field f, unsigned n,
				    const void *values)
{
	return (struct term){ .kind = TERM_AMONG, .field = f, .number = n,
			      .bytes = values, .not = 1 };
}

/* "ip daddr @own4" */
static inline struct term in_set(enum field f, const char *set)
{
	return (struct term){ .kind = TERM_IN, .field = f, .name = set };
}

/* "ip daddr . th dport @learned4_port" */
static inline struct term in_set_with_port(enum field f, const char *set)
{
	return (struct term){ .kind = TERM_IN, .field = f, .name = set,
			      .number = 1 };
}

/* "limit rate over 1000/second burst 1000 packets" */
static inline struct term limit_over(uint32_t a_second, uint32_t burst)
{
	return (struct term){ .kind = TERM_LIMIT, .number = a_second,
			      .mask = burst };
}

static inline struct term ct_count_over(uint32_t count)
{
	return (struct term){ .kind = TERM_CT_COUNT, .number = count };
}

/* --- what is done ------------------------------------------------------------ */

/* NF_ACCEPT, NF_DROP */
static inline struct term verdict(int code)
{
	return (struct term){ .kind = TERM_VERDICT, .number = (uint32_t)code };
}

/* To a chain that is there already, and never back. */
static inline struct term go_to(const char *chain)
{
	return (struct term){ .kind = TERM_VERDICT, .name = chain };
}

static inline struct term reject_with_tcp_reset(void)
{
	return (struct term){ .kind = TERM_REJECT };
}

/* "reject with icmpx admin-prohibited" */
static inline struct term reject_as_prohibited(void)
{
	return (struct term){ .kind = TERM_REJECT, .number = 1 };
}

static inline struct term notrack(void)
{
	return (struct term){ .kind = TERM_NOTRACK };
}

static inline struct term masquerade(void)
{
	return (struct term){ .kind = TERM_MASQUERADE };
}

/* "tcp option maxseg size set rt mtu" */
static inline struct term clamp_mss(void)
{
	return (struct term){ .kind = TERM_CLAMP_MSS };
}

/* One more rule at the end of the latest chain of @b. */
void expr_rule(struct batch *b, const struct term *t);
#define rule(b, ...) \
	expr_rule(b, (const struct term[]){ __VA_ARGS__, { TERM_END } })

#endif
