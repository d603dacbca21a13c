/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS forwarder of one VM: the loop, its memory, its deadlines. */
#include "net/forward.h"

#include <errno.h>
#include <stdlib.h>

#include "net/forward_impl.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

/*
 * Theory of operation
 *
 * The forwarder stands between two that may lie: the guest, which would like
 * to reach more than the rules allow, and the network, where anybody may answer
 * for anybody. Three things hold:
 *
 *   Nothing is asked for a name that the rules do not allow, and a denied name
 *   on the way to the answer ends it.
 *
 *   An answer counts if it comes by the socket that asked, one of 16 for each
 *   upstream, has the id of the question, and repeats it: 16 bits of id, 4 of
 *   socket, and the kernel's choice of port (RFC 5452 9); by TCP, for what is
 *   too long, it is a connection for one question. The same question is
 *   under way once, however many ask it, for each more would be one more chance
 *   to guess (RFC 5452 5). There is no cache to poison.
 *
 *   The guest gets what was understood, and written anew, for addresses; those
 *   that it may not reach anyway (net_answerable()) are left out, so a name
 *   cannot be made to point into the host's networks (rebinding). Addresses of
 *   a name that a rule lists are first opened by the keeper, which judges them
 *   once more, and then answered.
 *
 * Of other records the answer and authority sections are passed on as they
 * came: what they say opens nothing. Records that would give addresses beside
 * those (HTTPS, SVCB; additional ones) are not.
 *
 * All memory is here from the start. What is full is not read from: the kernel
 * then drops datagrams, and holds back connections. There are deadlines for
 * answers and for connections, none for the keeper, whose end is the end.
 */

#define PATIENCE_MS 1000
#define IDLE_MS	    10000

void forward_stop(struct forward *f, int result)
{
	f->result = result;
	ev_stop(&f->loop);
}

/* --- life --------------------------------------------------------------- */

static int watch(struct forward *f, struct ev *ev, int *fd, ev_fn fn,
		 uint32_t events)
{
	int r = 0;

	ev->fd = steal_fd(fd);
	ev->fn = fn;
	if (ev->fd >= 0)
		r = io_set_nonblock(ev->fd, 1);
	if (ev->fd >= 0 && r == 0)
		r = ev_set(&f->loop, ev, events);
	return r;
}

static int watch_all(struct forward *f, struct forward_params *p)
{
	int r = watch(f, &f->control, &p->control, stream_on_control,
		      EPOLLIN);

	if (r == 0)
		r = watch(f, &f->keeper, &p->keeper, learn_on_keeper, EPOLLIN);
	for (unsigned i = 0; i < FORWARD_LISTENERS && r == 0; i++) {
		f->udp[i].f = f->tcp[i].f = f;
		r = watch(f, &f->udp[i].ev, &p->udp[i], guest_on_listener,
			  EPOLLIN);
		if (r == 0)
			r = watch(f, &f->tcp[i].ev, &p->tcp[i],
				  guest_on_listener, EPOLLIN);
	}
	for (unsigned i = 0; i < f->nupstreams; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS && r == 0; k++) {
			struct upstream_socket *s = &f->upstream[i][k];

			s->f = f;
			s->upstream = i;
			r = watch(f, &s->ev, &p->upstream[i][k], ask_on_answer,
				  EPOLLIN);
		}
	return r;
}

static void no_descriptors(struct forward *f)
{
	f->loop.epfd = f->control.fd = f->keeper.fd = -1;
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++)
		f->udp[i].ev.fd = f->tcp[i].ev.fd = -1;
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		f->conn[i].ev.fd = -1;
	for (unsigned i = 0; i < FORWARD_STREAMS; i++)
		f->stream[i].ev.fd = -1;
	for (unsigned i = 0; i < FORWARD_UPSTREAMS; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			f->upstream[i][k].ev.fd = -1;
}

static void cleanup_forward(struct forward **f)
{
	forward_free(*f);
}

int forward_open(struct forward **out, struct forward_params *p,
		 struct err *err)
{
	_cleanup_(cleanup_forward) struct forward *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "the DNS forwarder");
	no_descriptors(f);
	f->rules = f->denied = p->rules;
	f->denied.nallow = 0;
	f->refilled = io_now_ns();
	f->tokens = SECOND;
	f->nupstreams = MIN(p->nupstreams, FORWARD_UPSTREAMS);
	f->patience = (p->patience_ms ? p->patience_ms : PATIENCE_MS) *
		      (SECOND / 1000);
	f->idle = (p->idle_ms ? p->idle_ms : IDLE_MS) * (SECOND / 1000);
	for (unsigned i = 0; i < WAITERS_MAX; i++) {
		f->waiter[i].next = f->free_waiter;
		f->free_waiter = &f->waiter[i];
	}
	r = ev_loop_init(&f->loop);
	if (r == 0)
		r = watch_all(f, p);
	if (r < 0)
		return err_set(err, r, "the DNS forwarder's sockets");
	*out = steal_ptr(&f);
	return 0;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	close_fd(&f->control.fd);
	close_fd(&f->keeper.fd);
	for (unsigned i = 0; i < FORWARD_LISTENERS; i++) {
		close_fd(&f->udp[i].ev.fd);
		close_fd(&f->tcp[i].ev.fd);
	}
	for (unsigned i = 0; i < FORWARD_TCP_MAX; i++)
		close_fd(&f->conn[i].ev.fd);
	for (unsigned i = 0; i < FORWARD_STREAMS; i++)
		close_fd(&f->stream[i].ev.fd);
	for (unsigned i = 0; i < FORWARD_UPSTREAMS; i++)
		for (unsigned k = 0; k < FORWARD_SOCKETS; k++)
			close_fd(&f->upstream[i][k].ev.fd);
	ev_loop_free(&f->loop);
	free(f);
}

/* --- time --------------------------------------------------------------- */

static void refill(struct forward *f, uint64_t now)
{
	f->tokens = MIN(f->tokens + MIN(now - f->refilled, SECOND), SECOND);
	f->refilled = now;
}

static int timeout_ms(const struct forward *f, uint64_t now)
{
	uint64_t at = MIN(ask_deadline(f), guest_deadline(f, now));

	if (at == UINT64_MAX)
		return -1;
	return at <= now ? 0 : (int)MIN((at - now) / (SECOND / 1000) + 1, 60000);
}

int forward_turn(struct forward *f, int longest_ms)
{
	uint64_t looked = io_now_ns();
	int ms = timeout_ms(f, looked), r, n;

	if (longest_ms >= 0 && (ms < 0 || ms > longest_ms))
		ms = longest_ms;
	r = ev_once(&f->loop, ms);
	refill(f, io_now_ns());
	/* Who has spoken in time is in time, however late we are to hear it:
	 * what was due as we looked is over once all that was there is read. */
	if (r < EV_BATCH) {
		ask_expire(f, looked);
		guest_expire(f, looked);
	}
	n = guest_turn(f);
	return r < 0 ? r : r + n;
}

int forward_serve(struct forward *f)
{
	int r = 0;

	while (!f->loop.stop && r >= 0)
		r = forward_turn(f, -1);
	return r < 0 ? r : f->result;
}
