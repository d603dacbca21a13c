/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes between the control connection and the command. */
#include "rootfs/agent/session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define ACK_STEP (WIRE_STDIN_WINDOW / 4)
#define CTRL_D	 4

uint32_t out_room(const struct session *s)
{
	return (uint32_t)sizeof(s->out.buf) - s->out.tail;
}

int out_has_data_room(const struct session *s)
{
	return out_room(s) >= WIRE_HDR + WIRE_DATA_MAX;
}

void out_put(struct session *s, enum wire_type type, const void *payload,
	     uint32_t len)
{
	s->out.tail += (uint32_t)wire_put(s->out.buf + s->out.tail, type,
					  payload, len);
}

int out_flush(struct session *s)
{
	struct output *o = &s->out;
	ssize_t n;

	if (o->head == o->tail)
		return 0;
	n = send(s->sv.ctl, o->buf + o->head, o->tail - o->head,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	o->head += (uint32_t)n;
	if (o->head == o->tail)
		o->head = o->tail = 0;
	return 0;
}

void out_pump(struct session *s, int *fd, enum wire_type type, uint32_t *left)
{
	uint8_t *frame = s->out.buf + s->out.tail;
	ssize_t n;

	if (!out_has_data_room(s))
		return;
	n = read(*fd, frame + WIRE_HDR,
		 *left < WIRE_DATA_MAX ? *left : WIRE_DATA_MAX);
	if (n > 0) {
		wire_put_hdr(frame, type, (uint32_t)n);
		s->out.tail += WIRE_HDR + (uint32_t)n;
		if (s->sealed)
			*left -= (uint32_t)n;
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		close_fd(fd); /* a terminal ends with EIO */
	}
}

/* How many bytes the command took; closes what it no longer reads. */
static uint32_t in_write(struct session *s, const uint8_t *p, uint32_t len)
{
	ssize_t n = write(s->fd_in, p, len);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_fd(&s->fd_in);
		return 0;
	}
	s->in.taken += (uint32_t)n;
	return (uint32_t)n;
}

static void in_finish(struct session *s)
{
	static const char ctrl_d = CTRL_D;

	if (s->fd_in < 0 || s->in.len || !s->in.eof)
		return;
	/* A terminal stays open: its end of file is a character. */
	if (s->spawn.cmd.head.flags & WIRE_EXEC_TTY)
		in_write(s, (const uint8_t *)&ctrl_d, 1);
	close_fd(&s->fd_in);
}

void in_drain(struct session *s)
{
	struct input *in = &s->in;
	uint32_t end, n;

	while (s->fd_in >= 0 && in->len) {
		end = WIRE_STDIN_WINDOW - in->start;
		n = in_write(s, in->buf + in->start,
			     in->len < end ? in->len : end);
		if (!n)
			return;
		in->start = (in->start + n) % WIRE_STDIN_WINDOW;
		in->len -= n;
	}
	in_finish(s);
}

void in_end(struct session *s)
{
	s->in.eof = 1;
	in_finish(s);
}

int in_push(struct session *s, const uint8_t *p, uint32_t len)
{
	struct input *in = &s->in;
	uint32_t n, at;

	if (in->eof || len > WIRE_STDIN_WINDOW - in->window)
		return -EPROTO;
	in->window += len;
	if (s->fd_in >= 0 && !in->len) {
		n = in_write(s, p, len);
		p += n;
		len -= n;
	}
	/* Nobody reads: what is never acknowledged stops the host. */
	if (s->fd_in < 0)
		return 0;
	while (len) {
		at = (in->start + in->len) % WIRE_STDIN_WINDOW;
		n = WIRE_STDIN_WINDOW - at;
		n = len < n ? len : n;
		memcpy(in->buf + at, p, n);
		in->len += n;
		p += n;
		len -= n;
	}
	return 0;
}

void in_ack(struct session *s)
{
	struct wire_ack ack = { .bytes = s->in.taken };

	if (s->in.taken < ACK_STEP || out_room(s) < WIRE_HDR + sizeof(ack))
		return;
	s->in.window -= s->in.taken;
	s->in.taken = 0;
	out_put(s, WIRE_STDIN_ACK, &ack, sizeof(ack));
}
