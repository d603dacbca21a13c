/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taken: numbers of a pool whose addresses are on a link of the host's.
 *
 * A pool may be larger than what is free of it: 10.0.0.0/8, on a host that is in
 * 10.3.0.0/24. The uplink of such a number would have a route of its own to two
 * neighbours of the host's. Pure; one thread per object.
 */
#ifndef MAYFLY_NET_TAKEN_H
#define MAYFLY_NET_TAKEN_H

#include <stdint.h>

#include "net/lease.h"

struct net_taken {
	struct net_prefix pool; /* .addr.family 0: none is taken */
	unsigned n;		/* how many are */
	uint8_t bits[NET_LEASE_MAX / 8];
};

/* @pool as net_pool_check() has it. */
void net_taken_init(struct net_taken *t, const struct net_prefix *pool);
/* A network that the host is in; of one address, one of its own. */
void net_taken_add(struct net_taken *t, const struct net_prefix *net);
/* The same, of the link NET_HOST_LINK with @number: that is nothing new for that
 * number, the name of which is taken. */
void net_taken_add_uplink(struct net_taken *t, const struct net_prefix *net,
			  unsigned number);
int net_taken_has(const struct net_taken *t, unsigned number);
/* The first from @number on that is not; NET_LEASE_MAX if there is none. */
unsigned net_taken_skip(const struct net_taken *t, unsigned number);

#endif
