/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: places where a test makes a process misbehave.
 *
 * fault_point("vmm", "boot") is a place on a process's way, "vmm.boot". There
 * is none in a production build: the macro is empty, and `make install`
 * refuses programs that have any. In a build of `make FAULTS=1` the first to
 * come to a point does what MAYFLY_FAULT says of it, "POINT:ACTION", with
 * commas between several. mayfly has that in its environment; mayfly-vmm and
 * mayfly-net, whose environment is empty, as their last argument. Actions:
 *
 *	kill	   SIGKILL to itself (PID 1 of a namespace: the same by exit)
 *	segv abort exit
 *	hang	   burn CPU for ever
 *	stop	   sleep for ever
 *	nap	   sleep for 1 s, then go on
 *	grow	   touch a GiB of memory, then stop
 *	fds	   duplicate descriptor 2 until that is refused, then go on
 *	threads	   make threads until that is refused (1000 at most), go on
 *	flood	   write into every pipe, and into descriptor 2, for ever
 *	babble	   send datagrams of zeros to the launcher for ever
 *	killvmm	   in the launcher: SIGKILL to mayfly-vmm, then go on
 *	killboth   and then to itself
 *
 * A process that is at its point shows it by '@' as the first character of
 * its command line, which costs no system call: a filter may forbid all.
 *
 * Any thread. After a point, what it says happens once in a process.
 */
#ifndef MAYFLY_BASE_FAULT_H
#define MAYFLY_BASE_FAULT_H

#ifdef MAYFLY_FAULTS

#include <sys/types.h>

struct ev_loop;

void fault_point(const char *group, const char *name);
/* A point that is reached @ms after this call, from @loop; call it when all
 * descriptors are there and no filter is yet. */
void fault_timer(struct ev_loop *loop, const char *group, const char *name,
		 unsigned ms);
/* Whom killvmm kills. */
void fault_victim(pid_t pid);
/* For argv[1] of mayfly-vmm; NULL: nothing is to happen. */
char *fault_text(void);

#else

#define fault_point(group, name)	    ((void)0)
#define fault_timer(loop, group, name, ms) ((void)0)
#define fault_victim(pid)		    ((void)0)
#define fault_text()			    NULL

#endif
#endif
