/* SPDX-License-Identifier: Apache-2.0 */
/* Data of a layer, written. */
#include "rootfs/layer_data.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* What a core's own cache holds: it is read twice more. */
#define BUFFER (1u << 18)

int layer_data_begin(struct layer_data *d, int fd, struct err *err)
{
	*d = (struct layer_data){ .fd = fd,
				  .buf = aligned_alloc(LAYER_BLOCK, BUFFER) };
	return d->buf ? 0 : err_set(err, -ENOMEM, "the data of a layer");
}

void layer_data_free(struct layer_data *d)
{
	free(d->buf);
	d->buf = NULL;
}

static int put(struct layer_data *d, size_t from, size_t to, struct err *err)
{
	while (from < to) {
		ssize_t n = pwrite(d->fd, d->buf + from, to - from,
				   (off_t)(d->at + from));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, n ? -errno : -EIO,
				       "write the data of a layer");
		from += (size_t)n;
	}
	return 0;
}

static int is_zero(const uint8_t *block)
{
	return !block[0] && memcmp(block, block + 1, LAYER_BLOCK - 1) == 0;
}

/* Runs of blocks that are not all zeros. */
static int flush(struct layer_data *d, struct err *err)
{
	size_t end = (d->have + LAYER_BLOCK - 1) & ~(size_t)(LAYER_BLOCK - 1);
	size_t from = 0, at;
	int r = 0;

	memset(d->buf + d->have, 0, end - d->have);
	for (at = 0; at < end && r == 0; at += LAYER_BLOCK)
		if (is_zero(d->buf + at)) {
			r = put(d, from, at, err);
			from = at + LAYER_BLOCK;
		}
	d->have = 0;
	return r < 0 ? r : put(d, from, end, err);
}

int layer_data_put(struct layer_data *d, uint64_t at, const uint8_t *p,
		   size_t len, struct err *err)
{
	while (len) {
		uint64_t gap = at - d->at - d->have;
		size_t n;

		if (gap >= BUFFER - d->have) {
			int r = flush(d, err);

			if (r < 0)
				return r;
			d->at = at & ~(uint64_t)(LAYER_BLOCK - 1);
			gap = at - d->at;
		}
		memset(d->buf + d->have, 0, gap);
		d->have += gap;
		n = MIN(len, BUFFER - d->have);
		memcpy(d->buf + d->have, p, n);
		d->have += n;
		at += n;
		p += n;
		len -= n;
	}
	return 0;
}

int layer_data_end(struct layer_data *d, uint64_t size, struct err *err)
{
	int r = flush(d, err);

	if (r == 0 && ftruncate(d->fd, (off_t)size) < 0)
		r = err_set(err, -errno, "write the data of a layer");
	return r;
}
