/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer: one layer of an image, unpacked for good.
 *
 * A layer is two files, which untar.h makes of its tar and which the maker of
 * root images reads (rootfs/merge.h):
 *
 *	data	what its files hold: each from a multiple of LAYER_BLOCK on, the
 *		whole a multiple of it. Blocks of zeros may be holes.
 *	index	struct layer_head, then its entries in the order of the tar
 *
 * An entry is a struct layer_entry and then, without padding: its path, what
 * it links to, its xattrs. Entries begin at multiples of 8. A path has no
 * leading slash and neither empty nor "." nor ".." components; the root is "".
 * It may lead through symbolic links: what these mean is known only once the
 * layers below are. Names are bytes, components of at most LAYER_NAME_MAX.
 *
 * The index is hostile, like the tar that it was made of: layer_next() checks
 * all that is said here. All numbers are little-endian. A reader belongs to
 * one thread; it borrows the bytes and allocates nothing. A writer has a
 * buffer, and sends it to the file when it is full.
 */
#ifndef MAYFLY_LAYER_H
#define MAYFLY_LAYER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define LAYER_MAGIC	  "mflylay1"
#define LAYER_BLOCK	  4096u
#define LAYER_ENTRIES_MAX (1u << 22)
#define LAYER_INDEX_MAX	  (UINT64_C(1) << 30) /* bytes */
#define LAYER_INDEXES_MAX (UINT64_C(1) << 31) /* of all layers of an image */
#define LAYER_NAME_MAX	  255u
#define LAYER_PATH_MAX	  4095u	 /* PATH_MAX without its NUL */
#define LAYER_LINK_MAX	  4095u
#define LAYER_XATTRS_MAX  65536u /* bytes, of one entry */
/* Half of what a disk of erofs can address, 2^32 blocks. */
#define LAYER_DATA_MAX	  ((uint64_t)LAYER_BLOCK << 31)

struct layer_head {
	char magic[8];
	uint64_t data_size; /* of the data file, in bytes */
	uint64_t entries;
	uint64_t size; /* of the whole index */
};

enum layer_type {
	LAYER_FILE = 1,
	LAYER_SYMLINK,
	LAYER_HARDLINK, /* to the path `link`, which came before */
	LAYER_DIR,
	LAYER_CHAR,
	LAYER_BLOCKDEV,
	LAYER_FIFO,
	LAYER_SOCKET,
	LAYER_WHITEOUT, /* the path of layers below is gone */
	LAYER_OPAQUE,	/* so is all that layers below have in this directory */
	LAYER_TYPES,
};

/* What a type does not have is 0. Whiteouts have nothing but a path. Only
 * directories, and what is opaque, can be the root. */

struct layer_entry {
	uint16_t type;
	uint16_t mode; /* & 07777 */
	uint32_t uid, gid;
	uint32_t major, minor; /* of CHAR and BLOCKDEV */
	uint32_t mtime_ns;     /* below 10^9 */
	int64_t mtime_s;
	uint64_t size; /* of FILE, in bytes */
	uint64_t data; /* of FILE with a size: where in the data file, all of
			* its blocks there */
	uint16_t path_len;
	uint16_t link_len; /* of SYMLINK and HARDLINK */
	uint32_t xattrs_len;
};

/* Then the name, with its prefix ("user.x"), and the value; nothing is
 * aligned. Each name once, in the order of memcmp(), a shorter one first. */
struct layer_xattr {
	uint16_t name_len; /* 1 to 255 */
	uint16_t value_len;
};

static_assert(sizeof(struct layer_head) == 32, "layer_head");
static_assert(sizeof(struct layer_entry) == 56, "layer_entry");
static_assert(sizeof(struct layer_xattr) == 4, "layer_xattr");

struct layer_reader {
	const uint8_t *at, *end;
	uint64_t data_size;
	uint64_t left; /* entries */
};

/* One entry, as it lies in the index: strings without a NUL. */
struct layer_item {
	struct layer_entry e;
	const char *path, *link;
	const uint8_t *xattrs;
};

/* @index is @size bytes, and stays while the reader is used. 0 or -EBADMSG
 * with words. */
int layer_open(struct layer_reader *r, const void *index, size_t size,
	       struct err *err);
/* 1 an entry, 0 the end, or -EBADMSG. */
int layer_next(struct layer_reader *r, struct layer_item *item);
/* One xattr of an item, from *@pos (0 at first) on: 1, or 0 at the end. */
int layer_next_xattr(const struct layer_item *item, size_t *pos,
		     const char **name, size_t *name_len, const void **value,
		     size_t *value_len);

/* A path as entries have it. */
int layer_path_is_good(const char *path, size_t len);
/* < 0, 0, > 0: the order of xattrs. */
int layer_name_compare(const char *a, size_t a_len, const char *b,
		       size_t b_len);

struct layer_writer {
	int fd;
	struct layer_head head; /* with what is written or buffered so far */
	uint64_t sent;		/* of head.size, the rest is in the buffer */
	uint8_t *buf;
};

/* @fd is an empty file, borrowed. The writer is to be freed in any case. */
int layer_write_begin(struct layer_writer *w, int fd, struct err *err);
/* One entry. Who calls has checked it, and has its lengths in @item->e. */
int layer_write(struct layer_writer *w, const struct layer_item *item,
		struct err *err);
/* The head: only now is there an index. */
int layer_write_end(struct layer_writer *w, uint64_t data_size,
		    struct err *err);
void layer_write_free(struct layer_writer *w);

#endif
