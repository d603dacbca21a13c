/* SPDX-License-Identifier: Apache-2.0 */
/* What the network of this host is like, for the plan of a VM's. */
#include "net/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/local.h"
#include "net/nl.h"
#include "net/plan.h"
#include "net/taken.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_MAX  65536
#define LINE_MAX    256

/* A root name server (RFC 7720): as public as an address can be. The kernel is
 * asked where its route leads, and nothing is sent there. */
static const char *const public_address[] = { "198.41.0.4",
					      "2001:503:ba3e::2:30" };

/* --- /etc/resolv.conf --------------------------------------------------- */

static int is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* "ADDR" or "fe80::1%eth0". */
static int parse_resolver(struct net_resolver *to, char *word)
{
	char *zone = strchr(word, '%'), *end;
	unsigned long n;

	*to = (struct net_resolver){ 0 };
	if (zone)
		*zone++ = '\0';
	if (net_addr_read(&to->addr, word) < 0)
		return -EINVAL;
	if (!zone)
		return 0;
	to->scope = if_nametoindex(zone);
	if (to->scope)
		return 0;
	n = strtoul(zone, &end, 10);
	if (end == zone || *end || n > INT32_MAX)
		return -EINVAL;
	to->scope = (uint32_t)n;
	return 0;
}

/* resolv.conf(5): the keyword begins a line, then blanks, then the value. */
static int parse_line(struct net_resolver *to, const char *line, size_t len)
{
	static const char keyword[] = "nameserver";
	const size_t skip = sizeof(keyword) - 1;
	char word[LINE_MAX];
	size_t n = 0;

	if (len <= skip || len >= LINE_MAX || memcmp(line, keyword, skip) ||
	    !is_blank(line[skip]))
		return -EINVAL;
	for (line += skip, len -= skip; len && is_blank(*line); len--)
		line++;
	while (n < len && !is_blank(line[n]) && line[n] != '\r' &&
	       line[n] != ';' && line[n] != '#' && line[n])
		n++;
	memcpy(word, line, n);
	word[n] = '\0';
	return parse_resolver(to, word);
}

unsigned net_resolvers_parse(struct net_resolver to[NET_RESOLVERS_MAX],
			     const char *text, size_t len)
{
	unsigned n = 0;

	while (len && n < NET_RESOLVERS_MAX) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		n += parse_line(&to[n], text, line) == 0;
		line += end != NULL;
		text += line;
		len -= line;
	}
	return n;
}

/* Not there, or no file: no resolver. */
static void look_at_resolvers(struct net_host_notes *notes)
{
	_cleanup_fd_ int fd = open(RESOLV_CONF,
				   O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *text = malloc(RESOLV_MAX);
	struct stat st;
	ssize_t n;

	if (fd < 0 || !text || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	n = io_read_full(fd, text, RESOLV_MAX);
	if (n > 0)
		notes->nresolvers = net_resolvers_parse(notes->resolver, text,
							(size_t)n);
}

/* --- the way out -------------------------------------------------------- */

/* One entry of the routing tables: the best, for an address. */
struct way {
	unsigned link; /* 0: there is none */
	unsigned mtu;  /* of the route; 0: the link's */
	int protocol;  /* RTPROT_RA, ... */
	int type;      /* RTN_UNICAST, ... */
};

static int take_way(struct nl_msg *m, void *opaque)
{
	struct nlattr *tb[RTA_MAX + 1], *mx[RTAX_MAX + 1];
	const struct rtmsg *rtm = nlmsg_data(nlmsg_hdr(m));
	struct way *w = opaque;

	if (nlmsg_parse(nlmsg_hdr(m), sizeof(*rtm), tb, RTA_MAX, NULL) < 0)
		return NL_OK;
	w->protocol = rtm->rtm_protocol;
	w->type = rtm->rtm_type;
	if (tb[RTA_OIF] && nla_len(tb[RTA_OIF]) >= 4)
		w->link = nla_get_u32(tb[RTA_OIF]);
	if (tb[RTA_METRICS] &&
	    nla_parse_nested(mx, RTAX_MAX, tb[RTA_METRICS], NULL) >= 0 &&
	    mx[RTAX_MTU] && nla_len(mx[RTAX_MTU]) >= 4)
		w->mtu = nla_get_u32(mx[RTAX_MTU]);
	return NL_OK;
}

/* No way is no error: .link is 0. */
static int find_way(struct nl_sock *sk, int family, const char *to,
		    struct way *w)
{
	struct rtmsg rtm = { .rtm_family = (unsigned char)family };
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);
	struct in6_addr dst;
	int r;

	*w = (struct way){ 0 };
	rtm.rtm_dst_len = family == AF_INET6 ? 128 : 32;
	if (!m || inet_pton(family, to, &dst) != 1 ||
	    nlmsg_append(m, &rtm, sizeof(rtm), NLMSG_ALIGNTO) < 0 ||
	    nla_put(m, RTA_DST, rtm.rtm_dst_len / 8, &dst) < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	r = nl_send_auto(sk, m);
	nlmsg_free(m);
	if (r < 0)
		return -EIO;
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, take_way, w);
	/* ENETUNREACH, EAFNOSUPPORT, ... */
	if (nl_recvmsgs_default(sk) < 0 || w->type != RTN_UNICAST)
		w->link = 0;
	return 0;
}

static int find_ways(struct way *four, struct way *six)
{
	struct nl_sock *sk = nl_socket_alloc();
	int r = sk ? 0 : -ENOMEM;

	if (r == 0 && nl_connect(sk, NETLINK_ROUTE) < 0)
		r = errno ? -errno : -EIO;
	if (r == 0) {
		nl_socket_disable_auto_ack(sk);
		r = find_way(sk, AF_INET, public_address[0], four);
	}
	if (r == 0)
		r = find_way(sk, AF_INET6, public_address[1], six);
	nl_socket_free(sk);
	return r;
}

/* --- links and addresses ------------------------------------------------ */

struct looking {
	struct net_host *h;
	struct net_rules *rules;
	struct net_taken *taken;
	struct err *err;
	const struct way *four, *six;
};

/* The smallest of those that lead out. */
static void narrow(unsigned *mtu, const struct way *w, unsigned of_link)
{
	unsigned n = w->mtu && w->mtu < of_link ? w->mtu : of_link;

	if (!*mtu || n < *mtu)
		*mtu = n;
}

static int look_at_link(const struct rt_seen_link *l, void *opaque)
{
	struct looking *k = opaque;

	if (l->index == k->four->link)
		narrow(&k->h->mtu, k->four, l->mtu);
	if (l->index == k->six->link && k->h->has_v6)
		narrow(&k->h->mtu, k->six, l->mtu);
	return 0;
}

/* What has gone since its address was listed, with its address: a run's that is
 * over, most of the time. */
#define GONE -2

/* The number of a link of ours; -1: of somebody else's, or of none; or GONE. */
static int uplink_of(unsigned index)
{
	const size_t skip = sizeof(NET_HOST_LINK) - 1;
	char name[IF_NAMESIZE];

	if (!index)
		return -1;
	if (!if_indextoname(index, name))
		return errno == ENXIO ? GONE : -1;
	return strncmp(name, NET_HOST_LINK, skip) ? -1 : atoi(name + skip);
}

/* Ends of uplinks come and go, many of them. Root's guests are kept from them by
 * the host's table; who has none has to know them. */
static int is_passing(int uplink)
{
	return uplink >= 0 && !geteuid();
}

static int look_at_addr(const struct rt_seen_addr *a, void *opaque)
{
	struct looking *k = opaque;
	const struct net_prefix one =
		net_prefix_of(&a->prefix.addr, net_addr_bits(&a->prefix.addr));
	const int uplink = uplink_of(a->index);

	if (uplink == GONE)
		return 0;
	if (k->taken && uplink >= 0) {
		net_taken_add_uplink(k->taken, &a->on_link, (unsigned)uplink);
	} else if (k->taken) {
		net_taken_add(k->taken, &one);
		net_taken_add(k->taken, &a->on_link);
	}
	return is_passing(uplink) ? 0 : net_rules_own(k->rules, &one, k->err);
}

/* What is routed to the host, whatever its links have. */
static int look_at_local(const struct net_prefix *p, unsigned link,
			 void *opaque)
{
	struct looking *k = opaque;
	const int uplink = uplink_of(link);

	if (uplink == GONE || is_passing(uplink))
		return 0;
	return net_rules_own(k->rules, p, k->err);
}

/* --- IPv6 --------------------------------------------------------------- */

static int accepts_always(unsigned index)
{
	char name[IF_NAMESIZE];

	return if_indextoname(index, name) &&
	       sysctl_number("net/ipv6/conf/%s/accept_ra", name) == 2;
}

/* Documentation/networking/ip-sysctl.rst, accept_ra: at 1 none is taken any
 * more once the host forwards, at 2 they are. */
static int look_for_advert(const struct rt_seen_route *r, void *opaque)
{
	(void)opaque;
	return r->to.len == 0 && r->protocol == RTPROT_RA &&
	       !accepts_always(r->index);
}

/* Why guests shall have no IPv6, or NULL. */
static const char *refuse_v6(struct rt *rt, const struct way *six)
{
	int found;

	if (!six->link)
		return "the host has no default route for it";
	if (sysctl_number("net/ipv6/conf/all/forwarding") == 1)
		return NULL;
	found = six->protocol == RTPROT_RA && !accepts_always(six->link);
	if (!found)
		found = rt_route_each(rt, AF_INET6, look_for_advert, NULL);
	if (found < 0)
		return "the host's routes cannot be read";
	return found ? "the host has its default route from router "
			 "advertisements, and a host that forwards takes none "
			 "(net.ipv6.conf.*.accept_ra=2 lets it)" :
			 NULL;
}

int net_host_look(struct net_host *h, struct net_rules *rules,
		  struct net_taken *taken, struct net_host_notes *notes,
		  struct err *err)
{
	struct way four, six;
	struct looking k = { .h = h, .rules = rules, .taken = taken,
			     .err = err, .four = &four, .six = &six };
	struct rt *rt = NULL;
	int r;

	*h = (struct net_host){ 0 };
	*notes = (struct net_host_notes){ 0 };
	r = find_ways(&four, &six);
	if (r < 0)
		return err_set(err, r, "routes of the host");
	r = rt_open(&rt, err);
	if (r < 0)
		return r;
	notes->has_default4 = four.link != 0;
	notes->has_default6 = six.link != 0;
	notes->no_v6 = refuse_v6(rt, &six);
	h->has_v6 = !notes->no_v6;
	r = rt_link_each(rt, look_at_link, &k);
	if (r < 0)
		err_set(err, r, "links of the host");
	/* Loopback's is larger; less than IPv6's least is a way that will tell
	 * senders so. */
	if (h->mtu)
		h->mtu = MAX(MIN(h->mtu, NET_MTU_MAX), NET_MTU_MIN);
	if (r == 0) {
		r = rt_addr_each(rt, look_at_addr, &k);
		if (r == 0)
			r = net_local_each(look_at_local, &k);
		if (r < 0 && err && !err->msg[0])
			err_set(err, r, "addresses of the host");
	}
	rt_close(rt);
	look_at_resolvers(notes);
	return r;
}
