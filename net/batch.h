/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch: a table of nftables as the messages that make it.
 *
 * What nft(8) makes of a ruleset, without nft: one transaction of nfnetlink, a
 * begin, the requests and an end, in one buffer for one sendmsg(). What does
 * not fit makes all of it void: a table without its end would be a fence with
 * a hole. The order is the kernel's: what a request names (a chain to go to, a
 * set to look into) comes before it.
 *
 * Pure: it writes bytes into the caller's buffer, in place and without libnl,
 * which has an allocation for each message. expr.h has the rules; nfnl_send()
 * in nl.h sends it. Layouts: linux/netfilter/nf_tables.h, and for the messages
 * Documentation/netlink/specs/nftables.yaml.
 */
#ifndef MAYFLY_NET_BATCH_H
#define MAYFLY_NET_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct err;

struct batch {
	uint8_t *buf; /* aligned for a struct nlmsghdr */
	size_t size, len;
	size_t last;	/* where the latest message begins */
	uint32_t seq;	/* of the next message */
	uint8_t family; /* of the table; NFPROTO_INET, ... */
	const char *table, *chain; /* that are being written */
	uint32_t sets;	/* ids that were given */
	int bad;	/* did not fit, or had what is no address */
};

/* The first message has number @seq: what the kernel says of one names it. */
void batch_open(struct batch *b, void *buf, size_t size, uint32_t seq);
/* The length of all, or -E2BIG with words. The kernel answers the last request
 * of @b in any case. */
int batch_close(struct batch *b, struct err *err);

/* --- what a table has ---------------------------------------------------- */

/* One that is not there yet. Names are the caller's for as long as @b is
 * written. */
void batch_table(struct batch *b, uint8_t family, const char *name);

/* Where the kernel asks a chain: "type filter hook input priority filter". */
struct batch_hook {
	const char *type;
	uint32_t hook;
	int32_t priority;
	uint32_t policy; /* NF_ACCEPT, NF_DROP */
	const char *device; /* for NFPROTO_NETDEV */
};

/* Rules are added to it until there is another one. @hook NULL: for goto. */
void batch_chain(struct batch *b, const char *name,
		 const struct batch_hook *hook);

/* What keys are, as nft numbers them: it shows them by that. */
enum batch_type {
	TYPE_IPV4_ADDR = 7,
	TYPE_IPV6_ADDR = 8,
	TYPE_INET_PROTO = 12,
	TYPE_INET_SERVICE = 13,
	TYPE_ICMP = 14,
	TYPE_ICMPV6 = 29,
};
/* "type ipv4_addr . inet_service" */
#define TYPE_CONCAT(a, b) ((a) << 6 | (b))

struct batch_set {
	const char *name; /* NULL: of one rule */
	unsigned type, key_len;
	uint32_t flags;	/* NFT_SET_... */
	uint32_t size;	/* 0: any */
};

/* Its id, for elements and for rules of this batch. */
uint32_t batch_set(struct batch *b, const struct batch_set *s);
/* Networks of one family as elements of a set with NFT_SET_INTERVAL: what lies
 * inside of another one, or beside it, is put together. @n <= BATCH_RANGES_MAX;
 * @p is put in order. */
#define BATCH_RANGES_MAX 512
void batch_ranges(struct batch *b, const char *set, uint32_t id,
		  const struct net_prefix **p, unsigned n);
/*
 * Elements, one by one: @type is NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM, @id
 * 0 for a set of an earlier batch. Up to batch_shut() of what is returned.
 */
size_t batch_elements(struct batch *b, int type, const char *set, uint32_t id);
void batch_element(struct batch *b, const void *key, size_t len,
		   uint64_t timeout_ms /* 0: for ever */);

/* --- one message, for those who write what is in it ---------------------- */

/* A request; @type and @flags are NFT_MSG_... and NLM_F_... */
void batch_message(struct batch *b, int type, int flags);
void batch_put(struct batch *b, int type, const void *data, size_t len);
void batch_put32(struct batch *b, int type, uint32_t v); /* network order */
void batch_put64(struct batch *b, int type, uint64_t v);
void batch_text(struct batch *b, int type, const char *s);
/* An attribute of attributes, up to batch_shut() of what it has returned. */
size_t batch_nest(struct batch *b, int type);
void batch_shut(struct batch *b, size_t nest);

/* --- what the kernel has refused ----------------------------------------- */

#define BATCH_NAME_MAX 128

/*
 * What message @seq of the @len bytes of a batch is: "rule 3 of chain admit",
 * "set own4". Where the kernel has told which attribute it does not like, by
 * its place in the message (0: it has not), and that is an expression, @expr is
 * its name, else "".
 */
void batch_name(const void *batch, size_t len, uint32_t seq, uint32_t place,
		char name[BATCH_NAME_MAX], char expr[BATCH_NAME_MAX]);

#endif
