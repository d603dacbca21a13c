/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nl: what we ask of the kernel's rtnetlink and nfnetlink, by libnl.
 *
 * A socket belongs to the network namespace that the caller was in when it was
 * opened, and so do all links that are named here. Each call is one request
 * and waits for the kernel's answer. One thread per socket.
 *
 * Results: 0 or -errno, with words where there is an @err (NULL: none). What
 * is there already is -EEXIST, what is not there -ENODEV.
 */
#ifndef MAYFLY_NET_NL_H
#define MAYFLY_NET_NL_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct err;

/* --- rtnetlink: links, addresses, routes, neighbours -------------------- */

struct rt;

int rt_open(struct rt **out, struct err *err);
void rt_close(struct rt *rt);

#define RT_ALIAS_MAX 256 /* IFALIASZ */

/* What a link has, or is to have: 0, NULL and "" leave things as they are. */
struct rt_link {
	const char *name;
	unsigned index;
	int up;
	unsigned mtu;
	const uint8_t *mac;
	const char *alias;
	int no_link_local; /* IPv6: no address of the kernel's making */
	int forward4;	   /* IPv4: what comes in here may leave elsewhere */
	int strange4;	   /* IPv4: no word of who is there changes a route, and
			    * ARP answers for the addresses of this link only */
};

/* Change the link of this .index, or else .name. */
int rt_link_set(struct rt *rt, const struct rt_link *l, struct err *err);
/* Its index, or -ENODEV. */
int rt_link_index(struct rt *rt, const char *name);
int rt_link_del(struct rt *rt, const char *name, struct err *err);

/*
 * A veth pair: @l here, @peer in the namespace of @netns_fd from its birth.
 * Both are as asked at once, but for .up, which is @l's alone.
 */
int rt_veth_add(struct rt *rt, const struct rt_link *l,
		const struct rt_link *peer, int netns_fd, struct err *err);

/* @p: the address, and the length of its network. No duplicate address
 * detection for IPv6: it can be used at once. */
int rt_addr_add(struct rt *rt, unsigned index, const struct net_prefix *p,
		struct err *err);

/* @to: .len 0 is the default route. @via NULL: directly on the link. */
int rt_route_add(struct rt *rt, unsigned index, const struct net_prefix *to,
		 const struct net_addr *via, struct err *err);

/* Permanent. */
int rt_neigh_add(struct rt *rt, unsigned index, const struct net_addr *a,
		 const uint8_t mac[6], struct err *err);

/* Call @fn for each; a result that is not 0 ends it and is returned. What @fn
 * gets is valid during the call. */
struct rt_seen_link {
	unsigned index, mtu;
	int up;
	char name[IF_NAMESIZE];
	char alias[RT_ALIAS_MAX];
	char kind[16]; /* "veth", ... or "" */
};
int rt_link_each(struct rt *rt,
		 int (*fn)(const struct rt_seen_link *l, void *opaque),
		 void *opaque);

struct rt_seen_addr {
	unsigned index;
	struct net_prefix prefix; /* the address, and the length of: */
	struct net_prefix on_link; /* the network there; a peer's, if it has one */
};
int rt_addr_each(struct rt *rt,
		 int (*fn)(const struct rt_seen_addr *a, void *opaque),
		 void *opaque);

/* Routes of the main table. */
struct rt_seen_route {
	unsigned index;	 /* of the first next hop; 0: none */
	int protocol;	 /* RTPROT_RA, RTPROT_STATIC, ... */
	int type;	 /* RTN_UNICAST, ... */
	struct net_prefix to;
};
int rt_route_each(struct rt *rt, int family /* AF_INET, AF_INET6 */,
		  int (*fn)(const struct rt_seen_route *r, void *opaque),
		  void *opaque);

/* --- nfnetlink: tables, and elements of sets ----------------------------- */

struct nfnl;

int nfnl_open(struct nfnl **out, struct err *err);
void nfnl_close(struct nfnl *n);

/*
 * A whole batch (batch.h), all of it or nothing, with words that name the rule
 * or the set that the kernel does not take. What is longer than NFNL_SEND_MAX,
 * or what net.core.wmem_max lets be, is -EMSGSIZE.
 */
#define NFNL_SEND_MAX (256 * 1024)
int nfnl_send(struct nfnl *n, const void *batch, size_t len, struct err *err);

/* An element of a set, its key as nftables has it. */
struct nfnl_element {
	const char *set;
	const uint8_t *key;
	size_t key_len;
	uint32_t timeout_s; /* 0: for ever */
};

#define NFNL_ADD_MAX 32 /* at once; each key once */

/*
 * Add all of them or none to sets of `inet @table`, in one transaction. An element that is there
 * already gets its time anew. Allocates nothing and opens nothing: seccomp
 * lets the keeper send and receive only. No words; -ENFILE: the set is full.
 */
int nfnl_add(struct nfnl *n, const char *table, const struct nfnl_element *e,
	     unsigned count);

#endif
