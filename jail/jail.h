/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail: from a forked child of the launcher to a process that can do nothing
 * but use the descriptors it was given.
 *
 * jail_enter() is called once, in the child, straight after fork(), while the
 * process has one thread. It does not return on success: the program runs.
 * On failure the child is half-way in and must only report and _exit().
 */
#ifndef MAYFLY_JAIL_H
#define MAYFLY_JAIL_H

#include <sys/types.h>

struct err;

#define JAIL_CONTROL_FD 3 /* where the program finds its control socket */

struct jail {
	int program_fd;	 /* the binary, open for reading; borrowed */
	int control_fd;	 /* borrowed; follows the socket as it moves */
	int keep_stderr; /* else descriptor 2 is /dev/null, as 0 and 1 are */
	pid_t parent;	 /* the launcher: its end is the child's end */
	char *const *argv;
};

int jail_enter(struct jail *j, struct err *err);

#endif
