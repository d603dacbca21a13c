/* SPDX-License-Identifier: Apache-2.0 */
/* -p: [[HOSTIP:][HOSTPORT]:]GUESTPORT[/tcp|/udp], as Docker has it. Each port
 * may be a range, FIRST-LAST. */
#include "runner/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"

/* Docker's own cut: what is behind the last colon is the guest's, what is in
 * front of the one before is an address, in brackets where it has colons. */
struct pieces {
	char addr[INET6_ADDRSTRLEN + 2];
	char host[12], guest[12];
	const char *proto; /* behind the slash, or NULL */
};

static int bad(struct err *err, const char *why)
{
	err_say(err, -EINVAL, "%s", why);
	return err_hint(err, "it is [[HOSTIP:]HOSTPORT:]GUESTPORT[/udp], with an "
			     "IPv6 address in brackets; a port may be a range, "
			     "8000-8010");
}

/* Copy what lies between; an empty piece is one too. */
static int piece(char *to, size_t cap, const char *from, const char *end)
{
	size_t n = (size_t)(end - from);

	if (n >= cap)
		return -EINVAL;
	memcpy(to, from, n);
	to[n] = '\0';
	return 0;
}

/* The last colon before @end, or NULL. */
static const char *colon_before(const char *s, const char *end)
{
	while (end > s) {
		if (*--end == ':')
			return end;
	}
	return NULL;
}

static int cut(struct pieces *p, const char *s)
{
	const char *slash = strchr(s, '/');
	const char *end = slash ? slash : s + strlen(s);
	const char *second = colon_before(s, end), *first;
	int r;

	p->proto = slash ? slash + 1 : NULL;
	p->addr[0] = p->host[0] = '\0';
	r = piece(p->guest, sizeof(p->guest), second ? second + 1 : s, end);
	if (!second || r < 0)
		return r;
	first = colon_before(s, second);
	r = piece(p->host, sizeof(p->host), first ? first + 1 : s, second);
	if (!first || r < 0)
		return r;
	/* ":80:80" names no address, and does not mean all of them. */
	return first == s ? -EINVAL :
			    piece(p->addr, sizeof(p->addr), s, first);
}

struct ports {
	unsigned first, n;
};

/* A number, or two with a dash, of which none is 0. */
static int get_ports(const char *s, struct ports *p)
{
	uint64_t first, last;

	if (config_parse_digits(&s, &first) < 0 || first > UINT16_MAX)
		return -EINVAL;
	last = first;
	if (*s == '-') {
		s++;
		if (config_parse_digits(&s, &last) < 0 || last > UINT16_MAX ||
		    last < first || !first)
			return -EINVAL;
	}
	*p = (struct ports){ .first = (unsigned)first,
			     .n = (unsigned)(last - first + 1) };
	return *s ? -EINVAL : 0;
}

static int get_addr(struct config_publish *p, char *s)
{
	size_t n = strlen(s);

	if (!n)
		return 0;
	if (inet_pton(AF_INET, s, p->addr) == 1) {
		p->family = 4;
		return 0;
	}
	if (n < 2 || s[0] != '[' || s[n - 1] != ']')
		return -EINVAL;
	s[n - 1] = '\0';
	p->family = 6;
	return inet_pton(AF_INET6, s + 1, p->addr) == 1 ? 0 : -EINVAL;
}

/* What bind() calls invalid and no more: the one is IPv4's (RFC 4291 2.5.5.2), the
 * other is many addresses, one for each link (2.5.6). */
static int check_addr(const struct config_publish *p, struct err *err)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct net_addr a;

	if (p->family != 6)
		return 0;
	if (!memcmp(p->addr, mapped, sizeof(mapped))) {
		err_say(err, -EINVAL, "an IPv4 address in the clothes of IPv6");
		return err_hint(err, "write the IPv4 address");
	}
	a = net_addr_from(6, p->addr);
	if (!net_addr_link_local6(&a))
		return 0;
	err_say(err, -EINVAL, "a link-local address, without its link");
	return err_hint(err, "take another of the host's, or all of them: leave "
			     "it out");
}

static int get_proto(struct config_publish *p, const char *s)
{
	p->udp = s && !strcmp(s, "udp");
	return !s || p->udp || !strcmp(s, "tcp") ? 0 : -EINVAL;
}

/* Asked for the same place twice: a slip, and not for bind() to find. */
static int is_twice(const struct config_publishes *l,
		    const struct config_publish *p)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct config_publish *o = &l->v[i];

		if (p->host_port && o->host_port == p->host_port &&
		    o->udp == p->udp &&
		    (!o->family || !p->family ||
		     (o->family == p->family &&
		      !memcmp(o->addr, p->addr, sizeof(p->addr)))))
			return 1;
	}
	return 0;
}

static int get_both(const struct pieces *s, struct ports *host,
		    struct ports *guest, struct err *err)
{
	*host = (struct ports){ .first = 0 };
	if (*s->host && get_ports(s->host, host) < 0)
		return bad(err, "the host's port is no number up to 65535, nor a "
				"range of them from 1 on");
	if (get_ports(s->guest, guest) < 0 || !guest->first)
		return bad(err, "the guest's port is no number from 1 to 65535, "
				"nor a range of them");
	if (!host->first || host->n == guest->n)
		return 0;
	/* For one of the guest's Docker takes any of the range that is free. */
	err_say(err, -EINVAL, "%u ports of the host for %u of the guest",
		host->n, guest->n);
	return err_hint(err, "give both the same length, or as the host's port "
			     "0: any that is free");
}

static int add_ports(struct config_publishes *l, struct config_publish p,
		     const struct ports *host, const struct ports *guest,
		     struct err *err)
{
	if (guest->n > CONFIG_PUBLISHES_MAX - l->n)
		return err_say(err, -E2BIG, "more than %d ports",
			       CONFIG_PUBLISHES_MAX);
	for (unsigned i = 0; i < guest->n; i++) {
		p.host_port = (uint16_t)(host->first ? host->first + i : 0);
		p.guest_port = (uint16_t)(guest->first + i);
		if (is_twice(l, &p))
			return err_say(err, -EINVAL, "the host's port %u is "
				       "taken by another -p of this run",
				       p.host_port);
		l->v[l->n++] = p;
	}
	return 0;
}

int config_add_publish(void *field, const char *arg, struct err *err)
{
	struct config_net *net = field;
	struct config_publish p = { 0 };
	struct ports host, guest;
	struct pieces s;
	int r;

	if (cut(&s, arg) < 0)
		return bad(err, "no port mapping");
	if (get_proto(&p, s.proto) < 0)
		return bad(err, "the protocol is neither tcp nor udp");
	if (get_addr(&p, s.addr) < 0)
		return bad(err, "the host's side is no IP address");
	r = check_addr(&p, err);
	if (r < 0)
		return r;
	r = get_both(&s, &host, &guest, err);
	if (r < 0)
		return r;
	net->on = 1;
	return add_ports(&net->publish, p, &host, &guest, err);
}
