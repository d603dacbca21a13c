/* SPDX-License-Identifier: Apache-2.0 */
/* Images and layers on their way out of the store. */
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
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* What one walk over a directory of the store needs. */
struct walk {
	struct store *s;
	struct store_freed *freed;
	struct err *err;

	/* Names of @id. */
	const char *id;
	unsigned nnames;
	char names[ERR_MSG_MAX / 2]; /* all of them, cut */

	/* Layers that images have. */
	char (*used)[IMAGE_HEX_MAX];
	size_t nused;
	int unknown; /* an image does not say which */
};

/* Out of sight at once, then piece by piece: who is killed leaves litter, and
 * no image or layer with a piece missing. */
static int take_away(struct store *s, int dir, const char *name,
		     uint64_t *bytes)
{
	char fresh[STORE_RANDOM_MAX];

	if (store_random(fresh) == 0 && renameat(dir, name, s->tmp, fresh) == 0)
		return store_remove_tree(s->tmp, fresh, bytes);
	return store_remove_tree(dir, name, bytes);
}

/* --- names ------------------------------------------------------------ */

static int count_name(int dir, const char *file, void *opaque)
{
	struct walk *w = opaque;
	const size_t n = strlen(w->names);
	char id[IMAGE_HEX_MAX], name[REFERENCE_MAX];
	struct reference ref;
	int r = store_read_name(w->s, file, id);

	(void)dir;
	if (r == -ENOENT || r == -EBADMSG || (r == 0 && strcmp(id, w->id)))
		return 0;
	if (r < 0)
		return r;
	if (reference_decode(&ref, file) == 0)
		reference_short(&ref, name);
	else
		return 0;
	snprintf(w->names + n, sizeof(w->names) - n, "%s%s",
		 w->nnames++ ? ", " : "", name);
	return 0;
}

static int drop_name(int dir, const char *file, void *opaque)
{
	struct walk *w = opaque;
	char id[IMAGE_HEX_MAX];
	int r = store_read_name(w->s, file, id);

	if (r < 0 || strcmp(id, w->id))
		return r == -ENOENT || r == -EBADMSG ? 0 : MIN(r, 0);
	if (unlinkat(dir, file, 0) < 0)
		return -errno;
	w->freed->names++;
	return 0;
}

/* A name that no image has, or no name at all. */
static int prune_name(int dir, const char *file, void *opaque)
{
	struct walk *w = opaque;
	char id[IMAGE_HEX_MAX];
	struct reference ref;
	struct stat st;
	int r = store_read_name(w->s, file, id);

	if (r == 0 && reference_decode(&ref, file) == 0) {
		if (fstatat(w->s->images, id, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
	} else if (r < 0 && r != -EBADMSG) {
		return r == -ENOENT ? 0 : r;
	}
	r = store_remove_tree(dir, file, &w->freed->bytes);
	w->freed->names += r == 0;
	return r;
}

/* --- layers ----------------------------------------------------------- */

static int add_used(int dir, const char *id, void *opaque)
{
	struct walk *w = opaque;
	struct image img;
	void *p;
	int r;

	(void)dir;
	if (!image_is_hex(id))
		return 0;
	r = store_read_image(w->s, id, &img, w->err);
	if (r == -EBADMSG) {
		w->unknown = 1;
		return 0;
	}
	if (r < 0)
		return r;
	p = reallocarray(w->used, w->nused + img.nlayers, sizeof(*w->used));
	if (p) {
		w->used = p;
		for (unsigned i = 0; i < img.nlayers; i++)
			memcpy(w->used[w->nused++], img.layers[i].digest,
			       IMAGE_HEX_MAX);
	}
	image_free(&img);
	return p ? 0 : -ENOMEM;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, IMAGE_HEX_MAX);
}

static int prune_layer(int dir, const char *name, void *opaque)
{
	struct walk *w = opaque;
	int r;

	if (!image_is_hex(name) ||
	    (w->nused && bsearch(name, w->used, w->nused, sizeof(*w->used),
				 by_digest)))
		return 0;
	r = take_away(w->s, dir, name, &w->freed->bytes);
	w->freed->layers += r == 0;
	return r;
}

/* Layers that no image has. While an image does not tell which are its own,
 * all stay: another version of mayfly may know how to read it. */
static int collect(struct walk *w)
{
	int r = store_each(w->s->images, add_used, w);

	if (r == 0 && w->unknown) {
		log_info("image store: layers stay: an image is damaged");
	} else if (r == 0) {
		if (w->nused)
			qsort(w->used, w->nused, sizeof(*w->used), by_digest);
		r = store_each(w->s->layers, prune_layer, w);
	}
	free(w->used);
	w->used = NULL;
	return r;
}

/* --- rm --------------------------------------------------------------- */

static int remove_image(struct walk *w, const char *id)
{
	int r = take_away(w->s, w->s->images, id, &w->freed->bytes);

	if (r < 0)
		return r;
	w->freed->images++;
	return collect(w);
}

/* @file is there; what it says may be worth nothing. */
static int remove_name(struct walk *w, const char *file)
{
	char id[IMAGE_HEX_MAX];
	struct stat st;
	int r = store_read_name(w->s, file, id);

	if (r < 0 && r != -EBADMSG)
		return r;
	if (r < 0) {
		r = store_remove_tree(w->s->names, file, NULL);
		w->freed->names += r == 0;
		return r;
	}
	if (unlinkat(w->s->names, file, 0) < 0)
		return -errno;
	w->freed->names++;
	w->id = id;
	r = store_each(w->s->names, count_name, w);
	if (r == 0 && !w->nnames &&
	    fstatat(w->s->images, id, &st, AT_SYMLINK_NOFOLLOW) == 0)
		r = remove_image(w, id);
	w->id = NULL;
	return r;
}

static int remove_id(struct walk *w, const char *id, int all)
{
	int r;

	w->id = id;
	r = store_each(w->s->names, count_name, w);
	if (r == 0 && w->nnames > 1 && !all)
		return err_say(w->err, -EBUSY,
			       "image %.12s has several names: %s", id,
			       w->names);
	if (r == 0)
		r = store_each(w->s->names, drop_name, w);
	if (r == 0)
		r = remove_image(w, id);
	return r < 0 ? store_failed(w->err, r, "remove image %.12s", id) : 0;
}

int store_remove(struct store *s, const char *text, int all,
		 struct store_freed *freed, struct err *err)
{
	struct walk w = { .s = s, .freed = freed, .err = err };
	char file[REFERENCE_FILE_MAX], id[IMAGE_HEX_MAX];
	struct reference ref;
	struct stat st;
	int bad, r;

	assert(s->held == STORE_EXCLUSIVE);
	bad = reference_parse(&ref, text, err);
	if (!bad)
		bad = reference_encode(&ref, file, err);
	if (!bad && fstatat(s->names, file, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		r = remove_name(&w, file);
		return r < 0 ? store_failed(err, r, "remove %s", text) : 0;
	}
	r = store_find_id(s, text, id, bad ? NULL : err);
	if (r > 0)
		return remove_id(&w, id, all);
	if (bad || r < 0)
		return bad ? bad : r;
	err_say(err, -ENOENT, "image %s: not there", text);
	err_hint(err, "mayfly image ls lists what is");
	return -ENOENT;
}

/* --- prune ------------------------------------------------------------ */

static int prune_image(int dir, const char *id, void *opaque)
{
	struct walk *w = opaque;
	int r;

	if (!image_is_hex(id))
		return 0;
	w->id = id;
	w->nnames = 0;
	w->names[0] = '\0';
	r = store_each(w->s->names, count_name, w);
	w->id = NULL;
	if (r < 0 || w->nnames)
		return r;
	r = take_away(w->s, dir, id, &w->freed->bytes);
	w->freed->images += r == 0;
	return r;
}

static int prune_stage(int dir, const char *name, void *opaque)
{
	struct walk *w = opaque;
	_cleanup_fd_ int stage = store_open_dir(dir, name);
	_cleanup_fd_ int lock = -1;
	int r;

	if (stage >= 0)
		lock = openat(stage, STORE_LOCK,
			      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : -errno;
	r = store_remove_tree(dir, name, &w->freed->bytes);
	w->freed->stages += r == 0;
	/* A program that its dead maker had started still writes there. */
	return r == -ENOTEMPTY ? 0 : r;
}

int store_prune(struct store *s, struct store_freed *freed, struct err *err)
{
	struct walk w = { .s = s, .freed = freed };
	int r;

	assert(s->held == STORE_EXCLUSIVE);
	r = store_each(s->names, prune_name, &w);
	if (r == 0)
		r = store_each(s->images, prune_image, &w);
	if (r == 0)
		r = collect(&w);
	if (r == 0)
		r = store_each(s->tmp, prune_stage, &w);
	return r < 0 ? store_failed(err, r, "prune") : 0;
}
