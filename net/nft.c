/* SPDX-License-Identifier: Apache-2.0 */
/* nft -f -, as a child. */
#include "net/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/base/control.h"
#include "runner/base/err.h"
#include "runner/base/io.h"
#include "runner/base/mem.h"

#define WORDS_MAX 512
#define CANNOT_START 127

/* Where distributions have it; no PATH, which may be anybody's. */
static const char *const places[] = {
	"/usr/sbin/nft",
	"/sbin/nft",
	"/usr/bin/nft",
	"/usr/local/sbin/nft",
	"/run/current-system/sw/bin/nft",
};

const char *nft_find(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	err_say(err, -ENOENT, "the program nft is not here");
	err_hint(err, "sudo apt-get install nftables");
	return NULL;
}

void nft_init(struct nft *n)
{
	n->pid = n->pidfd = n->words = -1;
}

/*
 * It runs in its parent's memory (vfork(2)), which waits: only system calls.
 * That is not for the copy's sake alone: the child starts here and now, and is
 * what everybody waits for in the end.
 */
static _Noreturn void child(const char *path, int script, int words,
			    pid_t parent)
{
	char *const argv[] = { "nft", "-f", "-", NULL };
	char *const envp[] = { NULL };
	const int from[] = { script, open("/dev/null", O_RDWR | O_CLOEXEC),
			     words };
	int high[ARRAY_SIZE(from)];

	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		if (dup2(high[i], (int)i) < 0)
			_exit(CANNOT_START);
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(CANNOT_START);
	execve(path, argv, envp);
	_exit(CANNOT_START);
}

/* A file: no pipe has to be fed, however long it is. */
static int make_script(const char *script, size_t len)
{
	int fd = memfd_create("nft", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, script, len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int nft_start(struct nft *n, const char *script, size_t len, struct err *err)
{
	const char *path = nft_find(err);
	_cleanup_fd_ int in = -1;
	pid_t self = getpid();
	sigset_t all, now;
	int words[2];

	if (!path)
		return -ENOENT;
	in = make_script(script, len);
	if (in < 0)
		return err_set(err, in, "start nft");
	if (pipe2(words, O_CLOEXEC) < 0)
		return err_set(err, -errno, "start nft");
	/* No handler is to run in the child; and a signal to the whole
	 * foreground is ours to act on, not its. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &now);
	n->pid = vfork();
	if (n->pid == 0)
		child(path, in, words[1], self);
	sigprocmask(SIG_SETMASK, &now, NULL);
	close(words[1]);
	n->words = words[0];
	if (n->pid < 0)
		return err_say(err, -EAGAIN, "start nft: no process");
	n->pidfd = pidfd_open(n->pid, 0);
	return n->pidfd < 0 ? err_set(err, -errno, "start nft") : 0;
}

/*
 * Its first line without the place in the script, which is not the user's:
 * "/dev/stdin:3:1-9: Error: No such file" are "No such file".
 */
static const char *first_line(char *words)
{
	static const char mark[] = "Error: ";
	char *at;

	words[strcspn(words, "\n")] = '\0';
	control_hide(words);
	at = strstr(words, mark);
	return at ? at + strlen(mark) : words;
}

static int reap(struct nft *n, int *status)
{
	pid_t pid;

	do
		pid = waitpid(n->pid, status, 0);
	while (pid < 0 && errno == EINTR);
	n->pid = -1;
	return pid < 0 ? -errno : 0;
}

/* Its words until it has closed them; 0, -ETIMEDOUT. */
static int listen_to(struct nft *n, char *words, size_t size, int timeout_ms)
{
	const uint64_t end = io_now_ns() + (uint64_t)timeout_ms * 1000000;
	size_t used = 0;

	for (;;) {
		struct pollfd p = { .fd = n->words, .events = POLLIN };
		uint64_t now = io_now_ns();
		char spill[256];
		size_t room = size - 1 - used;
		ssize_t got;

		if (now >= end)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		got = read(n->words, room ? words + used : spill,
			   room ? room : sizeof(spill));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += room ? (size_t)got : 0;
	}
	words[used] = '\0';
	return 0;
}

int nft_finish(struct nft *n, int timeout_ms, struct err *err)
{
	char words[WORDS_MAX];
	const char *line;
	int status, r;

	r = listen_to(n, words, sizeof(words), timeout_ms);
	if (r < 0) {
		nft_free(n);
		return err_say(err, r, "nft has not ended within %d s",
			       timeout_ms / 1000);
	}
	r = reap(n, &status);
	if (r < 0)
		return err_set(err, r, "wait for nft");
	if (WIFSIGNALED(status))
		return err_say(err, -EIO, "nft was killed by signal %d (%s)",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == 0)
		return 0;
	line = first_line(words);
	return err_say(err, -EIO, "nft: %s",
		       *line ? line : "it has failed without saying why");
}

void nft_free(struct nft *n)
{
	int status;

	close_fd(&n->words);
	close_fd(&n->pidfd);
	if (n->pid > 0) {
		kill(n->pid, SIGKILL);
		reap(n, &status);
	}
}

int nft_run(const char *script, size_t len, struct err *err)
{
	struct nft n;
	int r;

	nft_init(&n);
	r = nft_start(&n, script, len, err);
	if (r == 0)
		r = nft_finish(&n, NFT_TIMEOUT_MS, err);
	nft_free(&n);
	return r;
}
