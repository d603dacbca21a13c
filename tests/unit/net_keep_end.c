/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launchers and keepers that are killed, and many of them at once: what is left
 * is nothing. With FAULTS=1 at each step of their way.
 */
#include "tests/unit/keep_stage.h"

TestSuite(net_keep_end, .init = stage_open, .fini = stage_close,
	  .timeout = 300);

/* A launcher: keep-run. */
struct launcher {
	pid_t pid;
	int in, out; /* its input and what it says */
};

static struct launcher launch(unsigned lease, const char *fault)
{
	char path[4096], net[4096], number[16], user[16];
	struct launcher l;
	int in[2], out[2];

	beside("keep-run", 2, path);
	beside("mayfly-net", 3, net);
	snprintf(number, sizeof(number), "%u", lease);
	snprintf(user, sizeof(user), "%u", HOST_ID + lease);
	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	l.pid = fork();
	if (l.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		if (fault)
			setenv("MAYFLY_FAULT", fault, 1);
		execl(path, path, net, number, user, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	l.in = in[1];
	l.out = out[0];
	return l;
}

static int says_ready(const struct launcher *l)
{
	char said[16] = "";

	return read(l->out, said, sizeof(said) - 1) > 0 &&
	       !strcmp(said, "ready\n");
}

static void let_go(struct launcher *l)
{
	close_fd(&l->in);
	close_fd(&l->out);
}

Test(net_keep_end, thirty_at_once_stand_and_go)
{
	struct launcher l[30];

	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		l[i] = launch(i, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		cr_expect(says_ready(&l[i]), "%u", i);
	cr_expect(has_uplinks());
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		let_go(&l[i]);
	expect_nothing_left();
}

Test(net_keep_end, killed_launcher_leaves_nothing)
{
	struct launcher l = launch(3, NULL);

	cr_assert(says_ready(&l));
	kill(l.pid, SIGKILL);
	expect_nothing_left();
	let_go(&l);
}

/* Wherever they are just then. */
Test(net_keep_end, launchers_killed_at_any_moment_leave_nothing)
{
	struct launcher l[30];

	for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
		l[i] = launch(i, NULL);
		usleep(i * 300);
		kill(l[i].pid, SIGKILL);
	}
	expect_nothing_left();
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		let_go(&l[i]);
}

#ifdef MAYFLY_FAULTS

/* keep.c's and keeper.c's, in their order. */
static const char *const keeper_steps[] = {
	"session", "descriptors", "go", "user", "setup", "tap", "listeners",
	"told", "settings", "tools", "link", "fence", "uplink", "locked",
	"held",
};

static const char *const launcher_steps[] = {
	"keep_cloned", "keep_mapped", "keep_setup", "veth", "keep_uplink",
	"tap", "ready",
};

static int reap(const struct launcher *l)
{
	int status;

	cr_assert_eq(waitpid(l->pid, &status, 0), l->pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* The launcher hears of it, and goes. */
Test(net_keep_end, keeper_killed_at_any_step_leaves_nothing)
{
	for (size_t i = 0; i < ARRAY_SIZE(keeper_steps); i++) {
		const char *step = keeper_steps[i];
		int ready, code, late = !strcmp(step, "held");
		struct launcher l;
		char fault[64];

		snprintf(fault, sizeof(fault), "keep.%s:kill", step);
		l = launch(3, fault);
		ready = says_ready(&l);
		let_go(&l);
		code = reap(&l);
		cr_expect(late || !ready, "%s", step);
		cr_expect(code == (late ? 0 : 1), "%s: %d", step, code);
		expect_nothing_left();
	}
}

Test(net_keep_end, launcher_killed_at_any_step_leaves_nothing)
{
	for (size_t i = 0; i < ARRAY_SIZE(launcher_steps); i++) {
		struct launcher l;
		char fault[64];

		snprintf(fault, sizeof(fault), "launcher.%s:kill",
			 launcher_steps[i]);
		l = launch(3, fault);
		cr_expect_eq(reap(&l), -SIGKILL, "%s", launcher_steps[i]);
		expect_nothing_left();
		let_go(&l);
	}
}

/* '@': runner/base/fault.h. */
static int is_marked(pid_t launcher)
{
	char path[64], *children = NULL, *command = NULL;
	int found = 0;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", launcher,
		 launcher);
	if (io_read_file(path, 4096, &children, &n) < 0 || !n)
		goto out;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", atoi(children));
	if (io_read_file(path, 65536, &command, &n) == 0 && n)
		found = command[0] == '@';
out:
	free(children);
	free(command);
	return found;
}

/* A keeper that is stuck dies with its launcher all the same; once it is
 * locked it cannot even be stuck in this way. */
Test(net_keep_end, launcher_killed_with_its_keeper_at_any_step_leaves_nothing)
{
	for (size_t i = 0; i < ARRAY_SIZE(keeper_steps) - 2; i++) {
		struct launcher l;
		char fault[64];

		snprintf(fault, sizeof(fault), "keep.%s:stop",
			 keeper_steps[i]);
		l = launch(3, fault);
		SOON(is_marked(l.pid));
		kill(l.pid, SIGKILL);
		expect_nothing_left();
		let_go(&l);
	}
}

#endif
