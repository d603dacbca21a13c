/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of decoded code, and what makes it forget. */
#include "runner/engine/soft/block.h"

#include <string.h>
#include <sys/mman.h>

#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/mmu.h"
#include "runner/engine/soft/native.h"
#include "runner/engine/soft/soft.h"
#include "runner/engine/soft/xlate.h"

#define ARENA_SIZE (20u << 20)
#define HASH_BITS  15
#define BLOCK_MAX  (sizeof(struct block) + \
		    BLOCK_UOPS * (sizeof(struct uop) + XLATE_UOP))
#define HASH_SIZE  (1u << HASH_BITS)

/*
 * `mark` is what other threads read: a byte a page, set before the page's
 * bytes are decoded. A device stores its bytes, then looks at the mark;
 * the vCPU sets the mark, then reads the bytes; a full fence between on both
 * sides, so that at least one of them sees the other.
 */
struct code_cache {
	uint64_t npages;
	_Atomic uint8_t *mark;		/* CODE_*, a byte a page */
	struct block **pages;		/* blocks of a page */
	_Atomic uint32_t noted;		/* some page has CODE_WRITTEN */
	size_t used;			/* of the arena */
	int watched;			/* breakpoints on code are armed */
	uint8_t *arena;
	struct block *hash[HASH_SIZE];
	struct block *one;		/* block_get(cpu, 1): in `one_room` */
	_Alignas(64) uint8_t one_room[sizeof(struct block) +
				      (EMIT_MAX + 2) * sizeof(struct uop)];
};

#define CODE_HERE    1
#define CODE_WRITTEN 2

struct code_cache *code_new(uint64_t ram_top)
{
	struct code_cache *c = soft_reserve(sizeof(*c));

	if (!c)
		return NULL;
	c->npages = ram_top / PAGE_SIZE;
	c->mark = soft_reserve(c->npages);
	c->pages = soft_reserve(c->npages * sizeof(*c->pages));
	c->arena = soft_reserve(ARENA_SIZE);
	c->one = (struct block *)c->one_room;
	if (!c->mark || !c->pages || !c->arena) {
		code_free(c);
		return NULL;
	}
	return c;
}

void code_free(struct code_cache *c)
{
	if (!c)
		return;
	if (c->mark)
		munmap((void *)c->mark, c->npages);
	if (c->pages)
		munmap(c->pages, c->npages * sizeof(*c->pages));
	if (c->arena)
		munmap(c->arena, ARENA_SIZE);
	munmap(c, sizeof(*c));
}

static unsigned hash_key(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> (64 - HASH_BITS));
}

static uint64_t make_key(const struct cpu *cpu, uint64_t gpa)
{
	return gpa | (uint64_t)(cpu->code64 << 1 | cpu->code32) << 60;
}

/* What a dropped block runs: whoever still knows its address is sent to look
 * it up. So dropping needs no search through the jump cache. */
static const struct uop *op_dead(struct cpu *cpu, const struct uop *op)
{
	(void)op;
	LEAVE(cpu, cpu->r[SLOT_RIP]);
}

int code_page_test(const struct code_cache *c, uint64_t gpa)
{
	uint64_t n = gpa / PAGE_SIZE;

	return n < c->npages &&
	       atomic_load_explicit(&c->mark[n], memory_order_relaxed) != 0;
}

static void unhash(struct code_cache *c, struct block *b)
{
	struct block **p = &c->hash[hash_key(b->key)];

	while (*p && *p != b)
		p = &(*p)->hash_next;
	if (*p)
		*p = b->hash_next;
}

static struct block **next_in_page(struct block *b, uint64_t page)
{
	return &b->page_next[(BLOCK_GPA(b) / PAGE_SIZE) != page];
}

static void unlist(struct code_cache *c, struct block *b, uint64_t page)
{
	struct block **p = &c->pages[page];

	while (*p && *p != b)
		p = next_in_page(*p, page);
	if (*p)
		*p = *next_in_page(b, page);
}

void code_drop_page(struct cpu *cpu, uint64_t gpa)
{
	struct code_cache *c = cpu->vm->code;
	uint64_t page = gpa / PAGE_SIZE;
	struct block *b, *next;

	if (page >= c->npages)
		return;
	atomic_store(&c->mark[page], 0);
	for (b = c->pages[page]; b; b = next) {
		next = *next_in_page(b, page);
		b->dead = 1;
		b->uops[0].fn = op_dead;
		xlate_drop(cpu->vm->xlate, b);
		unhash(c, b);
		if (b->gpa2 != BLOCK_NONE) {
			uint64_t first = BLOCK_GPA(b) / PAGE_SIZE;
			uint64_t other = first == page ? b->gpa2 / PAGE_SIZE :
							 first;

			unlist(c, b, other);
		}
	}
	if (c->pages[page])
		xlate_dropped();
	c->pages[page] = NULL;
}

void code_note_write(struct code_cache *c, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa / PAGE_SIZE, last;

	if (!len || gpa + len < gpa)
		return;
	last = (gpa + len - 1) / PAGE_SIZE;
	atomic_thread_fence(memory_order_seq_cst);
	for (uint64_t n = first; n <= last && n < c->npages; n++) {
		uint8_t here = CODE_HERE;

		if (!atomic_load_explicit(&c->mark[n], memory_order_relaxed))
			continue;
		/* a page dropped meanwhile stays unmarked: a mark that the
		 * vCPU did not set would stand for protection not there */
		atomic_compare_exchange_strong(&c->mark[n], &here,
					       CODE_HERE | CODE_WRITTEN);
		atomic_store(&c->noted, 1);
	}
}

int code_noted(const struct code_cache *c)
{
	return atomic_load_explicit(&c->noted, memory_order_acquire) != 0;
}

void code_drop_noted(struct cpu *cpu)
{
	struct code_cache *c = cpu->vm->code;

	if (!atomic_exchange(&c->noted, 0))
		return;
	for (uint64_t n = 0; n < c->npages; n++)
		if (atomic_load_explicit(&c->mark[n], memory_order_relaxed) &
		    CODE_WRITTEN)
			code_drop_page(cpu, n * PAGE_SIZE);
}

/* The arena is full: start over. Only between blocks. */
static void code_reset(struct cpu *cpu)
{
	struct code_cache *c = cpu->vm->code;

	for (unsigned i = 0; i < HASH_SIZE; i++) {
		for (struct block *b = c->hash[i]; b; b = b->hash_next) {
			uint64_t n = BLOCK_GPA(b) / PAGE_SIZE;

			c->pages[n] = NULL;
			atomic_store(&c->mark[n], 0);
			if (b->gpa2 == BLOCK_NONE)
				continue;
			c->pages[b->gpa2 / PAGE_SIZE] = NULL;
			atomic_store(&c->mark[b->gpa2 / PAGE_SIZE], 0);
		}
		c->hash[i] = NULL;
	}
	c->used = 0;
	cpu->cur = NULL;
	native_reset(cpu->vm->native);
	xlate_reset(cpu->vm->xlate);
	mmu_forget_fetches(cpu, 0);
	mmu_forget_fetches(cpu, 1);
}

/* Set the mark before the bytes are read: see struct code_cache. */
static void mark_page(struct cpu *cpu, uint64_t gpa)
{
	struct code_cache *c = cpu->vm->code;
	uint64_t n = gpa / PAGE_SIZE;

	if (atomic_load_explicit(&c->mark[n], memory_order_relaxed))
		return;
	atomic_store(&c->mark[n], CODE_HERE);
	atomic_thread_fence(memory_order_seq_cst);
	mmu_protect_code(cpu, gpa);
}

/* The end of a block that did not branch. */
static const struct uop *op_fall(struct cpu *cpu, const struct uop *op)
{
	return block_next(cpu, cpu->r[SLOT_RIP] + op->imm);
}

static const struct uop *op_fall32(struct cpu *cpu, const struct uop *op)
{
	return block_next(cpu, (uint32_t)(cpu->r[SLOT_RIP] + op->imm));
}

static enum decode_mode decode_mode(const struct cpu *cpu)
{
	return cpu->code64 ? DECODE_64 : cpu->code32 ? DECODE_32 : DECODE_16;
}

static uint64_t fetch_va(const struct cpu *cpu)
{
	return cpu->code64 ? cpu->rip :
	       (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

static uint64_t second_page(const struct cpu *cpu)
{
	return mmu_wrap(cpu, (fetch_va(cpu) & PAGE_MASK) + PAGE_SIZE);
}

/* The instruction whose bytes end in the next page. */
static enum decode_result decode_crossing(struct cpu *cpu, struct block *b,
					  const uint8_t *p, unsigned avail,
					  struct insn *in)
{
	uint8_t bytes[DECODE_MAX];
	const uint8_t *host2;
	uint64_t gpa2;

	gpa2 = mmu_fetch_page(cpu, second_page(cpu), &host2);
	if (!host2)
		return DECODE_SHORT;
	mark_page(cpu, gpa2);
	b->gpa2 = gpa2;
	memcpy(bytes, p, avail);
	memcpy(bytes + avail, host2, DECODE_MAX - avail);
	return decode(bytes, DECODE_MAX, decode_mode(cpu), in);
}

/* Bytes from cpu->rip to the code segment's end (SDM 3A 5.3). */
static uint64_t code_room(const struct cpu *cpu)
{
	uint64_t limit = cpu->seg[X86_CS].limit;

	if (cpu->code64)
		return UINT64_MAX;
	return cpu->rip > limit ? 0 : limit - cpu->rip + 1;
}

/* Decode from @p (@avail bytes up to its page's end), no more than @room
 * bytes; the number of uops. */
static unsigned fill_block(struct cpu *cpu, struct block *b, const uint8_t *p,
			   unsigned avail, uint64_t room, unsigned max)
{
	struct emitter e = { .uops = b->uops, .cpu = cpu };
	struct uop *end;

	if (room < avail)
		avail = (unsigned)room;
	while (b->ninsns < max && !e.ends) {
		struct insn in;
		enum decode_result r = decode(p + e.off, avail - e.off,
					      decode_mode(cpu), &in);

		if (r == DECODE_SHORT && b->ninsns)
			break;
		if (r == DECODE_SHORT && room > avail)
			r = decode_crossing(cpu, b, p, avail, &in);
		e.len = r == DECODE_OK ? in.len : 0;
		if (r == DECODE_OK && in.len <= room) {
			emit_insn(&e, &in);
			e.ends |= !!(in.attr & INSN_ENDS);
		} else {
			emit_raise(&e, EXC_GP);
			e.ends = 1;
		}
		b->ninsns++;
		e.off = (uint16_t)(e.off + e.len);
		if (b->gpa2 != BLOCK_NONE)
			break;
	}
	/* a branch never gets here; all else falls through */
	end = emit_uop(&e, cpu->code64 ? op_fall : op_fall32);
	end->imm = e.off;
	b->bytes = e.off;
	return e.n;
}

static const struct block *block_one(struct cpu *cpu, const uint8_t *host,
				     unsigned off)
{
	struct block *b = cpu->vm->code->one;

	memset(b, 0, sizeof(*b));
	b->key = BLOCK_NONE; /* in no page: a store next to it is no harm */
	b->gpa2 = BLOCK_NONE;
	fill_block(cpu, b, host + off, PAGE_SIZE - off, code_room(cpu), 1);
	b->gpa2 = BLOCK_NONE;
	return b;
}

static struct block *block_make(struct cpu *cpu, uint64_t gpa, uint64_t key,
				const uint8_t *host)
{
	struct code_cache *c = cpu->vm->code;
	unsigned off = (unsigned)(gpa & ~PAGE_MASK);
	struct block *b, **head;
	unsigned n;

	mark_page(cpu, gpa);
	b = (struct block *)(c->arena + c->used);
	memset(b, 0, sizeof(*b));
	b->key = key;
	b->gpa2 = BLOCK_NONE;
	/* a fetch fault in the second page leaves here: nothing is linked */
	n = fill_block(cpu, b, host + off, PAGE_SIZE - off, UINT64_MAX,
		       BLOCK_INSNS);
	b->nuops = (uint16_t)n;
	c->used += sizeof(*b) + n * sizeof(struct uop) +
		   ((n * XLATE_UOP + 7) & ~7u);
	xlate_block(cpu->vm->xlate, b);

	head = &c->hash[hash_key(key)];
	b->hash_next = *head;
	*head = b;
	head = &c->pages[gpa / PAGE_SIZE];
	b->page_next[0] = *head;
	*head = b;
	/* both halves may be one physical page, mapped twice */
	if (b->gpa2 != BLOCK_NONE && b->gpa2 / PAGE_SIZE != gpa / PAGE_SIZE) {
		head = &c->pages[b->gpa2 / PAGE_SIZE];
		b->page_next[1] = *head;
		*head = b;
	}
	return b;
}

/* A block that crosses is right only while the next page is where it was. */
static int second_page_same(struct cpu *cpu, const struct block *b)
{
	const uint8_t *host;

	return b->gpa2 == BLOCK_NONE ||
	       mmu_fetch_page(cpu, second_page(cpu), &host) == b->gpa2;
}

/* SDM 3B 18.3.1.1: a fault before the instruction, even before its fetch. */
static void check_breakpoint(struct cpu *cpu, uint64_t va)
{
	unsigned bits = debug_code(cpu, va, va);

	if (bits && !cpu->rf && cpu->shadow != SHADOW_SS)
		cpu_raise_err(cpu, NULL, EXC_DB, bits);
}

static _Noreturn void no_code(struct cpu *cpu, uint64_t gpa)
{
	/* what a bus answers where nobody is: FF FF is undefined */
	if (cpu->cpl == 3)
		cpu_raise(cpu, NULL, EXC_UD);
	cpu_fail(cpu, NULL, "code outside RAM at %#llx",
		 (unsigned long long)gpa);
}

const struct block *block_beside(struct cpu *cpu, const struct block *b,
				 uint64_t gpa)
{
	uint64_t key = b->key - BLOCK_GPA(b) + gpa;
	const struct block *o = cpu->vm->code->hash[hash_key(key)];

	while (o && o->key != key)
		o = o->hash_next;
	return o && o->gpa2 == BLOCK_NONE ? o : NULL;
}

const struct block *block_get(struct cpu *cpu, int one)
{
	struct code_cache *c = cpu->vm->code;
	uint64_t va = fetch_va(cpu), gpa, key;
	struct jump_entry *j;
	const uint8_t *host;
	struct block *b;

	if (__builtin_expect(cpu->armed & BREAK_EXEC, 0))
		check_breakpoint(cpu, va);
	/* blocks that jump to each other ask nobody */
	if (__builtin_expect(cpu->armed & BREAK_EXEC & ~c->watched, 0))
		code_reset(cpu);
	c->watched = cpu->armed & BREAK_EXEC;
	gpa = mmu_fetch_page(cpu, va, &host) | (va & ~PAGE_MASK);
	if (!host)
		no_code(cpu, gpa);
	if (ARENA_SIZE - c->used < BLOCK_MAX ||
	    native_full(cpu->vm->native) || xlate_full(cpu->vm->xlate))
		code_reset(cpu);
	/* near the segment's end, where a block might reach past it */
	if (one || code_room(cpu) < 2 * PAGE_SIZE)
		return block_one(cpu, host, (unsigned)(va & ~PAGE_MASK));

	key = make_key(cpu, gpa);
	for (b = c->hash[hash_key(key)]; b; b = b->hash_next)
		if (b->key == key && second_page_same(cpu, b))
			break;
	if (!b)
		b = block_make(cpu, gpa, key, host);
	if (__builtin_expect(cpu->armed & BREAK_EXEC, 0) &&
	    debug_code(cpu, va, va + (b->bytes ? b->bytes - 1 : 0)))
		return block_one(cpu, host, (unsigned)(va & ~PAGE_MASK));
	j = jump_entry(cpu, cpu->rip);
	j->rip = cpu->rip;
	j->tag = cpu->jc_tag;
	j->block = b;
	j->code = b->code;
	return b;
}

void block_templates(struct xlate_table *t)
{
	xlate_add(t, op_fall, X_FALL, 3, 0);
}
