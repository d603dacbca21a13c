/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flows: what the host remembers of a VM's flows, once the VM is gone.
 *
 * The host tracks them to change their addresses. A VM that ends closes none of
 * them, and its host would hold on to an established one for hours: so many
 * VMs, one after the other, would fill a table that is everybody's. Here those
 * of one source are forgotten, whose VM has ended. Those of one that was killed
 * with its launcher `mayfly net prune` forgets; else they go by their timeouts,
 * which are shorter than others' (table_host.c).
 */
#ifndef MAYFLY_NET_FLOWS_H
#define MAYFLY_NET_FLOWS_H

#include "net/addr.h"

/* In the caller's network namespace. How many they were, or -errno. Takes as
 * long as reading all that is tracked of this family: a few milliseconds for
 * ten thousand flows. */
int net_flows_forget(const struct net_addr *source);

#endif
