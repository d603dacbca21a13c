/* SPDX-License-Identifier: Apache-2.0 */
/* Unpackers at work, and what they are fed. */
#include "runner/feed.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/interrupt.h"

/* Stays in the second-level cache between read, hash and write. */
#define FEED_PIECE (256u << 10)

void feed_init(struct feed *f)
{
	memset(f, 0, sizeof(*f));
	f->source = -1;
	unpacker_init(&f->u);
}

int feed_start(struct feed *f, const struct unpacker_task *t, int source,
	       struct err *err)
{
	feed_init(f);
	sha256_init(&f->sha);
	if (source >= 0) {
		f->buf = malloc(FEED_PIECE);
		if (!f->buf)
			return err_set(err, -ENOMEM, "unpack");
	}
	f->source = source;
	return unpacker_start(&f->u, t, err);
}

static void fill(struct feed *f)
{
	ssize_t n = read(f->source, f->buf, FEED_PIECE);

	if (n > 0) {
		sha256_update(&f->sha, (size_t)n, f->buf);
		f->bytes += (uint64_t)n;
		f->at = 0;
		f->len = (size_t)n;
		return;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	f->error = n < 0 ? -errno : 0;
	f->at_end = n == 0;
	close_fd(&f->u.feed);
	f->source = -1;
}

static void pour(struct feed *f)
{
	ssize_t n = write(f->u.feed, f->buf + f->at, f->len - f->at);

	if (n >= 0) {
		f->at += (size_t)n;
	} else if (errno != EINTR && errno != EAGAIN) {
		f->cut = 1;
		f->at = f->len;
		close_fd(&f->u.feed);
		if (!f->whole)
			f->source = -1;
	}
}

/* What a feed waits for: its source or its unpacker, and what that says. */
enum { P_FLOW, P_WORDS, P_OUT, P_END, P_FDS };

static void watch(const struct feed *f, struct pollfd p[P_FDS])
{
	int full = f->source >= 0 && f->at < f->len;

	p[P_FLOW] = (struct pollfd){ f->source < 0 ? -1
				     : full	   ? f->u.feed
						   : f->source,
				     full ? POLLOUT : POLLIN, 0 };
	p[P_WORDS] = (struct pollfd){ f->u.words, POLLIN, 0 };
	p[P_OUT] = (struct pollfd){ f->u.out, POLLIN, 0 };
	p[P_END] = (struct pollfd){ f->ended ? -1 : f->u.pidfd, POLLIN, 0 };
}

static void act(struct feed *f, const struct pollfd p[P_FDS])
{
	if (p[P_WORDS].revents || p[P_OUT].revents)
		unpacker_listen(&f->u);
	if (p[P_FLOW].revents && f->source >= 0) {
		if (f->at == f->len)
			fill(f);
		if (f->at < f->len && f->cut)
			f->at = f->len;
		else if (f->at < f->len)
			pour(f);
	}
	if (p[P_END].revents)
		f->ended = 1;
	if (f->ended && !f->whole)
		f->source = -1;
}

int feed_step(struct feed *const *f, size_t n, struct interrupt *stop,
	      int timeout)
{
	struct pollfd p[2 * FEED_MAX * P_FDS + 1];
	size_t used = 0;

	for (size_t i = 0; i < n; i++)
		if (f[i])
			watch(f[i], p + P_FDS * used++);
	p[P_FDS * used] = (struct pollfd){ stop->fd, POLLIN, 0 };
	if (poll(p, P_FDS * used + 1, timeout) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[P_FDS * used].revents && interrupt_came(stop))
		return -EINTR;
	used = 0;
	for (size_t i = 0; i < n; i++)
		if (f[i])
			act(f[i], p + P_FDS * used++);
	return 0;
}

void feed_hex(char hex[IMAGE_HEX_MAX], const uint8_t *bytes)
{
	for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

int feed_is_over(const struct feed *f)
{
	return f->ended && f->source < 0;
}

int feed_end(struct feed *f, void *result, size_t len,
	     char digest[IMAGE_HEX_MAX], struct err *err)
{
	uint8_t sum[SHA256_DIGEST_SIZE];
	int r;

	if (digest)
		*digest = '\0';
	if (digest && f->at_end) {
		sha256_digest(&f->sha, sizeof(sum), sum);
		feed_hex(digest, sum);
	}
	if (f->error < 0)
		return err_set(err, f->error, "read");
	r = unpacker_finish(&f->u, result, len, err);
	if (r == 0 && (f->cut || (f->buf && !f->at_end)))
		r = err_say(err, -EIO, "mayfly-unpack has stopped reading "
				       "early");
	return r;
}

void feed_free(struct feed *f)
{
	unpacker_free(&f->u);
	free(f->buf);
	f->buf = NULL;
	f->source = -1;
}
