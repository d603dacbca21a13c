/* SPDX-License-Identifier: Apache-2.0 */
/* The files and locks below the root of runs. */
#include "runner/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define RECORD	   "record.json"
#define RECORD_NEW "record.new"
#define LOCK	   "lock"

/* Bytes that a record may grow by at the end of its run. */
#define RECORD_REPORT 8192

/* Others hold the root's lock for as long as they read a few small files. */
#define ROOT_LOCK_NS   60000000000ull
#define ROOT_LOCK_STEP 2000000

/* --- the root --------------------------------------------------------- */

/* Not every session that keeps the variable keeps the directory: su does
 * not. Then it is another user's. */
static int is_mine(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 && st.st_uid == geteuid();
}

static int root_path(char path[PATH_MAX], struct err *err)
{
	const char *own = getenv("MAYFLY_STATE_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && *own && *own != '/')
		return err_say(err, -EINVAL,
			       "MAYFLY_STATE_DIR: %s: not an absolute path",
			       own);
	if (own && *own)
		n = snprintf(path, PATH_MAX, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(path, PATH_MAX, "/run/mayfly");
	else if (xdg && *xdg == '/' && is_mine(xdg))
		n = snprintf(path, PATH_MAX, "%s/mayfly", xdg);
	else
		n = snprintf(path, PATH_MAX, "/tmp/mayfly-%u",
			     (unsigned)geteuid());
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "state directory");
	return 0;
}

static int root_failed(int code, const char *path, struct err *err)
{
	err_set(err, code, "state directory %s", path);
	err_hint(err, "name one of your own: MAYFLY_STATE_DIR=/path");
	return code;
}

int state_open_root(int create, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	char path[PATH_MAX];
	struct stat st;
	int r = root_path(path, err);

	if (r < 0)
		return r;
	if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		return root_failed(-errno, path, err);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !create)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return root_failed(-errno, path, err);
	if (st.st_uid != geteuid() || (st.st_mode & 022)) {
		r = err_say(err, -EPERM, "state directory %s: %s", path,
			    st.st_uid != geteuid() ?
				    "belongs to another user" :
				    "others can write to it");
		err_hint(err, "name one of your own: MAYFLY_STATE_DIR=/path");
		return r;
	}
	return steal_fd(&fd);
}

int state_lock_root(int root, struct err *err)
{
	_cleanup_fd_ int fd = openat(root, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW |
						 O_CLOEXEC, 0600);
	uint64_t until = io_now_ns() + ROOT_LOCK_NS;

	if (fd < 0)
		return err_set(err, -errno, "state directory: lock");
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		const struct timespec step = { 0, ROOT_LOCK_STEP };

		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set(err, -errno, "state directory: lock");
		/* One that was stopped holding it shall not stop us all. */
		if (io_now_ns() > until)
			return err_say(err, -EBUSY, "state directory: another "
						    "mayfly keeps it locked");
		nanosleep(&step, NULL);
	}
	return steal_fd(&fd);
}

int state_is_id(const char *name)
{
	return strlen(name) == STATE_ID_MAX - 1 &&
	       strspn(name, "0123456789abcdef") == STATE_ID_MAX - 1;
}

int state_each(int root, int (*fn)(int root, const char *id, void *opaque),
	       void *opaque)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	const struct dirent *e;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, e = readdir(d)))
		if (state_is_id(e->d_name))
			r = fn(root, e->d_name, opaque);
	if (r == 0 && !e)
		r = -errno;
	closedir(d);
	return r;
}

/* --- one run ---------------------------------------------------------- */

int state_open_dir(int root, const char *id)
{
	int fd = openat(root, id,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int state_take_lock(int dir)
{
	_cleanup_fd_ int fd = openat(dir, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW |
						O_CLOEXEC, 0600);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &l) < 0)
		return -errno;
	return steal_fd(&fd);
}

int state_is_locked(int dir)
{
	_cleanup_fd_ int fd = openat(dir, LOCK,
				     O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					     O_CLOEXEC);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 &&
	       l.l_type != F_UNLCK;
}

/* A regular file of ours: anything else may block, or change under us. */
static int read_once(int dir, const char *id, struct record *r)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int code = io_read_own(dir, RECORD, RECORD_MAX, &text, &len);

	if (code < 0)
		return code;
	code = record_parse(r, text, len);
	if (code == 0 && strcmp(r->id, id)) {
		record_free(r);
		return -EBADMSG;
	}
	return code;
}

int state_read_record(int dir, const char *id, struct record *r)
{
	int code = read_once(dir, id, r);

	if (code < 0 || r->phase == PHASE_EXITED || state_is_locked(dir))
		return code;
	/*
	 * The lock was taken before the first record was written. It is free
	 * now, so whoever held it has said its last word: read that.
	 */
	record_free(r);
	code = read_once(dir, id, r);
	if (code == 0 && r->phase != PHASE_EXITED)
		r->phase = PHASE_LOST;
	return code;
}

static int open_new(int dir)
{
	return openat(dir, RECORD_NEW,
		      O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int state_write_record(int dir, struct record *r)
{
	_cleanup_fd_ int fd = open_new(dir);
	_cleanup_free_ char *text = NULL;
	int code;

	if (fd < 0)
		return -errno;
	text = record_format(r);
	if (!text)
		return -ENOMEM;
	code = io_write_all(fd, text, strlen(text));
	/* Cut last: a reserve is not to be given away before it is used. */
	if (code == 0 && (ftruncate(fd, (off_t)strlen(text)) < 0 ||
			  renameat(dir, RECORD_NEW, dir, RECORD) < 0))
		code = -errno;
	return code;
}

void state_reserve_record(int dir)
{
	_cleanup_fd_ int fd = open_new(dir);
	struct stat st;

	/* Not every file system can; then there is none. */
	if (fd >= 0 && fstatat(dir, RECORD, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fallocate(fd, 0, 0, st.st_size + RECORD_REPORT);
}

/* 0 where the file is gone, be it by us or not. */
static int unlink_one(int dir, const char *name, uint64_t *bytes)
{
	struct stat st;

	if (bytes && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		*bytes += (uint64_t)st.st_blocks * 512;
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int unlink_files(int dir, uint64_t *bytes)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *e;
	int code = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(d))) {
		int r = 0;

		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    strcmp(e->d_name, LOCK))
			r = unlink_one(dir, e->d_name, bytes);
		code = code ? code : r;
	}
	closedir(d);
	return code;
}

int state_remove_dir(int root, const char *id, int dir, uint64_t *bytes)
{
	int code;

	if (dir < 0)
		return unlink_one(root, id, bytes);
	/* Without a record it is on no list, and has no name. */
	code = unlink_one(dir, RECORD, bytes);
	if (code == 0)
		code = unlink_files(dir, bytes);
	if (code == 0)
		code = unlink_one(dir, LOCK, bytes);
	if (code == 0 && unlinkat(root, id, AT_REMOVEDIR) < 0 &&
	    errno != ENOENT)
		code = -errno;
	return code;
}
