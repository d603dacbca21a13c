/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink, stream: bytes out of and into the launcher without ever waiting.
 *
 * Standard input and output are shared with other programs, and O_NONBLOCK
 * belongs to what is shared: setting it would change the shell's terminal or
 * the other end of a pipe. So stream_private() opens the same pipe or terminal
 * once more where it can, and the new description is ours to set; where it
 * cannot, writes stay small enough not to block after EPOLLOUT.
 *
 * A sink holds back a bounded number of bytes; its owner looks at sink_room()
 * before it takes more from whoever sends, which is how a slow reader slows
 * the guest. All on the loop's thread. Callbacks may not free the sink.
 */
#ifndef MAYFLY_SINK_H
#define MAYFLY_SINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runner/base/ev.h"

#define SINK_SIZE (256u << 10)

enum stream_kind {
	STREAM_POLLED,	/* non-blocking and known to epoll */
	STREAM_SHARED,	/* known to epoll, but blocks */
	STREAM_SOCKET,	/* MSG_DONTWAIT does it */
	STREAM_INSTANT, /* a regular file: never waits for a peer */
};

struct stream {
	int fd; /* owned */
	enum stream_kind kind;
};

/* Ours of descriptor @fd for O_RDONLY or O_WRONLY; 0 or -errno. */
int stream_private(struct stream *s, int fd, int mode);
/* Ours already: takes ownership of a pipe's or a socket's end. */
int stream_own(struct stream *s, int fd);
void stream_close(struct stream *s);
/* Bytes read, 0 at end of file, -EAGAIN, or another -errno. */
ssize_t stream_read(const struct stream *s, void *buf, size_t len);
ssize_t stream_write(const struct stream *s, const void *buf, size_t len);

struct sink {
	struct ev ev;
	struct stream s;
	struct ev_loop *loop;
	/* There is room again, or all is out, or it broke. */
	void (*moved)(struct sink *sink, void *opaque);
	void *opaque;
	char *buf;
	size_t head, len;
	uint64_t written; /* bytes that went out */
	int error; /* -errno once it broke; further bytes are dropped */
};

/* Takes ownership of @s (and closes it on failure). */
int sink_init(struct sink *k, struct ev_loop *loop, struct stream *s,
	      void (*moved)(struct sink *k, void *opaque), void *opaque);
void sink_free(struct sink *k);
size_t sink_room(const struct sink *k);
/* @len is at most sink_room(). */
void sink_put(struct sink *k, const void *data, size_t len);

#endif
