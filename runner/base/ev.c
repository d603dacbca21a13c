/* SPDX-License-Identifier: Apache-2.0 */
/* One epoll loop, its sources embedded in their owners. */
#include "runner/base/ev.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

int ev_loop_init(struct ev_loop *loop)
{
	loop->stop = 0;
	loop->npending = 0;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epfd < 0 ? -errno : 0;
}

void ev_loop_free(struct ev_loop *loop)
{
	if (loop->epfd >= 0)
		close(loop->epfd);
	loop->epfd = -1;
}

int ev_set(struct ev_loop *loop, struct ev *ev, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = ev };
	int op;

	if (ev->events == events)
		return 0;
	if (!events) {
		ev_del(ev);
		return 0;
	}
	op = ev->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(loop->epfd, op, ev->fd, &e) < 0)
		return -errno;
	ev->loop = loop;
	ev->events = events;
	return 0;
}

void ev_del(struct ev *ev)
{
	struct ev_loop *loop = ev->loop;

	if (!ev->events || !loop)
		return;
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, ev->fd, NULL);
	ev->events = 0;
	for (int i = 0; i < loop->npending; i++)
		if (loop->pending[i].data.ptr == ev)
			loop->pending[i].data.ptr = NULL;
}

int ev_once(struct ev_loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epfd, loop->pending, EV_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->npending = n;
	for (int i = 0; i < n; i++) {
		struct ev *ev = loop->pending[i].data.ptr;

		if (ev)
			ev->fn(ev, loop->pending[i].events);
	}
	loop->npending = 0;
	return n;
}

int ev_run(struct ev_loop *loop)
{
	int r = 0;

	while (!loop->stop && r >= 0)
		r = ev_once(loop, -1);
	return r < 0 ? r : 0;
}

void ev_stop(struct ev_loop *loop)
{
	loop->stop = 1;
}

int ev_timer_fd(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ev_timer_arm(int fd, uint64_t ns)
{
	struct itimerspec t = { .it_value = {
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u) } };

	return timerfd_settime(fd, 0, &t, NULL) < 0 ? -errno : 0;
}

uint64_t ev_drain(int fd)
{
	uint64_t v = 0;

	if (read(fd, &v, sizeof(v)) != sizeof(v))
		return 0;
	return v;
}

int ev_signal(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info) ?
		       (int)info.ssi_signo :
		       0;
}
