/* SPDX-License-Identifier: Apache-2.0 */
/* The test machine: memory, one vCPU, test devices. */
#include "tests/guest/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"
#include "runner/vmm/bus.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/boot.h"
#include "runner/x86/cpuid.h"
#include "runner/x86/regs.h"
#include "tests/guest/testdev.h"

#define FIFO_SIZE 4096
#define TEXT_SIZE 512

struct text {
	size_t len;
	char buf[TEXT_SIZE];
};

struct pio_dev {
	uint8_t ram[16], fifo[FIFO_SIZE];
	uint32_t head, tail; /* of fifo, counting on for ever */
	uint16_t accesses, bytes;
};

struct mmio_dev {
	uint8_t ram[256];
	uint32_t accesses, bytes;
	uint64_t dma_to, dma_data, plain;
	int event_fd;
};

struct vm {
	const struct engine_ops *ops;
	struct engine *engine;
	struct gmem gm;
	struct bus bus;
	struct engine_bus ebus;
	struct text text;
	struct pio_dev pio;
	struct mmio_dev mmio;
	uint32_t flags;
	int done, code;
	/* interrupts that come later, from a thread of their own */
	int timer_fd;
	_Atomic uint32_t later_gsi;
	pthread_t later;
	int have_later;
	_Atomic int stopping;
};

static void text_flush(struct text *t)
{
	(void)io_write_all(1, t->buf, t->len);
	t->len = 0;
}

static void text_put(struct text *t, char c)
{
	t->buf[t->len++] = c;
	if (c == '\n' || t->len == sizeof(t->buf))
		text_flush(t);
}

/* --- ports ------------------------------------------------------------- */

/* Zero would disarm it: at once is a microsecond from now. */
static void arm(int timer_fd, uint32_t us)
{
	const struct itimerspec t = {
		.it_value.tv_sec = us / 1000000,
		.it_value.tv_nsec = (us % 1000000 + 1) * 1000l - 1,
	};

	timerfd_settime(timer_fd, 0, &t, NULL);
}

static void irq_ports(void *dev, uint64_t off, void *data, unsigned len,
		      int write)
{
	struct vm *vm = dev;
	uint32_t v = 0;

	if (!write) {
		memset(data, 0xff, len);
		return;
	}
	memcpy(&v, data, MIN(len, sizeof(v)));
	switch (off + TD_IRQ_LINE) {
	case TD_IRQ_LINE:
		vm->ops->irq_line(vm->engine, v & 0xff, v >> 8 & 1);
		break;
	case TD_IRQ_PULSE:
		vm->ops->irq_pulse(vm->engine, v & 0xff);
		break;
	case TD_DEBUG:
		text_put(&vm->text, (char)v);
		break;
	case TD_IRQ_LATER:
		vm->later_gsi = v & 0xff;
		arm(vm->timer_fd, v >> 8);
		break;
	}
}

static void id_ports(void *dev, uint64_t off, void *data, unsigned len,
		     int write)
{
	struct vm *vm = dev;
	uint32_t v = UINT32_MAX;

	if (write) {
		if (off + TD_ID != TD_EXIT)
			return;
		vm->code = *(const uint8_t *)data;
		vm->done = 1;
		vm->ops->kick(vm->engine, 0);
		return;
	}
	if (off + TD_ID == TD_ID)
		v = TD_ID_VALUE;
	else if (off + TD_ID == TD_FLAGS)
		v = vm->flags;
	memcpy(data, &v, MIN(len, sizeof(v)));
}

static void fifo_access(struct pio_dev *p, uint8_t *data, unsigned len,
			int write)
{
	for (unsigned i = 0; i < len; i++) {
		if (write)
			p->fifo[p->head++ % FIFO_SIZE] = data[i];
		else
			data[i] = p->tail == p->head ?
				0xee : p->fifo[p->tail++ % FIFO_SIZE];
	}
}

static void pio_ports(void *dev, uint64_t off, void *data, unsigned len,
		      int write)
{
	struct pio_dev *p = dev;
	uint64_t port = off + TD_PIO_RAM;
	uint32_t count;

	if (port == TD_PIO_COUNT) {
		count = (uint32_t)p->accesses << 16 | p->bytes;
		if (write)
			p->accesses = p->bytes = 0;
		else
			memcpy(data, &count, MIN(len, sizeof(count)));
		return;
	}
	p->accesses++;
	p->bytes += len;
	if (port == TD_PIO_FIFO)
		fifo_access(p, data, len, write);
	else if (off + len > sizeof(p->ram))
		memset(data, 0xff, write ? 0 : len);
	else if (write)
		memcpy(&p->ram[off], data, len);
	else
		memcpy(data, &p->ram[off], len);
}

/* --- MMIO -------------------------------------------------------------- */

static uint64_t mmio_read_register(struct mmio_dev *m, uint64_t off)
{
	uint64_t events = 0;

	switch (off) {
	case TD_MMIO_COUNT:
		return (uint64_t)m->accesses << 32 | m->bytes;
	case TD_MMIO_EVENTS:
		if (read(m->event_fd, &events, sizeof(events)) < 0)
			return 0;
		return events;
	case TD_MMIO_PLAIN:
		return m->plain;
	default:
		return UINT64_MAX;
	}
}

static void mmio_write_register(struct vm *vm, uint64_t off, uint64_t v)
{
	struct mmio_dev *m = &vm->mmio;

	switch (off) {
	case TD_MMIO_COUNT:
		m->accesses = m->bytes = 0;
		break;
	case TD_MMIO_DMA_TO:
		m->dma_to = v;
		break;
	case TD_MMIO_DMA_DATA:
		m->dma_data = v;
		break;
	case TD_MMIO_DMA_GO:
		(void)gmem_write(&vm->gm, m->dma_to, &m->dma_data, MIN(v, 8));
		break;
	case TD_MMIO_EVENT:
		m->plain = v;
		break;
	}
}

static void mmio_slot(void *dev, uint64_t off, void *data, unsigned len,
		      int write)
{
	struct vm *vm = dev;
	struct mmio_dev *m = &vm->mmio;
	uint64_t v = 0;

	if (off + len > sizeof(m->ram)) {
		if (write) {
			memcpy(&v, data, MIN(len, sizeof(v)));
			mmio_write_register(vm, off, v);
		} else {
			v = mmio_read_register(m, off);
			memcpy(data, &v, MIN(len, sizeof(v)));
		}
		return;
	}
	m->accesses++;
	m->bytes += len;
	if (write)
		memcpy(&m->ram[off], data, len);
	else
		memcpy(data, &m->ram[off], len);
}

/* --- the machine ------------------------------------------------------- */

static void *later_thread(void *arg)
{
	struct vm *vm = arg;
	uint64_t n;

	while (read(vm->timer_fd, &n, sizeof(n)) > 0 && !vm->stopping)
		vm->ops->irq_pulse(vm->engine, vm->later_gsi);
	return NULL;
}

static void vm_free(struct vm *vm)
{
	if (vm->have_later) {
		vm->stopping = 1;
		arm(vm->timer_fd, 0);
		pthread_join(vm->later, NULL);
	}
	vm->ops->free(vm->engine);
	gmem_free(&vm->gm);
	close_fd(&vm->timer_fd);
	close_fd(&vm->mmio.event_fd);
}

static int add_devices(struct vm *vm, struct err *err)
{
	int rc = bus_add_pio(&vm->bus, TD_IRQ_LINE, TD_ID - TD_IRQ_LINE,
			     irq_ports, vm);

	if (rc == 0)
		rc = bus_add_pio(&vm->bus, TD_ID, 16, id_ports, vm);
	if (rc == 0)
		rc = bus_add_pio(&vm->bus, TD_PIO_RAM, TD_PIO_END - TD_PIO_RAM,
				 pio_ports, &vm->pio);
	if (rc == 0)
		rc = bus_add_mmio(&vm->bus, 0, mmio_slot, vm);
	if (rc < 0)
		return err_set(err, rc, "add the test devices");
	vm->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	vm->mmio.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->timer_fd < 0 || vm->mmio.event_fd < 0)
		return err_set(err, -errno, "make the test devices");
	vm->ebus = (struct engine_bus){ &vm->bus, bus_mmio, bus_pio };
	return 0;
}

static int set_cpuid(struct vm *vm, int kvm_fd, struct err *err)
{
	struct cpuid_leaf host[CPUID_LEAVES_MAX];
	struct cpuid_table t;
	int n;

	if (kvm_fd < 0) {
		cpuid_build_soft(&t, 0, 1);
	} else {
		n = engine_kvm_supported_cpuid(kvm_fd, host, ARRAY_SIZE(host));
		if (n >= 0)
			n = cpuid_filter_kvm(&t, host, (unsigned)n, 0, 1,
					     cpuid_host_tsc_khz());
		if (n < 0)
			return err_set(err, n, "make the CPUID table");
	}
	return vm->ops->set_cpuid(vm->engine, 0, t.leaf, t.n, err);
}

static int load(struct vm *vm, const char *payload, struct err *err)
{
	_cleanup_fd_ int fd = open(payload, O_RDONLY | O_CLOEXEC);
	struct vcpu_state s;
	struct boot_kernel k;
	int rc;

	if (fd < 0)
		return err_set(err, -errno, "open %s", payload);
	rc = boot_load_kernel(&vm->gm, fd, &k, err);
	if (rc < 0)
		return rc;
	rc = regs_boot(&vm->gm, k.entry, &s);
	if (rc < 0)
		return err_set(err, rc, "make the boot state");
	return vm->ops->set_state(vm->engine, 0, &s, err);
}

static int vm_init(struct vm *vm, const struct vm_options *o,
		   const char *payload, struct err *err)
{
	struct engine_params p = {
		.gm = &vm->gm, .bus = &vm->ebus, .ncpus = 1,
		.kvm_fd = o->kvm_fd,
	};
	int rc = gmem_init(&vm->gm, o->ram, err);

	if (rc == 0)
		rc = add_devices(vm, err);
	if (rc == 0)
		rc = vm->ops->create(&p, &vm->engine, err);
	if (rc == 0)
		rc = set_cpuid(vm, o->kvm_fd, err);
	if (rc == 0)
		rc = load(vm, payload, err);
	if (rc == 0)
		rc = vm->ops->ioeventfd(vm->engine, TD_MMIO + TD_MMIO_EVENT,
					TD_EVENT_VALUE, vm->mmio.event_fd,
					err);
	if (rc < 0)
		return rc;
	rc = pthread_create(&vm->later, NULL, later_thread, vm);
	if (rc > 0)
		return err_set(err, -rc, "start the interrupt thread");
	vm->have_later = 1;
	return 0;
}

static int run_loop(struct vm *vm, struct err *err)
{
	struct engine_exit x;

	while (!vm->done) {
		vm->ops->run(vm->engine, 0, &x);
		if (x.reason != ENGINE_EXIT_INTR) {
			text_flush(&vm->text);
			return err_say(err, -EIO, "%s", x.msg);
		}
	}
	text_flush(&vm->text);
	return vm->code;
}

int vm_run(const struct vm_options *o, const char *payload, struct err *err)
{
	struct vm vm = {
		.ops = o->ops, .flags = o->flags, .timer_fd = -1,
		.mmio.event_fd = -1,
	};
	int rc = vm_init(&vm, o, payload, err);

	if (rc == 0)
		rc = run_loop(&vm, err);
	vm_free(&vm);
	return rc;
}
