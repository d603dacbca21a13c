/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_impl: the switches of forwarding, for host.c and host_prune.c.
 *
 * Turning net.ipv4.ip_forward changes more than that: the kernel sets the
 * forwarding of every link, and of those to come, and accept_redirects with it
 * (net/ipv4/devinet.c, inet_forward_change(); addrconf.c for IPv6). All of it
 * is remembered and put back.
 */
#ifndef MAYFLY_NET_HOST_IMPL_H
#define MAYFLY_NET_HOST_IMPL_H

#include "net/host_memory.h"
#include "net/legacy.h"

struct err;

/* 1: this host forwards packets of that family (4, 6); 0: not. */
int forward_is_on(int family);
/* Note in @m what is about to be changed, where the switch of @family is off;
 * nothing where it is on. */
int forward_note(struct host_memory *m, int family, struct err *err);
int forward_turn_on(int family, struct err *err);
/* What forward_note() has noted. */
int forward_put_back(const struct host_memory *m, int family, struct err *err);
/* "net.ipv4.ip_forward" */
const char *forward_name(int family);

/* Who has to do with forwarding, for host_is_shared(). */
void host_note_chains(struct host_memory *m, const struct ruleset *rs);
/* Has somebody joined since: a chain that was not there, or one that leads to
 * others now? */
int host_is_shared(const struct host_memory *m, const struct ruleset *rs);

/* Both families in one number, which a change of either changes. */
uint64_t host_legacy_hash(const struct legacy l[2]);
int host_read_legacy(struct legacy l[2], struct err *err);

#endif
