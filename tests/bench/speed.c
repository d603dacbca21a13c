/* SPDX-License-Identifier: Apache-2.0 */
/*
 * speed [SCALE]: how fast a guest is, by its own clock. One line a measure:
 * name, value, unit, seconds that it took.
 *
 * The loops are in assembly, so that their instructions can be counted here
 * and are the same whatever compiler made the program.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COPY_SIZE (256u << 10) /* within any cache that counts */
#define PAGE 4096u

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(const char *name, double value, const char *unit, double s)
{
	printf("%s %.4f %s %.4f\n", name, value, unit, s);
	fflush(stdout);
}

/* xorshift with a mask and a branch: 10 instructions a turn. */
static void integer(uint64_t turns)
{
	uint64_t x = 1, y = 88172645463325252u, n = turns;
	double start = seconds(), s;

	__asm__ volatile("1:	mov	%1, %%rax\n"
			 "	shl	$13, %%rax\n"
			 "	xor	%%rax, %1\n"
			 "	mov	%1, %%rax\n"
			 "	shr	$7, %%rax\n"
			 "	xor	%%rax, %1\n"
			 "	add	%1, %0\n"
			 "	and	$0xffffff, %0\n"
			 "	dec	%2\n"
			 "	jnz	1b\n"
			 : "+r"(x), "+r"(y), "+r"(n) : : "rax", "cc");
	s = seconds() - start;
	report("integer", (double)turns * 10 / s / 1e6, "MIPS", s);
}

/* A function call, its frame, a load, a store and a branch not taken: what
 * compiled code is made of. 12 instructions a turn. */
static void calls(uint64_t turns)
{
	uint64_t sum = 0, n = turns, cell = 3;
	double start = seconds(), s;

	__asm__ volatile("	jmp	2f\n"
			 "1:	push	%%rbp\n"
			 "	mov	%%rsp, %%rbp\n"
			 "	mov	(%3), %%rax\n"
			 "	lea	1(%%rax,%0), %%rax\n"
			 "	mov	%%rax, (%3)\n"
			 "	pop	%%rbp\n"
			 "	ret\n"
			 "2:	call	1b\n"
			 "	test	%%rax, %%rax\n"
			 "	js	3f\n"
			 "3:	dec	%1\n"
			 "	jnz	2b\n"
			 : "+r"(sum), "+r"(n), "+m"(cell)
			 : "r"(&cell) : "rax", "cc", "memory");
	s = seconds() - start;
	report("calls", (double)turns * 12 / s / 1e6, "MIPS", s);
}

/* Eight bytes a turn, 5 instructions. */
static void copy_words(uint8_t *to, const uint8_t *from, unsigned rounds)
{
	double start = seconds(), s;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t at = 0;

		__asm__ volatile("1:	mov	(%1,%0), %%rax\n"
				 "	mov	%%rax, (%2,%0)\n"
				 "	add	$8, %0\n"
				 "	cmp	%3, %0\n"
				 "	jb	1b\n"
				 : "+r"(at)
				 : "r"(from), "r"(to),
				   "r"((uint64_t)COPY_SIZE)
				 : "rax", "cc", "memory");
	}
	s = seconds() - start;
	report("copy-words", (double)rounds * (COPY_SIZE / 8) * 5 / s / 1e6,
	       "MIPS", s);
}

static void copy_string(uint8_t *to, const uint8_t *from, unsigned rounds)
{
	double start = seconds(), s;

	for (unsigned i = 0; i < rounds; i++) {
		const uint8_t *src = from;
		uint64_t n = COPY_SIZE;
		uint8_t *dst = to;

		__asm__ volatile("rep movsb" : "+S"(src), "+D"(dst), "+c"(n)
				 : : "memory");
	}
	s = seconds() - start;
	report("rep-movsb", (double)rounds * COPY_SIZE / s / 1e6, "MB/s", s);
}

static void copies(unsigned scale)
{
	uint8_t *a = malloc(COPY_SIZE), *b = malloc(COPY_SIZE);

	if (!a || !b)
		exit(1);
	memset(a, 1, COPY_SIZE);
	memset(b, 2, COPY_SIZE);
	copy_words(b, a, 40 * scale);
	copy_string(b, a, 400 * scale);
	free(a);
	free(b);
}

static void system_calls(unsigned n)
{
	double start = seconds(), s;

	for (unsigned i = 0; i < n; i++)
		syscall(SYS_getppid);
	s = seconds() - start;
	report("getppid", s / n * 1e6, "us", s);
}

static void page_faults(unsigned pages)
{
	volatile uint8_t *p = mmap(NULL, (size_t)pages * PAGE,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double start = seconds(), s;

	if (p == MAP_FAILED)
		exit(1);
	for (unsigned i = 0; i < pages; i++)
		p[(size_t)i * PAGE] = 1;
	s = seconds() - start;
	report("page-fault", s / pages * 1e6, "us", s);
	munmap((void *)p, (size_t)pages * PAGE); /* fork would copy it */
}

static void processes(unsigned n)
{
	double start = seconds(), s;

	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) < 0)
			exit(1);
	}
	s = seconds() - start;
	report("fork-exit-wait", s / n * 1e6, "us", s);
}

int main(int argc, char **argv)
{
	unsigned scale = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	double start = seconds();

	if (scale < 1 || scale > 1000)
		return 2;
	integer(5000000u * (uint64_t)scale);
	calls(2000000u * (uint64_t)scale);
	copies(scale);
	system_calls(20000 * scale);
	page_faults(2000 * scale);
	processes(50 * scale);
	report("total", seconds() - start, "s", seconds() - start);
	return 0;
}
