/* SPDX-License-Identifier: Apache-2.0 */
/* The device's end of one split ring. */
#include "runner/virtio/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "runner/base/mem.h"
#include "runner/vmm/gmem.h"

/*
 * Copy once. The barrier makes the copy real: after it the compiler may not
 * go back to guest memory for a field that was already judged.
 */
static void fetch(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * What the two sides publish to each other. Sequentially consistent, for the
 * barrier that both patterns of virtio.h need: our store to one field may not
 * pass our later load of another.
 */
static uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

/* 2.7.7, 2.7.10: the event fields stand behind the last ring entry. */
static const uint16_t *used_event(const struct virtq *q)
{
	return &q->avail->ring[q->size];
}

static uint16_t *avail_event(struct virtq *q)
{
	return (uint16_t *)&q->used->ring[q->size];
}

static uint64_t avail_bytes(const struct virtq *q)
{
	return sizeof(struct vring_avail) + 2ull * q->size + 2;
}

static uint64_t used_bytes(const struct virtq *q)
{
	return sizeof(struct vring_used) +
	       sizeof(struct vring_used_elem) * (uint64_t)q->size + 2;
}

static void set_avail_event(struct virtq *q, uint16_t idx)
{
	store16(avail_event(q), idx);
	q->avail_event = idx;
	gmem_wrote(q->gm, q->used_gpa + used_bytes(q) - 2, 2);
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){ .size = VIRTQ_SIZE_MAX };
}

int virtq_start(struct virtq *q, const struct gmem *gm, uint64_t features)
{
	uint16_t n = q->size;

	if (n == 0 || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
		return -EINVAL;
	/* 2.7: alignments */
	if (q->desc_gpa % 16 || q->avail_gpa % 2 || q->used_gpa % 4)
		return -EINVAL;
	q->desc = gmem_ptr(gm, q->desc_gpa, sizeof(*q->desc) * (uint64_t)n);
	q->avail = gmem_ptr(gm, q->avail_gpa, avail_bytes(q));
	q->used = gmem_ptr(gm, q->used_gpa, used_bytes(q));
	if (!q->desc || !q->avail || !q->used)
		return -EFAULT;
	q->gm = gm;
	q->event_idx = features & VIRTIO_F_EVENT_IDX;
	q->indirect = features & VIRTIO_F_INDIRECT_DESC;
	q->next_avail = q->next_used = q->told_used = 0;
	if (q->event_idx)
		set_avail_event(q, 0);
	return 0;
}

/* Nothing on offer: say what to be woken for, then look once more. */
static uint16_t arm_and_look(struct virtq *q)
{
	if (q->event_idx && q->avail_event != q->next_avail)
		set_avail_event(q, q->next_avail);
	return load16(&q->avail->idx);
}

static int add_segment(const struct virtq *q, struct virtq_chain *c,
		       const struct vring_desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	unsigned i = c->nout + c->nin;
	void *p;

	/* 2.7.4.2: what the device writes comes after what it reads. */
	if (!in && c->nin)
		return -EPROTO;
	if (!d->len)
		return 0;
	/* 2.7.5: a chain has at most 2^32 bytes; ours count in 32 bits. */
	if (i == VIRTQ_SIZE_MAX || d->len > UINT32_MAX - c->out_len - c->in_len)
		return -EPROTO;
	p = gmem_ptr(q->gm, d->addr, d->len);
	if (!p)
		return -EFAULT;
	c->iov[i] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	c->gpa[i] = d->addr;
	if (in) {
		c->nin++;
		c->in_len += d->len;
	} else {
		c->nout++;
		c->out_len += d->len;
	}
	return 0;
}

/*
 * Follow a chain through a table of @n entries. No chain without a loop is
 * longer than its table. An INDIRECT entry ends it and is left in *@last.
 */
static int walk(const struct virtq *q, struct virtq_chain *c,
		const struct vring_desc *table, unsigned n, unsigned i,
		struct vring_desc *last)
{
	for (unsigned left = n; left; left--) {
		int r;

		if (i >= n)
			return -EPROTO;
		fetch(last, &table[i], sizeof(*last));
		if (last->flags & VRING_DESC_F_INDIRECT)
			return last->flags & VRING_DESC_F_NEXT ? -EPROTO : 0;
		r = add_segment(q, c, last);
		if (r < 0)
			return r;
		if (!(last->flags & VRING_DESC_F_NEXT))
			return 0;
		i = last->next;
	}
	return -EPROTO;
}

/* 2.7.5.3: whole entries, no table in a table. WRITE on @d means nothing. */
static int walk_indirect(const struct virtq *q, struct virtq_chain *c,
			 const struct vring_desc *d)
{
	unsigned n = d->len / sizeof(struct vring_desc);
	const struct vring_desc *table;
	struct vring_desc last;
	int r;

	if (!q->indirect || !n || n > VIRTQ_SIZE_MAX || d->len % sizeof(*d))
		return -EPROTO;
	table = gmem_ptr(q->gm, d->addr, d->len);
	if (!table)
		return -EFAULT;
	r = walk(q, c, table, n, 0, &last);
	if (r < 0)
		return r;
	return last.flags & VRING_DESC_F_INDIRECT ? -EPROTO : 0;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	struct vring_desc last;
	uint16_t idx, head;
	int r;

	if (!virtq_running(q))
		return 0;
	idx = load16(&q->avail->idx);
	if (idx == q->next_avail)
		idx = arm_and_look(q);
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->size)
		return -EPROTO;
	head = load16(&q->avail->ring[q->next_avail & (q->size - 1)]);
	c->head = head;
	c->nout = c->nin = 0;
	c->out_len = c->in_len = 0;
	r = walk(q, c, q->desc, q->size, head, &last);
	if (r == 0 && last.flags & VRING_DESC_F_INDIRECT)
		r = walk_indirect(q, c, &last);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_push_all(struct virtq *q, const struct vring_used_elem *e,
		    unsigned n)
{
	for (unsigned i = 0; i < n; i++, q->next_used++) {
		unsigned slot = q->next_used & (q->size - 1);

		q->used->ring[slot] = e[i];
		gmem_wrote(q->gm,
			   q->used_gpa + offsetof(struct vring_used, ring) +
				   slot * sizeof(*e),
			   sizeof(*e));
	}
	store16(&q->used->idx, q->next_used);
	gmem_wrote(q->gm, q->used_gpa + offsetof(struct vring_used, idx), 2);
}

void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t len)
{
	virtq_push_all(q, &(struct vring_used_elem){ c->head, len }, 1);
}

bool virtq_must_notify(struct virtq *q)
{
	uint16_t fresh = q->next_used - q->told_used;

	if (!fresh)
		return false;
	q->told_used = q->next_used;
	if (!q->event_idx)
		return !(load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	/* 2.7.7.2: did idx move past used_event? */
	return (uint16_t)(q->next_used - load16(used_event(q)) - 1) < fresh;
}

/* Bytes [off, off + len) of @n segments, cut to what is there. */
static unsigned slice(const struct iovec *seg, unsigned n, uint32_t off,
		      uint32_t len, struct iovec *iov)
{
	unsigned out = 0;

	for (unsigned i = 0; i < n && len; i++) {
		size_t room = seg[i].iov_len;

		if (off >= room) {
			off -= (uint32_t)room;
			continue;
		}
		room = MIN(room - off, len);
		iov[out].iov_base = (uint8_t *)seg[i].iov_base + off;
		iov[out++].iov_len = room;
		len -= (uint32_t)room;
		off = 0;
	}
	return out;
}

unsigned virtq_out(const struct virtq_chain *c, uint32_t off, uint32_t len,
		   struct iovec *iov)
{
	return slice(c->iov, c->nout, off, len, iov);
}

unsigned virtq_in(const struct virtq_chain *c, uint32_t off, uint32_t len,
		  struct iovec *iov)
{
	return slice(c->iov + c->nout, c->nin, off, len, iov);
}

bool virtq_read(const struct virtq_chain *c, uint32_t off, void *buf,
		uint32_t len)
{
	struct iovec iov[VIRTQ_SIZE_MAX];
	uint8_t *p = buf;
	unsigned n;

	if (off > c->out_len || len > c->out_len - off)
		return false;
	n = virtq_out(c, off, len, iov);
	for (unsigned i = 0; i < n; i++) {
		fetch(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	return true;
}

bool virtq_write(const struct virtq *q, const struct virtq_chain *c,
		 uint32_t off, const void *buf, uint32_t len)
{
	struct iovec iov[VIRTQ_SIZE_MAX];
	const uint8_t *p = buf;
	unsigned n;

	if (off > c->in_len || len > c->in_len - off)
		return false;
	n = virtq_in(c, off, len, iov);
	for (unsigned i = 0; i < n; i++) {
		memcpy(iov[i].iov_base, p, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	virtq_wrote(q, c, off, len);
	return true;
}

void virtq_wrote(const struct virtq *q, const struct virtq_chain *c,
		 uint32_t off, uint32_t len)
{
	for (unsigned i = c->nout; i < c->nout + c->nin && len; i++) {
		size_t room = c->iov[i].iov_len;

		if (off >= room) {
			off -= (uint32_t)room;
			continue;
		}
		room = MIN(room - off, len);
		gmem_wrote(q->gm, c->gpa[i] + off, room);
		len -= (uint32_t)room;
		off = 0;
	}
}
