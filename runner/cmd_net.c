/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly net ls and prune: networks of runs, and what they leave on the host. */
#include "runner/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/host.h"
#include "net/lease.h"
#include "net/plan.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/format.h"
#include "runner/opts.h"
#include "runner/state.h"
#include "runner/state_dir.h"

#define CELL_MAX RECORD_PORTS_MAX /* of rules as well, in the table */

const struct opt_table cmd_net_table = {
	.command = "net",
	.usage = "COMMAND [OPTIONS] ...",
	.about = "List the networks of runs, and remove what they have left on "
		 "the host.",
};

/* --- ls ------------------------------------------------------------------ */

static const struct opt ls_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format, 0 },
};

const struct opt_table cmd_net_ls_table = {
	.command = "net ls",
	.usage = "[OPTIONS]",
	.about = "List the runs that have a network, the youngest first: what "
		 "leads out of it, what\nthe guest may reach and which ports of "
		 "it are published.",
	.opt = ls_options,
	.nopts = ARRAY_SIZE(ls_options),
	.mixed = 1,
};

struct leases {
	struct net_lease_info *v;
	size_t n;
};

static int add_lease(const struct net_lease_info *i, void *opaque)
{
	struct leases *l = opaque;
	struct net_lease_info *v;

	if (!i->held)
		return 0;
	v = realloc(l->v, (l->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	v[l->n++] = *i;
	return 0;
}

static int read_leases(struct leases *l, struct err *err)
{
	_cleanup_fd_ int root = state_open_root(0, err);
	int r;

	*l = (struct leases){ 0 };
	if (root < 0)
		return root == -ENOENT ? 0 : root;
	r = net_lease_each(root, add_lease, l);
	return r < 0 ? err_set(err, r, "leases of networks") : 0;
}

static const struct net_lease_info *lease_of(const struct leases *l,
					     const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].id, id))
			return &l->v[i];
	return NULL;
}

/* A run that lives and has one; its network as it was put on record. */
static const json_t *network_of(const struct record *r)
{
	const json_t *n = json_object_get(r->doc, "network");

	return r->phase < PHASE_EXITED && json_is_object(n) ? n : NULL;
}

/* A part of a cell, which ends in dots where it is full. */
static void append(char cell[CELL_MAX + 4], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void append(char cell[CELL_MAX + 4], const char *fmt, ...)
{
	size_t len = strlen(cell);
	va_list ap;
	int n;

	if (len >= CELL_MAX)
		return;
	va_start(ap, fmt);
	n = vsnprintf(cell + len, CELL_MAX - len, fmt, ap);
	va_end(ap);
	if (n >= (int)(CELL_MAX - len))
		strcpy(cell + CELL_MAX - 1, "...");
	control_hide(cell + len);
}

static void append_rules(char cell[CELL_MAX + 4], const json_t *network,
			 const char *what)
{
	const json_t *v, *list = json_object_get(network, what);
	size_t i;

	json_array_foreach(list, i, v) {
		const char *rule = json_string_value(v);

		append(cell, "%s%s %s", *cell ? ", " : "", what,
		       rule ? rule : "?");
	}
}

/* "allow example.org:443, deny 10.0.0.0/8" */
static void describe_rules(char cell[CELL_MAX + 4], const json_t *network)
{
	*cell = '\0';
	if (!json_array_size(json_object_get(network, "allow")))
		append(cell, "%s",
		       json_object_get(network, "allow") ? "public" : "-");
	append_rules(cell, network, "allow");
	append_rules(cell, network, "deny");
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && *s ? s : "-";
}

static void add_row(struct table *t, const struct record *r,
		    const json_t *network)
{
	char cell[CELL_MAX + 4];

	table_add(t, r->id);
	table_add(t, *r->name ? r->name : "-");
	table_add(t, text_of(network, "kind"));
	cell[0] = '\0';
	append(cell, "%s", text_of(network, "link"));
	table_add(t, cell);
	table_add(t, json_is_true(json_object_get(network, "ipv6")) ?
			     "4 and 6" :
			     json_object_get(network, "ipv6") ? "4" : "-");
	record_ports(r, cell, CELL_MAX);
	if (!*cell)
		append(cell, "-");
	table_add(t, cell);
	describe_rules(cell, network);
	table_add(t, cell);
}

static int print_table(const struct state_list *runs)
{
	static const char *const head[] = { "ID", "NAME", "KIND", "LINK", "IP",
					    "PORTS", "RULES" };
	struct table t;
	int r;

	table_init(&t, ARRAY_SIZE(head));
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		table_add(&t, head[i]);
	for (size_t i = 0; i < runs->n; i++)
		if (network_of(&runs->v[i]))
			add_row(&t, &runs->v[i], network_of(&runs->v[i]));
	r = table_print(&t);
	table_free(&t);
	return r;
}

/* A new reference, or NULL. */
static json_t *shown(const struct record *r, const json_t *network,
		     const struct net_lease_info *lease)
{
	json_t *ports = json_object_get(r->doc, "ports"), *o;
	const char *kind = text_of(network, "kind");
	const int ours = strcmp(kind, "tap") != 0;
	const int v6 = json_is_true(json_object_get(network, "ipv6"));

	o = json_pack("{s:s, s:s?, s:s, s:o, s:s?, s:s?, s:O}", "id", r->id,
		      "name", *r->name ? r->name : NULL, "phase",
		      phase_name(r->phase), "lease",
		      lease ? json_integer(lease->number) : json_null(),
		      "guest_ipv4", ours ? NET_GUEST4 : NULL, "guest_ipv6",
		      ours && v6 ? NET_GUEST6 : NULL, "network", network);
	if (o && json_object_set_new(o, "ports",
				     json_is_array(ports) ? json_copy(ports)
							  : json_array()) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int print_json(const struct state_list *runs, const struct leases *l,
		      struct err *err)
{
	json_t *list = json_array();
	int bad = !list;

	for (size_t i = 0; i < runs->n; i++) {
		const struct record *r = &runs->v[i];
		const json_t *network = network_of(r);

		if (network)
			bad |= json_array_append_new(
				       list, shown(r, network,
						   lease_of(l, r->id))) < 0;
	}
	return record_print(list, bad, err);
}

int cmd_net_ls(int argc, char **argv, struct err *err)
{
	int format = FORMAT_TABLE;
	struct opt_rest rest;
	struct state_list runs;
	struct leases l;
	int r = opts_parse(&cmd_net_ls_table, &format, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_net_ls_table);
	if (rest.first < argc) {
		r = err_say(err, -EINVAL, "net ls: takes no name");
		err_hint(err, "mayfly inspect %s", argv[rest.first]);
		return r;
	}
	/* Leases first: a run has its record for longer. */
	r = read_leases(&l, err);
	if (r == 0)
		r = state_list(&runs, err);
	if (r == 0) {
		r = format == FORMAT_JSON ? print_json(&runs, &l, err)
					  : print_table(&runs);
		state_list_free(&runs);
	}
	free(l.v);
	return r;
}

/* --- prune ---------------------------------------------------------------- */

struct pruned {
	int format, bad;
	json_t *list[NET_HOST_KEPT + 1];
};

static const char *const done_name[] = {
	[NET_HOST_REMOVED] = "removed",
	[NET_HOST_RESTORED] = "restored",
	[NET_HOST_KEPT] = "kept",
};

static const struct opt prune_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format,
	  offsetof(struct pruned, format) },
};

const struct opt_table cmd_net_prune_table = {
	.command = "net prune",
	.usage = "[OPTIONS]",
	.about = "Remove the links of runs whose supervisor was killed; and "
		 "while no run has a\nnetwork, all that networks have changed on "
		 "this host: the table inet mayfly, rules\nin other tables, and "
		 "forwarding, which becomes what it was. The next run with a\n"
		 "network makes it again.",
	.opt = prune_options,
	.nopts = ARRAY_SIZE(prune_options),
};

static void tell(enum net_host_done done, const char *what, void *opaque)
{
	struct pruned *p = opaque;
	char clean[512];

	snprintf(clean, sizeof(clean), "%s", what);
	control_hide(clean);
	if (p->format != FORMAT_JSON)
		printf("%s %s\n", done_name[done], clean);
	else
		p->bad |= json_array_append_new(p->list[done],
						json_string(clean)) < 0;
}

static int prune(struct pruned *p, struct err *err)
{
	_cleanup_fd_ int root = state_open_root(0, err);

	if (root < 0)
		return root == -ENOENT ? 0 : root;
	return net_host_prune(root, tell, p, err);
}

int cmd_net_prune(int argc, char **argv, struct err *err)
{
	struct pruned p = { 0 };
	struct opt_rest rest;
	json_t *doc;
	int r = opts_parse(&cmd_net_prune_table, &p, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_net_prune_table);
	if (rest.first < argc)
		return err_say(err, -EINVAL, "net prune: takes no name");
	doc = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(p.list); i++) {
		p.list[i] = json_array();
		p.bad |= json_object_set_new(doc, done_name[i], p.list[i]) < 0;
	}
	r = prune(&p, err);
	if (p.format == FORMAT_JSON) {
		const int said = record_print(doc, p.bad, r < 0 ? NULL : err);

		return r < 0 ? r : said;
	}
	json_decref(doc);
	return r;
}
