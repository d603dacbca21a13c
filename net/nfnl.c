/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of nftables: sending them, and what the kernel says. */
#include "net/nl.h"

#include <netinet/in.h> /* first: the kernel's headers have it as well */

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "net/batch.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/*
 * A transaction is one datagram. The kernel works it off while we are in
 * sendmsg() and queues an answer to what has failed and to the last request, so
 * that reading never waits. Requests past a failure are looked at as well, but
 * nothing of such a transaction stays.
 *
 * An element that is there gets its time anew by being added. Kernels before
 * 6.12 leave the time as it is: there it is added, so that it is there,
 * removed and added, and nobody sees it gone. (NLM_F_EXCL would tell, but a
 * transaction that fails costs 13 ms, and one of these 0.2.)
 */

#define EACH_MAX 3 /* requests for an element */
/* A request for one, with names of NFT_SET_MAXNAMELEN at the most. */
#define EACH_BYTES 704
#define BUFFER	   ((2 + EACH_MAX * NFNL_ADD_MAX) * EACH_BYTES)

/* Room for answers: one of the kernel's buffers each, of which libnl's default
 * has 30. */
#define ANSWER_BYTES (512 * 1024)

struct nfnl {
	struct nl_sock *sk;
	int updates; /* adding again sets the time */
	uint32_t seq;
	alignas(struct nlmsghdr) uint8_t buf[BUFFER]; /* of nfnl_add() */
};

/* What came of a batch. */
struct outcome {
	uint32_t first, last; /* its first message; the one that is answered */
	int heard;	      /* the last one was */
	int error;	      /* the first failure, */
	uint32_t seq, place;  /* the message it is about, and where in that */
};

void nfnl_close(struct nfnl *n)
{
	if (!n)
		return;
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

static int open_socket(struct nfnl *n)
{
	const int on = 1;
	int fd;

	n->sk = nl_socket_alloc();
	if (!n->sk)
		return -ENOMEM;
	if (nl_connect(n->sk, NETLINK_NETFILTER) < 0)
		return errno ? -errno : -EIO;
	/* As far as net.core's limits go. */
	if (nl_socket_set_buffer_size(n->sk, ANSWER_BYTES, NFNL_SEND_MAX) < 0)
		return errno ? -errno : -EIO;
	fd = nl_socket_get_fd(n->sk);
	/* Which attribute it is about, and not all of the message again. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

int nfnl_open(struct nfnl **out, struct err *err)
{
	struct nfnl *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_set(err, -ENOMEM, "nfnetlink");
	n->updates = kernel_updates();
	errno = 0;
	r = open_socket(n);
	if (r < 0) {
		nfnl_close(n);
		err_set(err, r, "nfnetlink");
		if (r == -EPROTONOSUPPORT)
			err_hint(err, "sudo modprobe nf_tables");
		return r;
	}
	*out = n;
	return 0;
}

/* --- sending, and what comes back ----------------------------------------- */

static void take(struct outcome *o, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = nlmsg_data(h);
	const struct nlattr *place;

	if (h->nlmsg_type != NLMSG_ERROR ||
	    nlmsg_datalen(h) < (int)sizeof(*e) ||
	    h->nlmsg_seq - o->first > o->last - o->first)
		return;
	if (h->nlmsg_seq == o->last)
		o->heard = 1;
	if (e->error >= 0 || (o->error && h->nlmsg_seq >= o->seq))
		return;
	o->error = e->error;
	o->seq = h->nlmsg_seq;
	o->place = 0;
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    !(h->nlmsg_flags & NLM_F_CAPPED))
		return;
	place = nlmsg_find_attr((struct nlmsghdr *)h, sizeof(*e),
				NLMSGERR_ATTR_OFFS);
	if (place && nla_len(place) == sizeof(o->place))
		memcpy(&o->place, nla_data(place), sizeof(o->place));
}

static int receive_all(struct nfnl *n, struct outcome *o)
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
			take(o, h);
	}
}

/* The request before the batch's end is the one that is answered. */
static uint32_t last_request(const uint8_t *batch, size_t len)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)batch;

	while (NLMSG_ALIGN(h->nlmsg_len) < len) {
		len -= NLMSG_ALIGN(h->nlmsg_len);
		batch += NLMSG_ALIGN(h->nlmsg_len);
		h = (const struct nlmsghdr *)batch;
	}
	return h->nlmsg_seq - 1;
}

/* The first failure; and was the last request heard? */
static int transact(struct nfnl *n, const void *batch, size_t len,
		    struct outcome *o)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct iovec iov = { .iov_base = (void *)batch, .iov_len = len };
	const struct msghdr m = { .msg_name = &kernel,
				  .msg_namelen = sizeof(kernel),
				  .msg_iov = &iov, .msg_iovlen = 1 };
	int r;

	*o = (struct outcome){
		.first = ((const struct nlmsghdr *)batch)->nlmsg_seq,
		.last = last_request(batch, len) };
	if (sendmsg(nl_socket_get_fd(n->sk), &m, 0) < 0)
		return -errno;
	r = receive_all(n, o);
	if (o->error)
		return o->error;
	return r < 0 ? r : o->heard ? 0 : -EPROTO;
}

/* What a kernel may have as a module, and not on this host. */
static const char *module_of(const char *name, const char *expr)
{
	static const char *const modules[][2] = {
		{ "connlimit", "nft_connlimit" }, { "ct", "nft_ct" },
		{ "limit", "nft_limit" },	  { "masq", "nft_masq" },
		{ "notrack", "nft_ct" },	  { "reject", "nft_reject_inet" },
		{ "", "nft_chain_nat" },
	};

	/* Of chains only that of the type nat. */
	if (!*expr && strncmp(name, "chain", 5) != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		if (!strcmp(expr, modules[i][0]))
			return modules[i][1];
	return NULL;
}

int nfnl_send(struct nfnl *n, const void *batch, size_t len, struct err *err)
{
	char name[BATCH_NAME_MAX], expr[BATCH_NAME_MAX];
	const char *module;
	struct outcome o;
	int r = transact(n, batch, len, &o);

	if (r == 0)
		return 0;
	if (!o.error)
		return err_set(err, r, "load a table of %zu bytes", len);
	batch_name(batch, len, o.seq, o.place, name, expr);
	if (*expr)
		err_set(err, r, "the kernel has refused %s (%s)", name, expr);
	else
		err_set(err, r, "the kernel has refused %s", name);
	module = r == -ENOENT ? module_of(name, expr) :
		 r == -EOPNOTSUPP ? "nf_tables" : NULL;
	if (module)
		err_hint(err, "sudo modprobe %s", module);
	return r;
}

/* --- elements --------------------------------------------------------------- */

static void put(struct batch *b, int type, const struct nfnl_element *e)
{
	size_t nest = batch_elements(b, type, e->set, 0);

	batch_element(b, e->key, e->key_len, type == NFT_MSG_NEWSETELEM ?
		      (uint64_t)e->timeout_s * 1000 : 0);
	batch_shut(b, nest);
}

int nfnl_add(struct nfnl *n, const char *table, const struct nfnl_element *e,
	     unsigned count)
{
	struct outcome o;
	struct batch b;
	int len;

	if (count > NFNL_ADD_MAX)
		return -E2BIG;
	batch_open(&b, n->buf, sizeof(n->buf), n->seq);
	b.family = NFPROTO_INET;
	b.table = table;
	for (unsigned i = 0; i < count; i++) {
		if (!n->updates) {
			put(&b, NFT_MSG_NEWSETELEM, &e[i]);
			put(&b, NFT_MSG_DELSETELEM, &e[i]);
		}
		put(&b, NFT_MSG_NEWSETELEM, &e[i]);
	}
	len = batch_close(&b, NULL);
	n->seq = b.seq;
	return len < 0 ? len : transact(n, n->buf, (size_t)len, &o);
}
