/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward: the DNS forwarder of one VM: answers its guest what the rules
 * allow, and has the addresses opened before it names them.
 *
 *	launcher			mayfly-net dns, jailed
 *	forward_resolvers()
 *	forward_upstreams()
 *	forward_send()	    ------->	forward_receive()
 *					forward_open()
 *					(locks itself in)
 *	forward_hear()	    <-------	forward_tell()
 *	(the guest runs)		forward_serve(), until the control
 *	dialler_open()	    <------>	socket is closed; there it asks for
 *	closes its end	    ------->	connections (net/dial.h)
 *
 * One process, one thread, one loop that waits for nobody: net/forward.c has
 * the theory. What the guest or a network sends makes nothing grow.
 */
#ifndef MAYFLY_NET_FORWARD_H
#define MAYFLY_NET_FORWARD_H

#include <stdint.h>

#include "net/addr.h"
#include "net/rule.h"
#include "runner/base/err.h"

#define FORWARD_UPSTREAMS 3  /* as many as resolv.conf(5) takes: MAXNS */
#define FORWARD_SOCKETS	  16 /* towards each, so as many ports to guess */
#define FORWARD_LISTENERS 2
#define FORWARD_TCP_MAX	  16 /* connections of the guest */
#define FORWARD_STREAMS	  16 /* questions by TCP at once */
/* For jail_params.nofile: standard ones, control, epoll, the above. */
#define FORWARD_NOFILE                                                        \
	(8 + 2 * FORWARD_LISTENERS + FORWARD_UPSTREAMS * FORWARD_SOCKETS +    \
	 FORWARD_TCP_MAX + FORWARD_STREAMS)

#define FORWARD_TTL_MIN 30 /* seconds */
#define FORWARD_TTL_MAX 3600

struct forward_resolver {
	struct net_addr addr;
	uint32_t scope; /* interface of a link-local one, else 0 */
	uint16_t port;	/* 0: 53 */
};

/*
 * Plain data but for the descriptors, which are the owner's of the struct. In
 * the program .udp are the two that it receives first, whether there are two
 * sockets or one: jail/lock.h is particular about their numbers.
 */
struct forward_params {
	struct net_rules rules;
	int control; /* its end is ours */
	/* SOCK_SEQPACKET: struct keep_learn and its answer. -1 will do where
	 * no rule allows a name. */
	int keeper;
	int udp[FORWARD_LISTENERS], tcp[FORWARD_LISTENERS]; /* -1: none */
	unsigned nupstreams;
	int upstream[FORWARD_UPSTREAMS][FORWARD_SOCKETS];
	/* Whom these lead to: the launcher's, and not sent. */
	struct forward_resolver resolver[FORWARD_UPSTREAMS];
	/* How long the first try waits for an answer, the next ones wait half
	 * as much longer each; and a connection of the guest for its bytes.
	 * 0: the usual. */
	unsigned patience_ms, idle_ms;
};

/* All descriptors -1, all numbers 0. */
void forward_params_init(struct forward_params *p);
void forward_params_close(struct forward_params *p);

/* --- the launcher's side ---------------------------------------------- */

/*
 * The nameservers of resolv.conf's text, at most FORWARD_UPSTREAMS; with none,
 * 127.0.0.1, as the C library has it. The number.
 */
unsigned forward_resolvers(const char *text,
			   struct forward_resolver r[FORWARD_UPSTREAMS]);

/* Connected sockets of this network namespace, and to whom, into @p. */
int forward_upstreams(struct forward_params *p,
		      const struct forward_resolver *r, unsigned n,
		      struct err *err);

/* A socket of @type that is connected to it, or, with SOCK_STREAM, is about to
 * be; non-blocking. Or -errno. */
int forward_connect(const struct forward_resolver *r, int type);

/* @p as one message with its descriptors, but .control, which is borrowed as
 * they are. Words here and below leave it to the caller to say of whom. */
int forward_send(int sock, const struct forward_params *p, struct err *err);

struct forward_told {
	int32_t error;	 /* 0, or -errno with words */
	uint32_t layers; /* of enum jail_layer, those the program has itself */
	char msg[ERR_MSG_MAX];
};

/* Waits for the word of the forwarder. -EPIPE: it has ended without one. */
int forward_hear(int sock, uint32_t *layers, struct err *err);

/* --- the program's side ------------------------------------------------ */

/* .control becomes @sock. */
int forward_receive(int sock, struct forward_params *p, struct err *err);

/* @err NULL: all is well. Fits jail_params.failed with a word around it. */
void forward_tell(int sock, uint32_t layers, const struct err *err);

/*
 * While it serves: "make a connection to .upstream", and the answer, with a
 * descriptor where .error is 0, non-blocking and connected. Each word has one
 * answer, in any order; .stream tells them apart.
 */
struct forward_dial {
	uint32_t stream, upstream;
};

struct forward_dialled {
	uint32_t stream;
	int32_t error;
};

struct forward;

/* All memory and descriptors that it will ever need; takes @p's. */
int forward_open(struct forward **out, struct forward_params *p,
		 struct err *err);
/* Until .control hangs up: 0. -errno where .keeper does, or the loop fails. */
int forward_serve(struct forward *f);
void forward_free(struct forward *f);

#endif
