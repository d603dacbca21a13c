/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, --allow and --deny as text, and what they open. */
#include "net/rule.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define L63 "a23456789012345678901234567890123456789012345678901234567890123"

static struct net_addr addr(const char *text)
{
	struct net_addr a;

	cr_assert_eq(net_addr_read(&a, text), 0, "%s", text);
	return a;
}

Test(net_addr, is_read_and_printed)
{
	static const char *const same[] = { "0.0.0.0", "255.255.255.255",
		"1.2.3.4/32", "10.0.0.0/8", "0.0.0.0/0", "::", "::1", "::/0",
		"fd00::/8", "2001:db8::/32", "::ffff:1.2.3.4", "fe80::/10" };
	static const char *const bad[] = { "", "1", "1.2.3", "1.2.3.4.5",
		"01.2.3.4", "1.2.3.256", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4",
		"1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8",
		"10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.1/8", "1:2", ":::",
		"fe80::1%eth0", "::/129", "fd00::1/8", "1.2.3.4/ 8",
		"10.0.0.0/4294967304", "1:2:3:4:5:6:7:8:9", "::g" };
	char text[NET_PREFIX_MAX];
	struct net_prefix p;
	struct err err;

	for (unsigned i = 0; i < ARRAY_SIZE(same); i++) {
		cr_assert_eq(net_prefix_parse(&p, same[i], NULL), 0, "%s",
			     same[i]);
		cr_assert(net_prefix_valid(&p));
		net_prefix_format(&p, text);
		cr_expect(!strncmp(text, same[i], strlen(text)), "%s: %s",
			  same[i], text);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct err){ 0 };
		cr_expect_eq(net_prefix_parse(&p, bad[i], &err), -EINVAL, "%s",
			     bad[i]);
		cr_expect(*err.msg, "%s", bad[i]);
	}
}

Test(net_addr, network_has_what_is_in_it)
{
	struct net_prefix p, q;
	struct net_addr a, b;

	for (unsigned len = 0; len <= 32; len++) {
		a = addr("203.0.113.77");
		p = net_prefix_of(&a, len);
		cr_assert(net_prefix_valid(&p) && net_prefix_has(&p, &a));
		if (!len)
			continue;
		/* The last bit of the network, turned. */
		b = a;
		b.b[(len - 1) / 8] ^= 0x80 >> (len - 1) % 8;
		cr_assert(!net_prefix_has(&p, &b), "%u", len);
		q = net_prefix_of(&a, len - 1);
		cr_assert(net_prefix_covers(&q, &p) &&
			  !net_prefix_covers(&p, &q));
	}
	a = addr("::");
	p = net_prefix_of(&a, 0);
	a = addr("1.2.3.4");
	cr_expect(!net_prefix_has(&p, &a), "IPv4 is not in ::/0");
	a = addr("198.19.0.255");
	a = net_addr_plus(&a, 1);
	b = addr("198.19.1.0");
	cr_expect(net_addr_equal(&a, &b));
}

Test(net_addr, from_a_message_is_judged)
{
	struct net_addr a = net_addr4(1, 2, 3, 4);
	struct net_prefix p = { a, 32 };
	char text[NET_ADDR_MAX];

	cr_expect(net_addr_valid(&a) && net_prefix_valid(&p));
	p.len = 33;
	cr_expect(!net_prefix_valid(&p));
	p.len = 31;
	cr_expect(net_prefix_valid(&p));
	p.len = 29;
	cr_expect(!net_prefix_valid(&p));
	a.b[15] = 1;
	cr_expect(!net_addr_valid(&a));
	cr_expect_str_eq(net_addr_format(&a, text), "?");
	a.family = 0;
	cr_expect(!net_addr_valid(&a));
	a.family = 6;
	cr_expect(net_addr_valid(&a));
}

static const struct {
	const char *text, *print;
} good[] = {
	{ "web.test", NULL },
	{ "Web.TEST.:80", "web.test:80" },
	{ "*.cdn.example", NULL },
	{ "*.cdn.example:443", NULL },
	{ "localhost", NULL },
	{ "_dmarc.a-b.example", NULL },
	{ "xn--bcher-kva.example", NULL },
	{ "4chan.example", NULL },
	{ "1.2.3.4a", NULL },
	{ L63 "." L63 ".example", NULL },
	{ "1.2.3.4", NULL },
	{ "1.2.3.4/32", "1.2.3.4" },
	{ "1.2.3.4:53", NULL },
	{ "10.0.0.0/8:65535", NULL },
	{ "0.0.0.0/0", NULL },
	{ "::/0", NULL },
	{ "fd00::1", NULL },
	{ "fd00::/8", NULL },
	{ "[fd00::1]", "fd00::1" },
	{ "[fd00::1]:1", NULL },
	{ "[FD00:0::/8]:80", "[fd00::/8]:80" },
};

Test(net_rule, is_read_and_printed)
{
	char text[NET_RULE_MAX], twice[NET_RULE_MAX];
	struct net_rule r, again;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = { 0 };

		cr_assert_eq(net_rule_parse(&r, good[i].text, &err), 0,
			     "%s: %s", good[i].text, err.msg);
		net_rule_format(&r, text);
		cr_expect_str_eq(text, good[i].print ? good[i].print :
						       good[i].text);
		cr_assert_eq(net_rule_parse(&again, text, NULL), 0);
		cr_expect_str_eq(net_rule_format(&again, twice), text);
	}
}

Test(net_rule, nonsense_has_words)
{
	static const char *const bad[] = { "", ":80", "a:", "a:0", "a:080",
		"a:65536", "a:http", "a:-1", "a:80:80", "a: 80", "a b", "a\n",
		"a;drop", "a\"", "a}", "$(a)", "a/8", "*", "*.", "*a.b",
		"a.*.b", "**.a", ".", "..", ".a", "a..b", "-a", "a-", "a.-b",
		"1.2.3", "1.2.3.4.5", "a.1", "123", "0x7f.1.2.3:80:",
		"10.0.0.1/8", "10.0.0.0/33", "1.2.3.4/", "[1.2.3.4]:80",
		"[a]:80", "[::1", "::1]", "[::1]80", "[::1]:", "[]", "[]:80",
		"fe80::1%lo", "::ffff:1.2.3.4", "[::ffff:1.2.3.0/120]:80",
		"b\xc3\xbc" "cher.example", "http://a", "a/b", L63 "4.a",
		L63 "." L63 "." L63 "." L63 "." L63 };
	struct net_rule r;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		cr_expect_eq(net_rule_parse(&r, bad[i], &err), -EINVAL, "%s",
			     bad[i]);
		cr_expect(*err.msg, "%s", bad[i]);
	}
}

Test(net_rule, brackets_in_the_wrong_place_have_a_hint)
{
	static const char *const bad[] = { "[::1", "[::1]80", "[fd00::]/8",
					   "[fd00::]/8:80", "[]" };
	struct net_rule r;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		cr_assert_eq(net_rule_parse(&r, bad[i], &err), -EINVAL);
		cr_expect(strstr(err.hint, "brackets"), "%s: %s", bad[i],
			  err.hint);
	}
}

Test(net_rule, url_is_called_one)
{
	struct net_rule r;
	struct err err = { 0 };

	cr_assert_eq(net_rule_parse(&r, "https://a.b:80/", &err), -EINVAL);
	cr_expect(strstr(err.msg, "a URL"), "%s", err.msg);
	cr_expect(*err.hint);
}

Test(net_rule, address_that_could_end_in_a_port_is_told)
{
	static const struct {
		const char *text, *meant;
	} of[] = {
		{ "2001:db8::1:80", "[2001:db8::1]:80" },
		{ "::1:9999", "[::1]:9999" },
		{ "2001:DB8:0:0:0:0:1:443", NULL }, /* seven groups */
		{ "1:2:3:4:5:6:7:80", NULL },
		{ "2001:4860:4860::8888", NULL },
		{ "2620:fe::fe", NULL },
		{ "2001:db8::1:080", NULL },
		{ "2001:db8::1:0", NULL },
		{ "2001:db8::1:8a", NULL },
		{ "[2001:db8::1:80]", NULL },
		{ "[2001:db8::1]:80", NULL },
		{ "fd00::/8", NULL },
		{ "10.0.0.1:80", NULL },
		{ "web.test:80", NULL },
		{ "web.test", NULL },
	};
	char text[NET_RULE_MAX];
	struct net_rule r;

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		const char *meant;

		cr_assert_eq(net_rule_parse(&r, of[i].text, NULL), 0);
		meant = net_rule_doubt(&r, of[i].text, text);
		cr_expect(!meant == !of[i].meant, "%s", of[i].text);
		if (meant && of[i].meant)
			cr_expect_str_eq(meant, of[i].meant);
	}
}

/* Words behind '+' are allowed, behind '-' denied, behind '=' our own. */
static void rules(struct net_rules *rs, const char *text)
{
	char copy[1024], *save = NULL;
	struct err err = { 0 };
	struct net_prefix p;

	memset(rs, 0, sizeof(*rs));
	strcpy(copy, text);
	for (char *w = strtok_r(copy, " ", &save); w;
	     w = strtok_r(NULL, " ", &save)) {
		if (*w == '=') {
			cr_assert_eq(net_prefix_parse(&p, w + 1, &err), 0);
			cr_assert_eq(net_rules_own(rs, &p, &err), 0);
		} else if (*w == '+') {
			cr_assert_eq(net_rules_allow(rs, w + 1, &err), 0,
				     "%s", err.msg);
		} else {
			cr_assert_eq(net_rules_deny(rs, w + 1, &err), 0, "%s",
				     err.msg);
		}
	}
	cr_assert(net_rules_valid(rs));
}

#define R NET_REFUSED
#define O NET_OPEN
#define N NET_BY_NAME

static const struct {
	const char *rules, *addr;
	uint16_t port;
	enum net_verdict verdict;
} cases[] = {
	/* Nothing said: what is public. */
	{ "", "93.184.216.34", 80, O },
	{ "", "93.184.216.34", 0, O },
	{ "", "8.8.8.8", 53, O },
	{ "", "2606:4700::1111", 853, O },
	{ "", "10.1.2.3", 80, R },
	{ "", "172.16.0.1", 80, R },
	{ "", "172.31.255.255", 80, R },
	{ "", "172.32.0.0", 80, O },
	{ "", "192.168.0.1", 80, R },
	{ "", "100.64.0.1", 80, R },
	{ "", "100.128.0.1", 80, O },
	{ "", "169.254.1.1", 80, R },
	{ "", "127.0.0.1", 80, R },
	{ "", "0.0.0.0", 80, R },
	{ "", "224.0.0.251", 5353, R },
	{ "", "255.255.255.255", 67, R },
	{ "", "198.18.0.1", 53, R },
	{ "", "198.51.100.1", 80, R },
	{ "", "168.63.129.16", 80, R },
	{ "", "::1", 80, R },
	{ "", "::", 80, R },
	{ "", "::ffff:8.8.8.8", 80, R },
	{ "", "64:ff9b::808:808", 80, R },
	{ "", "2002:808:808::1", 80, R },
	{ "", "2001:0:808:808::1", 80, R },
	{ "", "2001:4860:4860::8888", 80, O },
	{ "", "2001:db8::1", 80, R },
	{ "", "fc00::1", 80, R },
	{ "", "fd00:ec2::254", 80, R },
	{ "", "fe80::1", 80, R },
	{ "", "ff02::1", 80, R },
	{ "", "100::1", 80, R },
	{ "", "4000::1", 80, R },
	/* The host itself, whatever is said. */
	{ "=93.184.216.34", "93.184.216.34", 80, R },
	{ "=93.184.216.34 +93.184.216.34:80", "93.184.216.34", 80, R },
	{ "=10.0.0.1 +10.0.0.0/8", "10.0.0.1", 80, R },
	{ "=10.0.0.1 +10.0.0.0/8", "10.0.0.2", 80, O },
	{ "+198.18.0.0/15", "198.18.0.1", 80, R },
	{ "+198.18.0.0/15", "198.18.0.4", 80, O },
	{ "+fd6d:6179:666c:7900::/64", "fd6d:6179:666c:7900::1", 80, R },
	/* Metadata by their exact address. */
	{ "+169.254.169.254", "169.254.169.254", 80, O },
	{ "+169.254.169.254:80", "169.254.169.254", 80, O },
	{ "+169.254.169.254:80", "169.254.169.254", 81, R },
	{ "+169.254.0.0/16", "169.254.169.254", 80, R },
	{ "+169.254.169.254/31", "169.254.169.254", 80, R },
	{ "+169.254.169.254/31", "169.254.169.255", 80, O },
	{ "+100.64.0.0/10", "100.100.100.200", 80, R },
	{ "+fd00:ec2::/32", "fd00:ec2::254", 80, R },
	{ "+fd00:ec2::/32", "fd00:ec2::255", 80, O },
	{ "+fd00:ec2::254", "fd00:ec2::254", 80, O },
	{ "+64:ff9b::/96", "64:ff9b::a9fe:a9fe", 80, R },
	{ "+64:ff9b::808:808", "64:ff9b::808:808", 80, O },
	/* Networks open what they lie inside of. */
	{ "+0.0.0.0/0", "8.8.8.8", 80, O },
	{ "+0.0.0.0/0", "10.0.0.1", 80, R },
	{ "+0.0.0.0/0", "2606:4700::1111", 80, R },
	{ "+8.0.0.0/5", "10.0.0.1", 80, R },
	{ "+8.0.0.0/5", "8.8.8.8", 80, O },
	{ "+10.1.0.0/16", "10.1.2.3", 80, O },
	{ "+10.1.0.0/16", "10.2.2.3", 80, R },
	{ "+10.1.0.0/16", "8.8.8.8", 80, R },
	{ "+10.1.0.0/16:443", "10.1.2.3", 443, O },
	{ "+10.1.0.0/16:443", "10.1.2.3", 80, R },
	{ "+10.1.0.0/16:443", "10.1.2.3", 0, R },
	{ "+::/0", "fd00::1", 80, R },
	{ "+::/0", "2606:4700::1111", 80, O },
	{ "+fd00::/8", "fd00::1", 80, O },
	{ "+192.168.0.0/15", "192.168.0.1", 80, R },
	/* Denied is denied. */
	{ "-8.8.8.0/24", "8.8.8.8", 80, R },
	{ "-8.8.8.0/24", "8.8.9.8", 80, O },
	{ "-8.8.8.0/24:80", "8.8.8.8", 80, R },
	{ "-8.8.8.0/24:80", "8.8.8.8", 81, O },
	{ "-8.8.8.0/24:80", "8.8.8.8", 0, O },
	{ "-0.0.0.0/0 +8.8.8.8", "8.8.8.8", 80, R },
	{ "-8.8.8.8 +8.8.8.8", "8.8.8.8", 80, R },
	/* Names open what is public, at their ports. */
	{ "+web.test", "8.8.8.8", 80, N },
	{ "+web.test", "8.8.8.8", 0, N },
	{ "+web.test", "10.0.0.1", 80, R },
	{ "+web.test", "169.254.169.254", 80, R },
	{ "+web.test -8.8.8.0/24", "8.8.8.8", 80, R },
	{ "=8.8.8.8 +web.test", "8.8.8.8", 80, R },
	{ "+web.test:80", "8.8.8.8", 80, N },
	{ "+web.test:80", "8.8.8.8", 443, R },
	{ "+web.test:80", "8.8.8.8", 0, R },
	{ "+web.test:80 +8.0.0.0/8", "8.8.8.8", 443, O },
	{ "+1.2.3.4", "8.8.8.8", 80, R },
	/* Nobody goes round the forwarder, but where it is written so. */
	{ "+8.8.8.8", "8.8.8.8", 53, R },
	{ "+8.8.8.8", "8.8.8.8", 853, R },
	{ "+8.8.8.8", "8.8.8.8", 443, O },
	{ "+8.8.8.8:53", "8.8.8.8", 53, O },
	{ "+0.0.0.0/0", "8.8.8.8", 53, R },
	{ "+10.0.0.0/8:853", "10.0.0.1", 853, O },
	{ "-ads.example", "8.8.8.8", 53, R },
	{ "-ads.example", "8.8.8.8", 80, O },
	{ "-8.8.4.4", "8.8.8.8", 53, O },
	{ "+dns.test", "8.8.8.8", 53, R },
	{ "+dns.test:53", "8.8.8.8", 53, N },
};

Test(net_rule, steps_decide_in_their_order)
{
	struct net_rules rs;
	struct net_addr a;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		rules(&rs, cases[i].rules);
		a = addr(cases[i].addr);
		cr_expect_eq(net_decide(&rs, &a, cases[i].port),
			     cases[i].verdict, "[%s] %s port %u: %d",
			     cases[i].rules, cases[i].addr, cases[i].port,
			     net_decide(&rs, &a, cases[i].port));
		if (cases[i].verdict != R)
			cr_expect(net_answerable(&rs, &a), "[%s] %s",
				  cases[i].rules, cases[i].addr);
	}
	memset(&a, 0, sizeof(a));
	rules(&rs, "");
	cr_expect_eq(net_decide(&rs, &a, 80), R, "no address at all");
}

Test(net_rule, answers_with_refused_addresses_are_no_answers)
{
	struct net_rules rs;
	struct net_addr inside = addr("10.0.0.1"), out = addr("8.8.8.8");

	rules(&rs, "+web.test");
	cr_expect(!net_answerable(&rs, &inside) && net_answerable(&rs, &out));
	rules(&rs, "+web.test:80");
	cr_expect(!net_answerable(&rs, &inside) && net_answerable(&rs, &out));
	rules(&rs, "+web.test +10.0.0.0/8:443");
	cr_expect(net_answerable(&rs, &inside) && net_answerable(&rs, &out));
	rules(&rs, "-8.8.8.0/24");
	cr_expect(!net_answerable(&rs, &out));
	rules(&rs, "-8.8.8.0/24:80");
	cr_expect(net_answerable(&rs, &out));
}

static const struct {
	const char *rules, *name;
	int allowed;
	unsigned nports;
	uint16_t port;
} names[] = {
	{ "", "any.thing", 1, 0, 0 },
	{ "-ads.test", "ads.test", 0, 0, 0 },
	{ "-ads.test", "a.ads.test", 1, 0, 0 },
	{ "-*.ads.test", "ads.test", 1, 0, 0 },
	{ "-*.ads.test", "a.ads.test", 0, 0, 0 },
	{ "-*.ads.test", "a.b.ADS.test.", 0, 0, 0 },
	{ "-*.ads.test", "xads.test", 1, 0, 0 },
	{ "-*.ads.test", ".ads.test", 1, 0, 0 },
	{ "+web.test", "web.test", 1, 1, 0 },
	{ "+web.test", "WEB.test.", 1, 1, 0 },
	{ "+web.test:80", "web.test", 1, 1, 80 },
	{ "+web.test:80 +web.test:443", "web.test", 1, 2, 80 },
	{ "+web.test", "www.web.test", 0, 0, 0 },
	{ "+web.test", "web.tes", 0, 0, 0 },
	{ "+web.test", "web.test.evil.test", 0, 0, 0 },
	{ "+web.test", "", 0, 0, 0 },
	{ "+*.web.test", "www.web.test", 1, 1, 0 },
	{ "+*.web.test", "web.test", 0, 0, 0 },
	{ "+*.web.test -www.web.test", "www.web.test", 0, 0, 0 },
	{ "+10.0.0.0/8", "web.test", 0, 0, 0 },
	{ "+0.0.0.0/0", "web.test", 1, 0, 0 },
	{ "+[::/0]:443", "web.test", 1, 0, 0 },
	{ "+::/0 +web.test:80", "web.test", 1, 1, 80 },
	{ "+::/0 -web.test", "web.test", 0, 0, 0 },
};

Test(net_rule, names_match_as_written)
{
	uint16_t ports[NET_RULES_MAX];
	struct net_rules rs;
	unsigned n;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		rules(&rs, names[i].rules);
		n = 99;
		cr_expect_eq(net_name_allowed(&rs, names[i].name, ports, &n),
			     names[i].allowed, "[%s] %s", names[i].rules,
			     names[i].name);
		cr_expect_eq(n, names[i].nports, "[%s] %s: %u", names[i].rules,
			     names[i].name, n);
		if (n)
			cr_expect_eq(ports[0], names[i].port);
	}
}

Test(net_rule, lists_are_bounded)
{
	struct net_prefix p = { net_addr4(9, 9, 0, 0), 32 };
	struct err err = { 0 };
	struct net_rules rs;

	rules(&rs, "");
	for (int i = 0; i < NET_RULES_MAX; i++) {
		cr_assert_eq(net_rules_allow(&rs, "a.b", NULL), 0);
		cr_assert_eq(net_rules_deny(&rs, "a.c", NULL), 0);
	}
	cr_expect_eq(net_rules_allow(&rs, "a.b", &err), -E2BIG);
	cr_expect_eq(net_rules_deny(&rs, "a.b", &err), -E2BIG);
	for (int i = 0; i < NET_OWN_MAX; i++) {
		p.addr.b[2] = i;
		cr_assert_eq(net_rules_own(&rs, &p, NULL), 0);
		cr_assert_eq(net_rules_own(&rs, &p, NULL), 0, "again");
	}
	/* The nearest of 9.9.0.0 to 9.9.255.0. */
	p.addr.b[2] = 7;
	p.addr.b[3] = 0x50;
	cr_expect_eq(net_rules_own(&rs, &p, &err), 0);
	cr_expect_eq(rs.nown, NET_OWN_MAX);
	cr_expect_eq(net_decide(&rs, &p.addr, 80), NET_REFUSED);
	cr_expect(rs.own[7].len == 25 && rs.own[7].addr.b[2] == 7);
	p.addr.b[0] = 200;
	cr_expect_eq(net_rules_own(&rs, &p, &err), -E2BIG);
	p = (struct net_prefix){ { 6, { 9, 9 } }, 128 };
	cr_expect_eq(net_rules_own(&rs, &p, &err), -E2BIG);
	cr_expect(net_rules_valid(&rs));
}

Test(net_rule, many_addresses_of_the_host_are_all_refused)
{
	struct net_prefix p = { net_addr4(10, 96, 0, 0), 32 };
	struct net_rules rs;

	rules(&rs, "+10.0.0.0/8");
	for (unsigned i = 0; i < 4000; i++) {
		p.addr = net_addr_plus(&p.addr, 7);
		cr_assert_eq(net_rules_own(&rs, &p, NULL), 0);
	}
	p.addr = net_addr4(10, 96, 0, 0);
	for (unsigned i = 0; i < 4000; i++) {
		p.addr = net_addr_plus(&p.addr, 7);
		cr_assert_eq(net_decide(&rs, &p.addr, 80), NET_REFUSED);
	}
	p.addr = net_addr4(10, 95, 0, 1);
	cr_expect_eq(net_decide(&rs, &p.addr, 80), NET_OPEN);
	cr_expect(net_rules_valid(&rs));
}

Test(net_rule, denied_name_has_no_port)
{
	struct err err = { 0 };
	struct net_rules rs;

	rules(&rs, "");
	cr_expect_eq(net_rules_deny(&rs, "a.b:80", &err), -EINVAL);
	cr_expect(*err.hint && !rs.ndeny);
}

Test(net_rule, from_a_message_is_judged)
{
	struct net_rules rs;

	rules(&rs, "+*.web.test:80 +10.0.0.0/8 -8.8.8.8 =1.2.3.4");
	rs.nallow = NET_RULES_MAX + 1;
	cr_expect(!net_rules_valid(&rs));
	rs.nallow = 2;
	rs.allow[0].name[2] = '"';
	cr_expect(!net_rules_valid(&rs));
	memset(rs.allow[0].name, 'a', sizeof(rs.allow[0].name));
	cr_expect(!net_rules_valid(&rs), "no end");
	strcpy(rs.allow[0].name, "WEB.test");
	cr_expect(!net_rules_valid(&rs));
	strcpy(rs.allow[0].name, "web.test");
	cr_expect(net_rules_valid(&rs));
	rs.allow[1].prefix.len = 33;
	cr_expect(!net_rules_valid(&rs));
	rs.allow[1].prefix.len = 6;
	cr_expect(!net_rules_valid(&rs), "bits behind it");
	rs.allow[1].prefix.len = 7;
	cr_expect(net_rules_valid(&rs));
	rs.own[0].addr.family = 5;
	cr_expect(!net_rules_valid(&rs));
}
