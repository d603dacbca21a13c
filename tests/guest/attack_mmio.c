/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers and config space, of every device, as no driver would use them
 * (virtio 1.2, 2.1 and 4.2.2). Each part leaves the device working.
 */
#include "tests/guest/attack.h"

#define CONFIG_END 0x1000u

static const uint32_t values[] = { 0, 1, 0xffffffff, 0x12345678, 0x40000000 };
#define NVALUES (sizeof(values) / sizeof(values[0]))

/* DRIVER_OK: all but status is frozen, or harmless. */
static void live(struct dev *d)
{
	int ok = start(d) && works(d);

	for (uint32_t off = 0; off < VIRTIO_MMIO_CONFIG; off += 4)
		for (unsigned i = 0; i < NVALUES; i++) {
			if (off == VIRTIO_MMIO_STATUS)
				continue;
			reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
			reg_write(d, off, values[i]);
		}
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	ok &= reg_read(d, VIRTIO_MMIO_QUEUE_READY) == 1;
	check(ok && works(d), "every register written live");
}

/* The registers are one piece of code: every value on the device with the
 * most queues, fewer on the others. */
static uint32_t stride(const struct dev *d, uint32_t i)
{
	if (i < 8 || i > 65500)
		return 1;
	return d->slot == VSOCK ? attack_step(13) : 41;
}

static void select_all(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (uint32_t i = 0; i <= 65536; i += stride(d, i)) {
		uint32_t sel = i < 65536 ? i : 0xffffffff;
		uint32_t there = sel < d->nqueues;

		reg_write(d, VIRTIO_MMIO_QUEUE_SEL, sel);
		wrong += reg_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX) !=
			 (there ? RING_MAX : 0);
		wrong += reg_read(d, VIRTIO_MMIO_QUEUE_READY) != there;
		if (i % 64)
			continue;
		reg_write(d, VIRTIO_MMIO_QUEUE_NUM, 2);
		reg_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, sel);
		reg_write(d, VIRTIO_MMIO_QUEUE_READY, 0);
	}
	check_eq(wrong, 0, "queue_select: up to 65,536 values");
	check(works(d), "and it works");
}

static void notify_all(struct dev *d)
{
	start(d);
	for (uint32_t i = 0; i < 65536; i += stride(d, i))
		kick(d, i);
	kick(d, 0xffffffff);
	kick(d, 0x10000);
	check(works(d), "queue_notify: up to 65,536 values");
}

/* Before DRIVER_OK, and without any queue. */
static void notify_early(struct dev *d)
{
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	for (uint32_t i = 0; i < 4; i++)
		kick(d, i);
	negotiate(d, d->features);
	for (uint32_t i = 0; i < 4; i++)
		kick(d, i);
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
	for (uint32_t i = 0; i < 4; i++)
		kick(d, i);
	check(status(d) == ALL_OK && recovers(d),
	      "kicks without a queue to kick");
}

static uint64_t config_read(const struct dev *d, uint32_t off, unsigned len)
{
	volatile void *p = (volatile void *)(d->base + off);

	switch (len) {
	case 1:
		return *(volatile uint8_t *)p;
	case 2:
		return *(volatile uint16_t *)p;
	case 4:
		return *(volatile uint32_t *)p;
	default:
		return *(volatile uint64_t *)p;
	}
}

static void config_write(const struct dev *d, uint32_t off, unsigned len)
{
	volatile void *p = (volatile void *)(d->base + off);

	switch (len) {
	case 1:
		*(volatile uint8_t *)p = 0xff;
		break;
	case 2:
		*(volatile uint16_t *)p = 0xffff;
		break;
	case 4:
		*(volatile uint32_t *)p = 0xffffffff;
		break;
	default:
		*(volatile uint64_t *)p = ~0ull;
	}
}

/* The device's own, and the last. */
static int is_near(uint32_t off, unsigned len)
{
	return off < VIRTIO_MMIO_CONFIG + 128 || off + len > CONFIG_END - 16;
}

/* Any width at any offset is those bytes; past the end there are zeros. */
static void config(struct dev *d)
{
	static uint8_t byte[CONFIG_END];
	unsigned wrong = 0;

	start(d);
	for (uint32_t off = VIRTIO_MMIO_CONFIG; off < CONFIG_END; off++)
		byte[off] = (uint8_t)config_read(d, off, 1);
	for (unsigned len = 1; len <= 8; len *= 2)
		for (uint32_t off = VIRTIO_MMIO_CONFIG; off + len <= CONFIG_END;
		     off += is_near(off, len) ? 1 : attack_step(11)) {
			uint64_t want = 0;

			memcpy(&want, byte + off, len);
			config_write(d, off, len);
			wrong += config_read(d, off, len) != want;
			wrong += off >= VIRTIO_MMIO_CONFIG + 64 && want;
		}
	check_eq(wrong, 0, "config space: offset, length, width");
	check(works(d), "and it works");
}

/* 4.2.2.2: registers are 32 bits wide and aligned. Else nothing happens. */
static void widths(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (uint32_t off = 0; off < VIRTIO_MMIO_CONFIG; off++)
		for (unsigned len = 1; len <= 8; len *= 2) {
			if (len == 4 && off % 4 == 0)
				continue;
			/* not across into the config space */
			if (off + len > VIRTIO_MMIO_CONFIG)
				continue;
			wrong += config_read(d, off, len) != 0;
			config_write(d, off, len);
		}
	check_eq(wrong, 0, "registers at odd widths and places");
	check(works(d), "and it works");
}

static void backwards(struct dev *d)
{
	unsigned wrong = 0;

	start(d);
	for (uint32_t v = 1; v < ALL_OK; v++) {
		reg_write(d, VIRTIO_MMIO_STATUS, v);
		wrong += status(d) != ALL_OK;
	}
	check_eq(wrong, 0, "status written backwards");
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK | VIRTIO_S_NEEDS_RESET);
	check_eq(status(d), ALL_OK, "NEEDS_RESET is not the driver's to set");
	check(works(d), "and it works");
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK | VIRTIO_S_FAILED);
	kick(d, 0);
	check(recovers(d), "FAILED, then a reset");
}

static void order(struct dev *d)
{
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_S_DRIVER_OK);
	check_eq(status(d), 0, "DRIVER_OK alone");
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_S_FEATURES_OK);
	check_eq(status(d), 0, "FEATURES_OK alone");
	reg_write(d, VIRTIO_MMIO_STATUS, 0xffffffff);
	check(!(status(d) & (VIRTIO_S_FEATURES_OK | VIRTIO_S_DRIVER_OK)),
	      "all bits, without VERSION_1");
	check(!(negotiate(d, 0) & VIRTIO_S_FEATURES_OK), "no VERSION_1");
	for (unsigned bit = 0; bit < 64; bit++)
		if (!(d->features >> bit & 1) &&
		    negotiate(d, d->features | 1ull << bit) &
			    VIRTIO_S_FEATURES_OK)
			check(0, "a feature that is not offered");
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
	check(!(status(d) & VIRTIO_S_DRIVER_OK), "DRIVER_OK after a refusal");
	check(negotiate(d, d->features) & VIRTIO_S_FEATURES_OK,
	      "features accepted");
	accept_features(d, ~0ull);
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES_SEL, 2);
	reg_write(d, VIRTIO_MMIO_DRV_FEATURES, 0xffffffff);
	check(recovers(d), "features written after FEATURES_OK");
}

/* Queues that the device must not start. */
static void sizes(struct dev *d)
{
	static const uint32_t bad[] = { 0,   3,	    5,	   127,	  255,
					257, 512,   1024,  32768, 65535,
					65536, 65537, 65600, 0xffffffff };
	unsigned wrong = 0;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		negotiate(d, d->features);
		place_ring(d, 0, 64);
		reg_write(d, VIRTIO_MMIO_QUEUE_NUM, bad[i]);
		reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
		reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
		kick(d, 0);
		wrong += !(status(d) & VIRTIO_S_NEEDS_RESET);
	}
	check_eq(wrong, 0, "queue sizes: 0, odd, too big");
	check(recovers(d), "and it recovers");
	for (uint16_t n = 1; n <= RING_MAX; n *= 2)
		if (!start_with(d, d->features & ~VIRTIO_F_EVENT_IDX, n))
			check(0, "a good size");
}

static int starts_at(struct dev *d, uint32_t reg, uint64_t gpa)
{
	negotiate(d, d->features);
	place_ring(d, 0, 64);
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(d, reg, (uint32_t)gpa);
	reg_write(d, reg + 4, (uint32_t)(gpa >> 32));
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	reg_write(d, VIRTIO_MMIO_STATUS, ALL_OK);
	return status(d) == ALL_OK;
}

static void places(struct dev *d)
{
	static const struct {
		uint32_t reg, size, align;
	} part[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 64 * 16, 16 },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 64 * 2 + 6, 2 },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, 64 * 8 + 6, 4 },
	};
	static const uint64_t outside[] = {
		ATTACK_RAM, 0xc0000000, 0xbffffff0, 0xd0000000, 0xfee00000,
		0x100000000, 0xfffffff0, 1ull << 63, ~0ull - 15, ~0ull - 4095,
	};
	unsigned wrong = 0;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t last = (ATTACK_RAM - part[i].size) &
				~(uint64_t)(part[i].align - 1);

		wrong += !starts_at(d, part[i].reg, last);
		wrong += starts_at(d, part[i].reg, last + part[i].align);
		wrong += starts_at(d, part[i].reg,
				   BUFFERS + part[i].align / 2);
		for (unsigned k = 0; k < sizeof(outside) / 8; k++)
			wrong += starts_at(d, part[i].reg,
					   outside[k] & ~15ull);
	}
	check_eq(wrong, 0, "rings at the end of RAM and outside");
	check(recovers(d), "and it recovers");
}

/* The cause is set until it is acknowledged, by exactly that bit. */
static void acks(struct dev *d)
{
	start(d);
	for (unsigned i = 0; i < NVALUES; i++)
		reg_write(d, VIRTIO_MMIO_INTR_ACK, values[i]);
	check(works(d), "acknowledged before there was any");
	while (!(reg_read(d, VIRTIO_MMIO_INTR_STATUS) & VIRTIO_ISR_USED))
		__asm__ volatile("pause");
	reg_write(d, VIRTIO_MMIO_INTR_ACK, ~VIRTIO_ISR_USED);
	check_eq(reg_read(d, VIRTIO_MMIO_INTR_STATUS), VIRTIO_ISR_USED,
		 "other bits acknowledged");
	reg_write(d, VIRTIO_MMIO_INTR_STATUS, 0xffffffff);
	reg_write(d, VIRTIO_MMIO_INTR_ACK, VIRTIO_ISR_USED);
	check_eq(reg_read(d, VIRTIO_MMIO_INTR_STATUS), 0, "and this one");
	reg_write(d, VIRTIO_MMIO_INTR_ACK, VIRTIO_ISR_USED);
	check(works(d), "twice");
}

/* Anything anywhere, for a while. */
static void noise(struct dev *d)
{
	for (unsigned i = 0; i < 20000 / attack_step(8); i++) {
		uint32_t off = next_random() % 0x140 & ~3u;
		uint32_t v = next_random();

		reg_write(d, off, i & 1 ? v : v % 16);
		if (i % 256 == 0)
			negotiate(d, d->features);
	}
	check(recovers(d), "up to 20,000 random writes");
}

int main(void)
{
	static const struct {
		const char *name;
		unsigned slot;
	} devs[] = { { "disk", BLK }, { "read-only disk", BLK_RO },
		     { "limited disk", BLK_SLOW }, { "vsock", VSOCK },
		     { "rng", RNG }, { "network", NET } };

	for (unsigned i = 0; i < 5u + !!attack_has(NET); i++) {
		struct dev *d = attack_dev(devs[i].slot);

		print("%s\n", devs[i].name);
		check_eq(reg_read(d, VIRTIO_MMIO_MAGIC), 0x74726976, "there");
		live(d);
		select_all(d);
		notify_all(d);
		notify_early(d);
		config(d);
		widths(d);
		backwards(d);
		order(d);
		sizes(d);
		places(d);
		acks(d);
		noise(d);
	}
	return 0;
}
