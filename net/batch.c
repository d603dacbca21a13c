/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of nf_tables, one behind the other. */
#include "net/batch.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define HEAD (NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)))

/* --- bytes ---------------------------------------------------------------- */

/* Room for @len bytes and what aligns the next ones; NULL: there is none. */
static void *take(struct batch *b, size_t len)
{
	size_t whole = NLMSG_ALIGN(len);
	uint8_t *at = b->buf + b->len;

	if (b->bad || len > b->size || whole > b->size - b->len) {
		b->bad = 1;
		return NULL;
	}
	memset(at, 0, whole);
	b->len += whole;
	return at;
}

/* The message that is being written ends here. */
static void seal(struct batch *b)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(b->buf + b->last);

	if (!b->bad && b->len)
		h->nlmsg_len = (uint32_t)(b->len - b->last);
}

static void begin(struct batch *b, int type, int flags, uint8_t family,
		  uint16_t res_id)
{
	struct nfgenmsg *g;
	struct nlmsghdr *h;

	seal(b);
	b->last = b->len;
	h = take(b, HEAD);
	if (!h)
		return;
	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = b->seq++;
	g = NLMSG_DATA(h);
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(res_id);
}

void batch_message(struct batch *b, int type, int flags)
{
	begin(b, NFNL_SUBSYS_NFTABLES << 8 | type, flags, b->family, 0);
}

void batch_put(struct batch *b, int type, const void *data, size_t len)
{
	struct nlattr *a = NULL;

	if (len <= UINT16_MAX - NLA_HDRLEN)
		a = take(b, NLA_HDRLEN + len);
	if (!a) {
		b->bad = 1;
		return;
	}
	a->nla_type = (uint16_t)type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy(a + 1, data, len);
}

void batch_put32(struct batch *b, int type, uint32_t v)
{
	v = htonl(v);
	batch_put(b, type, &v, sizeof(v));
}

void batch_put64(struct batch *b, int type, uint64_t v)
{
	v = htobe64(v);
	batch_put(b, type, &v, sizeof(v));
}

void batch_text(struct batch *b, int type, const char *s)
{
	batch_put(b, type, s, strlen(s) + 1);
}

size_t batch_nest(struct batch *b, int type)
{
	size_t at = b->len;

	batch_put(b, type | NLA_F_NESTED, "", 0);
	return at;
}

void batch_shut(struct batch *b, size_t nest)
{
	size_t len = b->len - nest;

	if (len > UINT16_MAX)
		b->bad = 1;
	if (!b->bad)
		((struct nlattr *)(b->buf + nest))->nla_len = (uint16_t)len;
}

void batch_open(struct batch *b, void *buf, size_t size, uint32_t seq)
{
	*b = (struct batch){ .buf = buf, .size = size, .seq = seq };
	begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

int batch_close(struct batch *b, struct err *err)
{
	if (!b->bad)
		((struct nlmsghdr *)(b->buf + b->last))->nlmsg_flags |=
			NLM_F_ACK;
	begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	seal(b);
	if (!b->bad)
		return (int)b->len;
	return err_say(err, -E2BIG, "a batch of %zu bytes is too small for "
		       "these rules", b->size);
}

/* --- tables, chains, sets ------------------------------------------------- */

void batch_table(struct batch *b, uint8_t family, const char *name)
{
	b->family = family;
	b->table = name;
	b->chain = NULL;
	batch_message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	batch_text(b, NFTA_TABLE_NAME, name);
	batch_put32(b, NFTA_TABLE_FLAGS, 0);
}

void batch_chain(struct batch *b, const char *name,
		 const struct batch_hook *hook)
{
	size_t nest;

	b->chain = name;
	batch_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	batch_text(b, NFTA_CHAIN_TABLE, b->table);
	batch_text(b, NFTA_CHAIN_NAME, name);
	if (!hook)
		return;
	batch_text(b, NFTA_CHAIN_TYPE, hook->type);
	batch_put32(b, NFTA_CHAIN_POLICY, hook->policy);
	nest = batch_nest(b, NFTA_CHAIN_HOOK);
	batch_put32(b, NFTA_HOOK_HOOKNUM, hook->hook);
	batch_put32(b, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
	if (hook->device)
		batch_text(b, NFTA_HOOK_DEV, hook->device);
	batch_shut(b, nest);
}

/* libnftnl's NFTNL_UDATA_SET_MERGE_ELEMENTS: "auto-merge", which is said to
 * whoever looks at the table, or adds to it, with nft. */
static const uint8_t auto_merge[] = { 2, 4, 1, 0, 0, 0 };
/* NFTNL_UDATA_SET_ELEM_FLAGS: an interval without an end. */
static const uint8_t open_end[] = { 1, 4, 1, 0, 0, 0 };

/* The kernel puts a number in the place of %d. */
static const char *set_name(const char *name)
{
	return name ? name : "__set%d";
}

uint32_t batch_set(struct batch *b, const struct batch_set *s)
{
	uint32_t own = s->name ? 0 : NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
	size_t nest;

	batch_message(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	batch_text(b, NFTA_SET_TABLE, b->table);
	batch_text(b, NFTA_SET_NAME, set_name(s->name));
	batch_put32(b, NFTA_SET_FLAGS, s->flags | own);
	batch_put32(b, NFTA_SET_KEY_TYPE, s->type);
	batch_put32(b, NFTA_SET_KEY_LEN, s->key_len);
	batch_put32(b, NFTA_SET_ID, ++b->sets);
	if (s->size) {
		nest = batch_nest(b, NFTA_SET_DESC);
		batch_put32(b, NFTA_SET_DESC_SIZE, s->size);
		batch_shut(b, nest);
	}
	if (s->flags & NFT_SET_INTERVAL)
		batch_put(b, NFTA_SET_USERDATA, auto_merge, sizeof(auto_merge));
	return b->sets;
}

size_t batch_elements(struct batch *b, int type, const char *set, uint32_t id)
{
	batch_message(b, type, NLM_F_CREATE);
	batch_text(b, NFTA_SET_ELEM_LIST_TABLE, b->table);
	batch_text(b, NFTA_SET_ELEM_LIST_SET, set_name(set));
	if (id)
		batch_put32(b, NFTA_SET_ELEM_LIST_SET_ID, id);
	return batch_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_key(struct batch *b, const void *key, size_t len)
{
	size_t nest = batch_nest(b, NFTA_SET_ELEM_KEY);

	batch_put(b, NFTA_DATA_VALUE, key, len);
	batch_shut(b, nest);
}

void batch_element(struct batch *b, const void *key, size_t len,
		   uint64_t timeout_ms)
{
	size_t nest = batch_nest(b, NFTA_LIST_ELEM);

	put_key(b, key, len);
	if (timeout_ms)
		batch_put64(b, NFTA_SET_ELEM_TIMEOUT, timeout_ms);
	batch_shut(b, nest);
}

/* --- networks as ranges ---------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct net_prefix *p = *(const struct net_prefix *const *)a;
	const struct net_prefix *q = *(const struct net_prefix *const *)b;
	int r = memcmp(p->addr.b, q->addr.b, sizeof(p->addr.b));

	return r ? r : (int)p->len - (int)q->len;
}

/* The address behind @p; 0: there is none, it goes on to the last one. */
static int end_of(const struct net_prefix *p, uint8_t end[16])
{
	memcpy(end, p->addr.b, 16);
	if (!p->len)
		return 0;
	end += (p->len - 1) / 8;
	*end += 0x80 >> (p->len - 1) % 8;
	if (*end >= 0x80 >> (p->len - 1) % 8)
		return 1;
	for (int i = (p->len - 1) / 8; i > 0; i--)
		if (++*--end)
			return 1;
	return 0;
}

static void put_first(struct batch *b, const uint8_t *key, size_t len,
		      int endless)
{
	size_t nest = batch_nest(b, NFTA_LIST_ELEM);

	put_key(b, key, len);
	if (endless)
		batch_put(b, NFTA_SET_ELEM_USERDATA, open_end,
			  sizeof(open_end));
	batch_shut(b, nest);
}

/* The first one behind a range. */
static void put_end(struct batch *b, const uint8_t *key, size_t len)
{
	size_t nest = batch_nest(b, NFTA_LIST_ELEM);

	batch_put32(b, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	put_key(b, key, len);
	batch_shut(b, nest);
}

void batch_ranges(struct batch *b, const char *set, uint32_t id,
		  const struct net_prefix **p, unsigned n)
{
	static const uint8_t zero[16];
	size_t len = n ? net_addr_bits(&p[0]->addr) / 8 : 0;
	size_t nest;

	if (!n)
		return;
	for (unsigned i = 0; i < n; i++)
		if (!net_prefix_valid(p[i]) ||
		    p[i]->addr.family != p[0]->addr.family)
			b->bad = 1;
	if (b->bad)
		return;
	qsort(p, n, sizeof(*p), by_address);
	nest = batch_elements(b, NFT_MSG_NEWSETELEM, set, id);
	/* As nft does: what is below the first one is outside. */
	if (memcmp(p[0]->addr.b, zero, len))
		put_end(b, zero, len);
	for (unsigned i = 0; i < n;) {
		const uint8_t *first = p[i]->addr.b;
		uint8_t end[16], next[16];
		int ends = end_of(p[i], end);

		for (i++; ends && i < n && memcmp(p[i]->addr.b, end, 16) <= 0;
		     i++) {
			ends = end_of(p[i], next);
			if (memcmp(next, end, 16) > 0)
				memcpy(end, next, 16);
		}
		put_first(b, first, len, !ends);
		if (!ends)
			break;
		put_end(b, end, len);
	}
	batch_shut(b, nest);
}

/* --- the way back ----------------------------------------------------------- */

/* The attribute of this type among @len bytes; NULL: none. */
static const struct nlattr *find(const uint8_t *at, size_t len, int type)
{
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)at;
		size_t whole = NLMSG_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || whole > len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		at += whole;
		len -= whole;
	}
	return NULL;
}

static const char *text_of(const struct nlmsghdr *h, int type)
{
	const struct nlattr *a = find((const uint8_t *)h + HEAD,
				      h->nlmsg_len - HEAD, type);

	return a ? (const char *)(a + 1) : "";
}

/* An expression is an attribute in whose middle the name is. */
static const char *expression(const struct nlmsghdr *h, uint32_t place)
{
	const uint8_t *at = (const uint8_t *)h + place;
	const struct nlattr *a = (const struct nlattr *)at, *name;

	if (place < HEAD || place % NLA_ALIGNTO ||
	    place + NLA_HDRLEN > h->nlmsg_len || a->nla_len < NLA_HDRLEN ||
	    a->nla_len > h->nlmsg_len - place ||
	    (a->nla_type & NLA_TYPE_MASK) != NFTA_LIST_ELEM)
		return "";
	name = find(at + NLA_HDRLEN, a->nla_len - NLA_HDRLEN, NFTA_EXPR_NAME);
	return name ? (const char *)(name + 1) : "";
}

static void name_one(const struct nlmsghdr *h, unsigned rules,
		     char name[BATCH_NAME_MAX])
{
	switch (h->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
		snprintf(name, BATCH_NAME_MAX, "table %s",
			 text_of(h, NFTA_TABLE_NAME));
		break;
	case NFT_MSG_NEWCHAIN:
		snprintf(name, BATCH_NAME_MAX, "chain %s",
			 text_of(h, NFTA_CHAIN_NAME));
		break;
	case NFT_MSG_NEWRULE:
		snprintf(name, BATCH_NAME_MAX, "rule %u of chain %s", rules,
			 text_of(h, NFTA_RULE_CHAIN));
		break;
	case NFT_MSG_NEWSET:
		snprintf(name, BATCH_NAME_MAX, "set %s",
			 text_of(h, NFTA_SET_NAME));
		break;
	default:
		snprintf(name, BATCH_NAME_MAX, "elements of set %s",
			 text_of(h, NFTA_SET_ELEM_LIST_SET));
	}
}

void batch_name(const void *batch, size_t len, uint32_t seq, uint32_t place,
		char name[BATCH_NAME_MAX], char expr[BATCH_NAME_MAX])
{
	const uint8_t *at = batch, *end = at + len;
	unsigned rules = 0;

	snprintf(name, BATCH_NAME_MAX, "the batch");
	*expr = '\0';
	while (at < end) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)at;

		if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 |
				      NFT_MSG_NEWCHAIN))
			rules = 0;
		else if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 |
					   NFT_MSG_NEWRULE))
			rules++;
		if (h->nlmsg_seq == seq &&
		    h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES) {
			name_one(h, rules, name);
			snprintf(expr, BATCH_NAME_MAX, "%s",
				 expression(h, place));
			return;
		}
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
}
