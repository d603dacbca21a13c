/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-unpack: started, listened to, and waited for. */
#include "runner/unpacker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/artifact.h"
#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/log.h"
#include "runner/base/mem.h"

#define FDS_MAX	  (UNPACK_FIRST + 128 + 1) /* the program is the last */
#define PIPE_SIZE (1 << 20)

/*
 * Descriptors @fd[0..n) become 0 to n-1, and the only ones; the last of them,
 * the program, is gone once it is executed.
 */
static int keep(const int *fd, size_t n)
{
	int high[FDS_MAX];

	for (size_t i = 0; i < n; i++) {
		high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, (int)n);
		if (high[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < n; i++)
		if (dup3(high[i], (int)i, i + 1 == n ? O_CLOEXEC : 0) < 0)
			return -errno;
	return syscall(SYS_close_range, (unsigned)n, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void child(const struct unpacker_task *t, const int *fd,
			    size_t n, pid_t parent)
{
	const char *argv[UNPACKER_ARGS_MAX + 2] = { "mayfly-unpack" };
	char *const envp[] = { NULL };
	sigset_t all;
	int words = fd[UNPACK_WORDS], r;

	/* A signal to the whole foreground is our parent's to act on. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	memcpy(argv + 1, t->args, sizeof(t->args));
	r = keep(fd, n);
	if (r == 0) {
		words = UNPACK_WORDS;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It may have died before that. */
		if (getppid() != parent)
			_exit(1);
		syscall(SYS_execveat, (int)n - 1, "", argv, envp,
			AT_EMPTY_PATH);
		r = -errno;
	}
	dprintf(words, "start mayfly-unpack: %s\n", strerror(-r));
	_exit(1);
}

void unpacker_init(struct unpacker *u)
{
	memset(u, 0, sizeof(*u));
	u->pid = u->pidfd = u->feed = u->out = u->words = -1;
}

/* @p: [0] is to be read from. Large where the host lets us. */
static int make_pipe(int p[2])
{
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	fcntl(p[1], F_SETPIPE_SZ, PIPE_SIZE);
	return 0;
}

int unpacker_start(struct unpacker *u, const struct unpacker_task *t,
		   struct err *err)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, words[2] = { -1, -1 };
	_cleanup_fd_ int program = -1;
	struct artifacts a;
	int fd[FDS_MAX];
	pid_t self = getpid();
	int r;

	unpacker_init(u);
	if (t->nfds > FDS_MAX - UNPACK_FIRST - 1)
		return err_set(err, -E2BIG, "unpack");
	r = artifacts_find(&a, err);
	if (r < 0)
		return r;
	program = artifact_open(&a, ARTIFACT_UNPACK, err);
	if (program < 0)
		return program;
	r = t->fed ? make_pipe(in)
		   : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0
		   ? -errno
		   : 0;
	if (r == 0)
		r = make_pipe(out);
	if (r == 0 && pipe2(words, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0) {
		fd[UNPACK_IN] = in[0];
		fd[UNPACK_RESULT] = out[1];
		fd[UNPACK_WORDS] = words[1];
		memcpy(fd + UNPACK_FIRST, t->fd, t->nfds * sizeof(*fd));
		fd[UNPACK_FIRST + t->nfds] = program;
		u->pid = fork();
		if (u->pid == 0)
			child(t, fd, UNPACK_FIRST + t->nfds + 1, self);
		if (u->pid > 0)
			u->pidfd = pidfd_open(u->pid, 0);
		r = u->pid < 0 || u->pidfd < 0 ? -errno : 0;
	}
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&words[1]);
	u->feed = in[1];
	u->out = out[0];
	u->words = words[0];
	if (r == 0 && u->feed >= 0)
		r = io_set_nonblock(u->feed, 1);
	return r < 0 ? err_set(err, r, "start mayfly-unpack") : 0;
}

/* What is there of @fd, at the end of what came before; the rest is thrown
 * away. 0 at its end. */
static int take(int *fd, void *buf, size_t size, size_t *used)
{
	char spill[256];
	size_t room = size - *used;
	ssize_t n = read(*fd, room ? (char *)buf + *used : spill,
			 room ? room : sizeof(spill));

	if (n > 0 && room)
		*used += (size_t)n;
	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return 1;
	close_fd(fd);
	return 0;
}

/* 1 while either may still say something. */
static int listen_once(struct unpacker *u, int timeout)
{
	struct pollfd p[] = { { u->words, POLLIN, 0 }, { u->out, POLLIN, 0 } };

	if (u->words < 0 && u->out < 0)
		return 0;
	if (poll(p, 2, timeout) <= 0)
		return timeout < 0;
	if (p[0].revents)
		take(&u->words, u->said, sizeof(u->said), &u->nsaid);
	if (p[1].revents)
		take(&u->out, u->result, sizeof(u->result), &u->nresult);
	return 1;
}

void unpacker_listen(struct unpacker *u)
{
	listen_once(u, 0);
}

/* Its first line, as may be shown. */
static void first_line(struct unpacker *u, char line[UNPACK_WORDS_MAX])
{
	size_t n = MIN(u->nsaid, (size_t)UNPACK_WORDS_MAX - 1);

	memcpy(line, u->said, n);
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	control_hide(line);
}

static int reap(struct unpacker *u, int *status)
{
	pid_t pid;

	do
		pid = waitpid(u->pid, status, 0);
	while (pid < 0 && errno == EINTR);
	u->pid = -1;
	return pid < 0 ? -errno : 0;
}

int unpacker_finish(struct unpacker *u, void *result, size_t len,
		    struct err *err)
{
	char line[UNPACK_WORDS_MAX];
	int status, r;

	close_fd(&u->feed);
	while (listen_once(u, -1))
		;
	r = reap(u, &status);
	if (r < 0)
		return err_set(err, r, "wait for mayfly-unpack");
	if (WIFSIGNALED(status))
		return err_say(err, -EIO,
			       "mayfly-unpack was killed by signal %d (%s)",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	first_line(u, line);
	if (WEXITSTATUS(status) && *line)
		return err_say(err, -EBADMSG, "%s", line);
	if (WEXITSTATUS(status) || u->nresult != len)
		return err_say(err, -EIO, "mayfly-unpack has failed without "
					  "saying why");
	if (*line)
		log_info("%s", line);
	if (len)
		memcpy(result, u->result, len);
	return 0;
}

void unpacker_free(struct unpacker *u)
{
	int status;

	close_fd(&u->feed);
	close_fd(&u->out);
	close_fd(&u->words);
	close_fd(&u->pidfd);
	if (u->pid > 0) {
		kill(u->pid, SIGKILL);
		reap(u, &status);
	}
}
