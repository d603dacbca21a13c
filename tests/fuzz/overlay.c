/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy-on-write disk against a flat array: reads give what was written, and
 * discards what was there or zeros; the base never changes, and neither does
 * the size of its upper file. A write that fails on its way changes nothing.
 */
#include "runner/disk/disk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "tests/fuzz/bytes.h"

#define SECTORS 1030u /* more than two words of bits, and a short cluster */
#define SIZE	(SECTORS * 512u)
#define OPS	200

static uint8_t base[SIZE], flat[SIZE], buf[SIZE], got[SIZE];
static int base_fd = -1, upper_fd;

static struct disk *fresh(void)
{
	struct disk *d;

	if (base_fd < 0) {
		for (unsigned i = 0; i < SIZE; i++)
			base[i] = (uint8_t)(i % 251 + 1);
		base_fd = memfd_create("base", MFD_CLOEXEC);
		must(pwrite(base_fd, base, SIZE, 0) == SIZE);
		signal(SIGXFSZ, SIG_IGN);
	}
	memcpy(flat, base, SIZE);
	upper_fd = memfd_create("upper", MFD_CLOEXEC);
	must(ftruncate(upper_fd, SIZE) == 0);
	d = disk_overlay_new(dup(base_fd), dup(upper_fd), NULL);
	must(d);
	return d;
}

/* @len bytes at @p, cut at up to two places. */
static unsigned cut(struct iovec *iov, uint8_t *p, size_t len, struct bytes *b)
{
	size_t a = take8(b) * 37u % len, c = a + take8(b) * 97u % (len - a);
	unsigned n = 0;

	if (a)
		iov[n++] = (struct iovec){ p, a };
	if (c > a)
		iov[n++] = (struct iovec){ p + a, c - a };
	iov[n++] = (struct iovec){ p + c, len - c };
	return n;
}

static void check_read(struct disk *d, struct bytes *b, uint32_t off,
		       uint32_t len)
{
	struct iovec iov[3];
	unsigned n = cut(iov, got, len, b);

	must(d->ops->readv(d, iov, n, off, 0) == 0);
	must(memcmp(got, flat + off, len) == 0);
}

/* No file may grow beyond @most meanwhile. */
static void do_write(struct disk *d, struct bytes *b, uint32_t off,
		     uint32_t len, uint64_t most)
{
	struct rlimit old, now;
	struct iovec iov[3];
	unsigned n;
	int r;

	memset(buf, take8(b), len);
	n = cut(iov, buf, len, b);
	must(getrlimit(RLIMIT_FSIZE, &old) == 0);
	now = (struct rlimit){ most, old.rlim_max };
	must(setrlimit(RLIMIT_FSIZE, &now) == 0);
	r = d->ops->writev(d, iov, n, off);
	must(setrlimit(RLIMIT_FSIZE, &old) == 0);
	/* Clusters that were there before may have been written in part. */
	if (r < 0) {
		iov[0] = (struct iovec){ got, len };
		must(d->ops->readv(d, iov, 1, off, 0) == 0);
		for (uint32_t i = 0; i < len; i++)
			must(got[i] == flat[off + i] || got[i] == buf[i]);
		memcpy(flat + off, got, len);
	} else {
		memcpy(flat + off, buf, len);
	}
}

static void do_discard(struct disk *d, uint32_t off, uint32_t len)
{
	struct iovec iov = { got, len };

	must(d->ops->discard(d, off, len) == 0);
	must(d->ops->readv(d, &iov, 1, off, 0) == 0);
	for (uint32_t i = 0; i < len; i++)
		must(got[i] == flat[off + i] || got[i] == 0);
	memcpy(flat + off, got, len);
}

static void step(struct disk *d, struct bytes *b)
{
	uint8_t what = take8(b);
	uint32_t sector = take16(b) % SECTORS;
	uint32_t n = what & 0x80 ? take16(b) : take8(b) % 24u;
	uint32_t off = sector * 512, len;

	n = n % (SECTORS - sector) + 1;
	len = n * 512;
	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		do_write(d, b, off, len, RLIM_INFINITY);
		break;
	case 3:
		do_write(d, b, off, len, take16(b) * 16u + 1);
		break;
	case 4:
		do_discard(d, off, len);
		break;
	case 5:
		must(d->ops->zero(d, off, len, what & 8) == 0);
		memset(flat + off, 0, len);
		break;
	default:
		check_read(d, b, off, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct disk *d = fresh();
	struct stat st;

	for (unsigned i = 0; b.n && i < OPS; i++)
		step(d, &b);
	check_read(d, &b, 0, SIZE);
	must(fstat(upper_fd, &st) == 0 && st.st_size == SIZE);
	must(pread(base_fd, got, SIZE, 0) == SIZE);
	must(memcmp(got, base, SIZE) == 0);
	disk_free(d);
	close(upper_fd);
	return 0;
}
