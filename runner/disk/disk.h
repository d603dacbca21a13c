/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: what a guest's disk is made of.
 *
 *	raw	 one file or block device		    disk_raw_new()
 *	concat	 files, one after the other, read-only	    disk_concat_new()
 *	overlay	 a file, and one for what is changed of it  disk_overlay_new()
 *
 * A constructor opens nothing: it takes descriptors over, on success only, and
 * gives NULL and *err else. No format is ever probed: a guest that writes a
 * QCOW header into its disk has a disk with a QCOW header.
 *
 * Offsets and lengths are bytes, and the caller has checked them against
 * `size`. Calls block, but for DISK_NOWAIT, and come one at a time, from any
 * thread; 0 or -errno. Nothing is allocated once a disk is made.
 */
#ifndef MAYFLY_DISK_DISK_H
#define MAYFLY_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct disk;

#define DISK_SECTOR 512u

/* For readv(): -EAGAIN where it would have to wait for what is not in the
 * host's memory; some of it may have been read. */
#define DISK_NOWAIT 1

struct disk_ops {
	/* All of it or an error; the list is used up, the entries change.
	 * Past the end of a file that shrank reads give zeros. */
	int (*readv)(struct disk *d, struct iovec *iov, unsigned n,
		     uint64_t off, int flags);
	int (*writev)(struct disk *d, struct iovec *iov, unsigned n,
		      uint64_t off);
	/* What was written outlives the host. */
	int (*flush)(struct disk *d);
	/* Give the range back to the host. What it holds then is anything
	 * that the guest wrote there, or the disk had, or zeros. */
	int (*discard)(struct disk *d, uint64_t off, uint64_t len);
	/* The range reads as zeros; @unmap lets it be given back as well. */
	int (*zero)(struct disk *d, uint64_t off, uint64_t len, bool unmap);
	void (*free)(struct disk *d);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t size; /* a multiple of DISK_SECTOR, not 0 */
	bool readonly; /* the last four ops are not there */
	bool durable;  /* flush does something */
};

/* Regular file or block device. */
struct disk *disk_raw_new(int fd, bool readonly, bool durable,
			  struct err *err);

/* Each but the last a multiple of DISK_PART bytes; some may be empty. */
#define DISK_PART 4096u
struct disk *disk_concat_new(const int *fds, unsigned n, struct err *err);

/* @upper: a regular file of the base's size, all of it a hole. Nothing in it
 * is read that was not written before. It keeps no record of what it holds:
 * it is of use as long as the disk is. */
struct disk *disk_overlay_new(int base, int upper, struct err *err);

static inline void disk_free(struct disk *d)
{
	if (d)
		d->ops->free(d);
}

#endif
