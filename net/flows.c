/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows of one source, looked for among all and deleted one by one. The kernel
 * has a filter for this (CTA_FILTER, Linux 6.8), which takes an IPv6 address
 * for all the others: ctnetlink_filter_match_tuple() of 6.18 refuses where
 * ipv6_addr_cmp() says that they are equal.
 */
#include "net/flows.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/mem.h"

#define TUPLE_MAX 256 /* of a flow's addresses and ports, as attributes */

struct request {
	struct nlmsghdr head;
	struct nfgenmsg gen;
	uint8_t attrs[TUPLE_MAX];
};

static int open_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	return fd < 0 ? -errno : fd;
}

static int request(int fd, int type, int flags, int family,
		   const struct nlattr *attr)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct request q = {
		.head.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | type,
		.head.nlmsg_flags = NLM_F_REQUEST | flags,
		.gen.nfgen_family = family == 6 ? AF_INET6 : AF_INET,
	};
	size_t len = sizeof(q.head) + sizeof(q.gen);

	if (attr) {
		if (attr->nla_len > sizeof(q.attrs))
			return -EMSGSIZE;
		memcpy(q.attrs, attr, attr->nla_len);
		len += NLA_ALIGN(attr->nla_len);
	}
	q.head.nlmsg_len = len;
	if (sendto(fd, &q, len, 0, (void *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

/* Among the @len bytes at @p; NULL if it is not there. */
static const struct nlattr *find(const void *p, size_t len, unsigned type)
{
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = p;
		size_t step = NLA_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		if (step > len)
			return NULL;
		p = (const uint8_t *)p + step;
		len -= step;
	}
	return NULL;
}

static const struct nlattr *find_in(const struct nlattr *a, unsigned type)
{
	return a ? find(a + 1, a->nla_len - NLA_HDRLEN, type) : NULL;
}

/* The addresses and ports of a flow from @source, NULL for others. */
static const struct nlattr *tuple_of(const struct nlmsghdr *h,
				     const struct net_addr *source)
{
	size_t skip = sizeof(*h) + sizeof(struct nfgenmsg);
	size_t n = net_addr_bits(source) / 8;
	const struct nlattr *tuple, *a;

	if (h->nlmsg_len < skip)
		return NULL;
	tuple = find((const uint8_t *)h + skip, h->nlmsg_len - skip,
		     CTA_TUPLE_ORIG);
	a = find_in(find_in(tuple, CTA_TUPLE_IP),
		    source->family == 6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC);
	if (!a || a->nla_len != NLA_HDRLEN + n || memcmp(a + 1, source->b, n))
		return NULL;
	return tuple;
}

/* Gone already is as good. The kernel has answered by the time that a request
 * is sent. */
static int forget(int fd, int family, const struct nlattr *tuple)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		uint8_t rest[TUPLE_MAX + 64];
	} answer;
	int r = request(fd, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, tuple);
	ssize_t n;

	if (r < 0)
		return r;
	n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(answer.head) + sizeof(answer.err) ||
	    answer.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.err.error == -ENOENT ? 0 : answer.err.error;
}

/* One buffer of a dump: 1 at its end, 0 for more, or -errno. */
static int read_some(int dump, int fd, const struct net_addr *source, int *count)
{
	_Alignas(struct nlmsghdr) uint8_t buf[32768];
	ssize_t n = recv(dump, buf, sizeof(buf), 0);
	struct nlmsghdr *h = (void *)buf;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct nlattr *tuple;
		int r;

		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error ?: 1;
		tuple = tuple_of(h, source);
		if (!tuple)
			continue;
		r = forget(fd, source->family, tuple);
		if (r < 0)
			return r;
		++*count;
	}
	return 0;
}

int net_flows_forget(const struct net_addr *source)
{
	_cleanup_fd_ int dump = -1, fd = -1;
	int r, count = 0;

	if (!net_addr_valid(source))
		return -EINVAL;
	dump = open_socket();
	fd = dump < 0 ? dump : open_socket();
	if (fd < 0)
		return fd;
	r = request(dump, IPCTNL_MSG_CT_GET, NLM_F_DUMP, source->family, NULL);
	while (r == 0)
		r = read_some(dump, fd, source, &count);
	return r < 0 ? r : count;
}
