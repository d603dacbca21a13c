/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a layer: whatever is in it, an entry that is read lies in it as
 * a whole, keeps the rules of layer.h, and would be read again if it were
 * written.
 */
#include "rootfs/layer.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "tests/fuzz/bytes.h"

static void judge(const struct layer_item *i, const uint8_t *from,
		  const uint8_t *to, uint64_t data_size)
{
	const char *name, *before = NULL;
	size_t pos = 0, name_len, before_len = 0, value_len;
	const struct layer_entry *e = &i->e;
	const void *value;

	must((const uint8_t *)i->path > from);
	must(i->xattrs + e->xattrs_len <= to);
	must(layer_path_is_good(i->path, e->path_len));
	must(!memchr(i->path, 0, e->path_len));
	must(e->type != LAYER_HARDLINK ||
	     (e->link_len && layer_path_is_good(i->link, e->link_len)));
	must(!e->link_len || e->type == LAYER_HARDLINK ||
	     e->type == LAYER_SYMLINK);
	must(e->size <= data_size && e->data <= data_size - e->size);
	while (layer_next_xattr(i, &pos, &name, &name_len, &value,
				&value_len)) {
		must((const uint8_t *)value + value_len <=
		     i->xattrs + e->xattrs_len);
		must(!before || layer_name_compare(before, before_len, name,
						   name_len) < 0);
		before = name;
		before_len = name_len;
	}
	must(pos == e->xattrs_len);
}

/* The entries of @p once more by the writer: the same bytes. */
static void write_again(const uint8_t *p, size_t size)
{
	static int fd = -1;
	struct layer_writer w;
	struct layer_reader r;
	struct layer_item i;
	uint8_t *again = malloc(size + 1);

	if (fd < 0)
		fd = memfd_create("index", MFD_CLOEXEC);
	must(again && ftruncate(fd, 0) == 0);
	must(layer_write_begin(&w, fd, NULL) == 0);
	must(layer_open(&r, p, size, NULL) == 0);
	while (layer_next(&r, &i) > 0)
		must(layer_write(&w, &i, NULL) == 0);
	must(layer_write_end(&w, r.data_size, NULL) == 0);
	must(w.head.size == size);
	must(pread(fd, again, size + 1, 0) == (ssize_t)size);
	must(layer_open(&r, again, size, NULL) == 0);
	while (layer_next(&r, &i) > 0)
		;
	must(r.left == 0 && r.at == r.end);
	layer_write_free(&w);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_reader r;
	struct layer_head h;
	struct layer_item i;
	struct err err = { 0 };
	uint8_t *p = malloc(size + 1);
	int e;

	must(p);
	memcpy(p, data, size);
	/* Most are to get past the first check. */
	if (size >= sizeof(h)) {
		memcpy(&h, p, sizeof(h));
		if (h.size != size && h.size & 1) {
			h.size = size;
			memcpy(p, &h, sizeof(h));
		}
	}
	e = layer_open(&r, p, size, &err);
	must(e == 0 || (e == -EBADMSG && err.msg[0]));
	if (e == 0) {
		while ((e = layer_next(&r, &i)) > 0)
			judge(&i, p, p + size, r.data_size);
		must(e == 0 || e == -EBADMSG);
		if (e == 0)
			write_again(p, size);
	}
	free(p);
	return 0;
}
