/* SPDX-License-Identifier: Apache-2.0 */
/* A file or block device as bytes, and a disk that is just that. */
#include "runner/disk/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/disk/disk.h"

int raw_init(struct raw *r, int fd, bool readonly, struct err *err)
{
	uint64_t size;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "fstat");
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return err_say(err, -EINVAL,
			       "neither a regular file nor a block device");
	else if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		return err_set(err, -errno, "size of the block device");
	if (!readonly && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return err_say(err, -EBADF, "not open for writing");
	*r = (struct raw){ .fd = fd, .size = size, .readonly = readonly };
	return 0;
}

int raw_sectors(const struct raw *r, struct err *err)
{
	if (r->size == 0)
		return err_say(err, -EINVAL, "the image is empty");
	if (r->size % DISK_SECTOR == 0)
		return 0;
	err_say(err, -EINVAL,
		"%llu bytes is not a whole number of 512-byte sectors",
		(unsigned long long)r->size);
	return err_hint(err, "pad it: truncate -s %%512 FILE");
}

void raw_free(struct raw *r)
{
	close_fd(&r->fd);
}

/* Drop the first @n bytes. */
static void advance(struct iovec **iov, unsigned *cnt, size_t n)
{
	while (*cnt && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*cnt)--;
	}
	if (*cnt) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

static ssize_t read_some(const struct raw *r, const struct iovec *iov,
			 unsigned n, uint64_t off, int flags)
{
	ssize_t got;

	if (!(flags & DISK_NOWAIT))
		return preadv(r->fd, iov, (int)n, (off_t)off);
	got = preadv2(r->fd, iov, (int)n, (off_t)off, RWF_NOWAIT);
	/* A file system that cannot tell; or an end of the file that may be
	 * none: Linux 5.9 and 5.10 say 0 of what is not in memory
	 * (preadv2(2), BUGS). */
	if (got > 0 || (got < 0 && errno != EOPNOTSUPP))
		return got;
	errno = EAGAIN;
	return -1;
}

int raw_readv(const struct raw *r, struct iovec *iov, unsigned n, uint64_t off,
	      int flags)
{
	while (n) {
		ssize_t got = read_some(r, iov, n, off, flags);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0) {
			memset(iov->iov_base, 0, iov->iov_len);
			got = (ssize_t)iov->iov_len;
		}
		off += (uint64_t)got;
		advance(&iov, &n, (size_t)got);
	}
	return 0;
}

int raw_writev(const struct raw *r, struct iovec *iov, unsigned n, uint64_t off)
{
	if (r->readonly)
		return -EROFS;
	while (n) {
		ssize_t put = pwritev(r->fd, iov, (int)n, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		off += (uint64_t)put;
		advance(&iov, &n, (size_t)put);
	}
	return 0;
}

int raw_read_part(const struct raw *r, struct iovec **iov, unsigned *n,
		  uint64_t len, uint64_t off, int flags)
{
	struct iovec *first = *iov, cut = { 0 };
	unsigned whole = 0;
	int ret;

	while (whole < *n && first[whole].iov_len <= len)
		len -= first[whole++].iov_len;
	/* What is left of @len ends inside the next. */
	if (whole == *n)
		len = 0;
	if (len) {
		cut = first[whole];
		first[whole].iov_len = len;
	}
	ret = raw_readv(r, first, whole + (len != 0), off, flags);
	if (len)
		first[whole] = (struct iovec){
			.iov_base = (uint8_t *)cut.iov_base + len,
			.iov_len = cut.iov_len - len };
	*iov += whole;
	*n -= whole;
	return ret;
}

int raw_flush(const struct raw *r)
{
	return fdatasync(r->fd) < 0 ? -errno : 0;
}

static int punch(const struct raw *r, int mode, uint64_t off, uint64_t len)
{
	int ret;

	if (r->readonly)
		return -EROFS;
	do
		ret = fallocate(r->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)off,
				(off_t)len);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* EINVAL: a block device does so by its own blocks only, which may be larger
 * than a sector. */
static bool cannot(int ret)
{
	return ret == -EOPNOTSUPP || ret == -EINVAL;
}

int raw_discard(const struct raw *r, uint64_t off, uint64_t len)
{
	int ret = punch(r, FALLOC_FL_PUNCH_HOLE, off, len);

	return cannot(ret) ? 0 : ret;
}

static int write_zeros(const struct raw *r, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[16 << 10];

	while (len) {
		struct iovec iov = { .iov_base = (void *)zeros,
				     .iov_len = MIN(len, sizeof(zeros)) };
		size_t n = iov.iov_len;
		int ret = raw_writev(r, &iov, 1, off);

		if (ret < 0)
			return ret;
		off += n;
		len -= n;
	}
	return 0;
}

int raw_zero(const struct raw *r, uint64_t off, uint64_t len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = punch(r, FALLOC_FL_PUNCH_HOLE, off, len);
	if (cannot(ret))
		ret = punch(r, FALLOC_FL_ZERO_RANGE, off, len);
	if (cannot(ret))
		ret = write_zeros(r, off, len);
	return ret;
}

/* --- a disk --------------------------------------------------------------- */

struct raw_disk {
	struct disk disk;
	struct raw raw;
};

static const struct raw *raw_of(struct disk *d)
{
	return &container_of(d, struct raw_disk, disk)->raw;
}

static int disk_readv(struct disk *d, struct iovec *iov, unsigned n,
		      uint64_t off, int flags)
{
	return raw_readv(raw_of(d), iov, n, off, flags);
}

static int disk_writev(struct disk *d, struct iovec *iov, unsigned n,
		       uint64_t off)
{
	return raw_writev(raw_of(d), iov, n, off);
}

static int disk_flush(struct disk *d)
{
	return d->durable ? raw_flush(raw_of(d)) : 0;
}

static int disk_discard(struct disk *d, uint64_t off, uint64_t len)
{
	return raw_discard(raw_of(d), off, len);
}

static int disk_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap)
{
	return raw_zero(raw_of(d), off, len, unmap);
}

static void raw_disk_free(struct disk *d)
{
	struct raw_disk *r = container_of(d, struct raw_disk, disk);

	raw_free(&r->raw);
	free(r);
}

static const struct disk_ops raw_ops = {
	.readv = disk_readv,
	.writev = disk_writev,
	.flush = disk_flush,
	.discard = disk_discard,
	.zero = disk_zero,
	.free = raw_disk_free,
};

struct disk *disk_raw_new(int fd, bool readonly, bool durable, struct err *err)
{
	_cleanup_free_ struct raw_disk *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(err, -ENOMEM, "disk");
		return NULL;
	}
	if (raw_init(&r->raw, fd, readonly, err) < 0 ||
	    raw_sectors(&r->raw, err) < 0)
		return NULL;
	r->disk = (struct disk){ .ops = &raw_ops, .size = r->raw.size,
				 .readonly = readonly, .durable = durable };
	return &steal_ptr(&r)->disk;
}
