/* SPDX-License-Identifier: Apache-2.0 */
/* Load an ELF64 vmlinux or a bzImage, and an initrd. */
#include "runner/x86/boot.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/layout.h"

#define PHDRS_MAX 32
#define PAGE	  4096ull

/* boot.rst, "The Real-Mode Kernel Header" */
#define HDR_OFFSET	0x1f1
#define HDR_MAGIC	0x53726448 /* "HdrS" */
#define HDR_BOOT_FLAG	0xaa55
#define HDR_VERSION_MIN 0x020c	   /* xloadflags came with 2.12 */
#define HDR_JUMP	0x200	   /* jump's second byte: header length */
#define HDR_LOADER_UNKNOWN 0xff
#define ENTRY64_OFFSET	0x200
#define SECTOR		512u
/* For a vmlinux, which has no header: what the kernel's own would say. */
#define VMLINUX_INITRD_MAX 0x37ffffffu
#define VMLINUX_CMDLINE	   2047u

static_assert(offsetof(struct boot_params, hdr) == HDR_OFFSET, "ABI");
static_assert(HDR_OFFSET + offsetof(struct setup_header, header) == 0x202,
	      "ABI");
static_assert(HDR_OFFSET + offsetof(struct setup_header, init_size) == 0x260,
	      "ABI");

static int file_size(int fd, uint64_t *size, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "fstat");
	if (!S_ISREG(st.st_mode))
		return err_say(err, -EINVAL, "not a regular file");
	*size = (uint64_t)st.st_size;
	return 0;
}

/* [off, off + len) of the file into @buf, all of it. */
static int read_at(int fd, void *buf, uint64_t len, uint64_t off,
		   struct err *err)
{
	ssize_t n = io_pread_full(fd, buf, len, (off_t)off);

	if (n < 0)
		return err_set(err, (int)n, "read");
	if ((uint64_t)n != len)
		return err_say(err, -ENOEXEC, "the file is truncated");
	return 0;
}

/* Where the kernel may be: RAM of the first region from 1 MiB on. */
static int in_ram(const struct gmem *gm, uint64_t gpa, uint64_t size)
{
	uint64_t end = gm->r[0].size;

	return gpa >= LAYOUT_HIMEM && gpa <= end && size <= end - gpa;
}

static int too_little_ram(const struct gmem *gm, uint64_t need, struct err *err)
{
	err_say(err, -ENOMEM,
		"the kernel needs memory up to %llu MiB, the guest has %llu",
		(unsigned long long)((need + (1 << 20) - 1) >> 20),
		(unsigned long long)(gmem_size(gm) >> 20));
	err_hint(err, "give the guest more memory");
	return -ENOMEM;
}

/* --- vmlinux ----------------------------------------------------------- */

static int elf_check_segment(const struct gmem *gm, const Elf64_Phdr *ph,
			     uint64_t fsize, struct err *err)
{
	if (ph->p_filesz > ph->p_memsz)
		return err_say(err, -ENOEXEC,
			       "ELF segment bigger in the file than in memory");
	if (ph->p_offset > fsize || ph->p_filesz > fsize - ph->p_offset)
		return err_say(err, -ENOEXEC, "the file is truncated");
	if (ph->p_paddr < LAYOUT_HIMEM)
		return err_say(err, -ENOEXEC,
			       "ELF segment at %#llx, below 1 MiB",
			       (unsigned long long)ph->p_paddr);
	if (ph->p_paddr + ph->p_memsz < ph->p_paddr)
		return err_say(err, -ENOEXEC, "ELF segment wraps around");
	if (!in_ram(gm, ph->p_paddr, ph->p_memsz))
		return too_little_ram(gm, ph->p_paddr + ph->p_memsz, err);
	return 0;
}

static int elf_overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
	return a->p_paddr < b->p_paddr + b->p_memsz &&
	       b->p_paddr < a->p_paddr + a->p_memsz;
}

/* Keep the loadable ones of @ph at its front; returns how many, or -errno. */
static int elf_check(const struct gmem *gm, Elf64_Phdr *ph, unsigned n,
		     uint64_t fsize, struct err *err)
{
	int loads = 0;

	for (unsigned i = 0; i < n; i++) {
		int r;

		if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
			continue;
		r = elf_check_segment(gm, &ph[i], fsize, err);
		if (r)
			return r;
		for (int j = 0; j < loads; j++)
			if (elf_overlap(&ph[j], &ph[i]))
				return err_say(err, -ENOEXEC,
					       "ELF segments overlap");
		ph[loads++] = ph[i];
	}
	if (!loads)
		return err_say(err, -ENOEXEC, "ELF file without segments");
	return loads;
}

static int elf_load_segment(const struct gmem *gm, int fd,
			    const Elf64_Phdr *ph, struct err *err)
{
	uint8_t *p = gmem_ptr(gm, ph->p_paddr, ph->p_memsz);
	int r;

	/* The rest of p_memsz is zero already: the memory is new. */
	r = ph->p_filesz ? read_at(fd, p, ph->p_filesz, ph->p_offset, err) : 0;
	if (!r)
		gmem_wrote(gm, ph->p_paddr, ph->p_memsz);
	return r;
}

static int elf_read_headers(int fd, uint64_t fsize, Elf64_Ehdr *eh,
			    Elf64_Phdr *ph, struct err *err)
{
	uint64_t len;

	if (fsize < sizeof(*eh))
		return err_say(err, -ENOEXEC, "the file is truncated");
	if (read_at(fd, eh, sizeof(*eh), 0, err))
		return -ENOEXEC;
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_machine != EM_X86_64 || eh->e_type != ET_EXEC)
		return err_say(err, -ENOEXEC,
			       "not an ELF executable for x86-64");
	if (eh->e_phentsize != sizeof(*ph) || !eh->e_phnum ||
	    eh->e_phnum > PHDRS_MAX)
		return err_say(err, -ENOEXEC,
			       "ELF program headers: %u of %u bytes",
			       eh->e_phnum, eh->e_phentsize);
	len = (uint64_t)eh->e_phnum * sizeof(*ph);
	if (eh->e_phoff > fsize || len > fsize - eh->e_phoff)
		return err_say(err, -ENOEXEC, "the file is truncated");
	return read_at(fd, ph, len, eh->e_phoff, err);
}

static int load_elf(const struct gmem *gm, int fd, uint64_t fsize,
		    struct boot_kernel *k, struct err *err)
{
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr eh;
	int r, n, entry_ok = 0;

	r = elf_read_headers(fd, fsize, &eh, ph, err);
	if (r)
		return r;
	n = elf_check(gm, ph, eh.e_phnum, fsize, err);
	if (n < 0)
		return n;
	k->start = UINT64_MAX;
	for (int i = 0; i < n; i++) {
		r = elf_load_segment(gm, fd, &ph[i], err);
		if (r)
			return r;
		k->start = MIN(k->start, ph[i].p_paddr);
		k->end = MAX(k->end, ph[i].p_paddr + ph[i].p_memsz);
		/* Linux links e_entry as a physical address. */
		if (eh.e_entry - ph[i].p_paddr < ph[i].p_filesz)
			entry_ok = 1;
	}
	if (!entry_ok)
		return err_say(err, -ENOEXEC,
			       "ELF entry point %#llx is in no segment",
			       (unsigned long long)eh.e_entry);
	k->entry = eh.e_entry;
	k->initrd_max = VMLINUX_INITRD_MAX;
	k->cmdline_max = VMLINUX_CMDLINE;
	k->hdr = (struct setup_header){
		.boot_flag = HDR_BOOT_FLAG,
		.header = HDR_MAGIC,
		.version = HDR_VERSION_MIN,
		.loadflags = LOADED_HIGH,
		.kernel_alignment = 1 << 21,
		.initrd_addr_max = VMLINUX_INITRD_MAX,
		.cmdline_size = VMLINUX_CMDLINE,
	};
	return 0;
}

/* --- bzImage ----------------------------------------------------------- */

static int bz_check_header(const struct setup_header *h, struct err *err)
{
	if (h->version < HDR_VERSION_MIN)
		return err_say(err, -ENOEXEC,
			       "boot protocol %u.%02u is too old, 2.12 needed",
			       h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return err_say(err, -ENOEXEC, "zImage, not a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return err_say(err, -ENOEXEC, "bzImage of a 32-bit kernel");
	if (!h->init_size || !h->kernel_alignment ||
	    h->kernel_alignment & (h->kernel_alignment - 1) ||
	    h->kernel_alignment < PAGE)
		return err_say(err, -ENOEXEC, "bzImage header is damaged");
	return 0;
}

/*
 * The header's length is in the jump over it (boot.rst, "jump"); a header
 * shorter than ours leaves the newer fields zero.
 */
static int bz_read_header(int fd, uint64_t fsize, struct setup_header *h,
			  struct err *err)
{
	uint8_t raw[sizeof(*h)];
	size_t len;
	int r;

	if (fsize < HDR_OFFSET + sizeof(raw))
		return err_say(err, -ENOEXEC, "the file is truncated");
	r = read_at(fd, raw, sizeof(raw), HDR_OFFSET, err);
	if (r)
		return r;
	len = HDR_JUMP + 2 + raw[HDR_JUMP + 1 - HDR_OFFSET] - HDR_OFFSET;
	memset(h, 0, sizeof(*h));
	memcpy(h, raw, MIN(len, sizeof(raw)));
	return bz_check_header(h, err);
}

/* The load address: the preferred one, or as low as a relocatable kernel may
 * go where that is past the end of RAM. */
static int bz_place(const struct gmem *gm, const struct setup_header *h,
		    uint64_t *gpa, struct err *err)
{
	uint64_t align = h->kernel_alignment;

	*gpa = h->pref_address;
	if (*gpa >= LAYOUT_HIMEM && in_ram(gm, *gpa, h->init_size))
		return 0;
	if (h->relocatable_kernel) {
		*gpa = (LAYOUT_HIMEM + align - 1) & ~(align - 1);
		if (in_ram(gm, *gpa, h->init_size))
			return 0;
	}
	if (*gpa < LAYOUT_HIMEM || *gpa > GMEM_HOLE_START)
		return err_say(err, -ENOEXEC, "bzImage header is damaged");
	return too_little_ram(gm, *gpa + h->init_size, err);
}

static int load_bzimage(const struct gmem *gm, int fd, uint64_t fsize,
			struct boot_kernel *k, struct err *err)
{
	struct setup_header *h = &k->hdr;
	uint64_t setup, size, gpa;
	int r;

	r = bz_read_header(fd, fsize, h, err);
	if (r)
		return r;
	/* boot.rst: 0 setup sectors means 4; the boot sector comes on top. */
	setup = ((h->setup_sects ? h->setup_sects : 4) + 1ull) * SECTOR;
	size = fsize > setup ? fsize - setup : 0;
	if (size <= ENTRY64_OFFSET || size < (uint64_t)h->syssize * 16)
		return err_say(err, -ENOEXEC, "the file is truncated");
	r = bz_place(gm, h, &gpa, err);
	if (r)
		return r;
	if (size > h->init_size)
		return err_say(err, -ENOEXEC, "bzImage header is damaged");
	r = read_at(fd, gmem_ptr(gm, gpa, h->init_size), size, setup, err);
	if (r)
		return r;
	gmem_wrote(gm, gpa, size);
	k->start = gpa;
	k->end = gpa + h->init_size;
	k->entry = gpa + ENTRY64_OFFSET;
	k->initrd_max = h->initrd_addr_max;
	k->cmdline_max = h->cmdline_size;
	h->code32_start = (uint32_t)gpa;
	h->setup_data = 0;
	return 0;
}

/* ----------------------------------------------------------------------- */

int boot_load_kernel(const struct gmem *gm, int fd, struct boot_kernel *k,
		     struct err *err)
{
	uint8_t head[HDR_OFFSET + 0x15];
	uint64_t fsize;
	uint32_t magic;
	int r;

	memset(k, 0, sizeof(*k));
	r = file_size(fd, &fsize, err);
	if (!r && fsize < sizeof(head))
		r = err_say(err, -ENOEXEC, "the file is too short");
	if (!r)
		r = read_at(fd, head, sizeof(head), 0, err);
	if (r)
		return r;
	memcpy(&magic, head + 0x202, sizeof(magic));
	if (!memcmp(head, ELFMAG, SELFMAG))
		r = load_elf(gm, fd, fsize, k, err);
	else if (magic == HDR_MAGIC)
		r = load_bzimage(gm, fd, fsize, k, err);
	else
		r = err_say(err, -ENOEXEC,
			    "neither an ELF file nor a bzImage");
	if (r == -ENOEXEC)
		err_hint(err, "--kernel takes a vmlinux (64-bit ELF) or a "
			      "bzImage, whole");
	k->hdr.type_of_loader = HDR_LOADER_UNKNOWN;
	return r;
}

int boot_load_initrd(const struct gmem *gm, int fd,
		     const struct boot_kernel *k, struct boot_initrd *rd,
		     struct err *err)
{
	uint64_t size, top = MIN(gm->r[0].size, k->initrd_max + 1);
	uint64_t gpa;
	int r;

	memset(rd, 0, sizeof(*rd));
	r = file_size(fd, &size, err);
	if (r)
		return r;
	if (!size)
		return err_say(err, -EINVAL, "the file is empty");
	gpa = size <= top ? (top - size) & ~(PAGE - 1) : 0;
	if (gpa < k->end) {
		err_say(err, -ENOMEM,
			"%llu KiB do not fit between the kernel and %llu MiB",
			(unsigned long long)(size >> 10),
			(unsigned long long)(top >> 20));
		err_hint(err, "give the guest more memory");
		return -ENOMEM;
	}
	r = read_at(fd, gmem_ptr(gm, gpa, size), size, 0, err);
	if (r)
		return r;
	gmem_wrote(gm, gpa, size);
	rd->gpa = gpa;
	rd->size = size;
	return 0;
}
