/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register accesses in any order, width and value, on the simplest device:
 * what the transport does. The status never skips a step (virtio 1.2, 2.1).
 */
#include "runner/virtio/rng.h"
#include "tests/fuzz/device.h"

#define OK (VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK)

static void registers(struct fuzz *f, struct bytes *b, unsigned what)
{
	static const uint16_t reg[] = {
		VIRTIO_MMIO_DEV_FEATURES_SEL, VIRTIO_MMIO_DRV_FEATURES,
		VIRTIO_MMIO_DRV_FEATURES_SEL, VIRTIO_MMIO_QUEUE_SEL,
		VIRTIO_MMIO_QUEUE_NUM,	      VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_QUEUE_NOTIFY,     VIRTIO_MMIO_INTR_ACK,
		VIRTIO_MMIO_STATUS,	      VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH,  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH,  VIRTIO_MMIO_STATUS,
	};
	uint16_t off = reg[take8(b) % 16];
	uint32_t s;

	fuzz_reg(f, off, what == FUZZ_COMMON ? take8(b) : take32(b));
	s = fuzz_status(f);
	must(!(s & VIRTIO_S_DRIVER_OK) || (s & OK) == OK);
	must(!(s & VIRTIO_S_FEATURES_OK) ||
	     (f->dev->driver_features & ~f->dev->features) == 0);
	must(!virtio_running(f->dev) || !f->dev->vq[0].ready ||
	     virtq_running(&f->dev->vq[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	static struct fuzz f;

	fuzz_begin(&f);
	f.dev = virtio_rng_new(&f.host, 5, NULL);
	must(f.dev);
	fuzz_steps(&f, &b, FUZZ_COMMON + 2, registers);
	fuzz_end(&f);
	return 0;
}
