/* SPDX-License-Identifier: Apache-2.0 */
/* Entropy: it comes, it varies, and there is a limit to it. */
#include "runner/virtio/rng.h"
#include "tests/unit/virtio_fake.h"

static struct fake f;

static void setup(void)
{
	fake_init(&f);
	f.dev = virtio_rng_new(&f.host, 5, NULL);
	cr_assert_not_null(f.dev);
	fake_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, 64);
	fake_run(&f);
}

static void teardown(void)
{
	fake_free(&f);
}

TestSuite(virtio_rng, .init = setup, .fini = teardown, .timeout = 60);

Test(virtio_rng, fills_the_buffer)
{
	uint64_t a = fake_alloc(&f, 4096), b = fake_alloc(&f, 4096);
	struct fake_seg s[] = { { a, 100, VRING_DESC_F_WRITE },
				{ b, 100, VRING_DESC_F_WRITE } };
	struct vring_used_elem e;

	f.noted = 0;
	fake_add(&f, 0, s, 2);
	fake_kick(&f, 0);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(e.len, 200);
	cr_assert_eq(f.noted, 200 + 10);
	cr_assert_neq(memcmp(fake_ptr(&f, a), fake_ptr(&f, b), 100), 0);
	cr_assert_eq(((uint8_t *)fake_ptr(&f, b))[100], 0);
}

Test(virtio_rng, one_request_gives_64_kib_at_most)
{
	struct fake_seg s = { fake_alloc(&f, 1 << 20), 1 << 20,
			      VRING_DESC_F_WRITE };
	struct vring_used_elem e;

	fake_add(&f, 0, &s, 1);
	fake_kick(&f, 0);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(e.len, VIRTIO_RNG_MAX);
}

Test(virtio_rng, a_turn_of_the_loop_is_bounded_and_all_is_served)
{
	struct fake_seg s = { fake_alloc(&f, 1 << 20), 1 << 20,
			      VRING_DESC_F_WRITE };
	struct vring_used_elem e;
	unsigned n = 0;

	for (int i = 0; i < 64; i++)
		fake_add(&f, 0, &s, 1);
	fake_write(&f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_assert_eq(ev_once(&f.loop, 0), 1);
	cr_assert_eq(fake_used_ring(&f, 0)->idx,
		     VIRTIO_RNG_ROUND / VIRTIO_RNG_MAX);
	fake_run(&f);
	while (fake_take(&f, 0, &e))
		n++;
	cr_assert_eq(n, 64);
}

Test(virtio_rng, readable_and_empty_buffers_are_given_back)
{
	struct fake_seg s[] = { { fake_alloc(&f, 64), 64, 0 },
				{ FAKE_HEAP, 0, VRING_DESC_F_WRITE } };
	struct vring_used_elem e;

	fake_add(&f, 0, s, 2);
	fake_kick(&f, 0);
	cr_assert(fake_take(&f, 0, &e));
	cr_assert_eq(e.len, 0);
	cr_assert_not(fake_broken(&f));
}

Test(virtio_rng, four_gib_buffer_does_not_grow_the_vmm)
{
	struct fake_seg s = { 0, UINT32_MAX, VRING_DESC_F_WRITE };

	fake_add(&f, 0, &s, 1);
	fake_kick(&f, 0);
	cr_assert(fake_broken(&f));
}
