/* SPDX-License-Identifier: Apache-2.0 */
/* Every system call, each from a child of its own. */
#include "tests/jail/sweep.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/probe.h"

#define X32 0x40000000u

static char buffer[4096] = "/etc/passwd";

static long int80(unsigned nr)
{
	long r;

	/* A 32-bit program's call, whatever this program is. */
	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static void call(enum sweep_kind kind, unsigned nr)
{
	long p = (long)buffer, fd = given[GIVEN_KERNEL];

	switch (kind) {
	case SWEEP_ZERO:
		syscall(nr, 0, 0, 0, 0, 0, 0);
		break;
	case SWEEP_ONES:
		syscall(nr, -1, -1, -1, -1, -1, -1);
		break;
	case SWEEP_PLAUSIBLE:
		syscall(nr, fd, p, sizeof(buffer), p, sizeof(buffer), p);
		break;
	case SWEEP_X32:
		syscall(X32 | nr, 0, 0, 0, 0, 0, 0);
		break;
	case SWEEP_INT80:
		int80(nr);
		break;
	case SWEEP_THREADS:
		syscall(SYS_getppid);
		break;
	case SWEEP_KINDS:
		break;
	}
}

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static _Noreturn void child(const struct world *w, enum sweep_kind kind,
			    unsigned nr)
{
	pthread_t t;

	/* A thread that is left behind does not hold us up for ever. */
	alarm(60);
	if (kind == SWEEP_THREADS && pthread_create(&t, NULL, idle, NULL))
		_exit(BROKEN);
	if (w->lock & SECCOMP && lock_seccomp((enum lock_role)w->role) < 0)
		_exit(BROKEN);
	call(kind, nr);
	/* Each role has the one that its threads end by. */
	for (;;)
		syscall(w->role == LOCK_KVM_VCPU || w->role == LOCK_SOFT_VCPU ?
				SYS_exit : SYS_exit_group, HELD);
}

static void sweep_one(const struct world *w, enum sweep_kind kind, unsigned nr)
{
	struct said s = { .index = sweep_index(kind, nr), .outcome = -1u };
	int status;
	pid_t pid = fork();

	if (pid == 0)
		child(w, kind, nr);
	if (pid > 0 && waitpid(pid, &status, 0) == pid)
		s.outcome = (uint32_t)status;
	send(CONTROL_FD, &s, sizeof(s), MSG_NOSIGNAL);
}

/*
 * Some calls are made with 0 for everything, and fchmod(0, 0) of somebody who
 * has remained the host's root takes /dev/null from all others.
 */
static int may_do_harm(void)
{
	return fchmod(STDIN_FILENO, 0666) == 0;
}

void sweep(const struct world *w)
{
	if (may_do_harm())
		return;
	sweep_one(w, SWEEP_THREADS, 0);
	for (int kind = SWEEP_ZERO; kind < SWEEP_THREADS; kind++)
		for (unsigned nr = 0; nr < SWEEP_CALLS; nr++)
			sweep_one(w, (enum sweep_kind)kind, nr);
}
