/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_dir: the directories and files that a store is made of.
 *
 * Private to store*.c; store.h has the layout and the rules. A name here is
 * one component, and is opened from its directory's descriptor with
 * O_NOFOLLOW: no link is followed anywhere. Functions give 0, a descriptor (the
 * caller's) or -errno.
 */
#ifndef MAYFLY_STORE_DIR_H
#define MAYFLY_STORE_DIR_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "rootfs/store.h"

struct err;

#define STORE_LOCK   "lock"
#define STORE_RECORD "image.json"
#define STORE_ROOT   "root.erofs"
#define STORE_LAYER  "layer.json"
#define STORE_DATA   "data"
#define STORE_INDEX  "index"

struct store {
	int root, names, images, layers, tmp;
	int lock;
	enum store_hold held;
	store_waits_fn waits;
	void *opaque;
	char path[PATH_MAX];
};

/* "image store: fmt: why", with a hint where there is no room. */
int store_failed(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- directories ------------------------------------------------------ */

/* -ENOENT, -ENOTDIR, ... */
int store_open_dir(int dir, const char *name);
/* Call @fn for every name but "." and "..". Stops where it returns other than
 * 0, and returns that. @fn may remove the name. */
typedef int (*store_each_fn)(int dir, const char *name, void *opaque);
int store_each(int dir, store_each_fn fn, void *opaque);
/* Remove @name and all below it, however deep. What is gone already is no
 * error. Adds what it took on the disk to *@bytes, if any. */
int store_remove_tree(int dir, const char *name, uint64_t *bytes);
/* What @name, or the files directly in it, take on the disk. */
uint64_t store_usage(int dir, const char *name);
/* 16 random hex digits. */
#define STORE_RANDOM_MAX 17
int store_random(char name[STORE_RANDOM_MAX]);

/* --- files ------------------------------------------------------------ */

/* A regular file of ours, read-only; else -EBADMSG, or -ENOENT. */
int store_open_file(int dir, const char *name, uint64_t *size);
/* The whole of one, which the caller frees; -EBADMSG past @max bytes. */
int store_read_file(int dir, const char *name, size_t max, char **text,
		    size_t *len);
/* A new one, on the disk when this returns. */
int store_write_file(int dir, const char *name, const char *text);
/* The content of @name, which is there, to the disk; its size to *@size. */
int store_sync_file(int dir, const char *name, uint64_t *size);

/* --- images ----------------------------------------------------------- */

/* Is the image that is there under the id of @img, which the part @p is to
 * become, the same one? 0, -EEXIST: no; -ENOENT, -EBADMSG: there is none, or
 * it is damaged. */
int store_is_same(const struct store *s, const struct store_part *p,
		  const struct image *img);

/* --- names ------------------------------------------------------------ */

/* The id in a file of names/: -ENOENT, -EBADMSG. */
int store_read_name(const struct store *s, const char *file,
		    char id[IMAGE_HEX_MAX]);

/* The image whose id begins with @text: 1 found, 0 none or no such text,
 * -EINVAL with words: several. */
int store_find_id(const struct store *s, const char *text,
		  char id[IMAGE_HEX_MAX], struct err *err);

/* Put the id into a file of the stage; then give it the name. The caller
 * syncs names/. */
int store_prepare_name(struct store_stage *st, unsigned n, const char *id);
int store_publish_name(struct store_stage *st, unsigned n, const char *file);

#endif
