/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar of a layer, in pieces of any size: its index is one that its reader
 * takes, whose files lie one after the other in the data, within the quota; or
 * there are words. And the same tar as one of an image: nothing is made but
 * below the directory.
 */
#include "rootfs/untar.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/unarchive.h"
#include "runner/base/err.h"
#include "tests/fuzz/bytes.h"

#define DATA_MAX    (1u << 20)
#define ENTRIES_MAX 50

struct source {
	const uint8_t *p;
	size_t left, piece;
};

static ssize_t next(void *opaque, const uint8_t **p, struct err *err)
{
	struct source *s = opaque;
	size_t n = s->left < s->piece ? s->left : s->piece;

	(void)err;
	*p = s->p;
	s->p += n;
	s->left -= n;
	return (ssize_t)n;
}

static void judge_index(const struct untar *u)
{
	static uint8_t index[1 << 20];
	struct layer_reader r;
	struct layer_item i;
	uint64_t n = 0, end = 0;
	struct stat st;
	ssize_t size = pread(u->index, index, sizeof(index), 0);
	int e;

	must(size > 0 && fstat(u->data, &st) == 0);
	must((uint64_t)st.st_size == u->data_size && u->data_size <= DATA_MAX);
	must(layer_open(&r, index, (size_t)size, NULL) == 0);
	while ((e = layer_next(&r, &i)) > 0) {
		n++;
		if (!i.e.size)
			continue;
		must(i.e.data == end);
		end += (i.e.size + LAYER_BLOCK - 1) / LAYER_BLOCK * LAYER_BLOCK;
	}
	must(e == 0 && n == u->entries && n <= ENTRIES_MAX);
	must(end == u->data_size);
}

static void as_layer(const uint8_t *p, size_t len, size_t piece)
{
	static int data = -1, index = -1;
	struct source s = { p, len, piece };
	struct err err = { 0 };
	struct untar u = { .source = next, .opaque = &s, .data_max = DATA_MAX,
			   .entries_max = ENTRIES_MAX };
	int r;

	if (data < 0) {
		data = memfd_create("data", MFD_CLOEXEC);
		index = memfd_create("index", MFD_CLOEXEC);
	}
	must(ftruncate(data, 0) == 0 && ftruncate(index, 0) == 0);
	u.data = data;
	u.index = index;
	r = untar(&u, &err);
	if (r == 0) {
		must(s.left == 0);
		judge_index(&u);
	} else {
		must(r < 0 && err.msg[0]);
	}
}

/* --- archives ----------------------------------------------------------- */

static char top[4096];

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type;
	return ftw->level ? remove(path) : 0;
}

static int look(const char *path, const struct stat *st, int type,
		struct FTW *ftw)
{
	(void)path, (void)type;
	must(S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) ||
	     S_ISDIR(st->st_mode));
	must(ftw->level <= 1 + UNARCHIVE_DEPTH_MAX);
	/* TOP has "in" and "out", and only "in" has anything */
	must(ftw->level != 1 || !strcmp(path + ftw->base, "in") ||
	     !strcmp(path + ftw->base, "out"));
	return 0;
}

static void remove_all(void)
{
	nftw(top, remove_one, 30, FTW_DEPTH | FTW_PHYS);
	rmdir(top);
}

static int in(const char *name)
{
	char path[sizeof(top) + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	must(mkdir(path, 0700) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

static void as_archive(const uint8_t *p, size_t len, size_t piece)
{
	struct source s = { p, len, piece };
	struct err err = { 0 };
	struct unarchive u = { .source = next, .opaque = &s,
			       .data_max = DATA_MAX, .files_max = ENTRIES_MAX };
	char path[sizeof(top) + 8];
	int r;

	if (!*top) {
		const char *tmp = getenv("TMPDIR");

		snprintf(top, sizeof(top), "%s/untar-XXXXXX",
			 tmp ? tmp : "/tmp");
		must(mkdtemp(top));
		atexit(remove_all);
	}
	u.dir = in("in");
	close(in("out"));
	r = unarchive(&u, &err);
	must(r == 0 || (r < 0 && err.msg[0]));
	must(u.bytes <= DATA_MAX && u.files <= ENTRIES_MAX + UNARCHIVE_DEPTH_MAX);
	close(u.dir);
	must(nftw(top, look, 30, FTW_PHYS) == 0);
	snprintf(path, sizeof(path), "%s/out", top);
	must(rmdir(path) == 0); /* it is empty */
	must(nftw(top, remove_one, 30, FTW_DEPTH | FTW_PHYS) == 0);
}

/* Headers keep their sums, or few would be read. */
static void mend_sums(uint8_t *p, size_t len)
{
	for (; len >= 512; p += 512, len -= 512) {
		unsigned sum = 0;

		if (memcmp(p + 257, "ustar", 5) != 0)
			continue;
		memset(p + 148, ' ', 8);
		for (int i = 0; i < 512; i++)
			sum += p[i];
		snprintf((char *)p + 148, 8, "%06o", sum);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	uint8_t how = take8(&b), *copy = malloc(b.n + 1);
	size_t piece = 1u << (how & 15);

	must(copy);
	if (b.n)
		memcpy(copy, b.p, b.n);
	if (how & 0x20)
		mend_sums(copy, b.n);
	if (how & 0x10)
		as_archive(copy, b.n, piece);
	else
		as_layer(copy, b.n, piece);
	free(copy);
	return 0;
}
