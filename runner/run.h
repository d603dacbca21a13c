/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: one command in one guest, from the boot message to the verdict.
 *
 * A run joins four parties in one loop: mayfly-vmm (control socket, console),
 * the command (a session, runner/session.h), the user (signals) and the clock.
 * run_command() blocks until the verdict is there and all output is out; the
 * VM is gone then, and the standard streams are as they were.
 */
#ifndef MAYFLY_RUN_H
#define MAYFLY_RUN_H

#include <stdint.h>

#include "runner/config.h"
#include "runner/console.h"
#include "runner/machine.h"
#include "runner/verdict.h"

struct control;
struct copies;
struct err;
struct journal;
struct network;
struct state;
struct trace;

/* In nanoseconds; those of the user are in the config. */
struct run_limits {
	uint64_t kill;	/* from --timeout's end to the VM's end */
	uint64_t flush; /* for output after a timeout or a signal */
	uint64_t words; /* for a dying guest to say why */
	uint64_t settle; /* instead of `kill`, where files are wanted after it */
	uint64_t copy;	/* for those, from then on */
	uint64_t stats; /* for mayfly-vmm to answer CTL_QUERY */
};
extern const struct run_limits run_limits;

struct run_params {
	const struct config *config;
	const struct run_limits *limits;
	struct ev_loop *loop;
	struct console *console; /* on that loop */
	struct machine *machine; /* started; killed when the run is over */
	int agent_fd;		 /* our end of the agent's stream; taken over */
	/* The rest may be NULL. */
	struct trace *trace;
	struct copies *copies;	 /* wants the state as well */
	struct state *state;	 /* the run's record, and with it: */
	struct control *control; /* what asks; listens when the run is over */
	struct network *network; /* of the machine */
	struct journal *journal; /* gets the output of a detached run */
	/* The VM stands, locked in; its guest has said nothing yet. */
	void (*locked)(void *opaque);
	/* The command runs. -errno ends the run: nobody would know of it. */
	int (*started)(void *opaque);
	void *opaque;
};

/*
 * Returns 0 with a verdict in @r or -errno (verdict internal). @err has words
 * for the verdicts vm_crash and internal, and where the program could not be
 * started.
 */
int run_command(const struct run_params *p, struct run_result *result,
		struct err *err);

#endif
