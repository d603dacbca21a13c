/* SPDX-License-Identifier: Apache-2.0 */
/* A run that goes on without who started it. */
#include "runner/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/verdict.h"

/* A copy of /dev/null in place of each descriptor from @first to @last. */
static int to_null(int first, int last)
{
	_cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = first; fd <= last; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	return 0;
}

/* The lowest of those that stay, from @first on; INT_MAX: none. */
static int next_kept(int first, int own, const struct detach_keep *keep)
{
	int next = own >= first ? own : INT_MAX;

	for (size_t i = 0; i < keep->n; i++)
		if (keep->fds[i] >= first)
			next = MIN(next, keep->fds[i]);
	return next;
}

/* In the child: nothing of the caller's but its error output, and what it
 * has opened for the run. */
static int let_go(int own, const struct detach_keep *keep)
{
	int first = STDERR_FILENO + 1, next;

	if (setsid() < 0)
		return -errno;
	while ((next = next_kept(first, own, keep)) != INT_MAX) {
		if (next > first && close_range((unsigned)first,
						(unsigned)next - 1, 0) < 0)
			return -errno;
		first = next + 1;
	}
	if (close_range((unsigned)first, UINT_MAX, 0) < 0)
		return -errno;
	return to_null(STDIN_FILENO, STDOUT_FILENO);
}

static void await_report(int fd, pid_t pid, struct detach_report *report)
{
	ssize_t n = io_read_full(fd, report, sizeof(*report));
	int status;

	if (n == sizeof(*report)) {
		/* One that failed is about to end; one that runs is left. */
		if (!*report->id)
			while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
				;
		return;
	}
	*report = (struct detach_report){ .code = EXIT_INTERNAL };
	err_say(&report->err, -ECHILD, "the supervisor died at the start");
}

int detach_fork(struct detach *d, const struct detach_keep *keep,
		struct detach_report *report, struct err *err)
{
	int pair[2], r;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set(err, -errno, "detach: pipe");
	pid = fork();
	if (pid) {
		r = pid < 0 ? -errno : 1;
		close(pair[1]);
		if (pid > 0)
			await_report(pair[0], pid, report);
		close(pair[0]);
		return r < 0 ? err_set(err, r, "detach: fork") : r;
	}
	close(pair[0]);
	d->fd = pair[1];
	r = let_go(d->fd, keep);
	if (r < 0) {
		struct err why = { 0 };

		err_set(&why, r, "detach");
		detach_tell(d, r, NULL, &why);
		_exit(EXIT_INTERNAL);
	}
	return 0;
}

int detach_tell(struct detach *d, int code, const char *id,
		const struct err *err)
{
	struct detach_report report;
	int r;

	if (d->fd < 0)
		return 0;
	memset(&report, 0, sizeof(report));
	report.code = code;
	if (id)
		strncpy(report.id, id, sizeof(report.id) - 1);
	if (err)
		report.err = *err;
	r = to_null(STDERR_FILENO, STDERR_FILENO);
	if (r == 0)
		r = io_write_all(d->fd, &report, sizeof(report));
	close_fd(&d->fd);
	return r;
}
