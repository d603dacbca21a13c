/* SPDX-License-Identifier: Apache-2.0 */
/* Images and layers on their way into the store. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/store_dir.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

struct store_stage {
	struct store *s;
	int dir, lock;
	unsigned parts, moved;
	char name[STORE_RANDOM_MAX];
	char path[PATH_MAX + 32];
};

/* --- stages ----------------------------------------------------------- */

static int make_stage(struct store_stage *st)
{
	struct store *s = st->s;
	int r = store_random(st->name);

	if (r < 0)
		return r;
	if (mkdirat(s->tmp, st->name, 0700) < 0)
		return -errno;
	st->dir = store_open_dir(s->tmp, st->name);
	if (st->dir < 0)
		return st->dir;
	st->lock = openat(st->dir, STORE_LOCK,
			  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	if (st->lock < 0 || flock(st->lock, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	snprintf(st->path, sizeof(st->path), "%s/tmp/%s", s->path, st->name);
	return 0;
}

int store_begin_stage(struct store *s, struct store_stage **out,
		      struct err *err)
{
	struct store_stage *st = calloc(1, sizeof(*st));
	const int alone = s->held == STORE_NONE;
	int r;

	*out = NULL;
	if (!st)
		return store_failed(err, -ENOMEM, "staging");
	st->s = s;
	st->dir = st->lock = -1;
	/* Who prunes must not see one without its lock. */
	r = alone ? store_lock(s, STORE_SHARED, err) : 0;
	if (r == 0) {
		r = make_stage(st);
		if (r < 0)
			store_failed(err, r, "staging");
		if (alone)
			store_unlock(s);
	}
	if (r < 0) {
		store_end_stage(st);
		return r;
	}
	*out = st;
	return 0;
}

void store_end_stage(struct store_stage *st)
{
	if (!st)
		return;
	if (*st->name)
		store_remove_tree(st->s->tmp, st->name, NULL);
	close_fd(&st->dir);
	close_fd(&st->lock);
	free(st);
}

int store_stage_dir(const struct store_stage *st)
{
	return st->dir;
}

const char *store_stage_path(const struct store_stage *st)
{
	return st->path;
}

uint64_t store_stage_usage(const struct store_stage *st, const char *name)
{
	return store_usage(st->dir, name);
}

/* --- parts ------------------------------------------------------------ */

int store_begin_part(struct store_stage *st, struct store_part *p,
		     struct err *err)
{
	*p = (struct store_part){ .stage = st, .dir = -1 };
	snprintf(p->name, sizeof(p->name), "part-%u", st->parts++);
	if (mkdirat(st->dir, p->name, 0700) < 0)
		return store_failed(err, -errno, "staging");
	p->dir = store_open_dir(st->dir, p->name);
	return p->dir < 0 ? store_failed(err, p->dir, "staging") : 0;
}

int store_part_file(const struct store_part *p, const char *name,
		    struct err *err)
{
	int fd = openat(p->dir, name,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);

	return fd < 0 ? store_failed(err, -errno, "make %s", name) : fd;
}

void store_drop_part(struct store_part *p)
{
	if (p->dir < 0)
		return;
	close_fd(&p->dir);
	store_remove_tree(p->stage->dir, p->name, NULL);
}

/* --- commit ----------------------------------------------------------- */

/* 0 what @what is to be is there, and good; -ENOENT, -EBADMSG: not. */
typedef int (*is_good_fn)(const struct store_part *p, const void *what);

static int layer_is_good(const struct store_part *p, const void *what)
{
	const struct image_layer *layer = what;
	struct store_layer l;
	int r = store_open_layer(p->stage->s, layer->digest, &l, NULL);

	if (r == 0) {
		close(l.data);
		close(l.index);
	}
	return r;
}

static int image_is_good(const struct store_part *p, const void *what)
{
	return store_is_same(p->stage->s, p, what);
}

/*
 * Move the part to @name in @dir. What stands there and is good stays, and
 * ours is dropped; what is damaged goes to the stage, and with it.
 */
static int place(struct store_part *p, int dir, const char *name,
		 is_good_fn is_good, const void *what)
{
	struct store_stage *st = p->stage;
	char old[24];
	int r;

	for (;;) {
		if (renameat(st->dir, p->name, dir, name) == 0) {
			close_fd(&p->dir);
			break;
		}
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			return -errno;
		r = is_good(p, what);
		if (r == 0)
			break;
		if (r != -EBADMSG && r != -ENOENT)
			return r;
		snprintf(old, sizeof(old), "old-%u", st->moved++);
		if (renameat(dir, name, st->dir, old) < 0 && errno != ENOENT)
			return -errno;
	}
	store_drop_part(p);
	return fsync(dir) < 0 ? -errno : 0;
}

/* @name in the part has @size bytes, and they are on the disk. */
static int settle(const struct store_part *p, const char *name, uint64_t size)
{
	uint64_t got;
	int r = store_sync_file(p->dir, name, &got);

	return r == 0 && got != size ? -EBADMSG : r;
}

/* The record beside its files, and all of their names on the disk. */
static int seal(const struct store_part *p, const char *name, char *text)
{
	int r = text ? store_write_file(p->dir, name, text) : -ENOMEM;

	free(text);
	if (r == 0 && fsync(p->dir) < 0)
		r = -errno;
	return r;
}

int store_commit_layer(struct store_part *p, const struct image_layer *l,
		       struct err *err)
{
	struct store *s = p->stage->s;
	int r;

	assert(s->held != STORE_NONE && image_is_hex(l->digest));
	r = settle(p, STORE_DATA, l->data_size);
	if (r == 0)
		r = settle(p, STORE_INDEX, l->index_size);
	if (r == 0)
		r = seal(p, STORE_LAYER, image_format_layer(l));
	if (r == 0)
		r = place(p, s->layers, l->digest, layer_is_good, l);
	store_drop_part(p);
	return r < 0 ? store_failed(err, r, "layer %.12s", l->digest) : 0;
}

/* Every layer of the image is there, as the image knows it. */
static int check_layers(const struct store *s, const struct image *img,
			struct err *err)
{
	for (unsigned i = 0; i < img->nlayers; i++) {
		const struct image_layer *l = img->layers + i;
		struct store_layer got;
		int r = store_open_layer(s, l->digest, &got, err);

		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0) {
			close(got.data);
			close(got.index);
		}
		if (r < 0 || got.info.data_size != l->data_size)
			return err_say(err, -ENOENT,
				       "image store: layer %.12s: not there",
				       l->digest);
	}
	return 0;
}

int store_prepare_name(struct store_stage *st, unsigned n, const char *id)
{
	char file[24], line[IMAGE_HEX_MAX + 1];

	snprintf(file, sizeof(file), "name-%u", n);
	snprintf(line, sizeof(line), "%.64s\n", id);
	return store_write_file(st->dir, file, line);
}

int store_publish_name(struct store_stage *st, unsigned n, const char *as)
{
	char file[24];

	snprintf(file, sizeof(file), "name-%u", n);
	return renameat(st->dir, file, st->s->names, as) < 0 ? -errno : 0;
}

/* One after the other, with nothing between that takes its time: who is
 * killed leaves all of it or, as a rule, nothing. */
static int publish(struct store_part *p, const struct image *img,
		   char (*names)[REFERENCE_FILE_MAX], size_t n)
{
	struct store_stage *st = p->stage;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = store_prepare_name(st, (unsigned)i, img->id);
	if (r == 0)
		r = place(p, st->s->images, img->id, image_is_good, img);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = store_publish_name(st, (unsigned)i, names[i]);
	if (r == 0 && n && fsync(st->s->names) < 0)
		r = -errno;
	return r;
}

/* The record as text that the caller frees. One that could not be read again
 * would be a damaged image. */
static int write_record(const struct image *img, char **text, struct err *err)
{
	struct image again;
	int r;

	*text = image_format(img);
	if (!*text)
		return store_failed(err, -ENOMEM, "image %.12s", img->id);
	r = image_read(&again, *text, strlen(*text), err);
	if (r < 0)
		return r;
	image_free(&again);
	return 0;
}

static int is_another(const char *id, struct err *err)
{
	err_say(err, -EEXIST, "image %.12s is there, from other layers and with "
		"other files: one of the two is not what its config says", id);
	return err_hint(err, "if that one is not to be trusted: mayfly image rm "
			     "%.12s", id);
}

static int commit_image(struct store_part *p, const struct image *img,
			const struct reference *names, size_t n,
			struct err *err)
{
	_cleanup_free_ char (*files)[REFERENCE_FILE_MAX] =
		calloc(n + 1, sizeof(*files));
	_cleanup_free_ char *text = NULL;
	int r = files ? 0 : store_failed(err, -ENOMEM, "names");

	for (size_t i = 0; r == 0 && i < n; i++)
		r = reference_encode(names + i, files[i], err);
	if (r == 0)
		r = check_layers(p->stage->s, img, err);
	if (r == 0)
		r = write_record(img, &text, err);
	if (r < 0)
		return r;
	r = settle(p, STORE_ROOT, img->root_size);
	if (r == 0)
		r = seal(p, STORE_RECORD, steal_ptr(&text));
	if (r == 0)
		r = publish(p, img, files, n);
	if (r == -EEXIST)
		return is_another(img->id, err);
	return r < 0 ? store_failed(err, r, "image %.12s", img->id) : 0;
}

int store_commit_image(struct store_part *p, const struct image *img,
		       const struct reference *names, size_t nnames,
		       struct err *err)
{
	int r;

	assert(p->stage->s->held != STORE_NONE && image_is_hex(img->id));
	r = commit_image(p, img, names, nnames, err);
	store_drop_part(p);
	return r;
}
