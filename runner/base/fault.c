/* SPDX-License-Identifier: Apache-2.0 */
/* Misbehaviour on demand; no part of a production build. */
#include "runner/base/fault.h"

#ifndef MAYFLY_FAULTS
#error "built with FAULTS=1 only"
#endif

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runner/base/ev.h"
#include "runner/base/mem.h"

#define ROOM	(1ul << 30) /* that grow touches: more than any test's VM may */
#define RULES	8
#define FDS	64 /* that flood looks at */
#define CTL_FD	3  /* runner/vmm/ctl.h; nothing of the VMM is known here */
#define NAP_S	1
#define THREADS 1000 /* before a host is short of them */

/* One of a process, for points are where no object of ours is at hand. */
static struct {
	char *mark; /* of the command line */
	char *text;
	/* For later, when a filter forbids to map memory or to look at files. */
	char *room;
	uint64_t outputs; /* a mask of descriptors */
	pid_t victim;
	atomic_int done[RULES];
	struct ev timer;
	const char *group, *name; /* of the timer */
} fault;

/* Before main(): libc hands these to constructors as well, and so main() need
 * not know. Children that are forked start with a copy. */
static __attribute__((constructor)) void arm(int argc, char **argv)
{
	char *text = getenv("MAYFLY_FAULT");
	void *p;

	if (!text && argc == 2 && !strcmp(argv[0], "mayfly-vmm"))
		text = argv[1];
	if (!text && argc == 3 && !strcmp(argv[0], "mayfly-net"))
		text = argv[2];
	if (!text || !*text)
		return;
	fault.mark = argv[0];
	fault.text = text;
	if (!strstr(text, ":grow"))
		return;
	p = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fault.room = p == MAP_FAILED ? NULL : p;
}

char *fault_text(void)
{
	return fault.text;
}

void fault_victim(pid_t pid)
{
	fault.victim = pid;
}

/* --- actions ---------------------------------------------------------- */

static void sleep_s(time_t seconds)
{
	const struct timespec ts = { .tv_sec = seconds };
	int word = 0;

	/* A futex, as the filters know it: threads have locks. */
	syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0,
		seconds ? &ts : NULL, NULL, 0);
}

static void *stop(void *unused)
{
	for (;;)
		sleep_s(0);
	return unused;
}

static void hang(void)
{
	for (;;)
		atomic_signal_fence(memory_order_seq_cst);
}

static void segv(void)
{
	volatile int *volatile nowhere = NULL;

	*nowhere = 1;
}

static void quit(void)
{
	_exit(99);
}

static void kill_self(void)
{
	kill(getpid(), SIGKILL);
	_exit(128 + SIGKILL);
}

static void kill_vmm(void)
{
	if (fault.victim > 0)
		kill(fault.victim, SIGKILL);
}

static void kill_both(void)
{
	kill_vmm();
	kill_self();
}

static void nap(void)
{
	sleep_s(NAP_S);
}

static void halt(void)
{
	stop(NULL);
}

static void grow(void)
{
	volatile char *p = fault.room;

	for (size_t i = 0; p && i < ROOM; i += 4096)
		p[i] = 1;
	halt();
}

static void take_fds(void)
{
	while (dup(STDERR_FILENO) >= 0)
		;
}

static void make_threads(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t, &attr, stop, NULL))
			break;
	pthread_attr_destroy(&attr);
}

/* Output of a process: pipes, and what its error output is. */
static int is_output(int fd)
{
	struct stat st;

	if (fd == STDERR_FILENO)
		return 1;
	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static uint64_t find_outputs(void)
{
	uint64_t outputs = 0;

	for (int fd = STDERR_FILENO; fd < FDS; fd++)
		outputs |= (uint64_t)is_output(fd) << fd;
	return outputs;
}

static void flood(void)
{
	static const char line[] = "flood flood flood flood flood flood flood\n";
	uint64_t outputs = fault.outputs ? fault.outputs : find_outputs();

	for (;;)
		for (int fd = STDERR_FILENO; fd < FDS; fd++)
			if (outputs >> fd & 1 &&
			    write(fd, line, sizeof(line) - 1) < 0)
				continue;
}

static void babble(void)
{
	static char zeros[64];
	struct iovec iov = { zeros, sizeof(zeros) };
	const struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (;;)
		sendmsg(CTL_FD, &m, MSG_NOSIGNAL);
}

static const struct {
	const char *name;
	void (*fn)(void);
} actions[] = {
	{ "kill", kill_self },	 { "segv", segv },
	{ "abort", abort },	 { "exit", quit },
	{ "hang", hang },	 { "stop", halt },
	{ "nap", nap },		 { "grow", grow },
	{ "fds", take_fds },	 { "threads", make_threads },
	{ "flood", flood },	 { "babble", babble },
	{ "killvmm", kill_vmm }, { "killboth", kill_both },
};

/* --- points ----------------------------------------------------------- */

/* Where in @text @word ends, if it begins with that; NULL else. */
static const char *after(const char *text, const char *word)
{
	size_t n = strlen(word);

	return text && !strncmp(text, word, n) ? text + n : NULL;
}

static void act(const char *word)
{
	size_t n = strcspn(word, ",");

	*fault.mark = '@';
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strlen(actions[i].name) == n &&
		    !strncmp(actions[i].name, word, n))
			actions[i].fn();
}

void fault_point(const char *group, const char *name)
{
	const char *rule = fault.text, *p;

	for (unsigned i = 0; rule && i < RULES; i++) {
		p = after(rule, group);
		p = after(p, ".");
		p = after(p, name);
		p = after(p, ":");
		if (p && !atomic_exchange(&fault.done[i], 1))
			act(p);
		rule = strchr(rule, ',');
		rule = rule ? rule + 1 : NULL;
	}
}

static void on_timer(struct ev *ev, uint32_t events)
{
	(void)events;
	ev_drain(ev->fd);
	fault_point(fault.group, fault.name);
}

void fault_timer(struct ev_loop *loop, const char *group, const char *name,
		 unsigned ms)
{
	if (!fault.text)
		return;
	fault.outputs = find_outputs();
	fault.group = group;
	fault.name = name;
	fault.timer = (struct ev){ .fd = ev_timer_fd(), .fn = on_timer };
	ev_set(loop, &fault.timer, EPOLLIN);
	ev_timer_arm(fault.timer.fd, (uint64_t)ms * 1000000);
}
