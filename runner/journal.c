/* SPDX-License-Identifier: Apache-2.0 */
/* What a detached command wrote: the files that keep it. */
#include "runner/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/format.h"

#define LOG	"log"
#define LOG_OLD "log.1"
#define LOG_NEW "log.new"

/* --- the writer ------------------------------------------------------- */

struct journal {
	int dir, fd;
	uint64_t number, size;
	uint64_t lost; /* bytes that no entry tells of yet */
};

/* The file that comes after the present one, complete with its head before
 * anybody can see it. */
static int next_file(struct journal *j)
{
	const struct journal_file head = { JOURNAL_MAGIC, j->number + 1 };
	_cleanup_fd_ int fd = openat(j->dir, LOG_NEW,
				     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
					     O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, &head, sizeof(head));
	if (r < 0)
		return r;
	if (j->number && renameat(j->dir, LOG, j->dir, LOG_OLD) < 0)
		return -errno;
	if (renameat(j->dir, LOG_NEW, j->dir, LOG) < 0)
		return -errno;
	close_fd(&j->fd);
	j->fd = steal_fd(&fd);
	j->number++;
	j->size = sizeof(head);
	return 0;
}

int journal_create(struct journal **out, int dirfd, struct err *err)
{
	struct journal *j = calloc(1, sizeof(*j));
	int r = j ? 0 : -ENOMEM;

	if (j) {
		j->dir = dirfd;
		j->fd = -1;
		r = next_file(j);
	}
	if (r < 0)
		journal_free(&j);
	*out = j;
	return r < 0 ? err_set(err, r, "state directory: log") : 0;
}

/* What may stand in front of an entry, and the entry. */
enum { LOST_HEAD, LOST_BYTES, HEAD, DATA, PARTS };

/* The parts from @v[0] on, all of them or nothing: what was begun is cut off
 * again. */
static int put(struct journal *j, const struct iovec *v, int n)
{
	size_t all = 0;
	ssize_t done;
	int r;

	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	if (j->size + all > JOURNAL_FILE_MAX) {
		r = next_file(j);
		if (r < 0)
			return r;
	}
	do
		done = pwritev(j->fd, v, n, (off_t)j->size);
	while (done < 0 && errno == EINTR);
	if (done == (ssize_t)all) {
		j->size += all;
		j->lost = 0;
		return 0;
	}
	r = done < 0 ? -errno : -ENOSPC;
	return ftruncate(j->fd, (off_t)j->size) < 0 ? -errno : r;
}

/*
 * An entry, with what is lost in front of it. The two go together: a full
 * disk that has room for the small one would be full of those. A follower
 * that saw the first before it was cut off finds one of the same size there.
 */
static int put_entry(struct journal *j, enum journal_stream stream,
		     const void *data, uint32_t len)
{
	const uint64_t now = format_now();
	struct journal_head lost = { JOURNAL_MARK, JOURNAL_LOST,
				     sizeof(j->lost), now };
	struct journal_head h = { JOURNAL_MARK, (uint16_t)stream, len, now };
	const struct iovec v[PARTS] = {
		[LOST_HEAD] = { &lost, sizeof(lost) },
		[LOST_BYTES] = { &j->lost, sizeof(j->lost) },
		[HEAD] = { &h, sizeof(h) },
		[DATA] = { (void *)data, len },
	};
	const int first = j->lost ? LOST_HEAD : HEAD;

	return put(j, v + first, (len ? PARTS : HEAD) - first);
}

void journal_free(struct journal **j)
{
	if (!*j)
		return;
	if ((*j)->lost)
		put_entry(*j, JOURNAL_LOST, NULL, 0);
	close_fd(&(*j)->fd);
	free(*j);
	*j = NULL;
}

int journal_write(struct journal *j, enum journal_stream stream,
		  const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		uint32_t n = (uint32_t)MIN(len, (size_t)JOURNAL_DATA_MAX);
		int r = put_entry(j, stream, p, n);

		if (r < 0) {
			j->lost += len;
			return r;
		}
		p += n;
		len -= n;
	}
	return 0;
}

/* --- the reader ------------------------------------------------------- */

#define WINDOW (2 * (sizeof(struct journal_head) + JOURNAL_DATA_MAX))
#define TRIES  4

struct journal_reader {
	int dir, fd, watch;
	uint64_t number;
	uint64_t pos;	   /* in the file, of the next entry */
	uint64_t at;	   /* in the file, of buf[0] */
	size_t have;	   /* bytes in buf */
	uint64_t lost;	   /* to tell of first */
	uint8_t buf[WINDOW];
};

/* The file and its number. -ENOENT, or -EBADMSG where it is none of ours. */
static int open_file(int dir, const char *name, uint64_t *number)
{
	_cleanup_fd_ int fd = openat(dir, name,
				     O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					     O_CLOEXEC);
	struct journal_file head;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EBADMSG;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    io_pread_full(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    head.magic != JOURNAL_MAGIC || !head.number)
		return -EBADMSG;
	*number = head.number;
	return steal_fd(&fd);
}

/*
 * The file with the lowest number above @after, or -errno. The two names are
 * looked at one after the other, and a rotation may come between: where a
 * number seems to be missing, look again.
 */
static int open_after(int dir, uint64_t after, uint64_t *number)
{
	static const char *const names[] = { LOG_OLD, LOG };
	int code = -ENOENT;

	for (int tries = TRIES; tries; tries--) {
		_cleanup_fd_ int best = -1;

		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			_cleanup_fd_ int fd = -1;
			uint64_t n;

			fd = open_file(dir, names[i], &n);
			if (fd < 0 && fd != -ENOENT)
				code = fd;
			if (fd < 0 || n <= after || (best >= 0 && n > *number))
				continue;
			close_fd(&best);
			best = steal_fd(&fd);
			*number = n;
		}
		if (best >= 0 && (*number == after + 1 || tries == 1))
			return steal_fd(&best);
		if (best < 0 && after)
			return code;
	}
	return code;
}

static void use_file(struct journal_reader *r, int fd, uint64_t number)
{
	close_fd(&r->fd);
	r->fd = fd;
	if (r->number && number > r->number + 1)
		r->lost = (number - r->number - 1) * JOURNAL_FILE_MAX;
	r->number = number;
	r->pos = r->at = sizeof(struct journal_file);
	r->have = 0;
}

int journal_open(struct journal_reader **out, int dirfd, struct err *err)
{
	struct journal_reader *r = malloc(sizeof(*r));
	uint64_t number;
	int fd;

	*out = NULL;
	if (!r)
		return err_set(err, -ENOMEM, "log");
	*r = (struct journal_reader){ .dir = -1, .fd = -1, .watch = -1 };
	fd = open_after(dirfd, 0, &number);
	if (fd >= 0) {
		use_file(r, fd, number);
		r->dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd = r->dir < 0 ? -errno : 0;
	}
	if (fd < 0) {
		journal_reader_free(&r);
		return fd == -ENOENT ? fd : err_set(err, fd, "log");
	}
	*out = r;
	return 0;
}

void journal_reader_free(struct journal_reader **r)
{
	if (!*r)
		return;
	close_fd(&(*r)->fd);
	close_fd(&(*r)->dir);
	close_fd(&(*r)->watch);
	free(*r);
	*r = NULL;
}

/* Bytes of the file from pos on, up to @want, that are in the buffer. Where
 * they are too few all are read again: a part may have been cut off by now. */
static ssize_t ahead(struct journal_reader *r, size_t want)
{
	size_t skip = (size_t)(r->pos - r->at);
	ssize_t n;

	if (r->have - skip >= want)
		return (ssize_t)(r->have - skip);
	r->have = 0;
	r->at = r->pos;
	n = io_pread_full(r->fd, r->buf, sizeof(r->buf), (off_t)r->at);
	if (n > 0)
		r->have = (size_t)n;
	return n;
}

/* 1 an entry is whole in the buffer at pos; 0 nothing; -EAGAIN a part. */
static int look(struct journal_reader *r, struct journal_head *h)
{
	ssize_t n = ahead(r, sizeof(*h));

	if (n <= 0)
		return (int)n;
	if (n < (ssize_t)sizeof(*h))
		return -EAGAIN;
	memcpy(h, r->buf + (r->pos - r->at), sizeof(*h));
	if (h->mark != JOURNAL_MARK || !h->len || h->len > JOURNAL_DATA_MAX ||
	    (h->stream == JOURNAL_LOST && h->len != sizeof(uint64_t)) ||
	    h->stream < JOURNAL_STDOUT || h->stream > JOURNAL_LOST)
		return -EBADMSG;
	n = ahead(r, sizeof(*h) + h->len);
	if (n < 0)
		return (int)n;
	/* Read again, it may have become another one. */
	if (n >= (ssize_t)sizeof(*h) &&
	    memcmp(h, r->buf + (r->pos - r->at), sizeof(*h)))
		return look(r, h);
	return n < (ssize_t)(sizeof(*h) + h->len) ? -EAGAIN : 1;
}

/* Another file stands where ours did. */
static int is_rotated(const struct journal_reader *r)
{
	struct stat mine, now;

	return fstat(r->fd, &mine) == 0 &&
	       fstatat(r->dir, LOG, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (mine.st_ino != now.st_ino || mine.st_dev != now.st_dev);
}

static void take(struct journal_reader *r, const struct journal_head *h,
		 struct journal_entry *e)
{
	const uint8_t *data = r->buf + (r->pos - r->at) + sizeof(*h);

	*e = (struct journal_entry){ .stream = (enum journal_stream)h->stream,
				     .time_ns = h->time_ns,
				     .data = data,
				     .len = h->len };
	if (h->stream == JOURNAL_LOST) {
		memcpy(&e->lost, data, sizeof(e->lost));
		e->data = NULL;
		e->len = 0;
	}
	r->pos += sizeof(*h) + h->len;
}

int journal_next(struct journal_reader *r, struct journal_entry *e)
{
	struct journal_head h;

	for (;;) {
		int code, fd;
		uint64_t number;

		if (r->lost) {
			*e = (struct journal_entry){ .stream = JOURNAL_LOST,
						     .time_ns = format_now(),
						     .lost = r->lost };
			r->lost = 0;
			return 1;
		}
		code = look(r, &h);
		/* A file is whole once there is a next one, and not before:
		 * so look for that first, then to its end once more. */
		if ((code == 0 || code == -EAGAIN) && is_rotated(r)) {
			code = look(r, &h);
			fd = code == 1 ? -1 :
					 open_after(r->dir, r->number, &number);
			if (fd >= 0) {
				use_file(r, fd, number);
				continue;
			}
		}
		if (code == 1)
			take(r, &h, e);
		return code;
	}
}

uint64_t journal_number(const struct journal_reader *r)
{
	return r->number;
}

int journal_watch(struct journal_reader *r)
{
	char path[32];

	if (r->watch >= 0)
		return r->watch;
	r->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r->watch < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->dir);
	if (inotify_add_watch(r->watch, path,
			      IN_MODIFY | IN_MOVED_TO | IN_DELETE) < 0) {
		int code = -errno;

		close_fd(&r->watch);
		return code;
	}
	return r->watch;
}

void journal_woken(struct journal_reader *r)
{
	char buf[4096];

	while (r->watch >= 0 && read(r->watch, buf, sizeof(buf)) > 0)
		;
}
