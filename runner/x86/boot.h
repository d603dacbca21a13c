/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot: bring a Linux kernel and its initrd into guest memory, as the x86
 * boot protocol asks (Documentation/arch/x86/boot.rst).
 *
 * Owns nothing: descriptors are the caller's, memory is gmem's. Called once,
 * on the main thread, before any vCPU exists. The files are the user's and
 * may be anything: every number in them is checked. In order:
 *
 *	boot_load_kernel()	vmlinux (ELF64) or bzImage
 *	boot_load_initrd()	optional
 *	zeropage_write()	zeropage.h: what the kernel is told
 *	regs_boot()		regs.h: where the first vCPU starts
 */
#ifndef MAYFLY_X86_BOOT_H
#define MAYFLY_X86_BOOT_H

#include <stdint.h>

#include <asm/bootparam.h>

struct err;
struct gmem;

struct boot_kernel {
	uint64_t entry;	     /* 64-bit entry point */
	uint64_t start, end; /* what it occupies, bss and work space included */
	uint64_t initrd_max; /* last address that an initrd may occupy */
	uint32_t cmdline_max;	 /* characters, without the NUL */
	struct setup_header hdr; /* for the zero page */
};

struct boot_initrd {
	uint64_t gpa, size; /* size 0: none */
};

int boot_load_kernel(const struct gmem *gm, int fd, struct boot_kernel *k,
		     struct err *err);
int boot_load_initrd(const struct gmem *gm, int fd,
		     const struct boot_kernel *k, struct boot_initrd *rd,
		     struct err *err);

#endif
