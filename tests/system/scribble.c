/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scribble DEVICE SEED OPS: write, discard and zero at random places of a block
 * device, cached and not, and read it all back now and then. Runs in a guest,
 * as root. Exit code 0: the device always held what it should.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR 512u
#define LONGEST (200 * SECTOR)

static uint64_t seed, size;
static int cached, direct;
static uint8_t *model, *buf;

static _Noreturn void die(const char *what, uint64_t at)
{
	printf("scribble: %s at byte %llu\n", what, (unsigned long long)at);
	exit(1);
}

static uint64_t pick(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fsync(cached) < 0)
		die("fsync", 0);
	if (fd < 0 || write(fd, "3", 1) != 1)
		die("drop_caches", 0);
	close(fd);
}

static void read_all(int fd)
{
	for (uint64_t at = 0; at < size;) {
		ssize_t n = pread(fd, buf + at, size - at, (off_t)at);

		if (n <= 0)
			die("read", at);
		at += (uint64_t)n;
	}
}

static void compare(void)
{
	drop_caches();
	read_all(pick(2) ? cached : direct);
	for (uint64_t i = 0; i < size; i++)
		if (buf[i] != model[i])
			die("not what was written", i);
}

static void do_write(uint64_t off, uint64_t len, int fd)
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = seed + i;

		memcpy(buf + i, &v, 8);
	}
	memcpy(model + off, buf, len);
	if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
		die("write", off);
}

/* A discarded sector is what it was, or zeros; Linux has zeros in its cache
 * until that is dropped, whatever the disk says. */
static void do_discard(uint64_t off, uint64_t len)
{
	static const uint8_t zeros[SECTOR];
	uint64_t range[2] = { off, len };

	if (fsync(cached) < 0 || ioctl(direct, BLKDISCARD, range) < 0)
		die("discard", off);
	drop_caches();
	if (pread(direct, buf, len, (off_t)off) != (ssize_t)len)
		die("read", off);
	for (uint64_t i = 0; i < len; i += SECTOR)
		if (memcmp(buf + i, zeros, SECTOR) &&
		    memcmp(buf + i, model + off + i, SECTOR))
			die("neither old nor zeros", off + i);
	memcpy(model + off, buf, len);
}

static void do_zero(uint64_t off, uint64_t len)
{
	uint64_t range[2] = { off, len };

	if (fsync(cached) < 0 || ioctl(direct, BLKZEROOUT, range) < 0)
		die("zero", off);
	memset(model + off, 0, len);
}

static void step(void)
{
	uint64_t off = pick(size / SECTOR) * SECTOR;
	uint64_t len = (pick(pick(4) ? 20 : 200) + 1) * SECTOR;

	if (len > size - off)
		len = size - off;
	switch (pick(8)) {
	case 0:
		do_discard(off, len);
		break;
	case 1:
		do_zero(off, len);
		break;
	case 2:
	case 3: /* at any byte */
		off += pick(SECTOR);
		len = pick(len) + 1;
		do_write(off, len > size - off ? size - off : len, cached);
		break;
	default:
		do_write(off, len, direct);
	}
}

int main(int argc, char **argv)
{
	long ops;

	if (argc != 4)
		return 2;
	cached = open(argv[1], O_RDWR);
	direct = open(argv[1], O_RDWR | O_DIRECT);
	seed = strtoull(argv[2], NULL, 10);
	ops = strtol(argv[3], NULL, 10);
	if (direct < 0 || ioctl(direct, BLKGETSIZE64, &size) < 0)
		die("open", 0);
	if (posix_memalign((void **)&buf, 4096, size + LONGEST) ||
	    posix_memalign((void **)&model, 4096, size + LONGEST))
		die("memory", size);
	read_all(cached);
	memcpy(model, buf, size);
	for (long i = 0; i < ops; i++) {
		step();
		if (i % 300 == 299)
			compare();
	}
	compare();
	puts("as it should be");
	return 0;
}
