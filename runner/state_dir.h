/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_dir: the files and locks below the root of runs. Private to state.c
 * and state_list.c, but for the root, which cmd_net.c opens for networks;
 * state.h has the layout and the rules.
 *
 * Everything is opened from a directory's descriptor, without following a
 * link. Functions give 0, a descriptor (the caller's) or -errno.
 */
#ifndef MAYFLY_STATE_DIR_H
#define MAYFLY_STATE_DIR_H

#include "runner/record.h"

struct err;

struct state {
	int root, dir;
	int lock; /* the supervisor's, locked; else -1 */
	struct record rec;
};

/* The root; with @create made where it is not there, else -ENOENT without
 * words. */
int state_open_root(int create, struct err *err);
/* The lock on making and removing: held until the descriptor is closed. */
int state_lock_root(int root, struct err *err);

/* A run's directory. -ENOTDIR where the name is something else. */
int state_open_dir(int root, const char *id);
/* Make and lock one's own lock in it. */
int state_take_lock(int dir);
/* 1 a supervisor lives, 0 none. */
int state_is_locked(int dir);

/* The record of run @id, with the phase as it is: lost where nobody holds the
 * lock of one that did not end. -ENOENT, -EBADMSG. */
int state_read_record(int dir, const char *id, struct record *r);
int state_write_record(int dir, struct record *r);
/* Take room for the next record now, where the file system lets us: the log of
 * the run may have filled the disk by then. */
void state_reserve_record(int dir);

/* Remove the files, the lock last, and the directory (@dir -1: what stands in
 * its place). What is gone already is no error. Adds to *@bytes, if any. */
int state_remove_dir(int root, const char *id, int dir, uint64_t *bytes);

int state_is_id(const char *name);
/* Call @fn for every name that is an id. Stops where it returns other than 0,
 * and returns that. */
int state_each(int root, int (*fn)(int root, const char *id, void *opaque),
	       void *opaque);

#endif
