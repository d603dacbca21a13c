/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep_wire: what launcher and keeper say to each other; for keep.c and
 * keeper.c alone. Datagrams of one machine and one build.
 */
#ifndef MAYFLY_NET_KEEP_WIRE_H
#define MAYFLY_NET_KEEP_WIRE_H

#include <stdint.h>

#include "net/keep.h"
#include "net/plan.h"
#include "net/rule.h"
#include "runner/base/err.h"
#include "runner/base/io.h"

/* The first word of the launcher, to the child before it executes: it is
 * mapped, and may become who it shall be. */
struct keep_go {
	uint32_t type; /* KEEP_GO */
};

/* With the forwarder's socket, or no descriptor. */
struct keep_setup {
	uint32_t type;	 /* KEEP_SETUP */
	uint32_t become; /* a user to become once all is made, or KEEP_SELF */
	struct net_plan plan;
	struct net_rules rules;
};

struct keep_uplink {
	uint32_t type; /* KEEP_UPLINK */
	uint32_t configured;
};

/* Added to what the rules call the host's own; each once. */
struct keep_own {
	uint32_t type; /* KEEP_OWN */
	uint32_t n;
	struct net_addr addr[KEEP_OWN_MAX];
};

/* Of the keeper: KEEP_TAP with its descriptors, KEEP_READY; KEEP_FAILED with
 * -errno and words. */
struct keep_word {
	uint32_t type;
	int32_t code;
	uint64_t at_ns; /* when it was said, CLOCK_MONOTONIC */
	uint32_t layers; /* KEEP_READY: what it is locked in by */
	char msg[ERR_MSG_MAX];
	char hint[ERR_HINT_MAX];
};

#define KEEP_FDS_MAX 5 /* tap, udp4, tcp4, udp6, tcp6 */

static inline void keep_word_fill(struct keep_word *w, uint32_t type,
				  const struct err *err)
{
	*w = (struct keep_word){ .type = type, .at_ns = io_now_ns() };
	if (!err)
		return;
	w->code = err->code;
	__builtin_memcpy(w->msg, err->msg, sizeof(w->msg));
	__builtin_memcpy(w->hint, err->hint, sizeof(w->hint));
}

#endif
