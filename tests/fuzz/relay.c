/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams in a stream, as a guest that was taken over may send them: however
 * the stream is cut, the same come out of it, in order, and none of bytes that
 * did not come.
 */
#include "rootfs/relay.h"

#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/bytes.h"

static uint8_t room[RELAY_PAGES];

/* What is at the front of @p[0..@n), or NULL: as simply as it can be said. */
static const uint8_t *front(const uint8_t *p, size_t n, size_t *len)
{
	if (n < 2)
		return NULL;
	*len = p[0] | (size_t)p[1] << 8;
	return n - 2 < *len ? NULL : p + 2;
}

static void take_all(struct way *w, const uint8_t **p, size_t *n)
{
	const uint8_t *got, *want;
	uint32_t got_len;
	size_t len = 0;

	while ((got = way_datagram(w, &got_len))) {
		want = front(*p, *n, &len);
		must(want && got_len == len && !memcmp(got, want, len));
		must(got >= room && got + got_len <= room + RELAY_ROOM);
		*p += 2 + len;
		*n -= 2 + len;
		way_taken(w);
	}
	must(w->head + w->len <= RELAY_ROOM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct way w = { .room = room };
	struct bytes b = { data, size };
	size_t chunk = take8(&b) * 64u + 1, len, left, sent, n;
	const uint8_t *p = b.p;
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	left = b.n;
	for (sent = 0; sent < b.n; sent += n) {
		n = b.n - sent < chunk ? b.n - sent : chunk;
		must(send(pair[1], b.p + sent, n, 0) == (ssize_t)n);
		/* A chunk may be more than there is room for at once. */
		for (int i = 0; i < 3; i++) {
			way_fill(&w, pair[0]);
			must(!w.over);
			take_all(&w, &p, &left);
		}
	}
	/* What is left is no whole one. */
	must(!front(p, left, &len));
	close(pair[1]);
	way_fill(&w, pair[0]);
	must(w.over);
	close(pair[0]);
	return 0;
}
