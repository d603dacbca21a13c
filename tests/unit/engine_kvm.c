/* SPDX-License-Identifier: Apache-2.0 */
/* The kvm engine from its caller's side: kicks, state, errors. What guests do
 * on it is tests/guest's matter. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/regs.h"

#define RAM   (2ull << 20)
#define ENTRY 0x100000

struct fixture {
	struct gmem gm;
	struct engine_bus bus;
	struct engine *e;
	int kvm_fd;
	unsigned ports, kick_at;
};

static void on_mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		    int write)
{
	(void)opaque;
	(void)gpa;
	if (!write)
		memset(data, 0xff, len);
}

static void on_pio(void *opaque, uint16_t port, void *data, unsigned len,
		   int write)
{
	struct fixture *f = opaque;

	(void)port;
	if (!write)
		memset(data, 0x5a, len);
	if (++f->ports == f->kick_at)
		engine_kvm.kick(f->e, 0);
}

static void setup(struct fixture *f, const void *code, size_t len)
{
	struct engine_params p = { .gm = &f->gm, .bus = &f->bus, .ncpus = 1 };
	struct vcpu_state s;
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	f->bus = (struct engine_bus){ f, on_mmio, on_pio };
	f->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (f->kvm_fd < 0)
		cr_skip_test("/dev/kvm: %s", strerror(errno));
	p.kvm_fd = f->kvm_fd;
	cr_assert_eq(gmem_init(&f->gm, RAM, &err), 0, "%s", err.msg);
	cr_assert_eq(gmem_write(&f->gm, ENTRY, code, len), 0);
	cr_assert_eq(engine_kvm.create(&p, &f->e, &err), 0, "%s", err.msg);
	cr_assert_eq(regs_boot(&f->gm, ENTRY, &s), 0);
	cr_assert_eq(engine_kvm.set_state(f->e, 0, &s, &err), 0, "%s", err.msg);
}

static void teardown(struct fixture *f)
{
	engine_kvm.free(f->e);
	gmem_free(&f->gm);
	close(f->kvm_fd);
}

static const uint8_t spin[] = { 0xeb, 0xfe };
static const uint8_t halt[] = { 0xfa, 0xf4, 0xeb, 0xfd };
/* 1: in $0x10, %al; jmp 1b */
static const uint8_t ports[] = { 0xe4, 0x10, 0xeb, 0xfc };
static const uint8_t undefined[] = { 0x0f, 0x0b };

Test(engine_kvm, a_kick_before_run_makes_it_return_at_once, .timeout = 60)
{
	struct engine_exit x;
	struct fixture f;

	setup(&f, spin, sizeof(spin));
	engine_kvm.kick(f.e, 0);
	engine_kvm.run(f.e, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR, "%s", x.msg);
	teardown(&f);
}

/* The kick comes from inside a port read: run() returns after that read has
 * been finished, and the next run() does not remember the kick. */
Test(engine_kvm, a_kick_finishes_the_port_access_first, .timeout = 60)
{
	struct vcpu_state s;
	struct engine_exit x;
	struct fixture f;

	setup(&f, ports, sizeof(ports));
	f.kick_at = 3;
	engine_kvm.run(f.e, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR, "%s", x.msg);
	cr_assert_eq(f.ports, 3);
	cr_assert_eq(engine_kvm.get_state(f.e, 0, &s, NULL), 0);
	cr_assert_eq(s.gpr[X86_RAX] & 0xff, 0x5a);
	cr_assert_eq(s.rip, ENTRY + 2);
	f.kick_at = 10;
	engine_kvm.run(f.e, 0, &x);
	cr_assert_eq(f.ports, 10);
	teardown(&f);
}

static void ignore(int sig)
{
	(void)sig;
}

static void *run_thread(void *arg)
{
	struct fixture *f = arg;
	struct engine_exit x;

	engine_kvm.run(f->e, 0, &x);
	return (void *)(uintptr_t)x.reason;
}

static void kick_thread(const void *code, size_t len)
{
	const struct sigaction sa = { .sa_handler = ignore };
	struct fixture f;
	pthread_t t;
	void *reason;

	sigaction(SIGUSR1, &sa, NULL);
	setup(&f, code, len);
	cr_assert_eq(pthread_create(&t, NULL, run_thread, &f), 0);
	usleep(20000);
	engine_kvm.kick(f.e, 0);
	pthread_kill(t, SIGUSR1);
	pthread_join(t, &reason);
	cr_assert_eq((uintptr_t)reason, ENGINE_EXIT_INTR);
	teardown(&f);
}

Test(engine_kvm, a_kick_ends_a_guest_that_spins, .timeout = 60)
{
	kick_thread(spin, sizeof(spin));
}

Test(engine_kvm, a_kick_ends_a_guest_that_halts, .timeout = 60)
{
	kick_thread(halt, sizeof(halt));
}

Test(engine_kvm, a_triple_fault_is_a_shutdown, .timeout = 60)
{
	struct engine_exit x;
	struct fixture f;

	setup(&f, undefined, sizeof(undefined));
	engine_kvm.run(f.e, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_SHUTDOWN, "%s", x.msg);
	cr_assert(strlen(x.msg) > 0);
	teardown(&f);
}

Test(engine_kvm, state_comes_back_as_it_was_set)
{
	struct vcpu_state a, b;
	struct err err = { 0 };
	struct fixture f;

	setup(&f, spin, sizeof(spin));
	cr_assert_eq(regs_boot(&f.gm, ENTRY, &a), 0);
	for (unsigned i = 0; i < 16; i++)
		a.gpr[i] = 0x1111111111111111ull * i;
	a.lstar = 0xffffffff81000000;
	a.star = 0x0023001000000000;
	a.kernel_gs_base = 0xffff888000000000;
	a.seg[X86_FS].base = 0x7f0012345000;
	a.cr2 = 0xdeadbeef000;
	a.dr[0] = 0x1000;
	a.cr8 = 7;
	a.fxsave[32] = 0x42; /* ST0 */
	a.fxsave[160] = 0x43; /* XMM0 */
	a.fxsave[415] = 0x44; /* XMM15 */
	a.intr_shadow = 1;
	a.rflags |= 0x200;
	cr_assert_eq(engine_kvm.set_state(f.e, 0, &a, &err), 0, "%s", err.msg);
	cr_assert_eq(engine_kvm.get_state(f.e, 0, &b, &err), 0, "%s", err.msg);
	cr_assert_arr_eq(a.gpr, b.gpr, sizeof(a.gpr));
	cr_assert_eq(b.rip, a.rip);
	cr_assert_eq(b.rflags, a.rflags);
	for (unsigned i = 0; i < X86_SREGS; i++) {
		cr_assert_eq(b.seg[i].sel, a.seg[i].sel);
		cr_assert_eq(b.seg[i].base, a.seg[i].base);
		cr_assert_eq(b.seg[i].limit, a.seg[i].limit);
	}
	cr_assert_eq(b.tr.type, a.tr.type);
	cr_assert_eq(b.gdtr.base, a.gdtr.base);
	cr_assert_eq(b.gdtr.limit, a.gdtr.limit);
	cr_assert_eq(b.cr0, a.cr0);
	cr_assert_eq(b.cr2, a.cr2);
	cr_assert_eq(b.cr3, a.cr3);
	cr_assert_eq(b.cr4, a.cr4);
	cr_assert_eq(b.cr8, a.cr8);
	cr_assert_eq(b.efer, a.efer);
	cr_assert_eq(b.apic_base, a.apic_base);
	cr_assert_eq(b.lstar, a.lstar);
	cr_assert_eq(b.star, a.star);
	cr_assert_eq(b.kernel_gs_base, a.kernel_gs_base);
	cr_assert_eq(b.pat, a.pat);
	cr_assert_eq(b.dr[0], a.dr[0]);
	cr_assert_eq(b.fxsave[32], 0x42);
	cr_assert_eq(b.fxsave[160], 0x43);
	cr_assert_eq(b.fxsave[415], 0x44);
	cr_assert_eq(b.fxsave[0], a.fxsave[0]);
	cr_assert_eq(b.halted, 0);
	teardown(&f);
}

Test(engine_kvm, a_cpu_that_waits_for_sipi_says_so)
{
	struct vcpu_state s;
	struct err err = { 0 };
	struct fixture f;

	setup(&f, spin, sizeof(spin));
	regs_wait_sipi(&s);
	cr_assert_eq(engine_kvm.set_state(f.e, 0, &s, &err), 0, "%s", err.msg);
	memset(&s, 0, sizeof(s));
	cr_assert_eq(engine_kvm.get_state(f.e, 0, &s, &err), 0, "%s", err.msg);
	cr_assert_eq(s.wait_sipi, 1);
	teardown(&f);
}

Test(engine_kvm, no_cpu_and_too_many_are_refused_in_words)
{
	static const unsigned counts[] = { 0, ENGINE_CPUS_MAX + 1 };
	struct gmem gm = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct engine_params p = {
			.gm = &gm, .ncpus = counts[i], .kvm_fd = -1,
		};
		struct engine *e = (void *)1;
		struct err err = { 0 };

		cr_assert_eq(engine_kvm.create(&p, &e, &err), -EINVAL);
		cr_assert_null(e);
		cr_assert(strlen(err.msg) > 0);
	}
}

Test(engine_kvm, a_descriptor_that_is_no_kvm_is_refused_in_words)
{
	_cleanup_fd_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct gmem gm = { 0 };
	struct engine_params p = { .gm = &gm, .ncpus = 1, .kvm_fd = fd };
	struct err err = { 0 };
	struct engine *e;

	cr_assert_lt(engine_kvm.create(&p, &e, &err), 0);
	cr_assert_null(e);
	cr_assert(strlen(err.msg) > 0);
	engine_kvm.free(NULL);
}
