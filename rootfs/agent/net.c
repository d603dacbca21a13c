/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network, as the host says it is: eth0 by rtnetlink, then the
 * files that a resolver reads.
 *
 * All of eth0 is one batch of messages and one answer: only the last asks for
 * one, and what fails answers anyway (netlink(7)). IPv6 addresses skip their
 * duplicate detection, for nobody else is on this link, and a program that
 * binds one must not have to wait for it.
 *
 * The files are made anew, in the layer that the guest writes to: a link that
 * the image has there is replaced and not followed, so that nothing happens
 * elsewhere, and nothing that is mounted elsewhere later hides them. They
 * come before any mount of the user's, and with --read-only are sealed with
 * the rest of the root.
 */
#include "rootfs/agent/agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define DEVICE	   "eth0"
#define BATCH_SIZE 512

/* --- messages --------------------------------------------------------- */

struct batch {
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[BATCH_SIZE];
	uint32_t len;	/* of what is written */
	uint32_t last;	/* where the last message begins */
	uint32_t seq;	/* of the last message, from 1 */
	uint32_t v6;	/* the first message about IPv6; 0: none */
};

static struct nlmsghdr *last(struct batch *b)
{
	return (struct nlmsghdr *)(b->buf + b->last);
}

/* @b has room: what one batch may be is known below. */
static void add(struct batch *b, const void *data, size_t len)
{
	memcpy(b->buf + b->len, data, len);
	b->len += (uint32_t)NLMSG_ALIGN(len);
	last(b)->nlmsg_len = b->len - b->last;
}

static void begin(struct batch *b, uint16_t type, uint16_t flags,
		  const void *body, size_t len)
{
	struct nlmsghdr h = {
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
		.nlmsg_seq = ++b->seq,
	};

	b->last = b->len;
	add(b, &h, sizeof(h));
	add(b, body, len);
}

static void attr(struct batch *b, uint16_t type, const void *data, size_t len)
{
	struct rtattr a = { .rta_len = (uint16_t)RTA_LENGTH(len),
			    .rta_type = type };

	add(b, &a, sizeof(a));
	add(b, data, len);
}

static void put_link(struct batch *b, int index, uint32_t mtu)
{
	struct ifinfomsg link = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	begin(b, RTM_NEWLINK, 0, &link, sizeof(link));
	if (mtu)
		attr(b, IFLA_MTU, &mtu, sizeof(mtu));
}

static void put_addr(struct batch *b, int index, uint8_t family,
		     const uint8_t *addr, size_t size, uint8_t len)
{
	struct ifaddrmsg msg = {
		.ifa_family = family,
		.ifa_prefixlen = len,
		.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = (uint32_t)index,
	};

	begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &msg, sizeof(msg));
	attr(b, IFA_LOCAL, addr, size);
	attr(b, IFA_ADDRESS, addr, size);
}

/* The default route; none by a gateway of 0. */
static void put_route(struct batch *b, int index, uint8_t family,
		      const uint8_t *gateway, size_t size)
{
	static const uint8_t none[16];
	uint32_t device = (uint32_t)index;
	struct rtmsg msg = {
		.rtm_family = family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};

	if (!memcmp(gateway, none, size))
		return;
	begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &msg, sizeof(msg));
	attr(b, RTA_GATEWAY, gateway, size);
	attr(b, RTA_OIF, &device, sizeof(device));
}

static void put_all(struct batch *b, int index, const struct wire_net *n)
{
	put_link(b, index, n->mtu);
	if (n->flags & WIRE_NET_V4) {
		put_addr(b, index, AF_INET, n->v4, sizeof(n->v4), n->v4_len);
		put_route(b, index, AF_INET, n->v4_gateway,
			  sizeof(n->v4_gateway));
	}
	if (n->flags & WIRE_NET_V6) {
		b->v6 = b->seq + 1;
		put_addr(b, index, AF_INET6, n->v6, sizeof(n->v6), n->v6_len);
		put_route(b, index, AF_INET6, n->v6_gateway,
			  sizeof(n->v6_gateway));
	}
	last(b)->nlmsg_flags |= NLM_F_ACK;
}

/* Is IPv6 built into the kernel, and not turned off? */
static int has_v6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/" DEVICE "/disable_ipv6",
		      O_RDONLY | O_CLOEXEC);
	char off = '1';

	if (fd < 0)
		return 0;
	if (read(fd, &off, 1) != 1)
		off = '1';
	close(fd);
	return off == '0';
}

/* A guest without IPv6 goes without. */
static int counts(const struct batch *b, uint32_t seq)
{
	return !b->v6 || seq < b->v6 || has_v6();
}

/* Until the last message has its answer. An errno, of the first that failed. */
static int await(int fd, const struct batch *b)
{
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[4096];
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	const struct nlmsgerr *e = NLMSG_DATA(h);
	int error = 0;
	ssize_t n;

	/* Each comes by itself: rtnetlink packs no answers together. */
	do {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0)
			return errno;
		if ((size_t)n < NLMSG_LENGTH(sizeof(*e)) ||
		    h->nlmsg_type != NLMSG_ERROR)
			return EPROTO;
		if (e->error && !error && counts(b, h->nlmsg_seq))
			error = -e->error;
	} while (h->nlmsg_seq != b->seq);
	return error;
}

static int raise_device(const struct wire_net *n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct ifreq ifr = { .ifr_name = DEVICE };
	struct batch b = { .len = 0 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int error = 0;

	/* It answers this one as any socket does. */
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &ifr)) {
		error = errno;
	} else {
		put_all(&b, ifr.ifr_ifindex, n);
		if (sendto(fd, b.buf, b.len, 0, (struct sockaddr *)&kernel,
			   sizeof(kernel)) < 0)
			error = errno;
		else
			error = await(fd, &b);
	}
	if (fd >= 0)
		close(fd);
	return error;
}

/* --- files ------------------------------------------------------------ */

static void add_v4(char *text, const uint8_t *a)
{
	int i;

	for (i = 0; i < 4; i++) {
		if (i)
			say_add(text, NET_TEXT_MAX, ".");
		say_add_num(text, NET_TEXT_MAX, a[i]);
	}
}

static unsigned group(const uint8_t *a, int i)
{
	return (unsigned)a[2 * i] << 8 | a[2 * i + 1];
}

static void add_group(char *text, unsigned v)
{
	static const char digits[] = "0123456789abcdef";
	char hex[5];
	int k = 0, shift = 12;

	while (shift && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		hex[k++] = digits[v >> shift & 15];
	hex[k] = '\0';
	say_add(text, NET_TEXT_MAX, hex);
}

/* RFC 5952, 4: "::" is the longest run of two groups of 0 or more, of several
 * the first. */
static void add_v6(char *text, const uint8_t *a)
{
	int i, run = 0, gap = -1, len = 1;

	for (i = 0; i < 8; i++) {
		run = group(a, i) ? 0 : run + 1;
		if (run > len) {
			len = run;
			gap = i - run + 1;
		}
	}
	for (i = 0; i < 8; i++) {
		if (i == gap)
			say_add(text, NET_TEXT_MAX, "::");
		if (i >= gap && i < gap + len)
			continue;
		if (i && i != gap + len)
			say_add(text, NET_TEXT_MAX, ":");
		add_group(text, group(a, i));
	}
}

/* A file of its own, whatever is in its place. An errno, or 0. */
static int make_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd, error = 0;

	if (unlink(path) && errno != ENOENT)
		return errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == ENOENT && !mkdir("/etc", 0755))
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	if (write(fd, text, len) != (ssize_t)len)
		error = ENOSPC;
	close(fd);
	return error;
}

void net_resolv_conf(char text[NET_TEXT_MAX], const struct wire_net *n)
{
	unsigned i;

	text[0] = '\0';
	for (i = 0; i < n->ndns; i++) {
		say_add(text, NET_TEXT_MAX, "nameserver ");
		if (n->dns[i].family == 4)
			add_v4(text, n->dns[i].addr);
		else
			add_v6(text, n->dns[i].addr);
		say_add(text, NET_TEXT_MAX, "\n");
	}
}

void net_hosts(char text[NET_TEXT_MAX], const struct wire_net *n,
	       const char *hostname)
{
	text[0] = '\0';
	say_add(text, NET_TEXT_MAX, "127.0.0.1\tlocalhost\n"
		"::1\tlocalhost ip6-localhost ip6-loopback\n");
	if (n->flags & WIRE_NET_V4)
		add_v4(text, n->v4);
	else if (n->flags & WIRE_NET_V6)
		add_v6(text, n->v6);
	else
		say_add(text, NET_TEXT_MAX, "127.0.1.1");
	say_add(text, NET_TEXT_MAX, "\t");
	say_add(text, NET_TEXT_MAX, hostname);
	say_add(text, NET_TEXT_MAX, "\n");
}

/* None, one that leads nowhere, or one without a word, as images that were
 * built in a container have it. */
static int lacks_hosts(void)
{
	struct stat st;

	return stat("/etc/hosts", &st) || (S_ISREG(st.st_mode) && !st.st_size);
}

/* Any user may ping, as elsewhere: icmp(7). Without this, root alone may. */
static void let_ping(void)
{
	static const char everybody[] = "0 2147483647";
	int fd = open("/proc/sys/net/ipv4/ping_group_range",
		      O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* A kernel that has no such sockets has no such setting either. */
	(void)!write(fd, everybody, sizeof(everybody) - 1);
	close(fd);
}

int net_up(const struct wire_net *n)
{
	char text[NET_TEXT_MAX], name[65] = AGENT_HOSTNAME;
	int error = raise_device(n);

	let_ping();
	if (!error && n->ndns) {
		net_resolv_conf(text, n);
		error = make_file("/etc/resolv.conf", text);
	}
	if (!error && lacks_hosts()) {
		gethostname(name, sizeof(name) - 1);
		net_hosts(text, n, name);
		error = make_file("/etc/hosts", text);
	}
	return error;
}
