/* SPDX-License-Identifier: Apache-2.0 */
/* The policy as a function, and the lists that it and the tables share. */
#include "net/rule.h"

#include <string.h>
#include <strings.h>

#include "runner/base/mem.h"

#define V4(a, b, c, d, n) { { 4, { a, b, c, d } }, n }
#define V6(n, ...)	  { { 6, { __VA_ARGS__ } }, n }

/*
 * What answers a machine of a cloud about itself, with keys that are not the
 * guest's; and IPv6 that a gateway turns into IPv4, where the IPv4 inside would
 * be judged by nobody: ::ffff:0:0/96, ::/96, 64:ff9b::/96 and its local kin
 * (RFC 6052, RFC 8215), 2002::/16 (RFC 3056), 2001::/32 (RFC 4380).
 */
static const struct net_prefix exact_only[] = {
	V4(169, 254, 169, 254, 32), /* AWS, Azure, GCP, most others */
	V4(169, 254, 170, 2, 32),   /* AWS: credentials of a container */
	V4(169, 254, 170, 23, 32),  /* AWS: those of a pod */
	V4(169, 254, 42, 42, 32),   /* Scaleway */
	V4(100, 100, 100, 200, 32), /* Alibaba */
	V4(168, 63, 129, 16, 32),   /* Azure's platform, on a public address */
	V4(192, 0, 0, 192, 32),	    /* Oracle */
	V6(128, 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54), /* AWS */
	V6(128, 0xfd, 0x00, 0x0e, 0xc2, [15] = 0x23),	   /* AWS, of a pod */
	V6(128, 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54), /* GCP */
	V6(128, 0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, [13] = 0xfe,  /* Oracle */
	   [14] = 0xa9, [15] = 0xfe),
	V6(128, 0xfd, 0x00, 0x00, 0x42, [15] = 0x42), /* Scaleway */
	V6(96, 0),
	V6(96, [10] = 0xff, [11] = 0xff),
	V6(96, 0x00, 0x64, 0xff, 0x9b),
	V6(48, 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01),
	V6(16, 0x20, 0x02),
	V6(32, 0x20, 0x01),
};

/* What is not the public network: IANA's registries of special-purpose
 * addresses, and all of IPv6 that is not 2000::/3 (RFC 4291 2.4). */
static const struct net_prefix special[] = {
	V4(0, 0, 0, 0, 8),
	V4(10, 0, 0, 0, 8),
	V4(100, 64, 0, 0, 10),
	V4(127, 0, 0, 0, 8),
	V4(169, 254, 0, 0, 16),
	V4(172, 16, 0, 0, 12),
	V4(192, 0, 0, 0, 24),
	V4(192, 0, 2, 0, 24),
	V4(192, 88, 99, 0, 24),
	V4(192, 168, 0, 0, 16),
	V4(198, 18, 0, 0, 15),
	V4(198, 51, 100, 0, 24),
	V4(203, 0, 113, 0, 24),
	V4(224, 0, 0, 0, 4),
	V4(240, 0, 0, 0, 4),
	V6(3, 0x00),
	V6(28, 0x20, 0x01, 0x00, 0x10), /* ORCHID, RFC 4843 */
	V6(32, 0x20, 0x01, 0x0d, 0xb8), /* for documents, RFC 3849 */
	V6(20, 0x3f, 0xff),		/* the same, RFC 9637 */
	V6(2, 0x40),
	V6(2, 0x80),
	V6(3, 0xc0),
	V6(4, 0xe0),
	V6(5, 0xf0),
	V6(6, 0xf8),
	V6(7, 0xfc), /* unique local, RFC 4193 */
	V6(9, 0xfe),
	V6(10, 0xfe, 0x80), /* link-local */
	V6(10, 0xfe, 0xc0), /* site-local once, RFC 3879 */
	V6(8, 0xff),	    /* multicast */
};

/* plan.h: NET_GATE4 and its network; all of fd6d:6179:666c::/48. */
static const struct net_prefix ours[] = {
	V4(198, 18, 0, 0, 30),
	V6(48, 0xfd, 0x6d, 0x61, 0x79, 0x66, 0x6c),
};

const struct net_prefix *net_exact_only(unsigned i)
{
	return i < ARRAY_SIZE(exact_only) ? &exact_only[i] : NULL;
}

const struct net_prefix *net_special(unsigned i)
{
	return i < ARRAY_SIZE(special) ? &special[i] : NULL;
}

const struct net_prefix *net_ours(unsigned i)
{
	return i < ARRAY_SIZE(ours) ? &ours[i] : NULL;
}

static int any_has(const struct net_prefix *list, unsigned n,
		   const struct net_addr *a)
{
	for (unsigned i = 0; i < n; i++)
		if (net_prefix_has(&list[i], a))
			return 1;
	return 0;
}

int net_rule_step(const struct net_rule *r)
{
	if (r->is_name)
		return -1;
	if (r->prefix.len == net_addr_bits(&r->prefix.addr))
		return 3;
	for (unsigned i = 0; i < ARRAY_SIZE(special); i++)
		if (net_prefix_covers(&special[i], &r->prefix))
			return 5;
	return 8;
}

int net_guards_dns(const struct net_rules *rs)
{
	for (unsigned i = 0; i < rs->ndeny; i++)
		if (rs->deny[i].is_name)
			return 1;
	return net_is_list(rs);
}

/* Does a rule for @rule_port, 0 for all of them, allow @port? */
static int port_allowed(const struct net_rules *rs, uint16_t rule_port,
			uint16_t port)
{
	if (rule_port)
		return rule_port == port;
	return !((port == 53 || port == 853) && net_guards_dns(rs));
}

static int denied(const struct net_rules *rs, const struct net_addr *a,
		  uint16_t port)
{
	const struct net_rule *r;

	for (r = rs->deny; r < rs->deny + rs->ndeny; r++)
		if (!r->is_name && net_prefix_has(&r->prefix, a) &&
		    (!r->port || r->port == port))
			return 1;
	return 0;
}

/* By a network's rule of this step? */
static int allowed(const struct net_rules *rs, const struct net_addr *a,
		   uint16_t port, int step)
{
	const struct net_rule *r;

	for (r = rs->allow; r < rs->allow + rs->nallow; r++)
		if (net_rule_step(r) == step && net_prefix_has(&r->prefix, a) &&
		    port_allowed(rs, r->port, port))
			return 1;
	return 0;
}

/* Could some name open this port? */
static int name_opens(const struct net_rules *rs, uint16_t port)
{
	const struct net_rule *r;

	for (r = rs->allow; r < rs->allow + rs->nallow; r++)
		if (r->is_name && port_allowed(rs, r->port, port))
			return 1;
	return 0;
}

enum net_verdict net_decide(const struct net_rules *rs,
			    const struct net_addr *a, uint16_t port)
{
	if (!net_addr_valid(a) || denied(rs, a, port))
		return NET_REFUSED;
	if (any_has(ours, ARRAY_SIZE(ours), a) ||
	    any_has(rs->own, rs->nown, a))
		return NET_REFUSED;
	if (allowed(rs, a, port, 3))
		return NET_OPEN;
	if (any_has(exact_only, ARRAY_SIZE(exact_only), a))
		return NET_REFUSED;
	if (allowed(rs, a, port, 5))
		return NET_OPEN;
	if (any_has(special, ARRAY_SIZE(special), a))
		return NET_REFUSED;
	if (!net_is_list(rs))
		return port_allowed(rs, 0, port) ? NET_OPEN : NET_REFUSED;
	if (allowed(rs, a, port, 8))
		return NET_OPEN;
	return name_opens(rs, port) ? NET_BY_NAME : NET_REFUSED;
}

int net_learns(const struct net_rules *rs)
{
	for (unsigned i = 0; i < rs->nallow; i++)
		if (rs->allow[i].is_name)
			return 1;
	return 0;
}

int net_may_learn(const struct net_rules *rs, const struct net_addr *a,
		  uint16_t port)
{
	return net_learns(rs) && net_decide(rs, a, port) != NET_REFUSED;
}

int net_answerable(const struct net_rules *rs, const struct net_addr *a)
{
	const struct net_rule *r;

	/* Ports are told apart by rules that name them; one that nobody names
	 * stands for all the others, as echo does. */
	if (net_decide(rs, a, 0) != NET_REFUSED)
		return 1;
	for (r = rs->allow; r < rs->allow + rs->nallow; r++)
		if (r->port && net_decide(rs, a, r->port) != NET_REFUSED)
			return 1;
	return 0;
}

/* @len: of the name without a dot at its end. */
static int name_matches(const struct net_rule *r, const char *name, size_t len)
{
	const char *want = r->name;
	size_t n;

	if (!r->is_name)
		return 0;
	if (want[0] == '*') {
		/* ".NAME" is the end of it, and something is in front. */
		n = strlen(++want);
		if (len <= n)
			return 0;
		name += len - n;
		len = n;
	}
	return strlen(want) == len && !strncasecmp(name, want, len);
}

int net_name_allowed(const struct net_rules *rs, const char *name,
		     uint16_t ports[NET_RULES_MAX], unsigned *nports)
{
	size_t len = strlen(name);
	int yes = !net_is_list(rs);
	const struct net_rule *r;

	*nports = 0;
	if (len && name[len - 1] == '.')
		len--;
	for (r = rs->deny; r < rs->deny + rs->ndeny; r++)
		if (name_matches(r, name, len))
			return 0;
	for (r = rs->allow; r < rs->allow + rs->nallow; r++) {
		if (!r->is_name && !r->prefix.len)
			yes = 1;
		if (!name_matches(r, name, len))
			continue;
		yes = 1;
		ports[(*nports)++] = r->port;
	}
	return yes;
}
