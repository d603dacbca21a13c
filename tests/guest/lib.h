/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib: what the bare-metal payloads share.
 *
 * A payload is a C file with a main(), linked with start.S and lib.c to an
 * ELF at 1 MiB. It is entered in long mode with the first 4 GiB mapped one to
 * one, by our own runner or by QEMU (PVH, a stub in start.S). It prints a
 * PASS or FAIL line for each check on port 0xe9 and ends by writing the
 * number of failures to port 0xf4; in a machine of mayfly-vmm's, which has
 * neither, it prints on COM1 and powers off (attack.h).
 *
 * What a check expects is the SDM's word, so that every CPU must pass: our
 * two engines, and QEMU TCG as a third. Where one of them cannot (the host's
 * KVM, HOSTS; or TCG's own gaps) the check is skipped by name and reason.
 */
#ifndef MAYFLY_TESTS_GUEST_LIB_H
#define MAYFLY_TESTS_GUEST_LIB_H

#include <stddef.h>
#include <stdint.h>

#include "tests/guest/testdev.h"

/* --- reporting --------------------------------------------------------- */

/* %s %d %u %x (64-bit, no width). */
void print(const char *fmt, ...);
void check(int ok, const char *name);
void check_eq(uint64_t got, uint64_t want, const char *name);
void skip(const char *name, const char *why);
void quit(void) __attribute__((noreturn));

/* Under guest-run, whose test devices are there? */
int have_testdev(void);
/* A KVM that emulates kernel mode and loses system calls: HOSTS. */
int cpu_is_limited(void);
/* QEMU's TCG, by itself or below a KVM. */
int cpu_is_tcg(void);

int main(void);

/* --- memory ------------------------------------------------------------ */

#define PAGE	4096ull
#define PTE_P	(1ull << 0)
#define PTE_W	(1ull << 1)
#define PTE_U	(1ull << 2)
#define PTE_PCD (1ull << 4)
#define PTE_A	(1ull << 5)
#define PTE_D	(1ull << 6)
#define PTE_PS	(1ull << 7)
#define PTE_G	(1ull << 8)
#define PTE_NX	(1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/* A virtual window that is the payload's to map as it likes. */
#define WINDOW 0x8000000000ull

void *memset(void *p, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
/* A zeroed page (2 MiB aligned piece for alloc_2m) of identity-mapped RAM. */
void *alloc_page(void);
void *alloc_2m(void);
/* The entry that maps @va at @level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB), with the
 * tables above it made as needed, present, writable and user. */
uint64_t *pte_of(uint64_t va, int level);
void map(uint64_t va, uint64_t pa, int level, uint64_t flags);

static inline uint64_t pa_of(const void *p)
{
	return (uintptr_t)p;
}

/* --- traps ------------------------------------------------------------- */

#define KERNEL_CS   0x10
#define KERNEL_DS   0x18
#define TSS_SEL	    0x20 /* 16 bytes */
#define USER_CS32   0x33
#define USER_DS	    0x3b /* SYSRET: data, then 64-bit code */
#define USER_CS	    0x43
#define KERNEL_CS32 0x48
#define NP_SEL	    0x50 /* a data segment that is not present */
#define RO_SEL	    0x58 /* read-only data */
#define GDT_SIZE    12

#define VEC_DE 0
#define VEC_DB 1
#define VEC_BP 3
#define VEC_OF 4
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_AC 17
#define VEC_XM 19
#define VEC_USER_EXIT VEC_BP /* `int3` ends run_user() */
#define VEC_NONE 0x100

#define PF_P	1
#define PF_W	2
#define PF_U	4
#define PF_RSVD 8
#define PF_I	16

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* The last exception, or what ended run_user(). */
struct trap {
	uint64_t vector, error, cr2;
	struct frame f;
	uint64_t handler_rsp; /* where the handler's frame lay */
};
extern struct trap trap;
extern volatile uint64_t trap_resume, trap_insn;

typedef void (*irq_fn)(struct frame *f);
extern irq_fn irq_handler[256];

void trap_clear(void);
/* A check that the last TRY() raised @vector with @error at its first byte,
 * or (VEC_NONE) nothing. */
void check_trap(uint64_t vector, uint64_t error, const char *name);
/* TCG reports a reserved bit without P, which SDM 3A 4.7 rules out: there,
 * and only there, that is let pass. */
void check_pf(uint64_t error, uint64_t cr2, const char *name);

/*
 * Run @insn; an exception goes on after it and is left in `trap`. What
 * follows is the operand lists of an asm statement.
 */
#define TRY(insn, ...)                                              \
	do {                                                        \
		trap_clear();                                       \
		__asm__ volatile("movq $77f, trap_resume(%%rip)\n"  \
				 "movq $76f, trap_insn(%%rip)\n"    \
				 "76:\t" insn "\n"                  \
				 "77:\tmovq $0, trap_resume(%%rip)" \
				 __VA_ARGS__);                      \
	} while (0)

/* Gates and the TSS, for payloads that change them. */
struct gate {
	uint16_t low, sel;
	uint8_t ist, type;
	uint16_t mid;
	uint32_t high, zero;
};
struct tss {
	uint32_t zero;
	uint64_t rsp[3], zero2, ist[7], zero3;
	uint16_t zero4, iomap;
} __attribute__((packed));
extern struct gate idt[256];
extern struct tss tss;
extern uint64_t gdt[GDT_SIZE];
struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/*
 * Enter user mode at @rip with @rsp, @arg in RDI and @rflags, until an
 * exception, `int3` among them: what it was is in `trap`, RAX is returned.
 */
uint64_t run_user(uint64_t rip, uint64_t rsp, uint64_t arg, uint64_t rflags);
/* The same at @cs (a compatibility-mode segment, for one). */
uint64_t run_user_cs(uint64_t rip, uint64_t rsp, uint64_t arg,
		     uint64_t rflags, uint64_t cs);
/* Code between two labels, copied to a user page; its new address. */
uint64_t user_code(const void *start, const void *end);
uint64_t user_stack(void);

/* --- instructions ------------------------------------------------------ */

#define RFLAGS_FIXED 0x2ull
#define RFLAGS_TF    0x100ull
#define RFLAGS_IF    0x200ull
#define RFLAGS_DF    0x400ull
#define RFLAGS_IOPL3 0x3000ull
#define RFLAGS_RF    0x10000ull
#define RFLAGS_AC    0x40000ull

#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_WP (1ull << 16)
#define CR4_PGE (1ull << 7)
#define CR4_OSFXSR (1ull << 9)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)

#define MSR_TSC		 0x10
#define MSR_APIC_BASE	 0x1b
#define MSR_TSC_ADJUST	 0x3b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_PAT		 0x277
#define MSR_EFER	 0xc0000080
#define MSR_STAR	 0xc0000081
#define MSR_LSTAR	 0xc0000082
#define MSR_CSTAR	 0xc0000083
#define MSR_SFMASK	 0xc0000084
#define MSR_FS_BASE	 0xc0000100
#define MSR_GS_BASE	 0xc0000101
#define MSR_KERNEL_GS	 0xc0000102

#define EFER_SCE  (1ull << 0)
#define EFER_LME  (1ull << 8)
#define EFER_LMA  (1ull << 10)
#define EFER_NXE  (1ull << 11)

#define READ_CR(n)                                                \
	static inline uint64_t read_cr##n(void)                   \
	{                                                         \
		uint64_t v;                                       \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)); \
		return v;                                         \
	}
#define WRITE_CR(n)                                             \
	static inline void write_cr##n(uint64_t v)              \
	{                                                       \
		__asm__ volatile("mov %0, %%cr" #n              \
				 : : "r"(v) : "memory");        \
	}
READ_CR(0) READ_CR(2) READ_CR(3) READ_CR(4) READ_CR(8)
WRITE_CR(0) WRITE_CR(2) WRITE_CR(3) WRITE_CR(4) WRITE_CR(8)

static inline uint64_t rdmsr(uint32_t nr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(nr));
	return lo | (uint64_t)hi << 32;
}

static inline void wrmsr(uint32_t nr, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(nr), "a"((uint32_t)v),
			 "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;

	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
			 : "a"(leaf), "c"(sub));
	return r;
}

static inline uint64_t rflags(void)
{
	uint64_t v;

	__asm__ volatile("pushfq; pop %0" : "=r"(v));
	return v;
}

static inline void invlpg(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	__asm__ volatile("sti; nop" : : : "memory");
}

/* Wait for one interrupt; the race between test and HLT is closed by STI's
 * shadow. Leaves interrupts off. */
static inline void sti_hlt_cli(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

#define PORT_IO(suffix, type)                                            \
	static inline void out##suffix(uint16_t port, type v)            \
	{                                                                \
		__asm__ volatile("out %0, %1" : : "a"(v), "Nd"(port));   \
	}                                                                \
	static inline type in##suffix(uint16_t port)                     \
	{                                                                \
		type v;                                                  \
		__asm__ volatile("in %1, %0" : "=a"(v) : "Nd"(port));    \
		return v;                                                \
	}
PORT_IO(b, uint8_t) PORT_IO(w, uint16_t) PORT_IO(l, uint32_t)

#endif
