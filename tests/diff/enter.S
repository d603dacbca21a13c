/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way into a case on the host CPU and back: all registers from the area,
 * by IRETQ into either mode; at DIFF_LEAVE all registers to the area. All
 * addresses are absolute, for diff_leave runs as a copy.
 */
#include "tests/diff/enter.h"

#define AT(field) DIFF_AREA + field

	.text
	.globl	diff_enter
diff_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, AT(AREA_HOST_RSP)
	rdfsbase %rax
	mov	%rax, AT(AREA_HOST_FS)
	mov	$DIFF_DS, %eax
	mov	%eax, %ds
	mov	%eax, %es
	xor	%eax, %eax
	mov	%eax, %fs
	mov	AT(AREA_SREG) + 6, %gs
	mov	AT(AREA_FSBASE), %rax
	wrfsbase %rax
	mov	AT(AREA_GSBASE), %rax
	wrgsbase %rax
	fxrstor64 AT(AREA_FX)
	mov	AT(AREA_GPR) + 0x00, %rax
	mov	AT(AREA_GPR) + 0x08, %rcx
	mov	AT(AREA_GPR) + 0x10, %rdx
	mov	AT(AREA_GPR) + 0x18, %rbx
	mov	AT(AREA_GPR) + 0x28, %rbp
	mov	AT(AREA_GPR) + 0x30, %rsi
	mov	AT(AREA_GPR) + 0x38, %rdi
	mov	AT(AREA_GPR) + 0x40, %r8
	mov	AT(AREA_GPR) + 0x48, %r9
	mov	AT(AREA_GPR) + 0x50, %r10
	mov	AT(AREA_GPR) + 0x58, %r11
	mov	AT(AREA_GPR) + 0x60, %r12
	mov	AT(AREA_GPR) + 0x68, %r13
	mov	AT(AREA_GPR) + 0x70, %r14
	mov	AT(AREA_GPR) + 0x78, %r15
	mov	$AT(AREA_FRAME), %rsp
	iretq

	.globl	diff_leave, diff_leave_end
diff_leave:
	mov	%rax, AT(AREA_GPR) + 0x00
	mov	%rcx, AT(AREA_GPR) + 0x08
	mov	%rdx, AT(AREA_GPR) + 0x10
	mov	%rbx, AT(AREA_GPR) + 0x18
	mov	%rsp, AT(AREA_GPR) + 0x20
	mov	%rbp, AT(AREA_GPR) + 0x28
	mov	%rsi, AT(AREA_GPR) + 0x30
	mov	%rdi, AT(AREA_GPR) + 0x38
	mov	%r8,  AT(AREA_GPR) + 0x40
	mov	%r9,  AT(AREA_GPR) + 0x48
	mov	%r10, AT(AREA_GPR) + 0x50
	mov	%r11, AT(AREA_GPR) + 0x58
	mov	%r12, AT(AREA_GPR) + 0x60
	mov	%r13, AT(AREA_GPR) + 0x68
	mov	%r14, AT(AREA_GPR) + 0x70
	mov	%r15, AT(AREA_GPR) + 0x78
	mov	AT(AREA_HOST_RSP), %rsp
	pushfq
	popq	AT(AREA_FLAGS)
	fxsave64 AT(AREA_FX)
	mov	%ds, AT(AREA_SREG)
	mov	%es, AT(AREA_SREG) + 2
	mov	%fs, AT(AREA_SREG) + 4
	mov	%gs, AT(AREA_SREG) + 6
	rdfsbase %rax
	mov	%rax, AT(AREA_FSBASE)
	rdgsbase %rax
	mov	%rax, AT(AREA_GSBASE)

	/* also where a case that faulted goes on, from its signal handler */
	.globl	diff_back
diff_back:
	mov	AT(AREA_HOST_RSP), %rsp
	pushq	$2
	popfq
	fninit
	ldmxcsr	AT(AREA_MXCSR)
	mov	AT(AREA_HOST_FS), %rax
	wrfsbase %rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
diff_leave_end:

/*
 * Signal handler. The kernel leaves AC and the case's FS base as they are;
 * C wants neither. What it returns to wants its FS base back, and NT and ID,
 * which sigreturn does not bring.
 */
	.globl	diff_on_signal
diff_on_signal:
	pushfq
	andq	$~0x40000, (%rsp)
	popfq
	mov	%ds, AT(AREA_SREG)
	mov	%es, AT(AREA_SREG) + 2
	mov	%fs, AT(AREA_SREG) + 4
	mov	%gs, AT(AREA_SREG) + 6
	rdfsbase %rax
	mov	%rax, AT(AREA_FSBASE)
	rdgsbase %rax
	mov	%rax, AT(AREA_GSBASE)
	mov	AT(AREA_HOST_FS), %rax
	wrfsbase %rax
	push	%rbx
	call	diff_signal@PLT
	pop	%rbx
	mov	AT(AREA_FSBASE), %rax
	wrfsbase %rax
	ret

	.section .note.GNU-stack, "", @progbits
