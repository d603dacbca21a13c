/* SPDX-License-Identifier: Apache-2.0 */
/* The session against guests of every kind, well-behaved and not. */
#include "tests/unit/run_stage.h"

TestSuite(session, .init = set_up, .timeout = 120);

static void ordinary(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	if (hear(g, &f) != WIRE_EXEC)
		return;
	say_out(g, "one ");
	frame(g, WIRE_STDERR, "bad", 3);
	say_out(g, "two");
	say_exit(g, 7, 0);
}

Test(session, streams_are_separate_and_the_code_is_the_commands)
{
	cr_assert_eq(play(ordinary), 0);
	expect(VERDICT_RUNTIME_ERROR, 7);
	cr_assert_str_eq(text(out), "one two");
	cr_assert_str_eq(text(errout), "bad");
	cr_assert(result.ready_ns && result.output_ns && result.exit_ns);
}

static void check_exec(struct guest *g)
{
	static char *slots[WIRE_SLOTS];
	struct wire_command c;
	struct wire_frame f;
	int ok;

	say_ready(g);
	ok = hear(g, &f) == WIRE_EXEC && wire_get_exec(&f, slots, &c) == 0 &&
	     !strcmp(c.argv[0], "prog") && !c.argv[1] &&
	     !strcmp(c.env[0], "A=b") && !c.env[1] && !strcmp(c.cwd, "/w") &&
	     c.head.flags == WIRE_EXEC_EARLY && c.head.realtime_ns != 0;
	say_exit(g, ok ? 0 : 1, 0);
}

Test(session, the_command_arrives_as_asked)
{
	config.workdir = "/w";
	config_add_env(&config.env, "A=b", NULL);
	cr_assert_eq(play(check_exec), 0);
	expect(VERDICT_OK, 0);
}

static void killed(struct guest *g)
{
	say_ready(g);
	say_exit(g, 0, SIGKILL);
}

Test(session, a_signal_in_the_guest_is_128_and_its_number)
{
	cr_assert_eq(play(killed), 0);
	expect(VERDICT_SIGNAL, 137);
}

static void silent(struct guest *g)
{
	(void)g;
}

Test(session, a_guest_that_never_comes_up_is_a_crash)
{
	config.boot_timeout_ns = 50 * MS;
	cr_assert_eq(play(silent), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "not up after 0.05 seconds"), "%s", err.msg);
}

static void busy(struct guest *g)
{
	say_ready(g);
	say_out(g, "a\n");
}

static void goes_on(struct guest *g)
{
	(void)g;
}

Test(session, timeout_prints_what_came_and_the_host_decides)
{
	already = busy;
	config.timeout_ns = 100 * MS;
	cr_assert_eq(play(goes_on), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert_str_eq(text(out), "a\n");
	cr_assert_geq(result.exit_ns - result.ready_ns, 100 * MS);
}

static void late_words(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	if (hear(g, &f) == WIRE_KILL)
		say_out(g, "last words");
	say_exit(g, 0, 0);
}

Test(session, timeout_takes_last_words_but_not_the_guests_code)
{
	config.timeout_ns = 50 * MS;
	limits.kill = LONG;
	cr_assert_eq(play(late_words), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert_str_eq(text(out), "last words");
}

static void floods(struct guest *g)
{
	static char block[60000];

	say_ready(g);
	for (;;)
		frame(g, WIRE_STDOUT, block, sizeof(block));
}

Test(session, a_guest_that_floods_does_not_stop_the_clock)
{
	config.timeout_ns = 100 * MS;
	cr_assert_eq(play_on(floods, open("/dev/null", O_WRONLY), 2), 0);
	expect(VERDICT_TIMEOUT, 124);
}

static uint32_t flood_frames;

/* All of it lies in the socket before the session has read much. */
static void floods_and_ends(struct guest *g)
{
	static uint8_t block[WIRE_DATA_MAX];
	int room = 16 << 20;

	setsockopt(g->agent, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	say_ready(g);
	for (uint32_t i = 0; i < flood_frames; i++)
		frame(g, WIRE_STDOUT, block, sizeof(block));
	say_exit(g, 5, 0);
}

/* The session reads so much in one go and no more: some of these floods end
 * with its last read, and nothing comes after that would wake it. */
Test(session, the_end_of_a_flood_is_not_left_lying)
{
	struct stat st;

	for (flood_frames = 50; flood_frames < 70; flood_frames++) {
		cr_assert_eq(play(floods_and_ends), 0);
		expect(VERDICT_RUNTIME_ERROR, 5);
		cr_assert_eq(fstat(out, &st), 0);
		cr_assert_eq(st.st_size, flood_frames * WIRE_DATA_MAX);
		close(out);
		close(errout);
	}
}

static void panics(struct guest *g)
{
	static const char words[] = "Kernel panic - not syncing: on purpose\n";

	say_ready(g);
	say_out(g, "before");
	io_write_all(g->console, words, sizeof(words) - 1);
	close(g->agent);
	say_stopped(g, CTL_STOP_RESET);
}

Test(session, a_panic_is_a_crash_with_its_words)
{
	cr_assert_eq(play(panics), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert_str_eq(err.msg,
			 "the guest crashed: kernel panic: on purpose");
	cr_assert_str_eq(text(out), "before");
}

static void triple_faults(struct guest *g)
{
	say_stopped(g, CTL_STOP_SHUTDOWN);
}

Test(session, a_triple_fault_is_a_crash)
{
	cr_assert_eq(play(triple_faults), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "crashed: words"), "%s", err.msg);
}

static void agent_dies(struct guest *g)
{
	say_ready(g);
	close(g->agent);
}

Test(session, a_dead_agent_is_a_crash)
{
	limits.words = 50 * MS;
	cr_assert_eq(play(agent_dies), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "agent"), "%s", err.msg);
}

static void vmm_dies(struct guest *g)
{
	say_ready(g);
	_exit(3);
}

Test(session, a_dead_vmm_is_a_crash)
{
	cr_assert_eq(play(vmm_dies), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "mayfly-vmm"), "%s", err.msg);
}

static void exits_then_resets(struct guest *g)
{
	say_ready(g);
	say_exit(g, 3, 0);
	say_stopped(g, CTL_STOP_RESET);
	_exit(0);
}

Test(session, an_exit_that_was_said_counts_however_the_vm_ends)
{
	cr_assert_eq(play(exits_then_resets), 0);
	expect(VERDICT_RUNTIME_ERROR, 3);
}

static void vmm_fails(struct guest *g)
{
	struct ctl_event e = { .type = CTL_FAILED, .code = -EINVAL };

	strcpy(e.msg, "kernel: not an ELF");
	strcpy(e.hint, "take another");
	ctl_send_event(g->control, &e);
}

Test(session, what_the_vmm_cannot_do_is_told_in_its_words)
{
	cr_assert_lt(play(vmm_fails), 0);
	expect(VERDICT_INTERNAL, 125);
	cr_assert_str_eq(err.msg, "kernel: not an ELF");
	cr_assert_str_eq(err.hint, "take another");
	cr_assert(result.engine_failed);
}

static void babbles(struct guest *g)
{
	say_ready(g);
	io_write_all(g->agent, "\377\377\377\377\377\377\377\377", 8);
}

Test(session, a_bad_frame_is_a_crash)
{
	cr_assert_eq(play(babbles), 0);
	expect(VERDICT_VM_CRASH, 125);
}

static void repeats_ready(struct guest *g)
{
	say_ready(g);
	say_ready(g);
}

Test(session, ready_comes_once)
{
	cr_assert_eq(play(repeats_ready), 0);
	expect(VERDICT_VM_CRASH, 125);
}

static void vmm_babbles(struct guest *g)
{
	say_ready(g);
	send(g->control, "nonsense", 8, 0);
}

Test(session, a_vmm_that_babbles_is_a_crash)
{
	cr_assert_eq(play(vmm_babbles), 0);
	expect(VERDICT_VM_CRASH, 125);
}

/* Answers that nobody asked for, without end. */
static void vmm_floods(struct guest *g)
{
	struct ctl_event e = { .type = CTL_STATS };

	say_ready(g);
	while (ctl_send_event(g->control, &e) == 0)
		;
}

Test(session, a_vmm_that_floods_does_not_stop_the_clock)
{
	config.timeout_ns = 100 * MS;
	cr_assert_eq(play(vmm_floods), 0);
	expect(VERDICT_TIMEOUT, 124);
}

/* Write @n KiB and exit. */
static void writes_much(struct guest *g)
{
	static char block[1024];

	say_ready(g);
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 4096; i++)
		frame(g, WIRE_STDOUT, block, sizeof(block));
	say_exit(g, 0, 0);
}

Test(session, a_slow_reader_gets_all_of_it)
{
	int p[2];
	pid_t reader;

	cr_assert_eq(pipe(p), 0);
	reader = fork();
	if (reader == 0) {
		char buf[65536];
		size_t all = 0;
		int slow = 50;
		ssize_t n;

		close(p[1]);
		usleep(100000);
		while ((n = read(p[0], buf, sizeof(buf))) > 0) {
			all += (size_t)n;
			if (slow && slow--)
				usleep(100);
		}
		_exit(all == 4096 * 1024 ? 0 : 1);
	}
	close(p[0]);
	cr_assert_eq(play_on(writes_much, p[1], 2), 0);
	expect(VERDICT_OK, 0);
	close(p[1]);
	{
		int status;

		cr_assert_eq(waitpid(reader, &status, 0), reader);
		cr_assert_eq(status, 0, "bytes are missing");
	}
}

Test(session, a_closed_reader_ends_the_run)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	close(p[0]);
	cr_assert_eq(play_on(writes_much, p[1], 2), 0);
	expect(VERDICT_STOPPED, 141);
	cr_assert_eq(result.signal, SIGPIPE);
}

Test(session, a_full_disk_is_our_failure)
{
	int full = open("/dev/full", O_WRONLY);

	cr_assert_lt(play_on(writes_much, full, 2), 0);
	expect(VERDICT_INTERNAL, 125);
	cr_assert_str_eq(err.msg, "stdout: No space left on device");
}

/* Echo standard input until its end; acknowledge as it is taken. */
static void echoes(struct guest *g)
{
	struct wire_frame f;
	int type;

	say_ready(g);
	while ((type = hear(g, &f)) > 0) {
		if (type == WIRE_STDIN) {
			struct wire_ack ack = { f.len };

			frame(g, WIRE_STDOUT, f.data, f.len);
			frame(g, WIRE_STDIN_ACK, &ack, sizeof(ack));
		} else if (type == WIRE_STDIN_EOF) {
			say_exit(g, 0, 0);
		}
	}
}

static void feed(int from)
{
	dup2(from, 0);
	config.interactive = 1;
}

Test(session, input_from_a_file_goes_in_and_ends)
{
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	struct stat st;

	for (int i = 0; i < 300000; i++)
		cr_assert_eq(write(file, "0123456789", 10), 10);
	lseek(file, 0, SEEK_SET);
	feed(file);
	cr_assert_eq(play(echoes), 0);
	expect(VERDICT_OK, 0);
	cr_assert_eq(fstat(out, &st), 0);
	cr_assert_eq(st.st_size, 3000000);
}

Test(session, input_from_a_pipe_whose_writer_is_gone_goes_in_and_ends)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(write(p[1], "hello", 5), 5);
	close(p[1]);
	feed(p[0]);
	cr_assert_eq(play(echoes), 0);
	expect(VERDICT_OK, 0);
	cr_assert_str_eq(text(out), "hello");
	cr_assert_not(fcntl(0, F_GETFL) & O_NONBLOCK);
}

/* Never acknowledge: what comes stays within the window. */
static void counts_window(struct guest *g)
{
	struct wire_frame f;
	uint64_t all = 0;

	say_ready(g);
	hear(g, &f); /* EXEC */
	while (all < WIRE_STDIN_WINDOW && hear(g, &f) == WIRE_STDIN)
		all += f.len;
	usleep(50000);
	say_exit(g,
		 recv(g->agent, &f, 1, MSG_DONTWAIT) < 0 &&
				 all == WIRE_STDIN_WINDOW
			 ? 0
			 : 1,
		 0);
}

Test(session, input_stops_at_the_window)
{
	feed(open("/dev/zero", O_RDONLY));
	cr_assert_eq(play(counts_window), 0);
	expect(VERDICT_OK, 0);
}

static void wants_term(struct guest *g)
{
	struct wire_signal sig = { 0 };
	struct wire_frame f;

	say_ready(g);
	hear(g, &f); /* EXEC */
	kill(getppid(), SIGTERM);
	if (hear(g, &f) == WIRE_SIGNAL)
		wire_get(&f, &sig, sizeof(sig));
	say_exit(g, sig.signo == SIGTERM ? 9 : 1, 0);
}

Test(session, a_signal_is_forwarded_and_is_the_verdict)
{
	cr_assert_eq(play(wants_term), 0);
	expect(VERDICT_STOPPED, 143);
	cr_assert_eq(result.exit.code, 9);
}

static void ignores_int(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	hear(g, &f); /* EXEC */
	kill(getppid(), SIGINT);
	if (hear(g, &f) == WIRE_SIGNAL)
		kill(getppid(), SIGINT);
}

Test(session, a_second_signal_ends_the_vm)
{
	cr_assert_eq(play(ignores_int), 0);
	expect(VERDICT_STOPPED, 130);
}

static void ignores_one_int(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	hear(g, &f); /* EXEC */
	kill(getppid(), SIGINT);
}

Test(session, a_command_that_ignores_the_signal_is_ended_in_time)
{
	config.stop_timeout_ns = 50 * MS;
	cr_assert_eq(play(ignores_one_int), 0);
	expect(VERDICT_STOPPED, 130);
}

static void interrupts_boot(struct guest *g)
{
	struct wire_frame f;

	hear(g, &f); /* EXEC: the session listens */
	kill(getppid(), SIGHUP);
}

Test(session, a_signal_before_the_guest_is_up_ends_it)
{
	cr_assert_eq(play(interrupts_boot), 0);
	expect(VERDICT_STOPPED, 129);
}

static void answers_query(struct guest *g)
{
	struct ctl_event e = { .type = CTL_STATS,
			       .vcpu_ns = 77,
			       .instructions = 88 };

	say_ready(g);
	say_exit(g, 0, 0);
	while (ctl_recv_word(g->control) == CTL_QUERY)
		ctl_send_event(g->control, &e);
}

Test(session, a_report_asks_for_the_statistics)
{
	config.meta = "somewhere";
	limits.stats = LONG;
	cr_assert_eq(play(answers_query), 0);
	expect(VERDICT_OK, 0);
	cr_assert_eq(result.vcpu_ns, 77);
	cr_assert_eq(result.instructions, 88);
}
