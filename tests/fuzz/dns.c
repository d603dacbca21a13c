/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's query and a network's answer of any bytes: what is built of what
 * was understood is understood again, and is the same.
 */
#include "net/dns.h"

#include <errno.h>

#include "tests/fuzz/bytes.h"

static void same_name(const struct dns_name *a, const struct dns_name *b)
{
	must(a->len == b->len && memcmp(a->b, b->b, a->len) == 0);
}

static void same_question(const struct dns_question *a,
			  const struct dns_question *b)
{
	same_name(&a->name, &b->name);
	must(a->type == b->type && a->class == b->class);
}

/* A name that has a text is that of its text, but for case. */
static void text_of(const struct dns_name *n)
{
	char text[DNS_TEXT_MAX];
	struct dns_name again;
	struct net_addr a;

	if (dns_name_text(n, text) < 0)
		return;
	must(strlen(text) < DNS_TEXT_MAX);
	must(dns_name_parse(&again, text) == 0 && dns_name_equal(n, &again));
	must(dns_name_address(text, &a) < 0 || net_addr_valid(&a));
}

/* What was asked, asked of an upstream. */
static void ask_again(const struct dns_query *q)
{
	uint8_t buf[DNS_UDP_MIN];
	struct dns_query again;
	size_t n = dns_build_query(buf, sizeof(buf), q->id, &q->q,
				   q->edns ? DNS_MESSAGE_MAX : 0);

	must(n && dns_parse_query(&again, buf, n) == 0);
	must(again.id == q->id && again.edns == q->edns);
	same_question(&again.q, &q->q);
}

static void answered(const struct dns_answer *a, const struct dns_query *to,
		     const uint8_t *buf, size_t n, size_t room)
{
	struct dns_answer again;

	must(n && n <= room && dns_parse_answer(&again, buf, n) == 0);
	must(again.id == to->id);
	same_question(&again.q, &to->q);
	if (again.truncated || (a->q.type != DNS_A && a->q.type != DNS_AAAA) ||
	    a->q.class != DNS_CLASS_IN)
		return;
	must(again.nlinks == a->nlinks && again.naddrs == a->naddrs);
	for (unsigned i = 0; i < a->nlinks; i++)
		same_name(&again.link[i], &a->link[i]);
	must(memcmp(again.addr, a->addr, a->naddrs * sizeof(*a->addr)) == 0);
}

static void answer(const uint8_t *data, size_t size, uint8_t how)
{
	static uint8_t buf[2 * DNS_MESSAGE_MAX];
	struct dns_query to = { .id = 7, .rd = 1, .edns = how & 1 };
	size_t room = how & 2 ? sizeof(buf) : DNS_UDP_MIN, n;
	struct dns_answer a;

	if (dns_parse_answer(&a, data, size) < 0)
		return;
	must(a.naddrs <= DNS_ADDRS_MAX && a.nlinks <= DNS_CHAIN_MAX);
	must(a.begin <= a.end && a.end <= size);
	for (unsigned i = 0; i < a.nlinks; i++)
		text_of(&a.link[i]);
	to.q = a.q;
	if (a.ttl & 0x80000000u)
		a.ttl = 60;
	n = dns_build_answer(buf, room, &to, a.rcode, &a);
	answered(&a, &to, buf, n, room);
	n = dns_pass_on(buf, room, &to, data, &a);
	must(n && n <= room);
	/* Pointers of a message that was cut off may lead behind its end. */
	if (!a.truncated && n > a.end)
		answered(&a, &to, buf, n, room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_query q;
	uint8_t how;
	int r;

	if (!size)
		return 0;
	how = data[0];
	data++;
	size--;
	r = dns_parse_query(&q, data, size);
	must(r == 0 || r == -EINVAL || r == DNS_FORMERR || r == DNS_NOTIMP ||
	     r == DNS_BADVERS);
	must(q.udp_size >= DNS_UDP_MIN && q.udp_size <= DNS_UDP_MAX);
	if (r == 0) {
		text_of(&q.q.name);
		ask_again(&q);
	}
	answer(data, size, how);
	return 0;
}
