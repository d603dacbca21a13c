/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu: a thread that runs one vCPU.
 *
 * Life cycle, all on the main thread:
 *	vcpu_start()	the thread exists, locks itself down
 *	vcpu_ready()	and waits at the gate
 *	(gate unlocked)	it runs guest code
 *	vcpu_stop()	leave run() soon and for good
 *	vcpu_join()	after vcpu_stop(), or after `ended` was called
 *
 * A stop is a flag, then the engine's kick, then a signal that interrupts
 * whatever the thread sleeps in; the handler does nothing. In this order none
 * is lost: the thread looks at the flag before each run(), and a kick makes
 * the next run() return at once.
 */
#ifndef MAYFLY_VMM_VCPU_H
#define MAYFLY_VMM_VCPU_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

#include "runner/engine/engine.h"

#define VCPU_SIGNAL SIGUSR1

/* On the vCPU thread, at most once: run() came back with something that is
 * not a kick. The thread ends after it. */
typedef void (*vcpu_ended_fn)(void *opaque, unsigned cpu,
			      const struct engine_exit *x);

/* On the vCPU thread, first of all: what it will never need, it gives up. */
typedef int (*vcpu_confine_fn)(const struct engine_ops *ops);

struct vcpu {
	const struct engine_ops *ops;
	struct engine *engine; /* borrowed */
	unsigned cpu;
	vcpu_confine_fn confine; /* optional */
	vcpu_ended_fn ended;
	void *opaque;
	pthread_mutex_t *gate; /* borrowed; locked by who starts us */

	int started;
	sem_t ready;
	int confined; /* 0 or -errno, once it is ready */
	pthread_t thread;
	clockid_t clock;
	_Atomic int stop;
	_Atomic uint64_t final_ns; /* CPU time, once the thread is over */
};

/* The handler, for the whole process. Once, before any vcpu_start(). */
int vcpu_install_signal(void);

int vcpu_start(struct vcpu *v);
/* Wait until it is at the gate. 0, or -errno of `confine`: it runs no guest
 * then. */
int vcpu_ready(struct vcpu *v);
/* Any thread: run no more guest code, unless it sleeps in the kernel. */
void vcpu_ask(struct vcpu *v);
void vcpu_stop(struct vcpu *v);
/* 0, or -ETIMEDOUT after @ms. Twice is fine. */
int vcpu_join(struct vcpu *v, unsigned ms);

/* CPU time that the thread has used. Any thread. */
uint64_t vcpu_cpu_ns(const struct vcpu *v);

#endif
