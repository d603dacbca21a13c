/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's guest: what a Linux guest does first, in its first form.
 *
 * Entered in 64-bit kernel mode at address 0 with paging on and interrupts
 * off. It notes each step before trying it, so that the host can name the one
 * that went wrong, and ends by writing a word to PROBE_PORT. The image is
 * data to its host program: nothing in it may need a relocation.
 */
#include "runner/engine/probe_guest.h"

#define AT(label)      ((label) - probe_guest_start)
#define USER_AT(label) (AT(label) + PROBE_USER)

#define MSR_APIC_BASE	    0x1b
#define MSR_X2APIC_EOI	    0x80b
#define MSR_X2APIC_SVR	    0x80f
#define MSR_X2APIC_TIMER    0x832
#define MSR_X2APIC_COUNT    0x838
#define MSR_X2APIC_DIVIDE   0x83e
#define MSR_EFER	    0xc0000080
#define MSR_STAR	    0xc0000081
#define MSR_LSTAR	    0xc0000082
#define MSR_SFMASK	    0xc0000084

#define RFLAGS_FIXED 0x2
#define RFLAGS_IF    0x200
#define CR4_OSXSAVE_BIT 18
#define CR4_SMAP_BIT	21

.macro wrmsr_imm msr, low, high=0
	mov	$\msr, %ecx
	mov	$\low, %eax
	mov	$\high, %edx
	wrmsr
.endm

.macro step n
	movl	$\n, PROBE_STEP
.endm

.macro user_step n
	movl	$\n, PROBE_USER + PROBE_STEP
.endm

	.section .rodata.probe_guest, "a", @progbits
	.balign	16
	.globl	probe_guest_start
probe_guest_start:
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$1, %eax			/* SCE */
	wrmsr
	wrmsr_imm MSR_STAR, 0, (((PROBE_SS | 3) << 16) | PROBE_CS)
	wrmsr_imm MSR_LSTAR, AT(syscall_entry)
	wrmsr_imm MSR_SFMASK, RFLAGS_IF
	movabs	$PROBE_MAGIC, %r12

	step	PROBE_AT_IRETQ
	pushq	$PROBE_USER_SS
	pushq	$PROBE_USER_STACK
	pushq	$RFLAGS_FIXED
	pushq	$PROBE_USER_CS
	pushq	$USER_AT(user)
	iretq

/* User mode; EDI is the number of the system call. */
user:
	user_step PROBE_AT_SYSCALL
	mov	$1, %edi
	pushq	$RFLAGS_FIXED
	popfq
	syscall
after_hello:
	user_step PROBE_AT_EXCEPTION
	mov	%rsp, %r13
	ud2
	cmp	%rsp, %r13
	jne	user_wrong
	cmpl	$1, PROBE_USER + PROBE_UDS
	jne	user_wrong

	user_step PROBE_AT_TIMER
	mov	$2, %edi			/* arm it, interrupts on */
	syscall
1:	pause
	cmpl	$0, PROBE_USER + PROBE_TICKS
	je	1b
	mov	$3, %edi
	syscall
user_wrong:
	ud2					/* past the first, a fault */
	jmp	user_wrong

syscall_entry:
	mov	%cs, %eax
	cmp	$PROBE_CS, %eax
	jne	wrong
	mov	%ss, %eax
	cmp	$PROBE_SS, %eax
	jne	wrong
	cmp	$2, %edi
	je	arm_timer
	ja	kernel
	cmp	$USER_AT(after_hello), %rcx
	jne	wrong
	cmp	$RFLAGS_FIXED, %r11
	jne	wrong
	step	PROBE_AT_PORT
	mov	$PROBE_HELLO, %eax
	out	%eax, $PROBE_PORT
	step	PROBE_AT_SYSRET
	sysretq

arm_timer:
	mov	%rcx, %r14
	mov	$MSR_APIC_BASE, %ecx
	rdmsr
	or	$0xc00, %eax			/* on, x2APIC: no page to map */
	wrmsr
	wrmsr_imm MSR_X2APIC_SVR, 0x1ff
	wrmsr_imm MSR_X2APIC_DIVIDE, 0xb	/* by 1 */
	wrmsr_imm MSR_X2APIC_TIMER, PROBE_TIMER /* one shot */
	wrmsr_imm MSR_X2APIC_COUNT, 20000	/* 20 us at KVM's 1 GHz */
	mov	%r14, %rcx
	or	$RFLAGS_IF, %r11
	sysretq

/* Kernel mode: what Linux uses there once CPUID offers it. */
kernel:
	mov	$PROBE_KERNEL_STACK, %esp
	mov	$1, %eax
	cpuid
	mov	%ecx, %r14d
	xor	%r15d, %r15d
	xor	%eax, %eax
	cpuid
	cmp	$7, %eax
	jb	1f
	mov	$7, %eax
	xor	%ecx, %ecx
	cpuid
	mov	%ebx, %r15d

1:	bt	$23, %r14d			/* CPUID.1:ECX.POPCNT */
	jnc	1f
	step	PROBE_AT_POPCNT
	mov	$0x80f0f001, %eax
	popcnt	%rax, %rax
	cmp	$10, %eax
	jne	wrong

1:	bt	$13, %r14d			/* CPUID.1:ECX.CMPXCHG16B */
	jnc	1f
	step	PROBE_AT_CX16
	movl	$1, PROBE_PAIR
	movl	$2, PROBE_PAIR + 8
	mov	$1, %eax
	mov	$2, %edx
	mov	$3, %ebx
	mov	$4, %ecx
	lock cmpxchg16b PROBE_PAIR
	jne	wrong
	cmpl	$3, PROBE_PAIR
	jne	wrong
	cmpl	$4, PROBE_PAIR + 8
	jne	wrong

1:	bt	$20, %r15d			/* CPUID.7:EBX.SMAP */
	jnc	1f
	step	PROBE_AT_SMAP
	mov	%cr4, %rbx
	bts	$CR4_SMAP_BIT, %rbx
	mov	%rbx, %cr4
	stac
	cmpl	$PROBE_AT_SMAP, PROBE_USER + PROBE_STEP
	clac
	jne	wrong
	btr	$CR4_SMAP_BIT, %rbx
	mov	%rbx, %cr4

1:	step	PROBE_AT_FXSAVE
	fninit
	fld1
	fxsave64 PROBE_AREA
	cmpw	$0x37f, PROBE_AREA		/* FCW */
	jne	wrong
	cmpb	$0x80, PROBE_AREA + 4		/* FTW: one register in use */
	jne	wrong
	fxrstor64 PROBE_AREA

	bt	$26, %r14d			/* CPUID.1:ECX.XSAVE */
	jnc	1f
	step	PROBE_AT_XSAVE
	mov	%cr4, %rbx
	bts	$CR4_OSXSAVE_BIT, %rbx
	mov	%rbx, %cr4
	xor	%ecx, %ecx
	xor	%edx, %edx
	mov	$3, %eax			/* x87 and SSE */
	xsetbv
	movw	$0, PROBE_AREA
	xsave64	PROBE_AREA
	cmpw	$0x37f, PROBE_AREA
	jne	wrong
	xrstor64 PROBE_AREA

1:	step	PROBE_AT_FWAIT
	fwait
	step	PROBE_AT_INT3
	int3
	cmpl	$1, PROBE_BPS
	jne	wrong
	mov	$PROBE_DONE, %eax
	jmp	tell
wrong:
	mov	$PROBE_WRONG, %eax
tell:
	out	%eax, $PROBE_PORT
	hlt
	jmp	tell
fault:
	mov	$PROBE_FAULT, %eax
	jmp	tell

/* #UD from user mode: the frame must say so. Once. */
undefined:
	cmpl	$0, PROBE_UDS
	jne	fault_6
	cmpq	$PROBE_USER_CS, 8(%rsp)
	jne	fault_6
	cmpq	$PROBE_USER_SS, 32(%rsp)
	jne	fault_6
	incl	PROBE_UDS
	addq	$2, (%rsp)
	iretq

breakpoint:
	cmpq	$PROBE_CS, 8(%rsp)
	jne	fault_3
	incl	PROBE_BPS
	iretq

timer:
	push	%rax
	push	%rcx
	push	%rdx
	incl	PROBE_TICKS
	wrmsr_imm MSR_X2APIC_EOI, 0
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

fault_3:
	movl	$3, PROBE_VECTOR
	jmp	fault
fault_6:
	movl	$6, PROBE_VECTOR
	jmp	fault

	.balign	16
faults:					/* 16 bytes each */
	.set	n, 0
	.rept	32
	.balign	16
	movl	$n, PROBE_VECTOR
	jmp	fault
	.set	n, n + 1
	.endr

	.balign	8
probe_guest_gdt:
	.quad	0
	.quad	0x00af9b000000ffff		/* PROBE_CS: 64-bit code */
	.quad	0x00cf93000000ffff		/* PROBE_SS */
	.quad	0x00cff3000000ffff		/* PROBE_USER_SS */
	.quad	0x00affb000000ffff		/* PROBE_USER_CS */
	.quad	0x00008b0000000067 + (AT(probe_guest_tss) << 16)
	.quad	0
probe_guest_gdt_end:

	.balign	8
probe_guest_tss:				/* SDM 3A figure 8-11 */
	.long	0
	.quad	PROBE_KERNEL_STACK		/* RSP0 */
	.fill	22, 4, 0
	.word	0, 0x68

.macro gate handler
	.word	AT(\handler)
	.word	PROBE_CS
	.word	0x8e00				/* present, interrupt gate */
	.word	0
	.quad	0
.endm

	.balign	16
probe_guest_idt:
	.set	n, 0
	.rept	32
	.if	n == 3
	gate	breakpoint
	.elseif	n == 6
	gate	undefined
	.else
	gate	faults+16*n
	.endif
	.set	n, n + 1
	.endr
	gate	timer				/* PROBE_TIMER */
probe_guest_idt_end:

probe_guest_end:

	.globl	probe_guest_layout
	.balign	4
probe_guest_layout:			/* struct probe_guest_layout */
	.long	AT(probe_guest_end)
	.long	AT(probe_guest_gdt), probe_guest_gdt_end - probe_guest_gdt
	.long	AT(probe_guest_idt), probe_guest_idt_end - probe_guest_idt
	.long	AT(probe_guest_tss)

	.section .note.GNU-stack, "", @progbits
