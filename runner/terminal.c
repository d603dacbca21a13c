/* SPDX-License-Identifier: Apache-2.0 */
/* The user's terminal, raw while a guest has it. */
#include "runner/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A change from the background would stop us (SIGTTOU), or undo a shell's.
 * A terminal that does not control us has no foreground: -1. */
static int is_ours(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

/* TCSANOW: it must not wait for a terminal that takes no output. */
static int set(int fd, const struct termios *s)
{
	if (is_ours(fd) && tcsetattr(fd, TCSANOW, s) < 0)
		return -errno;
	return 0;
}

static int set_raw(const struct terminal *t)
{
	struct termios raw = t->before;

	cfmakeraw(&raw);
	return set(t->fd, &raw);
}

int terminal_raw(struct terminal *t, int fd)
{
	int r;

	t->fd = -1;
	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &t->before) < 0)
		return -errno;
	t->fd = fd;
	r = set_raw(t);
	if (r < 0)
		t->fd = -1;
	return r;
}

void terminal_restore(struct terminal *t)
{
	terminal_pause(t);
	t->fd = -1;
}

void terminal_pause(const struct terminal *t)
{
	if (t->fd >= 0)
		set(t->fd, &t->before);
}

void terminal_resume(const struct terminal *t)
{
	if (t->fd >= 0)
		set_raw(t);
}

int terminal_size(int fd, uint16_t *rows, uint16_t *cols)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) < 0)
		return -ENOTTY;
	*rows = ws.ws_row;
	*cols = ws.ws_col;
	return 0;
}

const char *terminal_type(void)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789+-._";
	const char *type = getenv("TERM");
	size_t n;

	if (!type || !*type || *type == '.')
		return NULL;
	n = strspn(type, letters);
	return type[n] || n >= TERMINAL_TYPE_MAX ? NULL : type;
}
