/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID tables: what soft promises, and what is changed for kvm. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "runner/x86/cpuid.h"

#define BIT(n) (1u << (n))

static const struct cpuid_leaf *find(const struct cpuid_table *t,
				     uint32_t leaf, uint32_t subleaf)
{
	static const struct cpuid_leaf none;

	for (unsigned i = 0; i < t->n; i++)
		if (t->leaf[i].leaf == leaf &&
		    (t->leaf[i].subleaf == subleaf ||
		     t->leaf[i].subleaf == CPUID_ANY_SUBLEAF))
			return &t->leaf[i];
	return &none;
}

Test(cpuid, soft_is_x86_64_v2_and_nothing_it_cannot_do)
{
	const uint32_t v2 = BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) |
			    BIT(23);
	const uint32_t not = BIT(12) | BIT(17) | BIT(25) | BIT(26) | BIT(27) |
			     BIT(28) | BIT(29) | BIT(30);
	struct cpuid_table t;

	cpuid_build_soft(&t, 0, 1);
	cr_expect_eq(find(&t, 1, 0)->ecx & v2, v2);
	cr_expect_eq(find(&t, 1, 0)->ecx & not, 0, "no XSAVE, AVX, PCID, ...");
	cr_expect(find(&t, 0x80000001, 0)->ecx & BIT(0), "LAHF");
	cr_expect_eq(find(&t, 7, 0)->ebx & (BIT(3) | BIT(5) | BIT(8)), 0,
		     "no BMI, no AVX2");
	cr_expect(find(&t, 0, 0)->eax >= 0x16);
}

Test(cpuid, soft_says_its_tsc_frequency)
{
	const struct cpuid_leaf *l;
	struct cpuid_table t;

	cpuid_build_soft(&t, 0, 1);
	l = find(&t, 0x15, 0);
	cr_assert_neq(l->eax, 0);
	cr_expect_eq((uint64_t)l->ecx * l->ebx / l->eax, CPUID_SOFT_TSC_HZ);
	cr_expect(find(&t, 0x80000007, 0)->edx & BIT(8));
	cr_expect(find(&t, 1, 0)->ecx & BIT(24));
	cr_expect(find(&t, 6, 0)->eax & BIT(2));
}

Test(cpuid, soft_has_kvm_signature_without_features)
{
	const struct cpuid_leaf *l;
	struct cpuid_table t;

	cpuid_build_soft(&t, 0, 1);
	l = find(&t, 0x40000000, 0);
	cr_expect_eq(l->eax, 0x40000001);
	cr_expect_eq(memcmp(&l->ebx, "KVMKVMKVM\0\0\0", 12), 0);
	cr_expect_eq(find(&t, 0x40000001, 0)->eax, 0);
}

/* As KVM gives it: vendor in EBX, EDX, ECX. */
static unsigned host_leaves(struct cpuid_leaf *h, const char *vendor)
{
	const struct cpuid_leaf l[] = {
		{ .leaf = 0, .subleaf = CPUID_ANY_SUBLEAF, .eax = 0x1f },
		{ .leaf = 1, .subleaf = CPUID_ANY_SUBLEAF, .ebx = 0x05100800,
		  .ecx = BIT(3) | BIT(5) | BIT(23) },
		{ .leaf = 4, .subleaf = 0, .eax = 0x1c004121 },
		{ .leaf = 4, .subleaf = 3, .eax = 0x1c03c163 },
		{ .leaf = 4, .subleaf = 4 },
		{ .leaf = 0xa, .eax = 0x07300404 },
		{ .leaf = 0xb, .subleaf = 0, .eax = 1, .ebx = 2 },
		{ .leaf = 0x1f, .subleaf = 0, .eax = 1, .ebx = 2 },
		{ .leaf = 0x80000001, .ecx = BIT(2) | BIT(0) },
		{ .leaf = 0x80000008, .eax = 0x302e, .ecx = 0x700f },
		{ .leaf = 0x8000001e, .ebx = 0x0101 },
	};

	memcpy(h, l, sizeof(l));
	memcpy(&h[0].ebx, vendor, 4);
	return sizeof(l) / sizeof(l[0]);
}

Test(cpuid, kvm_topology_is_one_package_of_single_thread_cores)
{
	struct cpuid_leaf h[CPUID_LEAVES_MAX];
	unsigned n = host_leaves(h, "Genu");
	struct cpuid_table t;

	cr_assert_eq(cpuid_filter_kvm(&t, h, n, 2, 3, 0), 0);
	cr_expect_eq(find(&t, 1, 0)->ebx, 0x02030800);
	cr_expect(find(&t, 1, 0)->edx & BIT(28));
	cr_expect_eq(find(&t, 4, 0)->eax, 0x0c000121);
	cr_expect_eq(find(&t, 4, 3)->eax, 0x0c00c163);
	cr_expect_eq(find(&t, 4, 4)->eax, 0);
	cr_expect_eq(find(&t, 0xb, 0)->eax, 0);
	cr_expect_eq(find(&t, 0xb, 1)->eax, 2, "ids of 3 cores have 2 bits");
	cr_expect_eq(find(&t, 0xb, 1)->ebx, 3);
	cr_expect_eq(find(&t, 0xb, 1)->edx, 2);
	cr_expect_eq(find(&t, 0x1f, 0)->ebx, 0);
	cr_expect_eq(find(&t, 0x80000008, 0)->ecx, 0);
}

Test(cpuid, kvm_guest_gets_timer_and_x2apic_but_no_vmx_and_no_pmu)
{
	struct cpuid_leaf h[CPUID_LEAVES_MAX];
	unsigned n = host_leaves(h, "Genu");
	struct cpuid_table t;
	uint32_t ecx;

	cr_assert_eq(cpuid_filter_kvm(&t, h, n, 0, 1, 0), 0);
	ecx = find(&t, 1, 0)->ecx;
	cr_expect_eq(ecx & (BIT(21) | BIT(24) | BIT(31)),
		     BIT(21) | BIT(24) | BIT(31));
	cr_expect_eq(ecx & (BIT(3) | BIT(5)), 0);
	cr_expect(ecx & BIT(23), "what KVM supports stays");
	cr_expect_eq(find(&t, 0xa, 0)->eax, 0);
	cr_expect_eq(find(&t, 0x80000001, 0)->ecx, BIT(0));
}

Test(cpuid, kvm_on_amd_uses_amd_topology)
{
	struct cpuid_leaf h[CPUID_LEAVES_MAX];
	unsigned n = host_leaves(h, "Auth");
	struct cpuid_table t;

	cr_assert_eq(cpuid_filter_kvm(&t, h, n, 1, 4, 0), 0);
	cr_expect_eq(find(&t, 0x80000008, 0)->ecx, 0x2003);
	cr_expect_eq(find(&t, 0x8000001e, 0)->eax, 1);
	cr_expect_eq(find(&t, 0x8000001e, 0)->ebx, 1);
}

Test(cpuid, kvm_known_tsc_frequency_fits_linux_arithmetic)
{
	struct cpuid_leaf h[CPUID_LEAVES_MAX];
	unsigned n = host_leaves(h, "Genu");
	const struct cpuid_leaf *l;
	struct cpuid_table t;

	cr_assert_eq(cpuid_filter_kvm(&t, h, n, 0, 1, 6000000), 0);
	l = find(&t, 0x15, 0);
	cr_expect_eq((uint64_t)l->ecx / 1000 * l->ebx / l->eax, 6000000);
	cr_expect((uint64_t)l->ecx / 1000 * l->ebx <= UINT32_MAX);
}

Test(cpuid, too_many_host_leaves_are_refused)
{
	static struct cpuid_leaf h[CPUID_LEAVES_MAX];
	struct cpuid_table t;

	cr_expect_eq(cpuid_filter_kvm(&t, h, CPUID_LEAVES_MAX, 0, 1, 0),
		     -E2BIG);
}
