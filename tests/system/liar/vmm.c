/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in mayfly-vmm's place: what a guest that has taken that process
 * over can tell the launcher. It is its own guest, too: it speaks for the agent
 * on the stream that leads there. The word after "lie=" on the kernel's command
 * line says which lie; all begin as a good VMM does.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rootfs/wire.h"
#include "runner/vmm/ctl.h"

/* For a terminal to obey, and a line to follow as if it were mayfly's. */
#define WORDS "\033[31mforged\033[0m\nmayfly: forged"

struct vmm {
	struct ctl_boot boot;
	int fd[32];
	int agent; /* the stream to the launcher's session */
};

static void receive(struct vmm *v)
{
	union {
		char buf[CMSG_SPACE(sizeof(v->fd))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { &v->boot, sizeof(v->boot) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;

	if (recvmsg(CTL_FD, &msg, 0) != sizeof(v->boot))
		_exit(2);
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_len > CMSG_LEN(sizeof(v->fd)))
		_exit(2);
	memcpy(v->fd, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	v->agent = v->fd[v->boot.stream[0].fd];
}

static struct ctl_event event(enum ctl_type type)
{
	struct ctl_event e = { .type = type, .ncpus = 1 };

	return e;
}

static void tell(const struct ctl_event *e)
{
	send(CTL_FD, e, sizeof(*e), MSG_NOSIGNAL);
}

/* Until the launcher says something; it may hang up instead. */
static void hear(void)
{
	struct ctl_word w;

	if (recv(CTL_FD, &w, sizeof(w), 0) <= 0)
		_exit(0);
}

static void send_frame(struct vmm *v, enum wire_type type, const void *p,
		       uint32_t len)
{
	uint8_t frame[WIRE_HDR + 256];

	send(v->agent, frame, wire_put(frame, type, p, len), MSG_NOSIGNAL);
}

static void ready(struct vmm *v)
{
	struct wire_ready r = { .version = WIRE_VERSION };
	struct wire_started s = { .pid = 2 };

	send_frame(v, WIRE_READY, &r, sizeof(r));
	send_frame(v, WIRE_STARTED, &s, sizeof(s));
}

static void ended(struct vmm *v, uint32_t code)
{
	struct wire_exit x = { .code = code, .disk_avail = WIRE_UNKNOWN };

	send_frame(v, WIRE_EXIT, &x, sizeof(x));
}

static _Noreturn void stay(void)
{
	for (;;)
		hear();
}

/* --- the lies ----------------------------------------------------------- */

static void started_twice(struct vmm *v)
{
	struct ctl_event e = event(CTL_STARTED);

	(void)v;
	tell(&e);
}

static void silent(struct vmm *v)
{
	(void)v;
}

static void short_event(struct vmm *v)
{
	(void)v;
	send(CTL_FD, "x", 1, MSG_NOSIGNAL);
}

static void odd_event(struct vmm *v)
{
	struct ctl_event e = event((enum ctl_type)77);

	(void)v;
	tell(&e);
}

static void words(struct vmm *v)
{
	struct ctl_event e = event(CTL_STOPPED);

	(void)v;
	e.stop = CTL_STOP_ERROR;
	memset(e.msg, 'x', sizeof(e.msg)); /* no end, either */
	memset(e.hint, 'x', sizeof(e.hint));
	memcpy(e.msg, WORDS, sizeof(WORDS) - 1);
	tell(&e);
}

/* Failed, after all was told to be well. */
static void failed_late(struct vmm *v)
{
	struct ctl_event e = event(CTL_FAILED);

	ready(v);
	ended(v, 0);
	hear(); /* CTL_QUERY, for the report */
	e.code = -5;
	memcpy(e.msg, WORDS, sizeof(WORDS));
	memcpy(e.hint, WORDS, sizeof(WORDS));
	tell(&e);
}

/* Numbers as large as they can be, or none, for all that is asked. */
static _Noreturn void answer(struct vmm *v, uint64_t n)
{
	struct ctl_event e = event(CTL_STATS);

	memset(&e, (int)n, sizeof(e));
	e.type = CTL_STATS;
	ready(v);
	ended(v, 3);
	for (;;) {
		hear();
		tell(&e);
	}
}

static void stats_high(struct vmm *v)
{
	answer(v, 0xff);
}

/* A guest that burns, of which the VMM says that it does nothing. */
static void burns(struct vmm *v)
{
	struct ctl_event e = event(CTL_STATS);

	ready(v);
	for (;;) {
		struct ctl_word w;

		if (recv(CTL_FD, &w, sizeof(w), MSG_DONTWAIT) > 0)
			tell(&e);
	}
}

/* The same, and no answer at all. */
static void burns_in_silence(struct vmm *v)
{
	ready(v);
	for (;;)
		;
}

static void stats_without_end(struct vmm *v)
{
	struct ctl_event e = event(CTL_STATS);

	ready(v);
	for (;;)
		tell(&e);
}

/* Descriptors where none are awaited. */
static void descriptors(struct vmm *v)
{
	struct ctl_event e = event(CTL_STATS);
	struct iovec iov = { &e, sizeof(e) };
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd[8] = { 0 };

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), fd, sizeof(fd));
	(void)v;
	for (int i = 0; i < 1000; i++)
		sendmsg(CTL_FD, &msg, MSG_NOSIGNAL);
}

static const struct {
	const char *name;
	void (*fn)(struct vmm *v);
} lies[] = {
	{ "started-twice", started_twice },
	{ "silent", silent },
	{ "short", short_event },
	{ "odd", odd_event },
	{ "words", words },
	{ "failed-late", failed_late },
	{ "stats-high", stats_high },
	{ "burns-in-silence", burns_in_silence },
	{ "burns", burns },
	{ "stats-without-end", stats_without_end },
	{ "descriptors", descriptors },
};

int main(void)
{
	static struct vmm v;
	struct ctl_event e = event(CTL_STARTED);
	const char *which;

	receive(&v);
	which = strstr(v.boot.cmdline, "lie=");
	tell(&e);
	hear(); /* CTL_GO */
	for (size_t i = 0; which && i < sizeof(lies) / sizeof(*lies); i++) {
		if (!strcmp(which + 4, lies[i].name)) {
			lies[i].fn(&v);
			stay();
		}
	}
	return 2;
}
