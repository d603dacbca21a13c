/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes out of and into the launcher without ever waiting. */
#include "runner/sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

static int is_instant(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) ||
	       S_ISDIR(st->st_mode);
}

/* Devices such as /dev/null have no readiness to wait for. */
static int knows_epoll(int fd)
{
	struct epoll_event e = { .events = 0 };
	_cleanup_fd_ int ep = epoll_create1(EPOLL_CLOEXEC);

	return ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0 ||
	       errno != EPERM;
}

int stream_private(struct stream *s, int fd, int mode)
{
	char path[32];
	struct stat st;

	s->fd = -1;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode) || isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		s->fd = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		s->kind = STREAM_POLLED;
	}
	if (s->fd < 0) {
		s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		s->kind = S_ISSOCK(st.st_mode) ? STREAM_SOCKET : STREAM_SHARED;
	}
	if (s->fd < 0)
		return -errno;
	if (is_instant(&st) || !knows_epoll(s->fd))
		s->kind = STREAM_INSTANT;
	return 0;
}

int stream_own(struct stream *s, int fd)
{
	s->fd = fd;
	s->kind = STREAM_POLLED;
	return io_set_nonblock(fd, 1);
}

void stream_close(struct stream *s)
{
	close_fd(&s->fd);
}

ssize_t stream_read(const struct stream *s, void *buf, size_t len)
{
	ssize_t n;

	do
		n = s->kind == STREAM_SOCKET
			    ? recv(s->fd, buf, len, MSG_DONTWAIT)
			    : read(s->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t stream_write(const struct stream *s, const void *buf, size_t len)
{
	ssize_t n;

	/* pipe(7): POLLOUT promises room for PIPE_BUF bytes. */
	if (s->kind == STREAM_SHARED)
		len = MIN(len, (size_t)PIPE_BUF);
	do
		n = s->kind == STREAM_SOCKET
			    ? send(s->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			    : write(s->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* One write of what is held. 1 while more could go at once. */
static int flush_some(struct sink *k)
{
	ssize_t n = stream_write(&k->s, k->buf + k->head, k->len);

	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		k->error = (int)n;
		k->len = 0;
		return 0;
	}
	k->head += (size_t)n;
	k->len -= (size_t)n;
	k->written += (uint64_t)n;
	return k->len && k->s.kind != STREAM_SHARED;
}

static void flush(struct sink *k)
{
	while (k->len && flush_some(k))
		;
	if (!k->len)
		k->head = 0;
	ev_set(k->loop, &k->ev, k->len ? EPOLLOUT : 0);
}

static void on_writable(struct ev *ev, uint32_t events)
{
	struct sink *k = container_of(ev, struct sink, ev);

	(void)events;
	flush(k);
	k->moved(k, k->opaque);
}

int sink_init(struct sink *k, struct ev_loop *loop, struct stream *s,
	      void (*moved)(struct sink *k, void *opaque), void *opaque)
{
	*k = (struct sink){
		.ev = { .fd = s->fd, .fn = on_writable },
		.s = *s,
		.loop = loop,
		.moved = moved,
		.opaque = opaque,
		.buf = malloc(SINK_SIZE),
	};
	s->fd = -1;
	if (k->buf)
		return 0;
	sink_free(k);
	return -ENOMEM;
}

void sink_free(struct sink *k)
{
	ev_del(&k->ev);
	stream_close(&k->s);
	free(k->buf);
	k->buf = NULL;
}

size_t sink_room(const struct sink *k)
{
	return k->error ? SINK_SIZE : SINK_SIZE - k->len;
}

void sink_put(struct sink *k, const void *data, size_t len)
{
	assert(len <= sink_room(k));
	if (k->error || !len)
		return;
	if (k->head + k->len + len > SINK_SIZE) {
		memmove(k->buf, k->buf + k->head, k->len);
		k->head = 0;
	}
	memcpy(k->buf + k->head + k->len, data, len);
	k->len += len;
	/* A shared stream may block until epoll says that it does not. */
	if (k->s.kind == STREAM_SHARED || k->ev.events)
		ev_set(k->loop, &k->ev, EPOLLOUT);
	else
		flush(k);
}
