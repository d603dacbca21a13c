/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel is told: boot_params, the memory map, the command line. */
#include "runner/x86/zeropage.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "runner/base/err.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/layout.h"

/* ACPI 6.5, table 15.4 */
#define E820_RAM      1
#define E820_RESERVED 2

#define SEED_SIZE 32 /* 256 bits: all that the kernel's pool can hold */

static_assert(sizeof(struct boot_params) == 4096, "ABI: one page");
static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x70, "ABI");
static_assert(offsetof(struct boot_params, e820_entries) == 0x1e8, "ABI");
static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "ABI");

static void e820_add(struct boot_params *bp, uint64_t start, uint64_t end,
		     uint32_t type)
{
	if (end <= start)
		return;
	assert(bp->e820_entries < E820_MAX_ENTRIES_ZEROPAGE);
	bp->e820_table[bp->e820_entries++] = (struct boot_e820_entry){
		.addr = start, .size = end - start, .type = type
	};
}

/* Devices need no entry: what is not listed is not RAM. */
static void e820_fill(struct boot_params *bp, const struct gmem *gm)
{
	e820_add(bp, 0, LAYOUT_LOWMEM_END, E820_RAM);
	e820_add(bp, LAYOUT_ACPI, LAYOUT_HIMEM, E820_RESERVED);
	e820_add(bp, LAYOUT_HIMEM, gm->r[0].size, E820_RAM);
	for (unsigned i = 1; i < gm->nregions; i++)
		e820_add(bp, gm->r[i].gpa, gm->r[i].gpa + gm->r[i].size,
			 E820_RAM);
}

/*
 * Entropy before any driver runs: Documentation/arch/x86/boot.rst, setup_data
 * and SETUP_RNG_SEED. The kernel takes it in and wipes it.
 */
static int seed_write(const struct gmem *gm, struct boot_params *bp,
		      struct err *err)
{
	struct {
		struct setup_data head;
		uint8_t data[SEED_SIZE];
	} seed = { .head = { .type = SETUP_RNG_SEED, .len = SEED_SIZE } };
	ssize_t n = getrandom(seed.data, sizeof(seed.data), 0);

	if (n != SEED_SIZE)
		return err_set(err, n < 0 ? -errno : -EIO, "random seed");
	bp->hdr.setup_data = LAYOUT_SEED;
	return gmem_write(gm, LAYOUT_SEED, &seed, sizeof(seed));
}

int zeropage_write(const struct gmem *gm, const struct zeropage_params *p,
		   struct err *err)
{
	struct boot_params bp = { .hdr = p->kernel->hdr };
	size_t len = strlen(p->cmdline);
	int r;

	if (len > p->kernel->cmdline_max)
		return err_say(err, -E2BIG,
			       "kernel command line: %zu characters, this "
			       "kernel takes %u",
			       len, p->kernel->cmdline_max);
	if (gmem_write(gm, LAYOUT_CMDLINE, p->cmdline, len + 1))
		return err_say(err, -EFAULT, "kernel command line: no room");
	bp.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	/* An initrd sits below initrd_addr_max, which has 32 bits. */
	bp.hdr.ramdisk_image = (uint32_t)p->initrd->gpa;
	bp.hdr.ramdisk_size = (uint32_t)p->initrd->size;
	bp.acpi_rsdp_addr = p->rsdp;
	e820_fill(&bp, gm);
	r = seed_write(gm, &bp, err);
	if (r)
		return r;
	return gmem_write(gm, LAYOUT_ZEROPAGE, &bp, sizeof(bp));
}
