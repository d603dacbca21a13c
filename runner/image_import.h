/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_import: an image from files of the host into the store.
 *
 *	oci:DIR[:TAG]			an OCI layout
 *	oci-archive:FILE[:TAG]		a tar of one
 *	docker-archive:FILE[:TAG]	what `docker save` writes
 *	tar:FILE			the tree of a root, as one layer
 *	dir:DIR				the same, as a directory
 *
 * FILE may be "-", standard input. Documents and layers are believed only as
 * far as their digests go. Layers that the store has are not read again; the
 * others are parsed by mayfly-unpack (runner/unpacker.h), two at a time. A
 * process that is killed leaves nothing but staging. Progress goes to standard
 * error where that is a terminal. One thread.
 */
#ifndef MAYFLY_IMAGE_IMPORT_H
#define MAYFLY_IMAGE_IMPORT_H

#include <limits.h>
#include <stdint.h>

#include "rootfs/image.h"

struct err;
struct interrupt;
struct progress;
struct reference;
struct store;

/* Bytes of files as a guest sees them, by default. */
#define IMAGE_SIZE_DEFAULT (16ull << 30)

enum image_kind {
	IMAGE_OCI,
	IMAGE_OCI_ARCHIVE,
	IMAGE_DOCKER_ARCHIVE,
	IMAGE_TAR,
	IMAGE_DIR,
};

struct image_source {
	enum image_kind kind;
	char path[PATH_MAX]; /* "-": standard input */
	const char *want;    /* TAG, borrowed; NULL: none was given */
	const char *text;    /* all of it, as the user wrote it; borrowed */
};

/* 0, or -EINVAL with words. Looks which part of @text is a file. */
int image_source_parse(struct image_source *s, const char *text,
		       struct err *err);

struct image_import {
	struct store *store;
	const struct image_source *source;
	const struct reference *name; /* NULL: what the archive says, if any */
	uint64_t max_size; /* bytes of files as a guest sees them */
	struct interrupt *stop;
	struct progress *progress;
};

/* Whoever waits for the lock of @o->store from now on tells @o->progress, and
 * gives up where a signal came. @o stays while the store does. */
void image_on_wait(const struct image_import *o);

/* 0, with the image's id; -errno with words; -EINTR where a signal came. */
int image_import(const struct image_import *o, char id[IMAGE_HEX_MAX],
		 struct err *err);

#endif
