/* SPDX-License-Identifier: Apache-2.0 */
/* The store among others: at once, killed on the way, without room. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "rootfs/store.h"
#include "tests/unit/store_stage.h"

TestSuite(store_hurt, .init = open_data, .fini = close_data, .timeout = 120);

/* Run @fn in a process of its own; it exits with what that returns. */
static pid_t start(int (*fn)(unsigned n), unsigned n)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		/* Nor does it outlive a test that fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(n));
	}
	return pid;
}

static int ended(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static struct store *child_store(enum store_hold how)
{
	struct store *s;

	if (store_open(&s, 1, NULL) < 0 ||
	    store_lock(s, how, NULL) < 0)
		_exit(100);
	return s;
}

/* --- at once ---------------------------------------------------------- */

/* The same image over and over, each time from nothing. */
static int add_again(unsigned n)
{
	for (int i = 0; i < 20; i++) {
		struct store *s = child_store(STORE_SHARED);
		char id[IMAGE_HEX_MAX];

		hex(id, 1);
		if (add_image(s, 1, 3, 4, n % 2 ? "one" : "two", NULL) < 0)
			return 1;
		if (check_image(s, id, NULL) < 0)
			return 2;
		store_free(s);
	}
	return 0;
}

static int prune_again(unsigned n)
{
	(void)n;
	for (int i = 0; i < 20; i++) {
		struct store *s = child_store(STORE_EXCLUSIVE);
		struct store_freed f = { 0 };

		if (store_prune(s, &f, NULL) < 0)
			return 3;
		store_free(s);
		usleep(1000);
	}
	return 0;
}

static int remove_again(unsigned n)
{
	(void)n;
	for (int i = 0; i < 20; i++) {
		struct store *s = child_store(STORE_EXCLUSIVE);
		struct store_freed f = { 0 };
		int r = store_remove(s, "0000", 1, &f, NULL);

		if (r < 0 && r != -ENOENT)
			return 4;
		store_free(s);
		usleep(1000);
	}
	return 0;
}

Test(store_hurt, many_may_add_the_same_at_once)
{
	struct store *s;
	pid_t pids[6];

	for (unsigned i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start(add_again, i);
	for (unsigned i = 0; i < ARRAY_SIZE(pids); i++)
		cr_expect_eq(ended(pids[i]), 0);
	s = opened(STORE_SHARED);
	cr_expect_eq(entries("images"), 1);
	cr_expect_eq(entries("layers"), 2);
	cr_expect_eq(entries("names"), 2);
	cr_expect_eq(entries("tmp"), 0);
	store_free(s);
}

Test(store_hurt, who_adds_is_safe_from_who_removes)
{
	static int (*const jobs[])(unsigned) = { add_again, add_again,
						 prune_again, remove_again };
	pid_t pids[ARRAY_SIZE(jobs)];

	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
		pids[i] = start(jobs[i], i);
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
		cr_expect_eq(ended(pids[i]), 0);
	cr_expect_eq(entries("tmp"), 0);
}

static int stage_again(unsigned n)
{
	struct store *s = child_store(STORE_NONE);
	struct store_stage *st;
	struct store_part p;

	(void)n;
	for (int i = 0; i < 50; i++) {
		if (store_begin_stage(s, &st, NULL) < 0)
			return 1;
		usleep(500);
		/* It is still there. */
		if (store_begin_part(st, &p, NULL) < 0 ||
		    fill(&p, "data", 1, 1, NULL) < 0)
			return 2;
		store_end_stage(st);
	}
	return 0;
}

Test(store_hurt, prune_leaves_staging_that_is_held)
{
	pid_t a = start(stage_again, 0), b = start(stage_again, 1);
	pid_t c = start(prune_again, 0);

	cr_expect_eq(ended(a), 0);
	cr_expect_eq(ended(b), 0);
	cr_expect_eq(ended(c), 0);
	cr_expect_eq(entries("tmp"), 0);
}

static int hold(unsigned fd)
{
	struct store *s = child_store(STORE_SHARED);
	char c = 0;

	if (write((int)fd, &c, 1) != 1)
		return 1;
	/* Until the parent was told that it waits. */
	pause();
	store_free(s);
	return 0;
}

struct wait {
	pid_t holder; /* killed when it is waited for a second time */
	int times, code;
};

static int waits(void *opaque)
{
	struct wait *w = opaque;

	if (++w->times == 2 && w->holder)
		cr_expect_eq(kill(w->holder, SIGKILL), 0);
	return w->code;
}

Test(store_hurt, who_waits_for_the_lock_is_told_and_may_give_up)
{
	struct store *s = opened(STORE_SHARED);
	struct store_stage *st;
	struct wait w = { .code = -EINTR };
	int ends[2];
	char c;

	cr_assert_eq(pipe(ends), 0);
	w.holder = start(hold, (unsigned)ends[1]);
	cr_assert_eq(read(ends[0], &c, 1), 1);
	store_on_wait(s, waits, &w);
	cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err), -EINTR);
	cr_expect_eq(w.times, 1);
	w.code = 0;
	cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err), 0);
	cr_expect_eq(w.times, 2);
	ended(w.holder);
	/* Nobody holds it, nobody waits. */
	store_unlock(s);
	cr_assert_eq(store_begin_stage(s, &st, &err), 0);
	store_end_stage(st);
	cr_expect_eq(w.times, 2);
	store_free(s);
}

/* --- killed ----------------------------------------------------------- */

static int add_for_ever(unsigned n)
{
	struct store *s = child_store(STORE_SHARED);

	for (unsigned i = 0;; i++)
		if (add_image(s, 1 + (n + i) % 16, 3 + i % 5, 9 + i % 7, "one",
			      NULL) < 0)
			return 1;
}

Test(store_hurt, killed_import_leaves_nothing_but_litter)
{
	for (unsigned i = 0; i < 40; i++) {
		pid_t pid = start(add_for_ever, i);
		struct store_freed f = { 0 };
		struct store_list list;
		struct store *s;

		usleep(500 + i * 377 % 9000);
		cr_assert_eq(kill(pid, SIGKILL), 0);
		cr_expect(WIFSIGNALED(ended(pid)));
		s = opened(STORE_SHARED);
		listed(s, &list);
		for (size_t j = 0; j < list.n; j++)
			cr_expect_eq(check_image(s, list.items[j].id, &err), 0,
				     "%s", err.msg);
		store_free_list(&list);
		cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err),
			     0);
		cr_assert_eq(store_prune(s, &f, &err), 0, "%s", err.msg);
		cr_expect_eq(entries("tmp"), 0);
		store_free(s);
	}
}

static int remove_all(unsigned n)
{
	struct store *s = child_store(STORE_EXCLUSIVE);
	struct store_freed f = { 0 };
	char id[IMAGE_HEX_MAX];

	for (unsigned i = 0; i < 16; i++) {
		hex(id, 1 + (i + n) % 16);
		if (store_remove(s, id, 1, &f, NULL) < 0)
			return 1;
	}
	pause();
	return 0;
}

Test(store_hurt, killed_removal_leaves_whole_images_or_none)
{
	for (unsigned i = 0; i < 10; i++) {
		struct store_freed f = { 0 };
		struct store_list list;
		struct store *s = opened(STORE_SHARED);
		pid_t pid;

		for (unsigned j = 1; j <= 16; j++)
			added(s, j, 3 + j % 5, 9 + j % 7, "one");
		store_free(s);
		pid = start(remove_all, i);
		usleep(300 + i * 577 % 4000);
		cr_assert_eq(kill(pid, SIGKILL), 0);
		cr_expect(WIFSIGNALED(ended(pid)));
		s = opened(STORE_SHARED);
		listed(s, &list);
		for (size_t j = 0; j < list.n; j++)
			cr_expect_eq(check_image(s, list.items[j].id, &err), 0,
				     "%s", err.msg);
		store_free_list(&list);
		cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &err),
			     0);
		cr_assert_eq(store_prune(s, &f, &err), 0, "%s", err.msg);
		cr_expect_eq(entries("tmp"), 0);
		store_free(s);
	}
}

/* --- no room ---------------------------------------------------------- */

/* In a mount namespace of its own, on a file system of @blocks. */
static int add_in_small(unsigned blocks)
{
	struct err e = { 0 };
	struct store_list list;
	struct store *s;
	char opt[40];
	int r, bad = 0;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	snprintf(opt, sizeof(opt), "mode=700,size=%u", blocks * BLOCK);
	if (mount("none", data_dir, "tmpfs", 0, opt) < 0)
		return 77;
	r = store_open(&s, 1, &e);
	if (r < 0)
		return r == -ENOSPC ? 0 : 1;
	store_lock(s, STORE_SHARED, NULL);
	r = add_image(s, 1, 3, 4, "one", &e);
	if (r == 0 && blocks < 15)
		bad = 2;
	if (r < 0 && (r != -ENOSPC || !strstr(e.msg, "No space") ||
		      !strstr(e.hint, "prune")))
		bad = r == -ENOSPC && !*e.msg ? 0 : 3;
	/* What is there is whole; nothing half made can be seen. */
	if (store_list(s, &list, &e) < 0)
		return 4;
	for (size_t i = 0; i < list.n; i++)
		if (check_image(s, list.items[i].id, &e) < 0)
			bad = 5;
	if (r < 0 && list.n && *list.items[0].names)
		bad = 6;
	store_free_list(&list);
	store_free(s);
	return bad;
}

Test(store_hurt, no_room_is_told_and_leaves_nothing_half_made)
{
	if (geteuid())
		cr_skip("only root makes a small file system");
	for (unsigned blocks = 1; blocks < 30; blocks++) {
		const int status = ended(start(add_in_small, blocks));

		if (WEXITSTATUS(status) == 77)
			cr_skip("no mounts here");
		cr_expect_eq(status, 0, "%u blocks: %d", blocks,
			     WEXITSTATUS(status));
	}
}
