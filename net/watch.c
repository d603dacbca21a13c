/* SPDX-License-Identifier: Apache-2.0 */
/* Notices of rtnetlink(7), read as they come. */
#include "net/watch.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define READS 256 /* at one go */
#define BYTES 4096

static int open_groups(uint32_t groups, struct err *err)
{
	_cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC |
						 SOCK_NONBLOCK,
				     NETLINK_ROUTE);
	const struct sockaddr_nl all = { .nl_family = AF_NETLINK,
					 .nl_groups = groups };

	if (fd < 0 || bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0)
		return err_set(err, -errno, "watch links and addresses");
	return steal_fd(&fd);
}

/* A datagram has one notice, or a few. Its length; 0: nothing more for now;
 * -ENOBUFS: the kernel has thrown some away. */
static int next(int fd, void *buf)
{
	for (;;) {
		ssize_t n = recv(fd, buf, BYTES, MSG_DONTWAIT);

		if (n >= 0)
			return (int)n;
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int watch_links(struct err *err)
{
	return open_groups(RTMGRP_LINK, err);
}

static int is_gone(const struct nlmsghdr *h, const unsigned *index, unsigned n)
{
	const struct ifinfomsg *m = NLMSG_DATA(h);

	if (h->nlmsg_type != RTM_DELLINK ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	while (n && (unsigned)m->ifi_index != index[n - 1])
		n--;
	return n != 0;
}

int watch_links_gone(int fd, const unsigned *index, unsigned count)
{
	_Alignas(struct nlmsghdr) uint8_t buf[BYTES];

	for (int i = 0; i < READS; i++) {
		const struct nlmsghdr *h = (void *)buf;
		int n = next(fd, buf);

		if (n <= 0)
			return n < 0;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			if (is_gone(h, index, count))
				return 1;
	}
	return 0;
}

int watch_addrs(struct err *err)
{
	return open_groups(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, err);
}

/* Of a link to one other host (IFA_LOCAL) IFA_ADDRESS is the other's; else both
 * are ours, and IPv6 has the one alone. */
static int address_of(const struct nlmsghdr *h, struct net_addr *a)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *at, *found = NULL;
	int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*m));

	if (h->nlmsg_type != RTM_NEWADDR || left < 0 ||
	    (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
		return 0;
	for (at = IFA_RTA(m); RTA_OK(at, left); at = RTA_NEXT(at, left))
		if (at->rta_type == IFA_LOCAL ||
		    (at->rta_type == IFA_ADDRESS && !found))
			found = at;
	if (!found ||
	    RTA_PAYLOAD(found) != (m->ifa_family == AF_INET6 ? 16 : 4))
		return 0;
	*a = net_addr_from(m->ifa_family == AF_INET6 ? 6 : 4,
			   RTA_DATA(found));
	return 1;
}

int watch_addrs_new(int fd, int (*fn)(const struct net_addr *a, void *opaque),
		    void *opaque)
{
	_Alignas(struct nlmsghdr) uint8_t buf[BYTES];
	struct net_addr a;

	for (int i = 0; i < READS; i++) {
		const struct nlmsghdr *h = (void *)buf;
		int n = next(fd, buf), r = 0;

		if (n <= 0)
			return n;
		for (; r == 0 && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			if (address_of(h, &a))
				r = fn(&a, opaque);
		if (r)
			return r;
	}
	return 0;
}
