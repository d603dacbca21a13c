/* SPDX-License-Identifier: Apache-2.0 */
/* A disk (virtio 1.2, 5.2). */
#include "runner/virtio/blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/* 5.2.3 */
#define BLK_F_SEG_MAX	   (1ull << 2)
#define BLK_F_RO	   (1ull << 5)
#define BLK_F_BLK_SIZE	   (1ull << 6)
#define BLK_F_FLUSH	   (1ull << 9)
#define BLK_F_DISCARD	   (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* 5.2.6 */
#define BLK_T_IN	   0
#define BLK_T_OUT	   1
#define BLK_T_FLUSH	   4
#define BLK_T_GET_ID	   8
#define BLK_T_DISCARD	   11
#define BLK_T_WRITE_ZEROES 13

#define BLK_S_OK     0
#define BLK_S_IOERR  1
#define BLK_S_UNSUPP 2
#define BLK_WAITS    0xff /* ours: no status that a driver sees */

#define BLK_RANGE_UNMAP 1u

/* Our limits. A zeroed range may have to be written out, a hole is cheap. */
#define RANGES_MAX	    16
#define DISCARD_SECTORS_MAX (1u << 21)
#define ZERO_SECTORS_MAX    (1u << 15)

/* What a turn of the loop is charged for a request, in bytes: a few for a
 * small one, all of it for one that may wait for the disk. */
#define COST_MIN 4096u
#define COST_ALL VIRTIO_BLK_ROUND

#define SECTOR DISK_SECTOR

/* 5.2.4 */
struct blk_config {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
static_assert(offsetof(struct blk_config, blk_size) == 20, "5.2.4");
static_assert(offsetof(struct blk_config, max_discard_sectors) == 36, "5.2.4");
static_assert(offsetof(struct blk_config, write_zeroes_may_unmap) == 56,
	      "5.2.4");

struct blk_hdr {
	uint32_t type, reserved;
	uint64_t sector;
};
static_assert(sizeof(struct blk_hdr) == 16, "5.2.6");

struct blk_range {
	uint64_t sector;
	uint32_t nsectors, flags;
};
static_assert(sizeof(struct blk_range) == 16, "5.2.6");

/*
 * The request in hand. Its readable part is the header and then the data of a
 * write, its writable part the data of a read and then one status byte. It is
 * read and judged once, perhaps waits for the limiter, and is done; a long
 * transfer in slices, over several turns of the loop.
 */
struct blk_req {
	bool active;
	bool paid;  /* the limiter has let it pass */
	bool write;
	uint8_t status;
	uint32_t type;
	uint32_t cost;
	uint64_t off;	 /* of the transfer, on the disk */
	uint32_t len;	 /* of the transfer, 0 for other requests */
	uint32_t done;	 /* of len */
	uint32_t filled; /* data bytes written into the chain */
	unsigned nranges;
	struct blk_range range[RANGES_MAX];
	struct virtq_chain chain;
};

struct blk {
	struct virtio_dev dev;
	struct disk *disk;
	struct blk_config cfg;
	char id[VIRTIO_BLK_ID_SIZE];
	struct blk_req req;
	struct limiter limiter;
	struct ev timer;   /* fd -1: there is no limit */
	uint64_t retry_ns; /* not before: the request in hand waits */
};

static struct blk *to_blk(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, dev);
}

/* The whole range lies on the disk. */
static bool on_disk(const struct blk *b, uint64_t sector, uint64_t nsectors)
{
	return sector <= b->cfg.capacity &&
	       nsectors <= b->cfg.capacity - sector;
}

static uint8_t status_of(int r)
{
	return r < 0 ? BLK_S_IOERR : BLK_S_OK;
}

static uint8_t judge_transfer(struct blk *b, uint64_t sector, uint32_t len)
{
	struct blk_req *r = &b->req;

	r->write = r->type == BLK_T_OUT;
	if (r->write && b->disk->readonly)
		return BLK_S_IOERR;
	if (len % SECTOR || !on_disk(b, sector, len / SECTOR))
		return BLK_S_IOERR;
	r->off = sector * SECTOR;
	r->len = len;
	return BLK_S_OK;
}

static uint8_t judge_range(const struct blk *b, const struct blk_range *g,
			   bool zero)
{
	if (g->flags & ~(zero ? BLK_RANGE_UNMAP : 0))
		return BLK_S_UNSUPP;
	if (g->nsectors > (zero ? ZERO_SECTORS_MAX : DISCARD_SECTORS_MAX))
		return BLK_S_IOERR;
	return on_disk(b, g->sector, g->nsectors) ? BLK_S_OK : BLK_S_IOERR;
}

/* DISCARD and WRITE_ZEROES: all ranges are good, or none is touched. */
static uint8_t judge_ranges(struct blk *b, uint32_t len)
{
	struct blk_req *r = &b->req;
	bool zero = r->type == BLK_T_WRITE_ZEROES;
	unsigned n = len / sizeof(*r->range);

	if (b->disk->readonly)
		return BLK_S_IOERR;
	if (!virtio_has(&b->dev, zero ? BLK_F_WRITE_ZEROES : BLK_F_DISCARD))
		return BLK_S_UNSUPP;
	if (!n || n > (zero ? 1 : RANGES_MAX) || len % sizeof(*r->range))
		return BLK_S_IOERR;
	virtq_read(&r->chain, sizeof(struct blk_hdr), r->range, len);
	for (unsigned i = 0; i < n; i++) {
		uint8_t status = judge_range(b, &r->range[i], zero);

		if (status != BLK_S_OK)
			return status;
	}
	r->nranges = n;
	r->cost = COST_ALL;
	return BLK_S_OK;
}

/* What the new request is, and whether it may be. */
static uint8_t judge(struct blk *b)
{
	struct blk_req *r = &b->req;
	const struct virtq_chain *c = &r->chain;
	struct blk_hdr h;
	uint32_t out;

	/* 5.2.6: no room for a status is an error without one. */
	if (!virtq_read(c, 0, &h, sizeof(h)) || !c->in_len)
		return BLK_S_IOERR;
	out = c->out_len - (uint32_t)sizeof(h);
	r->type = h.type;
	switch (h.type) {
	case BLK_T_IN:
		return judge_transfer(b, h.sector, c->in_len - 1);
	case BLK_T_OUT:
		return judge_transfer(b, h.sector, out);
	case BLK_T_FLUSH:
		if (b->disk->durable)
			r->cost = COST_ALL;
		return BLK_S_OK;
	case BLK_T_GET_ID:
		return c->in_len > sizeof(b->id) ? BLK_S_OK : BLK_S_IOERR;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		return judge_ranges(b, out);
	default:
		return BLK_S_UNSUPP;
	}
}

/*
 * What it costs the limiter: bytes that it moves, and those that it zeroes,
 * which may have to be written. Whatever is wrong with it, it is an operation.
 */
static uint64_t charge(const struct blk_req *r)
{
	if (r->status != BLK_S_OK)
		return 0;
	if (r->type == BLK_T_WRITE_ZEROES)
		return (uint64_t)r->range[0].nsectors * SECTOR;
	return r->len;
}

static bool pay(struct blk *b)
{
	struct blk_req *r = &b->req;
	uint64_t now, wait;

	if (r->paid || b->timer.fd < 0)
		return true;
	now = io_now_ns();
	/* Kicks of a driver that cannot wait. */
	if (now < b->retry_ns)
		return false;
	wait = limiter_take(&b->limiter, charge(r), now);
	r->paid = wait == 0;
	if (wait) {
		b->retry_ns = now + wait;
		ev_timer_arm(b->timer.fd, wait);
	}
	return r->paid;
}

static uint8_t get_id(struct blk *b)
{
	struct blk_req *r = &b->req;

	fault_point("vmm", "asked");
	virtq_write(&b->dev.vq[0], &r->chain, 0, b->id, sizeof(b->id));
	r->filled = sizeof(b->id);
	return BLK_S_OK;
}

static uint8_t flush(struct blk *b)
{
	return b->disk->durable ? status_of(b->disk->ops->flush(b->disk))
				: BLK_S_OK;
}

static uint8_t do_ranges(struct blk *b)
{
	const struct disk_ops *ops = b->disk->ops;
	const struct blk_req *r = &b->req;
	int ret = 0;

	for (unsigned i = 0; i < r->nranges && ret == 0; i++) {
		const struct blk_range *g = &r->range[i];
		uint64_t off = g->sector * SECTOR;
		uint64_t len = (uint64_t)g->nsectors * SECTOR;

		if (!len)
			continue;
		ret = r->type == BLK_T_DISCARD
			      ? ops->discard(b->disk, off, len)
			      : ops->zero(b->disk, off, len,
					  g->flags & BLK_RANGE_UNMAP);
	}
	return status_of(ret);
}

/* A request that is no transfer. */
static uint8_t perform(struct blk *b)
{
	switch (b->req.type) {
	case BLK_T_FLUSH:
		return flush(b);
	case BLK_T_GET_ID:
		return get_id(b);
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		return do_ranges(b);
	default:
		return BLK_S_OK; /* of no sectors */
	}
}

/* @flags: DISK_NOWAIT. BLK_WAITS where that is so: nothing has changed. */
static uint8_t transfer(struct blk *b, uint32_t n, int flags)
{
	struct blk_req *r = &b->req;
	struct iovec iov[VIRTQ_SIZE_MAX];
	unsigned cnt;
	int ret;

	if (r->write) {
		cnt = virtq_out(&r->chain, sizeof(struct blk_hdr) + r->done, n,
				iov);
		ret = b->disk->ops->writev(b->disk, iov, cnt,
					   r->off + r->done);
	} else {
		cnt = virtq_in(&r->chain, r->done, n, iov);
		ret = b->disk->ops->readv(b->disk, iov, cnt,
					  r->off + r->done, flags);
		virtq_wrote(&b->dev.vq[0], &r->chain, r->done, n);
	}
	if (ret == -EAGAIN && flags & DISK_NOWAIT)
		return BLK_WAITS;
	if (ret < 0)
		return BLK_S_IOERR;
	r->done += n;
	if (!r->write)
		r->filled = r->done;
	/* 5.2.6.2: a driver that did not take FLUSH sees a write-through
	 * cache. */
	if (r->write && r->done == r->len && !virtio_has(&b->dev, BLK_F_FLUSH))
		return flush(b);
	return BLK_S_OK;
}

static void finish(struct blk *b)
{
	struct virtq *q = &b->dev.vq[0];
	struct blk_req *r = &b->req;
	const struct virtq_chain *c = &r->chain;
	uint32_t len = r->filled;

	if (c->in_len)
		virtq_write(q, c, c->in_len - 1, &r->status, 1);
	/* Used length counts from the first byte on, without gaps. */
	if (c->in_len && len == c->in_len - 1)
		len++;
	virtq_push(q, c, len);
	r->active = false;
}

/* Go on with the request in hand. Returns what it cost of @left. */
static uint32_t step(struct blk *b, uint32_t left)
{
	struct blk_req *r = &b->req;
	uint32_t n = MIN(r->len - r->done, left);

	if (n)
		r->status = transfer(b, n, 0);
	else if (r->status == BLK_S_OK)
		r->status = perform(b);
	if (r->status != BLK_S_OK || r->done == r->len)
		finish(b);
	return MIN(left, MAX(n, r->cost));
}

static void begin(struct blk *b)
{
	struct blk_req *r = &b->req;

	r->active = true;
	r->paid = false;
	r->type = 0;
	r->len = r->done = r->filled = 0;
	r->nranges = 0;
	r->cost = COST_MIN;
	r->status = judge(b);
}

/* Until there is no more, the turn is over, or the limiter says so: then the
 * timer goes on with the request in hand. */
static void blk_notify(struct virtio_dev *dev, unsigned queue)
{
	struct blk *b = to_blk(dev);
	struct blk_req *r = &b->req;
	uint32_t left = VIRTIO_BLK_ROUND;

	while (left && (r->active || virtio_pop(dev, queue, &r->chain))) {
		if (!r->active)
			begin(b);
		if (!pay(b))
			break;
		left -= step(b, left);
	}
	if (!left)
		virtio_again(dev, queue);
	virtio_flush(dev, queue);
}

/*
 * What may be done while the guest stands still for it: a short transfer of
 * what the host has in memory. No call but of reading and writing a disk; the
 * filter of vCPU threads has no other.
 */
static bool is_quick(const struct blk *b)
{
	const struct blk_req *r = &b->req;

	if (r->status != BLK_S_OK)
		return true;
	if (r->len - r->done > VIRTIO_BLK_SERVE || !r->len)
		return false;
	return !(r->write && b->disk->durable);
}

static bool serve_one(struct blk *b)
{
	struct blk_req *r = &b->req;

	if (!is_quick(b))
		return false;
	if (r->status == BLK_S_OK) {
		uint8_t status = transfer(b, r->len - r->done, DISK_NOWAIT);

		if (status == BLK_WAITS)
			return false;
		r->status = status;
	}
	finish(b);
	return true;
}

/* The main thread goes on with what is not quick, and all that is limited. */
static bool blk_serve(struct virtio_dev *dev, unsigned queue)
{
	struct blk *b = to_blk(dev);
	struct blk_req *r = &b->req;
	uint32_t left = VIRTIO_BLK_SERVE;

	if (b->timer.fd >= 0)
		return false;
	while (r->active || virtio_pop(dev, queue, &r->chain)) {
		uint32_t cost;

		if (!r->active)
			begin(b);
		cost = MAX(r->len - r->done, COST_MIN);
		if (cost > left || !serve_one(b))
			break;
		left -= cost;
	}
	virtio_flush(dev, queue);
	return !r->active;
}

static void on_timer(struct ev *ev, uint32_t events)
{
	struct blk *b = container_of(ev, struct blk, timer);

	(void)events;
	ev_drain(ev->fd);
	if (!virtio_enter(&b->dev))
		return;
	blk_notify(&b->dev, 0);
	virtio_leave(&b->dev);
}

static void blk_reset(struct virtio_dev *dev)
{
	to_blk(dev)->req.active = false;
	/* What the driver before it has spent stays spent. */
}

static void blk_cfg_read(struct virtio_dev *dev, uint64_t off, void *data,
			 unsigned len)
{
	struct blk *b = to_blk(dev);

	virtio_cfg_copy(&b->cfg, sizeof(b->cfg), off, data, len);
}

static void blk_free(struct virtio_dev *dev)
{
	struct blk *b = to_blk(dev);

	virtio_fini(dev);
	ev_del(&b->timer);
	close_fd(&b->timer.fd);
	disk_free(b->disk);
	free(b);
}

static const struct virtio_ops blk_ops = {
	.id = 2,
	.name = "blk",
	.nqueues = 1,
	.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE,
	.reset = blk_reset,
	.notify = blk_notify,
	.serve = blk_serve,
	.cfg_read = blk_cfg_read,
	.free = blk_free,
};

static struct blk_config config_of(const struct disk *disk)
{
	return (struct blk_config){
		.capacity = disk->size / SECTOR,
		/* A chain without INDIRECT: header and status besides. */
		.seg_max = VIRTQ_SIZE_MAX - 2,
		.blk_size = SECTOR,
		.num_queues = 1,
		.max_discard_sectors = DISCARD_SECTORS_MAX,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = 4096 / SECTOR,
		.max_write_zeroes_sectors = ZERO_SECTORS_MAX,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};
}

/* Before the filters: no timer can be made later. */
static int init_limiter(struct blk *b, const struct virtio_blk_params *p,
			struct err *err)
{
	int r;

	limiter_init(&b->limiter, &p->ops, &p->bytes, io_now_ns());
	if (!limiter_limits(&b->limiter))
		return 0;
	r = ev_timer_fd();
	if (r < 0)
		return err_set(err, r, "virtio-blk: timer");
	b->timer.fd = r;
	b->timer.fn = on_timer;
	r = ev_set(b->dev.host.loop, &b->timer, EPOLLIN);
	if (r < 0)
		close_fd(&b->timer.fd);
	return r < 0 ? err_set(err, r, "virtio-blk: timer") : 0;
}

struct virtio_dev *virtio_blk_new(const struct virtio_host *host, unsigned gsi,
				  const struct virtio_blk_params *p,
				  struct err *err)
{
	struct blk *b = calloc(1, sizeof(*b));

	if (!b) {
		err_set(err, -ENOMEM, "virtio-blk");
		return NULL;
	}
	b->timer.fd = -1;
	if (virtio_init(&b->dev, &blk_ops, host, gsi, err) < 0) {
		free(b);
		return NULL;
	}
	if (init_limiter(b, p, err) < 0) {
		virtio_fini(&b->dev);
		free(b);
		return NULL;
	}
	b->dev.features |= p->disk->readonly ? BLK_F_RO
					     : BLK_F_DISCARD |
						       BLK_F_WRITE_ZEROES;
	/* Without it a driver takes what is written for written, and saves
	 * itself requests that mean nothing here. */
	if (p->disk->durable)
		b->dev.features |= BLK_F_FLUSH;
	b->cfg = config_of(p->disk);
	memcpy(b->id, p->serial, strnlen(p->serial, sizeof(b->id)));
	b->disk = p->disk;
	return &b->dev;
}
