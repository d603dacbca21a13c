/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs: the root image of a stack of layers.
 *
 * A guest sees one disk, which is several files of the host, one after the
 * other: what is made here, then the data of the first layer, of the second,
 * and so on (rootfs/layer.h). Here is all but file data: superblock, inodes,
 * xattrs, directories, symbolic links. Files point into the layers' data, so a
 * layer is stored once however many images have it.
 *
 * The format is that of Linux, fs/erofs/erofs_fs.h: uncompressed, blocks of
 * 4 KiB, inodes of 64 bytes, xattrs with their inode, short symbolic links and
 * the last part of a directory behind it. The same layers give the same bytes.
 *
 * The indexes are hostile (rootfs/merge.h says how much of them is taken). The
 * caller is a process that may do no more than map, read and write; nothing is
 * opened here, and nothing kept.
 */
#ifndef MAYFLY_EROFS_H
#define MAYFLY_EROFS_H

#include <stdint.h>

struct err;
struct unpack_root;

#define EROFS_LAYERS_MAX 127u
/* Bytes of what is made here: beyond is no image that anyone wants. */
#define EROFS_ROOT_MAX ((uint64_t)1 << 32)

/*
 * Make the root image of the layers whose indexes are @indexes, the lowest
 * first, in @out, which is an empty file: pwrite() is all that is done to it.
 * Its size is a multiple of 4096 and in @r, with the number of inodes.
 *
 * 0 or -errno, with words: -EBADMSG for indexes that make no tree, -EFBIG for
 * one that is too large.
 */
int erofs_build(int out, const int *indexes, unsigned n, struct unpack_root *r,
		struct err *err);

#endif
