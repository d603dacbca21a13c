/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-net: the two processes that stand between a VM and a network.
 *
 *	mayfly-net keep		makes its network and holds it: net/keep.h
 *	mayfly-net dns		answers its DNS queries: net/forward.h
 *
 * Each is started by the launcher, with sockets at known places and an empty
 * environment, and locks itself in before a guest is there. Static, and of our
 * sources and libnl only: dns meets what strangers send.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/lock.h"
#include "net/keep.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/net/confine.h"

/* Landlock and the filter. What this kernel does not have is missing, as the
 * jail's report of mayfly-vmm says. */
static int lock_in(enum lock_role role, struct err *err)
{
	int r = lock_landlock();

	if (r < 0)
		return err_set(err, r, "Landlock");
	r = lock_seccomp(role);
	return r < 0 ? err_set(err, r, "seccomp") : 0;
}

static int keep(struct err *err)
{
	struct keeper *k = NULL;
	uint32_t become;
	int r = 0;

	if (syscall(SYS_close_range, KEEP_TUN_FD + 1, ~0u, 0) < 0)
		r = err_set(err, -errno, "close_range");
	if (r == 0)
		r = keeper_make(&k, &become, err);
	if (r == 0)
		r = confine_keeper(become, err);
	if (r == 0)
		r = lock_in(LOCK_KEEP, err);
	if (r < 0) {
		err_wrap(err, "network");
		keeper_failed(err);
		return r;
	}
	if (keeper_ready(k) == 0)
		keeper_hold(k);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(struct err *err);
} modes[] = {
	{ "keep", keep },
};

int main(int argc, char **argv)
{
	struct err err = { 0 };

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(modes); i++)
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].fn(&err) < 0;
	dprintf(STDERR_FILENO, "mayfly-net is started by mayfly\n");
	return 1;
}
