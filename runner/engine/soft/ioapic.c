/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC (82093AA datasheet; the EOI register is of version 0x20). */
#include "runner/engine/soft/ioapic.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/engine/soft/lapic.h"

#define VERSION ((ENGINE_GSIS - 1) << 16 | 0x20u)

/* MMIO offsets, then indirect registers. */
#define MMIO_SELECT 0x00u
#define MMIO_WINDOW 0x10u
#define MMIO_EOI    0x40u
#define REG_ID	    0u
#define REG_VERSION 1u
#define REG_ARB	    2u
#define REG_REDIR   0x10u

/* Redirection entry. */
#define ENTRY_VEC     0xffull
#define ENTRY_MODE(e) ((e) >> 8 & 7)
#define ENTRY_LOGICAL (1ull << 11)
#define ENTRY_STATUS  (1ull << 12)
#define ENTRY_RIRR    (1ull << 14)
#define ENTRY_LEVEL   (1ull << 15)
#define ENTRY_MASKED  (1ull << 16)
#define ENTRY_RO      (ENTRY_STATUS | ENTRY_RIRR)
#define ENTRY_KNOWN   (0xffull << 56 | 0x1ffff)

struct ioapic {
	pthread_mutex_t lock;
	struct lapic *lapic;
	uint32_t select, id;
	uint32_t lines; /* a bit an input that is asserted now */
	uint64_t redir[ENGINE_GSIS];
};

struct ioapic *ioapic_new(struct lapic *l)
{
	struct ioapic *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	pthread_mutex_init(&io->lock, NULL);
	io->lapic = l;
	for (unsigned i = 0; i < ENGINE_GSIS; i++)
		io->redir[i] = ENTRY_MASKED;
	return io;
}

void ioapic_free(struct ioapic *io)
{
	if (!io)
		return;
	pthread_mutex_destroy(&io->lock);
	free(io);
}

/* Fixed and lowest priority are one thing with one CPU; SMI, NMI, INIT and
 * ExtINT come from nothing that is wired here. */
static void send(struct ioapic *io, uint64_t entry, int level)
{
	if (ENTRY_MODE(entry) > 1 ||
	    !lapic_matches(io->lapic, (uint32_t)(entry >> 56),
			   !!(entry & ENTRY_LOGICAL)))
		return;
	lapic_post(io->lapic, entry & ENTRY_VEC, level);
}

/* A level input speaks once until its EOI. */
static void service_level(struct ioapic *io, unsigned gsi)
{
	uint64_t e = io->redir[gsi];

	if (!(e & ENTRY_LEVEL) || e & (ENTRY_MASKED | ENTRY_RIRR) ||
	    !(io->lines & 1u << gsi))
		return;
	io->redir[gsi] |= ENTRY_RIRR;
	send(io, e, 1);
}

/* Edges on a masked input are lost (82093AA 3.2.4, "Interrupt Mask"). */
static void service_edge(struct ioapic *io, unsigned gsi)
{
	uint64_t e = io->redir[gsi];

	if (!(e & (ENTRY_LEVEL | ENTRY_MASKED)))
		send(io, e, 0);
}

void ioapic_line(struct ioapic *io, unsigned gsi, int level)
{
	uint32_t bit, rose;

	if (gsi >= ENGINE_GSIS)
		return;
	bit = 1u << gsi;
	pthread_mutex_lock(&io->lock);
	rose = level ? bit & ~io->lines : 0;
	io->lines = level ? io->lines | bit : io->lines & ~bit;
	if (rose)
		service_edge(io, gsi);
	service_level(io, gsi);
	pthread_mutex_unlock(&io->lock);
}

/* For a level entry a pulse is a line that falls at once. */
void ioapic_pulse(struct ioapic *io, unsigned gsi)
{
	ioapic_line(io, gsi, 1);
	ioapic_line(io, gsi, 0);
}

static void eoi(struct ioapic *io, unsigned vec)
{
	for (unsigned i = 0; i < ENGINE_GSIS; i++) {
		if ((io->redir[i] & ENTRY_VEC) != vec ||
		    !(io->redir[i] & ENTRY_RIRR))
			continue;
		io->redir[i] &= ~ENTRY_RIRR;
		service_level(io, i);
	}
}

void ioapic_eoi(struct ioapic *io, unsigned vec)
{
	pthread_mutex_lock(&io->lock);
	eoi(io, vec);
	pthread_mutex_unlock(&io->lock);
}

/* --- registers -------------------------------------------------------------- */

static uint32_t reg_read(const struct ioapic *io)
{
	unsigned i = io->select - REG_REDIR;

	switch (io->select) {
	case REG_ID:
	case REG_ARB:
		return io->id;
	case REG_VERSION:
		return VERSION;
	default:
		if (io->select < REG_REDIR || i / 2 >= ENGINE_GSIS)
			return 0;
		return (uint32_t)(io->redir[i / 2] >> (i % 2 * 32));
	}
}

static void write_redir(struct ioapic *io, unsigned i, uint32_t v)
{
	unsigned shift = i % 2 * 32;
	uint64_t mask = 0xffffffffull << shift & ENTRY_KNOWN & ~ENTRY_RO;
	uint64_t *e = &io->redir[i / 2];

	*e = (*e & ~mask) | ((uint64_t)v << shift & mask);
	/* an edge entry has no remote IRR: how Linux clears a stuck one */
	if (!(*e & ENTRY_LEVEL))
		*e &= ~ENTRY_RIRR;
	service_level(io, i / 2);
}

static void reg_write(struct ioapic *io, uint32_t v)
{
	unsigned i = io->select - REG_REDIR;

	if (io->select == REG_ID)
		io->id = v & 0x0f000000;
	else if (io->select >= REG_REDIR && i / 2 < ENGINE_GSIS)
		write_redir(io, i, v);
}

static uint32_t mmio_read(const struct ioapic *io, uint32_t offset)
{
	switch (offset) {
	case MMIO_SELECT:
		return io->select;
	case MMIO_WINDOW:
		return reg_read(io);
	default:
		return 0;
	}
}

static void mmio_write(struct ioapic *io, uint32_t offset, uint32_t v)
{
	switch (offset) {
	case MMIO_SELECT:
		io->select = v & 0xff;
		break;
	case MMIO_WINDOW:
		reg_write(io, v);
		break;
	case MMIO_EOI:
		eoi(io, v & 0xff);
		break;
	default:
		break;
	}
}

void ioapic_mmio(struct ioapic *io, uint32_t offset, void *data, unsigned len,
		 int write)
{
	unsigned n = len < 4 ? len : 4;
	uint32_t v = 0;

	pthread_mutex_lock(&io->lock);
	if (write) {
		memcpy(&v, data, n);
		mmio_write(io, offset, v);
	} else {
		v = mmio_read(io, offset);
		memset(data, 0, len);
		memcpy(data, &v, n);
	}
	pthread_mutex_unlock(&io->lock);
}
