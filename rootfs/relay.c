/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from one socket to another, and datagrams into a stream and out. */
#include "rootfs/relay.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define ROUNDS 8 /* one of many connections does not keep the others */

static int is_again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static void way_end(struct way *w, int to)
{
	w->over = 1;
	w->len = 0;
	shutdown(to, SHUT_WR);
}

void way_flush(struct way *w, int to)
{
	ssize_t n;

	if (w->len && !w->over) {
		n = send(to, w->room + w->head, w->len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && !is_again()) {
			w->len = 0;
			w->over = 1;
		}
		if (n > 0) {
			w->head += (uint32_t)n;
			w->len -= (uint32_t)n;
		}
	}
	if (!w->len && w->eof && !w->over)
		way_end(w, to);
}

void way_put(struct way *w, int to, const uint8_t *p, uint32_t len)
{
	ssize_t n = send(to, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && !is_again()) {
		w->over = 1;
		return;
	}
	if (n < 0)
		n = 0;
	w->head = 0;
	w->len = len - (uint32_t)n;
	memcpy(w->room, p + n, w->len);
}

void way_pump(struct way *w, int from, int to, uint8_t *shared)
{
	int rounds = ROUNDS;
	ssize_t n;

	while (way_reads(w) && rounds--) {
		n = recv(from, shared, RELAY_STEP, MSG_DONTWAIT);
		if (n > 0)
			way_put(w, to, shared, (uint32_t)n);
		else if (!n || !is_again())
			w->eof = 1;
		if (n <= 0 || (size_t)n < RELAY_STEP)
			break;
	}
	way_flush(w, to);
}

void way_pack(struct way *w, int from, int to, uint8_t *shared)
{
	int rounds = ROUNDS;
	uint16_t len;
	ssize_t n;

	while (way_reads(w) && rounds--) {
		n = recv(from, shared + sizeof(len), RELAY_ROOM - sizeof(len),
			 MSG_DONTWAIT);
		/* An error is of a datagram sent before: it ends nothing. */
		if (n < 0)
			break;
		len = (uint16_t)n;
		memcpy(shared, &len, sizeof(len));
		way_put(w, to, shared, (uint32_t)(sizeof(len) + (size_t)n));
	}
	way_flush(w, to);
}

void way_fill(struct way *w, int from)
{
	ssize_t n;

	memmove(w->room, w->room + w->head, w->len);
	w->head = 0;
	n = recv(from, w->room + w->len, RELAY_ROOM - w->len, MSG_DONTWAIT);
	if (n > 0)
		w->len += (uint32_t)n;
	else if (!n || !is_again())
		w->over = 1;
}

const uint8_t *way_datagram(const struct way *w, uint32_t *len)
{
	uint16_t n;

	if (w->len < sizeof(n))
		return NULL;
	memcpy(&n, w->room + w->head, sizeof(n));
	if (w->len - sizeof(n) < n)
		return NULL;
	*len = n;
	return w->room + w->head + sizeof(n);
}

void way_taken(struct way *w)
{
	uint32_t len = 0;

	if (!way_datagram(w, &len))
		return;
	w->head += 2 + len;
	w->len -= 2 + len;
}
