/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network_impl: what the files of a network share. For them alone: network.c
 * joins the parts, network_uplink.c knows the host and leads out of it.
 */
#ifndef MAYFLY_NETWORK_IMPL_H
#define MAYFLY_NETWORK_IMPL_H

#include "net/host.h"
#include "net/keep.h"
#include "net/lease.h"
#include "net/plan.h"
#include "net/rule.h"
#include "runner/forwarder.h"
#include "runner/network.h"
#include "runner/pasta.h"

struct network {
	const struct config *c;
	struct network_facts *facts;
	int program; /* mayfly-net */
	struct net_host host;
	struct net_host_notes notes;
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
	struct ev on_keep, on_pasta, on_pasta_end, on_forwarder;
	struct ev_loop *loop;
	const struct network_ops *ops;
	void *opaque;
	int fenced;
};

/* What this host has for a guest, and what a guest is not to reach of it: into
 * .host, .notes and .rules. */
int network_look(struct network *n, struct err *err);
/* The lease, the plan, and the way out of .keep's namespace: a veth pair that
 * is there, or pasta, which is about to be. */
int network_lead_out(struct network *n, struct state *state, struct err *err);

#endif
