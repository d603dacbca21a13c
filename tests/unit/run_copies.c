/* SPDX-License-Identifier: Apache-2.0 */
/* A run that mounts and copies before its command, against guests that play
 * along and guests that do not. */
#include "tests/unit/run_copies_stage.h"

TestSuite(copies, .init = set_up_copies, .timeout = 120);

static int next_mount(struct guest *g, uint32_t kind, const char *path)
{
	struct wire_frame f;
	struct wire_mount m;
	char *got;

	return hear(g, &f) == WIRE_MOUNT && !wire_get_mount(&f, &m, &got) &&
	       m.kind == kind && !strcmp(got, path);
}

static void mounts_at_once(struct guest *g)
{
	struct wire_frame f;
	int ok = next_mount(g, WIRE_MOUNT_TMPFS, "/a") &&
		 next_mount(g, WIRE_MOUNT_TMPFS, "/a/b") &&
		 next_mount(g, WIRE_MOUNT_DIR, "/w") &&
		 next_mount(g, WIRE_MOUNT_SEAL, "/") &&
		 hear(g, &f) == WIRE_EXEC;

	say_ready(g);
	for (int i = 0; i < 4; i++)
		say_mounted(g, 0);
	say_exit(g, ok ? 7 : 1, 0);
}

Test(copies, mounts_and_the_command_go_without_waiting)
{
	config_add_tmpfs(&config.tmpfs, "/a/b", &err);
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	config.read_only = 1;
	config.workdir = "/w";
	cr_assert_eq(play(mounts_at_once), 0);
	expect(VERDICT_RUNTIME_ERROR, 7);
	clean();
}

static void cannot_mount(struct guest *g)
{
	say_ready(g);
	say_mounted(g, 0);
	say_mounted(g, ENOTDIR);
	say_exit(g, 0, 0);
}

Test(copies, a_mount_that_failed_is_named_and_ends_the_run)
{
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	config_add_tmpfs(&config.tmpfs, "/b", &err);
	cr_assert_lt(play(cannot_mount), 0);
	expect(VERDICT_INTERNAL, 125);
	cr_assert_str_eq(err.msg, "/b: mount in the guest: Not a directory");
	clean();
}

static void mounted_too_often(struct guest *g)
{
	say_ready(g);
	say_mounted(g, 0);
	say_mounted(g, 0);
}

static void mounted_early(struct guest *g)
{
	say_mounted(g, 0);
	say_ready(g);
}

static void mounted_never(struct guest *g)
{
	struct wire_started st = { .pid = 1 };

	say_ready(g);
	frame(g, WIRE_STARTED, &st, sizeof(st));
}

static void mounted_for_nothing(struct guest *g)
{
	say_ready(g);
	say_mounted(g, 0);
}

static void breaks_protocol(actor fn)
{
	cr_assert_eq(play(fn), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "broke the protocol"), "%s", err.msg);
	clean();
}

Test(copies, more_answers_than_mounts_are_a_crash)
{
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	breaks_protocol(mounted_too_often);
}

Test(copies, an_answer_before_ready_is_a_crash)
{
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	breaks_protocol(mounted_early);
}

Test(copies, a_command_before_its_mounts_is_a_crash)
{
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	breaks_protocol(mounted_never);
}

Test(copies, an_answer_to_nothing_is_a_crash)
{
	breaks_protocol(mounted_for_nothing);
}

static void takes_copies(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;
	int ok;

	say_ready(g);
	more = more_of_it(&c);
	ok = !strcmp(c.argv[0], "tree-volume") && !strcmp(c.argv[1], "0") &&
	     !strcmp(c.argv[2], "/v") && take_tree(more);
	ok = ok && next_mount(g, WIRE_MOUNT_VOLUME, "/v");
	say_mounted(g, 0);
	more = more_of_it(&c);
	ok = ok && !strcmp(c.argv[0], "tree-put") &&
	     !strcmp(c.argv[1], "src") && !strcmp(c.argv[2], "/x") &&
	     !strcmp(c.argv[3], "me") && take_tree(more);
	ok = ok && next_mount(g, WIRE_MOUNT_SEAL, "/v") &&
	     hear(g, &f) == WIRE_EXEC;
	say_mounted(g, 0);
	say_exit(g, ok ? 7 : 1, 0);
}

Test(copies, volumes_mounts_copies_seals_and_then_the_command)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	config_add_volume(&config.volumes, "src:/v", &err);
	config.user = "me";
	cr_assert_eq(play_copies(takes_copies), 0, "%s", err.msg);
	expect(VERDICT_RUNTIME_ERROR, 7);
	clean();
}

static void commands_too_soon(struct guest *g)
{
	struct wire_command c;

	say_ready(g);
	more_of_it(&c);
	say_exit(g, 0, 0);
}

Test(copies, an_end_before_the_command_was_sent_is_a_crash)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	cr_assert_eq(play_copies(commands_too_soon), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "broke the protocol"), "%s", err.msg);
	clean();
}

static void refuses_copy(struct guest *g)
{
	struct wire_command c;
	struct guest *more;

	say_ready(g);
	more = more_of_it(&c);
	frame(more, WIRE_STDERR, "/x: no room\n", 12);
	say_exit(more, 1, 0);
}

Test(copies, a_copy_that_cannot_go_in_ends_the_run)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	cr_assert_lt(play_copies(refuses_copy), 0);
	expect(VERDICT_INTERNAL, 125);
	cr_assert_str_eq(err.msg, "--copy-in: guest:/x: no room");
	clean();
}

static void stalls_copy(struct guest *g)
{
	struct wire_command c;

	(void)g;
	more_of_it(&c);
}

Test(copies, a_copy_in_without_progress_is_a_crash)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	already = say_ready;
	config.boot_timeout_ns = 100 * MS;
	cr_assert_eq(play_copies(stalls_copy), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "less than a MiB"), "%s", err.msg);
	clean();
}

static void never_answers(struct guest *g)
{
	(void)g;
}

Test(copies, a_mount_that_is_never_answered_is_a_crash)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	already = say_ready;
	config.boot_timeout_ns = 100 * MS;
	cr_assert_eq(play_copies(never_answers), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "less than a MiB"), "%s", err.msg);
	clean();
}

/* --- before there is a VM ------------------------------------------------ */

static void refused(const char *words)
{
	struct copies *c;

	err = (struct err){ 0 };
	cr_assert_lt(copies_open(&c, &config, &err), 0);
	cr_assert_null(c);
	cr_assert(strstr(err.msg, words), "%s", err.msg);
	clean();
}

Test(copies, a_source_that_is_not_there_is_found_at_once)
{
	config_add_copy_in(&config.copies_in, "nope:/x", &err);
	refused("--copy-in: nope: No such file");
}

Test(copies, a_source_that_is_no_file_is_found_at_once)
{
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	config_add_volume(&config.volumes, "fifo:/x", &err);
	refused("no file, directory or link");
}

Test(copies, a_place_without_a_parent_is_found_at_once)
{
	config_add_copy_out(&config.copies_out, "/x:a/b", &err);
	refused("--copy-out: a/: cannot be opened: No such file");
}

Test(copies, a_place_that_may_not_be_written_is_found_at_once)
{
	/* For root, too: nobody makes files there. */
	config_add_copy_out(&config.copies_out, "/x:/proc/self/x/y", &err);
	refused("--copy-out: /proc/self/x/");
}

Test(copies, where_there_is_nothing_to_copy_there_is_nothing)
{
	struct copies *c;

	config_add_tmpfs(&config.tmpfs, "/a", &err);
	cr_assert_eq(copies_open(&c, &config, &err), 0);
	cr_assert_null(c);
	cr_assert_eq(copies_count(c, COPIES_OUT), 0);
	copies_cut(c, "");
	copies_close(&c);
	clean();
}
