/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unarchive: a tar of an image (oci-archive, docker-archive) to a directory.
 *
 * Such a tar holds files with blobs and JSON, a few directories and, of older
 * writers, symbolic links from one blob to another. Nothing else is made, with
 * modes of 0600 and 0700, by names of UNARCHIVE_DEPTH_MAX components at most
 * that are taken one by one, each directory opened by following no link. A
 * link is made only where it points, by its words, below the directory.
 */
#ifndef MAYFLY_UNARCHIVE_H
#define MAYFLY_UNARCHIVE_H

#include <stdint.h>

#include "rootfs/tar.h"

struct err;

#define UNARCHIVE_DEPTH_MAX 8

struct unarchive {
	tar_source_fn source;
	void *opaque;
	int dir; /* an empty directory, borrowed; not O_PATH */
	uint64_t data_max, files_max;
	/* what came of it */
	uint64_t files, bytes;
};

/* 0, or -errno with words. What is there then is for the caller to remove. */
int unarchive(struct unarchive *u, struct err *err);

#endif
