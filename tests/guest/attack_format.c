/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes the headers of other image formats into its disk and is
 * booted again from it: the disk is still the bytes that were written, and no
 * name in them was followed. Nobody ever looks what format an image has.
 */
#include "tests/guest/attack.h"

#define BUF	 BUFFERS
#define CAPACITY (ATTACK_DISK / 512)
/* Past the sectors that begin as they always do. */
#define DONE	 1000u

/* QCOW2: a backing file, and a size that is not the disk's. Big-endian. */
static const uint8_t qcow[] = {
	'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, /* magic, version */
	0, 0, 0, 0, 0, 0, 0, 0x68,	 /* where the backing file's name is */
	0, 0, 0, 11,			 /* its length */
	0, 0, 0, 16,			 /* cluster bits */
	0, 0, 0, 0, 0, 1, 0, 0,		 /* size: 64 KiB */
	[0x68] = '/', 'e', 't', 'c', '/', 'p', 'a', 's', 's', 'w', 'd',
};

static const char *const others[] = { "KDMV", "conectix", "vhdxfile",
				      "<<< QEMU VM Virtual Disk Image >>>",
				      "# Disk DescriptorFile\n" };
#define OTHERS (sizeof(others) / sizeof(others[0]))

static const uint8_t *header(unsigned boot)
{
	static uint8_t sector[512];
	const char *s = boot ? others[boot - 1] : "";

	memset(sector, 0, sizeof(sector));
	if (!boot)
		memcpy(sector, qcow, sizeof(qcow));
	for (unsigned i = 0; s[i]; i++)
		sector[i] = (uint8_t)s[i];
	return sector;
}

static int sector_is(struct dev *d, uint64_t sector, const uint8_t *want)
{
	if (blk_request(d, T_IN, sector, BUF, 512, 1) != S_OK)
		return 0;
	for (unsigned i = 0; i < 512; i++)
		if (((uint8_t *)BUF)[i] != want[i])
			return 0;
	return 1;
}

static int put(struct dev *d, uint64_t sector, const uint8_t *p)
{
	memcpy((void *)BUF, p, 512);
	return blk_request(d, T_OUT, sector, BUF, 512, 0) == S_OK;
}

int main(void)
{
	struct dev *d = attack_dev(BLK);
	uint32_t boots;
	uint8_t count[512];

	check(start(d), "the disk is there");
	check_eq(*(volatile uint64_t *)(d->base + VIRTIO_MMIO_CONFIG), CAPACITY,
		 "of its size");
	check(blk_request(d, T_IN, DONE, BUF, 512, 1) == S_OK, "boots so far");
	memcpy(&boots, (void *)BUF, sizeof(boots));
	if (boots)
		check(sector_is(d, 0, header(boots - 1)),
		      "it begins with what was written");
	if (boots > OTHERS)
		return 0;
	memset(count, 0, sizeof(count));
	boots++;
	memcpy(count, &boots, sizeof(boots));
	check(put(d, DONE, count) && put(d, 0, header(boots - 1)),
	      "another format's header");
	print("%s\n", SAY_AGAIN);
	return 0;
}
