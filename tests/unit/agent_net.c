/* SPDX-License-Identifier: Apache-2.0 */
/* eth0 and the resolver's files, in a network namespace and an /etc that are
 * nobody else's. */
#include "tests/unit/agent_net_stage.h"
#include "tests/unit/agent_stage.h"

#include <arpa/inet.h>

static const struct wire_net net = {
	.flags = WIRE_NET_V4 | WIRE_NET_V6,
	.mtu = 1400,
	.v4 = { 198, 18, 0, 2 },
	.v4_gateway = { 198, 18, 0, 1 },
	.v6 = { 0xfd, 0x6d, 0x61, 0x79, 0x66, 0x6c, 0x79, [15] = 2 },
	.v6_gateway = { 0xfd, 0x6d, 0x61, 0x79, 0x66, 0x6c, 0x79, [15] = 1 },
	.v4_len = 30,
	.v6_len = 64,
	.ndns = 2,
	.dns = { { 4, { 0 }, { 198, 18, 0, 1 } },
		 { 6, { 0 }, { 0xfd, 0x6d, [15] = 1 } } },
};
static const char resolv[] = "nameserver 198.18.0.1\n"
			     "nameserver fd6d::1\n";

static void make_eth0(void)
{
	enter_network();
	cr_assert_eq(system("ip link add eth0 type veth peer name far && "
			    "ip link set far up"), 0);
}

TestSuite(agent_net, .init = make_eth0);

static void has(const char *command, const char *words)
{
	const char *text = says(command);

	cr_expect(strstr(text, words), "%s: no \"%s\" in: %s", command, words,
		  text);
}

Test(agent_net, device_has_all_of_it_at_once)
{
	cr_assert_eq(net_up(&net), 0);
	has("ip link show eth0", "mtu 1400");
	has("ip link show eth0", ",UP");
	has("ip -4 -o addr show eth0", "inet 198.18.0.2/30 ");
	has("ip route", "default via 198.18.0.1 dev eth0");
	has("ip -6 -o addr show eth0", "inet6 fd6d:6179:666c:7900::2/64 ");
	has("ip -6 route", "default via fd6d:6179:666c:7900::1 dev eth0");
	/* No program is to wait for it. */
	cr_expect_str_empty(says("ip -6 -o addr show eth0 to fd6d::/16 "
				 "tentative"));
}

Test(agent_net, what_was_not_given_is_not_there)
{
	struct wire_net bare = { .flags = 0 }, lone = net;

	put_file("/etc/resolv.conf", "mine\n");
	cr_assert_eq(net_up(&bare), 0);
	has("ip link show eth0", ",UP");
	cr_expect_str_empty(says("ip -4 addr show eth0"));
	cr_expect_str_empty(says("ip route"));
	cr_expect_str_eq(says("cat /etc/resolv.conf"), "mine\n");
	memset(lone.v4_gateway, 0, sizeof(lone.v4_gateway));
	lone.flags = WIRE_NET_V4;
	cr_assert_eq(net_up(&lone), 0);
	has("ip route", "198.18.0.0/30");
	cr_expect_null(strstr(says("ip route"), "default"));
}

Test(agent_net, kernel_without_ipv6_does_without)
{
	put_file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
	cr_assert_eq(net_up(&net), 0);
	has("ip route", "default via 198.18.0.1 dev eth0");
	cr_expect_str_empty(says("ip -6 addr show eth0"));
}

Test(agent_net, first_failure_is_told)
{
	struct wire_net bad = net;

	/* A gateway that no address of eth0's reaches. */
	bad.v4_gateway[0] = 10;
	cr_expect_eq(net_up(&bad), ENETUNREACH);
	bad = net;
	bad.v6_gateway[0] = 0x20;
	cr_expect_eq(net_up(&bad), EHOSTUNREACH);
	cr_assert_eq(system("ip link del eth0"), 0);
	cr_expect_eq(net_up(&net), ENODEV);
}

Test(agent_net, resolv_conf_is_there_whatever_the_image_has)
{
	struct stat st;

	cr_assert_eq(net_up(&net), 0);
	cr_expect_str_eq(says("cat /etc/resolv.conf"), resolv);
	put_file("/etc/resolv.conf", "nameserver 10.0.0.1\n");
	cr_assert_eq(net_up(&net), 0);
	cr_expect_str_eq(says("cat /etc/resolv.conf"), resolv);
	cr_assert_eq(stat("/etc/resolv.conf", &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0644);

	/* As systemd-resolved has it: it leads to what is not there yet. */
	unlink("/etc/resolv.conf");
	cr_assert_eq(symlink("../nowhere/stub-resolv.conf",
			     "/etc/resolv.conf"), 0);
	cr_assert_eq(net_up(&net), 0);
	cr_expect_str_eq(says("cat /etc/resolv.conf"), resolv);

	put_file("/etc/victim", "untouched");
	unlink("/etc/resolv.conf");
	cr_assert_eq(symlink("/etc/victim", "/etc/resolv.conf"), 0);
	cr_assert_eq(net_up(&net), 0);
	cr_expect_str_eq(says("cat /etc/victim"), "untouched");
	cr_expect_str_eq(says("cat /etc/resolv.conf"), resolv);

	unlink("/etc/resolv.conf");
	cr_assert_eq(mkdir("/etc/resolv.conf", 0755), 0);
	cr_expect_eq(net_up(&net), EISDIR);
}

Test(agent_net, hosts_is_made_where_it_says_nothing)
{
	static const char ours[] = "127.0.0.1\tlocalhost\n"
				   "::1\tlocalhost ip6-localhost "
				   "ip6-loopback\n198.18.0.2\t";

	cr_assert_eq(net_up(&net), 0);
	cr_expect(!strncmp(says("cat /etc/hosts"), ours, strlen(ours)));
	put_file("/etc/hosts", "");
	cr_assert_eq(net_up(&net), 0);
	cr_expect(!strncmp(says("cat /etc/hosts"), ours, strlen(ours)));
	put_file("/etc/hosts", "10.0.0.1 mine\n");
	cr_assert_eq(net_up(&net), 0);
	cr_expect_str_eq(says("cat /etc/hosts"), "10.0.0.1 mine\n");
}

Test(agent_net, addresses_are_as_short_as_libc_has_them, .init = NULL)
{
	/* RFC 5952, 4.2: where to shorten, of one, of equals, at the ends. */
	static const char *const addrs[] = {
		"2001:db8:a:bc:ffff:1000:0:1", "2001:db8::a:0:0:1",
		"2001:db8:0:0:1::1",	       "2001:0:0:1::1",
		"1:0:2:0:3:0:4:0",	       "fd6d::1",
		"::",			       "::1",
		"1::",			       "0:1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:0",	       "1:2:3:4:5:6::",
		"0:0:1:2:3:4:5:6",
	};
	struct wire_net n = { .ndns = 1, .dns = { { .family = 6 } } };
	char text[NET_TEXT_MAX], want[NET_TEXT_MAX];
	char libc[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < sizeof(addrs) / sizeof(*addrs); i++) {
		inet_pton(AF_INET6, addrs[i], n.dns[0].addr);
		inet_ntop(AF_INET6, n.dns[0].addr, libc, sizeof(libc));
		snprintf(want, sizeof(want), "nameserver %s\n", libc);
		net_resolv_conf(text, &n);
		cr_expect_str_eq(text, want);
	}
	net_hosts(text, &n, "box");
	cr_expect(strstr(text, "127.0.1.1\tbox\n"));
}

/* --- as a frame ---------------------------------------------------------- */

/* Never in the network of the host: there is an eth0. */
static void serve_without_eth0(void)
{
	enter_network();
	setup();
}

Test(agent_net, command_does_not_run_without_its_network,
     .init = serve_without_eth0)
{
	send_frame(WIRE_NET, &net, sizeof(net));
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert(!h->started);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_NET);
	cr_assert_eq(h->exit.error, ENODEV);
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(hang_up(), 0);
}

Test(agent_net, network_comes_once_and_before_the_command,
     .init = serve_without_eth0)
{
	struct wire_net wrong = { .flags = 8 };

	send_frame(WIRE_NET, &net, sizeof(net));
	send_frame(WIRE_NET, &net, sizeof(net));
	cr_assert_eq(hang_up(), 1);
	setup();
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
	send_frame(WIRE_NET, &net, sizeof(net));
	cr_assert_eq(hang_up(), 1);
	setup();
	send_frame(WIRE_NET, &wrong, sizeof(wrong));
	cr_assert_eq(hang_up(), 1);
}

Test(agent_net, more_sessions_have_no_network_to_give,
     .init = serve_without_eth0)
{
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
	begin(1);
	send_frame(WIRE_NET, &net, sizeof(net));
	while (step())
		;
	cr_assert(!h->exited);
	close(h->fd);
	h = hosts;
	close(h->fd);
}
