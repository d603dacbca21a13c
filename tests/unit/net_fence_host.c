/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VMs share on the host, in the kernel: the table is loaded in a namespace
 * that is the host, with two VMs whose own fence is gone, a container's network
 * and the world around it.
 */
#include "net/flows.h"
#include "net/plan.h"
#include "tests/unit/fence_stage.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>

enum { HOST, OTHER, WORLD, VM };

#define WORD "mayfly-fence"

static struct server host_server, other_server, server;
static struct net_shared shared;
static int world_fd;

static void make_vm(int ns, unsigned lease)
{
	unsigned n = 2 * lease;
	char link[32];

	snprintf(link, sizeof(link), "mfy%u", lease);
	make_veth(HOST, link, ns, "up0");
	sh(HOST, "ip addr add 198.19.0.%u/31 dev %s; "
	   "ip addr add fd6d:6179:666c:79ff::%x/127 dev %s; "
	   "ip link set %s up", n, link, n, link, link);
	sh(ns, "ip link set lo up; ip addr add 198.19.0.%u/31 dev up0; "
	   "ip addr add fd6d:6179:666c:79ff::%x/127 dev up0; "
	   "ip link set up0 up; ip route add default via 198.19.0.%u; "
	   "ip -6 route add default via fd6d:6179:666c:79ff::%x; "
	   "echo 0 0 >/proc/sys/net/ipv4/ping_group_range", n + 1, n + 1, n, n);
}

static void open_world(void)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL) };

	enter(WORLD);
	world_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  htons(ETH_P_ALL));
	ll.sll_ifindex = if_nametoindex("w0");
	cr_assert(world_fd >= 0 && bind(world_fd, (void *)&ll,
					sizeof(ll)) == 0);
	enter(VM);
}

static void load_shared(void)
{
	static char text[NET_HOST_TABLE_MAX];
	struct err err = { 0 };

	cr_assert_gt(net_plan_host_table(&shared, text, sizeof(text), &err), 0,
		     "%s", err.msg);
	cr_assert_eq(load(HOST, text), 0, "nft did not take:\n%s", text);
}

/* OTHER is a VM as well, and a machine on a network of the host's. */
static void make_host(void)
{
	make_namespaces(4);
	for (int ns = 0; ns < 4; ns++)
		sh(ns, "cd /proc/sys/net/ipv6/conf; echo 0 >default/accept_dad;"
		   " echo 0 >all/accept_dad");
	sh(HOST, "ip link set lo up; echo 1 >/proc/sys/net/ipv4/ip_forward; "
	   "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
	   /* How many errors a host sends in a second is its own affair. */
	   "echo 0 >/proc/sys/net/ipv4/icmp_ratemask; "
	   "echo >/proc/sys/net/ipv6/icmp/ratemask");
	make_vm(VM, 7);
	make_vm(OTHER, 8);
	make_veth(HOST, "out0", WORLD, "w0");
	make_veth(HOST, "lan0", OTHER, "lan");
	own_everything(WORLD, "ip link set w0 address 02:77:30:00:00:01 up; "
		       "ip addr add 203.0.113.2/24 dev w0; "
		       "ip addr add 2001:db8:1::2/64 dev w0; "
		       "ip route add 203.0.113.1 dev w0 table 77; "
		       "ip route add 2001:db8:1::1 dev w0 table 77; "
		       "for n in 198.19.0.0/16 10.77.0.0/24; do "
		       "ip route add $n via 203.0.113.1 table 77; done; "
		       "ip route add fd6d:6179:666c:79ff::/64 "
		       "via 2001:db8:1::1 table 77; "
		       "echo 0 0 >/proc/sys/net/ipv4/ping_group_range");
	sh(HOST, "ip link set out0 up; ip link set lan0 up; "
	   "ip addr add 203.0.113.1/24 dev out0; "
	   "ip addr add 10.77.0.1/24 dev lan0; "
	   "ip addr add 2001:db8:1::1/64 dev out0; "
	   "ip route add default via 203.0.113.2; "
	   "ip -6 route add default via 2001:db8:1::2");
	sh(OTHER, "ip link set lan up; ip addr add 10.77.0.2/24 dev lan; "
	   "ip route add 1.2.3.0/24 via 10.77.0.1");
	start_server(&host_server, HOST, VM);
	start_server(&other_server, OTHER, VM);
	start_server(&server, WORLD, VM);
	keep_order();
	open_world();
	shared.has_v6 = 1;
}

static void expect_end(int ns, enum flow_kind kind, const char *to,
		       uint16_t port, enum flow_end want)
{
	enum flow_end got = try_flow(ns, VM, kind, to, port, want);

	cr_expect_eq(got, want, "%d: kind %d, %s port %u: %s, not %s", ns, kind,
		     to, port, end_names[got], end_names[want]);
}

static void expect_all(int ns, const char *to, enum flow_end want)
{
	expect_end(ns, TCP, to, 80, want);
	expect_end(ns, UDP, to, 80, want);
	expect_end(ns, ECHO, to, 0, want);
}

TestSuite(net_fence_host, .timeout = 120);

Test(net_fence_host, vms_reach_the_world_and_nothing_else)
{
	static const char *const refused[] = { "198.19.0.14", "198.19.0.16",
		"203.0.113.1", "10.77.0.1", "198.19.0.17",
		"fd6d:6179:666c:79ff::e", "fd6d:6179:666c:79ff::10",
		"2001:db8:1::1", "fd6d:6179:666c:79ff::11" };

	make_host();
	load_shared();
	expect_all(VM, "93.184.216.34", PASSED);
	expect_all(VM, "2600::1", PASSED);
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++)
		expect_all(VM, refused[i], REFUSED);
	/* Without the table they are all there. */
	sh(HOST, "nft delete table inet mayfly");
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++)
		expect_end(VM, TCP, refused[i], 80, PASSED);
}

/* The host remembers for 10 s what it has refused to a link. */
static int both_are_limited(void)
{
	char line[4096] = "";
	FILE *f;
	int n;

	enter(HOST);
	f = popen("nft list set inet mayfly refused | tr -d '\\n'", "r");
	enter(VM);
	cr_assert_not_null(f);
	n = fgets(line, sizeof(line), f) != NULL;
	pclose(f);
	return n && strstr(line, "mfy7") && strstr(line, "mfy8");
}

Test(net_fence_host, refusals_are_limited_link_by_link)
{
	int tries = 5;

	make_host();
	load_shared();
	do {
		expect_end(VM, TCP, "198.19.0.16", 80, REFUSED);
		expect_end(OTHER, TCP, "198.19.0.14", 80, REFUSED);
	} while (!both_are_limited() && --tries);
	cr_expect_gt(tries, 0);
}

Test(net_fence_host, nobody_comes_to_a_vm)
{
	static const char *const vms[] = { "198.19.0.17",
		"fd6d:6179:666c:79ff::11" };
	struct flow flows[6];
	char buf[128];
	int n = 0;

	make_host();
	for (int i = 0; i < 2; i++)
		expect_end(WORLD, TCP, vms[i], 80, PASSED);
	load_shared();
	for (int i = 0; i < 2; i++)
		for (int k = TCP; k <= ECHO; k++)
			flows[n++] = (struct flow){ k, addr(vms[i]),
				k == ECHO ? 0 : 80, 0, -1, 0 };
	enter(WORLD);
	run_flows(flows, n, 500);
	enter(VM);
	for (int i = 0; i < n; i++)
		cr_expect_neq(flows[i].end, PASSED, "%s",
			      flow_text(&flows[i], buf));
	/* The host's own doors are its own. */
	expect_end(WORLD, TCP, "203.0.113.1", 80, PASSED);
	expect_end(WORLD, TCP, "2001:db8:1::1", 443, PASSED);
}

/* A datagram from an address that may be anybody's. */
static void send_from(const char *from, const char *to, int number)
{
	struct net_addr s = addr(from), d = addr(to);
	int six = d.family == 6, one = 1;
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&ss, &s, 5000);
	char data[32];

	setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		   six ? IPV6_TRANSPARENT : IP_TRANSPARENT, &one, sizeof(one));
	cr_assert_eq(bind(fd, (void *)&ss, len), 0, "%s: %m", from);
	len = sockaddr_of(&ss, &d, 80);
	snprintf(data, sizeof(data), "%s%05d", WORD, number);
	cr_assert(sendto(fd, data, strlen(data), 0, (void *)&ss, len) > 0);
	close(fd);
}

#define WORLD_MAC "\x02w0\0\0\1"
#define HOST4	  "\xcb\0\x71\1" /* 203.0.113.1 */
#define HOST6	  "\x20\x01\x0d\xb8\0\1\0\0\0\0\0\0\0\0\0\1"
#define MASKED	  2

/* Which numbers have come to the world, and from the host's address, until
 * @last is there. */
static void collect(uint8_t *seen, int last)
{
	static uint8_t buf[65536];
	struct pollfd p = { world_fd, POLLIN, 0 };
	int number = -1;

	while (number != last) {
		ssize_t n = recv(world_fd, buf, sizeof(buf) - 1, 0);
		uint8_t *at;

		if (n < 0) {
			cr_assert_eq(poll(&p, 1, LONG_MS), 1,
				     "the last one did not come");
			continue;
		}
		buf[n] = '\0';
		at = memmem(buf, n, WORD, strlen(WORD));
		/* What the world sends back is no news. */
		if (!at || !memcmp(buf + 6, WORLD_MAC, 6))
			continue;
		number = atoi((char *)at + strlen(WORD));
		cr_assert(number >= 0 && number < 100);
		seen[number] = memcmp(buf[12] == 0x86 ? buf + 22 : buf + 26,
				      buf[12] == 0x86 ? HOST6 : HOST4,
				      buf[12] == 0x86 ? 16 : 4) ? 1 : MASKED;
	}
}

Test(net_fence_host, sources_are_those_of_the_link)
{
	static const char *const four[] = { "198.19.0.15", "198.19.0.17",
		"198.19.0.99", "198.19.0.14", "203.0.113.77", "203.0.113.1",
		"10.77.0.2", "93.184.216.34" };
	static const char *const six[] = { "fd6d:6179:666c:79ff::f",
		"fd6d:6179:666c:79ff::11", "fd6d:6179:666c:79ff::99",
		"2001:db8:1::77", "2600::2" };
	uint8_t seen[100] = { 0 };

	make_host();
	load_shared();
	for (unsigned i = 0; i < ARRAY_SIZE(four); i++)
		send_from(four[i], "8.8.8.8", i);
	for (unsigned i = 0; i < ARRAY_SIZE(six); i++)
		send_from(six[i], "2600::1", 50 + i);
	send_from("fd6d:6179:666c:79ff::f", "2600::1", 98);
	send_from("198.19.0.15", "8.8.8.8", 99);
	collect(seen, 99);
	for (unsigned i = 0; i < ARRAY_SIZE(four); i++)
		cr_expect_eq(seen[i], i ? 0 : MASKED, "%s", four[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(six); i++)
		cr_expect_eq(seen[50 + i], i ? 0 : MASKED, "%s", six[i]);
}

/* As Docker does: an address of the host is a container's, behind the hooks
 * for what the host itself has. */
Test(net_fence_host, published_ports_are_the_hosts)
{
	make_host();
	sh(HOST, "nft 'table ip docker { chain pre { type nat hook prerouting "
	   "priority dstnat; policy accept; fib daddr type local tcp dport 8080 "
	   "dnat to 10.77.0.2:80; }; }'");
	sh(OTHER, "ip route add 203.0.113.0/24 via 10.77.0.1");
	expect_end(VM, TCP, "203.0.113.1", 8080, PASSED);
	load_shared();
	expect_end(VM, TCP, "203.0.113.1", 8080, REFUSED);
	expect_end(WORLD, TCP, "203.0.113.1", 8080, PASSED);
	sh(HOST, "nft list table ip docker | grep -q 8080");
}

Test(net_fence_host, host_does_not_become_a_router_by_it)
{
	make_host();
	load_shared();
	expect_all(OTHER, "1.2.3.4", PASSED);
	enter(HOST);
	shared.router4 = (struct net_router){
		.was_off = 1, .nclosed = 2,
		.closed = { if_nametoindex("lan0"), if_nametoindex("out0") },
	};
	enter(VM);
	load_shared();
	expect_end(OTHER, TCP, "1.2.3.4", 80, SILENT);
	expect_all(VM, "93.184.216.34", PASSED);
	expect_all(VM, "2600::1", PASSED);
	shared.router4.nclosed = 0;
	load_shared();
	expect_end(OTHER, TCP, "1.2.3.4", 80, PASSED);
	shared.router4.all_closed = 1;
	shared.router6.was_off = shared.router6.all_closed = 1;
	load_shared();
	expect_end(OTHER, TCP, "1.2.3.4", 80, SILENT);
	expect_all(VM, "93.184.216.34", PASSED);
	expect_all(VM, "2600::1", PASSED);
}

Test(net_fence_host, without_ipv6_it_is_refused_at_once)
{
	make_host();
	shared.has_v6 = 0;
	load_shared();
	expect_all(VM, "2600::1", REFUSED);
	expect_all(VM, "93.184.216.34", PASSED);
}

Test(net_fence_host, takes_the_place_of_what_was_there)
{
	char mark[NET_MARK_MAX];

	make_host();
	load_shared();
	cr_assert_eq(net_plan_host_mark(&shared, mark), 0);
	sh(HOST, "nft list chain inet mayfly %s >/dev/null", mark);
	sh(HOST, "nft 'add rule inet mayfly from_vm drop; "
	   "add rule inet mayfly masq drop'");
	shared.router4.was_off = shared.router4.nclosed = 1;
	shared.router4.closed[0] = 4711;
	load_shared();
	load_shared();
	sh(HOST, "! nft list chain inet mayfly %s >/dev/null 2>&1", mark);
	cr_assert_eq(net_plan_host_mark(&shared, mark), 0);
	sh(HOST, "nft list chain inet mayfly %s >/dev/null; "
	   "test $(nft list tables | wc -l) = 1", mark);
	expect_all(VM, "93.184.216.34", PASSED);
}

/* How many of the host's flows have this in their line of /proc. */
static int tracked(const char *what)
{
	static char line[4096];
	int n = 0;
	FILE *f;

	enter(HOST);
	f = fopen("/proc/thread-self/net/nf_conntrack", "re");
	enter(VM);
	if (!f)
		cr_skip_test("no /proc/net/nf_conntrack: %m");
	while (fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

/* To a port where nobody takes it up, nor closes it. */
#define QUIET 4444

static int connected(int ns, const char *to)
{
	struct flow f = { TCP, addr(to), QUIET, 0, -1, 0 };
	struct pollfd p = { .events = POLLOUT };

	enter(ns);
	flow_start(&f);
	enter(VM);
	p.fd = f.fd;
	cr_assert_eq(poll(&p, 1, LONG_MS), 1);
	return f.fd;
}

#define SIX "fd6d:6179:666c:79ff:0000:0000:0000:000f "

Test(net_fence_host, flows_of_a_vm_are_forgotten_with_it)
{
	struct net_addr four = addr("198.19.0.15");
	struct net_addr six = addr("fd6d:6179:666c:79ff::f");

	make_host();
	load_shared();
	enter(WORLD);
	listen_on(AF_INET, SOCK_STREAM, QUIET);
	listen_on(AF_INET6, SOCK_STREAM, QUIET);
	enter(VM);
	/* One that says nothing more, as when its VM was killed. */
	connected(VM, "93.184.216.34");
	connected(VM, "2600::1");
	connected(OTHER, "93.184.216.34");
	connected(OTHER, "2600::1");
	expect_end(VM, UDP, "8.8.8.8", 80, PASSED);
	cr_expect_eq(tracked("src=198.19.0.15 "), 2);
	cr_expect_eq(tracked("src=" SIX), 1);
	cr_expect_eq(tracked("src=198.19.0.17 "), 1);
	enter(HOST);
	cr_expect_eq(net_flows_forget(&four), 2);
	cr_expect_eq(net_flows_forget(&six), 1);
	cr_expect_eq(net_flows_forget(&four), 0);
	enter(VM);
	cr_expect_eq(tracked("src=198.19.0.15 "), 0);
	cr_expect_eq(tracked("src=" SIX), 0);
	/* Somebody else's are as they were. */
	cr_expect_eq(tracked("src=198.19.0.17 "), 1);
	cr_expect_eq(tracked("src=fd6d:6179:666c:79ff:0000:0000:0000:0011 "), 1);
	four.family = 0;
	cr_expect_eq(net_flows_forget(&four), -EINVAL);
}

Test(net_fence_host, silent_flows_are_not_kept_for_days)
{
	make_host();
	load_shared();
	enter(WORLD);
	listen_on(AF_INET, SOCK_STREAM, QUIET);
	enter(VM);
	connected(VM, "93.184.216.34");
	cr_assert_geq(tracked("ESTABLISHED"), 1);
	sh(HOST, "awk '/ESTABLISHED/ && $5 > 7440 { exit 1 }' "
	   "/proc/net/nf_conntrack");
}

/* A VM's own fence counts what the VM shows it: a reset whose TTL is 1 ends a
 * flow there, and never comes to the host. */
Test(net_fence_host, flows_of_a_link_are_counted)
{
	enum { MANY = NET_HOST_FLOWS_MAX + 2000 };
	struct net_addr to = addr("8.8.0.0");
	struct sockaddr_storage ss;
	int fd, n;

	make_host();
	load_shared();
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < MANY; i++) {
		struct net_addr a = net_addr_plus(&to, (uint32_t)i);
		socklen_t len = sockaddr_of(&ss, &a, QUIET);

		(void)!sendto(fd, "", 0, 0, (void *)&ss, len);
	}
	n = tracked("src=198.19.0.15 ");
	cr_expect_leq(n, NET_HOST_FLOWS_MAX + 1, "%d", n);
	cr_expect_geq(n, NET_HOST_FLOWS_MAX / 2, "%d", n);
	expect_end(VM, UDP, "1.2.3.4", 80, REFUSED);
	/* Others have what is theirs. */
	sh(OTHER, "ip route add 1.2.3.4/32 via 198.19.0.16");
	expect_end(OTHER, UDP, "1.2.3.4", 80, PASSED);
	close(fd);
}
