/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as: jail-as UID PROGRAM [ARG...]: run it as that user and group alone.
 *
 * setpriv(1) of busybox does not do that.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long id = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;

	if (!id) {
		fprintf(stderr, "usage: jail-as UID PROGRAM [ARG...]\n");
		return 2;
	}
	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
	    setresuid(id, id, id) < 0) {
		perror("jail-as");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
