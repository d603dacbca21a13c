/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: in place of mayfly-vmm, somebody who wants out. See probe.h.
 *
 * Started by the launcher's code with the launcher's parameters, it takes the
 * boot message and does to itself what mayfly-vmm does.
 */
#include "tests/jail/probe.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/lock.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/vmm/ctl.h"
#include "tests/jail/sweep.h"

static int try_one(const struct probe *p, const struct world *w)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return BROKEN;
	if (pid == 0) {
		alarm(60);
		if (w->lock & SECCOMP &&
		    lock_seccomp((enum lock_role)w->role) < 0)
			_exit(BROKEN);
		_exit(p->reach(w));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return BROKEN;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return WTERMSIG(status) == SIGSYS ? HELD : BROKEN;
}

static void try_all(const struct world *w)
{
	const struct probe *p;

	for (unsigned i = 0; (p = probe_at(i)); i++) {
		struct said s = { .index = i, .outcome = HELD };

		if ((p->base & w->on) != p->base)
			continue;
		s.outcome = (uint32_t)try_one(p, w);
		send(CONTROL_FD, &s, sizeof(s), MSG_NOSIGNAL);
	}
}

/* Ready, until nobody listens any more. */
static void stay(void)
{
	struct said s = { 0 };

	send(CONTROL_FD, &s, sizeof(s), MSG_NOSIGNAL);
	(void)!recv(CONTROL_FD, &s, sizeof(s), 0);
}

/* As the VMM has them: runner/vmm/main.c. */
static int take_boot(void)
{
	struct ctl_boot b;
	struct err err = { 0 };
	int fd[IO_FDS_MAX], r;
	unsigned n = IO_FDS_MAX;

	r = ctl_recv_boot(CONTROL_FD, &b, fd, &n, &err);
	if (r < 0)
		return r;
	given[GIVEN_KERNEL] = fd[b.kernel_fd];
	given[GIVEN_PROGRAM] = fd[b.initrd_fd];
	given[GIVEN_DISK] = fd[b.disk[0].fd];
	given[GIVEN_SETUID] = b.ndisks > 1 ? fd[b.disk[1].fd] : -1;
	given[GIVEN_CONSOLE] = fd[b.console_out_fd];
	given[GIVEN_LISTENER] = fd[b.vsock_listen_fd];
	given[GIVEN_STREAM] = fd[b.stream[0].fd];
	given[GIVEN_TERMINAL] = fd[b.console_in_fd];
	given[GIVEN_KVM] = b.kvm_fd == CTL_NO_FD ? -1 : fd[b.kvm_fd];
	return ctl_recv_word(CONTROL_FD) == CTL_GO ? 0 : -EPROTO;
}

/* Executed once more, by a probe: has that worked, and what was gained? */
static int second_life(const char *what)
{
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[2];

	if (!strcmp(what, "reached"))
		return REACHED;
	if (syscall(SYS_capget, &h, d) < 0)
		return BROKEN;
	return d[0].permitted || d[1].permitted ? REACHED : HELD;
}

int main(int argc, char **argv)
{
	struct world w;

	if (argc == 2 && !strcmp(argv[0], "program"))
		return second_life(argv[1]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	if (take_boot() < 0 ||
	    recv(CONTROL_FD, &w, sizeof(w), 0) != sizeof(w))
		_exit(BROKEN);
	if (w.lock & LANDLOCK && lock_landlock() < 0)
		_exit(BROKEN);
	if (w.work == TRY_ALL)
		try_all(&w);
	else if (w.work == SWEEP)
		sweep(&w);
	else
		stay();
	_exit(0);
}
