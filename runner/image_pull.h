/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_pull: an image from a registry into the store.
 *
 * skopeo, a program of its own, does transfer and login, into a staging
 * directory of the store; what it has brought is imported like any other
 * directory, which checks every digest again. Progress goes to standard error
 * where that is a terminal. Blocks until done; INT, TERM and HUP are taken
 * meanwhile, and end it with nothing left behind. One thread.
 */
#ifndef MAYFLY_IMAGE_PULL_H
#define MAYFLY_IMAGE_PULL_H

#include <stdint.h>

#include "rootfs/image.h"

struct err;

struct image_pull {
	const char *ref;   /* [docker://]HOST/NAME:TAG, or shorter */
	int insecure;	   /* plain HTTP and certificates of nobody's are fine */
	uint64_t max_size; /* bytes of files as a guest sees them */
	int quiet;	   /* no progress, not even on a terminal */
};

/*
 * The image has its reference for a name then, and @id is its id. 0; -errno
 * with words; or 128 + n, without words, where signal n ended it.
 */
int image_pull(const struct image_pull *p, char id[IMAGE_HEX_MAX],
	       struct err *err);

#endif
