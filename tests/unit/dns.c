/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the domain name system: what is read, and what is not. */
#include "net/dns.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message under construction. */
struct msg {
	uint8_t b[DNS_MESSAGE_MAX + 64];
	size_t len;
};

static void put(struct msg *m, const void *p, size_t n)
{
	cr_assert_leq(m->len + n, sizeof(m->b));
	if (n)
		memcpy(m->b + m->len, p, n);
	m->len += n;
}

static void put16(struct msg *m, unsigned v)
{
	put(m, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void put32(struct msg *m, uint32_t v)
{
	put16(m, v >> 16);
	put16(m, v & 0xffff);
}

static void put_name(struct msg *m, const char *text)
{
	struct dns_name n;

	cr_assert_eq(dns_name_parse(&n, text), 0, "%s", text);
	put(m, n.b, n.len);
}

static void head(struct msg *m, unsigned flags, unsigned an, unsigned ns,
		 unsigned ar)
{
	m->len = 0;
	put16(m, 0x1234);
	put16(m, flags);
	put16(m, 1);
	put16(m, an);
	put16(m, ns);
	put16(m, ar);
}

static void question(struct msg *m, const char *name, unsigned type)
{
	put_name(m, name);
	put16(m, type);
	put16(m, DNS_CLASS_IN);
}

/* @name NULL: a pointer to the question's. */
static void record(struct msg *m, const char *name, unsigned type,
		   uint32_t ttl, const void *data, unsigned len)
{
	if (name)
		put_name(m, name);
	else
		put16(m, 0xc00c);
	put16(m, type);
	put16(m, DNS_CLASS_IN);
	put32(m, ttl);
	put16(m, len);
	put(m, data, len);
}

static void alias(struct msg *m, const char *name, const char *to, uint32_t ttl)
{
	struct dns_name n;

	cr_assert_eq(dns_name_parse(&n, to), 0);
	record(m, name, DNS_CNAME, ttl, n.b, n.len);
}

static void opt(struct msg *m, unsigned size, uint32_t ttl, const void *data,
		unsigned len)
{
	put(m, "", 1);
	put16(m, DNS_OPT);
	put16(m, size);
	put32(m, ttl);
	put16(m, len);
	put(m, data, len);
}

#define V4(a, b, c, d) ((uint8_t[]){ a, b, c, d }), 4

static int query(struct dns_query *q, const struct msg *m)
{
	return dns_parse_query(q, m->b, m->len);
}

static int answer(struct dns_answer *a, const struct msg *m)
{
	return dns_parse_answer(a, m->b, m->len);
}

static void expect_name(const struct dns_name *n, const char *text)
{
	char is[DNS_TEXT_MAX];

	cr_expect_eq(dns_name_text(n, is), 0);
	cr_expect_str_eq(is, text);
}

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

/* --- answers ------------------------------------------------------------ */

Test(dns, addresses_of_an_answer)
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

Test(dns, ipv6_addresses_of_an_answer)
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

Test(dns, chain_of_aliases_is_followed_in_any_order)
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

Test(dns, chain_that_is_a_loop_or_too_long_is_an_error)
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

Test(dns, time_to_live_above_31_bits_is_none)
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

Test(dns, first_so_many_addresses_count)
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

Test(dns, pointers_that_do_not_go_back_are_errors)
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
Test(dns, name_that_reaches_into_what_points_to_it_is_an_error)
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
Test(dns, chain_of_pointers_is_bounded)
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
Test(dns, name_that_grows_by_pointers_is_bounded)
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

Test(dns, every_shorter_answer_is_an_error)
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

Test(dns, truncated_answer_counts_as_far_as_it_is_whole)
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

Test(dns, what_is_no_answer_to_one_question_is_an_error)
{
	static const unsigned flags[] = { 0x0100, 0x8980, 0xf980 };
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
	m.len = DNS_MESSAGE_MAX + 1;
	cr_expect_eq(answer(&a, &m), -EBADMSG);
}

Test(dns, addresses_and_aliases_have_to_have_their_length)
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

Test(dns, upper_bits_of_the_rcode_count_and_stand_once)
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

Test(dns, built_query_is_a_query)
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

Test(dns, built_answer_is_what_it_was_built_of)
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

Test(dns, what_does_not_fit_is_truncated_and_whole_otherwise)
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

Test(dns, errors_are_built_with_and_without_a_question)
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

Test(dns, what_a_rule_forbids_does_not_exist_and_edns_says_why)
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
Test(dns, answer_and_authority_are_passed_on_and_nothing_else)
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
