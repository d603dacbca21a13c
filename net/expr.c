/* SPDX-License-Identifier: Apache-2.0 */
/* Terms of a rule as the kernel's expressions: load a field into a register,
 * then look at the register. */
#include "net/expr.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "net/batch.h"
#include "runner/base/mem.h"

/* What a rule has made sure of; 0: nothing yet. */
struct known {
	int ether, family, l4;
};

#define ARP 1 /* beside 4 and 6, as .family */

static const struct {
	enum { META, CT, LINK, NETWORK, TRANSPORT } from;
	uint8_t at; /* NFT_META_..., NFT_CT_..., or the first byte */
	uint8_t len;
	/* It is one only in such packets. */
	uint8_t family, l4;
	uint8_t of_host; /* in the host's order */
	uint8_t type;
} fields[] = {
	[IIFTYPE] = { META, NFT_META_IIFTYPE, 2, .of_host = 1 },
	[PKTTYPE] = { META, NFT_META_PKTTYPE, 1 },
	[PROTOCOL] = { META, NFT_META_PROTOCOL, 2 },
	[NFPROTO] = { META, NFT_META_NFPROTO, 1 },
	[L4PROTO] = { META, NFT_META_L4PROTO, 1, .type = TYPE_INET_PROTO },
	[IIFNAME] = { META, NFT_META_IIFNAME, IFNAMSIZ },
	[OIFNAME] = { META, NFT_META_OIFNAME, IFNAMSIZ },
	[ETHER_SADDR] = { LINK, 6, ETH_ALEN },
	[ARP_HTYPE_PTYPE] = { NETWORK, 0, 4, ARP },
	[ARP_OPERATION_SENDER] = { NETWORK, 6, 2 + ETH_ALEN + 4, ARP },
	[ARP_DADDR_IP] = { NETWORK, 24, 4, ARP },
	[IP_VERSION_IHL] = { NETWORK, 0, 1, 4 },
	[IP_FRAG_OFF] = { NETWORK, 6, 2, 4 },
	[IP_PROTO] = { NETWORK, 9, 1, 4 },
	[IP_SADDR] = { NETWORK, 12, 4, 4, .type = TYPE_IPV4_ADDR },
	[IP_DADDR] = { NETWORK, 16, 4, 4, .type = TYPE_IPV4_ADDR },
	[IP6_NEXTHDR] = { NETWORK, 6, 1, 6, .type = TYPE_INET_PROTO },
	[IP6_HOPLIMIT] = { NETWORK, 7, 1, 6 },
	[IP6_SADDR] = { NETWORK, 8, 16, 6, .type = TYPE_IPV6_ADDR },
	[IP6_DADDR] = { NETWORK, 24, 16, 6, .type = TYPE_IPV6_ADDR },
	[TH_SPORT] = { TRANSPORT, 0, 2, .type = TYPE_INET_SERVICE },
	[TH_DPORT] = { TRANSPORT, 2, 2, .type = TYPE_INET_SERVICE },
	[TCP_FLAGS] = { TRANSPORT, 13, 1, .l4 = IPPROTO_TCP },
	[ICMP_TYPE] = { TRANSPORT, 0, 1, 4, IPPROTO_ICMP, .type = TYPE_ICMP },
	[ICMPV6_TYPE] = { TRANSPORT, 0, 1, 6, IPPROTO_ICMPV6,
			  .type = TYPE_ICMPV6 },
	[CT_STATE] = { CT, NFT_CT_STATE, 4, .of_host = 1 },
	[CT_STATUS] = { CT, NFT_CT_STATUS, 4, .of_host = 1 },
};

/* --- expressions ------------------------------------------------------------ */

struct nest {
	size_t one, data;
};

static struct nest start(struct batch *b, const char *name)
{
	struct nest n;

	n.one = batch_nest(b, NFTA_LIST_ELEM);
	batch_text(b, NFTA_EXPR_NAME, name);
	n.data = batch_nest(b, NFTA_EXPR_DATA);
	return n;
}

static void end(struct batch *b, struct nest n)
{
	batch_shut(b, n.data);
	batch_shut(b, n.one);
}

static void put_data(struct batch *b, int type, const void *data, size_t len)
{
	size_t nest = batch_nest(b, type);

	batch_put(b, NFTA_DATA_VALUE, data, len);
	batch_shut(b, nest);
}

/* The first @len bytes of a field. */
static void load(struct batch *b, enum field f, uint32_t reg, uint32_t len)
{
	struct nest n;

	if (fields[f].from == META) {
		n = start(b, "meta");
		batch_put32(b, NFTA_META_KEY, fields[f].at);
		batch_put32(b, NFTA_META_DREG, reg);
	} else if (fields[f].from == CT) {
		n = start(b, "ct");
		batch_put32(b, NFTA_CT_KEY, fields[f].at);
		batch_put32(b, NFTA_CT_DREG, reg);
	} else {
		n = start(b, "payload");
		batch_put32(b, NFTA_PAYLOAD_DREG, reg);
		batch_put32(b, NFTA_PAYLOAD_BASE,
			    fields[f].from - LINK + NFT_PAYLOAD_LL_HEADER);
		batch_put32(b, NFTA_PAYLOAD_OFFSET, fields[f].at);
		batch_put32(b, NFTA_PAYLOAD_LEN, len);
	}
	end(b, n);
}

static void compare(struct batch *b, int not, const void *with, size_t len)
{
	struct nest n = start(b, "cmp");

	batch_put32(b, NFTA_CMP_SREG, NFT_REG_1);
	batch_put32(b, NFTA_CMP_OP, not ? NFT_CMP_NEQ : NFT_CMP_EQ);
	put_data(b, NFTA_CMP_DATA, with, len);
	end(b, n);
}

static void keep_bits(struct batch *b, const void *mask, size_t len)
{
	static const uint8_t zero[16];
	struct nest n = start(b, "bitwise");

	batch_put32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	batch_put32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	batch_put32(b, NFTA_BITWISE_OP, NFT_BITWISE_BOOL);
	batch_put32(b, NFTA_BITWISE_LEN, (uint32_t)len);
	put_data(b, NFTA_BITWISE_MASK, mask, len);
	put_data(b, NFTA_BITWISE_XOR, zero, len);
	end(b, n);
}

static void look_up(struct batch *b, const char *set, uint32_t id, int not)
{
	struct nest n = start(b, "lookup");

	batch_put32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
	batch_text(b, NFTA_LOOKUP_SET, set ? set : "__set%d");
	if (id)
		batch_put32(b, NFTA_LOOKUP_SET_ID, id);
	if (not)
		batch_put32(b, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	end(b, n);
}

/* --- matches ---------------------------------------------------------------- */

/* Four bytes at the most, as the field has them. */
static const void *bytes_of(enum field f, uint32_t number, uint8_t out[4])
{
	uint32_t net = htonl(number);

	if (fields[f].of_host && fields[f].len == 2)
		memcpy(out, &(uint16_t){ (uint16_t)number }, 2);
	else if (fields[f].of_host)
		memcpy(out, &number, 4);
	else
		memcpy(out, (uint8_t *)&net + 4 - fields[f].len,
		       fields[f].len);
	return out;
}

static void need(struct batch *b, enum field f, uint32_t number)
{
	uint8_t bytes[4];

	load(b, f, NFT_REG_1, fields[f].len);
	compare(b, 0, bytes_of(f, number, bytes), fields[f].len);
}

static void need_family(struct batch *b, int family)
{
	if (b->family == NFPROTO_NETDEV)
		need(b, PROTOCOL, family == 4 ? ETH_P_IP :
		     family == 6 ? ETH_P_IPV6 : ETH_P_ARP);
	else
		need(b, NFPROTO, family == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

/* Before a field is read: that there is one. */
static void make_sure(struct batch *b, enum field f, struct known *k)
{
	int family = fields[f].family, l4 = fields[f].l4;

	if (fields[f].from == LINK && !k->ether)
		need(b, IIFTYPE, ARPHRD_ETHER);
	if (family && family != k->family)
		need_family(b, family);
	if (l4 && l4 != k->l4)
		need(b, L4PROTO, l4);
	k->ether |= fields[f].from == LINK;
	k->family = family ? family : k->family;
	k->l4 = l4 ? l4 : k->l4;
}

/* What a match says to those behind it. */
static void learn(const struct term *t, struct known *k)
{
	if (t->not || t->kind != TERM_IS)
		return;
	if (t->field == NFPROTO)
		k->family = t->number == NFPROTO_IPV4 ? 4 : 6;
	if (t->field == L4PROTO || t->field == IP_PROTO ||
	    t->field == IP6_NEXTHDR)
		k->l4 = (int)t->number;
}

static void match_value(struct batch *b, const struct term *t)
{
	char name[IFNAMSIZ] = "";
	uint8_t bytes[4];
	const void *with = t->bytes;

	if (t->name)
		with = strncpy(name, t->name, sizeof(name) - 1);
	else if (!with)
		with = bytes_of(t->field, t->number, bytes);
	load(b, t->field, NFT_REG_1, fields[t->field].len);
	compare(b, t->not, with, fields[t->field].len);
}

static void match_bits(struct batch *b, const struct term *t)
{
	const uint8_t len = fields[t->field].len;
	uint8_t mask[4], with[4];

	load(b, t->field, NFT_REG_1, len);
	keep_bits(b, bytes_of(t->field, t->mask, mask), len);
	compare(b, t->kind == TERM_HAS, bytes_of(t->field, t->number, with),
		len);
}

/* Whole bytes need no mask. */
static void match_network(struct batch *b, const struct term *t)
{
	const struct net_prefix *p = t->bytes;
	uint8_t mask[16] = { 0 };

	if (!net_prefix_valid(p) || !p->len ||
	    p->addr.family != fields[t->field].family) {
		b->bad = 1;
		return;
	}
	if (p->len % 8 == 0) {
		load(b, t->field, NFT_REG_1, p->len / 8);
		compare(b, 0, p->addr.b, p->len / 8);
		return;
	}
	memset(mask, 0xff, p->len / 8);
	mask[p->len / 8] = (uint8_t)(0xff00 >> p->len % 8);
	load(b, t->field, NFT_REG_1, fields[t->field].len);
	keep_bits(b, mask, fields[t->field].len);
	compare(b, 0, p->addr.b, fields[t->field].len);
}

/* The port goes behind the address, at the next four bytes: the second of the
 * small registers, or of the large ones. */
static void match_set(struct batch *b, const struct term *t)
{
	const uint8_t len = fields[t->field].len;

	load(b, t->field, NFT_REG_1, len);
	if (t->number)
		load(b, TH_DPORT, len == 4 ? NFT_REG32_01 : NFT_REG_2,
		     fields[TH_DPORT].len);
	look_up(b, t->name, 0, 0);
}

static void match_values(struct batch *b, const struct term *t, uint32_t id)
{
	load(b, t->field, NFT_REG_1, fields[t->field].len);
	look_up(b, NULL, id, t->not);
}

static void put_limit(struct batch *b, const struct term *t)
{
	struct nest n = start(b, "limit");

	batch_put64(b, NFTA_LIMIT_RATE, t->number);
	batch_put64(b, NFTA_LIMIT_UNIT, 1);
	batch_put32(b, NFTA_LIMIT_BURST, t->mask);
	batch_put32(b, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	batch_put32(b, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	end(b, n);
}

static void put_ct_count(struct batch *b, const struct term *t)
{
	struct nest n = start(b, "connlimit");

	batch_put32(b, NFTA_CONNLIMIT_COUNT, t->number);
	batch_put32(b, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	end(b, n);
}

/* --- what is done ------------------------------------------------------------ */

static void put_reject(struct batch *b, const struct term *t)
{
	struct nest n = start(b, "reject");

	batch_put32(b, NFTA_REJECT_TYPE, t->number ? NFT_REJECT_ICMPX_UNREACH :
						     NFT_REJECT_TCP_RST);
	batch_put(b, NFTA_REJECT_ICMP_CODE,
		  &(uint8_t){ t->number ? NFT_REJECT_ICMPX_ADMIN_PROHIBITED :
					  0 }, 1);
	end(b, n);
}

static void put_notrack(struct batch *b)
{
	size_t one = batch_nest(b, NFTA_LIST_ELEM);

	batch_text(b, NFTA_EXPR_NAME, "notrack");
	batch_shut(b, one);
}

/* The route's, in the host's order, to where the option has its two bytes. */
static void put_clamp_mss(struct batch *b)
{
	struct nest n = start(b, "rt");

	batch_put32(b, NFTA_RT_KEY, NFT_RT_TCPMSS);
	batch_put32(b, NFTA_RT_DREG, NFT_REG_1);
	end(b, n);
	n = start(b, "byteorder");
	batch_put32(b, NFTA_BYTEORDER_SREG, NFT_REG_1);
	batch_put32(b, NFTA_BYTEORDER_DREG, NFT_REG_1);
	batch_put32(b, NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
	batch_put32(b, NFTA_BYTEORDER_LEN, 2);
	batch_put32(b, NFTA_BYTEORDER_SIZE, 2);
	end(b, n);
	n = start(b, "exthdr");
	batch_put32(b, NFTA_EXTHDR_SREG, NFT_REG_1);
	batch_put(b, NFTA_EXTHDR_TYPE, &(uint8_t){ 2 /* TCP: maxseg */ }, 1);
	batch_put32(b, NFTA_EXTHDR_OFFSET, 2);
	batch_put32(b, NFTA_EXTHDR_LEN, 2);
	batch_put32(b, NFTA_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
	end(b, n);
}

static void put_verdict(struct batch *b, const struct term *t)
{
	struct nest n = start(b, "immediate");
	size_t data, code;

	batch_put32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = batch_nest(b, NFTA_IMMEDIATE_DATA);
	code = batch_nest(b, NFTA_DATA_VERDICT);
	batch_put32(b, NFTA_VERDICT_CODE,
		    t->name ? (uint32_t)NFT_GOTO : t->number);
	if (t->name)
		batch_text(b, NFTA_VERDICT_CHAIN, t->name);
	batch_shut(b, code);
	batch_shut(b, data);
	end(b, n);
}

/* --- a rule ----------------------------------------------------------------- */

static void put_term(struct batch *b, const struct term *t, uint32_t *set)
{
	switch (t->kind) {
	case TERM_IS: match_value(b, t); break;
	case TERM_MASKED:
	case TERM_HAS: match_bits(b, t); break;
	case TERM_WITHIN: match_network(b, t); break;
	case TERM_AMONG: match_values(b, t, (*set)++); break;
	case TERM_IN: match_set(b, t); break;
	case TERM_LIMIT: put_limit(b, t); break;
	case TERM_CT_COUNT: put_ct_count(b, t); break;
	case TERM_REJECT: put_reject(b, t); break;
	case TERM_NOTRACK: put_notrack(b); break;
	case TERM_MASQUERADE: end(b, start(b, "masq")); break;
	case TERM_CLAMP_MSS: put_clamp_mss(b); break;
	case TERM_VERDICT: put_verdict(b, t); break;
	case TERM_END: break;
	}
}

static int is_match(const struct term *t)
{
	return t->kind >= TERM_IS && t->kind <= TERM_IN;
}

static void put_set(struct batch *b, const struct term *t)
{
	const uint8_t *value = t->bytes, len = fields[t->field].len;
	uint32_t id = batch_set(b, &(struct batch_set){
		.type = fields[t->field].type, .key_len = len,
		.size = t->number });
	size_t nest = batch_elements(b, NFT_MSG_NEWSETELEM, NULL, id);

	for (uint32_t i = 0; i < t->number; i++)
		batch_element(b, value + i * len, len, 0);
	batch_shut(b, nest);
}

/* Sets of the rule's own come before it; the id of the first one. */
static uint32_t put_sets(struct batch *b, const struct term *t)
{
	uint32_t before = b->sets;

	for (; t->kind != TERM_END; t++)
		if (t->kind == TERM_AMONG)
			put_set(b, t);
	return before + 1;
}

void expr_rule(struct batch *b, const struct term *t)
{
	uint32_t set = put_sets(b, t);
	struct known known = { 0 };
	size_t nest;

	batch_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	batch_text(b, NFTA_RULE_TABLE, b->table);
	batch_text(b, NFTA_RULE_CHAIN, b->chain);
	nest = batch_nest(b, NFTA_RULE_EXPRESSIONS);
	for (; t->kind != TERM_END; t++) {
		if (is_match(t))
			make_sure(b, t->field, &known);
		put_term(b, t, &set);
		learn(t, &known);
	}
	batch_shut(b, nest);
}
