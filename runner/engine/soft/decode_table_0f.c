/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two-byte and three-byte opcodes (SDM 2D tables ).
 *
 * What is not in our CPUID (VEX and EVEX, AES, SHA, PCLMUL, MOVBE, ADX, BMI,
 * RDRAND, XSAVE, CET, VMX, MONITOR, ...) is undefined, unless the SDM gives
 * it the space of an older instruction: TZCNT and LZCNT are BSF and BSR,
 * ENDBR, RDSSP, CLDEMOTE and the prefetches are NOPs.
 */
#include "runner/engine/soft/decode_table.h"

#define LK FORM_LOCK
#define F64 FORM_F64
#define D64 FORM_D64
#define O64 FORM_O64
#define NP FORM_NP
#define P66 FORM_66
#define PF3 FORM_F3
#define PF2 FORM_F2
#define MS (FORM_NP | FORM_66) /* MMX or SSE2; PS or PD */
#define ALL FORM_PFX
#define LO FORM_LOOSE

/* --- system groups ----------------------------------------------------- */

static const struct form grp6[8] = {
	F(SLDT, W(Evw)), F(STR, W(Evw)), F(LLDT, Ew), F(LTR, Ew), F(VERR, Ew),
	F(VERW, Ew),
};
static const struct form grp7_mem[8] = {
	F(SGDT, W(Mgdt)), F(SIDT, W(Mgdt)), F(LGDT, Mgdt), F(LIDT, Mgdt),
	F(SMSW, W(Evw)), { .op = OP_UD }, F(LMSW, Ew), F(INVLPG, NA(Mnone)),
};
static const struct form grp7_1[8] = {
	[2] = FF(CLAC, NP), FF(STAC, NP),
};
static const struct form grp7_7[8] = {
	FF(SWAPGS, O64), F(RDTSCP),
};
static const struct form grp7_reg[8] = {
	[1] = SUB(RM, grp7_1), [4] = F(SMSW, W(Evw)), [6] = F(LMSW, Ew),
	[7] = SUB(RM, grp7_7),
};
static const struct form grp7[2] = {
	SUB(REG, grp7_mem), SUB(REG, grp7_reg),
};
static const struct form grp8[8] = {
	[4] = F(BT, Ev, Ib), FF(BTS, LK, RW(Ev), Ib), FF(BTR, LK, RW(Ev), Ib),
	FF(BTC, LK, RW(Ev), Ib),
};
static const struct form cmpxchg8b[2] = {
	FF(CMPXCHG8B, LK, RW(Mq)), FF(CMPXCHG16B, LK, RW(Mdq)),
};
static const struct form grp9[8] = { [1] = SUB(W, cmpxchg8b) };

static const struct form grp15_mem[8] = {
	FF(FXSAVE, NP, W(Mfx)), FF(FXRSTOR, NP, Mfx), FF(LDMXCSR, NP, Md),
	FF(STMXCSR, NP, W(Md)), [7] = FF(CLFLUSH, NP, NA(Mb)),
};
static const struct form grp15_reg[8] = {
	FF(RDFSBASE, PF3 | O64, W(Ry)), FF(RDGSBASE, PF3 | O64, W(Ry)),
	FF(WRFSBASE, PF3 | O64, Ry), FF(WRGSBASE, PF3 | O64, Ry),
	[5] = FF(LFENCE, NP), FF(MFENCE, NP), FF(SFENCE, NP),
};
static const struct form grp15[2] = {
	SUB(REG, grp15_mem), SUB(REG, grp15_reg),
};
static const struct form popcnt[4] = {
	[2] = FF(POPCNT, FORM_OSZ, W(Gv), Ev),
};

/* --- MMX, SSE ---------------------------------------------------------- */

#define X INSN_MXCSR
/* An integer operation on MMX or XMM registers, and its SSE-only kind. */
#define INT V(MS, 0, RW(PVx), QWx)
#define SSE V(P66, 0, RW(Vdq), Wdq)
/* PS and PD; PS, PD, SS and SD; scalar or packed with the rounding mode. */
#define PSPD V(MS, 0, RW(Vdq), Wdq)
#define ARITH V(ALL, X, RW(Vdq), Wpf)

static const struct form sse_12_mem[4] = {
	V(NP, 0, RW(Vdq), Mq), V(P66, 0, RW(Vdq), Mq), V(PF3, 0, W(Vdq), Wdq),
	V(PF2, 0, W(Vdq), Wq),
};
static const struct form sse_12_reg[4] = { /* MOVHLPS, MOVSLDUP, MOVDDUP */
	V(NP, 0, RW(Vdq), Udq), { .op = OP_UD }, V(PF3, 0, W(Vdq), Wdq),
	V(PF2, 0, W(Vdq), Wq),
};
static const struct form sse_16_mem[4] = {
	V(NP, 0, RW(Vdq), Mq), V(P66, 0, RW(Vdq), Mq), V(PF3, 0, W(Vdq), Wdq),
};
static const struct form sse_16_reg[4] = { /* MOVLHPS, MOVSHDUP */
	V(NP, 0, RW(Vdq), Udq), { .op = OP_UD }, V(PF3, 0, W(Vdq), Wdq),
};
static const struct form sse_12[2] = {
	SUB(PFX, sse_12_mem), SUB(PFX, sse_12_reg),
};
static const struct form sse_16[2] = {
	SUB(PFX, sse_16_mem), SUB(PFX, sse_16_reg),
};
/* MOVSS and MOVSD keep the rest only between registers. */
static const struct form sse_10[2] = {
	V(ALL | LO, 0, W(Vdq), Wpf), V(ALL, LO, RW(Vdq), Wpf),
};
static const struct form sse_11[2] = {
	V(ALL | LO, 0, W(Wpf), Vdq), V(ALL, LO, RW(Wpf), Vdq),
};
static const struct form sse_2a[4] = { /* CVTPI2PS, CVTPI2PD, CVTSI2SS, SD */
	V(NP, X, RW(Vdq), Qq), V(P66, X, W(Vdq), Qq),
	V(PF3, X, RW(Vdq), Ey), V(PF2, X, RW(Vdq), Ey),
};
static const struct form sse_2c[4] = {
	V(NP, X, W(Pq), Wq), V(P66, X, W(Pq), Wdq), V(PF3, X, W(Gy), Wd),
	V(PF2, X, W(Gy), Wq),
};
static const struct form sse_2e[4] = {
	V(NP, X | INSN_EFLAGS, Vdq, Wd), V(P66, X | INSN_EFLAGS, Vdq, Wq),
};
static const struct form sse_5a[4] = {
	V(NP, X, W(Vdq), Wq), V(P66, X, W(Vdq), Wdq), V(PF3, X, RW(Vdq), Wd),
	V(PF2, X, RW(Vdq), Wq),
};
static const struct form sse_6f[4] = {
	V(NP, 0, W(Pq), Qq), V(P66, 0, W(Vdq), Wdq), V(PF3 | LO, 0, W(Vdq), Wdq),
};
static const struct form sse_70[4] = {
	V(NP, 0, W(Pq), Qq, Ib), V(P66, 0, W(Vdq), Wdq, Ib),
	V(PF3, 0, W(Vdq), Wdq, Ib), V(PF2, 0, W(Vdq), Wdq, Ib),
};
static const struct form sse_71[8] = {
	[2] = V(MS, 0, RW(NUx), Ib), [4] = V(MS, 0, RW(NUx), Ib),
	[6] = V(MS, 0, RW(NUx), Ib),
};
static const struct form sse_73[8] = {
	[2] = V(MS, 0, RW(NUx), Ib), V(P66, 0, RW(Udq), Ib),
	[6] = V(MS, 0, RW(NUx), Ib), V(P66, 0, RW(Udq), Ib),
};
static const struct form sse_7e[4] = {
	V(NP, 0, W(Ey), Pq), V(P66, 0, W(Ey), Vdq), V(PF3, 0, W(Vdq), Wq),
};
static const struct form sse_7f[4] = {
	V(NP, 0, W(Qq), Pq), V(P66, 0, W(Wdq), Vdq), V(PF3 | LO, 0, W(Wdq), Vdq),
};
static const struct form sse_d6[4] = {
	[1] = V(P66, 0, W(Wq), Vdq), V(PF3, 0, W(Vdq), Nq), V(PF2, 0, W(Pq), Udq),
};
static const struct form sse_e6[4] = {
	[1] = V(P66, X, W(Vdq), Wdq), V(PF3, X, W(Vdq), Wq),
	V(PF2, X, W(Vdq), Wdq),
};
static const struct form sse_e7[4] = {
	V(NP, 0, W(Mq), Pq), V(P66, 0, W(Mdq), Vdq),
};
static const struct form movnti[4] = { FF(MOVNTI, NP, W(My), Gy) };

const struct form form_0f[256] = {
	SUB(REG, grp6), SUB(MOD, grp7), F(LAR, W(Gv), Ew), F(LSL, W(Gv), Ew),
	[0x05] = FF(SYSCALL, O64), F(CLTS), FF(SYSRET, O64), F(INVD), F(WBINVD),
	[0x0b] = { .op = OP_UD }, [0x0d] = F(NOP, NA(Ev)),
	[0x10] = SUB(MOD, sse_10), SUB(MOD, sse_11), SUB(MOD, sse_12),
	V(MS, 0, W(Mq), Vdq), PSPD, PSPD, SUB(MOD, sse_16),
	V(MS, 0, W(Mq), Vdq),
	[0x18 ... 0x1f] = F(NOP, NA(Ev)),
	[0x20] = F(MOV_CR, W(Tn), Cn), F(MOV_DR, W(Tn), Dn),
	F(MOV_CR, W(Cn), Tn), F(MOV_DR, W(Dn), Tn),
	[0x28] = V(MS, 0, W(Vdq), Wdq), V(MS, 0, W(Wdq), Vdq),
	SUB(PFX, sse_2a), V(MS, 0, W(Mdq), Vdq), SUB(PFX, sse_2c),
	SUB(PFX, sse_2c), SUB(PFX, sse_2e), SUB(PFX, sse_2e),
	[0x30] = F(WRMSR), F(RDTSC), F(RDMSR), F(RDPMC), F(SYSENTER),
	F(SYSEXIT),
	[0x40 ... 0x4f] = F(CMOVCC, RW(Gv), Ev),
	[0x50] = V(MS, 0, W(Gy), Udq), ARITH, V(NP | PF3, 0, RW(Vdq), Wpf),
	V(NP | PF3, 0, RW(Vdq), Wpf), PSPD, PSPD, PSPD, PSPD,
	ARITH, ARITH, SUB(PFX, sse_5a),
	V(NP | P66 | PF3, X, W(Vdq), Wdq), ARITH, ARITH, ARITH, ARITH,
	[0x60 ... 0x62] = V(MS, 0, RW(PVx), QWdx),
	[0x63 ... 0x6b] = INT,
	[0x6c ... 0x6d] = SSE,
	[0x6e] = V(MS, 0, W(PVx), Ey), SUB(PFX, sse_6f), SUB(PFX, sse_70),
	SUB(REG, sse_71), SUB(REG, sse_71), SUB(REG, sse_73), INT, INT, INT,
	{ .op = OP_SIMD, .flags = NP, .attr = INSN_MMX }, /* EMMS */
	[0x7c] = V(P66 | PF2, X, RW(Vdq), Wdq), V(P66 | PF2, X, RW(Vdq), Wdq),
	SUB(PFX, sse_7e), SUB(PFX, sse_7f),
	[0x80 ... 0x8f] = FF(JCC, F64, Jz),
	[0x90 ... 0x9f] = F(SETCC, W(Eb)),
	[0xa0] = FF(PUSH, D64, Seg), FF(POP, D64, W(Seg)), F(CPUID),
	F(BT, Ev, Gv), F(SHLD, RW(Ev), Gv, Ib), F(SHLD, RW(Ev), Gv, CL_),
	[0xa8] = FF(PUSH, D64, Seg), FF(POP, D64, W(Seg)), { .op = OP_UD },
	FF(BTS, LK, RW(Ev), Gv), F(SHRD, RW(Ev), Gv, Ib),
	F(SHRD, RW(Ev), Gv, CL_), SUB(MOD, grp15), F(IMUL, RW(Gv), Ev),
	[0xb0] = FF(CMPXCHG, LK, RW(Eb), Gb), FF(CMPXCHG, LK, RW(Ev), Gv),
	F(LSEG, W(Gv), Mp), FF(BTR, LK, RW(Ev), Gv), F(LSEG, W(Gv), Mp),
	F(LSEG, W(Gv), Mp), F(MOVZX, W(Gv), Eb), F(MOVZX, W(Gv), Ew),
	[0xb8] = SUB(PFX, popcnt), F(UD, Gv, Ev), SUB(REG, grp8),
	FF(BTC, LK, RW(Ev), Gv), F(BSF, W(Gv), Ev), F(BSR, W(Gv), Ev),
	F(MOVSX, W(Gv), Eb), F(MOVSX, W(Gv), Ew),
	[0xc0] = FF(XADD, LK, RW(Eb), RW(Gb)), FF(XADD, LK, RW(Ev), RW(Gv)),
	V(ALL, X, RW(Vdq), Wpf, Ib), SUB(PFX, movnti),
	V(MS, 0, RW(PVx), Edw, Ib), V(MS, 0, W(Gd), NUx, Ib),
	V(MS, 0, RW(Vdq), Wdq, Ib), SUB(REG, grp9),
	[0xc8 ... 0xcf] = F(BSWAP, RW(Zv)),
	[0xd0] = V(P66 | PF2, X, RW(Vdq), Wdq), INT, INT, INT, INT, INT,
	SUB(PFX, sse_d6), V(MS, 0, W(Gd), NUx),
	[0xd8 ... 0xe5] = INT,
	[0xe6] = SUB(PFX, sse_e6), SUB(PFX, sse_e7),
	[0xe8 ... 0xef] = INT,
	[0xf0] = V(PF2 | LO, 0, W(Vdq), Mdq), INT, INT, INT, INT, INT, INT,
	V(MS | FORM_RDI, 0, PVx, NUx),
	[0xf8 ... 0xfe] = INT, F(UD, Gv, Ev),
};

#define EXTEND(m) V(P66, 0, W(Vdq), m)
#define BLEND V(P66, INSN_IMPLICIT_XMM0, RW(Vdq), Wdq)

const struct form form_0f38[256] = {
	[0x00 ... 0x0b] = INT,
	[0x10] = BLEND, [0x14] = BLEND, BLEND,
	[0x17] = V(P66, INSN_EFLAGS, Vdq, Wdq),
	[0x1c ... 0x1e] = V(MS, 0, W(PVx), QWx),
	[0x20] = EXTEND(Wq), EXTEND(Wd), EXTEND(Ww), EXTEND(Wq), EXTEND(Wd),
	EXTEND(Wq),
	[0x28] = SSE, SSE, V(P66, 0, W(Vdq), Mdq), SSE,
	[0x30] = EXTEND(Wq), EXTEND(Wd), EXTEND(Ww), EXTEND(Wq), EXTEND(Wd),
	EXTEND(Wq),
	[0x37 ... 0x40] = SSE,
	[0x41] = V(P66, 0, W(Vdq), Wdq),
	[0xf0] = FF(CRC32, PF2 | FORM_OSZ, RW(Gy), Eb),
	FF(CRC32, PF2 | FORM_OSZ, RW(Gy), Ev),
};

#define IMM(dst, src) V(P66, 0, dst, src, Ib)
#define STRING(attr) V(P66 | LO, INSN_EFLAGS | (attr), Vdq, Wdq, Ib)

const struct form form_0f3a[256] = {
	[0x08] = V(P66, X, W(Vdq), Wdq, Ib), V(P66, X, W(Vdq), Wdq, Ib),
	V(P66, X, RW(Vdq), Wd, Ib), V(P66, X, RW(Vdq), Wq, Ib),
	IMM(RW(Vdq), Wdq), IMM(RW(Vdq), Wdq), IMM(RW(Vdq), Wdq),
	V(MS, 0, RW(PVx), QWx, Ib),
	[0x14] = IMM(W(Edb), Vdq), IMM(W(Edw), Vdq), IMM(W(Ey), Vdq),
	IMM(W(Ed), Vdq),
	[0x20] = IMM(RW(Vdq), Edb), IMM(RW(Vdq), Wd), IMM(RW(Vdq), Ey),
	[0x40] = V(P66, X, RW(Vdq), Wdq, Ib), V(P66, X, RW(Vdq), Wdq, Ib),
	IMM(RW(Vdq), Wdq),
	/* PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI */
	[0x60] = STRING(INSN_ECX | INSN_IMPLICIT_XMM0), STRING(INSN_ECX),
	STRING(INSN_IMPLICIT_XMM0), STRING(INSN_ECX),
};
