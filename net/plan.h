/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: the names, addresses and tables of a VM's network, from its lease.
 *
 *	guest eth0 -- tap0 [ VM's netns: table inet mayfly ] up0 -- mfyN host
 *
 * tap0 and the guest have the same addresses in every netns; the uplink's are
 * the lease's. Rootless there is no mfyN, and pasta gives up0 what it likes:
 * tables go by names of links.
 *
 * Pure: what is planned here is done by keep.c (the netns), by the launcher
 * (the veth pair) and by host.c (what is shared on the host). Nothing is
 * allocated; a table is written by batch.h, or by table.h as text for nft, whole
 * or not at all.
 */
#ifndef MAYFLY_NET_PLAN_H
#define MAYFLY_NET_PLAN_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/rule.h"

struct err;

#define NET_TAP	   "tap0"
#define NET_UPLINK "up0"
/* Links of the host begin so, and nobody else's should. */
#define NET_HOST_LINK "mfy"
#define NET_ALIAS     "mayfly:" /* and the run's id, as their ifalias */

/* RFC 2544's network for tests: never routed, and rarely used. fd6d:6179:666c
 * is "mayfl" as a unique local prefix (RFC 4193). */
#define NET_GATE4	   "198.18.0.1"
#define NET_GUEST4	   "198.18.0.2"
#define NET_GUEST4_LEN	   30
#define NET_GATE6	   "fd6d:6179:666c:7900::1"
#define NET_GUEST6	   "fd6d:6179:666c:7900::2"
#define NET_GUEST6_LEN	   64
#define NET_POOL4	   "198.19.0.0/16" /* the default */
#define NET_POOL6	   "fd6d:6179:666c:79ff::/64"
/* Link-local address of the guest, from its MAC (RFC 4291, appendix A). */
#define NET_GUEST6_LINK	   "fe80::6d:61ff:fe79:6602"

#define NET_MTU_MIN 1280 /* RFC 8200 section 5 */
#define NET_MTU_MAX 65520
#define NET_MTU	    1500
#define NET_DNS_PORT 53

/* The batch of a VM's table: NFNL_SEND_MAX at the most. */
#define NET_TABLE_MAX	   (256 * 1024)
/* Text of a table, with its NUL. */
#define NET_HOST_TABLE_MAX 16384

/*
 * Names in the VM's netns, all in table inet mayfly. The four sets are there
 * where a rule allows a name (net_learns()); they have NET_LEARNED_MAX elements
 * at most, each with a timeout. Keys are as nftables has them: the address's
 * bytes; for the _port ones the address, then the port as two bytes in network
 * order, then two zero bytes. An element that is there already keeps its
 * timeout when it is added again (before Linux 6.12): who wants more deletes it
 * in the same batch.
 */
#define NET_TABLE	     "mayfly"
#define NET_SET_ADDR4	     "learned4"
#define NET_SET_ADDR6	     "learned6"
#define NET_SET_ADDR4_PORT   "learned4_port"
#define NET_SET_ADDR6_PORT   "learned6_port"
#define NET_LEARNED_MAX	     4096
/*
 * The host's addresses since the start, and a family: 4, 6. They are in any
 * table, have elements without a timeout, and are refused as step 2 of rule.h.
 */
#define NET_SET_LATER	     "own_later"
#define NET_SET_LATER4	     NET_SET_LATER "4"
#define NET_SET_LATER6	     NET_SET_LATER "6"
#define NET_LATER_MAX	     4096
/*
 * Flows that a guest may have open at once, and new ones in a second once it
 * has used up as many: the host tracks them too, and one that is closed for a
 * while yet. The host counts them for itself, and is the more patient one: what
 * a guest closes for its own namespace's eyes only (a reset that goes no further
 * than that) is closed nowhere else.
 */
#define NET_FLOWS_MAX	     8192
#define NET_FLOWS_SECOND     1000
#define NET_HOST_FLOWS_MAX   10240

/* The set that (address, port) is learned in; port 0: all ports. */
const char *net_learned_set(const struct net_addr *a, uint16_t port);
/* Its key, of 4, 8, 16 or 20 bytes, which is returned. */
size_t net_learned_key(const struct net_addr *a, uint16_t port,
		       uint8_t key[20]);

/* What the launcher has found on this host. */
struct net_host {
	int has_v6;	/* there is a way out for IPv6 */
	unsigned mtu;	/* of the way out, or what the user wants; 0: NET_MTU */
};

struct net_plan {
	int has_v6;
	int by_pasta; /* not of net_plan_make()'s making: who has up0 */
	unsigned mtu;
	unsigned lease;
	struct net_prefix pool;	  /* IPv4; pools of IPv6 do not vary */
	char link[IFNAMSIZ];	  /* the host's end, "mfy7" */
	uint8_t tap_mac[6], guest_mac[6];
	struct net_prefix gate4, gate6; /* of tap0: the address, and its length */
	struct net_addr guest4, guest6;
	/* The uplink: /31 and /127 (RFC 3021, RFC 6164), host and netns. */
	struct net_addr host4, up4, host6, up6;
};

/* The address of an interface has bits behind the length: gate4 and gate6 are
 * no networks that net_prefix_valid() would take. */

/* How many leases a pool has; 0 for none that can be used. */
unsigned net_pool_leases(const struct net_prefix *pool);
/* -EINVAL with words: IPv4, /8 to /30, and clear of the guest's network. */
int net_pool_check(const struct net_prefix *pool, struct err *err);

/* Of IPv6 it goes by the lease alone. */
struct net_addr net_plan_up6(unsigned lease);
/* @pool NULL: the default. -EINVAL, -ERANGE (no such lease) with words. */
int net_plan_make(struct net_plan *plan, const struct net_host *host,
		  unsigned lease, const struct net_prefix *pool,
		  struct err *err);
/* Does it hold together? For a plan that came by message. */
int net_plan_valid(const struct net_plan *plan);

/*
 * For nfnl_send() in the VM's netns, where nothing else is and tap0 is there
 * (up0 need not be). One batch: all of it stands, or nothing. The pool must be
 * among @rules->own (net_rules_own()). @buf is aligned as malloc() does. The
 * length, or -E2BIG with words.
 */
int net_plan_vm_table(const struct net_plan *plan,
		      const struct net_rules *rules, void *buf, size_t size,
		      struct err *err);

#define NET_CLOSED_MAX 32

/*
 * Forwarding of one family. Where it was off before us it is on for our links
 * only: what comes in by those that were there before, by index, is not
 * forwarded to others. By links that come later it is: who makes a bridge for
 * containers finds forwarding on, and leaves it to us.
 */
struct net_router {
	int was_off;
	unsigned closed[NET_CLOSED_MAX], nclosed;
	int all_closed; /* there were more than that: by no link */
};

/* What is shared by all VMs of the host. */
struct net_shared {
	int has_v6; /* forward IPv6 as well */
	struct net_router router4, router6;
};

/* For `nft -f -` in the host's netns: takes the place of the table that is
 * there, at once. Length or -E2BIG, as above. */
int net_plan_host_table(const struct net_shared *shared, char *buf, size_t size,
			struct err *err);
/* The name of an empty chain in it that says which table it is: another one
 * for any other @shared, and for any other version of the text. So a look for
 * this chain tells that all is there. */
#define NET_MARK     "mark_" /* begins all of them */
#define NET_MARK_MAX 32
int net_plan_host_mark(const struct net_shared *shared, char mark[NET_MARK_MAX]);
/* Does a table marked @has, of another directory's runs, what one marked @wants
 * would: of the same version, and no less in it? */
int net_mark_serves(const char *has, const char *wants);

/* /proc/sys/net/PATH of the VM's netns, after tap0 is there; those of IPv6 may
 * be missing. NULL path past the end. */
struct net_sysctl {
	const char *path, *value;
};
const struct net_sysctl *net_plan_sysctl(unsigned i);

#endif
