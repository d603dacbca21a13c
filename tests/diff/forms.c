/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder's tables as a list of forms. */
#include "tests/diff/forms.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/decode_table.h"

/* --- what is not run on the host ---------------------------------------- */

static const struct {
	uint16_t op;
	const char *why;
} reasons[] = {
	{ OP_RDTSC, "time: no two readings are the same" },
	{ OP_RDTSCP, "time: no two readings are the same" },
	{ OP_CPUID, "the guest's CPUID is not the host's" },
	{ OP_RDPMC, "CR4.PCE is the host kernel's choice" },
	{ OP_SYSCALL, "enters the host's kernel" },
	{ OP_SYSENTER, "enters the host's kernel; SEP is not in our CPUID" },
	{ OP_SYSEXIT, "SEP is not in our CPUID" },
	{ OP_SGDT, "UMIP: the host's kernel emulates it" },
	{ OP_SIDT, "UMIP: the host's kernel emulates it" },
	{ OP_SMSW, "UMIP: the host's kernel emulates it" },
	{ OP_SLDT, "UMIP is the host kernel's choice" },
	{ OP_STR, "UMIP is the host kernel's choice" },
};

static const char *excluded(const struct diff_form *f)
{
	const struct insn *in = &f->in;

	for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].op == in->op)
			return reasons[i].why;
	if (in->op == OP_NOP && f->map == 1 && f->opcode != 0x1f &&
	    f->opcode != 0x0d && f->opcode != 0x18)
		return "reserved NOP: MPX, CET, CLDEMOTE on newer hosts";
	return NULL;
}

/* --- encoding ----------------------------------------------------------- */

unsigned diff_form_encode(const struct diff_form *f, uint8_t rex,
			  uint8_t bytes[8], unsigned *modrm_at)
{
	uint8_t *p = bytes;

	if (f->lock)
		*p++ = 0xf0;
	if (f->osz)
		*p++ = 0x66;
	if (f->prefix)
		*p++ = f->prefix;
	rex |= f->rexw ? REX_W : 0;
	if (rex && !f->compat)
		*p++ = 0x40 | (rex & 15);
	if (f->map)
		*p++ = 0x0f;
	if (f->map > 1)
		*p++ = f->map == 2 ? 0x38 : 0x3a;
	*p++ = f->opcode;
	*modrm_at = (unsigned)(p - bytes);
	return *modrm_at;
}

/* --- the walk ----------------------------------------------------------- */

static void *must(void *p)
{
	if (!p) {
		perror("differential test");
		exit(2);
	}
	return p;
}

/* What makes two encodings the same form. */
static int same(const struct diff_form *a, const struct diff_form *b)
{
	const struct insn *x = &a->in, *y = &b->in;

	if (x->op != y->op || x->mand != y->mand || x->nopnd != y->nopnd ||
	    x->attr != y->attr || a->rm_kind != b->rm_kind ||
	    a->lock != b->lock || a->reg != b->reg || a->rm != b->rm)
		return 0;
	if (x->op != OP_SIMD && x->op != OP_X87 && x->osize != y->osize)
		return 0;
	if (x->op >= OP_MOVS && x->op <= OP_OUTS &&
	    (x->pfx ^ y->pfx) & (PFX_REP | PFX_REPNE))
		return 0;
	for (unsigned i = 0; i < x->nopnd; i++)
		if (x->o[i].kind != y->o[i].kind ||
		    x->o[i].size != y->o[i].size)
			return 0;
	return 1;
}

static void name(struct diff_form *f, const uint8_t *bytes)
{
	ZydisDisassembledInstruction z;
	char code[40] = "", *p = code;
	ZyanStatus ok;

	p += sprintf(p, "%s ", f->compat ? "32" : "64");
	if (f->lock)
		p += sprintf(p, "f0 ");
	if (f->osz)
		p += sprintf(p, "66 ");
	if (f->prefix)
		p += sprintf(p, "%02x ", f->prefix);
	if (f->rexw)
		p += sprintf(p, "W ");
	if (f->map)
		p += sprintf(p, "0f ");
	if (f->map > 1)
		p += sprintf(p, "%s ", f->map == 2 ? "38" : "3a");
	p += sprintf(p, "%02x", f->opcode);
	if (f->reg >= 0)
		p += sprintf(p, " /%d", f->reg);
	if (f->rm >= 0)
		p += sprintf(p, ".%d", f->rm);
	if (f->rm_kind != FORM_ANY)
		p += sprintf(p, f->rm_kind == FORM_REG ? " reg" : " mem");
	ok = ZydisDisassembleIntel(
		f->compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
			    ZYDIS_MACHINE_MODE_LONG_64,
		DECODE_MAX, bytes, DECODE_MAX, &z);
	snprintf(f->name, sizeof(f->name), "%-24s %.38s", code,
		 ZYAN_SUCCESS(ok) ? z.text : "?");
}

static int same_opcode(const struct diff_form *a, const struct diff_form *b)
{
	return a->compat == b->compat && a->map == b->map &&
	       a->opcode == b->opcode;
}

/* Add what these bytes are unless it is undefined or there already. */
static void add(struct diff_forms *fs, struct diff_form *f)
{
	uint8_t bytes[32] = { 0 };
	unsigned at, n = diff_form_encode(f, 0, bytes, &at);

	/* ModRM, or an immediate */
	bytes[n] = (uint8_t)((f->rm_kind == FORM_REG ? 0xc0 : 0) |
			     (f->reg < 0 ? 1 : f->reg) << 3 |
			     (f->rm < 0 ? 3 : f->rm));
	if (decode(bytes, DECODE_MAX, f->compat ? DECODE_32 : DECODE_64,
		   &f->in) != DECODE_OK || f->in.op == OP_UD ||
	    f->in.map != f->map || f->in.opcode != f->opcode)
		return; /* 40-4f are REX in 64-bit mode */
	if (f->in.rm_opnd == REG_NONE && !f->in.has_modrm)
		f->rm_kind = FORM_ANY;
	for (unsigned i = fs->n; i-- && same_opcode(&fs->f[i], f);)
		if (same(&fs->f[i], f))
			return;
	if ((fs->n & (fs->n - 1)) == 0)
		fs->f = must(realloc(fs->f, (fs->n ? fs->n * 2 : 1) *
						    sizeof(*fs->f)));
	name(f, bytes);
	f->excluded = excluded(f);
	fs->f[fs->n++] = *f;
}

/* A leaf of the tables, with what has been chosen on the way. */
static void leaf(struct diff_forms *fs, struct diff_form at,
		 const struct form *t)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };

	if (t->op == OP_UD)
		return;
	for (unsigned i = 0; i < 64; i++) {
		struct diff_form f = at;

		f.prefix = prefix[i & 3];
		f.osz = i >> 2 & 1 && f.prefix != 0x66;
		f.rexw = i >> 3 & 1;
		f.lock = i >> 4 & 1;
		f.rm_kind = i >> 5 & 1 ? FORM_MEM : FORM_REG;
		if (f.compat && f.rexw)
			continue;
		if (at.rm_kind != FORM_ANY && f.rm_kind != at.rm_kind)
			continue;
		/* REP and REPNE choose, or mean something to strings */
		if ((f.prefix & 0xf0) == 0xf0 && !(t->flags & FORM_PFX) &&
		    !(t->op >= OP_MOVS && t->op <= OP_OUTS) &&
		    f.opcode != 0x90)
			continue;
		if (f.osz && t->flags & FORM_PFX && !(t->flags & FORM_OSZ))
			continue;
		/* where ModRM.rm chooses, each value is a form */
		if (t->rm && f.rm < 0 && f.rm_kind == FORM_REG) {
			for (f.rm = 0; f.rm < 8; f.rm++)
				if (t->rm >> f.rm & 1)
					add(fs, &f);
			continue;
		}
		add(fs, &f);
	}
}

static void walk(struct diff_forms *fs, struct diff_form at,
		 const struct form *t)
{
	switch (t->op) {
	case SUB_REG:
		for (at.reg = 0; at.reg < 8; at.reg++)
			walk(fs, at, &t->sub[at.reg]);
		break;
	case SUB_RM:
		at.rm_kind = FORM_REG;
		for (at.rm = 0; at.rm < 8; at.rm++)
			walk(fs, at, &t->sub[at.rm]);
		break;
	case SUB_MOD:
		at.rm_kind = FORM_MEM;
		walk(fs, at, &t->sub[0]);
		at.rm_kind = FORM_REG;
		walk(fs, at, &t->sub[1]);
		break;
	case SUB_MODE:
		walk(fs, at, &t->sub[at.compat]);
		break;
	case SUB_PFX: /* leaf() tries them all, and the decoder chooses */
	case SUB_W:
		for (unsigned i = 0; i < (t->op == SUB_W ? 2u : 4u); i++)
			if (t->sub[i].op != OP_UD)
				walk(fs, at, &t->sub[i]);
		break;
	default:
		leaf(fs, at, t);
	}
}

void diff_forms_init(struct diff_forms *fs)
{
	static const struct form *const maps[4] = {
		form_map0, form_0f, form_0f38, form_0f3a,
	};

	memset(fs, 0, sizeof(*fs));
	for (unsigned i = 0; i < 2 * 4 * 256; i++) {
		unsigned map = i >> 8 & 3, op = i & 255;
		struct diff_form at = {
			.compat = (uint8_t)(i >> 10), .map = (uint8_t)map,
			.opcode = (uint8_t)op, .reg = -1, .rm = -1,
		};

		if ((map == 0 && op == 0x0f) ||
		    (map == 1 && (op == 0x38 || op == 0x3a)))
			continue;
		walk(fs, at, &maps[map][op]);
	}
}

void diff_forms_free(struct diff_forms *fs)
{
	free(fs->f);
	memset(fs, 0, sizeof(*fs));
}
