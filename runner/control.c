/* SPDX-License-Identifier: Apache-2.0 */
/* What a running mayfly can be asked by another one. */
#include "runner/control.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/state.h"

#define SIGNAL_MAX	64
#define ANSWER_NS	10000000000ull
#define ACCEPTS_A_ROUND 16

/* --- the supervisor --------------------------------------------------- */

void control_init(struct control *c)
{
	*c = (struct control){ .listen.fd = -1 };
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		c->client[i] = (struct control_client){ .c = c, .ev.fd = -1 };
}

static void drop(struct control_client *k)
{
	struct control *c = k->c;

	ev_del(&k->ev);
	close_fd(&k->ev.fd);
	if (c->listen.fd >= 0)
		ev_set(c->loop, &c->listen, EPOLLIN);
}

/* A client that does not read what it asked for may go. */
static int tell(struct control_client *k, enum control_type type, int value)
{
	const struct control_msg m = { .type = type, .value = value };

	return send(k->ev.fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) ==
		       sizeof(m) ?
		       0 :
		       -EPIPE;
}

static int serve(const struct control *c, const struct control_msg *m)
{
	int signo = m->type == CONTROL_SIGNAL || m->type == CONTROL_STOP;

	if (signo && (m->value < 1 || m->value > SIGNAL_MAX))
		return -EINVAL;
	switch (m->type) {
	case CONTROL_SIGNAL:
		return c->ops->signal(c->opaque, m->value);
	case CONTROL_STOP:
		return c->ops->stop(c->opaque, m->value, m->timeout_ns);
	case CONTROL_KILL:
		return c->ops->kill(c->opaque);
	default:
		return 0; /* CONTROL_WAIT */
	}
}

/* Of those who wait, one more than there is room for. */
static int too_many(const struct control *c)
{
	int n = 0;

	for (int i = 0; i < CONTROL_CLIENTS; i++)
		n += c->client[i].ev.fd >= 0 && c->client[i].waits;
	return n > CONTROL_WAITERS;
}

static void on_client(struct ev *ev, uint32_t events)
{
	struct control_client *k = container_of(ev, struct control_client, ev);
	struct control_msg m;
	ssize_t n;
	int r;

	(void)events;
	/* MSG_TRUNC: the length it had, not the length that fits. */
	n = recv(ev->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(m) || m.type < CONTROL_SIGNAL ||
	    m.type > CONTROL_WAIT) {
		drop(k);
		return;
	}
	k->spoke = 1;
	k->waits |= m.type == CONTROL_WAIT;
	if (k->waits && too_many(k->c)) {
		drop(k);
		return;
	}
	r = serve(k->c, &m);
	/* The op may have closed everything. */
	if (ev->fd >= 0 && tell(k, CONTROL_DONE, r) < 0)
		drop(k);
}

/* The oldest silent client goes. 0: all have said something. */
static int evict(struct control *c)
{
	struct control_client *oldest = NULL;

	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *k = &c->client[i];

		if (k->ev.fd >= 0 && !k->spoke &&
		    (!oldest || k->order < oldest->order))
			oldest = k;
	}
	if (oldest)
		drop(oldest);
	return oldest != NULL;
}

static struct control_client *free_place(struct control *c)
{
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].ev.fd < 0)
			return &c->client[i];
	return evict(c) ? free_place(c) : NULL;
}

static void add_client(struct control *c, int fd)
{
	struct control_client *k = free_place(c);

	if (!k) {
		close(fd);
		return;
	}
	*k = (struct control_client){
		.c = c,
		.ev = { .fd = fd, .fn = on_client },
		.order = c->arrivals++,
	};
	if (ev_set(c->loop, &k->ev, EPOLLIN) < 0)
		drop(k);
}

static void on_listen(struct ev *ev, uint32_t events)
{
	struct control *c = container_of(ev, struct control, listen);

	(void)events;
	for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
		int fd = accept4(ev->fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_client(c, fd);
			continue;
		}
		/* Out of descriptors, the listener would stay readable: it
		 * rests until a client goes. */
		if ((errno == EMFILE || errno == ENFILE) && !evict(c))
			ev_del(ev);
		return;
	}
}

int control_listen(struct control *c, struct ev_loop *loop, struct state *s,
		   const struct control_ops *ops, void *opaque, struct err *err)
{
	int fd = state_listen_control(s, err), r;

	if (fd < 0)
		return fd;
	c->loop = loop;
	c->ops = ops;
	c->opaque = opaque;
	c->listen = (struct ev){ .fd = fd, .fn = on_listen };
	r = ev_set(loop, &c->listen, EPOLLIN);
	if (r < 0) {
		close_fd(&c->listen.fd);
		return err_set(err, r, "control socket");
	}
	return 0;
}

void control_free(struct control *c)
{
	ev_del(&c->listen);
	close_fd(&c->listen.fd);
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		drop(&c->client[i]);
}

void control_ended(struct control *c, int exit_code)
{
	/* Those that came while the end was near wait in the queue. */
	if (c->listen.fd >= 0)
		on_listen(&c->listen, EPOLLIN);
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].ev.fd >= 0)
			tell(&c->client[i], CONTROL_ENDED, exit_code);
	control_free(c);
}

/* --- the client ------------------------------------------------------- */

/* 1 a message; 0 it closed; -ETIMEDOUT. @until 0: for ever. */
static int receive(int fd, uint64_t until, struct control_msg *m)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = io_now_ns(), left = until > now ? until - now : 0;
		int ms = until ? (int)MIN(left / 1000000 + 1, 3600000u) : -1;
		ssize_t n;

		if (until && !left)
			return -ETIMEDOUT;
		if (poll(&p, 1, ms) <= 0)
			continue;
		n = recv(fd, m, sizeof(*m), MSG_DONTWAIT | MSG_TRUNC);
		/* It closed without having read all that we said: the kernel
		 * tells that first, once; what it had sent comes after. */
		if (n < 0 && (errno == EAGAIN || errno == EINTR ||
			      errno == ECONNRESET))
			continue;
		return n == sizeof(*m) ? 1 : 0;
	}
}

int control_ask(int fd, enum control_type type, int value,
		uint64_t timeout_ns, int *ended)
{
	struct control_msg m = { .type = type, .value = value,
				 .timeout_ns = timeout_ns };
	int r;

	/* One that is closed already may have left ENDED to be read. */
	if (send(fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m) &&
	    errno != EPIPE && errno != ECONNRESET)
		return -errno;
	r = receive(fd, io_now_ns() + ANSWER_NS, &m);
	if (r < 0)
		return r;
	if (r == 1 && m.type == CONTROL_DONE)
		return MIN(m.value, 0);
	if (r == 1 && m.type == CONTROL_ENDED && ended) {
		*ended = m.value & 0xff;
		return 1;
	}
	return -EPIPE;
}

int control_wait(int fd, uint64_t timeout_ns, int *exit_code)
{
	uint64_t until = timeout_ns ? io_now_ns() + timeout_ns : 0;
	struct control_msg m;
	int r;

	do
		r = receive(fd, until, &m);
	while (r == 1 && m.type != CONTROL_ENDED);
	if (r == 1)
		*exit_code = m.value & 0xff;
	return r;
}
