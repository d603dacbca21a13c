/* SPDX-License-Identifier: Apache-2.0 */
/* One mayfly-vmm process and what it is given. */
#include "runner/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"
#include "runner/base/err.h"
#include "runner/base/fault.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"
#include "runner/engine/engine.h"
#include "runner/engine/probe.h"

#define SECTOR 512

/* Descriptors that mayfly-vmm may have: a connection of vsock is one, and it
 * has 128 of those at most. Its own are fewer than that. */
#define VMM_FDS	  512
static_assert(IO_FDS_MAX + 2 * 128 <= VMM_FDS, "all of them at once");
#define SEND_NS	  10000000000ull

static_assert(JAIL_CONTROL_FD == CTL_FD, "jail and VMM mean the same");

void machine_init(struct machine *m, const struct config *c)
{
	*m = (struct machine){
		.boot = { .type = CTL_BOOT,
			  .version = CTL_VERSION,
			  .engine = CTL_ENGINE_SOFT,
			  .ncpus = c->cpus.n,
			  .ram = c->memory,
			  .verbose = (uint32_t)log_get_level(),
			  .kvm_fd = CTL_NO_FD,
			  .kernel_fd = CTL_NO_FD,
			  .initrd_fd = CTL_NO_FD,
			  .console_out_fd = CTL_NO_FD,
			  .console_in_fd = CTL_NO_FD,
			  .vsock_listen_fd = CTL_NO_FD,
			  .net = { .fd = CTL_NO_FD } },
		.ids = c->uid_range,
		.strict = c->strict,
		.boot_timeout_ns = c->boot_timeout_ns,
		.pid = -1,
		.pidfd = -1,
		.control = -1,
	};
}

static void close_given(struct machine *m)
{
	while (m->nfds)
		close_fd(&m->fd[--m->nfds]);
}

void machine_free(struct machine *m)
{
	machine_kill(m);
	close_given(m);
	close_fd(&m->control);
}

/* -errno with the remedy, for --engine kvm. */
static int kvm_missing(int code, struct err *err)
{
	int r = err_set(err, code, "engine kvm: open /dev/kvm");

	if (code == -EACCES || code == -EPERM)
		err_hint(err, "join the group kvm, or use --engine soft");
	else if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
		err_hint(err, "load kvm_intel or kvm_amd and switch "
			      "virtualization on, or use --engine soft");
	else
		err_hint(err, "use --engine soft");
	return r;
}

static int kvm_refused(const struct probe_result *p, struct err *err)
{
	int r = err_say(err, -ENOTSUP,
			"engine kvm: /dev/kvm runs guests wrong: %s", p->why);

	err_hint(err, "use --engine soft, or auto, which takes it by itself");
	return r;
}

int machine_pick_engine(struct machine *m, enum config_engine want,
			struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct probe_result probe;
	struct err why = { 0 };

	if (want == CONFIG_ENGINE_SOFT)
		return 0;
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		kvm_missing(-errno, &why);
	} else if (probe_kvm_cached(fd, &probe) < 0 || !probe.ok) {
		kvm_refused(&probe, &why);
	} else {
		m->boot.engine = CTL_ENGINE_KVM;
		m->boot.kvm_fd = machine_give(m, steal_fd(&fd));
		return 0;
	}
	if (want == CONFIG_ENGINE_KVM) {
		if (err)
			*err = why;
		return why.code;
	}
	snprintf(m->engine_why, sizeof(m->engine_why), "%s", why.msg);
	log_info("%s; taking engine soft", why.msg);
	return 0;
}

const char *machine_engine_name(const struct machine *m)
{
	return m->boot.engine == CTL_ENGINE_KVM ? "kvm" : "soft";
}

int32_t machine_give(struct machine *m, int fd)
{
	assert(fd >= 0 && m->nfds < IO_FDS_MAX);
	m->fd[m->nfds] = fd;
	return (int32_t)m->nfds++;
}

void machine_disk(struct machine *m, enum ctl_disk_kind kind, const int *fds,
		  unsigned nfds, const struct ctl_rate rate[2])
{
	struct ctl_disk *d = &m->boot.disk[m->boot.ndisks];

	assert(m->boot.ndisks < CTL_DISKS && nfds && nfds <= CTL_PARTS);
	*d = (struct ctl_disk){ .fd = (int32_t)m->nfds, .nfds = nfds,
				.kind = kind };
	if (rate) {
		d->ops = rate[0];
		d->bytes = rate[1];
	}
	for (unsigned i = 0; i < nfds; i++)
		machine_give(m, fds[i]);
	m->boot.ndisks++;
}

void machine_net(struct machine *m, int fd, unsigned mtu, const uint8_t mac[6],
		 const struct ctl_rate rate[2])
{
	struct ctl_net *n = &m->boot.net;

	assert(n->fd == CTL_NO_FD);
	*n = (struct ctl_net){ .fd = machine_give(m, fd), .mtu = mtu };
	memcpy(n->mac, mac, sizeof(n->mac));
	if (rate) {
		n->rx_ops = n->tx_ops = rate[0];
		n->rx_bytes = n->tx_bytes = rate[1];
	}
}

void machine_stream(struct machine *m, uint32_t port, int fd)
{
	assert(m->boot.nstreams < CTL_STREAMS);
	m->boot.stream[m->boot.nstreams++] = (struct ctl_stream){
		.port = port,
		.fd = machine_give(m, fd),
	};
}

int machine_cmdline(struct machine *m, const char *words, struct err *err)
{
	char *line = m->boot.cmdline;
	size_t n = strlen(line), room = sizeof(m->boot.cmdline) - n;
	int k = snprintf(line + n, room, "%s%s", n ? " " : "", words);

	if (k >= 0 && (size_t)k < room)
		return 0;
	line[n] = '\0';
	return err_say(err, -E2BIG, "kernel command line: longer than %d bytes",
		       CTL_CMDLINE - 1);
}

int machine_open_file(const char *what, const char *path, struct err *err)
{
	/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_set(err, -errno, "%s: open %s", what, path);
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s: %s", what, path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s: %s", what, path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(err, -EINVAL, "%s: %s: not a regular file", what,
			       path);
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		return err_say(err, -EINVAL, "%s: %s: the file is empty", what,
			       path);
	return steal_fd(&fd);
}

int machine_open_disk(const char *what, const char *path, struct err *err)
{
	_cleanup_fd_ int fd = machine_open_file(what, path, err);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	/* virtio 1.2 5.2.5: a disk is a number of sectors. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size % SECTOR) {
		r = err_say(err, -EINVAL,
			    "%s: %s: %lld bytes is not a whole number of "
			    "sectors of %d bytes", what, path,
			    (long long)st.st_size, SECTOR);
		err_hint(err, "is it a disk image? If so: truncate -s %%%d %s",
			 SECTOR, path);
		return r;
	}
	return steal_fd(&fd);
}

/* In the child, on its way into the jail: what goes wrong is told as the VMM
 * would. */
static void tell_failure(int control_fd, const struct err *err)
{
	struct ctl_event e = { .type = CTL_FAILED, .code = err->code };

	memcpy(e.msg, err->msg, sizeof(e.msg));
	memcpy(e.hint, err->hint, sizeof(e.hint));
	ctl_send_event(control_fd, &e);
}

/* The largest file that mayfly-vmm has to write. */
static uint64_t largest_file(const struct machine *m)
{
	uint64_t most = ENGINE_FILE_MAX;

	for (unsigned i = 0; i < m->boot.ndisks; i++) {
		int32_t at = ctl_disk_written(&m->boot.disk[i]);
		off_t size = at < 0 ? 0 : lseek(m->fd[at], 0, SEEK_END);

		if (size > 0)
			most = MAX(most, (uint64_t)size);
	}
	return most;
}

static int start_process(struct machine *m, int program_fd, int control_fd,
			 struct err *err)
{
	char name[] = "mayfly-vmm";
	char *argv[] = { name, fault_text(), NULL };
	const struct jail_params p = {
		.program_fd = program_fd,
		.control_fd = control_fd,
		.cgroup_fd = cgroup_fd(&m->cgroup),
		.keep_stderr = log_get_level() > LOG_QUIET,
		.argv = argv,
		.ids = m->ids,
		/* Its main thread, its vCPUs, and the worker that the kernel
		 * adds to who runs a VM with KVM. */
		.tasks = m->boot.ncpus + 2,
		.nofile = VMM_FDS,
		.file_size = largest_file(m),
		.patience_ns = m->boot_timeout_ns,
		.failed = tell_failure,
	};
	struct jail_process process;
	int r = jail_start(&p, &m->jail, &process, err);

	m->pid = process.pid;
	m->pidfd = process.pidfd;
	m->in_cgroup = process.in_cgroup;
	return r;
}

/*
 * All descriptors of a user's that are on their way in sockets count as those
 * of one process (unix(7), ETOOMANYREFS), root's excepted: where many VMs of
 * many files start at once, one waits until others have theirs.
 */
static int send_boot(const struct machine *m)
{
	uint64_t until = io_now_ns() + SEND_NS;
	int r;

	for (;;) {
		r = ctl_send_boot(m->control, &m->boot, m->fd, m->nfds);
		if (r != -ETOOMANYREFS || io_now_ns() > until)
			return r;
		usleep(1000);
	}
}

/* The guest may run, if nothing else is waited for. */
static int go(struct machine *m, struct err *err)
{
	int r;

	if (m->went || m->hold || m->unfenced || (m->strict && !m->started))
		return 0;
	m->went = 1;
	r = ctl_send_go(m->control);
	fault_point("launcher", "go");
	/* A child that failed has left its reason in the socket. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return err_set(err, r, "let the guest go");
	return 0;
}

int machine_start(struct machine *m, int program_fd, struct err *err)
{
	int pair[2], r;

	m->start_ns = io_now_ns();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "control socket");
	m->control = pair[0];
	r = start_process(m, program_fd, pair[1], err);
	close(pair[1]);
	if (r < 0)
		return r;
	r = send_boot(m);
	close_given(m);
	fault_point("launcher", "boot");
	/* A child that failed has left its reason in the socket. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return err_set(err, r, "send the boot message");
	/* That takes a while on cgroup v1, in which mayfly-vmm makes itself
	 * ready. If it has ended instead, the socket has the reason. */
	if (!m->in_cgroup)
		cgroup_attach(&m->cgroup, m->pid, &m->jail);
	fault_point("launcher", "attached");
	return go(m, err);
}

int machine_fenced(struct machine *m, struct err *err)
{
	m->unfenced = 0;
	return go(m, err);
}

uint64_t machine_boot_left(const struct machine *m)
{
	uint64_t gone = m->start_ns ? io_now_ns() - m->start_ns : 0;

	if (!m->boot_timeout_ns)
		return 0;
	return m->boot_timeout_ns > gone ? m->boot_timeout_ns - gone : 1;
}

/* mayfly-vmm has locked itself in. No guest has run yet, so it is still what we
 * started; from a second time on it would not be, and is no more believed. */
static int started(struct machine *m, struct ctl_event *e)
{
	struct err err = { 0 };
	int r;

	if (m->started)
		return -EPROTO;
	m->started = 1;
	jail_report_program(&m->jail, e->layers);
	r = m->strict && !m->hold ? jail_report_strict(&m->jail, &err) : 0;
	if (r == 0)
		r = go(m, &err);
	if (r == 0)
		return 1;
	*e = (struct ctl_event){ .type = CTL_FAILED, .code = r };
	memcpy(e->msg, err.msg, sizeof(e->msg));
	memcpy(e->hint, err.hint, sizeof(e->hint));
	return 1;
}

int machine_event(struct machine *m, struct ctl_event *e)
{
	int r = ctl_recv_event(m->control, e);

	if (r > 0 && e->type == CTL_STARTED)
		r = started(m, e);
	return r == -ECONNRESET ? 0 : r;
}

static uint64_t ns_of(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

/* SIGKILL and reap. */
static void end_process(struct machine *m)
{
	struct rusage usage = { 0 };
	int r;

	if (m->pidfd >= 0)
		pidfd_send_signal(m->pidfd, SIGKILL, NULL, 0);
	else
		kill(m->pid, SIGKILL);
	/* To end takes CPU time too, of which there may be little. */
	if (m->limits.cpu_milli)
		cgroup_kill(&m->cgroup);
	do
		r = wait4(m->pid, &m->wait_status, 0, &usage);
	while (r < 0 && errno == EINTR);
	m->peak = (uint64_t)usage.ru_maxrss << 10;
	m->cpu_ns = ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime);
	m->pid = -1;
	close_fd(&m->pidfd);
}

void machine_kill(struct machine *m)
{
	if (m->pid >= 0)
		end_process(m);
	if (!m->cgroup.ndirs)
		return;
	cgroup_usage(&m->cgroup, &m->usage);
	/* On v1 nobody counts it for the cgroup, where that is of its own. */
	if (m->usage.cpu_ns == CGROUP_UNKNOWN)
		m->usage.cpu_ns = m->cpu_ns;
	cgroup_free(&m->cgroup);
}

int machine_is_oom(const struct machine *m)
{
	return m->usage.oom_kills && m->usage.oom_kills != CGROUP_UNKNOWN &&
	       WIFSIGNALED(m->wait_status) &&
	       WTERMSIG(m->wait_status) == SIGKILL;
}
