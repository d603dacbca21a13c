/* SPDX-License-Identifier: Apache-2.0 */
/* The run's own command, from READY to EXIT. */
#include "tests/unit/agent_stage.h"

TestSuite(session, .init = setup);

Test(session, streams_are_apart_and_the_code_comes_last)
{
	exec_sh("echo out; echo err >&2; exit 7", 0);
	run_to_exit();
	cr_assert(h->ready);
	cr_assert(h->started);
	cr_assert_str_eq(h->out, "out\n");
	cr_assert_str_eq(h->err, "err\n");
	cr_assert_eq(h->exit.code, 7);
	cr_assert_eq(h->exit.signal, 0);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_RUN);
	cr_assert_eq(hang_up(), 0);
}

Test(session, what_cannot_be_measured_is_unknown)
{
	exec_sh("true", 0);
	run_to_exit();
	cr_assert_eq(h->exit.memory_peak, WIRE_UNKNOWN);
	cr_assert_eq(h->exit.oom_kills, WIRE_UNKNOWN);
	cr_assert_neq(h->exit.user_us, WIRE_UNKNOWN);
	cr_assert_neq(h->exit.disk_avail, WIRE_UNKNOWN);
	hang_up();
}

Test(session, death_by_signal_is_told)
{
	exec_sh("kill -9 $$", 0);
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(h->exit.code, 0);
	hang_up();
}

Test(session, signal_reaches_the_whole_group)
{
	struct wire_signal sig = { .signo = SIGTERM };

	exec_sh("trap 'exit 9' TERM; echo up; sleep 100 & wait", 0);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.code, 9);
	hang_up();
}

Test(session, environment_is_defined)
{
	char *argv[] = { "env", NULL }, *env[] = { "A=b c", NULL };

	setenv("LEAK", "1", 1);
	send_exec((struct wire_command){ .argv = argv, .env = env });
	run_to_exit();
	cr_assert_str_eq(h->out, "PATH=" AGENT_PATH "\nHOME=/root\n"
				"HOSTNAME=mayfly\nA=b c\n");
	hang_up();
}

Test(session, command_leads_its_session_without_our_descriptors)
{
	/* Field 5 of stat is the process group; 0, 1, 2 and ls's own. */
	exec_sh("read p c s pp g r </proc/self/stat; test $p = $g && "
		"ls /proc/self/fd | wc -l", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "4\n");
	hang_up();
}

Test(session, unknown_command_is_127_and_leaves_stderr_alone)
{
	char *argv[] = { "no-such-thing", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h->started, 0);
	cr_assert_eq(h->exit.code, 127);
	cr_assert_eq(h->exit.error, ENOENT);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_EXEC);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, directory_is_126_and_says_why)
{
	char *argv[] = { "/tmp", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.error, EACCES);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, working_directory_is_entered_and_made)
{
	char dir[] = "/tmp/mayfly-cwd-XXXXXX";
	char cwd[64];
	char *argv[] = { "pwd", NULL };

	cr_assert_not_null(mkdtemp(dir));
	snprintf(cwd, sizeof(cwd), "%s/a/b", dir);
	send_exec((struct wire_command){ .argv = argv, .cwd = cwd });
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_eq(strncmp(h->out, cwd, strlen(cwd)), 0);
	hang_up();
	cr_assert_eq(rmdir(cwd), 0);
	snprintf(cwd, sizeof(cwd), "%s/a", dir);
	cr_assert_eq(rmdir(cwd), 0);
	cr_assert_eq(rmdir(dir), 0);
}

Test(session, working_directory_that_is_a_file_is_126)
{
	char *argv[] = { "true", NULL };

	send_exec((struct wire_command){ .argv = argv, .cwd = "/etc/passwd" });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_CWD);
	cr_assert_eq(h->exit.error, ENOTDIR);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, unknown_user_is_126)
{
	char *argv[] = { "true", NULL };

	send_exec((struct wire_command){ .argv = argv, .user = "who-is-it" });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_USER);
	hang_up();
}

Test(session, stdin_is_null_unless_asked_for)
{
	exec_sh("wc -c", 0);
	run_to_exit();
	cr_assert_eq(atoi(h->out), 0);
	hang_up();
}

Test(session, what_was_left_in_the_background_is_killed)
{
	exec_sh("setsid sh -c 'while :; do echo x; sleep 1; done' & exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 3);
	hang_up();
}

Test(session, output_of_the_command_is_whole_when_it_exits)
{
	exec_sh("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2", 0);
	run_to_exit();
	cr_assert_eq(h->out_len, 60000);
	cr_assert_eq(h->err_len, 60000);
	hang_up();
}

Test(session, megabytes_pass_through_cat_unchanged)
{
	exec_sh("exec cat", WIRE_EXEC_STDIN);
	pump_through(8 << 20);
	cr_assert_eq(h->exit.code, 0);
	cr_assert_eq(hang_up(), 0);
}

Test(session, signal_passes_a_command_that_does_not_read)
{
	static const uint8_t data[WIRE_STDIN_WINDOW / 8];
	struct wire_signal sig = { .signo = SIGKILL };
	int i;

	exec_sh("exec sleep 100", WIRE_EXEC_STDIN);
	for (i = 0; i < 8; i++)
		send_frame(WIRE_STDIN, data, sizeof(data));
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	hang_up();
}

Test(session, closed_stdin_does_not_end_the_command)
{
	static const uint8_t data[60000];

	exec_sh("exec <&-; echo shut; sleep 0.2; echo done", WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_STDIN, data, sizeof(data));
	send_frame(WIRE_STDIN, data, sizeof(data));
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_str_eq(h->out, "shut\ndone\n");
	hang_up();
}

Test(session, more_input_than_the_window_breaks_the_session)
{
	static const uint8_t data[WIRE_STDIN_WINDOW / 8];
	size_t len = WIRE_HDR + sizeof(data);
	int i;

	exec_sh("exec sleep 100", WIRE_EXEC_STDIN);
	/* A pipe takes and acknowledges some of it. */
	for (i = 0; i < 16; i++) {
		wire_put(h->frame, WIRE_STDIN, data, sizeof(data));
		if (send(h->fd, h->frame, len, MSG_NOSIGNAL) < 0)
			break;
	}
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, frames_out_of_turn_break_the_session)
{
	send_frame(WIRE_STDIN, "x", 1);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, second_exec_breaks_the_session)
{
	exec_sh("sleep 100", 0);
	exec_sh("sleep 100", 0);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, noise_breaks_the_session)
{
	send_bytes("GET / HTTP/1.1\r\n\r\n", 18);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, host_that_hangs_up_ends_the_session)
{
	exec_sh("sleep 100", 0);
	while (!h->started)
		cr_assert(step());
	cr_assert_eq(hang_up(), 0);
}

Test(session, terminal_is_a_terminal_with_size_and_end_of_file)
{
	char *argv[] = { "sh", "-c", "tty >/dev/null && stty size; cat; echo "
				     "$TERM", NULL };

	send_exec((struct wire_command){
		.head = { .flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN,
			  .rows = 31, .cols = 71 },
		.argv = argv });
	send_frame(WIRE_STDIN, "hey\n", 4);
	send_frame(WIRE_STDIN_EOF, NULL, 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_not_null(strstr(h->out, "31 71\r\n"));
	cr_assert_not_null(strstr(h->out, "hey\r\n"));
	cr_assert_not_null(strstr(h->out, "xterm\r\n"));
	hang_up();
}
