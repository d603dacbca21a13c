/* SPDX-License-Identifier: Apache-2.0 */
/* Words without stdio, which would be half of the agent's size. */
#include "rootfs/agent/agent.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void say_add(char *buf, size_t cap, const char *s)
{
	size_t have = strlen(buf);
	size_t n = strlen(s);

	if (n > cap - 1 - have)
		n = cap - 1 - have;
	memcpy(buf + have, s, n);
	buf[have + n] = '\0';
}

void say_add_num(char *buf, size_t cap, uint64_t n)
{
	char digits[21];
	char *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	say_add(buf, cap, p);
}

_Noreturn void die(const char *what, int error)
{
	/* printk's own notation for KERN_EMERG: shown even with `quiet`. */
	char line[256] = "<0>mayfly-agent: ";
	int fd;

	say_add(line, sizeof(line) - 1, what);
	if (error) {
		say_add(line, sizeof(line) - 1, ": ");
		say_add(line, sizeof(line) - 1, strerror(error));
	}
	say_add(line, sizeof(line), "\n");
	/* Not fd 2: a panic does not wait for what a terminal still holds. */
	fd = open("/dev/kmsg", O_WRONLY);
	if (write(fd < 0 ? STDERR_FILENO : fd, line, strlen(line)) < 0)
		_exit(2);
	_exit(1);
}
