/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host: what networks of runs need of the host's own network, for root.
 *
 * All runs share it, and none of it says which runs there are:
 *
 *	table inet mayfly	the fence between mfy* and the host (net/plan.h)
 *	net.ipv4.ip_forward	1, and net.ipv6.conf.all.forwarding where IPv6
 *				is wanted
 *	two rules, tagged	in each chain at the hook forward that would
 *				drop what goes from or to mfy*: of Docker, ufw,
 *				firewalld, with iptables or nftables
 *
 * What it was before is kept in <state>/net/host.json, written before anything
 * is changed, so that whoever is killed in between leaves what the next
 * net_host_apply() completes or net_host_undo() takes back. <state>/net/host.lock
 * orders them: shared by who looks whether all is there, exclusive for who
 * changes something.
 *
 * Life, as seen by a run:
 *
 *	net_lease_take()	first: nobody undoes while a lease is held
 *	...			the veth: nor while a link of ours is there
 *	net_host_apply()	usually a look of less than a millisecond; no
 *				guest runs before it
 *	net_lease_drop()	all stays as it is for the next run
 *
 * and net_host_prune(), by `mayfly net prune`, when somebody wants the host back
 * as it was. The reverse order of apply: rules, forwarding, table.
 *
 * The network namespace is that of the calling thread. Without root only
 * net_host_look() works, and a part of net_host_prune(). One thread; 0 or -errno
 * with words.
 */
#ifndef MAYFLY_NET_HOST_H
#define MAYFLY_NET_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct err;
struct net_host;  /* net/plan.h: IPv6 or not, MTU */
struct net_rules; /* net/rule.h: where the host's addresses go */
struct net_taken; /* net/taken.h: and the networks that it is in */

/* What else is found out about the host. */
#define NET_RESOLVERS_MAX 3 /* resolv.conf(5): MAXNS */
struct net_resolver {
	struct net_addr addr; /* a loopback address, often enough */
	uint32_t scope;	      /* the link of a link-local one, else 0 */
};
struct net_host_notes {
	struct net_resolver resolver[NET_RESOLVERS_MAX];
	unsigned nresolvers; /* 0: /etc/resolv.conf names none */
	int has_default4, has_default6;
	const char *no_v6; /* why IPv6 is not for guests; NULL: it is */
};

/* Names of /etc/resolv.conf, in its order; how many. Lines that no resolver
 * would take are passed over. */
unsigned net_resolvers_parse(struct net_resolver to[NET_RESOLVERS_MAX],
			     const char *text, size_t len);

/*
 * Fill @h and @notes, and add the addresses of the host, and networks that are
 * routed to it, to @rules->own: there nothing ever leads to (the pool is the
 * caller's to add); and the networks that it is in to @taken (NULL: nobody
 * asks). Works without root; reads, changes nothing.
 */
int net_host_look(struct net_host *h, struct net_rules *rules,
		  struct net_taken *taken, struct net_host_notes *notes,
		  struct err *err);

struct net_host_want {
	int v6;	   /* net_host_look() said that it may be */
	/* Of a run that had all of it before, and that does not wait for others:
	 * -EBUSY. */
	int again;
};

/*
 * Have all of it there. A lease must be held, so that nobody undoes it at the
 * same time.
 */
int net_host_apply(int state, const struct net_host_want *want, struct err *err);

/*
 * A descriptor, the caller's, that becomes readable when somebody has changed
 * the host's nftables; net_host_changed() takes that, and says whether it was
 * so. A run whose fence was flushed with all the rest applies again.
 */
int net_host_watch(struct err *err);
int net_host_changed(int fd);

enum net_host_done {
	NET_HOST_REMOVED,
	NET_HOST_RESTORED, /* it is as it was before us */
	NET_HOST_KEPT,	   /* and why */
};

/* One thing, in words: "link mfy3", "net.ipv4.ip_forward = 0". */
typedef void (*net_host_told_fn)(enum net_host_done done, const char *what,
				 void *opaque);

/*
 * Remove the links and files of leases that nobody holds; and where none is
 * held and no mfy* link is left, all that net_host_apply() has done. Goes on
 * where something cannot be removed; the first failure is told. Without root
 * only the files.
 */
int net_host_prune(int state, net_host_told_fn told, void *opaque,
		   struct err *err);

#endif
