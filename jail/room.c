/* SPDX-License-Identifier: Apache-2.0 */
/* A root directory with nothing in it. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/err.h"

#define HOSTNAME "mayfly"

/* Where the new root is for a moment: a directory that every host has. */
#define PLACE "/proc"

static int change_root(struct err *err)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV |
				    MS_NOEXEC;

	if (mount("mayfly", PLACE, "tmpfs", flags, "mode=0555,size=4096") < 0)
		return err_set(err, -errno, "mount an empty root");
	if (chdir(PLACE) < 0)
		return err_set(err, -errno, "enter the empty root");
	/* The old root is put on top of the new one, and taken off there:
	 * pivot_root(2), "pivot_root(".", ".")". */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_set(err, -errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_set(err, -errno, "detach the old root");
	return 0;
}

int room_enter(struct err *err)
{
	int r = 0;

	/* What we mount is not to show up outside. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_set(err, -errno, "make mounts private");
	if (ROOM_IS_EMPTY)
		r = change_root(err);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return err_set(err, -errno, "chdir /");
	if (sethostname(HOSTNAME, strlen(HOSTNAME)) < 0 ||
	    setdomainname("", 0) < 0)
		return err_set(err, -errno, "host name");
	return 0;
}
