/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of any shape to a disk, writable or not: no byte goes past its end
 * or to a read-only one, and a reset brings it back.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/virtio/blk.h"
#include "tests/fuzz/device.h"

#define DISK 32768u

static int file = -1;
static uint8_t pattern[DISK];

static void fresh_disk(void)
{
	if (file < 0) {
		file = memfd_create("disk", MFD_CLOEXEC);
		memset(pattern, 'd', sizeof(pattern));
	}
	must(file >= 0 && ftruncate(file, DISK) == 0);
	must(pwrite(file, pattern, DISK, 0) == DISK);
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

	(void)what;
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
	bool readonly = take8(&b) & 1;

	fuzz_begin(&f);
	fresh_disk();
	p.disk = disk_raw_new(dup(file), readonly, true, NULL);
	must(p.disk);
	f.dev = virtio_blk_new(&f.host, 5, &p, NULL);
	must(f.dev);
	fuzz_steps(&f, &b, FUZZ_COMMON + 4, request);
	fuzz_end(&f);
	must(fstat(file, &st) == 0 && st.st_size == DISK);
	must(pread(file, after, DISK, 0) == DISK);
	must(!readonly || memcmp(after, pattern, DISK) == 0);
	return 0;
}
