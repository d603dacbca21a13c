/* SPDX-License-Identifier: Apache-2.0 */
/* setjmp, sigsetjmp, coroutines of ucontext, deep recursion, callbacks. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static jmp_buf out;

static int deep(int n, double d)
{
	volatile char pad[100];

	memset((void *)pad, n, sizeof(pad));
	if (n == 0)
		longjmp(out, (int)d);
	return deep(n - 1, d + 0.5) + pad[n % 100];
}

static void jumps(void)
{
	volatile int rounds = 0;
	int v = setjmp(out);

	if (v)
		printf("back with %d\n", v);
	if (rounds++ < 3)
		deep(1000 * rounds, rounds);
}

static sigjmp_buf from_handler;

static void handler(int sig)
{
	siglongjmp(from_handler, sig);
}

static void signals(void)
{
	volatile int n = 0;

	signal(SIGUSR1, handler);
	if (sigsetjmp(from_handler, 1) == SIGUSR1)
		n++;
	if (n < 5)
		raise(SIGUSR1);
	printf("handled %d\n", n);
}

static ucontext_t back, gen[3];
static int produced;

static void generator(int id)
{
	double x = id;

	for (int i = 0; i < 200; i++) {
		x = x * 1.25 + id;
		if (x > 1e6)
			x /= 3e5;
		produced = (int)x;
		swapcontext(&gen[id], &back);
	}
}

static void coroutines(void)
{
	unsigned sum = 0;
	static char stack[3][65536];

	for (int i = 0; i < 3; i++) {
		getcontext(&gen[i]);
		gen[i].uc_stack.ss_sp = stack[i];
		gen[i].uc_stack.ss_size = sizeof(stack[i]);
		gen[i].uc_link = &back;
		makecontext(&gen[i], (void (*)(void))generator, 1, i);
	}
	for (int i = 0; i < 600; i++) {
		swapcontext(&back, &gen[i % 3]);
		sum = sum * 31 + (unsigned)produced;
	}
	printf("coroutines %u\n", sum);
}

static int compare(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

static void callbacks(void)
{
	static unsigned v[20000];
	unsigned x = 1, sum = 0;

	for (int i = 0; i < 20000; i++)
		v[i] = x = x * 1664525 + 1013904223;
	qsort(v, 20000, sizeof(v[0]), compare);
	for (int i = 0; i < 20000; i++)
		sum = sum * 31 + v[i];
	printf("sorted %u\n", sum);
}

int main(void)
{
	jumps();
	signals();
	coroutines();
	callbacks();
	return 0;
}
