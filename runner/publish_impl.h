/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_impl: what the files of publish share. publish.c is the ports and who
 * may come in, publish_link.c one client's way to the guest, publish_udp.c the
 * clients that have no connection, publish_holder.c who has a port that is not
 * free. Nobody else includes this.
 */
#ifndef MAYFLY_PUBLISH_IMPL_H
#define MAYFLY_PUBLISH_IMPL_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "rootfs/relay.h"
#include "rootfs/wire.h"
#include "runner/publish.h"
#include "runner/state.h"

union place {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static inline socklen_t place_len(const union place *p)
{
	return p->sa.sa_family == AF_INET ? sizeof(p->v4) : sizeof(p->v6);
}

static inline uint16_t place_port(const union place *p)
{
	return ntohs(p->sa.sa_family == AF_INET ? p->v4.sin_port :
						  p->v6.sin6_port);
}

#define PLACE_MAX (INET6_ADDRSTRLEN + 10)
/* "127.0.0.1:80", "[::1]:80" */
void place_format(const union place *p, char buf[PLACE_MAX]);

/* Where we listen. */
struct door {
	struct publish *p;
	struct ev ev; /* .fd owned */
	const struct config_publish *what;
	union place at;
};

/* -p for all addresses is two. */
#define DOORS_MAX (2 * CONFIG_PUBLISHES_MAX)

/* A client without a connection, and which of our addresses it spoke to. */
struct peer {
	union place at;
	union {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;
	} ours;
};

enum link_state {
	LINK_FREE,
	LINK_ASKED, /* the guest has yet to say whether it lets us in */
	LINK_OPEN,
};

struct link {
	enum link_state state;
	struct door *door;
	struct ev client, guest; /* .fd owned; client: TCP, else -1 */
	struct way in, out;	 /* to the guest, and back */
	struct state_answer line;
	int has_line;
	uint8_t frame[WIRE_HDR + sizeof(struct wire_dialed)];
	size_t nframe;
	uint64_t moved_ns; /* UDP: the last datagram; else when it was asked */
	struct peer peer; /* UDP */
};

/* How many the guest has yet to answer: VMM and agent have queues. */
#define ASKED_MAX 32

struct publish {
	struct config_publishes what;
	struct ev_loop *loop;
	struct state *state;
	struct door door[DOORS_MAX];
	size_t ndoors;
	struct link *link; /* WIRE_DIALS_MAX */
	uint8_t *rooms;
	unsigned used, asked, datagrams; /* links; of them, asked; UDP */
	int started, resting;
	struct ev timer, rest; /* .fd owned */
	uint8_t shared[RELAY_ROOM];
};

/* publish.c */

/* A link has gone, or was let in: there may be room for more. */
void publish_admit(struct publish *p);
/* A while without new clients: what they need is short. */
void publish_rest(struct publish *p);

/* publish_link.c */

/* A free link with a stream to the guest, asked for @d's port. NULL: there is
 * none to be had now. */
struct link *link_ask(struct door *d);
/* @client is taken over. */
void link_begin(struct link *l, int client);
void link_drop(struct link *l);
/* What waited for too long; 1 where there is anything to look at again. */
int link_sweep(struct publish *p);
void link_watch(struct link *l);

/* publish_udp.c */

void udp_on_door(struct ev *ev, uint32_t events);
/* The guest has datagrams for the client. */
void udp_deliver(struct link *l);
/* That the socket says which of our addresses a datagram was for. */
int udp_prepare(int fd, int family);

/* publish_holder.c */

/* @at could not be had: say who has it, as far as that can be seen. */
int holder_tell(const union place *at, int udp, struct err *err);

#endif
