/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zeropage: struct boot_params, the memory map and the command line, as
 * Documentation/arch/x86/zero-page.rst lays them out.
 *
 * Main thread, once, after boot_load_*(). Writes guest memory only.
 */
#ifndef MAYFLY_X86_ZEROPAGE_H
#define MAYFLY_X86_ZEROPAGE_H

#include <stdint.h>

#include "runner/x86/boot.h"

struct zeropage_params {
	const struct boot_kernel *kernel;
	const struct boot_initrd *initrd; /* size 0: none */
	const char *cmdline;
	uint64_t rsdp; /* from acpi_write() */
};

int zeropage_write(const struct gmem *gm, const struct zeropage_params *p,
		   struct err *err);

#endif
