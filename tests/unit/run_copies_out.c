/* SPDX-License-Identifier: Apache-2.0 */
/* A run that copies after its command, against guests that play along and
 * guests that do not. */
#include "tests/unit/run_copies_stage.h"

TestSuite(copies, .init = set_up_copies, .timeout = 120);

static void gives_files(struct guest *g)
{
	static char *slots[WIRE_SLOTS];
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;

	say_ready(g);
	hear(g, &f);
	wire_get_exec(&f, slots, &c);
	say_exit(g, c.head.flags & WIRE_EXEC_STAY ? 3 : 1, 0);
	for (int i = 0; i < 2; i++) {
		more = more_of_it(&c);
		give_file(more, c.argv[1]);
	}
}

Test(copies, files_come_out_one_after_the_other_whatever_the_code)
{
	config_add_copy_out(&config.copies_out, "/a/one:.", &err);
	config_add_copy_out(&config.copies_out, "/two:x", &err);
	cr_assert_eq(play_copies(gives_files), 0, "%s", err.msg);
	expect(VERDICT_RUNTIME_ERROR, 3);
	cr_assert_str_eq(read_file("one"), "/a/one");
	cr_assert_str_eq(read_file("x"), "/two");
	cr_assert(!err.code);
	clean();
}

static void gives_one(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 0, 0);
	more = more_of_it(&c);
	frame(more, WIRE_STDERR, "/one: not there\n", 16);
	say_exit(more, 1, 0);
	give_file(more_of_it(&c), "2");
}

Test(copies, one_that_fails_is_told_and_the_next_is_copied)
{
	config_add_copy_out(&config.copies_out, "/one:.", &err);
	config_add_copy_out(&config.copies_out, "/two:.", &err);
	cr_assert_eq(play_copies(gives_one), 0);
	expect(VERDICT_OK, 125);
	cr_assert_str_eq(err.msg, "--copy-out: guest:/one: not there");
	cr_assert_str_eq(read_file("two"), "2");
	clean();
}

static void is_killed(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	if (hear(g, &f) != WIRE_KILL)
		_exit(1);
	say_exit(g, 0, SIGKILL);
	give_file(more_of_it(&c), "late");
}

Test(copies, a_timeout_kills_the_command_and_then_copies)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config.timeout_ns = 50 * MS;
	cr_assert_eq(play_copies(is_killed), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert_str_eq(read_file("f"), "late");
	clean();
}

static void never_dies(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	hear(g, &f); /* KILL */
	give_file(more_of_it(&c), "late");
}

Test(copies, without_an_exit_it_copies_in_the_end)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config.timeout_ns = 50 * MS;
	limits.settle = 50 * MS;
	cr_assert_eq(play_copies(never_dies), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert_str_eq(read_file("f"), "late");
	clean();
}

/* The last words are due long before the copy is. */
static void exits_late(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;

	say_ready(g);
	hear(g, &f);
	hear(g, &f); /* KILL */
	more = more_of_it(&c);
	say_exit(g, 0, SIGKILL);
	usleep(300000);
	give_file(more, "late");
}

Test(copies, an_exit_that_comes_late_takes_no_time_from_a_copy)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config.timeout_ns = 50 * MS;
	config.stats = 1;
	limits.settle = limits.stats = 20 * MS;
	cr_assert_eq(play_copies(exits_late), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert_str_eq(read_file("f"), "late");
	clean();
}

static void writes_too_much(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_out(g, "12345678");
	if (hear(g, &f) != WIRE_KILL)
		_exit(1);
	say_out(g, "9");
	say_exit(g, 0, SIGKILL);
	give_file(more_of_it(&c), "late");
}

Test(copies, so_does_the_limit_of_output)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config.output_max = 5;
	cr_assert_eq(play_copies(writes_too_much), 0);
	expect(VERDICT_OUTPUT_LIMIT, 153);
	cr_assert_str_eq(text(out), "12345");
	cr_assert_str_eq(read_file("f"), "late");
	clean();
}

static void ends_and_stalls(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 0, 0);
	more_of_it(&c);
}

Test(copies, a_guest_that_gives_nothing_is_ended)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config_add_copy_out(&config.copies_out, "/g:.", &err);
	limits.copy = 300 * MS;
	cr_assert_eq(play_copies(ends_and_stalls), 0);
	expect(VERDICT_OK, 125);
	cr_assert(strstr(err.msg, "/f: not copied: the guest gave nothing "
				  "more"), "%s", err.msg);
	cr_assert_str_eq(read_file("f"), "(none)");
	clean();
}

/* By a stream of its own, on which its bytes are to follow. */
static struct guest *begins_a_file(void)
{
	const struct tree_hdr h = { .type = TREE_FILE, .mode = 0644 };
	struct wire_command c;
	struct guest *more = more_of_it(&c);

	frame(more, WIRE_STDOUT, TREE_MAGIC, TREE_MAGIC_LEN);
	frame(more, WIRE_STDOUT, &h, sizeof(h));
	return more;
}

/* For ever a little, so that there is always something. */
static void drips(struct guest *g)
{
	struct wire_frame f;
	struct guest *more;
	uint32_t chunk[2] = { 4, 0 };

	say_ready(g);
	hear(g, &f);
	say_exit(g, 5, 0);
	more = begins_a_file();
	for (;;) {
		frame(more, WIRE_STDOUT, chunk, sizeof(chunk));
		usleep(10000);
	}
}

Test(copies, a_guest_that_drips_is_ended)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	limits.copy = 300 * MS;
	cr_assert_eq(play_copies(drips), 0);
	expect(VERDICT_RUNTIME_ERROR, 5);
	cr_assert(strstr(err.msg, "not copied"), "%s", err.msg);
	cr_assert_str_eq(read_file("f"), "(none)");
	cr_assert_eq(system("test -z \"$(ls | grep -v state)\" && "
			    "! ls -A | grep mayfly-cp"), 0);
	clean();
}

/* The other child of the run, which unpacks; -1: none is there. */
static pid_t unpacker(void)
{
	char path[64];
	pid_t pid = -1;
	int n = 1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", getppid(),
		 getppid());
	f = fopen(path, "re");
	while (f && n == 1 && (pid < 0 || pid == getpid()))
		n = fscanf(f, "%d", &pid);
	if (f)
		fclose(f);
	return n == 1 ? pid : -1;
}

static int is_unfinished(void)
{
	return system("ls -A | grep mayfly-cp >/dev/null") == 0;
}

/* It has begun a file, and then no CPU for three seconds. */
static void holds_up_the_unpacker(struct guest *g)
{
	struct wire_frame f;
	pid_t pid;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 5, 0);
	begins_a_file();
	while (!is_unfinished())
		usleep(1000);
	pid = unpacker();
	if (pid < 0 || kill(pid, SIGSTOP) < 0 || fork())
		return;
	close_range(3, ~0u, 0); /* the VM is gone by then */
	usleep(3000000);
	kill(pid, SIGCONT);
	_exit(0);
}

Test(copies, an_unpacker_that_is_held_up_leaves_nothing_either)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	limits.copy = 300 * MS;
	cr_assert_eq(play_copies(holds_up_the_unpacker), 0);
	expect(VERDICT_RUNTIME_ERROR, 5);
	cr_assert(strstr(err.msg, "not copied"), "%s", err.msg);
	cr_assert(!is_unfinished());
	clean();
}

/* Holes, as fast as they are taken. */
static void floods(struct guest *g)
{
	static const uint8_t zeros[32768];
	struct wire_frame f;
	struct guest *more;
	uint32_t len = sizeof(zeros);

	say_ready(g);
	hear(g, &f);
	more = begins_a_file();
	for (;;) {
		frame(more, WIRE_STDOUT, &len, sizeof(len));
		frame(more, WIRE_STDOUT, zeros, sizeof(zeros));
	}
}

Test(copies, after_a_limit_there_is_an_end_to_any_progress)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config.copy_out_max = UINT64_MAX;
	config.timeout_ns = 50 * MS;
	limits.settle = 50 * MS;
	limits.copy = 300 * MS;
	cr_assert_eq(play_copies(floods), 0);
	expect(VERDICT_TIMEOUT, 124);
	cr_assert(strstr(err.msg, "not copied: the VM has had its time"), "%s",
		  err.msg);
	cr_assert_str_eq(read_file("f"), "(none)");
	clean();
}

static void sends_nonsense(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 0, 0);
	frame(more_of_it(&c), WIRE_STDOUT, "mayfleas", 8);
}

Test(copies, what_is_no_tree_is_not_waited_for)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	cr_assert_eq(play_copies(sends_nonsense), 0);
	expect(VERDICT_OK, 125);
	cr_assert(strstr(err.msg, "no file tree"), "%s", err.msg);
	clean();
}

static void crashes_meanwhile(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 0, 0);
	more_of_it(&c);
	say_stopped(g, CTL_STOP_RESET);
}

Test(copies, a_vm_that_ends_meanwhile_ends_the_copy)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	cr_assert_eq(play_copies(crashes_meanwhile), 0);
	expect(VERDICT_OK, 125);
	cr_assert(strstr(err.msg, "not copied: the VM has ended"), "%s",
		  err.msg);
	clean();
}

static void crashes(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_stopped(g, CTL_STOP_RESET);
}

Test(copies, a_vm_that_crashed_has_nothing_to_copy)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	cr_assert_eq(play_copies(crashes), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "reset itself"), "%s", err.msg);
	clean();
}

static void too_much(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	say_exit(g, 0, 0);
	give_file(more_of_it(&c), "12345");
	give_file(more_of_it(&c), "12345");
}

Test(copies, all_of_them_have_one_limit)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	config_add_copy_out(&config.copies_out, "/g:.", &err);
	config.copy_out_max = 2 * (4096 + 5) - 1;
	cr_assert_eq(play_copies(too_much), 0);
	expect(VERDICT_OK, 125);
	cr_assert_str_eq(read_file("f"), "12345");
	cr_assert_str_eq(read_file("g"), "(none)");
	cr_assert(strstr(err.msg, "more than may be copied"), "%s", err.msg);
	cr_assert(strstr(err.hint, "--copy-out-max"), "%s", err.hint);
	clean();
}

static void not_found(struct guest *g)
{
	struct wire_exit x = { .code = 127, .stage = WIRE_STAGE_EXEC,
			       .error = ENOENT, .disk_avail = WIRE_UNKNOWN };
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	frame(g, WIRE_EXIT, &x, sizeof(x));
}

Test(copies, a_command_that_never_was_has_left_nothing)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	cr_assert_eq(play_copies(not_found), 0);
	expect(VERDICT_RUNTIME_ERROR, 127);
	cr_assert(strstr(err.msg, "not found"), "%s", err.msg);
	clean();
}
