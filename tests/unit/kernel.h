/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of a few instructions, as the kernel of a machine in a test. */
#ifndef MAYFLY_TESTS_UNIT_KERNEL_H
#define MAYFLY_TESTS_UNIT_KERNEL_H

#include <criterion/criterion.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRY 0x1000000

/* A vmlinux of one segment that holds @code. */
static int kernel(const void *code, size_t len)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
		uint8_t code[1024];
	} k = {
		.eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
				     ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_entry = ENTRY, .e_phoff = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 },
		.ph = { .p_type = PT_LOAD, .p_paddr = ENTRY,
			.p_offset = offsetof(__typeof__(k), code),
			.p_filesz = len, .p_memsz = len },
	};
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	memcpy(k.code, code, len);
	cr_assert_eq(write(fd, &k, sizeof(k)), sizeof(k));
	return fd;
}

#endif
