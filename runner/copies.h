/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copies: the trees that a run copies into its guest, and out of it.
 *
 *	copies_open()	before there is a VM: looks at the host's side of all,
 *			and holds the directories that are to get something
 *	copies_begin()	one group, one tree after the other; done() at its end.
 *			Of what goes in the first failure is the end, what comes
 *			out is each for itself.
 *	copies_cut()	no more of it: done() comes soon
 *	copies_close()	at any time; a copy under way is cut
 *
 * All that is copied out of a guest shares one limit (--copy-out-max), in which
 * each file, link and directory counts TREE_ENTRY_COST besides its data.
 *
 * On the owner's loop and thread.
 */
#ifndef MAYFLY_COPIES_H
#define MAYFLY_COPIES_H

#include <stddef.h>
#include <stdint.h>

struct config;
struct copies;
struct err;
struct ev_loop;
struct state;

enum copies_group {
	COPIES_VOLUMES, /* to where they are mounted from */
	COPIES_IN,
	COPIES_OUT,
	COPIES_GROUPS,
};

/* *@out is NULL where nothing is to be copied; the other functions take that.
 * The config outlives it. */
int copies_open(struct copies **out, const struct config *config,
		struct err *err);
void copies_close(struct copies **c);

/* How many there are. */
size_t copies_count(const struct copies *c, enum copies_group g);

/* @result is 0, or -errno for copies_error(). done() may come before this
 * returns. */
void copies_begin(struct copies *c, enum copies_group g, struct ev_loop *loop,
		  struct state *state, void (*done)(void *opaque, int result),
		  void *opaque);
/* @why goes on after "not copied: ". Borrowed. */
void copies_cut(struct copies *c, const char *why);

/* Now: what is under way is cut, and has failed with all after it. What done()
 * said, or would have. */
int copies_finish(struct copies *c, const char *why);

/* The words of the first that failed. */
const struct err *copies_error(const struct copies *c);

/* A measure of how far all of it is: bytes, with entries and whole trees. */
uint64_t copies_moved(const struct copies *c);

#endif
