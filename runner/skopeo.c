/* SPDX-License-Identifier: Apache-2.0 */
/* skopeo, run once, and what its complaints mean. */
#include "runner/skopeo.h"

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

#include "rootfs/reference.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/interrupt.h"

#define TEXT_MAX     8192 /* of its complaints; the last ones count */
#define CAUSE_MAX    320
#define NOT_THERE    127
#define NOT_EXECUTED 126
#define CHECK_MS     200

struct skopeo {
	pid_t pid;
	int pidfd, words;
	char text[TEXT_MAX + 1];
	size_t len;
};

/* --- what it says -------------------------------------------------------- */

/* The message of a line "time=... level=fatal msg="..."", or the line. */
static void message(const char *line, size_t len, char out[CAUSE_MAX])
{
	const char *p = memmem(line, len, "msg=\"", 5), *end = line + len;
	size_t n = 0;
	int quoted = p != NULL;

	for (p = quoted ? p + 5 : line; p < end && n + 1 < CAUSE_MAX; p++) {
		unsigned char c = (unsigned char)*p;

		if (quoted && c == '"')
			break;
		if (quoted && c == '\\' && p + 1 < end)
			c = (unsigned char)*++p;
		out[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	out[n] = '\0';
}

/* Of its last line that is not empty, or of the last that is fatal. */
static void last_message(const char *text, char out[CAUSE_MAX])
{
	int fatal = 0;

	*out = '\0';
	while (*text) {
		size_t len = strcspn(text, "\n");
		int is_fatal = memmem(text, len, "level=fatal", 11) != NULL;

		if (len && is_fatal >= fatal)
			message(text, len, out);
		fatal |= is_fatal;
		text += len + (text[len] == '\n');
	}
}

static int has(const char *cause, const char *const *words)
{
	for (; *words; words++)
		if (strcasestr(cause, *words))
			return 1;
	return 0;
}

/* "cannot reach HOST: connection refused": what follows the last colon. */
static const char *last_part(const char *cause)
{
	const char *p = cause, *colon;

	while ((colon = strstr(p, ": ")))
		p = colon + 2;
	return p;
}

int skopeo_explain(const struct skopeo_copy *c, const char *text,
		   struct err *err)
{
	static const char *const login[] = { "unauthorized", "denied",
		"authentication required", "invalid username/password",
		"forbidden", NULL };
	static const char *const missing[] = { "manifest unknown",
		"name unknown", "repository name not known",
		"status code 404", "404 (not found)", NULL };
	static const char *const tls[] = { "HTTP response to HTTPS client",
		"x509:", "tls:", "certificate", NULL };
	static const char *const network[] = { "dial tcp", "no such host",
		"connection refused", "connection reset", "timeout",
		"network is unreachable", "unexpected EOF", NULL };
	static const char *const machine[] = { "no image found", NULL };
	static const char *const full[] = { "no space left on device",
		"disk quota exceeded", NULL };
	const struct reference *ref = c->from;
	char name[REFERENCE_MAX], cause[CAUSE_MAX];

	reference_short(ref, name);
	last_message(text, cause);
	if (has(cause, machine)) {
		err_say(err, -ENOENT, "%s: there is none for linux/amd64",
			name);
	} else if (has(cause, missing)) {
		err_say(err, -ENOENT, "%s: %s has no such image", name,
			ref->host);
		err_hint(err, "skopeo list-tags %sdocker://%s/%s",
			 c->insecure ? "--tls-verify=false " : "", ref->host,
			 ref->path);
	} else if (has(cause, login)) {
		err_say(err, -EACCES, "%s: %s refuses access: %s", name,
			ref->host, last_part(cause));
		err_hint(err, "if it is there and wants a password: skopeo "
			      "login %s%s",
			 c->insecure ? "--tls-verify=false " : "", ref->host);
	} else if (has(cause, tls)) {
		err_say(err, -EPROTO, "%s: no TLS with %s: %s", name, ref->host,
			last_part(cause));
		if (!c->insecure)
			err_hint(err, "--insecure, if you trust it and the "
				      "network all the same");
	} else if (has(cause, full)) {
		err_say(err, -ENOSPC, "%s: fetch: %s", name, last_part(cause));
		err_hint(err, "make room (mayfly image prune), or name another "
			      "place: MAYFLY_DATA_DIR=/path");
	} else if (has(cause, network)) {
		err_say(err, -EHOSTUNREACH, "%s: cannot reach %s: %s", name,
			ref->host, last_part(cause));
		err_hint(err, "is the network up? A proxy is named by "
			      "HTTPS_PROXY");
	} else {
		err_say(err, -EIO, "%s: skopeo: %s", name,
			*cause ? cause : "it failed without saying why");
	}
	return err ? err->code : -EIO;
}

/* --- the process --------------------------------------------------------- */

static _Noreturn void child(const struct skopeo_copy *c, char *const argv[],
			    const struct interrupt *stop, int words,
			    pid_t parent)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &stop->was, NULL);
	dup2(null, STDIN_FILENO);
	dup2(c->loud ? STDERR_FILENO : null, STDOUT_FILENO);
	dup2(words, STDERR_FILENO);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? NOT_THERE : NOT_EXECUTED);
}

static int start(struct skopeo *s, const struct skopeo_copy *c,
		 char *const argv[], const struct interrupt *stop,
		 struct err *err)
{
	pid_t self = getpid();
	int words[2];

	if (pipe2(words, O_CLOEXEC) < 0)
		return err_set(err, -errno, "start skopeo");
	s->words = words[0];
	s->pid = fork();
	if (s->pid == 0)
		child(c, argv, stop, words[1], self);
	close(words[1]);
	if (s->pid > 0)
		s->pidfd = pidfd_open(s->pid, 0);
	return s->pid < 0 || s->pidfd < 0
		       ? err_set(err, -errno, "start skopeo")
		       : 0;
}

/* Keep the end of what it says. */
static void listen(struct skopeo *s)
{
	ssize_t n;

	if (s->len == TEXT_MAX) {
		memmove(s->text, s->text + TEXT_MAX / 2, TEXT_MAX / 2);
		s->len = TEXT_MAX / 2;
	}
	n = read(s->words, s->text + s->len, TEXT_MAX - s->len);
	if (n > 0)
		s->len += (size_t)n;
	else if (n == 0 || errno != EINTR)
		close_fd(&s->words);
	s->text[s->len] = '\0';
}

/* Until it has ended, and all that it said is read. */
static int attend(struct skopeo *s, const struct skopeo_copy *c,
		  struct interrupt *stop, struct err *err)
{
	for (;;) {
		struct pollfd p[] = { { s->words, POLLIN, 0 },
				      { s->pidfd, POLLIN, 0 },
				      { stop->fd, POLLIN, 0 } };
		int r;

		if (poll(p, ARRAY_SIZE(p), CHECK_MS) < 0 && errno != EINTR)
			return err_set(err, -errno, "wait for skopeo");
		if (interrupt_came(stop))
			return -EINTR;
		r = c->check(c->opaque, err);
		if (r < 0)
			return r;
		if (p[0].revents)
			listen(s);
		else if (p[1].revents)
			return 0;
	}
}

/* The wait status, after killing what has not ended if @now. */
static int reap(struct skopeo *s, int now)
{
	int status = 0;

	if (s->pid <= 0)
		return 0;
	if (now)
		kill(s->pid, SIGKILL);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = -1;
	return status;
}

static int judge(const struct skopeo *s, int status,
		 const struct skopeo_copy *c, struct err *err)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return err_say(err, -EIO, "skopeo was killed by signal %d (%s)",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == NOT_THERE) {
		err_say(err, -ENOENT, "pull: skopeo is not installed, which "
				      "fetches images");
		err_hint(err, "apt install skopeo");
		return -ENOENT;
	}
	if (WEXITSTATUS(status) == NOT_EXECUTED)
		return err_say(err, -EACCES, "pull: skopeo cannot be executed");
	return skopeo_explain(c, s->text, err);
}

int skopeo_copy(const struct skopeo_copy *c, struct interrupt *stop,
		struct err *err)
{
	_cleanup_free_ struct skopeo *s = calloc(1, sizeof(*s));
	char from[REFERENCE_MAX];
	const char *argv[] = { "skopeo", "copy", "--override-os", "linux",
			       "--override-arch", "amd64",
			       "--dest-oci-accept-uncompressed-layers",
			       "--remove-signatures",
			       c->insecure ? "--src-tls-verify=false"
					   : "--src-tls-verify=true",
			       from, c->to, NULL };
	int r, status;

	if (!s)
		return err_set(err, -ENOMEM, "skopeo");
	s->pidfd = s->words = -1;
	reference_skopeo(c->from, from);
	r = start(s, c, (char *const *)argv, stop, err);
	if (r == 0)
		r = attend(s, c, stop, err);
	status = reap(s, r < 0);
	if (r == 0)
		r = judge(s, status, c, err);
	close_fd(&s->words);
	close_fd(&s->pidfd);
	return r;
}
