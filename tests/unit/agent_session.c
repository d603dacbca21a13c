/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's serving loop, as the host sees it: a real agent and real
 * commands behind sockets, the agent PID 1 of a namespace of its own.
 */
#include "rootfs/agent/agent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* One session, from the host's side. */
struct host {
	int fd;
	pid_t agent; /* exits 0 when session_serve() gave 0, else 1 */
	struct wire_reader reader;
	uint8_t frame[WIRE_HDR + WIRE_EXEC_MAX];
	int ready, started, exited;
	uint32_t acked;
	struct wire_exit exit;
	size_t out_len, err_len;
	char out[1 << 19], err[1 << 19];
};

/* The run's own, and more; h is the one that is spoken to. */
static struct host hosts[5];
static struct host *h = hosts;

/* Where more sessions are made. */
static struct sockaddr_un door;
static socklen_t door_len;

static _Noreturn void agent_main(int fd, int listener)
{
	struct serve sv = { .ctl = 3, .listener = 4, .self = 5 };
	int status;
	pid_t pid;

	/* The test framework leaves descriptors open, which are not ours. */
	fd = fcntl(fd, F_DUPFD, 10);
	listener = fcntl(listener, F_DUPFD, 10);
	dup3(fd, sv.ctl, O_CLOEXEC);
	dup3(listener, sv.listener, O_CLOEXEC);
	dup3(open("/bin/echo", O_PATH | O_CLOEXEC), sv.self, O_CLOEXEC);
	close_range(6, ~0u, 0);
	/* As root a user namespace would only take rights away. */
	if (unshare(CLONE_NEWPID | (getuid() ? CLONE_NEWUSER : 0)))
		_exit(77);
	pid = fork();
	if (!pid)
		_exit(session_serve(&sv) ? 1 : 0);
	close_range(3, ~0u, 0);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static void setup(void)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int sv[2];

	/* An address of nothing but its family lets the kernel choose. */
	door.sun_family = AF_UNIX;
	door_len = sizeof(door);
	cr_assert_eq(bind(listener, (struct sockaddr *)&door,
			  sizeof(door.sun_family)), 0);
	cr_assert_eq(listen(listener, 100), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&door,
				 &door_len), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h->fd = sv[0];
	wire_reader_init(&h->reader, WIRE_FROM_GUEST);
	h->agent = fork();
	if (!h->agent)
		agent_main(sv[1], listener);
	close(sv[1]);
	close(listener);
}

static int knock(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&door, door_len), 0);
	return fd;
}

/* Make session @i, and speak to it from now on. */
static void begin(int i)
{
	h = &hosts[i];
	memset(h, 0, sizeof(*h));
	h->fd = knock();
	wire_reader_init(&h->reader, WIRE_FROM_GUEST);
}

/* Hang up; what session_serve() made of the session. */
static int hang_up(void)
{
	int status;

	close(h->fd);
	cr_assert_eq(waitpid(h->agent, &status, 0), h->agent);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void send_bytes(const void *p, size_t len)
{
	cr_assert_eq(send(h->fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void send_frame(enum wire_type type, const void *p, uint32_t len)
{
	send_bytes(h->frame, wire_put(h->frame, type, p, len));
}

static void send_exec(struct wire_command c)
{
	static char *const none[] = { NULL };
	long len;

	c.env = c.env ? c.env : none;
	c.cwd = c.cwd ? c.cwd : "";
	c.user = c.user ? c.user : "";
	len = wire_put_exec(h->frame, sizeof(h->frame), &c);
	cr_assert_gt(len, 0);
	send_bytes(h->frame, (size_t)len);
}

static void exec_sh(const char *script, uint32_t flags)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };

	send_exec((struct wire_command){ .head.flags = flags, .argv = argv });
}

static void keep(char *buf, size_t *len, const struct wire_frame *f)
{
	size_t n = f->len;

	if (n > sizeof(h->out) - 1 - *len)
		n = sizeof(h->out) - 1 - *len;
	memcpy(buf + *len, f->data, n);
	*len += n;
}

static void take(const struct wire_frame *f)
{
	struct wire_ack ack;

	cr_assert(!h->exited, "a frame after EXIT");
	switch (f->type) {
	case WIRE_READY:
		h->ready = 1;
		break;
	case WIRE_STARTED:
		h->started = 1;
		break;
	case WIRE_STDOUT:
		keep(h->out, &h->out_len, f);
		break;
	case WIRE_STDERR:
		keep(h->err, &h->err_len, f);
		break;
	case WIRE_STDIN_ACK:
		wire_get(f, &ack, sizeof(ack));
		h->acked += ack.bytes;
		break;
	case WIRE_EXIT:
		wire_get(f, &h->exit, sizeof(h->exit));
		h->exited = 1;
		break;
	default:
		cr_assert_fail("type %u", f->type);
	}
}

/* Take what comes next; 0 at the end of the stream. */
static int step(void)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	struct wire_frame f;
	size_t room;
	void *at = wire_room(&h->reader, &room);
	ssize_t n;
	int ret;

	cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "the agent is silent");
	n = recv(h->fd, at, room, 0);
	if (n <= 0)
		return 0;
	wire_filled(&h->reader, (size_t)n);
	while ((ret = wire_next(&h->reader, &f)) == 1)
		take(&f);
	cr_assert_eq(ret, 0);
	return 1;
}

static void run_to_exit(void)
{
	while (!h->exited)
		cr_assert(step());
}

TestSuite(session, .init = setup);

Test(session, streams_are_apart_and_the_code_comes_last)
{
	exec_sh("echo out; echo err >&2; exit 7", 0);
	run_to_exit();
	cr_assert(h->ready);
	cr_assert(h->started);
	cr_assert_str_eq(h->out, "out\n");
	cr_assert_str_eq(h->err, "err\n");
	cr_assert_eq(h->exit.code, 7);
	cr_assert_eq(h->exit.signal, 0);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_RUN);
	cr_assert_eq(hang_up(), 0);
}

Test(session, what_cannot_be_measured_is_unknown)
{
	exec_sh("true", 0);
	run_to_exit();
	cr_assert_eq(h->exit.memory_peak, WIRE_UNKNOWN);
	cr_assert_eq(h->exit.oom_kills, WIRE_UNKNOWN);
	cr_assert_neq(h->exit.user_us, WIRE_UNKNOWN);
	cr_assert_neq(h->exit.disk_avail, WIRE_UNKNOWN);
	hang_up();
}

Test(session, death_by_signal_is_told)
{
	exec_sh("kill -9 $$", 0);
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(h->exit.code, 0);
	hang_up();
}

Test(session, signal_reaches_the_whole_group)
{
	struct wire_signal sig = { .signo = SIGTERM };

	exec_sh("trap 'exit 9' TERM; echo up; sleep 100 & wait", 0);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.code, 9);
	hang_up();
}

Test(session, environment_is_defined)
{
	char *argv[] = { "env", NULL }, *env[] = { "A=b c", NULL };

	setenv("LEAK", "1", 1);
	send_exec((struct wire_command){ .argv = argv, .env = env });
	run_to_exit();
	cr_assert_str_eq(h->out, "PATH=" AGENT_PATH "\nHOME=/root\n"
				"HOSTNAME=mayfly\nA=b c\n");
	hang_up();
}

Test(session, command_leads_its_session_without_our_descriptors)
{
	/* Field 5 of stat is the process group; 0, 1, 2 and ls's own. */
	exec_sh("read p c s pp g r </proc/self/stat; test $p = $g && "
		"ls /proc/self/fd | wc -l", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "4\n");
	hang_up();
}

Test(session, unknown_command_is_127_and_leaves_stderr_alone)
{
	char *argv[] = { "no-such-thing", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h->started, 0);
	cr_assert_eq(h->exit.code, 127);
	cr_assert_eq(h->exit.error, ENOENT);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_EXEC);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, directory_is_126_and_says_why)
{
	char *argv[] = { "/tmp", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.error, EACCES);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, working_directory_is_entered_and_made)
{
	char dir[] = "/tmp/mayfly-cwd-XXXXXX";
	char cwd[64];
	char *argv[] = { "pwd", NULL };

	cr_assert_not_null(mkdtemp(dir));
	snprintf(cwd, sizeof(cwd), "%s/a/b", dir);
	send_exec((struct wire_command){ .argv = argv, .cwd = cwd });
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_eq(strncmp(h->out, cwd, strlen(cwd)), 0);
	hang_up();
	cr_assert_eq(rmdir(cwd), 0);
	snprintf(cwd, sizeof(cwd), "%s/a", dir);
	cr_assert_eq(rmdir(cwd), 0);
	cr_assert_eq(rmdir(dir), 0);
}

Test(session, working_directory_that_is_a_file_is_126)
{
	char *argv[] = { "true", NULL };

	send_exec((struct wire_command){ .argv = argv, .cwd = "/etc/passwd" });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_CWD);
	cr_assert_eq(h->exit.error, ENOTDIR);
	cr_assert_str_eq(h->err, "");
	hang_up();
}

Test(session, unknown_user_is_126)
{
	char *argv[] = { "true", NULL };

	send_exec((struct wire_command){ .argv = argv, .user = "who-is-it" });
	run_to_exit();
	cr_assert_eq(h->exit.code, 126);
	cr_assert_eq(h->exit.stage, WIRE_STAGE_USER);
	hang_up();
}

Test(session, stdin_is_null_unless_asked_for)
{
	exec_sh("wc -c", 0);
	run_to_exit();
	cr_assert_eq(atoi(h->out), 0);
	hang_up();
}

Test(session, what_was_left_in_the_background_is_killed)
{
	exec_sh("setsid sh -c 'while :; do echo x; sleep 1; done' & exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 3);
	hang_up();
}

Test(session, output_of_the_command_is_whole_when_it_exits)
{
	exec_sh("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2", 0);
	run_to_exit();
	cr_assert_eq(h->out_len, 60000);
	cr_assert_eq(h->err_len, 60000);
	hang_up();
}

/* A pattern whose period is no power of two, so that no shift fits. */
static uint8_t pattern(size_t i)
{
	return (uint8_t)(i % 251 ^ i >> 16);
}

/* Send as the window allows and read what comes: the host's loop. */
static void pump_through(size_t total)
{
	size_t sent = 0, got = 0, n, i;
	static uint8_t data[WIRE_DATA_MAX];
	struct pollfd p = { .fd = h->fd };

	while (!h->exited) {
		n = total - sent < sizeof(data) ? total - sent : sizeof(data);
		if (n > WIRE_STDIN_WINDOW - (sent - h->acked))
			n = 0;
		p.events = (short)(POLLIN | (n ? POLLOUT : 0));
		cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "stuck at %zu", got);
		if (p.revents & POLLOUT && n) {
			for (i = 0; i < n; i++)
				data[i] = pattern(sent + i);
			send_frame(WIRE_STDIN, data, (uint32_t)n);
			sent += n;
			if (sent == total)
				send_frame(WIRE_STDIN_EOF, NULL, 0);
		}
		if (!(p.revents & POLLIN))
			continue;
		h->out_len = 0;
		cr_assert(step());
		for (i = 0; i < h->out_len; i++, got++)
			cr_assert_eq((uint8_t)h->out[i], pattern(got));
	}
	cr_assert_eq(got, total);
}

Test(session, megabytes_pass_through_cat_unchanged)
{
	exec_sh("exec cat", WIRE_EXEC_STDIN);
	pump_through(8 << 20);
	cr_assert_eq(h->exit.code, 0);
	cr_assert_eq(hang_up(), 0);
}

Test(session, signal_passes_a_command_that_does_not_read)
{
	static const uint8_t data[WIRE_STDIN_WINDOW / 8];
	struct wire_signal sig = { .signo = SIGKILL };
	int i;

	exec_sh("exec sleep 100", WIRE_EXEC_STDIN);
	for (i = 0; i < 8; i++)
		send_frame(WIRE_STDIN, data, sizeof(data));
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	hang_up();
}

Test(session, closed_stdin_does_not_end_the_command)
{
	static const uint8_t data[60000];

	exec_sh("exec <&-; echo shut; sleep 0.2; echo done", WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_STDIN, data, sizeof(data));
	send_frame(WIRE_STDIN, data, sizeof(data));
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_str_eq(h->out, "shut\ndone\n");
	hang_up();
}

Test(session, more_input_than_the_window_breaks_the_session)
{
	static const uint8_t data[WIRE_STDIN_WINDOW / 8];
	size_t len = WIRE_HDR + sizeof(data);
	int i;

	exec_sh("exec sleep 100", WIRE_EXEC_STDIN);
	/* A pipe takes and acknowledges some of it. */
	for (i = 0; i < 16; i++) {
		wire_put(h->frame, WIRE_STDIN, data, sizeof(data));
		if (send(h->fd, h->frame, len, MSG_NOSIGNAL) < 0)
			break;
	}
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, frames_out_of_turn_break_the_session)
{
	send_frame(WIRE_STDIN, "x", 1);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, second_exec_breaks_the_session)
{
	exec_sh("sleep 100", 0);
	exec_sh("sleep 100", 0);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, noise_breaks_the_session)
{
	send_bytes("GET / HTTP/1.1\r\n\r\n", 18);
	while (step())
		;
	cr_assert_eq(hang_up(), 1);
}

Test(session, host_that_hangs_up_ends_the_session)
{
	exec_sh("sleep 100", 0);
	while (!h->started)
		cr_assert(step());
	cr_assert_eq(hang_up(), 0);
}

Test(session, terminal_is_a_terminal_with_size_and_end_of_file)
{
	char *argv[] = { "sh", "-c", "tty >/dev/null && stty size; cat; echo "
				     "$TERM", NULL };

	send_exec((struct wire_command){
		.head = { .flags = WIRE_EXEC_TTY | WIRE_EXEC_STDIN,
			  .rows = 31, .cols = 71 },
		.argv = argv });
	send_frame(WIRE_STDIN, "hey\n", 4);
	send_frame(WIRE_STDIN_EOF, NULL, 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_not_null(strstr(h->out, "31 71\r\n"));
	cr_assert_not_null(strstr(h->out, "hey\r\n"));
	cr_assert_not_null(strstr(h->out, "xterm\r\n"));
	hang_up();
}

/* The run's own command waits; its session is @hosts[0]. */
static void run_sleep(void)
{
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
}

static void kill_own(void)
{
	struct wire_signal sig = { .signo = SIGKILL };

	h = hosts;
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h->exit.signal, SIGKILL);
	cr_assert_eq(hang_up(), 0);
}

/* The agent ends the stream after EXIT. */
static void expect_end(void)
{
	cr_assert_eq(step(), 0);
	close(h->fd);
}

TestSuite(more, .init = setup);

Test(more, sessions_at_once_keep_streams_and_codes_apart)
{
	char script[64];
	int i;

	run_sleep();
	for (i = 1; i < 5; i++) {
		begin(i);
		snprintf(script, sizeof(script),
			 "read x; echo $x; echo %d >&2; exit %d", i, i);
		exec_sh(script, WIRE_EXEC_STDIN);
	}
	for (i = 4; i; i--) {
		h = &hosts[i];
		snprintf(script, sizeof(script), "to %d\n", i);
		send_frame(WIRE_STDIN, script, (uint32_t)strlen(script));
		run_to_exit();
		cr_assert(h->ready);
		cr_assert_str_eq(h->out, script);
		cr_assert_eq(atoi(h->err), i);
		cr_assert_eq(h->exit.code, (uint32_t)i);
		expect_end();
	}
	kill_own();
}

Test(more, megabytes_pass_while_another_session_does_not_read)
{
	begin(1);
	exec_sh("yes", 0);
	while (!h->out_len)
		cr_assert(step());
	begin(2);
	exec_sh("exec cat", WIRE_EXEC_STDIN);
	pump_through(4 << 20);
	expect_end();
	h = hosts;
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(h->exit.code, 3);
	cr_assert_eq(hang_up(), 0);
}

Test(more, one_too_many_is_shut_out_until_another_ends)
{
	int fd[WIRE_SESSIONS_MAX], over, i;
	char c;

	for (i = 0; i < WIRE_SESSIONS_MAX; i++) {
		fd[i] = knock();
		cr_assert_eq(recv(fd[i], &c, 1, 0), 1);
	}
	over = knock();
	cr_assert_leq(recv(over, &c, 1, 0), 0);
	close(over);
	close(fd[7]);
	/* Its child takes a moment to go. */
	do {
		over = knock();
		i = recv(over, &c, 1, 0) == 1;
		close(over);
	} while (!i);
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(hang_up(), 0);
}

Test(more, noise_breaks_that_session_alone)
{
	run_sleep();
	begin(1);
	exec_sh("exec sleep 1000", 0);
	send_bytes("GET / HTTP/1.1\r\n\r\n", 18);
	while (step())
		;
	cr_assert(!h->exited);
	kill_own();
}

Test(more, end_of_the_runs_own_command_ends_all)
{
	run_sleep();
	begin(1);
	exec_sh("exec sleep 1000", 0);
	while (!h->started)
		cr_assert(step());
	kill_own();
	h = &hosts[1];
	cr_assert_eq(step(), 0);
	cr_assert(!h->exited);
}

/* What comes from a command that is hung up on, until it is dead. */
static void hang_up_on(const char *script, uint32_t flags, const char *want)
{
	char dir[] = "/tmp/mayfly-hup-XXXXXX", fifo[64], text[128], got[64] = "";
	size_t have = 0;
	ssize_t n;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	run_sleep();
	begin(1);
	snprintf(text, sizeof(text), "exec 3>%s; %s", fifo, script);
	exec_sh(text, flags);
	fd = open(fifo, O_RDONLY | O_CLOEXEC);
	while (!h->out_len)
		cr_assert(step());
	close(h->fd);
	while (have < sizeof(got) - 1 &&
	       (n = read(fd, got + have, sizeof(got) - 1 - have)) > 0)
		have += (size_t)n;
	cr_assert_str_eq(got, want);
	close(fd);
	unlink(fifo);
	rmdir(dir);
	kill_own();
}

Test(more, lost_host_is_a_hangup_for_the_command)
{
	hang_up_on("trap 'echo hup >&3; exit' HUP; echo up; "
		   "while :; do sleep 0.1; done", 0, "hup\n");
}

Test(more, lost_host_is_a_hangup_for_the_terminal)
{
	hang_up_on("trap 'echo hup >&3; exit' HUP; echo up; "
		   "while :; do sleep 0.1; done",
		   WIRE_EXEC_TTY | WIRE_EXEC_STDIN, "hup\n");
}

Test(more, who_does_not_end_by_a_hangup_is_killed)
{
	hang_up_on("trap '' HUP; echo up; exec sleep 1000", 0, "");
}

Test(more, process_that_escaped_does_not_hold_the_end)
{
	begin(1);
	exec_sh("setsid sleep 1000 & echo out; exit 5", 0);
	run_to_exit();
	cr_assert_str_eq(h->out, "out\n");
	cr_assert_eq(h->exit.code, 5);
	begin(2);
	exec_sh("setsid sh -c 'echo; exec yes' & read x; exit 6",
		WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	send_frame(WIRE_STDIN, "\n", 1);
	run_to_exit();
	cr_assert_eq(h->exit.code, 6);
	h = hosts;
	exec_sh("exit 3", 0);
	run_to_exit();
	cr_assert_eq(hang_up(), 0);
}

Test(more, agents_own_program_needs_no_path)
{
	char *argv[] = { "tree-out", "/some/where", NULL };

	begin(1);
	send_exec((struct wire_command){ .head.flags = WIRE_EXEC_AGENT,
					 .argv = argv });
	run_to_exit();
	cr_assert_eq(h->exit.code, 0);
	cr_assert_str_eq(h->out, "/some/where\n");
}

TestSuite(terminal, .init = setup);

Test(terminal, interrupt_key_goes_to_the_job_in_front)
{
	exec_sh("set -m; echo up; sleep 1000; echo $?",
		WIRE_EXEC_TTY | WIRE_EXEC_STDIN);
	while (!h->out_len)
		cr_assert(step());
	/* Until the job is in front it is the shell's, which minds it not. */
	while (!strstr(h->out, "130\r\n") && !h->exited) {
		send_frame(WIRE_STDIN, "\003", 1);
		cr_assert(step());
	}
	run_to_exit();
	cr_assert(strstr(h->out, "130\r\n") || h->exit.signal == SIGINT);
	hang_up();
}

Test(terminal, user_owns_it)
{
	char *argv[] = { "sh", "-c", "stat -c %u $(tty)", NULL };

	if (getuid())
		cr_skip("only root gives a terminal away");
	send_exec((struct wire_command){
		.head.flags = WIRE_EXEC_TTY, .argv = argv, .user = "65534" });
	run_to_exit();
	cr_assert_str_eq(h->out, "65534\r\n");
	hang_up();
}
