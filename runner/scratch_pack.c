/* SPDX-License-Identifier: Apache-2.0 */
/* From a disk image that is nearly empty to the template of scratch disks. */
#include "runner/scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

#define BLOCK 4096

struct pack {
	int raw;
	struct scratch_head head;
	struct scratch_extent *extent;
};

static void pack_free(struct pack *p)
{
	free(p->extent);
}

static int add_block(struct pack *p, uint64_t at, uint64_t len)
{
	struct scratch_extent *e = p->extent;
	uint64_t n = p->head.extents;

	if (n && e[n - 1].at + e[n - 1].len == at) {
		e[n - 1].len += len;
		return 0;
	}
	if (n == SCRATCH_EXTENTS_MAX)
		return -E2BIG;
	e = realloc(e, (n + 1) * sizeof(*e));
	if (!e)
		return -ENOMEM;
	e[n] = (struct scratch_extent){ .at = at, .len = len };
	p->extent = e;
	p->head.extents = n + 1;
	return 0;
}

/* What is not zero from @pos to @end. */
static int look(struct pack *p, off_t pos, off_t end)
{
	static const char zero[BLOCK];
	char buf[BLOCK];

	while (pos < end) {
		size_t n = (size_t)MIN(end - pos, (off_t)BLOCK);
		ssize_t got = io_pread_full(p->raw, buf, n, pos);
		int r = 0;

		if (got < 0 || (size_t)got != n)
			return got < 0 ? (int)got : -EIO;
		if (memcmp(buf, zero, n))
			r = add_block(p, (uint64_t)pos, n);
		if (r < 0)
			return r;
		pos += got;
	}
	return 0;
}

static int find_extents(struct pack *p)
{
	off_t size = (off_t)p->head.size, pos = 0;

	while (pos < size) {
		off_t data = lseek(p->raw, pos, SEEK_DATA), hole;
		int r;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(p->raw, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		/* Blocks keep their places, wherever data begins. */
		r = look(p, data / BLOCK * BLOCK, MIN(hole, size));
		if (r < 0)
			return r;
		pos = hole;
	}
	return 0;
}

static int copy(const struct pack *p, const struct scratch_extent *e, int out)
{
	char buf[BLOCK];

	for (uint64_t done = 0; done < e->len;) {
		size_t n = (size_t)MIN(e->len - done, (uint64_t)BLOCK);
		ssize_t got = io_pread_full(p->raw, buf, n,
					    (off_t)(e->at + done));
		int r = got < 0 ? (int)got : io_write_all(out, buf, n);

		if (r < 0)
			return r;
		done += n;
	}
	return 0;
}

int scratch_pack(int raw, int out)
{
	_cleanup_(pack_free) struct pack p = {
		.raw = raw,
		.head = { .magic = SCRATCH_MAGIC },
	};
	struct stat st;
	int r;

	if (fstat(raw, &st) < 0)
		return -errno;
	p.head.size = (uint64_t)st.st_size;
	r = find_extents(&p);
	if (r == 0)
		r = io_write_all(out, &p.head, sizeof(p.head));
	if (r == 0)
		r = io_write_all(out, p.extent,
				 p.head.extents * sizeof(*p.extent));
	for (uint64_t i = 0; r == 0 && i < p.head.extents; i++)
		r = copy(&p, &p.extent[i], out);
	return r;
}
