/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of any shape to a disk of any kind, limited or not: no byte goes
 * past its end or to a file that is only read, and a reset
 * brings it back. Time is the input's.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "runner/virtio/blk.h"
#include "tests/fuzz/device.h"

#define DISK	32768u
#define OPS	3u
#define BYTES	4096u
#define TIME_MS 10u

static int file = -1, upper = -1;
static uint8_t pattern[DISK];

/* --- time ----------------------------------------------------------------- */

static struct {
	uint64_t now, alarm; /* ns; 0: not armed */
	int fd;
} fake = { .now = 1, .fd = -1 };

/* libFuzzer has the other clocks. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(fake.now / 1000000000u);
	ts->tv_nsec = (long)(fake.now % 1000000000u);
	return 0;
}

int timerfd_create(clockid_t clock, int flags)
{
	(void)clock;
	(void)flags;
	fake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return fake.fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *t,
		    struct itimerspec *old)
{
	(void)flags;
	(void)old;
	must(fd == fake.fd);
	fake.alarm = fake.now + (uint64_t)t->it_value.tv_sec * 1000000000u +
		     (uint64_t)t->it_value.tv_nsec;
	must(fake.alarm > fake.now);
	return 0;
}

static void pass_time(struct fuzz *f, uint64_t ns)
{
	uint64_t one = 1;

	fake.now += ns;
	if (fake.alarm && fake.now >= fake.alarm) {
		fake.alarm = 0;
		must(write(fake.fd, &one, sizeof(one)) == sizeof(one));
	}
	fuzz_turns(f);
}

/* --- disks ---------------------------------------------------------------- */

static void fresh_disk(void)
{
	if (file < 0) {
		file = memfd_create("disk", MFD_CLOEXEC);
		memset(pattern, 'd', sizeof(pattern));
	}
	must(file >= 0 && ftruncate(file, DISK) == 0);
	must(pwrite(file, pattern, DISK, 0) == DISK);
	upper = memfd_create("upper", MFD_CLOEXEC);
	must(upper >= 0 && ftruncate(upper, DISK) == 0);
}

enum { RAW, READ, COW, PARTS, KINDS };

static struct disk *make_disk(unsigned kind)
{
	int part[3];

	if (kind == COW)
		return disk_overlay_new(dup(file), dup(upper), NULL);
	if (kind != PARTS)
		return disk_raw_new(dup(file), kind == READ, true, NULL);
	for (unsigned i = 0; i < 3; i++) {
		unsigned at = i * 8192, len = i < 2 ? 8192 : DISK - at;

		part[i] = memfd_create("part", MFD_CLOEXEC);
		must(pwrite(part[i], pattern + at, len, 0) == len);
	}
	return disk_concat_new(part, 3, NULL);
}

/* A header that makes sense, data, a status byte; each may be off. */
static void request(struct fuzz *f, struct bytes *b, unsigned what)
{
	static const uint32_t type[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { 0 };
	struct fuzz_seg s[4];
	uint8_t how = take8(b);
	unsigned n = 0;

	if (what == FUZZ_COMMON) {
		pass_time(f, how * (uint64_t)take16(b) * 100);
		return;
	}
	h.type = how & 0x80 ? take32(b) : type[how & 7];
	h.sector = how & 0x40 ? take64(b) : take8(b);
	memcpy(fuzz_ptr(f, FUZZ_DATA), &h, sizeof(h));
	s[n++] = (struct fuzz_seg){ FUZZ_DATA, 16, false };
	if (how & 0x20)
		take(b, fuzz_ptr(f, FUZZ_DATA + 0x400), 32); /* ranges */
	if (how & 0x10)
		s[n++] = (struct fuzz_seg){ FUZZ_DATA + 0x400,
					    take16(b) * 16u, h.type == 0 };
	if (how & 0x08)
		s[n++] = fuzz_seg(b);
	s[n++] = (struct fuzz_seg){ FUZZ_DATA + 0x300, 1, true };
	fuzz_offer(f, 0, s, n);
	fuzz_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	uint8_t after[DISK];
	static struct fuzz f;
	struct stat st;
	struct virtio_blk_params p = { .serial = "fuzz" };
	uint8_t how = take8(&b);
	unsigned kind = how % KINDS;

	fuzz_begin(&f);
	fresh_disk();
	p.disk = make_disk(kind);
	must(p.disk);
	if (how & 4)
		p.ops = (struct limiter_rate){ OPS, how >> 4, TIME_MS };
	if (how & 8)
		p.bytes = (struct limiter_rate){ BYTES, 0, TIME_MS };
	f.host.serve = take8(&b) & 1;
	f.dev = virtio_blk_new(&f.host, 5, &p, NULL);
	must(f.dev);
	fuzz_steps(&f, &b, FUZZ_COMMON + 5, request);
	fuzz_end(&f);
	fake.alarm = 0;
	must(fstat(file, &st) == 0 && st.st_size == DISK);
	must(pread(file, after, DISK, 0) == DISK);
	must(kind == RAW || memcmp(after, pattern, DISK) == 0);
	must(fstat(upper, &st) == 0 && st.st_size == DISK);
	must(kind == COW || st.st_blocks == 0);
	close(upper);
	return 0;
}
