/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check: are two outcomes of a case the same, where the SDM says what they
 * are?
 */
#ifndef MAYFLY_TESTS_DIFF_CHECK_H
#define MAYFLY_TESTS_DIFF_CHECK_H

#include "runner/engine/soft/decode.h"
#include "tests/diff/host.h"

/* What differs, or NULL. @in is the case's one instruction: what it leaves
 * undefined is not compared. */
const char *diff_check(const struct diff_case *c, const struct insn *in);

/* The same for more than one; @in is the one that faulted, or NULL. @loads:
 * some of them load x87 state, so that FDP and FOP may be anything. */
const char *diff_check_block(const struct diff_case *c, const struct insn *in,
			     int loads);

/* Arithmetic flags that @in leaves undefined in some state; they must not
 * reach the next instruction of a block. */
uint64_t diff_undefined_flags(const struct insn *in);

/* Where in the data the memory operand of a case's one instruction lies; may
 * be out of it. */
uint64_t diff_operand(const struct diff_case *c, const struct insn *in);

/* print.c: a line for each thing that is not the same, and the code. */
void diff_print(const struct diff_case *c, const struct insn *in);

#endif
