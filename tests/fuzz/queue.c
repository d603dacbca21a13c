/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of any bytes at any place: each chain that virtq_pop() lets through
 * lies in RAM, has the lengths that it says, and takes copies at any offset.
 */
#include <errno.h>

#include "runner/virtio/queue.h"
#include "runner/vmm/gmem.h"
#include "tests/fuzz/bytes.h"

#define RAM  (1ull << 20)
#define AREA 0x4000u /* rings and tables go here, so that they can meet */

static struct gmem gm;
static uint64_t noted;

static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	must(gmem_ptr(&gm, gpa, len));
	noted += len;
}

static void start_anew(void)
{
	if (!gm.nregions)
		must(gmem_init(&gm, RAM, NULL) == 0);
	gm.wrote = wrote;
	memset(gm.r[0].hva, 0, RAM);
}

static void place(struct virtq *q, struct bytes *b, uint64_t *features)
{
	uint8_t how = take8(b);

	virtq_reset(q);
	q->size = how & 1 ? take16(b) : (uint16_t)(1u << (how >> 1 & 15));
	q->ready = true;
	q->desc_gpa = how & 0x20 ? take64(b) : 0;
	q->avail_gpa = how & 0x40 ? take64(b) : 0x1000;
	q->used_gpa = how & 0x80 ? take64(b) : 0x2000;
	*features = (uint64_t)take8(b) << 28;
}

/* An address, mostly one of RAM or near its end. */
static uint64_t address(struct bytes *b)
{
	uint16_t v = take16(b);

	switch (v >> 14) {
	case 0:
		return RAM - 0x2000 + v;
	case 1:
		return take64(b);
	default:
		return (v & 0x3fffu) * 16u;
	}
}

static void fill(struct bytes *b)
{
	while (b->n >= 4) {
		uint8_t what = take8(b), at = take8(b);
		struct vring_desc d;

		if (what & 0x80) {
			memcpy(gm.r[0].hva + 0x1000 + 2 * (at & 0xff),
			       &(uint16_t){ take16(b) }, 2);
			continue;
		}
		d.addr = address(b);
		d.len = what & 0x40 ? take32(b) : take16(b);
		d.flags = what & 0x3f;
		d.next = take8(b);
		/* the second part of the area serves as indirect tables */
		memcpy(gm.r[0].hva + (what & 8 ? 0x3000 : 0) + at * 16u, &d,
		       sizeof(d));
	}
}

static void in_ram(const struct virtq_chain *c)
{
	uint64_t out = 0, in = 0;

	must(c->nout + c->nin <= VIRTQ_SIZE_MAX);
	for (unsigned i = 0; i < c->nout + c->nin; i++) {
		must(c->iov[i].iov_len);
		must(gmem_ptr(&gm, c->gpa[i], c->iov[i].iov_len) ==
		     c->iov[i].iov_base);
		*(i < c->nout ? &out : &in) += c->iov[i].iov_len;
	}
	must(out == c->out_len && in == c->in_len && out + in <= UINT32_MAX);
}

static void copies(const struct virtq *q, const struct virtq_chain *c,
		   uint32_t off, uint16_t len)
{
	static uint8_t buf[65536];
	struct iovec iov[VIRTQ_SIZE_MAX];
	uint64_t sum = 0;
	unsigned n;

	must(virtq_read(c, off, buf, len) ==
	     ((uint64_t)off + len <= c->out_len));
	must(virtq_write(q, c, off, buf, len) ==
	     ((uint64_t)off + len <= c->in_len));
	n = virtq_in(c, off, len, iov);
	must(n <= c->nin);
	while (n)
		sum += iov[--n].iov_len;
	must(sum <= len && (off >= c->in_len || sum == len ||
			    sum == c->in_len - off));
	n = virtq_out(c, off, len, iov);
	must(n <= c->nout);
	virtq_wrote(q, c, off, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	static struct virtq_chain c;
	uint64_t features;
	struct virtq q;
	uint32_t off;
	unsigned n = 0;
	int r;

	start_anew();
	place(&q, &b, &features);
	off = take8(&b) * 7u;
	fill(&b);
	if (virtq_start(&q, &gm, features) < 0) {
		must(!virtq_running(&q) && virtq_pop(&q, &c) == 0);
		return 0;
	}
	while ((r = virtq_pop(&q, &c)) > 0) {
		in_ram(&c);
		copies(&q, &c, off, (uint16_t)(off * 13));
		if (n % 5 == 3) {
			virtq_unpop(&q);
			must(virtq_pop(&q, &c) > 0 || r);
		}
		virtq_push(&q, &c, c.in_len);
		virtq_must_notify(&q);
		/* A ring over itself may go on for ever: each turn of a device
		 * is bounded by the device. */
		if (n++ > 600)
			break;
	}
	must(r >= 0 || r == -EPROTO || r == -EFAULT);
	return 0;
}
