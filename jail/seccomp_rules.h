/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp_rules: which system calls each kind of thread keeps, and what for.
 *
 * Plain tables. mkseccomp.c makes filters of them when mayfly is built; tests
 * read them. A call that no rule of its role names, or whose arguments are not
 * those of a rule, kills the process, as does any call of another architecture.
 */
#ifndef MAYFLY_JAIL_SECCOMP_RULES_H
#define MAYFLY_JAIL_SECCOMP_RULES_H

#include <stdint.h>

#include "jail/lock.h"

struct seccomp_rule {
	int nr;
	const char *why; /* what of ours calls it */
	unsigned nconds;
	/* all of them: argument @arg, as 64 bits, is @is; in the bits of
	 * @mask, where that is not 0 */
	struct seccomp_cond {
		unsigned arg;
		uint64_t is, mask;
	} cond[2];
};

struct seccomp_role {
	const char *name;
	/* In no order: the filter is a tree that is searched by number. */
	const struct seccomp_rule *rule;
	unsigned n;
	/* Sanitizer builds: the rules are what kills, all else is allowed. */
	int inverted;
};

extern const struct seccomp_role seccomp_role[LOCK_ROLES];

#endif
