/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of a published UDP port. */
#include "runner/publish_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

#define ROUNDS 64
/* Of the links, how many may be UDP's: TCP's have to be closed to go. */
#define DATAGRAMS_MAX (WIRE_DIALS_MAX / 2)

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

int udp_prepare(int fd, int family)
{
	int on = 1, r;

	r = family == AF_INET ?
		    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) :
		    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on,
			       sizeof(on));
	return r < 0 ? -errno : 0;
}

static int same_place(const union place *a, const union place *b)
{
	if (a->sa.sa_family != b->sa.sa_family ||
	    place_port(a) != place_port(b))
		return 0;
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
	       !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr,
		       sizeof(a->v6.sin6_addr));
}

/* Which of our addresses it was for: the answer is to come from there. */
static void take_ours(struct peer *to, struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);

	memset(&to->ours, 0, sizeof(to->ours));
	if (!c)
		return;
	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		memcpy(&to->ours.v4, CMSG_DATA(c), sizeof(to->ours.v4));
		to->ours.v4.ipi_ifindex = 0; /* routing finds the way back */
	}
	if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		memcpy(&to->ours.v6, CMSG_DATA(c), sizeof(to->ours.v6));
		if (!IN6_IS_ADDR_LINKLOCAL(&to->ours.v6.ipi6_addr))
			to->ours.v6.ipi6_ifindex = 0;
	}
}

static int same_peer(const struct peer *a, const struct peer *b)
{
	if (!same_place(&a->at, &b->at))
		return 0;
	if (a->at.sa.sa_family == AF_INET)
		return a->ours.v4.ipi_addr.s_addr == b->ours.v4.ipi_addr.s_addr;
	return !memcmp(&a->ours.v6.ipi6_addr, &b->ours.v6.ipi6_addr,
		       sizeof(a->ours.v6.ipi6_addr));
}

static struct link *find(struct door *d, const struct peer *from)
{
	struct publish *p = d->p;

	for (size_t i = 0; i < WIRE_DIALS_MAX; i++) {
		struct link *l = &p->link[i];

		if (l->state != LINK_FREE && l->door == d &&
		    same_peer(&l->peer, from))
			return l;
	}
	return NULL;
}

static void drop_oldest(struct publish *p)
{
	struct link *oldest = NULL;

	for (size_t i = 0; i < WIRE_DIALS_MAX; i++) {
		struct link *l = &p->link[i];

		if (l->state != LINK_FREE && l->door->what->udp &&
		    (!oldest || l->moved_ns < oldest->moved_ns))
			oldest = l;
	}
	if (oldest)
		link_drop(oldest);
}

static struct link *begin(struct door *d, const struct peer *from)
{
	struct publish *p = d->p;
	struct link *l;

	if (p->resting)
		return NULL;
	if (p->datagrams == DATAGRAMS_MAX || p->used == WIRE_DIALS_MAX)
		drop_oldest(p);
	l = link_ask(d);
	if (!l)
		return NULL;
	l->peer = *from;
	link_begin(l, -1);
	return l->state == LINK_FREE ? NULL : l;
}

/* 0 where there is none. What the guest's stream does not take is lost, as
 * datagrams are. */
static int take_one(struct door *d)
{
	struct publish *p = d->p;
	struct peer from;
	struct link *l;
	union control control;
	struct iovec iov = { p->shared + 2, sizeof(p->shared) - 2 };
	struct msghdr m = {
		.msg_name = &from.at, .msg_namelen = sizeof(from.at),
		.msg_iov = &iov,	.msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(d->ev.fd, &m, MSG_DONTWAIT);
	uint16_t len = (uint16_t)n;

	if (n < 0)
		return errno == EINTR;
	take_ours(&from, &m);
	l = find(d, &from);
	if (!l)
		l = begin(d, &from);
	if (!l || l->in.len || l->in.over)
		return 1;
	memcpy(p->shared, &len, sizeof(len));
	way_put(&l->in, l->guest.fd, p->shared, 2u + len);
	l->moved_ns = io_now_ns();
	link_watch(l);
	return 1;
}

void udp_on_door(struct ev *ev, uint32_t events)
{
	struct door *d = container_of(ev, struct door, ev);
	int rounds = ROUNDS;

	(void)events;
	while (rounds-- && take_one(d))
		;
}

static void reply(const struct link *l, const uint8_t *data, uint32_t len)
{
	const struct peer *to = &l->peer;
	int v4 = to->at.sa.sa_family == AF_INET;
	union control control = { .buf = { 0 } };
	struct iovec iov = { (void *)data, len };
	struct msghdr m = {
		.msg_name = (void *)&to->at,
		.msg_namelen = place_len(&to->at),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = v4 ? CMSG_SPACE(sizeof(to->ours.v4)) :
				       CMSG_SPACE(sizeof(to->ours.v6)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = v4 ? CMSG_LEN(sizeof(to->ours.v4)) :
			   CMSG_LEN(sizeof(to->ours.v6));
	memcpy(CMSG_DATA(c), &to->ours,
	       v4 ? sizeof(to->ours.v4) : sizeof(to->ours.v6));
	if (sendmsg(l->door->ev.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* lost, as datagrams are */
}

/* An empty one costs the guest two bytes, and us a system call: with all that
 * fit into the room at one turn nothing else would have its turn for long. */
void udp_deliver(struct link *l)
{
	int rounds = ROUNDS;
	const uint8_t *p;
	uint32_t len;

	if (!way_datagram(&l->out, &len))
		way_fill(&l->out, l->guest.fd);
	while (rounds-- && (p = way_datagram(&l->out, &len))) {
		reply(l, p, len);
		way_taken(&l->out);
		l->moved_ns = io_now_ns();
	}
}
