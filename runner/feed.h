/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed: unpackers at work, one or several, and what they are fed.
 *
 * The bytes of a source are hashed on their way to an unpacker: what it was
 * given is known by its digest, whatever becomes of it there. Where an unpacker
 * fails, the rest is read all the same if .whole says so: what has another
 * digest than it should is better called damaged than by what that led to.
 *
 *	feed_start()
 *	feed_step()	until feed_is_over(), all that run in one call
 *	feed_end()	result and digest
 *	feed_free()	in any case
 *
 * One thread; a struct feed does not move between start and free.
 */
#ifndef MAYFLY_FEED_H
#define MAYFLY_FEED_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#include "rootfs/image.h"
#include "runner/unpacker.h"

struct err;
struct interrupt;

#define FEED_MAX 2 /* layers at once, each from a feed of its own at most */

struct feed {
	struct unpacker u;
	int source;	/* borrowed; -1: nothing to feed, or nothing more */
	int whole;	/* read it to its end in any case */
	int ended;	/* the process is over */
	int cut;	/* it read no more while there was more */
	int at_end;	/* of the source */
	int error;	/* -errno of reading the source */
	uint64_t bytes; /* read so far */
	struct sha256_ctx sha;
	uint8_t *buf;	/* room for FEED_PIECE bytes */
	size_t at, len; /* what is to be written of it */
};

/* A feed that nothing was started in: feed_free() may have it. */
void feed_init(struct feed *f);

/* @source: read to its end and fed, or -1. 0 or -errno with words. */
int feed_start(struct feed *f, const struct unpacker_task *t, int source,
	       struct err *err);

/* Wait until there is something to do for one of the @n at @f (NULL: not
 * there), at most @timeout ms, and do it. 0, or -EINTR where a signal came
 * (@stop) or -errno. */
int feed_step(struct feed *const *f, size_t n, struct interrupt *stop,
	      int timeout);

int feed_is_over(const struct feed *f);

/*
 * Once it is over: 0 with the @len bytes of its result, else -errno with words.
 * @digest, unless NULL, is that of the source, also after an error: "" where it
 * was not read to its end.
 */
int feed_end(struct feed *f, void *result, size_t len,
	     char digest[IMAGE_HEX_MAX], struct err *err);

void feed_free(struct feed *f);

/* 64 hex digits of 32 bytes. */
void feed_hex(char hex[IMAGE_HEX_MAX], const uint8_t *bytes);

#endif
