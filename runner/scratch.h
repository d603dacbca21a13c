/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: the disk that takes a run's writes and dies with it.
 *
 * A nameless file with the content of a template, sparse where the template
 * has nothing. It is gone when its last descriptor closes, whatever ends the
 * process.
 *
 * The template is packed: a few dozen KiB that stand for 10 GiB, so that
 * nobody who copies, packages or unpacks it has to know of sparse files.
 */
#ifndef MAYFLY_SCRATCH_H
#define MAYFLY_SCRATCH_H

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

/* Pack the disk image @raw into @out; leaves out what is zero. 0 or -errno. */
int scratch_pack(int raw, int out);

/* Returns a descriptor that the caller owns, or -errno. */
int scratch_create(int template_fd, struct err *err);

/* An empty nameless file in @dir: O_TMPFILE, or created and unlinked. */
int scratch_file(const char *dir, struct err *err);

/* Where it is made: TMPDIR, else /var/tmp, else /tmp. */
const char *scratch_dir(void);

#endif
