/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: checksums, pointers, and what the DSDT holds. */
#include <criterion/criterion.h>
#include <string.h>

#include "runner/vmm/gmem.h"
#include "runner/x86/acpi.h"
#include "runner/x86/aml.h"
#include "runner/x86/layout.h"

static struct gmem gm;
static uint64_t rsdp;

static void build(unsigned ncpus, unsigned nslots)
{
	struct acpi_params p = { .ncpus = ncpus, .nslots = nslots,
				 .vmgenid = "0123456789abcde" };

	cr_assert_eq(gmem_init(&gm, 2 << 20, NULL), 0);
	cr_assert_eq(acpi_write(&gm, &p, &rsdp, NULL), 0);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t read_u64(uint64_t gpa)
{
	uint64_t v = 0;

	cr_assert_eq(gmem_read(&gm, gpa, &v, 8), 0);
	return v;
}

static uint32_t read_u32(uint64_t gpa)
{
	return (uint32_t)read_u64(gpa);
}

/* A table of this name with a right length and checksum. */
static void expect_table(uint64_t gpa, const char *name)
{
	uint32_t len = read_u32(gpa + 4);
	const uint8_t *p = gmem_ptr(&gm, gpa, len);

	cr_assert_not_null(p);
	cr_expect_eq(memcmp(p, name, 4), 0, "%s", name);
	cr_expect_eq(sum(p, len), 0, "%s: checksum", name);
	cr_expect_eq(gpa % 16, 0);
	cr_expect(gpa >= LAYOUT_ACPI &&
		  gpa + len <= LAYOUT_ACPI + LAYOUT_ACPI_SIZE);
}

static uint64_t table(unsigned i)
{
	return read_u64(read_u64(rsdp + 24) + 36 + 8 * i);
}

Test(acpi, every_table_is_found_and_sums_to_zero)
{
	build(4, BUS_SLOTS);
	cr_expect_eq(memcmp(gmem_ptr(&gm, rsdp, 8), "RSD PTR ", 8), 0);
	cr_expect_eq(sum(gmem_ptr(&gm, rsdp, 20), 20), 0);
	cr_expect_eq(sum(gmem_ptr(&gm, rsdp, 36), 36), 0);
	expect_table(read_u64(rsdp + 24), "XSDT");
	expect_table(table(0), "FACP");
	expect_table(table(1), "APIC");
	expect_table(read_u64(table(0) + 140), "DSDT");
	cr_expect_eq(read_u32(table(0) + 40), read_u64(table(0) + 140));
}

Test(acpi, fadt_is_hardware_reduced_and_names_the_power_ports)
{
	build(1, 1);
	cr_expect(read_u32(table(0) + 112) & 1u << 20);
	cr_expect(read_u32(table(0) + 112) & 1u << 10);
	cr_expect_eq(read_u64(table(0) + 116 + 4), LAYOUT_I8042_CMD);
	cr_expect_eq(read_u64(table(0) + 128) & 0xff, 0xfe);
	cr_expect_eq(read_u64(table(0) + 244 + 4), LAYOUT_SLEEP);
	cr_expect_eq(read_u64(table(0) + 256 + 4), LAYOUT_SLEEP + 1);
}

Test(acpi, madt_lists_every_cpu_and_no_8259)
{
	build(64, 1);
	cr_expect_eq(read_u32(table(1) + 4), 44 + 12 + 64 * 8);
	cr_expect_eq(read_u32(table(1) + 40), 0, "PCAT_COMPAT is clear");
	for (unsigned i = 0; i < 64; i++) {
		uint64_t e = read_u64(table(1) + 56 + 8 * i);

		cr_expect_eq(e, 0x100000800ull | i << 16 |
				(uint64_t)i << 24, "CPU %u", i);
	}
}

static const uint8_t *dsdt(uint32_t *len)
{
	uint64_t gpa = read_u64(table(0) + 140);

	*len = read_u32(gpa + 4);
	return gmem_ptr(&gm, gpa, *len);
}

Test(acpi, dsdt_has_a_node_for_each_slot)
{
	uint32_t len;
	const uint8_t *p;
	unsigned n = 0;

	build(1, 5);
	p = dsdt(&len);
	for (uint32_t i = 0; i + 8 <= len; i++)
		n += !memcmp(p + i, "LNRO0005", 8);
	cr_expect_eq(n, 5);
	cr_expect_not_null(memmem(p, len, "VM_Gen_Counter", 14));
	cr_expect_not_null(memmem(p, len, "ACPI0013", 8));
	/* Memory32Fixed of slot 4, then its interrupt. */
	cr_expect_not_null(memmem(p, len, "\x86\x09\x00\x01\x00\x40\x00\xd0"
				  "\x00\x10\x00\x00\x89\x06\x00\x03\x01\x09",
				  18));
}

Test(acpi, generation_id_is_where_the_dsdt_says)
{
	build(1, 1);
	cr_expect_str_eq(gmem_ptr(&gm, LAYOUT_VMGENID, 16), "0123456789abcde");
}

Test(acpi, aml_that_does_not_fit_is_told_and_stays_inside)
{
	for (size_t max = 0; max < 64; max++) {
		uint8_t buf[65];
		struct aml a = { .buf = buf, .max = max };
		size_t d;

		memset(buf, 0xee, sizeof(buf));
		d = aml_device(&a, "DEV0");
		aml_name_eisaid(&a, "_HID", "PNP0501");
		aml_crs(&a, &(struct aml_crs){ .gsi = 4 });
		aml_close(&a, d);
		cr_expect_eq(a.full, max < 41, "%zu: %zu", max, a.len);
		for (size_t i = max; i < sizeof(buf); i++)
			cr_assert_eq(buf[i], 0xee);
	}
}
