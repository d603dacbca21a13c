/* SPDX-License-Identifier: Apache-2.0 */
/* One tree between the host's files and those of a guest that runs. */
#include "runner/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rootfs/tree.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/verdict.h"

#define NOTES_MAX 50 /* of each side; the rest is counted */
#define TICK_NS	  250000000u
#define PATIENCE  4 /* ticks before progress is shown */
#define CLEAN_MS  20000 /* for a child whose stream has ended; it may be late */

/* --- words --------------------------------------------------------------- */

static void clear_progress(struct transfer *t)
{
	if (t->shown)
		fputs("\r\033[K", stderr);
	t->shown = 0;
}

/* What was the last line is not: it was only a note. */
static void print_note(struct transfer_words *w)
{
	const char *what = w->t->task->what;

	if (!w->lines)
		return;
	clear_progress(w->t);
	if (w->lines <= NOTES_MAX)
		fprintf(stderr, "mayfly: %s: %s\n", what, w->last);
	else if (w->lines == NOTES_MAX + 1)
		fprintf(stderr, "mayfly: %s: and more\n", what);
}

static void take_line(struct transfer_words *w)
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
static void take_byte(struct transfer_words *w, char ch)
{
	if (ch == '\n')
		take_line(w);
	else if (w->len < sizeof(w->line))
		w->line[w->len++] = ch >= ' ' && ch <= '~' ? ch : '?';
}

static void settle(struct transfer *t);

static void on_words(struct ev *ev, uint32_t events)
{
	struct transfer_words *w = container_of(ev, struct transfer_words, ev);
	char buf[4096];
	ssize_t n = read(ev->fd, buf, sizeof(buf));

	(void)events;
	for (ssize_t i = 0; i < n; i++)
		take_byte(w, buf[i]);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	ev_del(ev);
	w->over = 1;
	settle(w->t);
}

static int listen_to(struct transfer_words *w, struct transfer *t, int fd,
		     const char *label)
{
	w->t = t;
	w->label = label;
	w->ev = (struct ev){ .fd = fd, .fn = on_words };
	return ev_set(t->loop, &w->ev, EPOLLIN);
}

/* --- progress ------------------------------------------------------------ */

static void on_tick(struct ev *ev, uint32_t events)
{
	struct transfer *t = container_of(ev, struct transfer, tick);

	(void)events;
	ev_drain(ev->fd);
	ev_timer_arm(ev->fd, TICK_NS);
	if (++t->ticks < PATIENCE)
		return;
	fprintf(stderr, "\r\033[K%.1f MB",
		(double)cp_host_bytes(&t->host) / 1e6);
	t->shown = 1;
}

static int show_progress(struct transfer *t)
{
	if (t->task->quiet || !isatty(STDERR_FILENO))
		return 0;
	t->tick = (struct ev){ .fd = ev_timer_fd(), .fn = on_tick };
	if (t->tick.fd < 0)
		return t->tick.fd;
	ev_timer_arm(t->tick.fd, TICK_NS);
	return ev_set(t->loop, &t->tick, EPOLLIN);
}

uint64_t transfer_moved(const struct transfer *t)
{
	return cp_host_bytes(&t->host) + cp_host_taken(&t->host);
}

/* --- the end ------------------------------------------------------------- */

/* The session must not be closed by its own callbacks: in a moment. */
static void hang_up(struct transfer *t)
{
	if (t->stage == TRANSFER_CLOSE)
		return;
	t->stage = TRANSFER_CLOSE;
	if (t->session)
		session_stop(t->session);
	ev_del(&t->dial);
	close_fd(&t->dial.fd);
	ev_timer_arm(t->timer.fd, 1);
}

/* The stream has ended, whatever the reason: the child will. */
static void close_session(struct transfer *t)
{
	session_close(&t->session);
	close_fd(&t->guest_end);
	close_fd(&t->host.stream);
}

static void settle(struct transfer *t)
{
	if (t->stage != TRANSFER_CLOSE || t->session || t->host.stream >= 0 ||
	    !t->have_end || !t->host_words.over || !t->guest_words.over)
		return;
	ev_del(&t->tick);
	ev_timer_arm(t->timer.fd, 0);
	clear_progress(t);
	t->done(t, t->opaque);
}

static void on_timer(struct ev *ev, uint32_t events)
{
	struct transfer *t = container_of(ev, struct transfer, timer);

	(void)events;
	if (!ev_drain(ev->fd))
		return;
	if (t->stage == TRANSFER_DIAL) {
		err_say(&t->err, -ETIMEDOUT, "%s: its agent does not answer",
			t->task->label);
		hang_up(t);
		return;
	}
	close_session(t);
	settle(t);
}

static void on_host_ended(struct ev *ev, uint32_t events)
{
	struct transfer *t = container_of(ev, struct transfer, host_ended);

	(void)events;
	ev_del(ev);
	t->have_end = 1;
	t->end = cp_host_wait(&t->host);
	/* A whole tree written is not yet a whole tree sent: the session
	 * goes on to the exit code. */
	if (t->end == CP_FAILED || t->end == CP_OVER)
		hang_up(t);
	settle(t);
}

/* --- the session --------------------------------------------------------- */

static void end_if_flushed(struct transfer *t)
{
	if (t->have_exit && session_is_flushed(t->session))
		hang_up(t);
}

static void on_nothing(struct session *s)
{
	(void)s;
}

static void on_ended(struct session *s)
{
	struct transfer *t = s->p.opaque;
	struct run_result r = { .exit = s->exit };

	if (s->exit.stage != WIRE_STAGE_RUN)
		verdict_from_exit(&r, t->task->label, t->task->user, &t->err);
	t->have_exit = 1;
	t->code = s->exit.signal ? 1 : s->exit.code;
	end_if_flushed(t);
}

static void on_lost(struct session *s, const char *why)
{
	struct transfer *t = s->p.opaque;

	if (t->have_exit)
		return;
	if (s->ready_ns)
		err_say(&t->err, -ESRCH, "%s: the VM ended before the copy did",
			t->task->label);
	else
		err_say(&t->err, -EBUSY, "%s: no session: %s", t->task->label,
			why);
	hang_up(t);
}

/* The child takes no more: it has failed, or had the whole tree. */
static void on_broke(struct session *s, const char *stream, int error)
{
	(void)stream;
	(void)error;
	hang_up(s->p.opaque);
}

static void on_moved(struct session *s)
{
	end_if_flushed(s->p.opaque);
}

static const struct session_ops session_ops = {
	.ready = on_nothing,
	.started = on_nothing,
	.ended = on_ended,
	.lost = on_lost,
	.broke = on_broke,
	.moved = on_moved,
};

static int talk(struct transfer *t, int agent)
{
	const struct transfer_task *k = t->task;
	const int in = k->host != NULL;
	struct session_params p = {
		.ops = &session_ops,
		.opaque = t,
		.loop = t->loop,
		.agent_fd = agent,
		.fd = { in ? t->host.stream : -1,
			in ? t->guest_end : t->host.stream, t->guest_end },
		.flags = WIRE_EXEC_AGENT | (in ? WIRE_EXEC_STDIN : 0),
		.argv = k->argv,
		.env = &t->env,
		.user = k->user,
	};

	ev_timer_arm(t->timer.fd, 0);
	t->stage = TRANSFER_TALK;
	return session_open(&t->session, &p, &t->err);
}

static void on_dial(struct ev *ev, uint32_t events)
{
	struct transfer *t = container_of(ev, struct transfer, dial);
	int r = state_take_answer(ev->fd, &t->answer);

	(void)events;
	if (r == -EAGAIN)
		return;
	ev_del(ev);
	if (r == 0)
		r = talk(t, steal_fd(&ev->fd));
	else
		err_say(&t->err, r, "%s: its agent takes no connection",
			t->task->label);
	if (r < 0)
		hang_up(t);
}

/* --- life cycle ---------------------------------------------------------- */

static int dial(struct transfer *t, struct state *state)
{
	t->dial = (struct ev){ .fd = state_dial_agent(state, &t->err),
			       .fn = on_dial };
	if (t->dial.fd < 0)
		return t->dial.fd;
	ev_timer_arm(t->timer.fd, STATE_ANSWER_NS);
	return ev_set(t->loop, &t->dial, EPOLLIN);
}

static int watch(struct transfer *t)
{
	int words[2], r;

	t->timer = (struct ev){ .fd = ev_timer_fd(), .fn = on_timer };
	if (t->timer.fd < 0 || pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	t->guest_end = words[1];
	r = listen_to(&t->guest_words, t, words[0], t->task->label);
	if (r < 0) {
		close(words[0]);
		return r;
	}
	t->host_ended = (struct ev){ .fd = t->host.pidfd,
				     .fn = on_host_ended };
	r = ev_set(t->loop, &t->timer, EPOLLIN);
	if (r == 0)
		r = ev_set(t->loop, &t->host_ended, EPOLLIN);
	if (r == 0)
		r = listen_to(&t->host_words, t, t->host.words, NULL);
	return r == 0 ? show_progress(t) : r;
}

int transfer_start(struct transfer *t, const struct transfer_task *task,
		   struct ev_loop *loop, struct state *state,
		   void (*done)(struct transfer *t, void *opaque), void *opaque,
		   struct err *err)
{
	int r;

	*t = (struct transfer){ .task = task, .loop = loop, .done = done,
				.opaque = opaque, .guest_end = -1 };
	t->dial.fd = t->timer.fd = t->tick.fd = t->guest_words.ev.fd = -1;
	/* The child first: most mistakes are found there. */
	r = task->host ? cp_host_pack(&t->host, task->host, &t->err) :
			 cp_host_unpack(&t->host, task->place, &t->err);
	if (r == 0)
		r = watch(t);
	if (r == 0)
		r = dial(t, state);
	if (r == 0)
		return 0;
	if (t->err.code)
		*err = t->err;
	else
		err_set(err, r, "%s", task->what);
	transfer_free(t);
	return r;
}

void transfer_cut(struct transfer *t)
{
	t->cut = 1;
	hang_up(t);
}

void transfer_kill(struct transfer *t)
{
	cp_host_kill(&t->host);
}

void transfer_free(struct transfer *t)
{
	struct pollfd p = { .fd = t->host.pidfd, .events = POLLIN };

	ev_del(&t->dial);
	ev_del(&t->timer);
	ev_del(&t->tick);
	ev_del(&t->host_ended);
	ev_del(&t->host_words.ev);
	ev_del(&t->guest_words.ev);
	close_session(t);
	close_fd(&t->dial.fd);
	close_fd(&t->timer.fd);
	close_fd(&t->tick.fd);
	close_fd(&t->guest_words.ev.fd);
	clear_progress(t);
	close_fd(&t->host.words); /* nobody listens: it must not wait for us */
	if (t->host.pid > 0 && p.fd >= 0)
		poll(&p, 1, CLEAN_MS);
	cp_host_free(&t->host);
}

/* --- the outcome --------------------------------------------------------- */

/* Notes that came last are notes as well. */
static int incomplete(struct transfer *t, struct err *err)
{
	print_note(&t->host_words);
	print_note(&t->guest_words);
	return err_say(err, -EIO, "%s: not all of it could be copied",
		       t->task->what);
}

/*
 * The side that failed by itself has the word: the other one only saw its
 * stream end. What goes in may have been sent to its end before that.
 */
static const struct transfer_words *whose_failure(const struct transfer *t)
{
	if (t->end == CP_FAILED || t->end == CP_OVER)
		return &t->host_words;
	if (t->have_exit && t->code &&
	    (t->end == CP_CUT || (t->end == CP_WHOLE && t->task->host)))
		return &t->guest_words;
	return NULL;
}

int transfer_outcome(struct transfer *t, struct err *err)
{
	const struct transfer_words *w = whose_failure(t);
	const char *what = t->task->what, *label = t->task->label;

	if (t->err.msg[0]) {
		*err = t->err;
		return err_wrap(err, "%s", what);
	}
	if (w && w->lines)
		return err_say(err, t->end == CP_OVER ? -E2BIG : -EIO,
			       "%s: %s", what, w->last);
	if (w)
		return err_say(err, -EIO, "%s: %s: the copy failed", what,
			       label);
	if (t->end == CP_CUT || !t->have_exit)
		return err_say(err, -EPROTO,
			       "%s: %s: the guest's side of the copy broke off",
			       what, label);
	if (t->code || t->end == CP_PARTLY)
		return incomplete(t, err);
	print_note(&t->host_words);
	print_note(&t->guest_words);
	return 0;
}

int transfer_name(char name[NAME_MAX + 1], const char *path)
{
	size_t end = strlen(path), at;

	while (end && path[end - 1] == '/')
		end--;
	for (at = end; at && path[at - 1] != '/'; at--)
		;
	if (end - at > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, path + at, end - at);
	name[end - at] = '\0';
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		name[0] = '\0';
	return 0;
}
