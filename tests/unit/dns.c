/* SPDX-License-Identifier: Apache-2.0 */
/* Names and queries of the domain name system: what is read, what is not. */
#include "tests/unit/dns_stage.h"

/* --- names -------------------------------------------------------------- */

Test(dns, names_are_read_and_printed_in_lower_case)
{
	struct dns_name n, m;

	cr_assert_eq(dns_name_parse(&n, "WWW.Example.COM."), 0);
	cr_expect_eq(n.len, 17);
	cr_expect_eq(memcmp(n.b, "\3WWW\7Example\3COM", 17), 0);
	expect_name(&n, "www.example.com");
	cr_assert_eq(dns_name_parse(&m, "www.example.com"), 0);
	cr_expect(dns_name_equal(&n, &m));
	cr_assert_eq(dns_name_parse(&m, "www.example.con"), 0);
	cr_expect_not(dns_name_equal(&n, &m));
	cr_assert_eq(dns_name_parse(&n, "."), 0);
	cr_expect_eq(n.len, 1);
	expect_name(&n, ".");
}

/* '@' and '`', '[' and '{' differ in the bit that letters differ in. */
Test(dns, only_letters_have_no_case)
{
	struct dns_name a, b;

	cr_assert_eq(dns_name_parse(&a, "@[x"), 0);
	cr_assert_eq(dns_name_parse(&b, "`[x"), 0);
	cr_expect_not(dns_name_equal(&a, &b));
	cr_assert_eq(dns_name_parse(&b, "@{x"), 0);
	cr_expect_not(dns_name_equal(&a, &b));
	cr_assert_eq(dns_name_parse(&b, "@[X"), 0);
	cr_expect(dns_name_equal(&a, &b));
}

Test(dns, what_is_no_name_is_not_read)
{
	char l63[64], l64[65], text[300];
	struct dns_name n;

	memset(l63, 'a', 63);
	memset(l64, 'a', 64);
	l63[63] = l64[64] = 0;
	cr_expect_eq(dns_name_parse(&n, ""), -EINVAL);
	cr_expect_eq(dns_name_parse(&n, ".."), -EINVAL);
	cr_expect_eq(dns_name_parse(&n, ".a"), -EINVAL);
	cr_expect_eq(dns_name_parse(&n, "a..b"), -EINVAL);
	cr_expect_eq(dns_name_parse(&n, "a b"), -EINVAL);
	cr_expect_eq(dns_name_parse(&n, l63), 0);
	cr_expect_eq(dns_name_parse(&n, l64), -EINVAL);
	/* 63 and 63 and 63 and 61, with lengths and the root: 255 */
	snprintf(text, sizeof(text), "%s.%s.%s.%.61s", l63, l63, l63, l63);
	cr_expect_eq(dns_name_parse(&n, text), 0);
	cr_expect_eq(n.len, 255);
	expect_name(&n, text);
	snprintf(text, sizeof(text), "%s.%s.%s.%.62s", l63, l63, l63, l63);
	cr_expect_eq(dns_name_parse(&n, text), -EINVAL);
}

Test(dns, ambiguous_names_have_no_text)
{
	static const char labels[][6] = { "a.b", "a\\b", "a b", "a\tb", "a\xe9",
					  "a\x7f" };
	char text[DNS_TEXT_MAX];
	struct dns_name n;

	for (unsigned i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		n.len = (uint8_t)(strlen(labels[i]) + 2);
		n.b[0] = (uint8_t)strlen(labels[i]);
		strcpy((char *)n.b + 1, labels[i]);
		cr_expect_eq(dns_name_text(&n, text), -EILSEQ, "%u", i);
	}
	/* "a\0b" */
	n = (struct dns_name){ .len = 5, .b = { 3, 'a', 0, 'b', 0 } };
	cr_expect_eq(dns_name_text(&n, text), -EILSEQ);
	n.len = 0;
	cr_expect_eq(dns_name_text(&n, text), -EILSEQ);
}

Test(dns, addresses_that_names_ask_back_for)
{
	static const struct {
		const char *name, *addr;
	} c[] = {
		{ "4.3.2.1.in-addr.arpa", "1.2.3.4" },
		{ "255.0.0.10.in-addr.arpa", "10.0.0.255" },
		{ "256.0.0.10.in-addr.arpa", NULL },
		{ "3.2.1.in-addr.arpa", NULL },
		{ "5.4.3.2.1.in-addr.arpa", NULL },
		{ "4.3.2.1.in-addr.arpa.test", NULL },
		{ "4.3.2.1.in-addr.arpx", NULL },
		{ "b.4.3.2.1.in-addr.arpa", NULL },
		{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
		  "0.0.d.f.ip6.arpa", "fd00::1" },
		{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
		  "0.0.d.f.ip6.arpa.test", NULL },
		{ "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
		  "0.0.d.f.ip6.arpa", NULL },
		{ "a.test", NULL }, { ".", NULL }, { "", NULL },
	};
	char is[NET_ADDR_MAX];
	struct net_addr a;

	for (unsigned i = 0; i < sizeof(c) / sizeof(*c); i++) {
		int r = dns_name_address(c[i].name, &a);

		cr_expect_eq(r, c[i].addr ? 0 : -EINVAL, "%s", c[i].name);
		if (r == 0 && c[i].addr)
			cr_expect_str_eq(net_addr_format(&a, is), c[i].addr);
	}
}

/* --- queries ------------------------------------------------------------ */

Test(dns, a_query_is_understood)
{
	struct dns_query q;
	struct msg m;

	head(&m, 0x0120, 0, 0, 0); /* RD, AD */
	question(&m, "Example.com", DNS_AAAA);
	cr_assert_eq(query(&q, &m), 0);
	cr_expect_eq(q.id, 0x1234);
	cr_expect(q.rd && !q.edns);
	cr_expect_eq(q.udp_size, 512);
	cr_expect_eq(q.q.type, DNS_AAAA);
	cr_expect_eq(memcmp(q.q.name.b, "\7Example\3com", 13), 0);
}

Test(dns, the_size_that_edns_names_is_kept_within_bounds)
{
	static const unsigned size[][2] = { { 0, 512 }, { 511, 512 },
					    { 1000, 1000 }, { 1232, 1232 },
					    { 65535, 1232 } };
	struct dns_query q;
	struct msg m;

	for (unsigned i = 0; i < 5; i++) {
		head(&m, 0x0100, 0, 0, 1);
		question(&m, "a.b", DNS_A);
		/* a cookie */
		opt(&m, size[i][0], 0, "\0\12\0\3abc", 7);
		cr_assert_eq(query(&q, &m), 0);
		cr_expect(q.edns);
		cr_expect_eq(q.udp_size, size[i][1]);
	}
}

Test(dns, an_answer_is_no_query_and_gets_no_answer)
{
	struct dns_query q;
	struct msg m;

	head(&m, 0x8100, 0, 0, 0);
	question(&m, "a.b", DNS_A);
	cr_expect_eq(query(&q, &m), -EINVAL);
	for (size_t n = 0; n < DNS_HEADER; n++)
		cr_expect_eq(dns_parse_query(&q, m.b, n), -EINVAL);
}

Test(dns, what_is_not_a_plain_query_is_an_error)
{
	struct dns_query q;
	struct msg m;

	/* UPDATE, NOTIFY, ... */
	for (unsigned op = 1; op < 16; op++) {
		head(&m, 0x0100 | op << 11, 0, 0, 0);
		question(&m, "a.b", DNS_A);
		cr_expect_eq(query(&q, &m), DNS_NOTIMP);
		cr_expect_eq(q.opcode, op);
	}
	head(&m, 0x0300, 0, 0, 0); /* TC */
	question(&m, "a.b", DNS_A);
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	for (unsigned i = 0; i < 3; i++) {
		head(&m, 0x0100, i == 0, i == 1, i == 2);
		question(&m, "a.b", DNS_A);
		record(&m, NULL, DNS_A, 0, V4(1, 2, 3, 4));
		cr_expect_eq(query(&q, &m), DNS_FORMERR, "%u", i);
		cr_expect_eq(q.q.name.len, 0);
	}
	head(&m, 0x0100, 0, 0, 0);
	m.b[5] = 2;
	question(&m, "a.b", DNS_A);
	question(&m, "a.c", DNS_A);
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	m.b[5] = 0;
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	head(&m, 0x0100, 0, 0, 0);
	question(&m, "a.b", DNS_A);
	put(&m, "", 1); /* something behind its end */
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	m.len = DNS_QUERY_MAX + 1;
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
}

Test(dns, edns_has_to_be_well_formed)
{
	struct dns_query q;
	struct msg m;

	head(&m, 0x0100, 0, 0, 1);
	question(&m, "a.b", DNS_A);
	opt(&m, 1232, 1 << 16, NULL, 0);
	cr_expect_eq(query(&q, &m), DNS_BADVERS);
	cr_expect(q.edns && q.q.name.len);
	head(&m, 0x0100, 0, 0, 1);
	question(&m, "a.b", DNS_A);
	opt(&m, 1232, 0, "\0\12\0\4abc", 7);
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	cr_expect_not(q.edns);
	head(&m, 0x0100, 0, 0, 1);
	question(&m, "a.b", DNS_A);
	opt(&m, 1232, 0, "\0\12\0", 3);
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	head(&m, 0x0100, 0, 0, 1);
	question(&m, "a.b", DNS_A);
	record(&m, "a.b", DNS_OPT, 0, NULL, 0); /* not the root's */
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
	head(&m, 0x0100, 0, 0, 2);
	question(&m, "a.b", DNS_A);
	opt(&m, 1232, 0, NULL, 0);
	opt(&m, 1232, 0, NULL, 0);
	cr_expect_eq(query(&q, &m), DNS_FORMERR);
}

Test(dns, every_shorter_query_is_an_error)
{
	struct dns_query q;
	struct msg m;

	head(&m, 0x0100, 0, 0, 1);
	question(&m, "example.com", DNS_A);
	opt(&m, 1232, 0, "\0\12\0\3abc", 7);
	cr_expect_eq(query(&q, &m), 0);
	for (size_t n = DNS_HEADER; n < m.len; n++)
		cr_expect_eq(dns_parse_query(&q, m.b, n), DNS_FORMERR, "%zu", n);
}

/* A question's name begins where messages do: there is nothing to point to. */
Test(dns, question_has_no_pointers)
{
	struct dns_query q;
	struct msg m;

	for (unsigned to = 0; to < 32; to++) {
		head(&m, 0x0100, 0, 0, 0);
		put(&m, "\1a", 2);
		put16(&m, 0xc000 | to);
		put16(&m, DNS_A);
		put16(&m, DNS_CLASS_IN);
		/* the label that is read already may be pointed to by nobody */
		cr_expect_eq(query(&q, &m), DNS_FORMERR, "%u", to);
	}
}

Test(dns, labels_of_other_kinds_are_errors)
{
	struct dns_query q;
	struct msg m;

	for (unsigned c = 64; c < 192; c++) {
		head(&m, 0x0100, 0, 0, 0);
		put(&m, (uint8_t[]){ (uint8_t)c }, 1);
		m.len += 200;
		memset(m.b + 13, 0, 200);
		cr_expect_eq(query(&q, &m), DNS_FORMERR, "%u", c);
	}
}
