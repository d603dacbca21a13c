/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of a cgroup's directory, and the processes in it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "jail/cgroup_impl.h"
#include "runner/base/mem.h"

#define TEXT_MAX 4096
#define PROCS_MAX 512 /* of one look at cgroup.procs */

/* Removing: the kernel takes its last reference to a process a moment after
 * that was reaped, KVM's own threads leave later still, and who was killed may
 * have no CPU to end on for seconds. */
#define STEP_NS 1000000
#define STEPS	10000
/* A sweep can wait for a maker that is held up; a run shall not wait for long
 * for somebody who may be anybody. */
#define HOLD_STEPS_SWEEP 10000
#define HOLD_STEPS_RUN	 1000

int cgroup_open(int dir, const char *path)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how,
			  sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int cgroup_write(int dir, const char *file, const char *text)
{
	_cleanup_fd_ int fd = openat(dir, file,
				     O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	/* One write: the kernel takes a value whole or not at all. */
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int cgroup_write_number(int dir, const char *file, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return cgroup_write(dir, file, text);
}

int cgroup_read(int dir, const char *file, char *buf, size_t size)
{
	_cleanup_fd_ int fd = openat(dir, file,
				     O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n;

	if (!isdigit((unsigned char)*text))
		return CGROUP_UNKNOWN;
	errno = 0;
	n = strtoull(text, &end, 10);
	return errno || (*end && !isspace((unsigned char)*end)) ?
		       CGROUP_UNKNOWN :
		       n;
}

uint64_t cgroup_number(int dir, const char *file)
{
	char text[64];

	return cgroup_read(dir, file, text, sizeof(text)) < 0 ? CGROUP_UNKNOWN :
								number(text);
}

uint64_t cgroup_field(int dir, const char *file, const char *key)
{
	char text[TEXT_MAX];
	size_t n = strlen(key);

	if (cgroup_read(dir, file, text, sizeof(text)) < 0)
		return CGROUP_UNKNOWN;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");

		if (len > n && !memcmp(p, key, n) && p[n] == ' ')
			return number(p + n + 1);
		p += len + (p[len] == '\n');
	}
	return CGROUP_UNKNOWN;
}

/* --- the processes ------------------------------------------------------ */

/* Their numbers, as many as fit. */
static int list(int dir, pid_t pid[PROCS_MAX])
{
	_cleanup_fd_ int fd = openat(dir, "cgroup.procs",
				     O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	int n = 0, v;

	if (!f)
		return -errno;
	fd = -1;
	while (n < PROCS_MAX && fscanf(f, "%d", &v) == 1)
		pid[n++] = v;
	fclose(f);
	return n;
}

static int has(const pid_t *pid, int n, pid_t one)
{
	for (int i = 0; i < n; i++)
		if (pid[i] == one)
			return 1;
	return 0;
}

/*
 * A number may have passed on to a stranger by the time that we signal it. A
 * descriptor holds on to one process; if the number still stands in the list
 * after the descriptor was made, then that process is in this cgroup, or has
 * ended and is not signalled. 0 is a process that our pid namespace cannot
 * name: nothing is ever sent to that.
 */
void cgroup_kill_each(int dir)
{
	pid_t before[PROCS_MAX], now[PROCS_MAX];
	int n = list(dir, before);

	for (int i = 0; i < n; i++) {
		_cleanup_fd_ int pidfd = -1;
		int k;

		if (before[i] <= 0 || before[i] == getpid())
			continue;
		pidfd = pidfd_open(before[i], 0);
		k = list(dir, now);
		if (pidfd >= 0 && k > 0 && has(now, k, before[i]))
			pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	}
}

int cgroup_remove(const struct cgroup_ops *ops, int parent, int dir,
		  const char *name)
{
	const struct timespec step = { 0, STEP_NS };

	for (int i = 0;; i++) {
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 ||
		    errno == ENOENT)
			return 0;
		if (errno != EBUSY || i == STEPS)
			return -errno;
		ops->kill(dir);
		nanosleep(&step, NULL);
	}
}

/* --- names and locks ----------------------------------------------------- */

/* The id, and where that was taken, a dash and a digit. */
int cgroup_is_name(const char *name)
{
	const char *rest = name + CGROUP_ID;

	if (strspn(name, "0123456789abcdef") != CGROUP_ID)
		return 0;
	return !*rest || (rest[0] == '-' && rest[1] >= '2' && rest[1] <= '9' &&
			  !rest[2]);
}

void cgroup_hold(int parent, int how)
{
	const struct timespec step = { 0, STEP_NS };
	int steps = how == LOCK_EX ? HOLD_STEPS_SWEEP : HOLD_STEPS_RUN;

	for (int i = 0; i < steps; i++) {
		if (flock(parent, how | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			return;
		nanosleep(&step, NULL);
	}
}

void cgroup_let_go(int parent)
{
	flock(parent, LOCK_UN);
}

int cgroup_lock(int parent, int dir, const char *name)
{
	struct stat a, b;

	if (flock(dir, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : -errno;
	/* Whoever had the lock before may have removed the directory. */
	return fstat(dir, &a) == 0 &&
	       fstatat(parent, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
