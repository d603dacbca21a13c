/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of virtio-mmio, against a device that only counts. */
#include "tests/unit/virtio_fake.h"

#define PROBE_FEATURE 1ull

struct probe {
	struct virtio_dev dev;
	int activated, resets, notified[2];
	uint8_t cfg[8];
};

static struct fake f;
static struct probe p;

static struct probe *self(struct virtio_dev *dev)
{
	return (struct probe *)dev;
}

static void probe_activate(struct virtio_dev *dev)
{
	self(dev)->activated++;
}

static void probe_reset(struct virtio_dev *dev)
{
	self(dev)->resets++;
}

static void probe_notify(struct virtio_dev *dev, unsigned queue)
{
	struct virtq_chain c;

	self(dev)->notified[queue]++;
	while (virtio_pop(dev, queue, &c))
		virtq_push(&dev->vq[queue], &c, 0);
	virtio_flush(dev, queue);
}

static void probe_cfg_read(struct virtio_dev *dev, uint64_t off, void *data,
			   unsigned len)
{
	virtio_cfg_copy(self(dev)->cfg, sizeof(self(dev)->cfg), off, data, len);
}

static void probe_free(struct virtio_dev *dev)
{
	virtio_fini(dev);
}

static const struct virtio_ops probe_ops = {
	.id = 42,
	.name = "probe",
	.nqueues = 2,
	.features = PROBE_FEATURE,
	.activate = probe_activate,
	.reset = probe_reset,
	.notify = probe_notify,
	.cfg_read = probe_cfg_read,
	.free = probe_free,
};

#define ALL (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | \
	     PROBE_FEATURE)

static void setup(void)
{
	fake_init(&f);
	memset(&p, 0, sizeof(p));
	memcpy(p.cfg, "\1\2\3\4\5\6\7\10", 8);
	cr_assert_eq(virtio_init(&p.dev, &probe_ops, &f.host, 5, NULL), 0);
	f.dev = &p.dev;
}

static void teardown(void)
{
	fake_free(&f);
}

TestSuite(virtio_mmio, .init = setup, .fini = teardown, .timeout = 60);

Test(virtio_mmio, identifies_itself)
{
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_MAGIC), 0x74726976);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_VERSION), 2);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_DEVICE_ID), 42);
	cr_assert_eq(fake_offered(&f), ALL);
	fake_write(&f, VIRTIO_MMIO_DEV_FEATURES_SEL, 2);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_DEV_FEATURES), 0);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
}

Test(virtio_mmio, starts_and_activates_on_the_main_thread)
{
	fake_start(&f, ALL, 16);
	cr_assert_eq(p.activated, 0);
	fake_run(&f);
	cr_assert_eq(p.activated, 1);
	cr_assert_eq(p.notified[0], 1);
	fake_kick(&f, 1);
	cr_assert_eq(p.notified[1], 2);
}

Test(virtio_mmio, version_1_is_mandatory)
{
	fake_negotiate(&f, ALL & ~VIRTIO_F_VERSION_1);
	cr_assert_not(fake_read(&f, VIRTIO_MMIO_STATUS) & VIRTIO_S_FEATURES_OK);
}

Test(virtio_mmio, features_not_offered_are_refused)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		bool known = ALL & (1ull << bit);

		fake_negotiate(&f, VIRTIO_F_VERSION_1 | 1ull << bit);
		cr_assert_eq(!!(fake_read(&f, VIRTIO_MMIO_STATUS) &
				VIRTIO_S_FEATURES_OK), known, "bit %u", bit);
	}
}

Test(virtio_mmio, features_are_frozen_once_accepted)
{
	fake_negotiate(&f, VIRTIO_F_VERSION_1);
	fake_accept(&f, ALL);
	cr_assert_eq(p.dev.driver_features, VIRTIO_F_VERSION_1);
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_accept(&f, ALL);
	cr_assert_eq(p.dev.driver_features, 0);
}

Test(virtio_mmio, status_steps_cannot_be_skipped_or_taken_back)
{
	fake_write(&f, VIRTIO_MMIO_STATUS, VIRTIO_S_DRIVER_OK);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_STATUS), 0);
	fake_write(&f, VIRTIO_MMIO_STATUS,
		   VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_DRIVER_OK);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_STATUS),
		     VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	fake_write(&f, VIRTIO_MMIO_STATUS, VIRTIO_S_ACKNOWLEDGE);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_STATUS),
		     VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	/* NEEDS_RESET and unknown bits are not the driver's to set. */
	fake_write(&f, VIRTIO_MMIO_STATUS, 0xffffff73);
	cr_assert_not(fake_broken(&f));
}

Test(virtio_mmio, every_status_value_from_every_status_is_harmless)
{
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			uint32_t s;

			fake_write(&f, VIRTIO_MMIO_STATUS, 0);
			fake_write(&f, VIRTIO_MMIO_STATUS, a);
			fake_write(&f, VIRTIO_MMIO_STATUS, b);
			s = fake_read(&f, VIRTIO_MMIO_STATUS);
			cr_assert_not(s & VIRTIO_S_DRIVER_OK);
		}
}

Test(virtio_mmio, queue_select_out_of_range_reads_zero_and_ignores_writes)
{
	fake_negotiate(&f, ALL);
	for (uint32_t sel = 0; sel < 65536; sel++) {
		fake_write(&f, VIRTIO_MMIO_QUEUE_SEL, sel);
		cr_assert_eq(fake_read(&f, VIRTIO_MMIO_QUEUE_NUM_MAX),
			     sel < 2 ? VIRTQ_SIZE_MAX : 0);
		fake_write(&f, VIRTIO_MMIO_QUEUE_NUM, 64);
		fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 1);
		cr_assert_eq(fake_read(&f, VIRTIO_MMIO_QUEUE_READY), sel < 2);
	}
	cr_assert_not(p.dev.vq[2].ready);
}

Test(virtio_mmio, notify_out_of_range_is_ignored)
{
	fake_start(&f, ALL, 16);
	fake_run(&f);
	for (uint32_t q = 2; q < 65536; q++)
		fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	cr_assert_eq(ev_once(&f.loop, 0), 0);
}

/* CVE-2026-5747 */
Test(virtio_mmio, queue_registers_are_frozen_while_the_device_runs)
{
	static const uint32_t regs[] = {
		VIRTIO_MMIO_QUEUE_NUM,	     VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_QUEUE_DESC_LOW,  VIRTIO_MMIO_QUEUE_DESC_HIGH,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
		VIRTIO_MMIO_QUEUE_USED_LOW,  VIRTIO_MMIO_QUEUE_USED_HIGH,
		VIRTIO_MMIO_DRV_FEATURES,
	};
	struct virtq before;
	uint64_t features;

	fake_start(&f, ALL, 16);
	fake_run(&f);
	before = p.dev.vq[0];
	features = p.dev.driver_features;
	fake_write(&f, VIRTIO_MMIO_QUEUE_SEL, 0);
	for (unsigned i = 0; i < sizeof(regs) / sizeof(*regs); i++) {
		fake_write(&f, regs[i], 0);
		fake_write(&f, regs[i], UINT32_MAX);
	}
	cr_assert_eq(memcmp(&before, &p.dev.vq[0], sizeof(before)), 0);
	cr_assert_eq(p.dev.driver_features, features);
}

Test(virtio_mmio, ready_queue_keeps_its_registers_before_driver_ok)
{
	fake_negotiate(&f, ALL);
	fake_place_queue(&f, 0, 16);
	fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 1);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NUM, 32);
	fake_write(&f, VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	cr_assert_eq(p.dev.vq[0].size, 16);
	cr_assert_eq(p.dev.vq[0].desc_gpa, f.q[0].desc);
	fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 0);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NUM, 32);
	cr_assert_eq(p.dev.vq[0].size, 32);
}

Test(virtio_mmio, bad_queue_needs_reset_with_a_config_interrupt)
{
	static const uint32_t sizes[] = { 0, 3, 257, 65536, 65536 + 16,
					  UINT32_MAX };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		int irqs = f.irqs;

		fake_negotiate(&f, ALL);
		fake_place_queue(&f, 0, 16);
		fake_write(&f, VIRTIO_MMIO_QUEUE_NUM, sizes[i]);
		fake_write(&f, VIRTIO_MMIO_QUEUE_READY, 1);
		fake_write(&f, VIRTIO_MMIO_STATUS, FAKE_OK);
		cr_assert(fake_broken(&f), "size %u", sizes[i]);
		cr_assert_eq(f.irqs, irqs + 1);
		cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS),
			     VIRTIO_ISR_CONFIG);
		fake_kick(&f, 0);
		cr_assert_eq(p.activated, 0);
		cr_assert_eq(p.notified[0], 0);
	}
}

Test(virtio_mmio, broken_ring_stops_until_reset)
{
	fake_start(&f, ALL, 16);
	fake_run(&f);
	fake_avail(&f, 0)->idx = 1000;
	fake_kick(&f, 0);
	cr_assert(fake_broken(&f));
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS), VIRTIO_ISR_CONFIG);
	p.notified[0] = p.notified[1] = 0;
	p.resets = 0;
	fake_kick(&f, 0);
	fake_kick(&f, 1);
	cr_assert_eq(p.notified[0] + p.notified[1], 0);
	fake_start(&f, ALL, 16);
	fake_kick(&f, 0);
	cr_assert_eq(p.resets, 1);
	cr_assert_eq(p.activated, 2);
	cr_assert_gt(p.notified[0], 0);
}

Test(virtio_mmio, used_buffer_interrupt_is_set_and_acknowledged)
{
	struct fake_seg s = { fake_alloc(&f, 16), 16, 0 };

	fake_start(&f, VIRTIO_F_VERSION_1, 16);
	fake_run(&f);
	for (int i = 0; i < 5; i++)
		fake_add(&f, 0, &s, 1);
	fake_kick(&f, 0);
	cr_assert_eq(f.irqs, 1); /* one for the batch */
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS), VIRTIO_ISR_USED);
	fake_write(&f, VIRTIO_MMIO_INTR_ACK, VIRTIO_ISR_CONFIG);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS), VIRTIO_ISR_USED);
	/* a second edge while the first is not acknowledged */
	fake_add(&f, 0, &s, 1);
	fake_kick(&f, 0);
	cr_assert_eq(f.irqs, 2);
	fake_write(&f, VIRTIO_MMIO_INTR_ACK, UINT32_MAX);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS), 0);
}

Test(virtio_mmio, reset_forgets_all)
{
	fake_start(&f, ALL, 16);
	fake_run(&f);
	p.resets = 0;
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_INTR_STATUS), 0);
	cr_assert_eq(p.dev.driver_features, 0);
	cr_assert_not(virtq_running(&p.dev.vq[0]));
	cr_assert_not(p.dev.vq[0].ready);
	fake_run(&f);
	cr_assert_eq(p.resets, 1);
}

Test(virtio_mmio, reset_before_activation_cancels_it)
{
	fake_start(&f, ALL, 16);
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_run(&f);
	cr_assert_eq(p.activated, 0);
	fake_start(&f, ALL, 16);
	fake_write(&f, VIRTIO_MMIO_STATUS, 0);
	fake_start(&f, ALL, 16);
	fake_run(&f);
	cr_assert_eq(p.activated, 1);
}

Test(virtio_mmio, odd_accesses_to_registers_read_zero_and_write_nothing)
{
	static const unsigned lens[] = { 1, 2, 4, 8 };

	for (uint64_t off = 0; off < VIRTIO_MMIO_CONFIG; off++)
		for (unsigned l = 0; l < 4; l++) {
			uint64_t v = UINT64_MAX, zero = 0;

			if (lens[l] == 4 && off % 4 == 0)
				continue;
			virtio_mmio_access(&p.dev, off, &v, lens[l], 0);
			cr_assert_eq(memcmp(&v, &zero, lens[l]), 0);
			v = UINT64_MAX;
			virtio_mmio_access(&p.dev, off, &v, lens[l], 1);
		}
	cr_assert_eq(fake_read(&f, VIRTIO_MMIO_STATUS), 0);
}

Test(virtio_mmio, config_space_is_safe_at_any_offset_and_width)
{
	static const unsigned lens[] = { 1, 2, 4, 8 };

	for (uint64_t i = 0; i < 0x2000; i++)
		for (unsigned l = 0; l < 4; l++) {
			/* from the start, and up to the very last offset */
			uint64_t off = i < 0x1000 ? VIRTIO_MMIO_CONFIG + i
						  : UINT64_MAX - (i - 0x1000);
			uint64_t rel = off - VIRTIO_MMIO_CONFIG;
			uint8_t v[8];

			memset(v, 0xff, sizeof(v));
			virtio_mmio_access(&p.dev, off, v, lens[l], 0);
			for (unsigned b = 0; b < lens[l]; b++)
				cr_assert_eq(v[b], rel < 8 && rel + b < 8
							   ? rel + b + 1 : 0);
			virtio_mmio_access(&p.dev, off, v, lens[l], 1);
		}
	cr_assert_eq(p.cfg[0], 1);
}

Test(virtio_mmio, random_register_writes_are_harmless)
{
	srand(3);
	for (int i = 0; i < 300000; i++) {
		uint32_t v = (uint32_t)rand();

		if (rand() % 4)
			v &= 0xf;
		fake_write(&f, (uint64_t)(rand() % 64) * 4, v);
		if (i % 64 == 0)
			ev_once(&f.loop, 0);
	}
}
