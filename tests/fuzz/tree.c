/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest's answer to `cp`: whatever the stream, nothing is made or
 * changed but below the one name, and no half file stays.
 */
#include "rootfs/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/bytes.h"

/* TOP/in is where the stream goes; TOP/out is what it must not reach, by way
 * of the link TOP/in/there/link or any other. */
static char top[4096];
static int in_dir = -1, stream = -1;

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_top(void)
{
	if (nftw(top, remove_one, 300, FTW_DEPTH | FTW_PHYS) < 0)
		perror(top);
}

static void make_top(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(top, sizeof(top), "%s/mayfly-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(top));
	atexit(remove_top);
	stream = memfd_create("stream", MFD_CLOEXEC);
	must(stream >= 0);
}

static const char *below(const char *name)
{
	static char p[4200];

	snprintf(p, sizeof(p), "%s/%s", top, name);
	return p;
}

static int remove_below(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	(void)st, (void)type;
	return ftw->level ? remove(path) : 0;
}

static void start_anew(void)
{
	if (stream < 0)
		make_top();
	must(nftw(top, remove_below, 300, FTW_DEPTH | FTW_PHYS) == 0);
	must(mkdir(below("in"), 0755) == 0 && mkdir(below("out"), 0755) == 0);
	must(mkdir(below("in/there"), 0755) == 0);
	must(symlink("../../out", below("in/there/link")) == 0);
	must(symlink("../out", below("in/link")) == 0);
	in_dir = open(below("in"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(in_dir >= 0);
}

#define MAX (3 * TREE_ENTRY_COST + 4) /* of a tree that has a limit */
static uint64_t taken;

static void took(void *opaque, uint64_t bytes)
{
	(void)opaque;
	taken += bytes;
}

static void say(void *opaque, const char *path, const char *what, int error)
{
	(void)opaque, (void)error;
	must(path && *what);
}

static int look(const char *path, const struct stat *st, int type,
		struct FTW *ftw)
{
	(void)type;
	must(!strstr(path, ".mayfly-cp-"));
	must(S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) ||
	     S_ISDIR(st->st_mode));
	must(!(st->st_mode & 07000) || S_ISLNK(st->st_mode));
	/* beside "there" and "link", one name at the most */
	must(ftw->level != 1 || !strcmp(path + ftw->base, "there") ||
	     !strcmp(path + ftw->base, "link") ||
	     !strcmp(path + ftw->base, "new"));
	return 0;
}

static void judge(void)
{
	struct stat st;

	must(stat(below("out"), &st) == 0 && st.st_nlink == 2);
	must(rmdir(below("out")) == 0); /* it is empty */
	must(nftw(below("in"), look, 300, FTW_PHYS) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "new", "there", "link", "" };
	const struct tree_ops ops = { .say = say, .took = took };
	struct bytes b = { data, size };
	struct tree_place p = { .shown = "x" };
	uint8_t how = take8(&b);
	int r;

	start_anew();
	p.dir = in_dir;
	strcpy(p.name, names[how & 3]);
	if (!*p.name) {
		/* the place itself: then there is a directory for it */
		p.dir = open(below("in/there"), O_PATH | O_DIRECTORY);
		must(p.dir >= 0);
	}
	p.only_dir = how >> 2 & 1;
	p.max = how & 8 ? MAX : 0;
	taken = 0;
	must(ftruncate(stream, 0) == 0 && lseek(stream, 0, SEEK_SET) == 0);
	must(pwrite(stream, b.p, b.n, 0) == (ssize_t)b.n);
	r = tree_unpack(stream, &p, 0, &ops);
	must(r <= 1);
	must(!p.max || taken <= MAX);
	if (p.dir != in_dir)
		close(p.dir);
	close(in_dir);
	judge();
	return 0;
}
