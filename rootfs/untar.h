/* SPDX-License-Identifier: Apache-2.0 */
/*
 * untar: the tar of a layer to its data and index (rootfs/layer.h).
 *
 * What each entry means is said as it stands, one after the other: merging is
 * for who has the layers below. Names lose leading slashes and what stays where
 * it is; one with ".." refuses the layer. `.wh.NAME` becomes a whiteout, and
 * `.wh..wh..opq` makes its directory opaque, whatever type they are of; other
 * names that begin with `.wh..wh.` are aufs' own and left out.
 *
 * Quotas hold before a byte of a file is written: holes count, and so does what
 * a file leaves free of its last block. Blocks of zeros become holes.
 */
#ifndef MAYFLY_UNTAR_H
#define MAYFLY_UNTAR_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/tar.h"

struct err;

struct untar {
	tar_source_fn source;
	void *opaque;
	int data, index;	/* empty files, borrowed */
	uint64_t data_max, entries_max;
	/* what came of it */
	uint64_t entries, data_size;
};

/* 0, or -errno with words: -EBADMSG where the tar is none or means harm, -EFBIG
 * where it is too large. The source is read to its end, also behind that of
 * the tar. */
int untar(struct untar *u, struct err *err);

/* @name as layer.h wants a path: its length, or -errno with words. */
int untar_path(const struct tar_name *name, char path[LAYER_PATH_MAX],
	       struct err *err);

#endif
