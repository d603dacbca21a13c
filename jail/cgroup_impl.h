/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_impl: what the files of cgroup.h share, and its tests.
 *
 *	cgroup_map.c	which hierarchies there are, and where we are in them
 *	cgroup_place.c	the parent of our directories in each
 *	cgroup_file.c	the small files in a directory, and its processes
 *	cgroup_v1.c, cgroup_v2.c	what differs
 *	cgroup.c, cgroup_sweep.c	the life of a directory, and its end
 *
 * Everything below a mount is opened from a descriptor, with openat2(), which
 * follows no link and never leaves the tree. Functions give 0, a descriptor
 * (the caller's) or -errno.
 */
#ifndef MAYFLY_JAIL_CGROUP_IMPL_H
#define MAYFLY_JAIL_CGROUP_IMPL_H

#include <limits.h>
#include <stddef.h>

#include "jail/cgroup.h"

#define CGROUP_ALL ((1u << CGROUP_CONTROLLERS) - 1)

/* Documentation/admin-guide/cgroup-v1, cgroup-v2.rst */
struct cgroup_ops {
	int version;
	/* Let directories in @dir have these: a mask of those that can, and
	 * in *@code -errno for the first that cannot. */
	unsigned (*enable)(int dir, unsigned controllers, int *code);
	/* May processes be moved from a cgroup in @dir to another? */
	int (*may_move)(int dir);
	int (*limit_memory)(int dir, uint64_t max);
	int (*limit_quota)(int dir, uint64_t quota_us, unsigned period_us);
	int (*limit_shares)(int dir, unsigned shares);
	/* Fill in what these controllers count. */
	void (*usage)(int dir, unsigned controllers, struct cgroup_usage *u);
	/* Lifts the quota as well: it would make an end wait for its turn. */
	void (*kill)(int dir);
};
extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

struct cgroup_hierarchy {
	int version;
	unsigned controllers; /* v2: all, until one looks */
	int whole;	      /* mounted from its root, and writable */
	char mount[PATH_MAX];
	int own_known;
	char own[PATH_MAX]; /* our cgroup, relative to @mount; "" is that */
};

struct cgroup_map {
	unsigned n;
	int fake; /* tests: any file system will do */
	struct cgroup_hierarchy h[CGROUP_CONTROLLERS];
};

/* From the texts of /proc/self/mountinfo and /proc/self/cgroup. */
void cgroup_map_parse(struct cgroup_map *map, const char *mountinfo,
		      const char *self);
/* From those files. */
int cgroup_map_read(struct cgroup_map *map);

const char *cgroup_controller_name(enum cgroup_controller c);
/* The mask of the names in @list, which @sep separates. */
unsigned cgroup_controllers(const char *list, const char *sep);

const struct cgroup_ops *cgroup_ops_of(const struct cgroup_hierarchy *h);
/* The hierarchy's root as we see it. -ENODEV: something else is mounted. */
int cgroup_open_mount(const struct cgroup_map *map,
		      const struct cgroup_hierarchy *h);
/* Where a relative @parent may begin, best first; 0 after the last. */
int cgroup_candidate(const struct cgroup_hierarchy *h, const char *parent,
		     int as_root, unsigned i, char path[PATH_MAX]);
/*
 * A directory for those of @want that this hierarchy can have, made where it
 * is not there; *@got is the mask of those, *@code why not more.
 */
int cgroup_open_parent(const struct cgroup_map *map,
		       const struct cgroup_hierarchy *h, const char *parent,
		       int as_root, unsigned want, unsigned *got, int *code);
void cgroup_explain(struct jail_report *r, enum cgroup_controller c,
		    int version, int code);

/* Write the values of one controller. */
int cgroup_limit(const struct cgroup_ops *ops, int dir,
		 enum cgroup_controller c, const struct cgroup_limits *l);

int cgroup_open(int dir, const char *path);
int cgroup_write(int dir, const char *file, const char *text);
int cgroup_write_number(int dir, const char *file, uint64_t n);
/* NUL-terminated; what does not fit is cut. */
int cgroup_read(int dir, const char *file, char *buf, size_t size);
/* The file's only number, or the one after @key at the start of a line. */
uint64_t cgroup_number(int dir, const char *file);
uint64_t cgroup_field(int dir, const char *file, const char *key);
/* SIGKILL to each process in @dir; there may be more by then. */
void cgroup_kill_each(int dir);
/* Kill and remove, within ten seconds. */
int cgroup_remove(const struct cgroup_ops *ops, int parent, int dir,
		  const char *name);

/* Is this name one that cgroup_create() gives? */
int cgroup_is_name(const char *name);
/*
 * While directories are made in @parent (LOCK_SH), or looked at whether one is
 * nobody's (LOCK_EX): so that no sweep meets one before its maker has locked
 * it. Whoever can open @parent may hold this lock: it is waited for a moment,
 * and done without.
 */
void cgroup_hold(int parent, int how);
void cgroup_let_go(int parent);
/* Lock @dir, without waiting. 1: it is ours, and still @name of @parent. */
int cgroup_lock(int parent, int dir, const char *name);

#endif
