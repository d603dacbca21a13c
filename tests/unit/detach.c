/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes where one was: what each knows, and what is left of which. */
#include "runner/detach.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct detach_keep nothing;

static int is_null(int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat("/dev/null", &b) == 0 &&
	       a.st_rdev == b.st_rdev;
}

Test(detach, parent_gets_the_id_and_the_supervisor_goes_on)
{
	struct detach_report report;
	struct detach d;
	int alive[2], r;
	char c;

	cr_assert_eq(pipe(alive), 0);
	r = detach_fork(&d, &nothing, &report, NULL);
	if (r == 0) {
		/* The other end is among what the child let go. */
		if (detach_tell(&d, getpid(), "0123456789ab", NULL) < 0)
			_exit(1);
		pause();
	}
	cr_assert_eq(r, 1);
	cr_assert_gt(report.code, 1);
	cr_assert_str_eq(report.id, "0123456789ab");
	close(alive[1]);
	cr_assert_eq(read(alive[0], &c, 1), 0, "it holds our descriptors");
	cr_assert_eq(kill(report.code, SIGKILL), 0, "it does not go on");
}

Test(detach, supervisor_has_a_session_and_null_streams)
{
	struct detach_report report;
	struct detach d;
	int r;

	cr_assert_eq(dup2(open("/tmp", O_TMPFILE | O_RDWR, 0600), 2), 2);
	r = detach_fork(&d, &nothing, &report, NULL);
	if (r == 0) {
		struct err e = { 0 };
		int ok = getsid(0) == getpid() && is_null(0) && is_null(1) &&
			 !is_null(2) && d.fd > 2;

		/* Nothing else is open but the pipe. */
		for (int fd = 3; fd < 1000; fd++)
			if (fd != d.fd && fcntl(fd, F_GETFD) >= 0)
				ok = 0;
		err_say(&e, -EIO, "is as it should be");
		detach_tell(&d, ok ? 42 : 1, NULL, &e);
		detach_tell(&d, 2, NULL, NULL);
		_exit(is_null(2) && d.fd < 0 ? 0 : 1);
	}
	cr_assert_eq(report.code, 42);
	cr_assert_str_empty(report.id);
	cr_assert_str_eq(report.err.msg, "is as it should be");
	/* One that failed has been waited for. */
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
}

Test(detach, supervisor_has_what_is_to_be_kept_and_no_more)
{
	struct detach_report report;
	struct detach d;
	int fds[40], kept[3], r;

	for (int i = 0; i < 40; i++)
		fds[i] = dup(2);
	kept[0] = fds[39];
	kept[1] = fds[3];
	kept[2] = fds[4];
	r = detach_fork(&d, &(struct detach_keep){ kept, 3 }, &report, NULL);
	if (r == 0) {
		int n = 0;

		for (int i = 0; i < 40; i++)
			n += fcntl(fds[i], F_GETFD) >= 0;
		for (int i = 0; i < 3; i++)
			n += fcntl(kept[i], F_GETFD) >= 0 ? 10 : 0;
		detach_tell(&d, n, NULL, NULL);
		_exit(0);
	}
	cr_assert_eq(report.code, 33, "%d", report.code);
}

Test(detach, supervisor_that_dies_is_told)
{
	struct detach_report report;
	struct detach d;

	if (detach_fork(&d, &nothing, &report, NULL) == 0)
		kill(getpid(), SIGKILL);
	cr_assert_eq(report.code, 125);
	cr_assert_str_empty(report.id);
	cr_assert(strstr(report.err.msg, "died"));
}

Test(detach, supervisor_learns_that_nobody_waits)
{
	struct detach_report report;
	struct detach d;
	int out[2];
	char c = 0;
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe(out), 0);
	pid = fork();
	if (!pid) {
		const pid_t parent = getpid();

		/* All but descriptor 2 is let go. */
		dup2(out[1], 2);
		if (detach_fork(&d, &nothing, &report, NULL) == 0) {
			int fd = dup(2);

			kill(parent, SIGKILL);
			while (getppid() == parent)
				usleep(1000);
			c = detach_tell(&d, 0, "a", NULL) == -EPIPE ? 'y' : 'n';
			_exit(write(fd, &c, 1) != 1);
		}
		_exit(0);
	}
	close(out[1]);
	waitpid(pid, NULL, 0);
	cr_assert_eq(read(out[0], &c, 1), 1);
	cr_assert_eq(c, 'y');
}
