/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns: messages of the domain name system, to and from plain structures.
 *
 * Whoever wrote a message is hostile: a guest its queries, a network the
 * answers. So parsing is strict, looks at a byte only inside of the message,
 * and its work is bounded by the message's length. A message that is built
 * has nothing in it that was not understood, but for dns_pass_on().
 *
 * RFC 1034 and 1035 (format), 2181 (TTL, records of one set), 2308 (negative
 * answers), 4343 (case), 6891 (EDNS), 8499 (terms), 9619 (one question).
 * Pure functions, no allocation; any thread.
 */
#ifndef MAYFLY_NET_DNS_H
#define MAYFLY_NET_DNS_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

#define DNS_PORT	53
#define DNS_HEADER	12  /* RFC 1035 4.1.1 */
#define DNS_NAME_MAX	255 /* octets, the root's among them: RFC 1035 2.3.4 */
#define DNS_TEXT_MAX	254 /* "a.b.c" and its NUL */
#define DNS_QUERY_MAX	1024 /* the longest query that is read */
#define DNS_MESSAGE_MAX 4096 /* the longest answer by UDP: RFC 6891 6.2.5 */
#define DNS_STREAM_MAX	65535 /* the same by TCP: RFC 1035 4.2.2 */
#define DNS_UDP_MIN	512  /* an answer without EDNS: RFC 1035 4.2.1 */
#define DNS_UDP_MAX	1232 /* to the guest: never a fragment, at any MTU */
#define DNS_CHAIN_MAX	16
#define DNS_ADDRS_MAX	32

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_OPT = 41,
	DNS_SVCB = 64, /* RFC 9460 */
	DNS_HTTPS = 65,
};

#define DNS_CLASS_IN 1

enum dns_rcode { /* RFC 1035 4.1.1, RFC 6891 9 */
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16,
	/*
	 * For dns_build_answer(): a name that a rule forbids. Not REFUSED: musl
	 * takes that for no answer at all and waits 5 s for another one, where
	 * with this every resolver ends at once. With EDNS the answer says so:
	 * RFC 8914 4.16, "Blocked".
	 */
	DNS_BLOCKED = DNS_NXDOMAIN | 0x1000,
};

/* As on the wire, uncompressed: labels, then the root's empty one. */
struct dns_name {
	uint8_t len; /* 1 is the root; 0 is none */
	uint8_t b[DNS_NAME_MAX];
};

/* The case of letters does not count, that of other octets does: RFC 4343. */
int dns_name_equal(const struct dns_name *a, const struct dns_name *b);

/*
 * In lower case, without the last dot; "." for the root. -EILSEQ where this
 * would be ambiguous or unprintable: a dot, a backslash, a blank, a control
 * character or eight bits in a label.
 */
int dns_name_text(const struct dns_name *n, char text[DNS_TEXT_MAX]);
/* The reverse. -EINVAL for no such name. */
int dns_name_parse(struct dns_name *n, const char *text);

/* The address that a name as dns_name_text() writes it asks back for: below
 * in-addr.arpa (RFC 1035 3.5) or ip6.arpa (RFC 3596 2.5). -EINVAL: none. */
int dns_name_address(const char *text, struct net_addr *a);

struct dns_question {
	struct dns_name name;
	uint16_t type, class;
};

int dns_question_equal(const struct dns_question *a,
		       const struct dns_question *b);

struct dns_query {
	uint16_t id;
	uint8_t opcode;
	uint8_t rd;		 /* recursion desired */
	uint8_t edns;		 /* it has an OPT record, as its answer must */
	uint16_t udp_size;	 /* what its sender takes, within our bounds */
	struct dns_question q;	 /* spelt as it was asked */
};

/*
 * 0: a standard query with one question. A dns_rcode: to be answered with that
 * (dns_build_error() for FORMERR and NOTIMP, else dns_build_answer()). -EINVAL:
 * no query at all, to be dropped without a word.
 */
int dns_parse_query(struct dns_query *q, const void *msg, size_t len);

struct dns_answer {
	uint16_t id;
	uint16_t rcode;	   /* RFC 6891's upper bits included */
	uint8_t truncated;
	struct dns_question q;
	/* Of a question for addresses: */
	unsigned nlinks;   /* CNAME after CNAME, from the question's name */
	struct dns_name link[DNS_CHAIN_MAX];
	unsigned naddrs;   /* of the last of them; the first so many */
	struct net_addr addr[DNS_ADDRS_MAX];
	uint32_t ttl;	   /* seconds: the least of those; UINT32_MAX: none */
	/* For dns_pass_on(): where the question and the authority section end,
	 * and how many records are between. */
	uint16_t begin, end, nanswer, nauthority;
};

/*
 * 0, or -EBADMSG: not an answer that can be understood. An answer that is
 * truncated may end anywhere after its question: what was whole counts.
 */
int dns_parse_answer(struct dns_answer *a, const void *msg, size_t len);

/* All give the length, 0 where @size is too small for even that. */
size_t dns_build_query(uint8_t *buf, size_t size, uint16_t id,
		       const struct dns_question *q, uint16_t edns_size);
size_t dns_build_error(uint8_t *buf, size_t size, const struct dns_query *to,
		       unsigned rcode);

/*
 * The question of @to, the chain and the addresses of @a, which may be NULL,
 * all with its .ttl. What does not fit into @size is a truncated answer with
 * none of them.
 */
size_t dns_build_answer(uint8_t *buf, size_t size, const struct dns_query *to,
			unsigned rcode, const struct dns_answer *a);

/*
 * The same with answer and authority as they are in @msg, which @a was parsed
 * from and which answers the question of @to. Additional records stay behind:
 * they are hints, and mostly addresses.
 */
size_t dns_pass_on(uint8_t *buf, size_t size, const struct dns_query *to,
		   const uint8_t *msg, const struct dns_answer *a);

#endif
