/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native: guest instructions that the host CPU runs itself.
 *
 * What the decoder knows as OP_SIMD, OP_X87 and OP_X87_ENV (its table is the
 * allow-list) is run by a thunk: a few instructions of machine code that load
 * the operands, run the guest's instruction with its operands redirected, and
 * store them back. Registers are the caller's pointers, so that one thunk
 * serves all registers and, for the register stack of x87 and MMX, each
 * register name once; a thunk is made once and found by hash.
 *
 * A thunk touches no memory but what it is given, ends with the x87 state
 * empty (but for a live one), and changes no register that the ABI preserves.
 * It runs with the MXCSR that it finds, or that is in the image, and does not
 * look at exceptions: simd.c and x87.c do.
 *
 * The code arena has a fixed size and is mapped twice, once to write and once
 * to run, by native_new(): nothing becomes executable later. When it fills,
 * native_reset() forgets every thunk; block.c does that together with the
 * code cache, whose uops point to thunks. vCPU thread only.
 */
#ifndef MAYFLY_SOFT_NATIVE_H
#define MAYFLY_SOFT_NATIVE_H

#include <stddef.h>

#include "runner/engine/soft/decode.h"

struct native;

/*
 * Vector registers (OP_SIMD without INSN_MMX):
 * @rm   what ModRM.rm names: memory, or the register's 8 or 16 bytes
 * @reg  what ModRM.reg names
 * @arg  the struct cpu, for flags and implied registers; for MASKMOVDQU the
 *	 16 bytes to write into
 *
 * x87 and MMX:
 * @rm   memory, or the general register's 8 bytes
 * @reg  general register's 8 bytes; for FCOMI and FCMOV the flags (cpu->fl);
 *	 for MASKMOVQ the 8 bytes to write into
 * @arg  an FXSAVE64 image, 16-byte aligned: loaded before, stored after. No
 *	 x87 exception may be pending in it for an instruction that waits, and
 *	 MXCSR must have all exceptions masked
 *
 * The same by native_get_live(): @arg is not used; the host's x87 state is the
 * guest's, and stays so. Not for instructions with an XMM operand.
 *
 * General registers that are written get all 8 bytes.
 */
typedef void (*native_fn)(void *rm, void *reg, void *arg);

/* NULL with errno: ENOTSUP where the host lacks SSE4.2, else whatever refused
 * the executable memory. */
struct native *native_new(void);
void native_free(struct native *n); /* takes NULL */

/* @size bytes of memory, mapped to write and to run. 0, or -1 with errno. */
int native_map(size_t size, uint8_t **rw, const uint8_t **rx);
void native_unmap(size_t size, uint8_t *rw, const uint8_t *rx);

/* There is no room for all thunks that one more block may need. */
int native_full(const struct native *n);
void native_reset(struct native *n);

/* The thunk for an instruction of the three kinds above. */
native_fn native_get(struct native *n, const struct insn *in);
native_fn native_get_live(struct native *n, const struct insn *in);

#endif
