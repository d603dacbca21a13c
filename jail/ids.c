/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a jailed process is.
 *
 * Root's launcher gives each process the user of its own number in a range.
 * No two living processes have one number, so no two VMs have one user, and
 * nobody keeps a list. Without root there are the ranges of /etc/subuid, which
 * newuidmap(1) hands out; and where there is none for us, the caller's own
 * user, alone in its user namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/steps.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"
#include "runner/base/sysctl.h"

#define FILE_MAX_BYTES (1u << 20)
#define INSIDE 1 /* of the user namespace: whom newuidmap has mapped for us */

/* --- root's launcher -------------------------------------------------- */

/* Is @id one that this user namespace knows? user_namespaces(7) */
static int is_mapped(const char *map, uint32_t id)
{
	_cleanup_free_ char *text = NULL;
	uint32_t inside, outside, count;
	size_t n;

	if (io_read_file(map, FILE_MAX_BYTES, &text, &n) < 0)
		return 1;
	for (const char *p = text; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (sscanf(p, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside,
			   &outside, &count) == 3 &&
		    id >= inside && id - inside < count)
			return 1;
	}
	return 0;
}

static void choose_from_range(const struct jail_ids *ids, pid_t pid,
			      struct jail_word *w, struct jail_report *r)
{
	uint32_t id = ids->first + (uint32_t)pid % ids->count;
	long pids = sysctl_number("kernel/pid_max");
	char remedy[64];

	if (!is_mapped("/proc/self/uid_map", id) ||
	    !is_mapped("/proc/self/gid_map", id)) {
		jail_report_missing(r, JAIL_UID,
				    "name a range that it has by --uid-range",
				    "user %u is none in this user namespace",
				    id);
		return;
	}
	w->id = id;
	if (pids < 0 || ids->count >= (unsigned long)pids) {
		jail_report_on(r, JAIL_UID);
		return;
	}
	snprintf(remedy, sizeof(remedy), "name a range of %ld by --uid-range",
		 pids);
	jail_report_missing(r, JAIL_UID, remedy,
			    "two VMs may be one of %u users: there are %ld "
			    "process numbers", ids->count, pids);
}

/* --- without root: subuid(5) ------------------------------------------ */

#define NAME_MAX_BYTES 64

/* The name of user @uid in passwd(5), or ""; the static libc has no
 * getpwuid(). A user from elsewhere (LDAP) has none here. */
static void user_name(uid_t uid, char name[NAME_MAX_BYTES])
{
	_cleanup_free_ char *text = NULL;
	unsigned found;
	size_t n;

	name[0] = '\0';
	if (io_read_file("/etc/passwd", FILE_MAX_BYTES, &text, &n) < 0)
		return;
	for (const char *p = text; p && *p; p = strchr(p, '\n')) {
		const char *q;

		p += *p == '\n';
		n = strcspn(p, ":\n");
		q = p + n + (p[n] == ':');
		q += strcspn(q, ":\n"); /* the password, perhaps empty */
		if (n >= NAME_MAX_BYTES || sscanf(q, ":%u:", &found) != 1 ||
		    found != uid)
			continue;
		memcpy(name, p, n);
		name[n] = '\0';
		return;
	}
}

/* The first range of the user in @path. */
static int find_range(const char *path, uid_t uid, const char *name,
		      struct jail_ids *ids)
{
	_cleanup_free_ char *text = NULL;
	char who[NAME_MAX_BYTES], number[16];
	size_t n;

	if (io_read_file(path, FILE_MAX_BYTES, &text, &n) < 0)
		return -ENOENT;
	snprintf(number, sizeof(number), "%u", uid);
	for (const char *p = text; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (sscanf(p, "%63[^:\n]:%" SCNu32 ":%" SCNu32, who,
			   &ids->first, &ids->count) == 3 &&
		    ids->count && (!strcmp(who, name) || !strcmp(who, number)))
			return 0;
	}
	return -ENOENT;
}

/* newuidmap(1) and newgidmap(1): only they may map what is not ours. The
 * child is still us, so our own number is in the map as well. */
static int run_mapper(const char *program, pid_t pid, uint32_t self,
		      uint32_t other)
{
	char spid[16], sself[16], sother[16];
	char *argv[] = { (char *)program, spid, "0", sself, "1", "1", sother,
			 "1", NULL };
	char *env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	posix_spawn_file_actions_t quiet;
	pid_t mapper;
	int status, r;

	snprintf(spid, sizeof(spid), "%d", pid);
	snprintf(sself, sizeof(sself), "%u", self);
	snprintf(sother, sizeof(sother), "%u", other);
	/* Our streams are the command's; the report says that it refused. */
	if (posix_spawn_file_actions_init(&quiet))
		return -ENOMEM;
	r = 0;
	for (int fd = STDIN_FILENO; r == 0 && fd <= STDERR_FILENO; fd++)
		r = posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null",
						     O_RDWR, 0);
	if (r == 0)
		r = posix_spawn(&mapper, program, &quiet, NULL, argv, env);
	posix_spawn_file_actions_destroy(&quiet);
	if (r)
		return -r;
	while (waitpid(mapper, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* -ENOENT: there are no such programs. -ENODATA: no range is ours. */
static int map_subordinate(pid_t pid)
{
	struct jail_ids u, g;
	char name[NAME_MAX_BYTES];
	uid_t uid = geteuid();

	if (access("/usr/bin/newuidmap", X_OK) ||
	    access("/usr/bin/newgidmap", X_OK))
		return -ENOENT;
	user_name(uid, name);
	if (find_range("/etc/subuid", uid, name, &u) < 0 ||
	    find_range("/etc/subgid", uid, name, &g) < 0)
		return -ENODATA;
	if (run_mapper("/usr/bin/newgidmap", pid, getegid(),
		       g.first + (uint32_t)pid % g.count) < 0)
		return -EPERM;
	return run_mapper("/usr/bin/newuidmap", pid, uid,
			  u.first + (uint32_t)pid % u.count);
}

static void choose_subordinate(pid_t pid, struct jail_word *w,
			       struct jail_report *r)
{
	switch (map_subordinate(pid)) {
	case 0:
		w->mapped = 1;
		w->id = INSIDE;
		jail_report_on(r, JAIL_UID);
		break;
	case -ENOENT:
		jail_report_missing(r, JAIL_UID, "sudo apt-get install uidmap",
				    "without root it takes newuidmap and "
				    "newgidmap");
		break;
	case -ENODATA:
		jail_report_missing(r, JAIL_UID,
				    "sudo usermod --add-subuids 100000-165535 "
				    "--add-subgids 100000-165535 $USER",
				    "/etc/subuid and /etc/subgid have no range "
				    "for this user");
		break;
	default:
		jail_report_missing(r, JAIL_UID,
				    "they have to be setuid root: sudo apt-get "
				    "install --reinstall uidmap",
				    "newuidmap or newgidmap has refused");
		break;
	}
}

void ids_choose(const struct jail_params *p, pid_t pid, struct jail_word *w,
		struct jail_report *r)
{
	w->mapped = 0;
	w->id = UINT32_MAX;
	if (w->mode == JAIL_ROOTLESS)
		choose_subordinate(pid, w, r);
	else if (caps_have(CAP_SETUID) > 0 && caps_have(CAP_SETGID) > 0)
		choose_from_range(&p->ids, pid, w, r);
	else
		jail_report_missing(r, JAIL_UID,
				    "run mayfly as root, with CAP_SETUID and "
				    "CAP_SETGID",
				    "this process may not change its user");
}

/* --- in the child ----------------------------------------------------- */

static int put(const char *path, const char *text, struct err *err)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_set(err, -errno, "write %s", path);
	return 0;
}

/* Our number stays what it is: no program has a reason to be called 0. */
static int map_one(const char *path, unsigned id, struct err *err)
{
	char line[40];

	snprintf(line, sizeof(line), "%u %u 1", id, id);
	return put(path, line, err);
}

/* One of newuidmap and newgidmap may have done its work before the other
 * refused. A map is written once. */
static int is_empty(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c;

	return fd >= 0 && read(fd, &c, 1) == 0;
}

int ids_map_self(uint32_t uid, uint32_t gid, struct err *err)
{
	int r = 0;

	if (is_empty("/proc/self/gid_map")) {
		/* Who has no privilege over the groups may not drop one of
		 * them either: one may be there to refuse.
		 * user_namespaces(7) */
		r = put("/proc/self/setgroups", "deny", err);
		if (r == 0)
			r = map_one("/proc/self/gid_map", gid, err);
	}
	if (r == 0 && is_empty("/proc/self/uid_map"))
		r = map_one("/proc/self/uid_map", uid, err);
	return r;
}

int ids_become(const struct jail_word *w, struct err *err)
{
	if (w->id == UINT32_MAX)
		return 0;
	if (setgroups(0, NULL) < 0)
		return err_set(err, -errno, "setgroups");
	if (setresgid(w->id, w->id, w->id) < 0)
		return err_set(err, -errno, "change to group %u", w->id);
	if (setresuid(w->id, w->id, w->id) < 0)
		return err_set(err, -errno, "change to user %u", w->id);
	return 0;
}
