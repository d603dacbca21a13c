/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cputime: the CPU time of a machine since its command began, and its limit.
 *
 * What counts is the time of the vCPU threads, which mayfly-vmm tells when it
 * is asked. The kernel tells that of the whole process, which is more: while
 * that is below the limit nobody need be asked. So the kernel is told to wake
 * us when the process's clock says that the limit may be reached, and an idle
 * guest wakes nobody. A mayfly-vmm that does not answer, or tells less than is
 * true, has its process's clock against it: that must not pass the limit by
 * half and CPUTIME_SLACK more. An honest one cannot be told from it, and so may
 * not use more than that for its devices either.
 *
 *	cputime_open()	the machine has started
 *	cputime_begin()	its command has
 *	cputime_told()	mayfly-vmm's answer; the first one is where we begin
 *	cputime_look()	read the clock: now it may be over, or doubtful
 *	cputime_arm()	have the descriptor tell when to look again
 *	cputime_close() before the process is waited for; no harm if twice
 *
 * Told times are taken as far as the kernel's clock bears them out. One thread;
 * CPUTIME_SIGNAL is blocked while there is a limit.
 */
#ifndef MAYFLY_CPUTIME_H
#define MAYFLY_CPUTIME_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define CPUTIME_SIGNAL SIGRTMIN
#define CPUTIME_SLACK  500000000u /* ns */

struct cputime {
	uint64_t limit_ns; /* 0: none, it is measured only */
	/* The process's clock: as the command began, when mayfly-vmm told last,
	 * and now. */
	uint64_t begin_ns, told_at_ns, now_ns;
	uint64_t base_ns; /* the vCPUs', as the command began */
	uint64_t used_ns; /* and since, as far as it was told */
	int begun, told;
	clockid_t clock;
	timer_t timer;
	int have_clock, have_timer, unblock;
	int fd; /* readable when it is time to look; -1 without a limit */
};

/* -errno where @pid has no clock, or a @limit_ns no timer. */
int cputime_open(struct cputime *t, pid_t pid, uint64_t limit_ns);
void cputime_close(struct cputime *t);

/* Read the clock. */
void cputime_look(struct cputime *t);
void cputime_begin(struct cputime *t);
void cputime_told(struct cputime *t, uint64_t vcpu_ns);
/* @asked: mayfly-vmm is going to tell. */
void cputime_arm(struct cputime *t, int asked);

/* As of the last look. */

/* The limit may be hit, by the process's clock: mayfly-vmm is to be asked. */
int cputime_is_doubtful(const struct cputime *t);
int cputime_is_over(const struct cputime *t);
/* In ns, of the vCPUs; since they were told, of the process. */
uint64_t cputime_used(const struct cputime *t);
/* When to look again, by the process's clock. */
uint64_t cputime_next(const struct cputime *t, int asked);

#endif
