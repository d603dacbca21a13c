/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of images: the few kinds of entries that they have. */
#include "rootfs/unarchive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/untar.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

struct work {
	struct unarchive *u;
	struct tar tar;
	char path[LAYER_PATH_MAX + 1];
};

/* Take what is in the way of a name, unless that is a directory. */
static int clear(int dir, const char *name)
{
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Directory @name of @dir, made where it is missing; @dir is closed. */
static int enter(struct work *w, int dir, const char *name)
{
	int fd, r = 0;

	if (mkdirat(dir, name, 0700) == 0)
		w->u->files++;
	else if (errno != EEXIST)
		r = -errno;
	fd = r < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY |
				 O_NOFOLLOW | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = -errno;
	if (dir != w->u->dir)
		close(dir);
	return r < 0 ? r : fd;
}

/* The directory of the last component of w->path, which *@name is then. */
static int walk(struct work *w, const char **name)
{
	int dir = w->u->dir, depth = 0;
	char *p = w->path, *slash;

	while ((slash = strchr(p, '/')) != NULL) {
		if (++depth >= UNARCHIVE_DEPTH_MAX) {
			if (dir != w->u->dir)
				close(dir);
			return -ENAMETOOLONG;
		}
		*slash = '\0';
		dir = enter(w, dir, p);
		*slash = '/';
		if (dir < 0)
			return dir;
		p = slash + 1;
	}
	*name = p;
	return dir;
}

static int write_file(struct work *w, int dir, const char *name,
		      struct err *err)
{
	_cleanup_fd_ int fd = -1;
	uint64_t offset, at = 0;
	const uint8_t *p;
	ssize_t n;
	int r;

	if (w->tar.e.size > w->u->data_max - w->u->bytes)
		return err_say(err, -EFBIG, "larger than what is left of %llu "
			       "bytes", (unsigned long long)w->u->data_max);
	r = clear(dir, name);
	if (r == 0)
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL |
			    O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, r < 0 ? r : -errno, "make it");
	while ((n = tar_data(&w->tar, &p, &offset, err)) > 0) {
		/* Nobody has a reason to make sparse files of blobs. */
		if (offset != at)
			return err_say(err, -EBADMSG, "it has holes");
		r = io_write_all(fd, p, (size_t)n);
		if (r < 0)
			return err_set(err, r, "write it");
		at += (size_t)n;
	}
	if (n == 0 && at != w->tar.e.size)
		return err_say(err, -EBADMSG, "it has holes");
	w->u->bytes += at;
	return (int)n;
}

/* Where it leads is for who reads the directory, and follows nothing out of
 * it; a link that means to is refused here. */
static int make_link(struct work *w, int dir, const char *name,
		     struct err *err)
{
	const struct tar_name *to = &w->tar.e.link;
	const char *p = to->text;
	int depth = 0, r;

	for (const char *s = w->path; (s = strchr(s, '/')) != NULL; s++)
		depth++;
	for (; depth >= 0 && *p; p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !memcmp(p, "..", 2))
			depth--;
		else if (n != 1 || *p != '.')
			depth++;
		p += n;
	}
	if (!to->len || to->len > LAYER_LINK_MAX || to->text[0] == '/' ||
	    depth < 0)
		return err_say(err, -EBADMSG, "a link that leads out");
	r = clear(dir, name);
	if (r == 0 && symlinkat(to->text, dir, name) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "make it") : 0;
}

static int entry(struct work *w, struct err *err)
{
	const struct tar_entry *e = &w->tar.e;
	int r = untar_path(&e->path, w->path, err), dir;
	const char *name = NULL;

	if (r < 0)
		return r;
	w->path[r] = '\0';
	if (r == 0 && e->type == LAYER_DIR)
		return 0;
	/* A directory's is behind its last slash. */
	if (e->type == LAYER_DIR && r < (int)LAYER_PATH_MAX)
		strcpy(w->path + r, "/");
	dir = walk(w, &name);
	if (dir < 0)
		return err_set(err, dir, "%.200s", w->path);
	if (e->type == LAYER_FILE)
		r = write_file(w, dir, name, err);
	else if (e->type == LAYER_SYMLINK)
		r = make_link(w, dir, name, err);
	else if (e->type != LAYER_DIR)
		r = err_say(err, -EBADMSG, "nothing that images are made of");
	else
		r = 0;
	if (dir != w->u->dir)
		close(dir);
	if (e->type != LAYER_DIR)
		w->u->files++;
	if (r >= 0 && w->u->files > w->u->files_max)
		r = err_say(err, -EFBIG, "more than %llu files",
			    (unsigned long long)w->u->files_max);
	if (r < 0)
		err_wrap(err, "%.200s", w->path);
	return MIN(r, 0);
}

int unarchive(struct unarchive *u, struct err *err)
{
	struct work *w = calloc(1, sizeof(*w));
	const uint8_t *p;
	ssize_t n;
	int r;

	if (!w)
		return err_set(err, -ENOMEM, "an archive");
	w->u = u;
	r = tar_init(&w->tar, u->source, u->opaque, err);
	while (r == 0) {
		r = tar_next(&w->tar, err);
		if (r <= 0)
			break;
		r = entry(w, err);
	}
	/* Who feeds it is not to find that nobody reads. */
	while (r == 0 && (n = u->source(u->opaque, &p, err)) != 0)
		r = n < 0 ? (int)n : 0;
	tar_free(&w->tar);
	free(w);
	return r;
}
