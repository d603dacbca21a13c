/* SPDX-License-Identifier: Apache-2.0 */
/* A data directory for the tests of store.c, and small images in it. */
#ifndef MAYFLY_TESTS_UNIT_STORE_STAGE_H
#define MAYFLY_TESTS_UNIT_STORE_STAGE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/store.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

#define BLOCK 4096u

static char data_dir[64];
static struct err err;

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void open_data(void)
{
	strcpy(data_dir, "/tmp/mayfly-unit-store-XXXXXX");
	cr_assert(mkdtemp(data_dir));
	setenv("MAYFLY_DATA_DIR", data_dir, 1);
}

static void close_data(void)
{
	sh("rm -rf %s", data_dir);
}

/* How many entries there are in images, layers, names or tmp. */
static inline unsigned entries(const char *dir)
{
	char cmd[128];
	unsigned n = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "ls -A %s/%s | wc -l", data_dir, dir);
	f = popen(cmd, "r");
	cr_assert_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static inline struct store *opened(enum store_hold how)
{
	struct store *s;

	cr_assert_eq(store_open(&s, 1, &err), 0, "%s", err.msg);
	cr_assert_eq(store_lock(s, how, &err), 0, "%s", err.msg);
	return s;
}

/* 64 digits: @n four times over. */
static inline void hex(char out[IMAGE_HEX_MAX], unsigned n)
{
	snprintf(out, IMAGE_HEX_MAX, "%016x%016x%016x%016x", n, n, n, n);
}

/* A file of @blocks blocks in a part, each full of @n. */
static inline int fill(const struct store_part *p, const char *name,
		       unsigned blocks, unsigned n, struct err *e)
{
	int fd = store_part_file(p, name, e), r = 0;
	char block[BLOCK];

	if (fd < 0)
		return fd;
	memset(block, (int)n, sizeof(block));
	for (; blocks && r == 0; blocks--)
		r = write(fd, block, sizeof(block)) == BLOCK ? 0 : -ENOSPC;
	close(fd);
	return r;
}

/* Layer number @n, of @n blocks. Safe in a process of its own. */
static inline int add_layer(struct store_stage *st, unsigned n,
			    struct image_layer *l, struct err *e)
{
	struct store_part p;
	int r = store_begin_part(st, &p, e);

	*l = (struct image_layer){ .blob_size = 7, .entries = 1,
				   .data_size = (uint64_t)n * BLOCK,
				   .index_size = BLOCK };
	hex(l->digest, n);
	hex(l->diff_id, n + 0x1000);
	if (r == 0)
		r = fill(&p, "data", n, n, e);
	if (r == 0)
		r = fill(&p, "index", 1, 0, e);
	if (r < 0) {
		store_drop_part(&p);
		return r;
	}
	return store_commit_layer(&p, l, e);
}

/* Image number @id with layers @first and @second, and a name unless NULL. */
static inline int add_image(struct store *s, unsigned id, unsigned first,
			    unsigned second, const char *name, struct err *e)
{
	struct image_layer l[2] = { { .digest = "" }, { .digest = "" } };
	struct image img = { .root_size = 2 * BLOCK, .nlayers = 2,
			     .layers = l };
	struct store_part p = STORE_PART_NONE;
	struct store_stage *st;
	struct reference ref;
	int r = store_begin_stage(s, &st, e);

	if (r < 0)
		return r;
	hex(img.id, id);
	r = add_layer(st, first, l, e);
	if (r == 0)
		r = add_layer(st, second, l + 1, e);
	if (r == 0)
		r = store_begin_part(st, &p, e);
	if (r == 0)
		r = fill(&p, "root.erofs", 2, 255, e);
	if (r == 0 && name)
		r = reference_parse(&ref, name, e);
	if (r == 0)
		r = store_commit_image(&p, &img, &ref, name != NULL, e);
	store_drop_part(&p);
	store_end_stage(st);
	return r;
}

static inline void added(struct store *s, unsigned id, unsigned first,
			 unsigned second, const char *name)
{
	cr_assert_eq(add_image(s, id, first, second, name, &err), 0, "%s",
		     err.msg);
}

static inline int resolve(struct store *s, const char *text)
{
	char id[IMAGE_HEX_MAX];

	err = (struct err){ 0 };
	return store_resolve(s, text, id, &err);
}

/* What there is, added up as @what says, in blocks of the test's files. */
static inline void listed(struct store *s, struct store_list *list)
{
	cr_assert_eq(store_list(s, list, &err), 0, "%s", err.msg);
}

/* Open the disk of an image, and look at each byte of it. */
static inline int check_image(struct store *s, const char *id, struct err *e)
{
	struct store_files files;
	struct image img;
	char block[BLOCK];
	int r = store_open_image(s, id, &img, &files, e);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < files.n && r == 0; i++) {
		const uint64_t size = i ? img.layers[i - 1].data_size :
					  img.root_size;
		const char want = (char)(i ? size / BLOCK : 255);

		for (uint64_t at = 0; at < size && r == 0; at += BLOCK)
			if (pread(files.fds[i], block, BLOCK, (off_t)at) !=
				    BLOCK || block[0] != want ||
			    memcmp(block, block + 1, BLOCK - 1))
				r = -EILSEQ;
	}
	store_close_files(&files);
	image_free(&img);
	return r;
}

#endif
