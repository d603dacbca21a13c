/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a run as JSON, for its report and its record. */
#include "runner/meta.h"

#include <jansson.h>

#include "net/rule.h"
#include "runner/network.h"

static void add(json_t *o, const char *key, json_t *value, int *bad)
{
	*bad |= json_object_set_new(o, key, value) < 0;
}

/* As the user may say it again. */
static json_t *rules(const struct net_rule *r, unsigned n, int *bad)
{
	json_t *list = json_array();
	char text[NET_RULE_MAX];

	for (unsigned i = 0; i < n; i++)
		*bad |= json_array_append_new(
				list,
				json_string(net_rule_format(&r[i], text))) < 0;
	return list;
}

static json_t *text_or_null(const char *s)
{
	return s && *s ? json_string(s) : json_null();
}

json_t *meta_network(const struct config *c, const struct network_facts *f)
{
	static const struct net_rules none;
	const struct net_rules *r = c->net.rules ? c->net.rules : &none;
	json_t *o;
	int bad = 0;

	if (!f || !f->kind)
		return json_null();
	o = json_object();
	add(o, "kind", json_string(f->kind), &bad);
	add(o, "link", text_or_null(f->link), &bad);
	add(o, "mtu", f->mtu ? json_integer(f->mtu) : json_null(), &bad);
	if (!c->net.tap) {
		add(o, "ipv6", json_boolean(f->has_v6), &bad);
		add(o, "no_ipv6", text_or_null(f->no_v6), &bad);
		add(o, "allow", rules(r->allow, r->nallow, &bad), &bad);
		add(o, "deny", rules(r->deny, r->ndeny, &bad), &bad);
		add(o, "setup_ms",
		    f->fenced_ns ? json_real((double)((f->fenced_ns -
						       f->begin_ns) / 1000) /
					     1e3) :
				   json_null(),
		    &bad);
	}
	if (!bad)
		return o;
	json_decref(o);
	return NULL;
}

char *meta_network_text(const struct config *c, const struct network_facts *f)
{
	json_t *o = meta_network(c, f);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	json_decref(o);
	return text;
}
