/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpacker: mayfly-unpack, the program that parses what images are made of.
 *
 * It gets the descriptors of rootfs/unpack.h at their numbers, an empty
 * environment and nothing else, locks itself in before it reads the first
 * byte, and dies with the thread that has started it. What it says and gives
 * is hostile all the same: a word is a line without control characters, a
 * result is as long as it has to be or there is none.
 *
 *	unpacker_start()
 *	... write to .feed where there is one, read .words and .out meanwhile
 *	unpacker_finish()	the end of its input; its result
 *	unpacker_free()		in any case: kills what has not ended
 *
 * One thread. SIGPIPE is ignored.
 */
#ifndef MAYFLY_UNPACKER_H
#define MAYFLY_UNPACKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rootfs/unpack.h"

struct err;

#define UNPACKER_RESULT_MAX 128
#define UNPACKER_ARGS_MAX   4

struct unpacker {
	pid_t pid;  /* -1: there is none, or it was waited for */
	int pidfd;  /* readable when it has ended */
	int feed;   /* what we write is its descriptor 0 */
	int out;    /* what it writes to its descriptor 1 */
	int words;  /* and to its descriptor 2 */
	size_t nsaid, nresult;
	char said[UNPACK_WORDS_MAX];
	uint8_t result[UNPACKER_RESULT_MAX + 1];
};

/* What one is started with. */
struct unpacker_task {
	const char *args[UNPACKER_ARGS_MAX]; /* mode and numbers, then NULL */
	int fed;       /* it has an input: .feed, non-blocking */
	const int *fd; /* its descriptors from 3 on; borrowed */
	size_t nfds;
};

/* 0 or -errno with words. */
int unpacker_start(struct unpacker *u, const struct unpacker_task *t,
		   struct err *err);

/* Take what is there of its words and its result; never waits. */
void unpacker_listen(struct unpacker *u);

/* Wait for its end. 0, with the @len bytes of its result, or -errno and why it
 * has failed. */
int unpacker_finish(struct unpacker *u, void *result, size_t len,
		    struct err *err);

void unpacker_init(struct unpacker *u);
void unpacker_free(struct unpacker *u);

#endif
