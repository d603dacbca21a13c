/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the domain name system: what is written. */
#include "net/dns.h"

#include <assert.h>
#include <string.h>

#define FLAG_QR	0x8000
#define FLAG_TC	0x0200
#define FLAG_RD	0x0100
#define FLAG_RA	0x0080

#define AT_FLAGS   2
#define AT_ANSWERS 6
#define AT_OTHERS  8
#define AT_MORE	   10
#define OPT_LEN	   11
#define EDE_LEN	   6
#define EDE_CODE   15 /* RFC 8914 2: the option, and what it says */
#define EDE_BLOCKED 15
#define POINTER	   0xc000u

/* Any name of ours can be pointed to: RFC 1035 4.1.4. */
static_assert(DNS_HEADER + DNS_NAME_MAX + 4 +
	      DNS_CHAIN_MAX * (12 + DNS_NAME_MAX) < 0x4000, "14 bits");

struct writer {
	uint8_t *b;
	size_t size, len;
	int full; /* something did not fit */
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->full || len > w->size - w->len) {
		w->full = 1;
		return;
	}
	memcpy(w->b + w->len, data, len);
	w->len += len;
}

static void put16(struct writer *w, unsigned v)
{
	const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	put(w, b, sizeof(b));
}

static void put32(struct writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

static void set16(struct writer *w, size_t at, unsigned v)
{
	w->b[at] = (uint8_t)(v >> 8);
	w->b[at + 1] = (uint8_t)v;
}

static void put_head(struct writer *w, uint16_t id, unsigned flags,
		     const struct dns_question *q)
{
	put16(w, id);
	put16(w, flags);
	put16(w, q != NULL);
	put16(w, 0);
	put16(w, 0);
	put16(w, 0);
	if (!q)
		return;
	put(w, q->name.b, q->name.len);
	put16(w, q->type);
	put16(w, q->class);
}

static size_t opt_len(const struct dns_query *to, unsigned rcode)
{
	return !to->edns ? 0 : OPT_LEN + (rcode == DNS_BLOCKED ? EDE_LEN : 0);
}

/* RFC 6891 6.1.2 */
static void put_opt(struct writer *w, unsigned size, unsigned rcode)
{
	put(w, "", 1);
	put16(w, DNS_OPT);
	put16(w, size);
	put32(w, (uint32_t)(rcode >> 4 & 0xff) << 24);
	put16(w, rcode == DNS_BLOCKED ? EDE_LEN : 0);
	if (rcode == DNS_BLOCKED) {
		put16(w, EDE_CODE);
		put16(w, 2);
		put16(w, EDE_BLOCKED);
	}
	if (!w->full)
		set16(w, AT_MORE, 1);
}

static unsigned answer_flags(const struct dns_query *to, unsigned rcode)
{
	return FLAG_QR | (unsigned)to->opcode << 11 | (to->rd ? FLAG_RD : 0) |
	       FLAG_RA | (rcode & 15);
}

/* The end: what did not fit is taken back, but for what is at @begin. */
static size_t finish(struct writer *w, size_t begin, const struct dns_query *to,
		     unsigned rcode, int truncated)
{
	if (w->full || truncated) {
		w->len = begin;
		w->full = 0;
		set16(w, AT_FLAGS, answer_flags(to, rcode) | FLAG_TC);
		set16(w, AT_ANSWERS, 0);
		set16(w, AT_OTHERS, 0);
	}
	if (to->edns) {
		w->size += opt_len(to, rcode);
		put_opt(w, DNS_UDP_MAX, rcode);
	}
	return w->full ? 0 : w->len;
}

/* Header and question, with room left for OPT. 0: too small. */
static size_t begin(struct writer *w, uint8_t *buf, size_t size,
		    const struct dns_query *to, unsigned rcode)
{
	size_t tail = opt_len(to, rcode);

	*w = (struct writer){ .b = buf, .size = size - tail };
	if (size < DNS_HEADER + tail)
		return 0;
	put_head(w, to->id, answer_flags(to, rcode), &to->q);
	return w->full ? 0 : w->len;
}

size_t dns_build_query(uint8_t *buf, size_t size, uint16_t id,
		       const struct dns_question *q, uint16_t edns_size)
{
	struct writer w = { .b = buf, .size = size };

	put_head(&w, id, FLAG_RD, q);
	if (edns_size)
		put_opt(&w, edns_size, 0);
	return w.full ? 0 : w.len;
}

size_t dns_build_error(uint8_t *buf, size_t size, const struct dns_query *to,
		       unsigned rcode)
{
	struct writer w = { .b = buf, .size = size };

	put_head(&w, to->id, answer_flags(to, rcode), NULL);
	return w.full ? 0 : w.len;
}

static void put_record(struct writer *w, size_t owner, unsigned type,
		       uint32_t ttl, const void *data, unsigned len)
{
	put16(w, POINTER | (unsigned)owner);
	put16(w, type);
	put16(w, DNS_CLASS_IN);
	put32(w, ttl);
	put16(w, len);
	put(w, data, len);
}

size_t dns_build_answer(uint8_t *buf, size_t size, const struct dns_query *to,
			unsigned rcode, const struct dns_answer *a)
{
	struct writer w;
	size_t start = begin(&w, buf, size, to, rcode), owner = DNS_HEADER;

	if (!start)
		return 0;
	for (unsigned i = 0; a && i < a->nlinks; i++) {
		put_record(&w, owner, DNS_CNAME, a->ttl, a->link[i].b,
			   a->link[i].len);
		owner = w.len - a->link[i].len;
	}
	for (unsigned i = 0; a && i < a->naddrs; i++) {
		int v4 = a->addr[i].family == 4;

		put_record(&w, owner, v4 ? DNS_A : DNS_AAAA, a->ttl,
			   a->addr[i].b, v4 ? 4 : 16);
	}
	set16(&w, AT_ANSWERS, a ? a->nlinks + a->naddrs : 0);
	return finish(&w, start, to, rcode, 0);
}

size_t dns_pass_on(uint8_t *buf, size_t size, const struct dns_query *to,
		   const uint8_t *msg, const struct dns_answer *a)
{
	struct writer w;
	size_t start = begin(&w, buf, size, to, a->rcode);

	/* Names in it point to where they have been. */
	if (!start || start != a->begin)
		return 0;
	put(&w, msg + a->begin, (size_t)a->end - a->begin);
	set16(&w, AT_ANSWERS, a->nanswer);
	set16(&w, AT_OTHERS, a->nauthority);
	return finish(&w, start, to, a->rcode, a->truncated);
}
