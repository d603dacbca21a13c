/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar: an archive read as it comes, entry by entry, by libarchive.
 *
 * Reads what libarchive takes for a tar: v7, ustar, GNU's with its long names
 * and sparse files, pax with xattrs and sparse files. What it only warns of is
 * an error here; an entry of a type that nobody knows is a file, as POSIX says.
 *
 * Names are bytes and come out as they stand there. For pax headers, which are
 * UTF-8 by definition, that needs the C locale: there libarchive finds that it
 * cannot convert a name and leaves it alone; in any other it would change its
 * Unicode normalization, and two names could become one.
 *
 * What the archive says is not believed: numbers that do not fit in what they
 * are for, bytes that belong nowhere are errors with words. What a name may be
 * in a file system is not this module's: rootfs/untar.h.
 *
 *	tar_load()
 *	(the process locks itself in)
 *	tar_init()
 *	tar_next(), tar_data()
 *	tar_free()
 *
 * One thread, which has called no setlocale().
 */
#ifndef MAYFLY_TAR_H
#define MAYFLY_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rootfs/layer.h"

struct err;
struct archive;
struct archive_entry;

/* The archive's next bytes, as many as the source likes to give: they stay
 * until the next call. 0 at the end, -errno with words. */
typedef ssize_t (*tar_source_fn)(void *opaque, const uint8_t **p,
				 struct err *err);

struct tar_name {
	size_t len;
	const char *text; /* with a NUL; until the next entry */
};

struct tar_entry {
	enum layer_type type; /* FILE to FIFO */
	struct tar_name path, link;
	uint32_t mode; /* & 07777 */
	uint32_t uid, gid;
	uint32_t major, minor;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint64_t size; /* of FILE, holes counted */
	size_t xattrs_len;
	uint8_t xattrs[LAYER_XATTRS_MAX]; /* as layer.h has them */
};

struct tar {
	tar_source_fn source;
	void *opaque;
	struct archive *archive;
	struct err *err; /* of the call that is under way */
	int opened;
	int failed;	 /* the source: -errno, its words are in err */
	uint64_t at;	 /* in the file */
	struct tar_entry e;
};

/* The C library reads its tables of conversions when it is asked for the first
 * one, which no process that is locked in can. */
void tar_load(void);

/* The source stays the caller's, and so does its end: the archive may have
 * one before. */
int tar_init(struct tar *t, tar_source_fn source, void *opaque,
	     struct err *err);
void tar_free(struct tar *t);

/* The next entry is in t->e: 1; 0 at the end; -errno with words. */
int tar_next(struct tar *t, struct err *err);

/* Some of the bytes of the FILE, which belong at *@offset, in ascending order;
 * what is skipped is zeros. Their number, 0 at its end, -errno with words. */
ssize_t tar_data(struct tar *t, const uint8_t **p, uint64_t *offset,
		 struct err *err);

/* Add an xattr to those of an entry, unless a root image is not to have it. In
 * their order; a second one of a name replaces the first. 0 or -E2BIG. */
int tar_add_xattr(struct tar_entry *e, const char *name, const void *value,
		  size_t len);

#endif
