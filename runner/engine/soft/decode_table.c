/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-byte opcodes and the x87 escapes (SDM 2D tables ff).
 */
#include "runner/engine/soft/decode_table.h"

#define LK FORM_LOCK
#define BY FORM_BYTE
#define D64 FORM_D64
#define F64 FORM_F64
#define I64 FORM_I64

/* ADD to XOR; CMP writes nothing and so differs. */
#define ALU(base, op)                                 \
	[(base) + 0] = FF(op, LK, RW(Eb), Gb),        \
	[(base) + 1] = FF(op, LK, RW(Ev), Gv),        \
	[(base) + 2] = F(op, RW(Gb), Eb),             \
	[(base) + 3] = F(op, RW(Gv), Ev),             \
	[(base) + 4] = F(op, RW(ACCb), SIb),          \
	[(base) + 5] = F(op, RW(ACCv), SIz)

#define ALU_GROUP(name, e, i)                                           \
static const struct form name[8] = {                                    \
	FF(ADD, LK, RW(e), i), FF(OR, LK, RW(e), i), FF(ADC, LK, RW(e), i), \
	FF(SBB, LK, RW(e), i), FF(AND, LK, RW(e), i), FF(SUB, LK, RW(e), i), \
	FF(XOR, LK, RW(e), i), F(CMP, e, i),                            \
}
ALU_GROUP(grp1_eb_ib, Eb, SIb);
ALU_GROUP(grp1_ev_iz, Ev, SIz);
ALU_GROUP(grp1_ev_ib, Ev, SIb);

/* 0x82 is 0x80 again, outside 64-bit mode. */
static const struct form alias_82[2] = {
	{ .op = OP_UD }, SUB(REG, grp1_eb_ib),
};

#define SHIFT_GROUP(name, e, i)                                       \
static const struct form name[8] = {                                  \
	F(ROL, RW(e), i), F(ROR, RW(e), i), F(RCL, RW(e), i),         \
	F(RCR, RW(e), i), F(SHL, RW(e), i), F(SHR, RW(e), i),         \
	F(SAL, RW(e), i), F(SAR, RW(e), i),                           \
}
SHIFT_GROUP(grp2_eb_ib, Eb, Ib);
SHIFT_GROUP(grp2_ev_ib, Ev, Ib);
SHIFT_GROUP(grp2_eb_1, Eb, One);
SHIFT_GROUP(grp2_ev_1, Ev, One);
SHIFT_GROUP(grp2_eb_cl, Eb, CL_);
SHIFT_GROUP(grp2_ev_cl, Ev, CL_);

/* 1 is TEST again: undocumented by Intel, and what its processors do. */
#define UNARY_GROUP(name, e, i)                                       \
static const struct form name[8] = {                                  \
	F(TEST, e, i), F(TEST, e, i), FF(NOT, LK, RW(e)),             \
	FF(NEG, LK, RW(e)), F(MUL, e), F(IMUL1, e), F(DIV, e),        \
	F(IDIV, e),                                                   \
}
UNARY_GROUP(grp3_eb, Eb, SIb);
UNARY_GROUP(grp3_ev, Ev, SIz);

static const struct form grp4[8] = {
	FF(INC, LK, RW(Eb)), FF(DEC, LK, RW(Eb)),
};
static const struct form grp5[8] = {
	FF(INC, LK, RW(Ev)), FF(DEC, LK, RW(Ev)), FF(CALLI, F64, Ev),
	F(CALLF, Mp), FF(JMPI, F64, Ev), F(JMPF, Mp), FF(PUSH, D64, Ev),
};
static const struct form grp1a[8] = { FF(POP, D64, W(Ev)) };
static const struct form grp11_eb[8] = { F(MOV, W(Eb), SIb) };
static const struct form grp11_ev[8] = { F(MOV, W(Ev), SIz) };

/* 62 with a register operand, or in 64-bit mode, begins EVEX. */
static const struct form op_62[2] = {
	{ .op = OP_UD }, F(BOUND, Gv, Ma),
};
static const struct form op_63[2] = {
	F(MOVSX, W(Gv), Ez), F(ARPL, RW(Ew), Gw),
};
/* C4 and C5 with a register operand, or in 64-bit mode, begin VEX. */
static const struct form op_c4[2] = {
	{ .op = OP_UD }, F(LSEG, W(Gv), Mp),
};

/*
 * x87: the host's own processor runs these (x87.c), so that only what leaves
 * the register stack is an operand: memory, or AX.
 */
#define REGS { .op = OP_X87, .o = { NA(STi) } }
#define REGS_ATTR(a) { .op = OP_X87, .attr = (a), .o = { NA(STi) } }
#define FCMOV REGS_ATTR(INSN_FLAGS_IN)
#define FCOMI REGS_ATTR(INSN_EFLAGS)
#define REGS_RM(mask) { .op = OP_X87, .rm = (mask), .o = { NA(STi) } }
#define X87_ALU(name, m)                                                  \
static const struct form name[8] = {                                      \
	F(X87, m), F(X87, m), F(X87, m), F(X87, m), F(X87, m), F(X87, m), \
	F(X87, m), F(X87, m),                                             \
}
X87_ALU(x87_d8_mem, Md);
X87_ALU(x87_da_mem, Md);
X87_ALU(x87_dc_mem, Mq);
X87_ALU(x87_de_mem, Mw);
/* FLD, FST, FSTP, FLDENV, FLDCW, FNSTENV, FNSTCW */
static const struct form x87_d9_mem[8] = {
	F(X87, Md), { .op = OP_UD }, F(X87, W(Md)), F(X87, W(Md)),
	F(X87_ENV, Menv), F(X87, Mw), F(X87_ENV, W(Menv)), F(X87, W(Mw)),
};
/* FILD, FISTTP, FIST, FISTP, FLD m80, FSTP m80 */
static const struct form x87_db_mem[8] = {
	F(X87, Md), F(X87, W(Md)), F(X87, W(Md)), F(X87, W(Md)),
	{ .op = OP_UD }, F(X87, Mt), { .op = OP_UD }, F(X87, W(Mt)),
};
/* FLD, FISTTP, FST, FSTP, FRSTOR, FNSAVE, FNSTSW */
static const struct form x87_dd_mem[8] = {
	F(X87, Mq), F(X87, W(Mq)), F(X87, W(Mq)), F(X87, W(Mq)),
	F(X87_ENV, Msave), { .op = OP_UD }, F(X87_ENV, W(Msave)),
	F(X87, W(Mw)),
};
/* FILD, FISTTP, FIST, FISTP, FBLD, FILD m64, FBSTP, FISTP m64 */
static const struct form x87_df_mem[8] = {
	F(X87, Mw), F(X87, W(Mw)), F(X87, W(Mw)), F(X87, W(Mw)), F(X87, Mt),
	F(X87, Mq), F(X87, W(Mt)), F(X87, W(Mq)),
};

static const struct form x87_d8_reg[8] = {
	REGS, REGS, REGS, REGS, REGS, REGS, REGS, REGS,
};
/* FLD, FXCH, FNOP, FSTP, then the unary ones and constants */
static const struct form x87_d9_reg[8] = {
	REGS, REGS, REGS_RM(0x01), REGS, REGS_RM(0x33), REGS_RM(0x7f), REGS,
	REGS,
};
/* FCMOVcc, FUCOMPP */
static const struct form x87_da_reg[8] = {
	FCMOV, FCMOV, FCMOV, FCMOV, { .op = OP_UD }, REGS_RM(0x02),
};
/* FCMOVcc; FNENI, FNDISI, FNCLEX, FNINIT, FNSETPM; FUCOMI, FCOMI */
static const struct form x87_db_reg[8] = {
	FCMOV, FCMOV, FCMOV, FCMOV, REGS_RM(0x1f), FCOMI, FCOMI,
};
#define x87_dc_reg x87_d8_reg
/* FFREE, FXCH, FST, FSTP, FUCOM, FUCOMP */
static const struct form x87_dd_reg[8] = {
	REGS, REGS, REGS, REGS, REGS, REGS,
};
/* 3 is FCOMPP */
static const struct form x87_de_reg[8] = {
	REGS, REGS, REGS, REGS_RM(0x02), REGS, REGS, REGS, REGS,
};
/* FFREEP, FXCH, FSTP twice, FNSTSW AX, FUCOMIP, FCOMIP */
static const struct form x87_df_reg[8] = {
	REGS, REGS, REGS, REGS,
	{ .op = OP_X87, .rm = 0x01, .o = { W(Rw) } }, FCOMI, FCOMI,
};

#define X87(n)                                             \
static const struct form x87_##n[2] = {                    \
	SUB(REG, x87_##n##_mem), SUB(REG, x87_##n##_reg),  \
}
X87(d8);
X87(d9);
X87(da);
X87(db);
X87(dc);
X87(dd);
X87(de);
X87(df);

const struct form form_map0[256] = {
	ALU(0x00, ADD), ALU(0x08, OR), ALU(0x10, ADC), ALU(0x18, SBB),
	ALU(0x20, AND), ALU(0x28, SUB), ALU(0x30, XOR),
	[0x38] = F(CMP, Eb, Gb), F(CMP, Ev, Gv), F(CMP, Gb, Eb),
	F(CMP, Gv, Ev), F(CMP, ACCb, SIb), F(CMP, ACCv, SIz),
	[0x06] = FF(PUSH, I64 | D64, Seg), FF(POP, I64 | D64, W(Seg)),
	[0x0e] = FF(PUSH, I64 | D64, Seg),
	[0x16] = FF(PUSH, I64 | D64, Seg), FF(POP, I64 | D64, W(Seg)),
	[0x1e] = FF(PUSH, I64 | D64, Seg), FF(POP, I64 | D64, W(Seg)),
	[0x27] = FF(DAA, I64), [0x2f] = FF(DAS, I64), [0x37] = FF(AAA, I64),
	[0x3f] = FF(AAS, I64),
	[0x40 ... 0x47] = F(INC, RW(Zv)),
	[0x48 ... 0x4f] = F(DEC, RW(Zv)),
	[0x50 ... 0x57] = FF(PUSH, D64, Zv),
	[0x58 ... 0x5f] = FF(POP, D64, W(Zv)),
	[0x60] = FF(PUSHA, I64), FF(POPA, I64), SUB(MODE, op_62),
	SUB(MODE, op_63),
	[0x68] = FF(PUSH, D64, SIz), F(IMUL, W(Gv), Ev, SIz),
	FF(PUSH, D64, SIb), F(IMUL, W(Gv), Ev, SIb),
	FF(INS, BY), F(INS), FF(OUTS, BY), F(OUTS),
	[0x70 ... 0x7f] = FF(JCC, F64, Jb),
	[0x80] = SUB(REG, grp1_eb_ib), SUB(REG, grp1_ev_iz),
	SUB(MODE, alias_82), SUB(REG, grp1_ev_ib),
	F(TEST, Eb, Gb), F(TEST, Ev, Gv),
	FF(XCHG, LK, RW(Eb), RW(Gb)), FF(XCHG, LK, RW(Ev), RW(Gv)),
	[0x88] = F(MOV, W(Eb), Gb), F(MOV, W(Ev), Gv), F(MOV, W(Gb), Eb),
	F(MOV, W(Gv), Ev), F(MOV_SREG, W(Evw), Sw), F(LEA, W(Gv), NA(Mnone)),
	F(MOV_SREG, W(Sw), Ew), SUB(REG, grp1a),
	[0x90 ... 0x97] = F(XCHG, RW(Zv), RW(ACCv)),
	[0x98] = F(CBW), F(CWD), FF(CALLF, I64, Ap), F(FWAIT),
	FF(PUSHF, D64), FF(POPF, D64), F(SAHF), F(LAHF),
	[0xa0] = F(MOV, W(ACCb), Ob), F(MOV, W(ACCv), Ov), F(MOV, W(Ob), ACCb),
	F(MOV, W(Ov), ACCv), FF(MOVS, BY), F(MOVS), FF(CMPS, BY), F(CMPS),
	F(TEST, ACCb, SIb), F(TEST, ACCv, SIz), FF(STOS, BY), F(STOS),
	FF(LODS, BY), F(LODS), FF(SCAS, BY), F(SCAS),
	[0xb0 ... 0xb7] = F(MOV, W(Zb), SIb),
	[0xb8 ... 0xbf] = F(MOV, W(Zv), Iv),
	[0xc0] = SUB(REG, grp2_eb_ib), SUB(REG, grp2_ev_ib), FF(RET, F64, Iw),
	FF(RET, F64), SUB(MODE, op_c4), SUB(MODE, op_c4),
	SUB(REG, grp11_eb), SUB(REG, grp11_ev),
	[0xc8] = FF(ENTER, D64, Iw, Ib), FF(LEAVE, D64), F(RETF, Iw), F(RETF),
	F(INT3), F(INT, Ib), FF(INTO, I64), F(IRET),
	[0xd0] = SUB(REG, grp2_eb_1), SUB(REG, grp2_ev_1),
	SUB(REG, grp2_eb_cl), SUB(REG, grp2_ev_cl),
	[0xd4] = FF(AAM, I64, Ib), FF(AAD, I64, Ib), FF(SALC, I64), F(XLAT),
	[0xd8] = SUB(MOD, x87_d8), SUB(MOD, x87_d9), SUB(MOD, x87_da),
	SUB(MOD, x87_db), SUB(MOD, x87_dc), SUB(MOD, x87_dd),
	SUB(MOD, x87_de), SUB(MOD, x87_df),
	[0xe0] = FF(LOOPNE, F64, Jb), FF(LOOPE, F64, Jb), FF(LOOP, F64, Jb),
	FF(JRCXZ, F64, Jb), F(IN, W(ACCb), Ib), F(IN, W(ACCz), Ib),
	FF(OUT, BY, Ib, ACCb), F(OUT, Ib, ACCz),
	[0xe8] = FF(CALL, F64, Jz), FF(JMP, F64, Jz), FF(JMPF, I64, Ap),
	FF(JMP, F64, Jb), F(IN, W(ACCb), DX_), F(IN, W(ACCz), DX_),
	FF(OUT, BY, DX_, ACCb), F(OUT, DX_, ACCz),
	[0xf1] = F(INT1),
	[0xf4] = F(HLT), F(CMC), SUB(REG, grp3_eb), SUB(REG, grp3_ev),
	F(CLC), F(STC), F(CLI), F(STI), F(CLD), F(STD),
	SUB(REG, grp4), SUB(REG, grp5),
};
