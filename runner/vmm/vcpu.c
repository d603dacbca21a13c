/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that runs one vCPU. */
#include "runner/vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "runner/base/fault.h"

/* Enough for the engines, far below the 8 MiB of the default. */
#define STACK_SIZE (256u << 10)

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void on_signal(int sig)
{
	(void)sig;
}

int vcpu_install_signal(void)
{
	/* No SA_RESTART: the point is that system calls return. */
	struct sigaction sa = { .sa_handler = on_signal };

	return sigaction(VCPU_SIGNAL, &sa, NULL) ? -errno : 0;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct engine_exit x;
	char name[16];

	/* Here, because another thread's name is set through /proc. */
	snprintf(name, sizeof(name), "vcpu%u", v->cpu);
	pthread_setname_np(pthread_self(), name);
	fault_point("vmm", "thread");
	v->confined = v->confine ? v->confine(v->ops) : 0;
	fault_point("vmm", "confined");
	sem_post(&v->ready);
	if (v->confined)
		return NULL;
	pthread_mutex_lock(v->gate);
	pthread_mutex_unlock(v->gate);
	fault_point("vmm", "vcpu");
	while (!atomic_load(&v->stop)) {
		v->ops->run(v->engine, v->cpu, &x);
		if (x.reason != ENGINE_EXIT_INTR) {
			v->ended(v->opaque, v->cpu, &x);
			break;
		}
	}
	atomic_store(&v->final_ns, clock_ns(CLOCK_THREAD_CPUTIME_ID));
	return NULL;
}

int vcpu_start(struct vcpu *v)
{
	pthread_attr_t attr;
	int r;

	atomic_store(&v->stop, 0);
	atomic_store(&v->final_ns, 0);
	sem_init(&v->ready, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&v->thread, &attr, vcpu_main, v);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	v->started = 1;
	r = pthread_getcpuclockid(v->thread, &v->clock);
	return -r;
}

int vcpu_ready(struct vcpu *v)
{
	while (sem_wait(&v->ready) < 0)
		;
	return v->confined;
}

void vcpu_ask(struct vcpu *v)
{
	if (!v->started)
		return;
	atomic_store(&v->stop, 1);
	v->ops->kick(v->engine, v->cpu);
}

void vcpu_stop(struct vcpu *v)
{
	vcpu_ask(v);
	if (v->started)
		pthread_kill(v->thread, VCPU_SIGNAL);
}

int vcpu_join(struct vcpu *v, unsigned ms)
{
	struct timespec ts;
	int r;

	if (!v->started)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	r = pthread_clockjoin_np(v->thread, NULL, CLOCK_MONOTONIC, &ts);
	if (!r)
		v->started = 0;
	return -r;
}

uint64_t vcpu_cpu_ns(const struct vcpu *v)
{
	uint64_t ns = atomic_load(&v->final_ns);

	return ns || !v->started ? ns : clock_ns(v->clock);
}
