/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw: a disk image that is just its bytes, behind a file descriptor.
 *
 * No format is ever probed: a guest that writes a QCOW header into its disk
 * has a disk with a QCOW header. Owns the descriptor from raw_init() to
 * raw_free(). Offsets and lengths are bytes and the caller has checked them
 * against `size`. All calls block; 0 or -errno.
 */
#ifndef MAYFLY_DISK_RAW_H
#define MAYFLY_DISK_RAW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;

struct raw {
	int fd;
	uint64_t size; /* bytes, a multiple of RAW_SECTOR, not 0 */
	bool readonly;
};

#define RAW_SECTOR 512u

/* Regular file or block device, open for reading, and for writing unless
 * @readonly. Takes @fd on success only. */
int raw_init(struct raw *r, int fd, bool readonly, struct err *err);
void raw_free(struct raw *r);

/* All of it or an error; @iov is used up. Past the end of a file that shrank
 * reads give zeros. */
int raw_readv(const struct raw *r, struct iovec *iov, unsigned n, uint64_t off);
int raw_writev(const struct raw *r, struct iovec *iov, unsigned n,
	       uint64_t off);
int raw_flush(const struct raw *r);

/* Give the range back to the host; contents undefined (in fact zeros), or
 * unchanged where the file cannot do that. */
int raw_discard(const struct raw *r, uint64_t off, uint64_t len);

/* The range reads as zeros; @unmap lets it be given back as well. */
int raw_zero(const struct raw *r, uint64_t off, uint64_t len, bool unmap);

#endif
