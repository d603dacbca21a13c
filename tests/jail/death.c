/* SPDX-License-Identifier: Apache-2.0 */
/* Launchers that die while their child is on its way into the jail. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "tests/jail/outside.h"

#define LAUNCHERS 60
#define PATIENCE_MS 20000

/*
 * Orphans come to us. All that is left by a launcher ends by itself, or it
 * stays: then it is killed here, and the answer is 0.
 */
static int all_end(void)
{
	uint64_t limit = io_now_ns() + PATIENCE_MS * 1000000ull;
	int good = 1;

	for (;;) {
		siginfo_t i = { 0 };
		int r = waitid(P_ALL, 0, &i, WEXITED | WNOHANG | WNOWAIT);

		if (r < 0)
			return errno == ECHILD && good;
		if (i.si_pid)
			waitpid(i.si_pid, NULL, 0);
		else if (io_now_ns() < limit)
			usleep(500);
		else
			return 0;
	}
}

/* In a process of its own, for it has no other children. */
static int watch_launchers(struct outside *o, int vmm, uint64_t whole_ns)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	o->program_fd = vmm;
	o->no_cgroup = 1;
	for (unsigned i = 0; i < LAUNCHERS; i++) {
		struct started s;
		pid_t pid = fork();

		if (pid == 0) {
			start_whole(o, &s);
			for (;;)
				pause();
		}
		if (pid < 0)
			return 0;
		usleep((useconds_t)(whole_ns / 1000 * i / LAUNCHERS));
		kill(pid, SIGKILL);
		if (!all_end())
			return 0;
	}
	return 1;
}

int launchers_die(struct outside *o, const char *path)
{
	_cleanup_fd_ int vmm = open(path, O_RDONLY | O_CLOEXEC);
	struct outside copy = *o;
	struct started s;
	uint64_t begin;
	int status;
	pid_t pid;

	if (vmm < 0)
		die("%s", path);
	/* From before its first step to well after its last. */
	begin = io_now_ns();
	start_whole(o, &s);
	begin = (io_now_ns() - begin) * 3;
	started_end(&s);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(watch_launchers(&copy, vmm, begin));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}
