/* SPDX-License-Identifier: Apache-2.0 */
/* A child in namespaces of its own, and why there may be none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

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

long spawn_setting(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t n;

	return io_read_file(path, 64, &text, &n) < 0 ? -1 : atol(text);
}

/* What an administrator can do about a refusal. */
static const char *remedy(enum jail_mode mode, int code)
{
	if (mode == JAIL_ROOTLESS &&
	    (spawn_setting("/proc/sys/user/max_user_namespaces") == 0 ||
	     code == -ENOSPC))
		return "sudo sysctl user.max_user_namespaces=15000";
	if (mode == JAIL_ROOTLESS &&
	    spawn_setting("/proc/sys/kernel/unprivileged_userns_clone") == 0)
		return "sudo sysctl kernel.unprivileged_userns_clone=1";
	if (mode == JAIL_ROOTLESS &&
	    spawn_setting("/proc/sys/kernel/"
		    "apparmor_restrict_unprivileged_userns") == 1)
		return "sudo sysctl "
		       "kernel.apparmor_restrict_unprivileged_userns=0";
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
