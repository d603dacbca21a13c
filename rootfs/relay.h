/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: the two ways of a connection between host and guest, at either end.
 *
 * A way moves what its source has by one shared buffer; only what its
 * destination does not take at once is kept, in room of the way's own, and
 * meanwhile nothing more is read. The end of a source is passed on as a
 * half-close, and leaves the other way as it is.
 *
 * No allocation, no global state. Compiled with glibc and musl.
 *
 * For UDP one side is a stream with datagrams in it, u16 length and as many
 * bytes, and the other a connected socket: what that does not take is lost, as
 * datagrams are.
 */
#ifndef MAYFLY_RELAY_H
#define MAYFLY_RELAY_H

#include <stddef.h>
#include <stdint.h>

/* Of a TCP connection in one go. */
#define RELAY_STEP 65536u
/* A datagram with its length. */
#define RELAY_ROOM (2u + 65535u)
/* A way's room, in whole pages. */
#define RELAY_PAGES ((RELAY_ROOM + 4095) & ~4095u)

struct way {
	uint8_t *room; /* RELAY_ROOM bytes */
	uint32_t head, len; /* of them, on their way */
	int eof;  /* the source has ended */
	int over; /* and the destination knows, or is gone */
};

static inline int way_reads(const struct way *w)
{
	return !w->eof && !w->over && !w->len;
}

static inline int way_writes(const struct way *w)
{
	return w->len && !w->over;
}

/* Move what there is, a bounded number of times, from stream to stream.
 * @shared has RELAY_ROOM bytes. */
void way_pump(struct way *w, int from, int to, uint8_t *shared);
/* From a socket of datagrams to the stream; the same. */
void way_pack(struct way *w, int from, int to, uint8_t *shared);
/* Take what the stream has, behind what is there. */
void way_fill(struct way *w, int from);
/* The next whole datagram of that, or NULL. It stays until way_taken(). */
const uint8_t *way_datagram(const struct way *w, uint32_t *len);
void way_taken(struct way *w);
/* The destination gets these bytes, or waits for what it does not take now:
 * only while nothing waits. At most RELAY_ROOM. */
void way_put(struct way *w, int to, const uint8_t *p, uint32_t len);
/* What waits for the destination is written, if that takes it. */
void way_flush(struct way *w, int to);

#endif
