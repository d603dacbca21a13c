/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network: the network of a run, of all its parts.
 *
 * The only place of the launcher that knows them all: the lease (net/lease.h),
 * the keeper, who makes the VM's namespace and its fence (net/keep.h), the way
 * out (root: a veth pair and net/host.h; else runner/pasta.h), and the DNS
 * forwarder (runner/forwarder.h). One attempt at a run has one.
 *
 *	network_open()	 the keeper begins, and the way out is made: early, for
 *			 both work while the launcher opens files
 *	network_give()	 the tap becomes a part of the machine, which from now on
 *			 wants machine_fenced(): before machine_start()
 *	network_watch()	 after it: tells when the fence stands, then starts the
 *			 forwarder; tells when something of it breaks
 *	network_close()	 in any case. Waits for nothing that takes the kernel
 *			 time: who is killed is not reaped if that would block.
 *
 * No byte of a guest's comes through here. One thread, the loop's; a network of
 * NULL is none, which all functions take.
 */
#ifndef MAYFLY_NETWORK_H
#define MAYFLY_NETWORK_H

#include "rootfs/wire.h"
#include "runner/base/ev.h"
#include "runner/config.h"

struct err;
struct machine;
struct network;
struct state;

/* For reports. */
struct network_facts {
	const char *kind;  /* "nat", "pasta" or "tap"; NULL: there was none */
	char link[16];	   /* of the host, "mfy3" or the tap; or "" */
	unsigned mtu;	   /* 0: as the tap has it */
	int has_v6;
	char no_v6[160];   /* why not, or "" */
	/* The fence stands; the forwarder serves, too. CLOCK_MONOTONIC, 0: it
	 * was not so. */
	uint64_t begin_ns, fenced_ns, ready_ns;
};

/* *@out is NULL where the run wants no network. @facts are the caller's, and
 * filled in for as long as the network lives. */
int network_open(struct network **out, const struct config *c,
		 struct state *state, struct network_facts *facts,
		 struct err *err);
int network_give(struct network *n, struct machine *m, struct err *err);

struct network_ops {
	/* Once: the guest may run. */
	void (*ready)(void *opaque);
	/* At most once, and nothing more after it: the guest has no network any
	 * more, or will have none. @err says why. */
	void (*failed)(void *opaque, const struct err *err);
};
int network_watch(struct network *n, struct ev_loop *loop,
		  const struct network_ops *ops, void *opaque,
		  struct err *err);
/* The loop or @opaque is about to go. */
void network_unwatch(struct network *n);

/* What the agent is to make of eth0; NULL: nothing. */
const struct wire_net *network_wire(const struct network *n);

void network_close(struct network **n);

#endif
