/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ruleset: what of the host's nftables concerns what we forward.
 *
 * Read from the kernel by nfnetlink, without the program nft. Chains of other
 * people at the hook forward are judged: would one drop what goes from or to
 * our links, because that is its policy, or because its last rule drops or
 * refuses whatever comes that far? Docker, ufw and whoever else uses iptables
 * by nftables have the first kind, firewalld the second.
 *
 * Pure reading, but that it takes CAP_NET_ADMIN. One thread.
 */
#ifndef MAYFLY_NET_RULESET_H
#define MAYFLY_NET_RULESET_H

#include <linux/netfilter/nf_tables.h>
#include <stddef.h>
#include <stdint.h>

#include "net/plan.h"

struct err;

#define RULESET_CHAINS_MAX 32
#define RULESET_TAGS_MAX   8

/* The comment of our rules in other people's chains. */
#define RULESET_TAG "mayfly"

/* A base chain of somebody else's at the hook forward. */
struct ruleset_chain {
	uint8_t family; /* NFPROTO_INET, ... */
	char table[NFT_NAME_MAXLEN], name[NFT_NAME_MAXLEN];
	int drops;	/* what is ours would end there */
	int owned;	/* by a process, nobody else may change it (firewalld) */
	unsigned ntags; /* our rules in it; .handle has that many */
	uint64_t handle[RULESET_TAGS_MAX];
	/* Sum of hashes of what it jumps to: who has joined since? */
	uint64_t targets;
};

struct ruleset {
	uint32_t generation; /* it was so at this one, all at once */
	int has_table;	     /* inet mayfly */
	char mark[NET_MARK_MAX]; /* of the chain in it; "": none */
	unsigned nrules;     /* of it */
	unsigned n;
	struct ruleset_chain chain[RULESET_CHAINS_MAX];
};

/* A number that changes with every change of the ruleset of this network
 * namespace; not one packet's counters, nor timeouts of elements. */
int ruleset_generation(uint32_t *generation, struct err *err);

/* -E2BIG where there are more chains than we ever heard of. */
int ruleset_read(struct ruleset *rs, struct err *err);

/*
 * Changes, each one transaction: all of it, or nothing.
 *
 * Insert two rules with our tag at the head of every chain that .drops what is
 * ours, is not .owned and has not just those two: accept what comes from mfy*,
 * accept what goes there. Our own table judges what that is. The rules are as
 * iptables would have made them, so that its programs can still read the table.
 * Returns the number of chains that were changed.
 */
int ruleset_insert(const struct ruleset *rs, struct err *err);
/* Delete the rules with our tag, and then our table if there is one. */
int ruleset_delete(const struct ruleset *rs, struct err *err);

/* "ip", "ip6", "inet": as nft has it. */
const char *ruleset_family(uint8_t family);

#endif
