/* SPDX-License-Identifier: Apache-2.0 */
/*
 * artifact: the files that mayfly brings along.
 *
 * They lie beside the program in a build tree, and in PREFIX/lib/mayfly when
 * installed, in the same order. Found from the program's own path, never from
 * the working directory or the environment. The returned descriptors are the
 * caller's.
 */
#ifndef MAYFLY_ARTIFACT_H
#define MAYFLY_ARTIFACT_H

#include <limits.h>

struct err;

enum artifact {
	ARTIFACT_VMM,	  /* mayfly-vmm */
	ARTIFACT_KERNEL,  /* guest/vmlinux */
	ARTIFACT_AGENT,	  /* guest/agent.cpio, the initramfs */
	ARTIFACT_BASE,	  /* guest/base.img, the built-in root image */
	ARTIFACT_SCRATCH, /* guest/scratch.pack, an empty ext4 */
	ARTIFACT_UNPACK,  /* mayfly-unpack, the parser of images */
	ARTIFACT_NET,	  /* mayfly-net, keeper and forwarder */
	ARTIFACT_COUNT,
};

struct artifacts {
	char dir[PATH_MAX]; /* where they are, for messages */
};

int artifacts_find(struct artifacts *a, struct err *err);

/* A read-only descriptor. Says how to get what is missing. */
int artifact_open(const struct artifacts *a, enum artifact which,
		  struct err *err);

/* What it is called in words, and its name below dir. */
const char *artifact_title(enum artifact which);
const char *artifact_name(enum artifact which);

#endif
