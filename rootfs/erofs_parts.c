/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, xattrs and streams of an erofs image. */
#include "rootfs/erofs_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/siphash.h"
#include "runner/base/mem.h"

/* --- directories ------------------------------------------------------- */

void erofs_dir_open(struct erofs_dir *d, const struct merge_node *dir)
{
	d->dir = dir;
	d->next = dir->inode->children;
	d->dots = 0;
}

/* The next name, which stays the next one until it is passed. */
static int peek(const struct erofs_dir *d, struct erofs_name *n)
{
	if (d->dots < 2 &&
	    (!d->next || layer_name_compare(d->next->name, d->next->name_len,
					    "..", d->dots + 1) > 0)) {
		n->name = "..";
		n->len = d->dots + 1;
		n->inode = d->dots ? d->dir->parent->inode : d->dir->inode;
		return 1;
	}
	if (!d->next)
		return 0;
	n->name = d->next->name;
	n->len = d->next->name_len;
	n->inode = d->next->inode;
	return 1;
}

static void pass(struct erofs_dir *d, const struct erofs_name *n)
{
	if (d->next && n->name == d->next->name)
		d->next = d->next->next;
	else
		d->dots++;
}

int erofs_dir_next(struct erofs_dir *d)
{
	struct erofs_name n;
	size_t need;

	d->count = d->used = 0;
	while (peek(d, &n)) {
		need = sizeof(struct erofs_dirent) + n.len;
		if (need > EROFS_BLOCK - d->used)
			break;
		d->used += need;
		d->names[d->count++] = n;
		pass(d, &n);
	}
	return d->count != 0;
}

static uint8_t file_type(const struct merge_inode *inode)
{
	static const uint8_t types[LAYER_TYPES] = {
		[LAYER_FILE] = EROFS_FT_REG,
		[LAYER_SYMLINK] = EROFS_FT_SYMLINK,
		[LAYER_DIR] = EROFS_FT_DIR,
		[LAYER_CHAR] = EROFS_FT_CHR,
		[LAYER_BLOCKDEV] = EROFS_FT_BLK,
		[LAYER_FIFO] = EROFS_FT_FIFO,
		[LAYER_SOCKET] = EROFS_FT_SOCK,
	};

	return types[inode->item.e.type];
}

void erofs_dir_write(const struct erofs_dir *d, uint8_t block[EROFS_BLOCK])
{
	size_t i, at = d->count * sizeof(struct erofs_dirent);
	struct erofs_dirent e = { 0 };

	for (i = 0; i < d->count; i++) {
		const struct erofs_name *n = &d->names[i];
		uint64_t nid = n->inode->place / EROFS_SLOT;

		e.nid[0] = (uint32_t)nid;
		e.nid[1] = (uint32_t)(nid >> 32);
		e.nameoff = (uint16_t)at;
		e.file_type = file_type(n->inode);
		memcpy(block + i * sizeof(e), &e, sizeof(e));
		memcpy(block + at, n->name, n->len);
		at += n->len;
	}
	memset(block + at, 0, EROFS_BLOCK - at);
}

/* --- xattrs ------------------------------------------------------------ */

struct prefix {
	const char *name;
	uint8_t index;
	uint8_t whole; /* nothing comes behind it */
};

static const struct prefix prefixes[] = {
	{ "user.", EROFS_XATTR_USER, 0 },
	{ "trusted.", EROFS_XATTR_TRUSTED, 0 },
	{ "security.", EROFS_XATTR_SECURITY, 0 },
	{ "system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, 1 },
	{ "system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, 1 },
};

static int begins_with(const char *name, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(name, with, strlen(with));
}

/* NULL for one that is left out: of a kind that Linux has not, or a word to
 * the overlayfs that the guest's root is the lower layer of. */
static const struct prefix *prefix_of(const char *name, size_t len)
{
	size_t i;

	if (begins_with(name, len, "trusted.overlay.") ||
	    begins_with(name, len, "user.overlay."))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (begins_with(name, len, prefixes[i].name) &&
		    (len == strlen(prefixes[i].name)) == prefixes[i].whole)
			return &prefixes[i];
	}
	return NULL;
}

struct xattr {
	uint8_t index;
	const char *name;
	size_t name_len;
	const void *value;
	size_t value_len, size;
};

static int next_xattr(const struct layer_item *item, size_t *pos,
		      struct xattr *x)
{
	const struct prefix *p;

	while (layer_next_xattr(item, pos, &x->name, &x->name_len, &x->value,
				&x->value_len)) {
		p = prefix_of(x->name, x->name_len);
		if (!p)
			continue;
		x->index = p->index;
		x->name += strlen(p->name);
		x->name_len -= strlen(p->name);
		x->size = sizeof(struct erofs_xattr_entry) + x->name_len +
			  x->value_len;
		x->size = (x->size + 3) & ~(size_t)3;
		return 1;
	}
	return 0;
}

size_t erofs_xattrs_size(const struct layer_item *item)
{
	size_t pos = 0, size = 0;
	struct xattr x;

	while (next_xattr(item, &pos, &x))
		size += x.size;
	return size ? size + sizeof(struct erofs_xattr_header) : 0;
}

void erofs_xattrs_write(const struct layer_item *item, uint8_t *to)
{
	struct erofs_xattr_entry e;
	struct xattr x;
	size_t pos = 0;

	to += sizeof(struct erofs_xattr_header);
	for (; next_xattr(item, &pos, &x); to += x.size) {
		e.name_len = (uint8_t)x.name_len;
		e.name_index = x.index;
		e.value_size = (uint16_t)x.value_len;
		memcpy(to, &e, sizeof(e));
		memcpy(to + sizeof(e), x.name, x.name_len);
		memcpy(to + sizeof(e) + x.name_len, x.value, x.value_len);
	}
}

/* --- streams ----------------------------------------------------------- */

int erofs_write_at(int fd, const void *p, size_t n, uint64_t at)
{
	const char *from = p;

	while (n) {
		ssize_t w = pwrite(fd, from, n, (off_t)at);

		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0) {
			from += w;
			at += (uint64_t)w;
			n -= (size_t)w;
		}
	}
	return 0;
}

int erofs_stream_open(struct erofs_stream *s, int fd, uint64_t at)
{
	*s = (struct erofs_stream){ .fd = fd, .at = at };
	s->buf = malloc(EROFS_STREAM_BUF);
	return s->buf ? 0 : -ENOMEM;
}

static void flush(struct erofs_stream *s)
{
	const uint64_t key[2] = { s->hash[1], s->hash[0] };

	if (!s->error)
		s->error = erofs_write_at(s->fd, s->buf, s->used, s->at);
	s->hash[0] = siphash(key, 0, s->buf, s->used);
	s->hash[1] = siphash(key, 1, s->buf, s->used);
	s->at += s->used;
	s->used = 0;
}

/* @p or, for NULL, zeros. */
static void put(struct erofs_stream *s, const uint8_t *p, uint64_t n)
{
	while (n) {
		size_t k = MIN(n, EROFS_STREAM_BUF - s->used);

		if (p) {
			memcpy(s->buf + s->used, p, k);
			p += k;
		} else {
			memset(s->buf + s->used, 0, k);
		}
		s->used += k;
		n -= k;
		if (s->used == EROFS_STREAM_BUF)
			flush(s);
	}
}

void erofs_stream_put(struct erofs_stream *s, const void *p, size_t n)
{
	put(s, p, n);
}

void erofs_stream_pad(struct erofs_stream *s, uint64_t at)
{
	put(s, NULL, at - s->at - s->used);
}

int erofs_stream_end(struct erofs_stream *s)
{
	flush(s);
	return s->error;
}

void erofs_stream_free(struct erofs_stream *s)
{
	free(s->buf);
}
