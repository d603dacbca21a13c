/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile layers: whatever their indexes say, a root image is made whose every
 * directory, inode and block is as the kernel wants it, or none.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rootfs/erofs.h"
#include "rootfs/layer.h"
#include "rootfs/unpack.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "tests/fuzz/bytes.h"

#define erofs_must must
#include "tests/unit/erofs_read.h"

#define LAYERS	  4
#define INDEX_MAX (4u << 20)

static int indexes[LAYERS], out = -1;
static uint8_t index_buf[INDEX_MAX];

static void start(void)
{
	for (int i = 0; i < LAYERS; i++) {
		indexes[i] = memfd_create("index", MFD_CLOEXEC);
		must(indexes[i] >= 0);
	}
	out = memfd_create("image", MFD_CLOEXEC);
	must(out >= 0);
}

/* Of few letters, so that names meet; sometimes as long as may be. */
static size_t take_path(struct bytes *b, char *p, size_t max)
{
	static const char parts[][4] = { "a", "b", "c", "/", "/", "..", ".",
					 "\xff" };
	uint8_t how = take8(b);
	size_t n = how & 15, len = 0, i;

	while (n--) {
		const char *s = parts[take8(b) & 7];

		memcpy(p + len, s, strlen(s));
		len += strlen(s);
	}
	if (how & 0x80 && len) {
		for (i = len; i < max; i++)
			p[i] = p[i - len];
		len = max;
	}
	return len;
}

static size_t take_xattrs(struct bytes *b, uint8_t *p)
{
	static const char *const names[] = { "user.", "trusted.", "security.",
		"system.posix_acl_access", "trusted.overlay.", "x" };
	struct layer_xattr x;
	uint8_t how = take8(b);
	size_t at = 0, n = how & 3;

	while (n--) {
		uint8_t which = take8(b);
		const char *name = names[which % ARRAY_SIZE(names)];

		x.name_len = (uint16_t)(strlen(name) + (which >> 6));
		x.value_len = take16(b) & (how & 0x80 ? 0x3fff : 0x3f);
		memcpy(p + at, &x, sizeof(x));
		memset(p + at + sizeof(x), 'a' + (int)n, x.name_len);
		memcpy(p + at + sizeof(x), name, strlen(name));
		memset(p + at + sizeof(x) + x.name_len, 'v', x.value_len);
		at += sizeof(x) + x.name_len + x.value_len;
	}
	return at;
}

static size_t take_entry(struct bytes *b, uint8_t *p)
{
	static const uint64_t sizes[] = { 0, 1, 4096, 4097, 1 << 20 };
	struct layer_entry e = { .type = take8(b) % (LAYER_TYPES + 1) };
	int white = e.type == LAYER_WHITEOUT || e.type == LAYER_OPAQUE;
	uint8_t how = take8(b);
	size_t len = sizeof(e);

	e.path_len = (uint16_t)take_path(b, (char *)p + len, LAYER_PATH_MAX);
	len += e.path_len;
	if (e.type == LAYER_SYMLINK || e.type == LAYER_HARDLINK)
		e.link_len = (uint16_t)take_path(b, (char *)p + len,
						 LAYER_LINK_MAX);
	len += e.link_len;
	if (!white) {
		e.xattrs_len = (uint32_t)take_xattrs(b, p + len);
		len += e.xattrs_len;
		e.mode = take16(b) & 07777;
		e.uid = how & 1 ? take32(b) : 0;
		e.mtime_ns = how & 2 ? take32(b) : 0;
	}
	if (e.type == LAYER_FILE)
		e.size = sizes[how / 16 % ARRAY_SIZE(sizes)];
	if (e.size)
		e.data = (uint64_t)take8(b) * LAYER_BLOCK;
	if (e.type == LAYER_CHAR || e.type == LAYER_BLOCKDEV) {
		e.major = take16(b);
		e.minor = take32(b);
	}
	memcpy(p, &e, sizeof(e));
	memset(p + len, 0, 8);
	return (len + 7) & ~(size_t)7;
}

/* An index of entries that are nearly right, or of any bytes. */
static void take_index(struct bytes *b, int fd)
{
	struct layer_head h = { .size = sizeof(h) };
	uint8_t how = take8(b), *p = index_buf + sizeof(h);
	size_t n;

	memcpy(h.magic, LAYER_MAGIC, sizeof(h.magic));
	h.data_size = (uint64_t)LAYER_BLOCK * (how & 0x40 ? 1 << 30 : 256);
	if (how & 0x80) {
		h.entries = take8(b);
		n = MIN(b->n, (size_t)take16(b));
		take(b, p, n);
		h.size += n;
	} else {
		for (h.entries = 0; h.entries < (how & 0x3f); h.entries++)
			h.size += take_entry(b, index_buf + h.size);
	}
	memcpy(index_buf, &h, sizeof(h));
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, index_buf, h.size, 0) == (ssize_t)h.size);
}

static void visit(void *opaque, const char *path, size_t len,
		  const struct er_node *n)
{
	struct erofs_xattr_entry e;
	const struct er_image *im = opaque;
	const uint8_t *value;
	const char *name;
	size_t pos = 0;

	(void)path, (void)len;
	while (er_xattr(n, &pos, &e, &name, &value))
		must(e.name_index && e.name_index <= EROFS_XATTR_SECURITY);
	if (S_ISLNK(n->i.mode))
		must(n->i.size && *er_data(im, n, 0) &&
		     *er_data(im, n, n->i.size - 1));
}

static void judge(const struct unpack_root *r)
{
	struct er_image im;
	void *p;

	must(lseek(out, 0, SEEK_END) == (off_t)r->size);
	p = mmap(NULL, r->size, PROT_READ, MAP_SHARED, out, 0);
	must(p != MAP_FAILED);
	er_open(&im, p, r->size, r->size);
	must(im.sb.inos == r->inodes);
	er_walk(&im, visit, &im);
	munmap(p, r->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct unpack_root r;
	struct err err = { 0 };
	unsigned n, i;
	int ret;

	if (out < 0)
		start();
	n = take8(&b) % (LAYERS + 1);
	for (i = 0; i < n; i++)
		take_index(&b, indexes[i]);
	must(ftruncate(out, 0) == 0);
	ret = erofs_build(out, indexes, n, &r, &err);
	must(ret == 0 || ret == -EBADMSG || ret == -EFBIG);
	must(ret == 0 || *err.msg);
	if (!ret)
		judge(&r);
	return 0;
}
