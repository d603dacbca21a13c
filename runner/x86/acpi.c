/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables (ACPI 6.5; section numbers below are its). */
#include "runner/x86/acpi.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/aml.h"
#include "runner/x86/layout.h"

#define OEM_ID	     "MAYFLY"
#define OEM_TABLE_ID "MAYFLYVM"

struct acpi_header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
static_assert(sizeof(struct acpi_header) == 36, "ABI");

struct acpi_rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t ext_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct acpi_rsdp) == 36, "ABI");

struct acpi_gas { /* 5.2.3.2 */
	uint8_t space, bits, bit_offset, access;
	uint64_t address;
} __attribute__((packed));
#define GAS_IO	      1
#define GAS_BYTE      1

struct acpi_fadt { /* 5.2.9 */
	struct acpi_header h;
	uint32_t facs, dsdt;
	uint8_t legacy0[65]; /* PM1, GPE, C states: none of it here */
	uint16_t iapc_boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_gas legacy1[8];
	struct acpi_gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
static_assert(offsetof(struct acpi_fadt, iapc_boot_arch) == 109, "ABI");
static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "ABI");
static_assert(sizeof(struct acpi_fadt) == 276, "ABI");

#define FADT_REVISION 6
#define FADT_MINOR    5
/* 5.2.9.3; bit 1, the i8042, is clear so that nobody probes for one. The RTC
 * has no alarm, so it is not declared; the time can be read all the same. */
#define IAPC_LEGACY_DEVICES (1 << 0) /* COM1 */
#define IAPC_NO_VGA	    (1 << 2)
#define IAPC_NO_MSI	    (1 << 3)
#define IAPC_NO_CMOS_RTC    (1 << 5)
/* Table 5.10 */
#define FADT_WBINVD	  (1u << 0)
#define FADT_PWR_BUTTON	  (1u << 4) /* no fixed-feature button */
#define FADT_SLP_BUTTON	  (1u << 5)
#define FADT_FIX_RTC	  (1u << 6)
#define FADT_RESET_REG	  (1u << 10)
#define FADT_HEADLESS	  (1u << 12)
#define FADT_HW_REDUCED	  (1u << 20)
#define I8042_PULSE_RESET 0xfe

struct acpi_madt { /* 5.2.12; flags: PCAT_COMPAT clear, no 8259 */
	struct acpi_header h;
	uint32_t lapic;
	uint32_t flags;
} __attribute__((packed));

struct madt_lapic { /* 5.2.12.2 */
	uint8_t type, length, uid, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

/* Everything but the RSDP is laid out by one cursor over the ACPI area. */
struct tables {
	uint8_t *base;
	uint64_t gpa;
	size_t len, max;
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

/* Copy a finished table in; 0 when there is no room. */
static uint64_t place(struct tables *t, void *table, size_t len,
		      const char *signature, uint8_t revision)
{
	struct acpi_header *h = table;
	uint64_t gpa = t->gpa + t->len;

	if (len > t->max - t->len)
		return 0;
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem_id, OEM_ID, 6);
	memcpy(h->oem_table_id, OEM_TABLE_ID, 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "MFLY", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = checksum(table, len);
	memcpy(t->base + t->len, table, len);
	t->len = MIN(t->max, (t->len + len + 15) & ~(size_t)15);
	return gpa;
}

/* --- DSDT --------------------------------------------------------------- */

static void dsdt_com1(struct aml *a)
{
	size_t d = aml_device(a, "COM1");
	struct aml_crs crs = { .port = LAYOUT_COM1, .ports = LAYOUT_COM1_PORTS,
			       .gsi = LAYOUT_GSI_COM1 };

	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 0);
	aml_crs(a, &crs);
	aml_close(a, d);
}

static void dsdt_virtio(struct aml *a, unsigned slot)
{
	struct aml_crs crs = { .mem = (uint32_t)layout_slot_gpa(slot),
			       .mem_len = BUS_SLOT_SIZE,
			       .gsi = layout_slot_gsi(slot) };
	char name[5];
	size_t d;

	snprintf(name, sizeof(name), "VR%02X", slot & 0xff);
	d = aml_device(a, name);
	aml_name_str(a, "_HID", "LNRO0005");
	aml_name_int(a, "_UID", slot);
	aml_name_int(a, "_CCA", 1);
	aml_crs(a, &crs);
	aml_close(a, d);
}

/* The VM generation id: 16 bytes that differ in every clone. Its CIDs are the
 * specification's, and the short one that fits ACPI's rules. */
static void dsdt_vmgenid(struct aml *a)
{
	size_t d = aml_device(a, "VGEN");
	size_t p;

	aml_name_str(a, "_HID", "MFLY0001");
	p = aml_name_package(a, "_CID", 2);
	aml_str(a, "VM_Gen_Counter");
	aml_str(a, "VMGENCTR");
	aml_close(a, p);
	aml_name_str(a, "_DDN", "VM_Gen_Counter");
	p = aml_name_package(a, "ADDR", 2);
	aml_int(a, LAYOUT_VMGENID);
	aml_int(a, 0);
	aml_close(a, p);
	aml_close(a, d);
}

/* 5.6.9: the generic event device turns an interrupt into a Notify. It has
 * one interrupt, so _EVT need not look which. */
static void dsdt_ged(struct aml *a)
{
	size_t d = aml_device(a, "GED_");
	struct aml_crs crs = { .gsi = LAYOUT_GSI_GED };
	size_t m;

	aml_name_str(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_crs(a, &crs);
	m = aml_method(a, "_EVT", 1);
	aml_notify(a, "VGEN", 0x80);
	aml_close(a, m);
	aml_close(a, d);
}

static uint64_t write_dsdt(struct tables *t, const struct acpi_params *p)
{
	uint8_t buf[4096] = { 0 };
	struct aml a = { .buf = buf, .len = sizeof(struct acpi_header),
			 .max = sizeof(buf) };
	size_t scope, s5;

	scope = aml_scope(&a, "\\_SB_");
	dsdt_com1(&a);
	for (unsigned i = 0; i < p->nslots; i++)
		dsdt_virtio(&a, i);
	dsdt_vmgenid(&a);
	dsdt_ged(&a);
	aml_close(&a, scope);
	s5 = aml_name_package(&a, "\\_S5_", 2);
	aml_int(&a, ACPI_SLEEP_TYPE_S5);
	aml_int(&a, 0);
	aml_close(&a, s5);
	return a.full ? 0 : place(t, buf, a.len, "DSDT", 2);
}

/* --- the other tables --------------------------------------------------- */

static struct acpi_gas io_byte(uint16_t port)
{
	return (struct acpi_gas){ .space = GAS_IO, .bits = 8,
				  .access = GAS_BYTE, .address = port };
}

static uint64_t write_fadt(struct tables *t, uint64_t dsdt)
{
	struct acpi_fadt f = {
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.iapc_boot_arch = IAPC_LEGACY_DEVICES | IAPC_NO_VGA |
				  IAPC_NO_MSI | IAPC_NO_CMOS_RTC,
		.flags = FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			 FADT_FIX_RTC | FADT_RESET_REG | FADT_HEADLESS |
			 FADT_HW_REDUCED,
		.reset_reg = io_byte(LAYOUT_I8042_CMD),
		.reset_value = I8042_PULSE_RESET,
		.minor = FADT_MINOR,
		.sleep_control = io_byte(LAYOUT_SLEEP),
		.sleep_status = io_byte(LAYOUT_SLEEP + 1),
	};

	return place(t, &f, sizeof(f), "FACP", FADT_REVISION);
}

static uint64_t write_madt(struct tables *t, unsigned ncpus)
{
	struct {
		struct acpi_madt m;
		struct madt_ioapic io;
		struct madt_lapic cpu[256];
	} __attribute__((packed)) b = {
		.m = { .lapic = LAYOUT_LAPIC },
		.io = { .type = 1, .length = sizeof(b.io),
			.address = LAYOUT_IOAPIC },
	};

	assert(ncpus < 255); /* more would need x2APIC entries */
	for (unsigned i = 0; i < ncpus; i++)
		b.cpu[i] = (struct madt_lapic){
			.type = 0, .length = sizeof(b.cpu[i]),
			.uid = (uint8_t)i, .id = (uint8_t)i, .flags = 1
		};
	return place(t, &b,
		     sizeof(b.m) + sizeof(b.io) + ncpus * sizeof(b.cpu[0]),
		     "APIC", 5);
}

static uint64_t write_xsdt(struct tables *t, uint64_t fadt, uint64_t madt)
{
	struct {
		struct acpi_header h;
		uint64_t entry[2];
	} __attribute__((packed)) x = { .entry = { fadt, madt } };

	return place(t, &x, sizeof(x), "XSDT", 1);
}

static void write_rsdp(void *at, uint64_t xsdt)
{
	struct acpi_rsdp r = { .signature = "RSD PTR ", .oem_id = OEM_ID,
			       .revision = 2, .length = sizeof(r),
			       .xsdt = xsdt };

	/* The first checksum is over ACPI 1.0's 20 bytes. */
	r.checksum = checksum(&r, 20);
	r.ext_checksum = checksum(&r, sizeof(r));
	memcpy(at, &r, sizeof(r));
}

int acpi_write(const struct gmem *gm, const struct acpi_params *p,
	       uint64_t *rsdp, struct err *err)
{
	struct tables t = { .gpa = LAYOUT_ACPI, .max = LAYOUT_ACPI_SIZE };
	uint64_t dsdt, fadt, madt, xsdt;

	t.base = gmem_ptr(gm, t.gpa, t.max);
	if (!t.base ||
	    gmem_write(gm, LAYOUT_VMGENID, p->vmgenid, sizeof(p->vmgenid)))
		return err_say(err, -EFAULT, "ACPI tables: no memory there");
	t.len = 64; /* the RSDP comes first, on a 16-byte boundary (5.2.5.1) */
	dsdt = write_dsdt(&t, p);
	fadt = write_fadt(&t, dsdt);
	madt = write_madt(&t, p->ncpus);
	xsdt = write_xsdt(&t, fadt, madt);
	if (!dsdt || !fadt || !madt || !xsdt)
		return err_say(err, -ENOSPC, "ACPI tables: no room");
	write_rsdp(t.base, xsdt);
	gmem_wrote(gm, t.gpa, t.len);
	*rsdp = t.gpa;
	return 0;
}
