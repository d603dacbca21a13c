/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest is told about its processor (SDM 2A, CPUID). */
#include "runner/x86/cpuid.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "runner/base/mem.h"

#define BIT(n) (1u << (n))

/* Leaf 1 */
#define L1_EDX_HTT	 BIT(28)
#define L1_ECX_MONITOR	 BIT(3)
#define L1_ECX_VMX	 BIT(5)
#define L1_ECX_PDCM	 BIT(15)
#define L1_ECX_X2APIC	 BIT(21)
#define L1_ECX_DEADLINE	 BIT(24)
#define L1_ECX_OSXSAVE	 BIT(27)
#define L1_ECX_HYPERVISOR BIT(31)
/* Leaf 6 */
#define L6_EAX_ARAT BIT(2)
/* 0x80000001 */
#define X1_ECX_SVM BIT(2)

/* Topology levels of leaves 0xb and 0x1f. */
#define LEVEL_SMT  1u
#define LEVEL_CORE 2u

static struct cpuid_leaf *put(struct cpuid_table *t, uint32_t leaf,
			      uint32_t subleaf, uint32_t eax, uint32_t ebx,
			      uint32_t ecx, uint32_t edx)
{
	struct cpuid_leaf *l = &t->leaf[t->n];

	assert(t->n < CPUID_LEAVES_MAX);
	*l = (struct cpuid_leaf){ leaf, subleaf, eax, ebx, ecx, edx };
	t->n++;
	return l;
}

/* 12 or 16 characters as three or four registers. */
static uint32_t word(const char *s, unsigned i)
{
	uint32_t w;

	memcpy(&w, s + 4 * i, sizeof(w));
	return w;
}

/* Bits of an APIC id that number @n things. */
static unsigned id_bits(unsigned n)
{
	unsigned bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* One thread a core, all cores in one package, x2APIC id = CPU number. */
static void put_topology(struct cpuid_table *t, uint32_t leaf, unsigned cpu,
			 unsigned ncpus)
{
	put(t, leaf, 0, 0, 1, LEVEL_SMT << 8, cpu);
	put(t, leaf, 1, id_bits(ncpus), ncpus, LEVEL_CORE << 8 | 1, cpu);
	put(t, leaf, 2, 0, 0, 2, cpu);
}

/* --- soft -------------------------------------------------------------- */

/*
 * Family 6 model 0x5c, a Goldmont: a real processor with x86-64-v2, a known
 * crystal and no AVX. C libraries pick plain unaligned SSE2 copies and
 * `rep movsb` for it, which are what an interpreter does best; Linux knows it
 * free of MDS, L1TF and the SWAPGS leak.
 */
#define SOFT_SIGNATURE 0x000506c9
#define SOFT_MAX_LEAF  0x16
#define SOFT_MAX_EXT   0x80000008
#define CRYSTAL_HZ     25000000u
#define SOFT_MHZ       ((uint32_t)(CPUID_SOFT_TSC_HZ / 1000000))

static const char brand[48] = "mayfly soft x86-64 CPU";

static void put_soft_basic(struct cpuid_table *t, unsigned cpu, unsigned ncpus)
{
	static const char vendor[] = "GenuineIntel";
	/* FPU DE PSE TSC, MSR PAE CX8 APIC, PGE CMOV PAT PSE36 CLFSH,
	 * MMX FXSR SSE SSE2 */
	uint32_t edx = BIT(0) | BIT(2) | BIT(3) | BIT(4) |
		       BIT(5) | BIT(6) | BIT(8) | BIT(9) |
		       BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) |
		       BIT(23) | BIT(24) | BIT(25) | BIT(26);
	/* SSE3 SSSE3 CX16, SSE4.1 SSE4.2 POPCNT */
	uint32_t ecx = BIT(0) | BIT(9) | BIT(13) |
		       BIT(19) | BIT(20) | BIT(23) |
		       L1_ECX_X2APIC | L1_ECX_DEADLINE | L1_ECX_HYPERVISOR;

	if (ncpus > 1)
		edx |= L1_EDX_HTT;
	put(t, 0, CPUID_ANY_SUBLEAF, SOFT_MAX_LEAF, word(vendor, 0),
	    word(vendor, 2), word(vendor, 1));
	/* EBX: APIC id, logical CPUs, CLFLUSH line in units of 8 bytes */
	put(t, 1, CPUID_ANY_SUBLEAF, SOFT_SIGNATURE,
	    cpu << 24 | ncpus << 16 | 8 << 8, ecx, edx);
	/* Leaf 2: "see leaf 4" and nothing else. */
	put(t, 2, CPUID_ANY_SUBLEAF, 0x00feff01, 0, 0, 0);
}

/*
 * Leaf 4: caches, because C libraries derive copy thresholds from them.
 * 32 KiB of L1 data and code, 1 MiB of L2.
 */
static void put_soft_caches(struct cpuid_table *t, unsigned ncpus)
{
	uint32_t cores = ((1u << id_bits(ncpus)) - 1) << 26;
	uint32_t line8 = 7u << 22 | 63; /* 8 ways of 64-byte lines */
	uint32_t line16 = 15u << 22 | 63;

	/* EAX: type, level, self-initializing */
	put(t, 4, 0, cores | 1 | 1 << 5 | BIT(8), line8, 63, 0);
	put(t, 4, 1, cores | 2 | 1 << 5 | BIT(8), line8, 63, 0);
	put(t, 4, 2, cores | 3 | 2 << 5 | BIT(8), line16, 1023, 0);
}

static void put_soft_features(struct cpuid_table *t)
{
	put(t, 6, CPUID_ANY_SUBLEAF, L6_EAX_ARAT, 0, 0, 0);
	/* EBX: FSGSBASE, TSC_ADJUST, SMEP, ERMS, no FPU selectors, SMAP.
	 * EDX: FSRM, SPEC_CTRL, ARCH_CAPABILITIES */
	put(t, 7, 0, 2, BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(13) | BIT(20),
	    0, BIT(4) | BIT(26) | BIT(29));
	put(t, 7, 1, 0, 0, 0, 0);
	put(t, 7, 2, 0, 0, 0, BIT(4)); /* BHI_CTRL */
	/* TSC = crystal * 40 / 1: nothing for a kernel to calibrate. */
	put(t, 0x15, CPUID_ANY_SUBLEAF, 1,
	    (uint32_t)(CPUID_SOFT_TSC_HZ / CRYSTAL_HZ), CRYSTAL_HZ, 0);
	put(t, 0x16, CPUID_ANY_SUBLEAF, SOFT_MHZ, SOFT_MHZ, 100, 0);
	/* KVM's signature with no paravirtual feature: Linux takes it as
	 * leave to use x2APIC without interrupt remapping. */
	put(t, 0x40000000, CPUID_ANY_SUBLEAF, 0x40000001,
	    word("KVMKVMKVM\0\0\0", 0), word("KVMKVMKVM\0\0\0", 1),
	    word("KVMKVMKVM\0\0\0", 2));
	put(t, 0x40000001, CPUID_ANY_SUBLEAF, 0, 0, 0, 0);
}

static void put_soft_extended(struct cpuid_table *t)
{
	/* ECX: LAHF64. EDX: SYSCALL, NX, 1 GiB pages, RDTSCP, LM */
	uint32_t edx = BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29);

	put(t, 0x80000000, CPUID_ANY_SUBLEAF, SOFT_MAX_EXT, 0, 0, 0);
	put(t, 0x80000001, CPUID_ANY_SUBLEAF, 0, 0, BIT(0), edx);
	for (unsigned i = 0; i < 3; i++) {
		const char *b = brand + 16 * i;

		put(t, 0x80000002 + i, CPUID_ANY_SUBLEAF, word(b, 0),
		    word(b, 1), word(b, 2), word(b, 3));
	}
	/* L2: 1024 KiB, 16 ways, 64-byte lines */
	put(t, 0x80000006, CPUID_ANY_SUBLEAF, 0, 0, 1024u << 16 | 8 << 12 | 64,
	    0);
	put(t, 0x80000007, CPUID_ANY_SUBLEAF, 0, 0, 0, BIT(8)); /* TSC */
	put(t, 0x80000008, CPUID_ANY_SUBLEAF,
	    CPUID_SOFT_VIRT_BITS << 8 | CPUID_SOFT_PHYS_BITS, 0, 0, 0);
}

void cpuid_build_soft(struct cpuid_table *t, unsigned cpu, unsigned ncpus)
{
	memset(t, 0, sizeof(*t));
	put_soft_basic(t, cpu, ncpus);
	put_soft_caches(t, ncpus);
	put_soft_features(t);
	put_topology(t, 0xb, cpu, ncpus);
	put_soft_extended(t);
}

/* --- kvm --------------------------------------------------------------- */

struct kvm_ctx {
	unsigned cpu, ncpus;
	int amd;
};

/* EAX of leaf 4 and of AMD's 0x8000001d: how many ids share the cache, and on
 * Intel how many cores there are. Caches up to L2 are private. */
static uint32_t cache_eax(uint32_t eax, const struct kvm_ctx *c)
{
	uint32_t ids = (1u << id_bits(c->ncpus)) - 1;
	uint32_t level = eax >> 5 & 7;
	uint32_t sharing = level >= 3 ? ids : 0;

	if (!(eax & 0x1f)) /* no more caches */
		return eax;
	eax = (eax & 0x3fff) | sharing << 14;
	return c->amd ? eax : eax | ids << 26;
}

static void fix_leaf_1(struct cpuid_leaf *l, const struct kvm_ctx *c)
{
	l->ebx = (l->ebx & 0xffff) | c->cpu << 24 | c->ncpus << 16;
	l->edx &= ~L1_EDX_HTT;
	if (c->ncpus > 1)
		l->edx |= L1_EDX_HTT;
	/* No nested guests, no MONITOR, no PMU. OSXSAVE mirrors CR4. */
	l->ecx &= ~(L1_ECX_MONITOR | L1_ECX_VMX | L1_ECX_PDCM |
		    L1_ECX_OSXSAVE);
	/* Documentation/virt/kvm/api.rst 4.46: the deadline timer and x2APIC
	 * come with the in-kernel APIC and are not reported. */
	l->ecx |= L1_ECX_X2APIC | L1_ECX_DEADLINE | L1_ECX_HYPERVISOR;
}

/* Change one leaf for this vCPU. Returns 0 where the guest gets none. */
static int fix_leaf(struct cpuid_leaf *l, const struct kvm_ctx *c)
{
	switch (l->leaf) {
	case 1:
		fix_leaf_1(l, c);
		return 1;
	case 4:
	case 0x8000001d:
		l->eax = cache_eax(l->eax, c);
		return 1;
	case 6:
		l->eax |= L6_EAX_ARAT;
		return 1;
	case 0xa: /* PMU */
	case 0xb: /* rebuilt by put_topology() */
	case 0x15:
	case 0x1f:
	case 0x8000000a: /* SVM */
	case 0x80000022: /* AMD's PMU */
		return 0;
	case 0x80000001:
		l->ecx &= ~X1_ECX_SVM;
		return 1;
	case 0x80000008:
		/* APM 3: ApicIdSize and NC; reserved on Intel */
		l->ecx = c->amd ? id_bits(c->ncpus) << 12 | (c->ncpus - 1) : 0;
		return 1;
	case 0x8000001e:
		l->eax = c->cpu;
		l->ebx = c->cpu & 0xff; /* core id, one thread each */
		l->ecx = 0;		/* node 0 of 1 */
		return 1;
	default:
		return 1;
	}
}

static int is_amd(const struct cpuid_leaf *host, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (host[i].leaf == 0)
			return host[i].ebx == word("AuthenticAMD", 0) ||
			       host[i].ebx == word("HygonGenuine", 0);
	return 0;
}

int cpuid_filter_kvm(struct cpuid_table *t, const struct cpuid_leaf *host,
		     unsigned nhost, unsigned cpu, unsigned ncpus,
		     uint32_t tsc_khz)
{
	struct kvm_ctx c = { .cpu = cpu, .ncpus = ncpus,
			     .amd = is_amd(host, nhost) };
	uint32_t max = 0;

	memset(t, 0, sizeof(*t));
	/* What is added below: four leaves. */
	if (nhost > CPUID_LEAVES_MAX - 4)
		return -E2BIG;
	for (unsigned i = 0; i < nhost; i++) {
		t->leaf[t->n] = host[i];
		if (host[i].leaf == 0)
			max = host[i].eax;
		t->n += (unsigned)fix_leaf(&t->leaf[t->n], &c);
	}
	if (max >= 0xb)
		put_topology(t, 0xb, cpu, ncpus);
	/* TSC = crystal * EBX / EAX. With a crystal of 100 kHz EBX is in kHz,
	 * and Linux's 32-bit product of the two does not overflow. */
	if (max >= 0x15 && tsc_khz)
		put(t, 0x15, CPUID_ANY_SUBLEAF, 100, tsc_khz, 100000, 0);
	return 0;
}

uint32_t cpuid_host_tsc_khz(void)
{
	uint32_t den, num, hz, edx;

	if (__get_cpuid_max(0, NULL) < 0x15)
		return 0;
	__cpuid_count(0x15, 0, den, num, hz, edx);
	if (!den || !num || !hz)
		return 0;
	return (uint32_t)((uint64_t)hz * num / den / 1000);
}
