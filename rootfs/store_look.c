/* SPDX-License-Identifier: Apache-2.0 */
/* Images and layers of the store, opened. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/store_dir.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* What an id is to people. */
#define SHORT "%.12s"

/* Words for an image that was found, and is not what it should be. */
static int damaged(const char *id, const char *what, struct err *err)
{
	err_say(err, -EBADMSG, "image " SHORT " is damaged: %s", id, what);
	err_hint(err, "mayfly image rm " SHORT ", then pull or import it again",
		 id);
	return -EBADMSG;
}

/* Is this an answer about the file, not about the system? */
static int is_damage(int code)
{
	return code == -EBADMSG || code == -ENOENT || code == -ENOTDIR ||
	       code == -ELOOP;
}

static int read_record(int dir, const char *id, struct image *img,
		       struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct err why = { 0 };
	size_t len;
	int r = store_read_file(dir, STORE_RECORD, IMAGE_TEXT_MAX, &text, &len);

	if (is_damage(r))
		return damaged(id, r == -ENOENT ? STORE_RECORD " is missing" :
						  STORE_RECORD " is no file "
							       "of ours", err);
	if (r < 0)
		return store_failed(err, r, "image " SHORT, id);
	r = image_read(img, text, len, &why);
	if (r == -EBADMSG)
		return damaged(id, why.msg, err);
	if (r < 0)
		return store_failed(err, r, "image " SHORT, id);
	if (strcmp(img->id, id)) {
		image_free(img);
		return damaged(id, STORE_RECORD " is of another", err);
	}
	return 0;
}

static int open_image(const struct store *s, const char *id, struct image *img,
		      struct err *err)
{
	int dir = image_is_hex(id) ? store_open_dir(s->images, id) : -ENOENT;
	int r;

	*img = (struct image){ .id = "" };
	if (dir == -ENOENT)
		return err_say(err, -ENOENT, "image %.64s: not there", id);
	if (is_damage(dir))
		return damaged(id, "no directory", err);
	if (dir < 0)
		return store_failed(err, dir, "image " SHORT, id);
	r = read_record(dir, id, img, err);
	if (r < 0) {
		close(dir);
		return r;
	}
	return dir;
}

int store_read_image(const struct store *s, const char *id, struct image *img,
		     struct err *err)
{
	int dir;

	assert(s->held != STORE_NONE);
	dir = open_image(s, id, img, err);
	if (dir < 0)
		return dir;
	close(dir);
	return 0;
}

/* --- the disk --------------------------------------------------------- */

static int add_file(struct store_files *files, int dir, const char *name,
		    uint64_t size)
{
	uint64_t got;
	int fd = store_open_file(dir, name, &got);

	if (fd < 0)
		return fd;
	if (got != size) {
		close(fd);
		return -EBADMSG;
	}
	if (size)
		files->fds[files->n++] = fd;
	else
		close(fd);
	return 0;
}

static int add_layer(const struct store *s, struct store_files *files,
		     const struct image_layer *l)
{
	_cleanup_fd_ int dir = store_open_dir(s->layers, l->digest);

	return dir < 0 ? dir : add_file(files, dir, STORE_DATA, l->data_size);
}

static int add_layers(const struct store *s, struct store_files *files,
		      const struct image *img, struct err *err)
{
	char words[60];

	for (unsigned i = 0; i < img->nlayers; i++) {
		const int r = add_layer(s, files, img->layers + i);

		if (is_damage(r)) {
			snprintf(words, sizeof(words), "layer " SHORT " is %s",
				 img->layers[i].digest,
				 r == -ENOENT ? "missing" :
						"not the one it had");
			return damaged(img->id, words, err);
		}
		if (r < 0)
			return store_failed(err, r, "layer " SHORT,
					    img->layers[i].digest);
	}
	return 0;
}

int store_open_image(const struct store *s, const char *id, struct image *img,
		     struct store_files *files, struct err *err)
{
	_cleanup_fd_ int dir = -1;
	int r;

	assert(s->held != STORE_NONE);
	files->n = 0;
	dir = open_image(s, id, img, err);
	if (dir < 0)
		return dir;
	r = add_file(files, dir, STORE_ROOT, img->root_size);
	if (is_damage(r))
		r = damaged(id, r == -ENOENT ? STORE_ROOT " is missing" :
					       STORE_ROOT " has another size",
			    err);
	else if (r < 0)
		store_failed(err, r, "image " SHORT, id);
	else
		r = add_layers(s, files, img, err);
	if (r < 0) {
		store_close_files(files);
		image_free(img);
	}
	return r;
}

void store_close_files(struct store_files *files)
{
	while (files->n)
		close(files->fds[--files->n]);
}

/* --- layers ----------------------------------------------------------- */

static int layer_damaged(const char *digest, struct err *err)
{
	err_say(err, -EBADMSG, "layer " SHORT " is damaged", digest);
	err_hint(err, "pull or import its image again");
	return -EBADMSG;
}

static int read_layer(int dir, const char *digest, struct store_layer *l)
{
	_cleanup_free_ char *text = NULL;
	uint64_t data, index;
	size_t len;
	int r = store_read_file(dir, STORE_LAYER, IMAGE_TEXT_MAX, &text, &len);

	if (r == 0)
		r = image_read_layer(&l->info, text, len, NULL);
	if (r == 0 && strcmp(l->info.digest, digest))
		r = -EBADMSG;
	if (r < 0)
		return r;
	l->data = store_open_file(dir, STORE_DATA, &data);
	if (l->data < 0)
		return l->data;
	l->index = store_open_file(dir, STORE_INDEX, &index);
	if (l->index < 0)
		return l->index;
	return data == l->info.data_size && index == l->info.index_size ?
		       0 :
		       -EBADMSG;
}

int store_open_layer(const struct store *s, const char *digest,
		     struct store_layer *l, struct err *err)
{
	_cleanup_fd_ int dir = -1;
	int r;

	assert(s->held != STORE_NONE);
	l->data = l->index = -1;
	dir = image_is_hex(digest) ? store_open_dir(s->layers, digest) :
				     -ENOENT;
	if (dir == -ENOENT)
		return -ENOENT;
	r = dir < 0 ? dir : read_layer(dir, digest, l);
	if (r == 0)
		return 0;
	close_fd(&l->data);
	close_fd(&l->index);
	if (is_damage(r))
		return layer_damaged(digest, err);
	return store_failed(err, r, "layer " SHORT, digest);
}
