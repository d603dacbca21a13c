/* SPDX-License-Identifier: Apache-2.0 */
/* BT BTS BTR BTC, BSF BSR, POPCNT, CRC32, BSWAP. */
#include "runner/engine/soft/ops.h"

/* Only CF is defined to change; the host masks the bit number. */
#define BIT(name, W, insn)                                                   \
static inline U(W) name##_do##W(struct cpu *cpu, U(W) d, U(W) n)             \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(FLAGS_IN insn SFX(W) " %[n], %[d]" FLAGS                     \
		: [d] "+r"(d), "=&a"(f)                                      \
		: [n] "r"(n), [fl] "m"(cpu->fl) : "cc");                     \
	cpu->fl = f;                                                         \
	return d;                                                            \
}                                                                            \
HANDLER(name##_rr##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0, name##_do##W(cpu, GET_REG(W, cpu, op->r0),   \
					     GET_REG(W, cpu, op->r1)));      \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_ri##W)                                                        \
{                                                                            \
	SET_REG(W, cpu, op->r0, name##_do##W(cpu, GET_REG(W, cpu, op->r0),   \
					     (U(W))op->imm));                \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(name##_mi##W)                                                        \
{                                                                            \
	MODIFY(W, name##_do##W(cpu, d, (U(W))op->imm));                      \
	NEXT(cpu, op);                                                       \
}                                                                            \
/* SDM 2A BT: a register selects any bit from -2^(W-1) around the operand;   \
 * aux: the address is that of the bit's own word already */                 \
HANDLER(name##_mr##W)                                                        \
{                                                                            \
	U(W) n = GET_REG(W, cpu, op->r1);                                    \
	int64_t word = op->aux ? 0 : (int##W##_t)n >> __builtin_ctz(W);      \
                                                                             \
	MODIFY_AT(W, uop_ea(cpu, op) + (uint64_t)(word * (W / 8)),           \
		  name##_do##W(cpu, d, n));                                  \
	NEXT(cpu, op);                                                       \
}

/* BT reads only: the memory forms must not need write permission. */
#define TESTBIT(W)                                                           \
static inline void bt_do##W(struct cpu *cpu, U(W) d, U(W) n)                 \
{                                                                            \
	uint16_t f;                                                          \
                                                                             \
	__asm__(FLAGS_IN "bt" SFX(W) " %[n], %[d]" FLAGS                     \
		: "=&a"(f)                                                   \
		: [d] "r"(d), [n] "r"(n), [fl] "m"(cpu->fl) : "cc");         \
	cpu->fl = f;                                                         \
}                                                                            \
HANDLER(bt_rr##W)                                                            \
{                                                                            \
	bt_do##W(cpu, GET_REG(W, cpu, op->r0), GET_REG(W, cpu, op->r1));     \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(bt_ri##W)                                                            \
{                                                                            \
	bt_do##W(cpu, GET_REG(W, cpu, op->r0), (U(W))op->imm);               \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(bt_mi##W)                                                            \
{                                                                            \
	bt_do##W(cpu, LOAD_MEM(W, cpu, op, uop_ea(cpu, op)), (U(W))op->imm); \
	NEXT(cpu, op);                                                       \
}                                                                            \
HANDLER(bt_mr##W)                                                            \
{                                                                            \
	U(W) n = GET_REG(W, cpu, op->r1);                                    \
	int64_t word = op->aux ? 0 : (int##W##_t)n >> __builtin_ctz(W);      \
	uint64_t va = uop_ea(cpu, op) + (uint64_t)(word * (W / 8));          \
                                                                             \
	bt_do##W(cpu, LOAD_MEM(W, cpu, op, va), n);                          \
	NEXT(cpu, op);                                                       \
}

#define BITS(W)                                                              \
	TESTBIT(W) BIT(bts, W, "bts") BIT(btr, W, "btr") BIT(btc, W, "btc")
BITS(16)
BITS(32)
BITS(64)

/* A source of 0 leaves the destination as it is (what AMD documents, and
 * what Intel's CPUs do) and sets ZF. */
#define SCAN(name, W, insn)                                                  \
HANDLER(name##W)                                                             \
{                                                                            \
	U(W) d = GET_REG(W, cpu, op->r0), s = GET_REG(W, cpu, op->r1);       \
	uint16_t f;                                                          \
                                                                             \
	__asm__(FLAGS_IN insn SFX(W) " %[s], %[d]" FLAGS                     \
		: [d] "+r"(d), "=&a"(f)                                      \
		: [s] "r"(s), [fl] "m"(cpu->fl) : "cc");                     \
	cpu->fl = f;                                                         \
	if (s)                                                               \
		SET_REG(W, cpu, op->r0, d);                                  \
	NEXT(cpu, op);                                                       \
}
#define SCANS(W) SCAN(bsf, W, "bsf") SCAN(bsr, W, "bsr")
SCANS(16)
SCANS(32)
SCANS(64)

#define POPCNT(W)                                                            \
HANDLER(popcnt##W)                                                           \
{                                                                            \
	U(W) s = GET_REG(W, cpu, op->r1);                                    \
                                                                             \
	SET_REG(W, cpu, op->r0, (U(W))__builtin_popcountll(s));              \
	cpu->fl = s ? 0 : FL_ZF;                                             \
	NEXT(cpu, op);                                                       \
}
POPCNT(16)
POPCNT(32)
POPCNT(64)

/* SSE4.2's polynomial 0x11edc6f41, by the host's own instruction. */
#define CRC32(W)                                                             \
HANDLER(crc##W)                                                              \
{                                                                            \
	uint32_t d = R32(cpu, op->r0);                                       \
                                                                             \
	__asm__("crc32" SFX(W) " %[s], %[d]"                                 \
		: [d] "+r"(d) : [s] "r"(GET_REG(W, cpu, op->r1)));           \
	R64(cpu, op->r0) = d;                                                \
	NEXT(cpu, op);                                                       \
}
CRC32(8)
CRC32(16)
CRC32(32)
HANDLER(crc64)
{
	uint64_t d = R64(cpu, op->r0);

	__asm__("crc32q %[s], %[d]" : [d] "+r"(d) : [s] "r"(R64(cpu, op->r1)));
	R64(cpu, op->r0) = d;
	NEXT(cpu, op);
}

HANDLER(bswap32)
{
	R64(cpu, op->r0) = __builtin_bswap32(R32(cpu, op->r0));
	NEXT(cpu, op);
}

HANDLER(bswap64)
{
	R64(cpu, op->r0) = __builtin_bswap64(R64(cpu, op->r0));
	NEXT(cpu, op);
}

/* SDM 2A BSWAP: undefined for 16 bits; hardware gives 0. */
HANDLER(bswap16)
{
	R16(cpu, op->r0) = 0;
	NEXT(cpu, op);
}

/* TMP2 = scaled index plus the distance to the word with bit r1. */
#define BIT_INDEX(W)                                                         \
HANDLER(bit_index##W)                                                        \
{                                                                            \
	int64_t word = (int##W##_t)GET_REG(W, cpu, op->r1) >>                \
		       __builtin_ctz(W);                                     \
                                                                             \
	cpu->r[SLOT_TMP2] = (R64(cpu, op->index) << op->scale) +             \
			    (uint64_t)(word * (W / 8));                      \
	NEXT(cpu, op);                                                       \
}
BIT_INDEX(16)
BIT_INDEX(32)
BIT_INDEX(64)

/* Where addresses are narrow, the distance counts before they wrap and meet
 * the segment's limit. */
static struct insn with_bit_index(struct emitter *e, const struct insn *in)
{
	static const uop_fn fn[] = BY_SIZE3(bit_index);
	struct uop *u = emit_uop(e, fn[size_index(in->o[0].size)]);
	struct insn at = *in;

	u->r1 = emit_reg(&in->o[1]);
	if (in->index != REG_NONE) {
		u->index = SLOT_OFF(in->index);
		u->scale = in->scale;
	}
	at.index = SLOT_TMP2;
	at.scale = 0;
	return at;
}

enum { BIT_RR, BIT_RI, BIT_MR, BIT_MI };
#define BIT_ROW(n) { BY_SIZE3(n##_rr), BY_SIZE3(n##_ri), BY_SIZE3(n##_mr),   \
		     BY_SIZE3(n##_mi) }

static void emit_bit(struct emitter *e, const struct insn *in)
{
	static const uop_fn fn[][4][4] = { BIT_ROW(bt), BIT_ROW(bts),
					   BIT_ROW(btr), BIT_ROW(btc) };
	const struct opnd *d = &in->o[0], *n = &in->o[1];
	int imm = n->kind == OPND_IMM;
	const uop_fn (*f)[4] = fn[in->op - OP_BT];
	unsigned size = size_index(d->size);
	int far = d->kind == OPND_MEM && !imm && in->asize != 8;
	struct insn at = far ? with_bit_index(e, in) : *in;
	struct uop *u;

	u = emit_rm(e, &at, d, f[imm ? BIT_RI : BIT_RR][size],
		    f[imm ? BIT_MI : BIT_MR][size]);
	u->aux = (uint8_t)far;
	if (imm)
		u->imm = in->imm & (d->size * 8u - 1);
	else
		u->r1 = emit_reg(n);
	emit_fence_if_locked(e, in);
}

static void emit_from_source(struct emitter *e, const struct insn *in,
			     const uop_fn fn[4], unsigned size)
{
	uint8_t src = emit_source(e, in, &in->o[1]);
	struct uop *u = emit_uop(e, fn[size_index(size)]);

	u->r0 = emit_reg(&in->o[0]);
	u->r1 = src;
}

int emit_bits(struct emitter *e, const struct insn *in)
{
	static const uop_fn bsf[] = BY_SIZE3(bsf), bsr[] = BY_SIZE3(bsr);
	static const uop_fn popcnt[] = BY_SIZE3(popcnt), crc[] = BY_SIZE(crc);
	static const uop_fn bswap[] = BY_SIZE3(bswap);

	switch (in->op) {
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
		emit_bit(e, in);
		return 1;
	case OP_BSF:
		emit_from_source(e, in, bsf, in->o[0].size);
		return 1;
	case OP_BSR:
		emit_from_source(e, in, bsr, in->o[0].size);
		return 1;
	case OP_POPCNT:
		emit_from_source(e, in, popcnt, in->o[0].size);
		return 1;
	case OP_CRC32:
		emit_from_source(e, in, crc, in->o[1].size);
		return 1;
	case OP_BSWAP:
		emit_uop(e, bswap[size_index(in->osize)])->r0 =
			emit_reg(&in->o[0]);
		return 1;
	default:
		return 0;
	}
}
