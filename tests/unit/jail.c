/* SPDX-License-Identifier: Apache-2.0 */
/* What a program sees from inside the first jail: a shell looks around. */
#include "jail/jail.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"

/* Run @script in the jail; what it writes to the control socket. */
static const char *look(const char *script)
{
	static char said[16384];
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	int pair[2], program = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	pid_t self = getpid(), pid;
	ssize_t n;

	cr_assert_geq(program, 0);
	/* A stream here: each of the shell's writes would be a datagram. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	signal(SIGPIPE, SIG_IGN);
	pid = fork();
	if (pid == 0) {
		struct jail j = { .program_fd = program,
				  .control_fd = pair[1],
				  .parent = self,
				  .argv = argv };
		struct err err = { 0 };

		jail_enter(&j, &err);
		dprintf(j.control_fd, "FAILED %s", err.msg);
		_exit(1);
	}
	close(pair[1]);
	n = io_read_full(pair[0], said, sizeof(said) - 1);
	cr_assert_geq(n, 0);
	said[n] = '\0';
	close(pair[0]);
	close(program);
	waitpid(pid, NULL, 0);
	return said;
}

static int has(const char *text, const char *what)
{
	return strstr(text, what) != NULL;
}

Test(jail, descriptors_are_null_and_control_only)
{
	const char *s;

	/* Something to leak: above and below, with and without CLOEXEC. */
	cr_assert_geq(open("/etc/passwd", O_RDONLY), 0);
	cr_assert_geq(fcntl(0, F_DUPFD, 200), 200);
	s = look("for f in /proc/self/fd/*; do echo ${f##*/} "
		 "$(readlink $f); done >&3");
	cr_assert(has(s, "0 /dev/null\n"), "%s", s);
	cr_assert(has(s, "1 ") && has(s, "2 /dev/null\n"), "%s", s);
	cr_assert(has(s, "3 socket:"), "%s", s);
	cr_assert_not(has(s, "passwd"), "%s", s);
	cr_assert_not(has(s, "200 "), "%s", s);
}

Test(jail, every_capability_is_gone_for_good)
{
	const char *s = look("cat /proc/self/status >&3");
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff",
					    "CapAmb" };
	char line[64];

	for (size_t i = 0; i < 4; i++) {
		snprintf(line, sizeof(line), "%s:\t0000000000000000", sets[i]);
		cr_assert(has(s, line), "%s\n%s", line, s);
	}
	if (getuid() == 0)
		cr_assert(has(s, "CapBnd:\t0000000000000000"), "%s", s);
	cr_assert(has(s, "NoNewPrivs:\t1"), "%s", s);
}

Test(jail, signals_are_those_of_a_new_process)
{
	const char *s = look("cat /proc/self/status >&3");

	cr_assert(has(s, "SigBlk:\t0000000000000000"), "%s", s);
	cr_assert(has(s, "SigIgn:\t0000000000000000"), "%s", s);
}

Test(jail, nothing_of_the_environment_gets_in)
{
	const char *s;

	setenv("TEST_SECRET", "leaks", 1);
	s = look("tr '\\0' '\\n' < /proc/self/environ >&3; pwd >&3");
	cr_assert_not(has(s, "TEST_SECRET"), "%s", s);
	cr_assert_not(has(s, "HOME="), "%s", s);
	cr_assert(has(s, "/\n"), "%s", s);
}

Test(jail, it_has_a_session_of_its_own_and_dumps_no_core)
{
	const char *s = look("cat /proc/self/stat /proc/self/limits "
			     ">&3; echo self $$ >&3");
	char *self = strstr(s, "self ");

	cr_assert_not_null(self);
	cr_assert(has(s, "Max core file size        0                    0 "),
		  "%s", s);
	/* pid (comm) state ppid pgrp session: cat's session is the shell. */
	{
		int ppid, pgrp, session;

		cr_assert_eq(sscanf(strchr(s, ')'), ") %*c %d %d %d", &ppid,
				    &pgrp, &session),
			     3);
		cr_assert_eq(session, atoi(self + 5), "%s", s);
	}
}

Test(jail, it_dies_with_the_launcher)
{
	int pair[2], program = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	char *argv[] = { (char *)"sh", (char *)"-c",
			 (char *)"echo up >&3; exec sleep 100", NULL };
	char buf[8] = "";
	pid_t launcher;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	launcher = fork();
	if (launcher == 0) {
		pid_t self = getpid();

		if (fork() == 0) {
			struct jail j = { .program_fd = program,
					  .control_fd = pair[1],
					  .parent = self,
					  .argv = argv };

			jail_enter(&j, NULL);
			_exit(1);
		}
		pause();
	}
	close(pair[1]);
	cr_assert_eq(io_read_full(pair[0], buf, 3), 3);
	kill(launcher, SIGKILL);
	waitpid(launcher, NULL, 0);
	/* Only the jailed process still has the other end. */
	cr_assert_eq(io_read_full(pair[0], buf, sizeof(buf)), 0);
}

Test(jail, a_program_that_cannot_run_is_reported)
{
	char *argv[] = { (char *)"x", NULL };
	int pair[2], program = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t self = getpid(), pid;
	char said[256] = "";

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		struct jail j = { .program_fd = program,
				  .control_fd = pair[1],
				  .parent = self,
				  .argv = argv };
		struct err err = { 0 };

		jail_enter(&j, &err);
		dprintf(j.control_fd, "%s", err.msg);
		_exit(1);
	}
	cr_assert_gt(recv(pair[0], said, sizeof(said) - 1, 0), 0);
	cr_assert_str_eq(said, "jail: program: execute: Permission denied");
	waitpid(pid, NULL, 0);
}
