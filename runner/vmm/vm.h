/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm: one virtual machine, all of it.
 *
 * Owns everything below; nothing of a machine lives elsewhere. Life cycle, on
 * the main thread:
 *
 *	vm_init()	memory, engine, devices, kernel, CPU state
 *	vm_start()	vCPU threads exist, are confined, and wait
 *	vm_go()		the first instruction
 *	ev_run(&vm->loop)	until vm_request_stop() or ev_stop()
 *	vm_stop()	vCPU threads are gone
 *	vm_free()	also after a vm_init() that failed
 *
 * vCPU threads enter through the bus; what may be called from them says so.
 */
#ifndef MAYFLY_VMM_VM_H
#define MAYFLY_VMM_VM_H

#include <pthread.h>
#include <stdint.h>

#include "runner/base/ev.h"
#include "runner/dev/power.h"
#include "runner/dev/rtc.h"
#include "runner/dev/serial.h"
#include "runner/engine/engine.h"
#include "runner/vmm/bus.h"
#include "runner/vmm/ctl.h"
#include "runner/vmm/gmem.h"
#include "runner/vmm/vcpu.h"
#include "runner/x86/boot.h"

struct virtio_dev;

/* What a machine is made from. Descriptors are this struct's until vm_init()
 * takes one over, which sets it to -1; the rest is vm_params_close()'s. */
struct vm_params {
	const struct engine_ops *ops;
	unsigned ncpus, ndisks, nstreams;
	uint64_t ram;
	uint32_t guest_cid; /* 0: no vsock */
	int kvm_fd, kernel_fd, initrd_fd, console_out_fd, console_in_fd;
	int vsock_listen_fd;
	struct vm_disk {
		enum ctl_disk_kind kind;
		unsigned nfds;
		int fd[CTL_PARTS];
		struct ctl_rate ops, bytes;
	} disk[CTL_DISKS];
	struct vm_stream {
		uint32_t port;
		int fd;
	} stream[CTL_STREAMS];
	struct vm_net {
		int fd; /* -1: no network device */
		struct ctl_net cfg;
	} net;
	const char *cmdline; /* borrowed */
	vcpu_confine_fn confine; /* NULL: vCPU threads may do what all may */
};

void vm_params_close(struct vm_params *p);

struct vm {
	struct ev_loop loop;
	struct gmem gm;
	const struct engine_ops *ops;
	struct engine *engine;
	struct bus bus;
	struct engine_bus ebus;
	int kvm_fd, console_out_fd, console_in_fd;

	struct serial serial;
	struct power power;
	struct rtc rtc;
	struct virtio_dev *slot[BUS_SLOTS];
	unsigned nslots;

	unsigned ncpus;
	vcpu_confine_fn confine;
	struct vcpu vcpu[ENGINE_CPUS_MAX];
	pthread_mutex_t gate; /* holds the vCPUs back until vm_go() */
	uint64_t stage_ns[CTL_STAGES];
	uint64_t start_ns;

	/* Why it ended; the first reason stays. */
	pthread_mutex_t stop_lock;
	uint32_t stop; /* enum ctl_stop, 0 while it runs */
	char stop_msg[ERR_MSG_MAX];
	struct ev stop_ev; /* eventfd, ends the loop */
};

int vm_init(struct vm *vm, struct vm_params *p, struct err *err);
int vm_start(struct vm *vm, struct err *err);
void vm_go(struct vm *vm);
/* Any thread: end the machine, for this reason. */
void vm_request_stop(struct vm *vm, enum ctl_stop why, const char *msg);
/* 0, or -ETIMEDOUT when a vCPU does not come back: then do not vm_free(). */
int vm_stop(struct vm *vm);
void vm_free(struct vm *vm);

/* CPU time of all vCPUs. */
uint64_t vm_cpu_ns(const struct vm *vm);

/* Guest instructions executed so far; 0 where the engine does not count. */
uint64_t vm_instructions(const struct vm *vm);
/* ENGINE_ISA_*: what user code missed so far; 0 where nobody looks. */
uint32_t vm_isa_missing(const struct vm *vm);

/* vm_devices.c: the devices, in their order. */
int vm_devices_init(struct vm *vm, struct vm_params *p, struct err *err);
void vm_devices_free(struct vm *vm);

#endif
