/* SPDX-License-Identifier: Apache-2.0 */
/* What there is of an image before its layers are read. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rootfs/oci.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/feed.h"
#include "runner/image_parts.h"

#define TAGS_MAX 64 /* of one image in an archive; more are not looked at */

/* A regular file below the layout; links may lead about in it, not out. */
static int open_below(const struct importing *im, const char *path,
		      uint64_t *size, struct err *err)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK |
					 O_NOCTTY,
				.resolve = RESOLVE_BENEATH |
					   RESOLVE_NO_MAGICLINKS };
	_cleanup_fd_ int fd = (int)syscall(SYS_openat2, im->dir, path, &how,
					   sizeof(how));
	struct stat st;

	if (fd < 0 && errno == EXDEV)
		return err_say(err, -EBADMSG, "%s: leads out of the image",
			       path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_say(err, -EBADMSG, "%s: not a regular file", path);
	*size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

/* The whole of a JSON document; the caller frees it. */
static int read_document(const struct importing *im, const char *path,
			 char **text, size_t *len, struct err *err)
{
	_cleanup_free_ char *buf = NULL;
	_cleanup_fd_ int fd = -1;
	uint64_t size = 0;
	ssize_t n;

	fd = open_below(im, path, &size, err);
	if (fd < 0)
		return fd;
	if (size > IMAGE_TEXT_MAX)
		return err_say(err, -EBADMSG, "%s: %" PRIu64 " bytes are more "
			       "than a document of an image has", path, size);
	buf = malloc((size_t)size + 1);
	if (!buf)
		return err_set(err, -ENOMEM, "%s", path);
	n = io_read_full(fd, buf, (size_t)size);
	if (n < 0)
		return err_set(err, (int)n, "read %s", path);
	buf[n] = '\0';
	*len = (size_t)n;
	*text = steal_ptr(&buf);
	return 0;
}

static void digest_of(char hex[IMAGE_HEX_MAX], const void *data, size_t len)
{
	uint8_t sum[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, len, data);
	sha256_digest(&sha, sizeof(sum), sum);
	feed_hex(hex, sum);
}

static void blob_path(char path[96], const struct oci_blob *b)
{
	snprintf(path, 96, "blobs/sha256/%s", b->digest);
}

/* A document that a descriptor names: it is what it was said to be. */
static int read_blob(const struct importing *im, const struct oci_blob *b,
		     char **text, size_t *len, struct err *err)
{
	_cleanup_free_ char *buf = NULL;
	char path[96], is[IMAGE_HEX_MAX];
	int r;

	blob_path(path, b);
	r = read_document(im, path, &buf, len, err);
	if (r < 0)
		return r;
	if (*len != b->size)
		return err_say(err, -EBADMSG, "%s: it has %zu bytes, and "
			       "should have %" PRIu64, path, *len, b->size);
	digest_of(is, buf, *len);
	if (strcmp(is, b->digest))
		return err_say(err, -EBADMSG, "%s: damaged: its digest is "
			       "sha256:%s", path, is);
	*text = steal_ptr(&buf);
	return 0;
}

static int add_name(struct importing *im, const struct reference *name,
		    struct err *err)
{
	char file[REFERENCE_FILE_MAX];
	struct reference *v;
	/* Before there is work that a name too long would waste. */
	int r = reference_encode(name, file, err);

	if (r < 0)
		return r;
	v = realloc(im->names, (im->nnames + 1) * sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "names");
	im->names = v;
	v[im->nnames++] = *name;
	return 0;
}

/* A config that was read and found whole: the image but for its layers. */
static int take_config(struct importing *im, const char *text, size_t len,
		       const char *id, unsigned nlayers, struct err *err)
{
	int r = oci_read_config(&im->img, text, len, nlayers, err);

	if (r < 0)
		return r;
	snprintf(im->img.id, sizeof(im->img.id), "%s", id);
	im->blob = calloc(nlayers + 1, sizeof(*im->blob));
	if (!im->blob)
		return err_set(err, -ENOMEM, "layers");
	for (unsigned i = 0; i <= nlayers; i++)
		im->blob[i].fd = -1;
	return 0;
}

/* --- layouts ----------------------------------------------------------- */

static int find_manifest(struct importing *im, struct oci_manifest *m,
			 struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct oci_choice c;
	struct reference name;
	size_t len;
	int r;

	r = read_document(im, "index.json", &text, &len, err);
	if (r == 0)
		r = oci_read_index(&c, text, len, im->o->source->want, err);
	if (r < 0)
		return r;
	/* Some write the full name there, others no more than a tag. */
	if (!im->o->name && strchr(c.name, '/') &&
	    reference_parse(&name, c.name, NULL) == 0)
		r = add_name(im, &name, err);
	for (int i = 0; r == 0; i++) {
		free(steal_ptr(&text));
		r = read_blob(im, &c.blob, &text, &len, err);
		if (r < 0 || c.kind == OCI_MANIFEST)
			break;
		if (i == OCI_NEST_MAX)
			return err_say(err, -EBADMSG, "more than %d indexes, "
				       "one in the other", OCI_NEST_MAX);
		r = oci_read_index(&c, text, len, NULL, err);
	}
	return r < 0 ? r : oci_read_manifest(m, text, len, err);
}

static int read_layout(struct importing *im, struct err *err)
{
	_cleanup_free_ struct oci_manifest *m = calloc(1, sizeof(*m));
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!m)
		return err_set(err, -ENOMEM, "manifest");
	r = find_manifest(im, m, err);
	if (r == 0)
		r = read_blob(im, &m->config, &text, &len, err);
	if (r == 0)
		r = take_config(im, text, len, m->config.digest, m->nlayers,
				err);
	for (unsigned i = 0; r == 0 && i < m->nlayers; i++) {
		struct image_blob *b = &im->blob[i];
		char path[96];
		uint64_t size;

		blob_path(path, &m->layers[i]);
		memcpy(b->digest, m->layers[i].digest, sizeof(b->digest));
		b->size = m->layers[i].size;
		b->fd = open_below(im, path, &size, err);
		if (b->fd < 0)
			return b->fd;
		if (size != b->size)
			return err_say(err, -EBADMSG, "%s: it has %" PRIu64
				       " bytes, and should have %" PRIu64,
				       path, size, b->size);
	}
	return r;
}

/* --- docker save -------------------------------------------------------- */

static int take_saved(struct importing *im, const struct oci_saved *s,
		      struct err *err)
{
	_cleanup_free_ char *text = NULL;
	char id[IMAGE_HEX_MAX];
	unsigned n = 0;
	size_t len;
	int r;

	while (s->layers[n])
		n++;
	r = read_document(im, s->config, &text, &len, err);
	if (r < 0)
		return r;
	digest_of(id, text, len);
	r = take_config(im, text, len, id, n, err);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		im->blob[i].fd = open_below(im, s->layers[i],
					    &im->blob[i].size, err);
		if (im->blob[i].fd < 0)
			return im->blob[i].fd;
	}
	for (int i = 0; r == 0 && s->tags[i] && i < TAGS_MAX && !im->o->name;
	     i++) {
		struct reference name;

		if (reference_parse(&name, s->tags[i], NULL) == 0)
			r = add_name(im, &name, err);
	}
	return r;
}

static int read_saved(struct importing *im, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct oci_saved s = { 0 };
	size_t len;
	int r;

	r = read_document(im, "manifest.json", &text, &len, err);
	if (r == 0)
		r = oci_read_saved(&s, text, len, im->o->source->want, err);
	if (r < 0)
		return r;
	r = take_saved(im, &s, err);
	oci_free_saved(&s);
	return r;
}

/* --- files --------------------------------------------------------------- */

/* Opened without waiting for who writes into it: feed_step() waits for that,
 * and for signals. */
static int open_file(const struct image_source *s, int flags, struct err *err)
{
	int fd = strcmp(s->path, "-")
			 ? open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
					     O_NOCTTY | flags)
			 : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return err_set(err, -errno, "open %s", s->path);
	if (!flags && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return err_set(err, -EISDIR, "%s", s->path);
	}
	return fd;
}

static uint64_t file_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0
		       ? (uint64_t)st.st_size
		       : 0;
}

/* Into the stage; .dir is where. */
static int unpack_archive(struct importing *im, struct err *err)
{
	_cleanup_fd_ int fd = open_file(im->o->source, 0, err);
	char max[24];
	struct unpacker_task t = { .args = { "archive", max }, .fed = 1,
				   .fd = &im->dir, .nfds = 1 };
	struct unpack_archive result;
	struct feed f;
	int r;

	if (fd < 0)
		return fd;
	if (mkdirat(store_stage_dir(im->stage), "archive", 0700) < 0)
		return err_set(err, -errno, "make a directory");
	im->dir = openat(store_stage_dir(im->stage), "archive",
			 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->dir < 0)
		return err_set(err, -errno, "open a directory");
	snprintf(max, sizeof(max), "%" PRIu64, im->o->max_size);
	r = feed_start(&f, &t, fd, err);
	if (r == 0)
		r = image_run(im, &f, "unpacking the archive", file_size(fd),
			      err);
	if (r == 0)
		r = feed_end(&f, &result, sizeof(result), NULL, err);
	feed_free(&f);
	return r;
}

/* One layer, without a word on what is in it. */
static int take_tree(struct importing *im, int fd, struct err *err)
{
	im->blob = calloc(1, sizeof(*im->blob));
	im->img.layers = calloc(1, sizeof(*im->img.layers));
	if (!im->blob || !im->img.layers) {
		close_fd(&fd);
		return err_set(err, -ENOMEM, "layers");
	}
	im->img.nlayers = 1;
	im->blob[0].fd = fd;
	if (fd >= 0)
		im->blob[0].size = file_size(fd);
	return 0;
}

int image_open_source(struct importing *im, struct err *err)
{
	const struct image_source *s = im->o->source;
	int r = 0, fd;

	if (im->o->name)
		r = add_name(im, im->o->name, err);
	if (r < 0)
		return r;
	switch (s->kind) {
	case IMAGE_OCI:
	case IMAGE_DIR:
		im->dir = open_file(s, O_DIRECTORY, err);
		r = MIN(im->dir, 0);
		break;
	case IMAGE_OCI_ARCHIVE:
	case IMAGE_DOCKER_ARCHIVE:
		r = unpack_archive(im, err);
		break;
	case IMAGE_TAR:
		fd = open_file(s, 0, err);
		return fd < 0 ? fd : take_tree(im, fd, err);
	}
	if (r < 0)
		return r;
	if (s->kind == IMAGE_DIR)
		return take_tree(im, -1, err);
	return s->kind == IMAGE_DOCKER_ARCHIVE ? read_saved(im, err)
					       : read_layout(im, err);
}
