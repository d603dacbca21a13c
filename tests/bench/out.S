/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shortest guest: one byte to the first serial port. Then a byte to port
 * 0xf4, which ends a QEMU that has isa-debug-exit there and is nothing to us,
 * and HLT for ever. start64 is our entry, start32 QEMU's (PVH); the code has
 * the same bytes in both modes.
 */
	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start32

	.section .text.start, "ax", @progbits
	.code64
	.globl	start64
start64:
start32:
	mov	$0x3f8, %edx
	mov	$'x', %al
	out	%al, %dx
	out	%al, $0xf4
1:	cli
	hlt
	jmp	1b
