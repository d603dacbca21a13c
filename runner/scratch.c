/* SPDX-License-Identifier: Apache-2.0 */
/* The disk that takes a run's writes and dies with it. */
#include "runner/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define CHUNK 16384

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

/* Copy @len bytes from where the template is read to @at in the disk. */
static int put_extent(int template_fd, off_t *pos, int fd, uint64_t at,
		      uint64_t len)
{
	char buf[CHUNK];

	while (len) {
		size_t n = (size_t)MIN(len, (uint64_t)CHUNK);
		ssize_t got = io_pread_full(template_fd, buf, n, *pos), put;

		if (got < 0 || (size_t)got != n)
			return got < 0 ? (int)got : -EBADMSG;
		put = pwrite(fd, buf, n, (off_t)at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		*pos += put;
		at += (uint64_t)put;
		len -= (uint64_t)put;
	}
	return 0;
}

static int unpack(int template_fd, int fd)
{
	_cleanup_free_ struct scratch_extent *e = NULL;
	struct scratch_head h;
	uint64_t end = 0;
	off_t pos = sizeof(h);
	ssize_t n = io_pread_full(template_fd, &h, sizeof(h), 0);

	if (n < 0)
		return (int)n;
	if (n != sizeof(h) || memcmp(h.magic, SCRATCH_MAGIC, sizeof(h.magic)) ||
	    h.size > INT64_MAX || h.extents > SCRATCH_EXTENTS_MAX)
		return -EBADMSG;
	e = calloc(h.extents + 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	n = io_pread_full(template_fd, e, h.extents * sizeof(*e), pos);
	if (n < 0 || (size_t)n != h.extents * sizeof(*e))
		return n < 0 ? (int)n : -EBADMSG;
	pos += n;
	if (ftruncate(fd, (off_t)h.size) < 0)
		return -errno;
	for (uint64_t i = 0; i < h.extents; i++) {
		int r;

		if (e[i].at < end || e[i].at > h.size ||
		    e[i].len > h.size - e[i].at)
			return -EBADMSG;
		end = e[i].at + e[i].len;
		r = put_extent(template_fd, &pos, fd, e[i].at, e[i].len);
		if (r < 0)
			return r;
	}
	return 0;
}

int scratch_create(int template_fd, struct err *err)
{
	_cleanup_fd_ int fd = scratch_file(scratch_dir(), err);
	int r;

	if (fd < 0) {
		err_wrap(err, "scratch disk");
		return fd;
	}
	r = unpack(template_fd, fd);
	if (r == -EBADMSG) {
		err_say(err, r, "scratch template: the file is damaged");
		err_hint(err, "run `make` in the source tree, or install it "
			      "again");
		return r;
	}
	if (r < 0) {
		err_set(err, r, "scratch disk in %s", scratch_dir());
		if (r == -ENOSPC || r == -EDQUOT)
			err_hint(err, "set TMPDIR to a directory with more "
				      "room");
		else if (r == -EFBIG)
			err_hint(err, "files may not be that large: ulimit -f "
				      "unlimited");
		return r;
	}
	return steal_fd(&fd);
}
