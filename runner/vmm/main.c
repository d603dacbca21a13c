/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-vmm: one virtual machine in one process.
 *
 * Started by the launcher with a control socket at descriptor CTL_FD (ctl.h)
 * and nothing else; opens no path, ever. Ends when the guest does, or when
 * the launcher closes its end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "jail/layers.h"
#include "jail/lock.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/vmm/ctl.h"
#include "runner/vmm/vm.h"

enum { EXIT_GUEST_ENDED, EXIT_FAILED, EXIT_LAUNCHER_GONE };

struct vmm {
	struct vm vm;
	struct ctl_boot boot; /* holds the command line */
	struct vm_params params;
	struct ev ctl_ev;
	uint64_t exec_ns, boot_ns; /* main() began, the boot message came */
	uint32_t layers;	   /* 1 << enum jail_layer */
	int launcher_gone;
};

static void prepare_process(void)
{
	/* Should the launcher die, so do we, whatever we are doing. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* execve undid the jail's: no process of this user may look in. */
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	/* The terminal's interrupt is the launcher's to judge. */
	signal(SIGINT, SIG_IGN);
}

/* Before there is a second thread: jail/lock.c. */
static int lock_paths(struct vmm *m, struct err *err)
{
	int r = lock_landlock();

	if (r < 0)
		return err_set(err, r, "Landlock");
	if (r > 0)
		m->layers |= 1u << JAIL_LANDLOCK;
	fault_point("vmm", "landlock");
	return 0;
}

static int lock_vcpu(const struct engine_ops *ops)
{
	int r = lock_seccomp(ops == &engine_kvm ? LOCK_KVM_VCPU
						: LOCK_SOFT_VCPU);

	return MIN(r, 0);
}

/* The last of the threads, and the end of all preparations. */
static int lock_main(struct vmm *m, struct err *err)
{
	int r = lock_seccomp(m->params.ops == &engine_kvm ? LOCK_KVM_MAIN
							  : LOCK_SOFT_MAIN);

	if (r < 0)
		return err_set(err, r, "seccomp");
	if (r > 0)
		m->layers |= 1u << JAIL_SECCOMP;
	return 0;
}

static int pick(const int *fds, int32_t index)
{
	return index == CTL_NO_FD ? -1 : fds[index];
}

/* ctl_recv_boot() has checked every number here. */
static void fill_params(struct vmm *m, const int *fds)
{
	const struct ctl_boot *b = &m->boot;
	struct vm_params *p = &m->params;

	*p = (struct vm_params){
		.ops = engine_by_name(b->engine == CTL_ENGINE_KVM ? "kvm"
								  : "soft"),
		.ncpus = b->ncpus,
		.ndisks = b->ndisks,
		.nstreams = b->nstreams,
		.ram = b->ram,
		.guest_cid = b->guest_cid,
		.kvm_fd = pick(fds, b->kvm_fd),
		.kernel_fd = pick(fds, b->kernel_fd),
		.initrd_fd = pick(fds, b->initrd_fd),
		.console_out_fd = pick(fds, b->console_out_fd),
		.console_in_fd = pick(fds, b->console_in_fd),
		.vsock_listen_fd = pick(fds, b->vsock_listen_fd),
		.net = { .fd = pick(fds, b->net.fd), .cfg = b->net },
		.cmdline = b->cmdline,
		.confine = lock_vcpu,
	};
	for (unsigned i = 0; i < b->ndisks; i++) {
		const struct ctl_disk *d = &b->disk[i];

		p->disk[i] = (struct vm_disk){ .kind = d->kind, .nfds = d->nfds,
					       .ops = d->ops,
					       .bytes = d->bytes };
		memcpy(p->disk[i].fd, &fds[d->fd], d->nfds * sizeof(*fds));
	}
	for (unsigned i = 0; i < b->nstreams; i++) {
		p->stream[i].port = b->stream[i].port;
		p->stream[i].fd = pick(fds, b->stream[i].fd);
	}
}

static int receive_boot(struct vmm *m, struct err *err)
{
	int fds[IO_FDS_MAX];
	unsigned nfds = IO_FDS_MAX;
	int r = ctl_recv_boot(CTL_FD, &m->boot, fds, &nfds, err);

	if (r)
		return r;
	m->boot_ns = io_now_ns();
	log_set_level((enum log_level)m->boot.verbose);
	fill_params(m, fds);
	fault_point("vmm", "boot");
	return 0;
}

/* A launcher that is gone needs no answer. */
static void tell(const struct vmm *m, struct ctl_event *e)
{
	e->ncpus = m->vm.ncpus;
	e->vcpu_ns = vm_cpu_ns(&m->vm);
	e->start_ns = m->vm.start_ns;
	e->instructions = vm_instructions(&m->vm);
	e->isa_missing = vm_isa_missing(&m->vm);
	e->layers = m->layers;
	memcpy(e->stage_ns, m->vm.stage_ns, sizeof(e->stage_ns));
	e->stage_ns[CTL_STAGE_EXEC] = m->exec_ns;
	e->stage_ns[CTL_STAGE_BOOT] = m->boot_ns;
	ctl_send_event(CTL_FD, e);
}

static int fail(const struct err *err)
{
	struct ctl_event e = { .type = CTL_FAILED, .code = err->code };

	memcpy(e.msg, err->msg, sizeof(e.msg));
	memcpy(e.hint, err->hint, sizeof(e.hint));
	ctl_send_event(CTL_FD, &e);
	return EXIT_FAILED;
}

static void on_ctl(struct ev *ev, uint32_t events)
{
	struct vmm *m = container_of(ev, struct vmm, ctl_ev);
	struct ctl_event e = { .type = CTL_STATS };

	if (events & EPOLLIN && ctl_recv_word(CTL_FD) == CTL_QUERY) {
		fault_point("vmm", "query");
		tell(m, &e);
		return;
	}
	m->launcher_gone = 1;
	ev_stop(ev->loop);
}

/* The launcher may still have something to do to this process. */
static int await_go(struct vmm *m, struct err *err)
{
	int r = ctl_recv_word(CTL_FD);

	if (r == CTL_GO)
		return 0;
	m->launcher_gone = r == 0;
	return err_say(err, -EPROTO, "control socket: no word to go");
}

static int start(struct vmm *m, struct err *err)
{
	struct ctl_event e = { .type = CTL_STARTED };
	int r = vm_init(&m->vm, &m->params, err);

	if (r)
		return r;
	fault_timer(&m->vm.loop, "vmm", "running", 200);
	m->ctl_ev.fd = CTL_FD;
	m->ctl_ev.fn = on_ctl;
	r = ev_set(&m->vm.loop, &m->ctl_ev, EPOLLIN);
	if (r)
		return err_set(err, r, "control socket");
	r = vm_start(&m->vm, err);
	if (!r)
		r = lock_main(m, err);
	if (r)
		return r;
	fault_point("vmm", "locked");
	tell(m, &e);
	fault_point("vmm", "started");
	r = await_go(m, err);
	fault_point("vmm", "go");
	if (!r)
		vm_go(&m->vm);
	return r;
}

/*
 * Devices go before the word is sent: that flushes the console, so that the
 * launcher has the guest's last words when it hears of the end. Memory goes
 * after it, for that takes milliseconds.
 */
static int finish(struct vmm *m)
{
	struct ctl_event e = { .type = CTL_STOPPED };
	int stuck = vm_stop(&m->vm);

	fault_point("vmm", "stop");
	if (!stuck)
		vm_devices_free(&m->vm);
	fault_point("vmm", "freed");
	e.stop = m->vm.stop;
	memcpy(e.msg, m->vm.stop_msg, sizeof(e.msg));
	if (!m->launcher_gone)
		tell(m, &e);
	fault_point("vmm", "stopped");
	/* A thread that is stuck in the engine ends with the process. */
	if (!stuck)
		vm_free(&m->vm);
	return m->launcher_gone ? EXIT_LAUNCHER_GONE : EXIT_GUEST_ENDED;
}

static int run(struct vmm *m)
{
	struct err err = { 0 };
	int r;

	prepare_process();
	fault_point("vmm", "main");
	if (lock_paths(m, &err) || receive_boot(m, &err))
		return fail(&err);
	r = start(m, &err);
	vm_params_close(&m->params);
	/* The process ends with all that it has: its vCPU threads may be
	 * there, and wait for a word that does not come. */
	if (r)
		_exit(m->launcher_gone ? EXIT_LAUNCHER_GONE : fail(&err));
	r = ev_run(&m->vm.loop);
	if (r)
		vm_request_stop(&m->vm, CTL_STOP_ERROR, "event loop failed");
	return finish(m);
}

int main(void)
{
	struct vmm m = { .exec_ns = io_now_ns() };

#ifdef MAYFLY_SAN
	return run(&m); /* and look for leaks */
#else
	/* Not exit(): no handler of anybody's has work to do here. */
	_exit(run(&m));
#endif
}
