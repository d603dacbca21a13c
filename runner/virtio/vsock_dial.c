/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the vsock device that a program on the host begins. */
#include "runner/virtio/vsock_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "runner/base/mem.h"

bool vsock_parse_hello(const char *s, unsigned len, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	unsigned i = sizeof(word) - 1;
	uint64_t v = 0;

	if (len < i + 2 || strncasecmp(s, word, i) || s[len - 1] != '\n')
		return false;
	for (; i < len - 1; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)v;
	return true;
}

/* Ends: fewer ports are in use than there are connections. */
static uint32_t pick_port(struct vsock *v)
{
	for (;;) {
		bool used = false;
		uint32_t port = v->next_port++;

		if (v->next_port < VSOCK_FIRST_PORT)
			v->next_port = VSOCK_FIRST_PORT;
		for (unsigned i = 0; i < VSOCK_CONNS && !used; i++)
			used = v->conn[i].state > CONN_HELLO &&
			       v->conn[i].host_port == port;
		if (!used)
			return port;
	}
}

/* Take bytes up to the end of the line and not one more: the rest is for the
 * guest. 1 the line is there, 0 not yet, -1 it never will be. */
static int read_line(struct vsock_conn *c)
{
	char *at = c->hello + c->nhello, *end;
	ssize_t n = recv(c->ev.fd, at, sizeof(c->hello) - c->nhello, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	end = memchr(at, '\n', (size_t)n);
	if (end)
		n = end + 1 - at;
	if (recv(c->ev.fd, at, (size_t)n, 0) != n)
		return -1;
	c->nhello += (unsigned)n;
	if (end)
		return 1;
	return c->nhello < sizeof(c->hello) ? 0 : -1;
}

void conn_hello(struct vsock_conn *c)
{
	int r = read_line(c);

	if (r == 0)
		return;
	if (r < 0 || !vsock_parse_hello(c->hello, c->nhello, &c->guest_port)) {
		conn_free(c);
		return;
	}
	c->host_port = pick_port(c->v);
	c->state = CONN_REQUESTED;
	conn_set_deadline(c);
	conn_owe(c, OWE_REQUEST);
}

void conn_established(struct vsock_conn *c)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	c->state = CONN_OPEN;
	c->deadline = 0;
	/* Nothing was written before, so the socket has room. */
	if (send(c->ev.fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		conn_reset(c);
	else
		conn_update(c);
}

void vsock_listen(struct vsock *v)
{
	if (v->listen.fd >= 0)
		ev_set(v->dev.host.loop, &v->listen, EPOLLIN);
}

/* Out of descriptors, the listener would stay readable: it gets a rest. */
static void rest_listener(struct vsock *v)
{
	ev_del(&v->listen);
	vsock_arm_timer(v);
}

void vsock_on_listen(struct ev *ev, uint32_t events)
{
	struct vsock *v = container_of(ev, struct vsock, listen);
	_cleanup_fd_ int fd = -1;
	struct vsock_conn *c;

	(void)events;
	if (!vsock_enter(v))
		return;
	fd = accept4(ev->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	c = fd < 0 ? NULL : conn_new(v, fd, CONN_HELLO);
	if (fd < 0 && errno != EAGAIN && errno != EINTR)
		rest_listener(v);
	if (c) {
		fd = -1;
		conn_update(c);
	}
	vsock_leave(v);
}
