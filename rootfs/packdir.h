/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packdir: a directory as the pax tar of a layer.
 *
 * With modes, times, xattrs, devices and hard links, each directory in the order
 * of its names' bytes: what has not changed gives the same tar. Sockets are left out, and what is
 * mounted below. A file that changes while it is read is an error.
 *
 * Nothing is followed, and nothing opened but directories and files.
 */
#ifndef MAYFLY_PACKDIR_H
#define MAYFLY_PACKDIR_H

#include <stdint.h>

struct err;

#define PACKDIR_DEPTH_MAX 512

struct packdir {
	int dir, out; /* borrowed; @dir may be O_PATH */
	int owners;   /* as they are; else all is root's */
	/* what came of it */
	uint64_t left_out;
	char first[256]; /* of them, a path that may be cut */
};

/* 0, or -errno with words. tar_load() before, where no file can be opened. */
int packdir(struct packdir *p, struct err *err);

#endif
