/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch: the machine of a run, from what the user asked for.
 *
 * Opens kernel, agent, disks and streams, writes the kernel command line, and
 * starts mayfly-vmm. The machine has its engine already.
 */
#ifndef MAYFLY_LAUNCH_H
#define MAYFLY_LAUNCH_H

#include "runner/console.h"
#include "runner/machine.h"

struct network;
struct state;
struct trace;

struct launch {
	const struct config *config;
	struct console *console; /* to be made; the caller frees it */
	struct ev_loop *loop;
	struct state *state; /* has the socket for more sessions; or NULL */
	struct network *network; /* or NULL */
	struct trace *trace;
	int *scratch; /* gets a descriptor of the scratch disk; or NULL */
};

/* *@agent is our end of the stream, which the caller closes on failure too. */
int launch(struct machine *m, const struct launch *l, int *agent,
	   struct err *err);

#endif
