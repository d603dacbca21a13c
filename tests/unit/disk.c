/* SPDX-License-Identifier: Apache-2.0 */
/* Disks of files: each against a flat array of what it should hold. */
#include "runner/disk/disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define CLUSTER 4096u

/* A block device of larger blocks than sectors: in place of libc's. */
static off_t coarse = 1;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if ((off | len) % coarse == 0)
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	errno = EINVAL;
	return -1;
}

/* What preadv2() with RWF_NOWAIT gives, once it has read so many sectors: in
 * place of libc's. */
static ssize_t nowait;
static int nowait_errno, nowait_sectors;

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	cr_assert_eq(flags, RWF_NOWAIT);
	cr_assert_geq(n, 1);
	if (nowait_sectors-- > 0)
		return pread(fd, iov->iov_base, MIN(iov->iov_len, 512), off);
	errno = nowait_errno;
	return nowait;
}

static uint32_t seed = 1;

static uint32_t pick(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	if (data)
		cr_assert_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(pick(255) + 1);
}

/* @len bytes at @p as a list of 1 to 8 buffers. */
static unsigned cut(struct iovec *iov, uint8_t *p, size_t len)
{
	unsigned n = 0, most = pick(8) + 1;

	while (len) {
		size_t k = ++n == most ? len : pick((uint32_t)len) + 1;

		iov[n - 1] = (struct iovec){ p, k };
		p += k;
		len -= k;
	}
	return n;
}

static int rd(struct disk *d, uint8_t *p, size_t len, uint64_t off)
{
	struct iovec iov[8];
	unsigned n = cut(iov, p, len);

	return d->ops->readv(d, iov, n, off, 0);
}

static int wr(struct disk *d, uint8_t *p, size_t len, uint64_t off)
{
	struct iovec iov[8];
	unsigned n = cut(iov, p, len);

	return d->ops->writev(d, iov, n, off);
}

/* --- raw ------------------------------------------------------------------ */

Test(raw, bad_images_are_refused_in_words)
{
	struct err err = { 0 };
	int fd = memfd_create("x", 0), p[2];

	cr_assert_null(disk_raw_new(fd, false, true, &err));
	cr_assert_eq(ftruncate(fd, 513), 0);
	cr_assert_null(disk_raw_new(fd, false, true, &err));
	cr_assert(strstr(err.msg, "513") && err.hint[0]);
	cr_assert_eq(pipe(p), 0);
	cr_assert_null(disk_raw_new(p[0], false, true, &err));
	cr_assert_null(disk_raw_new(-1, false, true, &err));
	cr_assert_eq(err.code, -EBADF);
	cr_assert_null(disk_raw_new(open("/proc/self/exe", O_RDONLY), false,
				    true, &err));
	cr_assert(strstr(err.msg, "writing"));
}

Test(raw, flush_is_for_what_is_to_last)
{
	struct disk *d = disk_raw_new(file_of(NULL, 512), false, false, NULL);

	cr_assert_not(d->durable);
	cr_assert_eq(d->ops->flush(d), 0);
	disk_free(d);
	d = disk_raw_new(file_of(NULL, 512), false, true, NULL);
	cr_assert(d->durable);
	cr_assert_eq(d->ops->flush(d), 0);
	disk_free(d);
}

Test(raw, zeroes_less_than_a_block_of_the_device)
{
	static uint8_t data[4 * CLUSTER], now[sizeof(data)];
	struct disk *d;

	fill(data, sizeof(data));
	d = disk_raw_new(file_of(data, sizeof(data)), false, false, NULL);
	coarse = CLUSTER;
	cr_expect_eq(d->ops->discard(d, 512, 1024), 0);
	for (int unmap = 0; unmap < 2; unmap++) {
		uint64_t off = unmap ? 512 : CLUSTER + 512;

		cr_expect_eq(d->ops->zero(d, off, 1024, unmap), 0);
		memset(data + off, 0, 1024);
	}
	cr_assert_eq(rd(d, now, sizeof(now), 0), 0);
	cr_expect_arr_eq(now, data, sizeof(data));
	disk_free(d);
}

static uint8_t page[CLUSTER], page_got[CLUSTER];

static int rd_nowait(int sectors, ssize_t then, int error)
{
	struct disk *d = disk_raw_new(file_of(page, CLUSTER), true, false,
				      NULL);
	struct iovec iov = { page_got, CLUSTER };
	int r;

	cr_assert_not_null(d);
	nowait_sectors = sectors;
	nowait = then;
	nowait_errno = error;
	r = d->ops->readv(d, &iov, 1, 0, DISK_NOWAIT);
	disk_free(d);
	return r;
}

Test(raw, what_is_in_memory_is_read_without_waiting)
{
	fill(page, CLUSTER);
	cr_assert_eq(rd_nowait(8, -1, EIO), 0);
	cr_assert_arr_eq(page_got, page, CLUSTER);
}

/* 0 is what Linux 5.9 and 5.10 say of it: zeros would be taken for data. */
Test(raw, what_is_not_waits_for_a_patient_read)
{
	for (int sectors = 0; sectors < 8; sectors++) {
		cr_assert_eq(rd_nowait(sectors, -1, EAGAIN), -EAGAIN);
		cr_assert_eq(rd_nowait(sectors, -1, EOPNOTSUPP), -EAGAIN);
		cr_assert_eq(rd_nowait(sectors, 0, 0), -EAGAIN);
	}
	cr_assert_eq(rd_nowait(0, -1, EIO), -EIO);
}

/* --- concat --------------------------------------------------------------- */

static const size_t part_size[] = { 0,	   4096, 0,    8192, 4096,
				    12288, 0,	 2560, 0 };
#define PARTS (sizeof(part_size) / sizeof(*part_size))
#define WHOLE (4096 + 8192 + 4096 + 12288 + 2560)

static struct disk *concat(const uint8_t *flat, int *fds)
{
	size_t at = 0;

	for (unsigned i = 0; i < PARTS - 1; i++) {
		fds[i] = file_of(flat + at, part_size[i]);
		at += part_size[i];
	}
	return disk_concat_new(fds, PARTS - 1, NULL);
}

Test(concat, reads_across_borders_like_one_file)
{
	static uint8_t flat[WHOLE], got[WHOLE];
	struct disk *d;
	int fds[PARTS];

	fill(flat, WHOLE);
	d = concat(flat, fds);
	cr_assert_not_null(d);
	cr_assert_eq(d->size, WHOLE);
	cr_assert(d->readonly);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t off = pick(WHOLE), len = pick(WHOLE - off) + 1;

		if (i & 1) { /* near a border */
			off = 4096 * (pick(6) + 1) - pick(3) * 512;
			len = pick(4) * 512 + 512;
			len = MIN(len, WHOLE - off);
		}
		cr_assert_eq(rd(d, got, len, off), 0);
		cr_assert_arr_eq(got, flat + off, len);
	}
	disk_free(d);
	cr_assert_lt(fcntl(fds[1], F_GETFD), 0, "it owned them");
}

Test(concat, file_that_shrank_reads_as_zeros)
{
	static uint8_t flat[WHOLE], got[WHOLE];
	struct disk *d;
	int fds[PARTS];

	fill(flat, WHOLE);
	d = concat(flat, fds);
	cr_assert_eq(ftruncate(fds[3], 100), 0);
	cr_assert_eq(rd(d, got, WHOLE, 0), 0);
	memset(flat + 4096 + 100, 0, 8192 - 100);
	cr_assert_arr_eq(got, flat, WHOLE);
	disk_free(d);
}

Test(concat, bad_parts_are_refused_and_stay_open)
{
	int fds[3] = { file_of(NULL, 4096), file_of(NULL, 4608),
		       file_of(NULL, 4096) };
	struct err err = { 0 };

	cr_assert_null(disk_concat_new(fds, 3, &err));
	cr_assert(strstr(err.msg, "part 2: "), "%s", err.msg);
	cr_assert_eq(ftruncate(fds[1], 4096), 0);
	cr_assert_eq(ftruncate(fds[2], 513), 0);
	cr_assert_null(disk_concat_new(fds, 3, &err));
	cr_assert_eq(ftruncate(fds[0], INT64_MAX / 4096 * 4096), 0);
	cr_assert_eq(ftruncate(fds[2], 4096), 0);
	cr_assert_null(disk_concat_new(fds, 3, &err));
	cr_assert_eq(err.code, -EFBIG);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(ftruncate(fds[i], 0), 0);
	cr_assert_null(disk_concat_new(fds, 3, &err));
	cr_assert_eq(err.code, -EINVAL);
}

/* --- overlay -------------------------------------------------------------- */

#define SECTORS (CLUSTER / 512 * 150 + 3) /* the last cluster is short */
#define SIZE	(SECTORS * 512u)

static uint8_t base[SIZE], flat[SIZE], got[SIZE];
static int base_fd, upper_fd;

static struct disk *overlay(void)
{
	fill(base, SIZE);
	memcpy(flat, base, SIZE);
	base_fd = file_of(base, SIZE);
	upper_fd = file_of(NULL, SIZE);
	return disk_overlay_new(dup(base_fd), dup(upper_fd), NULL);
}

static void expect_all(struct disk *d)
{
	cr_assert_eq(rd(d, got, SIZE, 0), 0);
	cr_assert_arr_eq(got, flat, SIZE);
	cr_assert_eq(pread(base_fd, got, SIZE, 0), SIZE);
	cr_assert_arr_eq(got, base, SIZE, "the base has changed");
}

static uint64_t blocks(void)
{
	struct stat st;

	cr_assert_eq(fstat(upper_fd, &st), 0);
	cr_assert_eq(st.st_size, SIZE);
	return (uint64_t)st.st_blocks * 512;
}

/* A discarded sector is what it was, or zeros. */
static void learn(uint32_t off, uint32_t len)
{
	static const uint8_t zeros[512];

	for (uint32_t i = 0; i < len; i += 512)
		cr_assert(!memcmp(got + i, flat + off + i, 512) ||
			  !memcmp(got + i, zeros, 512));
	memcpy(flat + off, got, len);
}

static void random_op(struct disk *d)
{
	uint32_t most = pick(2) ? 24 : SECTORS;
	uint32_t sector = pick(SECTORS);
	uint32_t some = pick(most) + 1, n = MIN(some, SECTORS - sector);
	uint32_t off = sector * 512, len = n * 512;

	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		fill(got, len);
		memcpy(flat + off, got, len);
		cr_assert_eq(wr(d, got, len, off), 0);
		break;
	case 3:
		cr_assert_eq(d->ops->discard(d, off, len), 0);
		cr_assert_eq(rd(d, got, len, off), 0);
		learn(off, len);
		break;
	case 4:
		cr_assert_eq(d->ops->zero(d, off, len, pick(2)), 0);
		memset(flat + off, 0, len);
		break;
	case 5:
		cr_assert_eq(d->ops->flush(d), 0);
		break;
	default:
		cr_assert_eq(rd(d, got, len, off), 0);
		cr_assert_arr_eq(got, flat + off, len);
	}
}

Test(overlay, is_a_flat_file_whatever_is_done_to_it)
{
	for (unsigned round = 0; round < 12; round++) {
		struct disk *d = overlay();

		cr_assert_not_null(d);
		expect_all(d);
		for (unsigned i = 0; i < 600; i++) {
			random_op(d);
			if (i % 50 == 0)
				expect_all(d);
		}
		expect_all(d);
		disk_free(d);
		close(base_fd);
		close(upper_fd);
	}
}

/* Each write of one, two, three sectors, at each place: on a fresh disk. */
Test(overlay, edges_of_clusters)
{
	for (uint32_t sector = 0; sector < 24; sector++)
		for (uint32_t n = 1; n < 20; n += n < 4 ? 1 : 5) {
			uint32_t at = sector < 17 ? sector :
					SECTORS - 24 + sector;
			uint32_t len = MIN(n, SECTORS - at) * 512;
			struct disk *d = overlay();

			fill(got, len);
			memcpy(flat + at * 512, got, len);
			cr_assert_eq(wr(d, got, len, at * 512), 0);
			expect_all(d);
			disk_free(d);
			close(base_fd);
			close(upper_fd);
		}
}

Test(overlay, takes_no_more_than_was_written_and_gives_it_back)
{
	struct disk *d = overlay();

	cr_assert_eq(rd(d, got, SIZE, 0), 0);
	cr_assert_eq(blocks(), 0, "reads");
	fill(got, 512);
	cr_assert_eq(wr(d, got, 512, 5 * CLUSTER + 512), 0);
	cr_assert_eq(blocks(), CLUSTER);
	cr_assert_eq(wr(d, got, 512, SIZE - 512), 0);
	cr_assert_eq(blocks(), 2 * CLUSTER);
	cr_assert_eq(d->ops->discard(d, 0, SIZE), 0);
	cr_assert_eq(blocks(), 0, "discarded");
	memset(flat, 0, SIZE);
	expect_all(d);
	disk_free(d);
}

Test(overlay, discard_of_less_than_a_cluster_keeps_what_is_beside_it)
{
	struct disk *d = overlay();

	cr_assert_eq(d->ops->discard(d, CLUSTER + 512, CLUSTER), 0);
	expect_all(d);
	cr_assert_eq(d->ops->zero(d, CLUSTER + 512, 512, true), 0);
	memset(flat + CLUSTER + 512, 0, 512);
	expect_all(d);
	/* two parts of two clusters, and one between */
	cr_assert_eq(d->ops->zero(d, 7 * CLUSTER - 512, CLUSTER + 1024, true),
		     0);
	memset(flat + 7 * CLUSTER - 512, 0, CLUSTER + 1024);
	expect_all(d);
	disk_free(d);
}

/* The file system of the upper has no room: a limit stands in for it. */
Test(overlay, write_that_fails_leaves_what_was)
{
	struct rlimit limit = { 40 * CLUSTER, 40 * CLUSTER };
	struct disk *d = overlay();
	uint8_t *data = malloc(4 * CLUSTER);

	fill(data, 4 * CLUSTER);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_lt(wr(d, data, 512, 60 * CLUSTER + 512), 0);
	expect_all(d);
	/* Half of it fits: still none of it is there. */
	cr_assert_lt(wr(d, data, 4 * CLUSTER, 38 * CLUSTER), 0);
	expect_all(d);
	cr_assert_eq(wr(d, data, 2 * CLUSTER, 38 * CLUSTER), 0);
	memcpy(flat + 38 * CLUSTER, data, 2 * CLUSTER);
	expect_all(d);
	free(data);
	disk_free(d);
}

Test(overlay, base_that_shrank_reads_as_zeros)
{
	struct disk *d = overlay();

	fill(got, 512);
	memcpy(flat + 9 * CLUSTER + 512, got, 512);
	cr_assert_eq(wr(d, got, 512, 9 * CLUSTER + 512), 0);
	cr_assert_eq(ftruncate(base_fd, 4 * CLUSTER + 100), 0);
	memset(flat + 4 * CLUSTER + 100, 0, 5 * CLUSTER - 100);
	memset(flat + 10 * CLUSTER, 0, SIZE - 10 * CLUSTER);
	cr_assert_eq(rd(d, got, SIZE, 0), 0);
	cr_assert_arr_eq(got, flat, SIZE);
	disk_free(d);
}

Test(overlay, files_that_do_not_fit_are_refused_and_stay_open)
{
	int b = file_of(NULL, SIZE), u = file_of(NULL, SIZE), p[2];
	struct err err = { 0 };

	cr_assert_null(disk_overlay_new(b, file_of(NULL, SIZE - 512), &err));
	cr_assert(strstr(err.msg, "upper: "), "%s", err.msg);
	cr_assert_null(disk_overlay_new(b, file_of(NULL, SIZE + 512), &err));
	cr_assert_null(disk_overlay_new(file_of(NULL, 511), u, &err));
	cr_assert(strstr(err.msg, "base: "), "%s", err.msg);
	cr_assert_null(disk_overlay_new(file_of(NULL, 0), u, &err));
	cr_assert_eq(pipe(p), 0);
	cr_assert_null(disk_overlay_new(p[0], u, &err));
	cr_assert_null(disk_overlay_new(b, p[1], &err));
	cr_assert_null(disk_overlay_new(b, open("/proc/self/exe", O_RDONLY),
					&err));
	cr_assert_null(disk_overlay_new(file_of(NULL, (1ull << 44) + 512),
					file_of(NULL, (1ull << 44) + 512),
					&err));
	cr_assert_eq(err.code, -EFBIG);
	cr_assert_eq(ftruncate(b, 4096) | ftruncate(u, 4096), 0);
	disk_free(disk_overlay_new(b, u, &err));
}

/* 16 TiB: bits of it that nobody touches take no memory. */
Test(overlay, large_disk)
{
	uint64_t size = 1ull << 44;
	struct disk *d = disk_overlay_new(file_of(NULL, size),
					  file_of(NULL, size), NULL);
	uint8_t buf[1024];
	struct rusage u;

	cr_assert_not_null(d);
	fill(buf, sizeof(buf));
	memcpy(got, buf, sizeof(buf));
	cr_assert_eq(wr(d, buf, sizeof(buf), size - sizeof(buf)), 0);
	cr_assert_eq(rd(d, buf, sizeof(buf), size - sizeof(buf)), 0);
	cr_assert_arr_eq(buf, got, sizeof(buf));
	cr_assert_eq(getrusage(RUSAGE_SELF, &u), 0);
	cr_assert_lt(u.ru_maxrss, 256 << 10); /* in KiB, of 512 MiB */
	disk_free(d);
}
