/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarder: the DNS forwarder of a run's network, as a process.
 *
 * `mayfly-net dns` (net/forward.h) in a jail of its own, like mayfly-vmm's: it
 * reads what the guest and the network send. All that it will ever have goes
 * with one message. It dies when its control socket is closed.
 *
 *	forwarder_start()
 *	forwarder_heard()  once .control is readable: it has locked itself in,
 *			   or has ended
 *	forwarder_stop()   in any case, and twice
 *
 * One thread.
 */
#ifndef MAYFLY_FORWARDER_H
#define MAYFLY_FORWARDER_H

#include <sys/types.h>

#include "net/forward.h"
#include "runner/config.h"

struct err;

struct forwarder_params {
	int program_fd; /* mayfly-net; borrowed */
	const struct config *config;
	/* All of it but .control; its descriptors are borrowed. */
	const struct forward_params *forward;
};

struct forwarder {
	pid_t pid; /* -1: none */
	int pidfd;
	int control;
	int strict;
	int heard;
	struct jail_report jail;
};

void forwarder_init(struct forwarder *f);
int forwarder_start(struct forwarder *f, const struct forwarder_params *p,
		    struct err *err);
/* 0: it serves. -errno with words: it does not, or no more. */
int forwarder_heard(struct forwarder *f, struct err *err);
void forwarder_stop(struct forwarder *f);

#endif
