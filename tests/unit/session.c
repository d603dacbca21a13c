/* SPDX-License-Identifier: Apache-2.0 */
/* A session against agents of every kind: no machine, no clock. */
#include "runner/session.h"

#include <sys/ioctl.h>
#include <termios.h>

#include "tests/unit/run_stage.h"

static int master, tty; /* a terminal of the test's own */
static struct session_params params;
static struct news {
	int ready, started, ended, lost, broke;
	struct wire_exit exit;
	char why[128];
} news;

static void stage(void)
{
	struct winsize ws = { .ws_row = 30, .ws_col = 100 };

	set_up();
	master = posix_openpt(O_RDWR | O_NOCTTY);
	cr_assert(master >= 0 && !grantpt(master) && !unlockpt(master));
	tty = open(ptsname(master), O_RDWR | O_NOCTTY);
	ioctl(tty, TIOCSWINSZ, &ws);
	setenv("TERM", "vt100", 1);
	out = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	errout = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	params = (struct session_params){
		.fd = { tty, out, errout },
		.argv = argv,
		.env = &config.env,
	};
}

TestSuite(command, .init = stage, .timeout = 60);

static void on_ready(struct session *s)
{
	(void)s;
	news.ready++;
}

static void on_started(struct session *s)
{
	(void)s;
	news.started++;
}

static void on_ended(struct session *s)
{
	news.ended++;
	news.exit = s->exit;
}

static void on_lost(struct session *s, const char *why)
{
	news.lost++;
	snprintf(news.why, sizeof(news.why), "%s", why);
	ev_stop(s->p.loop);
}

static void on_broke(struct session *s, const char *stream, int error)
{
	(void)stream;
	news.broke = error;
	ev_stop(s->p.loop);
}

static void on_moved(struct session *s)
{
	(void)s;
}

static const struct session_ops ops = { on_ready, on_started, on_ended,
					on_lost,  on_broke,   on_moved,
					NULL,     NULL };

/* Until the agent, which @fn plays, is gone. */
static void converse(actor fn)
{
	struct ev_loop loop;
	struct session *s;
	int pair[2], status;
	pid_t pid;

	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		act(fn, pair[1], -1, -1);
	}
	close(pair[1]);
	news = (struct news){ 0 };
	params.ops = &ops;
	params.loop = &loop;
	params.agent_fd = pair[0];
	cr_assert_eq(session_open(&s, &params, &err), 0, "%s", err.msg);
	cr_assert_eq(ev_run(&loop), 0);
	session_close(&s);
	cr_assert_null(s);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ev_loop_free(&loop);
}

static void ready(struct guest *g)
{
	struct wire_ready r = { .version = WIRE_VERSION };

	frame(g, WIRE_READY, &r, sizeof(r));
}

static void bye(struct guest *g, int code)
{
	say_exit(g, (uint32_t)code, 0);
	close(g->agent);
}

/* The EXEC frame taken apart; its strings are good until the next hear(). */
static struct wire_command exec_of(struct guest *g)
{
	static char *slots[WIRE_SLOTS];
	struct wire_command c = { .cwd = NULL };
	struct wire_frame f;

	if (hear(g, &f) != WIRE_EXEC || wire_get_exec(&f, slots, &c))
		_exit(1);
	return c;
}

static int is_raw(void)
{
	struct termios t;

	cr_assert_eq(tcgetattr(tty, &t), 0);
	return !(t.c_lflag & ICANON);
}

static void tells_all(struct guest *g)
{
	struct wire_started st = { .pid = 2 };

	ready(g);
	frame(g, WIRE_STARTED, &st, sizeof(st));
	say_out(g, "hello");
	bye(g, 3);
}

Test(command, news_come_in_order_and_the_end_last)
{
	converse(tells_all);
	cr_assert(news.ready == 1 && news.started == 1 && news.ended == 1 &&
		  news.lost == 1);
	cr_assert_eq(news.exit.code, 3);
	cr_assert_str_eq(text(out), "hello");
}

static void as_whom(struct guest *g)
{
	struct wire_command c = exec_of(g);

	ready(g);
	bye(g, !strcmp(c.user, "daemon:0") && !strcmp(c.cwd, "/w") &&
		       c.head.realtime_ns == 0 && c.head.flags == 0);
}

Test(command, user_and_directory_arrive_and_the_clock_is_left_alone)
{
	params.user = "daemon:0";
	params.workdir = "/w";
	converse(as_whom);
	cr_assert_eq(news.exit.code, 1);
}

/* --- an agent that breaks the rules ----------------------------------- */

static void speaks_too_early(struct guest *g)
{
	say_out(g, "early");
	ready(g);
	bye(g, 0);
}

Test(command, nothing_counts_before_ready)
{
	converse(speaks_too_early);
	cr_assert(news.lost && !news.ready && !news.ended);
	cr_assert_str_eq(text(out), "");
}

static void speaks_too_late(struct guest *g)
{
	ready(g);
	say_exit(g, 0, 0);
	say_out(g, "late");
	bye(g, 1);
}

Test(command, nothing_counts_after_exit)
{
	converse(speaks_too_late);
	cr_assert_eq(news.ended, 1);
	cr_assert_eq(news.exit.code, 0);
	cr_assert_str_eq(text(out), "");
}

static void starts_twice(struct guest *g)
{
	struct wire_started st = { .pid = 2 };

	ready(g);
	frame(g, WIRE_STARTED, &st, sizeof(st));
	frame(g, WIRE_STARTED, &st, sizeof(st));
	bye(g, 0);
}

Test(command, it_starts_once)
{
	converse(starts_twice);
	cr_assert_eq(news.started, 1);
	cr_assert(news.lost && !news.ended);
}

static void other_version(struct guest *g)
{
	struct wire_ready r = { .version = WIRE_VERSION + 1 };

	frame(g, WIRE_READY, &r, sizeof(r));
}

Test(command, an_agent_of_another_version_is_named_as_such)
{
	converse(other_version);
	cr_assert(news.lost && !news.ready);
	cr_assert(strstr(news.why, "version"), "%s", news.why);
}

/* --- terminals -------------------------------------------------------- */

static void wants_terminal(struct guest *g)
{
	struct wire_command c = exec_of(g);

	ready(g);
	bye(g, c.head.flags == (WIRE_EXEC_TTY | WIRE_EXEC_STDIN) &&
		       c.head.rows == 30 && c.head.cols == 100 &&
		       !strcmp(c.env[0], "TERM=vt100") && !c.env[1]);
}

Test(command, terminal_has_the_size_and_the_type_of_ours)
{
	params.flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN;
	converse(wants_terminal);
	cr_assert_eq(news.exit.code, 1);
	cr_assert_not(is_raw());
}

static void reads_term(struct guest *g)
{
	struct wire_command c = exec_of(g);
	const char *first = c.env[0] ? c.env[0] : "";

	ready(g);
	bye(g, c.env[0] && c.env[1]	  ? 9
	       : !*first		  ? 1
	       : !strcmp(first, "TERM=x") ? 2
					  : 3);
}

Test(command, term_is_handed_on_unless_it_is_odd_or_given)
{
	static const char *const odd[] = { "", "../x", ".hidden", "a b",
					   "a\nb" };
	char longest[80];

	params.flags = WIRE_EXEC_TTY;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		setenv("TERM", odd[i], 1);
		converse(reads_term);
		cr_assert_eq(news.exit.code, 1, "TERM=%s", odd[i]);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	setenv("TERM", longest, 1);
	converse(reads_term);
	cr_assert_eq(news.exit.code, 1);
	setenv("TERM", "vt100", 1);
	config_add_env(&config.env, "TERM=x", NULL);
	converse(reads_term);
	cr_assert_eq(news.exit.code, 2);
	config_free(&config);
	params.flags = 0;
	converse(reads_term);
	cr_assert_eq(news.exit.code, 1, "TERM without a terminal");
}

static void resizes(struct guest *g)
{
	struct winsize ws = { .ws_row = 50, .ws_col = 120 };
	struct wire_winch w = { 0 };
	struct wire_frame f;

	ready(g);
	exec_of(g);
	ioctl(tty, TIOCSWINSZ, &ws);
	kill(getppid(), SIGWINCH);
	if (hear(g, &f) == WIRE_WINCH)
		wire_get(&f, &w, sizeof(w));
	bye(g, w.rows == 50 && w.cols == 120);
}

Test(command, size_follows_ours)
{
	params.flags = WIRE_EXEC_TTY;
	converse(resizes);
	cr_assert_eq(news.exit.code, 1);
}

Test(command, size_is_that_of_any_stream_that_is_a_terminal)
{
	params.flags = WIRE_EXEC_TTY;
	params.fd[0] = out;
	params.fd[2] = tty;
	converse(resizes);
	cr_assert_eq(news.exit.code, 1);
}

static void no_size(struct guest *g)
{
	struct wire_command c = exec_of(g);

	ready(g);
	bye(g, c.head.flags == WIRE_EXEC_TTY && !c.head.rows);
}

Test(command, terminal_needs_none_of_ours)
{
	params.flags = WIRE_EXEC_TTY;
	params.fd[0] = out;
	converse(no_size);
	cr_assert_eq(news.exit.code, 1);
}

/* Wait until the terminal is as told, or for ever: the test has a limit. */
static void await_raw(int raw)
{
	while (is_raw() != raw)
		usleep(1000);
}

static void takes_keys(struct guest *g)
{
	struct wire_frame f;

	await_raw(0);
	ready(g);
	exec_of(g);
	await_raw(1);
	io_write_all(master, "\003", 1);
	bye(g, hear(g, &f) == WIRE_STDIN && f.len == 1 && f.data[0] == 3);
}

Test(command, terminal_is_raw_and_control_c_is_a_byte)
{
	params.flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN;
	converse(takes_keys);
	cr_assert_eq(news.exit.code, 1);
	cr_assert_not(is_raw());
}

static void vanishes(struct guest *g)
{
	ready(g);
	await_raw(1);
	close(g->agent);
}

Test(command, terminal_is_restored_when_the_agent_is_lost)
{
	params.flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN;
	converse(vanishes);
	cr_assert(news.lost && !news.ended);
	cr_assert_not(is_raw());
}

static void leaves_it(struct guest *g)
{
	struct wire_frame f;

	ready(g);
	exec_of(g);
	io_write_all(master, "x\n", 2);
	bye(g, hear(g, &f) == WIRE_STDIN && !is_raw());
}

Test(command, terminal_stays_as_it_is_for_a_command_without_one)
{
	params.flags = WIRE_EXEC_STDIN;
	converse(leaves_it);
	cr_assert_eq(news.exit.code, 1);
}

static void await_stopped(pid_t pid)
{
	char path[32], stat[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (;;) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, stat, sizeof(stat) - 1);

		close(fd);
		stat[n < 0 ? 0 : n] = '\0';
		if (strstr(stat, ") T "))
			return;
		usleep(1000);
	}
}

static void stops_us(struct guest *g)
{
	struct wire_frame f;
	int cooked;

	ready(g);
	exec_of(g);
	await_raw(1);
	kill(getppid(), SIGTSTP);
	await_stopped(getppid());
	cooked = !is_raw();
	kill(getppid(), SIGCONT);
	await_raw(1);
	bye(g, cooked && hear(g, &f) == WIRE_WINCH);
}

Test(command, stopped_it_leaves_the_terminal_and_takes_it_again_after)
{
	params.flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN;
	converse(stops_us);
	cr_assert_eq(news.exit.code, 1);
	cr_assert_not(is_raw());
}

static void has_a_network(struct guest *g)
{
	struct wire_frame f;
	struct wire_net net;

	if (hear(g, &f) != WIRE_NET || wire_get_net(&f, &net) ||
	    net.mtu != 1400)
		_exit(1);
	exec_of(g);
	ready(g);
	bye(g, 0);
}

Test(command, network_is_told_before_all_else)
{
	struct wire_net net = { .mtu = 1400 };

	params.net = &net;
	converse(has_a_network);
	cr_assert_eq(news.ended, 1);
}
