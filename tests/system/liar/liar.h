/* SPDX-License-Identifier: Apache-2.0 */
/*
 * liar: root in the guest that fights and lies.
 *
 * One static program; its first argument names what it does, the rest are
 * numbers. It runs as the run's own command, so that what it returns is the
 * command's exit code, where the run gets that far; tests/system/liar.sh says
 * for each what mayfly has to make of it. A thing that the guest's kernel
 * refuses is said on standard error, exit code 2: such a test would show
 * nothing.
 */
#ifndef MAYFLY_LIAR_H
#define MAYFLY_LIAR_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/wire.h"

#define LIAR_SAYS 7 /* the exit code of one that came to its end */

/* The arguments after the name, as numbers; those not given are 0. */
#define LIAR_ARGS 6
struct lie {
	const char *name;
	int (*fn)(const uint64_t arg[LIAR_ARGS]);
};

/* "liar: what: strerror(errno)", and exit code 2. */
_Noreturn void give_up(const char *what);
_Noreturn void stay(void);
/* Write @text to @path. 0 or -1. */
int put(const char *path, const char *text);

/* agent.c: PID 1 from outside. */

enum sock { CONTROL, LISTENER };
/* A copy of a socket of PID 1's. */
int steal(enum sock which);
/* PID 1 runs no more as long as this process lives. */
void hold_agent(void);
extern const struct lie agent_lies[];

/* frames.c: on the control connection. */

/* A frame; stays where the host has hung up. */
void send_frame(int fd, enum wire_type type, const void *payload,
		uint32_t len);
/* On the run's standard output, past the agent. */
void say(const char *words);
extern const struct lie frame_lies[];

/* machine.c: the guest's kernel and its devices. */
extern const struct lie machine_lies[];

/* serve.c: as the agent towards `mayfly exec` and `mayfly cp`. */
extern const struct lie serve_lies[];

#endif
