/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter: where enter.S finds what it needs: struct area of host.c, which
 * lies at DIFF_AREA. For the assembler too.
 */
#ifndef MAYFLY_TESTS_DIFF_ENTER_H
#define MAYFLY_TESTS_DIFF_ENTER_H

#define DIFF_AREA  0x357000
#define DIFF_LEAVE 0x358000 /* what a case that reaches its end jumps to */

#define AREA_GPR      0x000 /* in and out, 16 of 8 bytes */
#define AREA_FLAGS    0x080 /* out */
#define AREA_FSBASE   0x088 /* in and out */
#define AREA_GSBASE   0x090
#define AREA_SREG     0x098 /* out: DS, ES, FS, GS; in: GS */
#define AREA_FRAME    0x0a0 /* in: RIP, CS, RFLAGS, RSP, SS */
#define AREA_HOST_RSP 0x0c8
#define AREA_HOST_FS  0x0d0
#define AREA_MXCSR    0x0d8
#define AREA_EXIT64   0x0e0 /* DIFF_LEAVE for JMP */
#define AREA_EXIT32   0x0e8 /* ... and for far JMP, with a selector */
#define AREA_FX	      0x100 /* in and out */

/* Selectors, as Linux has them for user space. */
#define DIFF_CS32 0x23
#define DIFF_DS	  0x2b
#define DIFF_CS64 0x33
#define DIFF_GS32 0x63 /* thread area: data, its base DIFF_GSBASE */

#endif
