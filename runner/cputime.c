/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU time of a machine since its command began, and its limit. */
#include "runner/cputime.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runner/base/ev.h"
#include "runner/base/mem.h"

#define NS	   1000000000u
#define STEP	   1000000u /* between two looks at the least, and one part: */
#define STEP_SHARE 64

/* --- what the clocks mean --------------------------------------------- */

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Of the process, which mayfly-vmm cannot argue with. */
static uint64_t process_ns(const struct cputime *t)
{
	return t->now_ns - t->begin_ns;
}

static uint64_t most(const struct cputime *t)
{
	return sum(t->limit_ns, t->limit_ns / 2 + CPUTIME_SLACK);
}

void cputime_told(struct cputime *t, uint64_t vcpu_ns)
{
	if (!t->begun)
		return;
	if (!t->told)
		t->base_ns = MIN(vcpu_ns, t->begin_ns);
	t->told = 1;
	if (vcpu_ns < t->base_ns)
		return;
	t->used_ns = MAX(t->used_ns,
			 MIN(vcpu_ns - t->base_ns, process_ns(t)));
	t->told_at_ns = t->now_ns;
}

uint64_t cputime_used(const struct cputime *t)
{
	if (!t->begun)
		return 0;
	return MIN(t->used_ns + (t->now_ns - t->told_at_ns), process_ns(t));
}

int cputime_is_doubtful(const struct cputime *t)
{
	return t->begun && t->limit_ns && process_ns(t) >= t->limit_ns;
}

int cputime_is_over(const struct cputime *t)
{
	return cputime_is_doubtful(t) &&
	       (t->used_ns >= t->limit_ns || process_ns(t) > most(t));
}

uint64_t cputime_next(const struct cputime *t, int asked)
{
	uint64_t end = sum(sum(t->begin_ns, most(t)), 1);
	uint64_t at;

	if (!cputime_is_doubtful(t))
		return sum(t->begin_ns, t->limit_ns);
	if (asked || t->used_ns >= t->limit_ns)
		return end;
	at = sum(t->now_ns, MAX(t->limit_ns - t->used_ns,
				t->limit_ns / STEP_SHARE + STEP));
	return MIN(at, end);
}

/* --- the kernel's clock and timer ------------------------------------- */

static int open_timer(struct cputime *t)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL,
			       .sigev_signo = CPUTIME_SIGNAL };
	sigset_t set, before;
	int r;

	sigemptyset(&set);
	sigaddset(&set, CPUTIME_SIGNAL);
	t->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->fd < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, &before);
	t->unblock = !sigismember(&before, CPUTIME_SIGNAL);
	r = timer_create(t->clock, &ev, &t->timer) < 0 ? -errno : 0;
	t->have_timer = r == 0;
	return r;
}

int cputime_open(struct cputime *t, pid_t pid, uint64_t limit_ns)
{
	int r;

	*t = (struct cputime){ .limit_ns = limit_ns, .fd = -1 };
	/* 0 would be ourselves. A child that was not waited for yet keeps its
	 * number to itself. */
	if (pid <= 0)
		return -ESRCH;
	r = clock_getcpuclockid(pid, &t->clock);
	if (r)
		return -r;
	t->have_clock = 1;
	return limit_ns ? open_timer(t) : 0;
}

void cputime_close(struct cputime *t)
{
	sigset_t set;

	t->have_clock = 0;
	if (t->have_timer)
		timer_delete(t->timer);
	t->have_timer = 0;
	if (t->fd < 0)
		return;
	/* One that has come must not come once it is not blocked any more. */
	while (ev_signal(t->fd))
		;
	close_fd(&t->fd);
	sigemptyset(&set);
	sigaddset(&set, CPUTIME_SIGNAL);
	if (t->unblock)
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	t->unblock = 0;
}

void cputime_look(struct cputime *t)
{
	struct timespec ts;
	uint64_t now;

	if (!t->have_clock || clock_gettime(t->clock, &ts) < 0)
		return;
	now = (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
	t->now_ns = MAX(t->now_ns, now);
}

void cputime_begin(struct cputime *t)
{
	cputime_look(t);
	t->begun = t->have_clock;
	t->begin_ns = t->told_at_ns = t->now_ns;
	cputime_arm(t, 0);
}

void cputime_arm(struct cputime *t, int asked)
{
	uint64_t at = cputime_next(t, asked);
	struct itimerspec its = {
		.it_value = { .tv_sec = (time_t)(at / NS),
			      .tv_nsec = (long)(at % NS) },
	};

	if (t->have_timer && t->begun)
		timer_settime(t->timer, TIMER_ABSTIME, &its, NULL);
}
