/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly cp: files and directories into a microVM that runs, or out of it.
 *
 * A session runs the agent's own program in the guest, which packs or unpacks
 * a tree there; a child of ours (cp_host.h) does the other half. In between is
 * a pipe each way, and two more that carry the words of both sides.
 *
 * First the session, until it is over; then, with the pipe to it closed, the
 * child, until it is.
 */
#include "runner/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs/tree.h"
#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/cp_host.h"
#include "runner/opts.h"
#include "runner/session.h"
#include "runner/state.h"
#include "runner/verdict.h"

#define LINE_SIZE  512
#define NOTES_MAX  50 /* of each side; the rest is counted */
#define TICK_NS	   250000000u
#define PATIENCE   4 /* ticks before progress is shown */

struct cp_config {
	const char *user;
	int quiet;
};

#define FIELD(f) offsetof(struct cp_config, f)
static const struct opt cp_options[] = {
	{ "user", 'u', "USER[:GROUP]", NULL,
	  "who reads or owns the files in the guest (root)", config_set_user,
	  FIELD(user) },
	{ "quiet", 'q', NULL, NULL, "show no progress", opt_flag,
	  FIELD(quiet) },
};

const struct opt_table cmd_cp_table = {
	.command = "cp",
	.usage = "[OPTIONS] NAME:PATH PATH\n[OPTIONS] PATH NAME:PATH",
	.about = "Copy a file or a directory out of a microVM that runs, or "
		 "into it. NAME is a\nrun's name, its id, or the beginning of "
		 "one. PATH in the guest starts at /.\n\n"
		 "Where the second path is a directory, the copy is made in "
		 "it; of a source that\nends in /. the contents are. A path "
		 "of the host that holds a colon is written\nwith ./ in front. "
		 "Links are copied as links; devices, sockets and pipes are "
		 "left\nout. Files are there whole or not at all.\n\n"
		 "Exit codes: 0 all is copied, 125 it is not, 128+N stopped "
		 "by signal N.",
	.opt = cp_options,
	.nopts = ARRAY_SIZE(cp_options),
	.mixed = 1,
};

/* What was asked for. */
struct copy {
	const char *label;	/* the run, as the user named it */
	const char *guest;	/* the path there */
	const char *host;
	int out;		/* of the guest */
	char name[NAME_MAX + 1]; /* of the source; "" its contents */
};

/* What one side has to say, line by line. */
struct words {
	struct ev ev;
	struct cp *cp;
	const char *label; /* in front of each line, or NULL */
	char line[LINE_SIZE], last[LINE_SIZE];
	size_t len;
	unsigned lines;
	int over;
};

struct cp {
	struct ev_loop loop;
	const struct copy *copy;
	const struct cp_config *config;
	char *argv[4]; /* of the guest's program */
	struct strings env;
	struct state *state;
	int agent; /* the stream to it, or -errno */
	struct session *session;
	struct cp_host host;
	struct words host_words, guest_words;
	struct ev signals, host_ended, tick;
	unsigned ticks;
	int shown;     /* there is progress on the terminal's line */
	int have_end;  /* of the child, */
	enum cp_end end;
	int have_exit; /* of the guest's program, */
	uint32_t code;
	int signo;     /* what stopped us, or 0 */
	struct err *err;
};

/* --- words --------------------------------------------------------------- */

static void clear_progress(struct cp *cp)
{
	if (cp->shown)
		fputs("\r\033[K", stderr);
	cp->shown = 0;
}

/* What was the last line is not: it was only a note. */
static void print_note(struct words *w)
{
	if (!w->lines)
		return;
	clear_progress(w->cp);
	if (w->lines <= NOTES_MAX)
		fprintf(stderr, "mayfly: cp: %s\n", w->last);
	else if (w->lines == NOTES_MAX + 1)
		fputs("mayfly: cp: and more\n", stderr);
}

static void take_line(struct words *w)
{
	size_t n = 0;

	print_note(w);
	if (w->label)
		n = (size_t)snprintf(w->last, sizeof(w->last), "%s:",
				     w->label);
	n = MIN(n, sizeof(w->last) - 1);
	snprintf(w->last + n, sizeof(w->last) - n, "%.*s", (int)w->len,
		 w->line);
	w->len = 0;
	w->lines++;
}

/* Names are the guest's: none of them is to drive the user's terminal. */
static void take_byte(struct words *w, char ch)
{
	if (ch == '\n')
		take_line(w);
	else if (w->len < sizeof(w->line))
		w->line[w->len++] = ch >= ' ' && ch <= '~' ? ch : '?';
}

static void on_words(struct ev *ev, uint32_t events)
{
	struct words *w = container_of(ev, struct words, ev);
	char buf[4096];
	ssize_t n = read(ev->fd, buf, sizeof(buf));

	(void)events;
	for (ssize_t i = 0; i < n; i++)
		take_byte(w, buf[i]);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	ev_del(ev);
	w->over = 1;
}

static int listen_to(struct words *w, struct cp *cp, int fd, const char *label)
{
	w->cp = cp;
	w->label = label;
	w->ev = (struct ev){ .fd = fd, .fn = on_words };
	return ev_set(&cp->loop, &w->ev, EPOLLIN);
}

/* --- progress ------------------------------------------------------------ */

static void on_tick(struct ev *ev, uint32_t events)
{
	struct cp *cp = container_of(ev, struct cp, tick);
	double mb = (double)atomic_load_explicit(cp->host.bytes,
						 memory_order_relaxed) / 1e6;

	(void)events;
	ev_drain(ev->fd);
	ev_timer_arm(ev->fd, TICK_NS);
	if (++cp->ticks < PATIENCE)
		return;
	fprintf(stderr, "\r\033[K%.1f MB", mb);
	cp->shown = 1;
}

static int show_progress(struct cp *cp)
{
	int fd;

	if (cp->config->quiet || !isatty(STDERR_FILENO))
		return 0;
	fd = ev_timer_fd();
	if (fd < 0)
		return fd;
	cp->tick = (struct ev){ .fd = fd, .fn = on_tick };
	ev_timer_arm(fd, TICK_NS);
	return ev_set(&cp->loop, &cp->tick, EPOLLIN);
}

/* --- the session --------------------------------------------------------- */

static void leave(struct cp *cp)
{
	session_stop(cp->session);
	ev_stop(&cp->loop);
}

static void leave_if_flushed(struct cp *cp)
{
	if (cp->have_exit && session_is_flushed(cp->session))
		leave(cp);
}

static void on_nothing(struct session *s)
{
	(void)s;
}

static void on_ended(struct session *s)
{
	struct cp *cp = s->p.opaque;
	struct run_result r = { .exit = s->exit };

	if (s->exit.stage != WIRE_STAGE_RUN)
		verdict_from_exit(&r, cp->copy->label, cp->config->user,
				  cp->err);
	cp->have_exit = 1;
	cp->code = s->exit.signal ? 1 : s->exit.code;
	leave_if_flushed(cp);
}

static void on_lost(struct session *s, const char *why)
{
	struct cp *cp = s->p.opaque;

	if (cp->have_exit)
		return;
	if (s->ready_ns)
		err_say(cp->err, -ESRCH, "%s: the VM ended before the copy did",
			cp->copy->label);
	else
		err_say(cp->err, -EBUSY, "%s: no session: %s", cp->copy->label,
			why);
	leave(cp);
}

/* The child takes no more: it has failed, or had the whole tree. */
static void on_broke(struct session *s, const char *stream, int error)
{
	(void)stream;
	(void)error;
	leave(s->p.opaque);
}

static void on_moved(struct session *s)
{
	leave_if_flushed(s->p.opaque);
}

static const struct session_ops session_ops = {
	.ready = on_nothing,
	.started = on_nothing,
	.ended = on_ended,
	.lost = on_lost,
	.broke = on_broke,
	.moved = on_moved,
};

static void on_signal(struct ev *ev, uint32_t events)
{
	struct cp *cp = container_of(ev, struct cp, signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	if (!signo)
		return;
	/* Who insists does not wait for the child to clean up. */
	if (cp->signo)
		cp_host_kill(&cp->host);
	cp->signo = signo;
	ev_stop(&cp->loop);
}

static void on_host_ended(struct ev *ev, uint32_t events)
{
	struct cp *cp = container_of(ev, struct cp, host_ended);

	(void)events;
	ev_del(ev);
	cp->have_end = 1;
	cp->end = cp_host_wait(&cp->host);
	/* A whole tree written is not yet a whole tree sent: the session
	 * goes on to the exit code. */
	if (cp->end == CP_FAILED || !cp->session)
		ev_stop(&cp->loop);
}

static int open_session(struct cp *cp, int words)
{
	const struct copy *c = cp->copy;
	struct session_params p = {
		.ops = &session_ops,
		.opaque = cp,
		.loop = &cp->loop,
		.agent_fd = cp->agent,
		.fd = { c->out ? -1 : cp->host.stream,
			c->out ? cp->host.stream : words, words },
		.flags = WIRE_EXEC_AGENT | (c->out ? 0 : WIRE_EXEC_STDIN),
		.argv = cp->argv,
		.env = &cp->env,
		.user = cp->config->user,
	};

	if (c->out) {
		cp->argv[0] = (char *)WIRE_TREE_OUT;
		cp->argv[1] = (char *)c->guest;
	} else {
		cp->argv[0] = (char *)WIRE_TREE_IN;
		cp->argv[1] = (char *)c->name;
		cp->argv[2] = (char *)c->guest;
	}
	cp->agent = -1;
	return p.agent_fd < 0 ? p.agent_fd
			      : session_open(&cp->session, &p, cp->err);
}

/* Until the session is over, one way or another. */
static int converse(struct cp *cp)
{
	int words[2], r;

	if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(cp->err, -errno, "pipe");
	r = listen_to(&cp->guest_words, cp, words[0], cp->copy->label);
	if (r < 0)
		err_set(cp->err, r, "epoll");
	else
		r = open_session(cp, words[1]);
	if (r == 0)
		r = ev_run(&cp->loop);
	session_close(&cp->session);
	/* What the guest's side has said is in the pipe. */
	close(words[1]);
	while (r == 0 && !cp->guest_words.over)
		r = ev_once(&cp->loop, -1);
	ev_del(&cp->guest_words.ev);
	close(words[0]);
	return r;
}

/* The stream has ended, whatever the reason: the child will. */
static int await_host(struct cp *cp)
{
	int r = 0;

	close_fd(&cp->host.stream);
	while (r >= 0 && !(cp->have_end && cp->host_words.over))
		r = ev_once(&cp->loop, -1);
	return MIN(r, 0);
}

/* --- the outcome --------------------------------------------------------- */

/* Notes that came last are notes as well. */
static int incomplete(struct cp *cp)
{
	print_note(&cp->host_words);
	print_note(&cp->guest_words);
	return err_say(cp->err, -EIO, "cp: not all of it could be copied");
}

/*
 * The side that failed by itself has the word: the other one only saw its
 * stream end. What goes in may have been sent to its end before that.
 */
static const struct words *whose_failure(const struct cp *cp)
{
	if (cp->end == CP_FAILED)
		return &cp->host_words;
	if (cp->have_exit && cp->code &&
	    (cp->end == CP_CUT || (cp->end == CP_WHOLE && !cp->copy->out)))
		return &cp->guest_words;
	return NULL;
}

static int outcome(struct cp *cp)
{
	const struct words *w = whose_failure(cp);

	clear_progress(cp);
	if (cp->signo)
		return 128 + cp->signo;
	if (cp->err->msg[0])
		return err_wrap(cp->err, "cp");
	if (w && w->lines)
		return err_say(cp->err, -EIO, "cp: %s", w->last);
	if (w)
		return err_say(cp->err, -EIO, "cp: %s: the copy failed",
			       cp->copy->label);
	if (cp->end == CP_CUT || !cp->have_exit)
		return err_say(cp->err, -EPROTO,
			       "cp: %s: the guest's side of the copy broke off",
			       cp->copy->label);
	if (cp->code || cp->end == CP_PARTLY)
		return incomplete(cp);
	print_note(&cp->host_words);
	print_note(&cp->guest_words);
	return 0;
}

static int copy_all(struct cp *cp, const sigset_t *signals)
{
	_cleanup_fd_ int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	int r;

	if (fd < 0)
		return err_set(cp->err, -errno, "signalfd");
	cp->signals = (struct ev){ .fd = fd, .fn = on_signal };
	cp->host_ended = (struct ev){ .fd = cp->host.pidfd,
				      .fn = on_host_ended };
	r = ev_set(&cp->loop, &cp->signals, EPOLLIN);
	if (r == 0)
		r = ev_set(&cp->loop, &cp->host_ended, EPOLLIN);
	if (r == 0)
		r = listen_to(&cp->host_words, cp, cp->host.words, NULL);
	if (r == 0)
		r = show_progress(cp);
	if (r < 0)
		return err_set(cp->err, r, "epoll");
	r = converse(cp);
	if (await_host(cp) < 0 || (r < 0 && !cp->err->msg[0]))
		return err_set(cp->err, -EIO, "event loop");
	return outcome(cp);
}

/* The child that has the host's files, before anything is asked of a guest:
 * most mistakes are found here. */
static int start_host(struct cp *cp, struct tree_place *place)
{
	const struct copy *c = cp->copy;

	return c->out ? cp_host_unpack(&cp->host, place, cp->err)
		      : cp_host_pack(&cp->host, c->host, cp->err);
}

static int copy(struct cp *cp, struct tree_place *place)
{
	sigset_t signals, before;
	int r = ev_loop_init(&cp->loop);

	if (r < 0)
		return err_set(cp->err, r, "epoll");
	cp->tick.fd = cp->agent = -1;
	session_forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = start_host(cp, place);
	if (r == 0) {
		/* A VM that is stuck may be long in answering: a signal is
		 * ours to die of, and the child will see that we did. */
		sigprocmask(SIG_SETMASK, &before, NULL);
		cp->agent = state_connect_agent(cp->state, cp->err);
		sigprocmask(SIG_BLOCK, &signals, NULL);
		r = copy_all(cp, &signals);
	}
	close_fd(&cp->agent);
	cp_host_free(&cp->host);
	ev_del(&cp->tick);
	close_fd(&cp->tick.fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	ev_loop_free(&cp->loop);
	return r;
}

/* --- operands ------------------------------------------------------------ */

/* Split NAME:PATH in place; the path, or NULL for one of the host's. */
static char *split(char *arg)
{
	char *colon = strchr(arg, ':');

	if (!colon || *arg == '/' || *arg == '.')
		return NULL;
	*colon = '\0';
	return colon + 1;
}

/* The last component of @path; none where it stands for contents. */
static int name_of(struct copy *c, const char *path, struct err *err)
{
	size_t end = strlen(path), at;

	while (end && path[end - 1] == '/')
		end--;
	for (at = end; at && path[at - 1] != '/'; at--)
		;
	if (end - at > NAME_MAX)
		return err_set(err, -ENAMETOOLONG, "cp: %s", path);
	memcpy(c->name, path + at, end - at);
	c->name[end - at] = '\0';
	if (!strcmp(c->name, ".") || !strcmp(c->name, ".."))
		c->name[0] = '\0';
	return 0;
}

static int take_operands(struct copy *c, char **argv, struct err *err)
{
	char *from, *to;
	int n = 0;

	while (argv[n])
		n++;
	if (n != 2) {
		err_say(err, -EINVAL, "cp: %d operands, not two", n);
		return err_hint(err, "mayfly cp NAME:PATH PATH, or mayfly cp "
				     "PATH NAME:PATH");
	}
	from = split(argv[0]);
	to = split(argv[1]);
	if (!from == !to) {
		err_say(err, -EINVAL, from ? "cp: both paths are of a guest" :
					     "cp: neither path is of a guest");
		return err_hint(err, "one of them is NAME:PATH; `mayfly ps` "
				     "lists names");
	}
	c->out = from != NULL;
	c->label = c->out ? argv[0] : argv[1];
	c->guest = c->out ? from : to;
	c->host = c->out ? argv[1] : argv[0];
	if (!*c->guest || !*c->host)
		return err_say(err, -EINVAL, "cp: a path is empty");
	return name_of(c, c->out ? c->guest : c->host, err);
}

static void say_error(void *opaque, const char *path, const char *what,
		      int error)
{
	err_set(opaque, -error, "cp: %s: %s", path, what);
}

/* What can be known of the host's path by now. */
static int look_at_host(const struct copy *c, struct tree_place *place,
			struct err *err)
{
	const struct tree_ops ops = { .say = say_error, .opaque = err };
	struct stat st;

	place->dir = -1;
	if (c->out)
		return tree_place(place, c->host, c->name, &ops);
	if (lstat(c->host, &st) < 0)
		return err_set(err, -errno, "cp: %s", c->host);
	return 0;
}

int cmd_cp(int argc, char **argv, struct err *err)
{
	struct cp_config config = { 0 };
	struct tree_place place = { .dir = -1 };
	struct copy c = { 0 };
	struct cp cp = { .copy = &c, .config = &config, .err = err };
	struct opt_rest rest;
	int r = opts_parse(&cmd_cp_table, &config, argc, argv, &rest, err);

	if (r == 0 && rest.help)
		return opts_help(&cmd_cp_table);
	if (r == 0)
		r = take_operands(&c, argv + rest.first, err);
	if (r == 0)
		r = state_find(&cp.state, c.label, err);
	if (r == 0)
		r = look_at_host(&c, &place, err);
	if (r == 0)
		r = copy(&cp, &place);
	close_fd(&place.dir);
	state_close(&cp.state);
	return r;
}
