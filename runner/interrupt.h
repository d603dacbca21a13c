/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interrupt: INT, TERM and HUP as something to poll, not to die of.
 *
 * For work that leaves things behind unless it ends by itself. Who works looks
 * at .fd now and then, by poll() or interrupt_came(), cleans up, and gives
 * 128 + .signal for an exit code. What the caller of mayfly has set to be
 * ignored stays so. One thread.
 */
#ifndef MAYFLY_INTERRUPT_H
#define MAYFLY_INTERRUPT_H

#include <signal.h>

struct err;

struct interrupt {
	int fd;	      /* readable when one is there; -1: not open */
	int signal;   /* the first that came, or 0 */
	sigset_t was; /* the mask before */
};

#define INTERRUPT_NONE { .fd = -1 }

/* 0 or -errno with words. */
int interrupt_open(struct interrupt *i, struct err *err);
/* Whether one has come, now or before. */
int interrupt_came(struct interrupt *i);
void interrupt_close(struct interrupt *i);

#endif
