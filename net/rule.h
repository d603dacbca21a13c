/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule: what a guest may reach: --allow and --deny, and what holds without.
 *
 *	HOST[:PORT]	a name; *.HOST is every name below it, not HOST; a name
			that is denied has no port
 *	CIDR[:PORT]	a network or an address; IPv6 with a port is [CIDR]:PORT
 *
 * A port means TCP and UDP; without one a rule is for all ports, and echo. In
 * this order, for a new flow from the guest:
 *
 *	1. a network that is denied			refused
 *	2. the host's own addresses, all of ours	refused
 *	3. allowed by its exact address			open
 *	4. metadata services; IPv6 that embeds IPv4	refused
 *	5. an allowed network inside of a special range	open
 *	6. special ranges (private, link-local, ...)	refused
 *	7. no --allow at all				open
 *	8. an allowed network				open
 *	9. learned: the forwarder has answered an
 *	   allowed name with this address		open
 *	10. all else					refused
 *
 * So a wide network (0.0.0.0/0) opens public addresses only, and a name opens
 * what is public. Where there are allowed rules or denied names the ports of
 * DNS (53, 853) are open for rules that name the port only: names are judged
 * by the forwarder, and nobody goes round it.
 *
 * net_decide() is the model of it that tests, keeper and forwarder ask;
 * table_vm.c writes the same for the kernel, out of the same lists.
 *
 * Pure: nothing allocated, any thread. A rule that net_rule_parse() has made
 * may be printed as it is; net_rules_valid() is for rules that came by message.
 */
#ifndef MAYFLY_NET_RULE_H
#define MAYFLY_NET_RULE_H

#include <stdint.h>

#include "net/addr.h"

struct err;

#define NET_RULES_MAX 64
#define NET_OWN_MAX   256
#define NET_NAME_MAX  254 /* of a name, RFC 1035 2.3.4, and a NUL */
#define NET_RULE_MAX  (2 + NET_NAME_MAX + 8) /* what net_rule_format() writes */

struct net_rule {
	int is_name;
	struct net_prefix prefix;  /* where it is no name */
	char name[NET_NAME_MAX];   /* lower case, no dot at its end; "*.NAME" */
	uint16_t port;		   /* 0: all of them */
};

struct net_rules {
	struct net_rule allow[NET_RULES_MAX], deny[NET_RULES_MAX];
	unsigned nallow, ndeny;
	/* Where nothing ever leads to: addresses of the host (a network of one
	 * each) and the pool. Those of NET_GUEST_* are known without. */
	struct net_prefix own[NET_OWN_MAX];
	unsigned nown;
};

enum net_verdict {
	NET_REFUSED,
	NET_OPEN,
	NET_BY_NAME, /* refused until it is learned, then open */
};

/* 0, or -EINVAL with words on what is wrong and a remedy. */
int net_rule_parse(struct net_rule *r, const char *text, struct err *err);
/* Of @text, which was read as @r: is it an address of IPv6 and nothing else, but
 * also one with a port behind it ("2001:db8::1:80")? How to say that, or NULL. */
const char *net_rule_doubt(const struct net_rule *r, const char *text,
			   char buf[NET_RULE_MAX]);
/* What net_rule_parse() takes back. */
const char *net_rule_format(const struct net_rule *r, char buf[NET_RULE_MAX]);

/* -E2BIG with words for one too many. */
int net_rules_allow(struct net_rules *rs, const char *text, struct err *err);
int net_rules_deny(struct net_rules *rs, const char *text, struct err *err);
/* Again is no error. Past NET_OWN_MAX it is put together with the nearest: a
 * host with thousands of addresses has them side by side. -E2BIG with words
 * where that does not help. */
int net_rules_own(struct net_rules *rs, const struct net_prefix *p,
		  struct err *err);
/* Counts, addresses, names: all as net_rule_parse() makes them? */
int net_rules_valid(const struct net_rules *rs);

/* @port 0: echo; all that is neither TCP nor UDP nor echo is refused. So is an
 * address that is not valid. A multicast address is refused in silence, all
 * else at once. */
enum net_verdict net_decide(const struct net_rules *rs,
			    const struct net_addr *a, uint16_t port);

/* Is there any port where net_decide() would not refuse it? If not, the
 * forwarder leaves it out of an answer. */
int net_answerable(const struct net_rules *rs, const struct net_addr *a);

/* May this name be asked for? If so, @ports is what its addresses are to be
 * learned with, 0 for all ports; none where nothing is to be learned. @name is
 * text, in any case, a dot at its end or none. */
int net_name_allowed(const struct net_rules *rs, const char *name,
		     uint16_t ports[NET_RULES_MAX], unsigned *nports);

/* Is a name allowed, so that something may be learned? */
int net_learns(const struct net_rules *rs);
/* May the keeper add this to the learned ones? What a network's rule has opened
 * already may be, for a name may lead there. */
int net_may_learn(const struct net_rules *rs, const struct net_addr *a,
		  uint16_t port);

/* Any --allow: what is not listed is refused. */
static inline int net_is_list(const struct net_rules *rs)
{
	return rs->nallow > 0;
}

/* Are ports 53 and 853 for rules that name them only? */
int net_guards_dns(const struct net_rules *rs);

/* The lists of steps 4 and 6; NULL past the end. */
const struct net_prefix *net_exact_only(unsigned i);
const struct net_prefix *net_special(unsigned i);
/* What is ours whatever the pool, for step 2. */
const struct net_prefix *net_ours(unsigned i);
/* Which step an allowed network's rule is for: 3, 5 or 8; -1 for a name. A rule
 * for one address is of step 3 alone; one for a network inside of a special
 * range of step 5, but for what step 4 has refused before. */
int net_rule_step(const struct net_rule *r);

#endif
