/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy-on-write disk: a base that is only read, and an upper file that takes
 * what is written.
 *
 *	cluster	   0	1    2	  3    4    5	     4 KiB each; the last one
 *	bitmap	   0	1    1	  0    0    1	     ends where the disk does
 *	upper	   .  [new][new]  .    .  [new]      holes elsewhere
 *	base	 [old][old][old][old][old][old]
 *	guest	 [old][new][new][old][old][new]
 *
 * A cluster lies at one offset in both files, so there is no table of places,
 * only a bit: whether it is present in upper. Neighbours of equal state are
 * one call. A write that covers a part of a cluster that is not present brings
 * the rest of it from the base first. The bit is set last: a write that fails
 * on its way (the upper's file system is full) leaves the cluster as it was.
 *
 * The bitmap lives in memory only, allocated when the disk is made: a bit for
 * 4 KiB, of which pages that stay zero cost nothing. What upper holds has no
 * meaning without it.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/disk/disk.h"
#include "runner/disk/raw.h"

#define CLUSTER	 4096u
#define LARGEST (1ull << 44) /* and then 512 MiB of bits, were all set */
#define BITS	 64u

struct overlay {
	struct disk disk;
	struct raw base, upper;
	uint64_t *present;
};

static struct overlay *overlay_of(struct disk *d)
{
	return container_of(d, struct overlay, disk);
}

static bool is_present(const struct overlay *o, uint64_t cluster)
{
	return o->present[cluster / BITS] >> (cluster % BITS) & 1;
}

/* Where the clusters from @from on that are like it end, @end at the most. */
static uint64_t run_end(const struct overlay *o, uint64_t from, uint64_t end)
{
	uint64_t like = is_present(o, from) ? UINT64_MAX : 0, c = from;

	while (c < end) {
		uint64_t other = (o->present[c / BITS] ^ like) >> (c % BITS);

		if (other) {
			c += (unsigned)__builtin_ctzll(other);
			break;
		}
		c = (c / BITS + 1) * BITS;
	}
	return MIN(c, end);
}

static void set_present(struct overlay *o, uint64_t from, uint64_t end)
{
	for (uint64_t c = from; c < end;) {
		uint64_t n = MIN(end - c, BITS - c % BITS);

		o->present[c / BITS] |= UINT64_MAX >> (BITS - n) << (c % BITS);
		c += n;
	}
}

static uint64_t total(const struct iovec *iov, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static uint64_t round_up(uint64_t off)
{
	return (off + CLUSTER - 1) / CLUSTER;
}

static int overlay_readv(struct disk *d, struct iovec *iov, unsigned n,
			 uint64_t off, int flags)
{
	struct overlay *o = overlay_of(d);
	uint64_t end = off + total(iov, n);
	int r = 0;

	while (n && r == 0) {
		uint64_t c = off / CLUSTER;
		uint64_t to = run_end(o, c, round_up(end)) * CLUSTER;

		r = raw_read_part(is_present(o, c) ? &o->upper : &o->base, &iov,
				  &n, MIN(to, end) - off, off, flags);
		off = to;
	}
	return r;
}

/* Bytes of the base into upper; less than a cluster. */
static int bring(const struct overlay *o, uint64_t from, uint64_t to)
{
	uint8_t buf[CLUSTER];
	struct iovec iov = { .iov_base = buf, .iov_len = to - from };
	int r;

	if (from >= to)
		return 0;
	r = raw_readv(&o->base, &iov, 1, from, 0);
	if (r < 0)
		return r;
	iov = (struct iovec){ .iov_base = buf, .iov_len = to - from };
	return raw_writev(&o->upper, &iov, 1, from);
}

/* What [from, to), which is to be written, leaves of its outer clusters. */
static int bring_edges(const struct overlay *o, uint64_t from, uint64_t to)
{
	uint64_t first = from / CLUSTER, last = (to - 1) / CLUSTER;
	int r = 0;

	if (!is_present(o, first))
		r = bring(o, first * CLUSTER, from);
	if (r == 0 && !is_present(o, last))
		r = bring(o, to, MIN((last + 1) * CLUSTER, o->disk.size));
	return r;
}

static int overlay_writev(struct disk *d, struct iovec *iov, unsigned n,
			  uint64_t off)
{
	struct overlay *o = overlay_of(d);
	uint64_t end = off + total(iov, n);
	int r;

	if (off == end)
		return 0;
	r = bring_edges(o, off, end);
	if (r == 0)
		r = raw_writev(&o->upper, iov, n, off);
	if (r == 0)
		set_present(o, off / CLUSTER, round_up(end));
	return r;
}

/* Who could read it again after a crash? */
static int overlay_flush(struct disk *d)
{
	(void)d;
	return 0;
}

/* Whole clusters [*from, *to) of a range; the disk's last one may be short. */
static void inner(const struct overlay *o, uint64_t off, uint64_t len,
		  uint64_t *from, uint64_t *to)
{
	uint64_t end = off + len;

	*from = round_up(off);
	*to = end == o->disk.size ? round_up(end) : end / CLUSTER;
}

static uint64_t byte_of(const struct overlay *o, uint64_t cluster)
{
	return MIN(cluster * CLUSTER, o->disk.size);
}

static int overlay_discard(struct disk *d, uint64_t off, uint64_t len)
{
	struct overlay *o = overlay_of(d);
	uint64_t from, to;
	int r;

	inner(o, off, len, &from, &to);
	if (from >= to)
		return 0;
	/* To the end of the cluster, or the last one's page would stay. */
	r = raw_discard(&o->upper, from * CLUSTER, (to - from) * CLUSTER);
	if (r == 0)
		set_present(o, from, to);
	return r;
}

/* Less than a cluster, by writing. */
static int zero_edge(struct disk *d, uint64_t from, uint64_t to)
{
	static const uint8_t zeros[CLUSTER];
	struct iovec iov = { .iov_base = (void *)zeros, .iov_len = to - from };

	return from < to ? overlay_writev(d, &iov, 1, from) : 0;
}

static int overlay_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap)
{
	struct overlay *o = overlay_of(d);
	uint64_t from, to, end = off + len, first, last;
	int r;

	inner(o, off, len, &from, &to);
	if (from > to) /* inside one cluster */
		return zero_edge(d, off, end);
	first = byte_of(o, from);
	last = byte_of(o, to);
	r = zero_edge(d, off, first);
	if (r == 0 && first < last)
		r = raw_zero(&o->upper, first, last - first, unmap);
	if (r == 0)
		set_present(o, from, to);
	return r < 0 ? r : zero_edge(d, last, end);
}

static void overlay_free(struct disk *d)
{
	struct overlay *o = overlay_of(d);

	raw_free(&o->base);
	raw_free(&o->upper);
	free(o->present);
	free(o);
}

static const struct disk_ops overlay_ops = {
	.readv = overlay_readv,
	.writev = overlay_writev,
	.flush = overlay_flush,
	.discard = overlay_discard,
	.zero = overlay_zero,
	.free = overlay_free,
};

static int check_files(struct overlay *o, int base, int upper, struct err *err)
{
	struct stat st;

	if (raw_init(&o->base, base, true, err) < 0 ||
	    raw_sectors(&o->base, err) < 0)
		return err_wrap(err, "base");
	if (raw_init(&o->upper, upper, false, err) < 0)
		return err_wrap(err, "upper");
	if (fstat(upper, &st) < 0 || !S_ISREG(st.st_mode))
		return err_say(err, -EINVAL, "upper: not a regular file");
	if (o->upper.size != o->base.size)
		return err_say(err, -EINVAL,
			       "upper: %llu bytes, and the base has %llu",
			       (unsigned long long)o->upper.size,
			       (unsigned long long)o->base.size);
	if (o->base.size > LARGEST)
		return err_say(err, -EFBIG, "base: larger than 16 TiB");
	return 0;
}

struct disk *disk_overlay_new(int base, int upper, struct err *err)
{
	_cleanup_free_ struct overlay *o = calloc(1, sizeof(*o));
	uint64_t words;

	if (!o) {
		err_set(err, -ENOMEM, "disk");
		return NULL;
	}
	if (check_files(o, base, upper, err) < 0)
		return NULL;
	words = round_up(o->base.size) / BITS + 1;
	o->present = calloc(words, sizeof(*o->present));
	if (!o->present) {
		err_set(err, -ENOMEM, "bits of %llu clusters",
			(unsigned long long)round_up(o->base.size));
		return NULL;
	}
	o->disk = (struct disk){ .ops = &overlay_ops, .size = o->base.size };
	return &steal_ptr(&o)->disk;
}
