/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network_impl: what the files of a network share. For them alone: network.c
 * joins the parts, network_uplink.c knows the host and leads out of it,
 * network_guard.c follows what changes there.
 */
#ifndef MAYFLY_NETWORK_IMPL_H
#define MAYFLY_NETWORK_IMPL_H

#include "net/host.h"
#include "net/keep.h"
#include "net/lease.h"
#include "net/plan.h"
#include "net/rule.h"
#include "net/taken.h"
#include "runner/forwarder.h"
#include "runner/network.h"
#include "runner/pasta.h"

/*
 * What changes on the host while a guest runs. Root's: whoever flushes the host's
 * rules takes the second fence with them. A user's, who has no second one: pasta
 * connects from where a new address of the host's is the host's at once.
 */
struct network_guard {
	int changes, timer; /* root's; else -1 */
	int addrs;	    /* a user's; else -1 */
	struct ev on_change, on_timer, on_addrs;
	struct net_host_want want;
	int state; /* directory of runs; borrowed */
	unsigned tries;
};

struct network {
	const struct config *c;
	struct network_facts *facts;
	int program; /* mayfly-net */
	struct net_host host;
	struct net_host_notes notes;
	struct net_taken taken;
	struct net_rules rules;
	struct net_lease lease;
	struct net_plan plan;
	struct keep keep;
	struct keep_fds fds;
	struct pasta pasta;
	struct forwarder forwarder;
	int learn[2]; /* the forwarder's end and the keeper's */
	struct wire_net wire;
	/* The loop's part. */
	struct ev on_keep, on_pasta, on_pasta_end;
	struct ev_loop *loop;
	const struct network_ops *ops;
	void *opaque;
	int fenced;
	struct network_guard guard;
};

/* Tell who watches, and watch no more. */
void network_fail(struct network *n, struct err *err);

/*
 * network_guard.c: rules from before the host's are applied, addresses from
 * before the host's are looked at. Changes of rules are looked into a little
 * later, for they come in crowds; a failure is one of the network.
 */
void network_guard_init(struct network_guard *g);
int network_guard_rules(struct network_guard *g, int state,
			const struct net_host_want *want, struct err *err);
int network_guard_addrs(struct network_guard *g, struct err *err);
int network_guard_watch(struct network *n);
/* Once the fence stands, and before the guest runs. */
int network_guard_fenced(struct network *n, struct err *err);
void network_guard_unwatch(struct network_guard *g);
void network_guard_close(struct network_guard *g);

/* What this host has for a guest, and what a guest is not to reach of it: into
 * .host, .notes and .rules. */
int network_look(struct network *n, struct err *err);
/* The lease, the plan, and the way out of .keep's namespace: a veth pair that
 * is there, or pasta, which is about to be. */
int network_lead_out(struct network *n, struct state *state, struct err *err);

#endif
