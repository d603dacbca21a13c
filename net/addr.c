/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks: reading, printing, comparing. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"

unsigned net_addr_bits(const struct net_addr *a)
{
	return a->family == 6 ? 128 : 32;
}

static int is_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return 0;
	return 1;
}

int net_addr_valid(const struct net_addr *a)
{
	return a->family == 6 ||
	       (a->family == 4 && is_zero(a->b + 4, sizeof(a->b) - 4));
}

int net_prefix_valid(const struct net_prefix *p)
{
	struct net_prefix n;

	if (!net_addr_valid(&p->addr) || p->len > net_addr_bits(&p->addr))
		return 0;
	n = net_prefix_of(&p->addr, p->len);
	return net_addr_equal(&n.addr, &p->addr);
}

struct net_addr net_addr4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct net_addr){ 4, { a, b, c, d } };
}

struct net_addr net_addr_from(int family, const void *bytes)
{
	struct net_addr a = { .family = family == 6 ? 6 : 4 };

	memcpy(a.b, bytes, net_addr_bits(&a) / 8);
	return a;
}

struct net_addr net_addr_plus(const struct net_addr *a, uint32_t n)
{
	struct net_addr sum = *a;
	uint8_t *last = sum.b + net_addr_bits(a) / 8 - 4;
	uint32_t v;

	memcpy(&v, last, sizeof(v));
	v = htonl(ntohl(v) + n);
	memcpy(last, &v, sizeof(v));
	return sum;
}

int net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family && !memcmp(a->b, b->b, sizeof(a->b));
}

struct net_prefix net_prefix_of(const struct net_addr *a, unsigned len)
{
	struct net_prefix p = { .addr.family = a->family };
	unsigned bits = net_addr_bits(a);

	p.len = len < bits ? len : bits;
	memcpy(p.addr.b, a->b, p.len / 8);
	if (p.len % 8)
		p.addr.b[p.len / 8] = a->b[p.len / 8] & (0xff00 >> p.len % 8);
	return p;
}

int net_addr_link_local6(const struct net_addr *a)
{
	return a->family == 6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

int net_prefix_has(const struct net_prefix *p, const struct net_addr *a)
{
	struct net_prefix n = net_prefix_of(a, p->len);

	return net_addr_equal(&n.addr, &p->addr);
}

int net_prefix_covers(const struct net_prefix *p, const struct net_prefix *in)
{
	return in->len >= p->len && net_prefix_has(p, &in->addr);
}

int net_addr_read(struct net_addr *a, const char *text)
{
	struct net_addr v = { .family = strchr(text, ':') ? 6 : 4 };

	/* Strict on both: no zone, no octal, no parts left out. */
	if (inet_pton(v.family == 6 ? AF_INET6 : AF_INET, text, v.b) != 1)
		return -EINVAL;
	*a = v;
	return 0;
}

/* Decimal, no sign, no leading zero, at most @max; -1 for all else. */
static int read_len(const char *s, unsigned max)
{
	unsigned v = 0, n;

	for (n = 0; s[n] >= '0' && s[n] <= '9' && n < 3; n++)
		v = v * 10 + (s[n] - '0');
	if (!n || s[n] || v > max || (n > 1 && *s == '0'))
		return -1;
	return v;
}

int net_prefix_parse(struct net_prefix *p, const char *text, struct err *err)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char addr[NET_ADDR_MAX], hint[NET_PREFIX_MAX];
	struct net_prefix v;
	int len;

	if (n >= sizeof(addr))
		goto bad;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (net_addr_read(&v.addr, addr) < 0)
		goto bad;
	v.len = net_addr_bits(&v.addr);
	if (slash) {
		len = read_len(slash + 1, v.len);
		if (len < 0)
			goto bad;
		v.len = len;
	}
	if (!net_prefix_valid(&v)) {
		v = net_prefix_of(&v.addr, v.len);
		err_say(err, -EINVAL, "has bits set behind its length");
		err_hint(err, "the network is %s", net_prefix_format(&v, hint));
		return -EINVAL;
	}
	*p = v;
	return 0;
bad:
	return err_say(err, -EINVAL, "not a network");
}

const char *net_addr_format(const struct net_addr *a, char buf[NET_ADDR_MAX])
{
	if (!net_addr_valid(a) ||
	    !inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->b, buf,
		       NET_ADDR_MAX))
		strcpy(buf, "?");
	return buf;
}

const char *net_prefix_format(const struct net_prefix *p,
			      char buf[NET_PREFIX_MAX])
{
	char addr[NET_ADDR_MAX];

	net_addr_format(&p->addr, addr);
	if (p->len == net_addr_bits(&p->addr))
		strcpy(buf, addr);
	else
		snprintf(buf, NET_PREFIX_MAX, "%s/%u", addr, p->len);
	return buf;
}
