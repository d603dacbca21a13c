/* SPDX-License-Identifier: Apache-2.0 */
/* The table "local", read by rtnetlink(7). */
#include "net/local.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "runner/base/mem.h"

#define BYTES 32768
#define TRIES 16 /* routes may change while they are read */

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

static int open_socket(void)
{
	const int on = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	/* Linux 4.20: of that table alone, and not all that a router has. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
			 sizeof(on));
	return fd;
}

static int ask(int fd, int family)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
	} q = {
		.head = { .nlmsg_len = sizeof(q),
			  .nlmsg_type = RTM_GETROUTE,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.route = { .rtm_family = (unsigned char)family,
			   .rtm_table = RT_TABLE_LOCAL },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return sendto(fd, &q, sizeof(q), 0, (struct sockaddr *)&kernel,
		      sizeof(kernel)) < 0 ? -errno : 0;
}

static int take(const struct nlmsghdr *h, int family, net_local_fn fn, void *opaque)
{
	const struct rtmsg *r = NLMSG_DATA(h);
	unsigned bytes = family == AF_INET6 ? 16 : 4, link = 0;
	struct net_prefix p = { .addr.family = family == AF_INET6 ? 6 : 4 };
	int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*r));

	if (h->nlmsg_type != RTM_NEWROUTE || left < 0 ||
	    r->rtm_family != family || r->rtm_table != RT_TABLE_LOCAL ||
	    (r->rtm_type != RTN_LOCAL && r->rtm_type != RTN_ANYCAST) ||
	    r->rtm_dst_len > bytes * 8)
		return 0;
	p.len = r->rtm_dst_len;
	for (const struct rtattr *a = RTM_RTA(r); RTA_OK(a, left);
	     a = RTA_NEXT(a, left)) {
		if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) == bytes)
			memcpy(p.addr.b, RTA_DATA(a), bytes);
		if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == sizeof(link))
			memcpy(&link, RTA_DATA(a), sizeof(link));
	}
	return fn(&p, link, opaque);
}

/* What the kernel says at the end of all: 0, or why there is no more. */
static int end_of(const struct nlmsghdr *h, int changed)
{
	int code = 0;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
		memcpy(&code, NLMSG_DATA(h), sizeof(code));
	return code < 0 ? code : changed ? -EAGAIN : 0;
}

/* Up to the end, whatever @fn gives: 0, or what that was first. -EAGAIN: there
 * were changes meanwhile. */
static int receive(int fd, int family, net_local_fn fn, void *opaque)
{
	_Alignas(struct nlmsghdr) uint8_t buf[BYTES];
	int r = 0, changed = 0;

	for (;;) {
		const struct nlmsghdr *h = (void *)buf;
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			changed |= h->nlmsg_flags & NLM_F_DUMP_INTR;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == NLMSG_DONE)
				return r ? r : end_of(h, changed);
			if (!r)
				r = take(h, family, fn, opaque);
		}
	}
}

/* Of a family that it does not have the kernel is not asked: it would tell of all
 * the others. */
static int has_family(int family)
{
	_cleanup_fd_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 || errno != EAFNOSUPPORT;
}

int net_local_each(net_local_fn fn, void *opaque)
{
	static const int families[] = { AF_INET, AF_INET6 };
	_cleanup_fd_ int fd = open_socket();
	int r = fd < 0 ? fd : 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
		int tries = TRIES;

		if (!has_family(families[i]))
			continue;
		do {
			r = ask(fd, families[i]);
			if (r == 0)
				r = receive(fd, families[i], fn, opaque);
		} while (r == -EAGAIN && --tries);
		/* No such table. */
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}
