/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local: networks that the kernel takes for this host's own (RTN_LOCAL and
 * RTN_ANYCAST of the table "local"). Those of its addresses are among them; but
 * a network can be routed to a host that has none of its addresses on a link,
 * as clouds do with those of their balancers, and its servers answer there.
 */
#ifndef MAYFLY_NET_LOCAL_H
#define MAYFLY_NET_LOCAL_H

#include "net/addr.h"

/* Call @fn for each; a result that is not 0 ends it and is returned. @link is
 * an index, or 0. -errno. */
typedef int (*net_local_fn)(const struct net_prefix *p, unsigned link,
			    void *opaque);
int net_local_each(net_local_fn fn, void *opaque);

#endif
