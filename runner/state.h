/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: the directory of runs, and one run's own directory in it.
 *
 *	<root>/lock	  flock LOCK_EX while a record is made or removed
 *	<root>/<id>/	  12 random hex digits; 0700
 *	    lock	  locked by the supervisor for as long as it lives
 *	    record.json	  record.h; replaced whole, by rename
 *	    log, log.1	  journal.h; of a detached run
 *	    control	  control.h; a socket of the supervisor
 *	    vsock	  a socket of mayfly-vmm: the way to the guest's agent
 *
 * The root is $MAYFLY_STATE_DIR, else /run/mayfly for root, else mayfly below
 * $XDG_RUNTIME_DIR, else /tmp/mayfly-<uid>. It must be a directory of ours
 * that nobody else can write to. All below it is reached from descriptors, so
 * nothing depends on the root's path being short or staying where it is.
 *
 * A run is alive while its `lock` is locked, and by no other sign: no process
 * number is ever looked at. It is an open-file-description lock (fcntl
 * F_OFD_SETLK), which can be looked at without being taken, so that looking
 * never makes another believe that a dead run lives. It goes with the last
 * copy of the descriptor: mayfly-vmm must have none (O_CLOEXEC, and the jail
 * closes all), and whoever forks a supervisor does so before state_create().
 *
 * Life of a record, seen by the supervisor, which owns a `struct state`:
 *
 *	state_create()		locked, phase starting
 *	control_listen(), state_listen_vsock()
 *	state_running()
 *	state_exited()		keeps the report; not needed before discard
 *	state_discard() or state_close()
 *
 * A signal that would end the process in between leaves a dead record: block
 * or handle INT, TERM and HUP from before state_create() to the last call.
 *
 * and by a client: state_find() or state_list(), then what it wants to know;
 * state_close(). A client's `struct state` holds no lock.
 *
 * One thread per object. Functions with a `struct err` give 0 or -errno with
 * words; the others 0 or -errno.
 */
#ifndef MAYFLY_STATE_H
#define MAYFLY_STATE_H

#include "runner/record.h"

struct config;
struct err;
struct meta;
struct state; /* one record, created or found */

struct state_new {
	const char *name; /* NULL: none; checked by state_create() */
	int detached, auto_remove, tty;
	const struct config *config; /* argv, memory, cpus, what it runs on */
};

/* -EEXIST: another run has the name, be it alive or only not removed yet. */
int state_create(struct state **out, const struct state_new *n,
		 struct err *err);
/* Its network, as JSON, from the next word on. */
int state_put_network(struct state *s, const char *json);
/* The command runs. */
int state_running(struct state *s, const char *engine, unsigned cpus);
/* The run is over; the report becomes part of the record. */
int state_exited(struct state *s, const struct meta *m);
/* A listening SOCK_STREAM descriptor for mayfly-vmm; the caller's. Once. */
int state_listen_vsock(struct state *s, struct err *err);
/* A listening SOCK_SEQPACKET descriptor; control_listen() calls this. */
int state_listen_control(struct state *s, struct err *err);

/* Remove the directory, unlock, free, set to NULL. Takes NULL: for the end of
 * a foreground run, --rm, and a start that failed. */
void state_discard(struct state **s);
/* Unlock, free, set to NULL; the record stays. Takes NULL. */
void state_close(struct state **s);

const char *state_id(const struct state *s);
/* The name if there is one, else the id. */
const char *state_label(const struct state *s);
/* Borrowed. */
int state_dirfd(const struct state *s);
/* The same, of the root: networks have their numbers there. */
int state_rootfd(const struct state *s);
/* As of state_find(), the last state_refresh() or our own last change. */
const struct record *state_record(const struct state *s);

/*
 * Find by whole id, name, or the beginning of an id (two digits or more), in
 * this order. -ENOENT (the hint has a name that is near), -ENOTUNIQ where a
 * beginning fits several. A record that cannot be read is not found.
 */
int state_find(struct state **out, const char *id_or_name, struct err *err);
/* Read the record again. -ENOENT: it was removed, the old one stays. */
int state_refresh(struct state *s);
/* Someone holds the run's lock. */
int state_live(const struct state *s);

/* Connected to the agent's port in the guest, the line with OK taken: a
 * blocking stream of wire.h's frames, READY first. The caller's. */
int state_connect_agent(struct state *s, struct err *err);
/* The same without waiting, for who has a loop: connected, and the answer to be
 * taken as it comes. 0 when it is there, -EAGAIN, or -errno. Nobody need wait
 * for it longer than STATE_ANSWER_NS. */
#define STATE_ANSWER_NS 15000000000ull
struct state_answer {
	size_t n;
	char line[32];
};
int state_dial_agent(struct state *s, struct err *err);
/* The same, to another port of the guest's. */
int state_dial(struct state *s, uint32_t port, struct err *err);
/* Of its supervisor: say in the record which ports the host has. */
int state_publish(struct state *s, const char *ports);
int state_take_answer(int fd, struct state_answer *a);

/* Connected to the supervisor; control.h has what to say there. -ESRCH: it is
 * not running. */
int state_connect_control(struct state *s, struct err *err);

struct state_list {
	struct record *v; /* the youngest first */
	size_t n;
};

/* All that can be read; what cannot is left to state_prune(). */
int state_list(struct state_list *l, struct err *err);
void state_list_free(struct state_list *l);

/* Remove the directory of a run that is over. -EBUSY: it lives. */
int state_remove(struct state *s, struct err *err);

/*
 * Remove all that nobody owns: exited, lost, half made, half removed. Calls
 * @removed for each, with the bytes that its files took. -errno with words
 * for the first that could not be removed; goes on with the others.
 */
typedef void (*state_removed_fn)(const char *id, const struct record *r,
				 uint64_t bytes, void *opaque);
int state_prune(state_removed_fn removed, void *opaque, struct err *err);

/* Can this be a run's name? -EINVAL with words. */
int state_check_name(const char *name, struct err *err);

#endif
