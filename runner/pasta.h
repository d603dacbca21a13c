/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pasta: the way out of a VM's network without root.
 *
 * Nobody but root may join a network namespace to the host's by a veth. The
 * program `pasta` (package passt) needs no right: it has a tap of its own in
 * the VM's namespace, up0, and makes a socket on the host for each flow that
 * comes out of it. So what the kernel would route there, pasta connects to as
 * its user, and nothing comes in. The VM's fence lies before up0 and is the
 * same as with root: pasta sees only what it has let pass.
 *
 * It dies with the launcher (PR_SET_PDEATHSIG outlives its setns(), which is
 * into a namespace that its user owns: cred_cap_issubset() in the kernel's
 * kernel/cred.c). It does not die with the namespace, which it holds.
 *
 *	pasta_start()
 *	pasta_wait()	up0 has its addresses and routes; or why not
 *	pasta_stop()	in any case, and twice
 *
 * One thread. .pidfd is readable once it has ended.
 */
#ifndef MAYFLY_PASTA_H
#define MAYFLY_PASTA_H

#include <stdint.h>
#include <sys/types.h>

#include "net/plan.h"

struct err;

/* Of up0: each read or write of pasta's is one packet of at most this size, so
 * that large ones are what makes it fast. It is a link of its own, and TCP ends
 * at pasta: nothing is fragmented but what the guest sends by UDP. */
#define PASTA_MTU NET_MTU_MAX

struct pasta_params {
	const struct net_plan *plan; /* up4, host4, up6, host6, mtu */
	int netns, userns;	     /* the VM's; borrowed */
};

struct pasta {
	pid_t pid; /* -1: none */
	int pidfd;
	int ready; /* becomes readable when up0 is there */
	int words;
};

void pasta_init(struct pasta *p);
int pasta_start(struct pasta *p, const struct pasta_params *params,
		struct err *err);
int pasta_wait(struct pasta *p, int timeout_ms, struct err *err);
/* Not waited for, as the kernel removes up0 while it ends, which takes tens of
 * milliseconds. Who is still dying when we end is init's. */
void pasta_stop(struct pasta *p);

/* Its last words, in @err, for one that has ended by itself. -EIO. */
int pasta_ended(struct pasta *p, struct err *err);

#endif
