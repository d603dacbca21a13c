/* SPDX-License-Identifier: Apache-2.0 */
/* Runs on record: their lives, their names, and the way to their sockets. */
#include "runner/state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "tests/unit/state_stage.h"

TestSuite(state, .init = open_root, .fini = close_root);

Test(state, life_of_a_run_as_a_client_sees_it)
{
	struct state *s = made("web"), *c;

	cr_assert_eq(find(&c, "web"), 0);
	cr_assert_eq(state_record(c)->phase, PHASE_STARTING);
	cr_assert_str_eq(state_id(c), state_id(s));
	cr_assert_str_eq(state_label(c), "web");
	cr_assert(state_live(c));
	cr_assert_eq(state_running(s, "soft", 1), 0);
	cr_assert_eq(state_refresh(c), 0);
	cr_assert_eq(state_record(c)->phase, PHASE_RUNNING);
	cr_assert_str_eq(state_record(c)->engine, "soft");
	end(s, 7);
	cr_assert_eq(state_refresh(c), 0);
	cr_assert_eq(state_record(c)->phase, PHASE_EXITED);
	cr_assert_eq(state_record(c)->exit_code, 7);
	cr_assert_str_eq(state_record(c)->verdict, "runtime_error");
	state_close(&s);
	cr_assert_not(state_live(c));
	cr_assert_eq(state_remove(c, NULL), 0);
	cr_assert_eq(state_refresh(c), -ENOENT);
	state_close(&c);
	cr_assert_eq(find(&c, "web"), -ENOENT);
	cr_assert_eq(entries(), 0);
}

Test(state, discard_leaves_nothing)
{
	struct state *s = made(NULL);
	struct err err = { 0 };
	int a = state_listen_vsock(s, &err), b = state_listen_control(s, &err);

	cr_assert(a >= 0 && b >= 0, "%s", err.msg);
	put(s, "log", "x", 1);
	state_discard(&s);
	cr_assert_null(s);
	cr_assert_eq(entries(), 0);
	state_discard(&s);
	state_close(&s);
	close(a);
	close(b);
}

Test(state, dead_supervisor_is_lost_and_pruned)
{
	pid_t pid = fork();
	struct state *c;
	int status;

	if (!pid) {
		struct state *s = made("dead");

		state_running(s, "soft", 1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(find(&c, "dead"), 0);
	cr_assert_eq(state_record(c)->phase, PHASE_LOST);
	cr_assert_eq(state_connect_control(c, NULL), -ESRCH);
	state_close(&c);
	cr_assert_eq(pruned(), 1);
	cr_assert_eq(entries(), 0);
}

Test(state, looking_does_not_make_a_dead_run_live)
{
	struct state *s = made("a"), *c, *d;

	cr_assert_eq(find(&c, "a"), 0);
	cr_assert_eq(find(&d, "a"), 0);
	state_close(&s);
	for (int i = 0; i < 100; i++)
		cr_assert(!state_live(c) && !state_live(d));
	state_close(&c);
	state_close(&d);
}

Test(state, living_run_is_neither_removed_nor_pruned)
{
	struct state *s = made("a"), *c;
	struct err err = { 0 };

	cr_assert_eq(find(&c, "a"), 0);
	cr_assert_eq(state_remove(c, &err), -EBUSY);
	cr_assert(strstr(err.hint, "-f"));
	cr_assert_eq(pruned(), 0);
	cr_assert_eq(entries(), 1);
	state_close(&c);
	state_discard(&s);
}

/* Without its lock, and not yet gone, it would look as if it had been left. */
Test(state, run_that_removes_itself_is_never_pruned)
{
	unsigned n = 0;
	pid_t pid = fork();

	if (!pid) {
		for (int i = 0; i < 300; i++) {
			struct state *s = made(NULL);

			state_discard(&s);
		}
		_exit(0);
	}
	while (waitpid(pid, NULL, WNOHANG) == 0)
		n += pruned();
	cr_assert_eq(n, 0, "%u were", n);
}

Test(state, name_is_taken_until_it_is_removed)
{
	struct state *s = made("a"), *t;
	struct err err = { 0 };

	cr_assert_eq(make(&t, "a", &err), -EEXIST);
	cr_assert_null(t);
	cr_assert(strstr(err.msg, state_id(s)), "%s", err.msg);
	end(s, 0);
	state_close(&s);
	cr_assert_eq(make(&t, "a", &err), -EEXIST);
	cr_assert(strstr(err.hint, "mayfly rm a"), "%s", err.hint);
	cr_assert_eq(entries(), 1);
	cr_assert_eq(pruned(), 1);
	t = made("a");
	state_discard(&t);
}

Test(state, name_of_a_lost_run_that_kept_nothing_is_free)
{
	const struct state_new n = { .name = "ci", .config = &config };
	struct state *s;

	cr_assert_eq(state_create(&s, &n, NULL), 0);
	state_close(&s); /* as kill -9 would */
	cr_assert_eq(state_create(&s, &n, NULL), 0);
	cr_assert_eq(entries(), 1);
	state_discard(&s);
}

Test(state, one_of_many_that_want_a_name_gets_it)
{
	enum { N = 16 };
	int go[2], done[2], won = 0;
	char b;

	cr_assert(pipe(go) == 0 && pipe(done) == 0);
	for (int i = 0; i < N; i++) {
		if (fork())
			continue;
		close(go[1]);
		if (read(go[0], &b, 1) == 0) {
			struct state *s;
			int r = make(&s, "only", NULL);

			b = r == 0 ? '1' : r == -EEXIST ? '0' : '?';
			if (write(done[1], &b, 1) == 1)
				pause();
		}
		_exit(0);
	}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < N; i++) {
		cr_assert_eq(read(done[0], &b, 1), 1);
		cr_assert_neq(b, '?');
		won += b == '1';
	}
	cr_assert_eq(won, 1);
	cr_assert_eq(entries(), 1);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
}

Test(state, names_that_may_not_be)
{
	static const char *const bad[] = { "", "-a", ".a", "_a", "a/b", "a b",
					   "..", "a\n", "\xc3\xa9",
					   "0123456789ab" };
	char longest[STATE_NAME_MAX + 1];
	struct state *s;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(state_check_name(bad[i], NULL), -EINVAL, "%s",
			     bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[STATE_NAME_MAX] = '\0';
	cr_expect_eq(state_check_name(longest, NULL), -EINVAL);
	longest[STATE_NAME_MAX - 1] = '\0';
	s = made(longest);
	state_discard(&s);
	cr_expect_eq(make(&s, "a/b", NULL), -EINVAL);
	cr_expect_null(s);
}

Test(state, found_by_id_name_or_the_beginning_of_an_id)
{
	struct state *s = made("abc"), *t = made(NULL), *c;
	char id[STATE_ID_MAX];
	struct err err = { 0 };

	strcpy(id, state_id(t));
	cr_assert_eq(find(&c, id), 0);
	state_close(&c);
	id[8] = '\0';
	cr_assert_eq(find(&c, id), 0);
	cr_assert_str_eq(state_id(c), state_id(t));
	state_close(&c);
	id[1] = '\0';
	cr_assert_eq(find(&c, id), -ENOENT);
	cr_assert_eq(find(&c, ""), -ENOENT);
	cr_assert_eq(state_find(&c, "abd", &err), -ENOENT);
	cr_assert(strstr(err.hint, "abc"), "%s", err.hint);
	state_discard(&s);
	state_discard(&t);
}

Test(state, name_goes_before_the_beginning_of_an_id)
{
	struct state *t = made(NULL), *s, *c;
	char name[4];

	snprintf(name, sizeof(name), "%.3s", state_id(t));
	s = made(name);
	cr_assert_eq(find(&c, name), 0);
	cr_assert_str_eq(state_id(c), state_id(s));
	state_close(&c);
	state_discard(&s);
	state_discard(&t);
}

Test(state, beginning_of_several_ids_is_refused)
{
	struct state *s[300], *c;
	struct err err = { 0 };
	int ambiguous = 0;

	/* More runs than beginnings of two digits. */
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		s[i] = made(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		char two[3];
		int r;

		snprintf(two, sizeof(two), "%.2s", state_id(s[i]));
		r = state_find(&c, two, &err);
		cr_assert(r == 0 || r == -ENOTUNIQ);
		ambiguous += r == -ENOTUNIQ;
		state_close(&c);
	}
	cr_assert_gt(ambiguous, 0);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		state_discard(&s[i]);
	cr_assert_eq(entries(), 0);
}

Test(state, list_has_the_youngest_first)
{
	struct state *a = made("first"), *b = made("second");
	struct state_list l;

	cr_assert_eq(state_list(&l, NULL), 0);
	cr_assert_eq(l.n, 2);
	cr_assert_str_eq(l.v[0].name, "second");
	cr_assert_str_eq(l.v[1].name, "first");
	state_list_free(&l);
	state_discard(&a);
	state_discard(&b);
}

/* mayfly-vmm's side of a connection, once. */
static pid_t answer(int listener, const char *line, size_t len)
{
	pid_t pid = fork();
	char buf[64];
	int fd;

	if (pid)
		return pid;
	fcntl(listener, F_SETFL, 0);
	fd = accept(listener, NULL, NULL);
	cr_assert_gt(read(fd, buf, sizeof(buf)), 0);
	cr_assert_eq(memcmp(buf, "CONNECT 1024\n", 13), 0);
	cr_assert_eq(write(fd, line, len), (ssize_t)len);
	_exit(0);
}

Test(state, agent_answers_with_ok_and_nothing_more_is_taken)
{
	static const struct {
		const char *line;
		int code;
	} t[] = {
		{ "OK 1\nREADY", 0 },	 { "OK 4294967295\nREADY", 0 },
		{ "", -ECONNREFUSED },	 { "OK 1", -ECONNREFUSED },
		{ "NO 1\n", -EPROTO },	 { "\n", -EPROTO },
		{ "OK \n", -EPROTO },
		{ "OK 11111111111111111111111111111111111111\n", -EPROTO },
	};
	struct state *s = made("a"), *c;
	struct err err = { 0 };
	int listener = state_listen_vsock(s, &err);

	cr_assert_geq(listener, 0, "%s", err.msg);
	cr_assert_eq(find(&c, "a"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		pid_t pid = answer(listener, t[i].line, strlen(t[i].line));
		int fd = state_connect_agent(c, &err), status;
		char rest[16] = { 0 };

		waitpid(pid, &status, 0);
		if (t[i].code < 0) {
			cr_assert_eq(fd, t[i].code, "%s", t[i].line);
			continue;
		}
		cr_assert_geq(fd, 0, "%s: %s", t[i].line, err.msg);
		cr_assert_eq(read(fd, rest, sizeof(rest)), 5);
		cr_assert_str_eq(rest, "READY");
		close(fd);
	}
	close(listener);
	cr_assert_eq(state_connect_agent(c, &err), -EAGAIN);
	state_close(&c);
	state_discard(&s);
}

Test(state, socket_works_below_a_long_path)
{
	char path[400], *p = path;
	struct state *s, *c;
	struct err err = { 0 };
	int a, b;

	p += sprintf(p, "%s", root);
	for (int i = 0; i < 3; i++) {
		p += sprintf(p, "/%0100d", i);
		cr_assert_eq(mkdir(path, 0700), 0);
	}
	setenv("MAYFLY_STATE_DIR", path, 1);
	s = made("a");
	a = state_listen_control(s, &err);
	cr_assert_geq(a, 0, "%s", err.msg);
	cr_assert_eq(find(&c, "a"), 0);
	b = state_connect_control(c, &err);
	cr_assert_geq(b, 0, "%s", err.msg);
	close(a);
	close(b);
	state_close(&c);
	state_discard(&s);
}
