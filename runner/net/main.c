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
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/layers.h"
#include "jail/lock.h"
#include "net/forward.h"
#include "net/keep.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/net/confine.h"

/* As jail/jail.h has it. */
#define DNS_CONTROL_FD LOCK_DNS_CONTROL

/* Landlock and the filter, which are added to @layers. What this kernel does
 * not have is missing, as the jail's report of mayfly-vmm says. */
static int lock_in(enum lock_role role, uint32_t *layers, struct err *err)
{
	int r = lock_landlock();

	if (r < 0)
		return err_set(err, r, "Landlock");
	if (r)
		*layers |= 1u << JAIL_LANDLOCK;
	r = lock_seccomp(role);
	if (r < 0)
		return err_set(err, r, "seccomp");
	if (r)
		*layers |= 1u << JAIL_SECCOMP;
	return 0;
}

/* It leaves as dns() does. */
static int keep(struct err *err)
{
	struct keeper *k = NULL;
	uint32_t become, layers = 0;
	int r = 0;

	if (syscall(SYS_close_range, KEEP_TUN_FD + 1, ~0u, 0) < 0)
		r = err_set(err, -errno, "close_range");
	if (r == 0)
		r = keeper_make(&k, &become, err);
	if (r == 0)
		r = confine_keeper(become, err);
	if (r == 0)
		r = lock_in(LOCK_KEEP, &layers, err);
	if (r < 0)
		keeper_failed(err);
	else if (keeper_ready(layers) == 0)
		keeper_hold(k);
	_exit(r < 0);
}

/* The filter lets two descriptors send to where they are told to, by their
 * numbers: jail/seccomp_rules.c. */
static int in_place(const struct forward_params *p, struct err *err)
{
	for (int i = 0; i < FORWARD_LISTENERS; i++)
		if (p->udp[i] != LOCK_DNS_UDP + i)
			return err_say(err, -EBADF, "descriptors in the way");
	return 0;
}

/* A child of the jail's: jail/jail.c has done most of it. It leaves without
 * freeing anything, for its filter knows no way to. */
static int dns(struct err *err)
{
	struct forward *f = NULL;
	struct forward_params p;
	uint32_t layers = 0;
	int r;

	/* execve() and the change of user have reset both. */
	r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
			    prctl(PR_SET_DUMPABLE, 0) < 0 ?
		    err_set(err, -errno, "prctl") : 0;
	forward_params_init(&p);
	if (r == 0)
		r = forward_receive(DNS_CONTROL_FD, &p, err);
	if (r == 0)
		r = in_place(&p, err);
	if (r == 0)
		r = forward_open(&f, &p, err);
	if (r == 0)
		r = lock_in(LOCK_DNS, &layers, err);
	forward_tell(DNS_CONTROL_FD, layers, r < 0 ? err : NULL);
	if (r == 0)
		_exit(forward_serve(f) < 0);
	return r;
}

static const struct {
	const char *name;
	int (*fn)(struct err *err);
} modes[] = {
	{ "keep", keep },
	{ "dns", dns },
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
