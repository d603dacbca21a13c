/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Around the fence of a VM: who the guest pretends to be, what is no proper
 * packet, what the gateway has, what comes in, and how much there may be.
 */
#include "tests/unit/fence_vm.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

/* A word that no other packet has, and a number behind it. */
#define WORD	  "mayfly-fence"
#define FRAME_MAX 512

struct frame {
	uint8_t b[FRAME_MAX];
	size_t len;
};

static int guest_fd, world_fd;

static int open_link(int ns, const char *name)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL) };
	int fd;

	enter(ns);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    htons(ETH_P_ALL));
	cr_assert(fd >= 0, "packet socket: %m");
	ll.sll_ifindex = if_nametoindex(name);
	cr_assert_eq(bind(fd, (void *)&ll, sizeof(ll)), 0);
	enter(GUEST);
	return fd;
}

static uint32_t sum(uint32_t s, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : p[i] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons(~s & 0xffff);
}

static void put_ether(struct frame *f, uint16_t type)
{
	static const uint8_t head[12] = { 0x02, 0x6d, 0x61, 0x79, 0x66, 0x01,
					  0x02, 0x6d, 0x61, 0x79, 0x66, 0x02 };

	memset(f, 0, sizeof(*f));
	memcpy(f->b, head, sizeof(head));
	f->b[12] = type >> 8;
	f->b[13] = type & 0xff;
	f->len = 14;
}

#define PORT 80

static void put_udp(struct frame *f, int number, int sport, uint32_t pseudo)
{
	struct udphdr u = { .source = htons(sport), .dest = htons(PORT) };
	char data[32];
	size_t n = snprintf(data, sizeof(data), "%s%05d", WORD, number);

	u.len = htons(sizeof(u) + n);
	pseudo = sum(pseudo, &u, sizeof(u));
	u.check = fold(sum(pseudo, data, n) + sizeof(u) + n + IPPROTO_UDP);
	memcpy(f->b + f->len, &u, sizeof(u));
	memcpy(f->b + f->len + sizeof(u), data, n);
	f->len += sizeof(u) + n;
}

/* The header's checksum again, after somebody has changed it. */
static void seal4(struct frame *f)
{
	size_t n = (f->b[14] & 0xf) * 4;
	uint16_t check;

	f->b[24] = f->b[25] = 0;
	check = fold(sum(0, f->b + 14, n));
	memcpy(f->b + 24, &check, 2);
}

static void make4(struct frame *f, int number, const char *from, const char *to,
		  int sport)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64,
			    .protocol = IPPROTO_UDP };
	struct net_addr s = addr(from), d = addr(to);
	size_t at;

	put_ether(f, ETHERTYPE_IP);
	at = f->len;
	f->len += sizeof(ip);
	put_udp(f, number, sport, sum(sum(0, s.b, 4), d.b, 4));
	memcpy(&ip.saddr, s.b, 4);
	memcpy(&ip.daddr, d.b, 4);
	ip.tot_len = htons(f->len - at);
	memcpy(f->b + at, &ip, sizeof(ip));
	seal4(f);
}

/* With an extension header of eight bytes of kind @ext, -1 for none. */
static void make6(struct frame *f, int number, const char *from, const char *to,
		  int ext)
{
	struct net_addr s = addr(from), d = addr(to);
	struct ip6_hdr ip = { .ip6_flow = htonl(6U << 28), .ip6_hlim = 64 };
	size_t at;

	put_ether(f, ETHERTYPE_IPV6);
	at = f->len;
	f->len += sizeof(ip);
	if (ext >= 0) {
		f->b[f->len] = IPPROTO_UDP;
		/* Two bytes of padding options' worth: PadN (RFC 8200 4.2). */
		if (ext == 0 || ext == 60)
			f->b[f->len + 2] = 1, f->b[f->len + 3] = 4;
		f->len += 8;
	}
	put_udp(f, number, 4000 + number, sum(sum(0, s.b, 16), d.b, 16));
	ip.ip6_nxt = ext >= 0 ? ext : IPPROTO_UDP;
	ip.ip6_plen = htons(f->len - at - sizeof(ip));
	memcpy(&ip.ip6_src, s.b, 16);
	memcpy(&ip.ip6_dst, d.b, 16);
	memcpy(f->b + at, &ip, sizeof(ip));
}

static void send_frame(const struct frame *f)
{
	cr_assert(send(guest_fd, f->b, f->len, 0) == (ssize_t)f->len ||
		  f->len < 14, "send: %m");
}

/* Numbers of those that have come out on the other side so far. */
static void drain(uint8_t *seen, int max)
{
	static uint8_t buf[65536];
	ssize_t n;

	while ((n = recv(world_fd, buf, sizeof(buf) - 1, 0)) >= 0) {
		uint8_t *at;
		int number;

		buf[n] = '\0';
		at = memmem(buf, n, WORD, strlen(WORD));
		/* What the world sends back is no news. */
		if (!at || !memcmp(buf + 6, "\x02w0", 3))
			continue;
		number = atoi((char *)at + strlen(WORD));
		cr_assert(number >= 0 && number < max);
		seen[number] = 1;
	}
}

/* All of them: @f, which passes and is number @last, goes behind, as often as
 * the one who listens has no room for it. How many have come. */
static int collect(uint8_t *seen, int max, const struct frame *f, int last)
{
	struct pollfd p = { world_fd, POLLIN, 0 };
	int count = 0;

	for (int i = 0; i < 1000 && !seen[last]; i++) {
		send_frame(f);
		poll(&p, 1, 10);
		drain(seen, max);
	}
	cr_assert(seen[last], "the last one did not come");
	for (int i = 0; i < max; i++)
		count += seen[i];
	return count;
}

/* The table alone holds: without the kernel's check of sources. */
static void make_frames_path(const char *allow)
{
	struct net_rules rs = { 0 };

	make_path();
	sh(VM, "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; "
	   "done");
	own(&rs, NET_POOL4);
	if (allow)
		cr_assert_eq(net_rules_allow(&rs, allow, NULL), 0);
	put_up(&rs);
	keep_order();
	guest_fd = open_link(GUEST, "eth0");
	sh(WORLD, "ip link set w0 address 02:77:30:00:00:01");
	world_fd = open_link(WORLD, "w0");
}

#define OUT4 "8.8.8.8"
#define OUT6 "2606:4700::1111"

static const struct {
	const char *what, *from, *to;
	int at; /* from the start of the frame; -1: nothing */
	uint8_t value;
	int arrives;
} frames4[] = {
	{ "well", NET_GUEST4, OUT4, -1, 0, 1 },
	{ "its own size", NET_GUEST4, OUT4, 20, 0x40, 1 }, /* DF */
	{ "source MAC", NET_GUEST4, OUT4, 11, 0x03, 0 },
	{ "MAC of the gateway", NET_GUEST4, OUT4, 11, 0x01, 0 },
	{ "to another MAC", NET_GUEST4, OUT4, 5, 0x07, 0 },
	{ "source beside", "198.18.0.3", OUT4, -1, 0, 0 },
	{ "source of the gateway", NET_GATE4, OUT4, -1, 0, 0 },
	{ "source of the uplink", "198.19.0.15", OUT4, -1, 0, 0 },
	{ "source of another VM", "198.19.0.17", OUT4, -1, 0, 0 },
	{ "source in the world", "93.184.216.34", OUT4, -1, 0, 0 },
	{ "source of loopback", "127.0.0.1", OUT4, -1, 0, 0 },
	{ "no source", "0.0.0.0", OUT4, -1, 0, 0 },
	{ "first fragment", NET_GUEST4, OUT4, 20, 0x20, 0 },
	{ "last fragment", NET_GUEST4, OUT4, 21, 0x01, 0 },
	{ "evil bit", NET_GUEST4, OUT4, 20, 0x80, 1 },
	{ "header of four words", NET_GUEST4, OUT4, 14, 0x44, 0 },
	{ "version six", NET_GUEST4, OUT4, 14, 0x65, 0 },
	{ "longer than it is", NET_GUEST4, OUT4, 16, 0x02, 0 },
	{ "SCTP", NET_GUEST4, OUT4, 23, 132, 0 },
	{ "GRE", NET_GUEST4, OUT4, 23, 47, 0 },
	{ "IPv4 in IPv4", NET_GUEST4, OUT4, 23, 4, 0 },
	{ "IPv6 in IPv4", NET_GUEST4, OUT4, 23, 41, 0 },
	{ "UDP-Lite", NET_GUEST4, OUT4, 23, 136, 0 },
	{ "ICMPv6 in IPv4", NET_GUEST4, OUT4, 23, 58, 0 },
	{ "VLAN", NET_GUEST4, OUT4, 12, 0x81, 0 },
	{ "LLDP", NET_GUEST4, OUT4, 12, 0x88, 0 },
	{ "IPv6 by its type", NET_GUEST4, OUT4, 12, 0x86, 0 },
	{ "to loopback", NET_GUEST4, "127.0.0.1", -1, 0, 0 },
	{ "to zero", NET_GUEST4, "0.1.2.3", -1, 0, 0 },
	{ "to all", NET_GUEST4, "255.255.255.255", -1, 0, 0 },
	{ "to all of the link", NET_GUEST4, "198.18.0.3", -1, 0, 0 },
	{ "to many", NET_GUEST4, "224.0.0.1", -1, 0, 0 },
	{ "to many abroad", NET_GUEST4, "239.1.2.3", -1, 0, 0 },
	{ "to itself", NET_GUEST4, NET_GUEST4, -1, 0, 0 },
}, frames6[] = {
	/* value: the extension header, 255 for none */
	{ "well", NET_GUEST6, OUT6, -1, 255, 1 },
	{ "source MAC", NET_GUEST6, OUT6, 11, 255, 0 },
	{ "source beside", "fd6d:6179:666c:7900::3", OUT6, -1, 255, 0 },
	{ "source of the gateway", NET_GATE6, OUT6, -1, 255, 0 },
	{ "source in the world", "2600::1", OUT6, -1, 255, 0 },
	{ "no source", "::", OUT6, -1, 255, 0 },
	{ "source of the link", NET_GUEST6_LINK, OUT6, -1, 255, 0 },
	{ "hop-by-hop options", NET_GUEST6, OUT6, -1, 0, 0 },
	{ "routing header", NET_GUEST6, OUT6, -1, 43, 0 },
	{ "fragment", NET_GUEST6, OUT6, -1, 44, 0 },
	{ "authentication", NET_GUEST6, OUT6, -1, 51, 0 },
	{ "destination options", NET_GUEST6, OUT6, -1, 60, 0 },
	{ "mobility", NET_GUEST6, OUT6, -1, 135, 0 },
	{ "no next header", NET_GUEST6, OUT6, -1, 59, 0 },
	{ "IPv4 in it", NET_GUEST6, OUT6, -1, 4, 0 },
	{ "ICMP of IPv4", NET_GUEST6, OUT6, -1, 1, 0 },
	{ "to loopback", NET_GUEST6, "::1", -1, 255, 0 },
	{ "to an IPv4 address", NET_GUEST6, "::ffff:8.8.8.8", -1, 255, 0 },
	{ "to many", NET_GUEST6, "ff02::1", -1, 255, 0 },
	{ "to many abroad", NET_GUEST6, "ff0e::1", -1, 255, 0 },
	{ "to the link", NET_GUEST6, "fe80::1", -1, 255, 0 },
	{ "to itself", NET_GUEST6, NET_GUEST6, -1, 255, 0 },
};

/* "No operation", four times (RFC 791 3.1). */
static void send_options(int number)
{
	struct frame f;

	make4(&f, number, NET_GUEST4, OUT4, 3000 + number);
	memmove(f.b + 38, f.b + 34, f.len - 34);
	memset(f.b + 34, 1, 4);
	f.len += 4;
	f.b[14] = 0x46;
	f.b[17] += 4;
	seal4(&f);
	send_frame(&f);
}

/* In two, both of which are there: the second one has the number. */
static void send_fragments(int number)
{
	struct frame first, rest;

	make4(&first, number, NET_GUEST4, OUT4, 3000 + number);
	rest = first;
	first.len = 34 + 16;
	first.b[17] = 20 + 16;
	first.b[20] = 0x20;
	seal4(&first);
	memmove(rest.b + 34, rest.b + 34 + 16, rest.len - 34 - 16);
	rest.len -= 16;
	rest.b[17] -= 16;
	rest.b[21] = 2;
	seal4(&rest);
	send_frame(&first);
	send_frame(&rest);
}

#define FOURS ((int)ARRAY_SIZE(frames4))
#define SIXES ((int)ARRAY_SIZE(frames6))

TestSuite(net_fence_frames, .timeout = 120);

Test(net_fence_frames, only_what_the_guest_may_say_comes_out)
{
	uint8_t seen[1000] = { 0 };
	struct frame f;

	make_frames_path(NULL);
	for (int i = 0; i < FOURS; i++) {
		make4(&f, i, frames4[i].from, frames4[i].to, 3000 + i);
		if (frames4[i].at >= 0)
			f.b[frames4[i].at] = frames4[i].value;
		seal4(&f);
		send_frame(&f);
	}
	for (int i = 0; i < SIXES; i++) {
		make6(&f, 100 + i, frames6[i].from, frames6[i].to,
		      frames6[i].value == 255 ? -1 : frames6[i].value);
		if (frames6[i].at >= 0)
			f.b[frames6[i].at] = 0x03;
		send_frame(&f);
	}
	send_options(200);
	send_fragments(201);
	/* Cut anywhere. */
	for (int i = 0; i < 44; i++) {
		make4(&f, 300 + i, NET_GUEST4, OUT4, 3300 + i);
		f.len = 15 + i;
		send_frame(&f);
		make6(&f, 400 + i, NET_GUEST6, OUT6, -1);
		f.len = 15 + i;
		send_frame(&f);
	}
	make4(&f, 999, NET_GUEST4, OUT4, 3999);
	collect(seen, 1000, &f, 999);
	for (int i = 0; i < FOURS; i++)
		cr_expect_eq(seen[i], frames4[i].arrives, "IPv4: %s",
			     frames4[i].what);
	for (int i = 0; i < SIXES; i++)
		cr_expect_eq(seen[100 + i], frames6[i].arrives, "IPv6: %s",
			     frames6[i].what);
	cr_expect(!seen[200], "options");
	cr_expect(!seen[201], "fragments");
	for (int i = 300; i < 999; i++)
		cr_expect(!seen[i], "cut: %d", i);
}

/* A number in /proc, of the VM's netns. */
static long number_of(const char *path)
{
	char *got = NULL;
	long v;

	enter(VM);
	cr_assert_eq(io_read_file(path, 64, &got, NULL), 0, "%s", path);
	enter(GUEST);
	v = atol(got);
	free(got);
	return v;
}

static long tracked(void)
{
	return number_of("/proc/sys/net/netfilter/nf_conntrack_count");
}

Test(net_fence_frames, floods_leave_nothing_behind)
{
	uint8_t seen[1000] = { 0 }, arp[28] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	long before;
	struct frame f;

	make_frames_path(NULL);
	before = tracked();
	for (int i = 0; i < 3000; i++) {
		char from[32];

		snprintf(from, sizeof(from), "198.18.%d.%d", i / 250 + 1,
			 i % 250);
		make4(&f, 1, from, OUT4, 3000);
		send_frame(&f);
		/* Forbidden, and to the gateway: DNS, other ports. */
		make4(&f, 2, NET_GUEST4, "10.0.0.1", 3000 + i);
		send_frame(&f);
		make4(&f, 3, NET_GUEST4, NET_GATE4, 3000 + i);
		f.b[37] = i & 1 ? 53 : 54;
		f.b[40] = f.b[41] = 0;
		send_frame(&f);
		/* "Who has the gateway? Tell one of many." */
		put_ether(&f, ETHERTYPE_ARP);
		memset(f.b, 0xff, 6);
		memcpy(f.b + 14, arp, sizeof(arp));
		memcpy(f.b + 22, f.b + 6, 6);
		memcpy(f.b + 28, "\xc6\x12\0\2", 4);
		f.b[30] = i / 250;
		f.b[31] = i % 250;
		memcpy(f.b + 38, "\xc6\x12\0\1", 4);
		f.len = 42;
		send_frame(&f);
	}
	make4(&f, 999, NET_GUEST4, OUT4, 3999);
	collect(seen, 1000, &f, 999);
	cr_expect(!seen[1] && !seen[2] && !seen[3]);
	/* The last one, and what the gateway asks for itself. */
	cr_expect_leq(tracked(), before + 2, "%ld", tracked());
	sh(VM, "test $(ip neigh show dev " NET_TAP " | wc -l) -le 3");
}

Test(net_fence_frames, flows_are_counted)
{
	static uint8_t seen[NET_FLOWS_MAX + 1000];
	struct frame f;
	int n;

	make_frames_path(NULL);
	for (int i = 0; i < NET_FLOWS_MAX + 500; i++) {
		make4(&f, i, NET_GUEST4, OUT4, 10000 + i);
		send_frame(&f);
		drain(seen, sizeof(seen));
	}
	/* One that is there already still is: the fence is for new ones. */
	make4(&f, NET_FLOWS_MAX + 900, NET_GUEST4, OUT4, 10000);
	n = collect(seen, sizeof(seen), &f, NET_FLOWS_MAX + 900);
	cr_expect_leq(n, NET_FLOWS_MAX + 1, "%d", n);
	cr_expect_geq(n, NET_FLOWS_MAX / 2, "%d", n);
}

/* A SYN with data, which says its number. */
static void make_syn(struct frame *f, int number, int sport)
{
	struct tcphdr t = { .source = htons(sport), .dest = htons(81),
			    .doff = 5, .syn = 1, .window = htons(1000) };
	struct net_addr s = addr(NET_GUEST4), d = addr(OUT4);
	char data[32];
	size_t n = snprintf(data, sizeof(data), "%s%05d", WORD, number);
	uint32_t pseudo = sum(sum(0, s.b, 4), d.b, 4);

	make4(f, number, NET_GUEST4, OUT4, sport);
	pseudo = sum(pseudo, &t, sizeof(t)) + sizeof(t) + n + IPPROTO_TCP;
	t.check = fold(sum(pseudo, data, n));
	memcpy(f->b + 34, &t, sizeof(t));
	memcpy(f->b + 34 + sizeof(t), data, n);
	f->len = 34 + sizeof(t) + n;
	f->b[16] = 0;
	f->b[17] = f->len - 14;
	f->b[23] = IPPROTO_TCP;
	seal4(f);
}

/* Nobody is there: the reset ends each of them, and none is left to count. */
Test(net_fence_frames, flows_that_end_at_once_are_counted_by_time)
{
	enum { MANY = 5 * NET_FLOWS_MAX };
	static uint8_t seen[MANY + 1];
	uint64_t begin, seconds;
	struct frame f;
	int n;

	make_frames_path(NULL);
	begin = io_now_ns();
	for (int i = 0; i < MANY; i++) {
		make_syn(&f, i, 10000 + i);
		send_frame(&f);
		drain(seen, sizeof(seen));
	}
	make4(&f, MANY, NET_GUEST4, OUT4, 9999);
	n = collect(seen, sizeof(seen), &f, MANY);
	seconds = (io_now_ns() - begin) / 1000000000 + 1;
	cr_expect_leq((uint64_t)n, NET_FLOWS_MAX + seconds * NET_FLOWS_SECOND,
		      "%d in %d s", n, (int)seconds);
	cr_expect_geq(n, NET_FLOWS_MAX / 2, "%d", n);
}

static void expect_end(int ns, enum flow_kind kind, const char *to,
		       uint16_t port, enum flow_end want)
{
	enum flow_end got = try_flow(ns, GUEST, kind, to, port, want);

	cr_expect_eq(got, want, "%d: %s port %u: %s, not %s", ns, to, port,
		     end_names[got], end_names[want]);
}

Test(net_fence_frames, gateway_has_dns_and_echo)
{
	static const char *const gate[] = { NET_GATE4, NET_GATE6 };
	static const char *const uplink[] = { "198.19.0.15",
		"fd6d:6179:666c:79ff::f" };

	make_frames_path(NULL);
	for (int i = 0; i < 2; i++) {
		expect_end(GUEST, ECHO, gate[i], 0, PASSED);
		expect_end(GUEST, UDP, gate[i], 53, PASSED);
		expect_end(GUEST, TCP, gate[i], 53, PASSED);
		expect_end(GUEST, UDP, gate[i], 80, REFUSED);
		expect_end(GUEST, TCP, gate[i], 80, REFUSED);
		expect_end(GUEST, TCP, gate[i], 853, REFUSED);
		expect_end(GUEST, ECHO, uplink[i], 0, REFUSED);
		expect_end(GUEST, UDP, uplink[i], 53, REFUSED);
		expect_end(GUEST, TCP, uplink[i], 53, REFUSED);
	}
}

Test(net_fence_frames, nobody_comes_in)
{
	static struct server inside;
	struct flow flows[10];
	char buf[128];
	int n = 0;

	make_frames_path("0.0.0.0/0");
	start_server(&inside, GUEST, GUEST);
	sh(WORLD, "echo 0 0 >/proc/sys/net/ipv4/ping_group_range; "
	   "ip route add " NET_GUEST4 " via 198.19.0.15 table 77; "
	   "ip route add " NET_GUEST6 " via fd6d:6179:666c:79ff::f table 77");
	for (int k = TCP; k <= ECHO; k++) {
		int port = k == ECHO ? 0 : 53;

		flows[n++] = (struct flow){ k, addr(NET_GUEST4), port, 0, -1, 0 };
		flows[n++] = (struct flow){ k, addr(NET_GUEST6), port, 0, -1, 0 };
		flows[n++] = (struct flow){ k, addr("198.19.0.15"), port, 0, -1, 0 };
	}
	enter(WORLD);
	run_flows(flows, n, 500);
	enter(GUEST);
	for (int i = 0; i < n; i++)
		cr_expect_neq(flows[i].end, PASSED, "%s",
			      flow_text(&flows[i], buf));
}

/* Whoever gets hold of the forwarder has its sockets. */
Test(net_fence_frames, gateway_itself_says_nothing_to_the_world)
{
	uint8_t seen[1000] = { 0 };
	struct sockaddr_storage ss;
	struct frame last;

	make_frames_path(NULL);
	for (int i = 0; i < 4; i++) {
		int six = i & 1, fd = forwarder.fds[4 + six].fd; /* port 53 */
		struct net_addr a = addr(six ? OUT6 : OUT4);
		socklen_t len = sockaddr_of(&ss, &a, PORT);
		char word[32];

		if (i & 2) {
			enter(VM);
			fd = socket(six ? AF_INET6 : AF_INET,
				    SOCK_DGRAM | SOCK_CLOEXEC, 0);
			enter(GUEST);
		}
		snprintf(word, sizeof(word), "%s%05d", WORD, i);
		(void)!sendto(fd, word, strlen(word), 0, (void *)&ss, len);
	}
	make4(&last, 999, NET_GUEST4, OUT4, 3999);
	collect(seen, 1000, &last, 999);
	for (int i = 0; i < 4; i++)
		cr_expect(!seen[i], "%d", i);
}

/* Where a port would be, echo has a checksum, which the guest makes. */
Test(net_fence_frames, echo_has_no_port)
{
	static const char *const to[] = { OUT4, OUT4, "1.2.3.4" };
	uint8_t seen[1000] = { 0 };
	struct net_rules rs = { 0 };
	struct frame f;

	make_frames_path(NULL);
	cr_assert_eq(net_rules_allow(&rs, OUT4 ":80", NULL), 0);
	cr_assert_eq(net_rules_allow(&rs, "1.2.3.4", NULL), 0);
	put_up(&rs);
	for (int i = 0; i < 3; i++) {
		uint8_t *icmp = f.b + 34;
		uint16_t v;

		make4(&f, i, NET_GUEST4, to[i], 3000);
		f.b[23] = IPPROTO_ICMP;
		seal4(&f);
		memset(icmp, 0, 8);
		icmp[0] = ICMP_ECHO;
		/* 80, and another word makes up for it. */
		icmp[3] = i ? PORT : 0;
		v = fold(sum(0, icmp, f.len - 34));
		memcpy(icmp + (i ? 6 : 2), &v, 2);
		cr_assert_eq(fold(sum(0, icmp, f.len - 34)), 0);
		send_frame(&f);
	}
	make4(&f, 999, NET_GUEST4, OUT4, 3999);
	collect(seen, 1000, &f, 999);
	cr_expect(!seen[0] && !seen[1] && seen[2]);
}

/* A datagram of @size that must not be cut; what is known afterwards of the
 * path's MTU. */
static int path_mtu(const char *to, size_t size)
{
	static char data[2000];
	struct net_addr a = addr(to);
	int six = a.family == 6, mtu = -1, v = IP_PMTUDISC_DO;
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&ss, &a, PORT);
	struct pollfd p = { fd, POLLIN, 0 };

	setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		   six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &v, sizeof(v));
	cr_assert_eq(connect(fd, (void *)&ss, len), 0);
	cr_assert_eq(send(fd, data, size, 0), (ssize_t)size);
	cr_assert_eq(poll(&p, 1, LONG_MS), 1, "no error comes");
	len = sizeof(mtu);
	getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		   six ? IPV6_MTU : IP_MTU, &mtu, &len);
	close(fd);
	return mtu;
}

Test(net_fence_frames, errors_about_its_flows_reach_the_guest)
{
	make_frames_path(NULL);
	/* Of the netns itself. */
	sh(VM, "ip link set " NET_UPLINK " mtu 1400");
	cr_expect_eq(path_mtu(OUT4, 1450), 1400);
	cr_expect_eq(path_mtu(OUT6, 1450), 1400);
	/* Of a router behind it. */
	sh(VM, "ip link set " NET_UPLINK " mtu 1500");
	sh(WORLD, "ip link add far type veth peer name end; ip link set end up; "
	   "ip link set far mtu 1300 up; "
	   "echo 1 >/proc/sys/net/ipv4/ip_forward; "
	   "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
	   "ip route add 93.184.216.0/24 dev far table 77; "
	   "ip route add 2600::/32 dev far table 77");
	cr_expect_eq(path_mtu("93.184.216.34", 1450), 1300);
	cr_expect_eq(path_mtu("2600::1", 1450), 1300);
}

Test(net_fence_frames, without_ipv6_it_is_refused_at_once)
{
	has_v6 = 0;
	make_frames_path(NULL);
	expect_end(GUEST, TCP, OUT4, 80, PASSED);
	expect_end(GUEST, TCP, OUT6, 80, REFUSED);
	expect_end(GUEST, UDP, OUT6, 80, REFUSED);
	expect_end(GUEST, ECHO, OUT6, 0, REFUSED);
	expect_end(GUEST, UDP, NET_GATE6, 53, PASSED);
}
