/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of nftables' sets, built by libnl's messages and attributes. */
#include "net/nl.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/*
 * A transaction is one datagram: a begin, the requests, an end. The kernel
 * works it off while we are in sendmsg() and queues an answer to each request,
 * so that reading never waits. Requests past a failure are looked at as well,
 * but nothing of such a transaction stays.
 *
 * An element that is there gets its time anew by being added. Kernels before
 * 6.12 leave the time as it is: there it is added, so that it is there,
 * removed and added, and nobody sees it gone. (NLM_F_EXCL would tell, but a
 * transaction that fails costs 13 ms, and one of these 0.2.)
 */

#define EACH_MAX      3 /* requests for an element */
#define MESSAGES      (2 + EACH_MAX * NFNL_ADD_MAX)
#define MESSAGE_BYTES 256

/* Room for a failure of each; libnl's default has it for 30. */
#define ANSWER_BYTES (2 * MESSAGES * 1024)

struct nfnl {
	struct nl_sock *sk;
	int updates; /* adding again sets the time */
	uint32_t seq;
	unsigned n; /* messages of this transaction */
	struct nl_msg *msg[MESSAGES];
	struct {
		int wanted; /* an answer */
		int answered, error;
	} state[MESSAGES];
};

void nfnl_close(struct nfnl *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < MESSAGES; i++)
		if (n->msg[i])
			nlmsg_free(n->msg[i]);
	if (n->sk)
		nl_socket_free(n->sk);
	free(n);
}

/* Linux 6.12: "netfilter: nf_tables: set element timeout update support". */
static int kernel_updates(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 12));
}

int nfnl_open(struct nfnl **out, struct err *err)
{
	struct nfnl *n = calloc(1, sizeof(*n));
	int r = 0;

	if (!n)
		return err_set(err, -ENOMEM, "nfnetlink");
	n->updates = kernel_updates();
	n->sk = nl_socket_alloc();
	if (!n->sk || nl_connect(n->sk, NETLINK_NETFILTER) < 0 ||
	    nl_socket_set_buffer_size(n->sk, ANSWER_BYTES, 0) < 0)
		r = errno ? -errno : -EIO;
	for (size_t i = 0; r == 0 && i < MESSAGES; i++) {
		n->msg[i] = nlmsg_alloc_size(MESSAGE_BYTES);
		if (!n->msg[i])
			r = -ENOMEM;
	}
	if (r < 0) {
		nfnl_close(n);
		return err_set(err, r, "nfnetlink");
	}
	*out = n;
	return 0;
}

/* --- building ------------------------------------------------------------ */

static struct nl_msg *add(struct nfnl *n, int type, int flags, int family,
			  uint16_t res_id)
{
	const struct nfgenmsg g = { .nfgen_family = (uint8_t)family,
				    .version = NFNETLINK_V0,
				    .res_id = htons(res_id) };
	struct nl_msg *m;

	if (n->n == MESSAGES)
		return NULL;
	m = n->msg[n->n];
	nlmsg_hdr(m)->nlmsg_len = NLMSG_HDRLEN; /* empty, to be filled anew */
	if (!nlmsg_put(m, 0, n->seq + n->n, type, 0, NLM_F_REQUEST | flags) ||
	    nlmsg_append(m, (void *)&g, sizeof(g), NLMSG_ALIGNTO) < 0)
		return NULL;
	n->state[n->n].wanted = !!(flags & NLM_F_ACK);
	n->state[n->n].error = n->state[n->n].answered = 0;
	n->n++;
	return m;
}

static int put_key(struct nl_msg *m, const struct nfnl_element *e)
{
	struct nlattr *a = nla_nest_start(m, NFTA_SET_ELEM_KEY);

	if (!a || nla_put(m, NFTA_DATA_VALUE, (int)e->key_len, e->key) < 0)
		return -EMSGSIZE;
	nla_nest_end(m, a);
	return 0;
}

static int put_element(struct nfnl *n, int type, int flags, const char *table,
		       const struct nfnl_element *e)
{
	struct nl_msg *m = add(n, NFNL_SUBSYS_NFTABLES << 8 | type,
			       NLM_F_CREATE | flags, NFPROTO_INET, 0);
	const uint64_t ms = htobe64((uint64_t)e->timeout_s * 1000);
	struct nlattr *list, *one;

	if (!m || nla_put_string(m, NFTA_SET_ELEM_LIST_TABLE, table) < 0 ||
	    nla_put_string(m, NFTA_SET_ELEM_LIST_SET, e->set) < 0)
		return -EMSGSIZE;
	list = nla_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
	one = list ? nla_nest_start(m, NFTA_LIST_ELEM) : NULL;
	if (!one || put_key(m, e) < 0)
		return -EMSGSIZE;
	if (type == NFT_MSG_NEWSETELEM && e->timeout_s &&
	    nla_put(m, NFTA_SET_ELEM_TIMEOUT, sizeof(ms), &ms) < 0)
		return -EMSGSIZE;
	nla_nest_end(m, one);
	nla_nest_end(m, list);
	return 0;
}

static int build(struct nfnl *n, const char *table,
		 const struct nfnl_element *e, unsigned count)
{
	int r = 0;

	n->seq += MESSAGES;
	n->n = 0;
	if (!add(n, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES))
		return -EMSGSIZE;
	for (unsigned i = 0; i < count && r == 0; i++) {
		/* Failures are told in any case; the last request is told to
		 * have been understood as well. */
		int flags = i + 1 == count ? NLM_F_ACK : 0;

		if (!n->updates)
			r = put_element(n, NFT_MSG_NEWSETELEM, 0, table, e + i);
		if (r == 0 && !n->updates)
			r = put_element(n, NFT_MSG_DELSETELEM, 0, table, e + i);
		if (r == 0)
			r = put_element(n, NFT_MSG_NEWSETELEM, flags, table,
					e + i);
	}
	if (r == 0 && !add(n, NFNL_MSG_BATCH_END, 0, AF_UNSPEC,
			   NFNL_SUBSYS_NFTABLES))
		r = -EMSGSIZE;
	return r;
}

/* --- sending, and what comes back ----------------------------------------- */

static int send_all(struct nfnl *n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct iovec iov[MESSAGES];
	const struct msghdr m = { .msg_name = &kernel,
				  .msg_namelen = sizeof(kernel),
				  .msg_iov = iov, .msg_iovlen = n->n };

	for (unsigned i = 0; i < n->n; i++) {
		iov[i].iov_base = nlmsg_hdr(n->msg[i]);
		iov[i].iov_len = NLMSG_ALIGN(nlmsg_hdr(n->msg[i])->nlmsg_len);
	}
	return sendmsg(nl_socket_get_fd(n->sk), &m, 0) < 0 ? -errno : 0;
}

static void take(struct nfnl *n, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = nlmsg_data(h);
	uint32_t i = h->nlmsg_seq - n->seq;

	if (h->nlmsg_type != NLMSG_ERROR || i >= n->n ||
	    nlmsg_datalen(h) < (int)sizeof(*e))
		return;
	n->state[i].answered = 1;
	n->state[i].error = e->error;
}

static int receive_all(struct nfnl *n)
{
	union {
		char b[8192];
		struct nlmsghdr h;
	} buf;

	int r = 0;

	for (;;) {
		ssize_t got = recv(nl_socket_get_fd(n->sk), buf.b,
				   sizeof(buf.b), MSG_DONTWAIT);
		int left = (int)got;

		if (got < 0 && errno == EAGAIN)
			return r;
		if (got < 0 && errno != EINTR && errno != ENOBUFS)
			return -errno;
		if (got < 0) {
			/* Some were lost: what is there goes first. */
			r = errno == ENOBUFS ? -ENOBUFS : r;
			continue;
		}
		for (struct nlmsghdr *h = &buf.h; nlmsg_ok(h, left);
		     h = nlmsg_next(h, &left))
			take(n, h);
	}
}

/* The first failure; and was the last request heard? */
static int judge(const struct nfnl *n)
{
	for (unsigned i = 0; i < n->n; i++)
		if (n->state[i].error < 0)
			return n->state[i].error;
	for (unsigned i = 0; i < n->n; i++)
		if (n->state[i].wanted && !n->state[i].answered)
			return -EPROTO;
	return 0;
}

int nfnl_add(struct nfnl *n, const char *table, const struct nfnl_element *e,
	     unsigned count)
{
	int r;

	if (count > NFNL_ADD_MAX)
		return -E2BIG;
	r = build(n, table, e, count);
	if (r == 0)
		r = send_all(n);
	if (r == 0)
		r = receive_all(n);
	return r < 0 ? r : judge(n);
}
