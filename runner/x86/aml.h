/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml: a writer for the little ACPI machine language that we need (ACPI 6.5,
 * chapter 20).
 *
 * Writes into a buffer of the caller's. What does not fit is not written and
 * sets `full`: look at it once, at the end. Packages (scope, device, method,
 * resource template, ...) are opened and closed in pairs:
 *
 *	size_t d = aml_device(a, "COM1");
 *	aml_name_eisaid(a, "_HID", "PNP0501");
 *	aml_close(a, d);
 */
#ifndef MAYFLY_X86_AML_H
#define MAYFLY_X86_AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t len, max;
	int full;
};

void aml_bytes(struct aml *a, const void *p, size_t n);

/* Open; the result goes to aml_close(). Names are 4 characters, or for
 * aml_scope() a backslash and 4 characters. */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned nargs);
size_t aml_name_package(struct aml *a, const char *name, uint8_t nelems);
void aml_close(struct aml *a, size_t pkg);

/* Data objects: elements of a package, or values after a name. */
void aml_int(struct aml *a, uint64_t v);
void aml_str(struct aml *a, const char *s);

void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_str(struct aml *a, const char *name, const char *s);
/* @id is three capitals and four hex digits. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id);

/* Notify (\_SB.dev, code), inside a method. */
void aml_notify(struct aml *a, const char *dev, uint8_t code);

/* A _CRS of up to three resources; 0 leaves one out. Interrupts are edge,
 * active high, exclusive. */
struct aml_crs {
	uint32_t mem, mem_len;
	uint16_t port;
	uint8_t ports;
	uint32_t gsi;
};
void aml_crs(struct aml *a, const struct aml_crs *r);

#endif
