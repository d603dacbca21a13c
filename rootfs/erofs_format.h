/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs_format: what is on a disk of erofs, as far as our images have it.
 * Names and layout are those of Linux, fs/erofs/erofs_fs.h. Little-endian.
 */
#ifndef MAYFLY_EROFS_FORMAT_H
#define MAYFLY_EROFS_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define EROFS_BLOCK	   4096u
#define EROFS_BLOCK_BITS   12
#define EROFS_SUPER_OFFSET 1024u
#define EROFS_MAGIC	   0xe0f5e1e2u
/* A node's number is its place in units of this. */
#define EROFS_SLOT	   32u

enum erofs_compat {
	EROFS_SB_CHKSUM = 1,
	EROFS_MTIME = 2, /* times are those of the data, not the inode */
};

struct erofs_super {
	uint32_t magic;
	uint32_t checksum; /* CRC-32C of the rest of its block, 0 here */
	uint32_t feature_compat;
	uint8_t blkszbits;
	uint8_t sb_extslots;
	uint16_t root_nid;
	uint64_t inos;
	uint64_t build_time; /* of short inodes */
	uint32_t build_time_nsec;
	uint32_t blocks; /* for statfs(2) */
	uint32_t meta_blkaddr;
	uint32_t xattr_blkaddr;
	uint8_t uuid[16];
	uint8_t volume_name[16];
	uint32_t feature_incompat;
	uint8_t reserved[44];
};

/* i_format: an inode of 64 bytes, and where its data is. */
enum erofs_layout {
	EROFS_PLAIN = 1 | 0 << 1,  /* in blocks */
	EROFS_INLINE = 1 | 2 << 1, /* the last part behind the inode */
};

struct erofs_inode {
	uint16_t format;
	uint16_t xattr_icount; /* 0, or words of them, the header as one */
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t u; /* block address, or device number */
	uint32_t ino;
	uint32_t uid, gid;
	uint64_t mtime;
	uint32_t mtime_nsec;
	uint32_t nlink;
	uint8_t reserved2[16];
};

/* Behind the inode; then come entries. */
struct erofs_xattr_header {
	uint32_t name_filter;
	uint8_t shared_count;
	uint8_t reserved[7];
};

/* Then the name without its prefix, and the value; up to a multiple of 4. */
struct erofs_xattr_entry {
	uint8_t name_len;
	uint8_t name_index;
	uint16_t value_size;
};

enum erofs_xattr_index {
	EROFS_XATTR_USER = 1,
	EROFS_XATTR_ACL_ACCESS,
	EROFS_XATTR_ACL_DEFAULT,
	EROFS_XATTR_TRUSTED,
	EROFS_XATTR_SECURITY = 6,
};

/*
 * A block of a directory is an array of these, sorted, and then the names, one
 * right behind the other. A name ends where the next begins, the last one at a
 * NUL or with the block.
 */
struct erofs_dirent {
	uint32_t nid[2]; /* low half first: dirents are aligned to 4 */
	uint16_t nameoff;
	uint8_t file_type;
	uint8_t reserved;
};

enum erofs_file_type {
	EROFS_FT_REG = 1,
	EROFS_FT_DIR,
	EROFS_FT_CHR,
	EROFS_FT_BLK,
	EROFS_FT_FIFO,
	EROFS_FT_SOCK,
	EROFS_FT_SYMLINK,
};

static_assert(sizeof(struct erofs_super) == 128, "erofs_super");
static_assert(sizeof(struct erofs_inode) == 64, "erofs_inode");
static_assert(sizeof(struct erofs_xattr_header) == 12, "erofs_xattr_header");
static_assert(sizeof(struct erofs_xattr_entry) == 4, "erofs_xattr_entry");
static_assert(sizeof(struct erofs_dirent) == 12, "erofs_dirent");

#endif
