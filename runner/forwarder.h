/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarder: the DNS forwarder of a run's network, as a process.
 *
 * `mayfly-net dns` (net/forward.h) in a jail of its own, like mayfly-vmm's: it
 * reads what the guest and the network send. All that it will ever have goes
 * with one message, but for connections to upstreams, which it asks for as it
 * goes (net/dial.h). It dies when its control socket is closed.
 *
 *	forwarder_start()
 *	.heard()		it has locked itself in, or has ended
 *	forwarder_unwatch()	say no more
 *	forwarder_stop()	in any case, and twice
 *
 * One thread, that of the loop.
 */
#ifndef MAYFLY_FORWARDER_H
#define MAYFLY_FORWARDER_H

#include <sys/types.h>

#include "net/dial.h"
#include "net/forward.h"
#include "runner/config.h"

struct err;

struct forwarder_params {
	int program_fd; /* mayfly-net; borrowed */
	const struct config *config;
	/* All of it but .control; its descriptors are borrowed. */
	const struct forward_params *forward;
	struct ev_loop *loop;
	/* With NULL: it serves. With words: it does not, or no more, and is
	 * watched no longer. */
	void (*heard)(void *opaque, struct err *err);
	void *opaque;
};

struct forwarder {
	pid_t pid; /* -1: none */
	int pidfd;
	int control;
	int strict;
	struct jail_report jail;
	struct ev on_word; /* the first; then it is the dialler's */
	struct ev_loop *loop;
	struct dialler dialler;
	unsigned nresolvers;
	struct forward_resolver resolver[FORWARD_UPSTREAMS];
	void (*heard)(void *opaque, struct err *err);
	void *opaque;
};

void forwarder_init(struct forwarder *f);
int forwarder_start(struct forwarder *f, const struct forwarder_params *p,
		    struct err *err);
void forwarder_unwatch(struct forwarder *f);
void forwarder_stop(struct forwarder *f);

#endif
