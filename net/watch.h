/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: what the kernel tells of links and addresses that come and go.
 *
 * A descriptor is the caller's, becomes readable when there is something, and
 * belongs to the network namespace that its opener was in. The calls that read
 * never wait, allocate nothing, and take what has come so far, a bounded part
 * of it at a time. One thread. -errno; with words where there is an @err.
 */
#ifndef MAYFLY_NET_WATCH_H
#define MAYFLY_NET_WATCH_H

#include "net/addr.h"

struct err;

int watch_links(struct err *err);
/* 1: a link of one of these indices was removed, or may have been, for the kernel
 * had more to tell than it keeps. */
int watch_links_gone(int fd, const unsigned *index, unsigned n);

int watch_addrs(struct err *err);
/* @fn for each address that has come. What it gives is given back if it is not
 * 0, and ends it. -ENOBUFS: some were lost, so look at all there are. */
int watch_addrs_new(int fd, int (*fn)(const struct net_addr *a, void *opaque),
		    void *opaque);

#endif
