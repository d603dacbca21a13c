/* SPDX-License-Identifier: Apache-2.0 */
/* A disk of the user's. */
#include "runner/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/scratch.h"

#define SECTOR	  512 /* virtio 1.2 5.2.5: a disk is a number of them */
#define REFILL_MS 1000

/* udev looks at a block device under a shared lock each time that somebody
 * has written to it: for a moment. */
#define LOCK_TRIES 100
#define LOCK_PAUSE 10000000l /* ns */

static int lock(int fd, int is_block, int how)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE };

	for (int i = 0; flock(fd, how | LOCK_NB) < 0; i++) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK || !is_block || i == LOCK_TRIES)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int in_use(const struct config_drive *d, struct err *err)
{
	int r = err_say(err, -EBUSY, "%s: in use", d->path);

	if (d->mode == CONFIG_DRIVE_WRITE)
		err_hint(err, "one VM at a time can write to it, by one name; "
			      "with %s,cow each sees its own writes", d->path);
	else
		err_hint(err, "a VM writes to it: another one, or this one by "
			      "another --drive");
	return r;
}

static int size_of(int fd, const struct stat *st, uint64_t *size)
{
	*size = (uint64_t)st->st_size;
	return S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, size) < 0 ?
		       -errno : 0;
}

static int check_size(const struct config_drive *d, int fd,
		      const struct stat *st, uint64_t *size, struct err *err)
{
	int r = size_of(fd, st, size);

	if (r < 0)
		return err_set(err, r, "%s", d->path);
	if (!*size) {
		r = err_say(err, -EINVAL, "%s: it is empty", d->path);
		err_hint(err, "give it a size: truncate -s 1G %s", d->path);
		return r;
	}
	if (*size % SECTOR) {
		r = err_say(err, -EINVAL,
			    "%s: %llu bytes is not a whole number of sectors "
			    "of %d bytes", d->path,
			    (unsigned long long)*size, SECTOR);
		err_hint(err, "truncate -s %%%d %s", SECTOR, d->path);
	}
	return r;
}

/*
 * O_NONBLOCK: a FIFO must not hold us up before it is refused. O_EXCL, which
 * says nothing of files, of a block device: that no file system is mounted
 * from it.
 */
static int open_drive(const struct config_drive *d, struct stat *st,
		      struct err *err)
{
	int writes = d->mode == CONFIG_DRIVE_WRITE, r;
	_cleanup_fd_ int fd = -1;

	if (stat(d->path, st) < 0)
		return err_set(err, -errno, "%s", d->path);
	if (S_ISDIR(st->st_mode))
		return err_set(err, -EISDIR, "%s", d->path);
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return err_say(err, -EINVAL,
			       "%s: neither a file nor a block device",
			       d->path);
	fd = open(d->path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC |
				   O_NONBLOCK |
				   (writes && S_ISBLK(st->st_mode) ? O_EXCL : 0));
	if (fd < 0 && errno == EBUSY)
		return in_use(d, err);
	if (fd < 0) {
		r = err_set(err, -errno, "open %s", d->path);
		if (writes && (r == -EACCES || r == -EROFS || r == -EPERM))
			err_hint(err, "%s,ro only reads it; with %s,cow writes "
				      "vanish with the VM", d->path, d->path);
		return r;
	}
	r = lock(fd, S_ISBLK(st->st_mode), writes ? LOCK_EX : LOCK_SH);
	if (r == -EWOULDBLOCK)
		return in_use(d, err);
	if (r < 0)
		return err_set(err, r, "lock %s", d->path);
	return fstat(fd, st) < 0 ? err_set(err, -errno, "%s", d->path) :
				   steal_fd(&fd);
}

/* What keeps the changes to a disk of @size bytes. */
static int upper(uint64_t size, struct err *err)
{
	_cleanup_fd_ int fd = scratch_file(scratch_dir(), err);

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size) < 0)
		return err_set(err, -errno, "a file of %llu bytes in %s",
			       (unsigned long long)size, scratch_dir());
	return steal_fd(&fd);
}

void drive_rates(const struct config_rates *rates, struct ctl_rate out[2])
{
	const struct config_rate *in[2] = { &rates->ops, &rates->bytes };

	for (int i = 0; i < 2; i++)
		out[i] = (struct ctl_rate){
			.size = in[i]->size,
			.burst = in[i]->burst,
			.refill_ms = in[i]->size ? REFILL_MS : 0,
		};
}

int drive_add(struct machine *m, const struct config_drive *d,
	      const struct ctl_rate rate[2], struct err *err)
{
	static const enum ctl_disk_kind kinds[] = {
		[CONFIG_DRIVE_WRITE] = CTL_DISK_DRIVE,
		[CONFIG_DRIVE_READ] = CTL_DISK_READ,
		[CONFIG_DRIVE_COW] = CTL_DISK_COW,
	};
	int fd[2] = { -1, -1 }, r = 0;
	uint64_t size;
	struct stat st;

	fd[0] = open_drive(d, &st, err);
	if (fd[0] < 0)
		return err_wrap(err, "drive");
	r = check_size(d, fd[0], &st, &size, err);
	if (r == 0 && d->mode == CONFIG_DRIVE_COW) {
		fd[1] = upper(size, err);
		r = MIN(fd[1], 0);
	}
	if (r < 0) {
		close(fd[0]);
		return err_wrap(err, "drive");
	}
	machine_disk(m, kinds[d->mode], fd, fd[1] < 0 ? 1 : 2, rate);
	return 0;
}
