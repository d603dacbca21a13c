/* SPDX-License-Identifier: Apache-2.0 */
/* -p: [[HOSTIP:][HOSTPORT]:]GUESTPORT[/tcp|/udp], as Docker has it. */
#include "runner/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"

/* Docker's own cut: what is behind the last colon is the guest's, what is in
 * front of the one before is an address, in brackets where it has colons. */
struct pieces {
	char addr[INET6_ADDRSTRLEN + 2];
	char host[8], guest[8];
	const char *proto; /* behind the slash, or NULL */
};

static int bad(struct err *err, const char *why)
{
	err_say(err, -EINVAL, "%s", why);
	return err_hint(err, "it is [HOSTIP:]HOSTPORT:GUESTPORT[/udp], with an "
			     "IPv6 address in brackets");
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

/* Docker has them; here each port is an option of its own. */
static int is_range(const char *s)
{
	const char *dash = strchr(s, '-');

	return dash && dash > s && isdigit((unsigned char)dash[-1]) &&
	       isdigit((unsigned char)dash[1]);
}

static int get_port(const char *s, uint16_t *port)
{
	uint64_t v;

	if (config_parse_digits(&s, &v) < 0 || *s || v > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
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

int config_add_publish(void *field, const char *arg, struct err *err)
{
	struct config_net *net = field;
	struct config_publishes *l = &net->publish;
	struct config_publish p = { 0 };
	struct pieces s;

	if (is_range(arg))
		return bad(err, "a range; give -p for each port");
	if (cut(&s, arg) < 0)
		return bad(err, "no port mapping");
	if (get_proto(&p, s.proto) < 0)
		return bad(err, "the protocol is neither tcp nor udp");
	if (get_addr(&p, s.addr) < 0)
		return bad(err, "the host's side is no IP address");
	if (*s.host && get_port(s.host, &p.host_port) < 0)
		return bad(err, "the host's port is no number up to 65535");
	if (get_port(s.guest, &p.guest_port) < 0 || !p.guest_port)
		return bad(err,
			   "the guest's port is no number from 1 to 65535");
	if (is_twice(l, &p))
		return err_say(err, -EINVAL, "the host's port %u is taken by "
			       "another -p of this run", p.host_port);
	if (l->n == CONFIG_PUBLISHES_MAX)
		return err_say(err, -E2BIG, "more than %d",
			       CONFIG_PUBLISHES_MAX);
	l->v[l->n++] = p;
	net->on = 1;
	return 0;
}
