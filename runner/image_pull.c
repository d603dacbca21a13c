/* SPDX-License-Identifier: Apache-2.0 */
/* An image from a registry into the store. */
#include "runner/image_pull.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/reference.h"
#include "rootfs/store.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/image_import.h"
#include "runner/interrupt.h"
#include "runner/progress.h"
#include "runner/skopeo.h"

#define LAYOUT	  "layout"
#define BLOBS	  "layout/blobs/sha256"
#define TRIES_MAX 3
/* Of blobs, besides what files take of them: headers, documents. */
#define OVERHEAD  (64ull << 20)

struct pulling {
	const struct image_pull *p;
	struct reference ref;
	struct store *store;
	struct store_stage *stage;
	struct interrupt stop;
	struct progress progress;
	struct image_source source;
	struct image_import import;
	char from[REFERENCE_MAX]; /* the source, for words */
	char (*had)[IMAGE_HEX_MAX]; /* layers that were not to be fetched */
	size_t nhad;
};

/*
 * skopeo fetches no blob that the layout has a file for, and goes by its name.
 * So a layer of the store is a file of the right size without a byte in it: the
 * import does not read it either.
 */
static int stand_in(struct pulling *l, const struct image_layer *layer)
{
	char path[sizeof(BLOBS) + IMAGE_HEX_MAX];
	_cleanup_fd_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", BLOBS, layer->digest);
	fd = openat(store_stage_dir(l->stage), path,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (ftruncate(fd, (off_t)layer->blob_size) < 0)
		return -errno;
	memcpy(l->had[l->nhad++], layer->digest, IMAGE_HEX_MAX);
	return 0;
}

/* What stands in for a layer that went away meanwhile has to go as well. */
static int drop_missing(struct pulling *l, struct err *err)
{
	int missing = 0;

	for (size_t i = 0; i < l->nhad; i++) {
		char path[sizeof(BLOBS) + IMAGE_HEX_MAX];
		struct store_layer layer;

		if (store_open_layer(l->store, l->had[i], &layer, err) == 0) {
			close(layer.data);
			close(layer.index);
			continue;
		}
		missing++;
		snprintf(path, sizeof(path), "%s/%s", BLOBS, l->had[i]);
		unlinkat(store_stage_dir(l->stage), path, 0);
	}
	if (missing && err)
		*err = (struct err){ 0 };
	return missing;
}

static int make_layout(struct pulling *l, struct err *err)
{
	static const char *const dirs[] = { LAYOUT, "layout/blobs", BLOBS };
	struct store_list list;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(store_stage_dir(l->stage), dirs[i], 0700) < 0)
			return err_set(err, -errno, "make a directory");
	r = store_lock(l->store, STORE_SHARED, err);
	if (r == 0)
		r = store_list(l->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.n; i++)
		n += list.items[i].img.nlayers;
	l->had = calloc(n + 1, sizeof(*l->had));
	for (size_t i = 0; l->had && r == 0 && i < list.n; i++)
		for (unsigned k = 0; r == 0 && k < list.items[i].img.nlayers;
		     k++)
			r = stand_in(l, &list.items[i].img.layers[k]);
	store_free_list(&list);
	store_unlock(l->store);
	if (!l->had)
		r = -ENOMEM;
	return r < 0 ? err_set(err, r, "prepare to fetch") : 0;
}

/* A registry may say one size of a blob and send another, without an end. */
static int check_size(void *opaque, struct err *err)
{
	const struct pulling *l = opaque;
	uint64_t max = l->p->max_size;

	if (store_stage_usage(l->stage, LAYOUT) +
		    store_stage_usage(l->stage, BLOBS) <= max + OVERHEAD)
		return 0;
	err_say(err, -EFBIG, "%s: larger than %" PRIu64 " bytes, and there is "
		"more", l->p->ref, max);
	return err_hint(err, "--max-size SIZE takes a larger one");
}

/* With the lock held in the end: what was not fetched stays in the store. */
static int fetch(struct pulling *l, const char *dir, struct err *err)
{
	char to[PATH_MAX + 16];
	struct skopeo_copy c = { .from = &l->ref, .to = to,
				 .insecure = l->p->insecure,
				 .loud = l->progress.on,
				 .check = check_size, .opaque = l };

	snprintf(to, sizeof(to), "oci:%s:latest", dir);
	for (int i = 0; i < TRIES_MAX; i++) {
		int r;

		progress_clear(&l->progress); /* skopeo has its own */
		r = skopeo_copy(&c, &l->stop, err);
		if (r == 0)
			r = store_lock(l->store, STORE_SHARED, err);
		if (r < 0)
			return r;
		if (!drop_missing(l, err))
			return 0;
		store_unlock(l->store);
	}
	return err_say(err, -EAGAIN, "%s: its layers are removed while it is "
		       "pulled", l->p->ref);
}

/* skopeo takes what is behind the first colon for a tag, and would write to
 * what is before it, wherever that is. */
static int name_layout(const struct pulling *l, char path[PATH_MAX],
		       struct err *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", store_stage_path(l->stage),
		     LAYOUT) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%s",
			       store_stage_path(l->stage));
	if (!strchr(path, ':'))
		return 0;
	err_say(err, -EINVAL, "image store %s: skopeo takes no path with a "
		"colon", store_path(l->store));
	return err_hint(err, "name another place: MAYFLY_DATA_DIR=/path");
}

/* Before anything is fetched: what the store cannot keep under this name. */
static int check_name(const struct reference *ref, struct err *err)
{
	char file[REFERENCE_FILE_MAX];

	if (reference_encode(ref, file, err) == 0)
		return 0;
	return err_hint(err, "skopeo copy docker://... oci:DIR, and mayfly "
			     "image import --name NAME oci:DIR");
}

static int pull(struct pulling *l, char id[IMAGE_HEX_MAX], struct err *err)
{
	struct image_source *source = &l->source;
	int r = store_open(&l->store, 1, err);

	if (r == 0)
		r = interrupt_open(&l->stop, err);
	if (r < 0)
		return r;
	l->import.store = l->store;
	image_on_wait(&l->import);
	r = store_begin_stage(l->store, &l->stage, err);
	if (r == 0)
		r = make_layout(l, err);
	if (r < 0)
		return r;
	r = name_layout(l, source->path, err);
	if (r == 0)
		r = fetch(l, source->path, err);
	return r < 0 ? r : image_import(&l->import, id, err);
}

int image_pull(const struct image_pull *p, char id[IMAGE_HEX_MAX],
	       struct err *err)
{
	struct pulling l = { .p = p, .stop = INTERRUPT_NONE };
	int r = reference_parse(&l.ref, p->ref, err);

	if (r == 0)
		r = check_name(&l.ref, err);
	if (r < 0)
		return r;
	progress_init(&l.progress, p->quiet);
	reference_skopeo(&l.ref, l.from);
	l.source = (struct image_source){ .kind = IMAGE_OCI, .text = l.from };
	l.import = (struct image_import){ .source = &l.source, .name = &l.ref,
					  .max_size = p->max_size,
					  .stop = &l.stop,
					  .progress = &l.progress };
	r = pull(&l, id, err);
	progress_clear(&l.progress);
	store_end_stage(l.stage);
	store_free(l.store);
	interrupt_close(&l.stop);
	free(l.had);
	if (r == -EINTR && l.stop.signal) {
		if (err)
			*err = (struct err){ 0 };
		return 128 + l.stop.signal;
	}
	return r;
}
