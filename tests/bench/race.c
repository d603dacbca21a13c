/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race: time two commands against each other, in turn.
 *
 *	race [-n PAIRS] [-l SECONDS] [-w WORD] [-b PREPARE] A... ::: B...
 *	race -T
 *
 * Runs them A B, B A, A B, ... so that what drifts on the host meets both.
 * One line a run: which, milliseconds from just before exec to the end of WORD
 * on its stdout (without -w: to the first byte), to its exit, of CPU time it
 * and its children took, exit code (128+N for signal N; WORD missing: -1).
 * PREPARE is a shell command before each run of B, not timed. After SECONDS a
 * run is killed. Without B only A is run. Needs no more than libc, so that it
 * runs where there is no Python. -T only prints the TSC's frequency in kHz.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define OUTPUT_MAX 65536 /* what is searched for WORD, and shown on failure */

struct options {
	int pairs, limit_s;
	const char *word, *prepare;
	char **cmd[2];
};

struct run {
	uint64_t first, end; /* ns since the start; first 0: not seen */
	size_t len;
	char text[OUTPUT_MAX + 1];
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void child(char **argv, int out)
{
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	dup2(null, 0);
	dup2(out, 1);
	execvp(argv[0], argv);
	fprintf(stderr, "race: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Keep what fits, look for the word in it. */
static void take(struct run *r, const char *buf, size_t n, const char *word,
		 uint64_t at)
{
	size_t room = OUTPUT_MAX - r->len;

	if (n > room)
		n = room;
	memcpy(r->text + r->len, buf, n);
	r->len += n;
	r->text[r->len] = '\0';
	if (!r->first && r->len && (!word || strstr(r->text, word)))
		r->first = at;
}

/* Read until the end of the stream or the deadline. */
static void collect(struct run *r, int fd, const char *word, uint64_t start,
		    uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];
	uint64_t t;
	ssize_t n;

	while ((t = now()) < deadline &&
	       poll(&p, 1, (int)((deadline - t) / 1000000) + 1) > 0) {
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			return;
		take(r, buf, (size_t)n, word, now() - start);
	}
}

static double cpu_ms(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e3 +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e3;
}

static int code_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   128 + WTERMSIG(status);
}

/* 0 when the command said the word and ended in time. */
static int run(const struct options *o, int which)
{
	static struct run r;
	uint64_t start, deadline;
	struct rusage usage;
	int fds[2], status, late;
	pid_t pid;

	memset(&r, 0, sizeof(r));
	if (which && o->prepare && system(o->prepare) != 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	start = now();
	deadline = start + (uint64_t)o->limit_s * 1000000000u;
	pid = fork();
	if (pid == 0)
		child(o->cmd[which], fds[1]);
	close(fds[1]);
	collect(&r, fds[0], o->word, start, deadline);
	late = now() >= deadline;
	if (late)
		kill(-pid, SIGKILL);
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	r.end = now() - start;
	close(fds[0]);
	printf("%c %.3f %.3f %.3f %d\n", "ab"[which], (double)r.first / 1e6,
	       (double)r.end / 1e6, cpu_ms(&usage),
	       r.first && !late ? code_of(status) : -1);
	fflush(stdout);
	if (r.first && !late)
		return 0;
	fprintf(stderr, "race: %s: %s; its output:\n%s\n",
		o->cmd[which][0], late ? "no end" : "not the word", r.text);
	return -1;
}

static void print_tsc_khz(void)
{
	uint64_t t0 = now(), c0 = __rdtsc(), t1, c1;

	usleep(50000);
	t1 = now();
	c1 = __rdtsc();
	printf("%.0f\n", (double)(c1 - c0) / (double)(t1 - t0) * 1e6);
}

static int parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "+n:l:w:b:")) != -1) {
		if (c == 'n')
			o->pairs = atoi(optarg);
		else if (c == 'l')
			o->limit_s = atoi(optarg);
		else if (c == 'w')
			o->word = optarg;
		else if (c == 'b')
			o->prepare = optarg;
		else
			return -1;
	}
	o->cmd[0] = argv + optind;
	for (int i = optind; i < argc; i++) {
		if (strcmp(argv[i], ":::") != 0)
			continue;
		argv[i] = NULL;
		o->cmd[1] = argv + i + 1;
		break;
	}
	return o->cmd[0][0] && (!o->cmd[1] || o->cmd[1][0]) ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct options o = { .pairs = 10, .limit_s = 60 };

	if (argc == 2 && strcmp(argv[1], "-T") == 0) {
		print_tsc_khz();
		return 0;
	}
	if (parse(&o, argc, argv) < 0) {
		fprintf(stderr, "usage: race [-n PAIRS] [-l SECONDS] "
			"[-w WORD] [-b PREPARE] A... [::: B...]\n");
		return 2;
	}
	for (int i = 0; i < o.pairs; i++) {
		int first = o.cmd[1] ? i & 1 : 0;

		if (run(&o, first) < 0)
			return 1;
		if (o.cmd[1] && run(&o, !first) < 0)
			return 1;
	}
	return 0;
}
