/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-unpack: reads tars of images, which anyone may have made.
 *
 * Theory of operation
 *
 * rootfs/unpack.h is what it is asked and answers. One process does one thing
 * and ends. It allocates what can be allocated before, gives up what it does
 * not need, and only then looks at its input:
 *
 *   limits	memory, size of files, no core, no descriptor but the few that
 *		its mode opens
 *   Landlock	no path, but below the directory that it works on; without it
 *		that is the root directory, where hostile bytes decide on names
 *   seccomp	the calls of its role: jail/seccomp_rules.c
 *
 * What libarchive needs is loaded by then. No locale is set: rootfs/tar.h says
 * why.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/lock.h"
#include "rootfs/blob.h"
#include "rootfs/erofs.h"
#include "rootfs/packdir.h"
#include "rootfs/unarchive.h"
#include "rootfs/unpack.h"
#include "rootfs/untar.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define MIB (UINT64_C(1) << 20)

/* What a tar takes besides the data of its files: headers and the rest of the
 * last block, and long names of some. */
#define TAR_OVERHEAD (UINT64_C(8) << 30)

/* xz -9 needs 65 MiB, zstd up to 128, the pieces of a sparse file 32. */
#define PARSER_MEMORY (512 * MIB)

/* A tree of LAYER_ENTRIES_MAX names: rootfs/merge.h. */
#define ROOT_MEMORY (4096 * MIB)

struct confines {
	enum lock_role role;
	unsigned fds;	 /* given from UNPACK_FIRST on */
	unsigned opens;	 /* may be open besides */
	uint64_t memory; /* bytes of malloc(); 0: as it is */
	uint64_t file;	 /* bytes of one file */
};

static int limit(int what, uint64_t max, struct err *err)
{
	struct rlimit l;

	if (getrlimit((__rlimit_resource_t)what, &l) == 0) {
		l.rlim_cur = l.rlim_max = MIN(l.rlim_max, max);
		if (setrlimit((__rlimit_resource_t)what, &l) == 0)
			return 0;
	}
	return err_set(err, -errno, "setrlimit");
}

/*
 * Where the kernel has no Landlock, a filter alone would let `archive` make
 * files wherever its user may: it looks at no path. A root of its own does
 * instead, if we may have one, by a right or in a user namespace.
 */
static void stay_below(int dir)
{
#ifndef MAYFLY_SAN
	if (fchdir(dir) == 0 && chroot(".") < 0 && unshare(CLONE_NEWUSER) == 0)
		(void)!chroot(".");
#else
	(void)dir;
#endif
}

/*
 * RLIMIT_DATA and not RLIMIT_AS: it counts what malloc() takes, and not the
 * libraries or the indexes that are mapped. A sanitizer maps terabytes, and
 * opens /proc when it ends.
 */
static int confine(const struct confines *c, struct err *err)
{
	int r;

	signal(SIGXFSZ, SIG_IGN); /* EFBIG says as much, in words */
	signal(SIGPIPE, SIG_IGN);
	if (syscall(SYS_close_range, UNPACK_FIRST + c->fds, ~0u, 0) < 0)
		return err_set(err, -errno, "close_range");
	r = limit(RLIMIT_CORE, 0, err);
	if (r == 0)
		r = limit(RLIMIT_FSIZE, c->file, err);
#ifndef MAYFLY_SAN
	if (r == 0 && c->memory)
		r = limit(RLIMIT_DATA, c->memory, err);
#endif
	if (r < 0)
		return r;
	r = c->role == LOCK_LAYER ? lock_landlock() :
		lock_landlock_below(UNPACK_FIRST, c->role == LOCK_PACK ?
				    LOCK_BELOW_READ : LOCK_BELOW_MAKE);
	if (r < 0)
		return err_set(err, r, "Landlock");
	if (r == 0 && c->role == LOCK_ARCHIVE)
		stay_below(UNPACK_FIRST);
#ifndef MAYFLY_SAN
	/* Landlock's rules were one more. */
	r = limit(RLIMIT_NOFILE, UNPACK_FIRST + c->fds + c->opens, err);
	if (r < 0)
		return r;
#endif
	r = lock_seccomp(c->role);
	return r < 0 ? err_set(err, r, "seccomp") : 0;
}

static int number(const char *s, uint64_t max, uint64_t *v, struct err *err)
{
	char *end;

	errno = 0;
	*v = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno || *v > max)
		return err_say(err, -EINVAL, "not a number up to %llu: %s",
			       (unsigned long long)max, s);
	return 0;
}

static int answer(const void *result, size_t len, struct err *err)
{
	int r = io_write_all(UNPACK_RESULT, result, len);

	return r < 0 ? err_set(err, r, "write the result") : 0;
}

/* --- modes -------------------------------------------------------------- */

static int layer(char **arg, struct err *err)
{
	struct confines c = { .role = LOCK_LAYER, .fds = 2,
			      .memory = PARSER_MEMORY };
	_cleanup_(blob_free) struct blob b = { 0 };
	struct unpack_layer result = { 0 };
	struct untar u = { .source = blob_next, .opaque = &b,
			   .data = UNPACK_FIRST, .index = UNPACK_FIRST + 1 };
	int r = number(arg[0], LAYER_DATA_MAX, &u.data_max, err);

	if (r == 0)
		r = number(arg[1], LAYER_ENTRIES_MAX, &u.entries_max, err);
	if (r == 0)
		r = blob_init(&b, UNPACK_IN, u.data_max + TAR_OVERHEAD, err);
	c.file = MAX(u.data_max, LAYER_INDEX_MAX);
	tar_load();
	if (r == 0)
		r = confine(&c, err);
	if (r == 0)
		r = untar(&u, err);
	if (r < 0)
		return r;
	result.entries = u.entries;
	result.data_size = u.data_size;
	result.tar_size = b.size;
	result.compression = b.compression;
	if (b.compression != UNPACK_PLAIN)
		sha256_digest(&b.sha, sizeof(result.diff_id), result.diff_id);
	return answer(&result, sizeof(result), err);
}

static int archive(char **arg, struct err *err)
{
	struct confines c = { .role = LOCK_ARCHIVE, .fds = 1, .opens = 4,
			      .memory = PARSER_MEMORY };
	_cleanup_(blob_free) struct blob b = { 0 };
	struct unpack_archive result = { 0 };
	struct unarchive u = { .source = blob_next, .opaque = &b,
			       .dir = UNPACK_FIRST,
			       .files_max = UNPACK_FILES_MAX };
	int r = number(arg[0], LAYER_DATA_MAX, &u.data_max, err);

	if (r == 0)
		r = blob_init(&b, UNPACK_IN, u.data_max + TAR_OVERHEAD, err);
	c.file = u.data_max;
	tar_load();
	if (r == 0)
		r = confine(&c, err);
	if (r == 0)
		r = unarchive(&u, err);
	if (r < 0)
		return r;
	result.files = u.files;
	result.bytes = u.bytes;
	return answer(&result, sizeof(result), err);
}

static int root(char **arg, struct err *err)
{
	struct confines c = { .role = LOCK_LAYER, .memory = ROOT_MEMORY,
			      .file = EROFS_ROOT_MAX };
	struct unpack_root result = { 0 };
	int indexes[EROFS_LAYERS_MAX];
	uint64_t n;
	int r = number(arg[0], EROFS_LAYERS_MAX, &n, err);

	if (r < 0)
		return r;
	c.fds = 1 + (unsigned)n;
	for (unsigned i = 0; i < n; i++)
		indexes[i] = UNPACK_FIRST + 1 + (int)i;
	r = confine(&c, err);
	if (r == 0)
		r = erofs_build(UNPACK_FIRST, indexes, (unsigned)n, &result,
				err);
	return r < 0 ? r : answer(&result, sizeof(result), err);
}

static int tar(char **arg, struct err *err)
{
	struct confines c = { .role = LOCK_PACK, .fds = 1,
			      .opens = PACKDIR_DEPTH_MAX + 4,
			      .memory = ROOT_MEMORY, .file = LAYER_DATA_MAX };
	struct packdir p = { .dir = UNPACK_FIRST, .out = UNPACK_RESULT,
			     .owners = geteuid() == 0 };
	int r;

	(void)arg;
	tar_load();
	r = confine(&c, err);
	if (r == 0)
		r = packdir(&p, err);
	if (r == 0 && p.left_out)
		err_say(err, 0, "left out %llu sockets and mounts, %.200s "
			"the first", (unsigned long long)p.left_out, p.first);
	return r;
}

static const struct {
	const char *name, *usage;
	int args;
	int (*fn)(char **arg, struct err *err);
} table[] = {
	{ "layer", "DATA_MAX ENTRIES_MAX", 2, layer },
	{ "root", "LAYERS", 1, root },
	{ "archive", "DATA_MAX", 1, archive },
	{ "tar", "", 0, tar },
};

/* --- the whole ---------------------------------------------------------- */

int main(int argc, char **argv)
{
	struct err err = { 0 };

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(table); i++)
		if (!strcmp(argv[1], table[i].name) &&
		    argc == 2 + table[i].args) {
			int r = table[i].fn(argv + 2, &err);

			if (*err.msg)
				io_write_all(UNPACK_WORDS, err.msg,
					     strlen(err.msg));
			return r < 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		dprintf(UNPACK_WORDS, "%s mayfly-unpack %s %s\n",
			i ? "      " : "usage:", table[i].name, table[i].usage);
	return 1;
}
