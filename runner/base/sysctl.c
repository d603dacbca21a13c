/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of the kernel, by their files below /proc/sys. */
#include "runner/base/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/mem.h"

#define ROOT	    "/proc/sys/"
#define PATH_SIZE   160
#define NUMBER_SIZE 32

static int open_setting(int flags, const char *below, va_list ap)
{
	char path[PATH_SIZE] = ROOT;
	size_t room = sizeof(path) - strlen(ROOT);
	int n = vsnprintf(path + strlen(ROOT), room, below, ap), fd;

	if (n < 0 || (size_t)n >= room)
		return -ENOENT;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

long sysctl_number(const char *below, ...)
{
	_cleanup_fd_ int fd = -1;
	char text[NUMBER_SIZE], *end;
	va_list ap;
	ssize_t n;
	long v;

	va_start(ap, below);
	fd = open_setting(O_RDONLY, below, ap);
	va_end(ap);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = 0;
	v = strtol(text, &end, 10);
	return end == text || v < 0 ? -1 : v;
}

int sysctl_write(const char *value, const char *below, ...)
{
	_cleanup_fd_ int fd = -1;
	va_list ap;

	va_start(ap, below);
	fd = open_setting(O_WRONLY, below, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

const char *sysctl_userns_remedy(int code)
{
	if (code == -ENOSPC || sysctl_number("user/max_user_namespaces") == 0)
		return "sudo sysctl user.max_user_namespaces=15000";
	if (sysctl_number("kernel/unprivileged_userns_clone") == 0)
		return "sudo sysctl kernel.unprivileged_userns_clone=1";
	if (sysctl_number("kernel/apparmor_restrict_unprivileged_userns") == 1)
		return "sudo sysctl "
		       "kernel.apparmor_restrict_unprivileged_userns=0";
	return "in a container: --security-opt seccomp=unconfined "
	       "--security-opt apparmor=unconfined";
}
