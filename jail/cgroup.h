/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup: the host's cgroup of one VM: how much memory, how much CPU and how
 * many tasks its process may have, whatever its guest makes it do.
 *
 *	cgroup_create()	 a directory of its own, with its values in it
 *	cgroup_fd()	 v2: the process is born in it (CLONE_INTO_CGROUP)
 *	cgroup_attach()	 otherwise: before the first guest instruction
 *	cgroup_usage()	 when the process has ended
 *	cgroup_free()	 kills what is left in it, removes it
 *
 * On v2, and with all controllers in one mount, that is one directory; on v1
 * it is one in each hierarchy. What this host does not allow is no error: the
 * report says so for JAIL_MEMORY, JAIL_CPU and JAIL_PIDS, with the remedy.
 *
 * Which directories are in use says flock(LOCK_EX) on them, held from the
 * creation to the end; no process number is asked. cgroup_sweep() takes away
 * what nobody has locked. A zeroed `struct cgroup` is one that has nothing.
 * One thread.
 */
#ifndef MAYFLY_JAIL_CGROUP_H
#define MAYFLY_JAIL_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "jail/layers.h"

struct err;

enum cgroup_controller { /* in the order of their layers */
	CGROUP_MEMORY,
	CGROUP_CPU,
	CGROUP_PIDS,
	CGROUP_CONTROLLERS,
};

/* Their layers, as a mask. */
#define JAIL_CGROUP \
	((1u << JAIL_MEMORY) | (1u << JAIL_CPU) | (1u << JAIL_PIDS))

#define CGROUP_PARENT	"mayfly" /* where no other is named */
#define CGROUP_ID	12	 /* hex digits: the id of the run */
#define CGROUP_NAME_MAX (CGROUP_ID + sizeof("-9"))
#define CGROUP_UNKNOWN	UINT64_MAX

/* 0: no such limit, and no layer either. */
struct cgroup_limits {
	uint64_t memory_max; /* bytes; swap never adds to it */
	unsigned cpu_milli;  /* thousandths of one CPU */
	unsigned pids_max;   /* threads of the kernel's that serve it count */
	unsigned cpu_shares; /* 2 to 262144, against the 1024 of others */
};

/* CGROUP_UNKNOWN: nobody counts it on this host. */
struct cgroup_usage {
	uint64_t memory_peak; /* bytes */
	uint64_t oom_kills;   /* processes killed at the limit */
	uint64_t cpu_ns;      /* user and system */
	uint64_t throttled_ns; /* held back by the quota */
};

struct cgroup_ops;

struct cgroup_dir {
	int parent, fd;	      /* @fd is locked */
	unsigned controllers; /* mask of those whose values hold */
	const struct cgroup_ops *ops;
	char name[CGROUP_NAME_MAX];
};

struct cgroup {
	unsigned ndirs;
	struct cgroup_dir dir[CGROUP_CONTROLLERS];
};

/*
 * @parent: a path below which the VM's directory goes, NULL for the usual one.
 * With a slash in front it begins at the root of the hierarchy, as this
 * process sees it. Without, root's begins there as well, if that is possible;
 * else, and without root, at the nearest cgroup above our own that we may
 * divide. It is made where it is not there. @id: see CGROUP_ID.
 * -EINVAL for a parent that leaves the hierarchy.
 */
int cgroup_create(struct cgroup *cg, const char *parent, const char *id,
		  const struct cgroup_limits *limits,
		  struct jail_report *report, struct err *err);
int cgroup_check_parent(const char *parent, struct err *err);

/* Of v2, borrowed; else -1. */
int cgroup_fd(const struct cgroup *cg);

/* What fails is in @report, and its directory gone. -ESRCH: @pid has ended. */
int cgroup_attach(struct cgroup *cg, pid_t pid, struct jail_report *report);

void cgroup_usage(const struct cgroup *cg, struct cgroup_usage *u);

/* SIGKILL to all that is in it, and no quota any more, which would put off
 * their end. Waits for nobody. */
void cgroup_kill(const struct cgroup *cg);

/* Takes one that has nothing. What cannot be removed is left to a sweep. */
void cgroup_free(struct cgroup *cg);

/*
 * Remove, below @parent, all that has a name as cgroup_create() gives it and
 * that nobody has locked, with the processes in it. Calls @removed once for a
 * name. -errno with words for the first that could not be removed; goes on
 * with the others.
 */
typedef void (*cgroup_removed_fn)(const char *name, void *opaque);
int cgroup_sweep(const char *parent, cgroup_removed_fn removed, void *opaque,
		 struct err *err);

#endif
