/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine: what the keeper of a network gives up once all is made.
 *
 * One thread; nothing of it can be undone. lock_landlock() and lock_seccomp()
 * come after it.
 */
#ifndef MAYFLY_NET_CONFINE_H
#define MAYFLY_NET_CONFINE_H

#include <stdint.h>

struct err;

/*
 * All capabilities but CAP_NET_ADMIN in this user namespace, and those for
 * good; core files; new processes. @become: a user and group to be from now
 * on, or KEEP_SELF.
 */
int confine_keeper(uint32_t become, struct err *err);

#endif
