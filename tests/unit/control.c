/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a run: what arrives, and what clients of all kinds cannot do. */
#include "runner/control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/state.h"

static char root[] = "/tmp/mayfly-unit-control-XXXXXX";
static char *const words[] = { "true", NULL };
static struct config config = { .cpus = { .n = 1 }, .argv = (char **)words };
static struct state *state;
static struct ev_loop loop;
static struct control control;
static char said[256];

static int on_signal(void *opaque, int signo)
{
	(void)opaque;
	sprintf(said + strlen(said), "signal %d;", signo);
	return signo == 19 ? -EAGAIN : 0;
}

static int on_stop(void *opaque, int signo, uint64_t ns)
{
	(void)opaque;
	sprintf(said + strlen(said), "stop %d %llu;", signo,
		(unsigned long long)ns);
	return 0;
}

static int on_kill(void *opaque)
{
	(void)opaque;
	strcat(said, "kill;");
	control_ended(&control, 137);
	return 0;
}

static const struct control_ops ops = { on_signal, on_stop, on_kill };

static void open_all(void)
{
	const struct state_new n = { .name = "a", .config = &config };
	struct err err = { 0 };

	signal(SIGPIPE, SIG_IGN);
	cr_assert(mkdtemp(root));
	setenv("MAYFLY_STATE_DIR", root, 1);
	cr_assert_eq(state_create(&state, &n, &err), 0, "%s", err.msg);
	cr_assert_eq(ev_loop_init(&loop), 0);
	control_init(&control);
	cr_assert_eq(control_listen(&control, &loop, state, &ops, NULL, &err),
		     0, "%s", err.msg);
}

static void close_all(void)
{
	char cmd[64];

	control_free(&control);
	state_discard(&state);
	ev_loop_free(&loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	cr_expect_eq(system(cmd), 0);
}

TestSuite(control, .init = open_all, .fini = close_all);

static int dial(void)
{
	struct err err = { 0 };
	int fd = state_connect_control(state, &err);

	cr_assert_geq(fd, 0, "%s", err.msg);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 3 * CONTROL_CLIENTS; i++)
		if (ev_once(&loop, 0) == 0)
			return;
}

static void say(int fd, uint32_t type, int value, uint64_t ns)
{
	const struct control_msg m = { type, value, ns };

	cr_assert_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
}

/* The next message's type, its value in *@value; 0 closed, -1 nothing. */
static int hear(int fd, int *value)
{
	struct control_msg m;
	ssize_t n = recv(fd, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, &m, sizeof(m), MSG_DONTWAIT);
	if (n <= 0)
		return (int)n;
	if (value)
		*value = m.value;
	return (int)m.type;
}

Test(control, requests_arrive_and_are_answered_in_order)
{
	int fd = dial(), v;

	say(fd, CONTROL_SIGNAL, 15, 0);
	say(fd, CONTROL_SIGNAL, 19, 0);
	say(fd, CONTROL_STOP, 2, 5000);
	say(fd, CONTROL_WAIT, 0, 0);
	turn();
	cr_assert_str_eq(said, "signal 15;signal 19;stop 2 5000;");
	cr_assert(hear(fd, &v) == CONTROL_DONE && v == 0);
	cr_assert(hear(fd, &v) == CONTROL_DONE && v == -EAGAIN);
	cr_assert(hear(fd, &v) == CONTROL_DONE && v == 0);
	cr_assert(hear(fd, &v) == CONTROL_DONE && v == 0);
	cr_assert_eq(hear(fd, &v), -1);
	close(fd);
	turn();
}

Test(control, kill_ends_for_all_who_wait)
{
	int a = dial(), b = dial(), c = dial(), code = -1;

	turn();
	say(a, CONTROL_WAIT, 0, 0);
	say(b, CONTROL_KILL, 0, 0);
	turn();
	cr_assert_str_eq(said, "kill;");
	cr_assert_eq(control_wait(a, 0, &code), 1);
	cr_assert_eq(code, 137);
	code = -1;
	cr_assert_eq(control_wait(b, 0, &code), 1);
	cr_assert_eq(code, 137);
	cr_assert_eq(control_wait(c, 0, &code), 1);
	cr_assert_eq(state_connect_control(state, NULL), -EAGAIN);
	close(a);
	close(b);
	close(c);
}

Test(control, end_is_told_though_a_request_was_not_read)
{
	int a = dial(), b, code = -1;

	turn();
	say(a, CONTROL_STOP, 15, 0);
	b = dial(); /* and this one waits to be accepted */
	control_ended(&control, 3);
	cr_assert_eq(control_wait(a, 0, &code), 1);
	cr_assert_eq(code, 3);
	cr_assert_eq(control_wait(b, 0, &code), 1);
	close(a);
	close(b);
}

static void *run_loop(void *unused)
{
	while (control.listen.fd >= 0)
		ev_once(&loop, 10);
	return unused;
}

Test(control, asking_from_another_thread)
{
	int fd = dial(), ended = -1;
	pthread_t t;

	pthread_create(&t, NULL, run_loop, NULL);
	cr_assert_eq(control_ask(fd, CONTROL_SIGNAL, 1, 0, NULL), 0);
	cr_assert_eq(control_ask(fd, CONTROL_SIGNAL, 19, 0, NULL), -EAGAIN);
	cr_assert_eq(control_ask(fd, CONTROL_SIGNAL, 65, 0, NULL), -EINVAL);
	cr_assert_eq(control_ask(fd, CONTROL_SIGNAL, 0, 0, NULL), -EINVAL);
	cr_assert_eq(control_ask(fd, CONTROL_STOP, -1, 0, NULL), -EINVAL);
	cr_assert_eq(control_wait(fd, 1000000, &ended), -ETIMEDOUT);
	cr_assert_eq(control_ask(fd, CONTROL_KILL, 0, 0, &ended), 1);
	cr_assert_eq(ended, 137);
	cr_assert_eq(control_ask(fd, CONTROL_KILL, 0, 0, &ended), -EPIPE);
	pthread_join(t, NULL);
	cr_assert_str_eq(said, "signal 1;signal 19;kill;");
	close(fd);
}

Test(control, two_stops_at_once_are_both_answered)
{
	int a = dial(), b = dial(), v;

	say(a, CONTROL_STOP, 15, 10);
	say(b, CONTROL_STOP, 15, 20);
	turn();
	cr_assert(hear(a, &v) == CONTROL_DONE && v == 0);
	cr_assert(hear(b, &v) == CONTROL_DONE && v == 0);
	cr_assert_str_eq(said, "stop 15 10;stop 15 20;");
	close(a);
	close(b);
}

Test(control, what_is_not_a_message_closes_only_that_client)
{
	static const uint32_t types[] = { 0, CONTROL_DONE, CONTROL_ENDED, 7,
					  UINT32_MAX };
	static const size_t lengths[] = { 0, 1, 15, 17, 4096, 100000 };
	static char junk[100000] = { CONTROL_KILL };
	int good = dial();

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		int fd = dial();

		say(fd, types[i], 9, 0);
		turn();
		cr_expect_eq(hear(fd, NULL), 0, "type %u", types[i]);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = dial();

		cr_assert_geq(send(fd, junk, lengths[i], 0), 0);
		turn();
		cr_expect_eq(hear(fd, NULL), 0, "length %zu", lengths[i]);
		close(fd);
	}
	cr_assert_str_eq(said, "");
	say(good, CONTROL_SIGNAL, 1, 0);
	turn();
	cr_assert_eq(hear(good, NULL), CONTROL_DONE);
	close(good);
}

Test(control, silent_clients_make_room_for_those_who_speak)
{
	enum { N = 5 * CONTROL_CLIENTS };
	int fd[N], waiter = dial(), live = 0, late;

	say(waiter, CONTROL_WAIT, 0, 0);
	turn();
	for (int i = 0; i < N; i++) {
		fd[i] = dial();
		turn();
	}
	for (int i = 0; i < N; i++)
		live += hear(fd[i], NULL) == -1;
	cr_assert_eq(live, CONTROL_CLIENTS - 1);
	cr_assert_eq(hear(waiter, NULL), CONTROL_DONE);
	cr_assert_eq(hear(waiter, NULL), -1);
	late = dial();
	say(late, CONTROL_SIGNAL, 1, 0);
	turn();
	cr_assert_eq(hear(late, NULL), CONTROL_DONE);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	close(late);
	close(waiter);
	turn();
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		cr_assert_lt(control.client[i].ev.fd, 0);
}

Test(control, those_who_wait_leave_places_to_those_who_ask)
{
	int fd[CONTROL_WAITERS], late, asker;

	for (int i = 0; i < CONTROL_WAITERS; i++) {
		fd[i] = dial();
		say(fd[i], CONTROL_WAIT, 0, 0);
		turn();
		cr_assert_eq(hear(fd[i], NULL), CONTROL_DONE);
	}
	late = dial();
	say(late, CONTROL_WAIT, 0, 0);
	turn();
	cr_assert_eq(hear(late, NULL), 0);
	close(late);
	asker = dial();
	say(asker, CONTROL_STOP, 15, 0);
	turn();
	cr_assert_eq(hear(asker, NULL), CONTROL_DONE);
	close(asker);
	close(fd[0]);
	turn();
	late = dial();
	say(late, CONTROL_WAIT, 0, 0);
	turn();
	cr_assert_eq(hear(late, NULL), CONTROL_DONE);
	for (int i = 1; i < CONTROL_WAITERS; i++)
		close(fd[i]);
	close(late);
}

Test(control, one_more_than_all_that_speak_is_sent_away)
{
	int fd[CONTROL_CLIENTS], late;

	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		fd[i] = dial();
		say(fd[i], CONTROL_SIGNAL, 1, 0);
		turn();
		said[0] = '\0';
	}
	late = dial();
	turn();
	cr_assert_eq(hear(late, NULL), 0);
	close(late);
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		close(fd[i]);
}

Test(control, client_that_never_reads_is_dropped)
{
	const struct control_msg m = { .type = CONTROL_WAIT };
	int fd = dial(), n = 0;

	/* Until the answers fill its socket. */
	while (n < 100000 && send(fd, &m, sizeof(m), MSG_DONTWAIT) > 0) {
		n++;
		ev_once(&loop, 0);
	}
	cr_assert_lt(n, 100000);
	turn();
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		cr_assert_lt(control.client[i].ev.fd, 0);
	close(fd);
}

Test(control, supervisor_without_descriptors_does_not_spin)
{
	struct rlimit old, none;
	int fd = dial(), next, turns = 0;

	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)fd + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (ev_once(&loop, 0) > 0 && turns < 100)
		turns++;
	cr_assert_lt(turns, 100);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fd);
	next = dial();
	/* Nobody was there to go; the end tells those in the queue. */
	control_ended(&control, 0);
	cr_assert_neq(hear(next, NULL), -1);
	close(next);
}

Test(control, dead_supervisor_is_an_end_without_a_word)
{
	int fd = dial(), code = 77;

	turn();
	control_free(&control);
	cr_assert_eq(control_wait(fd, 0, &code), 0);
	cr_assert_eq(code, 77);
	close(fd);
}
