/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a layer: what is written is read, and nothing else is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

#define DATA_SIZE (10 * LAYER_BLOCK)

static uint8_t *index_;
static size_t size;

static void add(struct layer_writer *w, struct layer_entry e, const char *path,
		const char *link, const void *xattrs)
{
	struct layer_item i = { .e = e, .path = path, .link = link,
				.xattrs = xattrs };

	i.e.path_len = (uint16_t)strlen(path);
	i.e.link_len = link ? (uint16_t)strlen(link) : 0;
	cr_assert_eq(layer_write(w, &i, NULL), 0);
}

static const uint8_t two_xattrs[] = "\6\0\1\0user.a1" "\6\0\0\0user.b";

static void build(void)
{
	int fd = memfd_create("index", MFD_CLOEXEC);
	struct layer_writer w;

	cr_assert_eq(layer_write_begin(&w, fd, NULL), 0);
	add(&w, (struct layer_entry){ .type = LAYER_DIR, .mode = 0755 }, "",
	    NULL, NULL);
	add(&w, (struct layer_entry){ .type = LAYER_FILE, .size = 5000,
				      .data = LAYER_BLOCK, .mtime_s = -5,
				      .mtime_ns = 999999999,
				      .xattrs_len = sizeof(two_xattrs) - 1 },
	    "a/file", NULL, two_xattrs);
	add(&w, (struct layer_entry){ .type = LAYER_SYMLINK }, "a/link",
	    "../../x//y", NULL);
	add(&w, (struct layer_entry){ .type = LAYER_HARDLINK }, "h", "a/file",
	    NULL);
	add(&w, (struct layer_entry){ .type = LAYER_CHAR, .major = 1 }, "c",
	    NULL, NULL);
	add(&w, (struct layer_entry){ .type = LAYER_WHITEOUT }, "w", NULL,
	    NULL);
	add(&w, (struct layer_entry){ .type = LAYER_OPAQUE }, "", NULL, NULL);
	cr_assert_eq(layer_write_end(&w, DATA_SIZE, NULL), 0);
	size = (size_t)lseek(fd, 0, SEEK_END);
	index_ = malloc(size + 64);
	cr_assert_eq(pread(fd, index_, size, 0), (ssize_t)size);
	layer_write_free(&w);
	close(fd);
}

/* How many entries are read before the end: -EBADMSG where it is none. */
static int read_all(size_t n)
{
	struct layer_reader r;
	struct layer_item i;
	int e = layer_open(&r, index_, n, NULL), count = 0;

	if (e < 0)
		return e;
	while ((e = layer_next(&r, &i)) > 0) {
		const char *name;
		const void *value;
		size_t pos = 0, name_len, value_len;

		count++;
		cr_assert((const uint8_t *)i.path + i.e.path_len + i.e.link_len +
				  i.e.xattrs_len <= index_ + n);
		while (layer_next_xattr(&i, &pos, &name, &name_len, &value,
					&value_len))
			cr_assert((const uint8_t *)value + value_len <=
				  i.xattrs + i.e.xattrs_len);
		cr_assert_eq(pos, i.e.xattrs_len);
	}
	return e < 0 ? e : count;
}

Test(layer, what_is_written_is_read, .init = build)
{
	struct layer_reader r;
	struct layer_item i;

	cr_expect_eq(read_all(size), 7);
	cr_assert_eq(layer_open(&r, index_, size, NULL), 0);
	cr_expect_eq(layer_next(&r, &i), 1);
	cr_expect(i.e.type == LAYER_DIR && i.e.path_len == 0);
	cr_expect_eq(layer_next(&r, &i), 1);
	cr_expect(i.e.path_len == 6 && !memcmp(i.path, "a/file", 6));
	cr_expect(i.e.mtime_s == -5 && i.e.size == 5000);
	cr_expect_eq(i.e.xattrs_len, sizeof(two_xattrs) - 1);
	cr_expect_eq(layer_next(&r, &i), 1);
	cr_expect(i.e.link_len == 10 && !memcmp(i.link, "../../x//y", 10));
}

Test(layer, cut_or_longer_is_no_index, .init = build)
{
	for (size_t n = 0; n < size; n++) {
		cr_expect_eq(read_all(n), -EBADMSG);
		if (n < sizeof(struct layer_head))
			continue;
		memcpy(index_ + 24, &n, sizeof(n));
		cr_expect_eq(read_all(n), -EBADMSG, "%zu", n);
		memcpy(index_ + 24, &size, sizeof(size));
	}
	memset(index_ + size, 0, 64);
	size += 64;
	memcpy(index_ + 24, &size, sizeof(size));
	cr_expect_eq(read_all(size), -EBADMSG);
}

Test(layer, any_byte_may_be_another, .init = build)
{
	for (size_t at = 0; at < size; at++) {
		uint8_t was = index_[at];

		for (unsigned v = 0; v < 256; v++) {
			index_[at] = (uint8_t)v;
			read_all(size);
		}
		index_[at] = was;
	}
}

/* One entry alone, with one thing wrong. */
static int one(const struct layer_entry *e, const char *path, size_t path_len,
	       const char *link, const void *xattrs)
{
	struct layer_head h = { .entries = 1, .data_size = DATA_SIZE };
	struct layer_entry copy = *e;
	uint8_t *p;
	int r;

	copy.path_len = (uint16_t)path_len;
	copy.link_len = link ? (uint16_t)strlen(link) : 0;
	size = sizeof(h) + sizeof(copy) + path_len + copy.link_len +
	       copy.xattrs_len;
	size = (size + 7) & ~(size_t)7;
	h.size = size;
	memcpy(h.magic, LAYER_MAGIC, 8);
	index_ = p = calloc(1, size);
	memcpy(p, &h, sizeof(h));
	p += sizeof(h);
	memcpy(p, &copy, sizeof(copy));
	p += sizeof(copy);
	memcpy(p, path, path_len);
	if (link)
		memcpy(p + path_len, link, copy.link_len);
	if (xattrs)
		memcpy(p + path_len + copy.link_len, xattrs, copy.xattrs_len);
	r = read_all(size);
	free(index_);
	return r;
}

#define ENTRY(...) (&(struct layer_entry){ __VA_ARGS__ })
#define EXPECT(r, path, link, xattrs, ...)                                 \
	cr_expect_eq(one(ENTRY(__VA_ARGS__), path, strlen(path), link,     \
			 xattrs), r, "%s", path)
#define GOOD(path, link, ...) EXPECT(1, path, link, NULL, __VA_ARGS__)
#define BAD(path, link, ...)  EXPECT(-EBADMSG, path, link, NULL, __VA_ARGS__)

Test(layer, numbers_that_no_entry_has)
{
	GOOD("f", NULL, .type = LAYER_FILE, .size = DATA_SIZE);
	GOOD("f", NULL, .type = LAYER_FILE, .mode = 07777);
	BAD("f", NULL, .type = 0);
	BAD("f", NULL, .type = LAYER_TYPES);
	BAD("f", NULL, .type = LAYER_FILE, .mode = 010000);
	BAD("f", NULL, .type = LAYER_FILE, .mtime_ns = 1000000000);
	BAD("f", NULL, .type = LAYER_FILE, .major = 1);
	BAD("f", NULL, .type = LAYER_FILE, .data = LAYER_BLOCK);
	BAD("f", NULL, .type = LAYER_FILE, .size = DATA_SIZE + 1);
	BAD("f", NULL, .type = LAYER_FILE, .size = UINT64_MAX);
	BAD("f", NULL, .type = LAYER_FILE, .size = 1, .data = 1);
	BAD("f", NULL, .type = LAYER_FILE, .size = 1, .data = DATA_SIZE);
	BAD("f", NULL, .type = LAYER_FILE, .size = 4097,
	    .data = DATA_SIZE - LAYER_BLOCK);
	BAD("f", NULL, .type = LAYER_FILE, .size = 1,
	    .data = -(uint64_t)LAYER_BLOCK);
	BAD("d", NULL, .type = LAYER_DIR, .size = 1);
	BAD("w", NULL, .type = LAYER_WHITEOUT, .mode = 1);
	BAD("w", NULL, .type = LAYER_OPAQUE, .uid = 1);
	BAD("w", NULL, .type = LAYER_WHITEOUT, .mtime_s = 1);
}

Test(layer, paths_that_lead_astray)
{
	static const char *const bad[] = { "/", "/a", "a/", "a//b", ".", "..",
					   "a/.", "a/..", "./a", "../a",
					   "a/../b", "a/./b" };
	static const char *const good[] = { "...", "..a", "a/...", "\xff/\n" };
	char name[5000];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		BAD(bad[i], NULL, .type = LAYER_DIR);
		BAD("h", bad[i], .type = LAYER_HARDLINK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		GOOD(good[i], NULL, .type = LAYER_DIR);
		GOOD("h", good[i], .type = LAYER_HARDLINK);
	}
	cr_expect_eq(one(ENTRY(.type = LAYER_DIR), "a\0b", 3, NULL, NULL),
		     -EBADMSG);
	memset(name, 'n', sizeof(name));
	cr_expect_eq(one(ENTRY(.type = LAYER_DIR), name, 255, NULL, NULL), 1);
	cr_expect_eq(one(ENTRY(.type = LAYER_DIR), name, 256, NULL, NULL),
		     -EBADMSG);
	for (size_t i = 255; i < sizeof(name); i += 256)
		name[i] = '/';
	cr_expect_eq(one(ENTRY(.type = LAYER_DIR), name, 4095, NULL, NULL), 1);
	cr_expect_eq(one(ENTRY(.type = LAYER_DIR), name, 4097, NULL, NULL),
		     -EBADMSG);
	GOOD("", NULL, .type = LAYER_DIR);
	GOOD("", NULL, .type = LAYER_OPAQUE);
	BAD("", NULL, .type = LAYER_FILE);
	BAD("", NULL, .type = LAYER_WHITEOUT);
	BAD("h", NULL, .type = LAYER_HARDLINK);
	BAD("l", NULL, .type = LAYER_SYMLINK);
	BAD("f", "x", .type = LAYER_FILE);
}

#define XATTRS(r, bytes)                                                   \
	EXPECT(r, "f", NULL, bytes, .type = LAYER_FILE,                    \
	       .xattrs_len = sizeof(bytes) - 1)

Test(layer, xattrs_that_are_none)
{
	XATTRS(1, "\6\0\1\0user.a1");
	XATTRS(1, "\6\0\0\0user.a" "\7\0\0\0user.aa" "\6\0\0\0user.b");
	XATTRS(-EBADMSG, "\6\0\0\0user.b" "\6\0\0\0user.a");
	XATTRS(-EBADMSG, "\6\0\0\0user.a" "\6\0\0\0user.a");
	XATTRS(-EBADMSG, "\7\0\0\0user.aa" "\6\0\0\0user.a");
	XATTRS(-EBADMSG, "\0\0\1\0v");
	XATTRS(-EBADMSG, "\6\0\0\0user\0a");
	XATTRS(-EBADMSG, "\6\0\2\0user.a1");
	XATTRS(-EBADMSG, "\6\0\1\0user.a1\6");
	XATTRS(-EBADMSG, "\377\377\377\377");
	EXPECT(-EBADMSG, "w", NULL, "\6\0\0\0user.a", .type = LAYER_WHITEOUT,
	       .xattrs_len = 10);
}

Test(layer, heads_that_promise_too_much, .init = build)
{
	struct layer_head good, h;

	memcpy(&good, index_, sizeof(good));
	for (int i = 0; i < 6; i++) {
		h = good;
		if (i == 0)
			h.magic[7]++;
		else if (i == 1)
			h.size++;
		else if (i == 2)
			h.entries++;
		else if (i == 3)
			h.entries = LAYER_ENTRIES_MAX + 1;
		else if (i == 4)
			h.data_size = LAYER_DATA_MAX + LAYER_BLOCK;
		else
			h.data_size++;
		memcpy(index_, &h, sizeof(h));
		cr_expect_eq(read_all(size), -EBADMSG, "%d", i);
	}
}

/* Much more than its buffer. */
Test(layer, large_indexes_are_written_in_pieces)
{
	int fd = memfd_create("index", MFD_CLOEXEC);
	struct layer_writer w;
	const unsigned n = 100000;

	cr_assert_eq(layer_write_begin(&w, fd, NULL), 0);
	for (unsigned i = 0; i < n; i++) {
		char path[32];

		snprintf(path, sizeof(path), "dir/%u", i);
		add(&w, (struct layer_entry){ .type = LAYER_FILE, .uid = i },
		    path, NULL, NULL);
	}
	cr_assert_eq(layer_write_end(&w, 0, NULL), 0);
	size = w.head.size;
	cr_assert_eq((size_t)lseek(fd, 0, SEEK_END), size);
	index_ = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	cr_expect_eq(read_all(size), (int)n);
	layer_write_free(&w);
	close(fd);
}
