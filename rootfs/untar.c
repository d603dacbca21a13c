/* SPDX-License-Identifier: Apache-2.0 */
/* Layers: entries to the index, files to the data. */
#include "rootfs/untar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rootfs/layer_data.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

#define WHITEOUT ".wh."
#define AUFS	 ".wh..wh."
#define OPAQUE	 ".wh..wh..opq"

struct work {
	struct untar *u;
	struct tar tar;
	struct layer_writer index;
	struct layer_data data;
	uint64_t next; /* where the next file begins in the data */
	char path[LAYER_PATH_MAX], link[LAYER_PATH_MAX];
};

static int begins(const char *s, size_t len, const char *with)
{
	return len >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

static int is(const char *s, size_t len, const char *what)
{
	return len == strlen(what) && memcmp(s, what, len) == 0;
}

int untar_path(const struct tar_name *name, char path[LAYER_PATH_MAX],
	       struct err *err)
{
	const char *p = name->text, *end = p + name->len;
	size_t len = 0;

	for (; p < end; p++) {
		const char *from = p;
		size_t n;

		p = memchr(p, '/', (size_t)(end - p)) ?: end;
		n = (size_t)(p - from);
		if (!n || is(from, n, "."))
			continue;
		if (is(from, n, ".."))
			return err_say(err, -EBADMSG,
				       "%.200s leads out of the tree",
				       name->text);
		if (n > LAYER_NAME_MAX || len + !!len + n > LAYER_PATH_MAX)
			return err_say(err, -ENAMETOOLONG,
				       "%.200s... is too long a name",
				       name->text);
		if (len)
			path[len++] = '/';
		memcpy(path + len, from, n);
		len += n;
	}
	return (int)len;
}

/* --- whiteouts ---------------------------------------------------------- */

enum white { NOT_WHITE, WHITE, IGNORED };

/* @item, whose path is known, may turn out to be one. */
static int white(struct work *w, struct layer_item *item, struct err *err)
{
	const char *end = w->path + item->e.path_len, *p = w->path, *slash;
	size_t n;

	for (;; p = slash + 1) {
		slash = memchr(p, '/', (size_t)(end - p));
		n = (size_t)((slash ?: end) - p);
		if (!slash)
			break;
		if (begins(p, n, AUFS))
			return IGNORED;
		if (begins(p, n, WHITEOUT))
			return err_say(err, -EBADMSG,
				       "%.200s is in a whiteout, which is no "
				       "directory", w->tar.e.path.text);
	}
	if (!begins(p, n, WHITEOUT))
		return NOT_WHITE;
	item->e = (struct layer_entry){ .type = LAYER_WHITEOUT };
	if (is(p, n, OPAQUE)) {
		item->e.type = LAYER_OPAQUE;
		item->e.path_len = (uint16_t)(p - w->path - (p > w->path));
		return WHITE;
	}
	if (begins(p, n, AUFS))
		return IGNORED;
	n -= strlen(WHITEOUT);
	memmove(w->path + (p - w->path), p + strlen(WHITEOUT), n);
	item->e.path_len = (uint16_t)(p - w->path + (ptrdiff_t)n);
	if (!n || is(p, n, ".") || is(p, n, ".."))
		return err_say(err, -EBADMSG, "%.200s whites nothing out",
			       w->tar.e.path.text);
	return WHITE;
}

/* --- entries ------------------------------------------------------------ */

static int too_large(struct work *w, const char *what, uint64_t limit,
		     struct err *err)
{
	return err_say(err, -EFBIG, "%s than %llu%s, with %.200s", what,
		       (unsigned long long)limit,
		       limit == w->u->data_max ? " bytes" : "",
		       w->tar.e.path.text);
}

/* Room in the data, before there is any. */
static int reserve(struct work *w, struct layer_entry *e, struct err *err)
{
	uint64_t max = MIN(w->u->data_max, LAYER_DATA_MAX);
	uint64_t size = w->tar.e.size;

	if (size > max || -size % LAYER_BLOCK + size > max - w->next)
		return too_large(w, "the files are larger", max, err);
	e->size = size;
	e->data = size ? w->next : 0;
	w->next += size + -size % LAYER_BLOCK;
	return 0;
}

static int link_of(struct work *w, struct layer_item *item, struct err *err)
{
	const struct tar_entry *t = &w->tar.e;
	int n;

	if (item->e.type == LAYER_SYMLINK) {
		if (!t->link.len || t->link.len > LAYER_LINK_MAX)
			return err_say(err, -EBADMSG,
				       "%.200s is a link to nothing or too far",
				       t->path.text);
		item->link = t->link.text;
		item->e.link_len = (uint16_t)t->link.len;
		return 0;
	}
	n = untar_path(&t->link, w->link, err);
	if (n == 0)
		err_say(err, n = -EBADMSG, "it is a link to nothing");
	if (n < 0) {
		err_wrap(err, "%.200s", t->path.text);
		return n;
	}
	item->link = w->link;
	item->e.link_len = (uint16_t)n;
	return 0;
}

/* All but the path. */
static int describe(struct work *w, struct layer_item *item, struct err *err)
{
	const struct tar_entry *t = &w->tar.e;
	struct layer_entry *e = &item->e;

	*e = (struct layer_entry){
		.type = (uint16_t)t->type,
		.mode = (uint16_t)t->mode,
		.uid = t->uid,
		.gid = t->gid,
		.major = t->major,
		.minor = t->minor,
		.mtime_s = t->mtime_s,
		.mtime_ns = t->mtime_ns,
		.path_len = e->path_len,
		.xattrs_len = (uint32_t)t->xattrs_len,
	};
	item->xattrs = t->xattrs;
	if (!e->path_len && t->type != LAYER_DIR)
		return err_say(err, -EBADMSG,
			       "the root of the tree is no directory");
	if (t->type == LAYER_SYMLINK || t->type == LAYER_HARDLINK)
		return link_of(w, item, err);
	return t->type == LAYER_FILE ? reserve(w, e, err) : 0;
}

static int copy(struct work *w, uint64_t to, struct err *err)
{
	const uint8_t *p;
	uint64_t offset;
	ssize_t n;

	while ((n = tar_data(&w->tar, &p, &offset, err)) > 0) {
		int r = layer_data_put(&w->data, to + offset, p, (size_t)n,
				       err);

		if (r < 0)
			return r;
	}
	return (int)n;
}

static int entry(struct work *w, struct err *err)
{
	struct layer_item item = { .path = w->path };
	int r = untar_path(&w->tar.e.path, w->path, err);

	if (r < 0)
		return r;
	item.e.path_len = (uint16_t)r;
	r = white(w, &item, err);
	if (r < 0 || r == IGNORED)
		return MIN(r, 0);
	if (r == NOT_WHITE) {
		r = describe(w, &item, err);
		if (r < 0)
			return r;
	}
	if (w->index.head.entries ==
	    MIN(w->u->entries_max, LAYER_ENTRIES_MAX))
		return too_large(w, "there are more entries",
				 w->index.head.entries, err);
	r = layer_write(&w->index, &item, err);
	if (r == 0 && item.e.size)
		r = copy(w, item.e.data, err);
	return r;
}

static int drain(struct untar *u, struct err *err)
{
	const uint8_t *p;
	ssize_t n;

	do
		n = u->source(u->opaque, &p, err);
	while (n > 0);
	return (int)n;
}

int untar(struct untar *u, struct err *err)
{
	struct work *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(err, -ENOMEM, "a layer");
	w->u = u;
	r = tar_init(&w->tar, u->source, u->opaque, err);
	if (r == 0)
		r = layer_data_begin(&w->data, u->data, err);
	if (r == 0)
		r = layer_write_begin(&w->index, u->index, err);
	while (r == 0) {
		r = tar_next(&w->tar, err);
		if (r <= 0)
			break;
		r = entry(w, err);
	}
	if (r == 0)
		r = layer_data_end(&w->data, w->next, err);
	if (r == 0)
		r = layer_write_end(&w->index, w->next, err);
	if (r == 0)
		r = drain(u, err);
	u->entries = w->index.head.entries;
	u->data_size = w->next;
	layer_write_free(&w->index);
	layer_data_free(&w->data);
	tar_free(&w->tar);
	free(w);
	return r;
}
