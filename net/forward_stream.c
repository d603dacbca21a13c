/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder's side towards the upstreams by TCP: what UDP has cut. */
#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/forward_impl.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/*
 * RFC 7766 5: an answer that is truncated is asked for again by TCP. To make a
 * connection is more than the forwarder may do, so the launcher makes it, asked
 * by a word on the control socket for each (net/dial.h). It answers each word
 * once, sooner or later; until then the place is taken, though nobody may want
 * the connection any more. So there are never more words on their way than
 * there are places.
 *
 * A connection is for one question. What comes is read up to the length that
 * it begins with, and what it is not for is a failure: nobody else's answer
 * can be there, so there is nothing to wait for.
 */

/* How long one that cannot be reached by TCP is not asked so again. */
#define DEAF_NS (10 * SECOND)
/* What it costs to read an answer, over the first so many bytes. */
#define CHEAP 1024

static void stream_close(struct stream *t)
{
	ev_del(&t->ev);
	close_fd(&t->ev.fd);
	t->state = STREAM_FREE;
}

static struct stream *free_stream(struct forward *f)
{
	for (unsigned i = 0; i < FORWARD_STREAMS; i++)
		if (f->stream[i].state == STREAM_FREE)
			return &f->stream[i];
	return NULL;
}

int stream_begin(struct forward *f, struct ask *k, unsigned upstream)
{
	struct stream *t = free_stream(f);
	struct forward_dial dial = { .upstream = upstream };

	if (!t || f->deaf[upstream] > io_now_ns())
		return -EBUSY;
	dial.stream = (uint32_t)(t - f->stream);
	if (send(f->control.fd, &dial, sizeof(dial), MSG_NOSIGNAL) !=
	    sizeof(dial))
		return -EIO;
	t->state = STREAM_DIALS;
	t->f = f;
	t->ask = k;
	t->upstream = upstream;
	k->stream = t;
	return 0;
}

void stream_give_up(struct ask *k)
{
	struct stream *t = k->stream;

	if (!t)
		return;
	k->stream = NULL;
	t->ask = NULL;
	if (t->state == STREAM_ASKS)
		stream_close(t);
}

void stream_failed(struct stream *t)
{
	struct ask *k = t->ask;

	if (t->state != STREAM_ASKS)
		t->f->deaf[t->upstream] = io_now_ns() + DEAF_NS;
	stream_give_up(k);
	ask_failed(t->f, k, t->upstream);
}

/* --- one question, one answer -------------------------------------------- */

/* The work of reading grows with the length, and the guest may have chosen it:
 * it pays with questions that it could have asked. */
static void charge(struct forward *f, size_t len)
{
	f->tokens -= MIN(f->tokens, len / CHEAP * ASK_COST);
}

static void take_answer(struct stream *t, size_t len)
{
	struct forward *f = t->f;
	struct dns_answer *a = &f->answer;
	struct ask *k = t->ask;
	int r = dns_parse_answer(a, t->in + 2, len);

	charge(f, len);
	if (r < 0 || a->id != t->id || !dns_question_equal(&a->q, &k->q)) {
		stream_failed(t);
		return;
	}
	stream_give_up(k);
	ask_told(f, k, t->upstream, t->in + 2, a);
}

static void on_stream(struct ev *ev, uint32_t events)
{
	struct stream *t = container_of(ev, struct stream, ev);
	ssize_t n = recv(ev->fd, t->in + t->nin, sizeof(t->in) - t->nin, 0);
	size_t len;

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		stream_failed(t);
		return;
	}
	t->nin += (size_t)n;
	if (t->nin < 2)
		return;
	len = (size_t)t->in[0] << 8 | t->in[1];
	if (len < DNS_HEADER)
		stream_failed(t);
	else if (t->nin >= 2 + len)
		take_answer(t, len);
}

/* Nothing was ever written there, so what does not fit is no connection. */
static int stream_ask(struct forward *f, struct stream *t, int fd)
{
	uint8_t buf[2 + DNS_UDP_MIN];
	size_t n;

	if (getrandom(&t->id, sizeof(t->id), 0) != sizeof(t->id))
		return -EIO;
	n = dns_build_query(buf + 2, sizeof(buf) - 2, t->id, &t->ask->q,
			    t->ask->no_edns ? 0 : DNS_MESSAGE_MAX);
	buf[0] = (uint8_t)(n >> 8);
	buf[1] = (uint8_t)n;
	if (send(fd, buf, 2 + n, MSG_NOSIGNAL) != (ssize_t)(2 + n))
		return -EIO;
	t->state = STREAM_ASKS;
	t->nin = 0;
	t->ev = (struct ev){ .fd = fd, .fn = on_stream };
	return ev_set(&f->loop, &t->ev, EPOLLIN);
}

/* --- the launcher's answers ----------------------------------------------- */

/* @fd is -1 where it says that there is none. */
static void take_connection(struct forward *f, struct stream *t, int fd)
{
	t->state = STREAM_FREE;
	if (!t->ask) {
		close_fd(&fd);
		return;
	}
	if (fd >= 0 && stream_ask(f, t, fd) == 0)
		return;
	if (t->state == STREAM_FREE)
		close_fd(&fd);
	stream_failed(t);
}

void stream_on_control(struct ev *ev, uint32_t events)
{
	struct forward *f = container_of(ev, struct forward, control);
	struct forward_dialled said;
	size_t nfds = 1;
	int fd = -1;
	ssize_t n = io_recv_fds(ev->fd, &said, sizeof(said), &fd, &nfds);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET) {
		forward_stop(f, 0);
		return;
	}
	if (n != sizeof(said) || said.stream >= FORWARD_STREAMS ||
	    f->stream[said.stream].state != STREAM_DIALS ||
	    nfds != (said.error == 0)) {
		if (nfds)
			close(fd);
		forward_stop(f, n < 0 ? (int)n : -EPROTO);
		return;
	}
	take_connection(f, &f->stream[said.stream], nfds ? fd : -1);
}
