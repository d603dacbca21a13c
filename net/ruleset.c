/* SPDX-License-Identifier: Apache-2.0 */
/* Other people's forward chains, and our table, read by nfnetlink. */
#include "net/ruleset.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/plan.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* The ruleset may change while it is read. */
#define TRIES 16
/* Unconditional jumps that are followed, of chains and of their chains. */
#define DEPTH_MAX 6
#define JUMPS_MAX 24

/* What nft writes into a rule's user data: type, length, bytes with a NUL. */
#define UDATA_COMMENT 0

#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

struct asked {
	struct nl_sock *sk;
	int error; /* -errno of the kernel's; libnl has fewer */
};

/* --- asking ------------------------------------------------------------- */

static void cleanup_sock(struct nl_sock **sk)
{
	if (*sk)
		nl_socket_free(*sk);
}

static int caught(struct sockaddr_nl *from, struct nlmsgerr *e, void *opaque)
{
	(void)from;
	((struct asked *)opaque)->error = e->error;
	return NL_STOP;
}

static int open_socket(struct asked *a)
{
	a->sk = nl_socket_alloc();
	if (!a->sk)
		return -ENOMEM;
	if (nl_connect(a->sk, NETLINK_NETFILTER) < 0)
		return errno ? -errno : -EIO;
	nl_socket_disable_auto_ack(a->sk);
	nl_socket_modify_err_cb(a->sk, NL_CB_CUSTOM, caught, a);
	return 0;
}

struct question {
	int type, flags;
	uint8_t family;
	struct {
		int attr;
		const char *text;
	} name[2];
};

/* Ask, and have @fn called with each answer. */
static int ask(struct asked *a, const struct question *q,
	       nl_recvmsg_msg_cb_t fn, void *opaque)
{
	const struct nfgenmsg g = { .nfgen_family = q->family,
				    .version = NFNETLINK_V0 };
	struct nl_msg *m = nlmsg_alloc_simple(NFNL_SUBSYS_NFTABLES << 8 |
						      q->type,
					      NLM_F_REQUEST | q->flags);
	int r = m ? nlmsg_append(m, (void *)&g, sizeof(g), NLMSG_ALIGNTO) : -1;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(q->name); i++)
		if (q->name[i].text)
			r = nla_put_string(m, q->name[i].attr,
					   q->name[i].text);
	a->error = 0;
	if (r >= 0)
		r = nl_send_auto(a->sk, m);
	nlmsg_free(m);
	if (r < 0)
		return -EIO;
	nl_socket_modify_cb(a->sk, NL_CB_VALID, NL_CB_CUSTOM, fn, opaque);
	r = nl_recvmsgs_default(a->sk);
	if (r >= 0)
		return 0;
	if (a->error < 0)
		return a->error;
	return r == -NLE_DUMP_INTR ? -EAGAIN :
	       r == -NLE_NOMEM	   ? -ENOMEM :
				     -EIO;
}

/* --- the parts of an answer --------------------------------------------- */

static int parse(struct nl_msg *m, struct nlattr *tb[], int max)
{
	return nlmsg_parse(nlmsg_hdr(m), sizeof(struct nfgenmsg), tb, max,
			   NULL);
}

static uint8_t family_of(struct nl_msg *m)
{
	return ((const struct nfgenmsg *)nlmsg_data(nlmsg_hdr(m)))
		->nfgen_family;
}

static uint32_t get_be32(const struct nlattr *a)
{
	return a && nla_len(a) >= 4 ? ntohl(nla_get_u32(a)) : 0;
}

static int copy_name(char to[NFT_NAME_MAXLEN], const struct nlattr *a)
{
	*to = '\0';
	if (!a)
		return 0;
	nla_strlcpy(to, a, NFT_NAME_MAXLEN);
	return 1;
}

const char *ruleset_family(uint8_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_INET:
		return "inet";
	default:
		return "?";
	}
}

/* --- the generation ----------------------------------------------------- */

static int take_generation(struct nl_msg *m, void *opaque)
{
	struct nlattr *tb[NFTA_GEN_MAX + 1];

	if (parse(m, tb, NFTA_GEN_MAX) >= 0)
		*(uint32_t *)opaque = get_be32(tb[NFTA_GEN_ID]);
	return NL_OK;
}

static int ask_generation(struct asked *a, uint32_t *generation)
{
	const struct question q = { .type = NFT_MSG_GETGEN };

	*generation = 0;
	return ask(a, &q, take_generation, generation);
}

static int failed(int code, struct err *err)
{
	err_set(err, code, "look at the host's nftables");
	if (code == -EPERM)
		err_hint(err, "root needs CAP_NET_ADMIN; in a container: "
			      "--cap-add NET_ADMIN");
	else if (code == -EINVAL || code == -EPROTONOSUPPORT)
		err_hint(err, "sudo modprobe nf_tables");
	return code;
}

int ruleset_generation(uint32_t *generation, struct err *err)
{
	_cleanup_(cleanup_sock) struct nl_sock *sk = NULL;
	struct asked a = { 0 };
	int r = open_socket(&a);

	sk = a.sk;
	if (r == 0)
		r = ask_generation(&a, generation);
	return r < 0 ? failed(r, err) : 0;
}

/* --- rules -------------------------------------------------------------- */

enum verdict {
	GOES_ON, /* or only some packets do not */
	DROPS,
	ACCEPTS,
	JUMPS,
};

/* One pass over the rules of a chain. */
struct scan {
	struct ruleset_chain *chain; /* to note tags and targets in, or NULL */
	int over, drops;	     /* the first rule that ends it for all */
	unsigned njumps;	     /* what goes through others before that */
	char jump[JUMPS_MAX][NFT_NAME_MAXLEN];
};

static uint64_t hash(const char *s)
{
	uint64_t h = FNV_START;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * FNV_PRIME;
	return h;
}

static enum verdict immediate(struct nlattr *data, char to[NFT_NAME_MAXLEN])
{
	struct nlattr *tb[NFTA_IMMEDIATE_MAX + 1], *d[NFTA_DATA_MAX + 1];
	struct nlattr *v[NFTA_VERDICT_MAX + 1];

	*to = '\0';
	if (nla_parse_nested(tb, NFTA_IMMEDIATE_MAX, data, NULL) < 0 ||
	    !tb[NFTA_IMMEDIATE_DATA] ||
	    nla_parse_nested(d, NFTA_DATA_MAX, tb[NFTA_IMMEDIATE_DATA],
			     NULL) < 0 ||
	    !d[NFTA_DATA_VERDICT] ||
	    nla_parse_nested(v, NFTA_VERDICT_MAX, d[NFTA_DATA_VERDICT],
			     NULL) < 0 ||
	    !v[NFTA_VERDICT_CODE])
		return GOES_ON;
	switch ((int32_t)get_be32(v[NFTA_VERDICT_CODE])) {
	case NF_DROP:
		return DROPS;
	case NF_ACCEPT:
		return ACCEPTS;
	case NFT_JUMP:
	case NFT_GOTO:
		return copy_name(to, v[NFTA_VERDICT_CHAIN]) ? JUMPS : GOES_ON;
	default:
		return GOES_ON;
	}
}

/* An extension of iptables: its name, an attribute of the same number in
 * targets and matches. */
static int is_called(struct nlattr *data, const char *name)
{
	struct nlattr *tb[NFTA_TARGET_MAX + 1];

	static_assert((int)NFTA_TARGET_NAME == (int)NFTA_MATCH_NAME, "both");
	return nla_parse_nested(tb, NFTA_TARGET_MAX, data, NULL) >= 0 &&
	       tb[NFTA_TARGET_NAME] &&
	       nla_strcmp(tb[NFTA_TARGET_NAME], name) == 0;
}

/* What one expression does: 1 it is a condition, else 0 and @v. */
static int judge(struct nlattr *elem, enum verdict *v, char to[NFT_NAME_MAXLEN])
{
	struct nlattr *tb[NFTA_EXPR_MAX + 1];
	const char *name;

	if (nla_parse_nested(tb, NFTA_EXPR_MAX, elem, NULL) < 0 ||
	    !tb[NFTA_EXPR_NAME])
		return 1;
	name = nla_get_string(tb[NFTA_EXPR_NAME]);
	if (!strcmp(name, "counter") || !strcmp(name, "log"))
		return 0;
	if (!strcmp(name, "reject")) {
		*v = DROPS;
		return 0;
	}
	if (!tb[NFTA_EXPR_DATA])
		return 1;
	if (!strcmp(name, "immediate")) {
		*v = immediate(tb[NFTA_EXPR_DATA], to);
		return 0;
	}
	if (!strcmp(name, "match"))
		return !is_called(tb[NFTA_EXPR_DATA], "comment");
	if (!strcmp(name, "target") &&
	    (is_called(tb[NFTA_EXPR_DATA], "REJECT") ||
	     is_called(tb[NFTA_EXPR_DATA], "DROP"))) {
		*v = DROPS;
		return 0;
	}
	return 1;
}

static int is_tagged(const struct nlattr *udata)
{
	const uint8_t *p = udata ? nla_data(udata) : NULL;
	int len = udata ? nla_len(udata) : 0;

	while (len >= 2 && len >= 2 + p[1]) {
		if (p[0] == UDATA_COMMENT && p[1] == sizeof(RULESET_TAG) &&
		    !memcmp(p + 2, RULESET_TAG, sizeof(RULESET_TAG)))
			return 1;
		len -= 2 + p[1];
		p += 2 + p[1];
	}
	return 0;
}

static void note_tag(struct ruleset_chain *c, const struct nlattr *handle)
{
	uint64_t be = 0;

	if (!c || c->ntags == RULESET_TAGS_MAX || !handle ||
	    nla_len(handle) < (int)sizeof(be))
		return;
	memcpy(&be, nla_data(handle), sizeof(be));
	c->handle[c->ntags++] = be64toh(be);
}

static int take_rule(struct nl_msg *m, void *opaque)
{
	struct nlattr *tb[NFTA_RULE_MAX + 1], *elem;
	char to[NFT_NAME_MAXLEN] = "";
	enum verdict v = GOES_ON;
	struct scan *s = opaque;
	int some = 0, rest;

	if (parse(m, tb, NFTA_RULE_MAX) < 0)
		return NL_OK;
	if (is_tagged(tb[NFTA_RULE_USERDATA])) {
		note_tag(s->chain, tb[NFTA_RULE_HANDLE]);
		return NL_OK;
	}
	if (!tb[NFTA_RULE_EXPRESSIONS])
		return NL_OK;
	nla_for_each_nested(elem, tb[NFTA_RULE_EXPRESSIONS], rest)
		some |= judge(elem, &v, to);
	if (v == JUMPS && s->chain)
		s->chain->targets += hash(to);
	if (some || s->over)
		return NL_OK;
	s->over = v == DROPS || v == ACCEPTS;
	s->drops = v == DROPS;
	if (v == JUMPS && s->njumps < JUMPS_MAX)
		memcpy(s->jump[s->njumps++], to, sizeof(to));
	return NL_OK;
}

/* 1: whatever comes into this chain and is not accepted ends there. */
static int drops_all(struct asked *a, const struct ruleset_chain *of,
		     const char *name, struct ruleset_chain *notes, int depth)
{
	const struct question q = {
		.type = NFT_MSG_GETRULE, .flags = NLM_F_DUMP,
		.family = of->family,
		.name = { { NFTA_RULE_TABLE, of->table },
			  { NFTA_RULE_CHAIN, name } },
	};
	_cleanup_free_ struct scan *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->chain = notes;
	r = ask(a, &q, take_rule, s);
	if (r == 0)
		r = s->drops;
	for (unsigned i = 0; r == 0 && i < s->njumps && depth < DEPTH_MAX; i++)
		r = drops_all(a, of, s->jump[i], NULL, depth + 1);
	return r;
}

/* --- tables and chains -------------------------------------------------- */

struct reading {
	struct ruleset *rs;
	int many;
};

static int is_forward(const struct nlattr *hook)
{
	struct nlattr *tb[NFTA_HOOK_MAX + 1];

	return hook &&
	       nla_parse_nested(tb, NFTA_HOOK_MAX, (struct nlattr *)hook,
				NULL) >= 0 &&
	       tb[NFTA_HOOK_HOOKNUM] &&
	       get_be32(tb[NFTA_HOOK_HOOKNUM]) == NF_INET_FORWARD;
}

static int take_chain(struct nl_msg *m, void *opaque)
{
	struct nlattr *tb[NFTA_CHAIN_MAX + 1];
	struct reading *rd = opaque;
	struct ruleset *rs = rd->rs;
	struct ruleset_chain c = { .family = family_of(m) };

	if (parse(m, tb, NFTA_CHAIN_MAX) < 0 ||
	    !copy_name(c.table, tb[NFTA_CHAIN_TABLE]) ||
	    !copy_name(c.name, tb[NFTA_CHAIN_NAME]))
		return NL_OK;
	if (c.family == NFPROTO_INET && !strcmp(c.table, NET_TABLE)) {
		rs->has_table = 1;
		if (!strncmp(c.name, NET_MARK, strlen(NET_MARK)))
			snprintf(rs->mark, sizeof(rs->mark), "%s", c.name);
		return NL_OK;
	}
	if ((c.family != NFPROTO_INET && c.family != NFPROTO_IPV4 &&
	     c.family != NFPROTO_IPV6) ||
	    !is_forward(tb[NFTA_CHAIN_HOOK]))
		return NL_OK;
	if (rs->n == RULESET_CHAINS_MAX) {
		rd->many = 1;
		return NL_OK;
	}
	c.drops = tb[NFTA_CHAIN_POLICY] &&
		  get_be32(tb[NFTA_CHAIN_POLICY]) == NF_DROP;
	rs->chain[rs->n++] = c;
	return NL_OK;
}

static int take_table(struct nl_msg *m, void *opaque)
{
	struct nlattr *tb[NFTA_TABLE_MAX + 1];
	struct ruleset_chain *c = opaque;

	if (parse(m, tb, NFTA_TABLE_MAX) >= 0)
		c->owned = (get_be32(tb[NFTA_TABLE_FLAGS]) &
			    NFT_TABLE_F_OWNER) != 0;
	return NL_OK;
}

static int count_rule(struct nl_msg *m, void *opaque)
{
	(void)m;
	++*(unsigned *)opaque;
	return NL_OK;
}

/* `nft flush table` leaves the chains. */
static int count_ours(struct asked *a, struct ruleset *rs)
{
	const struct question q = {
		.type = NFT_MSG_GETRULE, .flags = NLM_F_DUMP,
		.family = NFPROTO_INET,
		.name = { { NFTA_RULE_TABLE, NET_TABLE } },
	};

	return rs->has_table ? ask(a, &q, count_rule, &rs->nrules) : 0;
}

static int read_chain(struct asked *a, struct ruleset_chain *c)
{
	const struct question q = {
		.type = NFT_MSG_GETTABLE, .family = c->family,
		.name = { { NFTA_TABLE_NAME, c->table } },
	};
	int r = ask(a, &q, take_table, c);

	if (r == 0)
		r = drops_all(a, c, c->name, c, 0);
	if (r > 0)
		c->drops = 1;
	return MIN(r, 0);
}

/* -EAGAIN: it has changed meanwhile. */
static int read_once(struct asked *a, struct ruleset *rs)
{
	const struct question chains = { .type = NFT_MSG_GETCHAIN,
					 .flags = NLM_F_DUMP };
	struct reading rd = { rs, 0 };
	uint32_t after;
	int r;

	*rs = (struct ruleset){ 0 };
	r = ask_generation(a, &rs->generation);
	if (r == 0)
		r = ask(a, &chains, take_chain, &rd);
	if (r == 0 && rd.many)
		return -E2BIG;
	if (r == 0)
		r = count_ours(a, rs);
	for (unsigned i = 0; r == 0 && i < rs->n; i++)
		r = read_chain(a, &rs->chain[i]);
	if (r == -E2BIG || r == -ENOMEM || r == -EPERM)
		return r;
	if (ask_generation(a, &after) < 0 || after != rs->generation)
		return -EAGAIN;
	return r;
}

int ruleset_read(struct ruleset *rs, struct err *err)
{
	_cleanup_(cleanup_sock) struct nl_sock *sk = NULL;
	struct asked a = { 0 };
	int r = open_socket(&a);

	sk = a.sk;
	if (r == 0)
		r = -EAGAIN;
	for (int i = 0; r == -EAGAIN && i < TRIES; i++)
		r = read_once(&a, rs);
	if (r == -E2BIG)
		return err_say(err, r, "the host's nftables have more than %d "
			       "chains at the hook forward",
			       RULESET_CHAINS_MAX);
	return r < 0 ? failed(r, err) : 0;
}
