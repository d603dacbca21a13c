/* SPDX-License-Identifier: Apache-2.0 */
/* The parent of our directories in a hierarchy: where it can be. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "jail/cgroup_impl.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

const struct cgroup_ops *cgroup_ops_of(const struct cgroup_hierarchy *h)
{
	return h->version == 2 ? &cgroup_v2_ops : &cgroup_v1_ops;
}

int cgroup_check_parent(const char *parent, struct err *err)
{
	const char *p = parent;
	int empty = 1;

	while (*p) {
		size_t n = strcspn(p, "/");

		if (n > NAME_MAX || (n == 1 && *p == '.') ||
		    (n == 2 && !memcmp(p, "..", 2)))
			return err_say(err, -EINVAL,
				       "cgroup parent: %s: no name in it may "
				       "be . or .., or longer than %d bytes",
				       parent, NAME_MAX);
		empty &= !n;
		p += n;
		p += strspn(p, "/");
	}
	if (empty || strlen(parent) >= PATH_MAX)
		return err_say(err, -EINVAL,
			       "cgroup parent: %s: not the path of a cgroup",
			       *parent ? parent : "(empty)");
	return 0;
}

int cgroup_open_mount(const struct cgroup_map *map,
		      const struct cgroup_hierarchy *h)
{
	_cleanup_fd_ int fd = open(h->mount, O_RDONLY | O_DIRECTORY |
						     O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return -errno;
	/* Something may have been mounted over it, or over what leads there. */
	if (!map->fake &&
	    (fstatfs(fd, &fs) < 0 ||
	     fs.f_type != (h->version == 2 ? CGROUP2_SUPER_MAGIC :
					     CGROUP_SUPER_MAGIC)))
		return -ENODEV;
	return steal_fd(&fd);
}

/* Cut the last name off; 0 when there was none. */
static int cut(char *path)
{
	char *slash = strrchr(path, '/');

	if (!*path)
		return 0;
	*(slash ? slash : path) = '\0';
	return 1;
}

int cgroup_candidate(const struct cgroup_hierarchy *h, const char *parent,
		     int as_root, unsigned i, char path[PATH_MAX])
{
	path[0] = '\0';
	if (*parent == '/' || !h->own_known)
		return i == 0;
	if (as_root && i-- == 0)
		return 1;
	/* Our own, then those above; the root was root's first. */
	strcpy(path, h->own);
	while (i--)
		if (!cut(path))
			return 0;
	return *path || !as_root;
}

/* The directory @name of @dir, made where it is not there. */
static int make(int dir, const char *name)
{
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	return cgroup_open(dir, name);
}

/* Down from @base by the names of @parent; controllers are handed on at each
 * step. */
static int descend(int base, const struct cgroup_ops *ops, const char *parent,
		   unsigned want, unsigned *got, int *code)
{
	_cleanup_fd_ int dir = fcntl(base, F_DUPFD_CLOEXEC, 0);

	if (dir < 0)
		return -errno;
	*got = ops->enable(dir, want, code);
	for (const char *p = parent + strspn(parent, "/"); *p;
	     p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");
		char name[NAME_MAX + 1];
		int next;

		if (!*got)
			return *code;
		memcpy(name, p, n);
		name[n] = '\0';
		next = make(dir, name);
		if (next < 0)
			return next;
		close(dir);
		dir = next;
		*got = ops->enable(dir, *got, code);
		p += n;
	}
	return *got ? steal_fd(&dir) : *code;
}

static int try(int mount, const struct cgroup_hierarchy *h, const char *path,
	       const char *parent, unsigned want, unsigned *got, int *code)
{
	const struct cgroup_ops *ops = cgroup_ops_of(h);
	_cleanup_fd_ int base = cgroup_open(mount, path);
	int r = base < 0 ? base : ops->may_move(base);

	*got = 0;
	*code = 0;
	if (r == 0)
		r = descend(base, ops, parent, want, got, code);
	if (r < 0) {
		*got = 0;
		*code = r;
	}
	return r;
}

int cgroup_open_parent(const struct cgroup_map *map,
		       const struct cgroup_hierarchy *h, const char *parent,
		       int as_root, unsigned want, unsigned *got, int *code)
{
	_cleanup_fd_ int mount = cgroup_open_mount(map, h), best = -1;
	char path[PATH_MAX];
	int first = 0;

	*got = 0;
	if (mount < 0)
		return *code = mount;
	for (unsigned i = 0; cgroup_candidate(h, parent, as_root, i, path);
	     i++) {
		unsigned n;
		int why, fd = try(mount, h, path, parent, want, &n, &why);

		/* That processes are in our own cgroup is no news. */
		if (why && (!first || first == -EBUSY))
			first = why;
		if (fd < 0)
			continue;
		if (__builtin_popcount(n) <= __builtin_popcount(*got)) {
			close(fd);
			continue;
		}
		close_fd(&best);
		best = fd;
		*got = n;
		*code = why;
		if (n == want)
			break;
	}
	if (best < 0)
		return *code = first;
	return steal_fd(&best);
}

/* --- why not, in words --------------------------------------------------- */

void cgroup_explain(struct jail_report *r, enum cgroup_controller c,
		    int version, int code)
{
	const char *name = cgroup_controller_name(c);
	enum jail_layer l = (enum jail_layer)(JAIL_MEMORY + (int)c);

	switch (code) {
	case -ENOENT:
	case -ENODEV:
		jail_report_missing(r, l, "sudo mount -t cgroup2 none "
					  "/sys/fs/cgroup",
				    "no cgroup file system with the "
				    "controller %s is mounted", name);
		break;
	case -ENXIO:
		jail_report_missing(r, l,
				    "have it handed down: sudo systemctl edit "
				    "user@.service, [Service] Delegate=yes",
				    "the cgroup above has no controller %s",
				    name);
		break;
	case -EROFS:
		jail_report_missing(r, l, "have the container's "
					  "/sys/fs/cgroup mounted read-write",
				    "the cgroup file system is read-only");
		break;
	case -EBUSY:
		jail_report_missing(r, l,
				    "move all processes of this container to "
				    "a cgroup below its root",
				    "the cgroup above has processes in it");
		break;
	case -EACCES:
	case -EPERM:
		jail_report_missing(
			r, l,
			version == 2 ? "systemd-run --user --scope -p "
				       "Delegate=yes mayfly run ..." :
				       "run mayfly as root",
			"no cgroup above is ours to divide");
		break;
	case -ENOSYS:
		jail_report_missing(r, l, "use Linux 5.6 or newer, and no "
					  "filter that refuses openat2()",
				    "there is no openat2()");
		break;
	default:
		jail_report_missing(r, l, "mayfly --verbose may say more",
				    "%s cgroup: %s", name, strerror(-code));
		break;
	}
}
