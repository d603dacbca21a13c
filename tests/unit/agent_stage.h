/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's serving loop, as the host sees it: a real agent and real
 * commands behind sockets, the agent PID 1 of a namespace of its own.
 */
#ifndef TESTS_UNIT_AGENT_STAGE_H
#define TESTS_UNIT_AGENT_STAGE_H

#include "rootfs/agent/agent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* One session, from the host's side. */
struct host {
	int fd;
	pid_t agent; /* exits 0 when session_serve() gave 0, else 1 */
	struct wire_reader reader;
	uint8_t frame[WIRE_HDR + WIRE_EXEC_MAX];
	int ready, started, exited, mounted, mount_error;
	uint32_t acked;
	struct wire_exit exit;
	size_t out_len, err_len;
	char out[1 << 19], err[1 << 19];
};

/* The run's own, and more; h is the one that is spoken to. */
static struct host hosts[5];
static struct host *h = hosts;

/* Where more sessions are made. */
static struct sockaddr_un door;
static socklen_t door_len;

static inline _Noreturn void agent_main(int fd, int listener)
{
	struct serve sv = { .ctl = 3, .listener = 4, .self = 5,
			    .upper = -1 };
	int status;
	pid_t pid;

	/* The test framework leaves descriptors open, which are not ours. */
	fd = fcntl(fd, F_DUPFD, 10);
	listener = fcntl(listener, F_DUPFD, 10);
	dup3(fd, sv.ctl, O_CLOEXEC);
	dup3(listener, sv.listener, O_CLOEXEC);
	dup3(open("/bin/echo", O_PATH | O_CLOEXEC), sv.self, O_CLOEXEC);
	close_range(6, ~0u, 0);
	/* As root a user namespace would only take rights away. */
	if (unshare(CLONE_NEWPID | (getuid() ? CLONE_NEWUSER : 0)))
		_exit(77);
	pid = fork();
	if (!pid)
		_exit(session_serve(&sv) ? 1 : 0);
	close_range(3, ~0u, 0);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static inline void setup(void)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int sv[2];

	/* An address of nothing but its family lets the kernel choose. */
	door.sun_family = AF_UNIX;
	door_len = sizeof(door);
	cr_assert_eq(bind(listener, (struct sockaddr *)&door,
			  sizeof(door.sun_family)), 0);
	cr_assert_eq(listen(listener, 100), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&door,
				 &door_len), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	h->fd = sv[0];
	wire_reader_init(&h->reader, WIRE_FROM_GUEST);
	h->agent = fork();
	if (!h->agent)
		agent_main(sv[1], listener);
	close(sv[1]);
	close(listener);
}

static inline int knock(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&door, door_len), 0);
	return fd;
}

/* Make session @i, and speak to it from now on. */
static inline void begin(int i)
{
	h = &hosts[i];
	memset(h, 0, sizeof(*h));
	h->fd = knock();
	wire_reader_init(&h->reader, WIRE_FROM_GUEST);
}

/* Hang up; what session_serve() made of the session. */
static inline int hang_up(void)
{
	int status;

	close(h->fd);
	cr_assert_eq(waitpid(h->agent, &status, 0), h->agent);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static inline void send_bytes(const void *p, size_t len)
{
	cr_assert_eq(send(h->fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void send_frame(enum wire_type type, const void *p, uint32_t len)
{
	send_bytes(h->frame, wire_put(h->frame, type, p, len));
}

static inline void send_exec(struct wire_command c)
{
	static char *const none[] = { NULL };
	long len;

	c.env = c.env ? c.env : none;
	c.cwd = c.cwd ? c.cwd : "";
	c.user = c.user ? c.user : "";
	len = wire_put_exec(h->frame, sizeof(h->frame), &c);
	cr_assert_gt(len, 0);
	send_bytes(h->frame, (size_t)len);
}

static inline void exec_sh(const char *script, uint32_t flags)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };

	send_exec((struct wire_command){ .head.flags = flags, .argv = argv });
}

static inline void keep(char *buf, size_t *len, const struct wire_frame *f)
{
	size_t n = f->len;

	if (n > sizeof(h->out) - 1 - *len)
		n = sizeof(h->out) - 1 - *len;
	memcpy(buf + *len, f->data, n);
	*len += n;
}

static inline void take(const struct wire_frame *f)
{
	struct wire_mounted done;
	struct wire_ack ack;

	cr_assert(!h->exited, "a frame after EXIT");
	switch (f->type) {
	case WIRE_READY:
		h->ready = 1;
		break;
	case WIRE_MOUNTED:
		wire_get(f, &done, sizeof(done));
		h->mounted++;
		h->mount_error = (int)done.error;
		break;
	case WIRE_STARTED:
		h->started = 1;
		break;
	case WIRE_STDOUT:
		keep(h->out, &h->out_len, f);
		break;
	case WIRE_STDERR:
		keep(h->err, &h->err_len, f);
		break;
	case WIRE_STDIN_ACK:
		wire_get(f, &ack, sizeof(ack));
		h->acked += ack.bytes;
		break;
	case WIRE_EXIT:
		wire_get(f, &h->exit, sizeof(h->exit));
		h->exited = 1;
		break;
	default:
		cr_assert_fail("type %u", f->type);
	}
}

/* Take what comes next; 0 at the end of the stream. */
static inline int step(void)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	struct wire_frame f;
	size_t room;
	void *at = wire_room(&h->reader, &room);
	ssize_t n;
	int ret;

	cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "the agent is silent");
	n = recv(h->fd, at, room, 0);
	if (n <= 0)
		return 0;
	wire_filled(&h->reader, (size_t)n);
	while ((ret = wire_next(&h->reader, &f)) == 1)
		take(&f);
	cr_assert_eq(ret, 0);
	return 1;
}

static inline void run_to_exit(void)
{
	while (!h->exited)
		cr_assert(step());
}

/* A pattern whose period is no power of two, so that no shift fits. */
static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i % 251 ^ i >> 16);
}

/* Send as the window allows and read what comes: the host's loop. */
static inline void pump_through(size_t total)
{
	size_t sent = 0, got = 0, n, i;
	static uint8_t data[WIRE_DATA_MAX];
	struct pollfd p = { .fd = h->fd };

	while (!h->exited) {
		n = total - sent < sizeof(data) ? total - sent : sizeof(data);
		if (n > WIRE_STDIN_WINDOW - (sent - h->acked))
			n = 0;
		p.events = (short)(POLLIN | (n ? POLLOUT : 0));
		cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1, "stuck at %zu", got);
		if (p.revents & POLLOUT && n) {
			for (i = 0; i < n; i++)
				data[i] = pattern(sent + i);
			send_frame(WIRE_STDIN, data, (uint32_t)n);
			sent += n;
			if (sent == total)
				send_frame(WIRE_STDIN_EOF, NULL, 0);
		}
		if (!(p.revents & POLLIN))
			continue;
		h->out_len = 0;
		cr_assert(step());
		for (i = 0; i < h->out_len; i++, got++)
			cr_assert_eq((uint8_t)h->out[i], pattern(got));
	}
	cr_assert_eq(got, total);
}

#endif
