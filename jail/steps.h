/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps: the insides of the jail's steps; for jail.c alone.
 *
 * All but spawn.c's are called in the child, which has one thread, once, in
 * the order of jail.c. Each gives 0, or -errno with words.
 */
#ifndef MAYFLY_JAIL_STEPS_H
#define MAYFLY_JAIL_STEPS_H

#include "jail/caps.h"
#include "jail/jail.h"

/* How the process got its namespaces. */
enum jail_mode {
	JAIL_PRIVILEGED, /* by CAP_SYS_ADMIN */
	JAIL_ROOTLESS,	 /* in a user namespace of its own */
	JAIL_BARE,	 /* it has none: the host does not allow it */
};

/* Who to be; the launcher's word to the child. */
struct jail_word {
	int32_t mode; /* enum jail_mode */
	/* ROOTLESS: the maps are written. If not, the child maps itself. */
	int32_t mapped;
	/* In the child's user namespace. -1: stay who you are. */
	uint32_t id;
};

/* spawn.c: in the launcher */

/* Fork into namespaces. 0 in the child, 1 in the launcher, -errno. */
int spawn_child(enum jail_mode mode, int cgroup_fd, struct jail_process *out);
/* This process may make namespaces without the help of a user namespace. */
int spawn_is_privileged(void);
/* Why namespaces were refused with @code, and what to do about it. */
void spawn_explain(enum jail_mode mode, int code, struct jail_report *r);

/* ids.c: in the launcher */

/* The user for the child @pid, into @w; what cannot be into @r. */
void ids_choose(const struct jail_params *p, pid_t pid, struct jail_word *w,
		struct jail_report *r);

/* ids.c */

/* One entry in each map: the caller's own numbers. */
int ids_map_self(uint32_t uid, uint32_t gid, struct err *err);
/* Change groups and user; capabilities stay. */
int ids_become(const struct jail_word *w, struct err *err);

/* room.c */

#ifdef MAYFLY_SAN
#define ROOM_IS_EMPTY 0 /* a sanitizer's run-time library is found by path */
#else
#define ROOM_IS_EMPTY 1
#endif

/* An empty, read-only root directory, and nothing else in sight. */
int room_enter(struct err *err);

#endif
