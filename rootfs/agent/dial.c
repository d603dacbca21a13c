/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of the host to ports of the guest. */
#include "rootfs/agent/dial.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "rootfs/agent/session.h"
#include "rootfs/relay.h"

#define HELLO (WIRE_HDR + sizeof(struct wire_dial))
#define BATCH 32
/* A server whose queue is full answers nothing: 15 s. */
#define SYN_TRIES  3
#define REFUSAL_MS 2
#define LISTENER   UINT32_MAX /* among what epoll tells */

enum dial_state { DIAL_FREE, DIAL_HELLO, DIAL_TRYING, DIAL_OPEN };

/* Where a server may be, in the order in which it is looked for. */
enum target { LOOPBACK4, LOOPBACK6, DEVICE4, DEVICE6, TARGETS };

enum side { HOST, GUEST, SIDES };

struct dial {
	enum dial_state state;
	struct wire_dial want;
	int fd[SIDES];		/* -1: none */
	uint32_t watched[SIDES]; /* what epoll is to tell */
	enum target target;	/* that is tried, or was found */
	int error;		/* of the first target: the likeliest */
	int settled;		/* UDP: somebody is there, it seems */
	uint32_t nhello;
	uint8_t hello[HELLO];
	struct way in, out;	/* to the guest, and back */
};

struct dialer {
	int epoll, listener;
	uint32_t used;
	int listening;
	struct wire_net net;
	struct dial dial[WIRE_DIALS_MAX];
	uint8_t shared[RELAY_ROOM];
	struct wire_reader reader;
};

union addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* --- what epoll tells ------------------------------------------------- */

/* What nobody waits for is not in the set: a hang-up would be told for ever. */
static void watch(struct dialer *m, struct dial *d, enum side side,
		  uint32_t events)
{
	uint32_t id = (uint32_t)(d - m->dial);
	struct epoll_event e = { .events = events,
				 .data.u64 = id * SIDES + side };
	int op = !events ? EPOLL_CTL_DEL :
		 d->watched[side] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (d->fd[side] < 0 || events == d->watched[side])
		return;
	d->watched[side] = epoll_ctl(m->epoll, op, d->fd[side], &e) ? 0 :
								      events;
}

static void watch_listener(struct dialer *m, int on)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = LISTENER };

	if (on != m->listening &&
	    !epoll_ctl(m->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
		       m->listener, &e))
		m->listening = on;
}

static void watch_ways(struct dialer *m, struct dial *d)
{
	int is_udp = d->want.kind == WIRE_DIAL_UDP;
	/* Datagrams are never held back on their way in. */
	uint32_t host = is_udp || way_reads(&d->in) ? EPOLLIN : 0;
	uint32_t guest = way_reads(&d->out) ? EPOLLIN : 0;

	if (way_writes(&d->out))
		host |= EPOLLOUT;
	if (!is_udp && way_writes(&d->in))
		guest |= EPOLLOUT;
	watch(m, d, HOST, host);
	watch(m, d, GUEST, guest);
}

/* --- life of a dial --------------------------------------------------- */

static void drop_guest(struct dial *d)
{
	close_fd(&d->fd[GUEST]); /* epoll forgets it */
	d->watched[GUEST] = 0;
}

static void drop(struct dialer *m, struct dial *d)
{
	/* What waited for a destination is not to stay in memory. */
	if (d->in.head + d->in.len)
		madvise(d->in.room, RELAY_PAGES, MADV_DONTNEED);
	if (d->out.head + d->out.len)
		madvise(d->out.room, RELAY_PAGES, MADV_DONTNEED);
	drop_guest(d);
	close_fd(&d->fd[HOST]);
	d->watched[HOST] = 0;
	d->state = DIAL_FREE;
	m->used--;
	watch_listener(m, 1);
}

static void answer(struct dial *d, int error)
{
	struct wire_dialed dialed = { .error = (uint32_t)error };
	uint8_t frame[WIRE_HDR + sizeof(dialed)];
	size_t n = wire_put(frame, WIRE_DIALED, &dialed, sizeof(dialed));

	/* The first bytes of a stream: there is room. */
	if (send(d->fd[HOST], frame, n, MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)n)
		d->out.over = d->in.over = 1;
}

/* --- targets ---------------------------------------------------------- */

/* eth0's, as it is now. -1: it has none. */
static int device_v4(struct sockaddr_in *a)
{
	struct ifreq ifr = { .ifr_name = "eth0" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -1 : ioctl(fd, SIOCGIFADDR, &ifr);

	if (fd >= 0)
		close(fd);
	if (!r)
		memcpy(&a->sin_addr,
		       &((struct sockaddr_in *)&ifr.ifr_addr)->sin_addr,
		       sizeof(a->sin_addr));
	return r;
}

/* The length of the address, or 0 where there is none. */
static socklen_t target_place(const struct dialer *m, const struct dial *d,
			      union addr *p)
{
	uint16_t port = htons(d->want.port);

	memset(p, 0, sizeof(*p));
	if (d->target == LOOPBACK4 || d->target == DEVICE4) {
		p->v4.sin_family = AF_INET;
		p->v4.sin_port = port;
		p->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (d->target == DEVICE4 && device_v4(&p->v4))
			return 0;
		return sizeof(p->v4);
	}
	p->v6.sin6_family = AF_INET6;
	p->v6.sin6_port = port;
	p->v6.sin6_addr = in6addr_loopback;
	if (d->target == DEVICE6)
		memcpy(&p->v6.sin6_addr, m->net.v6, sizeof(m->net.v6));
	return d->target == DEVICE6 && !(m->net.flags & WIRE_NET_V6) ?
		       0 :
		       sizeof(p->v6);
}

/* A socket on its way to d->target; 0 or an errno. */
static int reach(const struct dialer *m, struct dial *d)
{
	int is_udp = d->want.kind == WIRE_DIAL_UDP, on = 1, tries = SYN_TRIES;
	int type = (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK |
		   SOCK_CLOEXEC;
	union addr p;
	socklen_t len = target_place(m, d, &p);
	int fd = len ? socket(p.sa.sa_family, type, 0) : -1;

	if (fd < 0)
		return len ? errno : EADDRNOTAVAIL;
	d->fd[GUEST] = fd;
	if (!is_udp) {
		/* What comes was cut into segments before. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries));
	}
	if (!connect(fd, &p.sa, len) || errno == EINPROGRESS)
		return 0;
	return errno;
}

/* From d->target on, the first that does not refuse at once. 0, or none. */
static int reach_any(const struct dialer *m, struct dial *d)
{
	int error;

	for (; d->target < TARGETS; d->target++) {
		error = reach(m, d);
		if (!error)
			return 0;
		drop_guest(d);
		if (!d->error)
			d->error = error;
	}
	return -1;
}

static void try_targets(struct dialer *m, struct dial *d)
{
	if (reach_any(m, d)) {
		answer(d, d->error);
		drop(m, d);
		return;
	}
	d->state = DIAL_TRYING;
	watch(m, d, GUEST, EPOLLOUT);
}

static void open_ways(struct dialer *m, struct dial *d)
{
	answer(d, 0);
	d->state = DIAL_OPEN;
	watch_ways(m, d);
}

/* Connected, or refused. */
static void tried(struct dialer *m, struct dial *d)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(d->fd[GUEST], SOL_SOCKET, SO_ERROR, &error, &len);
	if (!error) {
		open_ways(m, d);
		return;
	}
	if (!d->error)
		d->error = error;
	drop_guest(d);
	d->target++;
	try_targets(m, d);
}

/* --- datagrams -------------------------------------------------------- */

static int is_refused(const struct dial *d)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(d->fd[GUEST], SOL_SOCKET, SO_ERROR, &error, &len);
	return error == ECONNREFUSED;
}

/*
 * Nobody is at the target. On loopback the kernel has mostly said so by the
 * time that send() returns; the first datagram gets some time more, for one
 * that could not be delivered is for the next target. Who has answered, or let
 * that pass, is believed until an error says otherwise.
 */
static int was_refused(struct dial *d)
{
	struct pollfd p = { .fd = d->fd[GUEST], .events = POLLIN };

	if (d->settled)
		return 0;
	poll(&p, 1, REFUSAL_MS);
	d->settled = !is_refused(d);
	return !d->settled;
}

static void next_target(struct dial *d)
{
	d->settled = 0;
	drop_guest(d);
	d->target++;
}

static void send_datagram(struct dialer *m, struct dial *d, const uint8_t *p,
			  uint32_t len)
{
	int i;

	for (i = 0; i < TARGETS; i++) {
		if (d->target >= TARGETS)
			d->target = LOOPBACK4;
		if (d->fd[GUEST] < 0 && reach_any(m, d))
			continue;
		if ((send(d->fd[GUEST], p, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0
		     || errno != ECONNREFUSED) && !was_refused(d))
			return;
		next_target(d);
	}
}

static void datagrams_in(struct dialer *m, struct dial *d)
{
	const uint8_t *p;
	uint32_t len;

	/* None is left behind: nobody would call for it. */
	way_fill(&d->in, d->fd[HOST]);
	while ((p = way_datagram(&d->in, &len))) {
		send_datagram(m, d, p, len);
		way_taken(&d->in);
	}
}

/* --- events ----------------------------------------------------------- */

static void told_hello(struct dialer *m, struct dial *d)
{
	struct wire_frame f;
	size_t room;
	ssize_t n = recv(d->fd[HOST], d->hello + d->nhello, HELLO - d->nhello,
			 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(m, d);
		return;
	}
	d->nhello += (uint32_t)n;
	if (d->nhello < HELLO)
		return;
	wire_reader_init(&m->reader, WIRE_FROM_HOST);
	memcpy(wire_room(&m->reader, &room), d->hello, HELLO);
	wire_filled(&m->reader, HELLO);
	if (wire_next(&m->reader, &f) != 1 || wire_get_dial(&f, &d->want)) {
		drop(m, d);
		return;
	}
	watch(m, d, HOST, 0);
	if (d->want.kind == WIRE_DIAL_TCP)
		try_targets(m, d);
	else
		open_ways(m, d);
}

static void told_open(struct dialer *m, struct dial *d, enum side side,
		      uint32_t events)
{
	uint8_t *shared = m->shared;
	int is_udp = d->want.kind == WIRE_DIAL_UDP;

	/* A hang-up is seen by reading or writing what it ends. */
	if (side == HOST) {
		if (is_udp)
			datagrams_in(m, d);
		else
			way_pump(&d->in, d->fd[HOST], d->fd[GUEST], shared);
		if (events & ~(uint32_t)EPOLLIN)
			way_flush(&d->out, d->fd[HOST]);
	} else {
		if (is_udp && events & EPOLLERR && is_refused(d))
			next_target(d);
		else if (is_udp)
			way_pack(&d->out, d->fd[GUEST], d->fd[HOST], shared);
		else
			way_pump(&d->out, d->fd[GUEST], d->fd[HOST], shared);
		if (!is_udp && events & ~(uint32_t)EPOLLIN)
			way_flush(&d->in, d->fd[GUEST]);
	}
	/* Datagrams have no end of their own: the host's stream has. */
	if (d->in.over && (is_udp || d->out.over))
		drop(m, d);
	else
		watch_ways(m, d);
}

static struct dial *find_free(struct dialer *m)
{
	struct dial *d = m->dial;

	while (d->state != DIAL_FREE)
		d++;
	return d;
}

static void take_stream(struct dialer *m)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = accept4(m->listener, (struct sockaddr *)&peer, &len,
			 SOCK_CLOEXEC);
	struct way in = { 0 }, out = { 0 };
	struct dial *d;

	if (fd < 0)
		return;
	if (!more_is_host(&peer)) {
		close(fd);
		return;
	}
	d = find_free(m);
	in.room = d->in.room;
	out.room = d->out.room;
	*d = (struct dial){ .state = DIAL_HELLO, .fd = { fd, -1 },
			    .in = in, .out = out };
	watch(m, d, HOST, EPOLLIN);
	if (++m->used == WIRE_DIALS_MAX)
		watch_listener(m, 0);
}

static void told(struct dialer *m, const struct epoll_event *e)
{
	struct dial *d;
	enum side side;

	if (e->data.u64 == LISTENER) {
		take_stream(m);
		return;
	}
	d = &m->dial[e->data.u64 / SIDES];
	side = e->data.u64 % SIDES;
	/* An event before it in this batch may have ended it. */
	if (!d->watched[side])
		return;
	if (d->state == DIAL_HELLO)
		told_hello(m, d);
	else if (d->state == DIAL_TRYING)
		tried(m, d);
	else
		told_open(m, d, side, e->events);
}

/* --- the process ------------------------------------------------------ */

int dial_listen(void)
{
	struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = WIRE_DIAL_PORT,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int error;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&any, sizeof(any)) &&
	    !listen(fd, WIRE_DIALS_MAX))
		return fd;
	error = errno;
	close(fd);
	return -error;
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int dial_serve(int listener, const struct wire_net *net)
{
	struct dialer *m = map(sizeof(*m));
	uint8_t *rooms = map((size_t)WIRE_DIALS_MAX * 2 * RELAY_PAGES);
	struct epoll_event e[BATCH];
	int i, n;

	if (!m || !rooms)
		return -ENOMEM;
	m->listener = listener;
	m->net = *net;
	for (i = 0; i < WIRE_DIALS_MAX; i++) {
		m->dial[i].in.room = rooms + (size_t)(2 * i) * RELAY_PAGES;
		m->dial[i].out.room = rooms + (size_t)(2 * i + 1) * RELAY_PAGES;
	}
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (m->epoll < 0)
		return -errno;
	watch_listener(m, 1);
	while (m->listening || m->used) {
		n = epoll_wait(m->epoll, e, BATCH, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < n; i++)
			told(m, &e[i]);
	}
	return -EBADF;
}
