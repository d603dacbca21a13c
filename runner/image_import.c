/* SPDX-License-Identifier: Apache-2.0 */
/* An image from files of the host into the store. */
#include "runner/image_import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/oci.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/feed.h"
#include "runner/format.h"
#include "runner/image_parts.h"
#include "runner/interrupt.h"
#include "runner/progress.h"

#define TICK_MS 100

int image_run(struct importing *im, struct feed *f, const char *what,
	      uint64_t total, struct err *err)
{
	int r = 0;

	progress_restart(im->o->progress);
	while (r == 0 && !feed_is_over(f)) {
		r = feed_step(&f, 1, im->o->stop, TICK_MS);
		progress_show(im->o->progress, what, f->bytes, total);
	}
	return r < 0 ? err_set(err, r, "%s", what) : 0;
}

/* What `tar:` and `dir:` have no config for. */
static int describe(struct importing *im, struct err *err)
{
	struct image_layer layer = im->img.layers[0];
	_cleanup_free_ char *config = image_bare_config(layer.diff_id);
	struct sha256_ctx sha;
	uint8_t sum[SHA256_DIGEST_SIZE];
	int r;

	if (!config)
		return err_set(err, -ENOMEM, "config");
	image_free(&im->img);
	im->img = (struct image){ 0 };
	r = oci_read_config(&im->img, config, strlen(config), 1, err);
	if (r < 0)
		return r;
	im->img.layers[0] = layer;
	sha256_init(&sha);
	sha256_update(&sha, strlen(config), (const uint8_t *)config);
	sha256_digest(&sha, sizeof(sum), sum);
	feed_hex(im->img.id, sum);
	return 0;
}

static int waits(void *opaque)
{
	const struct image_import *o = opaque;

	progress_show(o->progress, "waiting for a removal to end", 0, 0);
	return interrupt_came(o->stop) ? -EINTR : 0;
}

void image_on_wait(const struct image_import *o)
{
	store_on_wait(o->store, waits, (void *)o);
}

int image_hold(struct importing *im, struct err *err)
{
	return store_lock(im->o->store, STORE_SHARED, err);
}

static int run_merge(struct importing *im, const int *fd, unsigned nfds,
		     struct unpack_root *got, struct err *err)
{
	char n[12];
	struct unpacker_task t = { .args = { "root", n }, .fd = fd,
				   .nfds = nfds };
	struct feed f;
	int r;

	snprintf(n, sizeof(n), "%u", nfds - 1);
	r = feed_start(&f, &t, -1, err);
	if (r == 0)
		r = image_run(im, &f, "putting the layers together", 0, err);
	if (r == 0)
		r = feed_end(&f, got, sizeof(*got), NULL, err);
	feed_free(&f);
	return r;
}

/* @fd[0] is the image's file. */
static int merge_into(struct importing *im, int *fd, struct err *err)
{
	struct unpack_root got = { 0 };
	struct stat st;
	unsigned n = 1;
	int r = 0;

	for (; r == 0 && n <= im->img.nlayers; n++) {
		struct store_layer l;

		r = store_open_layer(im->o->store,
				     im->img.layers[n - 1].digest, &l, err);
		if (r == -ENOENT)
			err_say(err, r, "layer %u is gone", n);
		if (r == 0) {
			close(l.data);
			fd[n] = l.index;
		}
	}
	if (r == 0)
		r = run_merge(im, fd, n, &got, err);
	if (r == 0 && fstat(fd[0], &st) < 0)
		r = err_set(err, -errno, "stat");
	if (r == 0 && (uint64_t)st.st_size != got.size)
		r = err_say(err, -EIO, "mayfly-unpack says %llu bytes, and has "
			    "written %lld", (unsigned long long)got.size,
			    (long long)st.st_size);
	if (r == 0)
		im->img.root_size = got.size;
	return r;
}

static int make_root(struct importing *im, struct err *err)
{
	struct store_part part = STORE_PART_NONE;
	int fd[1 + IMAGE_LAYERS_MAX], r;

	memset(fd, -1, sizeof(fd));
	r = image_hold(im, err);
	if (r == 0)
		r = store_begin_part(im->stage, &part, err);
	if (r == 0)
		r = fd[0] = store_part_file(&part, "root.erofs", err);
	if (r >= 0)
		r = merge_into(im, fd, err);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		close_fd(&fd[i]);
	im->img.imported = format_now();
	if (r == 0)
		r = store_commit_image(&part, &im->img, im->names, im->nnames,
				       err);
	store_drop_part(&part);
	return r;
}

/* The name of the source, for `inspect`: anything may be in a path. */
static char *printable(const char *text)
{
	char *s = format_utf8(text, strlen(text));

	if (s)
		control_hide(s);
	return s;
}

static int import(struct importing *im, struct err *err)
{
	int r = image_open_source(im, err);

	if (r == 0)
		r = image_unpack_layers(im, err);
	if (r == 0 && !*im->img.id)
		r = describe(im, err);
	if (r < 0)
		return r;
	im->img.source = printable(im->o->source->text);
	return make_root(im, err);
}

static void release(struct importing *im)
{
	for (unsigned i = 0; im->blob && i < im->img.nlayers; i++)
		close_fd(&im->blob[i].fd);
	free(im->blob);
	free(im->names);
	image_free(&im->img);
	close_fd(&im->dir);
	store_end_stage(im->stage);
}

/* The unpacker's own words are all that there is of its errno. */
static void advise(const struct image_import *o, struct err *err)
{
	if (strstr(err->msg, strerror(ENOSPC)) ||
	    strstr(err->msg, strerror(EDQUOT)))
		err_hint(err, "make room (mayfly image prune), or name another "
			      "place: MAYFLY_DATA_DIR=/path");
	err_wrap(err, "%s", o->source->text);
}

int image_import(const struct image_import *o, char id[IMAGE_HEX_MAX],
		 struct err *err)
{
	struct importing im = { .o = o, .dir = -1 };
	int r;

	image_on_wait(o);
	r = store_begin_stage(o->store, &im.stage, err);
	if (r == 0)
		r = import(&im, err);
	store_unlock(o->store);
	if (r == 0)
		memcpy(id, im.img.id, IMAGE_HEX_MAX);
	release(&im);
	progress_clear(o->progress);
	if (interrupt_came(o->stop) && r < 0)
		return -EINTR;
	if (r < 0 && err)
		advise(o, err);
	return r;
}
