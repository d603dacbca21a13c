/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: what runs guest instructions.
 *
 * One ops table, two implementations: `kvm` (hardware) and `soft` (our own
 * x86-64 CPU). An engine owns the vCPUs, the local APICs and the IOAPIC; all
 * other devices are the VMM's and are reached through struct engine_bus.
 *
 * Life cycle, in order:
 *	create()		 main thread; guest memory is there already
 *	set_state(), ioeventfd() main thread, before any vCPU runs
 *	run(cpu)		 vCPU thread number `cpu`, again and again
 *	kick(), irq_*()		 any thread, at any time after create()
 *	free()			 main thread, after every vCPU thread ended
 *
 * MMIO and port accesses that the engine does not handle are calls on the
 * bus, made on the vCPU thread in the middle of the instruction; they must
 * not block for long and must not call run(). A call instead of an exit
 * keeps the soft engine free of half-done instructions.
 */
#ifndef MAYFLY_ENGINE_H
#define MAYFLY_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct engine; /* each implementation's own */
struct err;
struct gmem;

#define ENGINE_CPUS_MAX 64
#define ENGINE_GSIS	24 /* one IOAPIC */
/* The largest file without a name that an engine makes for itself: soft's code.
 * RLIMIT_FSIZE has to let it. */
#define ENGINE_FILE_MAX (32ull << 20)

struct engine_bus {
	void *opaque;
	/* @data is in (write) or out, little-endian, @len 1, 2, 4 or 8. */
	void (*mmio)(void *opaque, uint64_t gpa, void *data, unsigned len,
		     int write);
	/* @len 1, 2 or 4. */
	void (*pio)(void *opaque, uint16_t port, void *data, unsigned len,
		    int write);
};

/* One CPUID leaf. subleaf is UINT32_MAX where ECX does not matter. */
struct cpuid_leaf {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
};
#define CPUID_ANY_SUBLEAF UINT32_MAX
#define CPUID_LEAVES_MAX  128

struct engine_params {
	struct gmem *gm;	      /* borrowed, outlives the engine */
	const struct engine_bus *bus; /* borrowed, outlives the engine */
	unsigned ncpus;
	int kvm_fd;		      /* borrowed; -1 for soft */
};

/* Why run() came back. */
enum engine_exit_reason {
	ENGINE_EXIT_INTR,     /* kicked: look at your flags, then run again */
	ENGINE_EXIT_SHUTDOWN, /* triple fault */
	ENGINE_EXIT_ERROR,    /* the engine cannot go on; words in .msg */
};

struct engine_exit {
	enum engine_exit_reason reason;
	uint64_t rip;	 /* SHUTDOWN, ERROR: where */
	char msg[160];	 /* SHUTDOWN, ERROR: a line for the user */
};

struct x86_seg {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity applied */
	uint16_t sel;
	uint8_t type; /* SDM 3A 3.4.5.1, bits 3:0 of the type field */
	uint8_t s, dpl, p, avl, l, db, g;
	uint8_t unusable;
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

enum x86_reg {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
};

enum x86_sreg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SREGS };

/*
 * Architectural state of one vCPU (no engine's own layout), what a snapshot
 * keeps. FS.base and GS.base live in seg[].
 */
struct vcpu_state {
	uint64_t gpr[16]; /* enum x86_reg: the encoding's order */
	uint64_t rip, rflags;
	struct x86_seg seg[X86_SREGS]; /* enum x86_sreg: encoding order */
	struct x86_seg tr, ldtr;
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, apic_base;
	uint64_t tsc, tsc_adjust, tsc_deadline;
	uint64_t dr[4], dr6, dr7;
	uint8_t fxsave[512]; /* SDM 1 10.5.1, 64-bit layout */
	uint8_t halted;	     /* waiting in HLT */
	uint8_t wait_sipi;   /* an AP not yet started */
	uint8_t intr_shadow; /* STI or MOV SS just executed */
};

/*
 * What user code tried that the CPU does not offer, and got #UD for: bits.
 * LZCNT and TZCNT are not among them, for they run as BSR and BSF do.
 */
#define ENGINE_ISA_V3	 0x1u /* VEX or EVEX (AVX, BMI, FMA, F16C), MOVBE */
#define ENGINE_ISA_OTHER 0x2u /* in no level: AES, SHA, PCLMUL, ADX, RDRAND */

struct engine_ops {
	const char *name;
	/* An access of the guest is a call on its vCPU's thread, and no exit:
	 * what a device does there at once costs less than to wake another. */
	bool calls;
	/* On failure *@e is NULL and nothing is left. */
	int (*create)(const struct engine_params *p, struct engine **e,
		      struct err *err);
	void (*free)(struct engine *e); /* takes NULL */
	/* Which CPUs there are really: soft clamps ncpus to what it can do. */
	unsigned (*ncpus)(const struct engine *e);
	/* The CPUID table, before the first run(). Copied. */
	int (*set_cpuid)(struct engine *e, unsigned cpu,
			 const struct cpuid_leaf *leaves, unsigned n,
			 struct err *err);
	/* The vCPU must not be running. */
	int (*set_state)(struct engine *e, unsigned cpu,
			 const struct vcpu_state *s, struct err *err);
	int (*get_state)(struct engine *e, unsigned cpu, struct vcpu_state *s,
			 struct err *err);
	/* Run until something is worth telling. HLT waits inside. */
	void (*run)(struct engine *e, unsigned cpu, struct engine_exit *x);
	/* Make run() return soon, or the next run() return at once. The
	 * caller also sends the thread a signal (whose handler does nothing),
	 * after kick(). Async-signal-safe. */
	void (*kick)(struct engine *e, unsigned cpu);
	/* Level of an IOAPIC input; a rise is an edge. */
	void (*irq_line)(struct engine *e, unsigned gsi, int level);
	/* One edge: what a virtio device sends. */
	void (*irq_pulse)(struct engine *e, unsigned gsi);
	/* A 4-byte write of @match to @gpa signals @fd (borrowed) and does
	 * not reach the bus. */
	int (*ioeventfd)(struct engine *e, uint64_t gpa, uint32_t match,
			 int fd, struct err *err);
	/* Guest instructions executed so far, about; NULL: nobody counts. */
	uint64_t (*instructions)(const struct engine *e);
	/* ENGINE_ISA_*, since create(). Any thread; NULL: nobody looks. */
	uint32_t (*isa_missing)(const struct engine *e);
};

extern const struct engine_ops engine_kvm;
extern const struct engine_ops engine_soft;

/* "kvm" or "soft"; NULL for anything else. */
const struct engine_ops *engine_by_name(const char *name);

/* KVM_GET_SUPPORTED_CPUID as leaves, for runner/x86/cpuid.c to filter.
 * Returns the count or -errno. */
int engine_kvm_supported_cpuid(int kvm_fd, struct cpuid_leaf *leaves,
			       unsigned max);

#endif
