/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of file trees share: a place for them, streams made by hand. */
#ifndef TESTS_UNIT_TREE_STAGE_H
#define TESTS_UNIT_TREE_STAGE_H

#include "rootfs/tree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A directory of the test's own, entered: "in" is where hostile streams go,
 * "out" is what they must not touch. */
static char top[] = "/tmp/mayfly-tree-XXXXXX";

static int said;
static char last[8192];

static inline void say(void *opaque, const char *path, const char *what,
		       int error)
{
	(void)opaque;
	said++;
	snprintf(last, sizeof(last), "%s: %s: %d", path, what, error);
}

static const struct tree_ops ops = { .say = say };

static inline void enter(void)
{
	umask(022);
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(chdir(top), 0);
	cr_assert_eq(mkdir("in", 0755), 0);
	cr_assert_eq(mkdir("out", 0755), 0);
}

static inline int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void leave(void)
{
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

static inline const char *get_file(const char *path)
{
	static char text[4096];
	FILE *f = fopen(path, "re");

	if (!f)
		return NULL;
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static inline mode_t mode_at(const char *path)
{
	struct stat st;

	cr_assert_eq(lstat(path, &st), 0, "%s", path);
	return st.st_mode;
}

static int n_found;

static inline int count_one(const char *path, const struct stat *st, int type,
		     struct FTW *ftw)
{
	(void)st, (void)type;
	cr_assert(strncmp(path + ftw->base, ".mayfly-cp-", 11), "%s", path);
	n_found++;
	return 0;
}

/* How much there is at @path, itself included; nothing of it unfinished. */
static inline int count(const char *path)
{
	n_found = 0;
	nftw(path, count_one, 64, FTW_PHYS);
	return n_found;
}

static uint8_t stream[1 << 20];

static inline int memfd(const void *p, size_t len)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, p, len), (ssize_t)len);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Of the place, where a test sets them. */
static uint64_t place_max, taken;
static const struct tree_owner *place_owner;

static inline void count_taken(void *opaque, uint64_t bytes)
{
	(void)opaque;
	taken += bytes;
}

static inline int unpack_fd(int fd, const char *dest, const char *name,
		     unsigned flags)
{
	struct tree_place p;
	const struct tree_ops counting = { .say = say, .took = count_taken };
	int ret = tree_place(&p, dest, name, &ops);

	p.max = place_max;
	p.owner = place_owner;
	if (!ret)
		ret = tree_unpack(fd, &p, flags, &counting);
	if (p.dir >= 0)
		close(p.dir);
	return ret;
}

static inline int unpack_to(const char *dest, const char *name, size_t len)
{
	int fd = memfd(stream, len);
	int ret = unpack_fd(fd, dest, name, 0);

	close(fd);
	return ret;
}

#endif
