/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blob: the bytes of a tar from a descriptor, whatever they are packed with.
 *
 * A plain tar is handed out as it is read, and nothing else is done with it.
 * What begins like gzip, zstd, xz or bzip2 goes through libarchive, which
 * unpacks these in this process or not at all, and is hashed when unpacked.
 *
 *	blob_init()	allocates, reads nothing
 *	(the process locks itself in)
 *	blob_next()	until it says 0; the first call looks at what it is
 *	blob_free()
 */
#ifndef MAYFLY_BLOB_H
#define MAYFLY_BLOB_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rootfs/unpack.h"

struct err;
struct archive;

struct blob {
	int fd;
	int started, ended;
	enum unpack_compression compression;
	struct archive *archive; /* where it is compressed */
	uint8_t *buf;
	size_t have;	   /* in it, not handed out yet: the first bytes */
	uint64_t size;	   /* handed out, unpacked */
	uint64_t size_max; /* -EFBIG beyond */
	int read_error;	   /* errno of the descriptor */
	struct sha256_ctx sha;
};

/* @fd is borrowed. */
int blob_init(struct blob *b, int fd, uint64_t size_max, struct err *err);
void blob_free(struct blob *b);

/* A tar_source_fn of a struct blob. */
ssize_t blob_next(void *blob, const uint8_t **p, struct err *err);

#endif
