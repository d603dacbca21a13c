/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of layers as an image of erofs. First every inode gets its place, for
 * directories name inodes by their places; then all is written, in that order.
 *
 *	0	superblock, at 1024
 *	1152	the root's inode, then the inodes of each directory one after
 *		the other, level by level; an inode is followed by its xattrs
 *		and by what is inline
 *	...	from a new block on: blocks of directories, and of links that
 *		did not fit behind their inode
 */
#include "rootfs/erofs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/erofs_parts.h"
#include "rootfs/unpack.h"
#include "runner/base/err.h"

/* What the layout has found out of an inode. */
struct slot {
	const struct merge_node *node; /* one of its names */
	uint64_t size;
	uint32_t block; /* of its own, counted from the first of them */
	uint32_t nlink;
	uint16_t format;
};

struct image {
	struct merge *tree;
	struct slot *slots; /* in the order of their places */
	size_t count;
	uint64_t meta;	 /* bytes of inodes and what is with them */
	uint32_t blocks; /* of directories and links */
	uint64_t base[EROFS_LAYERS_MAX + 1]; /* of the layers' data, blocks */
	/* Scratch for xattrs: no more than an entry may have, and the header. */
	uint8_t xattrs[LAYER_XATTRS_MAX + EROFS_BLOCK];
	struct erofs_dir dir;
};

static uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

static uint64_t root_blocks(const struct image *im)
{
	return round_up(im->meta, EROFS_BLOCK) / EROFS_BLOCK + im->blocks;
}

/* --- layout ------------------------------------------------------------ */

/* Does @tail, behind @head bytes from @at on, stay within a block? */
static int tail_fits(uint64_t at, uint64_t head, uint64_t tail)
{
	return (at + head) % EROFS_BLOCK + tail <= EROFS_BLOCK;
}

/* The place of an inode with so many bytes of xattrs. */
static uint64_t place(struct image *im, struct slot *s, size_t xattrs,
		      int has_tail)
{
	uint64_t head = sizeof(struct erofs_inode) + xattrs;
	uint64_t tail = has_tail ? s->size % EROFS_BLOCK : 0;
	uint64_t at = round_up(im->meta, EROFS_SLOT);
	uint64_t next = round_up(at, EROFS_BLOCK);

	/* An inode in two blocks would cost the kernel a copy. */
	if (!tail_fits(at, 0, sizeof(struct erofs_inode)))
		at = next;
	if (tail && !tail_fits(at, head, tail)) {
		if (tail_fits(next, head, tail))
			at = next;
		else
			tail = 0;
	}
	s->format = tail ? EROFS_INLINE : EROFS_PLAIN;
	im->meta = at + head + tail;
	return at;
}

/* The size of a directory, and how many it has in it. */
static void measure_dir(struct image *im, struct slot *s)
{
	struct erofs_dir *d = &im->dir;
	size_t i, last = 0;
	uint64_t blocks = 0;

	s->nlink = 0;
	erofs_dir_open(d, s->node);
	for (; erofs_dir_next(d); blocks++, last = d->used) {
		for (i = 0; i < d->count; i++)
			s->nlink += d->names[i].inode->item.e.type == LAYER_DIR;
	}
	s->size = (blocks - 1) * EROFS_BLOCK + last;
}

static void add_inode(struct image *im, const struct merge_node *node)
{
	struct slot *s = &im->slots[im->count++];
	const struct layer_item *item = &node->inode->item;
	uint64_t blocks = 0;
	int has_tail = 1;

	s->node = node;
	s->nlink = node->inode->names;
	if (item->e.type == LAYER_DIR) {
		measure_dir(im, s);
	} else if (item->e.type == LAYER_SYMLINK) {
		s->size = item->e.link_len;
	} else {
		s->size = item->e.size;
		has_tail = 0;
	}
	node->inode->place = place(im, s, erofs_xattrs_size(item), has_tail);
	if (has_tail)
		blocks = s->format == EROFS_INLINE ?
				 s->size / EROFS_BLOCK :
				 round_up(s->size, EROFS_BLOCK) / EROFS_BLOCK;
	s->block = im->blocks;
	im->blocks += (uint32_t)blocks;
}

static int too_large(struct err *err)
{
	return err_say(err, -EFBIG, "the image would be too large");
}

/* The slots are the queue of directories to be looked into as well. */
static int lay_out(struct image *im, struct err *err)
{
	const struct merge_node *n;
	size_t i;

	im->slots = calloc(merge_inodes(im->tree), sizeof(*im->slots));
	if (!im->slots || merge_sort(im->tree))
		return err_set(err, -ENOMEM, "the layout of the image");
	im->meta = EROFS_SUPER_OFFSET + sizeof(struct erofs_super);
	add_inode(im, merge_root(im->tree));
	for (i = 0; i < im->count; i++) {
		n = im->slots[i].node;
		if (n->inode->item.e.type != LAYER_DIR)
			continue;
		for (n = n->inode->children; n; n = n->next) {
			if (n->inode->place)
				continue;
			add_inode(im, n);
			if (root_blocks(im) > EROFS_ROOT_MAX / EROFS_BLOCK)
				return too_large(err);
		}
	}
	return 0;
}

/* Where the data of each layer begin on the disk. */
static int find_bases(struct image *im, const uint64_t *data_size, unsigned n,
		      struct err *err)
{
	unsigned i;

	im->base[0] = root_blocks(im);
	for (i = 0; i < n; i++)
		im->base[i + 1] = im->base[i] + data_size[i] / EROFS_BLOCK;
	/* A block's address has 32 bits, and all of them set is none. */
	return im->base[n] < UINT32_MAX ? 0 : too_large(err);
}

/* --- inodes ------------------------------------------------------------ */

static uint16_t mode_of(const struct layer_entry *e)
{
	static const uint16_t types[LAYER_TYPES] = {
		[LAYER_FILE] = S_IFREG,	    [LAYER_SYMLINK] = S_IFLNK,
		[LAYER_DIR] = S_IFDIR,	    [LAYER_CHAR] = S_IFCHR,
		[LAYER_BLOCKDEV] = S_IFBLK, [LAYER_FIFO] = S_IFIFO,
		[LAYER_SOCKET] = S_IFSOCK,
	};

	return types[e->type] | e->mode;
}

/* Linux, new_encode_dev(). */
static uint32_t device_of(const struct layer_entry *e)
{
	return (e->minor & 0xff) | e->major << 8 | (e->minor & ~0xffu) << 12;
}

/* i_u: where its data begin, or the device that it is. */
static uint32_t address_of(const struct image *im, const struct slot *s)
{
	const struct merge_inode *inode = s->node->inode;
	const struct layer_entry *e = &inode->item.e;

	switch (e->type) {
	case LAYER_CHAR:
	case LAYER_BLOCKDEV:
		return device_of(e);
	case LAYER_FILE:
		return !e->size ? 0 :
				  (uint32_t)(im->base[inode->layer] +
					     e->data / EROFS_BLOCK);
	case LAYER_DIR:
	case LAYER_SYMLINK:
		return (uint32_t)(root_blocks(im) - im->blocks) + s->block;
	default:
		return 0;
	}
}

static void put_inode(const struct image *im, const struct slot *s,
		      size_t xattrs, struct erofs_stream *meta)
{
	const struct layer_entry *e = &s->node->inode->item.e;
	struct erofs_inode inode = {
		.format = s->format,
		.mode = mode_of(e),
		.size = s->size,
		.u = address_of(im, s),
		.ino = (uint32_t)(s - im->slots) + 1,
		.uid = e->uid,
		.gid = e->gid,
		.mtime = (uint64_t)e->mtime_s,
		.mtime_nsec = e->mtime_ns,
		.nlink = s->nlink,
	};

	if (xattrs)
		inode.xattr_icount = (uint16_t)(
			1 + (xattrs - sizeof(struct erofs_xattr_header)) / 4);
	erofs_stream_put(meta, &inode, sizeof(inode));
}

/* --- writing ----------------------------------------------------------- */

/* A block, or the last part of one. */
static void put_block(const struct slot *s, const uint8_t *block, size_t used,
		      int is_last, struct erofs_stream *meta,
		      struct erofs_stream *blocks)
{
	if (is_last && s->format == EROFS_INLINE)
		erofs_stream_put(meta, block, used);
	else
		erofs_stream_put(blocks, block, EROFS_BLOCK);
}

static void put_dir(struct image *im, const struct slot *s,
		    struct erofs_stream *meta, struct erofs_stream *blocks)
{
	struct erofs_dir *d = &im->dir;
	uint8_t block[EROFS_BLOCK];
	uint64_t at = 0;

	erofs_dir_open(d, s->node);
	for (; erofs_dir_next(d); at += EROFS_BLOCK) {
		erofs_dir_write(d, block);
		put_block(s, block, d->used, s->size - at < EROFS_BLOCK, meta,
			  blocks);
	}
}

static void put_link(const struct slot *s, struct erofs_stream *meta,
		     struct erofs_stream *blocks)
{
	uint8_t block[EROFS_BLOCK] = { 0 };

	memcpy(block, s->node->inode->item.link, s->size);
	put_block(s, block, s->size, 1, meta, blocks);
}

static void put_slot(struct image *im, const struct slot *s,
		     struct erofs_stream *meta, struct erofs_stream *blocks)
{
	const struct layer_item *item = &s->node->inode->item;
	size_t xattrs = erofs_xattrs_size(item);

	erofs_stream_pad(meta, s->node->inode->place);
	put_inode(im, s, xattrs, meta);
	if (xattrs) {
		memset(im->xattrs, 0, xattrs);
		erofs_xattrs_write(item, im->xattrs);
		erofs_stream_put(meta, im->xattrs, xattrs);
	}
	if (item->e.type == LAYER_DIR)
		put_dir(im, s, meta, blocks);
	else if (item->e.type == LAYER_SYMLINK)
		put_link(s, meta, blocks);
}

/* CRC-32C as Linux has it: no inversion at the end. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t v = ~0u;
	int i;

	while (n--) {
		v ^= *p++;
		for (i = 0; i < 8; i++)
			v = v >> 1 ^ (v & 1 ? 0x82f63b78 : 0);
	}
	return v;
}

/* RFC 9562 5.8: version 8, made of whatever we like. */
static void make_uuid(uint8_t uuid[16], const struct erofs_stream *a,
		      const struct erofs_stream *b)
{
	uint64_t v[2] = { a->hash[0] ^ b->hash[1], a->hash[1] + b->hash[0] };

	memcpy(uuid, v, sizeof(v));
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

/* The block that the superblock is in, once the rest is known. */
static int write_super(const struct image *im, unsigned layers, int out,
		       uint8_t block[EROFS_BLOCK],
		       const struct erofs_stream *meta,
		       const struct erofs_stream *blocks)
{
	struct erofs_super sb = {
		.magic = EROFS_MAGIC,
		.feature_compat = EROFS_SB_CHKSUM | EROFS_MTIME,
		.blkszbits = EROFS_BLOCK_BITS,
		.root_nid = (uint16_t)(merge_root(im->tree)->inode->place /
				       EROFS_SLOT),
		.inos = im->count,
		.blocks = (uint32_t)im->base[layers],
	};
	uint8_t *at = block + EROFS_SUPER_OFFSET;

	make_uuid(sb.uuid, meta, blocks);
	memcpy(at, &sb, sizeof(sb));
	sb.checksum = crc32c(at, EROFS_BLOCK - EROFS_SUPER_OFFSET);
	memcpy(at, &sb, sizeof(sb));
	return erofs_write_at(out, block, EROFS_BLOCK, 0);
}

static int write_streams(struct image *im, unsigned layers, int out,
			 struct erofs_stream *meta, struct erofs_stream *blocks)
{
	uint64_t meta_end = round_up(im->meta, EROFS_BLOCK);
	uint8_t first[EROFS_BLOCK];
	int have_first = 0, ret;
	size_t i;

	for (i = 0; i < im->count; i++) {
		if (!have_first && meta->used >= EROFS_BLOCK) {
			memcpy(first, meta->buf, EROFS_BLOCK);
			have_first = 1;
		}
		put_slot(im, &im->slots[i], meta, blocks);
	}
	erofs_stream_pad(meta, meta_end);
	if (!have_first)
		memcpy(first, meta->buf, EROFS_BLOCK);
	ret = erofs_stream_end(meta);
	if (!ret)
		ret = erofs_stream_end(blocks);
	return ret ? ret : write_super(im, layers, out, first, meta, blocks);
}

static int write_image(struct image *im, unsigned layers, int out,
		       struct err *err)
{
	struct erofs_stream meta = { 0 }, blocks = { 0 };
	int ret = erofs_stream_open(&meta, out, 0);

	if (!ret)
		ret = erofs_stream_open(&blocks, out,
					round_up(im->meta, EROFS_BLOCK));
	if (!ret)
		ret = write_streams(im, layers, out, &meta, &blocks);
	erofs_stream_free(&meta);
	erofs_stream_free(&blocks);
	return ret ? err_set(err, ret, "write the image") : 0;
}

/* --- indexes ----------------------------------------------------------- */

struct map {
	void *p;
	size_t size;
};

struct maps {
	struct map v[EROFS_LAYERS_MAX];
	unsigned n;
	uint64_t data_size[EROFS_LAYERS_MAX];
};

static int map_index(struct maps *maps, int fd, struct err *err)
{
	struct map *m = &maps->v[maps->n];
	off_t size = lseek(fd, 0, SEEK_END); /* the filter has no fstat() */

	if (size < 0)
		return err_set(err, -errno, "the index of a layer");
	if (size == 0)
		return err_say(err, -EBADMSG, "the index of a layer is empty");
	m->size = (size_t)size;
	m->p = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (m->p == MAP_FAILED)
		return err_set(err, -errno, "the index of a layer");
	maps->n++;
	return 0;
}

static int take_layer(struct image *im, struct maps *maps, int fd,
		      struct err *err)
{
	unsigned i = maps->n;
	struct layer_reader r;
	int ret = map_index(maps, fd, err);

	if (!ret)
		ret = layer_open(&r, maps->v[i].p, maps->v[i].size, err);
	if (ret)
		return ret;
	maps->data_size[i] = r.data_size;
	return merge_layer(im->tree, maps->v[i].p, maps->v[i].size, err);
}

static int build(struct image *im, struct maps *maps, int out,
		 const int *indexes, unsigned n, struct err *err)
{
	int ret = merge_new(&im->tree, err);
	unsigned i;

	for (i = 0; i < n && !ret; i++) {
		ret = take_layer(im, maps, indexes[i], err);
		if (ret)
			err_wrap(err, "layer %u", i + 1);
	}
	if (!ret)
		ret = lay_out(im, err);
	if (!ret)
		ret = find_bases(im, maps->data_size, n, err);
	return ret ? ret : write_image(im, n, out, err);
}

int erofs_build(int out, const int *indexes, unsigned n, struct unpack_root *r,
		struct err *err)
{
	struct maps maps = { .n = 0 };
	struct image *im;
	int ret;

	if (n > EROFS_LAYERS_MAX)
		return err_say(err, -EFBIG, "%u layers; %u are the most", n,
			       EROFS_LAYERS_MAX);
	im = calloc(1, sizeof(*im));
	if (!im)
		return err_set(err, -ENOMEM, "the image");
	ret = build(im, &maps, out, indexes, n, err);
	if (!ret)
		*r = (struct unpack_root){ root_blocks(im) * EROFS_BLOCK,
					   im->count };
	merge_free(im->tree);
	free(im->slots);
	free(im);
	while (maps.n--)
		munmap(maps.v[maps.n].p, maps.v[maps.n].size);
	return ret;
}
