/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions besides the run's own, lost hosts, terminals. */
#include "tests/unit/agent_stage.h"

/* The run's own command waits; its session is @hosts[0]. */
static void run_sleep(void)
{
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
}

static void kill_own(void)
{
	struct wire_signal sig = { .signo = SIGKILL };

	h = hosts;
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(hang_up(), 0);
}

/* The agent ends the stream after EXIT. */
static void expect_end(void)
{
	cr_assert_eq(step(), 0);
	close(h->fd);
}

TestSuite(more, .init = setup);

Test(more, sessions_at_once_keep_streams_and_codes_apart)
{
	char script[64];
	int i;

	run_sleep();
	for (i = 1; i < 5; i++) {
		begin(i);
		snprintf(script, sizeof(script),
			 "read x; echo $x; echo %d >&2; exit %d", i, i);
		exec_sh(script, WIRE_EXEC_STDIN);
	}
	for (i = 4; i; i--) {
		h = &hosts[i];
		snprintf(script, sizeof(script), "to %d\n", i);
		send_frame(WIRE_STDIN, script, (uint32_t)strlen(script));
		run_to_exit();
		cr_assert(h->ready);
		cr_assert_str_eq(h->out, script);
		cr_assert_eq(atoi(h->err), i);
		cr_assert_eq(h->exit.code, (uint32_t)i);
		expect_end();
	}
	kill_own();
}

Test(more, megabytes_pass_while_another_session_does_not_read)
{
	begin(1);
	exec_sh("yes", 0);
	while (!h->out_len)
		cr_assert(step());
	begin(2);
	exec_sh("exec cat", WIRE_EXEC_STDIN);
	pump_through(4 << 20);
	expect_end();
	h = hosts;
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 3);
	cr_assert_eq(hang_up(), 0);
}

Test(more, one_too_many_is_shut_out_until_another_ends)
{
	int fd[WIRE_SESSIONS_MAX], over, i;
	char c;

	for (i = 0; i < WIRE_SESSIONS_MAX; i++) {
		fd[i] = knock();
		cr_assert_eq(recv(fd[i], &c, 1, 0), 1);
	}
	over = knock();
	cr_assert_leq(recv(over, &c, 1, 0), 0);
	close(over);
	close(fd[7]);
	/* Its child takes a moment to go. */
	do {
		over = knock();
		i = recv(over, &c, 1, 0) == 1;
		close(over);
	} while (!i);
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(hang_up(), 0);
}

Test(more, noise_breaks_that_session_alone)
{
	run_sleep();
	begin(1);
	exec_sh("exec sleep 1000", 0);
	send_bytes("GET / HTTP/1.1\r\n\r\n", 18);
	while (step())
		;
	cr_assert(!h->exited);
	kill_own();
}

Test(more, end_of_the_runs_own_command_ends_all)
{
	run_sleep();
	begin(1);
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
	kill_own();
	h = &hosts[1];
	cr_assert_eq(step(), 0);
	cr_assert(!h->exited);
}

/* What comes from a command that is hung up on, until it is dead. */
static void hang_up_on(const char *script, uint32_t flags, const char *want)
{
	char dir[] = "/tmp/mayfly-hup-XXXXXX", fifo[64], text[128], got[64] = "";
	size_t have = 0;
	ssize_t n;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	run_sleep();
	begin(1);
	snprintf(text, sizeof(text), "exec 3>%s; %s", fifo, script);
	exec_sh(text, flags);
	fd = open(fifo, O_RDONLY | O_CLOEXEC);
	while (!h->out_len)
		cr_assert(step());
	close(h->fd);
	while (have < sizeof(got) - 1 &&
	       (n = read(fd, got + have, sizeof(got) - 1 - have)) > 0)
		have += (size_t)n;
	cr_assert_str_eq(got, want);
	close(fd);
	unlink(fifo);
	rmdir(dir);
	kill_own();
}

Test(more, lost_host_is_a_hangup_for_the_command)
{
	hang_up_on("trap 'echo hup >&3; exit' HUP; echo up; "
		   "while :; do sleep 0.1; done", 0, "hup\n");
}

Test(more, lost_host_is_a_hangup_for_the_terminal)
{
	hang_up_on("trap 'echo hup >&3; exit' HUP; echo up; "
		   "while :; do sleep 0.1; done",
		   WIRE_EXEC_TTY | WIRE_EXEC_STDIN, "hup\n");
}

Test(more, who_does_not_end_by_a_hangup_is_killed)
{
	hang_up_on("trap '' HUP; echo up; exec sleep 1000", 0, "");
}

Test(more, process_that_escaped_does_not_hold_the_end)
{
	begin(1);
	exec_sh("setsid sleep 1000 & echo out; exit 5", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "out\n");
	cr_assert_eq(h->exit.code, 5);
	begin(2);
	exec_sh("setsid sh -c 'echo; exec yes' & read x; exit 6",
		WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_STDIN, "\n", 1);
	run_to_exit();
	cr_assert_eq(h->exit.code, 6);
	h = hosts;
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(hang_up(), 0);
}

Test(more, agents_own_program_needs_no_path)
{
	char *argv[] = { "tree-out", "/some/where", NULL };

	begin(1);
	send_exec((struct wire_command){ .head.flags = WIRE_EXEC_AGENT,
					 .argv = argv });
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_str_eq(h->out, "/some/where\n");
}

TestSuite(terminal, .init = setup);

Test(terminal, interrupt_key_goes_to_the_job_in_front)
{
	exec_sh("set -m; echo up; sleep 1000; echo $?",
		WIRE_EXEC_TTY | WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	/* Until the job is in front it is the shell's, which minds it not. */
	while (!strstr(h->out, "130\r\n") && !h->exited) {
		send_frame(WIRE_STDIN, "\003", 1);
		cr_assert(step());
	}
	run_to_exit();
	cr_assert(strstr(h->out, "130\r\n") || h->exit.signal == SIGINT);
	hang_up();
}

Test(terminal, user_owns_it)
{
	char *argv[] = { "sh", "-c", "stat -c %u $(tty)", NULL };

	if (getuid())
		cr_skip("only root gives a terminal away");
	send_exec((struct wire_command){
		.head.flags = WIRE_EXEC_TTY, .argv = argv, .user = "65534" });
	run_to_exit();
	cr_assert_str_eq(h->out, "65534\r\n");
	hang_up();
}
