/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical memory: the mappings and the one translator. */
#include "runner/vmm/gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define GMEM_PAGE 4096ull
#define HUGE_PAGE (2ull << 20)
#define GMEM_MIN  (1ull << 20)
/* Guest physical addresses have 36 bits at the least everywhere. */
#define GMEM_MAX (1ull << 36)

/*
 * @size bytes at a multiple of 2 MiB, in huge pages where the host has them:
 * KVM maps guest memory by the page size of the host, and a nested page fault
 * for each 4 KiB was most of the exits of a boot.
 */
static void *map_aligned(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (p == MAP_FAILED)
		return NULL;
	skip = -(uint64_t)(uintptr_t)p & (HUGE_PAGE - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + skip + size, HUGE_PAGE - skip);
	/* Advice only: without huge pages all works as before. */
	madvise(p + skip, size, MADV_HUGEPAGE);
	return p + skip;
}

static int region_add(struct gmem *gm, uint64_t gpa, uint64_t size,
		      struct err *err)
{
	struct gmem_region *r = &gm->r[gm->nregions];
	void *p = map_aligned(size);

	if (!p)
		return err_set(err, -errno, "guest memory: map %llu MiB",
			       (unsigned long long)(size >> 20));
	/* The VMM's core dump is not the place for the guest's secrets. */
	madvise(p, size, MADV_DONTDUMP);
	r->gpa = gpa;
	r->size = size;
	r->hva = p;
	gm->nregions++;
	return 0;
}

int gmem_init(struct gmem *gm, uint64_t size, struct err *err)
{
	uint64_t low = MIN(size, GMEM_HOLE_START);
	int r;

	memset(gm, 0, sizeof(*gm));
	if (size < GMEM_MIN || size > GMEM_MAX || size % GMEM_PAGE)
		return err_say(err, -EINVAL,
			       "guest memory: %llu bytes is not a whole number "
			       "of pages from 1 MiB to 64 GiB",
			       (unsigned long long)size);
	r = region_add(gm, 0, low, err);
	if (!r && size > low)
		r = region_add(gm, GMEM_HOLE_END, size - low, err);
	if (r)
		gmem_free(gm);
	return r;
}

void gmem_free(struct gmem *gm)
{
	for (unsigned i = 0; i < gm->nregions; i++)
		munmap(gm->r[i].hva, gm->r[i].size);
	memset(gm, 0, sizeof(*gm));
}

uint64_t gmem_size(const struct gmem *gm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < gm->nregions; i++)
		sum += gm->r[i].size;
	return sum;
}

void *gmem_ptr(const struct gmem *gm, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < gm->nregions; i++) {
		const struct gmem_region *r = &gm->r[i];
		uint64_t off = gpa - r->gpa;

		/* gpa below the region wraps to an off past its size. */
		if (off < r->size)
			return len && len <= r->size - off ? r->hva + off
							   : NULL;
	}
	return NULL;
}

int gmem_read(const struct gmem *gm, uint64_t gpa, void *buf, uint64_t len)
{
	const void *p = gmem_ptr(gm, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int gmem_write(const struct gmem *gm, uint64_t gpa, const void *buf,
	       uint64_t len)
{
	void *p = gmem_ptr(gm, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	gmem_wrote(gm, gpa, len);
	return 0;
}
