/* SPDX-License-Identifier: Apache-2.0 */
/* A state directory that is broken, not ours, or shared by many at once. */
#include "runner/state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "tests/unit/state_stage.h"

TestSuite(state_broken, .init = open_root, .fini = close_root);

/* What somebody else would have had to do to the directory. */
static void break_record(struct state *s, int how)
{
	static char huge[RECORD_MAX + 1];
	char buf[65536];
	int fd = openat(state_dirfd(s), "record.json", O_RDONLY), dir;
	ssize_t n = read(fd, buf, sizeof(buf));

	close(fd);
	unlinkat(state_dirfd(s), "record.json", 0);
	dir = state_dirfd(s);
	switch (how) {
	case 0:
		return; /* none */
	case 1:
		put(s, "record.json", buf, (size_t)n / 2);
		return;
	case 2:
		put(s, "record.json", "", 0);
		return;
	case 3:
		put(s, "record.json", huge, sizeof(huge));
		return;
	case 4:
		put(s, "other", buf, (size_t)n);
		cr_assert_eq(symlinkat("other", dir, "record.json"), 0);
		return;
	case 5:
		cr_assert_eq(mkfifoat(dir, "record.json", 0600), 0);
		return;
	case 6: /* the record of another run */
		memcpy(strstr(buf, state_id(s)), "ffffffffffff", 12);
		put(s, "record.json", buf, (size_t)n);
		return;
	case 7: /* another user's file */
		put(s, "record.json", buf, (size_t)n);
		cr_assert_eq(fchownat(dir, "record.json", 12345, -1, 0), 0);
		return;
	case 8:
		unlinkat(dir, "lock", 0);
		return;
	}
}

Test(state_broken, broken_records_are_on_no_list_and_are_pruned)
{
	int kinds = geteuid() == 0 ? 9 : 7;
	struct state_list l;
	struct err err = { 0 };

	for (int how = 0; how < kinds; how++) {
		struct state *s = made("broken"), *c;
		char id[STATE_ID_MAX];

		strcpy(id, state_id(s));
		break_record(s, how);
		cr_assert_eq(find(&c, "broken"), -ENOENT);
		cr_assert_eq(find(&c, id), -ENOENT);
		cr_assert_eq(state_list(&l, &err), 0, "%s", err.msg);
		cr_assert_eq(l.n, 0, "kind %d", how);
		state_list_free(&l);
		/* While it lives nobody touches it; without its lock file
		 * nobody can tell that it does. */
		cr_assert_eq(pruned(), how == 8, "kind %d", how);
		state_close(&s);
		cr_assert_eq(pruned(), how != 8, "kind %d", how);
		cr_assert_eq(entries(), 0, "kind %d", how);
	}
}

Test(state_broken, what_stands_in_place_of_a_run_is_pruned)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/00000000000a", root);
	cr_assert_eq(mkdir(path, 0700), 0); /* half made */
	snprintf(path, sizeof(path), "%s/00000000000b", root);
	cr_assert_eq(symlink("/etc", path), 0);
	snprintf(path, sizeof(path), "%s/00000000000c", root);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	snprintf(path, sizeof(path), "%s/not-a-run", root);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(pruned(), 3);
	cr_assert_eq(entries(), 1);
	cr_assert_eq(access("/etc/passwd", F_OK), 0);
}

Test(state_broken, what_cannot_be_removed_is_told_and_the_others_go)
{
	struct state *s = made("a"), *t = made("b");
	struct err err = { 0 };
	int n = 0;

	cr_assert_eq(mkdirat(state_dirfd(s), "sub", 0700), 0);
	end(s, 0);
	end(t, 0);
	state_close(&s);
	state_close(&t);
	cr_assert_lt(state_prune(count, &n, &err), 0);
	cr_assert(err.msg[0]);
	cr_assert_eq(n, 1);
	cr_assert_eq(entries(), 1);
}

Test(state_broken, root_must_be_a_directory_of_ours)
{
	struct err err = { 0 };
	struct state_list l;
	struct state *s;
	char path[128];

	cr_assert_eq(chmod(root, 0770), 0);
	cr_assert_eq(make(&s, NULL, &err), -EPERM);
	cr_assert_eq(state_list(&l, &err), -EPERM);
	cr_assert_eq(chmod(root, 0700), 0);

	snprintf(path, sizeof(path), "%s/link", root);
	cr_assert_eq(symlink(root, path), 0);
	setenv("MAYFLY_STATE_DIR", path, 1);
	cr_assert_lt(make(&s, NULL, &err), 0);

	snprintf(path, sizeof(path), "%s/file", root);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	setenv("MAYFLY_STATE_DIR", path, 1);
	cr_assert_eq(make(&s, NULL, &err), -ENOTDIR);

	setenv("MAYFLY_STATE_DIR", "/no/such/place", 1);
	cr_assert_eq(make(&s, NULL, &err), -ENOENT);
	cr_assert(strstr(err.hint, "MAYFLY_STATE_DIR"));
	cr_assert_eq(state_list(&l, &err), 0);
	cr_assert_eq(l.n, 0);
	setenv("MAYFLY_STATE_DIR", "relative", 1);
	cr_assert_eq(make(&s, NULL, &err), -EINVAL);
	if (geteuid() == 0) {
		cr_assert_eq(chown(root, 12345, -1), 0);
		setenv("MAYFLY_STATE_DIR", root, 1);
		cr_assert_eq(make(&s, NULL, &err), -EPERM);
	}
}

/* Makes runs and ends them in each way. */
static void supervise_many(unsigned seed)
{
	for (int i = 0; i < 150; i++) {
		struct err err = { 0 };
		struct state *s;

		if (make(&s, NULL, &err) < 0 ||
		    state_running(s, "soft", 1) < 0)
			_exit(1);
		/* It lives, so nobody may have taken anything away. */
		if (state_refresh(s) < 0 ||
		    state_record(s)->phase != PHASE_RUNNING)
			_exit(2);
		switch ((seed + (unsigned)i) % 3) {
		case 0:
			end(s, 0);
			/* fall through */
		case 1:
			state_close(&s);
			break;
		default:
			state_discard(&s);
		}
	}
	_exit(0);
}

static void look_at_many(unsigned seed)
{
	for (int i = 0; i < 150; i++) {
		struct state_list l;
		struct state *s;
		int n;

		if (state_list(&l, NULL) < 0)
			_exit(3);
		for (size_t k = 0; k < l.n; k++) {
			if (find(&s, l.v[k].id) < 0)
				continue;
			if (l.v[k].phase == PHASE_LOST && state_live(s))
				_exit(4);
			if (state_record(s)->phase >= PHASE_EXITED)
				state_remove(s, NULL);
			state_close(&s);
		}
		state_list_free(&l);
		if (seed % 2 && state_prune(count, &n, NULL) < 0)
			_exit(5);
	}
	_exit(0);
}

Test(state_broken, many_at_once_do_not_get_in_each_others_way)
{
	enum { N = 4 };

	for (unsigned i = 0; i < N; i++) {
		if (!fork())
			supervise_many(i);
		if (!fork())
			look_at_many(i);
	}
	for (int i = 0; i < 2 * N; i++) {
		int status;

		cr_assert_gt(wait(&status), 0);
		cr_assert_eq(status, 0, "one ended with %#x", status);
	}
	pruned();
	cr_assert_eq(entries(), 0);
}

/* Where the root is, for one who is not root. */
static int root_of(uid_t uid, const char *xdg, const char *expect)
{
	struct stat st;
	struct state *s;
	int status;
	pid_t pid = fork();

	if (!pid) {
		unsetenv("MAYFLY_STATE_DIR");
		setenv("XDG_RUNTIME_DIR", xdg, 1);
		if (setresgid(uid, uid, uid) < 0 ||
		    setresuid(uid, uid, uid) < 0 || make(&s, NULL, NULL) < 0 ||
		    stat(expect, &st) < 0 || st.st_uid != uid)
			_exit(1);
		state_discard(&s);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status == 0;
}

Test(state_broken, root_without_a_variable_is_the_users_own)
{
	const uid_t uid = 54321;
	char sub[64], other[32];

	if (geteuid() != 0)
		cr_skip_test("needs to change its user");
	cr_assert_eq(chmod(root, 0755), 0);
	cr_assert_eq(chown(root, uid, (gid_t)-1), 0);
	snprintf(sub, sizeof(sub), "%s/mayfly", root);
	cr_assert(root_of(uid, root, sub));
	/* Another's, as su leaves it, is not used. */
	snprintf(other, sizeof(other), "/tmp/mayfly-%u", uid + 1);
	cr_assert(root_of(uid + 1, root, other));
	cr_assert(root_of(uid + 1, "", other));
	cr_assert(root_of(uid + 1, "relative", other));
	snprintf(sub, sizeof(sub), "rm -rf %s", other);
	cr_assert_eq(system(sub), 0);
}

/* All the room there is, but for what a file has already. */
static void fill_disk(void)
{
	static const char page[4096];
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/big", root);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, page, sizeof(page)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
	close(fd);
}

/* Its own log is what fills it most of the time. */
Test(state_broken, end_finds_room_on_a_disk_that_is_full)
{
	struct state *s, *other;
	struct err err = { 0 };

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", root, "tmpfs", 0, "size=64k,mode=0700") < 0)
		cr_skip_test("needs to mount a file system");
	s = made("a");
	cr_assert_eq(state_running(s, "soft", 1), 0);
	fill_disk();
	end(s, 3);
	cr_assert_eq(state_find(&other, "a", &err), 0, "%s", err.msg);
	cr_assert_eq(state_record(other)->phase, PHASE_EXITED);
	cr_assert_eq(state_record(other)->exit_code, 3);
	state_close(&other);
	state_discard(&s);
	cr_assert_eq(umount(root), 0);
}
