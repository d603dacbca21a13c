/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing outcomes. */
#include "tests/diff/check.h"

#include <string.h>

#include "runner/engine/soft/cpu.h"

#define USER_FLAGS (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | \
		    RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)
#define FSW_ES 0x80u
#define HOST_TASK_SIZE 0x7ffffffff000ull

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* --- what the SDM leaves open ------------------------------------------- */

/* SDM 2: "Flags Affected" of each. */
uint64_t diff_undefined_flags(const struct insn *in)
{
	switch (in->op) {
	case OP_DIV:
	case OP_IDIV:
		return RFLAGS_ARITH;
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR:
		return RFLAGS_OF | RFLAGS_CF;
	case OP_SHL:
	case OP_SHR:
	case OP_SAL:
	case OP_SAR:
		return RFLAGS_AF | RFLAGS_OF | RFLAGS_CF;
	case OP_SHLD:
	case OP_SHRD:
		return RFLAGS_ARITH;
	default:
		return 0;
	}
}

/* The same with the count known. */
static uint64_t undefined_flags(const struct insn *in,
				const struct diff_case *c)
{
	unsigned bits = in->o[0].size * 8, n;

	if (in->op == OP_DIV || in->op == OP_IDIV)
		return RFLAGS_ARITH;
	if (!diff_undefined_flags(in))
		return 0;
	n = (unsigned)(in->o[in->nopnd - 1].kind == OPND_IMM ? in->imm :
		       c->in.gpr[X86_RCX]) & (bits == 64 ? 63 : 31);
	if (n > bits)
		return RFLAGS_ARITH; /* SHLD r16: all of it */
	if (n == 1)
		return RFLAGS_AF;
	return RFLAGS_AF | RFLAGS_OF | (n == bits ? RFLAGS_CF : 0);
}

/*
 * MXCSR's flags after #XM that the SDM leaves open, or that cannot be learnt
 * from running masked:
 * - With overflow or underflow unmasked, PE is about the result before its
 *   exponent is bounded (SDM 1 4.9.1.4 ff); only the handler could care.
 * - DPPS and DPPD raise after each of their steps (SDM 2A DPPS), we at the
 *   end of them all.
 */
static uint32_t mxcsr_open(const struct insn *in, const struct diff_out *o)
{
	uint32_t v = get32(o->s.fx + 24);

	if (o->vec != EXC_XM)
		return 0;
	if (in && in->map == 3 && (in->opcode & 0xfe) == 0x40)
		return 0x3f;
	return ~v >> 7 & v & 0x18 ? 0x20 : 0;
}

/* An MMX instruction that faults may have entered MMX state before (SDM 3A
 * 12.5 says nothing of it; processors do, when they store). */
static int x87_open(const struct insn *in, const struct diff_out *o)
{
	return in && o->vec != DIFF_END && in->attr & INSN_MMX;
}

/*
 * Faults of instructions that access memory in several pieces: which piece
 * comes first, and with that CR2, is the processor's own.
 */
static int many_pieces(const struct insn *in)
{
	switch (in->op) {
	case OP_X87_ENV:
	case OP_FXSAVE:
	case OP_FXRSTOR:
	case OP_JMPF:
	case OP_CALLF:
	case OP_LSEG:
		return 1;
	default:
		return 0;
	}
}

static int cr2_differs(uint64_t a, uint64_t b, const struct insn *in)
{
	if (in && many_pieces(in))
		return (uint16_t)(a - b + 511) > 1022; /* they wrap */
	return a != b;
}

/* SDM 2B MASKMOVQ: whether bytes that the mask leaves out can fault is up to
 * the implementation. */
static int maskmov_may_fault(const struct diff_case *c, const struct insn *in)
{
	return in && in->op == OP_SIMD && in->map == 1 &&
	       in->opcode == 0xf7 && c->host.vec != DIFF_END &&
	       c->host.vec != EXC_MF && c->host.vec != EXC_DB;
}

/*
 * Which of two faults comes:
 * - Which piece of an x87 environment is not canonical.
 * - SDM 2A FXSAVE: #AC or #GP for a misaligned image.
 * - ARPL reads before it writes, x87 finds out that it stores nothing before
 *   it looks at the segment, where we check the operand first.
 */
static int either_fault(const struct diff_case *c, const struct insn *in)
{
	int host = c->host.vec, soft = c->soft.vec;

	if (in && in->op == OP_X87_ENV && soft != host)
		return (c->host.cr2 | c->soft.cr2) >= HOST_TASK_SIZE;
	if (!in || (soft != EXC_GP && soft != EXC_SS))
		return 0;
	if (in->op == OP_FXSAVE || in->op == OP_FXRSTOR)
		return host == EXC_AC;
	if (in->op == OP_POP && c->compat) /* of the stack or of its segment */
		return host == EXC_PF;
	if (in->op == OP_CALLI) /* the push may come first */
		return host == EXC_AC || host == EXC_PF || host == EXC_SS;
	if (in->op == OP_ARPL)
		return 1;
	return in->op == OP_X87 && c->compat && in->o[0].access & OPND_W &&
	       get16(c->host.s.fx + 2) & FSW_ES;
}

/*
 * Registers whose upper half a repeated string instruction with 32-bit
 * addresses may clear before it transfers anything: SDM 2B REP says that they
 * are updated "after each iteration", processors do it before the first.
 */
static uint64_t gpr_open(const struct insn *in, unsigned n)
{
	int string = in && in->op >= OP_MOVS && in->op <= OP_OUTS;

	if (string && in->asize == 4 && in->pfx & (PFX_REP | PFX_REPNE) &&
	    (n == X86_RCX || n == X86_RSI || n == X86_RDI))
		return 0xffffffff00000000;
	return 0;
}

/* The null selectors 1 to 3 become 0 when the kernel returns (SDM 2A IRET),
 * which an interrupt can cause at any time. */
static int sregs_differ(const struct diff_case *c)
{
	for (unsigned i = 0; i < 4; i++) {
		uint16_t a = c->host.s.sreg[i], b = c->soft.s.sreg[i];

		if (a != b && (a > 3 || b > 3))
			return 1;
	}
	return 0;
}

static int gprs_differ(const struct diff_case *c, const struct insn *in)
{
	for (unsigned i = 0; i < 16; i++)
		if ((c->host.s.gpr[i] ^ c->soft.s.gpr[i]) & ~gpr_open(in, i))
			return 1;
	return 0;
}

/* --- comparing ---------------------------------------------------------- */

/* SDM 1 8.1.8, 8.1.9.1: newer processors keep FDP and FOP of unmasked
 * exceptions only, and an instruction without memory operand may leave FDP. */
static const char *pointers_differ(const uint8_t *a, const uint8_t *b)
{
	if (!(get16(a + 2) & FSW_ES))
		return NULL;
	if (get16(a + 6) != get16(b + 6))
		return "FOP";
	return (a[6] & 0xc0) != 0xc0 && memcmp(a + 16, b + 16, 6) ? "FDP" :
								    NULL;
}

static const char *fpu_differs(const struct diff_case *c,
			       const struct insn *in)
{
	const struct diff_out *h = &c->host, *s = &c->soft;
	const uint8_t *a = h->s.fx, *b = s->s.fx;

	if (memcmp(a + 160, b + 160, 256))
		return "XMM";
	if ((get32(a + 24) ^ get32(b + 24)) & ~mxcsr_open(in, h))
		return "MXCSR";
	if (x87_open(in, h))
		return NULL;
	if (memcmp(a, b, 5))
		return "x87 control, status or tags";
	if (memcmp(a + 32, b + 32, 128))
		return "x87 registers";
	if (memcmp(a + 8, b + 8, 6)) /* the host's may be wider than ours */
		return "FIP";
	return NULL;
}

uint64_t diff_operand(const struct diff_case *c, const struct insn *in)
{
	uint64_t seg = in->seg == X86_FS ? c->in.fsbase :
		       in->seg == X86_GS ? c->in.gsbase : 0;
	uint64_t ea = (uint64_t)in->disp;

	if (in->base == REG_RIP)
		ea += c->code_at + in->len;
	else if (in->base != REG_NONE)
		ea += c->in.gpr[in->base];
	if (in->index != REG_NONE)
		ea += c->in.gpr[in->index] << in->scale;
	if (in->asize < 8)
		ea &= (1ull << 8 * in->asize) - 1;
	return ea + seg - DIFF_DATA;
}

static void forget(uint8_t *data, uint64_t at, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (at + i < DIFF_DATA_SIZE)
			data[at + i] = 0;
}

/* Bytes of memory that are up to the processor. */
static void forget_memory(const struct diff_case *c, const struct insn *in,
			  uint8_t *data)
{
	uint64_t sp = c->in.gpr[X86_RSP] - DIFF_DATA, at = diff_operand(c, in);
	int env16 = in->osize == 2;

	/* FDP and FOP, as in registers; FDS; MXCSR_MASK */
	if (in->op == OP_FXSAVE) {
		forget(data, at + 6, 2);
		forget(data, at + 16, 8);
		forget(data, at + 28, 4);
	} else if (in->op == OP_X87_ENV) {
		forget(data, at + (env16 ? 10 : 18), env16 ? 4 : 10);
	}
	/* FSTP m80, FBSTP go in pieces, and the first may be there already */
	if (in->op == OP_X87 && in->o[0].size == 10 && c->host.vec == EXC_PF)
		forget(data, at, 10);
	/* pushed before the target is looked at: below RSP, for RSP stays */
	if (in->op == OP_CALLI && c->host.vec == EXC_GP)
		forget(data, sp - 8, 8);
	if (in->op == OP_CALLF && c->host.vec != DIFF_END)
		forget(data, sp - 2u * in->osize, 2u * in->osize);
	/* SDM 2B PUSH: the upper half of a segment register's slot may stay */
	if (in->op == OP_PUSH && in->o[0].kind == OPND_SREG && in->osize == 4)
		forget(data, sp - 2, 2);
}

static const char *memory_differs(const struct diff_case *c,
				  const struct insn *in)
{
	static uint8_t a[DIFF_DATA_SIZE], b[DIFF_DATA_SIZE];

	if (!memcmp(c->host.data, c->soft.data, DIFF_DATA_SIZE))
		return NULL;
	memcpy(a, c->host.data, sizeof(a));
	memcpy(b, c->soft.data, sizeof(b));
	forget_memory(c, in, a);
	forget_memory(c, in, b);
	return memcmp(a, b, sizeof(a)) ? "memory" : NULL;
}

static const char *fault_differs(const struct diff_case *c,
				 const struct insn *in)
{
	const struct diff_out *h = &c->host, *s = &c->soft;
	uint32_t err = h->err ^ s->err;

	/* the host's kernel says "present" of all its own addresses */
	if (h->vec == EXC_PF && in && many_pieces(in))
		err &= ~1u;
	if (h->vec == EXC_PF && h->cr2 >= HOST_TASK_SIZE)
		err &= ~1u;
	if (h->vec != s->vec)
		return "exception";
	if (h->s.rip != s->s.rip)
		return "RIP";
	if (err)
		return "error code";
	if (cr2_differs(h->cr2, s->cr2, in))
		return "CR2";
	if (h->steps != s->steps || h->trace != s->trace)
		return "single steps";
	return NULL;
}

static const char *differs(const struct diff_case *c, const struct insn *in,
			   uint64_t flags)
{
	const struct diff_out *h = &c->host, *s = &c->soft;
	const char *what = fault_differs(c, in);

	if (what)
		return what;
	if (gprs_differ(c, in))
		return "general register";
	if ((h->s.rflags ^ s->s.rflags) & flags)
		return "flags";
	if (sregs_differ(c))
		return "segment register";
	if (h->s.fsbase != s->s.fsbase || h->s.gsbase != s->s.gsbase)
		return "segment base";
	return fpu_differs(c, in);
}

const char *diff_check(const struct diff_case *c, const struct insn *in)
{
	uint64_t flags = USER_FLAGS;
	const char *what;

	if (maskmov_may_fault(c, in) || either_fault(c, in))
		return NULL;
	if (c->host.s.rip != c->code_at)
		flags &= ~undefined_flags(in, c);
	what = differs(c, in, flags);
	if (!what)
		what = memory_differs(c, in);
	return what ? what : pointers_differ(c->host.s.fx, c->soft.s.fx);
}

const char *diff_check_block(const struct diff_case *c, const struct insn *in,
			     int loads)
{
	const char *what;

	if (either_fault(c, in))
		return NULL;
	what = differs(c, in, USER_FLAGS);
	if (!what && memcmp(c->host.data, c->soft.data, DIFF_DATA_SIZE))
		what = "memory";
	if (!what && !loads)
		what = pointers_differ(c->host.s.fx, c->soft.s.fx);
	return what;
}
