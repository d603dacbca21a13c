/* SPDX-License-Identifier: Apache-2.0 */
/* Random blocks of instructions. */
#include "tests/diff/block.h"

#include <string.h>

#include "runner/engine/soft/cpu.h"
#include "tests/diff/check.h"

/* --- which instructions ------------------------------------------------- */

static int is_string(const struct insn *in)
{
	return in->op >= OP_MOVS && in->op <= OP_OUTS;
}

static int is_branch(const struct insn *in)
{
	return in->nopnd && in->o[0].kind == OPND_REL;
}

/*
 * Not those that leave something to the processor which later instructions
 * would see (check.c has what), nor those that leave the block for good.
 */
static int suits(const struct insn *in)
{
	const struct opnd *o = in->o;

	switch (in->op) {
	case OP_JMPF:
	case OP_CALLF:
	case OP_RETF:
	case OP_IRET:
	case OP_CALLI:
	case OP_INT:
	case OP_FXSAVE:
	case OP_MOV_SREG:
	case OP_LSEG:
	case OP_ENTER:
	case OP_AAM: /* undefined flags, like the rest of the decimal ones */
	case OP_AAD:
	case OP_AAA:
	case OP_AAS:
	case OP_DAA:
	case OP_DAS:
		return 0;
	case OP_X87_ENV:
		return !(o[0].access & OPND_W);
	case OP_X87:
		return !(o[0].kind == OPND_MEM && o[0].access & OPND_W &&
			 o[0].size == 10);
	case OP_SIMD:
		return !(in->map == 1 && in->opcode == 0xf7);
	case OP_PUSH:
	case OP_POP:
		return o[0].kind != OPND_SREG;
	case OP_MOV:
		return in->has_modrm || o[0].kind != OPND_MEM ||
		       o[1].kind != OPND_MEM;
	default:
		return 1;
	}
}

/* How seldom this one is wanted: it ends the block most of the time, or loses
 * a pointer. */
static unsigned rarity(const struct insn *in)
{
	unsigned worst = 1;

	if ((in->op >= OP_HLT && in->op < OP_SIMD) || in->op == OP_IN ||
	    in->op == OP_OUT || in->op == OP_INS || in->op == OP_OUTS ||
	    in->op == OP_CLI || in->op == OP_STI || in->op == OP_RET ||
	    in->op == OP_JMPI || in->op == OP_INT3 || in->op == OP_INT1 ||
	    in->op == OP_POPF || in->op == OP_LEAVE)
		worst = 16;
	for (unsigned i = 0; i < in->nopnd; i++) {
		const struct opnd *o = &in->o[i];

		if (o->kind == OPND_GPR && o->access & OPND_W &&
		    (GEN_POINTERS | 1u << X86_RSP) >> o->reg & 1)
			worst = 16;
	}
	return worst;
}

static int is_moffs(const struct insn *in)
{
	return in->op == OP_MOV && !in->has_modrm &&
	       (in->o[0].kind == OPND_MEM || in->o[1].kind == OPND_MEM);
}

static void take(struct rng *r, const struct diff_forms *fs, int compat,
		 struct gen_insn *g)
{
	for (;;) {
		const struct diff_form *f = &fs->f[rnd_below(r, fs->n)];
		int wild = one_in(r, 32);

		if (f->compat != compat || f->excluded || !suits(&f->in))
			continue;
		if (wild ? gen_insn(r, f, g) : gen_plain_insn(r, f, g))
			continue;
		if (is_branch(&g->in) && g->in.osize == 2)
			continue;
		if (is_string(&g->in) && g->in.asize != (compat ? 4 : 8))
			continue;
		if (is_moffs(&g->in) || !one_in(r, rarity(&g->in)))
			continue;
		return;
	}
}

/* --- making ------------------------------------------------------------- */

static void define_flags(struct rng *r, struct gen_insn *g, int compat)
{
	memset(g, 0, sizeof(*g));
	g->bytes[0] = 0x39; /* cmp */
	g->bytes[1] = (uint8_t)(0xc0 | (rnd(r) & 0x3f));
	decode(g->bytes, DECODE_MAX, compat ? DECODE_32 : DECODE_64, &g->in);
	g->len = g->in.len;
}

static void set_pointers(struct rng *r, struct diff_case *c)
{
	int faulty = one_in(r, 2);

	for (unsigned i = 0; i < 16; i++) {
		if (!(GEN_POINTERS >> i & 1))
			continue;
		c->in.gpr[i] = faulty ? gen_target(r, 16, c->compat) :
			       DIFF_DATA + 0x400 + 16 * rnd_below(r, 32);
	}
	c->in.gpr[X86_RSP] = DIFF_DATA + 0x900;
	if (one_in(r, 40)) {
		c->stepping = 1;
		c->in.rflags |= RFLAGS_TF;
	}
	if (!one_in(r, 4))
		c->in.gpr[X86_RCX] = rnd_below(r, 24);
	if (one_in(r, 2)) /* the rest should often come to its end */
		c->in.rflags &= ~(uint64_t)RFLAGS_AC;
}

void block_make(struct diff_block *b, struct diff_case *c,
		const struct diff_forms *fs, uint64_t seed)
{
	struct rng r = { seed * 0x9e3779b97f4a7c15ull };
	unsigned n = 1 + rnd_below(&r, BLOCK_MAX);

	c->compat = one_in(&r, 4);
	gen_state(&r, c);
	set_pointers(&r, c);
	c->code_at = DIFF_CODE + (one_in(&r, 4) ? 0xf00 + rnd_below(&r, 0x100) :
						  rnd_below(&r, 0x800));
	b->n = 0;
	while (n--) {
		struct gen_insn *g = &b->i[b->n].g;

		take(&r, fs, c->compat, g);
		b->i[b->n].target = b->n + 1 + rnd_below(&r, 3);
		b->n++;
		if (diff_undefined_flags(&g->in))
			define_flags(&r, &b->i[b->n++].g, c->compat);
	}
}

void block_put(struct diff_block *b, struct diff_case *c)
{
	uint32_t at = c->code_at, end;

	for (unsigned k = 0; k < b->n; k++) {
		b->i[k].at = at;
		at += b->i[k].g.len;
	}
	end = at;
	for (unsigned k = 0; k < b->n; k++) {
		struct block_insn *i = &b->i[k];
		uint8_t *to = c->code + (i->at - c->code_at);
		uint32_t target = i->target < b->n ? b->i[i->target].at : end;
		int32_t rel = (int32_t)(target - (i->at + i->g.len));

		memcpy(to, i->g.bytes, i->g.len);
		/* at most three instructions of 15 bytes: one byte does */
		if (is_branch(&i->g.in))
			memcpy(to + i->g.imm_at, &rel, i->g.imm_len);
	}
	c->code_len = end - c->code_at;
}

void block_remove(struct diff_block *b, unsigned k)
{
	memmove(&b->i[k], &b->i[k + 1], (b->n - k - 1) * sizeof(b->i[0]));
	b->n--;
	for (unsigned i = 0; i < b->n; i++)
		if (b->i[i].target > k)
			b->i[i].target--;
}

/* --- checking ----------------------------------------------------------- */

const char *block_check(const struct diff_block *b, const struct diff_case *c)
{
	uint64_t at = c->soft.vec == DIFF_END ? c->host.s.rip : c->soft.s.rip;
	const struct insn *fault = NULL;
	int loads = 0;

	for (unsigned k = 0; k < b->n; k++) {
		const struct insn *in = &b->i[k].g.in;

		if (b->i[k].at == at)
			fault = in;
		if (in->op == OP_X87_ENV || in->op == OP_FXRSTOR ||
		    (in->op == OP_X87 && in->opcode == 0xd9 &&
		     (in->modrm >> 3 & 7) == 5 && in->modrm < 0xc0))
			loads = 1;
	}
	return diff_check_block(c, fault, loads);
}
