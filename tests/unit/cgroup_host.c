/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups of this host for real, v1 or v2: their values, lives and sweeps. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

#define ID  "0123456789ab"
#define MIB (1ull << 20)

static char parent[32];
static const struct cgroup_limits usual = { .memory_max = 64 * MIB,
					    .cpu_milli = 1000,
					    .pids_max = 9 };

/* A parent of its own, gone at the end: else a test left something. */
static void open_parent(void)
{
	snprintf(parent, sizeof(parent), "mayfly-unit-%d", (int)getpid());
}

static void close_parent(void)
{
	static struct cgroup_map map;

	cgroup_map_read(&map);
	for (unsigned i = 0; i < map.n; i++) {
		int mount = cgroup_open_mount(&map, &map.h[i]);

		if (mount >= 0 && unlinkat(mount, parent, AT_REMOVEDIR) < 0)
			cr_expect_eq(errno, ENOENT, "%s", strerror(errno));
		close(mount);
	}
}

TestSuite(cgroup_host, .init = open_parent, .fini = close_parent);

static void make(struct cgroup *cg, const struct cgroup_limits *l)
{
	struct jail_report r = { 0 };
	struct err err = { 0 };

	cr_assert_eq(cgroup_create(cg, parent, ID, l, &r, &err), 0, "%s",
		     err.msg);
	if (r.nmissing) {
		cgroup_free(cg);
		/* What the host refuses has words; a bad value has none. */
		cr_assert_not(strstr(r.missing[0].why, "cgroup: "), "%s",
			      r.missing[0].why);
		cr_skip_test("%s: %s", jail_layer_name(r.missing[0].layer),
			     r.missing[0].why);
	}
	cr_assert_eq(r.on & JAIL_CGROUP, JAIL_CGROUP);
}

/* A child that a test which fails does not leave behind. */
static pid_t child(void)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A child that waits until it is in @cg, then does this. */
static pid_t inside(struct cgroup *cg, void (*fn)(void))
{
	struct jail_report r = { 0 };
	int go[2];
	pid_t pid;
	char c;

	cr_assert_eq(pipe(go), 0);
	pid = child();
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			fn();
		_exit(99);
	}
	close(go[0]);
	cr_assert_eq(cgroup_attach(cg, pid, &r), 0);
	cr_assert_eq(r.nmissing, 0);
	cr_assert_eq(write(go[1], "", 1), 1);
	close(go[1]);
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_killed(pid_t pid)
{
	int status = end_of(pid);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* How many directories below our parents have this name. */
static unsigned count(const char *name)
{
	static struct cgroup_map map;
	unsigned n = 0;

	cgroup_map_read(&map);
	for (unsigned i = 0; i < map.n; i++) {
		int mount = cgroup_open_mount(&map, &map.h[i]), fd;
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", parent, name);
		fd = mount < 0 ? -1 : cgroup_open(mount, path);
		n += fd >= 0;
		close(fd);
		close(mount);
	}
	return n;
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void touch(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	for (size_t i = 0; i < bytes; i += 4096)
		((volatile char *)p)[i] = 1;
}

static void take_20m(void)
{
	touch(20 * MIB);
	_exit(0);
}

static void take_100m(void)
{
	touch(100 * MIB);
	_exit(0);
}

/* How many children there may be. */
static void have_children(void)
{
	int n = 0;

	while (n < 50) {
		pid_t pid = fork();

		if (pid < 0)
			_exit(errno == EAGAIN ? n : 98);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			wait_for_ever();
		}
		n++;
	}
	_exit(n);
}

Test(cgroup_host, values_stand_before_any_process_is_in)
{
	struct cgroup cg;
	char text[64];

	make(&cg, &usual);
	for (unsigned i = 0; i < cg.ndirs; i++) {
		const struct cgroup_dir *d = &cg.dir[i];
		int v1 = d->ops->version == 1;

		cr_assert_str_eq(d->name, ID);
		cgroup_read(d->fd, "cgroup.procs", text, sizeof(text));
		cr_assert_str_eq(text, "");
		if (d->controllers & (1u << CGROUP_MEMORY))
			cr_assert_eq(cgroup_number(d->fd,
						   v1 ? "memory.limit_in_bytes"
						      : "memory.max"),
				     usual.memory_max);
		if (d->controllers & (1u << CGROUP_PIDS))
			cr_assert_eq(cgroup_number(d->fd, "pids.max"), 9);
		if (d->controllers & (1u << CGROUP_CPU))
			cr_assert_eq(cgroup_number(d->fd,
						   v1 ? "cpu.cfs_quota_us"
						      : "cpu.max"),
				     100000);
	}
	cr_assert_eq(count(ID), cg.ndirs);
	cgroup_free(&cg);
	cr_assert_eq(count(ID), 0);
	cgroup_free(&cg);
}

Test(cgroup_host, what_was_used_is_counted)
{
	struct cgroup_usage u;
	struct cgroup cg;

	make(&cg, &usual);
	cr_assert_eq(end_of(inside(&cg, take_20m)), 0);
	cgroup_usage(&cg, &u);
	cr_assert_geq(u.memory_peak, 20 * MIB);
	cr_assert_leq(u.memory_peak, usual.memory_max);
	cr_assert_eq(u.oom_kills, 0);
	cgroup_free(&cg);
}

Test(cgroup_host, memory_ends_at_its_limit)
{
	struct cgroup_usage u;
	struct cgroup cg;

	make(&cg, &usual);
	expect_killed(inside(&cg, take_100m));
	cgroup_usage(&cg, &u);
	cr_assert_eq(u.oom_kills, 1);
	cr_assert_leq(u.memory_peak, usual.memory_max);
	cgroup_free(&cg);
}

Test(cgroup_host, tasks_end_at_their_limit)
{
	struct cgroup cg;

	make(&cg, &usual);
	cr_assert_eq(WEXITSTATUS(end_of(inside(&cg, have_children))), 8);
	cgroup_free(&cg);
	cr_assert_eq(count(ID), 0);
}

Test(cgroup_host, kill_and_free_leave_nobody)
{
	struct cgroup cg;
	pid_t a, b;

	make(&cg, &usual);
	a = inside(&cg, wait_for_ever);
	cgroup_kill(&cg);
	expect_killed(a);
	b = inside(&cg, wait_for_ever);
	cgroup_free(&cg);
	expect_killed(b);
	cr_assert_eq(count(ID), 0);
}

Test(cgroup_host, process_that_has_ended_is_told)
{
	struct jail_report r = { 0 };
	struct cgroup cg;
	pid_t pid = child();

	if (!pid)
		_exit(0);
	make(&cg, &usual);
	end_of(pid);
	cr_assert_eq(cgroup_attach(&cg, pid, &r), -ESRCH);
	cgroup_free(&cg);
}

Test(cgroup_host, name_that_is_taken_gets_a_digit)
{
	struct cgroup a, b;

	make(&a, &usual);
	make(&b, &usual);
	cr_assert_str_eq(b.dir[0].name, ID "-2");
	cgroup_free(&b);
	cgroup_free(&a);
}

Test(cgroup_host, what_is_not_asked_for_is_not_there)
{
	struct cgroup_limits l = { .pids_max = 4 };
	struct jail_report r = { 0 };
	struct cgroup cg;

	cr_assert_eq(cgroup_create(&cg, parent, ID, &l, &r, NULL), 0);
	cr_assert_leq(cg.ndirs, 1);
	cr_assert_eq(r.on & ~(1u << JAIL_PIDS), 0);
	cgroup_free(&cg);
	l.pids_max = 0;
	cr_assert_eq(cgroup_create(&cg, parent, ID, &l, &r, NULL), 0);
	cr_assert_eq(cg.ndirs, 0);
	cgroup_free(&cg);
}

Test(cgroup_host, parent_outside_is_refused)
{
	struct jail_report r = { 0 };
	struct err err = { 0 };
	struct cgroup cg;

	cr_assert_eq(cgroup_create(&cg, "../x", ID, &usual, &r, &err),
		     -EINVAL);
	cr_assert_eq(cg.ndirs, 0);
	cr_assert_eq(cgroup_sweep("../x", NULL, NULL, &err), -EINVAL);
}

/* --- sweeps --------------------------------------------------------------- */

static void note(const char *name, void *opaque)
{
	char (*last)[CGROUP_NAME_MAX] = opaque;

	cr_assert_eq((*last)[0], '\0', "removed %s after %s", name, *last);
	strcpy(*last, name);
}

Test(cgroup_host, sweep_leaves_what_is_in_use)
{
	char last[CGROUP_NAME_MAX] = "";
	struct cgroup cg;
	pid_t pid;

	make(&cg, &usual);
	pid = inside(&cg, wait_for_ever);
	cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
	cr_assert_str_eq(last, "");
	cr_assert_eq(count(ID), cg.ndirs);
	cr_assert_eq(kill(pid, 0), 0);
	cgroup_free(&cg);
	expect_killed(pid);
}

Test(cgroup_host, sweep_takes_what_a_dead_owner_left)
{
	char last[CGROUP_NAME_MAX] = "";
	struct cgroup cg;
	pid_t owner, left;
	int fd[2];

	/* Here rather than in the child: it may skip. */
	make(&cg, &usual);
	cgroup_free(&cg);
	cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
	owner = child();
	if (!owner) {
		struct jail_report r = { 0 };

		if (cgroup_create(&cg, parent, ID, &usual, &r, NULL) < 0)
			_exit(1);
		left = fork();
		if (!left) {
			/* As the jail does: no lock of its owner's. */
			dup2(fd[1], STDOUT_FILENO);
			close_range(3, ~0u, 0);
			if (write(STDOUT_FILENO, "", 1) == 1)
				wait_for_ever();
			_exit(1);
		}
		cgroup_attach(&cg, left, &r);
		if (write(fd[1], "", 1) == 1)
			wait_for_ever();
		_exit(1);
	}
	for (int i = 0; i < 2; i++)
		cr_assert_eq(read(fd[0], &(char){ 0 }, 1), 1);
	cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
	cr_assert_str_eq(last, "");
	kill(owner, SIGKILL);
	expect_killed(owner);
	cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
	cr_assert_str_eq(last, ID);
	cr_assert_eq(count(ID), 0);
}

/* What a maker has made and not locked yet is not taken from it. */
Test(cgroup_host, sweep_waits_for_a_maker_that_is_held_up)
{
	static const char other[] = "0123456789ff";
	char last[CGROUP_NAME_MAX] = "";
	struct cgroup cg;
	int fd[2], made;
	pid_t maker;

	make(&cg, &usual);
	cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
	maker = child();
	if (!maker) {
		int dir = openat(cg.dir[0].parent, ".", O_RDONLY | O_CLOEXEC);

		if (flock(dir, LOCK_SH) < 0 || mkdirat(dir, other, 0700) < 0 ||
		    write(fd[1], "", 1) != 1)
			_exit(1);
		usleep(300000);
		made = openat(dir, other, O_RDONLY | O_CLOEXEC);
		if (made < 0 || flock(made, LOCK_EX | LOCK_NB) < 0)
			_exit(2);
		flock(dir, LOCK_UN);
		wait_for_ever();
	}
	cr_assert_eq(read(fd[0], &(char){ 0 }, 1), 1);
	cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
	cr_assert_str_eq(last, "");
	kill(maker, SIGKILL);
	expect_killed(maker);
	cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
	cr_assert_str_eq(last, other);
	cgroup_free(&cg);
}

Test(cgroup_host, sweep_takes_no_other_names)
{
	static const char other[] = "0123456789ab.scope";
	struct cgroup cg;

	make(&cg, &usual);
	for (unsigned i = 0; i < cg.ndirs; i++)
		cr_assert_eq(mkdirat(cg.dir[i].parent, other, 0755), 0);
	cr_assert_eq(cgroup_sweep(parent, NULL, NULL, NULL), 0);
	cr_assert_eq(count(other), cg.ndirs);
	for (unsigned i = 0; i < cg.ndirs; i++)
		cr_assert_eq(unlinkat(cg.dir[i].parent, other, AT_REMOVEDIR),
			     0);
	cgroup_free(&cg);
}

/* Makers and sweepers at once: each maker has all that it asked for. */
static _Noreturn void make_many(void)
{
	for (int i = 0; i < 40; i++) {
		struct jail_report r = { 0 };
		struct cgroup cg;
		char id[CGROUP_ID + 1];

		snprintf(id, sizeof(id), "%012x", i);
		if (cgroup_create(&cg, parent, id, &usual, &r, NULL) < 0 ||
		    (r.on & JAIL_CGROUP) != JAIL_CGROUP)
			_exit(1);
		for (unsigned k = 0; k < cg.ndirs; k++)
			if (faccessat(cg.dir[k].parent, cg.dir[k].name, F_OK,
				      0) < 0)
				_exit(2);
		cgroup_free(&cg);
	}
	_exit(0);
}

Test(cgroup_host, making_and_sweeping_go_together)
{
	char last[CGROUP_NAME_MAX] = "";
	struct cgroup cg;
	pid_t maker[4];
	int living = (int)ARRAY_SIZE(maker);

	make(&cg, &usual);
	for (size_t i = 0; i < ARRAY_SIZE(maker); i++) {
		maker[i] = child();
		if (!maker[i])
			make_many();
	}
	while (living) {
		int status;

		cr_assert_eq(cgroup_sweep(parent, note, &last, NULL), 0);
		cr_assert_str_eq(last, "");
		while (waitpid(-1, &status, WNOHANG) > 0) {
			cr_assert_eq(status, 0, "a maker: %d",
				     WEXITSTATUS(status));
			living--;
		}
	}
	cr_assert_eq(count(ID), cg.ndirs);
	cgroup_free(&cg);
	for (int i = 0; i < 40; i++) {
		char id[CGROUP_ID + 1];

		snprintf(id, sizeof(id), "%012x", i);
		cr_assert_eq(count(id), 0);
	}
}
