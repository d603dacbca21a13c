/* SPDX-License-Identifier: Apache-2.0 */
/* A program in the jail, looked at from outside. */
#include "jail/jail.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

struct jailed {
	struct jail_process process;
	struct jail_report report;
	int control;
	struct err err;
	int r;
};

static void failed(int control_fd, const struct err *err)
{
	dprintf(control_fd, "%s", err->msg);
}

static const struct jail_ids many = { 1900000000, 1u << 22 };

static void start_with(struct jailed *j, const char *path, char *const *argv,
		       struct jail_ids ids, int keep_stderr)
{
	_cleanup_fd_ int program = open(path, O_RDONLY | O_CLOEXEC);
	struct jail_params p = {
		.program_fd = program,
		.cgroup_fd = -1,
		.keep_stderr = keep_stderr,
		.argv = argv,
		.ids = ids,
		.tasks = 3,
		.nofile = 64,
		.file_size = 4096,
		.failed = failed,
	};
	int pair[2];

	*j = (struct jailed){ .control = -1 };
	cr_assert_geq(program, 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0);
	p.control_fd = pair[1];
	j->r = jail_start(&p, &j->report, &j->process, &j->err);
	close(pair[1]);
	j->control = pair[0];
}

static void start(struct jailed *j, const char *path, char *const *argv)
{
	start_with(j, path, argv, many, 0);
}

/* busybox, for it is static: in an empty root there is no loader. */
static void start_busybox(struct jailed *j, const char *script, int keep_stderr)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };

	start_with(j, "/bin/busybox", argv, many, keep_stderr);
}

static void start_sh(struct jailed *j, const char *script)
{
	start_busybox(j, script, 0);
	cr_assert_eq(j->r, 0, "%s", j->err.msg);
}

/* What it writes to descriptor 3, up to the end; then it is gone. */
static const char *said(struct jailed *j)
{
	static char text[4096];
	ssize_t n = io_read_full(j->control, text, sizeof(text) - 1);

	cr_assert_geq(n, 0);
	text[n] = '\0';
	kill(j->process.pid, SIGKILL);
	waitpid(j->process.pid, NULL, 0);
	close(j->process.pidfd);
	close(j->control);
	return text;
}

static const char *look(const char *script)
{
	static struct jailed j;

	start_sh(&j, script);
	return said(&j);
}

/* Not every host gives namespaces. */
static void need(enum jail_layer l)
{
	struct jailed j;

	start_sh(&j, ":");
	said(&j);
	if (!(j.report.on & 1u << l))
		cr_skip_test("no %s: %s", jail_layer_name(l),
			     j.report.nmissing ? j.report.missing[0].why : "");
}

#if ROOM_IS_EMPTY
Test(jail, the_root_is_empty_and_read_only)
{
	need(JAIL_ROOT);
	cr_expect_str_eq(look("cd /; echo * >&3; : >x || echo no >&3"),
			 "*\n");
}
#endif

Test(jail, nothing_of_the_environment_gets_in)
{
	setenv("SECRET", "in the launcher's environment", 1);
	cr_expect_str_eq(look("echo \"<$SECRET>\" >&3"), "<>\n");
}

Test(jail, it_is_number_1_and_hears_no_signal_of_its_own)
{
	need(JAIL_NAMESPACES);
	cr_expect_str_eq(look("kill -TERM $$; kill -ABRT $$; echo $$ >&3"),
			 "1\n");
}

Test(jail, limits_are_low)
{
	cr_expect_str_eq(look("for l in c n f l; do ulimit -$l >&3; done"),
			 "0\n64\n8\n0\n");
}

/* The kernel gives what was written in any pieces. */
static void read_line(int fd, char *line, size_t size)
{
	size_t n = 0;

	do {
		cr_assert_lt(n, size - 1);
		cr_assert_eq(read(fd, line + n, 1), 1);
	} while (line[n++] != '\n');
	line[n] = '\0';
}

Test(jail, a_terminal_is_written_to_and_not_read)
{
	int user = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), tty;
	struct jailed j;
	char b[64];

	cr_assert_eq(grantpt(user), 0);
	cr_assert_eq(unlockpt(user), 0);
	tty = open(ptsname(user), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_eq(dup2(tty, STDERR_FILENO), STDERR_FILENO);
	close(tty);
	cr_assert_eq(write(user, "secret\n", 7), 7);
	read_line(user, b, sizeof(b)); /* its echo */
	start_busybox(&j, "read x <&2; echo \"<$x>\" >&3; echo words >&2", 1);
	cr_assert_eq(j.r, 0, "%s", j.err.msg);
	cr_expect_str_eq(said(&j), "<>\n");
	read_line(user, b, sizeof(b));
	cr_expect_str_eq(b, "words\r\n");
}

/* Of root's launcher. */
Test(jail, users_that_two_may_be_are_no_layer)
{
	char *argv[] = { (char *)"id", (char *)"-u", NULL };
	struct jailed j;

	if (geteuid())
		cr_skip_test("not root");
	start_with(&j, "/bin/busybox", argv, (struct jail_ids){ 1900000000, 2 },
		   0);
	said(&j);
	cr_expect_not(j.report.on & 1u << JAIL_UID);
	cr_assert(jail_report_lacks(&j.report) & 1u << JAIL_UID);
	start_with(&j, "/bin/busybox", argv, many, 0);
	said(&j);
	cr_expect(j.report.on & 1u << JAIL_UID);
}

Test(jail, its_layers_are_told)
{
	struct jailed j;
	unsigned always = 1u << JAIL_RLIMITS | 1u << JAIL_CAPS | 1u << JAIL_NNP;
	unsigned missing = 0;

	start_sh(&j, ":");
	said(&j);
	cr_expect_eq(j.report.on & always, always);
	for (unsigned i = 0; i < j.report.nmissing; i++) {
		missing |= 1u << j.report.missing[i].layer;
		cr_expect(*j.report.missing[i].why);
		cr_expect(*j.report.missing[i].remedy);
	}
	/* Each of the jail's own is on, or told to be missing. */
	cr_expect_eq(j.report.on & missing, 0);
	cr_expect_eq((j.report.on | missing) & ((1u << JAIL_MEMORY) - 1),
		     (1u << JAIL_MEMORY) - 1);
}

Test(jail, a_program_that_cannot_run_is_reported)
{
	char *argv[] = { (char *)"passwd", NULL };
	struct jailed j;

	start(&j, "/etc/passwd", argv);
	cr_assert_eq(j.r, 0, "%s", j.err.msg);
	cr_expect_str_eq(said(&j), "jail: program: execute: Permission denied");
}

/* --- without root --------------------------------------------------------- */

/* Here alone, @path has this in it. */
static int put_over(const char *path, const char *text)
{
	char name[] = "/tmp/mayfly-over-XXXXXX";
	int fd = mkstemp(name), r;

	if (fd < 0)
		return -1;
	r = io_write_all(fd, text, strlen(text)) || fchmod(fd, 0644) ||
	    mount(name, path, NULL, MS_BIND, NULL);
	unlink(name);
	close(fd);
	return r;
}

/* A host with these users, of whom we are number 5000 from now on. */
static int be_5000(const char *passwd, const char *ranges)
{
	return access("/usr/bin/newuidmap", X_OK) || geteuid() ||
	       unshare(CLONE_NEWNS) ||
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       put_over("/etc/passwd", passwd) ||
	       put_over("/etc/subuid", ranges) ||
	       put_over("/etc/subgid", ranges) || setgroups(0, NULL) ||
	       setresgid(5000, 5000, 5000) || setresuid(5000, 5000, 5000) ||
	       prctl(PR_SET_DUMPABLE, 1);
}

/* What keeps it from being one of our subordinate users; "": nothing. */
static const char *why_not_another(void)
{
	static struct jailed j;

	start_sh(&j, ":");
	said(&j);
	if (!(j.report.on & 1u << JAIL_NAMESPACES))
		cr_skip_test("no user namespace");
	for (unsigned i = 0; i < j.report.nmissing; i++)
		if (j.report.missing[i].layer == JAIL_UID)
			return j.report.missing[i].why;
	return "";
}

Test(jail, a_range_goes_by_the_users_name)
{
	if (be_5000("root:x:0:0::/root:/bin/sh\n"
		    "eve::5000:5000::/:/bin/sh\n"
		    "zed:x:5001:5001::/:/bin/sh\n",
		    "zed:200000:65536\neve:300000:65536\n"))
		cr_skip_test("it takes root and newuidmap");
	cr_expect_str_eq(why_not_another(), "");
}

Test(jail, nobody_elses_range_is_taken)
{
	if (be_5000("zed:x:5001:5001::/:/bin/sh\n", "zed:200000:65536\n"))
		cr_skip_test("it takes root and newuidmap");
	cr_expect(strstr(why_not_another(), "have no range for this user"));
}
