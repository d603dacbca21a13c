/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind --allow and --deny, and rules that came by message. */
#include "net/rule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"

/* Networks of the host's own that are wider would refuse too much. */
#define OWN_BITS_MIN 8

/* Who asked names the rule, with the option that it came by. */
static int bad_rule(struct err *err, const char *why)
{
	return err_say(err, -EINVAL, "%s", why);
}

/* 1 to 65535, decimal, no sign, no leading zero; 0 for all else. */
static uint16_t read_port(const char *s)
{
	unsigned v = 0, n;

	for (n = 0; s[n] >= '0' && s[n] <= '9' && n < 6; n++)
		v = v * 10 + (s[n] - '0');
	return s[n] || *s == '0' || v > 65535 ? 0 : v;
}

static int is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123 2.1, and '_', which names of services have (RFC 2782). */
static int label_ok(const char *s, size_t n)
{
	if (!n || n > 63 || s[0] == '-' || s[n - 1] == '-')
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_')
			return 0;
	return 1;
}

/* A name as rules have it. The last label has a letter: else it would be some
 * resolvers' way to write an address. */
static int name_ok(const char *name)
{
	const char *s = strncmp(name, "*.", 2) ? name : name + 2;
	const char *dot;
	size_t n;

	if (strnlen(name, NET_NAME_MAX) == NET_NAME_MAX)
		return 0;
	for (;; s = dot + 1) {
		dot = strchr(s, '.');
		n = dot ? (size_t)(dot - s) : strlen(s);
		if (!label_ok(s, n))
			return 0;
		if (!dot)
			return strspn(s, "0123456789") != n;
	}
}

static int hint_forms(struct err *err)
{
	err_hint(err, "like web.example, *.example, 192.0.2.1 or 10.0.0.0/8, "
		 "and :80 behind it or nothing; [2001:db8::1]:80");
	return -EINVAL;
}

static int name_parse(struct net_rule *r, const char *host, struct err *err)
{
	size_t n = strlen(host);

	if (n && host[n - 1] == '.')
		n--;
	if (n >= sizeof(r->name))
		return bad_rule(err, "no name is that long");
	for (size_t i = 0; i < n; i++) {
		r->name[i] = host[i];
		if (host[i] >= 'A' && host[i] <= 'Z')
			r->name[i] += 'a' - 'A';
		if (host[i] & 0x80) {
			bad_rule(err, "a name is ASCII");
			err_hint(err, "of others write the form that DNS has, "
				 "xn--...");
			return -EINVAL;
		}
	}
	r->name[n] = '\0';
	r->is_name = 1;
	if (name_ok(r->name))
		return 0;
	bad_rule(err, "neither a name nor an address nor a network");
	return hint_forms(err);
}

static int prefix_parse(struct net_rule *r, const char *host, struct err *err)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	int rc = net_prefix_parse(&r->prefix, host, err);

	if (rc < 0)
		return err && *err->hint ? rc : hint_forms(err);
	if (r->prefix.addr.family == 4 || r->prefix.len < 96 ||
	    memcmp(r->prefix.addr.b, mapped, sizeof(mapped)))
		return 0;
	/* On the wire there is no such address (RFC 4291 2.5.5.2). */
	bad_rule(err, "an IPv4 address in the clothes of IPv6");
	err_hint(err, "write the IPv4 address");
	return -EINVAL;
}

/* Split @text in @host, without brackets, and the port; NULL if none. */
static const char *split(char *host, const char *text, const char **port)
{
	const char *colon = strchr(text, ':'), *end;
	size_t n = strlen(text);

	*port = NULL;
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return NULL;
		*port = end[1] ? end + 2 : NULL;
		n = end - ++text;
	} else if (colon && !strchr(colon + 1, ':')) {
		*port = colon + 1;
		n = colon - text;
	}
	/* One more, for the dot at the end of a name. */
	if (n > NET_NAME_MAX)
		return NULL;
	memcpy(host, text, n);
	host[n] = '\0';
	return host;
}

int net_rule_parse(struct net_rule *r, const char *text, struct err *err)
{
	char buf[NET_NAME_MAX + 1];
	struct net_rule v = { 0 };
	const char *port, *host = split(buf, text, &port);
	int rc;

	if (strstr(text, "://")) {
		bad_rule(err, "a URL; its host is what a rule names");
		return hint_forms(err);
	}
	if (!host || !*host) {
		bad_rule(err, "not HOST, CIDR or either with :PORT");
		if (*text != '[')
			return hint_forms(err);
		err_hint(err, "brackets are around all but the port: "
			 "[2001:db8::/32]:80");
		return -EINVAL;
	}
	if (port) {
		v.port = read_port(port);
		if (!v.port)
			return bad_rule(err, "a port is a number from 1 to 65535");
	}
	/* A name has neither; an address of IPv4 has digits in its last part,
	 * as no name does. */
	if (*text == '[' || strpbrk(host, ":/") || strspn(host, ".0123456789") ==
	    strlen(host))
		rc = prefix_parse(&v, host, err);
	else
		rc = name_parse(&v, host, err);
	if (rc < 0)
		return rc;
	if (*text == '[' && v.prefix.addr.family != 6)
		return bad_rule(err, "brackets are for IPv6");
	*r = v;
	return 0;
}

const char *net_rule_doubt(const struct net_rule *r, const char *text,
			   char buf[NET_RULE_MAX])
{
	struct net_rule meant = { .port = 0 };
	const char *colon = strrchr(text, ':');
	char addr[NET_ADDR_MAX];
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (r->is_name || r->port || !n || n >= sizeof(addr))
		return NULL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	meant.port = read_port(colon + 1);
	if (!meant.port || net_addr_read(&meant.prefix.addr, addr) < 0)
		return NULL;
	meant.prefix.len = net_addr_bits(&meant.prefix.addr);
	return net_rule_format(&meant, buf);
}

const char *net_rule_format(const struct net_rule *r, char buf[NET_RULE_MAX])
{
	char text[NET_PREFIX_MAX];
	const char *host = r->is_name ? r->name :
					net_prefix_format(&r->prefix, text);
	int bracket = r->port && !r->is_name && r->prefix.addr.family == 6;
	int n = snprintf(buf, NET_RULE_MAX, bracket ? "[%s]" : "%s", host);

	if (r->port)
		snprintf(buf + n, NET_RULE_MAX - n, ":%u", r->port);
	return buf;
}

static int add(struct net_rule *list, unsigned *n, const char *text,
	       const char *what, struct err *err)
{
	if (*n >= NET_RULES_MAX)
		return err_say(err, -E2BIG, "more than %d %s", NET_RULES_MAX,
			       what);
	if (net_rule_parse(&list[*n], text, err) < 0)
		return -EINVAL;
	++*n;
	return 0;
}

int net_rules_allow(struct net_rules *rs, const char *text, struct err *err)
{
	return add(rs->allow, &rs->nallow, text, "allowed names and networks",
		   err);
}

int net_rules_deny(struct net_rules *rs, const char *text, struct err *err)
{
	int rc = add(rs->deny, &rs->ndeny, text, "denied names and networks",
		     err);

	if (rc < 0 || !rs->deny[rs->ndeny - 1].is_name ||
	    !rs->deny[rs->ndeny - 1].port)
		return rc;
	/* Its addresses are not known while nobody may ask for them. */
	rs->ndeny--;
	bad_rule(err, "a name is denied as a whole");
	err_hint(err, "leave out the port, or deny a network");
	return -EINVAL;
}

/* Bits that both begin with; -1 where they are of two families. */
static int common_bits(const struct net_prefix *a, const struct net_prefix *b)
{
	int most = a->len < b->len ? a->len : b->len, n = 0;

	if (a->addr.family != b->addr.family)
		return -1;
	while (n < most && !((a->addr.b[n / 8] ^ b->addr.b[n / 8]) &
			     0x80 >> n % 8))
		n++;
	return n;
}

int net_rules_own(struct net_rules *rs, const struct net_prefix *p,
		  struct err *err)
{
	int bits = -1, best = 0;

	for (unsigned i = 0; i < rs->nown; i++) {
		int n = common_bits(&rs->own[i], p);

		if (net_prefix_covers(&rs->own[i], p))
			return 0;
		if (n > bits) {
			bits = n;
			best = i;
		}
	}
	if (rs->nown < NET_OWN_MAX) {
		rs->own[rs->nown++] = *p;
		return 0;
	}
	/* Rather refuse what lies between the two. */
	if (bits < OWN_BITS_MIN)
		return err_say(err, -E2BIG, "this host has more than %d "
			       "addresses", NET_OWN_MAX - 1);
	rs->own[best] = net_prefix_of(&p->addr, bits);
	return 0;
}

static int rule_valid(const struct net_rule *r)
{
	if (r->is_name)
		return name_ok(r->name);
	return net_prefix_valid(&r->prefix);
}

int net_rules_valid(const struct net_rules *rs)
{
	if (rs->nallow > NET_RULES_MAX || rs->ndeny > NET_RULES_MAX ||
	    rs->nown > NET_OWN_MAX)
		return 0;
	for (unsigned i = 0; i < rs->nallow; i++)
		if (!rule_valid(&rs->allow[i]))
			return 0;
	for (unsigned i = 0; i < rs->ndeny; i++)
		if (!rule_valid(&rs->deny[i]) ||
		    (rs->deny[i].is_name && rs->deny[i].port))
			return 0;
	for (unsigned i = 0; i < rs->nown; i++)
		if (!net_prefix_valid(&rs->own[i]))
			return 0;
	return 1;
}
