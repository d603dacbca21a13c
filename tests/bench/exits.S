/* SPDX-License-Identifier: Apache-2.0 */
/* EXITS writes to a port where nothing is, then a byte to the serial port. */
	.section .text.start, "ax", @progbits
	.code64
	.globl	start64
start64:
	mov	$EXITS, %ecx
1:	out	%al, $0x80
	dec	%ecx
	jnz	1b
	mov	$0x3f8, %edx
	mov	$'x', %al
	out	%al, %dx
2:	cli
	hlt
	jmp	2b
