/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's serving loop, as the host sees it: a real agent and real
 * commands behind a socketpair, the agent PID 1 of a namespace of its own.
 */
#include "rootfs/agent/agent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* One run, from the host's side. */
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

static struct host h;

static _Noreturn void agent_main(int fd)
{
	int status;
	pid_t pid;

	/* The test framework leaves descriptors open, which are not ours. */
	close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	/* As root a user namespace would only take rights away. */
	if (unshare(CLONE_NEWPID | (getuid() ? CLONE_NEWUSER : 0)))
		_exit(77);
	pid = fork();
	if (!pid)
		_exit(session_serve(&(struct serve){ .ctl = fd, .listener = -1,
						  .self = -1 }) ? 1 : 0);
	close(fd);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static void setup(void)
{
	int sv[2];

	memset(&h, 0, sizeof(h));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h.fd = sv[0];
	wire_reader_init(&h.reader, WIRE_FROM_GUEST);
	h.agent = fork();
	if (!h.agent) {
		close(sv[0]);
		agent_main(sv[1]);
	}
	close(sv[1]);
}

/* Hang up; what session_serve() made of the session. */
static int hang_up(void)
{
	int status;

	close(h.fd);
	cr_assert_eq(waitpid(h.agent, &status, 0), h.agent);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void send_bytes(const void *p, size_t len)
{
	cr_assert_eq(send(h.fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void send_frame(enum wire_type type, const void *p, uint32_t len)
{
	send_bytes(h.frame, wire_put(h.frame, type, p, len));
}

static void send_exec(struct wire_command c)
{
	static char *const none[] = { NULL };
	long len;

	c.env = c.env ? c.env : none;
	c.cwd = c.cwd ? c.cwd : "";
	c.user = c.user ? c.user : "";
	len = wire_put_exec(h.frame, sizeof(h.frame), &c);
	cr_assert_gt(len, 0);
	send_bytes(h.frame, (size_t)len);
}

static void exec_sh(const char *script, uint32_t flags)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };

	send_exec((struct wire_command){ .head.flags = flags, .argv = argv });
}

static void keep(char *buf, size_t *len, const struct wire_frame *f)
{
	size_t n = f->len;

	if (n > sizeof(h.out) - 1 - *len)
		n = sizeof(h.out) - 1 - *len;
	memcpy(buf + *len, f->data, n);
	*len += n;
}

static void take(const struct wire_frame *f)
{
	struct wire_ack ack;

	cr_assert(!h.exited, "a frame after EXIT");
	switch (f->type) {
	case WIRE_READY:
		h.ready = 1;
		break;
	case WIRE_STARTED:
		h.started = 1;
		break;
	case WIRE_STDOUT:
		keep(h.out, &h.out_len, f);
		break;
	case WIRE_STDERR:
		keep(h.err, &h.err_len, f);
		break;
	case WIRE_STDIN_ACK:
		wire_get(f, &ack, sizeof(ack));
		h.acked += ack.bytes;
		break;
	case WIRE_EXIT:
		wire_get(f, &h.exit, sizeof(h.exit));
		h.exited = 1;
		break;
	default:
		cr_assert_fail("type %u", f->type);
	}
}

/* Take what comes next; 0 at the end of the stream. */
static int step(void)
{
	struct pollfd p = { .fd = h.fd, .events = POLLIN };
	struct wire_frame f;
	size_t room;
	void *at = wire_room(&h.reader, &room);
	ssize_t n;
	int ret;

	cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "the agent is silent");
	n = recv(h.fd, at, room, 0);
	if (n <= 0)
		return 0;
	wire_filled(&h.reader, (size_t)n);
	while ((ret = wire_next(&h.reader, &f)) == 1)
		take(&f);
	cr_assert_eq(ret, 0);
	return 1;
}

static void run_to_exit(void)
{
	while (!h.exited)
		cr_assert(step());
}

TestSuite(session, .init = setup);

Test(session, streams_are_apart_and_the_code_comes_last)
{
	exec_sh("echo out; echo err >&2; exit 7", 0);
	run_to_exit();
	cr_assert(h.ready);
	cr_assert(h.started);
	cr_assert_str_eq(h.out, "out\n");
	cr_assert_str_eq(h.err, "err\n");
	cr_assert_eq(h.exit.code, 7);
	cr_assert_eq(h.exit.signal, 0);
	cr_assert_eq(h.exit.stage, WIRE_STAGE_RUN);
	cr_assert_eq(hang_up(), 0);
}

Test(session, what_cannot_be_measured_is_unknown)
{
	exec_sh("true", 0);
	run_to_exit();
	cr_assert_eq(h.exit.memory_peak, WIRE_UNKNOWN);
	cr_assert_eq(h.exit.oom_kills, WIRE_UNKNOWN);
	cr_assert_neq(h.exit.user_us, WIRE_UNKNOWN);
	cr_assert_neq(h.exit.disk_avail, WIRE_UNKNOWN);
	hang_up();
}

Test(session, death_by_signal_is_told)
{
	exec_sh("kill -9 $$", 0);
	run_to_exit();
	cr_assert_eq(h.exit.signal, SIGKILL);
	cr_assert_eq(h.exit.code, 0);
	hang_up();
}

Test(session, signal_reaches_the_whole_group)
{
	struct wire_signal sig = { .signo = SIGTERM };

	exec_sh("trap 'exit 9' TERM; echo up; sleep 100 & wait", 0);
	while (!h.out_len)
		cr_assert(step());
	send_frame(WIRE_SIGNAL, &sig, sizeof(sig));
	run_to_exit();
	cr_assert_eq(h.exit.code, 9);
	hang_up();
}

Test(session, environment_is_defined)
{
	char *argv[] = { "env", NULL }, *env[] = { "A=b c", NULL };

	setenv("LEAK", "1", 1);
	send_exec((struct wire_command){ .argv = argv, .env = env });
	run_to_exit();
	cr_assert_str_eq(h.out, "PATH=" AGENT_PATH "\nHOME=/root\n"
				"HOSTNAME=mayfly\nA=b c\n");
	hang_up();
}

Test(session, command_leads_its_session_without_our_descriptors)
{
	/* Field 5 of stat is the process group; 0, 1, 2 and ls's own. */
	exec_sh("read p c s pp g r </proc/self/stat; test $p = $g && "
		"ls /proc/self/fd | wc -l", 0);
	run_to_exit();
	cr_assert_str_eq(h.out, "4\n");
	hang_up();
}

Test(session, unknown_command_is_127_and_leaves_stderr_alone)
{
	char *argv[] = { "no-such-thing", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h.started, 0);
	cr_assert_eq(h.exit.code, 127);
	cr_assert_eq(h.exit.error, ENOENT);
	cr_assert_eq(h.exit.stage, WIRE_STAGE_EXEC);
	cr_assert_str_eq(h.err, "");
	hang_up();
}

Test(session, directory_is_126_and_says_why)
{
	char *argv[] = { "/tmp", NULL };

	send_exec((struct wire_command){ .argv = argv });
	run_to_exit();
	cr_assert_eq(h.exit.code, 126);
	cr_assert_eq(h.exit.error, EACCES);
	cr_assert_str_eq(h.err, "");
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
	cr_assert_eq(h.exit.code, 0);
	cr_assert_eq(strncmp(h.out, cwd, strlen(cwd)), 0);
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
	cr_assert_eq(h.exit.code, 126);
	cr_assert_eq(h.exit.stage, WIRE_STAGE_CWD);
	cr_assert_eq(h.exit.error, ENOTDIR);
	cr_assert_str_eq(h.err, "");
	hang_up();
}

Test(session, unknown_user_is_126)
{
	char *argv[] = { "true", NULL };

	send_exec((struct wire_command){ .argv = argv, .user = "who-is-it" });
	run_to_exit();
	cr_assert_eq(h.exit.code, 126);
	cr_assert_eq(h.exit.stage, WIRE_STAGE_USER);
	hang_up();
}

Test(session, stdin_is_null_unless_asked_for)
{
	exec_sh("wc -c", 0);
	run_to_exit();
	cr_assert_eq(atoi(h.out), 0);
	hang_up();
}

Test(session, what_was_left_in_the_background_is_killed)
{
	exec_sh("setsid sh -c 'while :; do echo x; sleep 1; done' & exit 3", 0);
	run_to_exit();
	cr_assert_eq(h.exit.code, 3);
	hang_up();
}

Test(session, output_of_the_command_is_whole_when_it_exits)
{
	exec_sh("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2", 0);
	run_to_exit();
	cr_assert_eq(h.out_len, 60000);
	cr_assert_eq(h.err_len, 60000);
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
	struct pollfd p = { .fd = h.fd };

	while (!h.exited) {
		n = total - sent < sizeof(data) ? total - sent : sizeof(data);
		if (n > WIRE_STDIN_WINDOW - (sent - h.acked))
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
		h.out_len = 0;
		cr_assert(step());
		for (i = 0; i < h.out_len; i++, got++)
			cr_assert_eq((uint8_t)h.out[i], pattern(got));
	}
	cr_assert_eq(got, total);
}

Test(session, megabytes_pass_through_cat_unchanged)
{
	exec_sh("exec cat", WIRE_EXEC_STDIN);
	pump_through(8 << 20);
	cr_assert_eq(h.exit.code, 0);
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
	cr_assert_eq(h.exit.signal, SIGKILL);
	hang_up();
}

Test(session, closed_stdin_does_not_end_the_command)
{
	static const uint8_t data[60000];

	exec_sh("exec <&-; echo shut; sleep 0.2; echo done", WIRE_EXEC_STDIN);
	while (!h.out_len)
		cr_assert(step());
	send_frame(WIRE_STDIN, data, sizeof(data));
	send_frame(WIRE_STDIN, data, sizeof(data));
	run_to_exit();
	cr_assert_eq(h.exit.code, 0);
	cr_assert_str_eq(h.out, "shut\ndone\n");
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
		wire_put(h.frame, WIRE_STDIN, data, sizeof(data));
		if (send(h.fd, h.frame, len, MSG_NOSIGNAL) < 0)
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
	while (!h.started)
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
	cr_assert_eq(h.exit.code, 0);
	cr_assert_not_null(strstr(h.out, "31 71\r\n"));
	cr_assert_not_null(strstr(h.out, "hey\r\n"));
	cr_assert_not_null(strstr(h.out, "xterm\r\n"));
	hang_up();
}
