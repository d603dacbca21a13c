/* SPDX-License-Identifier: Apache-2.0 */
/* The split ring against drivers that keep the rules and that do not. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/virtio_fake.h"

#define DESC  0x1000ull
#define AVAIL 0x2000ull
#define USED  0x3000ull
#define TABLE 0x4000ull
#define DATA  0x10000ull

static struct gmem gm;
static struct virtq q;
static struct virtq_chain chain;
static uint64_t noted;

static void on_noted(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque, (void)gpa;
	noted += len;
}

static void start(uint16_t size, uint64_t features)
{
	virtq_reset(&q);
	q.size = size;
	q.desc_gpa = DESC;
	q.avail_gpa = AVAIL;
	q.used_gpa = USED;
	cr_assert_eq(virtq_start(&q, &gm, features), 0);
	noted = 0;
}

static void setup(void)
{
	cr_assert_eq(gmem_init(&gm, 1 << 20, NULL), 0);
	gm.wrote = on_noted;
	start(8, VIRTIO_F_INDIRECT_DESC);
}

static void teardown(void)
{
	gmem_free(&gm);
}

static struct vring_desc *desc(unsigned i)
{
	return (struct vring_desc *)gmem_ptr(&gm, DESC, 4096) + i;
}

static struct vring_desc *table(unsigned i)
{
	return (struct vring_desc *)gmem_ptr(&gm, TABLE, 8192) + i;
}

static struct vring_avail *avail(void)
{
	return gmem_ptr(&gm, AVAIL, 4096);
}

static struct vring_used *used(void)
{
	return gmem_ptr(&gm, USED, 4096);
}

static void offer(uint16_t head)
{
	avail()->ring[avail()->idx % q.size] = head;
	avail()->idx++;
}

static int pop(void)
{
	return virtq_pop(&q, &chain);
}

TestSuite(virtqueue, .init = setup, .fini = teardown, .timeout = 60);

Test(virtqueue, empty_ring_gives_nothing)
{
	cr_assert_eq(pop(), 0);
}

Test(virtqueue, stopped_ring_gives_nothing)
{
	virtq_reset(&q);
	cr_assert_eq(pop(), 0);
}

Test(virtqueue, chain_is_split_into_readable_and_writable)
{
	uint8_t buf[8];

	*desc(3) = (struct vring_desc){ DATA, 16, VRING_DESC_F_NEXT, 5 };
	*desc(5) = (struct vring_desc){ DATA + 4096, 100,
					VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
					1 };
	*desc(1) = (struct vring_desc){ DATA + 8192, 1, VRING_DESC_F_WRITE, 0 };
	offer(3);
	memcpy(gmem_ptr(&gm, DATA, 16), "0123456789abcdef", 16);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.head, 3);
	cr_assert_eq(chain.nout, 1);
	cr_assert_eq(chain.nin, 2);
	cr_assert_eq(chain.out_len, 16);
	cr_assert_eq(chain.in_len, 101);
	cr_assert(virtq_read(&chain, 10, buf, 6));
	cr_assert_arr_eq(buf, "abcdef", 6);
	cr_assert_not(virtq_read(&chain, 10, buf, 7));
	cr_assert_not(virtq_read(&chain, UINT32_MAX, buf, 2));
	cr_assert(virtq_write(&q, &chain, 99, "xy", 2));
	cr_assert_eq(*(char *)gmem_ptr(&gm, DATA + 4096 + 99, 1), 'x');
	cr_assert_eq(*(char *)gmem_ptr(&gm, DATA + 8192, 1), 'y');
	cr_assert_eq(noted, 2);
	cr_assert_not(virtq_write(&q, &chain, 100, "xy", 2));
	virtq_push(&q, &chain, 101);
	cr_assert_eq(used()->idx, 1);
	cr_assert_eq(used()->ring[0].id, 3);
	cr_assert_eq(used()->ring[0].len, 101);
	cr_assert_eq(noted, 2 + 8 + 2);
	cr_assert_eq(pop(), 0);
}

Test(virtqueue, slices_follow_segment_borders)
{
	struct iovec iov[VIRTQ_SIZE_MAX];

	*desc(0) = (struct vring_desc){ DATA, 10, VRING_DESC_F_NEXT, 1 };
	*desc(1) = (struct vring_desc){ DATA + 100, 10, 0, 0 };
	offer(0);
	cr_assert_eq(pop(), 1);
	for (unsigned off = 0; off < 25; off++)
		for (unsigned len = 0; len < 25; len++) {
			unsigned n = virtq_out(&chain, off, len, iov);
			unsigned sum = 0, want = off < 20 ? 20 - off : 0;

			for (unsigned i = 0; i < n; i++)
				sum += (unsigned)iov[i].iov_len;
			cr_assert_eq(sum, want < len ? want : len);
		}
}

Test(virtqueue, bad_size_or_alignment_does_not_start)
{
	static const uint16_t bad[] = { 0, 3, 257, 512, 65535 };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		q.size = bad[i];
		cr_assert_eq(virtq_start(&q, &gm, 0), -EINVAL);
	}
	q.size = 8;
	q.desc_gpa = DESC + 8;
	cr_assert_eq(virtq_start(&q, &gm, 0), -EINVAL);
	q.desc_gpa = DESC;
	q.avail_gpa = AVAIL + 1;
	cr_assert_eq(virtq_start(&q, &gm, 0), -EINVAL);
	q.avail_gpa = AVAIL;
	q.used_gpa = USED + 2;
	cr_assert_eq(virtq_start(&q, &gm, 0), -EINVAL);
}

Test(virtqueue, rings_outside_ram_do_not_start)
{
	static const uint64_t bad[] = { (1 << 20) - 16, 1 << 20,
					0xc0000000ull, UINT64_MAX - 15 };

	for (unsigned i = 0; i < 4; i++) {
		struct virtq c = { .size = 8, .desc_gpa = bad[i],
				   .avail_gpa = AVAIL, .used_gpa = USED };

		cr_assert_eq(virtq_start(&c, &gm, 0), -EFAULT);
		cr_assert_not(virtq_running(&c));
		c.desc_gpa = DESC;
		c.avail_gpa = bad[i];
		cr_assert_eq(virtq_start(&c, &gm, 0), -EFAULT);
		c.avail_gpa = AVAIL;
		c.used_gpa = bad[i];
		cr_assert_eq(virtq_start(&c, &gm, 0), -EFAULT);
	}
}

Test(virtqueue, loop_in_chain_is_an_error)
{
	*desc(0) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 1 };
	*desc(1) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 0 };
	offer(0);
	cr_assert_eq(pop(), -EPROTO);
	*desc(0) = (struct vring_desc){ DATA, 0, VRING_DESC_F_NEXT, 0 };
	cr_assert_eq(pop(), -EPROTO);
}

Test(virtqueue, longest_chain_is_accepted)
{
	for (unsigned i = 0; i < 8; i++)
		*desc(i) = (struct vring_desc){
			DATA, 1, i < 7 ? VRING_DESC_F_NEXT : 0, i + 1 };
	offer(0);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.nout, 8);
}

Test(virtqueue, head_or_next_past_the_table_is_an_error)
{
	for (unsigned v = 8; v < 65536; v++) {
		avail()->ring[0] = (uint16_t)v;
		avail()->idx = 1;
		cr_assert_eq(pop(), -EPROTO);
	}
	avail()->ring[0] = 0;
	for (unsigned v = 8; v < 65536; v++) {
		*desc(0) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT,
						(uint16_t)v };
		cr_assert_eq(pop(), -EPROTO);
	}
}

Test(virtqueue, avail_idx_further_than_the_size_is_an_error)
{
	*desc(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	for (unsigned idx = 9; idx < 65536; idx++) {
		avail()->idx = (uint16_t)idx;
		cr_assert_eq(pop(), -EPROTO);
	}
	avail()->idx = 8;
	cr_assert_eq(pop(), 1);
}

Test(virtqueue, buffers_must_lie_in_ram)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		int want;
	} t[] = {
		{ (1 << 20) - 1, 1, 1 },
		{ (1 << 20) - 1, 2, -EFAULT },
		{ 1 << 20, 1, -EFAULT },
		{ 0xd0000000, 4096, -EFAULT },
		{ UINT64_MAX, 1, -EFAULT },
		{ UINT64_MAX, 2, -EFAULT },
		{ UINT64_MAX - 1, UINT32_MAX, -EFAULT },
		{ 0, UINT32_MAX, -EFAULT },
		{ 0, 1 << 20, 1 },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		start(8, 0);
		avail()->idx = 0;
		*desc(0) = (struct vring_desc){ t[i].addr, t[i].len, 0, 0 };
		offer(0);
		cr_assert_eq(pop(), t[i].want, "case %u", i);
	}
}

Test(virtqueue, readable_after_writable_is_an_error)
{
	*desc(0) = (struct vring_desc){
		DATA, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 };
	*desc(1) = (struct vring_desc){ DATA, 1, 0, 0 };
	offer(0);
	cr_assert_eq(pop(), -EPROTO);
}

Test(virtqueue, empty_segments_are_skipped)
{
	*desc(0) = (struct vring_desc){ UINT64_MAX, 0, VRING_DESC_F_NEXT, 1 };
	*desc(1) = (struct vring_desc){ DATA, 3, VRING_DESC_F_NEXT, 2 };
	*desc(2) = (struct vring_desc){ 0, 0, VRING_DESC_F_WRITE, 0 };
	offer(0);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.nout, 1);
	cr_assert_eq(chain.nin, 0);
	cr_assert_eq(chain.iov[0].iov_len, 3);
}

/* Every shape of three descriptors: flags, lengths, next. */
Test(virtqueue, all_three_descriptor_chains_end)
{
	static const uint32_t lens[] = { 0, 1, 16, UINT32_MAX };
	unsigned ok = 0, bad = 0;

	for (unsigned s = 0; s < 8 * 8 * 8 * 64; s++)
		for (unsigned l = 0; l < 64; l += 3) {
			start(4, VIRTIO_F_INDIRECT_DESC);
			avail()->idx = 0;
			for (unsigned i = 0; i < 3; i++)
				*desc(i) = (struct vring_desc){
					DATA, lens[(l >> (2 * i)) & 3],
					(s >> (3 * i)) & 7,
					(s >> (9 + 2 * i)) & 3 };
			offer(0);
			if (pop() == 1)
				ok++;
			else
				bad++;
		}
	cr_assert(ok > 0 && bad > 0);
}

Test(virtqueue, indirect_table_is_followed)
{
	*desc(0) = (struct vring_desc){ DATA, 4, VRING_DESC_F_NEXT, 1 };
	/* WRITE on the entry that points to the table has no meaning. */
	*desc(1) = (struct vring_desc){
		TABLE, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0 };
	*table(0) = (struct vring_desc){ DATA, 5, VRING_DESC_F_NEXT, 1 };
	*table(1) = (struct vring_desc){ DATA, 6, VRING_DESC_F_WRITE, 0 };
	offer(0);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.nout, 2);
	cr_assert_eq(chain.out_len, 9);
	cr_assert_eq(chain.in_len, 6);
}

Test(virtqueue, malformed_indirect_is_an_error)
{
	static const uint32_t lens[] = { 0, 1, 15, 17, 31, 257 * 16,
					 0xfffffff0, UINT32_MAX };

	*table(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	offer(0);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		*desc(0) = (struct vring_desc){ TABLE, lens[i],
						VRING_DESC_F_INDIRECT, 0 };
		cr_assert_eq(pop(), -EPROTO, "length %u", lens[i]);
	}
	*desc(0) = (struct vring_desc){
		TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 };
	cr_assert_eq(pop(), -EPROTO);
	*desc(0) = (struct vring_desc){ 1 << 20, 16, VRING_DESC_F_INDIRECT, 0 };
	cr_assert_eq(pop(), -EFAULT);
	/* a table in a table, a loop, a next past the end */
	*desc(0) = (struct vring_desc){ TABLE, 16, VRING_DESC_F_INDIRECT, 0 };
	*table(0) = (struct vring_desc){ TABLE, 16, VRING_DESC_F_INDIRECT, 0 };
	cr_assert_eq(pop(), -EPROTO);
	*table(0) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 0 };
	cr_assert_eq(pop(), -EPROTO);
	*table(0) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 1 };
	cr_assert_eq(pop(), -EPROTO);
}

Test(virtqueue, indirect_without_negotiation_is_an_error)
{
	start(8, 0);
	*desc(0) = (struct vring_desc){ TABLE, 16, VRING_DESC_F_INDIRECT, 0 };
	*table(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	offer(0);
	cr_assert_eq(pop(), -EPROTO);
}

Test(virtqueue, segments_of_ring_and_table_share_one_limit)
{
	*desc(0) = (struct vring_desc){ DATA, 1, VRING_DESC_F_NEXT, 1 };
	*desc(1) = (struct vring_desc){ TABLE, 256 * 16, VRING_DESC_F_INDIRECT,
					0 };
	for (unsigned i = 0; i < 256; i++)
		*table(i) = (struct vring_desc){
			DATA, 1, i < 255 ? VRING_DESC_F_NEXT : 0, i + 1 };
	offer(0);
	cr_assert_eq(pop(), -EPROTO);
	table(254)->flags = 0;
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.nout, 256);
}

Test(virtqueue, sum_of_lengths_does_not_overflow)
{
	struct gmem big;

	/* 16 x 256 MiB of the same memory is 2^32 bytes. */
	cr_assert_eq(gmem_init(&big, 512 << 20, NULL), 0);
	start(8, VIRTIO_F_INDIRECT_DESC);
	q.gm = &big;
	for (unsigned i = 0; i < 16; i++)
		((struct vring_desc *)gmem_ptr(&big, TABLE, 4096))[i] =
			(struct vring_desc){ 0, 256 << 20,
					     i < 15 ? VRING_DESC_F_NEXT : 0,
					     i + 1 };
	*desc(0) = (struct vring_desc){ TABLE, 256, VRING_DESC_F_INDIRECT, 0 };
	offer(0);
	cr_assert_eq(pop(), -EPROTO);
	gmem_free(&big);
}

Test(virtqueue, unpop_gives_the_same_chain_again)
{
	*desc(2) = (struct vring_desc){ DATA, 7, 0, 0 };
	offer(2);
	cr_assert_eq(pop(), 1);
	virtq_unpop(&q);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.head, 2);
	cr_assert_eq(pop(), 0);
}

Test(virtqueue, flag_suppresses_interrupts)
{
	*desc(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	cr_assert_not(virtq_must_notify(&q));
	for (int i = 0; i < 4; i++) {
		offer(0);
		cr_assert_eq(pop(), 1);
		avail()->flags = i & 1;
		virtq_push(&q, &chain, 0);
		cr_assert_eq(virtq_must_notify(&q), !(i & 1));
		cr_assert_not(virtq_must_notify(&q));
	}
}

Test(virtqueue, event_idx_interrupts_when_passed_and_across_the_wrap)
{
	start(8, VIRTIO_F_EVENT_IDX);
	*desc(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	for (unsigned i = 0; i < 70000; i++) {
		bool want = i % 3 == 0;

		/* Ask for this completion, or for the one after it. */
		avail()->ring[8] = (uint16_t)(want ? i : i + 1);
		offer(0);
		cr_assert_eq(pop(), 1);
		virtq_push(&q, &chain, 0);
		cr_assert_eq(virtq_must_notify(&q), want, "round %u", i);
	}
}

Test(virtqueue, empty_ring_asks_for_the_next_kick)
{
	start(8, VIRTIO_F_EVENT_IDX);
	*desc(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	offer(0);
	offer(0);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(*(uint16_t *)&used()->ring[8], 0);
	cr_assert_eq(pop(), 1);
	cr_assert_eq(pop(), 0);
	cr_assert_eq(*(uint16_t *)&used()->ring[8], 2);
	cr_assert_eq(noted, 2);
}

Test(virtqueue, registers_changed_after_start_change_nothing)
{
	*desc(0) = (struct vring_desc){ DATA, 1, 0, 0 };
	offer(0);
	q.desc_gpa = q.avail_gpa = UINT64_MAX;
	cr_assert_eq(pop(), 1);
	cr_assert_eq(chain.iov[0].iov_base, gmem_ptr(&gm, DATA, 1));
}

/* A driver that looks in between sees none of them, or all. */
Test(virtqueue, chains_pushed_together_are_told_together)
{
	struct vring_used_elem e[] = { { 3, 10 }, { 1, 20 }, { 2, 0 } };
	const struct vring_used *u = gmem_ptr(&gm, q.used_gpa, 1);

	q.next_used = q.told_used = 6; /* the last lies behind the wrap */
	virtq_push_all(&q, e, 3);
	cr_assert_eq(u->idx, 9);
	cr_assert_eq(u->ring[6].id, 3);
	cr_assert_eq(u->ring[7].len, 20);
	cr_assert_eq(u->ring[0].id, 2);
	cr_assert(virtq_must_notify(&q));
	cr_assert_not(virtq_must_notify(&q));
}

/* Random rings: whatever is in there, what comes out lies in RAM. */
Test(virtqueue, random_rings_give_only_ram)
{
	uint8_t *ram = gm.r[0].hva;

	srand(1);
	for (int round = 0; round < 20000; round++) {
		start(16, VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
		for (unsigned i = 0; i < 16; i++) {
			*desc(i) = (struct vring_desc){
				(uint64_t)rand() % (1100 << 10),
				(uint32_t)rand() % 8192, rand() & 7,
				(uint16_t)(rand() % 17) };
			*table(i) = *desc(i);
			if (rand() % 4 == 0)
				desc(i)->addr = TABLE;
			if (rand() % 4 == 0)
				desc(i)->len = 16 * (rand() % 16u);
		}
		avail()->idx = 0;
		offer((uint16_t)(rand() % 17));
		if (pop() != 1)
			continue;
		for (unsigned i = 0; i < chain.nout + chain.nin; i++) {
			uint8_t *p = chain.iov[i].iov_base;

			cr_assert(p >= ram && chain.iov[i].iov_len > 0);
			cr_assert(p + chain.iov[i].iov_len <= ram + (1 << 20));
			cr_assert_eq(p, ram + chain.gpa[i]);
		}
	}
}
