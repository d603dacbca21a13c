/* SPDX-License-Identifier: Apache-2.0 */
/* What there is in the store, and what it takes on the disk. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/document.h"
#include "rootfs/store_dir.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

struct layer_use {
	char digest[IMAGE_HEX_MAX];
	uint64_t bytes;
	unsigned images, named; /* that have it */
};

struct listing {
	const struct store *s;
	struct store_list *out;
	struct layer_use *layers;
	size_t nlayers;
	struct err *err;
};

/* One more at the end of an array, zeroed; NULL without memory. */
static void *grow(void **array, size_t *n, size_t size)
{
	char *p;

	/* Twice as much at each power of two. */
	if ((*n & (*n - 1)) == 0) {
		p = reallocarray(*array, *n ? *n * 2 : 1, size);
		if (!p)
			return NULL;
		*array = p;
	}
	p = (char *)*array + *n * size;
	memset(p, 0, size);
	++*n;
	return p;
}

/* --- gathering -------------------------------------------------------- */

static int add_layer(int dir, const char *name, void *opaque)
{
	struct listing *l = opaque;
	struct layer_use *u;

	if (!image_is_hex(name))
		return 0;
	u = grow((void **)&l->layers, &l->nlayers, sizeof(*u));
	if (!u)
		return -ENOMEM;
	memcpy(u->digest, name, IMAGE_HEX_MAX);
	u->bytes = store_usage(dir, name);
	return 0;
}

static int add_image(int dir, const char *name, void *opaque)
{
	struct listing *l = opaque;
	struct err why = { 0 };
	struct store_item *it;
	int r;

	if (!image_is_hex(name))
		return 0;
	it = grow((void **)&l->out->items, &l->out->n, sizeof(*it));
	if (!it)
		return -ENOMEM;
	memcpy(it->id, name, IMAGE_HEX_MAX);
	it->own = store_usage(dir, name);
	it->names = calloc(1, sizeof(*it->names));
	r = store_read_image(l->s, name, &it->img, &why);
	if (r == -EBADMSG)
		it->damage = strdup(why.msg);
	else if (r < 0)
		return r;
	return !it->names || (r < 0 && !it->damage) ? -ENOMEM : 0;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct store_item *)a)->id,
		      ((const struct store_item *)b)->id);
}

static int by_digest(const void *a, const void *b)
{
	return strcmp(((const struct layer_use *)a)->digest,
		      ((const struct layer_use *)b)->digest);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those without a name last, and then by id. */
static int by_name(const void *a, const void *b)
{
	const struct store_item *x = a, *y = b;

	if (!*x->names || !*y->names)
		return *x->names ? -1 : *y->names ? 1 : strcmp(x->id, y->id);
	return strcmp(*x->names, *y->names);
}

static size_t count(char *const *words)
{
	size_t n = 0;

	while (words[n])
		n++;
	return n;
}

static int add_name(int dir, const char *file, void *opaque)
{
	struct listing *l = opaque;
	struct store_item key, *it;
	char full[REFERENCE_MAX];
	struct reference ref;
	char **names;
	size_t n;

	(void)dir;
	if (reference_decode(&ref, file) < 0 ||
	    store_read_name(l->s, file, key.id) < 0)
		return 0;
	it = l->out->n ? bsearch(&key, l->out->items, l->out->n, sizeof(*it),
				 by_id) :
			 NULL;
	if (!it)
		return 0;
	n = count(it->names);
	names = reallocarray(it->names, n + 2, sizeof(*names));
	if (!names)
		return -ENOMEM;
	it->names = names;
	reference_full(&ref, full);
	names[n] = strdup(full);
	names[n + 1] = NULL;
	return names[n] ? 0 : -ENOMEM;
}

/* --- adding up -------------------------------------------------------- */

static struct layer_use *find_layer(const struct listing *l,
				    const char *digest)
{
	struct layer_use key;

	memcpy(key.digest, digest, IMAGE_HEX_MAX);
	return l->nlayers ? bsearch(&key, l->layers, l->nlayers, sizeof(key),
				    by_digest) :
			    NULL;
}

/* The use of the image's layer @i, NULL where it came before or is gone. */
static struct layer_use *layer_of(const struct listing *l,
				  const struct image *img, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (!strcmp(img->layers[j].digest, img->layers[i].digest))
			return NULL;
	return find_layer(l, img->layers[i].digest);
}

static void count_users(struct listing *l)
{
	for (size_t i = 0; i < l->out->n; i++) {
		const struct store_item *it = l->out->items + i;

		for (unsigned j = 0; j < it->img.nlayers; j++) {
			struct layer_use *u = layer_of(l, &it->img, j);

			if (!u)
				continue;
			u->images++;
			u->named += *it->names != NULL;
		}
	}
}

static void add_up(struct listing *l)
{
	struct store_list *out = l->out;
	int keep_layers = 0;

	count_users(l);
	for (size_t i = 0; i < out->n; i++) {
		struct store_item *it = out->items + i;

		it->all = it->unique = it->own;
		for (unsigned j = 0; j < it->img.nlayers; j++) {
			const struct layer_use *u = layer_of(l, &it->img, j);

			it->all += u ? u->bytes : 0;
			it->unique += u && u->images == 1 ? u->bytes : 0;
		}
		out->total += it->own;
		if (!*it->names)
			out->unused += it->own;
		keep_layers |= it->damage && *it->names;
	}
	for (size_t i = 0; i < l->nlayers; i++) {
		out->total += l->layers[i].bytes;
		if (!keep_layers && !l->layers[i].named)
			out->unused += l->layers[i].bytes;
	}
}

static int gather(struct listing *l)
{
	struct store_list *out = l->out;
	int r = store_each(l->s->layers, add_layer, l);

	if (r == 0 && l->nlayers)
		qsort(l->layers, l->nlayers, sizeof(*l->layers), by_digest);
	if (r == 0)
		r = store_each(l->s->images, add_image, l);
	if (r == 0 && out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_id);
	if (r == 0)
		r = store_each(l->s->names, add_name, l);
	for (size_t i = 0; r == 0 && i < out->n; i++)
		qsort(out->items[i].names, count(out->items[i].names),
		      sizeof(char *), by_text);
	if (r == 0 && out->n)
		qsort(out->items, out->n, sizeof(*out->items), by_name);
	return r;
}

int store_list(const struct store *s, struct store_list *list,
	       struct err *err)
{
	struct listing l = { .s = s, .out = list };
	int r;

	assert(s->held != STORE_NONE);
	*list = (struct store_list){ .n = 0 };
	r = gather(&l);
	if (r == 0)
		add_up(&l);
	free(l.layers);
	if (r == 0)
		return 0;
	store_free_list(list);
	return store_failed(err, r, "list");
}

void store_free_list(struct store_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct store_item *it = list->items + i;

		image_free(&it->img);
		free(it->damage);
		doc_free_words(it->names);
	}
	free(list->items);
	*list = (struct store_list){ .n = 0 };
}
