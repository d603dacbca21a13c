/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial: connections to the host's resolvers, for a forwarder that can make
 * none: net/forward.h has the words.
 *
 *	dialler_init()
 *	dialler_open()	once the forwarder has said that it serves
 *	dialler_close()	in any case, and twice
 *
 * Who asks may have been taken over by a guest. It gets connections to these
 * resolvers and nothing else, a few at once and in a second; what it asks for
 * beyond that waits in its socket, and a word that makes no sense is its end.
 *
 * One thread, that of the loop, which never waits.
 */
#ifndef MAYFLY_NET_DIAL_H
#define MAYFLY_NET_DIAL_H

#include <stdint.h>

#include "net/forward.h"
#include "runner/base/ev.h"

struct err;

#define DIALS_MAX 8  /* under way at once */
#define DIALS_PER_SECOND 16 /* and so many at once, after a while */

struct dialler;

struct dial {
	struct ev ev; /* .fd -1: a free place */
	struct dialler *d;
	uint32_t stream;
	uint64_t deadline;
};

struct dialler {
	struct ev_loop *loop;
	struct ev control, timer; /* .control.fd is borrowed; -1: not open */
	struct dial dial[DIALS_MAX];
	unsigned nresolvers;
	struct forward_resolver resolver[FORWARD_UPSTREAMS];
	uint64_t patience; /* ns, for a connection; the owner may change it */
	uint64_t tokens, refilled;
	void (*failed)(void *opaque, struct err *err);
	void *opaque;
};

void dialler_init(struct dialler *d);

/*
 * @control is the launcher's end of the forwarder's control socket, and stays
 * the caller's; it is made non-blocking. @failed is called once at most, with
 * words: the forwarder has ended, or has to. Nothing is watched any more then.
 */
int dialler_open(struct dialler *d, struct ev_loop *loop, int control,
		 const struct forward_resolver *r, unsigned n,
		 void (*failed)(void *opaque, struct err *err), void *opaque);
void dialler_close(struct dialler *d);

#endif
