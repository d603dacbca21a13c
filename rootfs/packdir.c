/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, walked and written by libarchive. */
#include "rootfs/packdir.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define BUFFER	  (1u << 18)
#define OUT_BLOCK (1 << 18)

struct work {
	struct packdir *p;
	struct archive *archive;
	struct archive_entry_linkresolver *links;
	dev_t dev; /* of all of it */
	unsigned depth;
	size_t len;
	char path[LAYER_PATH_MAX + 1];
	char target[LAYER_LINK_MAX + 1];
	char names[LAYER_XATTRS_MAX], value[LAYER_XATTRS_MAX];
	uint8_t buf[BUFFER];
};

static void free_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}

static int failed(struct work *w, const char *what, struct err *err)
{
	return err_set(err, -errno, "%s %.200s", what, w->len ? w->path : ".");
}

static int changed(struct work *w, struct err *err)
{
	return err_say(err, -EIO, "%.200s changed while it was read",
		       w->len ? w->path : ".");
}

static void leave_out(struct work *w)
{
	if (!w->p->left_out++)
		snprintf(w->p->first, sizeof(w->p->first), "%.255s", w->path);
}

static ssize_t put(struct archive *a, void *opaque, const void *p, size_t len)
{
	struct work *w = opaque;
	int r = io_write_all(w->p->out, p, len);

	if (r == 0)
		return (ssize_t)len;
	archive_set_error(a, -r, "%s", strerror(-r));
	return -1;
}

static int refused(struct work *w, struct err *err)
{
	const char *words = archive_error_string(w->archive);

	return err_say(err, -EIO, "write the tar, %.200s: %s",
		       w->len ? w->path : ".", words ? words : "no memory");
}

/* --- one entry ---------------------------------------------------------- */

/* Of a file or directory, for nothing else can be opened. */
static int take_xattrs(struct work *w, int fd, struct archive_entry *e,
		       struct err *err)
{
	ssize_t n = flistxattr(fd, w->names, sizeof(w->names));
	const char *name = w->names;

	if (n < 0 && errno != ENOTSUP)
		return failed(w, "list the xattrs of", err);
	for (; name < w->names + n; name += strlen(name) + 1) {
		ssize_t len = fgetxattr(fd, name, w->value, sizeof(w->value));

		/* Gone, or not ours to read. */
		if (len < 0 && (errno == ENODATA || errno == EPERM))
			continue;
		if (len < 0)
			return failed(w, "read the xattrs of", err);
		archive_entry_xattr_add_entry(e, name, w->value, (size_t)len);
	}
	return 0;
}

static void describe(struct work *w, struct archive_entry *e,
		     const struct stat *st)
{
	archive_entry_copy_pathname(e, w->len ? w->path : "./");
	archive_entry_set_mode(e, st->st_mode);
	archive_entry_set_uid(e, w->p->owners ? st->st_uid : 0);
	archive_entry_set_gid(e, w->p->owners ? st->st_gid : 0);
	archive_entry_set_mtime(e, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (S_ISREG(st->st_mode))
		archive_entry_set_size(e, st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		archive_entry_set_rdev(e, st->st_rdev);
	/* For the links between files, not for the tar. */
	archive_entry_set_dev(e, st->st_dev);
	archive_entry_set_ino64(e, (int64_t)st->st_ino);
	archive_entry_set_nlink(e, S_ISDIR(st->st_mode) ? 1 :
				   (unsigned)st->st_nlink);
}

static int copy(struct work *w, int fd, uint64_t size, struct err *err)
{
	while (size) {
		ssize_t n = read(fd, w->buf, MIN(sizeof(w->buf), size));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(w, "read", err);
		if (n == 0)
			return changed(w, err);
		if (archive_write_data(w->archive, w->buf, (size_t)n) != n)
			return refused(w, err);
		size -= (size_t)n;
	}
	/* Longer now? */
	return read(fd, w->buf, 1) == 0 ? 0 : changed(w, err);
}

/* What is known of it, and its bytes where it is a file that was not there
 * under another name. */
static int write_entry(struct work *w, struct archive_entry *e, int fd,
		       struct err *err)
{
	struct archive_entry *linked = e, *spare = NULL;
	int r;

	archive_entry_linkify(w->links, &linked, &spare);
	archive_entry_set_dev(e, 0);
	archive_entry_set_ino64(e, 0);
	archive_entry_set_nlink(e, 1);
	r = archive_write_header(w->archive, e);
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return refused(w, err);
	if (archive_entry_filetype(e) != S_IFREG || archive_entry_hardlink(e))
		return 0;
	return copy(w, fd, (uint64_t)archive_entry_size(e), err);
}

/* @name of @dir, which is @st, opened: -1 where there is nothing to open. */
static int open_it(struct work *w, int dir, const char *name,
		   const struct stat *st, int *fd, struct err *err)
{
	struct stat now;

	if (S_ISDIR(st->st_mode))
		*fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			     O_CLOEXEC);
	else if (S_ISREG(st->st_mode))
		*fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW |
			     O_NOCTTY | O_CLOEXEC);
	else
		return 0;
	if (*fd < 0)
		return failed(w, "open", err);
	if (fstatat(*fd, "", &now, AT_EMPTY_PATH) < 0)
		return failed(w, "stat", err);
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino ||
	    (now.st_mode & S_IFMT) != (st->st_mode & S_IFMT))
		return changed(w, err);
	return 0;
}

/* --- directories -------------------------------------------------------- */

struct names {
	char *text; /* each with a NUL */
	size_t len, room, n;
};

static int list(struct work *w, int fd, struct names *names, struct err *err)
{
	for (;;) {
		ssize_t n = getdents64(fd, w->buf, sizeof(w->buf));

		if (n == 0)
			return 0;
		if (n < 0)
			return failed(w, "list", err);
		for (ssize_t at = 0; at < n;) {
			struct dirent64 *d = (void *)(w->buf + at);
			size_t len = strlen(d->d_name) + 1;

			at += d->d_reclen;
			if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
				continue;
			if (names->room - names->len < len) {
				size_t room = names->room * 2 + BUFFER;
				char *p = realloc(names->text, room);

				if (!p)
					return failed(w, "list", err);
				names->text = p;
				names->room = room;
			}
			memcpy(names->text + names->len, d->d_name, len);
			names->len += len;
			names->n++;
		}
	}
}

/* Not qsort(): the C library's asks how much memory there is, by a call that
 * the filter does not have. @spare has room for half of them. */
static void sort(char **v, size_t n, char **spare)
{
	size_t half = n / 2, i = 0, k = half, at = 0;

	if (n < 2)
		return;
	sort(v, half, spare);
	sort(v + half, n - half, spare);
	memcpy(spare, v, half * sizeof(*v));
	while (i < half)
		v[at++] = k == n || strcmp(spare[i], v[k]) < 0 ? spare[i++] :
								 v[k++];
}

static int pack(struct work *w, int dir, const char *name, struct err *err);

static int pack_names(struct work *w, int fd, struct names *names,
		      struct err *err)
{
	_cleanup_free_ char **sorted = calloc(names->n + 1,
					      2 * sizeof(*sorted));
	size_t len = w->len;
	char *p = names->text;
	int r = 0;

	if (!sorted)
		return failed(w, "list", err);
	for (size_t i = 0; i < names->n; i++, p += strlen(p) + 1)
		sorted[i] = p;
	sort(sorted, names->n, sorted + names->n);
	for (size_t i = 0; r == 0 && i < names->n; i++) {
		size_t n = strlen(sorted[i]);

		if (len + !!len + n > LAYER_PATH_MAX)
			return err_say(err, -ENAMETOOLONG,
				       "%.200s... is too long a name", w->path);
		if (len)
			w->path[w->len++] = '/';
		memcpy(w->path + w->len, sorted[i], n + 1);
		w->len += n;
		r = pack(w, fd, sorted[i], err);
		w->len = r == 0 ? len : w->len;
		w->path[w->len] = '\0';
	}
	return r;
}

static int pack_dir(struct work *w, int fd, const struct stat *st,
		    struct err *err)
{
	struct names names = { 0 };
	int r;

	if (st->st_dev != w->dev) {
		leave_out(w);
		return 0;
	}
	if (++w->depth > PACKDIR_DEPTH_MAX)
		return err_say(err, -ELOOP, "%.200s... is too deep", w->path);
	r = list(w, fd, &names, err);
	if (r == 0)
		r = pack_names(w, fd, &names, err);
	free(names.text);
	w->depth--;
	return r;
}

static int pack(struct work *w, int dir, const char *name, struct err *err)
{
	_cleanup_(free_entry) struct archive_entry *e = NULL;
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(w, "stat", err);
	if (!w->len)
		w->dev = st.st_dev;
	if (S_ISSOCK(st.st_mode)) {
		leave_out(w);
		return 0;
	}
	r = open_it(w, dir, name, &st, &fd, err);
	if (r < 0)
		return r;
	e = archive_entry_new();
	if (!e)
		return failed(w, "read", err);
	describe(w, e, &st);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir, name, w->target,
				       sizeof(w->target) - 1);

		if (n < 0)
			return failed(w, "read", err);
		w->target[n] = '\0';
		archive_entry_copy_symlink(e, w->target);
	}
	r = fd >= 0 ? take_xattrs(w, fd, e, err) : 0;
	if (r == 0)
		r = write_entry(w, e, fd, err);
	if (r == 0 && S_ISDIR(st.st_mode))
		r = pack_dir(w, fd, &st, err);
	return r;
}

int packdir(struct packdir *p, struct err *err)
{
	struct work *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return err_set(err, -ENOMEM, "pack a directory");
	w->p = p;
	w->archive = archive_write_new();
	w->links = archive_entry_linkresolver_new();
	if (w->archive && w->links) {
		archive_entry_linkresolver_set_strategy(w->links,
							ARCHIVE_FORMAT_TAR);
		archive_write_set_format_pax(w->archive);
		archive_write_set_options(w->archive, "xattrheader=SCHILY");
		archive_write_set_bytes_per_block(w->archive, OUT_BLOCK);
		archive_write_set_bytes_in_last_block(w->archive, 512);
		r = archive_write_open(w->archive, w, NULL, put, NULL);
	}
	if (r != ARCHIVE_OK)
		r = err_say(err, -ENOMEM, "no memory to write a tar");
	else
		r = pack(w, p->dir, ".", err);
	if (r == 0 && archive_write_close(w->archive) != ARCHIVE_OK)
		r = refused(w, err);
	archive_write_free(w->archive);
	archive_entry_linkresolver_free(w->links);
	free(w);
	return r;
}
