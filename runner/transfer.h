/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer: one tree between the host's files and those of a guest that runs.
 *
 * A session runs the agent's own program in the guest, which packs or unpacks
 * a tree there; a child of ours (cp_host.h) does the other half. In between is
 * a pipe, and two more carry the words of both sides. Nothing here waits: all
 * of it is the owner's loop.
 *
 *	transfer_start()   the child runs, the agent is dialled
 *	   (on the loop)   the session, until it is over; then, with the pipe to
 *			   it closed, the child, until it is
 *	done()		   both have ended; transfer_outcome() has what came of it
 *	transfer_free()
 *
 * A transfer that shall not go on is cut: the child sees its stream end,
 * removes what is not whole, and done() comes as ever. The guest can delay that
 * by nothing. One thread, the loop's.
 */
#ifndef MAYFLY_TRANSFER_H
#define MAYFLY_TRANSFER_H

#include <limits.h>

#include "runner/base/err.h"
#include "runner/base/ev.h"
#include "runner/config.h"
#include "runner/cp_host.h"
#include "runner/session.h"
#include "runner/state.h"

#define TRANSFER_LINE 512

struct tree_place;
struct transfer;

/* What is to be done; all of it borrowed. */
struct transfer_task {
	const char *what;	 /* in front of words: "cp" */
	const char *label;	 /* and of those of the guest's side */
	const char *user;	 /* whom the guest's side is, NULL: root */
	char *argv[5];		 /* the guest's side: a tool of wire.h */
	const char *host;	 /* pack this; or, NULL: */
	struct tree_place *place; /* unpack to this */
	int quiet;		 /* no progress */
};

/* What one side has to say, line by line. */
struct transfer_words {
	struct ev ev;
	struct transfer *t;
	const char *label; /* in front of each line, or NULL */
	char line[TRANSFER_LINE], last[TRANSFER_LINE];
	size_t len;
	unsigned lines;
	int over;
};

enum transfer_stage { TRANSFER_DIAL, TRANSFER_TALK, TRANSFER_CLOSE };

struct transfer {
	const struct transfer_task *task;
	struct ev_loop *loop;
	void (*done)(struct transfer *t, void *opaque);
	void *opaque;
	enum transfer_stage stage;
	struct strings env;
	struct state_answer answer;
	struct session *session;
	struct cp_host host;
	struct transfer_words host_words, guest_words;
	int guest_end; /* the pipe's that the session writes words to */
	struct ev dial, timer, host_ended, tick;
	unsigned ticks;
	int shown;     /* there is progress on the terminal's line */
	int have_end;  /* of the child, */
	enum cp_end end;
	int have_exit; /* of the guest's program, */
	uint32_t code;
	int cut;
	struct err err;
};

/* done() may free @t. On failure there is nothing to free, and no done(). */
int transfer_start(struct transfer *t, const struct transfer_task *task,
		   struct ev_loop *loop, struct state *state,
		   void (*done)(struct transfer *t, void *opaque), void *opaque,
		   struct err *err);
void transfer_cut(struct transfer *t);
/* Whoever insists does not wait for the child to clean up. */
void transfer_kill(struct transfer *t);
/* After done(). 0 where all is copied, or -errno with words. What was left out
 * is said on standard error. */
int transfer_outcome(struct transfer *t, struct err *err);
/* Before done(): cut it, and give the child a while to clean up. */
void transfer_free(struct transfer *t);

/* How far it is, in bytes and entries: any measure of progress. */
uint64_t transfer_moved(const struct transfer *t);

/* The last component of @path; "" where that stands for contents. 0 or
 * -ENAMETOOLONG. */
int transfer_name(char name[NAME_MAX + 1], const char *path);

#endif
