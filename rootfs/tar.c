/* SPDX-License-Identifier: Apache-2.0 */
/* Tars, by libarchive. */
#include "rootfs/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <iconv.h>
#include <langinfo.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

static ssize_t feed(struct archive *a, void *opaque, const void **p)
{
	struct tar *t = opaque;
	const uint8_t *block = NULL;
	ssize_t n = t->failed ?: t->source(t->opaque, &block, t->err);

	*p = block;
	if (n >= 0)
		return n;
	t->failed = (int)n;
	archive_set_error(a, (int)-n, "read");
	return -1;
}

void tar_load(void)
{
	iconv_t c = iconv_open(nl_langinfo(CODESET), "UTF-8");

	if (c != (iconv_t)-1)
		iconv_close(c);
}

int tar_init(struct tar *t, tar_source_fn source, void *opaque,
	     struct err *err)
{
	memset(t, 0, sizeof(*t));
	t->source = source;
	t->opaque = opaque;
	t->archive = archive_read_new();
	if (!t->archive ||
	    archive_read_support_format_tar(t->archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(t->archive) != ARCHIVE_OK)
		return err_set(err, -ENOMEM, "a reader of tars");
	return 0;
}

void tar_free(struct tar *t)
{
	archive_read_free(t->archive);
	t->archive = NULL;
}

/* --- what went wrong ---------------------------------------------------- */

static int damaged(struct tar *t, const char *name, struct err *err)
{
	const char *words = archive_error_string(t->archive);

	if (t->failed)
		return t->failed; /* the source has said why */
	if (archive_errno(t->archive) == ENOMEM)
		return err_say(err, -ENOMEM, "no memory to read the tar");
	if (!words)
		words = "the tar is damaged";
	if (!name)
		return err_say(err, -EBADMSG, "%s", words);
	return err_say(err, -EBADMSG, "%.200s: %s", name, words);
}

static int bad(const struct tar *t, const char *what, struct err *err)
{
	return err_say(err, -EBADMSG, "%.200s has %s", t->e.path.text, what);
}

/* It has left a name as it was, which is what we want. */
static int is_about_names(struct archive *a)
{
	const char *words = archive_error_string(a);

	return words && strstr(words, "can't be converted from UTF-8");
}

/* --- entries ------------------------------------------------------------ */

static struct tar_name name_of(const char *text)
{
	return (struct tar_name){ text ? strlen(text) : 0, text ? text : "" };
}

static int u32(int64_t v, uint32_t *to)
{
	*to = (uint32_t)v;
	return v == (int64_t)(uint32_t)v;
}

static int take_numbers(struct tar *t, struct archive_entry *a,
			struct err *err)
{
	struct tar_entry *e = &t->e;
	int is_device = e->type == LAYER_CHAR || e->type == LAYER_BLOCKDEV;

	e->mode = archive_entry_mode(a) & 07777;
	e->mtime_s = archive_entry_mtime(a);
	e->mtime_ns = (uint32_t)archive_entry_mtime_nsec(a);
	if (e->mtime_ns >= 1000000000u)
		e->mtime_ns = 0;
	e->major = e->minor = 0;
	if (!u32(archive_entry_uid(a), &e->uid) ||
	    !u32(archive_entry_gid(a), &e->gid))
		return bad(t, "an owner that is none", err);
	if (is_device &&
	    (!u32((int64_t)archive_entry_rdevmajor(a), &e->major) ||
	     !u32((int64_t)archive_entry_rdevminor(a), &e->minor)))
		return bad(t, "a device number that is none", err);
	return 0;
}

static int take_xattrs(struct tar *t, struct archive_entry *a, struct err *err)
{
	const char *name;
	const void *value;
	size_t len;
	int r = 0;

	t->e.xattrs_len = 0;
	archive_entry_xattr_reset(a);
	while (r == 0 && archive_entry_xattr_next(a, &name, &value, &len) ==
				 ARCHIVE_OK)
		r = name ? tar_add_xattr(&t->e, name, value, len) : 0;
	return r < 0 ? bad(t, "too large xattrs", err) : 0;
}

static int type_of(struct archive_entry *a)
{
	if (archive_entry_hardlink(a))
		return LAYER_HARDLINK;
	switch (archive_entry_filetype(a)) {
	case S_IFREG:
		return LAYER_FILE;
	case S_IFLNK:
		return LAYER_SYMLINK;
	case S_IFDIR:
		return LAYER_DIR;
	case S_IFCHR:
		return LAYER_CHAR;
	case S_IFBLK:
		return LAYER_BLOCKDEV;
	case S_IFIFO:
		return LAYER_FIFO;
	default:
		return 0;
	}
}

static int take(struct tar *t, struct archive_entry *a, struct err *err)
{
	struct tar_entry *e = &t->e;
	int type = type_of(a), r;

	e->path = name_of(archive_entry_pathname(a));
	e->link = name_of(type == LAYER_HARDLINK ? archive_entry_hardlink(a) :
			  type == LAYER_SYMLINK	 ? archive_entry_symlink(a) :
						   NULL);
	if (!type)
		return bad(t, "a type that is not known", err);
	e->type = (enum layer_type)type;
	e->size = 0;
	if (type == LAYER_FILE) {
		int64_t size = archive_entry_size(a);

		if (size < 0 || !archive_entry_size_is_set(a))
			return bad(t, "no size", err);
		e->size = (uint64_t)size;
	}
	t->at = 0;
	r = take_numbers(t, a, err);
	return r < 0 ? r : take_xattrs(t, a, err);
}

int tar_next(struct tar *t, struct err *err)
{
	struct archive_entry *a;
	int r;

	t->err = err;
	r = t->opened ? ARCHIVE_OK :
			archive_read_open(t->archive, t, NULL, feed, NULL);
	t->opened = 1;
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(t->archive, &a);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r == ARCHIVE_WARN && !is_about_names(t->archive))
		return damaged(t, archive_entry_pathname(a), err);
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return damaged(t, NULL, err);
	r = take(t, a, err);
	return r < 0 ? r : 1;
}

ssize_t tar_data(struct tar *t, const uint8_t **p, uint64_t *offset,
		 struct err *err)
{
	const void *block;
	la_int64_t at;
	size_t n;
	int r;

	t->err = err;
	do {
		r = archive_read_data_block(t->archive, &block, &n, &at);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return damaged(t, t->e.path.text, err);
	} while (!n);
	if (at < 0 || (uint64_t)at < t->at || (uint64_t)at > t->e.size ||
	    n > t->e.size - (uint64_t)at)
		return bad(t, "data where none can be", err);
	t->at = (uint64_t)at + n;
	*p = block;
	*offset = (uint64_t)at;
	return (ssize_t)n;
}
