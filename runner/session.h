/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: what the parts of a run share. Private to run.c, which owns the
 * life cycle, the VMM, signals and the clock, and run_io.c, which owns the
 * agent's stream and the standard streams.
 *
 * States, in order; each may be skipped, none comes back.
 *
 *   BOOT	EXEC is on its way; the boot limit runs until READY.
 *   COMMAND	the command runs; --timeout runs.
 *   ENDING	the outcome is known or suspected, the VM still lives: last
 *		words are awaited (EXIT after a kill, the reason of a crash,
 *		the VMM's statistics), until `grace` fires.
 *   DRAIN	the VM is dead; what it had sent is read and written out.
 *   DONE
 *
 * The verdict is settled by the first that knows (verdict_set()). Two timers:
 * `limit` is the user's (boot, --timeout), `grace` is ours.
 */
#ifndef MAYFLY_SESSION_H
#define MAYFLY_SESSION_H

#include "runner/run.h"
#include "runner/sink.h"

enum state { STATE_BOOT, STATE_COMMAND, STATE_ENDING, STATE_DRAIN, STATE_DONE };

struct session {
	const struct run_params *p;
	struct run_result *r;
	struct err *err;
	enum state state;
	int failed;	 /* -errno: our own machinery broke */
	int stop_signal; /* forwarded to the command, or 0 */
	int agent_gone;
	struct ev control, agent, signals, limit, grace, input;
	int signal_fd, limit_fd, grace_fd, agent_fd;
	struct sink to_agent, out, errout;
	struct stream in;
	uint64_t in_flight; /* STDIN bytes without their STDIN_ACK */
	int in_eof;
	struct wire_reader reader;
};

/* run.c: ways for a run to end. The first verdict stays. */

/* The verdict stands: end the VM, then let what it sent come out. */
void session_drain(struct session *s);
/* The outcome is near: ns more for last words. */
void session_await(struct session *s, uint64_t ns);
/* Our own machinery broke. */
void session_internal(struct session *s, int code, const char *what);
/* The last byte may be out. */
void session_check_drained(struct session *s);
/* Read @fd by @fn; a negative @fd is its own error. */
int session_watch(struct session *s, struct ev *ev, int fd, ev_fn fn);

/* run_io.c: bytes in and out. */

int session_open_streams(struct session *s);
void session_close_streams(struct session *s);
int session_send_exec(struct session *s);
void session_send_signal(struct session *s, int signo);
/* Ask the VMM for its statistics. 1 where the report wants them. */
int session_ask_stats(struct session *s);
/* Take what the agent sent, as long as the outputs have room. */
void session_pump_agent(struct session *s);
#endif
