/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Zydis calls our operations, and where we differ from Zydis on purpose.
 * Only for decode.c.
 */
#ifndef MAYFLY_TESTS_DECODE_NAMES_H
#define MAYFLY_TESTS_DECODE_NAMES_H

#include <Zydis/Zydis.h>
#include <fnmatch.h>
#include <string.h>

#include "runner/engine/soft/decode.h"

/* Shell patterns, separated by blanks; absent: the operation's own name. */
static const char *const op_names[OP_COUNT] = {
	[OP_ADD] = "add", [OP_OR] = "or", [OP_ADC] = "adc", [OP_SBB] = "sbb",
	[OP_AND] = "and", [OP_SUB] = "sub", [OP_XOR] = "xor", [OP_CMP] = "cmp",
	[OP_ROL] = "rol", [OP_ROR] = "ror", [OP_RCL] = "rcl", [OP_RCR] = "rcr",
	[OP_SHL] = "shl", [OP_SHR] = "shr", [OP_SAL] = "shl", [OP_SAR] = "sar",
	[OP_TEST] = "test", [OP_NOT] = "not", [OP_NEG] = "neg",
	[OP_MUL] = "mul", [OP_IMUL1] = "imul", [OP_DIV] = "div",
	[OP_IDIV] = "idiv", [OP_INC] = "inc", [OP_DEC] = "dec",
	[OP_IMUL] = "imul", [OP_MOV] = "mov", [OP_LEA] = "lea",
	[OP_MOVZX] = "movzx", [OP_MOVSX] = "movsx movsxd", [OP_XCHG] = "xchg",
	[OP_XADD] = "xadd", [OP_CMPXCHG] = "cmpxchg",
	[OP_CMPXCHG8B] = "cmpxchg8b", [OP_CMPXCHG16B] = "cmpxchg16b",
	[OP_SHLD] = "shld", [OP_SHRD] = "shrd", [OP_BT] = "bt",
	[OP_BTS] = "bts", [OP_BTR] = "btr", [OP_BTC] = "btc",
	[OP_BSF] = "bsf", [OP_BSR] = "bsr", [OP_POPCNT] = "popcnt",
	[OP_BSWAP] = "bswap", [OP_CRC32] = "crc32", [OP_CBW] = "cbw cwde cdqe",
	[OP_CWD] = "cwd cdq cqo", [OP_SETCC] = "set*", [OP_CMOVCC] = "cmov*",
	[OP_XLAT] = "xlat", [OP_MOVNTI] = "movnti", [OP_PUSH] = "push",
	[OP_POP] = "pop", [OP_PUSHA] = "pusha pushad",
	[OP_POPA] = "popa popad", [OP_PUSHF] = "pushf pushfd pushfq",
	[OP_POPF] = "popf popfd popfq", [OP_ENTER] = "enter",
	[OP_LEAVE] = "leave", [OP_SAHF] = "sahf", [OP_LAHF] = "lahf",
	[OP_CMC] = "cmc", [OP_CLC] = "clc", [OP_STC] = "stc",
	[OP_CLD] = "cld", [OP_STD] = "std", [OP_CLI] = "cli",
	[OP_STI] = "sti", [OP_JCC] = "j*", [OP_JMP] = "jmp",
	[OP_JMPI] = "jmp", [OP_JMPF] = "jmp", [OP_CALL] = "call",
	[OP_CALLI] = "call", [OP_CALLF] = "call", [OP_RET] = "ret",
	[OP_RETF] = "ret", [OP_IRET] = "iret iretd iretq", [OP_LOOP] = "loop",
	[OP_LOOPE] = "loope", [OP_LOOPNE] = "loopne",
	[OP_JRCXZ] = "jcxz jecxz jrcxz", [OP_INT] = "int", [OP_INT1] = "int1",
	[OP_INT3] = "int3", [OP_INTO] = "into", [OP_SYSCALL] = "syscall",
	[OP_SYSRET] = "sysret", [OP_SYSENTER] = "sysenter",
	[OP_SYSEXIT] = "sysexit", [OP_MOVS] = "movs?", [OP_CMPS] = "cmps?",
	[OP_STOS] = "stos?", [OP_LODS] = "lods?", [OP_SCAS] = "scas?",
	[OP_INS] = "ins?", [OP_OUTS] = "outs?", [OP_IN] = "in",
	[OP_OUT] = "out", [OP_NOP] = "nop endbr* prefetch* cldemote",
	[OP_PAUSE] = "pause", [OP_LFENCE] = "lfence", [OP_MFENCE] = "mfence",
	[OP_SFENCE] = "sfence", [OP_DAA] = "daa", [OP_DAS] = "das",
	[OP_AAA] = "aaa", [OP_AAS] = "aas", [OP_AAM] = "aam",
	[OP_AAD] = "aad", [OP_SALC] = "salc", [OP_BOUND] = "bound",
	[OP_ARPL] = "arpl",
	[OP_CLFLUSH] = "clflush", [OP_HLT] = "hlt",
	[OP_CPUID] = "cpuid", [OP_RDTSC] = "rdtsc", [OP_RDTSCP] = "rdtscp",
	[OP_RDPMC] = "rdpmc", [OP_RDMSR] = "rdmsr", [OP_WRMSR] = "wrmsr",
	[OP_MOV_CR] = "mov", [OP_MOV_DR] = "mov", [OP_MOV_SREG] = "mov",
	[OP_LSEG] = "lds les lfs lgs lss", [OP_CLTS] = "clts",
	[OP_LMSW] = "lmsw", [OP_SMSW] = "smsw", [OP_LGDT] = "lgdt",
	[OP_LIDT] = "lidt", [OP_SGDT] = "sgdt", [OP_SIDT] = "sidt",
	[OP_LLDT] = "lldt", [OP_SLDT] = "sldt", [OP_LTR] = "ltr",
	[OP_STR] = "str", [OP_VERR] = "verr", [OP_VERW] = "verw",
	[OP_LAR] = "lar", [OP_LSL] = "lsl", [OP_INVLPG] = "invlpg",
	[OP_INVD] = "invd", [OP_WBINVD] = "wbinvd", [OP_SWAPGS] = "swapgs",
	[OP_RDFSBASE] = "rdfsbase", [OP_RDGSBASE] = "rdgsbase",
	[OP_WRFSBASE] = "wrfsbase", [OP_WRGSBASE] = "wrgsbase",
	[OP_STAC] = "stac", [OP_CLAC] = "clac", [OP_SIMD] = "*",
	[OP_X87] = "f*", [OP_X87_ENV] = "fldenv fnstenv frstor fnsave",
	[OP_FWAIT] = "fwait", [OP_FXSAVE] = "fxsave fxsave64",
	[OP_FXRSTOR] = "fxrstor fxrstor64", [OP_LDMXCSR] = "ldmxcsr",
	[OP_STMXCSR] = "stmxcsr",
};

static inline int name_matches(const struct insn *in, const char *name)
{
	char list[64], *p = list, *one;

	strcpy(list, op_names[in->op] ? op_names[in->op] : "");
	while ((one = strsep(&p, " ")))
		if (!fnmatch(one, name, 0))
			return 1;
	return 0;
}

/* The instruction sets that we offer (DESIGN 6: x86-64-v2). */
static inline int offered(const ZydisDecodedInstruction *zi)
{
	if (zi->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return 0;
	switch (zi->meta.isa_ext) {
	case ZYDIS_ISA_EXT_BASE:
	case ZYDIS_ISA_EXT_LONGMODE:
	case ZYDIS_ISA_EXT_X87:
	case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_SSE:
	case ZYDIS_ISA_EXT_SSE2:
	case ZYDIS_ISA_EXT_SSE3:
	case ZYDIS_ISA_EXT_SSSE3:
	case ZYDIS_ISA_EXT_SSE4:
	case ZYDIS_ISA_EXT_CLFSH:
	case ZYDIS_ISA_EXT_PAUSE:
	case ZYDIS_ISA_EXT_RDTSCP:
	case ZYDIS_ISA_EXT_RDWRFSGS:
	case ZYDIS_ISA_EXT_SMAP:
	case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
	case ZYDIS_ISA_EXT_PREFETCHWT1:
		return 1;
	default:
		return 0;
	}
}

static inline int undefined_for_us(enum decode_mode mode,
				   const ZydisDecodedInstruction *zi)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_RSM: /* SDM 2B: outside SMM */
	/* SDM 2B, exceptions in compatibility mode */
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSRET:
		return mode != DECODE_64 || zi->mnemonic == ZYDIS_MNEMONIC_RSM;
	default:
		return 0;
	}
}

/*
 * Accesses that differ. CMOVcc reads its destination: with a false condition
 * it still clears the upper half. SSE registers of which a part is kept are
 * read; Zydis says so for some only.
 */
static inline int access_differs(const struct insn *in, unsigned i)
{
	return (in->op == OP_CMOVCC && i == 0) ||
	       (in->op == OP_SIMD && in->o[i].kind == OPND_XMM &&
		in->o[i].access == (OPND_R | OPND_W)) ||
	       (in->op == OP_LSL && i == 0); /* kept when ZF is 0 */
}

/*
 * Source sizes that differ. MOVSXD r16 reads 16 bits (SDM 2B), LAR and LSL
 * use 16 bits of what they read (SDM 2A).
 */
static inline int size_differs(const struct insn *in, unsigned i)
{
	return i == 1 && (in->op == OP_LAR || in->op == OP_LSL ||
			  (in->op == OP_MOVSX && in->opcode == 0x63 &&
			   in->osize == 2));
}

#endif
