/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed tars, or plain ones. */
#include "rootfs/blob.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

/* As much as a pipe holds at most, by default: fs.pipe-max-size. */
#define BUFFER (1u << 20)
#define MAGIC_MAX 6

static const struct {
	const char *name;
	uint8_t magic[MAGIC_MAX];
	size_t len;
	int filter; /* libarchive's number */
	int (*support)(struct archive *a);
} table[] = {
	[UNPACK_GZIP] = { "gzip", { 0x1f, 0x8b }, 2, ARCHIVE_FILTER_GZIP,
			  archive_read_support_filter_gzip },
	[UNPACK_ZSTD] = { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4,
			  ARCHIVE_FILTER_ZSTD,
			  archive_read_support_filter_zstd },
	[UNPACK_XZ] = { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6,
			ARCHIVE_FILTER_XZ, archive_read_support_filter_xz },
	[UNPACK_BZIP2] = { "bzip2", { 'B', 'Z', 'h' }, 3,
			   ARCHIVE_FILTER_BZIP2,
			   archive_read_support_filter_bzip2 },
};

int blob_init(struct blob *b, int fd, uint64_t size_max, struct err *err)
{
	*b = (struct blob){ .fd = fd, .size_max = size_max };
	sha256_init(&b->sha);
	b->buf = malloc(BUFFER);
	/* Made now: what it loads, it loads before the process is locked. */
	b->archive = archive_read_new();
	if (!b->buf || !b->archive)
		return err_set(err, -ENOMEM, "a reader of tars");
	return 0;
}

void blob_free(struct blob *b)
{
	archive_read_free(b->archive);
	b->archive = NULL;
	free(b->buf);
	b->buf = NULL;
}

static ssize_t read_some(struct blob *b, size_t at)
{
	ssize_t n;

	do
		n = read(b->fd, b->buf + at, BUFFER - at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		b->read_error = errno;
	return n;
}

/* libarchive's: what it unpacks. */
static ssize_t feed(struct archive *a, void *opaque, const void **p)
{
	struct blob *b = opaque;
	ssize_t n = (ssize_t)b->have;

	*p = b->buf;
	b->have = 0;
	if (n)
		return n;
	n = read_some(b, 0);
	if (n < 0)
		archive_set_error(a, b->read_error, "read");
	return n;
}

static int broken(struct blob *b, struct err *err)
{
	const char *name = table[b->compression].name;
	const char *words = archive_error_string(b->archive);

	if (b->read_error)
		return err_set(err, -b->read_error, "read the tar");
	if (archive_errno(b->archive) == ENOMEM)
		return err_say(err, -ENOMEM, "no memory to unpack %s", name);
	return err_say(err, -EBADMSG, "the %s data is damaged: %s", name,
		       words ? words : "no more is known");
}

static int start_archive(struct blob *b, struct err *err)
{
	struct archive *a = b->archive;
	struct archive_entry *e;
	int i = b->compression;

	/* Not ARCHIVE_OK: it would have to run a program for that. */
	if (table[i].support(a) != ARCHIVE_OK)
		return err_say(err, -ENOTSUP,
			       "this libarchive was built without %s",
			       table[i].name);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, b, NULL, feed, NULL) != ARCHIVE_OK)
		return broken(b, err);
	i = archive_read_next_header(a, &e);
	if (i != ARCHIVE_OK && i != ARCHIVE_EOF)
		return broken(b, err);
	b->ended = i == ARCHIVE_EOF;
	/* Itself, and the one that says that there is no more. */
	if (archive_filter_count(a) != 2 ||
	    archive_filter_code(a, 0) != table[b->compression].filter)
		return err_say(err, -EBADMSG, "not a tar compressed once by %s",
			       table[b->compression].name);
	return 0;
}

static int start(struct blob *b, struct err *err)
{
	b->started = 1;
	while (b->have < MAGIC_MAX) {
		ssize_t n = read_some(b, b->have);

		if (n < 0)
			return err_set(err, -b->read_error, "read the tar");
		if (n == 0)
			break;
		b->have += (size_t)n;
	}
	for (size_t i = UNPACK_GZIP; i < ARRAY_SIZE(table); i++)
		if (b->have >= table[i].len &&
		    !memcmp(b->buf, table[i].magic, table[i].len)) {
			b->compression = (enum unpack_compression)i;
			return start_archive(b, err);
		}
	return 0;
}

static ssize_t next_unpacked(struct blob *b, const uint8_t **p,
			     struct err *err)
{
	const void *block;
	la_int64_t offset;
	size_t n;
	int r;

	do {
		r = b->ended ? ARCHIVE_EOF :
			       archive_read_data_block(b->archive, &block, &n,
						       &offset);
		b->ended = r == ARCHIVE_EOF;
		if (b->ended)
			return 0;
		if (r != ARCHIVE_OK)
			return broken(b, err);
	} while (!n);
	*p = block;
	sha256_update(&b->sha, n, block);
	return (ssize_t)n;
}

static ssize_t next_plain(struct blob *b, const uint8_t **p, struct err *err)
{
	ssize_t n = (ssize_t)b->have;

	if (!n)
		n = read_some(b, 0);
	b->have = 0;
	*p = b->buf;
	return n < 0 ? err_set(err, -b->read_error, "read the tar") : n;
}

ssize_t blob_next(void *blob, const uint8_t **p, struct err *err)
{
	struct blob *b = blob;
	ssize_t n;
	int r = b->started ? 0 : start(b, err);

	if (r < 0)
		return r;
	n = b->compression == UNPACK_PLAIN ? next_plain(b, p, err) :
					     next_unpacked(b, p, err);
	if (n <= 0)
		return n;
	b->size += (uint64_t)n;
	if (b->size > b->size_max)
		return err_say(err, -EFBIG, "the tar is larger than %llu MiB, "
			       "which is the limit",
			       (unsigned long long)b->size_max >> 20);
	return n;
}
