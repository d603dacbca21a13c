/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE device list. Its order fixes slots, GSIs, the names vda, vdb, ... and
 * the layout of a snapshot: add at the end.
 *
 *	ports	serial (COM1), i8042, ACPI sleep, RTC
 *	slots	blk for each disk, vsock if the guest has a CID, rng, net if there
 *		is a tap
 */
#include "runner/vmm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/virtio/blk.h"
#include "runner/virtio/mmio.h"
#include "runner/virtio/net.h"
#include "runner/virtio/rng.h"
#include "runner/virtio/virtio.h"
#include "runner/virtio/vsock.h"
#include "runner/x86/layout.h"

static_assert(CTL_DISKS + 3 <= BUS_SLOTS, "disks, vsock, rng, net");

/* --- what devices call -------------------------------------------------- */

static void serial_irq(void *opaque, int level)
{
	struct vm *vm = opaque;

	vm->ops->irq_line(vm->engine, LAYOUT_GSI_COM1, level);
}

static void virtio_irq(void *opaque, unsigned gsi)
{
	struct vm *vm = opaque;

	vm->ops->irq_pulse(vm->engine, gsi);
}

static void power_event(void *opaque, enum power_event what)
{
	if (what == POWER_OFF)
		vm_request_stop(opaque, CTL_STOP_POWEROFF, "");
	else
		vm_request_stop(opaque, CTL_STOP_RESET, "");
}

/* --- ports -------------------------------------------------------------- */

static int nonblock(int fd, struct err *err)
{
	int r = fd < 0 ? 0 : io_set_nonblock(fd, 1);

	return r ? err_set(err, r, "console") : 0;
}

static int add_serial(struct vm *vm, struct vm_params *p, struct err *err)
{
	struct serial_host host = { .irq = serial_irq, .opaque = vm };
	int r;

	vm->console_out_fd = steal_fd(&p->console_out_fd);
	vm->console_in_fd = steal_fd(&p->console_in_fd);
	host.out_fd = vm->console_out_fd;
	host.in_fd = vm->console_in_fd;
	r = nonblock(host.out_fd, err);
	if (!r)
		r = nonblock(host.in_fd, err);
	if (r)
		return r;
	r = serial_init(&vm->serial, &host, &vm->loop);
	if (!r)
		r = bus_add_pio(&vm->bus, LAYOUT_COM1, LAYOUT_COM1_PORTS,
				serial_access, &vm->serial);
	return r ? err_set(err, r, "serial") : 0;
}

static int add_power(struct vm *vm, struct err *err)
{
	int r;

	vm->power = (struct power){ .fn = power_event, .opaque = vm };
	r = bus_add_pio(&vm->bus, LAYOUT_I8042_DATA,
			LAYOUT_I8042_CMD - LAYOUT_I8042_DATA + 1,
			power_i8042_access, &vm->power);
	if (!r)
		r = bus_add_pio(&vm->bus, LAYOUT_SLEEP, LAYOUT_SLEEP_PORTS,
				power_sleep_access, &vm->power);
	return r ? err_set(err, r, "power") : 0;
}

static int add_rtc(struct vm *vm, struct err *err)
{
	int r = bus_add_pio(&vm->bus, LAYOUT_RTC, LAYOUT_RTC_PORTS, rtc_access,
			    &vm->rtc);

	return r ? err_set(err, r, "rtc") : 0;
}

/* --- virtio ------------------------------------------------------------- */

static struct virtio_host host_of(struct vm *vm)
{
	return (struct virtio_host){ .gm = &vm->gm, .loop = &vm->loop,
				     .irq = virtio_irq, .irq_opaque = vm,
				     .serve = vm->ops->calls };
}

/* The next slot takes @dev, and owns it from now on. */
static int plug(struct vm *vm, struct virtio_dev *dev, struct err *err)
{
	unsigned slot = vm->nslots;
	uint64_t notify = layout_slot_gpa(slot) + VIRTIO_MMIO_QUEUE_NOTIFY;
	int r = bus_add_mmio(&vm->bus, slot, virtio_mmio_access, dev);

	if (r) {
		virtio_free(dev);
		return err_set(err, r, "virtio slot %u", slot);
	}
	vm->slot[vm->nslots++] = dev;
	/* Its kicks shall come as register accesses: virtio_kicked(). */
	if (dev->host.serve && dev->ops->serve)
		return 0;
	for (unsigned q = 0; q < dev->ops->nqueues; q++) {
		r = vm->ops->ioeventfd(vm->engine, notify, q,
				       virtio_mmio_kick_fd(dev, q), err);
		if (r)
			return r;
	}
	return 0;
}

/* virtio 1.2 5.2.6.2: only a drive's writes are to outlive the guest. */
static struct disk *make_disk(const struct vm_disk *d, struct err *err)
{
	if (d->kind == CTL_DISK_COW)
		return disk_overlay_new(d->fd[0], d->fd[1], err);
	if (d->nfds > 1)
		return disk_concat_new(d->fd, d->nfds, err);
	return disk_raw_new(d->fd[0], d->kind == CTL_DISK_READ,
			    d->kind == CTL_DISK_DRIVE, err);
}

static struct limiter_rate rate_of(const struct ctl_rate *r)
{
	return (struct limiter_rate){ r->size, r->burst, r->refill_ms };
}

static int add_disk(struct vm *vm, struct vm_disk *d, unsigned i,
		    struct err *err)
{
	char name[16];
	struct virtio_blk_params bp = { .disk = make_disk(d, err),
					.serial = name,
					.ops = rate_of(&d->ops),
					.bytes = rate_of(&d->bytes) };
	struct virtio_host host = host_of(vm);
	struct virtio_dev *dev;

	if (!bp.disk)
		return err_wrap(err, "disk %u", i);
	memset(d->fd, -1, sizeof(d->fd));
	snprintf(name, sizeof(name), "disk%u", i);
	dev = virtio_blk_new(&host, layout_slot_gsi(vm->nslots), &bp, err);
	if (!dev) {
		disk_free(bp.disk);
		return err_wrap(err, "disk %u", i);
	}
	return plug(vm, dev, err);
}

static int add_vsock(struct vm *vm, struct vm_params *p, struct err *err)
{
	struct virtio_vsock_params vp = { .guest_cid = p->guest_cid,
					  .nstreams = p->nstreams,
					  .listen_fd = p->vsock_listen_fd };
	struct virtio_host host = host_of(vm);
	struct virtio_dev *dev;

	for (unsigned i = 0; i < p->nstreams; i++) {
		vp.stream[i].port = p->stream[i].port;
		vp.stream[i].fd = p->stream[i].fd;
	}
	dev = virtio_vsock_new(&host, layout_slot_gsi(vm->nslots), &vp, err);
	if (!dev)
		return err_wrap(err, "vsock");
	p->vsock_listen_fd = -1;
	for (unsigned i = 0; i < p->nstreams; i++)
		p->stream[i].fd = -1;
	return plug(vm, dev, err);
}

static int add_rng(struct vm *vm, struct err *err)
{
	struct virtio_host host = host_of(vm);
	struct virtio_dev *dev;

	dev = virtio_rng_new(&host, layout_slot_gsi(vm->nslots), err);
	return dev ? plug(vm, dev, err) : err_wrap(err, "rng");
}

static int add_net(struct vm *vm, struct vm_params *p, struct err *err)
{
	const struct ctl_net *c = &p->net.cfg;
	struct virtio_net_params np = {
		.fd = p->net.fd,
		.mtu = c->mtu,
		.rx = { rate_of(&c->rx_ops), rate_of(&c->rx_bytes) },
		.tx = { rate_of(&c->tx_ops), rate_of(&c->tx_bytes) },
	};
	struct virtio_host host = host_of(vm);
	struct virtio_dev *dev;

	memcpy(np.mac, c->mac, sizeof(np.mac));
	dev = virtio_net_new(&host, layout_slot_gsi(vm->nslots), &np, err);
	if (!dev)
		return err_wrap(err, "net");
	p->net.fd = -1;
	return plug(vm, dev, err);
}

int vm_devices_init(struct vm *vm, struct vm_params *p, struct err *err)
{
	int r = add_serial(vm, p, err);

	if (!r)
		r = add_power(vm, err);
	if (!r)
		r = add_rtc(vm, err);
	for (unsigned i = 0; i < p->ndisks && !r; i++)
		r = add_disk(vm, &p->disk[i], i, err);
	if (!r && p->guest_cid)
		r = add_vsock(vm, p, err);
	if (!r)
		r = add_rng(vm, err);
	if (!r && p->net.fd >= 0)
		r = add_net(vm, p, err);
	return r;
}

void vm_devices_free(struct vm *vm)
{
	while (vm->nslots)
		virtio_free(vm->slot[--vm->nslots]);
	serial_free(&vm->serial);
}
