/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly prune: away with what is over. */
#include "runner/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "jail/cgroup.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/format.h"
#include "runner/opts.h"
#include "runner/state.h"

struct pruned {
	int format;
	unsigned n;
	uint64_t bytes;
	json_t *list, *cgroups;
	const char *cgroup_parent;
	int bad;
};

static const struct opt prune_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format,
	  offsetof(struct pruned, format) },
	{ "cgroup-parent", 0, "PATH", "MAYFLY_CGROUP_PARENT",
	  "as given to `mayfly run` (mayfly)", opt_string,
	  offsetof(struct pruned, cgroup_parent) },
};

const struct opt_table cmd_prune_table = {
	.command = "prune",
	.usage = "[OPTIONS]",
	.about = "Remove every run that is over: those of run -d that ended, "
		 "with their logs, and\nwhatever is left of runs whose "
		 "supervisor was killed, their cgroups too. What runs is not "
		 "touched,\nnor are images: `mayfly image prune`.",
	.opt = prune_options,
	.nopts = ARRAY_SIZE(prune_options),
};

static void tell(const char *id, const struct record *r, uint64_t bytes,
		 void *opaque)
{
	struct pruned *p = opaque;
	const char *name = r ? r->name : "";
	const char *was = r ? phase_name(r->phase) : "incomplete";
	json_t *o;

	p->n++;
	p->bytes += bytes;
	if (p->format != FORMAT_JSON) {
		printf("removed %s%s%s (%s)\n", id, *name ? " " : "", name, was);
		return;
	}
	o = json_object();
	p->bad |= json_object_set_new(o, "id", json_string(id));
	p->bad |= json_object_set_new(o, "name", *name ? json_string(name)
						       : json_null());
	p->bad |= json_object_set_new(o, "phase", json_string(was));
	p->bad |= json_array_append_new(p->list, o);
}

static void tell_cgroup(const char *name, void *opaque)
{
	struct pruned *p = opaque;

	p->n++;
	if (p->format != FORMAT_JSON)
		printf("removed cgroup %s\n", name);
	else
		p->bad |= json_array_append_new(p->cgroups, json_string(name));
}

/* Both, whatever becomes of the first; the first failure is told. */
static int prune(struct pruned *p, struct err *err)
{
	struct err why = { 0 };
	int r = state_prune(tell, p, err);
	int more = cgroup_sweep(p->cgroup_parent, tell_cgroup, p, &why);

	if (r < 0 || more == 0)
		return r;
	*err = why;
	return more;
}

static int print_json(const struct pruned *p, struct err *err)
{
	json_t *doc = json_object();
	int bad = p->bad;

	bad |= json_object_set(doc, "removed", p->list);
	bad |= json_object_set(doc, "cgroups", p->cgroups);
	bad |= json_object_set_new(doc, "freed_bytes",
				   json_integer((json_int_t)p->bytes));
	return record_print(doc, bad, err);
}

int cmd_prune(int argc, char **argv, struct err *err)
{
	struct pruned p = { 0 };
	char size[FORMAT_SPAN_MAX];
	struct opt_rest rest;
	int r = opts_parse(&cmd_prune_table, &p, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_prune_table);
	if (rest.first < argc) {
		r = err_say(err, -EINVAL, "prune: takes no name");
		err_hint(err, "mayfly rm %s", argv[rest.first]);
		return r;
	}
	p.list = json_array();
	p.cgroups = json_array();
	r = prune(&p, err);
	if (p.format == FORMAT_JSON) {
		const int said = print_json(&p, r < 0 ? NULL : err);

		r = r < 0 ? r : said;
	} else {
		format_size(p.bytes, size);
		printf("%u removed, %s freed\n", p.n, size);
	}
	json_decref(p.list);
	json_decref(p.cgroups);
	return r;
}
