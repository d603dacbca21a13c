/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_memory: what the host was like before us, and when all was last there.
 *
 * <state>/net/host.json, replaced whole by rename. It is of one boot and one
 * network namespace: that of another is none. <state>/net/host.lock orders who
 * reads and who changes; it goes with its descriptor. Private to host.c.
 */
#ifndef MAYFLY_NET_HOST_MEMORY_H
#define MAYFLY_NET_HOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "net/plan.h"
#include "net/ruleset.h"

struct err;

#define HOST_CHAIN_MAX (2 * NFT_NAME_MAXLEN + 8)

/* Who had to do with forwarding when we turned it on. */
struct host_chain {
	char name[HOST_CHAIN_MAX]; /* "ip filter FORWARD" */
	uint64_t targets;	   /* ruleset.h */
};

/* Links that did forward for a family though its switch was off. */
struct host_links {
	unsigned index[NET_CLOSED_MAX], n;
};

struct host_memory {
	/* What to load; where .was_off in it, forwarding is to be put back,
	 * with what else the switch has changed. */
	struct net_shared shared;
	struct host_links open4, open6;
	int accept_redirects;
	struct host_chain chain[RULESET_CHAINS_MAX];
	unsigned nchains;
	/* All was there at this generation of the ruleset, with that many
	 * rules in our table; 0: not yet. */
	uint32_t generation;
	unsigned nrules;
	char mark[NET_MARK_MAX]; /* of that table */
	int loaded;		 /* by us, and no other directory's run */
	uint64_t legacy; /* legacy.h: hash of the tables of iptables-legacy */
};

/* LOCK_SH or LOCK_EX of flock(2): a descriptor, or -errno with words. With
 * @create the directory is made; else -ENOENT without words. With LOCK_NB
 * -EBUSY at once where others have it; without, after 20 s. */
int host_memory_lock(int state, int how, int create, struct err *err);

/* @m is empty where there is none, or none of this boot and namespace, or none
 * that makes sense: 0. -errno with words. */
int host_memory_read(int state, struct host_memory *m, struct err *err);
int host_memory_write(int state, const struct host_memory *m, struct err *err);
/* No longer there is no error. */
int host_memory_remove(int state, struct err *err);

#endif
