/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn: what the forwarder asks the keeper to open, checked.
 *
 * The forwarder is taken for hostile: a question is one of bytes. Many names
 * may have one address, each with a time of its own: the longest counts, so
 * what is open is remembered here, with when it ends. Pure but for what .add
 * tells the kernel; allocates at the start only. One thread.
 */
#ifndef MAYFLY_NET_LEARN_H
#define MAYFLY_NET_LEARN_H

#include <stddef.h>
#include <stdint.h>

#include "net/keep.h"
#include "net/nl.h"

struct net_rules;

/* So many elements at once, and so many in a second after that: the kernel
 * does each of them in some 20 us. */
#define LEARN_BURST  2048
#define LEARN_SECOND 256

#define LEARN_KEY_MAX 20
#define LEARN_SLOTS   16384 /* 4 times what a set takes, and there are 4 sets */
#define LEARN_PROBES  64

/* Free when its time is over. */
struct learn_slot {
	uint64_t end_ns;
	uint8_t key_len; /* which tells the set as well */
	uint8_t key[LEARN_KEY_MAX];
};

struct learn {
	const struct net_rules *rules;
	/* Ask the kernel for all of them or none; nfnl_add(), or a test's. */
	int (*add)(void *opaque, const struct nfnl_element *e, unsigned count);
	void *opaque;
	struct learn_slot *slot;
	uint64_t tokens; /* in 1/1000 of an element */
	uint64_t last_ns;
};

int learn_init(struct learn *l, const struct net_rules *rules, uint64_t now_ns);
void learn_free(struct learn *l);

/* The number of answers in @a for a question of @len bytes, or -EBADMSG: what
 * sends such things is to be heard no more. */
int learn_answer(struct learn *l, const void *question, size_t len,
		 uint64_t now_ns, struct keep_learned a[KEEP_LEARN_MAX]);

#endif
