/* SPDX-License-Identifier: Apache-2.0 */
/* What the host asks before the command, and after it. (That file systems are
 * mounted is for a whole machine to show: tests/system/copies.sh.) */
#include "tests/unit/agent_stage.h"

static char top[] = "/tmp/mayfly-mount-XXXXXX";

static void setup_top(void)
{
	cr_assert_not_null(mkdtemp(top));
	setup();
}

TestSuite(mount, .init = setup_top);

static void send_mount(uint32_t kind, const char *path)
{
	struct wire_mount m = { .kind = kind };
	long n = wire_put_mount(h->frame, sizeof(h->frame), &m, path);

	cr_assert_gt(n, 0);
	send_bytes(h->frame, (size_t)n);
}

static const char *below(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

static int is_dir(const char *name)
{
	struct stat st;

	return !stat(below(name), &st) && S_ISDIR(st.st_mode);
}

static void clean(void)
{
	char line[300];

	snprintf(line, sizeof(line), "rm -rf %s", top);
	cr_assert_eq(system(line), 0);
}

Test(mount, directories_are_made_before_the_command_and_answered_in_order)
{
	send_mount(WIRE_MOUNT_DIR, below("a/b/c"));
	send_mount(WIRE_MOUNT_DIR, below("a/b/d/"));
	send_mount(WIRE_MOUNT_DIR, below("a"));
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->mounted, 3);
	cr_assert_eq(h->mount_error, 0);
	cr_assert_eq(h->exit.code, 3);
	cr_assert(is_dir("a/b/c") && is_dir("a/b/d"));
	cr_assert_eq(hang_up(), 0);
	clean();
}

Test(mount, after_one_that_failed_nothing_is_done)
{
	close(creat(below("file"), 0600));
	send_mount(WIRE_MOUNT_DIR, below("file/a"));
	send_mount(WIRE_MOUNT_DIR, below("b"));
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->mounted, 2);
	cr_assert_eq(h->mount_error, ENOTDIR);
	cr_assert(!h->started && !is_dir("b"));
	cr_assert_eq(h->exit.stage, WIRE_STAGE_MOUNT);
	cr_assert_eq(h->exit.error, ENOTDIR);
	hang_up();
	clean();
}

Test(mount, none_comes_after_the_command)
{
	exec_sh("sleep 100", 0);
	send_mount(WIRE_MOUNT_DIR, below("late"));
	while (step())
		;
	cr_assert(!h->exited && !is_dir("late"));
	cr_assert_eq(hang_up(), 1);
	clean();
}

Test(mount, none_comes_by_another_stream)
{
	exec_sh("sleep 100", 0);
	begin(1);
	send_mount(WIRE_MOUNT_DIR, below("other"));
	while (step())
		;
	cr_assert_eq(h->mounted, 0);
	cr_assert(!is_dir("other"));
	h = hosts;
	hang_up();
	clean();
}

Test(mount, there_are_so_many_and_no_more)
{
	for (unsigned i = 0; i < WIRE_MOUNTS_MAX; i++)
		send_mount(WIRE_MOUNT_DIR, top);
	while (h->mounted < (int)WIRE_MOUNTS_MAX)
		cr_assert(step());
	send_mount(WIRE_MOUNT_DIR, top);
	while (step())
		;
	cr_assert_eq(h->mounted, (int)WIRE_MOUNTS_MAX);
	cr_assert_eq(hang_up(), 1);
	clean();
}

Test(mount, kill_is_for_all_of_the_command)
{
	exec_sh("setsid sleep 100 & trap '' TERM; echo up; sleep 100; sleep 100",
		0);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_KILL, NULL, 0);
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(hang_up(), 0);
	clean();
}

/* After EXIT: with the run's own stream open, is another one served in @ms? */
static int is_served(int ms)
{
	struct pollfd p = { .events = POLLIN };

	begin(1);
	p.fd = h->fd;
	return poll(&p, 1, ms) == 1 && step() && h->ready;
}

Test(mount, stay_has_more_streams_served_after_the_end)
{
	exec_sh("exit 3", WIRE_EXEC_STAY);
	run_to_exit();
	cr_assert(is_served(DEADLINE_MS));
	exec_sh("echo after", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "after\n");
	h = hosts;
	cr_assert_eq(hang_up(), 0);
	clean();
}

Test(mount, else_the_end_is_the_end)
{
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert(!is_served(300));
	h = hosts;
	cr_assert_eq(hang_up(), 0);
	clean();
}

Test(mount, what_is_made_after_a_kill_lives)
{
	exec_sh("trap '' TERM; echo up; sleep 100", WIRE_EXEC_STAY);
	while (!h->out_len)
		cr_assert(step());
	/* Both are there when it looks: the kill counts first. */
	send_frame(WIRE_KILL, NULL, 0);
	begin(1);
	exec_sh("sleep 0.3; echo after", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "after\n");
	h = hosts;
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(hang_up(), 0);
	clean();
}
