/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp_host: the host's side of a copy, a child of its own.
 *
 * What a guest sends is unpacked by a process that has nothing but the stream,
 * the directory to unpack into and a pipe for words, may gain no privilege,
 * and, where the kernel has Landlock, cannot reach a file outside that
 * directory. Packing is done by the same kind of child, so that the launcher
 * never waits for a disk.
 *
 * The child lives until its stream ends: who closes `stream` makes it end, and
 * gives it the time to remove what is not whole. One thread.
 */
#ifndef MAYFLY_CP_HOST_H
#define MAYFLY_CP_HOST_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct tree_place;

/* How it ended. */
enum cp_end {
	CP_WHOLE,
	CP_PARTLY, /* files that could not be read are missing */
	CP_FAILED, /* by itself; its last word says why */
	CP_CUT,	   /* by the other side */
	CP_OVER,   /* there is more than its place may take */
};

/* What the child counts, in a page of both. */
struct cp_count {
	_Atomic uint64_t bytes; /* of the stream that have passed */
	_Atomic uint64_t taken; /* of tree_place's `max` */
};

struct cp_host {
	pid_t pid;  /* -1: it was waited for */
	int pidfd;  /* readable when it has ended */
	int stream; /* our end: to read from or to write to */
	int words;  /* lines for the user, nothing sanitized */
	struct cp_count *count;
};

/* Ours to pass to cp_host_free() in any case. 0 or -errno. */
int cp_host_pack(struct cp_host *h, const char *path, struct err *err);
int cp_host_unpack(struct cp_host *h, const struct tree_place *place,
		   struct err *err);

uint64_t cp_host_bytes(const struct cp_host *h);
uint64_t cp_host_taken(const struct cp_host *h);

/* Wait for its end. */
enum cp_end cp_host_wait(struct cp_host *h);

/* Kill it if it has not ended: cp_host_wait() is not far then. */
void cp_host_kill(struct cp_host *h);

/* Kill it if it is there, close all. */
void cp_host_free(struct cp_host *h);

#endif
