/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any file as a kernel, and as an initrd: what is loaded lies in RAM where it
 * may, the zero page takes what the header says.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/boot.h"
#include "runner/x86/zeropage.h"
#include "tests/fuzz/bytes.h"

#define RAM (4ull << 20)

static struct gmem gm;
static int file = -1, dirty;

static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	must(gmem_ptr(&gm, gpa, len));
	dirty = 1;
}

static void start_anew(void)
{
	if (file < 0) {
		file = memfd_create("kernel", MFD_CLOEXEC);
		must(file >= 0 && gmem_init(&gm, RAM, NULL) == 0);
		gm.wrote = wrote;
	}
	if (dirty)
		madvise(gm.r[0].hva, RAM, MADV_DONTNEED);
	dirty = 0;
}

/* Nothing was written but where the kernel is. */
static void nothing_else(const struct boot_kernel *k)
{
	static const uint8_t zero[1 << 16];
	uint64_t end;

	for (uint64_t at = 0; at < RAM; at = end) {
		end = (at | (sizeof(zero) - 1)) + 1;
		if (at < k->start)
			end = end < k->start ? end : k->start;
		else if (at < k->end)
			end = k->end;
		if (at < k->start || at >= k->end)
			must(!memcmp(gm.r[0].hva + at, zero, end - at));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_initrd rd = { 0 };
	struct boot_kernel k;
	struct zeropage_params z = { .kernel = &k, .initrd = &rd,
				     .cmdline = "console=ttyS0", .rsdp = 1 };
	struct err err = { 0 };

	start_anew();
	must(ftruncate(file, 0) == 0 &&
	     pwrite(file, data, size, 0) == (ssize_t)size);
	if (boot_load_kernel(&gm, file, &k, &err) < 0) {
		must(err.code < 0 && err.msg[0]);
		return 0;
	}
	must(k.start >= 1 << 20 && k.start < k.end && k.end <= RAM);
	must(k.entry >= k.start && k.entry < k.end);
	nothing_else(&k);
	if (boot_load_initrd(&gm, file, &k, &rd, &err) == 0)
		must(rd.size == size && rd.gpa >= k.end &&
		     rd.gpa + rd.size <= RAM);
	(void)zeropage_write(&gm, &z, &err);
	return 0;
}
