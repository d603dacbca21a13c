/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry points, trap stubs and the way to user mode and back.
 *
 * start64 is where our runner enters, in the state of the 64-bit Linux boot
 * protocol. start32 is for QEMU, which enters by PVH (flat 32-bit protected
 * mode, no paging): it makes that same state, tables at the same addresses.
 */
#include "tests/guest/testdev.h"

#define PML4 0x9000
#define PDPT 0xa000
#define PD   0xb000

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start32

	.section .text.start, "ax", @progbits
	.code32
	.globl	start32
start32:
	cld
	mov	$PML4, %edi
	mov	$(0x6000 / 4), %ecx
	xor	%eax, %eax
	rep stosl
	movl	$(PDPT | 3), PML4
	movl	$(PD | 3), PDPT
	movl	$(PD + 0x1000 + 3), PDPT + 8
	movl	$(PD + 0x2000 + 3), PDPT + 16
	movl	$(PD + 0x3000 + 3), PDPT + 24
	mov	$PD, %edi
	mov	$0x83, %eax			/* present, writable, 2 MiB */
	mov	$2048, %ecx
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	loop	1b
	mov	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$PML4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax			/* LME */
	wrmsr
	mov	$0x80000031, %eax		/* PG, NE, ET, PE */
	mov	%eax, %cr0
	lgdt	boot_gdtr
	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$0x20, %eax
	ltr	%ax
	mov	$0x9000, %esp
	mov	$0x7000, %esi
	xor	%eax, %eax
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%edi, %edi
	xor	%ebp, %ebp
	ljmp	$0x10, $start64

	.balign	8
boot_gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x0000890000000067
	.quad	0
boot_gdtr:
	.word	. - boot_gdt - 1
	.long	boot_gdt

	.code64
	.globl	start64
start64:
	/* Leave what the boot payload looks at: flags and RSP first. */
	mov	%rsp, boot_rsp
	mov	%rsi, boot_rsi
	mov	$stack_end, %rsp
	pushfq
	popq	boot_rflags
	sgdt	boot_gdtr_seen
	str	boot_tr
	mov	%cs, boot_cs
	mov	%ss, boot_ss
	cld
	call	lib_init
	call	main
	call	quit

	.balign	16
	.globl	trap_stubs
trap_stubs:					/* 16 bytes each */
	.set	n, 0
	.rept	256
	.balign	16
	.if	n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
	nop
	nop
	.else
	pushq	$0
	.endif
	pushq	$n				/* 5 bytes above 127 */
	jmp	trap_common
	.set	n, n + 1
	.endr

trap_common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	call	trap_entry
	.globl	trap_return
trap_return:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

/* run_user_cs(rip, rsp, arg, rflags, cs) */
	.globl	run_user_cs
run_user_cs:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_return
	pushq	$0x3b				/* USER_DS */
	push	%rsi
	push	%rcx
	push	%r8
	push	%rdi
	mov	%rdx, %rdi
	iretq

/* user_leave(rax): out of the trap handler, back to run_user()'s caller. */
	.globl	user_leave
user_leave:
	mov	%rdi, %rax
	mov	user_return, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.bss
	.balign	16
user_return:
	.quad	0
	.globl	boot_rsp, boot_rsi, boot_rflags, boot_gdtr_seen, boot_tr
	.globl	boot_cs, boot_ss
boot_rsp:	.quad 0
boot_rsi:	.quad 0
boot_rflags:	.quad 0
boot_gdtr_seen:	.quad 0, 0
boot_tr:	.quad 0
boot_cs:	.quad 0
boot_ss:	.quad 0
	.balign	4096
	.space	16384
stack_end:

	.section .note.GNU-stack, "", @progbits
