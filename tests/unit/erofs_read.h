/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs_read: an erofs image, read by who did not write it, and held to all
 * that the kernel and fsck.erofs want of one. For tests; the file behind the
 * image is mapped whole. `erofs_must(x)` is to be defined before: what happens
 * where the image is wrong.
 */
#ifndef MAYFLY_TESTS_EROFS_READ_H
#define MAYFLY_TESTS_EROFS_READ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "rootfs/erofs_format.h"

struct er_image {
	const uint8_t *p;
	uint64_t size;	    /* mapped */
	uint64_t root_size; /* of the part that has no file data */
	struct erofs_super sb;
};

struct er_node {
	uint64_t nid, at; /* at: behind the inode and its xattrs */
	struct erofs_inode i;
	const uint8_t *xattrs;
	size_t xattrs_len; /* entries only */
};

/* What is seen of each name; the root's path is "". */
typedef void er_visit(void *opaque, const char *path, size_t len,
		      const struct er_node *n);

static void er_node(const struct er_image *im, uint64_t nid, struct er_node *n)
{
	uint64_t at = nid * EROFS_SLOT, tail, bytes;
	struct erofs_xattr_header h;

	erofs_must(at >= EROFS_SUPER_OFFSET + sizeof(struct erofs_super));
	erofs_must(at + sizeof(n->i) <= im->root_size);
	memcpy(&n->i, im->p + at, sizeof(n->i));
	n->nid = nid;
	n->at = at + sizeof(n->i);
	n->xattrs_len = 0;
	erofs_must(at / EROFS_BLOCK == (n->at - 1) / EROFS_BLOCK);
	erofs_must(n->i.format == EROFS_PLAIN || n->i.format == EROFS_INLINE);
	erofs_must(n->i.mtime_nsec < 1000000000);
	erofs_must(n->i.nlink && n->i.ino);
	if (n->i.xattr_icount) {
		erofs_must(n->i.xattr_icount > 1);
		n->xattrs_len = (n->i.xattr_icount - 1u) * 4;
		memcpy(&h, im->p + n->at, sizeof(h));
		erofs_must(!h.shared_count && !h.name_filter);
		n->xattrs = im->p + n->at + sizeof(h);
		n->at += sizeof(h) + n->xattrs_len;
		erofs_must(n->at <= im->root_size);
	}
	tail = n->i.size % EROFS_BLOCK;
	if (n->i.format == EROFS_INLINE) {
		erofs_must(S_ISDIR(n->i.mode) || S_ISLNK(n->i.mode));
		erofs_must(tail && n->at % EROFS_BLOCK + tail <= EROFS_BLOCK);
		erofs_must(n->at + tail <= im->root_size);
	}
	if (!S_ISREG(n->i.mode) && !S_ISDIR(n->i.mode) && !S_ISLNK(n->i.mode)) {
		erofs_must(!n->i.size);
		return;
	}
	bytes = n->i.format == EROFS_INLINE ? n->i.size - tail : n->i.size;
	bytes = (bytes + EROFS_BLOCK - 1) / EROFS_BLOCK;
	if (bytes)
		erofs_must(n->i.u + bytes <= im->sb.blocks);
	if (bytes && !S_ISREG(n->i.mode))
		erofs_must((n->i.u + bytes) * EROFS_BLOCK <= im->root_size);
	if (bytes && S_ISREG(n->i.mode))
		erofs_must(n->i.u * (uint64_t)EROFS_BLOCK >= im->root_size);
}

/* The bytes of a directory or link from @off on, up to the end of the block. */
static const uint8_t *er_data(const struct er_image *im,
			      const struct er_node *n, uint64_t off)
{
	if (n->i.format == EROFS_INLINE && off / EROFS_BLOCK ==
					   n->i.size / EROFS_BLOCK)
		return im->p + n->at + off % EROFS_BLOCK;
	return im->p + n->i.u * (uint64_t)EROFS_BLOCK + off;
}

/* One xattr from @*pos on: its kind, name and value. 0 at the end. */
static int er_xattr(const struct er_node *n, size_t *pos,
		    struct erofs_xattr_entry *e, const char **name,
		    const uint8_t **value)
{
	size_t size;

	if (*pos >= n->xattrs_len)
		return 0;
	erofs_must(n->xattrs_len - *pos >= sizeof(*e));
	memcpy(e, n->xattrs + *pos, sizeof(*e));
	size = (sizeof(*e) + e->name_len + e->value_size + 3) & ~(size_t)3;
	erofs_must(n->xattrs_len - *pos >= size);
	*name = (const char *)n->xattrs + *pos + sizeof(*e);
	*value = (const uint8_t *)*name + e->name_len;
	*pos += size;
	return 1;
}

static uint32_t er_crc32c(const uint8_t *p, size_t n, uint32_t v)
{
	for (size_t i = 0; i < n * 8; i++) {
		uint32_t bit = (v ^ (uint32_t)(p[i / 8] >> i % 8)) & 1;

		v = (v >> 1) ^ (bit ? 0x82f63b78 : 0);
	}
	return v;
}

static void er_open(struct er_image *im, const void *p, uint64_t size,
		    uint64_t root_size)
{
	uint32_t crc, zero = 0;

	*im = (struct er_image){ p, size, root_size, { 0 } };
	erofs_must(root_size % EROFS_BLOCK == 0 && root_size <= size);
	erofs_must(root_size >= EROFS_BLOCK);
	memcpy(&im->sb, im->p + EROFS_SUPER_OFFSET, sizeof(im->sb));
	erofs_must(im->sb.magic == EROFS_MAGIC && im->sb.blkszbits == 12);
	erofs_must(!im->sb.feature_incompat && !im->sb.meta_blkaddr);
	crc = er_crc32c(im->p + EROFS_SUPER_OFFSET, 4, ~0u);
	crc = er_crc32c((uint8_t *)&zero, 4, crc);
	crc = er_crc32c(im->p + EROFS_SUPER_OFFSET + 8,
			EROFS_BLOCK - EROFS_SUPER_OFFSET - 8, crc);
	erofs_must(crc == im->sb.checksum);
}

/* --- the tree ---------------------------------------------------------- */

struct er_dir {
	uint64_t nid, parent;
	char *path;
};

struct er_walk {
	const struct er_image *im;
	er_visit *visit;
	void *opaque;
	struct er_dir *dirs; /* found; those before `done` are read */
	size_t done, count;
	uint32_t *names; /* found of each node */
	uint64_t inodes;
};

static unsigned er_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EROFS_FT_REG;
	case S_IFDIR:
		return EROFS_FT_DIR;
	case S_IFCHR:
		return EROFS_FT_CHR;
	case S_IFBLK:
		return EROFS_FT_BLK;
	case S_IFIFO:
		return EROFS_FT_FIFO;
	case S_IFSOCK:
		return EROFS_FT_SOCK;
	default:
		erofs_must(S_ISLNK(mode));
		return EROFS_FT_SYMLINK;
	}
}

/* A node and one of its names; @path is taken over. */
static void er_found(struct er_walk *w, char *path, uint64_t nid,
		     uint64_t parent, unsigned type)
{
	struct er_node n;

	er_node(w->im, nid, &n);
	erofs_must(type == er_type(n.i.mode));
	w->inodes += !w->names[nid]++;
	erofs_must(w->inodes <= w->im->sb.inos);
	w->visit(w->opaque, path, strlen(path), &n);
	if (S_ISDIR(n.i.mode)) {
		erofs_must(w->names[nid] == 1);
		w->dirs[w->count++] = (struct er_dir){ nid, parent, path };
		return;
	}
	erofs_must(w->names[nid] <= n.i.nlink);
	free(path);
}

static char *er_join(const char *dir, const char *name, size_t len)
{
	size_t at = strlen(dir);
	char *path = malloc(at + len + 2);

	erofs_must(path != NULL);
	memcpy(path, dir, at);
	if (at)
		path[at++] = '/';
	memcpy(path + at, name, len);
	path[at + len] = '\0';
	return path;
}

/* One block of a directory. Returns how many directories it names. */
static uint32_t er_block(struct er_walk *w, const struct er_dir *dir,
			 const uint8_t *b, size_t size, char *last)
{
	struct erofs_dirent e, next;
	char now[256];
	uint32_t subdirs = 0;
	size_t i, count, len;

	memcpy(&e, b, sizeof(e));
	count = e.nameoff / sizeof(e);
	erofs_must(count && e.nameoff % sizeof(e) == 0 && e.nameoff < size);
	for (i = 0; i < count; i++) {
		const char *name = (const char *)b + e.nameoff;
		uint64_t nid = e.nid[0] | (uint64_t)e.nid[1] << 32;

		next = e;
		if (i + 1 < count)
			memcpy(&next, b + (i + 1) * sizeof(e), sizeof(next));
		len = i + 1 < count ? (size_t)next.nameoff - e.nameoff :
				      strnlen(name, size - e.nameoff);
		erofs_must(len > 0 && len < 256 && e.nameoff + len <= size);
		erofs_must(!memchr(name, 0, len) && !memchr(name, '/', len));
		/* sorted, each once, and so "." and ".." are there once */
		memcpy(now, name, len);
		now[len] = '\0';
		erofs_must(strcmp(last, now) < 0);
		strcpy(last, now);
		subdirs += e.file_type == EROFS_FT_DIR;
		if (!strcmp(last, "."))
			erofs_must(nid == dir->nid);
		else if (!strcmp(last, ".."))
			erofs_must(nid == dir->parent);
		else
			er_found(w, er_join(dir->path, name, len), nid,
				 dir->nid, e.file_type);
		e = next;
	}
	return subdirs;
}

static void er_read_dir(struct er_walk *w, const struct er_dir *dir)
{
	struct er_node n;
	char last[256] = "";
	uint32_t subdirs = 0;
	uint64_t at;

	er_node(w->im, dir->nid, &n);
	erofs_must(n.i.size > 0);
	for (at = 0; at < n.i.size; at += EROFS_BLOCK) {
		size_t left = n.i.size - at < EROFS_BLOCK ?
				      (size_t)(n.i.size - at) : EROFS_BLOCK;

		subdirs += er_block(w, dir, er_data(w->im, &n, at), left, last);
	}
	erofs_must(subdirs == n.i.nlink); /* "." and ".." are among them */
}

/* Every name of the image, directories before what is in them. */
static void er_walk(const struct er_image *im, er_visit *visit, void *opaque)
{
	struct er_walk w = { .im = im, .visit = visit, .opaque = opaque };
	uint64_t nids = im->root_size / EROFS_SLOT, nid;
	struct er_node n;
	struct er_dir dir;

	w.names = calloc(nids, sizeof(*w.names));
	w.dirs = calloc(im->sb.inos, sizeof(*w.dirs));
	erofs_must(w.names && w.dirs && im->sb.root_nid < nids);
	er_found(&w, er_join("", "", 0), im->sb.root_nid, im->sb.root_nid,
		 EROFS_FT_DIR);
	while (w.done < w.count) {
		dir = w.dirs[w.done++];
		er_read_dir(&w, &dir);
		free(dir.path);
	}
	erofs_must(w.inodes == im->sb.inos);
	for (nid = 0; nid < nids; nid++) {
		if (!w.names[nid])
			continue;
		er_node(im, nid, &n);
		erofs_must(S_ISDIR(n.i.mode) || w.names[nid] == n.i.nlink);
	}
	free(w.names);
	free(w.dirs);
}

#endif
