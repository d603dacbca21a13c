/* SPDX-License-Identifier: Apache-2.0 */
/* Away with cgroups whose launcher was killed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/*
 * By name, and in all hierarchies at once: of a run that is being made one
 * directory may be locked while another is not yet, and whoever holds one
 * lives. The lock is kept until the directory is gone, so that of two sweeps
 * one does the work.
 */

/* Our own, those above it, and the root, in each of three hierarchies. */
#define PLACES_MAX 64

struct place {
	int dir;
	const struct cgroup_ops *ops;
};

struct sweep {
	struct place place[PLACES_MAX];
	unsigned nplaces;
	char (*name)[CGROUP_NAME_MAX];
	size_t nnames;
	cgroup_removed_fn removed;
	void *opaque;
	struct err *err;
	int failed;
};

static void cleanup_sweep(struct sweep *s)
{
	while (s->nplaces)
		close_fd(&s->place[--s->nplaces].dir);
	free(s->name);
}

static void fail(struct sweep *s, int code, const char *name)
{
	if (!s->failed)
		s->failed = err_set(s->err, code, "cgroup %s", name);
}

/* --- where -------------------------------------------------------------- */

static void find_places(struct sweep *s, const struct cgroup_map *map,
			const struct cgroup_hierarchy *h, const char *parent)
{
	_cleanup_fd_ int mount = cgroup_open_mount(map, h);
	char path[PATH_MAX];

	for (unsigned i = 0; mount >= 0 && s->nplaces < PLACES_MAX &&
			     cgroup_candidate(h, parent, geteuid() == 0, i,
					      path);
	     i++) {
		_cleanup_fd_ int base = cgroup_open(mount, path);
		int dir = base < 0 ? base :
				     cgroup_open(base, parent + strspn(parent,
								       "/"));

		if (dir >= 0)
			s->place[s->nplaces++] = (struct place){
				.dir = dir, .ops = cgroup_ops_of(h)
			};
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int find_names(struct sweep *s, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		close_fd(&fd);
		return r;
	}
	while (r == 0 && (e = readdir(d))) {
		void *more;

		if (!cgroup_is_name(e->d_name))
			continue;
		more = reallocarray(s->name, s->nnames + 1, sizeof(*s->name));
		if (more) {
			s->name = more;
			strcpy(s->name[s->nnames++], e->d_name);
		} else {
			r = -ENOMEM;
		}
	}
	closedir(d);
	return r;
}

/* --- one name ------------------------------------------------------------ */

/* Lock what has this name in every place; 0 where somebody else has. */
static int lock_all(struct sweep *s, const char *name, int fd[PLACES_MAX])
{
	int ours = 1;

	for (unsigned i = 0; i < s->nplaces; i++)
		cgroup_hold(s->place[i].dir, LOCK_EX);
	for (unsigned i = 0; i < s->nplaces; i++) {
		fd[i] = ours ? cgroup_open(s->place[i].dir, name) : -1;
		if (fd[i] >= 0)
			ours = cgroup_lock(s->place[i].dir, fd[i], name) > 0;
	}
	for (unsigned i = 0; i < s->nplaces; i++)
		cgroup_let_go(s->place[i].dir);
	return ours;
}

static void sweep_name(struct sweep *s, const char *name)
{
	int fd[PLACES_MAX], ours = lock_all(s, name, fd), gone = 0;

	for (unsigned i = 0; i < s->nplaces; i++) {
		int r;

		if (fd[i] < 0)
			continue;
		r = ours ? cgroup_remove(s->place[i].ops, s->place[i].dir,
					 fd[i], name) :
			   1;
		if (r < 0)
			fail(s, r, name);
		gone |= r == 0;
		close(fd[i]);
	}
	if (gone && s->removed)
		s->removed(name, s->opaque);
}

int cgroup_sweep(const char *parent, cgroup_removed_fn removed, void *opaque,
		 struct err *err)
{
	_cleanup_(cleanup_sweep) struct sweep s = {
		.removed = removed,
		.opaque = opaque,
		.err = err,
	};
	struct cgroup_map map;
	int r;

	parent = parent ? parent : CGROUP_PARENT;
	r = cgroup_check_parent(parent, err);
	if (r < 0)
		return r;
	/* Who cannot look has made none. */
	if (cgroup_map_read(&map) < 0)
		return 0;
	for (unsigned i = 0; i < map.n; i++)
		find_places(&s, &map, &map.h[i], parent);
	for (unsigned i = 0; i < s.nplaces; i++) {
		r = find_names(&s, s.place[i].dir);
		if (r < 0)
			fail(&s, r, parent);
	}
	if (s.nnames)
		qsort(s.name, s.nnames, sizeof(*s.name), by_name);
	for (size_t i = 0; i < s.nnames; i++)
		if (!i || strcmp(s.name[i - 1], s.name[i]))
			sweep_name(&s, s.name[i]);
	return s.failed;
}
