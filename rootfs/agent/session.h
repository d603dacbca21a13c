/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one command, its streams, one control connection.
 *
 * What the three files of the serving loop share: session.c waits and takes
 * frames from the host, stream.c moves bytes, command.c starts the command
 * and sees it end. struct session is made and never freed: the guest ends
 * with it.
 *
 * Bytes move by 64 KiB: a pipe is read right behind the header of the frame
 * that carries it, and input is written to the command from where it was
 * received; only what the command does not take at once is copied.
 */
#ifndef MAYFLY_AGENT_SESSION_H
#define MAYFLY_AGENT_SESSION_H

#include <unistd.h>

#include "rootfs/agent/agent.h"

#define OUT_SIZE (2 * (WIRE_HDR + WIRE_DATA_MAX) + 1024)

/* Where the command is; each state leads to the next. */
enum state { IDLE, RUNNING, DRAINING, DONE };

/* Input on its way to the command: a ring. */
struct input {
	uint32_t start, len; /* the bytes not yet taken */
	uint32_t window;     /* received and not acknowledged */
	uint32_t taken;	     /* of those, ready to acknowledge */
	int eof;
	uint8_t buf[WIRE_STDIN_WINDOW];
};

/* Frames on their way to the host. */
struct output {
	uint32_t head, tail;
	uint8_t buf[OUT_SIZE];
};

struct session {
	int ctl, child_fd;
	enum state state;
	pid_t pid;
	int reap_more;
	int fd_in, fd_out, fd_err; /* our ends, or -1 */
	struct wire_exit exit;
	const char *cgroups;
	struct output out;
	struct input in;
	struct wire_reader reader;
	char *slots[WIRE_SLOTS];
	struct spawn spawn;
};

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* CLOCK_BOOTTIME in nanoseconds. */
uint64_t boot_ns(void);

/* stream.c */

/* Append a frame; the caller knows that there is room. */
uint32_t out_room(const struct session *s);
void out_put(struct session *s, enum wire_type type, const void *payload,
	     uint32_t len);
int out_has_data_room(const struct session *s);
/* Send what the connection takes. 0 or -errno. */
int out_flush(struct session *s);
/* Move what a pipe holds into a frame; its end closes it. */
void out_pump(struct session *s, int *fd, enum wire_type type);

/* Input for the command: -EPROTO where the host overruns its window. */
int in_push(struct session *s, const uint8_t *p, uint32_t len);
/* The host has no more. */
void in_end(struct session *s);
/* The command can take more. */
void in_drain(struct session *s);
/* Acknowledge what it took, now and then. */
void in_ack(struct session *s);

/* command.c */

int command_start(struct session *s, const struct wire_frame *f);
void command_signal(struct session *s, int signo);
void command_resize(struct session *s, uint16_t rows, uint16_t cols);
void command_reap(struct session *s);
/* Send EXIT once everything before it is in the buffer. */
void command_finish(struct session *s);

#endif
