/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against Zydis: every opcode of the four maps, every mandatory
 * prefix, every ModRM byte, and random strings. MAYFLY_LONG=1 runs 10^7 of
 * those; MAYFLY_SEED repeats a run.
 */
#include <Zydis/Zydis.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/decode.h"
#include "tests/unit/decode_names.h"

struct oracle {
	ZydisDecoder zd;
	enum decode_mode mode;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
	unsigned long cases, bad;
	uint8_t shown[4][256]; /* one line for each opcode */
};

static void oracle_init(struct oracle *or, enum decode_mode mode)
{
	static const ZydisDecoderMode off[] = {
		ZYDIS_DECODER_MODE_KNC,	     ZYDIS_DECODER_MODE_MPX,
		ZYDIS_DECODER_MODE_CET,	     ZYDIS_DECODER_MODE_LZCNT,
		ZYDIS_DECODER_MODE_TZCNT,    ZYDIS_DECODER_MODE_WBNOINVD,
		ZYDIS_DECODER_MODE_CLDEMOTE,
	};
	unsigned i;

	memset(or, 0, sizeof(*or));
	or->mode = mode;
	if (mode == DECODE_64)
		ZydisDecoderInit(&or->zd, ZYDIS_MACHINE_MODE_LONG_64,
				 ZYDIS_STACK_WIDTH_64);
	else if (mode == DECODE_32)
		ZydisDecoderInit(&or->zd, ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
				 ZYDIS_STACK_WIDTH_32);
	else
		ZydisDecoderInit(&or->zd, ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
				 ZYDIS_STACK_WIDTH_16);
	for (i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		ZydisDecoderEnableMode(&or->zd, off[i], ZYAN_FALSE);
}

/* --- operands ---------------------------------------------------------- */

static uint8_t zydis_gpr(ZydisRegister r)
{
	return r == ZYDIS_REGISTER_NONE ? REG_NONE :
	       r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP ?
					  REG_RIP :
					  (uint8_t)ZydisRegisterGetId(r);
}

/*
 * SDM 2A table 2-5: SIB base 5 with mod 0 is no base, whatever REX.B says.
 * Zydis 4.0.0 says R13D and no displacement, with 32-bit addresses; processors
 * do as the SDM says.
 */
static int no_base(const struct insn *in, const ZydisDecodedOperand *z)
{
	return in->base == REG_NONE && in->asize == 4 && in->rex & 1 &&
	       in->modrm >> 6 == 0 && (in->modrm & 7) == 4 &&
	       z->mem.base == ZYDIS_REGISTER_R13D;
}

static int same_mem(const struct insn *in, const ZydisDecodedOperand *z)
{
	unsigned scale = in->index == REG_NONE ? 0 : 1u << in->scale;
	uint64_t mask = in->asize == 2 ? 0xffff :
			in->asize == 4 ? 0xffffffff :
					 UINT64_MAX;
	unsigned sreg = (unsigned)ZydisRegisterGetId(z->mem.segment);

	if (no_base(in, z))
		return in->index == zydis_gpr(z->mem.index);
	return in->base == zydis_gpr(z->mem.base) &&
	       in->index == zydis_gpr(z->mem.index) &&
	       scale == z->mem.scale &&
	       (in->seg == sreg || in->op == OP_LEA) &&
	       !(((uint64_t)in->disp ^ (uint64_t)z->mem.disp.value) & mask);
}

static int same_reg(const struct opnd *o, ZydisRegister r, int any_size)
{
	static const ZydisRegister high[] = {
		ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH,
		ZYDIS_REGISTER_BH,
	};
	ZydisRegisterClass c = ZydisRegisterGetClass(r);

	switch (o->kind) {
	case OPND_GPR8H:
		return r == high[o->reg];
	case OPND_GPR:
		if (o->size == 1)
			return r == ZydisRegisterEncode(ZYDIS_REGCLASS_GPR8,
				o->reg >= 4 ? o->reg + 4 : o->reg);
		return (any_size ||
			c == (o->size == 2 ? ZYDIS_REGCLASS_GPR16 :
			      o->size == 4 ? ZYDIS_REGCLASS_GPR32 :
					     ZYDIS_REGCLASS_GPR64)) &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_SREG:
		return c == ZYDIS_REGCLASS_SEGMENT &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_CR:
		return c == ZYDIS_REGCLASS_CONTROL &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_DR:
		return c == ZYDIS_REGCLASS_DEBUG &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_X87:
		return c == ZYDIS_REGCLASS_X87 &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_MMX:
		return c == ZYDIS_REGCLASS_MMX &&
		       ZydisRegisterGetId(r) == o->reg;
	case OPND_XMM:
		return c == ZYDIS_REGCLASS_XMM &&
		       ZydisRegisterGetId(r) == o->reg;
	default:
		return 0;
	}
}

static int same_imm(const struct insn *in, const struct opnd *o, unsigned nth,
		    const ZydisDecodedOperand *z)
{
	uint64_t v = nth ? in->imm2 : in->imm;
	uint64_t mask = o->size >= 8 ? UINT64_MAX : (1ull << 8 * o->size) - 1;

	return !((v ^ z->imm.value.u) & mask);
}

static unsigned zydis_access(const ZydisDecodedOperand *z)
{
	unsigned a = 0;

	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		a |= OPND_R;
	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		a |= OPND_W;
	return a;
}

static int same_operand(const struct insn *in, unsigned i, unsigned nth_imm,
			const ZydisDecodedOperand *z)
{
	const struct opnd *o = &in->o[i];

	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!same_reg(o, z->reg.value, size_differs(in, i)))
			return 0;
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (o->kind != OPND_MEM || !same_mem(in, z))
			return 0;
		if (o->size && o->access && o->size * 8 != z->size &&
		    !size_differs(in, i))
			return 0;
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		return o->kind == OPND_FAR && in->imm2 == z->ptr.segment &&
		       in->imm == z->ptr.offset;
	default:
		return o->kind == (z->imm.is_relative ? OPND_REL : OPND_IMM) &&
		       same_imm(in, o, nth_imm, z);
	}
	return !o->access || access_differs(in, i) ||
	       o->access == zydis_access(z);
}

/* Zydis names operands that we leave implied, in these. */
static int operands_implied(const struct insn *in)
{
	return (in->op >= OP_MOVS && in->op <= OP_OUTS) || in->op == OP_NOP ||
	       in->op == OP_XLAT ||
	       (in->op == OP_X87 && in->modrm >> 6 == 3);
}

static const char *compare_operands(const struct oracle *or,
				    const struct insn *in)
{
	unsigned i = 0, imms = 0, j;
	const ZydisDecodedOperand *z;

	if (operands_implied(in))
		return NULL;
	for (j = 0; j < or->zi.operand_count_visible; j++) {
		z = &or->zo[j];
		if (i >= in->nopnd)
			return "too few operands";
		if (!same_operand(in, i, imms, z))
			return "operand";
		imms += in->o[i].kind == OPND_IMM;
		i++;
	}
	return i == in->nopnd ? NULL : "too many operands";
}

/* --- one instruction --------------------------------------------------- */

/* NULL, or what differs. */
static const char *compare(struct oracle *or, const uint8_t *b, size_t n,
			   struct insn *in)
{
	enum decode_result r = decode(b, n, or->mode, in);
	ZyanStatus zs = ZydisDecoderDecodeFull(&or->zd, b, n, &or->zi,
					       or->zo);

	/* Zydis adds the lengths up before it looks for the bytes; we may ask
	 * for the 15 first. */
	if (zs == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return r == DECODE_LONG || in->op == OP_UD ||
		       (r == DECODE_SHORT && n < 15) ? NULL : "too long";
	if (zs == ZYDIS_STATUS_NO_MORE_DATA)
		return r == DECODE_SHORT || in->op == OP_UD ? NULL : "short";
	/* We may want all of an instruction before we call it undefined. */
	if (!ZYAN_SUCCESS(zs))
		return r == DECODE_SHORT || in->op == OP_UD ? NULL :
							      "undefined";
	if (r != DECODE_OK)
		return "our result";
	if (!offered(&or->zi))
		return in->op == OP_UD ? NULL : "not offered";
	if (or->zi.mnemonic == ZYDIS_MNEMONIC_UD0 ||
	    or->zi.mnemonic == ZYDIS_MNEMONIC_UD1 ||
	    or->zi.mnemonic == ZYDIS_MNEMONIC_UD2)
		return in->op == OP_UD && in->len == or->zi.length ?
			       NULL : "UDn";
	if (undefined_for_us(or->mode, &or->zi))
		return in->op == OP_UD && in->len == or->zi.length ?
			       NULL : "should be undefined";
	if (in->op == OP_UD)
		return "is defined";
	if (in->len != or->zi.length)
		return "length";
	if (!name_matches(in, ZydisMnemonicGetString(or->zi.mnemonic)))
		return "operation";
	return compare_operands(or, in);
}

static void check(struct oracle *or, const uint8_t *b, size_t n)
{
	struct insn in;
	const char *what = compare(or, b, n, &in);
	ZydisFormatter fmt;
	char text[128] = "undefined";
	size_t i;

	or->cases++;
	if (!what)
		return;
	or->bad++;
	if (or->shown[in.map][in.opcode])
		return;
	or->shown[in.map][in.opcode] = 1;
	ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL);
	if (or->zi.length)
		ZydisFormatterFormatInstruction(&fmt, &or->zi, or->zo,
			or->zi.operand_count_visible, text, sizeof(text), 0, NULL);
	printf("mode %d:", or->mode);
	for (i = 0; i < n; i++)
		printf(" %02x", b[i]);
	printf(": %s; Zydis: %s (%u bytes); ours: op %u, %u bytes\n", what,
	       text, or->zi.length, in.op, in.len);
}

static void finish(const struct oracle *or)
{
	printf("%lu cases, %lu mismatches\n", or->cases, or->bad);
	cr_expect_eq(or->bad, 0);
}

/* --- every form -------------------------------------------------------- */

/* Prefixes before an opcode; empty ones end a row. */
static const uint8_t prefixes[][4] = {
	{ 0 }, { 0x66 }, { 0xf3 }, { 0xf2 }, { 0x48 }, { 0x66, 0x48 },
	{ 0xf3, 0x48 }, { 0xf2, 0x48 }, { 0x67 }, { 0xf0 }, { 0x4f },
	{ 0x64 }, { 0xf3, 0x66 }, { 0xf2, 0x66, 0xf3 }, { 0x66, 0x4f },
	{ 0xf0, 0x48 }, { 0xf2, 0x66 }, { 0x40 }, { 0xf0, 0x66 },
	{ 0xf0, 0xf3 }, { 0x66, 0x67 }, { 0x48, 0x66 }, { 0x65, 0x2e },
};

static size_t put_opcode(uint8_t *b, unsigned prefix, unsigned map,
			 unsigned opcode)
{
	size_t n = 0, i;

	for (i = 0; i < 4 && prefixes[prefix][i]; i++)
		b[n++] = prefixes[prefix][i];
	if (map)
		b[n++] = 0x0f;
	if (map == 2)
		b[n++] = 0x38;
	if (map == 3)
		b[n++] = 0x3a;
	b[n++] = (uint8_t)opcode;
	return n;
}

static void every_form(enum decode_mode mode)
{
	static const uint8_t tail[] = {
		0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7, 0x88, 0x99,
	};
	/* SIB: base and index, no base, no index, RBP as base */
	static const uint8_t sibs[] = { 0x88, 0x4d, 0x24, 0x65 };
	unsigned p, map, op, modrm, s;
	uint8_t b[24];
	struct oracle or;
	size_t n;

	oracle_init(&or, mode);
	for (p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++)
	for (map = 0; map < 4; map++)
	for (op = 0; op < 256; op++)
	for (modrm = 0; modrm < 256; modrm++) {
		n = put_opcode(b, p, map, op);
		b[n++] = (uint8_t)modrm;
		for (s = 0; s < 4; s++) {
			b[n] = sibs[s];
			memcpy(b + n + 1, tail, sizeof(tail));
			check(&or, b, 15);
			if ((modrm & 7) != 4 || modrm >> 6 == 3)
				break;
		}
	}
	finish(&or);
}

Test(decode, every_form_64_matches_zydis, .timeout = 120)
{
	every_form(DECODE_64);
}

Test(decode, every_form_32_matches_zydis, .timeout = 120)
{
	every_form(DECODE_32);
}

Test(decode, every_form_16_matches_zydis, .timeout = 120)
{
	every_form(DECODE_16);
}

/* --- random strings ---------------------------------------------------- */

static uint64_t next_random(uint64_t *s)
{
	/* xorshift64* (Vigna 2016) */
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static void random_strings(enum decode_mode mode, unsigned long count)
{
	static const uint8_t likely[] = {
		0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x48, 0x0f, 0x0f,
	};
	const char *env = getenv("MAYFLY_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) :
			      (uint64_t)time(NULL) | 1, r;
	struct oracle or;
	uint8_t b[16];
	unsigned i;
	size_t n;

	printf("MAYFLY_SEED=%llu\n", (unsigned long long)seed);
	oracle_init(&or, mode);
	while (count--) {
		for (i = 0; i < 16; i += 8) {
			r = next_random(&seed);
			memcpy(b + i, &r, 8);
		}
		r = next_random(&seed);
		for (i = 0; i < (r & 3); i++)
			b[i] = likely[r >> (8 + 4 * i) & 7];
		n = r >> 32 & 7 ? 15 : (r >> 40) % 15 + 1;
		check(&or, b, n);
	}
	finish(&or);
}

static unsigned long how_many(void)
{
	const char *env = getenv("MAYFLY_LONG");

	return env && *env == '1' ? 10000000 : 300000;
}

Test(decode, random_strings_match_zydis, .timeout = 600)
{
	random_strings(DECODE_64, how_many());
}

Test(decode, random_strings_match_zydis_outside_64_bit_mode, .timeout = 600)
{
	random_strings(DECODE_32, how_many() / 4);
	random_strings(DECODE_16, how_many() / 4);
}

/* --- what Zydis cannot judge ------------------------------------------- */

static struct insn decode_ok(const char *bytes, size_t n)
{
	struct insn in;

	cr_assert_eq(decode((const uint8_t *)bytes, n, DECODE_64, &in),
		     DECODE_OK);
	cr_assert_eq(in.len, n);
	return in;
}
#define DECODE(s) decode_ok(s, sizeof(s) - 1)

Test(decode, fs_override_survives_a_later_ds_override)
{
	/* Observed on hardware; SDM 1 3.4.4.1 says that DS is ignored. */
	cr_expect_eq(DECODE("\x64\x3e\x8b\x00").seg, X86_FS);
	cr_expect_eq(DECODE("\x3e\x64\x8b\x00").seg, X86_FS);
	cr_expect_eq(DECODE("\x65\x64\x8b\x00").seg, X86_FS);
}

Test(decode, sixteen_bytes_are_too_long)
{
	static const uint8_t b[16] = "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"
				     "\x66\x66\x66\x66\x66\x90";
	struct insn in;

	cr_expect_eq(decode(b, 16, DECODE_64, &in), DECODE_LONG);
	cr_expect_eq(decode(b + 1, 15, DECODE_64, &in), DECODE_OK);
	cr_expect_eq(decode(b, 14, DECODE_64, &in), DECODE_SHORT);
}

Test(decode, sixteen_bytes_of_which_twelve_are_there_match_zydis)
{
	/* imul r12, [ebp+disp32], imm32 with six prefixes, found at random */
	static const uint8_t b[12] = "\x48\x67\x67\x4f\x3e\x48\x69\xa5\x81\x46"
				     "\x42\x45";
	struct oracle or;

	oracle_init(&or, DECODE_64);
	check(&or, b, sizeof(b));
	finish(&or);
}

Test(decode, nop_and_pause_and_xchg_r8)
{
	cr_expect_eq(DECODE("\x90").op, OP_NOP);
	cr_expect_eq(DECODE("\xf3\x90").op, OP_PAUSE);
	cr_expect_eq(DECODE("\xf3\x41\x90").op, OP_PAUSE);
	cr_expect_eq(DECODE("\x41\x90").op, OP_XCHG);
}

Test(decode, vector_operands_say_alignment)
{
	cr_expect(DECODE("\x0f\x28\x07").attr & INSN_ALIGN16);
	cr_expect_not(DECODE("\x0f\x10\x07").attr & INSN_ALIGN16);
	cr_expect_not(DECODE("\x0f\x28\xc1").attr & INSN_ALIGN16);
	cr_expect_not(DECODE("\x66\x0f\x3a\x63\x07\x0c").attr & INSN_ALIGN16);
	cr_expect_not(DECODE("\xf2\x0f\xf0\x07").attr & INSN_ALIGN16);
}
