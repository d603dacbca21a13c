/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu: guest virtual memory, SDM 3A chapter 4.
 *
 * A direct-mapped TLB per mode (kernel and user, each with RFLAGS.AC too)
 * turns a virtual address into a host pointer with one compare; everything
 * else is the slow path: page walk with accessed and dirty bits, faults,
 * accesses that cross a page, MMIO, #AC, pages with a data breakpoint, and
 * writes to pages that hold decoded code (their write tag is never set, so
 * that each store comes by here).
 *
 * All functions may raise (longjmp) and are for the vCPU thread. An access
 * of MMIO reaches the local APIC, the IOAPIC or the VMM's bus.
 */
#ifndef MAYFLY_SOFT_MMU_H
#define MAYFLY_SOFT_MMU_H

#include <string.h>

#include "runner/engine/soft/cpu.h"

/* SDM 1 3.3.7.1, with 48-bit linear addresses. */
static inline int mmu_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* Where an operand goes on: linear addresses outside 64-bit code have 32 bits,
 * and what reaches beyond 4 GiB is back at 0. */
static inline uint64_t mmu_wrap(const struct cpu *cpu, uint64_t va)
{
	return cpu->code64 ? va : (uint32_t)va;
}

/* Slow paths; @size 1, 2, 4, 8. */
uint64_t mmu_load_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size);
void mmu_store_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		    uint64_t v, unsigned size);

static inline struct tlb_entry *mmu_entry(struct cpu *cpu, uint64_t va)
{
	return &cpu->tlb[(va >> 12) & (TLB_SIZE - 1)];
}

/* The last byte's page is what is compared: an access that crosses into the
 * next page cannot match, because that page has another index. */
#define MMU_ACCESSORS(bits)                                                   \
static inline uint##bits##_t mmu_load##bits(struct cpu *cpu,                  \
					    const struct uop *op, uint64_t va)\
{                                                                             \
	const struct tlb_entry *e = mmu_entry(cpu, va);                       \
	uint##bits##_t v;                                                     \
                                                                              \
	if (__builtin_expect(e->rd == ((va + bits / 8 - 1) & PAGE_MASK), 1)) {\
		memcpy(&v, (const void *)(uintptr_t)(va + e->addend),         \
		       sizeof(v));                                            \
		return v;                                                     \
	}                                                                     \
	return (uint##bits##_t)mmu_load_slow(cpu, op, va, bits / 8);          \
}                                                                             \
static inline void mmu_store##bits(struct cpu *cpu, const struct uop *op,     \
				   uint64_t va, uint##bits##_t v)             \
{                                                                             \
	const struct tlb_entry *e = mmu_entry(cpu, va);                       \
                                                                              \
	if (__builtin_expect(e->wr == ((va + bits / 8 - 1) & PAGE_MASK), 1))  \
		memcpy((void *)(uintptr_t)(va + e->addend), &v, sizeof(v));   \
	else                                                                  \
		mmu_store_slow(cpu, op, va, v, bits / 8);                     \
}
MMU_ACCESSORS(8)
MMU_ACCESSORS(16)
MMU_ACCESSORS(32)
MMU_ACCESSORS(64)
#undef MMU_ACCESSORS

/* The same where the size is a variable: 1, 2, 4 or 8 bytes. */
static inline uint64_t mmu_load(struct cpu *cpu, const struct uop *op,
				uint64_t va, unsigned size)
{
	switch (size) {
	case 1:
		return mmu_load8(cpu, op, va);
	case 2:
		return mmu_load16(cpu, op, va);
	case 4:
		return mmu_load32(cpu, op, va);
	default:
		return mmu_load64(cpu, op, va);
	}
}

static inline void mmu_store(struct cpu *cpu, const struct uop *op,
			     uint64_t va, uint64_t v, unsigned size)
{
	switch (size) {
	case 1:
		mmu_store8(cpu, op, va, (uint8_t)v);
		break;
	case 2:
		mmu_store16(cpu, op, va, (uint16_t)v);
		break;
	case 4:
		mmu_store32(cpu, op, va, (uint32_t)v);
		break;
	default:
		mmu_store64(cpu, op, va, v);
	}
}

/*
 * A host pointer for a read-modify-write of @size bytes, or NULL when there
 * is none (MMIO, page crossing): then load, compute and store, which is what
 * real hardware's bus lock would make atomic. Faults are raised as a write's.
 * On a page with decoded code, that code is dropped first.
 */
void *mmu_rmw_slow(struct cpu *cpu, const struct uop *op, uint64_t va,
		   unsigned size);
static inline void *mmu_rmw(struct cpu *cpu, const struct uop *op, uint64_t va,
			    unsigned size)
{
	const struct tlb_entry *e = mmu_entry(cpu, va);

	if (__builtin_expect(e->wr == ((va + size - 1) & PAGE_MASK), 1))
		return (void *)(uintptr_t)(va + e->addend);
	return mmu_rmw_slow(cpu, op, va, size);
}

/*
 * A host pointer for reading (or writing) @len bytes from va to at most the
 * end of its page, or NULL for MMIO and for pages with decoded code. Raises
 * when the access faults. For string instructions and vector operands.
 */
const void *mmu_read_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
			 unsigned len);
void *mmu_write_ptr(struct cpu *cpu, const struct uop *op, uint64_t va,
		    unsigned len);

/* Any length and alignment, faults before the first byte is stored. */
void mmu_read(struct cpu *cpu, const struct uop *op, uint64_t va, void *buf,
	      unsigned len);
void mmu_write(struct cpu *cpu, const struct uop *op, uint64_t va,
	       const void *buf, unsigned len);
/* #AC where alignment is checked and @va is no multiple of @size, a power of
 * two. All but mmu_probe_write() do that themselves. */
void mmu_check_aligned(struct cpu *cpu, const struct uop *op, uint64_t va,
		       unsigned size);
/* Raise what a write of @len bytes would raise, and store nothing. */
void mmu_probe_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		     unsigned len);

/*
 * Accesses with supervisor rights whatever the CPL (SDM 3A 4.6.1: implicit
 * supervisor-mode accesses): descriptor tables, TSS, interrupt stacks of a
 * lower CPL. cpu->rip must be right; @op may be NULL.
 */
void mmu_sys_read(struct cpu *cpu, const struct uop *op, uint64_t va,
		  void *buf, unsigned len);
void mmu_sys_write(struct cpu *cpu, const struct uop *op, uint64_t va,
		   const void *buf, unsigned len);

/* Instruction fetch: guest physical address of va's page and its host
 * pointer (NULL: not RAM). Raises #PF with the I bit. */
uint64_t mmu_fetch_page(struct cpu *cpu, uint64_t va, const uint8_t **host);

/* Everything, or all but global pages (a CR3 write). What the jump and fetch
 * caches know by address goes with it. */
void mmu_flush(struct cpu *cpu);
void mmu_flush_local(struct cpu *cpu);
/* The caches by address only, of kernel (0) or user (1) code. */
void mmu_forget_fetches(struct cpu *cpu, int user);
void mmu_flush_page(struct cpu *cpu, uint64_t va);
/* Forget write tags of a page that now holds decoded code. */
void mmu_protect_code(struct cpu *cpu, uint64_t gpa);

#endif
