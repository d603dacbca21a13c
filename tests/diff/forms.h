/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forms: every instruction form that the decoder's tables know.
 *
 * A form is an opcode with what the tables make depend on it: mandatory
 * prefix, ModRM.reg and .rm where they choose, operand size, register or
 * memory, LOCK, REP. They are found by walking the tables, so that what is
 * added there is tested too; what cannot be run on a host has its reason.
 */
#ifndef MAYFLY_TESTS_DIFF_FORMS_H
#define MAYFLY_TESTS_DIFF_FORMS_H

#include "runner/engine/soft/decode.h"

enum { FORM_ANY, FORM_REG, FORM_MEM }; /* .rm_kind */

struct diff_form {
	uint8_t compat; /* 32-bit code, else 64-bit */
	uint8_t map, opcode;
	uint8_t prefix; /* 0, 66, F2 or F3 */
	uint8_t osz;	/* 66 besides that */
	uint8_t rexw, lock;
	uint8_t rm_kind;
	int8_t reg, rm; /* ModRM's, or -1 where they only name registers */
	struct insn in;	/* of the shortest encoding */
	const char *excluded; /* the reason, or NULL */
	char name[80];
	unsigned long states, bad;
};

struct diff_forms {
	struct diff_form *f; /* by table order */
	unsigned n;
};

/* All of them; exits the program when out of memory. */
void diff_forms_init(struct diff_forms *fs);
void diff_forms_free(struct diff_forms *fs);

/* An encoding of the form's fixed part: its length. @modrm_at, where one is
 * there, gets the place of ModRM, else 0. @rex is or'ed in. */
unsigned diff_form_encode(const struct diff_form *f, uint8_t rex,
			  uint8_t bytes[8], unsigned *modrm_at);

#endif
