/* SPDX-License-Identifier: Apache-2.0 */
/* Random encodings of a form. */
#include <string.h>

#include "runner/engine/engine.h"
#include "tests/diff/gen.h"

static unsigned optional_prefixes(struct rng *r, const struct diff_form *f,
				  uint8_t *p)
{
	static const uint8_t seg[] = { 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e,
				       0x26 };
	unsigned n = 0;

	if (one_in(r, 8))
		p[n++] = seg[rnd_below(r, sizeof(seg))];
	if (one_in(r, 8) || (f->compat && one_in(r, 8)))
		p[n++] = 0x67;
	/* 16-bit addresses reach memory only above GS's base */
	if (n && p[n - 1] == 0x67 && f->compat && !one_in(r, 4))
		p[n++] = 0x65;
	return n;
}

static uint8_t random_modrm(struct rng *r, const struct diff_form *f)
{
	unsigned mod = f->rm_kind == FORM_REG ? 3 :
		       f->rm_kind == FORM_MEM ? rnd_below(r, 3) :
						rnd_below(r, 4);
	unsigned reg = f->reg < 0 ? rnd_below(r, 8) : (unsigned)f->reg;
	unsigned rm = f->rm < 0 ? rnd_below(r, 8) : (unsigned)f->rm;

	return (uint8_t)(mod << 6 | reg << 3 | rm);
}

/* Where an absolute or RIP-relative displacement lies. */
static uint8_t find_disp(const struct insn *in, unsigned modrm_at)
{
	unsigned rm = in->modrm & 7, mod = in->modrm >> 6;

	if (mod)
		return 0;
	if (in->asize == 2)
		return rm == 6 ? (uint8_t)(modrm_at + 1) : 0;
	if (rm == 5)
		return (uint8_t)(modrm_at + 1);
	if (rm == 4 && in->base == REG_NONE)
		return (uint8_t)(modrm_at + 2);
	return 0;
}

static int is_moffs(const struct insn *in)
{
	return in->op == OP_MOV && in->opcode >= 0xa0 && in->opcode <= 0xa3 &&
	       in->map == 0;
}

/* Branches go a little forward: to the next instruction, or into the padding
 * after it. INT 80 is how a case ends, and a system call of the host. */
static void tame(struct rng *r, struct gen_insn *g)
{
	struct insn *in = &g->in;
	struct opnd *last = &in->o[in->nopnd ? in->nopnd - 1 : 0];

	if (last->kind == OPND_REL) {
		g->imm_len = last->size == 1 ? 1 : in->osize == 2 ? 2 : 4;
		if (last->size != 1 && last->size != 8)
			g->imm_len = last->size;
		g->imm_at = (uint8_t)(g->len - g->imm_len);
		in->imm = rnd_below(r, 8);
		memset(g->bytes + g->imm_at, 0, g->imm_len);
		g->bytes[g->imm_at] = (uint8_t)in->imm;
	}
	if (in->op == OP_INT && (uint8_t)in->imm == 0x80) {
		g->bytes[g->len - 1] = 0x81;
		in->imm = 0x81;
	}
	if (last->kind == OPND_FAR) { /* by gen_aim() */
		g->imm_len = in->osize == 2 ? 2 : 4;
		g->imm_at = (uint8_t)(g->len - g->imm_len - 2);
	}
}

static int same_operands(const struct insn *a, const struct insn *b)
{
	if (a->op != b->op || a->nopnd != b->nopnd || a->mand != b->mand)
		return 0;
	for (unsigned i = 0; i < a->nopnd; i++)
		if (a->o[i].size != b->o[i].size ||
		    (a->o[i].kind == OPND_MEM) != (b->o[i].kind == OPND_MEM))
			return 0;
	return 1;
}

/* ModRM and displacement: [rbx], [rbp], [rsi] or [rdi], or with REX.B [r11] and
 * [r13] to [r15], a little to either side; mostly aligned as it was. */
static void near_pointer(struct rng *r, uint8_t *modrm)
{
	static const uint8_t rm[] = { 3, 5, 6, 7 };

	modrm[0] = (uint8_t)((modrm[0] & 0x38) | 0x40 | rm[rnd_below(r, 4)]);
	modrm[1] = (uint8_t)(rnd(r) & (one_in(r, 4) ? 0xff : 0xf0));
}

static int make_insn(struct rng *r, const struct diff_form *f,
		     struct gen_insn *g, int plain)
{
	enum decode_mode mode = f->compat ? DECODE_32 : DECODE_64;

	for (unsigned tries = 0; tries < 50; tries++) {
		uint8_t b[32];
		unsigned modrm_at, n = plain ? 0 : optional_prefixes(r, f, b);

		n += diff_form_encode(f, (uint8_t)(rnd(r) & 7), b + n,
				      &modrm_at);
		modrm_at = n;
		for (unsigned i = 0; i < 16; i++)
			b[n + i] = (uint8_t)rnd(r);
		if (f->in.has_modrm)
			b[n] = random_modrm(r, f);
		if (plain && f->in.has_modrm && b[n] < 0xc0)
			near_pointer(r, b + n);
		if (decode(b, DECODE_MAX, mode, &g->in) != DECODE_OK ||
		    !same_operands(&g->in, &f->in))
			continue;
		memcpy(g->bytes, b, DECODE_MAX);
		g->len = g->in.len;
		g->disp_at = is_moffs(&g->in) ? (uint8_t)modrm_at :
			     g->in.has_modrm ? find_disp(&g->in, modrm_at) : 0;
		g->imm_at = 0;
		g->imm_len = 0;
		tame(r, g);
		return 0;
	}
	return -1;
}

int gen_insn(struct rng *r, const struct diff_form *f, struct gen_insn *g)
{
	return make_insn(r, f, g, 0);
}

int gen_plain_insn(struct rng *r, const struct diff_form *f,
		   struct gen_insn *g)
{
	return make_insn(r, f, g, 1);
}
