/* SPDX-License-Identifier: Apache-2.0 */
/* Messages made by hand for the tests of dns.c and dns_build.c. */
#ifndef MAYFLY_TESTS_UNIT_DNS_STAGE_H
#define MAYFLY_TESTS_UNIT_DNS_STAGE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/dns.h"

/* A message under construction. */
struct msg {
	uint8_t b[DNS_MESSAGE_MAX + 64];
	size_t len;
};

static inline void put(struct msg *m, const void *p, size_t n)
{
	cr_assert_leq(m->len + n, sizeof(m->b));
	if (n)
		memcpy(m->b + m->len, p, n);
	m->len += n;
}

static inline void put16(struct msg *m, unsigned v)
{
	put(m, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static inline void put32(struct msg *m, uint32_t v)
{
	put16(m, v >> 16);
	put16(m, v & 0xffff);
}

static inline void put_name(struct msg *m, const char *text)
{
	struct dns_name n;

	cr_assert_eq(dns_name_parse(&n, text), 0, "%s", text);
	put(m, n.b, n.len);
}

static inline void head(struct msg *m, unsigned flags, unsigned an, unsigned ns,
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

static inline void question(struct msg *m, const char *name, unsigned type)
{
	put_name(m, name);
	put16(m, type);
	put16(m, DNS_CLASS_IN);
}

/* @name NULL: a pointer to the question's. */
static inline void record(struct msg *m, const char *name, unsigned type,
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

static inline void alias(struct msg *m, const char *name, const char *to, uint32_t ttl)
{
	struct dns_name n;

	cr_assert_eq(dns_name_parse(&n, to), 0);
	record(m, name, DNS_CNAME, ttl, n.b, n.len);
}

static inline void opt(struct msg *m, unsigned size, uint32_t ttl, const void *data,
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

static inline int query(struct dns_query *q, const struct msg *m)
{
	return dns_parse_query(q, m->b, m->len);
}

static inline int answer(struct dns_answer *a, const struct msg *m)
{
	return dns_parse_answer(a, m->b, m->len);
}

static inline void expect_name(const struct dns_name *n, const char *text)
{
	char is[DNS_TEXT_MAX];

	cr_expect_eq(dns_name_text(n, is), 0);
	cr_expect_str_eq(is, text);
}

#endif
