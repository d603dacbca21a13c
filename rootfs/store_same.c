/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what comes under the id of an image that is there is that image. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/store_dir.h"
#include "runner/base/mem.h"

#define PIECE (1u << 18)

/*
 * An id is the digest of a config, which names the tars of its layers; what
 * they were unpacked from has another digest for each way to compress them.
 * That both are the same tar is the unpacker's word. A blob that has taken it
 * over may have put anything under the id of an image that others trust, or
 * may be about to: so their files have to be the same as well.
 */

/* 0, -EEXIST where they differ, or -errno. */
static int compare(int a, int b)
{
	_cleanup_free_ char *buf = malloc(2 * PIECE);
	struct stat x, y;

	if (!buf)
		return -ENOMEM;
	if (fstat(a, &x) < 0 || fstat(b, &y) < 0)
		return -errno;
	if (x.st_size != y.st_size)
		return -EEXIST;
	for (off_t at = 0; at < x.st_size; at += PIECE) {
		const size_t want = (size_t)MIN(x.st_size - at, (off_t)PIECE);
		const ssize_t n = pread(a, buf, want, at);
		const ssize_t m = pread(b, buf + PIECE, want, at);

		if (n < 0 || m < 0)
			return -errno;
		if ((size_t)n != want || (size_t)m != want)
			return -EIO;
		if (memcmp(buf, buf + PIECE, want) != 0)
			return -EEXIST;
	}
	return 0;
}

static int compare_layers(const struct store *s, const char *a, const char *b)
{
	struct store_layer x = { .data = -1, .index = -1 }, y = x;
	int r;

	if (!strcmp(a, b))
		return 0;
	r = store_open_layer(s, a, &x, NULL);
	if (r == 0)
		r = store_open_layer(s, b, &y, NULL);
	if (r == 0)
		r = compare(x.index, y.index);
	if (r == 0)
		r = compare(x.data, y.data);
	close_fd(&x.data);
	close_fd(&x.index);
	close_fd(&y.data);
	close_fd(&y.index);
	return r;
}

/* The part's root image, and that of the image. */
static int compare_roots(const struct store_part *p,
			 const struct store_files *files, uint64_t old_size)
{
	uint64_t size;
	_cleanup_fd_ int fd = store_open_file(p->dir, STORE_ROOT, &size);

	if (fd < 0)
		return fd;
	return old_size ? compare(files->fds[0], fd) : -EEXIST;
}

int store_is_same(const struct store *s, const struct store_part *p,
		  const struct image *img)
{
	struct store_files files;
	struct image old;
	int same = 1;
	int r = store_open_image(s, img->id, &old, &files, NULL);

	if (r < 0)
		return r;
	if (old.nlayers != img->nlayers)
		r = -EEXIST;
	for (unsigned i = 0; r == 0 && i < img->nlayers; i++) {
		same &= !strcmp(old.layers[i].digest, img->layers[i].digest);
		r = compare_layers(s, old.layers[i].digest,
				   img->layers[i].digest);
	}
	if (r == 0 && !same)
		r = compare_roots(p, &files, old.root_size);
	store_close_files(&files);
	image_free(&old);
	return r;
}
