/* SPDX-License-Identifier: Apache-2.0 */
/* Which cgroup hierarchies this host has, and where we are in them. */
#include "jail/cgroup_impl.h"

#include <errno.h>
#include <string.h>

#include "runner/base/io.h"
#include "runner/base/mem.h"

#define TEXT_MAX (4u << 20) /* thousands of mounts are a container host's day */
#define FIELDS	 32

const char *cgroup_controller_name(enum cgroup_controller c)
{
	static const char *const name[CGROUP_CONTROLLERS] = {
		[CGROUP_MEMORY] = "memory",
		[CGROUP_CPU] = "cpu",
		[CGROUP_PIDS] = "pids",
	};

	return name[c];
}

unsigned cgroup_controllers(const char *list, const char *sep)
{
	unsigned mask = 0;

	while (*list) {
		size_t n = strcspn(list, sep);

		for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
			const char *name = cgroup_controller_name(c);

			if (strlen(name) == n && !memcmp(list, name, n))
				mask |= 1u << c;
		}
		list += n;
		list += strspn(list, sep);
	}
	return mask;
}

/* --- /proc/self/mountinfo: proc_pid_mountinfo(5) ----------------------- */

/* One of the fields that a blank separates; \040 and the like are undone. */
static int unescape(const char *from, char to[PATH_MAX])
{
	size_t n = 0;

	for (; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == '\\') {
			unsigned v = 0;

			for (int i = 1; i <= 3; i++) {
				if (from[i] < '0' || from[i] > '7')
					return -EINVAL;
				v = v * 8 + (unsigned)(from[i] - '0');
			}
			c = (unsigned char)v;
			from += 3;
		}
		if (n + 1 == PATH_MAX || !c)
			return -ENAMETOOLONG;
		to[n++] = (char)c;
	}
	to[n] = '\0';
	return 0;
}

/* Split @line where it has blanks; the number of fields. */
static size_t split(char *line, char *field[FIELDS])
{
	size_t n = 0;
	char *save;

	for (char *f = strtok_r(line, " ", &save); f && n < FIELDS;
	     f = strtok_r(NULL, " ", &save))
		field[n++] = f;
	return n;
}

static int has_option(const char *options, const char *name)
{
	size_t n = strlen(name);

	for (; *options; options += *options == ',') {
		size_t k = strcspn(options, ",");

		if (k == n && !memcmp(options, name, n))
			return 1;
		options += k;
	}
	return 0;
}

struct mount {
	struct cgroup_hierarchy h;
	char root[PATH_MAX]; /* of the mount, in its hierarchy */
};

/* 1 if @line is a mount of controllers that we want. */
static int parse_mount(char *line, struct mount *m)
{
	char *f[FIELDS];
	size_t n = split(line, f), dash = 6;

	*m = (struct mount){ 0 };
	while (dash < n && strcmp(f[dash], "-"))
		dash++;
	if (dash + 3 >= n)
		return 0;
	if (!strcmp(f[dash + 1], "cgroup2")) {
		m->h.version = 2;
		m->h.controllers = CGROUP_ALL;
	} else if (!strcmp(f[dash + 1], "cgroup")) {
		m->h.version = 1;
		m->h.controllers = cgroup_controllers(f[dash + 3], ",");
	}
	if (!m->h.controllers || unescape(f[3], m->root) < 0 ||
	    unescape(f[4], m->h.mount) < 0)
		return 0;
	m->h.whole = !strcmp(m->root, "/") && has_option(f[5], "rw");
	return 1;
}

/* --- /proc/self/cgroup: cgroups(7) ------------------------------------- */

/* Our own path in the hierarchy of @h, into @path. */
static int find_own(const char *self, const struct cgroup_hierarchy *h,
		    char path[PATH_MAX])
{
	while (*self) {
		size_t len = strcspn(self, "\n");
		const char *list = memchr(self, ':', len), *own = NULL;

		if (list)
			own = memchr(list + 1, ':',
				     len - (size_t)(list + 1 - self));
		if (own && own[1] == '/') {
			size_t n = len - (size_t)(own + 1 - self);
			char names[128] = "";
			size_t k = (size_t)(own - list - 1);

			memcpy(names, list + 1, MIN(k, sizeof(names) - 1));
			if (h->version == 2 ? !k :
					      cgroup_controllers(names, ",") &
						      h->controllers) {
				if (n >= PATH_MAX)
					return 0;
				memcpy(path, own + 1, n);
				path[n] = '\0';
				return 1;
			}
		}
		self += len + (self[len] == '\n');
	}
	return 0;
}

static int leaves(const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && !memcmp(path, "..", 2))
			return 1;
		path += n;
		path += strspn(path, "/");
	}
	return 0;
}

/* A mount may show a part of the hierarchy only, and not the one we are in. */
static void set_own(struct mount *m, const char *self)
{
	char path[PATH_MAX];
	size_t n = strlen(m->root);

	if (!find_own(self, &m->h, path) || leaves(path) || leaves(m->root))
		return;
	if (!strcmp(m->root, "/"))
		n = 0;
	if (strncmp(path, m->root, n) || (path[n] && path[n] != '/'))
		return;
	m->h.own_known = 1;
	strcpy(m->h.own, path + n + strspn(path + n, "/"));
}

/* --- both --------------------------------------------------------------- */

/* Of several mounts of one hierarchy the first that is whole, else the first
 * of all; but of those on one place the last, which covers the others. */
static void add(struct cgroup_map *map, const struct cgroup_hierarchy *h)
{
	for (unsigned i = 0; i < map->n; i++)
		if (map->h[i].version == h->version &&
		    (map->h[i].controllers & h->controllers)) {
			if ((!map->h[i].whole && h->whole) ||
			    !strcmp(map->h[i].mount, h->mount))
				map->h[i] = *h;
			return;
		}
	if (map->n < CGROUP_CONTROLLERS)
		map->h[map->n++] = *h;
}

static void scan(struct cgroup_map *map, const char *mountinfo,
		 const char *self, int version)
{
	while (*mountinfo) {
		size_t len = strcspn(mountinfo, "\n");
		_cleanup_free_ char *line = strndup(mountinfo, len);
		struct mount m;

		if (line && parse_mount(line, &m) && m.h.version == version) {
			set_own(&m, self);
			add(map, &m.h);
		}
		mountinfo += len + (mountinfo[len] == '\n');
	}
}

/*
 * A controller is in one hierarchy at a time. Where v1 has any of ours, the v2
 * that stands beside it (systemd's hybrid mode) has none that matters.
 */
void cgroup_map_parse(struct cgroup_map *map, const char *mountinfo,
		      const char *self)
{
	map->n = 0;
	scan(map, mountinfo, self, 1);
	if (!map->n)
		scan(map, mountinfo, self, 2);
}

int cgroup_map_read(struct cgroup_map *map)
{
	_cleanup_free_ char *mounts = NULL, *self = NULL;
	size_t n;
	int r = io_read_file("/proc/self/mountinfo", TEXT_MAX, &mounts, &n);

	*map = (struct cgroup_map){ 0 };
	if (r == 0)
		r = io_read_file("/proc/self/cgroup", TEXT_MAX, &self, &n);
	if (r == 0)
		cgroup_map_parse(map, mounts, self);
	return r;
}
