/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: mutexes, conditions, barriers, atomics, thread-local storage. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8

static __thread unsigned local = 7;
static __thread char block[3000];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static atomic_ulong count, wide[2];
static unsigned plain, turn, order;
static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void *p)
{
	free(p);
	destroyed++;
}

static void *body(void *arg)
{
	unsigned id = (unsigned)(size_t)arg;
	double d = id;

	pthread_setspecific(key, malloc(16));
	for (int i = 0; i < 3000; i++) {
		local += id;
		block[i] = (char)local;
		d = d * 0.75 + 1.5;
		count++;
		atomic_fetch_xor(&wide[id & 1], 1ul << (i & 63));
		pthread_mutex_lock(&lock);
		plain++;
		pthread_mutex_unlock(&lock);
	}
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&lock);
	while (turn != id)
		pthread_cond_wait(&changed, &lock);
	turn++;
	order = order * 10 + id;
	printf("thread %u local %u block %d double %.6f\n", id, local,
	       block[2999], d);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return (void *)(size_t)(local ^ id);
}

static sem_t ping, pong;

static void *echo(void *arg)
{
	for (int i = 0; i < 500; i++) {
		sem_wait(&ping);
		++*(int *)arg;
		sem_post(&pong);
	}
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS];
	void *result[THREADS];
	int n = 0;

	pthread_key_create(&key, destroy);
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, body, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], &result[i]);
	for (int i = 0; i < THREADS; i++)
		printf("%d gave %zu\n", i, (size_t)result[i]);
	printf("%lu %u %lx %lx order %u destroyed %d\n", count, plain, wide[0],
	       wide[1], order, destroyed);
	sem_init(&ping, 0, 0);
	sem_init(&pong, 0, 0);
	pthread_create(t, NULL, echo, &n);
	for (int i = 0; i < 500; i++) {
		sem_post(&ping);
		sem_wait(&pong);
	}
	pthread_join(*t, NULL);
	printf("pings %d\n", n);
	return 0;
}
