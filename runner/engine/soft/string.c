/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions (SDM 1 7.3.9): MOVS STOS LODS CMPS SCAS INS OUTS.
 *
 * Repeated forms go in steps: a step does one element, or as many as lie
 * within one page on each side, and then puts RCX, RSI and RDI right, so
 * that a fault, an interrupt or a kick between two steps finds the exact
 * state and the instruction starts again from there.
 */
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/sys.h"

/*
 * A string uop: aux is the element size and these flags, imm the mask of the
 * address size, r1 the source's segment.
 */
#define STR_SIZE  0x0fu
#define STR_REP	  0x10u /* F3: REP, REPE */
#define STR_REPNE 0x20u /* F2 */

/* A step counts as an instruction against the budget, and so do these. */
#define BYTES_PER_INSN 64u

/* --- registers ------------------------------------------------------------ */

static unsigned elem_size(const struct uop *op)
{
	return op->aux & STR_SIZE;
}

static int repeated(const struct uop *op)
{
	return op->aux & (STR_REP | STR_REPNE);
}

/* A 32-bit register is zero-extended, a 16-bit one is merged. */
static void set_index(struct cpu *cpu, const struct uop *op, unsigned reg,
		      uint64_t v)
{
	if (op->imm == 0xffff)
		R16(cpu, SLOT_OFF(reg)) = (uint16_t)v;
	else
		cpu->r[reg] = v & op->imm;
}

static void advance(struct cpu *cpu, const struct uop *op, unsigned reg,
		    uint64_t elems)
{
	uint64_t by = elems * elem_size(op);

	set_index(cpu, op, reg,
		  cpu->rflags & RFLAGS_DF ? cpu->r[reg] - by :
					    cpu->r[reg] + by);
}

/* Outside 64-bit code segments have limits, and linear addresses 32 bits. */
static uint64_t linear(struct cpu *cpu, const struct uop *op, unsigned seg,
		       uint64_t off, unsigned access)
{
	uint64_t va = off + cpu->r[SLOT_SEG + seg];

	if (cpu->code64)
		return va;
	seg_check(cpu, op, seg, (uint32_t)off, elem_size(op), access);
	return (uint32_t)va;
}

static uint64_t source(struct cpu *cpu, const struct uop *op)
{
	return linear(cpu, op, op->r1, cpu->r[X86_RSI] & op->imm, ROOM_READ);
}

static uint64_t dest(struct cpu *cpu, const struct uop *op, unsigned access)
{
	return linear(cpu, op, X86_ES, cpu->r[X86_RDI] & op->imm, access);
}

static uint64_t count(const struct cpu *cpu, const struct uop *op)
{
	return cpu->r[X86_RCX] & op->imm;
}

static void count_down(struct cpu *cpu, const struct uop *op, uint64_t elems)
{
	set_index(cpu, op, X86_RCX, cpu->r[X86_RCX] - elems);
	cpu->budget -= 1 + (int32_t)(elems * elem_size(op) / BYTES_PER_INSN);
}

/*
 * No round at all: Intel's processors clear the upper half of RCX where 67
 * makes ECX the counter, and that of the pointers that MOVS and STOS write.
 */
static void no_rounds(struct cpu *cpu, const struct uop *op, unsigned regs)
{
	if (op->imm != 0xffffffff)
		return;
	for (unsigned n = 0; n < 16; n++)
		if (regs >> n & 1)
			cpu->r[n] = (uint32_t)cpu->r[n];
}
#define JUST_RCX (1u << X86_RCX)
#define RCX_RDI	 (JUST_RCX | 1u << X86_RDI)
#define AND_RSI	 (RCX_RDI | 1u << X86_RSI)

/* More to do, but not now. */
#define AGAIN(cpu, op)                                                  \
	do {                                                            \
		(cpu)->partial = 1;                                     \
		LEAVE(cpu, uop_rip(cpu, op));                           \
	} while (0)

/* After a step with more to do: may another follow at once? */
static int go_on(const struct cpu *cpu)
{
	return cpu->budget > 0 && !(cpu->rflags & RFLAGS_TF) && !cpu->hits &&
	       !atomic_load_explicit(&cpu->attention, memory_order_acquire);
}

/* --- elements ------------------------------------------------------------- */

static uint64_t load(struct cpu *cpu, const struct uop *op, uint64_t va)
{
	return mmu_load(cpu, op, va, elem_size(op));
}

static void store(struct cpu *cpu, const struct uop *op, uint64_t va,
		  uint64_t v)
{
	mmu_store(cpu, op, va, v, elem_size(op));
}

static uint64_t accumulator(const struct cpu *cpu, const struct uop *op)
{
	unsigned size = elem_size(op);

	return size == 8 ? cpu->r[X86_RAX] :
			   cpu->r[X86_RAX] & ((1ull << size * 8) - 1);
}

static void set_accumulator(struct cpu *cpu, const struct uop *op, uint64_t v)
{
	switch (elem_size(op)) {
	case 1:
		R8(cpu, SLOT_OFF(X86_RAX)) = (uint8_t)v;
		break;
	case 2:
		R16(cpu, SLOT_OFF(X86_RAX)) = (uint16_t)v;
		break;
	default:
		cpu->r[X86_RAX] = v;
	}
}

/* Elements from @va to its page's end, at most @n. None where the address runs
 * downwards or may wrap on the way: then they go one by one. */
static uint64_t in_page(const struct cpu *cpu, const struct uop *op,
			uint64_t va, uint64_t n)
{
	uint64_t room = (PAGE_SIZE - (va & ~PAGE_MASK)) / elem_size(op);

	if (cpu->rflags & (RFLAGS_DF | RFLAGS_TF) || op->imm != ~0ull)
		return 0;
	return n < room ? n : room;
}

/* --- MOVS ------------------------------------------------------------------ */

/*
 * What an upward element-wise copy gives. With the destination a little above
 * the source, it repeats the first bytes; else it is memmove().
 */
static void copy_up(uint8_t *to, const uint8_t *from, uint64_t len,
		    unsigned size)
{
	uint64_t gap = (uint64_t)(uintptr_t)to - (uint64_t)(uintptr_t)from;

	if (gap == 0 || gap >= len) {
		memmove(to, from, len);
		return;
	}
	for (uint64_t i = 0; i < len; i += size) {
		uint64_t v;

		memcpy(&v, from + i, size);
		memcpy(to + i, &v, size);
	}
}

static uint64_t movs_step(struct cpu *cpu, const struct uop *op, uint64_t n)
{
	uint64_t from = source(cpu, op), to = dest(cpu, op, ROOM_WRITE);
	uint64_t chunk = in_page(cpu, op, to, in_page(cpu, op, from, n));
	unsigned len = (unsigned)chunk * elem_size(op);
	const void *src;
	void *dst;

	if (chunk > 1) {
		src = mmu_read_ptr(cpu, op, from, len);
		dst = mmu_write_ptr(cpu, op, to, len);
		if (src && dst) {
			copy_up(dst, src, len, elem_size(op));
			return chunk;
		}
	}
	store(cpu, op, to, load(cpu, op, from));
	return 1;
}

/* --- STOS ------------------------------------------------------------------ */

static void fill(uint8_t *to, uint64_t v, uint64_t len, unsigned size)
{
	if (v == (v & 0xff) * (~0ull / 255 >> (64 - size * 8))) {
		memset(to, (int)(v & 0xff), len);
		return;
	}
	for (uint64_t i = 0; i < len; i += size)
		memcpy(to + i, &v, size);
}

static uint64_t stos_step(struct cpu *cpu, const struct uop *op, uint64_t n)
{
	uint64_t to = dest(cpu, op, ROOM_WRITE);
	uint64_t chunk = in_page(cpu, op, to, n);
	unsigned len = (unsigned)chunk * elem_size(op);
	void *dst;

	if (chunk > 1) {
		dst = mmu_write_ptr(cpu, op, to, len);
		if (dst) {
			fill(dst, accumulator(cpu, op), len, elem_size(op));
			return chunk;
		}
	}
	store(cpu, op, to, accumulator(cpu, op));
	return 1;
}

/* --- handlers --------------------------------------------------------------- */

/* MOVS, STOS: @indexes are the registers that move. */
#define COPYING(name, step, src)                                        \
static const struct uop *name(struct cpu *cpu, const struct uop *op)    \
{                                                                       \
	uint64_t n = repeated(op) ? count(cpu, op) : 1, done;           \
                                                                        \
	if (!n)                                                         \
		no_rounds(cpu, op, src ? AND_RSI : RCX_RDI);            \
	while (n) {                                                     \
		done = step(cpu, op, n);                                \
		if (src)                                                \
			advance(cpu, op, X86_RSI, done);                \
		advance(cpu, op, X86_RDI, done);                        \
		if (!repeated(op))                                      \
			break;                                          \
		count_down(cpu, op, done);                              \
		n -= done;                                              \
		if (n && !go_on(cpu))                                   \
			AGAIN(cpu, op);                                 \
	}                                                               \
	NEXT(cpu, op);                                                  \
}
COPYING(op_movs, movs_step, 1)
COPYING(op_stos, stos_step, 0)

static const struct uop *op_lods(struct cpu *cpu, const struct uop *op)
{
	uint64_t n = repeated(op) ? count(cpu, op) : 1;

	if (!n)
		no_rounds(cpu, op, JUST_RCX);
	while (n) {
		set_accumulator(cpu, op, load(cpu, op, source(cpu, op)));
		advance(cpu, op, X86_RSI, 1);
		if (!repeated(op))
			break;
		count_down(cpu, op, 1);
		if (--n && !go_on(cpu))
			AGAIN(cpu, op);
	}
	NEXT(cpu, op);
}

/* The flags of a - b, as the host sets them. */
static uint32_t compare(const struct uop *op, uint64_t a, uint64_t b)
{
	uint32_t fl;

#define CMP(sfx, mod)                                                       \
	__asm__("cmp" sfx " %" mod "2, %" mod "1\n\tlahf\n\tseto %%al"      \
		: "=&a"(fl) : "q"(a), "q"(b) : "cc")
	switch (elem_size(op)) {
	case 1:
		CMP("b", "b");
		break;
	case 2:
		CMP("w", "w");
		break;
	case 4:
		CMP("l", "k");
		break;
	default:
		CMP("q", "q");
	}
#undef CMP
	return fl & 0xffff;
}

/* REPE goes on while equal, REPNE while not (SDM 2B REP). */
static int condition_holds(const struct uop *op, uint32_t fl)
{
	return !!(fl & FL_ZF) == !(op->aux & STR_REPNE);
}

/*
 * CMPS, SCAS: @with is what the destination is compared with, and is read
 * after it, as processors do. A fault or a trap in between finds the flags as
 * they were before the instruction (SDM 2B REP).
 */
#define COMPARING(name, with, src)                                      \
static const struct uop *name(struct cpu *cpu, const struct uop *op)    \
{                                                                       \
	uint64_t n = repeated(op) ? count(cpu, op) : 1;                 \
	uint32_t fl = cpu->fl;                                          \
                                                                        \
	if (!n)                                                         \
		no_rounds(cpu, op, JUST_RCX);                           \
	while (n) {                                                     \
		uint64_t b = load(cpu, op, dest(cpu, op, ROOM_READ));   \
                                                                        \
		fl = compare(op, with, b);                              \
		if (src)                                                \
			advance(cpu, op, X86_RSI, 1);                   \
		advance(cpu, op, X86_RDI, 1);                           \
		if (!repeated(op))                                      \
			break;                                          \
		count_down(cpu, op, 1);                                 \
		if (!condition_holds(op, fl))                           \
			break;                                          \
		if (--n && !go_on(cpu))                                 \
			AGAIN(cpu, op);                                 \
	}                                                               \
	cpu->fl = fl;                                                   \
	NEXT(cpu, op);                                                  \
}
COMPARING(op_cmps, load(cpu, op, source(cpu, op)), 1)
COMPARING(op_scas, accumulator(cpu, op), 0)

/* --- ports -------------------------------------------------------------------- */

static uint16_t port(const struct cpu *cpu)
{
	return R16(cpu, SLOT_OFF(X86_RDX));
}

static void ins_element(struct cpu *cpu, const struct uop *op)
{
	uint64_t to = dest(cpu, op, ROOM_WRITE);

	/* a fault must come before the port is read: reading has effects */
	mmu_probe_write(cpu, op, to, elem_size(op));
	store(cpu, op, to, pio_in(cpu, port(cpu), elem_size(op)));
	advance(cpu, op, X86_RDI, 1);
}

static void outs_element(struct cpu *cpu, const struct uop *op)
{
	uint64_t v = load(cpu, op, source(cpu, op));

	pio_out(cpu, port(cpu), elem_size(op), (uint32_t)v);
	advance(cpu, op, X86_RSI, 1);
}

#define PORT(name, element)                                             \
static const struct uop *name(struct cpu *cpu, const struct uop *op)    \
{                                                                       \
	uint64_t n = repeated(op) ? count(cpu, op) : 1;                 \
                                                                        \
	/* even where none is transferred */                            \
	pio_check(cpu, op, port(cpu), elem_size(op));                   \
	if (!n)                                                         \
		no_rounds(cpu, op, JUST_RCX);                           \
	while (n) {                                                     \
		element(cpu, op);                                       \
		if (!repeated(op))                                      \
			break;                                          \
		count_down(cpu, op, 1);                                 \
		if (--n && !go_on(cpu))                                 \
			AGAIN(cpu, op);                                 \
	}                                                               \
	NEXT(cpu, op);                                                  \
}
PORT(op_ins, ins_element)
PORT(op_outs, outs_element)

/* --- emission --------------------------------------------------------------- */

static uop_fn handler(unsigned op)
{
	switch (op) {
	case OP_MOVS:
		return op_movs;
	case OP_STOS:
		return op_stos;
	case OP_LODS:
		return op_lods;
	case OP_CMPS:
		return op_cmps;
	case OP_SCAS:
		return op_scas;
	case OP_INS:
		return op_ins;
	case OP_OUTS:
		return op_outs;
	default:
		return NULL;
	}
}

int emit_string(struct emitter *e, const struct insn *in)
{
	uop_fn fn = handler(in->op);
	unsigned size = in->osize;
	struct uop *u;

	if (!fn)
		return 0;
	if ((in->op == OP_INS || in->op == OP_OUTS) && size == 8)
		size = 4; /* REX.W does not make a port wider */
	u = emit_uop(e, fn);
	u->aux = (uint8_t)(size | (in->pfx & PFX_REP ? STR_REP : 0) |
			   (in->pfx & PFX_REPNE ? STR_REPNE : 0));
	u->imm = in->asize == 8 ? ~0ull : in->asize == 4 ? 0xffffffffu :
							   0xffffu;
	u->r1 = in->pfx & PFX_SEG ? in->seg : X86_DS;
	return 1;
}
