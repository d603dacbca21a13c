/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_table: the shape of the opcode tables, and what else the files of
 * the decoder share. Nobody else includes this.
 *
 * A form says what one opcode does: the operation, and up to three operands
 * in the notation of SDM 2D appendix A (addressing method, then size: Eb, Gv,
 * Wdq), with the access in front: W(Gv) is written, RW(Ev) both, a bare
 * operand is read. Where ModRM, a prefix or the mode decides, a form points
 * to a table of forms instead. All constant: any thread, no life cycle.
 */
#ifndef MAYFLY_SOFT_DECODE_TABLE_H
#define MAYFLY_SOFT_DECODE_TABLE_H

#include "runner/engine/soft/decode.h"

/* Instead of an enum x86_op: sub[] is indexed by ... */
enum {
	SUB_REG = OP_COUNT, /* ModRM.reg */
	SUB_RM,		    /* ModRM.rm */
	SUB_MOD,	    /* 0 memory, 1 register */
	SUB_PFX,	    /* mandatory prefix: 0 none, 1 66, 2 F3, 3 F2 */
	SUB_MODE,	    /* 0 64-bit mode, 1 others */
	SUB_W,		    /* REX.W */
};

struct form {
	uint16_t op;
	uint16_t attr;	/* INSN_* */
	uint16_t flags; /* FORM_* */
	uint16_t o[3];
	uint8_t rm;	/* bit n: ModRM.rm n is defined; 0: all are */
	const struct form *sub;
};

/* The mandatory prefixes that exist; none of these: prefixes do not matter. */
#define FORM_NP 0x0001
#define FORM_66 0x0002
#define FORM_F3 0x0004
#define FORM_F2 0x0008
#define FORM_PFX (FORM_NP | FORM_66 | FORM_F3 | FORM_F2)
#define FORM_LOCK 0x0010  /* LOCK allowed, with a memory destination */
#define FORM_D64 0x0020	  /* operand size is 8 or 2 in 64-bit mode */
#define FORM_F64 0x0040	  /* operand size is 8 in 64-bit mode */
#define FORM_I64 0x0080	  /* undefined in 64-bit mode */
#define FORM_O64 0x0100	  /* undefined outside 64-bit mode */
#define FORM_CHECKS (FORM_PFX | FORM_I64 | FORM_O64)
#define FORM_BYTE 0x0200  /* operand size is 1 */
#define FORM_LOOSE 0x0400 /* a 16-byte memory operand may be unaligned */
#define FORM_RDI 0x0800	  /* memory operand is seg:[rDI], implied */
#define FORM_OSZ 0x1000	  /* 66 is the operand size even beside F2, F3 */

/* Addressing methods; from M_E on they need ModRM. */
enum {
	M_NONE,
	M_ACC, /* AL, AX, EAX, RAX */
	M_CL,
	M_DX,
	M_Z,   /* register in the opcode's low bits */
	M_ONE, /* the constant 1 */
	M_I,   /* immediate, zero-extended */
	M_SI,  /* immediate, sign-extended */
	M_J,   /* relative branch target */
	M_O,   /* offset without ModRM */
	M_A,   /* far pointer */
	M_SEG, /* segment register in the opcode's bits 5:3 */
	M_E,   /* rm: GPR or memory */
	M_G,   /* reg: GPR */
	M_M,   /* rm: memory only */
	M_R,   /* rm: GPR only */
	M_T,   /* rm: GPR whatever mod says (MOV CR, MOV DR) */
	M_S,   /* reg: segment register */
	M_C,   /* reg: control register */
	M_D,   /* reg: debug register */
	M_P,   /* reg: MMX */
	M_Q,   /* rm: MMX or memory */
	M_N,   /* rm: MMX only */
	M_V,   /* reg: XMM */
	M_W,   /* rm: XMM or memory */
	M_U,   /* rm: XMM only */
	M_PV,  /* P, or V with the 66 prefix */
	M_QW,  /* Q, or W with the 66 prefix */
	M_NU,  /* N, or U with the 66 prefix */
	M_STI, /* rm: ST(i) */
	M_COUNT
};

/* Sizes. */
enum {
	S_NONE,
	S_B, S_W, S_D, S_Q, S_DQ, /* 1, 2, 4, 8, 16 */
	S_T,	/* 10 */
	S_V,	/* operand size */
	S_Z,	/* operand size, at most 4 */
	S_Y,	/* 8 with REX.W, else 4 */
	S_NAT,	/* 8 in 64-bit mode, else 4 */
	S_X,	/* 8, or 16 with the 66 prefix */
	S_DX,	/* 4, or 16 with the 66 prefix */
	S_PF,	/* 16, or 4 with F3, 8 with F2 */
	S_VW,	/* register: operand size; memory: 2 */
	S_YD,	/* register: as S_Y; memory: 4 */
	S_DW,	/* register: 4; memory: 2 */
	S_DB,	/* register: 4; memory: 1 */
	S_A,	/* two of the operand size */
	S_P,	/* far pointer: operand size + 2 */
	S_GDT,	/* 10 in 64-bit mode, else 6 */
	S_ENV,	/* x87 environment: 14 or 28 */
	S_SAVE, /* x87 state: 94 or 108 */
	S_FX,	/* FXSAVE image: 512 */
};

#define OPND_CODE(m, s) ((m) | (s) << 5)
#define OPND_METHOD(o) ((o) & 31)
#define OPND_SIZE(o) ((o) >> 5 & 31)
#define OPND_ACCESS(o) (((o) >> 10 & 3) ^ OPND_R)
/* Access: reading is what a bare operand does. */
#define W(o) ((o) | (OPND_R ^ OPND_W) << 10)
#define RW(o) ((o) | OPND_W << 10)
#define NA(o) ((o) | OPND_R << 10)

#define ACCb OPND_CODE(M_ACC, S_B)
#define ACCv OPND_CODE(M_ACC, S_V)
#define ACCz OPND_CODE(M_ACC, S_Z)
#define CL_ OPND_CODE(M_CL, S_B)
#define DX_ OPND_CODE(M_DX, S_W)
#define Zb OPND_CODE(M_Z, S_B)
#define Zv OPND_CODE(M_Z, S_V)
#define One OPND_CODE(M_ONE, S_B)
#define Ib OPND_CODE(M_I, S_B)
#define Iw OPND_CODE(M_I, S_W)
#define Iv OPND_CODE(M_I, S_V)
#define SIb OPND_CODE(M_SI, S_B)
#define SIz OPND_CODE(M_SI, S_Z)
#define Jb OPND_CODE(M_J, S_B)
#define Jz OPND_CODE(M_J, S_Z)
#define Ob OPND_CODE(M_O, S_B)
#define Ov OPND_CODE(M_O, S_V)
#define Ap OPND_CODE(M_A, S_V)
#define Seg OPND_CODE(M_SEG, S_W)
#define STi OPND_CODE(M_STI, S_T)
#define Eb OPND_CODE(M_E, S_B)
#define Ew OPND_CODE(M_E, S_W)
#define Ed OPND_CODE(M_E, S_D)
#define Ev OPND_CODE(M_E, S_V)
#define Ez OPND_CODE(M_E, S_Z)
#define Ey OPND_CODE(M_E, S_Y)
#define Evw OPND_CODE(M_E, S_VW)
#define Eyd OPND_CODE(M_E, S_YD)
#define Edw OPND_CODE(M_E, S_DW)
#define Edb OPND_CODE(M_E, S_DB)
#define Gb OPND_CODE(M_G, S_B)
#define Gw OPND_CODE(M_G, S_W)
#define Gd OPND_CODE(M_G, S_D)
#define Gv OPND_CODE(M_G, S_V)
#define Gy OPND_CODE(M_G, S_Y)
#define Mnone OPND_CODE(M_M, S_NONE)
#define Mb OPND_CODE(M_M, S_B)
#define Mw OPND_CODE(M_M, S_W)
#define Md OPND_CODE(M_M, S_D)
#define Mq OPND_CODE(M_M, S_Q)
#define Mdq OPND_CODE(M_M, S_DQ)
#define Mt OPND_CODE(M_M, S_T)
#define My OPND_CODE(M_M, S_Y)
#define Ma OPND_CODE(M_M, S_A)
#define Mp OPND_CODE(M_M, S_P)
#define Mgdt OPND_CODE(M_M, S_GDT)
#define Menv OPND_CODE(M_M, S_ENV)
#define Msave OPND_CODE(M_M, S_SAVE)
#define Mfx OPND_CODE(M_M, S_FX)
#define Rv OPND_CODE(M_R, S_V)
#define Ry OPND_CODE(M_R, S_Y)
#define Rw OPND_CODE(M_R, S_W)
#define Tn OPND_CODE(M_T, S_NAT)
#define Sw OPND_CODE(M_S, S_W)
#define Cn OPND_CODE(M_C, S_NAT)
#define Dn OPND_CODE(M_D, S_NAT)
#define Pq OPND_CODE(M_P, S_Q)
#define Qq OPND_CODE(M_Q, S_Q)
#define Nq OPND_CODE(M_N, S_Q)
#define Vdq OPND_CODE(M_V, S_DQ)
#define Wdq OPND_CODE(M_W, S_DQ)
#define Wq OPND_CODE(M_W, S_Q)
#define Wd OPND_CODE(M_W, S_D)
#define Ww OPND_CODE(M_W, S_W)
#define Wpf OPND_CODE(M_W, S_PF)
#define Udq OPND_CODE(M_U, S_DQ)
#define PVx OPND_CODE(M_PV, S_X)
#define QWx OPND_CODE(M_QW, S_X)
#define QWdx OPND_CODE(M_QW, S_DX)
#define NUx OPND_CODE(M_NU, S_X)

#define F(op_, ...) { .op = OP_##op_, .o = { __VA_ARGS__ } }
#define FF(op_, flags_, ...) \
	{ .op = OP_##op_, .flags = (flags_), .o = { __VA_ARGS__ } }
/* A vector instruction: mandatory prefixes and other flags, INSN_*. */
#define V(flags_, attr_, ...) \
	{ .op = OP_SIMD, .flags = (flags_), .attr = (attr_), \
	  .o = { __VA_ARGS__ } }
#define SUB(kind, table) { .op = SUB_##kind, .sub = (table) }

extern const struct form form_map0[256];
extern const struct form form_0f[256];
extern const struct form form_0f38[256];
extern const struct form form_0f3a[256];

/* --- between decode.c and decode_operand.c ------------------------------ */

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

/* Bytes not yet taken. Past the end, zeros are read and `ended` is set: the
 * result is thrown away then. */
struct cursor {
	const uint8_t *p;
	uint8_t pos, end, ended;
	enum decode_mode mode;
};

/* The next @n bytes, little-endian. */
static inline uint64_t decode_take(struct cursor *c, unsigned n)
{
	const uint8_t *p = c->p + c->pos;
	uint64_t v = 0;

	if (n > (unsigned)(c->end - c->pos)) {
		c->ended = 1;
		return 0;
	}
	c->pos = (uint8_t)(c->pos + n);
	while (n--)
		v = v << 8 | p[n];
	return v;
}

static inline uint8_t decode_byte(struct cursor *c)
{
	if (c->pos == c->end) {
		c->ended = 1;
		return 0;
	}
	return c->p[c->pos++];
}

/* The bytes of the memory operand that ModRM announces. */
void decode_memory(struct insn *in, struct cursor *c);
/* No segment prefix: @sreg it is. */
void decode_default_seg(struct insn *in, unsigned sreg);
/* Every operand of the form; -1 where one makes the insn undefined. */
int decode_operands(struct insn *in, const struct form *f, struct cursor *c);

static inline unsigned modrm_mod(const struct insn *in)
{
	return in->modrm >> 6;
}

static inline unsigned modrm_reg(const struct insn *in)
{
	return in->modrm >> 3 & 7;
}

static inline unsigned modrm_rm(const struct insn *in)
{
	return in->modrm & 7;
}

#endif
