/* SPDX-License-Identifier: Apache-2.0 */
/* A read-only disk of several files, one after the other. */
#include <errno.h>
#include <stddef.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/disk/disk.h"
#include "runner/disk/raw.h"

struct part {
	uint64_t start;
	struct raw raw;
};

struct concat {
	struct disk disk;
	unsigned n;
	struct part part[];
};

/* The last part that begins at or before @off. An empty one begins where the
 * next does, and so is never the last. */
static const struct part *find(const struct concat *c, uint64_t off)
{
	unsigned lo = 0, hi = c->n;

	while (hi - lo > 1) {
		unsigned mid = lo + (hi - lo) / 2;

		if (c->part[mid].start <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &c->part[lo];
}

static int concat_readv(struct disk *d, struct iovec *iov, unsigned n,
			uint64_t off, int flags)
{
	const struct concat *c = container_of(d, struct concat, disk);
	const struct part *p = find(c, off);
	int r = 0;

	for (; n && r == 0; p++) {
		uint64_t at = off - p->start;

		if (at == p->raw.size)
			continue;
		r = raw_read_part(&p->raw, &iov, &n, p->raw.size - at, at,
				  flags);
		off = p->start + p->raw.size;
	}
	return r;
}

static void concat_free(struct disk *d)
{
	struct concat *c = container_of(d, struct concat, disk);

	for (unsigned i = 0; i < c->n; i++)
		raw_free(&c->part[i].raw);
	free(c);
}

static const struct disk_ops concat_ops = {
	.readv = concat_readv,
	.free = concat_free,
};

static int add_part(struct concat *c, int fd, struct err *err)
{
	struct part *p = &c->part[c->n];
	int r;

	if (c->disk.size % DISK_PART)
		return err_say(err, -EINVAL,
			       "the one before is not of whole blocks of %u "
			       "bytes", DISK_PART);
	r = raw_init(&p->raw, fd, true, err);
	if (r < 0)
		return r;
	/* Offsets of files are signed, and so no sum of two wraps. */
	if (c->disk.size > INT64_MAX - p->raw.size)
		return err_say(err, -EFBIG, "all of them are too large");
	p->start = c->disk.size;
	c->disk.size += p->raw.size;
	c->n++;
	return 0;
}

struct disk *disk_concat_new(const int *fds, unsigned n, struct err *err)
{
	_cleanup_free_ struct concat *c =
		calloc(1, sizeof(*c) + n * sizeof(*c->part));
	struct raw all;

	if (!c) {
		err_set(err, -ENOMEM, "disk");
		return NULL;
	}
	c->disk = (struct disk){ .ops = &concat_ops, .readonly = true };
	for (unsigned i = 0; i < n; i++)
		if (add_part(c, fds[i], err) < 0) {
			err_wrap(err, "part %u", i);
			return NULL;
		}
	all = (struct raw){ .size = c->disk.size };
	if (raw_sectors(&all, err) < 0)
		return NULL;
	return &steal_ptr(&c)->disk;
}
