/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: the disk that takes a run's writes and dies with it.
 *
 * A nameless file with the content of a template, sparse where the template
 * has nothing. It is gone when its last descriptor closes, whatever ends the
 * process.
 *
 * The template is packed: a few dozen KiB that stand for 10 GiB, so that
 * nobody who copies, packages or unpacks it has to know of sparse files. One
 * of SCRATCH_SIZE is built with mayfly; e2fsprogs makes those of other sizes,
 * when first asked for, and they are kept in the cache directory.
 */
#ifndef MAYFLY_SCRATCH_H
#define MAYFLY_SCRATCH_H

#include <limits.h>
#include <stdint.h>

struct err;

/* Then the extents, in order and apart from each other; then their bytes.
 * Numbers are little-endian. */
struct scratch_head {
	char magic[8];
	uint64_t size; /* of the disk */
	uint64_t extents;
};
struct scratch_extent {
	uint64_t at, len;
};
#define SCRATCH_MAGIC	    "mflyscr1"
#define SCRATCH_EXTENTS_MAX 65536

#define SCRATCH_SIZE (10ull << 30) /* the built-in one's */
#define SCRATCH_MIN  (1ull << 20)
/* 2^32 - 1 blocks, which is as much as a file of the host's ext4 can have. */
#define SCRATCH_MAX  ((1ull << 44) - 4096)
#define SCRATCH_NAME 48

/* Make the file @raw an empty disk of @size bytes, a multiple of 4096. */
int scratch_make(int raw, uint64_t size, struct err *err);

/* Where one of the two programs is that it takes, mke2fs or debugfs; -ENOENT
 * with the way to get it. */
int scratch_find_tool(const char *tool, char path[PATH_MAX], struct err *err);

/* What the template of that size is called in a cache: another one with other
 * parameters has another name. */
void scratch_name(uint64_t size, char name[SCRATCH_NAME]);

/* The template of a disk of @size bytes: a descriptor that the caller owns. */
int scratch_template(uint64_t size, struct err *err);

/* Pack the disk image @raw into @out; leaves out what is zero. 0 or -errno. */
int scratch_pack(int raw, int out);

/* Returns a descriptor that the caller owns, or -errno. */
int scratch_create(int template_fd, struct err *err);

/* An empty nameless file in @dir: O_TMPFILE, or created and unlinked. */
int scratch_file(const char *dir, struct err *err);

/* Where it is made: TMPDIR, else /var/tmp, else /tmp. */
const char *scratch_dir(void);

#endif
