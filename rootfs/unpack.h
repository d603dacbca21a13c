/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack: how the launcher and mayfly-unpack speak, the program that reads
 * what images are made of.
 *
 *	mayfly-unpack layer DATA_MAX ENTRIES_MAX
 *		in: the blob of a layer, a tar that may be compressed;
 *		first: data (write), index (read and write); both empty
 *		result: struct unpack_layer
 *	mayfly-unpack root N
 *		first: the file of a root image (read and write, empty), then
 *		the N indexes of its layers, the bottom one first
 *		result: struct unpack_root
 *	mayfly-unpack archive DATA_MAX
 *		in: a tar of an image (oci-archive, docker-archive), maybe
 *		compressed; first: an empty directory, which gets its files
 *		result: struct unpack_archive
 *	mayfly-unpack tar
 *		first: a directory (read); the tar of it goes to `result`, which
 *		is a whole one only if the exit code is 0
 *
 * Sizes are bytes, in decimal. All that it works on comes as descriptors, the
 * ones below and no others. It locks itself in before it reads a byte of them:
 * no file is opened but below the directory that it was given, no memory made
 * executable, no process made, no socket. One that was taken over by what it
 * reads can spoil what it writes, and nothing else: the launcher believes no
 * number of its results that it can check.
 *
 * It exits with 0 and has written its result, or with 1 and has written words,
 * one line without its newline; `tar` may have words with its 0, about what was
 * left out. Anything else is a death, and `in` may not have been read to its
 * end.
 */
#ifndef MAYFLY_UNPACK_H
#define MAYFLY_UNPACK_H

#include <assert.h>
#include <stdint.h>

enum unpack_fd {
	UNPACK_IN,     /* a pipe, as large as may be, or a file */
	UNPACK_RESULT, /* a pipe */
	UNPACK_WORDS,  /* a pipe, or where messages go */
	UNPACK_FIRST,
};

#define UNPACK_WORDS_MAX 1024 /* bytes of words */
/* DATA_MAX where the user has said nothing. */
#define UNPACK_DATA_MAX	 (UINT64_C(16) << 30)
/* Files, links and directories of a tar of an image. */
#define UNPACK_FILES_MAX 65536u

enum unpack_compression {
	UNPACK_PLAIN,
	UNPACK_GZIP,
	UNPACK_ZSTD,
	UNPACK_XZ,
	UNPACK_BZIP2,
};

struct unpack_layer {
	uint64_t entries;
	uint64_t data_size; /* of the data file */
	uint64_t tar_size;  /* without its compression */
	/* SHA-256 of the tar without its compression, its diff id. Zeros where
	 * it had none: then who feeds the blob has it, the blob's digest. */
	uint8_t diff_id[32];
	uint32_t compression; /* enum unpack_compression */
	uint32_t pad;	      /* 0 */
};

struct unpack_root {
	uint64_t size; /* of the image's file */
	uint64_t inodes;
};

struct unpack_archive {
	uint64_t files; /* and links and directories */
	uint64_t bytes; /* of the files */
};

static_assert(sizeof(struct unpack_layer) == 64, "unpack_layer");
static_assert(sizeof(struct unpack_root) == 16, "unpack_root");
static_assert(sizeof(struct unpack_archive) == 16, "unpack_archive");

#endif
