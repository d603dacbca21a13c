/* SPDX-License-Identifier: Apache-2.0 */
/* Between launcher and DNS forwarder: resolvers, the message, its answer. */
#include "tests/unit/forward_stage.h"

#include <sys/stat.h>

/* --- resolv.conf -------------------------------------------------------- */

static struct forward_resolver res[FORWARD_UPSTREAMS];

static void expect_resolver(unsigned i, const char *text)
{
	char is[NET_ADDR_MAX];

	cr_expect_str_eq(net_addr_format(&res[i].addr, is), text);
}

Test(forward_setup, resolvers_are_those_of_resolv_conf)
{
	cr_assert_eq(forward_resolvers("# made by hand\n"
				       "search example.org\n"
				       "nameserver 192.0.2.1\n"
				       " nameserver 192.0.2.2\n"
				       "nameserver\t2001:db8::1 \n"
				       "nameserver10.0.0.1\n"
				       "nameserver nonsense\n"
				       "nameserver 127.0.0.53;yes\r\n"
				       "nameserver 192.0.2.9", res), 3);
	expect_resolver(0, "192.0.2.1");
	expect_resolver(1, "2001:db8::1");
	expect_resolver(2, "127.0.0.53");
}

Test(forward_setup, without_a_resolver_it_is_this_host)
{
	cr_assert_eq(forward_resolvers("", res), 1);
	expect_resolver(0, "127.0.0.1");
	cr_assert_eq(forward_resolvers("options edns0\n\n\n", res), 1);
	expect_resolver(0, "127.0.0.1");
}

Test(forward_setup, link_local_resolver_has_its_link)
{
	cr_assert_eq(forward_resolvers("nameserver fe80::1%lo\n"
				       "nameserver fe80::2%7", res), 2);
	expect_resolver(0, "fe80::1");
	cr_expect_eq(res[0].scope, 1);
	cr_expect_eq(res[1].scope, 7);
}

Test(forward_setup, resolvers_without_a_way_are_left_out)
{
	struct forward_params p;
	struct err err = { 0 };

	forward_params_init(&p);
	res[0] = (struct forward_resolver){ .scope = 0xffff };
	cr_assert_eq(net_addr_read(&res[0].addr, "fe80::1"), 0);
	res[1] = (struct forward_resolver){ .addr = net_addr4(127, 0, 0, 1) };
	cr_assert_eq(forward_upstreams(&p, res, 2, &err), 0);
	cr_expect_eq(p.nupstreams, 1);
	cr_expect_geq(p.upstream[0][FORWARD_SOCKETS - 1], 0);
	cr_expect_eq(p.upstream[1][0], -1);
	forward_params_close(&p);
	cr_expect_lt(forward_upstreams(&p, res, 1, &err), 0);
	cr_expect(strstr(err.msg, "fe80::1"), "%s", err.msg);
	cr_expect_lt(forward_upstreams(&p, res, 0, &err), 0);
}

/* --- the message -------------------------------------------------------- */

static int same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	       sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

Test(forward_setup, what_is_sent_is_received)
{
	static struct stage s;
	static struct forward_params p;
	int pair[2];

	stage_init(&s, 2);
	allow(&s, "a.test:80");
	deny(&s, "10.0.0.0/8");
	s.p.patience_ms = 7;
	forward_params_init(&p);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	cr_assert_eq(forward_send(pair[0], &s.p, &s.err), 0, "%s", s.err.msg);
	cr_assert_eq(forward_receive(pair[1], &p, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(memcmp(&p.rules, &s.p.rules, sizeof(p.rules)), 0);
	cr_expect_eq(p.patience_ms, 7);
	cr_expect_eq(p.idle_ms, NEVER_MS);
	cr_expect_eq(p.control, pair[1]);
	/* one socket, two descriptors, one after the other */
	cr_expect(same_file(p.udp[0], s.p.udp[0]));
	cr_expect(same_file(p.udp[1], s.p.udp[0]));
	cr_expect_eq(p.udp[1], p.udp[0] + 1);
	cr_expect(same_file(p.tcp[0], s.p.tcp[0]));
	cr_expect_eq(p.tcp[1], -1);
	cr_expect(same_file(p.keeper, s.p.keeper));
	cr_assert_eq(p.nupstreams, 2);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			cr_expect(same_file(p.upstream[i][k],
					    s.p.upstream[i][k]));
	/* and serves, by either descriptor */
	forward_params_close(&s.p);
	s.p = p;
	s.control = pair[0];
	stage_go(&s);
	guest_asks(&s, 7, "b.test", DNS_A);
	expect_rcode(&s, 7, DNS_NXDOMAIN);
	stage_end(&s);
}

Test(forward_setup, other_messages_are_no_setup)
{
	static struct forward_params p;
	struct err err = { 0 };
	int pair[2];

	forward_params_init(&p);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	cr_assert_eq(send(pair[0], "hello", 5, 0), 5);
	cr_expect_eq(forward_receive(pair[1], &p, &err), -EPROTO);
	close(pair[0]);
	cr_expect_lt(forward_receive(pair[1], &p, &err), 0);
}

Test(forward_setup, broken_rules_are_no_setup)
{
	static struct stage s;
	static struct forward_params p;
	int pair[2];

	stage_init(&s, 1);
	s.p.rules.nallow = NET_RULES_MAX + 1;
	forward_params_init(&p);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	cr_assert_eq(forward_send(pair[0], &s.p, &s.err), 0);
	cr_expect_eq(forward_receive(pair[1], &p, &s.err), -EPROTO);
	cr_expect_eq(p.keeper, -1);
}

Test(forward_setup, launcher_hears_how_it_went)
{
	struct err said = { .code = -ENOENT, .msg = "no such thing" };
	struct err err = { 0 };
	uint32_t layers = 0;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	forward_tell(pair[0], 0x600, NULL);
	cr_expect_eq(forward_hear(pair[1], &layers, &err), 0);
	cr_expect_eq(layers, 0x600);
	forward_tell(pair[0], 0, &said);
	cr_expect_eq(forward_hear(pair[1], &layers, &err), -ENOENT);
	cr_expect(strstr(err.msg, "no such thing"), "%s", err.msg);
	close(pair[0]);
	cr_expect_eq(forward_hear(pair[1], &layers, &err), -EPIPE);
}
