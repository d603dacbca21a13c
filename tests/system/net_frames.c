/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_frames LINK KIND COUNT PORT [FROM]: root in a guest who makes frames of
 * its own, COUNT of one KIND, as fast as LINK takes them. Datagrams go to PORT
 * of the world's address, by which a capture tells them from others. FROM is
 * a source address to pretend.
 *
 *	good	a datagram as the guest's kernel would send it; good6
 *	mac	from another's MAC address; mac6
 *	ip	from another's address, FROM; ip6
 *	vlan	from another's address, behind a VLAN tag
 *	small	datagrams as small as frames are
 *	bcast	to all, on the link and by address
 *	arp	requests for one address after the other
 *	claim	an answer that nobody asked for: the gateway is here
 *	frag	first fragments of datagrams that never end
 *	half	a first fragment without a port, and the rest
 *	ra	a router advertisement, and neighbour advertisements
 *	noise	bytes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define GUEST4	"198.18.0.2"
#define GATE4	"198.18.0.1"
#define WORLD4	"93.184.216.34"
#define GUEST6	"fd6d:6179:666c:7900::2"
#define GATE6	"fd6d:6179:666c:7900::1"
#define WORLD6	"2606:2800:220::34"

static const unsigned char guest_mac[] = { 2, 0x6d, 0x61, 0x79, 0x66, 2 };
static const unsigned char gate_mac[] = { 2, 0x6d, 0x61, 0x79, 0x66, 1 };
static const unsigned char other_mac[] = { 2, 0, 0, 0, 0, 0x99 };

struct frame {
	unsigned char data[2048];
	size_t len;
	const char *kind;
	const char *from;
	unsigned short port;
	unsigned number;
};

static int is(const struct frame *f, const char *kind)
{
	return strcmp(f->kind, kind) == 0;
}

static void *put(struct frame *f, size_t n)
{
	void *at = f->data + f->len;

	memset(at, 0, n);
	f->len += n;
	return at;
}

static unsigned add(unsigned sum, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
	return sum;
}

static unsigned short folded(unsigned sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((unsigned short)~sum);
}

static void ethernet(struct frame *f, unsigned short type, const void *to,
		     const void *from)
{
	struct ether_header *e = put(f, sizeof(*e));

	memcpy(e->ether_dhost, to, 6);
	memcpy(e->ether_shost, from, 6);
	e->ether_type = htons(type);
}

/* @flags is the word with the fragment's offset. */
static void datagram4(struct frame *f, const char *from, const char *to,
		      unsigned flags, size_t size)
{
	struct iphdr *ip = put(f, sizeof(*ip));
	struct udphdr *u;

	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->id = htons((unsigned short)f->number);
	ip->frag_off = htons((unsigned short)flags);
	ip->tot_len = htons((unsigned short)(sizeof(*ip) + size));
	inet_pton(AF_INET, from, &ip->saddr);
	inet_pton(AF_INET, to, &ip->daddr);
	ip->check = folded(add(0, ip, sizeof(*ip)));
	if (size < sizeof(*u) || flags & IP_OFFMASK) {
		put(f, size);
		return;
	}
	u = put(f, size);
	u->uh_sport = htons((unsigned short)(1024 + f->number % 60000));
	u->uh_dport = htons(f->port);
	u->uh_ulen = htons((unsigned short)size);
}

static void datagram6(struct frame *f, const char *from, const char *to)
{
	struct ip6_hdr *ip = put(f, sizeof(*ip));
	struct udphdr *u = put(f, sizeof(*u) + 8);
	unsigned sum;

	ip->ip6_flow = htonl(6u << 28);
	ip->ip6_plen = htons(sizeof(*u) + 8);
	ip->ip6_nxt = IPPROTO_UDP;
	ip->ip6_hlim = 64;
	inet_pton(AF_INET6, from, &ip->ip6_src);
	inet_pton(AF_INET6, to, &ip->ip6_dst);
	u->uh_sport = htons(4321);
	u->uh_dport = htons(f->port);
	u->uh_ulen = htons(sizeof(*u) + 8);
	sum = add(IPPROTO_UDP + sizeof(*u) + 8, &ip->ip6_src, 32);
	u->uh_sum = folded(add(sum, u, sizeof(*u) + 8));
}

static void arp(struct frame *f, int answers)
{
	static const unsigned char all[6] = { 255, 255, 255, 255, 255, 255 };
	struct arphdr *a;
	unsigned char *body;

	ethernet(f, ETHERTYPE_ARP, answers ? gate_mac : all, guest_mac);
	a = put(f, sizeof(*a));
	a->ar_hrd = htons(ARPHRD_ETHER);
	a->ar_pro = htons(ETHERTYPE_IP);
	a->ar_hln = 6;
	a->ar_pln = 4;
	a->ar_op = htons(answers ? ARPOP_REPLY : ARPOP_REQUEST);
	body = put(f, 20);
	memcpy(body, answers ? other_mac : guest_mac, 6);
	inet_pton(AF_INET, answers ? f->from : GUEST4, body + 6);
	memcpy(body + 10, answers ? gate_mac : all, 6);
	inet_pton(AF_INET, GATE4, body + 16);
	if (!answers)
		memcpy(body + 16, &f->number, 4);
}

/* RFC 4861 4.2, 4.4: another default router, another's MAC address. */
static void advertise(struct frame *f)
{
	static const unsigned char nodes[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	int router = f->number & 1;
	size_t size = router ? sizeof(struct nd_router_advert) :
			       sizeof(struct nd_neighbor_advert) + 8;
	struct ip6_hdr *ip;
	struct icmp6_hdr *icmp;

	ethernet(f, ETHERTYPE_IPV6, nodes, guest_mac);
	ip = put(f, sizeof(*ip));
	ip->ip6_flow = htonl(6u << 28);
	ip->ip6_plen = htons((unsigned short)size);
	ip->ip6_nxt = IPPROTO_ICMPV6;
	ip->ip6_hlim = 255;
	inet_pton(AF_INET6, "fe80::6d:61ff:fe79:6602", &ip->ip6_src);
	inet_pton(AF_INET6, "ff02::1", &ip->ip6_dst);
	icmp = put(f, size);
	icmp->icmp6_type = router ? ND_ROUTER_ADVERT : ND_NEIGHBOR_ADVERT;
	if (router) {
		((struct nd_router_advert *)icmp)->nd_ra_router_lifetime =
			htons(1800);
	} else {
		struct nd_neighbor_advert *n = (void *)icmp;
		unsigned char *option = (unsigned char *)(n + 1);

		n->nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
		inet_pton(AF_INET6, f->from, &n->nd_na_target);
		option[0] = ND_OPT_TARGET_LINKADDR;
		option[1] = 1;
		memcpy(option + 2, other_mac, 6);
	}
	icmp->icmp6_cksum = folded(
		add(add(IPPROTO_ICMPV6 + (unsigned)size, &ip->ip6_src, 32),
		    icmp, size));
}

static void make4(struct frame *f)
{
	static const unsigned char all[6] = { 255, 255, 255, 255, 255, 255 };

	if (is(f, "vlan")) {
		ethernet(f, ETHERTYPE_VLAN, gate_mac, guest_mac);
		put(f, 2);
		*(unsigned short *)put(f, 2) = htons(ETHERTYPE_IP);
	} else {
		ethernet(f, ETHERTYPE_IP, is(f, "bcast") ? all : gate_mac,
			 is(f, "mac") ? other_mac : guest_mac);
	}
	if (is(f, "frag"))
		datagram4(f, GUEST4, WORLD4, IP_MF, 1024);
	else if (is(f, "half"))
		datagram4(f, GUEST4, WORLD4, f->number & 1 ? 1 : IP_MF, 8);
	else if (is(f, "bcast"))
		datagram4(f, GUEST4, "255.255.255.255", 0, 16);
	else
		datagram4(f, is(f, "ip") || is(f, "vlan") ? f->from : GUEST4,
			  WORLD4, 0, is(f, "small") ? 18 : 16);
}

static void make(struct frame *f)
{
	f->len = 0;
	if (is(f, "noise")) {
		f->len = 14 + f->number % 1500;
		if (getrandom(f->data, f->len, 0) < 0)
			exit(2);
		memcpy(f->data, gate_mac, f->number & 1 ? 6 : 0);
		memcpy(f->data + 6, guest_mac, 6);
		if (f->number & 2)
			memcpy(f->data + 12, "\x08\x00\x45", 3);
		if (f->number & 4)
			memcpy(f->data + 12, "\x86\xdd\x60", 3);
	} else if (is(f, "arp") || is(f, "claim")) {
		arp(f, is(f, "claim"));
	} else if (is(f, "ra")) {
		advertise(f);
	} else if (f->kind[strlen(f->kind) - 1] == '6') {
		ethernet(f, ETHERTYPE_IPV6, gate_mac,
			 is(f, "mac6") ? other_mac : guest_mac);
		datagram6(f, is(f, "ip6") ? f->from : GUEST6, WORLD6);
	} else {
		make4(f);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
	struct pollfd p = { .fd = socket(AF_PACKET, SOCK_RAW, 0),
			    .events = POLLOUT };
	static struct frame f;
	unsigned count;

	if (argc < 5)
		return 2;
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	f.kind = argv[2];
	count = (unsigned)atoi(argv[3]);
	f.port = (unsigned short)atoi(argv[4]);
	f.from = argc > 5 ? argv[5] : strchr(f.kind, '6') || is(&f, "ra") ?
			    GATE6 : GATE4;
	while (f.number < count) {
		make(&f);
		if (sendto(p.fd, f.data, f.len, 0, (void *)&to, sizeof(to)) ==
		    (ssize_t)f.len) {
			f.number++;
		} else if (errno == ENOBUFS || errno == EAGAIN) {
			poll(&p, 1, 1);
		} else {
			perror(argv[2]);
			return 1;
		}
	}
	return 0;
}
