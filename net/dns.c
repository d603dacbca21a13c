/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the domain name system: names, and what is read. */
#include "net/dns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/mem.h"

/*
 * A name may end in a pointer to an earlier one (RFC 1035 4.1.4). What it points
 * to has to lie before all that was read of the name so far, with its end, so
 * there is no loop, and a message that ends later has the same names. There are
 * no more of them than a name can have labels, so that many names which share a
 * long way of pointers cost no more than their letters do.
 */
#define POINTERS_MAX 127

#define FLAG_QR	    0x8000
#define FLAG_TC	    0x0200
#define FLAG_RD	    0x0100
#define OPCODE(f)   ((f) >> 11 & 15)

struct message {
	const uint8_t *b;
	size_t len, at;
};

struct record {
	struct dns_name owner;
	uint16_t type, class, rdlen;
	uint32_t ttl;
	size_t rdata;
};

/* --- names -------------------------------------------------------------- */

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

int dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	if (a->len != b->len)
		return 0;
	/* The lengths of labels are below any letter. */
	for (unsigned i = 0; i < a->len; i++)
		if (lower(a->b[i]) != lower(b->b[i]))
			return 0;
	return 1;
}

int dns_question_equal(const struct dns_question *a,
		       const struct dns_question *b)
{
	return a->type == b->type && a->class == b->class &&
	       dns_name_equal(&a->name, &b->name);
}

static int plain(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '.' && c != '\\';
}

int dns_name_text(const struct dns_name *n, char text[DNS_TEXT_MAX])
{
	unsigned left = n->len > 1 ? n->b[0] : 0, at = 0;

	if (!n->len)
		return -EILSEQ;
	for (unsigned i = 1; i + 1 < n->len; i++) {
		uint8_t c = n->b[i];

		if (left-- > 0) {
			if (!plain(c))
				return -EILSEQ;
			text[at++] = (char)lower(c);
		} else {
			left = c;
			text[at++] = '.';
		}
	}
	if (!at)
		text[at++] = '.';
	text[at] = 0;
	return 0;
}

int dns_name_parse(struct dns_name *n, const char *text)
{
	size_t len = strlen(text), at = 0;

	n->len = 0;
	if (len && text[len - 1] == '.')
		len--;
	if (len + 2 > DNS_NAME_MAX || (!len && !*text))
		return -EINVAL;
	for (size_t i = 0; i <= len && len; i++) {
		if (i < len && text[i] != '.') {
			if (!plain((uint8_t)text[i]))
				return -EINVAL;
			n->b[i + 1] = (uint8_t)text[i];
			continue;
		}
		if (i == at || i - at > 63)
			return -EINVAL;
		n->b[at] = (uint8_t)(i - at);
		at = i + 1;
	}
	n->b[at] = 0;
	n->len = (uint8_t)(at + 1);
	return 0;
}

static int address4(const char *text, struct net_addr *a)
{
	unsigned b[4];
	char plain4[16];
	int end = 0;

	if (sscanf(text, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &b[3], &b[2], &b[1],
		   &b[0], &end) != 4 || !end || text[end])
		return -EINVAL;
	snprintf(plain4, sizeof(plain4), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	return net_addr_read(a, plain4);
}

static int address6(const char *text, struct net_addr *a)
{
	uint8_t b[16] = { 0 };

	for (unsigned i = 0; i < 32; i++, text += 2) {
		static const char hex[] = "0123456789abcdef";
		const char *digit = *text ? strchr(hex, *text) : NULL;

		if (!digit || text[1] != '.')
			return -EINVAL;
		b[15 - i / 2] |= (uint8_t)((digit - hex) << (i & 1 ? 4 : 0));
	}
	*a = net_addr_from(6, b);
	return strcmp(text, "ip6.arpa") == 0 ? 0 : -EINVAL;
}

int dns_name_address(const char *text, struct net_addr *a)
{
	return address4(text, a) == 0 ? 0 : address6(text, a);
}

/* --- what messages are made of ------------------------------------------ */

static unsigned get16(const struct message *m, size_t at)
{
	return (unsigned)m->b[at] << 8 | m->b[at + 1];
}

static uint32_t get32(const struct message *m, size_t at)
{
	return (uint32_t)get16(m, at) << 16 | get16(m, at + 2);
}

/* The name at m->at, which moves behind it. */
static int get_name(struct message *m, struct dns_name *n)
{
	size_t at = m->at, first = m->at, end = m->len;
	unsigned out = 0, pointers = 0;

	n->len = 0;
	for (;;) {
		unsigned c;

		if (at >= end)
			return -EBADMSG;
		c = m->b[at];
		if (c >= 0xc0) {
			size_t to;

			if (at + 2 > end || ++pointers > POINTERS_MAX)
				return -EBADMSG;
			to = get16(m, at) & 0x3fff;
			if (to < DNS_HEADER)
				return -EBADMSG;
			if (pointers == 1)
				m->at = at + 2;
			end = first;
			at = first = to;
			continue;
		}
		/* 01 and 10 are no labels any more: RFC 6891 5. */
		if (c > 63 || out + 1 + c > DNS_NAME_MAX ||
		    c + 1 > end - at)
			return -EBADMSG;
		memcpy(n->b + out, m->b + at, c + 1);
		out += c + 1;
		at += c + 1;
		if (!c)
			break;
	}
	if (!pointers)
		m->at = at;
	n->len = (uint8_t)out;
	return 0;
}

static int get_question(struct message *m, struct dns_question *q)
{
	if (get_name(m, &q->name) < 0 || m->len - m->at < 4)
		return -EBADMSG;
	q->type = (uint16_t)get16(m, m->at);
	q->class = (uint16_t)get16(m, m->at + 2);
	m->at += 4;
	return 0;
}

static int get_record(struct message *m, struct record *r)
{
	if (get_name(m, &r->owner) < 0 || m->len - m->at < 10)
		return -EBADMSG;
	r->type = (uint16_t)get16(m, m->at);
	r->class = (uint16_t)get16(m, m->at + 2);
	r->ttl = get32(m, m->at + 4);
	r->rdlen = (uint16_t)get16(m, m->at + 8);
	r->rdata = m->at + 10;
	if (m->len - r->rdata < r->rdlen)
		return -EBADMSG;
	m->at = r->rdata + r->rdlen;
	return 0;
}

/* --- queries ------------------------------------------------------------ */

/* RFC 6891 6.1.2: the owner is the root, options have a code and a length. */
static int get_opt(const struct message *m, const struct record *r)
{
	size_t at = r->rdata, end = r->rdata + r->rdlen;

	if (r->owner.len != 1)
		return -EBADMSG;
	while (at < end) {
		if (end - at < 4 || end - at - 4 < get16(m, at + 2))
			return -EBADMSG;
		at += 4 + get16(m, at + 2);
	}
	return 0;
}

int dns_parse_query(struct dns_query *q, const void *msg, size_t len)
{
	struct message m = { msg, len, DNS_HEADER };
	struct record opt;
	unsigned flags;

	memset(q, 0, sizeof(*q));
	q->udp_size = DNS_UDP_MIN;
	if (len < DNS_HEADER)
		return -EINVAL;
	flags = get16(&m, 2);
	/* Never answer an answer: two that do would not stop. */
	if (flags & FLAG_QR)
		return -EINVAL;
	q->id = (uint16_t)get16(&m, 0);
	q->opcode = OPCODE(flags);
	q->rd = !!(flags & FLAG_RD);
	if (q->opcode)
		return DNS_NOTIMP;
	/* RFC 9619: one question. Nothing else but OPT, and that once. */
	if (flags & FLAG_TC || get16(&m, 4) != 1 || get16(&m, 6) ||
	    get16(&m, 8) || get16(&m, 10) > 1 || len > DNS_QUERY_MAX ||
	    get_question(&m, &q->q) < 0)
		goto bad;
	if (get16(&m, 10)) {
		if (get_record(&m, &opt) < 0 || opt.type != DNS_OPT ||
		    get_opt(&m, &opt) < 0)
			goto bad;
		q->edns = 1;
		q->udp_size = MIN(MAX(opt.class, DNS_UDP_MIN), DNS_UDP_MAX);
	}
	if (m.at != m.len)
		goto bad;
	/* RFC 6891 6.1.3: the version is in the second octet. */
	return q->edns && (opt.ttl >> 16 & 0xff) ? DNS_BADVERS : 0;
bad:
	q->q.name.len = 0;
	q->edns = 0;
	return DNS_FORMERR;
}

/* --- answers ------------------------------------------------------------ */

/* All records once: that they are whole, where they end, what OPT says. */
static int walk(struct message *m, struct dns_answer *a)
{
	unsigned an = get16(m, 6), ns = get16(m, 8), ar = get16(m, 10);
	unsigned opts = 0;

	for (unsigned i = 0; i < an + ns + ar; i++) {
		struct record r;

		if (get_record(m, &r) < 0)
			return a->truncated ? 0 : -EPROTO;
		if (r.type == DNS_OPT) {
			if (i < an + ns || opts++ || get_opt(m, &r) < 0)
				return -EPROTO;
			a->rcode |= (uint16_t)(r.ttl >> 24 << 4);
		}
		if (i < an)
			a->nanswer++;
		else if (i < an + ns)
			a->nauthority++;
		else
			continue;
		a->end = (uint16_t)m->at;
	}
	return m->at == m->len ? 0 : -EPROTO;
}

/* RFC 2181 8: with its first bit set it counts as 0. */
static void least_ttl(struct dns_answer *a, uint32_t ttl)
{
	a->ttl = MIN(a->ttl, ttl & 0x80000000u ? 0 : ttl);
}

/* The CNAME of @name among the answers; 0: it has none. */
static int get_link(struct message *m, struct dns_answer *a,
		    const struct dns_name *name)
{
	struct record r;

	m->at = a->begin;
	for (unsigned i = 0; i < a->nanswer; i++) {
		struct message to;

		get_record(m, &r);
		if (r.type != DNS_CNAME || r.class != DNS_CLASS_IN ||
		    !dns_name_equal(&r.owner, name))
			continue;
		to = (struct message){ m->b, m->at, r.rdata };
		if (a->nlinks == DNS_CHAIN_MAX ||
		    get_name(&to, &a->link[a->nlinks]) < 0 || to.at != m->at)
			return -EPROTO;
		a->nlinks++;
		least_ttl(a, r.ttl);
		return 1;
	}
	return 0;
}

static int get_addrs(struct message *m, struct dns_answer *a,
		     const struct dns_name *name)
{
	unsigned len = a->q.type == DNS_A ? 4 : 16;
	struct record r;

	m->at = a->begin;
	for (unsigned i = 0; i < a->nanswer; i++) {
		struct net_addr *to = &a->addr[a->naddrs];

		get_record(m, &r);
		if (r.type != a->q.type || r.class != DNS_CLASS_IN ||
		    !dns_name_equal(&r.owner, name))
			continue;
		if (r.rdlen != len)
			return -EPROTO;
		least_ttl(a, r.ttl);
		if (a->naddrs == DNS_ADDRS_MAX)
			continue;
		*to = (struct net_addr){ .family = len == 4 ? 4 : 6 };
		memcpy(to->b, m->b + r.rdata, len);
		a->naddrs++;
	}
	return 0;
}

/* RFC 1034 3.6.2: a name that is an alias has the addresses of another. */
static int get_chain(struct message *m, struct dns_answer *a)
{
	const struct dns_name *name = &a->q.name;
	int r;

	do {
		r = get_link(m, a, name);
		if (r > 0)
			name = &a->link[a->nlinks - 1];
	} while (r > 0);
	return r < 0 ? r : get_addrs(m, a, name);
}

int dns_parse_answer(struct dns_answer *a, const void *msg, size_t len)
{
	struct message m = { msg, len, DNS_HEADER };
	unsigned flags;
	int r;

	a->nlinks = a->naddrs = 0;
	a->nanswer = a->nauthority = 0;
	a->ttl = UINT32_MAX;
	if (len < DNS_HEADER || len > DNS_STREAM_MAX)
		return -EBADMSG;
	flags = get16(&m, 2);
	if (!(flags & FLAG_QR) || OPCODE(flags) || get16(&m, 4) != 1 ||
	    get_question(&m, &a->q) < 0)
		return -EBADMSG;
	a->id = (uint16_t)get16(&m, 0);
	a->rcode = flags & 15;
	a->truncated = !!(flags & FLAG_TC);
	a->begin = a->end = (uint16_t)m.at;
	r = walk(&m, a);
	if (r == 0 && a->q.class == DNS_CLASS_IN &&
	    (a->q.type == DNS_A || a->q.type == DNS_AAAA))
		r = get_chain(&m, a);
	return r;
}
