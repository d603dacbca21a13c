/* SPDX-License-Identifier: Apache-2.0 */
/* The ports of a record, as a cell of a table has them. */
#include "runner/record.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/control.h"

/* Ports side by side, which are the guest's in the same order. */
struct span {
	char host[46]; /* an address: INET6_ADDRSTRLEN */
	char proto[4];
	unsigned from, to; /* the first: the host's, the guest's */
	unsigned n;
};

struct cell {
	char *buf;
	size_t cap, at;
	size_t cut; /* behind which there is room for dots */
	int full;
};

static uint16_t get_port(const json_t *port, const char *key)
{
	return (uint16_t)json_integer_value(json_object_get(port, key));
}

static int get_span(const json_t *port, struct span *s)
{
	const char *proto = json_string_value(json_object_get(port, "protocol"));
	const char *host = json_string_value(json_object_get(port, "host"));

	/* An address, and a word: nothing that would have to be cut. */
	if (!proto || !host || strlen(host) >= sizeof(s->host) ||
	    strlen(proto) >= sizeof(s->proto))
		return 0;
	strcpy(s->host, host);
	strcpy(s->proto, proto);
	s->from = get_port(port, "host_port");
	s->to = get_port(port, "guest_port");
	s->n = 1;
	return 1;
}

static int is_everywhere(const char *host)
{
	return !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

/* Is @next one of @s, or right behind? All addresses are two, one for each
 * family. */
static int takes(struct span *s, const struct span *next)
{
	unsigned off = next->from - s->from;

	if (!s->n || next->from < s->from || off > s->n || next->to - s->to != off ||
	    strcmp(s->proto, next->proto) ||
	    (strcmp(s->host, next->host) &&
	     !(is_everywhere(s->host) && is_everywhere(next->host))))
		return 0;
	if (off == s->n)
		s->n++;
	return 1;
}

/* "80", or "80-82". */
static void ports_text(unsigned first, unsigned n, char buf[24])
{
	int len = snprintf(buf, 24, "%u", first);

	if (n > 1)
		snprintf(buf + len, 24 - (size_t)len, "-%u", first + n - 1);
}

static void put(struct cell *c, const struct span *s)
{
	static const char more[] = ", ...";
	char text[128], from[24], to[24];
	size_t n;

	if (!s->n || c->full)
		return;
	ports_text(s->from, s->n, from);
	ports_text(s->to, s->n, to);
	n = (size_t)snprintf(text, sizeof(text),
			     is_everywhere(s->host) ? "%.0s%s->%s/%s" :
			     strchr(s->host, ':')   ? "[%s]:%s->%s/%s" :
						      "%s:%s->%s/%s",
			     s->host, from, to, s->proto);
	c->full = c->at + n + 3 > c->cap;
	if (c->full) {
		snprintf(c->buf + c->cut, c->cap - c->cut, "%s",
			 c->cut ? more : more + 2);
		return;
	}
	c->at += (size_t)snprintf(c->buf + c->at, c->cap - c->at, "%s%s",
				  c->at ? ", " : "", text);
	if (c->at + sizeof(more) <= c->cap)
		c->cut = c->at;
}

void record_ports(const struct record *r, char *buf, size_t cap)
{
	const json_t *list = json_object_get(r->doc, "ports");
	struct cell c = { .buf = buf, .cap = cap };
	struct span s = { .n = 0 }, next;

	buf[0] = '\0';
	/* Nobody listens for it any more. */
	if (r->phase >= PHASE_EXITED)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!get_span(json_array_get(list, i), &next) ||
		    takes(&s, &next))
			continue;
		put(&c, &s);
		s = next;
	}
	put(&c, &s);
	control_hide(buf);
}
