/* SPDX-License-Identifier: Apache-2.0 */
/* The user's terminal, raw while a guest has it. */
#include "runner/terminal.h"

#include <errno.h>
#include <unistd.h>

int terminal_raw(struct terminal *t, int fd)
{
	struct termios raw;

	t->fd = -1;
	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &t->before) < 0)
		return -errno;
	raw = t->before;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return -errno;
	t->fd = fd;
	return 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->fd >= 0)
		tcsetattr(t->fd, TCSADRAIN, &t->before);
	t->fd = -1;
}
