/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw: a file or block device as bytes: what all disks are made of (disk.h).
 *
 * Owns the descriptor from raw_init() to raw_free(). Offsets and lengths are
 * bytes and the caller has checked them against `size`. Calls block, but for
 * DISK_NOWAIT; 0 or -errno.
 */
#ifndef MAYFLY_DISK_RAW_H
#define MAYFLY_DISK_RAW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;

struct raw {
	int fd;
	uint64_t size; /* bytes */
	bool readonly;
};

/* Regular file or block device, open for reading, and for writing unless
 * @readonly. Takes @fd on success only. raw_sectors() then: of a size that a
 * disk may have. */
int raw_init(struct raw *r, int fd, bool readonly, struct err *err);
int raw_sectors(const struct raw *r, struct err *err);
void raw_free(struct raw *r);

/* All of it or an error; @iov is used up. Past the end of a file that shrank
 * reads give zeros. @flags are for reads: DISK_NOWAIT. */
int raw_readv(const struct raw *r, struct iovec *iov, unsigned n, uint64_t off,
	      int flags);
int raw_writev(const struct raw *r, struct iovec *iov, unsigned n,
	       uint64_t off);
int raw_flush(const struct raw *r);

/* Reads the first @len bytes of a list, or all of a shorter one. They are
 * dropped from it. */
int raw_read_part(const struct raw *r, struct iovec **iov, unsigned *n,
		  uint64_t len, uint64_t off, int flags);

/* Give the range back to the host; contents undefined (in fact zeros), or
 * unchanged where the file cannot do that. */
int raw_discard(const struct raw *r, uint64_t off, uint64_t len);

/* The range reads as zeros; @unmap lets it be given back as well. */
int raw_zero(const struct raw *r, uint64_t off, uint64_t len, bool unmap);

#endif
