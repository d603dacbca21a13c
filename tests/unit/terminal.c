/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal is raw while a guest has it, and as it was afterwards. */
#include "runner/terminal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	cr_assert_geq(master, 0);
	cr_assert_eq(grantpt(master), 0);
	cr_assert_eq(unlockpt(master), 0);
	return open(ptsname(master), O_RDWR | O_NOCTTY);
}

static struct termios settings(int fd)
{
	struct termios t;

	memset(&t, 0, sizeof(t));
	cr_assert_eq(tcgetattr(fd, &t), 0);
	return t;
}

Test(terminal, raw_and_back)
{
	int fd = open_terminal();
	struct termios before = settings(fd), after;
	struct terminal t;

	cr_assert_eq(terminal_raw(&t, fd), 0);
	after = settings(fd);
	cr_assert_not(after.c_lflag & (ICANON | ECHO | ISIG));
	terminal_restore(&t);
	after = settings(fd);
	cr_assert_eq(after.c_lflag, before.c_lflag);
	cr_assert_eq(after.c_iflag, before.c_iflag);
	cr_assert_eq(after.c_oflag, before.c_oflag);
	terminal_restore(&t); /* harmless */
}

Test(terminal, what_is_none_is_left_alone)
{
	struct terminal t;

	cr_assert_eq(terminal_raw(&t, open("/dev/null", O_RDWR)), 0);
	cr_assert_eq(t.fd, -1);
	terminal_restore(&t);
}
