/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly ps and inspect: what is known of runs. */
#include "runner/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/format.h"
#include "runner/opts.h"
#include "runner/targets.h"

#define STATUS_MAX  (FORMAT_SPAN_MAX + 24)
#define COMMAND_MAX 41
#define IMAGE_MAX   41

struct ps {
	int all, quiet, format;
};

static const struct opt ps_options[] = {
	{ "all", 'a', NULL, NULL, "those that ended as well", opt_flag,
	  offsetof(struct ps, all) },
	{ "quiet", 'q', NULL, NULL, "only ids", opt_flag,
	  offsetof(struct ps, quiet) },
	{ "format", 0, "table|json", NULL, "how to print it", opt_format,
	  offsetof(struct ps, format) },
};

const struct opt_table cmd_ps_table = {
	.command = "ps",
	.usage = "[OPTIONS]",
	.about = "List the runs, the youngest first: those in the foreground "
		 "and those of run -d.\nA run is lost when its supervisor was "
		 "killed; `mayfly prune` removes such.",
	.opt = ps_options,
	.nopts = ARRAY_SIZE(ps_options),
	.mixed = 1,
};

static const struct opt inspect_options[] = {
	{ "format", 0, "json", NULL, "how to print it", opt_json, 0 },
};

const struct opt_table cmd_inspect_table = {
	.command = "inspect",
	.usage = "[OPTIONS] NAME...",
	.about = "Print all that is known of runs as JSON, a list with one "
		 "object for each. Once a\nrun is over, its `report` is that "
		 "of run --meta.",
	.opt = inspect_options,
	.nopts = ARRAY_SIZE(inspect_options),
	.mixed = 1,
};

static uint64_t since(uint64_t then, uint64_t now)
{
	return now > then ? now - then : 0;
}

static void status(const struct record *r, uint64_t now, char buf[STATUS_MAX])
{
	char span[FORMAT_SPAN_MAX];

	switch (r->phase) {
	case PHASE_RUNNING:
		format_span(since(r->started, now), span);
		snprintf(buf, STATUS_MAX, "up %s", span);
		break;
	case PHASE_EXITED:
		format_span(since(r->ended, now), span);
		snprintf(buf, STATUS_MAX, "exited (%d) %s ago", r->exit_code,
			 span);
		break;
	default:
		snprintf(buf, STATUS_MAX, "%s", phase_name(r->phase));
	}
}

static void add_row(struct table *t, const struct record *r, uint64_t now,
		    int ports)
{
	char text[MAX(STATUS_MAX, RECORD_PORTS_MAX)];
	char command[COMMAND_MAX + 3], image[IMAGE_MAX + 3];
	char span[FORMAT_SPAN_MAX];

	table_add(t, r->id);
	table_add(t, *r->name ? r->name : "-");
	status(r, now, text);
	table_add(t, text);
	table_add(t, *r->engine ? r->engine : "-");
	format_size(r->memory, text);
	table_add(t, text);
	format_span(since(r->created, now), span);
	snprintf(text, sizeof(text), "%s ago", span);
	table_add(t, text);
	record_image(r, image, IMAGE_MAX);
	if (strlen(image) == IMAGE_MAX - 1)
		strcat(image, "...");
	table_add(t, image);
	if (ports) {
		record_ports(r, text, sizeof(text));
		table_add(t, *text ? text : "-");
	}
	record_command(r, command, COMMAND_MAX);
	if (strlen(command) == COMMAND_MAX - 1)
		strcat(command, "...");
	table_add(t, command);
}

static int is_wanted(const struct ps *o, const struct record *r)
{
	return o->all || r->phase < PHASE_EXITED;
}

/* A column for them only where there are any: few runs have some. */
static int any_ports(const struct ps *o, const struct state_list *l)
{
	char text[RECORD_PORTS_MAX];

	for (size_t i = 0; i < l->n; i++) {
		record_ports(&l->v[i], text, sizeof(text));
		if (is_wanted(o, &l->v[i]) && *text)
			return 1;
	}
	return 0;
}

static int print_table(const struct ps *o, const struct state_list *l)
{
	static const char *const head[] = { "ID",      "NAME",	  "STATUS",
					    "ENGINE",  "MEMORY",  "CREATED",
					    "IMAGE",   "PORTS",	  "COMMAND" };
	int ports = any_ports(o, l), r;
	uint64_t now = format_now();
	struct table t;

	table_init(&t, ARRAY_SIZE(head) - !ports);
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		if (ports || strcmp(head[i], "PORTS"))
			table_add(&t, head[i]);
	for (size_t i = 0; i < l->n; i++)
		if (is_wanted(o, &l->v[i]))
			add_row(&t, &l->v[i], now, ports);
	r = table_print(&t);
	table_free(&t);
	return r;
}

/* The document, with the phase as it is; a new reference, or NULL. */
static json_t *shown(const struct record *r)
{
	json_t *o = json_copy(r->doc);

	if (json_object_set_new(o, "phase",
				json_string(phase_name(r->phase))) == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int print_json(const struct ps *o, const struct state_list *l,
		      struct err *err)
{
	json_t *list = json_array();
	int bad = !list;

	for (size_t i = 0; i < l->n; i++)
		if (is_wanted(o, &l->v[i]))
			bad |= json_array_append_new(list, shown(&l->v[i])) < 0;
	return record_print(list, bad, err);
}

int cmd_ps(int argc, char **argv, struct err *err)
{
	struct ps o = { 0 };
	struct opt_rest rest;
	struct state_list l;
	int r = opts_parse(&cmd_ps_table, &o, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_ps_table);
	if (rest.first < argc) {
		r = err_say(err, -EINVAL, "ps: takes no name");
		err_hint(err, "mayfly inspect %s", argv[rest.first]);
		return r;
	}
	r = state_list(&l, err);
	if (r < 0)
		return r;
	if (o.format == FORMAT_JSON)
		r = print_json(&o, &l, err);
	else if (!o.quiet)
		r = print_table(&o, &l);
	for (size_t i = 0; i < l.n && o.quiet && o.format != FORMAT_JSON; i++)
		if (is_wanted(&o, &l.v[i]))
			puts(l.v[i].id);
	state_list_free(&l);
	return r;
}

static int inspect_one(struct target *t, void *opaque, struct err *err)
{
	json_t *list = opaque;

	if (json_array_append_new(list, shown(state_record(t->state))) < 0)
		return err_set(err, -ENOMEM, "%s", t->word);
	return 0;
}

int cmd_inspect(int argc, char **argv, struct err *err)
{
	int format = FORMAT_JSON, r, code;
	struct targets t;
	json_t *list;

	r = targets_parse(&t, &cmd_inspect_table, &format, argc, argv, err);
	if (r != 1)
		return r;
	list = json_array();
	targets_each(&t, inspect_one, list);
	code = targets_end(&t);
	/* What was found is printed, also where something was not. */
	r = record_print(list, !list, code < 0 ? NULL : err);
	return code < 0 ? code : r;
}
