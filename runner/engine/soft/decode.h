/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode: bytes to a decoded instruction (SDM 2, chapter 2 and appendix A).
 *
 * Pure: no state, no allocation, reads at most DECODE_MAX bytes. One entry of
 * the opcode tables (decode_table.c) says what an opcode does to each of its
 * operands; everything else - the interpreter's emitter, the native thunks, a
 * translator to come, the test against Zydis - reads struct insn only.
 */
#ifndef MAYFLY_SOFT_DECODE_H
#define MAYFLY_SOFT_DECODE_H

#include <stddef.h>
#include <stdint.h>

#define DECODE_MAX 15 /* SDM 2A 2.3.11: longer ones raise #GP(0) */

/* What to do. Condition codes, sizes and operands are in the insn. */
enum x86_op {
	OP_UD = 0, /* raises #UD: undefined, reserved, or not in our CPUID */
	/* the eight of the 0x80 group, in its order */
	OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP,
	/* the eight of the 0xc0 group, in its order (6 is SHL again) */
	OP_ROL, OP_ROR, OP_RCL, OP_RCR, OP_SHL, OP_SHR, OP_SAL, OP_SAR,
	OP_TEST, OP_NOT, OP_NEG, OP_MUL, OP_IMUL1, OP_DIV, OP_IDIV,
	OP_INC, OP_DEC, OP_IMUL, /* two or three operands */
	OP_MOV, OP_LEA, OP_MOVZX, OP_MOVSX, /* MOVSX: MOVSXD too */
	OP_XCHG, OP_XADD, OP_CMPXCHG, OP_CMPXCHG8B, OP_CMPXCHG16B,
	OP_SHLD, OP_SHRD, OP_BT, OP_BTS, OP_BTR, OP_BTC, OP_BSF, OP_BSR,
	OP_POPCNT, OP_BSWAP, OP_CRC32, OP_CBW, /* CBW, CWDE, CDQE */
	OP_CWD,				       /* CWD, CDQ, CQO */
	OP_SETCC, OP_CMOVCC, OP_XLAT, OP_MOVNTI,
	OP_PUSH, OP_POP, OP_PUSHA, OP_POPA, OP_PUSHF, OP_POPF, OP_ENTER,
	OP_LEAVE,
	OP_SAHF, OP_LAHF, OP_CMC, OP_CLC, OP_STC, OP_CLD, OP_STD, OP_CLI,
	OP_STI,
	/* control flow: near direct, near indirect, far */
	OP_JCC, OP_JMP, OP_JMPI, OP_JMPF, OP_CALL, OP_CALLI, OP_CALLF, OP_RET,
	OP_RETF, OP_IRET, OP_LOOP, OP_LOOPE, OP_LOOPNE, OP_JRCXZ, OP_INT,
	OP_INT1, OP_INT3, OP_INTO, OP_SYSCALL, OP_SYSRET, OP_SYSENTER,
	OP_SYSEXIT,
	OP_MOVS, OP_CMPS, OP_STOS, OP_LODS, OP_SCAS, OP_INS, OP_OUTS, OP_IN,
	OP_OUT,
	OP_NOP, /* NOP, ENDBR, PREFETCHx, hints: operands are not accessed */
	OP_PAUSE, OP_LFENCE, OP_MFENCE, OP_SFENCE, OP_CLFLUSH,
	/* not in 64-bit mode */
	OP_DAA, OP_DAS, OP_AAA, OP_AAS, OP_AAM, OP_AAD, OP_SALC, OP_BOUND,
	OP_ARPL,
	/* system */
	OP_HLT, OP_CPUID, OP_RDTSC, OP_RDTSCP, OP_RDPMC, OP_RDMSR, OP_WRMSR,
	OP_MOV_CR, OP_MOV_DR, OP_MOV_SREG, OP_LSEG, /* LDS LES LFS LGS LSS */
	OP_CLTS, OP_LMSW, OP_SMSW, OP_LGDT, OP_LIDT, OP_SGDT, OP_SIDT,
	OP_LLDT, OP_SLDT, OP_LTR, OP_STR, OP_VERR, OP_VERW, OP_LAR, OP_LSL,
	OP_INVLPG, OP_INVD, OP_WBINVD, OP_SWAPGS, OP_RDFSBASE, OP_RDGSBASE,
	OP_WRFSBASE, OP_WRGSBASE, OP_STAC, OP_CLAC,
	/* floating point and vectors: run by the host (native.c) but for
	 * the state instructions */
	OP_SIMD,    /* MMX, SSE..SSE4.2: operands and attr say all */
	OP_X87,	    /* 0xd8-0xdf, but for the ones below */
	OP_X87_ENV, /* FLDENV FNSTENV FRSTOR FNSAVE: FIP, FDP handling */
	OP_FWAIT, OP_FXSAVE, OP_FXRSTOR, OP_LDMXCSR, OP_STMXCSR,
	OP_COUNT
};

enum opnd_kind {
	OPND_NONE,
	OPND_GPR,  /* reg 0-15; AH, CH, DH, BH are OPND_GPR8H 0-3 */
	OPND_GPR8H,
	OPND_SREG, /* enum x86_sreg */
	OPND_CR, OPND_DR,
	OPND_X87,  /* ST(reg) */
	OPND_MMX, OPND_XMM,
	OPND_MEM,  /* the insn's memory operand; at most one */
	OPND_IMM,  /* insn.imm, sign-extended as the instruction wants */
	OPND_REL,  /* insn.imm: displacement from the next instruction */
	OPND_FAR,  /* insn.imm offset, insn.imm2 selector */
};

#define OPND_R 1
#define OPND_W 2

struct opnd {
	uint8_t kind;
	uint8_t reg;
	uint8_t size;	/* bytes; 0 where it has none (LEA, INVLPG) */
	uint8_t access; /* OPND_R, OPND_W; 0: address only */
};

/* insn.pfx */
#define PFX_LOCK  0x01
#define PFX_REP	  0x02 /* F3 */
#define PFX_REPNE 0x04 /* F2 */
#define PFX_66	  0x08
#define PFX_67	  0x10
#define PFX_SEG	  0x20
#define PFX_REX	  0x40

/* insn.attr */
#define INSN_ALIGN16 0x0001 /* memory operand must be 16-byte aligned: #GP */
#define INSN_MXCSR   0x0002 /* uses rounding or raises SIMD FP exceptions */
#define INSN_EFLAGS  0x0004 /* SIMD, FCOMI: writes ZF, PF, CF, OF, SF, AF */
#define INSN_MMX     0x0008 /* touches the MMX state (x87 tag word) */
#define INSN_IMPLICIT_XMM0 0x0010 /* PBLENDVB, BLENDVPS, BLENDVPD */
#define INSN_ENDS    0x0020 /* ends a block: branch, or changes the mode */
#define INSN_ECX     0x0040 /* PCMPxSTRI writes ECX, PCMPESTRx reads EAX, EDX */
#define INSN_FLAGS_IN 0x0080 /* FCMOVcc: reads ZF, PF, CF */

#define REG_NONE 0xff
#undef REG_RIP /* <sys/ucontext.h>'s */
#define REG_RIP	 0xfe

struct insn {
	uint16_t op;	/* enum x86_op */
	uint16_t attr;
	uint8_t len;
	uint8_t osize;	/* operand size in bytes: 1, 2, 4, 8 */
	uint8_t asize;	/* address size in bytes: 2, 4, 8 */
	uint8_t cc;	/* condition of JCC, SETCC, CMOVCC: low 4 bits */
	uint8_t pfx;	/* PFX_* */
	uint8_t mand;	/* mandatory prefix: 0, 0x66, 0xf3, 0xf2 */
	uint8_t map;	/* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a */
	uint8_t opcode;
	uint8_t rex;
	uint8_t modrm;
	uint8_t has_modrm;
	uint8_t nopnd;
	uint8_t rm_opnd;  /* which of o[] ModRM.rm names, or REG_NONE */
	uint8_t reg_opnd; /* which of o[] ModRM.reg names, or REG_NONE */
	struct opnd o[4]; /* destination first, Intel order */
	/* the memory operand: seg:[base + (index << scale) + disp] */
	uint8_t seg;	/* enum x86_sreg, default already applied */
	uint8_t base;	/* 0-15, REG_RIP, REG_NONE */
	uint8_t index;	/* 0-15, REG_NONE */
	uint8_t scale;	/* 0-3 */
	int64_t disp;	/* sign-extended; 64-bit for MOV moffs */
	uint64_t imm;
	uint64_t imm2;
};

enum decode_mode {
	DECODE_64, /* CS.L = 1 */
	DECODE_32, /* CS.L = 0, CS.D = 1 */
	DECODE_16, /* CS.L = 0, CS.D = 0: protected mode's 16-bit segments */
};

enum decode_result {
	DECODE_OK = 0,
	DECODE_SHORT,  /* @len bytes are not enough */
	DECODE_LONG,   /* more than 15 bytes: #GP(0) */
	/* An undefined opcode is DECODE_OK with OP_UD and a len. */
};

enum decode_result decode(const uint8_t *bytes, size_t len,
			  enum decode_mode mode, struct insn *in);

#endif
