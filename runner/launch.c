/* SPDX-License-Identifier: Apache-2.0 */
/* The machine of a run: its kernel, disks, streams and command line. */
#include "runner/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rootfs/wire.h"
#include "runner/artifact.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/mem.h"
#include "runner/config_image.h"
#include "runner/confine.h"
#include "runner/drive.h"
#include "runner/network.h"
#include "runner/scratch.h"
#include "runner/state.h"
#include "runner/trace.h"
#include "runner/vmm/gmem.h"

static_assert(STORE_FILES_MAX <= CTL_PARTS, "a disk has room for an image");

#define GUEST_CID 3 /* virtio 1.2 5.10.4: the first that is not reserved */

/*
 * panic=-1 reboot=k: a panic ends the VM at once, by the keyboard controller.
 * The rest saves work at boot (kernel-config/README.md has the numbers): there
 * is no PCI to look for, patching LOCK prefixes out for one CPU takes longer
 * than a short run gains by it, and nobody reads /sys/kernel/slab.
 * quiet: the console is a serial port, and every character costs an exit.
 * tsc=reliable: soft's TSC is the host's clock; no watchdog need watch it.
 * swiotlb: with RAM above 4 GiB Linux would set 64 MiB apart for devices that
 * cannot reach it; ours reach all.
 */
#define CMDLINE	      "console=ttyS0 reboot=k panic=-1 pci=off noreplace-smp " \
		      "initcall_blacklist=slab_late_init,pci_arch_init"
#define CMDLINE_QUIET "quiet"
#define CMDLINE_SOFT  "tsc=reliable"
#define CMDLINE_HIGH  "swiotlb=noforce"

/* Copies: another attempt may need them again. */
static int give_image(struct machine *m, const struct store_files *files,
		      const struct ctl_rate *rate, struct err *err)
{
	int fds[STORE_FILES_MAX], r = 0;
	unsigned n = 0;

	for (; r == 0 && n < files->n; n++) {
		fds[n] = fcntl(files->fds[n], F_DUPFD_CLOEXEC, 0);
		if (fds[n] < 0)
			r = err_set(err, -errno, "files of the image");
	}
	if (r == 0)
		machine_disk(m, CTL_DISK_READ, fds, n, rate);
	while (r < 0 && n)
		close_fd(&fds[--n]);
	return r;
}

/* What its root is read from. */
static int give_root(struct machine *m, const struct config *c,
		     const struct artifacts *a, const struct ctl_rate *rate,
		     struct err *err)
{
	int fd;

	if (c->image)
		return give_image(m, &c->image->files, rate, err);
	fd = c->rootfs ? machine_open_disk("rootfs", c->rootfs, err) :
			 artifact_open(a, ARTIFACT_BASE, err);
	if (fd >= 0)
		machine_disk(m, CTL_DISK_READ, &fd, 1, rate);
	return MIN(fd, 0);
}

/* What it writes to. */
static int give_scratch(struct machine *m, const struct launch *l,
			const struct artifacts *a, const struct ctl_rate *rate,
			struct err *err)
{
	uint64_t size = l->config->disk_size;
	_cleanup_fd_ int empty = -1;
	int fd;

	empty = !size || size == SCRATCH_SIZE ?
			artifact_open(a, ARTIFACT_SCRATCH, err) :
			scratch_template(size, err);
	if (empty < 0)
		return empty;
	fd = scratch_create(empty, err);
	if (fd < 0)
		return fd;
	if (l->scratch)
		*l->scratch = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	machine_disk(m, CTL_DISK_SCRATCH, &fd, 1, rate);
	return 0;
}

/* Kernel, initramfs and disks. */
static int give_files(struct machine *m, const struct launch *l,
		      const struct artifacts *a, struct err *err)
{
	const struct config *c = l->config;
	struct ctl_rate rate[2];
	int fd, r;

	fd = c->kernel ? machine_open_file("kernel", c->kernel, err)
		       : artifact_open(a, ARTIFACT_KERNEL, err);
	if (fd < 0)
		return fd;
	m->boot.kernel_fd = machine_give(m, fd);
	fd = artifact_open(a, ARTIFACT_AGENT, err);
	if (fd < 0)
		return fd;
	m->boot.initrd_fd = machine_give(m, fd);
	drive_rates(&c->rates, rate);
	r = give_root(m, c, a, rate, err);
	trace_mark(l->trace, TRACE_FILES);
	if (r == 0)
		r = give_scratch(m, l, a, rate, err);
	for (size_t i = 0; r == 0 && i < c->drives.n; i++)
		r = drive_add(m, &c->drives.v[i], rate, err);
	trace_mark(l->trace, TRACE_SCRATCH);
	fault_point("launcher", "files");
	return r;
}

static int give_cmdline(struct machine *m, const struct config *c,
			struct err *err)
{
	int r = machine_cmdline(m, CMDLINE, err);

	/* Who keeps the console wants to read it. */
	if (r == 0 && !c->console)
		r = machine_cmdline(m, CMDLINE_QUIET, err);
	if (r == 0 && m->boot.engine == CTL_ENGINE_SOFT)
		r = machine_cmdline(m, CMDLINE_SOFT, err);
	if (r == 0 && c->memory > GMEM_HOLE_START)
		r = machine_cmdline(m, CMDLINE_HIGH, err);
	if (r == 0 && c->append)
		r = machine_cmdline(m, c->append, err);
	return r;
}

int launch(struct machine *m, const struct launch *l, int *agent,
	   struct err *err)
{
	const struct config *c = l->config;
	_cleanup_fd_ int vmm = -1;
	struct artifacts a;
	int pair[2], writer, r;

	r = artifacts_find(&a, err);
	if (r < 0)
		return r;
	vmm = artifact_open(&a, ARTIFACT_VMM, err);
	if (vmm < 0)
		return vmm;
	r = console_init(l->console, l->loop, c->console, &writer, err);
	if (r < 0)
		return r;
	m->boot.console_out_fd = machine_give(m, writer);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "agent stream");
	*agent = pair[0];
	m->boot.guest_cid = GUEST_CID;
	machine_stream(m, WIRE_PORT, pair[1]);
	if (l->state) {
		r = state_listen_vsock(l->state, err);
		if (r < 0)
			return r;
		m->boot.vsock_listen_fd = machine_give(m, r);
	}
	r = give_files(m, l, &a, err);
	if (r == 0)
		r = give_cmdline(m, c, err);
	if (r == 0)
		r = confine(m, c, l->state ? state_id(l->state) : NULL, err);
	fault_point("launcher", "cgroup");
	/* Last: somebody else makes what it waits for. */
	if (r == 0)
		r = network_give(l->network, m, err);
	if (r == 0)
		r = machine_start(m, vmm, err);
	trace_mark(l->trace, TRACE_FORK);
	return r;
}
