/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one command, its streams, one control connection.
 *
 * What the files of the serving loop share: session.c waits and takes frames
 * from the host, stream.c moves bytes, command.c starts the command and sees
 * it end, more.c has children for more of the like. struct session is made and
 * never freed: its process ends with it.
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

/* Where the command is; each state leads to the next. SETTLING: its main
 * process has ended, and what that left behind may grow (limit.c). */
enum state { IDLE, RUNNING, SETTLING, DRAINING, DONE };

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

/* A child with a session of its own. */
struct place {
	uint32_t number; /* of its cgroup; 0: free */
	pid_t pid;	 /* 0: it has ended, its cgroup may be there yet */
};

struct more {
	uint32_t last; /* number given out */
	uint32_t used; /* places with a number */
	struct place place[WIRE_SESSIONS_MAX];
};

struct session {
	struct serve sv; /* the descriptors are ours */
	int child_fd;
	enum state state;
	pid_t pid;
	int killed; /* all of the command, as the host asked */
	uint32_t mounts;
	int mount_error; /* of the first that failed: an errno */
	int net_told, net_error; /* NET came; what failed: an errno */
	int reap_more;
	int fd_in, fd_out, fd_err; /* our ends, or -1 */
	/* Once nobody of the command is left to write: how much more is
	 * taken from each stream. */
	int sealed;
	uint32_t left_out, left_err;
	int fd_limit; /* the events of pids.max, or -1 */
	uint64_t grown, look_ns;
	int looks, idle_looks;
	struct wire_exit exit;
	struct more more;
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

/* The run's own session: the machine ends with it. */
static inline int is_own(const struct session *s)
{
	return !s->sv.number;
}

/* stream.c */

/* Append a frame; the caller knows that there is room. */
uint32_t out_room(const struct session *s);
void out_put(struct session *s, enum wire_type type, const void *payload,
	     uint32_t len);
int out_has_data_room(const struct session *s);
/* Send what the connection takes. 0 or -errno. */
int out_flush(struct session *s);
/* Move what a stream holds into a frame, @left bytes at most; the end of
 * either closes it. */
void out_pump(struct session *s, int *fd, enum wire_type type, uint32_t *left);

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
/* All of the command dies, but not what the host makes from now on. */
void command_kill(struct session *s);
void command_resize(struct session *s, uint16_t rows, uint16_t cols);
void command_reap(struct session *s);
/* Another process may hold the streams of a command that has ended: @silent
 * says that none of them had anything for LINGER_MS. */
#define LINGER_MS 100
int command_lingers(const struct session *s);
void command_linger(struct session *s, int silent);
/* What the main process left behind has had its time. */
void command_settle(struct session *s);
/* Send EXIT once everything before it is in the buffer. */
void command_finish(struct session *s);
/* Nobody listens any more: hang up, and kill what does not end of it. */
void command_abandon(struct session *s);

/* limit.c */

/* Bytes that the command may have; 0: no limit. */
uint64_t limit_memory(void);
/* Its cgroup is there: have limit_hit() called when s->fd_limit says POLLPRI. */
void limit_watch(struct session *s);
void limit_hit(struct session *s);
/* The main process has ended: 1 where what it left behind is to be looked at
 * in limit_look_ms(), until limit_has_settled(). */
int limit_may_grow(struct session *s);
int limit_look_ms(const struct session *s);
int limit_has_settled(struct session *s);
/* Bytes left on the root file system; 0 also where no inode is. */
uint64_t limit_disk(void);

/* more.c */

struct sockaddr_vm;

/* Who may have a session. A Unix socket, which tests have, has no CID. */
int more_is_host(const struct sockaddr_vm *peer);
/* Take one connection, and serve it by a child. */
void more_accept(struct session *s);
/* Have ports of the guest served to the host. 0 or an errno. */
int more_dialer(struct session *s, const struct wire_net *net);
/* @pid has ended; it may have been one of them. */
void more_reaped(struct session *s, pid_t pid);
/* Something ended: see whether cgroups can go. */
void more_sweep(struct session *s);

#endif
