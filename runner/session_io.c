/* SPDX-License-Identifier: Apache-2.0 */
/* One command over one stream to a guest's agent: the user's streams. */
#include "runner/session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/journal.h"

/* Room that input leaves in the sink: SIGNAL and STDIN_EOF always fit. */
#define INPUT_RESERVE 128

/* --- output ----------------------------------------------------------- */

int session_has_room(const struct session *s)
{
	return sink_room(&s->out) >= WIRE_DATA_MAX &&
	       sink_room(&s->errout) >= WIRE_DATA_MAX;
}

int session_is_flushed(const struct session *s)
{
	return !s->out.len && !s->errout.len;
}

uint64_t session_written(const struct session *s)
{
	return s->p.journal ? s->output_bytes :
			      s->out.written + s->errout.written;
}

static void check_output(struct session *s, const struct sink *k)
{
	if (k->error && !s->stopped)
		s->p.ops->broke(s, k == &s->out ? "stdout" : "stderr",
				k->error);
}

/* Standard error, or the terminal that is it as well. */
static void remember(struct session *s, const char *data, size_t len)
{
	size_t keep;

	if (len > SESSION_TAIL) {
		data += len - SESSION_TAIL;
		len = SESSION_TAIL;
	}
	keep = MIN(s->tail_len, SESSION_TAIL - len);
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, data, len);
	s->tail_len = keep + len;
}

static void put_output(struct session *s, int fd, const void *data, size_t len)
{
	struct sink *k = fd == STDOUT_FILENO ? &s->out : &s->errout;

	if (!s->output_ns)
		s->output_ns = io_now_ns();
	if (fd == STDERR_FILENO || s->p.flags & WIRE_EXEC_TTY)
		remember(s, data, len);
	if (s->p.journal) {
		/* What cannot be kept is counted there: the command goes on. */
		journal_write(s->p.journal,
			      fd == STDOUT_FILENO ? JOURNAL_STDOUT
						  : JOURNAL_STDERR,
			      data, len);
		return;
	}
	sink_put(k, data, len);
	check_output(s, k);
}

void session_output(struct session *s, int fd, const void *data, size_t len)
{
	uint64_t left = s->p.output_max ? s->p.output_max - s->output_bytes :
					  UINT64_MAX;
	size_t n = MIN(len, left);

	if (s->full)
		return;
	s->output_bytes += n;
	if (n)
		put_output(s, fd, data, n);
	if (n < len) {
		s->full = 1;
		if (!s->stopped)
			s->p.ops->full(s);
	}
}

static void output_moved(struct sink *k, void *opaque)
{
	struct session *s = opaque;

	check_output(s, k);
	session_pump(s);
	if (!s->stopped)
		s->p.ops->moved(s);
}

/* --- input ------------------------------------------------------------ */

/* How much of standard input may be sent at once; 0: not now. */
static size_t input_room(const struct session *s)
{
	size_t room = sink_room(&s->to_agent), window;

	if (s->in_eof || !s->ready_ns || !s->sent_exec || s->to_agent.error ||
	    room <= INPUT_RESERVE)
		return 0;
	window = WIRE_STDIN_WINDOW - s->in_flight;
	room = MIN(room - INPUT_RESERVE, window);
	return MIN(room, WIRE_DATA_MAX);
}

static void end_of_input(struct session *s)
{
	s->in_eof = 1;
	ev_del(&s->input);
	session_send(s, WIRE_STDIN_EOF, NULL, 0);
}

/* A shared description blocks: read it only when epoll said so. */
static void read_input(struct session *s, int ready)
{
	uint8_t buf[WIRE_HDR + WIRE_DATA_MAX];
	size_t room;

	while ((room = input_room(s)) > 0) {
		ssize_t n = -EAGAIN;

		if (ready || s->in.kind != STREAM_SHARED)
			n = stream_read(&s->in, buf + WIRE_HDR, room);
		ready = 0;
		if (n == -EAGAIN) {
			ev_set(s->p.loop, &s->input, EPOLLIN);
			return;
		}
		/* An unreadable input ends like an empty one. */
		if (n <= 0) {
			end_of_input(s);
			return;
		}
		wire_put_hdr(buf, WIRE_STDIN, (uint32_t)n);
		s->in_flight += (uint64_t)n;
		sink_put(&s->to_agent, buf, WIRE_HDR + (size_t)n);
	}
	ev_del(&s->input); /* until the window opens */
}

void session_begin_input(struct session *s)
{
	/* The owner may have had enough when it heard of READY. */
	if (s->in.fd < 0 || s->in_eof)
		return;
	if (s->p.flags & WIRE_EXEC_TTY)
		terminal_raw(&s->terminal, s->p.fd[STDIN_FILENO]);
	session_pump_input(s);
}

void session_pump_input(struct session *s)
{
	if (s->in.fd >= 0)
		read_input(s, 0);
}

static void on_input(struct ev *ev, uint32_t events)
{
	(void)events;
	read_input(container_of(ev, struct session, input), 1);
}

void session_end_input(struct session *s)
{
	s->in_eof = 1;
	ev_del(&s->input);
	terminal_restore(&s->terminal);
}

/* --- the terminal ----------------------------------------------------- */

static void send_size(struct session *s)
{
	struct wire_winch w;

	if (terminal_size(s->tty_fd, &w.rows, &w.cols) == 0)
		session_send(s, WIRE_WINCH, &w, sizeof(w));
}

static void on_tty_signal(struct ev *ev, uint32_t events)
{
	struct session *s = container_of(ev, struct session, tty_signals);
	int signo = ev_signal(ev->fd);

	(void)events;
	switch (signo) {
	case SIGQUIT: /* what would end us, terminal or not */
	case SIGUSR1:
	case SIGUSR2:
		terminal_restore(&s->terminal);
		sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
		raise(signo);
		break;
	case SIGTSTP: /* sent by someone: a raw terminal's Ctrl-Z is a byte */
		terminal_pause(&s->terminal);
		raise(SIGSTOP);
		break;
	case SIGCONT:
		terminal_resume(&s->terminal);
		send_size(s);
		break;
	case SIGWINCH:
		send_size(s);
		break;
	}
}

/* Whose size the guest's terminal has: any that is one. */
static int open_terminal(struct session *s)
{
	static const int list[] = { SIGTSTP, SIGQUIT, SIGUSR1, SIGUSR2 };
	sigset_t set;

	for (int i = 0; i < 3 && s->tty_fd < 0; i++)
		if (isatty(s->p.fd[i]))
			s->tty_fd = s->p.fd[i];
	if (s->tty_fd < 0)
		return 0;
	session_unignored(&set, list, ARRAY_SIZE(list));
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGCONT);
	s->tty_signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->tty_signals.fd < 0)
		return -errno;
	s->tty_signals.fn = on_tty_signal;
	sigprocmask(SIG_BLOCK, &set, &s->mask_before);
	return ev_set(s->p.loop, &s->tty_signals, EPOLLIN);
}

static void close_terminal(struct session *s)
{
	terminal_restore(&s->terminal);
	if (s->tty_signals.fd < 0)
		return;
	ev_del(&s->tty_signals);
	close_fd(&s->tty_signals.fd);
	sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
}

/* --- set-up ----------------------------------------------------------- */

static int open_output(struct session *s, struct sink *k, int fd)
{
	struct stream st;
	int r = stream_private(&st, fd, O_WRONLY);

	return r < 0 ? r : sink_init(k, s->p.loop, &st, output_moved, s);
}

int session_open_streams(struct session *s)
{
	int r = 0;

	if (!s->p.journal)
		r = open_output(s, &s->out, s->p.fd[STDOUT_FILENO]);
	if (r == 0 && !s->p.journal)
		r = open_output(s, &s->errout, s->p.fd[STDERR_FILENO]);
	if (r == 0 && s->p.flags & WIRE_EXEC_STDIN &&
	    s->p.fd[STDIN_FILENO] >= 0) {
		r = stream_private(&s->in, s->p.fd[STDIN_FILENO], O_RDONLY);
		s->input = (struct ev){ .fd = s->in.fd, .fn = on_input };
	}
	if (r == 0 && s->p.flags & WIRE_EXEC_TTY)
		r = open_terminal(s);
	return r;
}

void session_close_streams(struct session *s)
{
	close_terminal(s);
	sink_free(&s->out);
	sink_free(&s->errout);
	ev_del(&s->input);
	stream_close(&s->in);
}
