/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly image ls, inspect, rm and prune: the images that are there. */
#include "runner/cmd.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/store.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/format.h"
#include "runner/opts.h"
#include "runner/record.h"

#define SHORT_ID 12

/* --- ls ------------------------------------------------------------------ */

struct ls {
	int quiet, format;
};

static const struct opt ls_options[] = {
	{ "quiet", 'q', NULL, NULL, "only ids", opt_flag,
	  offsetof(struct ls, quiet) },
	{ "format", 0, "table|json", NULL, "how to print it", opt_format,
	  offsetof(struct ls, format) },
};

const struct opt_table cmd_image_ls_table = {
	.command = "image ls",
	.usage = "[OPTIONS]",
	.about = "List the images, by name. SIZE is what an image takes on the "
		 "disk, UNIQUE what\nno other image has a part in: removing "
		 "it would give back so much.",
	.opt = ls_options,
	.nopts = ARRAY_SIZE(ls_options),
	.mixed = 1,
};

static void short_name(const char *full, char buf[REFERENCE_MAX])
{
	struct reference r;

	if (reference_parse(&r, full, NULL) == 0)
		reference_short(&r, buf);
	else
		snprintf(buf, REFERENCE_MAX, "%s", full);
}

static void add_age(struct table *t, uint64_t then, uint64_t now)
{
	char span[FORMAT_SPAN_MAX], text[FORMAT_SPAN_MAX + 8];

	if (then) {
		format_span(now > then ? now - then : 0, span);
		snprintf(text, sizeof(text), "%s ago", span);
	}
	table_add(t, then ? text : "-");
}

static void add_row(struct table *t, const struct store_item *it,
		    const char *name, uint64_t now)
{
	char text[REFERENCE_MAX];

	if (name)
		short_name(name, text);
	table_add(t, name ? text : "-");
	snprintf(text, sizeof(text), "%.*s", SHORT_ID, it->id);
	table_add(t, text);
	format_size(it->all, text);
	table_add(t, text);
	format_size(it->unique, text);
	table_add(t, text);
	snprintf(text, sizeof(text), "%u", it->img.nlayers);
	table_add(t, it->damage ? "damaged" : text);
	add_age(t, it->img.created, now);
	add_age(t, it->img.imported, now);
}

static int print_table(const struct store_list *l)
{
	static const char *const head[] = { "NAME", "ID", "SIZE", "UNIQUE",
					    "LAYERS", "CREATED", "IMPORTED" };
	char total[FORMAT_SPAN_MAX], unused[FORMAT_SPAN_MAX];
	uint64_t now = format_now();
	struct table t;
	int r;

	table_init(&t, ARRAY_SIZE(head));
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		table_add(&t, head[i]);
	for (size_t i = 0; i < l->n; i++) {
		const struct store_item *it = &l->items[i];

		if (!it->names || !it->names[0])
			add_row(&t, it, NULL, now);
		for (char **n = it->names; n && *n; n++)
			add_row(&t, it, *n, now);
	}
	r = table_print(&t);
	table_free(&t);
	format_size(l->total, total);
	printf("%zu image%s, %s on disk", l->n, l->n == 1 ? "" : "s", total);
	format_size(l->unused, unused);
	if (l->unused)
		printf(", %s of it unused: mayfly image prune", unused);
	putchar('\n');
	return r;
}

static json_t *of_bytes(uint64_t n)
{
	return json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX));
}

/* An image with what the store knows of it; a new reference, or NULL. */
static json_t *document(const struct store_item *it)
{
	json_t *o = it->damage ? json_object() : image_to_json(&it->img);
	json_t *names = json_array();
	int bad = !o;

	for (char **n = it->names; n && *n; n++)
		bad |= json_array_append_new(names, json_string(*n));
	bad |= json_object_set_new(o, "id", json_string(it->id));
	bad |= json_object_set_new(o, "names", names);
	bad |= json_object_set_new(o, "disk_bytes", of_bytes(it->all));
	bad |= json_object_set_new(o, "unique_bytes", of_bytes(it->unique));
	if (it->damage)
		bad |= json_object_set_new(o, "damage",
					   json_string(it->damage));
	if (!bad)
		return o;
	json_decref(o);
	return NULL;
}

static int print_list(const struct store_list *l, struct err *err)
{
	json_t *doc = json_object(), *images = json_array();
	int bad = 0;

	for (size_t i = 0; i < l->n; i++)
		bad |= json_array_append_new(images, document(&l->items[i]));
	bad |= json_object_set_new(doc, "images", images);
	bad |= json_object_set_new(doc, "disk_bytes", of_bytes(l->total));
	bad |= json_object_set_new(doc, "unused_bytes", of_bytes(l->unused));
	return record_print(doc, bad, err);
}

static int waits(void *opaque)
{
	int *told = opaque;

	if (!(*told)++ && isatty(STDERR_FILENO))
		dprintf(STDERR_FILENO,
			"mayfly: waiting for another mayfly to be done with "
			"the images\n");
	return 0;
}

/* The store under @how; -ENOENT without words where there is none. */
static int open_store(struct store **s, enum store_hold how, struct err *err)
{
	int r = store_open(s, 0, err), told = 0;

	if (r < 0)
		return r;
	store_on_wait(*s, waits, &told);
	r = store_lock(*s, how, err);
	store_on_wait(*s, NULL, NULL);
	return r;
}

/* An empty list where there is no store yet. */
static int list(struct store **s, struct store_list *l, struct err *err)
{
	int r = open_store(s, STORE_SHARED, err);

	*l = (struct store_list){ 0 };
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : store_list(*s, l, err);
}

int cmd_image_ls(int argc, char **argv, struct err *err)
{
	struct store *s = NULL;
	struct ls o = { 0 };
	struct opt_rest rest;
	struct store_list l;
	int r = opts_parse(&cmd_image_ls_table, &o, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_image_ls_table);
	if (rest.first < argc) {
		err_say(err, -EINVAL, "image ls: takes no name");
		return err_hint(err, "mayfly image inspect %s",
				argv[rest.first]);
	}
	r = list(&s, &l, err);
	if (r == 0 && o.format == FORMAT_JSON)
		r = print_list(&l, err);
	else if (r == 0 && !o.quiet)
		r = print_table(&l);
	for (size_t i = 0; r == 0 && o.quiet && o.format != FORMAT_JSON &&
			   i < l.n; i++)
		puts(l.items[i].id);
	store_free_list(&l);
	store_free(s);
	return r;
}

/* --- inspect and rm ------------------------------------------------------ */

/* 1: go on; else what to return. Some name is required. */
static int names_of(const struct opt_table *t, void *options, int argc,
		    char **argv, int *first, struct err *err)
{
	struct opt_rest rest;
	int r = opts_parse(t, options, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(t);
	*first = rest.first;
	if (rest.first < argc)
		return 1;
	err_say(err, -EINVAL, "%s: no image", t->command);
	return err_hint(err, "`mayfly image ls` lists them");
}

static int no_image(const char *word, struct err *err)
{
	err_say(err, -ENOENT, "image %s: not there", word);
	return err_hint(err, "there are none yet: mayfly pull %s", word);
}

static const struct opt inspect_options[] = {
	{ "format", 0, "json", NULL, "how to print it", opt_json, 0 },
};

const struct opt_table cmd_image_inspect_table = {
	.command = "image inspect",
	.usage = "[OPTIONS] IMAGE...",
	.about = "Print all that is known of images as JSON, a list with one "
		 "object for each.",
	.opt = inspect_options,
	.nopts = ARRAY_SIZE(inspect_options),
	.mixed = 1,
};

static int inspect_one(const struct store *s, const struct store_list *l,
		       const char *word, json_t *out, struct err *err)
{
	char id[IMAGE_HEX_MAX];
	int r = s ? store_resolve(s, word, id, err) : no_image(word, err);

	for (size_t i = 0; r == 0 && i < l->n; i++)
		if (!strcmp(l->items[i].id, id))
			return json_array_append_new(out, document(&l->items[i]))
				       ? err_set(err, -ENOMEM, "%s", word)
				       : 0;
	return r < 0 ? r : no_image(word, err);
}

int cmd_image_inspect(int argc, char **argv, struct err *err)
{
	struct store *s = NULL;
	struct store_list l;
	int first, code = 0, format, r;
	json_t *out;

	r = names_of(&cmd_image_inspect_table, &format, argc, argv, &first,
		     err);
	if (r != 1)
		return r;
	r = list(&s, &l, err);
	out = json_array();
	for (int i = first; r == 0 && i < argc; i++) {
		struct err why = { 0 };

		if (inspect_one(s, &l, argv[i], out, &why) < 0)
			err_next(err, &code, why.code ? why.code : -EINVAL,
				 &why);
	}
	store_free_list(&l);
	store_free(s);
	/* What was found is printed, also where something was not. */
	if (r == 0)
		r = record_print(out, !out, code < 0 ? NULL : err);
	else
		json_decref(out);
	return code < 0 ? code : r;
}

static const struct opt rm_options[] = {
	{ "force", 'f', NULL, NULL,
	  "by its id also an image that has several names", opt_flag, 0 },
};

const struct opt_table cmd_image_rm_table = {
	.command = "image rm",
	.usage = "[OPTIONS] IMAGE...",
	.about = "Remove names of images, and with the last name of one the "
		 "image itself and the\nlayers that no other has. An id stands "
		 "for the image and its only name. VMs that\nrun go on.",
	.opt = rm_options,
	.nopts = ARRAY_SIZE(rm_options),
	.mixed = 1,
};

static void tell_freed(const struct store_freed *f)
{
	char size[FORMAT_SPAN_MAX];

	format_size(f->bytes, size);
	printf("%u name%s, %u image%s, %u layer%s removed, %s freed\n",
	       f->names, f->names == 1 ? "" : "s", f->images,
	       f->images == 1 ? "" : "s", f->layers, f->layers == 1 ? "" : "s",
	       size);
}

int cmd_image_rm(int argc, char **argv, struct err *err)
{
	struct store_freed freed = { 0 };
	int first, force = 0, code = 0, r;
	struct store *s = NULL;

	r = names_of(&cmd_image_rm_table, &force, argc, argv, &first, err);
	if (r != 1)
		return r;
	r = open_store(&s, STORE_EXCLUSIVE, err);
	if (r < 0 && r != -ENOENT) {
		store_free(s);
		return r;
	}
	for (int i = first; i < argc; i++) {
		struct err why = { 0 };

		r = s ? store_remove(s, argv[i], force, &freed, &why)
		      : no_image(argv[i], &why);
		if (r < 0)
			err_next(err, &code, why.code ? why.code : -EINVAL,
				 &why);
	}
	store_free(s);
	if (freed.names || freed.images)
		tell_freed(&freed);
	return code;
}

/* --- prune --------------------------------------------------------------- */

static const struct opt prune_options[] = {
	{ "format", 0, "table|json", NULL, "how to print it", opt_format, 0 },
};

const struct opt_table cmd_image_prune_table = {
	.command = "image prune",
	.usage = "[OPTIONS]",
	.about = "Remove images without a name, layers without an image, and "
		 "what was left behind by\nimports that were killed.",
	.opt = prune_options,
	.nopts = ARRAY_SIZE(prune_options),
};

static int print_freed(const struct store_freed *f, struct err *err)
{
	json_t *o = json_object();
	int bad = 0;

	bad |= json_object_set_new(o, "names", json_integer(f->names));
	bad |= json_object_set_new(o, "images", json_integer(f->images));
	bad |= json_object_set_new(o, "layers", json_integer(f->layers));
	bad |= json_object_set_new(o, "staging", json_integer(f->stages));
	bad |= json_object_set_new(o, "freed_bytes", of_bytes(f->bytes));
	return record_print(o, bad, err);
}

int cmd_image_prune(int argc, char **argv, struct err *err)
{
	struct store_freed freed = { 0 };
	int format = FORMAT_TABLE;
	struct store *s = NULL;
	struct opt_rest rest;
	int r = opts_parse(&cmd_image_prune_table, &format, argc, argv, &rest,
			   err);

	if (r < 0)
		return r;
	if (rest.help)
		return opts_help(&cmd_image_prune_table);
	if (rest.first < argc) {
		err_say(err, -EINVAL, "image prune: takes no name");
		return err_hint(err, "mayfly image rm %s", argv[rest.first]);
	}
	r = open_store(&s, STORE_EXCLUSIVE, err);
	if (r == 0)
		r = store_prune(s, &freed, err);
	store_free(s);
	if (r < 0 && r != -ENOENT)
		return r;
	if (format == FORMAT_JSON)
		return print_freed(&freed, err);
	if (freed.stages)
		printf("%u unfinished import%s removed\n", freed.stages,
		       freed.stages == 1 ? "" : "s");
	tell_freed(&freed);
	return 0;
}
