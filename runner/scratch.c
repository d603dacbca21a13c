/* SPDX-License-Identifier: Apache-2.0 */
/* The disk that takes a run's writes and dies with it. */
#include "runner/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define CHUNK 65536

const char *scratch_dir(void)
{
	const char *dir = getenv("TMPDIR");

	if (dir && *dir)
		return dir;
	return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

/* For file systems without O_TMPFILE: overlayfs of old kernels, NFS. */
static int named_then_unlinked(const char *dir)
{
	char path[PATH_MAX];
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/mayfly-scratch-XXXXXX", dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC); /* O_EXCL, mode 0600 */
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int scratch_file(const char *dir, struct err *err)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), r;

	if (fd >= 0)
		return fd;
	/* EISDIR: a kernel that does not know the flag. */
	fd = -errno;
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
		fd = named_then_unlinked(dir);
	if (fd >= 0)
		return fd;
	r = err_set(err, fd, "create a file in %s", dir);
	err_hint(err, "set TMPDIR to a directory that can be written");
	return r;
}

/* Copy one extent, leaving holes where a whole chunk is zero. */
static int copy_extent(int from, int to, off_t pos, off_t end)
{
	static const char zero[CHUNK];
	_cleanup_free_ char *buf = malloc(CHUNK);

	if (!buf)
		return -ENOMEM;
	while (pos < end) {
		size_t want = (size_t)MIN(end - pos, (off_t)CHUNK), put = 0;
		ssize_t n = io_pread_full(from, buf, want, pos);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		if (!memcmp(buf, zero, (size_t)n))
			put = (size_t)n;
		while (put < (size_t)n) {
			ssize_t w = pwrite(to, buf + put, (size_t)n - put,
					   pos + (off_t)put);

			if (w < 0 && errno != EINTR)
				return -errno;
			put += w > 0 ? (size_t)w : 0;
		}
		pos += n;
	}
	return 0;
}

static int copy_sparse(int from, int to, off_t size)
{
	off_t pos = 0;

	while (pos < size) {
		off_t data = lseek(from, pos, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		int r;

		if (data < 0 && errno == ENXIO)
			return 0; /* a hole up to the end */
		if (hole < 0)
			return -errno;
		r = copy_extent(from, to, data, MIN(hole, size));
		if (r < 0)
			return r;
		pos = hole;
	}
	return 0;
}

int scratch_create(int template_fd, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int r;

	if (fstat(template_fd, &st) < 0)
		return err_set(err, -errno, "scratch template");
	fd = scratch_file(scratch_dir(), err);
	if (fd < 0) {
		err_wrap(err, "scratch disk");
		return fd;
	}
	r = ftruncate(fd, st.st_size) < 0 ? -errno : 0;
	if (r == 0)
		r = copy_sparse(template_fd, fd, st.st_size);
	if (r < 0)
		return err_set(err, r, "scratch disk in %s", scratch_dir());
	return steal_fd(&fd);
}
