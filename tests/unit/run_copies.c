/* SPDX-License-Identifier: Apache-2.0 */
/* A run that copies, against guests that play along and guests that do not. */
#include "runner/copies.h"

#include <poll.h>

#include "rootfs/tree.h"
#include "runner/state.h"
#include "tests/unit/run_stage.h"

static char top[] = "/tmp/mayfly-copies-XXXXXX";
static int door = -1; /* where the guest's agent takes more streams */

static void set_up_copies(void)
{
	set_up();
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(chdir(top), 0);
	limits.settle = 200 * MS;
	limits.copy = 300 * MS;
}

static void clean(void)
{
	char line[64];

	snprintf(line, sizeof(line), "rm -rf %s", top);
	cr_assert_eq(system(line), 0);
}

TestSuite(copies, .init = set_up_copies, .timeout = 20);

/* The run, with its record and what the config wants copied. */
static int play_copies(actor fn)
{
	struct state_new n = { .config = &config };
	char state[64];
	int r;

	snprintf(state, sizeof(state), "%s/state", top);
	setenv("MAYFLY_STATE_DIR", state, 1);
	cr_assert_eq(state_create(&extra.state, &n, &err), 0, "%s", err.msg);
	door = state_listen_vsock(extra.state, &err);
	cr_assert_geq(door, 0, "%s", err.msg);
	cr_assert_eq(copies_open(&extra.copies, &config, &err), 0, "%s",
		     err.msg);
	r = play(fn);
	close(door);
	copies_close(&extra.copies);
	state_discard(&extra.state);
	return r;
}

static void write_file(const char *name, const char *s)
{
	FILE *f = fopen(name, "w");

	cr_assert(f && fputs(s, f) >= 0 && fclose(f) == 0);
}

static const char *read_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	const char *s = fd < 0 ? "(none)" : text(fd);

	if (fd >= 0)
		close(fd);
	return s;
}

/* --- the guest's side -------------------------------------------------- */

/* Take one more stream, and what it is to run. */
static void serve(struct guest *more, struct wire_command *c)
{
	static char *slots[WIRE_SLOTS];
	char hello[64];
	struct wire_ready r = { .version = WIRE_VERSION };
	struct pollfd p = { .fd = door, .events = POLLIN };
	struct wire_frame f;
	size_t n = 0;

	poll(&p, 1, 10000); /* its queue does not block */
	more->agent = accept(door, NULL, NULL);
	wire_reader_init(&more->reader, WIRE_FROM_HOST);
	do
		if (read(more->agent, hello + n, 1) != 1)
			_exit(1);
	while (hello[n++] != '\n');
	io_write_all(more->agent, "OK 9\n", 5);
	frame(more, WIRE_READY, &r, sizeof(r));
	if (hear(more, &f) != WIRE_EXEC || wire_get_exec(&f, slots, c) < 0)
		_exit(1);
}

static struct guest *more_of_it(struct wire_command *c)
{
	struct guest *more = calloc(1, sizeof(*more));

	serve(more, c);
	return more;
}

/* Read its input to the end, and say that all is well. */
static uint64_t take_tree(struct guest *more)
{
	struct wire_frame f;
	struct wire_ack ack;
	uint64_t sum = 0;
	int type;

	while ((type = hear(more, &f)) == WIRE_STDIN) {
		sum += f.len;
		ack.bytes = f.len;
		frame(more, WIRE_STDIN_ACK, &ack, sizeof(ack));
	}
	say_exit(more, type == WIRE_STDIN_EOF ? 0 : 1, 0);
	return sum;
}

static void put_bytes(char **p, const void *data, size_t n)
{
	memcpy(*p, data, n);
	*p += n;
}

/* A tree of one file. */
static void give_file(struct guest *more, const char *data)
{
	char buf[4096], *p = buf;
	struct tree_hdr h = { .type = TREE_FILE, .mode = 0644 };
	struct tree_hdr end = { .type = TREE_END, .size = 1 };
	uint32_t n = (uint32_t)strlen(data), none = 0;

	put_bytes(&p, TREE_MAGIC, TREE_MAGIC_LEN);
	put_bytes(&p, &h, sizeof(h));
	put_bytes(&p, &n, sizeof(n));
	put_bytes(&p, data, n);
	put_bytes(&p, &none, sizeof(none));
	put_bytes(&p, &end, sizeof(end));
	frame(more, WIRE_STDOUT, buf, (uint32_t)(p - buf));
	say_exit(more, 0, 0);
}

static void say_mounted(struct guest *g, uint32_t error)
{
	struct wire_mounted m = { .error = error };

	frame(g, WIRE_MOUNTED, &m, sizeof(m));
}

/* --- before the command ------------------------------------------------- */

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

	say_ready(g);
	more_of_it(&c);
}

Test(copies, a_copy_in_without_progress_is_a_crash)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	config.boot_timeout_ns = 100 * MS;
	cr_assert_eq(play_copies(stalls_copy), 0);
	expect(VERDICT_VM_CRASH, 125);
	cr_assert(strstr(err.msg, "less than a MiB"), "%s", err.msg);
	clean();
}

static void never_answers(struct guest *g)
{
	say_ready(g);
}

Test(copies, a_mount_that_is_never_answered_is_a_crash)
{
	write_file("src", "hello");
	config_add_copy_in(&config.copies_in, "src:/x", &err);
	config_add_tmpfs(&config.tmpfs, "/a", &err);
	config.boot_timeout_ns = 100 * MS;
	cr_assert_eq(play_copies(never_answers), 0);
	expect(VERDICT_VM_CRASH, 125);
	clean();
}

/* --- after the command -------------------------------------------------- */

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
	cr_assert_eq(play_copies(ends_and_stalls), 0);
	expect(VERDICT_OK, 125);
	cr_assert(strstr(err.msg, "/f: not copied: the guest gave nothing "
				  "more"), "%s", err.msg);
	cr_assert_str_eq(read_file("f"), "(none)");
	clean();
}

/* For ever a little, so that there is always something. */
static void drips(struct guest *g)
{
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;
	struct tree_hdr h = { .type = TREE_FILE, .mode = 0644 };
	uint32_t chunk[2] = { 4, 0 };

	say_ready(g);
	hear(g, &f);
	say_exit(g, 5, 0);
	more = more_of_it(&c);
	frame(more, WIRE_STDOUT, TREE_MAGIC, TREE_MAGIC_LEN);
	frame(more, WIRE_STDOUT, &h, sizeof(h));
	for (;;) {
		frame(more, WIRE_STDOUT, chunk, sizeof(chunk));
		usleep(10000);
	}
}

Test(copies, a_guest_that_drips_is_ended)
{
	config_add_copy_out(&config.copies_out, "/f:.", &err);
	cr_assert_eq(play_copies(drips), 0);
	expect(VERDICT_RUNTIME_ERROR, 5);
	cr_assert(strstr(err.msg, "not copied"), "%s", err.msg);
	cr_assert_str_eq(read_file("f"), "(none)");
	cr_assert_eq(system("test -z \"$(ls | grep -v state)\" && "
			    "! ls -A | grep mayfly-cp"), 0);
	clean();
}

/* Holes, as fast as they are taken. */
static void floods(struct guest *g)
{
	static const uint8_t zeros[32768];
	struct wire_command c;
	struct wire_frame f;
	struct guest *more;
	struct tree_hdr h = { .type = TREE_FILE, .mode = 0644 };
	uint32_t len = sizeof(zeros);

	say_ready(g);
	hear(g, &f);
	more = more_of_it(&c);
	frame(more, WIRE_STDOUT, TREE_MAGIC, TREE_MAGIC_LEN);
	frame(more, WIRE_STDOUT, &h, sizeof(h));
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
	limits.copy = 10000 * MS;
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
	limits.copy = 10000 * MS;
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
