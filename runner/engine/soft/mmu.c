/* SPDX-License-Identifier: Apache-2.0 */
/* Guest virtual memory: page walks, the TLB and its slow paths. */
#include "runner/engine/soft/mmu.h"

#include "runner/engine/soft/block.h"
#include "runner/engine/soft/debug.h"
#include "runner/engine/soft/soft.h"
#include "runner/vmm/gmem.h"

/* Page table entries, SDM 3A table 4-15 ff. */
#define PTE_P	  0x1ull
#define PTE_W	  0x2ull
#define PTE_U	  0x4ull
#define PTE_A	  0x20ull
#define PTE_D	  0x40ull
#define PTE_PS	  0x80ull
#define PTE_G	  0x100ull
#define PTE_NX	  (1ull << 63)
#define PTE_ADDR  0x000ffffffffff000ull

/* #PF error code, SDM 3A 4.7. */
#define PF_P	0x1u
#define PF_W	0x2u
#define PF_U	0x4u
#define PF_RSVD 0x8u
#define PF_I	0x10u

enum access { ACC_READ, ACC_WRITE, ACC_FETCH };

struct walk {
	uint64_t gpa;	 /* of the byte */
	uint64_t size;	 /* of the page mapped */
	int writable;	 /* a write in this mode needs no further check */
	int global;
};

/* Is @user access (or supervisor access with @smap in force) allowed by the
 * combined rights of the walk? */
static int permitted(const struct cpu *cpu, uint64_t rights, uint64_t nx,
		     enum access acc, int user, int smap)
{
	if (user) {
		if (!(rights & PTE_U))
			return 0;
	} else if (rights & PTE_U) {
		if (acc == ACC_FETCH && (cpu->cr4 & CR4_SMEP))
			return 0;
		if (acc != ACC_FETCH && smap)
			return 0;
	}
	if (acc == ACC_FETCH)
		return !nx;
	if (acc == ACC_WRITE)
		return (rights & PTE_W) || (!user && !(cpu->cr0 & CR0_WP));
	return 1;
}

static uint64_t *entry_ptr(const struct cpu *cpu, uint64_t gpa)
{
	return gmem_ptr(cpu->vm->gm, gpa, 8);
}

/* Walk the tables. 0, or the #PF error code (never 0: bit 31 stands for an
 * empty one). Sets accessed and dirty bits on success only. */
static uint32_t walk(struct cpu *cpu, uint64_t va, enum access acc, int user,
		     int smap, struct walk *w)
{
	uint32_t err = (acc == ACC_WRITE ? PF_W : 0) | (user ? PF_U : 0) |
		       (acc == ACC_FETCH && (cpu->efer & EFER_NXE ||
					     cpu->cr4 & CR4_SMEP) ? PF_I : 0);
	uint64_t reserved = cpu->vm->pa_reserved |
			    (cpu->efer & EFER_NXE ? 0 : PTE_NX);
	uint64_t table = cpu->cr3 & PTE_ADDR, rights = PTE_W | PTE_U, nx = 0;
	uint64_t *path[4];
	uint64_t pte = 0;
	int shift, level = 0;

	if (!(cpu->cr0 & CR0_PG)) {
		w->gpa = va & 0xffffffff;
		w->size = PAGE_SIZE;
		w->writable = 1;
		w->global = 0;
		return 0;
	}
	for (shift = 39; ; shift -= 9, level++) {
		path[level] = entry_ptr(cpu, table + ((va >> shift) & 511) * 8);
		pte = path[level] ? *path[level] : 0;
		if (!(pte & PTE_P))
			return err | 1u << 31;
		if (pte & reserved || (shift == 39 && pte & PTE_PS))
			return err | PF_P | PF_RSVD;
		rights &= pte;
		nx |= pte & PTE_NX;
		if (shift == 12)
			break;
		if (shift <= 30 && pte & PTE_PS) {
			/* bits below the page must be 0, but for PAT (12) */
			if (pte & ((1ull << shift) - 1) & PTE_ADDR &
			    ~0x1000ull)
				return err | PF_P | PF_RSVD;
			break;
		}
		table = pte & PTE_ADDR;
	}
	if (!permitted(cpu, rights, nx, acc, user, smap))
		return err | PF_P;

	for (int i = 0; i < level; i++)
		if (!(*path[i] & PTE_A))
			*path[i] |= PTE_A;
	pte |= PTE_A | (acc == ACC_WRITE ? PTE_D : 0);
	if (*path[level] != pte)
		*path[level] = pte;
	w->size = 1ull << shift;
	w->gpa = (pte & PTE_ADDR & ~(w->size - 1)) | (va & (w->size - 1));
	w->global = pte & PTE_G && cpu->cr4 & CR4_PGE;
	w->writable = (pte & PTE_D) &&
		      permitted(cpu, rights, nx, ACC_WRITE, user, smap);
	return 0;
}

static _Noreturn void raise_noncanonical(struct cpu *cpu, const struct uop *op)
{
	/* SDM 1 3.3.7.1: stack references raise #SS */
	int stack = op && op->seg == SLOT_OFF(SLOT_ZERO) &&
		    (op->base == SLOT_OFF(X86_RSP) ||
		     op->base == SLOT_OFF(X86_RBP));

	cpu_raise_err(cpu, op, stack ? EXC_SS : EXC_GP, 0);
}

static void note_large(struct cpu *cpu, uint64_t va, uint64_t size)
{
	uint64_t lo = va & ~(size - 1), hi = lo + (size - 1);

	if (cpu->large_lo > cpu->large_hi) {
		cpu->large_lo = lo;
		cpu->large_hi = hi;
		return;
	}
	if (lo < cpu->large_lo)
		cpu->large_lo = lo;
	if (hi > cpu->large_hi)
		cpu->large_hi = hi;
}

/* Does each access to va's page have to come by here? */
static int watched(const struct cpu *cpu, uint64_t va)
{
	return __builtin_expect(cpu->armed & BREAK_DATA, 0) &&
	       debug_watches_page(cpu, va);
}

static void note_access(struct cpu *cpu, const struct uop *op, uint64_t va,
			unsigned len, int write)
{
	if (__builtin_expect(cpu->armed & BREAK_DATA, 0) && op)
		debug_access(cpu, op, va, len, write);
}

/* A device is about to be read, which must not happen twice: an instruction
 * that may hit a breakpoint afterwards starts again now. */
static void before_device_read(struct cpu *cpu, const struct uop *op)
{
	if (__builtin_expect(cpu->armed & BREAK_DATA, 0) && op)
		debug_run_alone(cpu, op);
}

static void note_filled(struct cpu *cpu, unsigned i, int global)
{
	uint64_t bit = 1ull << (i & 63);

	cpu->tlb_filled[cpu->mode][0][i / 64] |= bit;
	if (!global)
		cpu->tlb_filled[cpu->mode][1][i / 64] |= bit;
}

static void tlb_fill(struct cpu *cpu, uint64_t va, const struct walk *w,
		     uint8_t *page)
{
	struct tlb_entry *e = mmu_entry(cpu, va);
	uint64_t tag = va & PAGE_MASK;

	if (cpu->mode == TLB_USER_AC || watched(cpu, va))
		return;
	e->rd = tag;
	e->wr = w->writable && !code_page_test(cpu->vm->code, w->gpa) ?
		tag : TLB_NONE;
	e->addend = (uint64_t)(uintptr_t)page - tag;
	e->kind = (w->size > PAGE_SIZE ? TLB_LARGE : 0) |
		  (w->global ? TLB_GLOBAL : 0);
	cpu->tlb_used |= 1u << cpu->mode;
	note_filled(cpu, (unsigned)(e - cpu->tlb), w->global);
	if (e->kind & TLB_LARGE)
		note_large(cpu, va, w->size);
}

/*
 * Translate one byte for the present mode, fill the TLB, return the host
 * pointer or NULL where there is no RAM; *gpa always. Raises.
 */
static uint8_t *translate(struct cpu *cpu, const struct uop *op, uint64_t va,
			  enum access acc, uint64_t *gpa)
{
	struct walk w;
	uint32_t err;
	uint8_t *page;

	if (!mmu_canonical(va))
		raise_noncanonical(cpu, op);
	err = walk(cpu, va, acc, cpu->mode >= TLB_USER,
		   cpu->mode == TLB_KERNEL && cpu->cr4 & CR4_SMAP, &w);
	if (err)
		cpu_raise_pf(cpu, op, va, err & ~(1u << 31));
	*gpa = w.gpa;
	page = gmem_ptr(cpu->vm->gm, w.gpa & PAGE_MASK, PAGE_SIZE);
	if (!page)
		return NULL;
	tlb_fill(cpu, va, &w, page);
	return page + (w.gpa & ~PAGE_MASK);
}

/* About to store into this page: decoded code in it goes. When the running
 * block is among it, start the instruction again as a block of its own. */
static void before_store(struct cpu *cpu, const struct uop *op, uint64_t gpa)
{
	const struct block *b = cpu->cur;
	int running;

	if (!code_page_test(cpu->vm->code, gpa))
		return;
	running = op && b && !b->dead && block_in_page(b, gpa);
	code_drop_page(cpu, gpa);
	if (running) {
		cpu->rip = uop_rip(cpu, op);
		cpu->step_once = 1;
		longjmp(cpu->jmp, 1);
	}
}

/*
 * SDM 3A 6.15, #AC: user code, CR0.AM and RFLAGS.AC. As Intel's processors
 * do, it comes before a page fault and after a bad address.
 */
void mmu_check_aligned(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size)
{
	if (cpu->mode != TLB_USER_AC || !(va & (size - 1)))
		return;
	if (!mmu_canonical(va))
		raise_noncanonical(cpu, op);
	cpu_raise_err(cpu, op, EXC_AC, 0);
}

/* SDM 3A table 6-7, by size: x87's 10 bytes ask for 8, its environments for
 * 2 or 4; 16 bytes that need not be aligned ask for nothing. */
static void check_operand(struct cpu *cpu, const struct uop *op, uint64_t va,
			  unsigned len)
{
	unsigned size = len == 10 ? 8 : len == 14 || len == 94 ? 2 :
			len == 28 || len == 108 ? 4 :
			len <= 8 && !(len & (len - 1)) ? len : 1;

	if (__builtin_expect(cpu->mode == TLB_USER_AC, 0) && op)
		mmu_check_aligned(cpu, op, va, size);
}

static int crosses(uint64_t va, unsigned size)
{
	return (va & ~PAGE_MASK) + size > PAGE_SIZE;
}

/* An operand that begins at a good address and ends at a bad one: that comes
 * before a fault of its first page. x87's environments go in pieces. */
static void check_span(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned len)
{
	int pieces = len == 14 || len == 28 || len == 94 || len == 108;

	if (len == 10)
		len = 8; /* the mantissa, then the exponent */
	if (!pieces && crosses(va, len) && mmu_canonical(va) &&
	    !mmu_canonical(va + len - 1))
		raise_noncanonical(cpu, op);
}

uint64_t mmu_load_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size)
{
	uint64_t v = 0, gpa;
	uint8_t *p;

	mmu_check_aligned(cpu, op, va, size);
	if (crosses(va, size)) {
		mmu_read(cpu, op, va, &v, size);
		return v;
	}
	p = translate(cpu, op, va, ACC_READ, &gpa);
	note_access(cpu, op, va, size, 0);
	if (p) {
		memcpy(&v, p, size);
	} else {
		before_device_read(cpu, op);
		soft_mmio(cpu, gpa, &v, size, 0);
	}
	return v;
}

void mmu_store_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		    uint64_t v, unsigned size)
{
	uint64_t gpa;
	uint8_t *p;

	mmu_check_aligned(cpu, op, va, size);
	if (crosses(va, size)) {
		mmu_write(cpu, op, va, &v, size);
		return;
	}
	p = translate(cpu, op, va, ACC_WRITE, &gpa);
	note_access(cpu, op, va, size, 1);
	if (!p) {
		soft_mmio(cpu, gpa, &v, size, 1);
		return;
	}
	before_store(cpu, op, gpa);
	memcpy(p, &v, size);
}

void *mmu_rmw_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		   unsigned size)
{
	uint64_t gpa;
	uint8_t *p;

	mmu_check_aligned(cpu, op, va, size);
	if (crosses(va, size)) {
		mmu_probe_write(cpu, op, va, size);
		return NULL;
	}
	p = translate(cpu, op, va, ACC_WRITE, &gpa);
	note_access(cpu, op, va, size, 1);
	if (p)
		before_store(cpu, op, gpa);
	return p;
}

const void *mmu_read_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
			 unsigned len)
{
	const struct tlb_entry *e = mmu_entry(cpu, va);
	uint64_t gpa;

	if (e->rd == ((va + len - 1) & PAGE_MASK))
		return (const void *)(uintptr_t)(va + e->addend);
	if (crosses(va, len) || cpu->mode == TLB_USER_AC || watched(cpu, va))
		return NULL;
	return translate(cpu, op, va, ACC_READ, &gpa);
}

void *mmu_write_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
		    unsigned len)
{
	const struct tlb_entry *e = mmu_entry(cpu, va);
	uint64_t gpa;
	uint8_t *p;

	if (e->wr == ((va + len - 1) & PAGE_MASK))
		return (void *)(uintptr_t)(va + e->addend);
	if (crosses(va, len) || cpu->mode == TLB_USER_AC || watched(cpu, va))
		return NULL;
	p = translate(cpu, op, va, ACC_WRITE, &gpa);
	return p && !code_page_test(cpu->vm->code, gpa) ? p : NULL;
}

/* MMIO takes naturally aligned pieces of at most 8 bytes. */
static unsigned piece(uint64_t gpa, unsigned len)
{
	unsigned n = 8;

	while (n > len || gpa & (n - 1))
		n /= 2;
	return n;
}

static void mmio_run(struct cpu *cpu, uint64_t gpa, uint8_t *buf, unsigned len,
		     int write)
{
	while (len) {
		unsigned n = piece(gpa, len);

		soft_mmio(cpu, gpa, buf, n, write);
		gpa += n;
		buf += n;
		len -= n;
	}
}

static unsigned in_page(uint64_t va, unsigned len)
{
	unsigned room = PAGE_SIZE - (unsigned)(va & ~PAGE_MASK);

	return len < room ? len : room;
}

/* The tables that accesses without an instruction read lie anywhere. */
static uint64_t next_va(const struct cpu *cpu, const struct uop *op,
			uint64_t va)
{
	return op ? mmu_wrap(cpu, va) : va;
}

void mmu_read(struct cpu *cpu, const struct uop *op, uint64_t va, void *buf,
	      unsigned len)
{
	uint8_t *out = buf;
	uint64_t gpa;

	check_operand(cpu, op, va, len);
	check_span(cpu, op, va, len);
	note_access(cpu, op, va, len, 0);
	while (len) {
		unsigned n = in_page(va, len);
		uint8_t *p = translate(cpu, op, va, ACC_READ, &gpa);

		if (p) {
			memcpy(out, p, n);
		} else {
			before_device_read(cpu, op);
			mmio_run(cpu, gpa, out, n, 0);
		}
		va = next_va(cpu, op, va + n);
		out += n;
		len -= n;
	}
}

void mmu_probe_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		     unsigned len)
{
	uint64_t gpa;

	check_span(cpu, op, va, len);
	note_access(cpu, op, va, len, 1);
	while (len) {
		unsigned n = in_page(va, len);

		if (translate(cpu, op, va, ACC_WRITE, &gpa))
			before_store(cpu, op, gpa);
		va = next_va(cpu, op, va + n);
		len -= n;
	}
}

void mmu_write(struct cpu *cpu, const struct uop *op, uint64_t va,
	       const void *buf, unsigned len)
{
	const uint8_t *in = buf;
	uint64_t gpa;

	check_operand(cpu, op, va, len);
	/* every page faults, and drops its code, before the first byte */
	mmu_probe_write(cpu, op, va, len);
	while (len) {
		unsigned n = in_page(va, len);
		uint8_t *p = translate(cpu, op, va, ACC_WRITE, &gpa);

		if (p)
			memcpy(p, in, n);
		else
			mmio_run(cpu, gpa, (uint8_t *)(uintptr_t)in, n, 1);
		va = next_va(cpu, op, va + n);
		in += n;
		len -= n;
	}
}

/* Supervisor rights whatever the CPL: borrow the kernel's TLB. SMAP does not
 * care for AC here (SDM 3A 4.6.1). */
struct borrowed {
	uint32_t mode;
};

static struct borrowed borrow_kernel(struct cpu *cpu)
{
	struct borrowed b = { cpu->mode };

	cpu->mode = TLB_KERNEL;
	cpu->tlb = cpu->tlbs[TLB_KERNEL];
	return b;
}

static void give_back(struct cpu *cpu, struct borrowed b)
{
	cpu->mode = b.mode;
	cpu->tlb = cpu->tlbs[b.mode];
}

/*
 * A fault in here must not leave the borrowed mode behind: it is found by a
 * walk first, raised in the CPU's own mode, and only then accessed.
 */
static void sys_check(struct cpu *cpu, const struct uop *op, uint64_t va,
		      unsigned len, enum access acc)
{
	while (len) {
		unsigned n = in_page(va, len);
		struct walk w;
		uint32_t err;

		if (!mmu_canonical(va))
			cpu_raise_err(cpu, op, EXC_GP, 0);
		err = walk(cpu, va, acc, 0, !!(cpu->cr4 & CR4_SMAP), &w);
		if (err)
			cpu_raise_pf(cpu, op, va, err & ~(1u << 31));
		va += n;
		len -= n;
	}
}

static const struct tlb_entry *kernel_entry(const struct cpu *cpu, uint64_t va)
{
	return &cpu->tlbs[TLB_KERNEL][(va >> 12) & (TLB_SIZE - 1)];
}

void mmu_sys_read(struct cpu *cpu, const struct uop *op, uint64_t va,
		  void *buf, unsigned len)
{
	const struct tlb_entry *e = kernel_entry(cpu, va);
	struct borrowed b;

	if (e->rd == ((va + len - 1) & PAGE_MASK)) {
		memcpy(buf, (const void *)(uintptr_t)(va + e->addend), len);
		return;
	}
	sys_check(cpu, op, va, len, ACC_READ);
	b = borrow_kernel(cpu);
	mmu_read(cpu, NULL, va, buf, len);
	give_back(cpu, b);
}

void mmu_sys_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		   const void *buf, unsigned len)
{
	const struct tlb_entry *e = kernel_entry(cpu, va);
	struct borrowed b;

	if (e->wr == ((va + len - 1) & PAGE_MASK)) {
		memcpy((void *)(uintptr_t)(va + e->addend), buf, len);
		return;
	}
	sys_check(cpu, op, va, len, ACC_WRITE);
	b = borrow_kernel(cpu);
	mmu_write(cpu, NULL, va, buf, len);
	give_back(cpu, b);
}

static unsigned fetched_bit(uint64_t va)
{
	return (unsigned)((va >> 12) ^ (va >> 23)) & (FETCHED_BITS - 1);
}

uint64_t mmu_fetch_page(struct cpu *cpu, uint64_t va, const uint8_t **host)
{
	struct fetch_entry *f = &cpu->itlb[(va >> 12) & (ITLB_SIZE - 1)];
	struct walk w;
	uint32_t err;
	unsigned bit;

	if (f->page == (va & PAGE_MASK) && f->tag == cpu->jc_tag) {
		*host = f->host;
		return f->gpa;
	}
	if (!mmu_canonical(va))
		cpu_raise_err(cpu, NULL, EXC_GP, 0);
	err = walk(cpu, va, ACC_FETCH, cpu->mode >= TLB_USER, 0, &w);
	if (err)
		cpu_raise_pf(cpu, NULL, va, err & ~(1u << 31));
	if (w.size > PAGE_SIZE)
		note_large(cpu, va, w.size);
	if (!w.global && cpu->mode < TLB_USER)
		cpu->kernel_local = 1;
	bit = fetched_bit(va);
	cpu->fetched[cpu->mode >= TLB_USER][bit / 64] |= 1ull << bit % 64;
	f->page = va & PAGE_MASK;
	f->tag = cpu->jc_tag;
	f->gpa = w.gpa & PAGE_MASK;
	f->host = gmem_ptr(cpu->vm->gm, f->gpa, PAGE_SIZE);
	*host = f->host;
	return f->gpa;
}

/* What is known by address of user or kernel code is looked up anew. */
void mmu_forget_fetches(struct cpu *cpu, int user)
{
	memset(cpu->fetched[user], 0, sizeof(cpu->fetched[user]));
	if (user) {
		cpu->gen_user++;
	} else {
		cpu->gen_kernel++;
		cpu->kernel_local = 0;
	}
	cpu->jc_tag = cpu_make_tag(cpu);
}

/* The entry of the lowest bit in word @w of a map of filled ones. */
static struct tlb_entry *next_filled(struct cpu *cpu, int mode, unsigned w,
				     uint64_t map)
{
	return &cpu->tlbs[mode][w * 64 + (unsigned)__builtin_ctzll(map)];
}

/* Drop all entries that lack the kind @keep: TLB_GLOBAL, or 0, every one. */
static void flush_entries(struct cpu *cpu, uint64_t keep)
{
	for (int m = 0; m < TLB_MODES; m++) {
		uint64_t *map = cpu->tlb_filled[m][keep != 0];

		if (!(cpu->tlb_used & 1u << m))
			continue;
		for (unsigned w = 0; w < TLB_SIZE / 64; w++) {
			for (; map[w]; map[w] &= map[w] - 1) {
				struct tlb_entry *e = next_filled(cpu, m, w,
								  map[w]);

				if (!(e->kind & keep))
					e->rd = e->wr = TLB_NONE;
			}
		}
	}
}

void mmu_flush(struct cpu *cpu)
{
	flush_entries(cpu, 0);
	cpu->tlb_used = 0;
	cpu->large_lo = 1;
	cpu->large_hi = 0;
	mmu_forget_fetches(cpu, 0);
	mmu_forget_fetches(cpu, 1);
}

void mmu_flush_local(struct cpu *cpu)
{
	flush_entries(cpu, TLB_GLOBAL);
	if (cpu->kernel_local)
		mmu_forget_fetches(cpu, 0);
	mmu_forget_fetches(cpu, 1);
}

/* A block may reach from the page before into this one. */
static int was_fetched(const struct cpu *cpu, int user, uint64_t va)
{
	unsigned a = fetched_bit(va), b = fetched_bit(va - PAGE_SIZE);

	return cpu->fetched[user][a / 64] >> a % 64 & 1 ||
	       cpu->fetched[user][b / 64] >> b % 64 & 1;
}

void mmu_flush_page(struct cpu *cpu, uint64_t va)
{
	unsigned i = (va >> 12) & (TLB_SIZE - 1);

	if (va >= cpu->large_lo && va <= cpu->large_hi) {
		mmu_flush(cpu);
		return;
	}
	for (int m = 0; m < TLB_MODES; m++)
		cpu->tlbs[m][i].rd = cpu->tlbs[m][i].wr = TLB_NONE;
	for (int user = 0; user < 2; user++)
		if (was_fetched(cpu, user, va))
			mmu_forget_fetches(cpu, user);
}

void mmu_protect_code(struct cpu *cpu, uint64_t gpa)
{
	uint64_t host = (uint64_t)(uintptr_t)gmem_ptr(cpu->vm->gm,
						      gpa & PAGE_MASK,
						      PAGE_SIZE);

	for (int m = 0; m < TLB_MODES; m++) {
		if (!(cpu->tlb_used & 1u << m))
			continue;
		for (unsigned w = 0; w < TLB_SIZE / 64; w++) {
			uint64_t map = cpu->tlb_filled[m][0][w];

			for (; map; map &= map - 1) {
				struct tlb_entry *e = next_filled(cpu, m, w,
								  map);

				if (e->wr != TLB_NONE &&
				    e->wr + e->addend == host)
					e->wr = TLB_NONE;
			}
		}
	}
}
