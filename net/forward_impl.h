/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward_impl: what the files of forward.h share.
 *
 *	forward.c	   the loop, its memory, its deadlines
 *	forward_guest.c	   queries of the guest, by UDP and TCP; answers to it
 *	forward_ask.c	   questions to the upstreams, and what they say
 *	forward_answer.c   what of that the guest gets
 *	forward_stream.c   the same by TCP, where UDP does not do
 *	forward_learn.c	   addresses for the keeper to open
 *	forward_setup.c	   the message from launcher to program
 *
 * A query of the guest is judged, then it waits (struct waiter) for the one
 * question about that name and type that is under way (struct ask).
 */
#ifndef MAYFLY_NET_FORWARD_IMPL_H
#define MAYFLY_NET_FORWARD_IMPL_H

#include <netinet/in.h>
#include <stdint.h>

#include "net/dns.h"
#include "net/forward.h"
#include "net/keep.h"
#include "runner/base/ev.h"

#define ASKS_MAX    128
#define WAITERS_MAX 256
#define TRIES_MAX   3

#define SECOND UINT64_C(1000000000)

/*
 * What a guest may have done for it in a second, or at once: four thousand
 * queries and connections, or a thousand questions to an upstream. It is not to
 * flood the host's resolver in the host's name, nor to have a CPU of the host's
 * that is not its own.
 */
#define QUERY_COST (SECOND / 4000)
#define ASK_COST   (SECOND / 1000)

struct forward;

/* A connection of the guest. It is closed at no time while a query of it
 * waits. */
struct conn {
	struct ev ev; /* .fd -1: a free place */
	struct forward *f;
	uint64_t deadline; /* for the next whole query, or to take an answer */
	int waits;	   /* for the answer to a query */
	int turn;	   /* its next query is there */
	int told;	   /* there is an answer that nobody has written yet */
	unsigned nin, nout, sent;
	uint8_t in[2 + DNS_QUERY_MAX]; /* RFC 1035 4.2.2: length, message */
	uint8_t out[2 + DNS_STREAM_MAX];
};

struct listener {
	struct ev ev; /* .fd -1: none */
	struct forward *f;
	int turn; /* there may be a query, or a connection */
};

/* Who takes turns: listeners by UDP, those by TCP, connections. */
#define PARTIES (2 * FORWARD_LISTENERS + FORWARD_TCP_MAX)

/* A query that was allowed, and where its answer goes. */
struct waiter {
	struct waiter *next; /* of the same question, or of the free ones */
	struct dns_query query;
	struct conn *conn; /* NULL: by UDP, from .listener to .from */
	struct listener *listener;
	struct sockaddr_in6 from; /* or an IPv4 one, which is smaller */
	socklen_t fromlen;
};

struct upstream_socket {
	struct ev ev;
	struct forward *f;
	unsigned upstream;
};

/* A question by TCP, from the word to the launcher on. */
enum stream_state { STREAM_FREE, STREAM_DIALS, STREAM_ASKS };

struct stream {
	enum stream_state state;
	struct ev ev; /* STREAM_ASKS: a connection; else .fd is -1 */
	struct forward *f;
	struct ask *ask; /* NULL: nobody waits any more */
	unsigned upstream;
	uint16_t id;
	size_t nin;
	uint8_t in[2 + DNS_STREAM_MAX];
};

enum ask_state { ASK_FREE, ASK_SENT, ASK_LEARNS };

struct ask {
	enum ask_state state;
	struct dns_question q;
	struct waiter *waiters;
	int no_edns; /* somebody did not understand it */
	unsigned failed; /* a bit for each upstream that had no answer */
	struct stream *stream; /* NULL: UDP will do */
	unsigned ntries;
	/* An answer to any of them is welcome. */
	struct {
		const struct upstream_socket *socket;
		uint16_t id;
		uint8_t edns;
	} try[TRIES_MAX];
	uint64_t deadline; /* of the last one, or of .stream */
	uint16_t ports[NET_RULES_MAX];
	unsigned nports;
	/* ASK_SENT: what is there for want of better, if .cut: truncated.
	 * ASK_LEARNS: what will be answered; addresses times ports, those that
	 * are asked for now, those that are done */
	struct dns_answer answer;
	int cut;
	struct ask *next;
	unsigned sent, done;
	uint32_t opened; /* a bit for each address */
	int error;	 /* of one that was not, but for a rule */
};

struct forward {
	struct ev_loop loop;
	int result;
	uint64_t patience, idle; /* ns */
	struct net_rules rules;
	struct net_rules denied; /* the same without what is allowed */
	struct ev control, keeper;
	struct listener udp[FORWARD_LISTENERS], tcp[FORWARD_LISTENERS];
	struct conn conn[FORWARD_TCP_MAX];
	unsigned nupstreams;
	struct upstream_socket upstream[FORWARD_UPSTREAMS][FORWARD_SOCKETS];
	/* Until then the others come first; it is not asked at all; it is not
	 * asked by TCP. */
	uint64_t sick[FORWARD_UPSTREAMS], refuses[FORWARD_UPSTREAMS],
		deaf[FORWARD_UPSTREAMS];
	unsigned broken; /* a bit for each, and those who wait are to know */
	struct stream stream[FORWARD_STREAMS];
	struct ask ask[ASKS_MAX];
	struct waiter waiter[WAITERS_MAX], *free_waiter;
	unsigned nasks;
	uint64_t tokens, refilled; /* ns, which buy QUERY_COST, ASK_COST */
	unsigned party; /* whose turn it is */
	struct ask *learn; /* the first of a queue; it has asked the keeper */
	/* What is being read, parsed, written. */
	uint8_t buf[DNS_MESSAGE_MAX + 1], out[DNS_STREAM_MAX];
	struct dns_answer answer;
};

/* forward.c: end the loop. */
void forward_stop(struct forward *f, int result);
/* Once around; waits no longer than that, with -1 as long as there is no need.
 * -errno, or how much there was: 0, nothing happens but with time. */
int forward_turn(struct forward *f, int longest_ms);

/* forward_guest.c */
void guest_on_listener(struct ev *ev, uint32_t events);
/* Go on with what can: how many queries and connections were taken. */
int guest_turn(struct forward *f);
void guest_expire(struct forward *f, uint64_t now);
/* When one of the two is to be called again; UINT64_MAX: there is no need. */
uint64_t guest_deadline(const struct forward *f, uint64_t now);
void guest_reply(struct forward *f, struct waiter *w, const uint8_t *msg,
		 size_t len);

/* forward_ask.c: is there room for one more, and does the guest have tokens? */
int ask_room(const struct forward *f);
/* @w, which has a question that is allowed, is copied. */
void ask_add(struct forward *f, const struct waiter *w, const uint16_t *ports,
	     unsigned nports);
void ask_on_answer(struct ev *ev, uint32_t events);
void ask_expire(struct forward *f, uint64_t now);
uint64_t ask_deadline(const struct forward *f);
/* @upstream has no answer for @k: ask another, if need be. */
void ask_failed(struct forward *f, struct ask *k, unsigned upstream);
/* It has said @a by TCP, which was parsed from @msg. */
void ask_told(struct forward *f, struct ask *k, unsigned upstream,
	      const uint8_t *msg, struct dns_answer *a);

/* forward_answer.c: answer all that wait for it with @rcode and, where it is
 * not NULL, @a. */
void ask_end(struct forward *f, struct ask *k, unsigned rcode,
	     const struct dns_answer *a);
/* With what may be had of @a, after it has been opened; @msg is what it was
 * parsed from, and is looked at for what is not an address. */
void ask_answer(struct forward *f, struct ask *k, const uint8_t *msg,
		struct dns_answer *a);

static inline int ask_is_for_addresses(const struct ask *k)
{
	return k->q.type == DNS_A || k->q.type == DNS_AAAA;
}

/* forward_stream.c: 0, and ask_failed() or ask_told() follows, or -errno. */
int stream_begin(struct forward *f, struct ask *k, unsigned upstream);
/* Neither of them is wanted any more. */
void stream_give_up(struct ask *k);
/* It has taken too long. */
void stream_failed(struct stream *t);
void stream_on_control(struct ev *ev, uint32_t events);

/* forward_learn.c: .answer of @k, which has addresses and ports. */
void learn_add(struct forward *f, struct ask *k);
void learn_on_keeper(struct ev *ev, uint32_t events);

#endif
