/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: what a running mayfly can be asked by another one.
 *
 * The supervisor listens on <id>/control, a SOCK_SEQPACKET socket that only
 * its user can reach. Each message is one struct control_msg:
 *
 *	client -> supervisor  SIGNAL, STOP, KILL, WAIT	 any number, any order
 *	supervisor -> client  DONE			 one for each, in order
 *	supervisor -> client  ENDED, to all that are connected, when the run is
 *			      over: its exit code. Then the connection closes.
 *
 * A connection that closes without ENDED means that the supervisor died (or
 * had no room for one more client): look whether the run still lives. What is
 * not a message closes the connection. No client can make the supervisor
 * wait, and there are at most CONTROL_CLIENTS: where one more comes, it takes
 * the place of the oldest that never said anything, or is sent away. So that
 * some places are left to those who ask for something, at most CONTROL_WAITERS
 * may say WAIT; one more is sent away, and may come again.
 *
 * The server runs on the owner's ev loop and thread.
 */
#ifndef MAYFLY_CONTROL_H
#define MAYFLY_CONTROL_H

#include <assert.h>
#include <stdint.h>

#include "runner/base/ev.h"

struct err;
struct state;

#define CONTROL_CLIENTS 64
#define CONTROL_WAITERS 48

enum control_type {
	CONTROL_SIGNAL = 1, /* value: signal number, for the command */
	CONTROL_STOP,	    /* value: signal number; then timeout_ns, then KILL */
	CONTROL_KILL,	    /* the VM dies now */
	CONTROL_WAIT,	    /* nothing: says that the client waits for the end */
	CONTROL_DONE,	    /* value: 0 or -errno */
	CONTROL_ENDED,	    /* value: exit code */
};

struct control_msg {
	uint32_t type;
	int32_t value;
	uint64_t timeout_ns; /* CONTROL_STOP; 0: at once */
};

static_assert(sizeof(struct control_msg) == 16, "control_msg");

/*
 * What the run does. Signal numbers are 1 to 64. Return 0 or -errno for the
 * client; -EAGAIN where the command does not run yet. Several clients may ask
 * for a stop: the earliest end counts. An op may end the run, and may call
 * control_free().
 */
struct control_ops {
	int (*signal)(void *opaque, int signo);
	int (*stop)(void *opaque, int signo, uint64_t timeout_ns);
	int (*kill)(void *opaque);
};

struct control_client {
	struct control *c;
	struct ev ev;	/* fd -1: free */
	uint64_t order; /* of arrival */
	int spoke, waits;
};

/* Zeroed by control_init(); not moved while it listens. */
struct control {
	struct ev_loop *loop;
	const struct control_ops *ops;
	void *opaque;
	struct ev listen;
	uint64_t arrivals;
	struct control_client client[CONTROL_CLIENTS];
};

/* So that control_free() may follow whatever happens. */
void control_init(struct control *c);
/* Make the socket in @s and serve it on @loop. All are borrowed. */
int control_listen(struct control *c, struct ev_loop *loop, struct state *s,
		   const struct control_ops *ops, void *opaque, struct err *err);
/* Tell all clients the exit code, and close. After state_exited() or
 * state_discard(): who waited may ask for the record, or want the name. */
void control_ended(struct control *c, int exit_code);
/* Close without a word. Twice does no harm. */
void control_free(struct control *c);

/* --- the client, on a descriptor of state_connect_control() ----------- */

/* Ask, and wait for DONE: 0 or the -errno in it. -ETIMEDOUT: no answer in
 * 10 s. -EPIPE: it closed without an answer. With @ended, an ENDED that comes
 * instead is 1, and the exit code is there. */
int control_ask(int fd, enum control_type type, int value,
		uint64_t timeout_ns, int *ended);
/* Wait for the end, at most @timeout_ns (0: for ever). 1: *@exit_code; 0: it
 * closed without a word; -ETIMEDOUT. */
int control_wait(int fd, uint64_t timeout_ns, int *exit_code);

#endif
