/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual machine: built, started, stopped. */
#include "runner/vmm/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/x86/acpi.h"
#include "runner/x86/cpuid.h"
#include "runner/x86/regs.h"
#include "runner/x86/zeropage.h"

/* For a thread that is stuck in the engine: on a busy host one that is not may
 * get no CPU for seconds, and without it the last words of the console are lost. */
#define JOIN_MS 20000

void vm_params_close(struct vm_params *p)
{
	close_fd(&p->kvm_fd);
	close_fd(&p->kernel_fd);
	close_fd(&p->initrd_fd);
	close_fd(&p->console_out_fd);
	close_fd(&p->console_in_fd);
	close_fd(&p->vsock_listen_fd);
	close_fd(&p->net.fd);
	for (unsigned i = 0; i < p->ndisks; i++)
		for (unsigned k = 0; k < p->disk[i].nfds; k++)
			close_fd(&p->disk[i].fd[k]);
	for (unsigned i = 0; i < p->nstreams; i++)
		close_fd(&p->stream[i].fd);
}

/* --- the end ------------------------------------------------------------ */

static void on_stop(struct ev *ev, uint32_t events)
{
	(void)events;
	ev_drain(ev->fd);
	ev_stop(ev->loop);
}

void vm_request_stop(struct vm *vm, enum ctl_stop why, const char *msg)
{
	uint64_t one = 1;
	int first;

	pthread_mutex_lock(&vm->stop_lock);
	first = !vm->stop;
	if (first) {
		vm->stop = why;
		snprintf(vm->stop_msg, sizeof(vm->stop_msg), "%s", msg);
	}
	pthread_mutex_unlock(&vm->stop_lock);
	if (!first)
		return;
	/* vm_stop() wakes those that sleep: a vCPU thread sends no signal. */
	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_ask(&vm->vcpu[i]);
	/* A counter of ours that nobody else adds to takes a 1. */
	if (write(vm->stop_ev.fd, &one, sizeof(one)) < 0)
		log_info("stop: %s", strerror(errno));
}

static void vcpu_ended(void *opaque, unsigned cpu, const struct engine_exit *x)
{
	int shutdown = x->reason == ENGINE_EXIT_SHUTDOWN;
	char msg[ERR_MSG_MAX];

	snprintf(msg, sizeof(msg), "vCPU %u at %#llx: %s", cpu,
		 (unsigned long long)x->rip, x->msg);
	vm_request_stop(opaque, shutdown ? CTL_STOP_SHUTDOWN : CTL_STOP_ERROR,
			msg);
}

/* --- parts -------------------------------------------------------------- */

static int init_loop(struct vm *vm, struct err *err)
{
	int r = ev_loop_init(&vm->loop);

	if (r)
		return err_set(err, r, "epoll");
	vm->stop_ev.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->stop_ev.fn = on_stop;
	if (vm->stop_ev.fd < 0)
		return err_set(err, -errno, "eventfd");
	r = ev_set(&vm->loop, &vm->stop_ev, EPOLLIN);
	return r ? err_set(err, r, "epoll") : 0;
}

static int init_engine(struct vm *vm, struct vm_params *p, struct err *err)
{
	struct engine_params ep;
	int r;

	vm->ops = p->ops;
	vm->confine = p->confine;
	vm->kvm_fd = steal_fd(&p->kvm_fd);
	vm->ebus = (struct engine_bus){ .opaque = &vm->bus, .mmio = bus_mmio,
					.pio = bus_pio };
	ep = (struct engine_params){ .gm = &vm->gm, .bus = &vm->ebus,
				     .ncpus = p->ncpus, .kvm_fd = vm->kvm_fd };
	r = vm->ops->create(&ep, &vm->engine, err);
	if (r)
		return err_wrap(err, "engine %s", vm->ops->name);
	vm->ncpus = vm->ops->ncpus(vm->engine);
	assert(vm->ncpus && vm->ncpus <= p->ncpus);
	return 0;
}

static int load_kernel(struct vm *vm, struct vm_params *p,
		       struct boot_kernel *k, struct boot_initrd *rd,
		       struct err *err)
{
	memset(rd, 0, sizeof(*rd));
	if (boot_load_kernel(&vm->gm, p->kernel_fd, k, err))
		return err_wrap(err, "kernel");
	if (p->initrd_fd >= 0 &&
	    boot_load_initrd(&vm->gm, p->initrd_fd, k, rd, err))
		return err_wrap(err, "initrd");
	close_fd(&p->kernel_fd);
	close_fd(&p->initrd_fd);
	return 0;
}

static int write_tables(struct vm *vm, struct zeropage_params *z,
			struct err *err)
{
	struct acpi_params ap = { .ncpus = vm->ncpus, .nslots = vm->nslots };
	int r;

	if (getrandom(ap.vmgenid, sizeof(ap.vmgenid), 0) !=
	    sizeof(ap.vmgenid))
		return err_set(err, -errno, "getrandom");
	r = acpi_write(&vm->gm, &ap, &z->rsdp, err);
	return r ? r : zeropage_write(&vm->gm, z, err);
}

static int make_cpuid(const struct vm *vm, unsigned cpu,
		      const struct cpuid_table *host, struct cpuid_table *t,
		      struct err *err)
{
	int r;

	if (vm->kvm_fd < 0) {
		cpuid_build_soft(t, cpu, vm->ncpus);
		return 0;
	}
	r = cpuid_filter_kvm(t, host->leaf, host->n, cpu, vm->ncpus,
			     cpuid_host_tsc_khz());
	return r ? err_set(err, r, "CPUID: host table") : 0;
}

static int init_cpuid(struct vm *vm, struct err *err)
{
	struct cpuid_table host = { 0 }, t;
	int r;

	if (vm->kvm_fd >= 0) {
		r = engine_kvm_supported_cpuid(vm->kvm_fd, host.leaf,
					       CPUID_LEAVES_MAX);
		if (r < 0)
			return err_set(err, r, "CPUID: ask KVM");
		host.n = (unsigned)r;
	}
	for (unsigned i = 0; i < vm->ncpus; i++) {
		r = make_cpuid(vm, i, &host, &t, err);
		if (!r)
			r = vm->ops->set_cpuid(vm->engine, i, t.leaf, t.n, err);
		if (r)
			return r;
	}
	/* Whoever has /dev/kvm can make more VMs: nobody is to, from here. */
	close_fd(&vm->kvm_fd);
	return 0;
}

static int init_state(struct vm *vm, uint64_t entry, struct err *err)
{
	struct vcpu_state s;
	int r = regs_boot(&vm->gm, entry, &s);

	if (r)
		return err_set(err, r, "boot state");
	for (unsigned i = 0; i < vm->ncpus && !r; i++) {
		if (i)
			regs_wait_sipi(&s);
		r = vm->ops->set_state(vm->engine, i, &s, err);
	}
	return r;
}

static int init_boot(struct vm *vm, struct vm_params *p, struct err *err)
{
	struct boot_kernel k;
	struct boot_initrd rd;
	struct zeropage_params z = { .kernel = &k, .initrd = &rd,
				     .cmdline = p->cmdline };
	int r = load_kernel(vm, p, &k, &rd, err);

	if (!r)
		r = write_tables(vm, &z, err);
	if (!r)
		r = init_cpuid(vm, err);
	return r ? r : init_state(vm, k.entry, err);
}

/* --- life cycle --------------------------------------------------------- */

int vm_init(struct vm *vm, struct vm_params *p, struct err *err)
{
	int r;

	memset(vm, 0, sizeof(*vm));
	vm->kvm_fd = vm->console_out_fd = vm->console_in_fd = -1;
	vm->loop.epfd = vm->stop_ev.fd = -1;
	pthread_mutex_init(&vm->gate, NULL);
	pthread_mutex_init(&vm->stop_lock, NULL);
	r = init_loop(vm, err);
	if (!r)
		r = gmem_init(&vm->gm, p->ram, err);
	fault_point("vmm", "memory");
	vm->stage_ns[CTL_STAGE_MEMORY] = io_now_ns();
	if (!r)
		r = init_engine(vm, p, err);
	fault_point("vmm", "engine");
	vm->stage_ns[CTL_STAGE_ENGINE] = io_now_ns();
	if (!r)
		r = vm_devices_init(vm, p, err);
	fault_point("vmm", "devices");
	vm->stage_ns[CTL_STAGE_DEVICES] = io_now_ns();
	if (!r)
		r = init_boot(vm, p, err);
	fault_point("vmm", "kernel");
	vm->stage_ns[CTL_STAGE_KERNEL] = io_now_ns();
	return r;
}

int vm_start(struct vm *vm, struct err *err)
{
	int r = vcpu_install_signal();

	pthread_mutex_lock(&vm->gate);
	for (unsigned i = 0; i < vm->ncpus && !r; i++) {
		struct vcpu *v = &vm->vcpu[i];

		v->ops = vm->ops;
		v->engine = vm->engine;
		v->cpu = i;
		v->confine = vm->confine;
		v->ended = vcpu_ended;
		v->opaque = vm;
		v->gate = &vm->gate;
		r = vcpu_start(v);
	}
	fault_point("vmm", "threads");
	for (unsigned i = 0; i < vm->ncpus && !r; i++)
		r = vcpu_ready(&vm->vcpu[i]);
	vm->start_ns = io_now_ns();
	if (!r)
		return 0;
	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_stop(&vm->vcpu[i]);
	pthread_mutex_unlock(&vm->gate);
	vm_stop(vm);
	err_set(err, r, "vCPU thread");
	if (r == -EAGAIN)
		err_hint(err, "another VM may have its user: --uid-range wants "
			      "more users than there are process numbers");
	return r;
}

void vm_go(struct vm *vm)
{
	vm->start_ns = io_now_ns();
	pthread_mutex_unlock(&vm->gate);
}

int vm_stop(struct vm *vm)
{
	int r = 0;

	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_stop(&vm->vcpu[i]);
	for (unsigned i = 0; i < vm->ncpus && !r; i++)
		r = vcpu_join(&vm->vcpu[i], JOIN_MS);
	return r;
}

void vm_free(struct vm *vm)
{
	vm_devices_free(vm);
	if (vm->ops)
		vm->ops->free(vm->engine);
	gmem_free(&vm->gm);
	ev_del(&vm->stop_ev);
	close_fd(&vm->stop_ev.fd);
	close_fd(&vm->kvm_fd);
	close_fd(&vm->console_out_fd);
	close_fd(&vm->console_in_fd);
	ev_loop_free(&vm->loop);
	pthread_mutex_destroy(&vm->gate);
	pthread_mutex_destroy(&vm->stop_lock);
}

uint64_t vm_cpu_ns(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < vm->ncpus; i++)
		sum += vcpu_cpu_ns(&vm->vcpu[i]);
	return sum;
}

uint64_t vm_instructions(const struct vm *vm)
{
	return vm->engine && vm->ops->instructions ?
	       vm->ops->instructions(vm->engine) : 0;
}

uint32_t vm_isa_missing(const struct vm *vm)
{
	return vm->engine && vm->ops->isa_missing ?
	       vm->ops->isa_missing(vm->engine) : 0;
}
