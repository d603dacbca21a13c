/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_parts: an import and its steps, for the files that it is made of.
 *
 *	image_files.c	what there is to read: directories, archives, documents
 *	image_layers.c	layers of it that the store has not
 *	image_import.c	the order of all, and the root image
 *
 * Functions give 0 or -errno with words; -EINTR where a signal came.
 */
#ifndef MAYFLY_IMAGE_PARTS_H
#define MAYFLY_IMAGE_PARTS_H

#include <stdint.h>

#include "rootfs/image.h"
#include "rootfs/reference.h"
#include "rootfs/store.h"
#include "runner/image_import.h"

struct feed;

/* A layer as it comes. */
struct image_blob {
	int fd;			    /* its bytes; -1: of `dir:` */
	char digest[IMAGE_HEX_MAX]; /* "": not known before it is read */
	uint64_t size;		    /* 0: not known */
};

struct importing {
	const struct image_import *o;
	struct store_stage *stage;
	int dir; /* of a layout, an unpacked archive, or `dir:` */
	struct image img;
	struct image_blob *blob; /* img.nlayers, bottom first */
	struct reference *names;
	size_t nnames;
};

/* Have .img, .blob and .names: all but what the layers are. */
int image_open_source(struct importing *im, struct err *err);

/* Have the shared lock of the store from now on. A layer whose digest is known
 * only when it was read needs none before: its source may be a pipe, and may
 * never end. */
int image_hold(struct importing *im, struct err *err);

/* Have every layer in the store, and .img.layers filled in. */
int image_unpack_layers(struct importing *im, struct err *err);

/* One unpacker to its end, with progress. */
int image_run(struct importing *im, struct feed *f, const char *what,
	      uint64_t total, struct err *err);

#endif
