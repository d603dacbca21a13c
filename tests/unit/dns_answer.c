/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the domain name system: what is read, what is not, what is built. */
#include "tests/unit/dns_stage.h"

/* --- answers ------------------------------------------------------------ */

Test(dns_answer, addresses_of_an_answer)
{
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 3, 0, 1);
	question(&m, "example.com", DNS_A);
	record(&m, NULL, DNS_A, 300, V4(93, 184, 215, 14));
	record(&m, "EXAMPLE.com", DNS_A, 200, V4(93, 184, 215, 15));
	record(&m, "example.org", DNS_A, 1, V4(6, 6, 6, 6)); /* not asked for */
	opt(&m, 4096, 0, NULL, 0);
	cr_assert_eq(answer(&a, &m), 0);
	cr_expect_eq(a.id, 0x1234);
	cr_expect_eq(a.rcode, 0);
	cr_expect_eq(a.naddrs, 2);
	cr_expect_eq(a.ttl, 200);
	cr_expect_eq(a.addr[0].family, 4);
	cr_expect_eq(memcmp(a.addr[1].b, "\x5d\xb8\xd7\x0f\0\0\0\0\0\0\0\0\0\0\0",
			    16), 0);
}

Test(dns_answer, ipv6_addresses_of_an_answer)
{
	static const uint8_t v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 2, 0, 0);
	question(&m, "example.com", DNS_AAAA);
	record(&m, NULL, DNS_AAAA, 300, v6, 16);
	record(&m, NULL, DNS_A, 300, V4(1, 2, 3, 4));
	cr_assert_eq(answer(&a, &m), 0);
	cr_assert_eq(a.naddrs, 1);
	cr_expect_eq(a.addr[0].family, 6);
	cr_expect_eq(memcmp(a.addr[0].b, v6, 16), 0);
}

Test(dns_answer, chain_of_aliases_is_followed_in_any_order)
{
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 4, 0, 0);
	question(&m, "www.test", DNS_A);
	record(&m, "c.test", DNS_A, 300, V4(1, 2, 3, 4));
	alias(&m, "B.test", "c.test", 100);
	alias(&m, "www.test", "b.test", 200);
	record(&m, "www.test", DNS_A, 300, V4(6, 6, 6, 6)); /* has an alias */
	cr_assert_eq(answer(&a, &m), 0);
	cr_expect_eq(a.nlinks, 2);
	expect_name(&a.link[0], "b.test");
	expect_name(&a.link[1], "c.test");
	cr_assert_eq(a.naddrs, 1);
	cr_expect_eq(a.addr[0].b[0], 1);
	cr_expect_eq(a.ttl, 100);
}

Test(dns_answer, chain_that_is_a_loop_or_too_long_is_an_error)
{
	char from[16], to[16];
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 2, 0, 0);
	question(&m, "a.test", DNS_A);
	alias(&m, "a.test", "b.test", 1);
	alias(&m, "b.test", "a.test", 1);
	cr_expect_eq(answer(&a, &m), -EPROTO);
	for (unsigned n = DNS_CHAIN_MAX; n <= DNS_CHAIN_MAX + 1; n++) {
		head(&m, 0x8180, n, 0, 0);
		question(&m, "n0.test", DNS_A);
		for (unsigned i = 0; i < n; i++) {
			snprintf(from, sizeof(from), "n%u.test", i);
			snprintf(to, sizeof(to), "n%u.test", i + 1);
			alias(&m, from, to, 1);
		}
		cr_expect_eq(answer(&a, &m), n > DNS_CHAIN_MAX ? -EPROTO : 0);
	}
}

Test(dns_answer, time_to_live_above_31_bits_is_none)
{
	static const uint32_t ttl[][2] = { { 0, 0 }, { 0x7fffffff, 0x7fffffff },
					   { 0x80000000, 0 },
					   { 0xffffffff, 0 } };
	struct dns_answer a;
	struct msg m;

	for (unsigned i = 0; i < 4; i++) {
		head(&m, 0x8180, 1, 0, 0);
		question(&m, "a.test", DNS_A);
		record(&m, NULL, DNS_A, ttl[i][0], V4(1, 2, 3, 4));
		cr_assert_eq(answer(&a, &m), 0);
		cr_expect_eq(a.ttl, ttl[i][1]);
	}
}

Test(dns_answer, first_so_many_addresses_count)
{
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 200, 0, 0);
	question(&m, "a.test", DNS_A);
	for (unsigned i = 0; i < 200; i++)
		record(&m, NULL, DNS_A, 300 - i, V4(1, 2, 3, (uint8_t)i));
	cr_assert_eq(answer(&a, &m), 0);
	cr_expect_eq(a.naddrs, DNS_ADDRS_MAX);
	cr_expect_eq(a.addr[DNS_ADDRS_MAX - 1].b[3], DNS_ADDRS_MAX - 1);
}

Test(dns_answer, pointers_that_do_not_go_back_are_errors)
{
	struct dns_answer a;
	struct msg m;
	size_t at;

	head(&m, 0x8180, 1, 0, 0);
	question(&m, "a.test", DNS_A);
	at = m.len;
	record(&m, NULL, DNS_A, 300, V4(1, 2, 3, 4));
	for (unsigned to = 0; to < 0x4000; to++) {
		int r;

		m.b[at] = (uint8_t)(0xc0 | to >> 8);
		m.b[at + 1] = (uint8_t)to;
		r = answer(&a, &m);
		if (to < DNS_HEADER || to >= at)
			cr_expect_eq(r, -EPROTO, "%u: %d", to, r);
		else if (to == DNS_HEADER)
			cr_expect(r == 0 && a.naddrs == 1);
		else
			cr_expect(r == -EPROTO || a.naddrs == 0, "%u", to);
	}
}

/* It would have other labels once the message ends elsewhere. */
Test(dns_answer, name_that_reaches_into_what_points_to_it_is_an_error)
{
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 1, 0, 0);
	question(&m, "a.test", DNS_A);
	/* the length of a label, before the name that points to it */
	m.b[m.len - 1] = 3;
	put16(&m, 0xc000 | (unsigned)(m.len - 1));
	put(&m, "x", 2);
	put16(&m, DNS_A);
	put16(&m, DNS_CLASS_IN);
	put32(&m, 60);
	put16(&m, 0);
	cr_expect_eq(answer(&a, &m), -EPROTO);
}

/* The way of pointers to a name may be as long as a name has labels. */
Test(dns_answer, chain_of_pointers_is_bounded)
{
	struct dns_answer a;
	struct msg m;

	for (unsigned n = 126; n <= 127; n++) {
		size_t first;

		head(&m, 0x8180, 2, 0, 0);
		question(&m, "a.test", DNS_A);
		/* data: a pointer to the question, then each to the last */
		put16(&m, 0xc00c);
		put16(&m, DNS_TXT);
		put16(&m, DNS_CLASS_IN);
		put32(&m, 1);
		put16(&m, 2 * n);
		first = m.len;
		put16(&m, 0xc00c);
		for (unsigned i = 1; i < n; i++)
			put16(&m, 0xc000 | (unsigned)(first + 2 * (i - 1)));
		put16(&m, 0xc000 | (unsigned)(m.len - 2));
		put16(&m, DNS_A);
		put16(&m, DNS_CLASS_IN);
		put32(&m, 1);
		put16(&m, 4);
		put32(&m, 0x01020304);
		cr_expect_eq(answer(&a, &m), n == 126 ? 0 : -EPROTO);
	}
}

/* Labels and pointers in turn: each pointer goes back, the name grows. */
Test(dns_answer, name_that_grows_by_pointers_is_bounded)
{
	struct dns_answer a;
	struct msg m;
	size_t last;

	head(&m, 0x8180, 2, 0, 0);
	question(&m, "a.test", DNS_A);
	put16(&m, 0xc00c);
	put16(&m, DNS_TXT);
	put16(&m, DNS_CLASS_IN);
	put32(&m, 1);
	put16(&m, 300 * 4);
	last = DNS_HEADER;
	for (unsigned i = 0; i < 300; i++) {
		put(&m, "\1x", 2);
		put16(&m, 0xc000 | (unsigned)last);
		last = m.len - 4;
	}
	put16(&m, 0xc000 | (unsigned)last);
	put16(&m, DNS_A);
	put16(&m, DNS_CLASS_IN);
	put32(&m, 1);
	put16(&m, 4);
	put32(&m, 0x01020304);
	cr_expect_eq(answer(&a, &m), -EPROTO);
}

Test(dns_answer, every_shorter_answer_is_an_error)
{
	struct dns_answer a;
	struct msg m;
	size_t q;

	head(&m, 0x8180, 2, 1, 1);
	question(&m, "www.test", DNS_A);
	q = m.len;
	alias(&m, NULL, "b.test", 100);
	record(&m, "b.test", DNS_A, 100, V4(1, 2, 3, 4));
	record(&m, "test", DNS_SOA, 100, "whatever", 8);
	opt(&m, 4096, 0, NULL, 0);
	cr_expect_eq(answer(&a, &m), 0);
	for (size_t n = 0; n < m.len; n++)
		cr_expect_eq(dns_parse_answer(&a, m.b, n),
			     n < q ? -EBADMSG : -EPROTO, "%zu", n);
	put(&m, "", 1);
	cr_expect_eq(answer(&a, &m), -EPROTO);
}

Test(dns_answer, truncated_answer_counts_as_far_as_it_is_whole)
{
	struct dns_answer a;
	struct msg m;
	size_t one;

	head(&m, 0x8380, 2, 0, 1);
	question(&m, "www.test", DNS_A);
	record(&m, NULL, DNS_A, 100, V4(1, 2, 3, 4));
	one = m.len;
	record(&m, NULL, DNS_A, 100, V4(1, 2, 3, 5));
	for (size_t n = one; n <= m.len; n++) {
		cr_assert_eq(dns_parse_answer(&a, m.b, n), 0);
		cr_expect(a.truncated);
		cr_expect_eq(a.naddrs, n < m.len ? 1 : 2);
		cr_expect_eq(a.end, n < m.len ? one : m.len);
	}
}

Test(dns_answer, what_is_no_answer_to_one_question_is_an_error)
{
	static const unsigned flags[] = { 0x0100, 0x8980, 0xf980 };
	static uint8_t huge[DNS_STREAM_MAX + 1];
	struct dns_answer a;
	struct msg m;

	for (unsigned i = 0; i < 3; i++) {
		head(&m, flags[i], 0, 0, 0);
		question(&m, "a.test", DNS_A);
		cr_expect_eq(answer(&a, &m), -EBADMSG);
	}
	for (unsigned n = 0; n < 4; n += 2) {
		head(&m, 0x8180, 0, 0, 0);
		m.b[5] = (uint8_t)n;
		question(&m, "a.test", DNS_A);
		question(&m, "a.test", DNS_A);
		cr_expect_eq(answer(&a, &m), -EBADMSG);
	}
	head(&m, 0x8180, 0, 0, 0);
	question(&m, "a.test", DNS_A);
	memcpy(huge, m.b, m.len);
	cr_expect_eq(dns_parse_answer(&a, huge, sizeof(huge)), -EBADMSG);
	cr_expect_eq(dns_parse_answer(&a, huge, sizeof(huge) - 1), -EPROTO);
}

Test(dns_answer, addresses_and_aliases_have_to_have_their_length)
{
	struct dns_answer a;
	struct msg m;

	for (unsigned n = 0; n < 18; n++) {
		head(&m, 0x8180, 1, 0, 0);
		question(&m, "a.test", DNS_A);
		record(&m, NULL, DNS_A, 1, "abcdefghijklmnopqrst", n);
		cr_expect_eq(answer(&a, &m), n == 4 ? 0 : -EPROTO, "%u", n);
		head(&m, 0x8180, 1, 0, 0);
		question(&m, "a.test", DNS_AAAA);
		record(&m, NULL, DNS_AAAA, 1, "abcdefghijklmnopqrst", n);
		cr_expect_eq(answer(&a, &m), n == 16 ? 0 : -EPROTO, "%u", n);
		head(&m, 0x8180, 1, 0, 0);
		question(&m, "a.test", DNS_A);
		record(&m, NULL, DNS_CNAME, 1, "\3bcd\0fghijklmnopqrst", n);
		cr_expect_eq(answer(&a, &m), n == 5 ? 0 : -EPROTO, "%u", n);
	}
}

Test(dns_answer, upper_bits_of_the_rcode_count_and_stand_once)
{
	struct dns_answer a;
	struct msg m;

	head(&m, 0x8180, 0, 0, 1);
	question(&m, "a.test", DNS_A);
	opt(&m, 4096, 1u << 24, NULL, 0);
	cr_assert_eq(answer(&a, &m), 0);
	cr_expect_eq(a.rcode, DNS_BADVERS);
	head(&m, 0x8180, 0, 0, 2);
	question(&m, "a.test", DNS_A);
	opt(&m, 4096, 0, NULL, 0);
	opt(&m, 4096, 0, NULL, 0);
	cr_expect_eq(answer(&a, &m), -EPROTO);
	head(&m, 0x8180, 1, 0, 0);
	question(&m, "a.test", DNS_A);
	opt(&m, 4096, 0, NULL, 0);
	cr_expect_eq(answer(&a, &m), -EPROTO);
}

/* --- what is built ------------------------------------------------------ */

static void asked(struct dns_query *q, const char *name, unsigned type, int edns)
{
	struct msg m;

	head(&m, 0x0100, 0, 0, edns ? 1 : 0);
	question(&m, name, type);
	if (edns)
		opt(&m, 1232, 0, NULL, 0);
	cr_assert_eq(query(q, &m), 0);
}

Test(dns_answer, built_query_is_a_query)
{
	uint8_t buf[DNS_UDP_MIN];
	struct dns_query q, again;
	size_t n;

	asked(&q, "Example.com", DNS_AAAA, 0);
	for (unsigned edns = 0; edns <= DNS_MESSAGE_MAX; edns += 1024) {
		n = dns_build_query(buf, sizeof(buf), 77, &q.q, (uint16_t)edns);
		cr_assert_eq(dns_parse_query(&again, buf, n), 0);
		cr_expect_eq(again.id, 77);
		cr_expect(again.rd);
		cr_expect_eq(again.edns, edns > 0);
		cr_expect_eq(memcmp(&again.q, &q.q, sizeof(q.q)), 0);
		for (size_t k = 0; k < n; k++)
			cr_expect_eq(dns_build_query(buf, k, 77, &q.q,
						     (uint16_t)edns), 0);
	}
}

static void many(struct dns_answer *a, unsigned nlinks, unsigned naddrs)
{
	char name[32];

	memset(a, 0, sizeof(*a));
	a->ttl = 60;
	for (; a->nlinks < nlinks; a->nlinks++) {
		snprintf(name, sizeof(name), "link%u.test", a->nlinks);
		cr_assert_eq(dns_name_parse(&a->link[a->nlinks], name), 0);
	}
	for (; a->naddrs < naddrs; a->naddrs++)
		a->addr[a->naddrs] = net_addr4(1, 2, 3, (uint8_t)a->naddrs);
}

Test(dns_answer, built_answer_is_what_it_was_built_of)
{
	struct dns_answer a, again;
	uint8_t buf[DNS_MESSAGE_MAX];
	struct dns_query q;
	size_t n;

	for (int edns = 0; edns < 2; edns++) {
		asked(&q, "WWW.test", DNS_A, edns);
		many(&a, DNS_CHAIN_MAX, DNS_ADDRS_MAX);
		n = dns_build_answer(buf, sizeof(buf), &q, DNS_NXDOMAIN, &a);
		cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
		cr_expect_eq(again.id, q.id);
		cr_expect_eq(again.rcode, DNS_NXDOMAIN);
		cr_expect_eq(again.ttl, 60);
		cr_expect_eq(memcmp(&again.q, &q.q, sizeof(q.q)), 0);
		cr_expect_eq(again.nlinks, DNS_CHAIN_MAX);
		for (unsigned i = 0; i < DNS_CHAIN_MAX; i++)
			cr_expect(dns_name_equal(&a.link[i], &again.link[i]));
		cr_expect_eq(again.naddrs, DNS_ADDRS_MAX);
		cr_expect_eq(memcmp(a.addr, again.addr, sizeof(a.addr)), 0);
		/* QR, RD, RA, and neither AA nor AD */
		cr_expect_eq(buf[2], 0x81);
		cr_expect_eq(buf[3], 0x80 | DNS_NXDOMAIN);
		cr_expect_eq(buf[11], edns);
	}
}

Test(dns_answer, what_does_not_fit_is_truncated_and_whole_otherwise)
{
	struct dns_answer a, again;
	uint8_t buf[DNS_MESSAGE_MAX];
	struct dns_query q;
	size_t all, n;

	asked(&q, "www.test", DNS_A, 1);
	many(&a, 1, 4);
	all = dns_build_answer(buf, sizeof(buf), &q, 0, &a);
	for (size_t size = 0; size <= all; size++) {
		n = dns_build_answer(buf, size, &q, 0, &a);
		cr_expect_leq(n, size);
		if (size < DNS_HEADER + 14 + 11) {
			cr_expect_eq(n, 0, "%zu", size);
			continue;
		}
		cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
		cr_expect_eq(again.truncated, size < all, "%zu", size);
		cr_expect_eq(again.naddrs, size < all ? 0 : 4);
		cr_expect_eq(again.nlinks, size < all ? 0 : 1);
	}
}

Test(dns_answer, errors_are_built_with_and_without_a_question)
{
	struct dns_answer again;
	uint8_t buf[DNS_UDP_MIN];
	struct dns_query q;
	size_t n;

	asked(&q, "www.test", DNS_A, 1);
	n = dns_build_answer(buf, sizeof(buf), &q, DNS_BADVERS, NULL);
	cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
	cr_expect_eq(again.rcode, DNS_BADVERS);
	q.opcode = 5;
	n = dns_build_error(buf, sizeof(buf), &q, DNS_NOTIMP);
	cr_assert_eq(n, DNS_HEADER);
	cr_expect_eq(memcmp(buf, "\x12\x34\xa9\x84\0\0\0\0\0\0\0", 12), 0);
	cr_expect_eq(dns_build_error(buf, 11, &q, DNS_NOTIMP), 0);
}

Test(dns_answer, what_a_rule_forbids_does_not_exist_and_edns_says_why)
{
	struct dns_answer again;
	uint8_t buf[DNS_UDP_MIN];
	struct dns_query q;
	size_t n;

	for (int edns = 0; edns < 2; edns++) {
		asked(&q, "www.test", DNS_A, edns);
		n = dns_build_answer(buf, sizeof(buf), &q, DNS_BLOCKED, NULL);
		cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
		cr_expect_eq(again.rcode, DNS_NXDOMAIN);
		cr_expect_eq(n, DNS_HEADER + 14 + (edns ? 17 : 0));
		if (edns)
			cr_expect_eq(memcmp(buf + n - 6, "\0\17\0\2\0\17", 6),
				     0);
		cr_expect_eq(dns_build_answer(buf, n - 1, &q, DNS_BLOCKED,
					      NULL), 0);
	}
}

/* Additional records have addresses that nobody has looked at. */
Test(dns_answer, answer_and_authority_are_passed_on_and_nothing_else)
{
	struct dns_answer a, again;
	uint8_t buf[DNS_MESSAGE_MAX];
	struct dns_query q;
	struct msg m;
	size_t n;

	head(&m, 0x8180, 1, 1, 2);
	question(&m, "WWW.test", DNS_TXT);
	record(&m, NULL, DNS_TXT, 300, "\4text", 5);
	record(&m, "test", DNS_SOA, 300, "whatever", 8);
	record(&m, "ns.test", DNS_A, 300, V4(6, 6, 6, 6));
	opt(&m, 4096, 0, NULL, 0);
	cr_assert_eq(answer(&a, &m), 0);
	for (int edns = 0; edns < 2; edns++) {
		asked(&q, "www.TEST", DNS_TXT, edns);
		q.id = 99;
		n = dns_pass_on(buf, sizeof(buf), &q, m.b, &a);
		cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
		cr_expect_eq(again.id, 99);
		cr_expect_eq(again.nanswer, 1);
		cr_expect_eq(again.nauthority, 1);
		cr_expect_eq(memcmp(buf + 12, q.q.name.b, q.q.name.len), 0);
		cr_expect_eq(n, a.end + (edns ? 11 : 0));
		cr_expect_eq(memcmp(buf + a.begin, m.b + a.begin,
				    (size_t)a.end - a.begin), 0);
		n = dns_pass_on(buf, n - 1, &q, m.b, &a);
		cr_assert_eq(dns_parse_answer(&again, buf, n), 0);
		cr_expect(again.truncated && !again.nanswer);
	}
	asked(&q, "ww.test", DNS_TXT, 0);
	cr_expect_eq(dns_pass_on(buf, sizeof(buf), &q, m.b, &a), 0);
}
