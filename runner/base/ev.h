/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ev: one epoll loop, its sources embedded in their owners.
 *
 * A `struct ev` lives inside the object it serves and is not copied while
 * added. All calls are from the loop's own thread. A source may remove and
 * free itself or any other source from inside a callback: pending events of
 * a removed source are dropped. Timers are timerfds (ev_timer_*).
 */
#ifndef MAYFLY_BASE_EV_H
#define MAYFLY_BASE_EV_H

#include <stdint.h>
#include <sys/epoll.h>

struct ev;
struct ev_loop;
typedef void (*ev_fn)(struct ev *ev, uint32_t events);

struct ev {
	int fd;		     /* borrowed: ev never closes it */
	uint32_t events;     /* EPOLLIN, ...; 0 while not added */
	ev_fn fn;
	struct ev_loop *loop;
};

#define EV_BATCH 32
struct ev_loop {
	int epfd;
	int stop;
	int npending;
	struct epoll_event pending[EV_BATCH];
};

int ev_loop_init(struct ev_loop *loop);
void ev_loop_free(struct ev_loop *loop);

/* Add, change or (events = 0) remove interest. Idempotent. */
int ev_set(struct ev_loop *loop, struct ev *ev, uint32_t events);
void ev_del(struct ev *ev);

/* Dispatch until ev_stop(), or one round (timeout in ms, -1 to wait). */
int ev_run(struct ev_loop *loop);
int ev_once(struct ev_loop *loop, int timeout_ms);
void ev_stop(struct ev_loop *loop);

/* A monotonic one-shot timerfd; the owner closes it. ns = 0 disarms. */
int ev_timer_fd(void);
int ev_timer_arm(int fd, uint64_t ns);
/* Acknowledge an expired timerfd or an eventfd. */
uint64_t ev_drain(int fd);
/* The next signal of a non-blocking signalfd; 0: there is none. */
int ev_signal(int fd);

#endif
