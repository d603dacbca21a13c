/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caps: the capabilities of the calling process, which has one thread.
 *
 * For the jail's child and for mayfly-net's keeper, which keeps one of them.
 * 0, or -errno with words, where nothing else is said. With libcap.
 */
#ifndef MAYFLY_JAIL_CAPS_H
#define MAYFLY_JAIL_CAPS_H

#include <sys/capability.h>

struct err;

/* Is it in our effective set? 1, 0 or -errno; in the launcher as well. */
int caps_have(cap_value_t cap);
/* capabilities(7), "The securebits flags": nothing comes back by execve(), no
 * capability is there for being user 0, and none lost by a change of user.
 * Takes CAP_SETPCAP. */
int caps_seal(struct err *err);
/* The same, where we have that. */
int caps_forbid_regaining(struct err *err);
/* Empty all sets, for good. */
int caps_drop(struct err *err);

#endif
