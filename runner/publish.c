/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the host that are ports of the guest: which, and who may come in. */
#include "runner/publish_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runner/base/err.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

#define BACKLOG	  1024
#define REST_NS	  10000000ull
#define SWEEP_NS  1000000000ull
#define ANY_TRIES 16 /* for a port that is free in both families */
#define ROOMS	  ((size_t)WIRE_DIALS_MAX * 2 * RELAY_PAGES)

static const char *proto(const struct config_publish *c)
{
	return c->udp ? "udp" : "tcp";
}

static const char *place_addr(const union place *p, char buf[INET6_ADDRSTRLEN])
{
	const void *a = p->sa.sa_family == AF_INET ?
				(const void *)&p->v4.sin_addr :
				(const void *)&p->v6.sin6_addr;

	return inet_ntop(p->sa.sa_family, a, buf, INET6_ADDRSTRLEN);
}

void place_format(const union place *p, char buf[PLACE_MAX])
{
	char addr[INET6_ADDRSTRLEN];

	snprintf(buf, PLACE_MAX,
		 p->sa.sa_family == AF_INET ? "%s:%u" : "[%s]:%u",
		 place_addr(p, addr), place_port(p));
}

/* --- clients -------------------------------------------------------------- */

/*
 * One client a time: while there is another, we are called again. The way to
 * the guest comes first, for who was let in cannot be put back into the queue.
 */
static void on_door(struct ev *ev, uint32_t events)
{
	struct door *d = container_of(ev, struct door, ev);
	struct link *l = link_ask(d);
	int client;

	(void)events;
	if (!l) {
		publish_admit(d->p);
		return;
	}
	client = accept4(d->ev.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client >= 0) {
		link_begin(l, client);
		publish_admit(d->p);
		return;
	}
	/* It is gone, or we are short of what it takes. */
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		publish_rest(d->p);
	link_drop(l);
}

void publish_admit(struct publish *p)
{
	int room = p->used < WIRE_DIALS_MAX && p->asked < ASKED_MAX;

	if (!p->started || p->resting)
		return;
	for (size_t i = 0; i < p->ndoors; i++)
		ev_set(p->loop, &p->door[i].ev,
		       room || p->door[i].what->udp ? EPOLLIN : 0);
}

void publish_rest(struct publish *p)
{
	if (p->resting)
		return;
	p->resting = 1;
	for (size_t i = 0; i < p->ndoors; i++)
		ev_del(&p->door[i].ev);
	ev_timer_arm(p->rest.fd, REST_NS);
}

static void on_rested(struct ev *ev, uint32_t events)
{
	struct publish *p = container_of(ev, struct publish, rest);

	(void)events;
	ev_drain(ev->fd);
	p->resting = 0;
	publish_admit(p);
}

static void on_timer(struct ev *ev, uint32_t events)
{
	struct publish *p = container_of(ev, struct publish, timer);

	(void)events;
	ev_drain(ev->fd);
	if (link_sweep(p))
		ev_timer_arm(ev->fd, SWEEP_NS);
}

/* --- ports ---------------------------------------------------------------- */

/* A socket that has @at, whose port is filled in. Or -errno. */
static int take_place(union place *at, int udp)
{
	int type = (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK |
		   SOCK_CLOEXEC;
	_cleanup_fd_ int fd = socket(at->sa.sa_family, type, 0);
	socklen_t len = sizeof(*at);
	int on = 1, r = 0;

	if (fd < 0)
		return -errno;
	if (at->sa.sa_family == AF_INET6)
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	/* For connections of a server before us that are not quite over. */
	if (r == 0 && !udp)
		r = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r < 0 || bind(fd, &at->sa, place_len(at)) < 0 ||
	    (!udp && listen(fd, BACKLOG) < 0) ||
	    getsockname(fd, &at->sa, &len) < 0)
		return -errno;
	if (udp && (r = udp_prepare(fd, at->sa.sa_family)) < 0)
		return r;
	return steal_fd(&fd);
}

static union place place_of(const struct config_publish *c, int family,
			    uint16_t port)
{
	union place at;

	memset(&at, 0, sizeof(at));
	if (family == AF_INET) {
		at.v4.sin_family = AF_INET;
		at.v4.sin_port = htons(port);
		memcpy(&at.v4.sin_addr, c->addr, sizeof(at.v4.sin_addr));
	} else {
		at.v6.sin6_family = AF_INET6;
		at.v6.sin6_port = htons(port);
		memcpy(&at.v6.sin6_addr, c->addr, sizeof(at.v6.sin6_addr));
	}
	return at;
}

/* One more door; *@port is the one asked for, and then the one that it has. */
static int add_door(struct publish *p, const struct config_publish *c,
		    int family, uint16_t *port, union place *at)
{
	struct door *d = &p->door[p->ndoors];
	int fd;

	*at = place_of(c, family, *port);
	fd = take_place(at, c->udp);
	if (fd < 0)
		return fd;
	*d = (struct door){ .p = p, .what = c, .at = *at,
			    .ev = { .fd = fd,
				    .fn = c->udp ? udp_on_door : on_door } };
	*port = place_port(at);
	p->ndoors++;
	return 0;
}

static void drop_door(struct publish *p)
{
	struct door *d = &p->door[--p->ndoors];

	ev_del(&d->ev);
	close_fd(&d->ev.fd);
}

/* All addresses of the host: both families, as far as it has both, and one
 * port in both. */
static int add_everywhere(struct publish *p, const struct config_publish *c,
			  union place *at)
{
	uint16_t port;
	int r = -EADDRINUSE;

	for (int tries = ANY_TRIES; r == -EADDRINUSE && tries; tries--) {
		port = c->host_port;
		r = add_door(p, c, AF_INET, &port, at);
		if (r < 0)
			return r;
		r = add_door(p, c, AF_INET6, &port, at);
		if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)
			return 0;
		if (r < 0)
			drop_door(p);
		if (c->host_port)
			break;
	}
	return r;
}

static int failed(int code, const union place *at,
		  const struct config_publish *c, struct err *err)
{
	char text[PLACE_MAX];

	place_format(at, text);
	if (code == -EADDRINUSE) {
		holder_tell(at, c->udp, err);
	} else if (code == -EADDRNOTAVAIL) {
		err_say(err, code, "no address of this host");
	} else {
		err_set(err, code, "listen");
		if (code == -EACCES && place_port(at) < 1024)
			err_hint(err, "ports below 1024 are root's, unless "
				 "net.ipv4.ip_unprivileged_port_start says "
				 "otherwise");
	}
	err_wrap(err, "-p %s/%s", text, proto(c));
	return code;
}

static int add_one(struct publish *p, const struct config_publish *c,
		   struct err *err)
{
	uint16_t port = c->host_port;
	union place at;
	int r = c->family ? add_door(p, c, c->family == 4 ? AF_INET : AF_INET6,
				     &port, &at) :
			    add_everywhere(p, c, &at);

	return r < 0 ? failed(r, &at, c, err) : 0;
}

static void tell(const struct publish *p)
{
	char text[PLACE_MAX];

	for (size_t i = 0; i < p->ndoors; i++) {
		place_format(&p->door[i].at, text);
		log_info("port %s is the guest's %u/%s", text,
			 p->door[i].what->guest_port, proto(p->door[i].what));
	}
}

/* --- life cycle ------------------------------------------------------------ */

static int make(struct publish *p)
{
	p->timer = (struct ev){ .fd = ev_timer_fd(), .fn = on_timer };
	p->rest = (struct ev){ .fd = ev_timer_fd(), .fn = on_rested };
	p->link = calloc(WIRE_DIALS_MAX, sizeof(*p->link));
	p->rooms = mmap(NULL, ROOMS, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->rooms == MAP_FAILED)
		p->rooms = NULL;
	return p->timer.fd < 0 || p->rest.fd < 0 || !p->link || !p->rooms ?
		       -ENOMEM :
		       0;
}

int publish_open(struct publish **out, const struct config_publishes *c,
		 struct err *err)
{
	struct publish *p;
	int r;

	*out = NULL;
	if (!c->n)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "-p");
	p->what = *c;
	r = make(p);
	if (r < 0)
		err_set(err, r, "-p");
	for (size_t i = 0; r == 0 && i < c->n; i++)
		r = add_one(p, &p->what.v[i], err);
	if (r < 0)
		publish_close(&p);
	else
		tell(p);
	*out = p;
	return r;
}

json_t *publish_ports(const struct publish *p)
{
	json_t *list = json_array();
	int bad = !list;

	for (size_t i = 0; p && i < p->ndoors; i++) {
		const struct door *d = &p->door[i];
		char addr[INET6_ADDRSTRLEN];

		bad |= json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:s}", "host",
					place_addr(&d->at, addr), "host_port",
					(int)place_port(&d->at), "guest_port",
					(int)d->what->guest_port, "protocol",
					proto(d->what))) < 0;
	}
	if (!bad)
		return list;
	json_decref(list);
	return NULL;
}

int publish_record(const struct publish *p, struct state *s, struct err *err)
{
	json_t *list = p ? publish_ports(p) : NULL;
	_cleanup_free_ char *text = NULL;
	int r = -ENOMEM;

	if (!p)
		return 0;
	if (list)
		text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (text)
		r = state_publish(s, text);
	return r < 0 ? err_set(err, r, "record the ports of -p") : 0;
}

int publish_start(struct publish *p, struct ev_loop *loop, struct state *s)
{
	int r;

	if (!p)
		return 0;
	p->loop = loop;
	p->state = s;
	p->started = 1;
	r = ev_set(loop, &p->timer, EPOLLIN);
	if (r == 0)
		r = ev_set(loop, &p->rest, EPOLLIN);
	publish_admit(p);
	return r;
}

void publish_stop(struct publish *p)
{
	if (!p || !p->started)
		return;
	p->started = 0;
	for (size_t i = 0; i < WIRE_DIALS_MAX; i++)
		if (p->link[i].state != LINK_FREE)
			link_drop(&p->link[i]);
	for (size_t i = 0; i < p->ndoors; i++)
		ev_del(&p->door[i].ev);
	ev_del(&p->timer);
	ev_del(&p->rest);
}

void publish_close(struct publish **p)
{
	if (!*p)
		return;
	publish_stop(*p);
	while ((*p)->ndoors)
		drop_door(*p);
	close_fd(&(*p)->timer.fd);
	close_fd(&(*p)->rest.fd);
	if ((*p)->rooms)
		munmap((*p)->rooms, ROOMS);
	free((*p)->link);
	free(*p);
	*p = NULL;
}
