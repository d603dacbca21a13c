/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one command over one stream to a guest's agent.
 *
 * The session carries frames (rootfs/wire.h) and the user's streams, and
 * knows no machine and no time: whoever owns it decides what its news mean.
 *
 *	session_open()	 EXEC is on its way; with .hold it is not, and the owner
 *			 has time for session_mount(), then session_exec()
 *	ready()		 the agent is up; from here, and EXEC, on standard input
 *			 flows
 *	mounted()	 one for each session_mount(), in order
 *	started()	 the program runs (not told where it could not)
 *	ended()		 EXIT came, and every byte of output before it
 *	lost()		 the stream is over; once, and always at last
 *	session_close()	 frees all; the streams and the terminal are as before
 *
 * The command is fed by the agent's rules: input within its window, output
 * only as long as we have room for it. With a terminal (WIRE_EXEC_TTY) its
 * size follows ours, and where input comes from a terminal, that one is raw
 * from then until session_end_input(), so that each key is the guest's.
 *
 * All on the loop's thread. No callback may close the session.
 */
#ifndef MAYFLY_SESSION_H
#define MAYFLY_SESSION_H

#include <signal.h>

#include "rootfs/wire.h"
#include "runner/config.h"
#include "runner/sink.h"
#include "runner/terminal.h"

#define SESSION_TAIL 256

struct err;
struct journal;
struct session;

/* News for the owner. */
struct session_ops {
	void (*ready)(struct session *s);
	void (*started)(struct session *s);
	void (*ended)(struct session *s);
	/* @why is a clause: "its agent ended the connection". */
	void (*lost)(struct session *s, const char *why);
	/* An output failed: -EPIPE where its reader is gone. */
	void (*broke)(struct session *s, const char *stream, int error);
	/* Output that was held back went out. */
	void (*moved)(struct session *s);
	/* An errno, or 0. NULL where nothing is mounted. */
	void (*mounted)(struct session *s, int error);
	/* There is more output than output_max: that much was passed on, and no
	 * byte will be any more. Once; may be NULL where there is no limit. */
	void (*full)(struct session *s);
};

struct session_params {
	const struct session_ops *ops;
	void *opaque;
	struct ev_loop *loop;
	int agent_fd;	/* the stream; taken over, on failure too */
	/* Borrowed. fd[0] is read with WIRE_EXEC_STDIN only; -1: input stays
	 * open, and none comes. */
	int fd[3];
	struct journal *journal; /* gets the output, or NULL: fd[1], fd[2] */
	unsigned flags; /* WIRE_EXEC_* */
	int hold;	/* EXEC waits for session_exec() */
	int set_clock;	/* the guest's wall clock becomes ours */
	const struct wire_net *net; /* what the guest has, or NULL; copied */
	char *const *argv;
	const struct strings *env;
	const char *workdir; /* NULL: / */
	const char *user;    /* NULL: root */
	uint32_t pids_max;   /* of the command; 0: no limit */
	uint64_t output_max; /* bytes of both outputs together; 0: no limit */
};

struct session {
	struct session_params p;
	/* What the owner may read. */
	struct wire_ready ready;
	struct wire_started started;
	struct wire_exit exit;
	/* CLOCK_MONOTONIC; 0: not yet */
	uint64_t ready_ns, started_ns, output_ns;
	int have_exit, lost;
	int hung_up; /* that is why it is lost: no frame was wrong */
	unsigned mounts, mounted; /* asked for, answered */
	uint64_t output_bytes; /* taken, to be passed on */
	int full; /* and more were not */
	char tail[SESSION_TAIL]; /* the last of what it said on stderr */
	size_t tail_len;

	int stopped, sent_exec;
	struct ev agent, input;
	int agent_fd;
	struct sink to_agent, out, errout;
	struct stream in;
	uint64_t in_flight; /* STDIN bytes without their STDIN_ACK */
	int in_eof;
	struct terminal terminal;
	struct ev tty_signals;
	int tty_fd; /* with WIRE_EXEC_TTY: whose size the guest's has, or -1 */
	sigset_t mask_before;
	struct wire_reader reader;
};

/* The strings that @p points to live as long as the session. */
int session_open(struct session **out, const struct session_params *p,
		 struct err *err);
void session_close(struct session **s);

/* WIRE_EXEC_* of what the user asked for. */
unsigned session_flags(const struct config *c);
/* INT, TERM and HUP, but those that the caller had ignored (nohup, a shell's
 * &): they stay so. */
void session_forwarded_signals(sigset_t *set);

/* Before EXEC, on the run's own stream. 0, or -E2BIG: that is too much. */
int session_mount(struct session *s, const struct wire_mount *m,
		  const char *path);
/* What .hold held back. */
int session_exec(struct session *s, struct err *err);

void session_signal(struct session *s, int signo);
/* All of the command dies; the agent serves on. */
void session_kill(struct session *s);
/* The command gets no more input; the terminal is the user's again. */
void session_end_input(struct session *s);
/* Take what the agent sent, as long as the outputs have room. */
void session_pump(struct session *s);
/* All that came is written out. */
int session_is_flushed(const struct session *s);
/* Of output_bytes, what its readers, or the journal, have. */
uint64_t session_written(const struct session *s);
/* No news any more. */
void session_stop(struct session *s);

/* session_io.c, for session.c: the user's streams. */

int session_open_streams(struct session *s);
void session_close_streams(struct session *s);
int session_has_room(const struct session *s);
void session_output(struct session *s, int fd, const void *data, size_t len);
/* The agent is up, EXEC sent: input may flow, from a raw terminal where it is one. */
void session_begin_input(struct session *s);
/* Send as much input as the window has room for. */
void session_pump_input(struct session *s);

/* session.c, for session_io.c. */

/* Those of a list that the caller had not ignored. */
void session_unignored(sigset_t *set, const int *list, size_t n);
void session_send(struct session *s, enum wire_type type, const void *payload,
		  uint32_t len);
#endif
