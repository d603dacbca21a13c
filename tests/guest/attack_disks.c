/* SPDX-License-Identifier: Apache-2.0 */
/* The disks that attack-run gives to its guests. */
#include "tests/guest/attack_disks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/guest/attack_host.h"

#define SECTOR	  512u
#define PART_SIZE (ATTACK_PART * SECTOR)
#define GROWN_MAX (64 << 20)

/* Files of the disks, one after the other. All are open for writing: to refuse
 * is the VMM's part. */
static const struct file {
	uint64_t from, size; /* of the disk */
	int empty;	     /* else filled as attack_host.h says */
	int written;
} files[ATTACK_FILES] = {
	{ 0, ATTACK_DISK, 0, 1 },
	{ 0, ATTACK_DISK, 0, 0 },
	{ 0, ATTACK_DISK, 0, 0 }, /* a base, */
	{ 0, ATTACK_DISK, 1, 1 }, /* its upper */
	{ 0, PART_SIZE, 0, 0 },	  /* parts of one disk */
	{ PART_SIZE, 3 * PART_SIZE, 0, 0 },
	{ 4 * PART_SIZE, 0, 0, 0 },
	{ 4 * PART_SIZE, ATTACK_DISK - 4 * PART_SIZE, 0, 0 },
	{ 0, ATTACK_DISK, 0, 1 },
};

static const struct ctl_disk disks[] = {
	{ .nfds = 1, .kind = CTL_DISK_DRIVE },
	{ .nfds = 1, .kind = CTL_DISK_READ },
	{ .nfds = 2, .kind = CTL_DISK_COW },
	{ .nfds = 4, .kind = CTL_DISK_READ },
	{ .nfds = 1, .kind = CTL_DISK_SCRATCH,
	  .ops = { .size = ATTACK_OPS, .refill_ms = ATTACK_REFILL_MS },
	  .bytes = { .size = ATTACK_BYTES, .refill_ms = ATTACK_REFILL_MS } },
};

/* The number that sector @i of file @f begins with; 0 past those filled. */
static uint8_t mark(const struct file *f, unsigned i)
{
	uint64_t sector = f->from / SECTOR + i;

	return sector < ATTACK_FILLED && !f->empty ? (uint8_t)(sector + 1) : 0;
}

static unsigned filled(const struct file *f)
{
	return (unsigned)MIN(f->size / SECTOR, ATTACK_FILLED);
}

static int make_file(const struct file *f)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	uint8_t sector[SECTOR];

	if (fd < 0 || ftruncate(fd, (off_t)f->size) < 0)
		return -1;
	for (unsigned i = 0; i < filled(f) && mark(f, i); i++) {
		memset(sector, mark(f, i), sizeof(sector));
		if (pwrite(fd, sector, SECTOR, i * SECTOR) != SECTOR)
			return -1;
	}
	return fd;
}

void attack_disks_init(struct attack_disks *d)
{
	memset(d->fd, -1, sizeof(d->fd));
}

void attack_disks_free(struct attack_disks *d)
{
	for (unsigned i = 0; i < ATTACK_FILES; i++)
		close_fd(&d->fd[i]);
}

void attack_disks_give(struct attack_disks *d, struct ctl_boot *b, int *fds,
		       int *n)
{
	unsigned file = 0;

	for (b->ndisks = 0; b->ndisks < ARRAY_SIZE(disks); b->ndisks++) {
		struct ctl_disk *to = &b->disk[b->ndisks];

		*to = disks[b->ndisks];
		to->fd = *n;
		for (unsigned i = 0; i < to->nfds; i++, file++) {
			if (d->fd[file] < 0)
				d->fd[file] = make_file(&files[file]);
			fds[(*n)++] = dup(d->fd[file]);
		}
	}
}

static const char *judge_content(const struct file *f, int fd)
{
	uint8_t sector[SECTOR];

	for (unsigned i = 0; i < filled(f); i++) {
		if (pread(fd, sector, SECTOR, i * SECTOR) != SECTOR)
			return "read the disk";
		for (unsigned k = 0; k < SECTOR; k++)
			if (sector[k] != mark(f, i))
				return "a file that is only read was written";
	}
	return NULL;
}

const char *attack_disks_judge(const struct attack_disks *d)
{
	for (unsigned i = 0; i < ATTACK_FILES; i++) {
		const struct file *f = &files[i];
		int64_t most = f->written ? GROWN_MAX : 1 << 20;
		const char *what = NULL;
		struct stat st;

		if (fstat(d->fd[i], &st) < 0 || st.st_size != (off_t)f->size)
			return "a disk has another size";
		if (st.st_blocks * SECTOR > most)
			return "a disk has grown";
		if (!f->written)
			what = judge_content(f, d->fd[i]);
		if (what)
			return what;
	}
	return NULL;
}
