/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem: guest physical memory.
 *
 * Owns the host mappings of guest RAM: one or two regions (below the hole at
 * 3 GiB, and from 4 GiB), private, anonymous, lazily backed. Built before any
 * vCPU runs and constant from then on, so every thread may translate without
 * a lock. What the memory holds is the guest's and changes at any moment:
 * read a field once, into a local, then judge it.
 */
#ifndef MAYFLY_VMM_GMEM_H
#define MAYFLY_VMM_GMEM_H

#include <stdint.h>

struct err;

#define GMEM_HOLE_START 0xc0000000ull  /* 3 GiB: RAM below ends here */
#define GMEM_HOLE_END	0x100000000ull /* 4 GiB: RAM above starts here */
#define GMEM_REGIONS	2

struct gmem_region {
	uint64_t gpa;  /* page aligned */
	uint64_t size; /* bytes, page aligned, never 0 */
	uint8_t *hva;
};

/* Told of device writes, so that an engine can drop what it derived from the
 * bytes (decoded code, dirty tracking). Any thread; must not block. */
typedef void (*gmem_wrote_fn)(void *opaque, uint64_t gpa, uint64_t len);

struct gmem {
	unsigned nregions;
	struct gmem_region r[GMEM_REGIONS];
	gmem_wrote_fn wrote; /* NULL: nobody listens */
	void *wrote_opaque;
};

/* @size in bytes: a multiple of 4 KiB, at least 1 MiB. */
int gmem_init(struct gmem *gm, uint64_t size, struct err *err);
void gmem_free(struct gmem *gm);
uint64_t gmem_size(const struct gmem *gm);

/*
 * The one translator: a host pointer to [gpa, gpa + len), which lies wholly
 * inside one region, or NULL. len 0 gives NULL. Overflow-safe.
 */
void *gmem_ptr(const struct gmem *gm, uint64_t gpa, uint64_t len);

/* After a device wrote into guest memory and before it tells the guest. */
static inline void gmem_wrote(const struct gmem *gm, uint64_t gpa, uint64_t len)
{
	if (gm->wrote)
		gm->wrote(gm->wrote_opaque, gpa, len);
}

/* Copy in or out; -EFAULT when not wholly inside RAM. gmem_write() notes. */
int gmem_read(const struct gmem *gm, uint64_t gpa, void *buf, uint64_t len);
int gmem_write(const struct gmem *gm, uint64_t gpa, const void *buf,
	       uint64_t len);

#endif
