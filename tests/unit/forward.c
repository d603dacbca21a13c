/* SPDX-License-Identifier: Apache-2.0 */
/* What the DNS forwarder asks, believes, opens and answers. */
#include "tests/unit/forward_stage.h"

static struct stage s;

static void go(void)
{
	stage_init(&s, 1);
	stage_go(&s);
}

/* --- without rules ------------------------------------------------------ */

Test(forward, a_name_is_asked_for_and_answered, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	go();
	guest_asks(&s, 7, "WwW.tESt", DNS_A);
	up_hears(&s, 0, &h);
	cr_expect_eq(h.edns, 4096);
	cr_expect_eq(h.q.q.type, DNS_A);
	cr_expect(h.q.rd);
	/* an upstream that spells as it likes */
	cr_assert_eq(dns_name_parse(&h.q.q.name, "www.TEST"), 0);
	make(&a, REPLY(ADDRS("93.184.215.14", "93.184.215.15")));
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	guest_hears(&s, &a);
	cr_expect_eq(a.id, 7);
	cr_expect_eq(a.naddrs, 2);
	cr_expect_eq(memcmp(a.q.name.b, "\3WwW\4tESt", 10), 0);
	stage_end(&s);
}

Test(forward, ids_and_ports_of_questions_differ, .timeout = 60)
{
	unsigned ids = 0, ports = 0;
	struct heard h, last = { 0 };
	char name[32];

	go();
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		guest_asks(&s, 7, name, DNS_A);
		up_hears(&s, 0, &h);
		ids += h.q.id != last.q.id;
		ports += h.from.sin_port != last.from.sin_port;
		last = h;
	}
	cr_expect_gt(ids, 90);
	cr_expect_gt(ports, 70);
	stage_end(&s);
}

Test(forward, times_to_live_are_kept_within_bounds, .timeout = 60)
{
	static const uint32_t ttl[][2] = {
		{ 0, 30 }, { 29, 30 }, { 30, 30 }, { 300, 300 },
		{ 3600, 3600 }, { 3601, 3600 }, { 0x7fffffff, 3600 },
		/* RFC 2181 8 */
		{ 0x80000000, 30 }, { 0xffffffff, 30 },
	};

	go();
	for (unsigned i = 0; i < ARRAY_SIZE(ttl); i++) {
		guest_asks(&s, 7, "a.test", DNS_A);
		up_replies(&s, REPLY_TTL(ttl[i][0], ADDRS("1.2.3.4")));
		expect_addrs(&s, REPLY_TTL(ttl[i][1], ADDRS("1.2.3.4")));
	}
	stage_end(&s);
}

/* A name that a stranger owns may point anywhere. */
Test(forward, addresses_of_special_ranges_are_left_out, .timeout = 60)
{
	static const char *const never[] = {
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1",
		"169.254.169.254", "100.64.0.1", "0.0.0.0", "198.18.0.1",
		"198.19.0.4", "224.0.0.1", "255.255.255.255", "::1", "fe80::1",
		"fd00::1", "fd00:ec2::254", "::ffff:10.0.0.1", "::",
		"64:ff9b::a00:1", "2002:a00:1::1", "ff02::1",
	};

	go();
	for (unsigned i = 0; i < ARRAY_SIZE(never); i++) {
		int v6 = strchr(never[i], ':') != NULL;
		const char *ok = v6 ? "2606:4700::1111" : "1.1.1.1";

		guest_asks(&s, 7, "a.test", v6 ? DNS_AAAA : DNS_A);
		up_replies(&s, REPLY(ADDRS(never[i], ok, never[i])));
		expect_addrs(&s, REPLY(ADDRS(ok)));
		guest_asks(&s, 7, "a.test", v6 ? DNS_AAAA : DNS_A);
		up_replies(&s, REPLY(ADDRS(never[i])));
		expect_addrs(&s, REPLY(.chain = { NULL }));
	}
	stage_end(&s);
}

/* Who is there is nothing that a guest is to ask the host's resolver. */
Test(forward, private_addresses_have_no_names, .timeout = 60)
{
	struct heard h;

	go();
	guest_asks(&s, 1, "1.0.168.192.in-addr.arpa", 12);
	expect_rcode(&s, 1, DNS_NXDOMAIN);
	guest_asks(&s, 2, "1.0.18.198.IN-ADDR.arpa", 12);
	expect_rcode(&s, 2, DNS_NXDOMAIN);
	cr_expect(up_hears_nothing(&s, 0));
	guest_asks(&s, 3, "1.1.1.1.in-addr.arpa", 12);
	up_hears(&s, 0, &h);
	up_answers(&s, 0, &h, DNS_NOERROR, NULL);
	expect_rcode(&s, 3, DNS_NOERROR);
	stage_end(&s);
}

Test(forward, denied_names_are_refused_and_not_asked_for, .timeout = 60)
{
	stage_init(&s, 1);
	deny(&s, "evil.test");
	deny(&s, "*.ads.test");
	stage_go(&s);
	guest_asks(&s, 1, "EVIL.test", DNS_A);
	expect_rcode(&s, 1, DNS_NXDOMAIN);
	guest_asks(&s, 2, "a.b.Ads.test", DNS_TXT);
	expect_rcode(&s, 2, DNS_NXDOMAIN);
	guest_asks(&s, 3, "ads.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	cr_expect(up_hears_nothing(&s, 0));
	stage_end(&s);
}

Test(forward, alias_of_a_denied_name_is_refused, .timeout = 60)
{
	stage_init(&s, 1);
	deny(&s, "evil.test");
	stage_go(&s);
	guest_asks(&s, 1, "a.test", DNS_A);
	up_replies(&s, REPLY(.chain = { "b.test", "EVIL.test", "c.test" },
			     ADDRS("1.2.3.4")));
	expect_rcode(&s, 1, DNS_NXDOMAIN);
	stage_end(&s);
}

Test(forward, addresses_of_a_denied_network_are_left_out, .timeout = 60)
{
	stage_init(&s, 1);
	deny(&s, "1.2.0.0/16");
	stage_go(&s);
	guest_asks(&s, 7, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4", "1.3.3.4")));
	expect_addrs(&s, REPLY(ADDRS("1.3.3.4")));
	stage_end(&s);
}

Test(forward, name_that_does_not_exist_has_no_addresses, .timeout = 60)
{
	struct dns_answer a;
	struct heard h;

	go();
	guest_asks(&s, 7, "a.test", DNS_A);
	up_hears(&s, 0, &h);
	make(&a, REPLY(.chain = { "b.test" }, ADDRS("1.2.3.4")));
	up_answers(&s, 0, &h, DNS_NXDOMAIN, &a);
	guest_hears(&s, &a);
	cr_expect_eq(a.rcode, DNS_NXDOMAIN);
	cr_expect_eq(a.nlinks, 1);
	cr_expect_eq(a.naddrs, 0);
	stage_end(&s);
}

/* --- a list ------------------------------------------------------------- */

static void list(const char *rule, const char *more)
{
	stage_init(&s, 1);
	allow(&s, rule);
	if (more)
		allow(&s, more);
	stage_go(&s);
}

Test(forward, names_that_are_not_listed_are_refused, .timeout = 60)
{
	static const char *const not[] = { "b.test", "x.a.test", "test", ".",
					   "a.test.evil", "aa.test" };
	struct keep_learn l[KEEP_LEARN_MAX];

	list("a.test", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(not); i++) {
		guest_asks(&s, (uint16_t)i, not[i], DNS_A);
		expect_rcode(&s, (uint16_t)i, DNS_NXDOMAIN);
	}
	cr_expect(up_hears_nothing(&s, 0));
	guest_asks(&s, 99, "A.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4")));
	keeper_says(&s, keeper_hears(&s, l), NULL);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	stage_end(&s);
}

Test(forward, networks_alone_allow_no_name, .timeout = 60)
{
	list("1.2.3.0/24", NULL);
	guest_asks(&s, 1, "a.test", DNS_A);
	expect_rcode(&s, 1, DNS_NXDOMAIN);
	stage_end(&s);
}

Test(forward, all_addresses_allow_all_names, .timeout = 60)
{
	list("0.0.0.0/0", NULL);
	guest_asks(&s, 1, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4", "10.0.0.1")));
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
	cr_expect_not(ready(s.keeper, SHORT_MS));
	stage_end(&s);
}

Test(forward, addresses_are_open_before_they_are_named, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	unsigned n;

	list("a.test:443", "a.test:80");
	guest_asks(&s, 1, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4", "10.0.0.1", "1.2.3.5")));
	n = keeper_hears(&s, l);
	cr_assert_eq(n, 4);
	for (unsigned i = 0; i < 4; i++) {
		cr_expect_eq(l[i].family, 4);
		cr_expect_eq(l[i].zero, 0);
		cr_expect_eq(l[i].port, i & 1 ? 80 : 443);
		cr_expect_geq(l[i].ttl, 300);
		cr_expect_eq(memcmp(l[i].addr, "\1\2\3\4", 3), 0);
		cr_expect_eq(l[i].addr[3], i < 2 ? 4 : 5);
	}
	/* nothing is said before it is done, but for what others ask */
	cr_expect(guest_hears_nothing(&s));
	guest_asks(&s, 2, "b.test", DNS_A);
	expect_rcode(&s, 2, DNS_NXDOMAIN);
	keeper_says(&s, n, NULL);
	expect_addrs(&s, REPLY(ADDRS("1.2.3.4", "1.2.3.5")));
	stage_end(&s);
}

Test(forward, ipv6_addresses_are_opened_too, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];

	list("*.a.test", NULL);
	guest_asks(&s, 1, "x.a.test", DNS_AAAA);
	up_replies(&s, REPLY_TTL(0, ADDRS("2606:4700::1111", "fd00::1")));
	cr_assert_eq(keeper_hears(&s, l), 1);
	cr_expect_eq(l[0].family, 6);
	cr_expect_eq(l[0].port, 0);
	cr_expect_geq(l[0].ttl, 30);
	cr_expect_eq(memcmp(l[0].addr, "\x26\6\x47\0\0\0\0\0\0\0\0\0\0\0\x11\x11",
			    16), 0);
	keeper_says(&s, 1, NULL);
	expect_addrs(&s, REPLY_TTL(30, ADDRS("2606:4700::1111")));
	stage_end(&s);
}

Test(forward, what_the_keeper_does_not_open_is_not_named, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	static const int said[][2] = { { 0, -EPERM }, { -ENFILE, 0 },
				       { -EPERM, -EPERM }, { -EPERM, -EAGAIN } };

	list("a.test", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(said); i++) {
		guest_asks(&s, 1, "a.test", DNS_A);
		up_replies(&s, REPLY(ADDRS("1.2.3.4", "1.2.3.5")));
		cr_assert_eq(keeper_hears(&s, l), 2);
		keeper_says(&s, 2, said[i]);
		if (i == 0)
			expect_addrs(&s, REPLY(ADDRS("1.2.3.4")));
		else if (i == 1)
			expect_addrs(&s, REPLY(ADDRS("1.2.3.5")));
		else
			expect_rcode(&s, 1, i == 2 ? DNS_NOERROR : DNS_SERVFAIL);
	}
	stage_end(&s);
}

Test(forward, many_addresses_and_ports_are_opened_in_turns, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	struct dns_answer a = { .ttl = 300 };
	unsigned n, all = 0;
	char name[32];
	struct heard h;

	stage_init(&s, 1);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "a.test:%u", 1000 + i);
		allow(&s, name);
	}
	stage_go(&s);
	guest_asks_by(s.guest, 1, "a.test", DNS_A, 1232);
	up_hears(&s, 0, &h);
	for (; a.naddrs < DNS_ADDRS_MAX; a.naddrs++)
		a.addr[a.naddrs] = net_addr4(1, 2, 3, (uint8_t)a.naddrs);
	up_answers(&s, 0, &h, DNS_NOERROR, &a);
	for (; all < DNS_ADDRS_MAX * 5; all += n) {
		n = keeper_hears(&s, l);
		for (unsigned i = 0; i < n; i++) {
			cr_expect_eq(l[i].addr[3], (all + i) / 5);
			cr_expect_eq(l[i].port, 1000 + (all + i) % 5);
		}
		keeper_says(&s, n, NULL);
	}
	guest_hears(&s, &a);
	cr_expect_eq(a.naddrs, DNS_ADDRS_MAX);
	stage_end(&s);
}

Test(forward, questions_to_the_keeper_queue, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];
	char name[32], addr[3][16];
	struct dns_answer a;
	struct heard h;

	list("*.test", NULL);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		snprintf(addr[i], sizeof(addr[i]), "1.2.3.%u", i);
		guest_asks(&s, (uint16_t)i, name, DNS_A);
		up_hears(&s, 0, &h);
		make(&a, REPLY(ADDRS(addr[i])));
		up_answers(&s, 0, &h, DNS_NOERROR, &a);
	}
	/* Answers that came on three sockets are in any order. */
	for (unsigned i = 0, seen = 0; i < 3; i++) {
		unsigned k;

		cr_assert_eq(keeper_hears(&s, l), 1);
		k = l[0].addr[3];
		cr_assert(k < 3 && !(seen >> k & 1));
		seen |= 1u << k;
		cr_expect(guest_hears_nothing(&s));
		keeper_says(&s, 1, NULL);
		expect_addrs(&s, REPLY(ADDRS(addr[k])));
	}
	stage_end(&s);
}

Test(forward, other_types_of_a_listed_name_open_nothing, .timeout = 60)
{
	struct heard h;

	list("a.test", NULL);
	guest_asks(&s, 1, "a.test", DNS_TXT);
	up_hears(&s, 0, &h);
	up_answers(&s, 0, &h, DNS_NOERROR, NULL);
	expect_rcode(&s, 1, DNS_NOERROR);
	cr_expect_not(ready(s.keeper, SHORT_MS));
	stage_end(&s);
}

/* --- the end ------------------------------------------------------------ */

Test(forward, end_of_the_keeper_is_the_end, .timeout = 60)
{
	go();
	close_fd(&s.keeper);
	cr_expect_eq(stage_join(&s), -EPIPE);
}

Test(forward, keeper_that_answers_what_was_not_asked_is_the_end, .timeout = 60)
{
	struct keep_learn l[KEEP_LEARN_MAX];

	go();
	keeper_says(&s, 1, NULL);
	cr_expect_eq(stage_join(&s), -EPIPE);
	list("a.test", NULL);
	guest_asks(&s, 1, "a.test", DNS_A);
	up_replies(&s, REPLY(ADDRS("1.2.3.4", "1.2.3.5")));
	cr_assert_eq(keeper_hears(&s, l), 2);
	keeper_says(&s, 3, NULL);
	cr_expect_eq(stage_join(&s), -EPIPE);
}

Test(forward, end_of_the_launcher_is_the_end, .timeout = 60)
{
	go();
	guest_asks(&s, 1, "a.test", DNS_A);
	stage_end(&s);
}
