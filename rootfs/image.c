/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an image, as the store keeps it. */
#include "rootfs/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/image_config.h"
#include "runner/base/mem.h"

#define FORMAT 1

void image_free(struct image *img)
{
	free(img->source);
	doc_free_words(img->env);
	doc_free_words(img->entrypoint);
	doc_free_words(img->cmd);
	free(img->workdir);
	free(img->user);
	free(img->stop_signal);
	doc_free_words(img->labels);
	doc_free_words(img->ports);
	doc_free_words(img->volumes);
	free(img->layers);
	*img = (struct image){ .id = "" };
}

int image_is_hex(const char *s)
{
	return strlen(s) == IMAGE_HEX_MAX - 1 &&
	       strspn(s, "0123456789abcdef") == IMAGE_HEX_MAX - 1;
}

uint64_t image_size(const struct image *img)
{
	uint64_t size = img->root_size;

	for (unsigned i = 0; i < img->nlayers; i++) {
		unsigned j = 0;

		while (strcmp(img->layers[j].digest, img->layers[i].digest))
			j++;
		if (j == i)
			size += img->layers[i].data_size;
	}
	return size;
}

/* --- reading ---------------------------------------------------------- */

static void check_format(struct doc *d)
{
	if (!json_is_object(d->root))
		doc_fail(d, -EBADMSG, "not an object");
	else if (doc_number(d, d->root, "format") != FORMAT)
		doc_fail(d, -EBADMSG, "written by another version of mayfly");
}

static void read_layer(struct doc *d, const json_t *o, struct image_layer *l)
{
	doc_digest(d, o, "digest", l->digest);
	doc_digest(d, o, "diff_id", l->diff_id);
	l->blob_size = doc_number(d, o, "blob_size");
	l->data_size = doc_number(d, o, "data_size");
	l->index_size = doc_number(d, o, "index_size");
	l->entries = doc_number(d, o, "entries");
}

int image_read_layer(struct image_layer *l, const char *text, size_t len,
		     struct err *err)
{
	_cleanup_doc_ struct doc d;

	*l = (struct image_layer){ .digest = "" };
	if (doc_open(&d, text, len, "layer.json", err) < 0)
		return d.code;
	check_format(&d);
	read_layer(&d, d.root, l);
	return d.code;
}

static void read_layers(struct doc *d, struct image *img)
{
	const json_t *list = doc_list(d, d->root, "layers");
	const size_t n = json_array_size(list);

	if (!n || n > IMAGE_LAYERS_MAX) {
		doc_fail(d, -EBADMSG, "%zu layers", n);
		return;
	}
	img->layers = calloc(n, sizeof(*img->layers));
	if (!img->layers) {
		doc_fail(d, -ENOMEM, "out of memory");
		return;
	}
	img->nlayers = (unsigned)n;
	for (size_t i = 0; i < n; i++)
		read_layer(d, json_array_get(list, i), img->layers + i);
}

int image_read(struct image *img, const char *text, size_t len,
	       struct err *err)
{
	_cleanup_doc_ struct doc d;

	*img = (struct image){ .id = "" };
	if (doc_open(&d, text, len, "image.json", err) < 0)
		return d.code;
	check_format(&d);
	doc_digest(&d, d.root, "id", img->id);
	img->source = doc_copy(&d, doc_line(&d, d.root, "source"));
	img->created = doc_time(&d, d.root, "created");
	img->imported = doc_time(&d, d.root, "imported");
	img->root_size = doc_number(&d, d.root, "root_size");
	image_config_read(&d, doc_object(&d, d.root, "config"), img);
	read_layers(&d, img);
	if (d.code < 0)
		image_free(img);
	return d.code;
}

/* --- writing ---------------------------------------------------------- */

static json_t *digest(const char *hex)
{
	return json_sprintf("sha256:%s", hex);
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *time_or_null(uint64_t ns)
{
	char text[DOC_TIME_MAX];

	if (!ns)
		return json_null();
	doc_format_time(ns, text);
	return json_string(text);
}

static json_t *write_layer(const struct image_layer *l)
{
	json_t *o = json_object();
	int bad = 0;

	bad |= json_object_set_new(o, "digest", digest(l->digest));
	bad |= json_object_set_new(o, "diff_id", digest(l->diff_id));
	bad |= json_object_set_new(o, "blob_size", number(l->blob_size));
	bad |= json_object_set_new(o, "data_size", number(l->data_size));
	bad |= json_object_set_new(o, "index_size", number(l->index_size));
	bad |= json_object_set_new(o, "entries", number(l->entries));
	if (bad) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

static char *dump(json_t *o)
{
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	json_decref(o);
	return text;
}

char *image_format_layer(const struct image_layer *l)
{
	json_t *o = write_layer(l);

	if (o && json_object_set_new(o, "format", number(FORMAT)) < 0) {
		json_decref(o);
		o = NULL;
	}
	return dump(o);
}

/* As it can be read again. */
static json_t *source(const struct image *img)
{
	char clean[DOC_TEXT_MAX];

	if (!img->source)
		return json_null();
	doc_clean(clean, sizeof(clean), img->source);
	return json_string(clean);
}

json_t *image_to_json(const struct image *img)
{
	json_t *o = json_object(), *layers = json_array();
	int bad = 0;

	for (unsigned i = 0; i < img->nlayers; i++)
		bad |= json_array_append_new(layers,
					     write_layer(img->layers + i));
	bad |= json_object_set_new(o, "format", number(FORMAT));
	bad |= json_object_set_new(o, "id", digest(img->id));
	bad |= json_object_set_new(o, "source", source(img));
	bad |= json_object_set_new(o, "created", time_or_null(img->created));
	bad |= json_object_set_new(o, "imported", time_or_null(img->imported));
	bad |= json_object_set_new(o, "root_size", number(img->root_size));
	bad |= json_object_set_new(o, "config", image_config_write(img));
	bad |= json_object_set_new(o, "layers", layers);
	if (bad) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

char *image_format(const struct image *img)
{
	return dump(image_to_json(img));
}

char *image_bare_config(const char diff_id[IMAGE_HEX_MAX])
{
	char *text;

	return asprintf(&text,
			"{\"architecture\":\"amd64\",\"os\":\"linux\","
			"\"config\":{},\"rootfs\":{\"type\":\"layers\","
			"\"diff_ids\":[\"sha256:%s\"]}}",
			diff_id) < 0 ?
		       NULL :
		       text;
}
