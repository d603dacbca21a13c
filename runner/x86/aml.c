/* SPDX-License-Identifier: Apache-2.0 */
/* A writer for the ACPI machine language. */
#include "runner/x86/aml.h"

#include <assert.h>
#include <string.h>

/* ACPI 6.5, table 20.2 */
#define OP_ZERO	   0x00
#define OP_ONE	   0x01
#define OP_NAME	   0x08
#define OP_BYTE	   0x0a
#define OP_WORD	   0x0b
#define OP_DWORD   0x0c
#define OP_STRING  0x0d
#define OP_QWORD   0x0e
#define OP_SCOPE   0x10
#define OP_BUFFER  0x11
#define OP_PACKAGE 0x12
#define OP_METHOD  0x14
#define OP_DUAL	   0x2e
#define OP_EXT	   0x5b
#define OP_DEVICE  0x82 /* after OP_EXT */
#define OP_NOTIFY  0x86

#define METHOD_SERIALIZED 8

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->full || n > a->max - a->len) {
		a->full = 1;
		return;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

static void put8(struct aml *a, uint8_t b)
{
	aml_bytes(a, &b, 1);
}

static void put16(struct aml *a, uint16_t v)
{
	aml_bytes(a, &v, 2);
}

static void put32(struct aml *a, uint32_t v)
{
	aml_bytes(a, &v, 4);
}

static void put_name(struct aml *a, const char *name)
{
	size_t n = strlen(name);

	assert(n == 4 || (n == 5 && name[0] == '\\'));
	aml_bytes(a, name, n);
}

/* PkgLength (20.2.4) in its three-byte form, filled in by aml_close(). */
#define PKG_BYTES 3

static size_t open_pkg(struct aml *a)
{
	size_t at = a->len;

	aml_bytes(a, "\0\0\0", PKG_BYTES);
	return at;
}

void aml_close(struct aml *a, size_t pkg)
{
	size_t len = a->len - pkg;

	if (a->full)
		return;
	assert(len < 1u << 20);
	a->buf[pkg] = (uint8_t)(2 << 6 | (len & 0xf));
	a->buf[pkg + 1] = (uint8_t)(len >> 4);
	a->buf[pkg + 2] = (uint8_t)(len >> 12);
}

size_t aml_scope(struct aml *a, const char *name)
{
	size_t pkg;

	put8(a, OP_SCOPE);
	pkg = open_pkg(a);
	put_name(a, name);
	return pkg;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t pkg;

	put8(a, OP_EXT);
	put8(a, OP_DEVICE);
	pkg = open_pkg(a);
	put_name(a, name);
	return pkg;
}

size_t aml_method(struct aml *a, const char *name, unsigned nargs)
{
	size_t pkg;

	put8(a, OP_METHOD);
	pkg = open_pkg(a);
	put_name(a, name);
	put8(a, (uint8_t)(nargs | METHOD_SERIALIZED));
	return pkg;
}

static void open_name(struct aml *a, const char *name)
{
	put8(a, OP_NAME);
	put_name(a, name);
}

size_t aml_name_package(struct aml *a, const char *name, uint8_t nelems)
{
	size_t pkg;

	open_name(a, name);
	put8(a, OP_PACKAGE);
	pkg = open_pkg(a);
	put8(a, nelems);
	return pkg;
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		put8(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		put8(a, OP_BYTE);
		put8(a, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		put8(a, OP_WORD);
		put16(a, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		put8(a, OP_DWORD);
		put32(a, (uint32_t)v);
	} else {
		put8(a, OP_QWORD);
		aml_bytes(a, &v, 8);
	}
}

void aml_str(struct aml *a, const char *s)
{
	put8(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
	open_name(a, name);
	aml_int(a, v);
}

void aml_name_str(struct aml *a, const char *name, const char *s)
{
	open_name(a, name);
	aml_str(a, s);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* 19.3.4: three letters of five bits, four hex digits, bytes swapped. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint32_t v = 0;

	assert(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		v = v << 5 | ((uint32_t)(id[i] - '@') & 0x1f);
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	open_name(a, name);
	put8(a, OP_DWORD);
	put32(a, __builtin_bswap32(v));
}

void aml_notify(struct aml *a, const char *dev, uint8_t code)
{
	put8(a, OP_NOTIFY);
	aml_bytes(a, "\\", 1);
	put8(a, OP_DUAL);
	put_name(a, "_SB_");
	put_name(a, dev);
	aml_int(a, code);
}

/* --- resource templates (6.4) ------------------------------------------- */

static void crs_memory(struct aml *a, uint32_t base, uint32_t len)
{
	put8(a, 0x86); /* 6.4.3.4: 32-bit fixed memory */
	put16(a, 9);
	put8(a, 1); /* writable */
	put32(a, base);
	put32(a, len);
}

static void crs_io(struct aml *a, uint16_t port, uint8_t n)
{
	put8(a, 0x47); /* 6.4.2.5: I/O port, 16-bit decode */
	put8(a, 1);
	put16(a, port);
	put16(a, port);
	put8(a, 1);
	put8(a, n);
}

static void crs_interrupt(struct aml *a, uint32_t gsi)
{
	put8(a, 0x89); /* 6.4.3.6: extended interrupt */
	put16(a, 6);
	put8(a, 1 << 0 | 1 << 1); /* consumer, edge; active high, exclusive */
	put8(a, 1);
	put32(a, gsi);
}

void aml_crs(struct aml *a, const struct aml_crs *r)
{
	uint8_t data[48];
	struct aml t = { .buf = data, .max = sizeof(data) };
	size_t pkg;

	if (r->mem_len)
		crs_memory(&t, r->mem, r->mem_len);
	if (r->ports)
		crs_io(&t, r->port, r->ports);
	if (r->gsi)
		crs_interrupt(&t, r->gsi);
	put8(&t, 0x79); /* 6.4.2.9: end tag; checksum 0 is "do not look" */
	put8(&t, 0);
	assert(!t.full);
	open_name(a, "_CRS");
	put8(a, OP_BUFFER);
	pkg = open_pkg(a);
	aml_int(a, t.len);
	aml_bytes(a, t.buf, t.len);
	aml_close(a, pkg);
}
