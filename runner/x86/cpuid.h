/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid: what a guest is told about its processor.
 *
 * Two sources. On soft the whole table is ours; on kvm it is what the host's
 * KVM can virtualize, with identity and topology put in. Pure functions of
 * their arguments, any thread. Leaves that are not in a table read as zeros.
 */
#ifndef MAYFLY_X86_CPUID_H
#define MAYFLY_X86_CPUID_H

#include <stdint.h>

#include "runner/engine/engine.h"

#define CPUID_SOFT_TSC_HZ 1000000000ull
#define CPUID_SOFT_PHYS_BITS 40
#define CPUID_SOFT_VIRT_BITS 48

/*
 * What soft's MSR 0x10a (IA32_ARCH_CAPABILITIES, SDM 4 table 2-2) reads as.
 * An interpreter does not speculate on the guest's behalf, so all the "_NO"
 * bits are true, and a guest needs no mitigation. IBRS_ALL asks for MSR 0x48
 * (SPEC_CTRL: read and write, no effect) and 0x49 (PRED_CMD: write, no
 * effect), in return for which Linux patches no retpolines. It does not trust
 * BHI_NO, and runs a loop at each system call unless BHI_DIS_S is there.
 */
#define CPUID_ARCH_CAPABILITIES                                       \
	(1ull << 0 |  /* RDCL_NO */                                   \
	 1ull << 1 |  /* IBRS_ALL */                                  \
	 1ull << 3 |  /* SKIP_L1DFL_VMENTRY */                        \
	 1ull << 4 |  /* SSB_NO */                                    \
	 1ull << 5 |  /* MDS_NO */                                    \
	 1ull << 6 |  /* IF_PSCHANGE_MC_NO */                         \
	 1ull << 8 |  /* TAA_NO */                                    \
	 1ull << 13 | /* SBDR_SSDP_NO */                              \
	 1ull << 14 | /* FBSDP_NO */                                  \
	 1ull << 15 | /* PSDP_NO */                                   \
	 1ull << 20 | /* BHI_NO */                                    \
	 1ull << 24 | /* PBRSB_NO */                                  \
	 1ull << 26 | /* GDS_NO */                                    \
	 1ull << 27 | /* RFDS_NO */                                   \
	 1ull << 62)  /* ITS_NO */

/* What MSR 0x48 takes: IBRS, STIBP, SSBD, BHI_DIS_S. */
#define CPUID_SPEC_CTRL_BITS (1ull << 0 | 1ull << 1 | 1ull << 2 | 1ull << 10)

struct cpuid_table {
	unsigned n;
	struct cpuid_leaf leaf[CPUID_LEAVES_MAX];
};

/* The soft engine's processor, as CPU @cpu of @ncpus. */
void cpuid_build_soft(struct cpuid_table *t, unsigned cpu, unsigned ncpus);

/* @host: engine_kvm_supported_cpuid(). @tsc_khz 0: not known. Entries that
 * do not fit the table are an -E2BIG. */
int cpuid_filter_kvm(struct cpuid_table *t, const struct cpuid_leaf *host,
		     unsigned nhost, unsigned cpu, unsigned ncpus,
		     uint32_t tsc_khz);

/* The host's TSC frequency if its CPUID says it, else 0. */
uint32_t cpuid_host_tsc_khz(void);

#endif
