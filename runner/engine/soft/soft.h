/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft: the engine object, shared by the parts of the soft engine.
 *
 * One vCPU. The vCPU thread owns everything but what is marked `any thread`.
 */
#ifndef MAYFLY_SOFT_SOFT_H
#define MAYFLY_SOFT_SOFT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/cpu.h"

struct code_cache;
struct ioapic;
struct native;
struct xlate;

#define SOFT_IOEVENTS 64
#define SOFT_LAPIC_BASE 0xfee00000ull
#define SOFT_IOAPIC_BASE 0xfec00000ull

struct soft_ioevent {
	uint64_t gpa;
	uint32_t match;
	int fd;
};

struct soft {
	struct gmem *gm;
	const struct engine_bus *bus;
	struct cpu *cpu;	   /* owned */
	struct ioapic *ioapic;	   /* owned; its functions: any thread */
	struct code_cache *code;   /* owned */
	struct native *native;	   /* owned: executable thunks */
	struct xlate *xlate;	   /* owned: executable blocks */
	struct cpuid_leaf cpuid[CPUID_LEAVES_MAX];
	unsigned ncpuid;
	struct soft_ioevent ioevent[SOFT_IOEVENTS];
	unsigned nioevents;
	uint64_t pa_reserved;	   /* page entry bits 51:12 above MAXPHYADDR */
	_Atomic uint32_t sleeping; /* the vCPU is (about to be) on the futex */
	_Atomic uint32_t wake;	   /* any thread: futex a halted vCPU waits on */
};

/* Zeroed pages that are not there until they are touched; munmap() is the
 * caller's. NULL without memory. */
void *soft_reserve(size_t size);

/* Any thread: end a HLT early; the vCPU looks at cpu->attention. */
void soft_wake(struct soft *s);

/* vCPU thread: an access outside RAM, one of 1, 2, 4, 8 bytes: local APIC,
 * IOAPIC, ioeventfd or the VMM's bus. */
void soft_mmio(struct cpu *cpu, uint64_t gpa, void *data, unsigned len,
	       int write);

/* The CPUID leaf, or zeros (SDM 2A CPUID: a basic leaf above the maximum
 * answers like the highest basic leaf). */
void soft_cpuid(const struct soft *s, uint32_t leaf, uint32_t subleaf,
		struct cpuid_leaf *out);
/* A feature of the table, e.g. leaf 1 ECX bit 23. */
int soft_has(const struct soft *s, uint32_t leaf, char reg, unsigned bit);

#endif
