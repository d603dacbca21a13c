/* SPDX-License-Identifier: Apache-2.0 */
/* A child in namespaces of its own, and why there may be none. */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/sysctl.h"

#define NAMESPACES                                                     \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |    \
	 CLONE_NEWUTS | CLONE_NEWCGROUP)

int spawn_is_privileged(void)
{
	return caps_have(CAP_SYS_ADMIN) > 0;
}

/* Where a container's filter does not know clone3(). */
static int plain_fork(struct jail_process *out)
{
	out->pid = fork();
	if (out->pid <= 0)
		return out->pid < 0 ? -errno : 0;
	/* Not reaped yet, so the number is still this child's. */
	out->pidfd = pidfd_open(out->pid, 0);
	return 1;
}

/*
 * By system call: fork() cannot say all this. What libc would do around it is
 * for other threads, of which there are none. clone(2), "clone3()".
 */
int spawn_child(enum jail_mode mode, int cgroup_fd, struct jail_process *out)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&out->pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid;

	if (mode != JAIL_BARE)
		args.flags |= NAMESPACES;
	if (mode == JAIL_ROOTLESS)
		args.flags |= CLONE_NEWUSER;
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0 && errno == ENOSYS && mode == JAIL_BARE && cgroup_fd < 0)
		return plain_fork(out);
	if (pid < 0)
		return -errno;
	if (pid > 0)
		out->pid = (pid_t)pid;
	return pid > 0;
}

/* What an administrator can do about a refusal. */
static const char *remedy(enum jail_mode mode, int code)
{
	if (mode == JAIL_ROOTLESS)
		return sysctl_userns_remedy(code);
	return "in a container: --security-opt seccomp=unconfined "
	       "--security-opt apparmor=unconfined";
}

void spawn_explain(enum jail_mode mode, int code, struct jail_report *r)
{
	const char *how = remedy(mode, code);

	jail_report_missing(r, JAIL_NAMESPACES, how,
			    "this host does not let us make %snamespaces: %s",
			    mode == JAIL_ROOTLESS ? "user " : "",
			    strerror(-code));
	jail_report_missing(r, JAIL_ROOT, how, "it takes a mount namespace");
}
