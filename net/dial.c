/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the host's resolvers, for a forwarder that can make none. */
#include "net/dial.h"

#include <errno.h>
#include <sys/socket.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/*
 * Theory of operation
 *
 * A word is read when there is a place and a token for it. Nothing of what the
 * other side does costs more than that: what it sends too much fills its own
 * socket. It is told of each connection by a message that is not waited for; as
 * many as it may have places for (FORWARD_STREAMS) fit into the socket's
 * buffer, and not many more, so one that never reads keeps few descriptors on
 * their way, and is found out.
 *
 * Descriptors that it sends are never received: recv() drops them.
 */

#define SECOND	    UINT64_C(1000000000)
#define DIAL_COST   (SECOND / DIALS_PER_SECOND)
#define PATIENCE_NS (2 * SECOND)

/* The kernel doubles it, and counts a small message for 768 bytes: 21 of them. */
#define SEND_BUFFER 8192

void dialler_init(struct dialler *d)
{
	*d = (struct dialler){ .control.fd = -1, .timer.fd = -1,
			       .patience = PATIENCE_NS };
	for (unsigned i = 0; i < DIALS_MAX; i++)
		d->dial[i].ev.fd = -1;
}

static void dial_end(struct dial *l)
{
	ev_del(&l->ev);
	close_fd(&l->ev.fd);
}

void dialler_close(struct dialler *d)
{
	ev_del(&d->control);
	ev_del(&d->timer);
	d->control.fd = -1;
	close_fd(&d->timer.fd);
	for (unsigned i = 0; i < DIALS_MAX; i++)
		dial_end(&d->dial[i]);
}

static void fail(struct dialler *d, int code, const char *what)
{
	struct err err = { 0 };

	err_say(&err, code, "the DNS forwarder %s", what);
	dialler_close(d);
	d->failed(d->opaque, &err);
}

/* --- when to read on ------------------------------------------------------ */

static struct dial *free_place(struct dialler *d)
{
	for (unsigned i = 0; i < DIALS_MAX; i++)
		if (d->dial[i].ev.fd < 0)
			return &d->dial[i];
	return NULL;
}

static void refill(struct dialler *d, uint64_t now)
{
	d->tokens = MIN(d->tokens + MIN(now - d->refilled, SECOND), SECOND);
	d->refilled = now;
}

/* Its end is told at any time. */
static void settle(struct dialler *d)
{
	uint64_t now = io_now_ns(), at = UINT64_MAX;
	int room = free_place(d) != NULL;

	refill(d, now);
	if (room && d->tokens < DIAL_COST)
		at = now + DIAL_COST - d->tokens;
	for (unsigned i = 0; i < DIALS_MAX; i++)
		if (d->dial[i].ev.fd >= 0)
			at = MIN(at, d->dial[i].deadline);
	if (ev_set(d->loop, &d->control, room && d->tokens >= DIAL_COST ?
		   EPOLLIN | EPOLLRDHUP : EPOLLRDHUP) < 0 ||
	    ev_timer_arm(d->timer.fd, at == UINT64_MAX ? 0 :
			 at > now ? at - now : 1) < 0)
		fail(d, -EIO, "cannot be watched");
}

/* --- answers -------------------------------------------------------------- */

/* 0, or -errno where it cannot be told and is at its end. @fd is borrowed. */
static int tell(struct dialler *d, uint32_t stream, int error, int fd)
{
	struct forward_dialled said = { .stream = stream, .error = error };
	int r = io_send_fds(d->control.fd, &said, sizeof(said), &fd, !error);

	/* Without root a user has so many on their way, in all sockets. */
	if (r == -ETOOMANYREFS) {
		said.error = r;
		r = io_send_fds(d->control.fd, &said, sizeof(said), NULL, 0);
	}
	/* That it is gone is told by its socket. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		return 0;
	if (r == -EAGAIN)
		fail(d, -EPROTO, "does not read what it asked for");
	else
		fail(d, r, "cannot be told of a connection");
	return r;
}

static int dial_told(struct dial *l, int error)
{
	int r = tell(l->d, l->stream, error, l->ev.fd);

	if (r == 0)
		dial_end(l);
	return r;
}

static void on_connected(struct ev *ev, uint32_t events)
{
	struct dial *l = container_of(ev, struct dial, ev);
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(ev->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (dial_told(l, -error) == 0)
		settle(l->d);
}

static void on_timer(struct ev *ev, uint32_t events)
{
	struct dialler *d = container_of(ev, struct dialler, timer);
	uint64_t now = io_now_ns();

	(void)events;
	ev_drain(ev->fd);
	for (unsigned i = 0; i < DIALS_MAX; i++) {
		struct dial *l = &d->dial[i];

		if (l->ev.fd >= 0 && l->deadline <= now &&
		    dial_told(l, -ETIMEDOUT) < 0)
			return;
	}
	settle(d);
}

/* --- words ---------------------------------------------------------------- */

static int begin(struct dialler *d, const struct forward_dial *word)
{
	struct dial *l = free_place(d);
	int fd = forward_connect(&d->resolver[word->upstream], SOCK_STREAM);

	d->tokens -= DIAL_COST;
	if (fd < 0)
		return tell(d, word->stream, fd, -1);
	l->ev = (struct ev){ .fd = fd, .fn = on_connected };
	l->d = d;
	l->stream = word->stream;
	l->deadline = io_now_ns() + d->patience;
	if (ev_set(d->loop, &l->ev, EPOLLOUT) < 0)
		return dial_told(l, -EIO);
	return 0;
}

static void on_word(struct ev *ev, uint32_t events)
{
	struct dialler *d = container_of(ev, struct dialler, control);
	struct {
		struct forward_dial word;
		char more; /* a longer message is none of ours */
	} in;
	ssize_t n = 0;

	if (events & EPOLLIN)
		n = recv(ev->fd, &in, sizeof(in), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail(d, -EIO, "has ended");
	else if (n != sizeof(in.word) || in.word.upstream >= d->nresolvers)
		fail(d, -EPROTO, "asks for what there is not");
	else if (begin(d, &in.word) == 0)
		settle(d);
}

int dialler_open(struct dialler *d, struct ev_loop *loop, int control,
		 const struct forward_resolver *r, unsigned n,
		 void (*failed)(void *opaque, struct err *err), void *opaque)
{
	int size = SEND_BUFFER, code;

	d->loop = loop;
	d->nresolvers = MIN(n, FORWARD_UPSTREAMS);
	for (unsigned i = 0; i < d->nresolvers; i++)
		d->resolver[i] = r[i];
	d->failed = failed;
	d->opaque = opaque;
	d->tokens = SECOND;
	d->refilled = io_now_ns();
	if (setsockopt(control, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return -errno;
	code = io_set_nonblock(control, 1);
	if (code == 0)
		code = d->timer.fd = ev_timer_fd();
	if (code < 0)
		return code;
	d->timer.fn = on_timer;
	d->control = (struct ev){ .fd = control, .fn = on_word };
	code = ev_set(loop, &d->control, EPOLLIN | EPOLLRDHUP);
	return code < 0 ? code : ev_set(loop, &d->timer, EPOLLIN);
}
