/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_stage: a guest that a test plays: a child process holds the VMM's end of
 * the control socket and the agent's end of the stream, and says what an actor
 * wants said. No virtual machine is involved.
 */
#ifndef TESTS_UNIT_RUN_STAGE_H
#define TESTS_UNIT_RUN_STAGE_H

#include "runner/run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/control.h"

#define MS   1000000ull
#define LONG (3600 * 1000 * MS)

/* The guest's side: what a test's actor may use. */
struct guest {
	int agent, control, console;
	struct wire_reader reader;
};
typedef void (*actor)(struct guest *g);

static struct run_limits limits;
static struct config config;
static struct run_result result;
static struct run_params extra; /* what a test adds: record, journal */
static actor already; /* says what lies there before the run's clocks go */
static struct err err;
static char *argv[] = { (char *)"prog", NULL };
static int out, errout; /* files that stand for stdout and stderr */

static inline void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	config_init(&config);
	config.argv = argv;
	limits = run_limits;
	limits.stats = 100 * MS; /* few of these guests answer */
	/* What an actor still has to say comes, however late; a test of how
	 * long it is waited for says so. */
	limits.words = limits.settle = limits.copy = LONG;
	config.stop_timeout_ns = LONG;
}

/* --- what the guest says ---------------------------------------------- */

static inline void frame(struct guest *g, enum wire_type type, const void *p,
		  uint32_t len)
{
	_cleanup_free_ uint8_t *buf = malloc(WIRE_HDR + len);

	wire_put_hdr(buf, type, len);
	memcpy(buf + WIRE_HDR, p, len);
	io_write_all(g->agent, buf, WIRE_HDR + len);
}

static inline void say_ready(struct guest *g)
{
	struct wire_ready r = { .version = WIRE_VERSION, .boot_ns = 5 };
	struct ctl_event e = { .type = CTL_STARTED, .ncpus = 1, .start_ns = 1 };

	ctl_send_event(g->control, &e);
	frame(g, WIRE_READY, &r, sizeof(r));
}

static inline void say_exit(struct guest *g, uint32_t code, uint32_t signo)
{
	struct wire_exit x = { .code = code, .signal = signo,
			       .disk_avail = WIRE_UNKNOWN };

	frame(g, WIRE_EXIT, &x, sizeof(x));
}

static inline void say_out(struct guest *g, const char *s)
{
	frame(g, WIRE_STDOUT, s, (uint32_t)strlen(s));
}

static inline void say_stopped(struct guest *g, enum ctl_stop stop)
{
	struct ctl_event e = { .type = CTL_STOPPED, .stop = stop };

	strcpy(e.msg, "words");
	ctl_send_event(g->control, &e);
}

/* The next frame from the host; its type, or 0 at the end. */
static inline int hear(struct guest *g, struct wire_frame *f)
{
	int r;

	while ((r = wire_next(&g->reader, f)) == 0) {
		size_t room;
		void *p = wire_room(&g->reader, &room);
		ssize_t n = read(g->agent, p, room);

		if (n <= 0)
			return 0;
		wire_filled(&g->reader, (size_t)n);
	}
	return r < 0 ? r : f->type;
}

/* --- the stage -------------------------------------------------------- */

static inline _Noreturn void act(actor fn, int agent, int control, int console)
{
	struct guest *g = calloc(1, sizeof(*g));

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	g->agent = agent;
	g->control = control;
	g->console = console;
	wire_reader_init(&g->reader, WIRE_FROM_HOST);
	fn(g);
	pause();
	_exit(0);
}

static inline int play_on(actor fn, int to_out, int to_err)
{
	int agent[2], control[2], console_fd, saved[2], code;
	struct ev_loop loop;
	struct console console;
	struct machine m;

	cr_assert_eq(ev_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, NULL, &console_fd, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent),
		     0);
	cr_assert_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control),
		0);
	machine_init(&m, &config);
	m.went = 1; /* it runs, as far as anybody knows */
	if (already)
		already(&(struct guest){ .agent = agent[1],
				       .control = control[1],
				       .console = console_fd });
	m.pid = fork();
	if (m.pid == 0) {
		close(agent[0]);
		close(control[0]);
		act(fn, agent[1], control[1], console_fd);
	}
	m.pidfd = pidfd_open(m.pid, 0);
	m.control = control[0];
	close(agent[1]);
	close(control[1]);
	close(console_fd);
	saved[0] = dup(1);
	saved[1] = dup(2);
	dup2(to_out, 1);
	dup2(to_err, 2);
	{
		const struct run_params p = { .copies = extra.copies,
					      .state = extra.state,
					      .control = extra.control,
					      .journal = extra.journal,
					      .started = extra.started,
					      .opaque = extra.opaque,
					      .config = &config,
					      .limits = &limits,
					      .loop = &loop,
					      .console = &console,
					      .machine = &m,
					      .agent_fd = agent[0] };

		result = (struct run_result){ .begin_ns = io_now_ns() };
		code = run_command(&p, &result, &err);
	}
	dup2(saved[0], 1);
	dup2(saved[1], 2);
	cr_assert_eq(m.pid, -1, "the VM is still there");
	machine_free(&m);
	if (extra.control)
		control_free(extra.control);
	console_free(&console);
	ev_loop_free(&loop);
	return code;
}

static inline int play(actor fn)
{
	out = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	errout = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	return play_on(fn, out, errout);
}

static inline const char *text(int fd)
{
	static char buf[1024];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	buf[n < 0 ? 0 : n] = '\0';
	return buf;
}

static inline void expect(enum verdict v, int code)
{
	cr_assert_eq(result.verdict, v, "%s (%s)", verdict_name(result.verdict),
		     err.msg);
	cr_assert_eq(result.exit_code, code, "%d", result.exit_code);
}

#endif
