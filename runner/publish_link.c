/* SPDX-License-Identifier: Apache-2.0 */
/* One client of a published port, and its stream to the guest. */
#include "runner/publish_impl.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/mman.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

#define SECOND	  1000000000ull
#define ANSWER_NS (30 * SECOND)
#define IDLE_NS	  (60 * SECOND)

static void not_asked(struct link *l)
{
	if (l->state == LINK_ASKED)
		l->door->p->asked--;
}

void link_drop(struct link *l)
{
	struct publish *p = l->door->p;

	not_asked(l);
	ev_del(&l->client);
	ev_del(&l->guest);
	close_fd(&l->client.fd);
	close_fd(&l->guest.fd);
	/* What waited for one of the two is not to stay in memory. */
	if (l->in.head + l->in.len)
		madvise(l->in.room, RELAY_PAGES, MADV_DONTNEED);
	if (l->out.head + l->out.len)
		madvise(l->out.room, RELAY_PAGES, MADV_DONTNEED);
	l->state = LINK_FREE;
	p->used--;
	p->datagrams -= l->door->what->udp != 0;
	publish_admit(p);
}

/* The client hears of it: a reset, and no end of a conversation. */
static void refuse(struct link *l)
{
	struct linger now = { .l_onoff = 1 };

	if (l->client.fd >= 0)
		setsockopt(l->client.fd, SOL_SOCKET, SO_LINGER, &now,
			   sizeof(now));
	link_drop(l);
}

void link_watch(struct link *l)
{
	int udp = l->door->what->udp, open = l->state == LINK_OPEN;
	struct ev_loop *loop = l->door->p->loop;
	uint32_t guest = !open || udp || way_reads(&l->out) ? EPOLLIN : 0;
	uint32_t client = open && way_reads(&l->in) ? EPOLLIN : 0, len;

	/* Datagrams that were left for another turn are told by nothing else. */
	if (way_writes(&l->in) || (udp && way_datagram(&l->out, &len)))
		guest |= EPOLLOUT;
	if (!udp && way_writes(&l->out))
		client |= EPOLLOUT;
	/* Nothing is watched for nothing: a hang-up would be told for ever. */
	if (ev_set(loop, &l->guest, guest) < 0 ||
	    (!udp && ev_set(loop, &l->client, client) < 0))
		link_drop(l);
}

/* --- the guest's answer ------------------------------------------------ */

/* 0: it lets us in; -EAGAIN, or another -errno. */
static int take_answer(struct link *l)
{
	struct wire_dialed dialed;
	struct wire_hdr h;
	ssize_t n;
	int r;

	if (!l->has_line) {
		r = state_take_answer(l->guest.fd, &l->line);
		if (r < 0)
			return r;
		l->has_line = 1;
	}
	n = recv(l->guest.fd, l->frame + l->nframe,
		 sizeof(l->frame) - l->nframe, MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ?
			       -EAGAIN :
			       -ECONNREFUSED;
	l->nframe += (size_t)n;
	if (l->nframe < sizeof(l->frame))
		return -EAGAIN;
	memcpy(&h, l->frame, sizeof(h));
	memcpy(&dialed, l->frame + WIRE_HDR, sizeof(dialed));
	if (h.type != WIRE_DIALED || h.len != sizeof(dialed) || h.stream)
		return -EPROTO;
	return dialed.error ? -ECONNREFUSED : 0;
}

static void on_answer(struct link *l)
{
	struct publish *p = l->door->p;
	int r = take_answer(l);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		log_debug("port %u: the guest refuses", place_port(&l->door->at));
		refuse(l);
		return;
	}
	p->asked--;
	l->state = LINK_OPEN;
	link_watch(l);
	publish_admit(p);
}

/* --- bytes -------------------------------------------------------------- */

static void go_on(struct link *l)
{
	int udp = l->door->what->udp;

	if (l->out.over && (udp || l->in.over))
		link_drop(l);
	else
		link_watch(l);
}

static void on_guest(struct ev *ev, uint32_t events)
{
	struct link *l = container_of(ev, struct link, guest);

	if (l->state == LINK_ASKED) {
		/* Datagrams do not wait for an answer. */
		if (events & EPOLLOUT)
			way_flush(&l->in, ev->fd);
		if (events & ~(uint32_t)EPOLLOUT)
			on_answer(l);
		else
			link_watch(l);
		return;
	}
	if (l->door->what->udp)
		udp_deliver(l);
	else
		way_pump(&l->out, ev->fd, l->client.fd, l->door->p->shared);
	if (events & ~(uint32_t)EPOLLIN)
		way_flush(&l->in, ev->fd);
	go_on(l);
}

static void on_client(struct ev *ev, uint32_t events)
{
	struct link *l = container_of(ev, struct link, client);

	way_pump(&l->in, ev->fd, l->guest.fd, l->door->p->shared);
	if (events & ~(uint32_t)EPOLLIN)
		way_flush(&l->out, ev->fd);
	go_on(l);
}

/* --- life --------------------------------------------------------------- */

static int ask(const struct door *d)
{
	const struct wire_dial dial = {
		.port = d->what->guest_port,
		.kind = d->what->udp ? WIRE_DIAL_UDP : WIRE_DIAL_TCP,
	};
	uint8_t frame[WIRE_HDR + sizeof(dial)];
	ssize_t n = (ssize_t)wire_put(frame, WIRE_DIAL, &dial, sizeof(dial));
	struct err err = { 0 };
	int fd = state_dial(d->p->state, WIRE_DIAL_PORT, &err);

	if (fd < 0)
		return fd;
	/* Behind the port's number, and the guest's answer is one for both. */
	if (send(fd, frame, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n)
		return fd;
	close_fd(&fd);
	return -EPIPE;
}

struct link *link_ask(struct door *d)
{
	struct publish *p = d->p;
	struct link *l = p->link;
	struct way in = { 0 }, out = { 0 };
	size_t i = 0;
	int fd;

	if (p->used == WIRE_DIALS_MAX || p->asked == ASKED_MAX)
		return NULL;
	fd = ask(d);
	if (fd < 0) {
		publish_rest(p);
		return NULL;
	}
	while (l[i].state != LINK_FREE)
		i++;
	in.room = p->rooms + 2 * i * RELAY_PAGES;
	out.room = in.room + RELAY_PAGES;
	l[i] = (struct link){ .state = LINK_ASKED, .door = d,
			      .client = { .fd = -1, .fn = on_client },
			      .guest = { .fd = fd, .fn = on_guest },
			      .in = in, .out = out,
			      .moved_ns = io_now_ns() };
	p->used++;
	p->asked++;
	p->datagrams += d->what->udp != 0;
	if (p->used == 1 || p->asked == 1 || p->datagrams == 1)
		ev_timer_arm(p->timer.fd, SECOND);
	return &l[i];
}

void link_begin(struct link *l, int client)
{
	int on = 1, idle = 60, step = 15, tries = 4;

	l->client.fd = client;
	if (client >= 0) {
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		/* One that has vanished is not to hold its place. */
		setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &idle,
			   sizeof(idle));
		setsockopt(client, IPPROTO_TCP, TCP_KEEPINTVL, &step,
			   sizeof(step));
		setsockopt(client, IPPROTO_TCP, TCP_KEEPCNT, &tries,
			   sizeof(tries));
	}
	link_watch(l);
}

int link_sweep(struct publish *p)
{
	uint64_t now = io_now_ns();

	for (size_t i = 0; i < WIRE_DIALS_MAX; i++) {
		struct link *l = &p->link[i];

		if (l->state == LINK_ASKED && now - l->moved_ns > ANSWER_NS)
			refuse(l);
		else if (l->state == LINK_OPEN && l->door->what->udp &&
			 now - l->moved_ns > IDLE_NS)
			link_drop(l);
	}
	return p->asked || p->datagrams;
}
