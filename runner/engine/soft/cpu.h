/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu: one x86-64 processor of the soft engine.
 *
 * How it runs. Guest code is decoded once (decode.h) into blocks: arrays of
 * `struct uop`, each a handler and its operands, cached by physical address
 * (block.h). Handlers call the next one as a tail call, so that a block runs
 * as one chain of jumps; where the compiler does not promise tail calls
 * (sanitizers, -O0) the same handlers return the next uop to a loop. The last
 * handler of a block finds the next block in a cache by virtual address, or
 * returns NULL to cpu_loop() (loop.c), which also serves interrupts. In a
 * cached block the handlers are machine code made for it (xlate.h).
 *
 * Registers. r[] is a register file indexed by BYTE offset, so that a handler
 * needs no multiply: 16 GPRs, then slots that make addressing uniform:
 * [base] + ([index] << scale) + [seg] + disp, with SLOT_ZERO standing in for
 * what is absent and SLOT_RIP for the address of the block being run. The
 * address of an instruction is r[SLOT_RIP] + uop.off; cpu->rip is exact only
 * between blocks and after a fault.
 *
 * Flags. Handlers run the host's own instruction and keep its flags as LAHF
 * and SETO give them: cpu->fl = (AH << 8) | OF. Conditions are masks on that.
 * What the host computes cannot differ from what hardware does.
 *
 * Faults. A handler commits nothing before its last access that may fault;
 * the slow path of an access, or cpu_raise(), fills cpu->exc, sets cpu->rip
 * to the faulting instruction, and longjmps to cpu_loop(), which delivers.
 *
 * Threads. All of struct cpu is the vCPU thread's but the fields marked
 * `any thread`, which are atomics.
 */
#ifndef MAYFLY_SOFT_CPU_H
#define MAYFLY_SOFT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/engine/engine.h"

struct cpu;
struct uop;
struct block;
struct soft;

typedef const struct uop *(*uop_fn)(struct cpu *cpu, const struct uop *op);

struct uop {
	uop_fn fn;
	uint64_t imm;
	int32_t disp;
	uint16_t off;	/* of the instruction from the block's start */
	uint8_t r0, r1; /* byte offsets into r[]: destination, source */
	uint8_t base, index, seg; /* byte offsets into r[] */
	uint8_t scale;
	uint8_t len;	/* of the instruction: off + len is what follows */
	uint8_t aux;	/* a handler's own: operand size, condition, ... */
	uint8_t ext[2]; /* a handler's own, too */
};
_Static_assert(sizeof(struct uop) == 32, "two uops a cache line");

/* Slots of r[] above the GPRs. */
enum {
	SLOT_RIP = 16, /* virtual address of the current block */
	SLOT_ZERO,     /* always 0 */
	SLOT_TMP,      /* an address computed by an earlier uop */
	SLOT_TMP2,
	SLOT_SEG,      /* + enum x86_sreg: segment bases */
	SLOTS = SLOT_SEG + X86_SREGS,
};
#define SLOT_OFF(n) ((uint8_t)((n) * 8))
_Static_assert(SLOTS * 8 <= 256, "offsets fit a byte");

#define R64(cpu, off) (*(uint64_t *)((char *)(cpu)->r + (off)))
#define R32(cpu, off) (*(uint32_t *)((char *)(cpu)->r + (off)))
#define R16(cpu, off) (*(uint16_t *)((char *)(cpu)->r + (off)))
#define R8(cpu, off)  (*(uint8_t *)((char *)(cpu)->r + (off)))

/* cpu->fl: LAHF's AH in bits 15:8, OF in bit 0. */
#define FL_CF 0x0100u
#define FL_PF 0x0400u
#define FL_AF 0x1000u
#define FL_ZF 0x4000u
#define FL_SF 0x8000u
#define FL_OF 0x0001u

#define RFLAGS_CF 0x1u
#define RFLAGS_PF 0x4u
#define RFLAGS_AF 0x10u
#define RFLAGS_ZF 0x40u
#define RFLAGS_SF 0x80u
#define RFLAGS_TF 0x100u
#define RFLAGS_IF 0x200u
#define RFLAGS_DF 0x400u
#define RFLAGS_OF 0x800u
#define RFLAGS_IOPL 0x3000u
#define RFLAGS_NT 0x4000u
#define RFLAGS_RF 0x10000u
#define RFLAGS_VM 0x20000u
#define RFLAGS_AC 0x40000u
#define RFLAGS_VIF 0x80000u
#define RFLAGS_VIP 0x100000u
#define RFLAGS_ID 0x200000u
#define RFLAGS_ARITH 0x8d5u

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_TSD 0x4u
#define CR4_DE 0x8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define CR4_UMIP 0x800u
#define CR4_FSGSBASE 0x10000u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define EFER_SCE 0x1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM,
       EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_MF = 16,
       EXC_AC, EXC_MC, EXC_XM };

/* A page translation, SDM 3A 4.10: tags hold the page's virtual address, or
 * TLB_NONE. host = va + addend. */
struct tlb_entry {
	uint64_t rd, wr;  /* tag when readable, writable without a slow path */
	uint64_t addend;
	uint64_t kind;	  /* TLB_LARGE, TLB_GLOBAL */
};
#define TLB_LARGE  1ull /* a 4 KiB piece of a larger page */
#define TLB_GLOBAL 2ull /* stays when CR3 is written */
#define TLB_NONE 1ull /* no page address has bit 0 */
#define TLB_BITS 11
#define TLB_SIZE (1u << TLB_BITS)
/* TLB_USER_AC: alignment is checked (#AC). Its TLB stays empty, so that each
 * access takes the slow path, where the check is. */
enum { TLB_KERNEL, TLB_KERNEL_AC, TLB_USER, TLB_USER_AC, TLB_MODES };

#define PAGE_SIZE 4096u
#define PAGE_MASK (~(uint64_t)(PAGE_SIZE - 1))

/* Virtual address to block; an entry is good while its tag is cpu->jc_tag. */
struct jump_entry {
	uint64_t rip;
	uint64_t tag;
	const struct block *block;
	const uint8_t *code; /* the block's (xlate.h) */
};
#define JUMP_BITS 16
#define JUMP_SIZE (1u << JUMP_BITS)

/* Instruction fetch translations; good while tag is cpu->jc_tag. */
struct fetch_entry {
	uint64_t page; /* virtual */
	uint64_t tag;
	uint64_t gpa;
	const uint8_t *host;
};
#define ITLB_SIZE 64u
#define FETCHED_BITS 2048u

struct exc {
	uint8_t pending;
	uint8_t vec;
	uint8_t has_err;
	uint8_t soft;	/* INT n, INT3, INTO: rip is already the next one */
	uint8_t trap;	/* #DB after an instruction, not before it */
	uint32_t err;
	uint64_t cr2;	/* #PF */
};

/* A breakpoint that DR7 enables (debug.c). */
struct breakpoint {
	uint64_t addr; /* aligned to len */
	uint8_t kind;  /* BREAK_*, or 0 */
	uint8_t len;
};
#define BREAK_EXEC  0x1u /* 1 << DR7.RWn */
#define BREAK_WRITE 0x2u
#define BREAK_IO    0x4u
#define BREAK_RW    0x8u
#define BREAK_DATA  (BREAK_WRITE | BREAK_RW)

/* cpu->shadow: why the next instruction runs without interrupts. MOV SS holds
 * debug traps back as well (SDM 3A 6.8.3). */
enum { SHADOW_STI = 1, SHADOW_SS };

/* cpu->attention: why cpu_loop() should look up. */
#define ATTN_KICK  0x1u /* engine kick() */
#define ATTN_IRQ   0x2u /* the local APIC has something new */
#define ATTN_CODE  0x4u /* a device wrote to a page with decoded code */
#define ATTN_STATE 0x8u /* the guest changed IF, TPR, TF, ...: look again */

/* The offsets in a segment that an access may use, outside 64-bit mode. */
struct room {
	uint32_t first, last;
	uint8_t rights; /* ROOM_*; none: a null segment */
	uint8_t open;	/* the same where first and last bound nothing */
};
#define ROOM_READ  1u /* as OPND_R, OPND_W */
#define ROOM_WRITE 2u

struct lapic;

struct cpu {
	uint64_t r[SLOTS];
	uint32_t fl;		    /* FL_*: the arithmetic flags */
	uint32_t mode;		    /* TLB_*: kernel, user */
	_Atomic uint32_t attention; /* any thread */
	int32_t budget;		    /* instructions until a look at the clock */
	uint64_t rip;
	const struct block *cur;    /* being run */
	struct tlb_entry *tlb;	    /* tlbs[mode] */
	uint64_t jc_tag;	    /* cpu_make_tag(): what code depends on */
	uint64_t rflags;	    /* all but the arithmetic flags; bit 1 set */
	uint64_t insns;		    /* executed, without the budget's rest */

	uint8_t cpl;
	uint8_t code64;		    /* CS.L with EFER.LMA */
	uint8_t code32;		    /* CS.D without code64 */
	uint8_t shadow;		    /* SHADOW_*: for one instruction */
	uint8_t shadowed;	    /* the shadow that this one runs in */
	uint8_t halted;
	uint8_t shutdown;	    /* triple fault */
	uint8_t nmi_blocked;	    /* from an NMI to the next IRET */
	uint8_t in_delivery;	    /* 1 + vector being delivered, for #DF */
	uint8_t delivery_err;	    /* its class, except.c's own */
	uint8_t step_once;	    /* run one instruction as a block of its own */
	uint8_t fpu_live;	    /* x87 state: fpu.h */
	uint8_t trap;		    /* #DB follows the instruction: single step */
	uint8_t hits;		    /* and so do breakpoints: bits as in DR6 */
	uint8_t held;		    /* those of a MOV SS, for the next one */
	uint8_t rf;		    /* RFLAGS.RF, while there are breakpoints */
	uint8_t partial;	    /* a REP instruction has more to do */
	uint8_t armed;		    /* BREAK_*: what DR7 enables */

	struct x86_seg seg[X86_SREGS]; /* .base mirrors r[SLOT_SEG + n] */
	struct room room[X86_SREGS]; /* not kept up in 64-bit mode */
	struct x86_seg tr, ldtr;
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, tsc_adjust;
	uint64_t tsc_offset;	    /* guest TSC = host ns + this; 1 GHz */
	uint64_t dr[4], dr6, dr7;
	struct breakpoint bp[4];

	struct exc exc;
	jmp_buf jmp;
	char fail[160];		    /* why the engine gives up; "" while not */

	struct lapic *lapic;	    /* owned */
	struct soft *vm;	    /* the engine this CPU belongs to */
	_Atomic uint32_t isa_missing; /* ENGINE_ISA_*; any thread reads */
	uint32_t tlb_used;	    /* bit per mode: has entries */
	uint64_t large_lo, large_hi; /* range of large pages in the TLB */

	/* x87, MMX, SSE: the FXSAVE64 image is the state itself, so that
	 * native thunks load from and store to it (native.h). */
	uint8_t fx[512] __attribute__((aligned(64)));

	/* Part of jc_tag; never 0. A CR3 write leaves the kernel's alone
	 * while its code lies in global pages. */
	uint64_t gen_kernel, gen_user;
	/* Of the code segment outside 64-bit mode, which what is known by RIP
	 * depends on as well. */
	uint64_t code_base;
	uint32_t code_limit;
	uint8_t kernel_local;	     /* kernel code was in a page not global */
	/* Pages, hashed, that user [1] and kernel [0] code came from since
	 * the generation began: INVLPG of any other needs no new one. */
	uint64_t fetched[2][FETCHED_BITS / 64];
	struct fetch_entry itlb[ITLB_SIZE];
	/* Entries filled [0], and those not global [1], since the last flush
	 * of such. */
	uint64_t tlb_filled[TLB_MODES][2][TLB_SIZE / 64];
	struct tlb_entry tlbs[TLB_MODES][TLB_SIZE];
	struct jump_entry jc[JUMP_SIZE];
};

/* FXSAVE image fields, SDM 1 table 10-2. */
#define FX_XMM(cpu, n) ((cpu)->fx + 160 + 16 * (n))
#define FX_MXCSR(cpu)  (*(uint32_t *)((cpu)->fx + 24))
#define FX_FCW(cpu)    (*(uint16_t *)((cpu)->fx + 0))
#define FX_FSW(cpu)    (*(uint16_t *)((cpu)->fx + 2))

/* --- control between handlers ------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
	!defined(__OPTIMIZE__)
#undef SOFT_LOOP
#define SOFT_LOOP
#endif
#ifdef SOFT_LOOP
#define GO_ON(cpu, op) return (void)(cpu), (op)
#else
#define GO_ON(cpu, op) return (op)->fn((cpu), (op))
#endif
/*
 * The end of a handler. The compiler makes it a jump only in a function that
 * has handed out no address of a local: one that has would pile up a frame
 * on the host's stack each time a guest repeats it. Such work belongs into a
 * function of its own that is not inlined, or into a SYSTEM handler (sys.h).
 */
#define NEXT(cpu, op) GO_ON(cpu, (op) + 1)

/* The address of this instruction, and of the one after it. */
static inline uint64_t uop_rip(const struct cpu *cpu, const struct uop *op)
{
	return cpu->r[SLOT_RIP] + op->off;
}

static inline uint64_t uop_next_rip(const struct cpu *cpu,
				    const struct uop *op)
{
	return cpu->r[SLOT_RIP] + op->off + op->len;
}

/* The effective (linear) address of the uop's memory operand. */
static inline uint64_t uop_ea(const struct cpu *cpu, const struct uop *op)
{
	return R64(cpu, op->base) + (R64(cpu, op->index) << op->scale) +
	       R64(cpu, op->seg) + (uint64_t)(int64_t)op->disp;
}

/*
 * End a block after an instruction that changed more than registers (mode,
 * IF, paging, segment): cpu_loop() goes on at cpu->rip.
 */
#define LEAVE(cpu, new_rip)              \
	do {                             \
		(cpu)->rip = (new_rip);  \
		return NULL;             \
	} while (0)

/* --- flags ------------------------------------------------------------- */

static inline uint64_t cpu_rflags(const struct cpu *cpu)
{
	return cpu->rflags | ((cpu->fl >> 8) & 0xd5) |
	       (uint64_t)(cpu->fl & FL_OF) << 11;
}

static inline void cpu_set_arith(struct cpu *cpu, uint64_t rflags)
{
	cpu->fl = (uint32_t)((rflags & 0xd5) << 8 | ((rflags >> 11) & 1));
}

/* --- faults (except.c) ------------------------------------------------- */

/* For handlers: @op tells where. */
_Noreturn void cpu_raise(struct cpu *cpu, const struct uop *op, unsigned vec);
_Noreturn void cpu_raise_err(struct cpu *cpu, const struct uop *op,
			     unsigned vec, uint32_t err);
_Noreturn void cpu_raise_pf(struct cpu *cpu, const struct uop *op, uint64_t va,
			    uint32_t err);
/* For code that runs between instructions: cpu->rip is already right. A NULL
 * op in the functions above means the same. */

/* Give up on this VM: run() returns ENGINE_EXIT_ERROR with these words. */
_Noreturn void cpu_fail(struct cpu *cpu, const struct uop *op, const char *fmt,
			...) __attribute__((format(printf, 3, 4)));

/* cpu_loop() only: deliver cpu->exc, or an external interrupt. May longjmp
 * with a nested exception pending (#DF logic included). */
void except_deliver(struct cpu *cpu);
void except_interrupt(struct cpu *cpu, unsigned vec);

/* --- mode (seg.c, sys.c) ----------------------------------------------- */

/* Generation, mode and code size: what a cached rip or fetch depends on. */
static inline uint64_t cpu_make_tag(const struct cpu *cpu)
{
	uint64_t user = cpu->mode >= TLB_USER;

	return (user ? cpu->gen_user : cpu->gen_kernel) << 8 | user << 2 |
	       cpu->code64 << 1 | cpu->code32;
}

/* After CS, CPL, EFER, CR0, CR4.SMAP or RFLAGS.AC changed: recompute mode,
 * tlb, code64/code32 and jc_tag. */
void cpu_update_mode(struct cpu *cpu);
/* Write RFLAGS bits in @mask, arithmetic ones included, and tell whoever
 * depends on them (IF, TF -> ATTN_STATE; AC -> mode). */
void cpu_set_rflags(struct cpu *cpu, uint64_t v, uint64_t mask);

/* Guest TSC now: 1 GHz. */
uint64_t cpu_tsc(const struct cpu *cpu);

static inline void cpu_attend(struct cpu *cpu, uint32_t why)
{
	atomic_fetch_or_explicit(&cpu->attention, why, memory_order_release);
}

#endif
