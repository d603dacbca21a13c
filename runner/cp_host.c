/* SPDX-License-Identifier: Apache-2.0 */
/* The child that reads or writes the host's files for a copy. */
#include "runner/cp_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/lock.h"
#include "rootfs/tree.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"

/* Where the child has what it needs; it has nothing else. */
enum { CHILD_STREAM = 3, CHILD_WORDS, CHILD_DIR, CHILD_FDS };

/* What the child is to do. */
struct task {
	const char *path;	 /* pack it */
	struct tree_place place; /* or unpack to it */
	struct cp_count *count;
};

static void say(void *opaque, const char *path, const char *what, int error)
{
	char line[PATH_MAX + 256];
	int n;

	(void)opaque;
	/* That the stream was cut is for the other side to explain. */
	if (error == EPIPE)
		return;
	n = snprintf(line, sizeof(line) - 1, "%s: %s%s%s", path, what,
		     error ? ": " : "", error ? strerror(error) : "");
	if (n < 0)
		return;
	n = MIN(n, (int)sizeof(line) - 2);
	/* A name may hold a newline; a line may not. */
	for (int i = 0; i < n; i++)
		if (line[i] == '\n')
			line[i] = '?';
	line[n] = '\n';
	if (write(CHILD_WORDS, line, (size_t)n + 1) < 0)
		return; /* nobody listens */
}

static void moved(void *opaque, uint64_t bytes)
{
	struct cp_count *c = opaque;

	atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
}

static void took(void *opaque, uint64_t bytes)
{
	struct cp_count *c = opaque;

	atomic_fetch_add_explicit(&c->taken, bytes, memory_order_relaxed);
}

/*
 * Nothing of the file system but below @dir, and there only what unpacking
 * takes. The unpacker follows no path outside anyway: this holds it to that
 * if a stream gets the better of it. Hosts without Landlock go without; being
 * short of something is no reason to.
 */
static int confine(int dir)
{
	struct landlock_ruleset_attr all = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	struct landlock_path_beneath_attr below = {
		.allowed_access =
			LANDLOCK_ACCESS_FS_READ_DIR |
			LANDLOCK_ACCESS_FS_WRITE_FILE |
			LANDLOCK_ACCESS_FS_REMOVE_FILE |
			LANDLOCK_ACCESS_FS_MAKE_REG |
			LANDLOCK_ACCESS_FS_MAKE_DIR |
			LANDLOCK_ACCESS_FS_MAKE_SYM,
		.parent_fd = dir,
	};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &all,
				 sizeof(all), 0);
	int r = 0;

	if (rules < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ||
				       errno == EPERM ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
		    &below, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		r = -errno;
	close(rules);
	return r;
}

static void lock_unpacker(int dir)
{
	int r = confine(dir);

	if (r == 0)
		r = lock_seccomp(LOCK_UNPACK);
	if (r >= 0)
		return;
	say(NULL, "unpack", "the process cannot lock itself in", -r);
	_exit(CP_FAILED);
}

/* Descriptors @fd[0..n) become CHILD_STREAM and on, and the only ones. */
static int keep(const int *fd, int n)
{
	int i, high[CHILD_FDS - CHILD_STREAM];

	for (i = 0; i < n; i++) {
		high[i] = fcntl(fd[i], F_DUPFD, CHILD_FDS);
		if (high[i] < 0)
			return -errno;
	}
	for (i = 0; i < n; i++)
		if (dup2(high[i], CHILD_STREAM + i) < 0)
			return -errno;
	for (i = 0; i < CHILD_STREAM; i++)
		close(i);
	return (int)syscall(SYS_close_range, CHILD_STREAM + n, ~0u, 0);
}

static _Noreturn void child(struct task *t, int stream, int words)
{
	const struct tree_ops ops = {
		.say = say,
		.moved = moved,
		.took = took,
		.opaque = t->count,
	};
	const int fd[] = { stream, words, t->place.dir };
	sigset_t all;
	int r;

	/* A signal to the whole foreground is ours to pass on: the end of
	 * the stream is what the child ends by. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (keep(fd, t->path ? 2 : 3) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(CP_FAILED);
	if (t->path) {
		r = tree_pack(CHILD_STREAM, t->path, &ops);
	} else {
		t->place.dir = CHILD_DIR;
		lock_unpacker(CHILD_DIR);
		r = tree_unpack(CHILD_STREAM, &t->place, 0, &ops);
	}
	_exit(r == 0	    ? CP_WHOLE
	      : r == 1	    ? CP_PARTLY
	      : r == -EPIPE ? CP_CUT
	      : r == -E2BIG ? CP_OVER
			    : CP_FAILED);
}

/* @write_end: the child's end of the stream is the one to write to. */
static int start(struct cp_host *h, struct task *t, int write_end,
		 struct err *err)
{
	int stream[2] = { -1, -1 }, words[2] = { -1, -1 };
	int r = 0;

	h->pid = -1;
	h->pidfd = h->stream = h->words = -1;
	h->count = mmap(NULL, sizeof(*h->count), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h->count == MAP_FAILED) {
		h->count = NULL;
		return err_set(err, -errno, "map a page");
	}
	if (pipe2(stream, O_CLOEXEC) == 0 && pipe2(words, O_CLOEXEC) == 0) {
		t->count = h->count;
		h->pid = fork();
		if (h->pid == 0)
			child(t, stream[write_end], words[1]);
	}
	if (h->pid < 0)
		r = err_set(err, -errno, "start a process");
	else
		h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	if (h->pid >= 0 && h->pidfd < 0)
		r = err_set(err, -errno, "pidfd_open");
	close_fd(&words[1]);
	close_fd(&stream[write_end]);
	h->stream = stream[!write_end];
	h->words = words[0];
	return r;
}

int cp_host_pack(struct cp_host *h, const char *path, struct err *err)
{
	struct task t = { .path = path, .place.dir = -1 };

	return start(h, &t, 1, err);
}

int cp_host_unpack(struct cp_host *h, const struct tree_place *place,
		   struct err *err)
{
	struct task t = { .place = *place };

	return start(h, &t, 0, err);
}

uint64_t cp_host_bytes(const struct cp_host *h)
{
	return atomic_load_explicit(&h->count->bytes, memory_order_relaxed);
}

uint64_t cp_host_taken(const struct cp_host *h)
{
	return atomic_load_explicit(&h->count->taken, memory_order_relaxed);
}

enum cp_end cp_host_wait(struct cp_host *h)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(h->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	h->pid = -1;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > CP_OVER)
		return CP_FAILED;
	return (enum cp_end)WEXITSTATUS(status);
}

void cp_host_kill(struct cp_host *h)
{
	if (h->pid > 0)
		kill(h->pid, SIGKILL);
}

void cp_host_free(struct cp_host *h)
{
	if (h->pid > 0) {
		cp_host_kill(h);
		cp_host_wait(h);
	}
	close_fd(&h->pidfd);
	close_fd(&h->stream);
	close_fd(&h->words);
	if (h->count)
		munmap(h->count, sizeof(*h->count));
	h->count = NULL;
}
