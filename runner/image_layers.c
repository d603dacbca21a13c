/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of an import that the store has not. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/layer.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/feed.h"
#include "runner/image_parts.h"
#include "runner/progress.h"

#define TICK_MS 100

/* One layer on its way. */
struct job {
	unsigned which; /* layer */
	struct feed layer;
	struct feed tar; /* of `dir:`: what feeds the other */
	struct store_part part;
	int data, index, stream;
	char data_max[24], entries_max[24];
};

struct unpacking {
	struct importing *im;
	struct job *job[FEED_MAX];
	unsigned next;	   /* layer to look at */
	uint64_t used;	   /* bytes of files so far */
	uint64_t names;	   /* of indexes */
	uint64_t done;	   /* bytes of blobs whose jobs are over */
	uint64_t total;	   /* bytes of blobs to be read; 0: not known */
	unsigned todo, at; /* how many of them, and the last begun */
};

static void drop(struct job **j)
{
	if (!*j)
		return;
	feed_free(&(*j)->layer);
	feed_free(&(*j)->tar);
	store_drop_part(&(*j)->part);
	close_fd(&(*j)->data);
	close_fd(&(*j)->index);
	close_fd(&(*j)->stream);
	free(steal_ptr(j));
}

/* 1 if the store has layer @n, and what is known of it is filled in. */
static int is_there(struct importing *im, unsigned n, struct err *err)
{
	struct image_layer *l = &im->img.layers[n];
	const struct image_blob *b = &im->blob[n];
	/* A tar that is not compressed is named by its own digest: what an
	 * archive of Docker's says of layers is all that there is. */
	const char *digest = *b->digest ? b->digest : l->diff_id;
	struct store_layer have;
	int r;

	if (!*digest)
		return 0;
	r = image_hold(im, err);
	if (r < 0)
		return r;
	r = store_open_layer(im->o->store, digest, &have, err);
	if (r == -ENOENT || r == -EBADMSG) {
		/* What is damaged is made anew. */
		if (err)
			*err = (struct err){ 0 };
		return 0;
	}
	if (r < 0)
		return r;
	close(have.data);
	close(have.index);
	if (strcmp(have.info.diff_id, l->diff_id))
		return err_say(err, -EBADMSG, "the config says that its tar "
			       "has the digest sha256:%s; it is sha256:%s",
			       l->diff_id, have.info.diff_id);
	*l = have.info;
	return 1;
}

static int prepare(struct unpacking *u, struct job *j, struct err *err)
{
	struct importing *im = u->im;
	int r = store_begin_part(im->stage, &j->part, err);

	if (r == 0)
		r = j->data = store_part_file(&j->part, "data", err);
	if (r >= 0)
		r = j->index = store_part_file(&j->part, "index", err);
	if (r < 0)
		return r;
	snprintf(j->data_max, sizeof(j->data_max), "%" PRIu64,
		 MIN(im->o->max_size - u->used, LAYER_DATA_MAX));
	snprintf(j->entries_max, sizeof(j->entries_max), "%u",
		 LAYER_ENTRIES_MAX);
	return 0;
}

static int begin(struct unpacking *u, struct job **slot, unsigned n,
		 struct err *err)
{
	struct importing *im = u->im;
	struct job *j = *slot = calloc(1, sizeof(*j));
	int source = im->blob[n].fd, fd[2], r;
	struct unpacker_task tar = { .args = { "tar" }, .fd = &im->dir,
				     .nfds = 1 };
	struct unpacker_task layer = { .fed = 1, .fd = fd, .nfds = 2 };

	if (!j)
		return err_set(err, -ENOMEM, "unpack");
	j->which = n;
	j->part.dir = j->data = j->index = j->stream = -1;
	feed_init(&j->layer);
	feed_init(&j->tar);
	r = prepare(u, j, err);
	if (r == 0 && source < 0) {
		r = feed_start(&j->tar, &tar, -1, err);
		source = j->stream = steal_fd(&j->tar.u.out);
	}
	if (r < 0)
		return r;
	fd[0] = j->data;
	fd[1] = j->index;
	layer.args[0] = "layer";
	layer.args[1] = j->data_max;
	layer.args[2] = j->entries_max;
	r = feed_start(&j->layer, &layer, source, err);
	/* Not a stream that may have no end. */
	j->layer.whole = *im->blob[n].digest != '\0';
	u->at++;
	return r;
}

/* What came of it is what it was said to be. */
static int check(struct importing *im, const struct job *j, const char *digest,
		 const struct unpack_layer *got, struct err *err)
{
	static const uint8_t none[sizeof(got->diff_id)];
	struct image_layer *l = &im->img.layers[j->which];
	char diff_id[IMAGE_HEX_MAX];
	struct stat data, index;

	if (memcmp(got->diff_id, none, sizeof(none)))
		feed_hex(diff_id, got->diff_id);
	else
		memcpy(diff_id, digest, sizeof(diff_id));
	if (*l->diff_id && strcmp(l->diff_id, diff_id))
		return err_say(err, -EBADMSG, "the config says that its tar "
			       "has the digest sha256:%s; it is sha256:%s",
			       l->diff_id, diff_id);
	if (fstat(j->data, &data) < 0 || fstat(j->index, &index) < 0)
		return err_set(err, -errno, "stat");
	/* What the store and the disk of a VM would stumble over later. */
	if (got->data_size % LAYER_BLOCK || got->entries > LAYER_ENTRIES_MAX)
		return err_say(err, -EIO, "mayfly-unpack gives impossible "
			       "sizes");
	if ((uint64_t)data.st_size != got->data_size)
		return err_say(err, -EIO, "mayfly-unpack says %" PRIu64
			       " bytes, and has written %lld", got->data_size,
			       (long long)data.st_size);
	memcpy(l->diff_id, diff_id, sizeof(diff_id));
	memcpy(l->digest, digest, sizeof(l->digest));
	l->blob_size = j->layer.bytes;
	l->data_size = got->data_size;
	l->index_size = (uint64_t)index.st_size;
	l->entries = got->entries;
	return 0;
}

/* Indexes take room on the disk as well, and a blob of a megabyte makes one of
 * LAYER_INDEX_MAX: what cannot be merged is not to pile up. */
static int account(struct unpacking *u, const struct image_layer *l,
		   struct err *err)
{
	uint64_t max = u->im->o->max_size;

	u->used += l->data_size;
	u->names += l->index_size;
	if (u->names > LAYER_INDEXES_MAX)
		return err_say(err, -EFBIG, "there are too many files in the "
			       "image");
	if (u->used <= max)
		return 0;
	return err_say(err, -EFBIG, "the files of the image are larger than "
		       "%" PRIu64 " bytes", max);
}

static int finish(struct unpacking *u, struct job *j, struct err *err)
{
	struct importing *im = u->im;
	const char *wanted = im->blob[j->which].digest;
	char digest[IMAGE_HEX_MAX];
	struct unpack_layer got;
	int r = feed_end(&j->layer, &got, sizeof(got), digest, err);

	/* A layer that is not what the manifest names has one fault only. */
	if (*wanted && *digest && strcmp(wanted, digest))
		return err_say(err, -EBADMSG, "damaged: its digest is "
			       "sha256:%s, and should be sha256:%s", digest,
			       wanted);
	if (j->stream >= 0) {
		struct err why = { 0 };
		int other = feed_end(&j->tar, NULL, 0, NULL, &why);

		/* Who reads complains of an end too early as well. */
		if (other < 0) {
			if (err)
				*err = why;
			return other;
		}
	}
	if (r == 0)
		r = check(im, j, digest, &got, err);
	if (r < 0)
		return r;
	u->done += j->layer.bytes;
	r = account(u, &im->img.layers[j->which], err);
	if (r < 0)
		return r;
	progress_show(im->o->progress, "writing to the disk", 0, 0);
	r = image_hold(im, err);
	return r < 0 ? r
		     : store_commit_layer(&j->part, &im->img.layers[j->which],
					  err);
}

/* The layer whose digest is that of @n, and which comes before it; or @n. */
static unsigned same_as(const struct importing *im, unsigned n)
{
	for (unsigned i = 0; i < n && *im->blob[n].digest; i++)
		if (!strcmp(im->blob[i].digest, im->blob[n].digest))
			return i;
	return n;
}

/* Start what there is room for. */
static int start_some(struct unpacking *u, struct err *err)
{
	struct importing *im = u->im;

	for (unsigned i = 0; i < FEED_MAX; i++) {
		int r = 1;

		while (!u->job[i] && u->next < im->img.nlayers && r == 1) {
			unsigned n = u->next++;

			if (same_as(im, n) != n)
				continue;
			r = is_there(im, n, err);
			if (r == 1 && account(u, &im->img.layers[n], err) < 0)
				return -EFBIG;
			if (r == 0)
				r = begin(u, &u->job[i], n, err);
			if (r < 0)
				return err_wrap(err, "layer %u", n + 1);
		}
	}
	return 0;
}

static void show(struct unpacking *u)
{
	uint64_t bytes = u->done;
	char what[48];

	for (unsigned i = 0; i < FEED_MAX; i++)
		if (u->job[i])
			bytes += u->job[i]->layer.bytes;
	snprintf(what, sizeof(what), "unpacking layer %u of %u", u->at,
		 u->todo);
	progress_show(u->im->o->progress, what, bytes, u->total);
}

static int step(struct unpacking *u, struct err *err)
{
	struct feed *f[2 * FEED_MAX] = { NULL };
	int r;

	for (unsigned i = 0; i < FEED_MAX; i++) {
		if (!u->job[i])
			continue;
		f[i] = &u->job[i]->layer;
		if (u->job[i]->stream >= 0)
			f[FEED_MAX + i] = &u->job[i]->tar;
	}
	r = feed_step(f, ARRAY_SIZE(f), u->im->o->stop, TICK_MS);
	if (r < 0)
		return err_set(err, r, "unpack");
	show(u);
	for (unsigned i = 0; i < FEED_MAX; i++) {
		struct job *j = u->job[i];

		if (!j || !feed_is_over(&j->layer) ||
		    (j->stream >= 0 && !feed_is_over(&j->tar)))
			continue;
		r = finish(u, j, err);
		if (r < 0 && u->im->img.nlayers > 1)
			err_wrap(err, "layer %u", j->which + 1);
		if (r < 0)
			return r;
		drop(&u->job[i]);
	}
	return 0;
}

/* How much there is to do, for who watches. */
static void estimate(struct unpacking *u)
{
	struct importing *im = u->im;
	int known = 1;

	for (unsigned n = 0; n < im->img.nlayers; n++) {
		struct image_layer keep = im->img.layers[n];

		if (same_as(im, n) != n || is_there(im, n, NULL) == 1) {
			im->img.layers[n] = keep;
			continue;
		}
		u->todo++;
		u->total += im->blob[n].size;
		known &= im->blob[n].size != 0;
	}
	if (!known)
		u->total = 0;
}

/* Some layer is on its way, or has not been looked at. */
static int busy(const struct unpacking *u)
{
	if (u->next < u->im->img.nlayers)
		return 1;
	for (unsigned i = 0; i < FEED_MAX; i++)
		if (u->job[i])
			return 1;
	return 0;
}

int image_unpack_layers(struct importing *im, struct err *err)
{
	struct unpacking u = { .im = im };
	int r;

	estimate(&u);
	progress_restart(im->o->progress);
	do {
		r = start_some(&u, err);
		if (r == 0 && busy(&u))
			r = step(&u, err);
	} while (r == 0 && busy(&u));
	for (unsigned i = 0; i < FEED_MAX; i++)
		drop(&u.job[i]);
	for (unsigned n = 0; r == 0 && n < im->img.nlayers; n++) {
		unsigned same = same_as(im, n);

		if (same != n)
			im->img.layers[n] = im->img.layers[same];
	}
	return r;
}
