/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel and initrd files of every bad kind; the zero page; boot state. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/engine/engine.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/boot.h"
#include "runner/x86/layout.h"
#include "runner/x86/regs.h"
#include "runner/x86/zeropage.h"

#define MIB (1ull << 20)
#define RAM (64 * MIB)

static struct gmem gm;

static void setup(void)
{
	cr_assert_eq(gmem_init(&gm, RAM, NULL), 0);
}

static void teardown(void)
{
	gmem_free(&gm);
}

TestSuite(boot, .init = setup, .fini = teardown);

static int file(const void *data, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	cr_assert_eq(write(fd, data, len), (ssize_t)len);
	return fd;
}

static int load(const void *data, size_t len, struct boot_kernel *k)
{
	int fd = file(data, len);
	struct err err = { 0 };
	int r = boot_load_kernel(&gm, fd, k, &err);

	close(fd);
	cr_expect_eq(r, err.code);
	cr_expect_eq(r == 0, err.msg[0] == '\0');
	return r;
}

/* --- ELF ---------------------------------------------------------------- */

struct elf_image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[2];
	uint8_t text[64], data[32];
};

static struct elf_image elf_good(void)
{
	struct elf_image e = {
		.eh = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
				     ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_entry = 16 * MIB + 8,
			.e_phoff = offsetof(struct elf_image, ph),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
		},
		.ph = {
			{ .p_type = PT_LOAD, .p_paddr = 16 * MIB,
			  .p_offset = offsetof(struct elf_image, text),
			  .p_filesz = 64, .p_memsz = 64 },
			{ .p_type = PT_LOAD, .p_paddr = 18 * MIB,
			  .p_offset = offsetof(struct elf_image, data),
			  .p_filesz = 32, .p_memsz = MIB },
		},
	};

	memset(e.text, 't', sizeof(e.text));
	memset(e.data, 'd', sizeof(e.data));
	return e;
}

/* boot_load_kernel() wants room for a bzImage header in any file. */
static int load_elf(const struct elf_image *e, struct boot_kernel *k)
{
	uint8_t buf[4096] = { 0 };

	memcpy(buf, e, sizeof(*e));
	return load(buf, sizeof(buf), k);
}

Test(boot, elf_segments_land_at_their_physical_addresses)
{
	struct elf_image e = elf_good();
	struct boot_kernel k;

	cr_assert_eq(load_elf(&e, &k), 0);
	cr_expect_eq(k.entry, 16 * MIB + 8);
	cr_expect_eq(k.start, 16 * MIB);
	cr_expect_eq(k.end, 19 * MIB);
	cr_expect_eq(memcmp(gmem_ptr(&gm, 16 * MIB, 64), e.text, 64), 0);
	cr_expect_eq(memcmp(gmem_ptr(&gm, 18 * MIB, 32), e.data, 32), 0);
	cr_expect_eq(*(uint8_t *)gmem_ptr(&gm, 18 * MIB + 32, 1), 0);
}

#define ELF_REFUSED(code, change)                                \
	do {                                                     \
		struct elf_image e = elf_good();                 \
		struct boot_kernel k;                            \
		change;                                          \
		cr_expect_eq(load_elf(&e, &k), code, #change);   \
	} while (0)

Test(boot, every_bad_elf_number_is_refused)
{
	ELF_REFUSED(-ENOEXEC, e.eh.e_ident[EI_CLASS] = ELFCLASS32);
	ELF_REFUSED(-ENOEXEC, e.eh.e_ident[EI_DATA] = ELFDATA2MSB);
	ELF_REFUSED(-ENOEXEC, e.eh.e_machine = EM_AARCH64);
	ELF_REFUSED(-ENOEXEC, e.eh.e_type = ET_REL);
	ELF_REFUSED(-ENOEXEC, e.eh.e_phnum = 0);
	ELF_REFUSED(-ENOEXEC, e.eh.e_phnum = 0xffff);
	ELF_REFUSED(-ENOEXEC, e.eh.e_phentsize = 55);
	ELF_REFUSED(-ENOEXEC, e.eh.e_phoff = 4096);
	ELF_REFUSED(-ENOEXEC, e.eh.e_phoff = UINT64_MAX - 10);
	ELF_REFUSED(-ENOEXEC, e.eh.e_entry = 0);
	ELF_REFUSED(-ENOEXEC, e.eh.e_entry = 16 * MIB + 64);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_filesz = 65);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_offset = 4096 - 63);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_offset = UINT64_MAX);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_filesz = e.ph[0].p_memsz = UINT64_MAX);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_paddr = LAYOUT_ZEROPAGE);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_paddr = MIB - 1);
	ELF_REFUSED(-ENOMEM, e.ph[0].p_paddr = RAM - 63);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_paddr = UINT64_MAX - 62);
	ELF_REFUSED(-ENOMEM, e.ph[1].p_memsz = RAM);
	ELF_REFUSED(-ENOEXEC, e.ph[1].p_paddr = 16 * MIB + 63);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_paddr = 18 * MIB + 63);
	ELF_REFUSED(-ENOEXEC, e.ph[0].p_type = e.ph[1].p_type = PT_NOTE);
}

Test(boot, every_truncation_of_an_elf_is_refused)
{
	struct elf_image e = elf_good();
	uint8_t buf[4096] = { 0 };
	struct boot_kernel k;

	e.ph[1].p_offset = sizeof(buf) - 32;
	memcpy(buf, &e, sizeof(e));
	cr_assert_eq(load(buf, sizeof(buf), &k), 0);
	for (size_t n = 0; n < sizeof(buf); n += n < 600 ? 1 : 97)
		cr_expect_eq(load(buf, n, &k), -ENOEXEC, "%zu bytes", n);
}

Test(boot, files_of_no_kind_are_refused)
{
	uint8_t junk[8192];
	struct boot_kernel k;
	int pipefd[2];

	memset(junk, 0xa5, sizeof(junk));
	cr_expect_eq(load(junk, sizeof(junk), &k), -ENOEXEC);
	cr_expect_eq(load("", 0, &k), -ENOEXEC);
	cr_assert_eq(pipe(pipefd), 0);
	cr_expect_eq(boot_load_kernel(&gm, pipefd[0], &k, NULL), -EINVAL);
}

/* --- bzImage ------------------------------------------------------------ */

struct bz {
	uint8_t b[16 * 1024];
};

static struct setup_header *hdr(struct bz *z)
{
	return (struct setup_header *)(z->b + 0x1f1);
}

static struct bz bz_good(void)
{
	struct bz z = { { 0 } };

	memset(z.b + 1024, 'k', sizeof(z.b) - 1024);
	*hdr(&z) = (struct setup_header){
		.setup_sects = 1, .boot_flag = 0xaa55, .header = 0x53726448,
		.jump = 0x6aeb, .version = 0x20f, .loadflags = LOADED_HIGH,
		.syssize = 15 * 1024 / 16, .initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 2 * MIB, .relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64, .cmdline_size = 2047,
		.pref_address = 16 * MIB, .init_size = 20 * MIB,
	};
	return z;
}

Test(boot, bzimage_goes_to_its_preferred_address)
{
	struct bz z = bz_good();
	struct boot_kernel k;

	cr_assert_eq(load(&z, sizeof(z), &k), 0);
	cr_expect_eq(k.entry, 16 * MIB + 0x200);
	cr_expect_eq(k.end, 36 * MIB);
	cr_expect_eq(k.initrd_max, 0x7fffffff);
	cr_expect_eq(k.hdr.type_of_loader, 0xff);
	cr_expect_eq(*(char *)gmem_ptr(&gm, 16 * MIB, 1), 'k');
}

Test(boot, relocatable_bzimage_moves_down_in_small_memory)
{
	struct bz z = bz_good();
	struct boot_kernel k;

	hdr(&z)->init_size = 60 * MIB;
	cr_assert_eq(load(&z, sizeof(z), &k), 0);
	cr_expect_eq(k.start, 2 * MIB);
	hdr(&z)->relocatable_kernel = 0;
	cr_expect_eq(load(&z, sizeof(z), &k), -ENOMEM);
}

#define BZ_REFUSED(code, change)                                   \
	do {                                                       \
		struct bz z = bz_good();                           \
		struct boot_kernel k;                              \
		change;                                            \
		cr_expect_eq(load(&z, sizeof(z), &k), code, #change); \
	} while (0)

Test(boot, every_bad_bzimage_number_is_refused)
{
	BZ_REFUSED(-ENOEXEC, hdr(&z)->version = 0x20b);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->loadflags = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->xloadflags = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->init_size = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->init_size = 4096);
	BZ_REFUSED(-ENOMEM, hdr(&z)->init_size = UINT32_MAX);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->kernel_alignment = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->kernel_alignment = 3 * MIB);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->setup_sects = 255);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->syssize = UINT32_MAX);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->syssize = 15 * 1024 / 16 + 1);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->pref_address = 0x7000;
		   hdr(&z)->relocatable_kernel = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->pref_address = UINT64_MAX;
		   hdr(&z)->relocatable_kernel = 0);
	BZ_REFUSED(-ENOEXEC, hdr(&z)->jump = 0x00eb); /* no fields at all */
}

/* --- initrd ------------------------------------------------------------- */

Test(boot, initrd_sits_page_aligned_at_the_top)
{
	struct elf_image e = elf_good();
	struct boot_initrd rd;
	struct boot_kernel k;
	int fd = file("abcdef", 6);

	cr_assert_eq(load_elf(&e, &k), 0);
	cr_assert_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), 0);
	cr_expect_eq(rd.gpa, RAM - 4096);
	cr_expect_eq(rd.size, 6);
	cr_expect_eq(memcmp(gmem_ptr(&gm, rd.gpa, 6), "abcdef", 6), 0);
	k.initrd_max = 30 * MIB - 1;
	cr_assert_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), 0);
	cr_expect_eq(rd.gpa, 30 * MIB - 4096);
}

Test(boot, initrd_without_room_or_content_is_refused)
{
	struct elf_image e = elf_good();
	struct boot_initrd rd;
	struct boot_kernel k;
	int fd = file("", 0);

	cr_assert_eq(load_elf(&e, &k), 0);
	cr_expect_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), -EINVAL);
	cr_assert_eq(ftruncate(fd, 45 * MIB), 0);
	cr_expect_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), 0);
	cr_assert_eq(ftruncate(fd, 45 * MIB + 1), 0);
	cr_expect_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), -ENOMEM);
	cr_assert_eq(ftruncate(fd, INT64_MAX), 0);
	cr_expect_eq(boot_load_initrd(&gm, fd, &k, &rd, NULL), -ENOMEM);
}

/* --- zero page and registers -------------------------------------------- */

Test(boot, zero_page_tells_memory_initrd_and_command_line)
{
	struct boot_kernel k = { .cmdline_max = 2047 };
	struct boot_initrd rd = { .gpa = 0x3000000, .size = 77 };
	struct zeropage_params p = { .kernel = &k, .initrd = &rd,
				     .cmdline = "quiet", .rsdp = LAYOUT_ACPI };
	const struct boot_params *bp;

	cr_assert_eq(zeropage_write(&gm, &p, NULL), 0);
	bp = gmem_ptr(&gm, LAYOUT_ZEROPAGE, sizeof(*bp));
	cr_expect_eq(bp->e820_entries, 3);
	cr_expect_eq(bp->e820_table[2].addr, MIB);
	cr_expect_eq(bp->e820_table[2].size, RAM - MIB);
	cr_expect_eq(bp->hdr.ramdisk_image, 0x3000000);
	cr_expect_eq(bp->hdr.ramdisk_size, 77);
	cr_expect_eq(bp->acpi_rsdp_addr, LAYOUT_ACPI);
	cr_expect_str_eq(gmem_ptr(&gm, bp->hdr.cmd_line_ptr, 6), "quiet");
	k.cmdline_max = 4;
	cr_expect_eq(zeropage_write(&gm, &p, NULL), -E2BIG);
}

Test(boot, seeds_the_kernel_with_fresh_randomness)
{
	struct boot_kernel k = { .cmdline_max = 16 };
	struct boot_initrd rd = { 0 };
	struct zeropage_params p = { .kernel = &k, .initrd = &rd,
				     .cmdline = "" };
	struct { struct setup_data head; uint8_t data[32]; } a, b;
	struct boot_params bp;

	cr_assert_eq(zeropage_write(&gm, &p, NULL), 0);
	gmem_read(&gm, LAYOUT_ZEROPAGE, &bp, sizeof(bp));
	cr_assert_eq(bp.hdr.setup_data, LAYOUT_SEED);
	gmem_read(&gm, LAYOUT_SEED, &a, sizeof(a));
	cr_expect_eq(a.head.next, 0);
	cr_expect_eq(a.head.type, SETUP_RNG_SEED);
	cr_expect_eq(a.head.len, 32);
	cr_assert_eq(zeropage_write(&gm, &p, NULL), 0);
	gmem_read(&gm, LAYOUT_SEED, &b, sizeof(b));
	cr_expect_neq(memcmp(a.data, b.data, 32), 0);
}

Test(boot, memory_above_the_hole_is_an_entry_of_its_own)
{
	struct boot_kernel k = { .cmdline_max = 2047 };
	struct boot_initrd rd = { 0 };
	struct zeropage_params p = { .kernel = &k, .initrd = &rd,
				     .cmdline = "" };
	const struct boot_params *bp;
	struct gmem big;

	cr_assert_eq(gmem_init(&big, 4096 * MIB, NULL), 0);
	cr_assert_eq(zeropage_write(&big, &p, NULL), 0);
	bp = gmem_ptr(&big, LAYOUT_ZEROPAGE, sizeof(*bp));
	cr_expect_eq(bp->e820_entries, 4);
	cr_expect_eq(bp->e820_table[3].addr, GMEM_HOLE_END);
	cr_expect_eq(bp->e820_table[3].size, 1024 * MIB);
	gmem_free(&big);
}

Test(boot, first_cpu_starts_in_long_mode_with_4_gib_mapped)
{
	struct vcpu_state s;
	uint64_t *pml4, *pdpt, *pd, *gdt;

	cr_assert_eq(regs_boot(&gm, 0x1000000, &s), 0);
	cr_expect_eq(s.rip, 0x1000000);
	cr_expect_eq(s.gpr[X86_RSI], LAYOUT_ZEROPAGE);
	cr_expect_eq(s.seg[X86_CS].sel, 0x10);
	cr_expect(s.seg[X86_CS].l);
	pml4 = gmem_ptr(&gm, s.cr3, 4096);
	pdpt = gmem_ptr(&gm, pml4[0] & ~0xfffull, 4096);
	for (uint64_t g = 0; g < 4; g++) {
		pd = gmem_ptr(&gm, pdpt[g] & ~0xfffull, 4096);
		cr_expect_eq(pd[511], (g << 30 | 511 << 21) | 0x83);
	}
	gdt = gmem_ptr(&gm, s.gdtr.base, s.gdtr.limit + 1u);
	cr_expect_eq(gdt[2], 0x00af9b000000ffff);
	cr_expect_eq(gdt[3], 0x00cf93000000ffff);
	regs_wait_sipi(&s);
	cr_expect(s.wait_sipi);
	cr_expect_eq(s.apic_base & 0x100, 0, "an AP is not the BSP");
}
