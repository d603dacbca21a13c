/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's host side: a VM of eight pages, and what came out of it. */
#include "runner/engine/probe.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/engine/probe_guest.h"

/* In the hole below 4 GiB, as in kvm.c; VT-x alone needs them. */
#define IDENTITY_PAGE 0xfeffc000ull
#define TSS_PAGES     0xfeffd000ull

#define CPUID_ENTRIES 128
#define EXITS_MAX     64 /* a right guest makes two */

#define PTE_P  (1ull << 0)
#define PTE_RW (1ull << 1)
#define PTE_US (1ull << 2)
#define PTE_PS (1ull << 7)

enum outcome {
	OUT_NONE,   /* still running, or killed for the time it took */
	OUT_SETUP,  /* no guest instruction ran */
	OUT_WRONG,  /* in `step` */
	OUT_RIGHT,
};

/* What the child tells, in memory shared with its parent. */
struct report {
	_Atomic uint32_t outcome;
	int error;	/* SETUP: errno */
	uint32_t step;	/* WRONG */
	char what[120]; /* SETUP, WRONG */
};

/* What both processes see: the guest's memory (so that the step of a guest
 * that hangs can be read), then the report. */
struct shared {
	uint8_t ram[PROBE_RAM];
	struct report report;
};

struct vm {
	struct shared *sh;
	int fd, cpu;
	struct kvm_run *run;
};

static const char *const step_names[PROBE_STEPS] = {
	[PROBE_AT_START] = "the first instructions",
	[PROBE_AT_IRETQ] = "iretq to user mode",
	[PROBE_AT_SYSCALL] = "syscall from user mode",
	[PROBE_AT_PORT] = "a port write",
	[PROBE_AT_SYSRET] = "sysretq to user mode",
	[PROBE_AT_EXCEPTION] = "an exception in user mode",
	[PROBE_AT_TIMER] = "a timer interrupt in user mode",
	[PROBE_AT_POPCNT] = "popcnt in kernel mode",
	[PROBE_AT_CX16] = "cmpxchg16b in kernel mode",
	[PROBE_AT_SMAP] = "stac and clac",
	[PROBE_AT_FXSAVE] = "fxsave in kernel mode",
	[PROBE_AT_XSAVE] = "xsave in kernel mode",
	[PROBE_AT_FWAIT] = "fwait in kernel mode",
	[PROBE_AT_INT3] = "int3 in kernel mode",
};

static uint32_t guest_u32(const struct shared *sh, unsigned at)
{
	uint32_t v;

	memcpy(&v, &sh->ram[at], sizeof(v));
	return v;
}

static void put_u64(struct shared *sh, unsigned at, uint64_t v)
{
	memcpy(&sh->ram[at], &v, sizeof(v));
}

static int setup_failed(struct shared *sh, const char *what)
{
	sh->report.error = errno;
	snprintf(sh->report.what, sizeof(sh->report.what), "%s", what);
	sh->report.outcome = OUT_SETUP;
	return -1;
}

static void wrong(struct shared *sh, const char *what)
{
	sh->report.step = guest_u32(sh, PROBE_STEP);
	snprintf(sh->report.what, sizeof(sh->report.what), "%s", what);
	sh->report.outcome = OUT_WRONG;
}

/* Two 2 MiB mappings of the same first 2 MiB: kernel's at 0, user's after. */
static void load_guest(struct shared *sh)
{
	assert(probe_guest_layout.size <= PROBE_PML4);
	memcpy(sh->ram, probe_guest_start, probe_guest_layout.size);
	put_u64(sh, PROBE_PML4, PROBE_PDPT | PTE_P | PTE_RW | PTE_US);
	put_u64(sh, PROBE_PDPT, PROBE_PD | PTE_P | PTE_RW | PTE_US);
	put_u64(sh, PROBE_PD, PTE_P | PTE_RW | PTE_PS);
	put_u64(sh, PROBE_PD + 8, PTE_P | PTE_RW | PTE_US | PTE_PS);
}

static int create_vm(struct vm *vm, int kvm_fd)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = PROBE_RAM,
		.userspace_addr = (uintptr_t)vm->sh->ram,
	};
	uint64_t identity = IDENTITY_PAGE;
	int size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (size < 0)
		return setup_failed(vm->sh, "KVM_GET_VCPU_MMAP_SIZE");
	vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return setup_failed(vm->sh, "KVM_CREATE_VM");
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_PAGES) < 0)
		return setup_failed(vm->sh, "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return setup_failed(vm->sh, "KVM_SET_USER_MEMORY_REGION");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return setup_failed(vm->sh, "KVM_CREATE_IRQCHIP");
	vm->cpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->cpu < 0)
		return setup_failed(vm->sh, "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vm->cpu, 0);
	if (run == MAP_FAILED)
		return setup_failed(vm->sh, "map the vCPU");
	vm->run = run;
	return 0;
}

static int set_cpuid(struct vm *vm, int kvm_fd)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[CPUID_ENTRIES];
	} c = { .head.nent = CPUID_ENTRIES };

	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &c) < 0)
		return setup_failed(vm->sh, "KVM_GET_SUPPORTED_CPUID");
	if (ioctl(vm->cpu, KVM_SET_CPUID2, &c) < 0)
		return setup_failed(vm->sh, "KVM_SET_CPUID2");
	return 0;
}

static int set_registers(struct vm *vm)
{
	const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = PROBE_SS, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1,
	};
	const struct probe_guest_layout *at = &probe_guest_layout;
	struct kvm_regs regs = { .rflags = 2, .rsp = PROBE_KERNEL_STACK };
	struct kvm_sregs s;

	if (ioctl(vm->cpu, KVM_GET_SREGS, &s) < 0)
		return setup_failed(vm->sh, "KVM_GET_SREGS");
	s.cs = (struct kvm_segment){
		.limit = 0xffffffff, .selector = PROBE_CS, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1,
	};
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){
		.base = at->tss,
		.limit = 0x67, .selector = PROBE_TSS, .type = 11, .present = 1,
	};
	s.gdt.base = at->gdt;
	s.gdt.limit = (uint16_t)(at->gdt_size - 1);
	s.idt.base = at->idt;
	s.idt.limit = (uint16_t)(at->idt_size - 1);
	s.cr3 = PROBE_PML4;
	s.cr4 = 0x620;	    /* PAE, OSFXSR, OSXMMEXCPT */
	s.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	s.efer = 0x500;	    /* LMA, LME */
	if (ioctl(vm->cpu, KVM_SET_SREGS, &s) < 0)
		return setup_failed(vm->sh, "KVM_SET_SREGS");
	if (ioctl(vm->cpu, KVM_SET_REGS, &regs) < 0)
		return setup_failed(vm->sh, "KVM_SET_REGS");
	return 0;
}

/* The guest says that all went right: what do its registers say? */
static void check_end(struct vm *vm)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(vm->cpu, KVM_GET_SREGS, &s) < 0 ||
	    ioctl(vm->cpu, KVM_GET_REGS, &r) < 0)
		wrong(vm->sh, "its registers cannot be read");
	else if (r.r12 != PROBE_MAGIC || s.cs.selector != PROBE_CS ||
		 s.cs.dpl != 0 || s.ss.selector != PROBE_SS)
		wrong(vm->sh, "a register is wrong after it");
	else
		vm->sh->report.outcome = OUT_RIGHT;
}

/* Returns 0 to go on. */
static int port_write(struct vm *vm, int *hellos)
{
	struct kvm_run *run = vm->run;
	char what[80];
	uint32_t v = 0;

	if (run->io.port == PROBE_PORT && run->io.count == 1 &&
	    run->io.size == sizeof(v) && run->io.direction == KVM_EXIT_IO_OUT)
		memcpy(&v, (uint8_t *)run + run->io.data_offset, sizeof(v));
	switch (v) {
	case PROBE_HELLO:
		++*hellos;
		return 0;
	case PROBE_DONE:
		if (*hellos == 1)
			check_end(vm);
		else
			wrong(vm->sh, "the first port write was lost");
		return 1;
	case PROBE_FAULT:
		snprintf(what, sizeof(what), "it raises exception %u",
			 guest_u32(vm->sh, PROBE_VECTOR));
		wrong(vm->sh, what);
		return 1;
	case PROBE_WRONG:
		wrong(vm->sh, "its result is wrong");
		return 1;
	default:
		wrong(vm->sh, "the port access that came out is another");
		return 1;
	}
}

static void run_guest(struct vm *vm)
{
	int hellos = 0;
	char what[80];

	for (int i = 0; i < EXITS_MAX; i++) {
		if (ioctl(vm->cpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			snprintf(what, sizeof(what), "KVM_RUN fails: %s",
				 strerror(errno));
			wrong(vm->sh, what);
			return;
		}
		switch (vm->run->exit_reason) {
		case KVM_EXIT_IO:
			if (port_write(vm, &hellos) != 0)
				return;
			break;
		case KVM_EXIT_SHUTDOWN:
			wrong(vm->sh, "it ends in a triple fault");
			return;
		case KVM_EXIT_INTERNAL_ERROR:
			snprintf(what, sizeof(what),
				 "KVM cannot do it (internal error %u)",
				 vm->run->internal.suberror);
			wrong(vm->sh, what);
			return;
		default:
			snprintf(what, sizeof(what), "KVM exit %u comes of it",
				 vm->run->exit_reason);
			wrong(vm->sh, what);
			return;
		}
	}
	wrong(vm->sh, "it never ends");
}

/* The child leaves when it is done, when its time is up (SIGALRM kills it
 * inside KVM_RUN, too) or when its parent is gone. */
static void child(struct shared *sh, int kvm_fd, pid_t parent)
{
	const struct itimerval limit = {
		.it_value.tv_sec = PROBE_LIMIT_MS / 1000,
		.it_value.tv_usec = PROBE_LIMIT_MS % 1000 * 1000,
	};
	struct vm vm = { .sh = sh, .fd = -1, .cpu = -1 };
	sigset_t none;

	signal(SIGALRM, SIG_DFL);
	setitimer(ITIMER_REAL, &limit, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return;
	load_guest(sh);
	if (create_vm(&vm, kvm_fd) == 0 && set_cpuid(&vm, kvm_fd) == 0 &&
	    set_registers(&vm) == 0)
		run_guest(&vm);
}

/* Returns 0, or -errno of a probe that could not be run. */
static int judge(const struct shared *sh, struct probe_result *r)
{
	const struct report *rep = &sh->report;
	uint32_t outcome = rep->outcome, step;

	switch (outcome) {
	case OUT_RIGHT:
		r->ok = 1;
		return 0;
	case OUT_WRONG:
		snprintf(r->why, sizeof(r->why), "%s: %s",
			 rep->step < PROBE_STEPS ? step_names[rep->step] :
						   "an unknown step",
			 rep->what);
		return 0;
	case OUT_SETUP:
		snprintf(r->why, sizeof(r->why), "%s: %s", rep->what,
			 strerror(rep->error));
		return -rep->error;
	default:
		step = guest_u32(sh, PROBE_STEP);
		snprintf(r->why, sizeof(r->why),
			 "%s: no answer within %d ms",
			 step < PROBE_STEPS ? step_names[step] :
					      "an unknown step",
			 PROBE_LIMIT_MS);
		return -ETIMEDOUT;
	}
}

int probe_kvm(int kvm_fd, struct probe_result *r)
{
	uint64_t start = io_now_ns();
	pid_t parent = getpid(), pid;
	struct shared *sh;
	int rc;

	*r = (struct probe_result){ 0 };
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		rc = -errno;
		snprintf(r->why, sizeof(r->why), "memory for the probe: %s",
			 strerror(-rc));
		return rc;
	}
	pid = fork();
	if (pid == 0) {
		child(sh, kvm_fd, parent);
		_exit(0);
	}
	if (pid < 0) {
		rc = -errno;
		snprintf(r->why, sizeof(r->why), "fork the probe: %s",
			 strerror(-rc));
	} else {
		/* ECHILD, where SIGCHLD is ignored, comes after its end. */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		rc = judge(sh, r);
	}
	munmap(sh, sizeof(*sh));
	r->ns = io_now_ns() - start;
	return rc;
}
