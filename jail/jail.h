/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail: start a program that can do nothing but use the descriptors it was
 * given.
 *
 * jail_start() is called in the launcher, while that has one thread. It makes
 * the process in namespaces of its own, and comes back when the process stands
 * in its empty root; the rest of the way (jail.c has the list) and what may go
 * wrong on it are between the process and @failed. What this host does not
 * allow is no error: the report has it, with the remedy.
 *
 * The process is the caller's: to be killed by its pidfd and reaped.
 */
#ifndef MAYFLY_JAIL_H
#define MAYFLY_JAIL_H

#include <stdint.h>
#include <sys/types.h>

#include "jail/layers.h"

struct err;

#define JAIL_CONTROL_FD 3 /* where the program finds its control socket */

/* Users and groups for jails: numbers that nothing else of the host has. */
struct jail_ids {
	uint32_t first, count;
};

struct jail_params {
	int program_fd;	 /* the binary, open for reading; borrowed */
	int control_fd;	 /* borrowed */
	int cgroup_fd;	 /* a cgroup v2 to be born in, or -1; borrowed */
	/* Else descriptor 2 is /dev/null, as 0 and 1 are. A terminal becomes
	 * one that cannot be read. */
	int keep_stderr;
	char *const *argv;
	/* Of root's launcher: each process gets the one at its own number,
	 * which no other living process has, modulo .count. */
	struct jail_ids ids;
	unsigned tasks;	    /* threads that it has at most, the kernel's too */
	unsigned nofile;    /* descriptors */
	uint64_t patience_ns; /* for its way to the room; 0: no end */
	uint64_t file_size; /* bytes, of the largest file that it may write */
	/* In the child: tell @control_fd why, just before the child ends. */
	void (*failed)(int control_fd, const struct err *err);
};

struct jail_process {
	pid_t pid;
	int pidfd;
	int in_cgroup; /* it was born in .cgroup_fd's */
};

/* @report: the layers of JAIL_NAMESPACES to JAIL_NNP are filled in. */
int jail_start(const struct jail_params *p, struct jail_report *report,
	       struct jail_process *out, struct err *err);

#endif
