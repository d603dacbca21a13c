/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu: what simd.c and x87.c share.
 *
 * The state of both is the FXSAVE64 image cpu->fx. But while cpu->fpu_live is
 * set, the x87 registers, FSW and the tags are in the host's x87, where the
 * next x87 or MMX instruction finds them at no cost: nothing else of this
 * thread uses those registers. Only with all x87 exceptions masked, so that
 * none can come from there; fpu_sync() brings the state back.
 *
 * Two things always hold of the image, so that the host can load it without a
 * fault: MXCSR has no reserved bit (MXCSR_VALID), and ES and B in FSW say
 * whether an unmasked x87 exception is pending. vCPU thread only.
 */
#ifndef MAYFLY_SOFT_FPU_H
#define MAYFLY_SOFT_FPU_H

#include "runner/engine/soft/cpu.h"

struct emitter;
struct insn;

/* SDM 1 10.2.3 */
#define MXCSR_FLAGS 0x003fu
#define MXCSR_IE    0x0001u
#define MXCSR_DE    0x0002u
#define MXCSR_ZE    0x0004u
#define MXCSR_UE    0x0010u
#define MXCSR_EARLY (MXCSR_IE | MXCSR_DE | MXCSR_ZE)
#define MXCSR_MASKS 0x1f80u
#define MXCSR_FTZ   0x8000u
#define MXCSR_VALID 0xffffu
#define MXCSR_HOST  MXCSR_MASKS /* the ABI's, and nobody here changes it */

static inline uint32_t mxcsr_get(void)
{
	uint32_t v;

	__asm__ volatile("stmxcsr %0" : "=m"(v) : : "memory");
	return v;
}

static inline void mxcsr_set(uint32_t v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v) : "memory");
}

/* The whole state is in cpu->fx, and the host's x87 empty as the ABI has it.
 * Before anybody but x87.c looks, and before run() returns. */
void fpu_sync(struct cpu *cpu);

/* The same, before the next uop: for one that may use the host's x87. */
void emit_fpu_sync(struct emitter *e);

/* After cpu->fx came from outside (a snapshot): make both hold. */
void fpu_accept(struct cpu *cpu);

/*
 * SDM 1 11.5.2, 11.5.3: of the exceptions that an instruction meets, those
 * that it reports. When one that shows before computing (invalid, denormal,
 * division by zero) is unmasked, the result is not computed, and what it
 * would bring is not looked for.
 */
static inline uint32_t fpu_reported(uint32_t flags, uint32_t mxcsr)
{
	uint32_t unmasked = ~mxcsr >> 7 & MXCSR_FLAGS;

	return flags & unmasked & MXCSR_EARLY ? flags & MXCSR_EARLY : flags;
}

/* CR0 and CR4 forbid SSE now: #UD or #NM. Never returns; the type is for
 * handlers to end with. */
const struct uop *fpu_refuse_simd(struct cpu *cpu, const struct uop *op);
/* An unmasked SIMD floating-point exception: #XM, or #UD. */
_Noreturn void fpu_raise_simd(struct cpu *cpu, const struct uop *op);

/* Store the bytes that are equal in @a and @b; faults come first, #AC by
 * @aligned before the others. */
void fpu_write_masked(struct cpu *cpu, const struct uop *op, uint64_t va,
		      const uint8_t *a, const uint8_t *b, unsigned len,
		      unsigned aligned);

/* x87, MMX, FXSAVE, FXRSTOR: the part of emit_simd() in x87.c. */
int emit_x87(struct emitter *e, const struct insn *in);
void emit_fxsave(struct emitter *e, const struct insn *in); /* fxsave.c */

#endif
