/* SPDX-License-Identifier: Apache-2.0 */
/* A process locks itself in: Landlock, seccomp. */
#include "jail/lock.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/seccomp_filters.h"

/*
 * Theory of operation
 *
 * The jail (jail.h) has taken from the process what a launcher can take from
 * its child: privileges, namespaces, the tree of files. What is left is done
 * here by the process itself, for both ways of it would forbid the execve()
 * that brought it here.
 *
 *   Landlock	a rule set that handles every right of ABI 1 to 6 that the
 *		kernel knows of, and grants none. It stands behind the empty
 *		root: should a descriptor of a directory ever get in, nothing
 *		below it opens. A domain is a thread's, and what it creates
 *		inherits it, so it is entered while there is one thread.
 *   seccomp	a filter for each thread, by what the thread is for. A vCPU's
 *		is a dozen calls: it is the thread that interprets what the
 *		guest wrote, and the main thread does all that has to do with
 *		files and sockets. Neither maps memory, makes threads, opens,
 *		connects or executes. What is refused kills the process, not
 *		the thread and not by an error code: it is a bug of ours or
 *		somebody else's code that runs, and neither is to go on.
 *		The filters are made when mayfly is built (mkseccomp.c), from
 *		tables with a reason a line (seccomp_rules.c).
 *
 * A filter does not reach the other threads, so each installs its own, and
 * nothing hostile is let in before the last one has: runner/vmm/vm.c.
 *
 * Both need no_new_privs, or a privilege that nobody has here. The jail has
 * set it; who starts mayfly-vmm without the jail, as tests do, gets it here.
 */

/* As linux/landlock.h has it since ABI 6; what is installed may be older. A
 * newer kernel takes it as well, and has what came later unrestricted. */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* ABI 4 */
	uint64_t scoped;	     /* ABI 6 */
};

#define CREATE_RULESET_VERSION 1u

/* Documentation/userspace-api/landlock.rst: rights are numbered from 0, and
 * each ABI adds some. */
static uint64_t rights_of(int abi)
{
	unsigned n = 13; /* execute ... make_sym */

	if (abi >= 2)
		n++; /* refer */
	if (abi >= 3)
		n++; /* truncate */
	if (abi >= 5)
		n++; /* ioctl_dev */
	return (1ull << n) - 1;
}

/* Rights from execute on, by their number: what unpacks makes, lists and
 * removes, and gives no right to run it. */
enum { WRITE_FILE = 1, READ_FILE, READ_DIR, REMOVE_FILE = 5, MAKE_DIR = 7,
       MAKE_REG = 8, MAKE_SYM = 12 };

static const uint64_t below_rights[] = {
	[LOCK_BELOW_READ] = 1u << READ_FILE | 1u << READ_DIR,
	[LOCK_BELOW_MAKE] = 1u << WRITE_FILE | 1u << READ_DIR |
			    1u << REMOVE_FILE | 1u << MAKE_DIR |
			    1u << MAKE_REG | 1u << MAKE_SYM,
};

struct path_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

#define RULE_PATH_BENEATH 1

/* Grant @rights below @dir, where that is none of -1. */
static int landlock(int dir, uint64_t rights)
{
	const struct path_beneath below = { rights, dir };
	struct ruleset_attr all = { 0 };
	int abi, rules, r = 0;

	/* A sanitizer's run-time library reads /proc when it reports. */
	if (SECCOMP_FILTERS_WIDE)
		return 0;
	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
			   CREATE_RULESET_VERSION);
	/* Not built in, switched off at boot, or hidden by a container. */
	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ||
				       errno == EPERM ? 0 : -errno;
	all.handled_access_fs = rights_of(abi);
	if (abi >= 4)
		all.handled_access_net = 3; /* TCP: bind, connect */
	if (abi >= 6)
		all.scoped = 3; /* abstract sockets, signals */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* Fields that an older kernel does not know are 0, which it accepts. */
	rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (rules < 0)
		return -errno;
	if ((dir >= 0 && syscall(SYS_landlock_add_rule, rules,
				 RULE_PATH_BENEATH, &below, 0) < 0) ||
	    syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		r = -errno;
	close(rules);
	return r < 0 ? r : abi;
}

int lock_landlock(void)
{
	return landlock(-1, 0);
}

int lock_landlock_below(int dir, enum lock_below what)
{
	return landlock(dir, below_rights[what]);
}

int lock_seccomp(enum lock_role role)
{
	uint32_t kill = SECCOMP_RET_KILL_PROCESS;
	struct sock_fprog prog = {
		.len = seccomp_filter[role].len,
		.filter = (struct sock_filter *)seccomp_filter[role].code,
	};

	/* Linux 4.14. One that does not know the action would kill a thread. */
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) < 0)
		return errno == ENOSYS || errno == EINVAL ||
				       errno == EOPNOTSUPP ? 0 : -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return -errno;
	return !SECCOMP_FILTERS_WIDE;
}
