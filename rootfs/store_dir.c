/* SPDX-License-Identifier: Apache-2.0 */
/* The directories and files that a store is made of. */
#include "rootfs/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

int store_failed(struct err *err, int code, const char *fmt, ...)
{
	char words[ERR_MSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	err_set(err, code, "image store: %s", words);
	if (code == -ENOSPC || code == -EDQUOT)
		err_hint(err, "make room: mayfly image prune");
	return code;
}

/* --- directories ------------------------------------------------------ */

int store_open_dir(int dir, const char *name)
{
	int fd = openat(dir, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int store_each(int dir, store_each_fn fn, void *opaque)
{
	int fd = store_open_dir(dir, "."), r = 0;
	const struct dirent *e;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = fn(dir, e->d_name, opaque);
	if (r == 0 && !e)
		r = -errno;
	closedir(d);
	return r;
}

int store_random(char name[STORE_RANDOM_MAX])
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		return -EIO;
	snprintf(name, STORE_RANDOM_MAX, "%016llx", (unsigned long long)v);
	return 0;
}

/* --- removing --------------------------------------------------------- */

struct removal {
	int top;
	unsigned moved; /* names given so far */
	int found;	/* a directory that was not empty */
	uint64_t *bytes;
};

/* 0 gone, 1 a directory with something in it, or -errno. */
static int remove_entry(int dir, const char *name, uint64_t *bytes)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0) {
		if (S_ISDIR(st.st_mode) &&
		    (errno == ENOTEMPTY || errno == EEXIST))
			return 1;
		return errno == ENOENT ? 0 : -errno;
	}
	/* Of a file with several names the last one counts. */
	if (bytes && (S_ISDIR(st.st_mode) || st.st_nlink == 1))
		*bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

/* Who unpacked it may have taken the rights from its owner. */
static int open_own(int dir, const char *name)
{
	int fd = store_open_dir(dir, name);

	if (fd == -EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = store_open_dir(dir, name);
	return fd;
}

/* A directory below one in the top: up into the top with it. So two
 * descriptors are enough for any depth. */
static int raise_entry(int dir, const char *name, void *opaque)
{
	struct removal *rm = opaque;
	int r = remove_entry(dir, name, rm->bytes);
	char fresh[24];

	if (r <= 0)
		return r;
	/* A new parent is written into it: that takes the right to. */
	if (fchmodat(dir, name, 0700, 0) < 0)
		return -errno;
	for (;;) {
		snprintf(fresh, sizeof(fresh), "%u", rm->moved++);
		if (renameat(dir, name, rm->top, fresh) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			return -errno;
	}
}

static int flatten_entry(int top, const char *name, void *opaque)
{
	struct removal *rm = opaque;
	_cleanup_fd_ int dir = -1;
	int r = remove_entry(top, name, rm->bytes);

	if (r <= 0)
		return r;
	rm->found = 1;
	dir = open_own(top, name);
	r = dir < 0 ? dir : store_each(dir, raise_entry, rm);
	return r == -ENOENT ? 0 : r;
}

int store_remove_tree(int dir, const char *name, uint64_t *bytes)
{
	struct removal rm = { .top = -1, .bytes = bytes };
	int r = remove_entry(dir, name, bytes);

	if (r <= 0)
		return r;
	rm.top = open_own(dir, name);
	if (rm.top < 0)
		return rm.top == -ENOENT ? 0 : rm.top;
	do {
		rm.found = 0;
		r = store_each(rm.top, flatten_entry, &rm);
	} while (r == 0 && rm.found);
	close(rm.top);
	/* Two at once may be at it: a stage's maker, and who prunes. */
	if (r == 0 || r == -ENOENT)
		r = remove_entry(dir, name, bytes);
	return r > 0 ? -ENOTEMPTY : r;
}

static int add_usage(int dir, const char *name, void *opaque)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		*(uint64_t *)opaque += (uint64_t)st.st_blocks * 512;
	return 0;
}

uint64_t store_usage(int dir, const char *name)
{
	_cleanup_fd_ int fd = store_open_dir(dir, name);
	uint64_t bytes = 0;

	add_usage(dir, name, &bytes);
	if (fd >= 0)
		store_each(fd, add_usage, &bytes);
	return bytes;
}

/* --- files ------------------------------------------------------------ */

int store_open_file(int dir, const char *name, uint64_t *size)
{
	_cleanup_fd_ int fd = openat(dir, name,
				     O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					     O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EBADMSG;
	*size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

int store_read_file(int dir, const char *name, size_t max, char **text,
		    size_t *len)
{
	uint64_t size;
	_cleanup_fd_ int fd = store_open_file(dir, name, &size);
	_cleanup_free_ char *p = NULL;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (size > max)
		return -EBADMSG;
	p = malloc((size_t)size + 1);
	if (!p)
		return -ENOMEM;
	n = io_read_full(fd, p, (size_t)size);
	if (n < 0)
		return (int)n;
	p[n] = '\0';
	*len = (size_t)n;
	*text = steal_ptr(&p);
	return 0;
}

int store_write_file(int dir, const char *name, const char *text)
{
	_cleanup_fd_ int fd = openat(dir, name,
				     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					     O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, text, strlen(text));
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

int store_sync_file(int dir, const char *name, uint64_t *size)
{
	_cleanup_fd_ int fd = store_open_file(dir, name, size);

	if (fd < 0)
		return fd;
	return fdatasync(fd) < 0 ? -errno : 0;
}

int store_read_name(const struct store *s, const char *file,
		    char id[IMAGE_HEX_MAX])
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = store_read_file(s->names, file, IMAGE_HEX_MAX, &text, &len);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (!image_is_hex(text))
		return -EBADMSG;
	memcpy(id, text, IMAGE_HEX_MAX);
	return 0;
}
