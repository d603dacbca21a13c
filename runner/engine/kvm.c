/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kvm engine: hardware virtualization through /dev/kvm.
 *
 * Local APICs and the IOAPIC are KVM's, so HLT, timers and interrupt delivery
 * never leave the kernel; what comes back to us are accesses to our devices.
 * Reference: the kernel's Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"
#include "runner/engine/kvm_state.h"
#include "runner/vmm/gmem.h"

/* Four pages that VT-x without "unrestricted guest" needs to run real mode;
 * in the hole below 4 GiB, between the local APICs and the BIOS. */
#define KVM_IDENTITY_PAGE 0xfeffc000ull
#define KVM_TSS_PAGES	  0xfeffd000ull

struct kvm_cpu {
	int fd;
	struct kvm_run *run; /* run_size bytes, shared with KVM */
};

struct engine {
	const struct engine_bus *bus;
	int vm_fd;
	size_t run_size;
	unsigned ncpus;
	struct kvm_cpu cpu[];
};

static void kvm_free(struct engine *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->ncpus; i++) {
		if (e->cpu[i].run)
			munmap(e->cpu[i].run, e->run_size);
		close_fd(&e->cpu[i].fd);
	}
	close_fd(&e->vm_fd);
	free(e);
}

static int check_api(int kvm_fd, struct err *err)
{
	int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return err_set(err, -errno, "ask KVM for its version");
	if (version != KVM_API_VERSION)
		return err_say(err, -ENOTSUP, "KVM API version is %d, not %d",
			       version, KVM_API_VERSION);
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return err_say(err, -ENOTSUP,
			       "KVM has no immediate exit (Linux 4.12)");
	return 0;
}

static int create_vm(struct engine *e, int kvm_fd, struct err *err)
{
	uint64_t identity = KVM_IDENTITY_PAGE;
	int size;

	do {
		e->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	} while (e->vm_fd < 0 && errno == EINTR);
	if (e->vm_fd < 0)
		return err_set(err, -errno, "create a VM");
	size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_say(err, -ENOTSUP, "KVM's vCPU area is %d bytes",
			       size);
	e->run_size = (size_t)size;
	if (ioctl(e->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_set(err, -errno, "place the identity page");
	if (ioctl(e->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_PAGES) < 0)
		return err_set(err, -errno, "place the TSS pages");
	return 0;
}

static int add_memory(struct engine *e, const struct gmem *gm, struct err *err)
{
	for (unsigned i = 0; i < gm->nregions; i++) {
		const struct gmem_region *r = &gm->r[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = r->gpa,
			.memory_size = r->size,
			.userspace_addr = (uintptr_t)r->hva,
		};

		if (ioctl(e->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return err_set(err, -errno,
				       "give the VM memory at %#llx",
				       (unsigned long long)r->gpa);
	}
	return 0;
}

/* KVM's reset state lets the 8259's line through LINT0, which no hardware
 * does (SDM 3A 11.4.7.1: LVT entries are masked) and our machine, which has
 * no 8259, must not. Old kernels without the switch stay as they are. */
static void mask_lint0(struct engine *e)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DISABLE_QUIRKS,
		.args = { KVM_X86_QUIRK_LINT0_REENABLED },
	};

	(void)ioctl(e->vm_fd, KVM_ENABLE_CAP, &cap);
}

static int add_cpu(struct engine *e, unsigned n, struct err *err)
{
	struct kvm_cpu *c = &e->cpu[n];
	void *run;

	c->fd = ioctl(e->vm_fd, KVM_CREATE_VCPU, n);
	if (c->fd < 0)
		return err_set(err, -errno, "create vCPU %u", n);
	run = mmap(NULL, e->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   c->fd, 0);
	if (run == MAP_FAILED)
		return err_set(err, -errno, "map vCPU %u", n);
	c->run = run;
	return 0;
}

static int kvm_create(const struct engine_params *p, struct engine **out,
		      struct err *err)
{
	struct engine *e;
	int rc;

	*out = NULL;
	if (p->ncpus == 0 || p->ncpus > ENGINE_CPUS_MAX)
		return err_say(err, -EINVAL, "%u vCPUs: 1 to %d can be had",
			       p->ncpus, ENGINE_CPUS_MAX);
	e = calloc(1, sizeof(*e) + p->ncpus * sizeof(e->cpu[0]));
	if (!e)
		return err_set(err, -ENOMEM, "allocate the engine");
	e->bus = p->bus;
	e->vm_fd = -1;
	e->ncpus = p->ncpus;
	for (unsigned i = 0; i < p->ncpus; i++)
		e->cpu[i].fd = -1;

	rc = check_api(p->kvm_fd, err);
	if (rc == 0)
		rc = create_vm(e, p->kvm_fd, err);
	/* Memory before the interrupt controllers: the other way round each
	 * slot waits for an SRCU grace period, 5 ms in all. */
	if (rc == 0)
		rc = add_memory(e, p->gm, err);
	if (rc == 0 && ioctl(e->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		rc = err_set(err, -errno, "create the interrupt controllers");
	if (rc == 0)
		mask_lint0(e);
	for (unsigned i = 0; rc == 0 && i < p->ncpus; i++)
		rc = add_cpu(e, i, err);
	if (rc < 0)
		kvm_free(e);
	else
		*out = e;
	return rc;
}

static unsigned kvm_ncpus(const struct engine *e)
{
	return e->ncpus;
}

/* Room for the largest CPUID table, on the stack: struct kvm_cpuid2 ends in a
 * flexible array. */
struct cpuid_block {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[CPUID_LEAVES_MAX];
};

static int kvm_set_cpuid(struct engine *e, unsigned cpu,
			 const struct cpuid_leaf *leaves, unsigned n,
			 struct err *err)
{
	struct cpuid_block b = { .head.nent = n };

	if (n > CPUID_LEAVES_MAX)
		return err_say(err, -E2BIG, "%u CPUID leaves", n);
	for (unsigned i = 0; i < n; i++) {
		const struct cpuid_leaf *l = &leaves[i];
		int any = l->subleaf == CPUID_ANY_SUBLEAF;

		b.entry[i] = (struct kvm_cpuid_entry2){
			.function = l->leaf,
			.index = any ? 0 : l->subleaf,
			.flags = any ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = l->eax,
			.ebx = l->ebx,
			.ecx = l->ecx,
			.edx = l->edx,
		};
	}
	if (ioctl(e->cpu[cpu].fd, KVM_SET_CPUID2, &b) < 0)
		return err_set(err, -errno, "set CPUID of vCPU %u", cpu);
	return 0;
}

int engine_kvm_supported_cpuid(int kvm_fd, struct cpuid_leaf *leaves,
			       unsigned max)
{
	struct cpuid_block b = { .head.nent = CPUID_LEAVES_MAX };

	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &b) < 0)
		return -errno;
	if (b.head.nent > max)
		return -E2BIG;
	for (unsigned i = 0; i < b.head.nent; i++) {
		const struct kvm_cpuid_entry2 *k = &b.entry[i];
		int any = !(k->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);

		leaves[i] = (struct cpuid_leaf){
			.leaf = k->function,
			.subleaf = any ? CPUID_ANY_SUBLEAF : k->index,
			.eax = k->eax,
			.ebx = k->ebx,
			.ecx = k->ecx,
			.edx = k->edx,
		};
	}
	return (int)b.head.nent;
}

static int kvm_set_state(struct engine *e, unsigned cpu,
			 const struct vcpu_state *s, struct err *err)
{
	int rc = kvm_state_set(e->cpu[cpu].fd, s, err);

	return rc < 0 ? err_wrap(err, "vCPU %u", cpu) : 0;
}

static int kvm_get_state(struct engine *e, unsigned cpu, struct vcpu_state *s,
			 struct err *err)
{
	int rc = kvm_state_get(e->cpu[cpu].fd, s, err);

	return rc < 0 ? err_wrap(err, "vCPU %u", cpu) : 0;
}

/* A string instruction comes as `count` elements of one port. */
static void handle_io(const struct engine *e, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	int write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t count = run->io.count;

	for (; count > 0; count--, data += run->io.size)
		e->bus->pio(e->bus->opaque, run->io.port, data, run->io.size,
			    write);
}

/* An access that crosses a page comes in fragments of 1 to 8 bytes; the bus
 * knows powers of two. */
static void handle_mmio(const struct engine *e, struct kvm_run *run)
{
	uint64_t gpa = run->mmio.phys_addr;
	uint8_t *data = run->mmio.data;
	unsigned left = MIN(run->mmio.len, sizeof(run->mmio.data));

	while (left > 0) {
		unsigned n = 8;

		while (n > left)
			n /= 2;
		e->bus->mmio(e->bus->opaque, gpa, data, n, run->mmio.is_write);
		gpa += n;
		data += n;
		left -= n;
	}
}

static void stop(const struct kvm_cpu *c, struct engine_exit *x,
		 enum engine_exit_reason reason)
{
	struct kvm_regs regs;

	x->reason = reason;
	x->rip = ioctl(c->fd, KVM_GET_REGS, &regs) == 0 ? regs.rip : 0;
}

/* Space for "0f 05 ..." of up to 15 bytes. */
#define INSN_TEXT (3 * 15 + 1)

static void insn_text(const struct kvm_run *run, char text[INSN_TEXT])
{
	const uint64_t has_bytes =
		KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	unsigned n = 0;

	text[0] = '\0';
	if (run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & has_bytes))
		n = MIN(run->emulation_failure.insn_size, 15);
	for (unsigned i = 0; i < n; i++)
		snprintf(text + 3 * i, 4, " %02x",
			 run->emulation_failure.insn_bytes[i]);
}

static void internal_error(const struct kvm_cpu *c, struct engine_exit *x)
{
	const struct kvm_run *run = c->run;
	char insn[INSN_TEXT];

	stop(c, x, ENGINE_EXIT_ERROR);
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		snprintf(x->msg, sizeof(x->msg),
			 "KVM internal error %u at rip %#llx",
			 run->internal.suberror, (unsigned long long)x->rip);
		return;
	}
	insn_text(run, insn);
	snprintf(x->msg, sizeof(x->msg),
		 "KVM cannot emulate the instruction at rip %#llx:%s",
		 (unsigned long long)x->rip, insn);
}

/* Every reason to leave KVM_RUN. Returns 0 to go back in. */
static int handle_exit(const struct engine *e, const struct kvm_cpu *c,
		       struct engine_exit *x)
{
	struct kvm_run *run = c->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(e, run);
		return 0;
	case KVM_EXIT_MMIO:
		handle_mmio(e, run);
		return 0;
	case KVM_EXIT_INTR:
		x->reason = ENGINE_EXIT_INTR;
		return 1;
	case KVM_EXIT_SHUTDOWN:
		stop(c, x, ENGINE_EXIT_SHUTDOWN);
		snprintf(x->msg, sizeof(x->msg), "triple fault at rip %#llx",
			 (unsigned long long)x->rip);
		return 1;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(c, x);
		return 1;
	case KVM_EXIT_FAIL_ENTRY:
		stop(c, x, ENGINE_EXIT_ERROR);
		snprintf(x->msg, sizeof(x->msg),
			 "the CPU refuses to enter the guest: reason %#llx",
			 (unsigned long long)
			 run->fail_entry.hardware_entry_failure_reason);
		return 1;
	case KVM_EXIT_SYSTEM_EVENT:
		stop(c, x, ENGINE_EXIT_ERROR);
		snprintf(x->msg, sizeof(x->msg), "KVM system event %u",
			 run->system_event.type);
		return 1;
	default:
		/* HLT among them: with KVM's local APIC it waits inside. */
		stop(c, x, ENGINE_EXIT_ERROR);
		snprintf(x->msg, sizeof(x->msg), "unexpected KVM exit %u",
			 run->exit_reason);
		return 1;
	}
}

/*
 * KVM finishes a device access on the next KVM_RUN, and looks at
 * immediate_exit only after that: so when this returns ENGINE_EXIT_INTR no
 * instruction is half done, and get_state() sees whole ones.
 *
 * The flag is cleared on the way out, before the caller looks at what it was
 * kicked for. A kick before that is answered by this return, a later one by
 * the next.
 */
static void kvm_run(struct engine *e, unsigned cpu, struct engine_exit *x)
{
	struct kvm_cpu *c = &e->cpu[cpu];

	*x = (struct engine_exit){ .reason = ENGINE_EXIT_INTR };
	for (;;) {
		if (ioctl(c->fd, KVM_RUN, 0) == 0) {
			if (handle_exit(e, c, x) != 0)
				break;
		} else if (errno == EINTR) {
			break;
		} else if (errno != EAGAIN) { /* EAGAIN: an AP got its SIPI */
			int cause = errno;

			stop(c, x, ENGINE_EXIT_ERROR);
			snprintf(x->msg, sizeof(x->msg),
				 "KVM_RUN at rip %#llx: %s",
				 (unsigned long long)x->rip, strerror(cause));
			break;
		}
	}
	__atomic_exchange_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

static void kvm_kick(struct engine *e, unsigned cpu)
{
	__atomic_store_n(&e->cpu[cpu].run->immediate_exit, 1,
			 __ATOMIC_SEQ_CST);
}

/* Cannot fail but by our own mistake: the VM is there, the GSI in range. */
static void kvm_irq_line(struct engine *e, unsigned gsi, int level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level != 0 };

	if (gsi < ENGINE_GSIS)
		(void)ioctl(e->vm_fd, KVM_IRQ_LINE, &irq);
}

/* Two ioctls are 0.4 us and deliver before they return. An irqfd would be one
 * write, but KVM injects IOAPIC inputs from a work queue then. */
static void kvm_irq_pulse(struct engine *e, unsigned gsi)
{
	kvm_irq_line(e, gsi, 1);
	kvm_irq_line(e, gsi, 0);
}

static int kvm_ioeventfd(struct engine *e, uint64_t gpa, uint32_t match,
			 int fd, struct err *err)
{
	struct kvm_ioeventfd io = {
		.datamatch = match,
		.addr = gpa,
		.len = sizeof(match),
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(e->vm_fd, KVM_IOEVENTFD, &io) < 0)
		return err_set(err, -errno, "watch guest address %#llx",
			       (unsigned long long)gpa);
	return 0;
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.create = kvm_create,
	.free = kvm_free,
	.ncpus = kvm_ncpus,
	.set_cpuid = kvm_set_cpuid,
	.set_state = kvm_set_state,
	.get_state = kvm_get_state,
	.run = kvm_run,
	.kick = kvm_kick,
	.irq_line = kvm_irq_line,
	.irq_pulse = kvm_irq_pulse,
	.ioeventfd = kvm_ioeventfd,
};
