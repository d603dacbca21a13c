/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs_parts: directories, xattrs and the file's two streams. Inside of erofs.
 */
#ifndef MAYFLY_EROFS_PARTS_H
#define MAYFLY_EROFS_PARTS_H

#include "rootfs/erofs_format.h"
#include "rootfs/merge.h"

/* --- directories ------------------------------------------------------- */

/* Names have at least a byte. */
#define EROFS_DIR_NAMES (EROFS_BLOCK / (sizeof(struct erofs_dirent) + 1))

struct erofs_name {
	const char *name;
	size_t len;
	const struct merge_inode *inode;
};

/* A directory, block by block. */
struct erofs_dir {
	const struct merge_node *dir, *next;
	unsigned dots; /* that have been given: "." and ".." */
	/* the block */
	struct erofs_name names[EROFS_DIR_NAMES];
	size_t count;
	size_t used; /* bytes; the next one may be filled */
};

void erofs_dir_open(struct erofs_dir *d, const struct merge_node *dir);
/* The next block: 0 where there is none. Children must be sorted. */
int erofs_dir_next(struct erofs_dir *d);
/* Write that block, whose inodes have their places. */
void erofs_dir_write(const struct erofs_dir *d, uint8_t block[EROFS_BLOCK]);

/* --- xattrs ------------------------------------------------------------ */

/* Bytes of them, with their header; 0 where there are none. */
size_t erofs_xattrs_size(const struct layer_item *item);
/* Write them to @to, which has room for that many, and is zeros. */
void erofs_xattrs_write(const struct layer_item *item, uint8_t *to);

/* --- streams ----------------------------------------------------------- */

#define EROFS_STREAM_BUF (256u << 10)

/* A part of a file, written from its start to its end. */
struct erofs_stream {
	int fd;
	uint64_t at; /* where in the file the buffer goes */
	size_t used;
	uint8_t *buf;
	uint64_t hash[2]; /* of what went through */
	int error;	  /* the first; nothing is written after it */
};

/* 0 or -ENOMEM. */
int erofs_stream_open(struct erofs_stream *s, int fd, uint64_t at);
void erofs_stream_put(struct erofs_stream *s, const void *p, size_t n);
/* Zeros, up to the offset @at of the file. */
void erofs_stream_pad(struct erofs_stream *s, uint64_t at);
/* Write out what is left. 0 or the error. */
int erofs_stream_end(struct erofs_stream *s);
void erofs_stream_free(struct erofs_stream *s);

/* All of it, at @at. 0 or -errno. */
int erofs_write_at(int fd, const void *p, size_t n, uint64_t at);

#endif
