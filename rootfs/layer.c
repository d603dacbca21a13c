/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a layer, read by who believes nothing of it. */
#include "rootfs/layer.h"

#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

int layer_path_is_good(const char *path, size_t len)
{
	const char *end = path + len;

	if (len > LAYER_PATH_MAX || memchr(path, '\0', len))
		return 0;
	if (len == 0)
		return 1;
	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);

		if (n == 0 || n > LAYER_NAME_MAX || (n == 1 && *path == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return 0;
		if (!slash)
			return 1;
		path = slash + 1;
	}
}

int layer_name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int r = memcmp(a, b, MIN(a_len, b_len));

	return r ? r : a_len < b_len ? -1 : a_len > b_len;
}

int layer_open(struct layer_reader *r, const void *index, size_t size,
	       struct err *err)
{
	struct layer_head h;

	if (size < sizeof(h))
		return err_say(err, -EBADMSG, "the index of a layer is cut");
	memcpy(&h, index, sizeof(h));
	if (memcmp(h.magic, LAYER_MAGIC, sizeof(h.magic)) != 0)
		return err_say(err, -EBADMSG, "not the index of a layer");
	if (h.size != size || size > LAYER_INDEX_MAX ||
	    h.entries > LAYER_ENTRIES_MAX || h.data_size > LAYER_DATA_MAX ||
	    h.data_size % LAYER_BLOCK)
		return err_say(err, -EBADMSG,
			       "the index of a layer has impossible sizes");
	*r = (struct layer_reader){ .at = (const uint8_t *)index + sizeof(h),
				    .end = (const uint8_t *)index + size,
				    .data_size = h.data_size,
				    .left = h.entries };
	return 0;
}

int layer_next_xattr(const struct layer_item *item, size_t *pos,
		     const char **name, size_t *name_len, const void **value,
		     size_t *value_len)
{
	struct layer_xattr x;

	if (*pos >= item->e.xattrs_len)
		return 0;
	memcpy(&x, item->xattrs + *pos, sizeof(x));
	*name = (const char *)item->xattrs + *pos + sizeof(x);
	*name_len = x.name_len;
	*value = *name + x.name_len;
	*value_len = x.value_len;
	*pos += sizeof(x) + x.name_len + x.value_len;
	return 1;
}

static int xattrs_are_good(const uint8_t *p, size_t left)
{
	const char *before = NULL;
	size_t before_len = 0;
	struct layer_xattr x;

	while (left) {
		const char *name;

		if (left < sizeof(x))
			return 0;
		memcpy(&x, p, sizeof(x));
		p += sizeof(x);
		left -= sizeof(x);
		if (left < (size_t)x.name_len + x.value_len)
			return 0;
		name = (const char *)p;
		if (x.name_len < 1 || x.name_len > LAYER_NAME_MAX ||
		    memchr(name, '\0', x.name_len) ||
		    (before && layer_name_compare(before, before_len, name,
						  x.name_len) >= 0))
			return 0;
		before = name;
		before_len = x.name_len;
		p += x.name_len + x.value_len;
		left -= (size_t)x.name_len + x.value_len;
	}
	return 1;
}

static int numbers_are_good(const struct layer_entry *e, uint64_t data_size)
{
	uint64_t blocks = e->size / LAYER_BLOCK + !!(e->size % LAYER_BLOCK);
	int is_device = e->type == LAYER_CHAR || e->type == LAYER_BLOCKDEV;
	int is_white = e->type == LAYER_WHITEOUT || e->type == LAYER_OPAQUE;

	if (e->type < LAYER_FILE || e->type >= LAYER_TYPES ||
	    e->mode & ~07777u || e->mtime_ns >= 1000000000u ||
	    e->xattrs_len > LAYER_XATTRS_MAX)
		return 0;
	if (!is_device && (e->major || e->minor))
		return 0;
	if (is_white && (e->mode || e->uid || e->gid || e->mtime_s ||
			 e->mtime_ns || e->xattrs_len))
		return 0;
	if (!e->size || e->type != LAYER_FILE)
		return !e->size && !e->data;
	return e->data % LAYER_BLOCK == 0 && e->data <= data_size &&
	       blocks <= (data_size - e->data) / LAYER_BLOCK;
}

static int strings_are_good(const struct layer_item *i)
{
	const struct layer_entry *e = &i->e;

	if (!layer_path_is_good(i->path, e->path_len))
		return 0;
	if (!e->path_len && e->type != LAYER_DIR && e->type != LAYER_OPAQUE)
		return 0;
	if (e->type == LAYER_HARDLINK)
		return e->link_len && layer_path_is_good(i->link, e->link_len);
	if (e->type == LAYER_SYMLINK)
		return e->link_len && e->link_len <= LAYER_LINK_MAX &&
		       !memchr(i->link, '\0', e->link_len);
	return !e->link_len;
}

int layer_next(struct layer_reader *r, struct layer_item *item)
{
	struct layer_entry *e = &item->e;
	size_t left = (size_t)(r->end - r->at), len;

	if (!r->left)
		return left ? -EBADMSG : 0;
	if (left < sizeof(*e))
		return -EBADMSG;
	memcpy(e, r->at, sizeof(*e));
	if (!numbers_are_good(e, r->data_size))
		return -EBADMSG;
	len = sizeof(*e) + e->path_len + e->link_len + e->xattrs_len;
	len = (len + 7) & ~(size_t)7;
	if (len > left)
		return -EBADMSG;
	item->path = (const char *)r->at + sizeof(*e);
	item->link = item->path + e->path_len;
	item->xattrs = (const uint8_t *)item->link + e->link_len;
	if (!strings_are_good(item) ||
	    !xattrs_are_good(item->xattrs, e->xattrs_len))
		return -EBADMSG;
	r->at += len;
	r->left--;
	return 1;
}
