/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer_stage: layers put together by hand, for tests of what is made of them.
 */
#ifndef MAYFLY_TESTS_LAYER_STAGE_H
#define MAYFLY_TESTS_LAYER_STAGE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"

struct stage_layer {
	struct layer_writer w;
	int index, data;
	uint64_t data_size;
	int ended;
};

/* What an entry is, in the words of a test: what is not said is 0. */
struct entry {
	enum layer_type type;
	const char *path;
	const char *link;
	const void *data; /* NULL with a size: zeros */
	uint64_t size;
	unsigned mode;
	uint32_t uid, gid, major, minor, mtime_ns;
	int64_t mtime_s;
	const char *xattr; /* one, and its value */
	const void *value;
	size_t value_len;
	size_t path_len, link_len; /* where these are no strings */
	const uint8_t *xattrs;	   /* or many, as they lie in an index */
	uint32_t xattrs_len;
};

__attribute__((unused)) static void layer_begin(struct stage_layer *l)
{
	struct err err = { 0 };

	*l = (struct stage_layer){ .index = memfd_create("index", MFD_CLOEXEC),
				   .data = memfd_create("data", MFD_CLOEXEC) };
	cr_assert(l->index >= 0 && l->data >= 0);
	cr_assert_eq(layer_write_begin(&l->w, l->index, &err), 0);
}

static void layer_add_data(struct stage_layer *l, const struct entry *e,
			   struct layer_item *item)
{
	uint64_t at = l->data_size;

	item->e.size = e->size;
	if (!e->size)
		return;
	item->e.data = at;
	if (e->data)
		cr_assert_eq(pwrite(l->data, e->data, e->size, (off_t)at),
			     (ssize_t)e->size);
	l->data_size += (e->size + LAYER_BLOCK - 1) / LAYER_BLOCK * LAYER_BLOCK;
	cr_assert_eq(ftruncate(l->data, (off_t)l->data_size), 0);
}

__attribute__((unused)) static void layer_add(struct stage_layer *l,
					      const struct entry *e)
{
	struct layer_item item = { .path = e->path, .link = e->link };
	uint8_t xattr[LAYER_XATTRS_MAX];
	struct layer_xattr x;
	struct err err = { 0 };

	item.e = (struct layer_entry){
		.type = (uint16_t)e->type, .mode = (uint16_t)e->mode,
		.uid = e->uid, .gid = e->gid,
		.major = e->major, .minor = e->minor,
		.mtime_s = e->mtime_s, .mtime_ns = e->mtime_ns,
		.path_len = (uint16_t)(e->path_len ? e->path_len :
						     strlen(e->path)),
	};
	if (e->link)
		item.e.link_len = (uint16_t)(e->link_len ? e->link_len :
							   strlen(e->link));
	item.xattrs = e->xattrs;
	item.e.xattrs_len = e->xattrs_len;
	if (e->xattr) {
		x.name_len = (uint16_t)strlen(e->xattr);
		x.value_len = (uint16_t)e->value_len;
		memcpy(xattr, &x, sizeof(x));
		memcpy(xattr + sizeof(x), e->xattr, x.name_len);
		if (e->value_len)
			memcpy(xattr + sizeof(x) + x.name_len, e->value,
			       e->value_len);
		item.xattrs = xattr;
		item.e.xattrs_len = (uint32_t)(sizeof(x) + x.name_len +
					       x.value_len);
	}
	layer_add_data(l, e, &item);
	cr_assert_eq(layer_write(&l->w, &item, &err), 0, "%s", err.msg);
}

/* Type, path, and whatever else by its name. */
#define ADD(l, t, ...)                                                   \
	layer_add(l, &(struct entry){ .type = (t), .path = __VA_ARGS__ })

__attribute__((unused)) static void layer_end(struct stage_layer *l)
{
	struct err err = { 0 };

	if (l->ended)
		return;
	l->ended = 1;
	cr_assert_eq(layer_write_end(&l->w, l->data_size, &err), 0);
	layer_write_free(&l->w);
}

/* Not before: its descriptors may be used until then. */
__attribute__((unused)) static void layer_close(struct stage_layer *l)
{
	layer_end(l);
	close(l->index);
	close(l->data);
}

#endif
