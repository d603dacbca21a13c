/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a layer, written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"

/* One entry at its largest is well below. */
#define BUFFER (1u << 20)

static_assert(sizeof(struct layer_entry) + LAYER_PATH_MAX + LAYER_LINK_MAX +
		      LAYER_XATTRS_MAX + 7 < BUFFER, "an entry fits");

static int put(int fd, const void *buf, size_t len, uint64_t at,
	       struct err *err)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, n ? -errno : -EIO,
				       "write the index of a layer");
		p += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int flush(struct layer_writer *w, struct err *err)
{
	size_t n = (size_t)(w->head.size - w->sent);
	int r = put(w->fd, w->buf, n, w->sent, err);

	w->sent = w->head.size;
	return r;
}

int layer_write_begin(struct layer_writer *w, int fd, struct err *err)
{
	*w = (struct layer_writer){ .fd = fd,
				    .head.size = sizeof(w->head),
				    .sent = sizeof(w->head),
				    .buf = malloc(BUFFER) };
	return w->buf ? 0 : err_set(err, -ENOMEM, "the index of a layer");
}

int layer_write(struct layer_writer *w, const struct layer_item *item,
		struct err *err)
{
	const struct layer_entry *e = &item->e;
	size_t len = sizeof(*e) + e->path_len + e->link_len + e->xattrs_len;
	size_t whole = (len + 7) & ~(size_t)7;
	uint8_t *p;

	if (w->head.size + whole > LAYER_INDEX_MAX)
		return err_say(err, -EFBIG,
			       "the names of the layer take more than %llu MiB",
			       (unsigned long long)LAYER_INDEX_MAX >> 20);
	if (w->head.size - w->sent + whole > BUFFER) {
		int r = flush(w, err);

		if (r < 0)
			return r;
	}
	p = w->buf + (w->head.size - w->sent);
	w->head.size += whole;
	w->head.entries++;
	memset(p + len, 0, whole - len);
	memcpy(p, e, sizeof(*e));
	p += sizeof(*e);
	memcpy(p, item->path, e->path_len);
	p += e->path_len;
	if (e->link_len)
		memcpy(p, item->link, e->link_len);
	p += e->link_len;
	if (e->xattrs_len)
		memcpy(p, item->xattrs, e->xattrs_len);
	return 0;
}

int layer_write_end(struct layer_writer *w, uint64_t data_size,
		    struct err *err)
{
	int r = flush(w, err);

	memcpy(w->head.magic, LAYER_MAGIC, sizeof(w->head.magic));
	w->head.data_size = data_size;
	return r < 0 ? r : put(w->fd, &w->head, sizeof(w->head), 0, err);
}

void layer_write_free(struct layer_writer *w)
{
	free(w->buf);
	w->buf = NULL;
}
