/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pty: type at a program as a person would.
 *
 *	pty SCRIPT PROGRAM [ARG...]
 *
 * runs the program on a pseudo-terminal of its own (24 by 80) and follows the
 * script, a command a line:
 *
 *	expect TEXT	wait until TEXT is shown, after what was found before
 *	send TEXT	type it
 *	size ROWS COLS	resize the terminal
 *	raw, cooked	wait until the terminal is so
 *	restored	the terminal's settings are those of the beginning
 *	signal N	send signal N to the program, and wait until it was heard
 *	stopped		wait until the program is stopped
 *	run COMMAND	by sh, with the program's number in $PTY
 *	exit CODE	wait for its end; 128+N for signal N
 *
 * TEXT has \r, \n, \e, \\ and \xHH. Blank lines and # comments are skipped.
 * Exits 0 if all came true, else 1, with the line and what was shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 60000
#define SHOWN_MAX (1u << 20)

struct pty {
	int master, slave; /* the slave stays open: settings outlive its user */
	pid_t pid;
	int over, status;
	struct termios before;
	char shown[SHOWN_MAX + 1];
	size_t len, found; /* bytes shown; where to look from */
	const char *script;
	unsigned line;
};

static _Noreturn void fail(const struct pty *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static _Noreturn void fail(const struct pty *p, const char *fmt, ...)
{
	va_list ap;

	printf("%s:%u: ", p->script, p->line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n--- shown:\n");
	fwrite(p->shown, 1, p->len, stdout);
	printf("\n---\n");
	fflush(stdout);
	if (!p->over)
		kill(p->pid, SIGKILL);
	exit(1);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Take what is shown, for at most 20 ms. */
static void look(struct pty *p)
{
	struct pollfd pfd = { .fd = p->master, .events = POLLIN };
	ssize_t n;

	if (poll(&pfd, 1, 20) <= 0 || p->len == SHOWN_MAX)
		return;
	n = read(p->master, p->shown + p->len, SHOWN_MAX - p->len);
	if (n > 0)
		p->len += (size_t)n;
}

static void reap(struct pty *p)
{
	int status;

	if (p->over || waitpid(p->pid, &status, WNOHANG) != p->pid)
		return;
	p->over = 1;
	p->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
					: WEXITSTATUS(status);
}

static void unescape(struct pty *p, char *s, size_t *len)
{
	char *to = s;

	for (const char *q = s; *q; q++) {
		char hex[3] = { 0 };

		if (*q != '\\') {
			*to++ = *q;
			continue;
		}
		switch (*++q) {
		case 'r': *to++ = '\r'; break;
		case 'n': *to++ = '\n'; break;
		case 'e': *to++ = '\033'; break;
		case '\\': *to++ = '\\'; break;
		case 'x':
			memcpy(hex, q + 1, strnlen(q + 1, 2));
			*to++ = (char)strtol(hex, NULL, 16);
			q += strlen(hex);
			break;
		default: fail(p, "what is \\%c?", *q);
		}
	}
	*to = '\0';
	*len = (size_t)(to - s);
}

static void expect(struct pty *p, char *text)
{
	long end = now_ms() + LIMIT_MS;
	size_t len;
	char *at;

	unescape(p, text, &len);
	for (;;) {
		at = memmem(p->shown + p->found, p->len - p->found, text, len);
		if (at)
			break;
		if (now_ms() > end)
			fail(p, "expect %s: it was not shown", text);
		reap(p);
		if (p->over && p->len == p->found)
			fail(p, "expect %s: the program ended", text);
		look(p);
	}
	p->found = (size_t)(at - p->shown) + len;
}

static void type(struct pty *p, char *text)
{
	size_t len;

	unescape(p, text, &len);
	if (write(p->master, text, len) != (ssize_t)len)
		fail(p, "send: %s", strerror(errno));
}

static void resize(struct pty *p, const char *size)
{
	struct winsize ws = { 0 };

	if (sscanf(size, "%hu %hu", &ws.ws_row, &ws.ws_col) != 2)
		fail(p, "size ROWS COLS");
	ioctl(p->master, TIOCSWINSZ, &ws);
}

static void await_mode(struct pty *p, int raw)
{
	long end = now_ms() + LIMIT_MS;
	struct termios t;

	while (tcgetattr(p->slave, &t) == 0 &&
	       raw == !!(t.c_lflag & ICANON)) {
		if (now_ms() > end)
			fail(p, "the terminal is %s", raw ? "cooked" : "raw");
		look(p);
	}
}

static void check_restored(struct pty *p)
{
	struct termios t;

	tcgetattr(p->slave, &t);
	if (t.c_iflag != p->before.c_iflag || t.c_oflag != p->before.c_oflag ||
	    t.c_lflag != p->before.c_lflag || t.c_cflag != p->before.c_cflag ||
	    memcmp(t.c_cc, p->before.c_cc, sizeof(t.c_cc)))
		fail(p, "the terminal is not as it was");
}

/* Two of a kind that wait are one. */
static int waits(struct pty *p)
{
	unsigned long own, shared;
	char path[64], line[128];
	int pending = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)p->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		pending |= (sscanf(line, "SigPnd: %lx", &own) == 1 && own) ||
			   (sscanf(line, "ShdPnd: %lx", &shared) == 1 && shared);
	if (f)
		fclose(f);
	return pending;
}

static void send_signal(struct pty *p, int signo)
{
	long end = now_ms() + LIMIT_MS;

	kill(p->pid, signo);
	while (waits(p)) {
		if (now_ms() > end)
			fail(p, "signal %d: it is not heard", signo);
		look(p);
		reap(p);
		if (p->over)
			return;
	}
}

static void await_stop(struct pty *p)
{
	long end = now_ms() + LIMIT_MS;
	siginfo_t info = { 0 };

	while (waitid(P_PID, (id_t)p->pid, &info, WSTOPPED | WNOHANG) == 0 &&
	       info.si_pid == 0) {
		if (now_ms() > end)
			fail(p, "it does not stop");
		look(p);
	}
}

static void await_exit(struct pty *p, int code)
{
	long end = now_ms() + LIMIT_MS;

	for (; !p->over; reap(p)) {
		if (now_ms() > end)
			fail(p, "it does not end");
		look(p);
	}
	if (p->status != code)
		fail(p, "exit code %d, not %d", p->status, code);
}

static void obey(struct pty *p, char *line)
{
	char *arg = line + strcspn(line, " ");

	if (*arg)
		*arg++ = '\0';
	if (!strcmp(line, "expect"))
		expect(p, arg);
	else if (!strcmp(line, "send"))
		type(p, arg);
	else if (!strcmp(line, "size"))
		resize(p, arg);
	else if (!strcmp(line, "raw") || !strcmp(line, "cooked"))
		await_mode(p, *line == 'r');
	else if (!strcmp(line, "restored"))
		check_restored(p);
	else if (!strcmp(line, "signal"))
		send_signal(p, atoi(arg));
	else if (!strcmp(line, "stopped"))
		await_stop(p);
	else if (!strcmp(line, "exit"))
		await_exit(p, atoi(arg));
	else if (strcmp(line, "run"))
		fail(p, "%s is not a command", line);
	else if (system(arg) != 0)
		fail(p, "run %s: it failed", arg);
}

static void start(struct pty *p, char **argv)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };
	char number[16];

	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->master < 0 || grantpt(p->master) || unlockpt(p->master))
		fail(p, "no terminal: %s", strerror(errno));
	p->slave = open(ptsname(p->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ioctl(p->master, TIOCSWINSZ, &ws);
	tcgetattr(p->slave, &p->before);
	p->pid = fork();
	if (p->pid == 0) {
		setsid();
		ioctl(p->slave, TIOCSCTTY, 0);
		for (int i = 0; i < 3; i++)
			dup2(p->slave, i);
		execvp(argv[0], argv);
		_exit(127);
	}
	snprintf(number, sizeof(number), "%d", (int)p->pid);
	setenv("PTY", number, 1);
}

int main(int argc, char **argv)
{
	static struct pty p;
	char line[4096];
	FILE *f;

	if (argc < 3)
		return 2;
	p.script = argv[1];
	f = fopen(argv[1], "re");
	if (!f)
		return 2;
	start(&p, argv + 2);
	while (fgets(line, sizeof(line), f)) {
		p.line++;
		line[strcspn(line, "\n")] = '\0';
		if (*line && *line != '#')
			obey(&p, line);
	}
	fclose(f);
	reap(&p);
	if (!p.over)
		fail(&p, "the script ends, and the program does not");
	return 0;
}
