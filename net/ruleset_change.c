/* SPDX-License-Identifier: Apache-2.0 */
/* Our rules in other people's chains, in and out again, by nfnetlink. */
#include "net/ruleset.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/plan.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* A begin, an end, the table; for each chain what it has and two new ones. */
#define MESSAGES_MAX (3 + RULESET_CHAINS_MAX * (RULESET_TAGS_MAX + 2))
#define UDATA_COMMENT 0 /* type, length, text with its NUL: as nft has it */

struct batch {
	struct nl_sock *sk;
	unsigned n;
	int failed; /* -ENOMEM: a message could not be made */
	struct nl_msg *msg[MESSAGES_MAX];
};

static void cleanup_batch(struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		nlmsg_free(b->msg[i]);
	if (b->sk)
		nl_socket_free(b->sk);
}

/* The next message; NULL where there is no more. */
static struct nl_msg *add(struct batch *b, int type, int flags, uint8_t family,
			  uint16_t resource)
{
	const struct nfgenmsg g = { .nfgen_family = family,
				    .version = NFNETLINK_V0,
				    .res_id = htons(resource) };
	struct nl_msg *m = b->n < MESSAGES_MAX ? nlmsg_alloc() : NULL;

	if (!m || !nlmsg_put(m, 0, b->n, type, 0, NLM_F_REQUEST | flags) ||
	    nlmsg_append(m, (void *)&g, sizeof(g), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		b->failed = -ENOMEM;
		return NULL;
	}
	return b->msg[b->n++] = m;
}

static struct nl_msg *add_nft(struct batch *b, int type, int flags,
			      uint8_t family)
{
	return add(b, NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_ACK | flags,
		   family, 0);
}

/* A failure to put something in is a failure of the batch. */
static void check(struct batch *b, int r)
{
	if (r < 0)
		b->failed = -ENOMEM;
}

/* --- rules -------------------------------------------------------------- */

struct nests {
	struct nlattr *elem, *data;
};

static struct nests open_expr(struct nl_msg *m, const char *name)
{
	struct nests n = { .elem = nla_nest_start(m, NFTA_LIST_ELEM) };

	if (n.elem && nla_put_string(m, NFTA_EXPR_NAME, name) >= 0)
		n.data = nla_nest_start(m, NFTA_EXPR_DATA);
	return n;
}

static int close_expr(struct nl_msg *m, const struct nests *n)
{
	if (!n->elem || !n->data)
		return -ENOMEM;
	nla_nest_end(m, n->data);
	nla_nest_end(m, n->elem);
	return 0;
}

static int put_meta(struct nl_msg *m, uint32_t key)
{
	struct nests n = open_expr(m, "meta");

	if (nla_put_u32(m, NFTA_META_DREG, htonl(NFT_REG_1)) < 0 ||
	    nla_put_u32(m, NFTA_META_KEY, htonl(key)) < 0)
		return -ENOMEM;
	return close_expr(m, &n);
}

/* The first bytes of a name: "mfy*". */
static int put_prefix(struct nl_msg *m)
{
	struct nests n = open_expr(m, "cmp");
	struct nlattr *data;

	if (nla_put_u32(m, NFTA_CMP_SREG, htonl(NFT_REG_1)) < 0 ||
	    nla_put_u32(m, NFTA_CMP_OP, htonl(NFT_CMP_EQ)) < 0)
		return -ENOMEM;
	data = nla_nest_start(m, NFTA_CMP_DATA);
	if (!data || nla_put(m, NFTA_DATA_VALUE, sizeof(NET_HOST_LINK) - 1,
			     NET_HOST_LINK) < 0)
		return -ENOMEM;
	nla_nest_end(m, data);
	return close_expr(m, &n);
}

static int put_accept(struct nl_msg *m)
{
	struct nests n = open_expr(m, "immediate");
	struct nlattr *data, *verdict;

	if (nla_put_u32(m, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT)) < 0)
		return -ENOMEM;
	data = nla_nest_start(m, NFTA_IMMEDIATE_DATA);
	verdict = data ? nla_nest_start(m, NFTA_DATA_VERDICT) : NULL;
	if (!verdict ||
	    nla_put_u32(m, NFTA_VERDICT_CODE, htonl(NF_ACCEPT)) < 0)
		return -ENOMEM;
	nla_nest_end(m, verdict);
	nla_nest_end(m, data);
	return close_expr(m, &n);
}

static int put_place(struct nl_msg *m, const struct ruleset_chain *c)
{
	return nla_put_string(m, NFTA_RULE_TABLE, c->table) < 0 ||
			       nla_put_string(m, NFTA_RULE_CHAIN, c->name) < 0 ?
		       -ENOMEM :
		       0;
}

/* At the head of the chain: NLM_F_APPEND is not there. */
static void insert_rule(struct batch *b, const struct ruleset_chain *c,
			uint32_t key)
{
	struct nl_msg *m = add_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE,
				   c->family);
	struct {
		uint8_t type, len;
		char text[sizeof(RULESET_TAG)];
	} tag = { UDATA_COMMENT, sizeof(RULESET_TAG), RULESET_TAG };
	struct nlattr *list;
	int r;

	if (!m)
		return;
	r = put_place(m, c);
	list = nla_nest_start(m, NFTA_RULE_EXPRESSIONS);
	if (!list || put_meta(m, key) < 0 || put_prefix(m) < 0 ||
	    put_accept(m) < 0)
		r = -ENOMEM;
	if (r == 0) {
		nla_nest_end(m, list);
		r = nla_put(m, NFTA_RULE_USERDATA, sizeof(tag), &tag);
	}
	check(b, r);
}

static void delete_rules(struct batch *b, const struct ruleset_chain *c)
{
	for (unsigned i = 0; i < c->ntags; i++) {
		const uint64_t handle = htobe64(c->handle[i]);
		struct nl_msg *m = add_nft(b, NFT_MSG_DELRULE, 0, c->family);

		if (m && put_place(m, c) == 0)
			check(b, nla_put(m, NFTA_RULE_HANDLE, sizeof(handle),
					 &handle));
		else
			check(b, -ENOMEM);
	}
}

/* --- the transaction ---------------------------------------------------- */

/* One datagram; the kernel has worked it off when sendmsg() returns. */
static int send_all(struct batch *b)
{
	struct iovec iov[MESSAGES_MAX];
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct msghdr h = { .msg_name = &to, .msg_namelen = sizeof(to),
			    .msg_iov = iov, .msg_iovlen = b->n };

	for (unsigned i = 0; i < b->n; i++)
		iov[i] = (struct iovec){
			nlmsg_hdr(b->msg[i]), nlmsg_hdr(b->msg[i])->nlmsg_len
		};
	return sendmsg(nl_socket_get_fd(b->sk), &h, 0) < 0 ? -errno : 0;
}

/* The first error among the answers, one for each message but the begin and
 * the end; those are answered only where they are wrong. */
static int read_answers(struct batch *b)
{
	_Alignas(struct nlmsghdr) char buf[8192];
	unsigned answers = 0;
	int error = 0;

	while (answers < b->n - 2 && !error) {
		ssize_t n = recv(nl_socket_get_fd(b->sk), buf, sizeof(buf),
				 MSG_DONTWAIT);
		int len = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (struct nlmsghdr *h = (void *)buf; nlmsg_ok(h, len);
		     h = nlmsg_next(h, &len)) {
			const struct nlmsgerr *e = nlmsg_data(h);

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			answers++;
			error = error ? error : e->error;
		}
	}
	return error;
}

static int commit(struct batch *b, struct err *err)
{
	int r = b->failed;

	if (r == 0)
		r = send_all(b);
	if (r == 0)
		r = read_answers(b);
	return r < 0 ? err_set(err, r, "change the host's nftables") : 0;
}

static int begin(struct batch *b)
{
	b->sk = nl_socket_alloc();
	if (!b->sk)
		return -ENOMEM;
	if (nl_connect(b->sk, NETLINK_NETFILTER) < 0)
		return errno ? -errno : -EIO;
	add(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	return b->failed;
}

int ruleset_insert(const struct ruleset *rs, struct err *err)
{
	_cleanup_(cleanup_batch) struct batch b = { 0 };
	int r = begin(&b), changed = 0;

	if (r < 0)
		return err_set(err, r, "change the host's nftables");
	for (unsigned i = 0; i < rs->n; i++) {
		const struct ruleset_chain *c = &rs->chain[i];

		if (!c->drops || c->owned || c->ntags == 2)
			continue;
		delete_rules(&b, c);
		insert_rule(&b, c, NFT_META_OIFNAME);
		insert_rule(&b, c, NFT_META_IIFNAME);
		changed++;
	}
	if (!changed)
		return 0;
	add(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	r = commit(&b, err);
	return r < 0 ? r : changed;
}

int ruleset_delete(const struct ruleset *rs, struct err *err)
{
	_cleanup_(cleanup_batch) struct batch b = { 0 };
	struct nl_msg *m;
	int r = begin(&b);

	if (r < 0)
		return err_set(err, r, "change the host's nftables");
	for (unsigned i = 0; i < rs->n; i++)
		if (!rs->chain[i].owned)
			delete_rules(&b, &rs->chain[i]);
	if (rs->has_table) {
		m = add_nft(&b, NFT_MSG_DELTABLE, 0, NFPROTO_INET);
		check(&b, m ? nla_put_string(m, NFTA_TABLE_NAME, NET_TABLE)
			    : -ENOMEM);
	}
	if (b.n == 1 && !b.failed)
		return 0;
	add(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	return commit(&b, err);
}
