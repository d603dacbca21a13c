/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates of scratch disks of other sizes than the built-in one: made when
 * first asked for, and kept below the cache directory.
 *
 * One is there whole or not at all: it gets its name once it is written, and
 * who finds the name taken has made the same. Where nothing can be kept, each
 * run makes its own.
 */
#include "runner/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

/* $MAYFLY_CACHE; root's; or that of a user. */
static int cache_path(char path[PATH_MAX])
{
	const char *own = getenv("MAYFLY_CACHE");
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n = -1;

	if (own && *own)
		n = snprintf(path, PATH_MAX, "%s/scratch", own);
	else if (geteuid() == 0)
		n = snprintf(path, PATH_MAX, "/var/cache/mayfly/scratch");
	else if (xdg && *xdg == '/')
		n = snprintf(path, PATH_MAX, "%s/mayfly/scratch", xdg);
	else if (home && *home == '/')
		n = snprintf(path, PATH_MAX, "%s/.cache/mayfly/scratch", home);
	return n > 0 && n < PATH_MAX;
}

/* Nobody else's: what lies there becomes a disk of ours. */
static int is_ours(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type &&
	       st.st_uid == geteuid() && !(st.st_mode & 022);
}

/* -1: there is none. */
static int open_cache(void)
{
	_cleanup_fd_ int fd = -1;
	char path[PATH_MAX];

	if (!cache_path(path))
		return -1;
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && is_ours(fd, S_IFDIR) ? steal_fd(&fd) : -1;
}

/* As long as it says: what a disk that failed has cut off would else be in the
 * way of every run. */
static int is_whole(int fd, const struct scratch_head *h)
{
	_cleanup_free_ struct scratch_extent *e = NULL;
	uint64_t n = h->extents, want = sizeof(*h) + n * sizeof(*e);
	struct stat st;

	if (n > SCRATCH_EXTENTS_MAX)
		return 0;
	e = calloc(n + 1, sizeof(*e));
	if (!e || io_pread_full(fd, e, n * sizeof(*e), sizeof(*h)) !=
			  (ssize_t)(n * sizeof(*e)))
		return 0;
	for (uint64_t i = 0; i < n; i++)
		want += e[i].len;
	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == want;
}

static int find(int dir, const char *name, uint64_t size)
{
	_cleanup_fd_ int fd = -1;
	struct scratch_head h;

	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (is_ours(fd, S_IFREG) &&
	    io_pread_full(fd, &h, sizeof(h), 0) == sizeof(h) &&
	    !memcmp(h.magic, SCRATCH_MAGIC, sizeof(h.magic)) &&
	    h.size == size && is_whole(fd, &h))
		return steal_fd(&fd);
	unlinkat(dir, name, 0);
	return -1;
}

/* A file with the template of @raw that has its name; -1: there is none. */
static int keep(int dir, const char *name, int raw)
{
	_cleanup_fd_ int fd = -1;
	char self[32];

	fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || scratch_pack(raw, fd) < 0 || fdatasync(fd) < 0)
		return -1;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) < 0 &&
	    errno != EEXIST)
		log_info("the disk's template could not be kept: %s",
			 strerror(errno));
	return steal_fd(&fd);
}

static int make(int dir, const char *name, uint64_t size, struct err *err)
{
	_cleanup_fd_ int raw = scratch_file(scratch_dir(), err), fd = -1;
	int r;

	if (raw < 0)
		return raw;
	r = scratch_make(raw, size, err);
	if (r < 0)
		return r;
	if (dir >= 0)
		fd = keep(dir, name, raw);
	if (fd < 0) {
		fd = memfd_create(name, MFD_CLOEXEC);
		r = fd < 0 ? -errno : scratch_pack(raw, fd);
	}
	return r < 0 ? err_set(err, r, "template") : steal_fd(&fd);
}

int scratch_template(uint64_t size, struct err *err)
{
	_cleanup_fd_ int dir = open_cache();
	char name[SCRATCH_NAME];
	int fd = -1;

	scratch_name(size, name);
	if (dir >= 0)
		fd = find(dir, name, size);
	if (fd < 0)
		fd = make(dir, name, size, err);
	if (fd < 0)
		err_wrap(err, "scratch disk of %llu MiB",
			 (unsigned long long)(size >> 20));
	return fd;
}
