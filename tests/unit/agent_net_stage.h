/* SPDX-License-Identifier: Apache-2.0 */
/* A test in a network of its own, with nothing but lo, and an /etc of its own:
 * what it does there is not done to the host. */
#ifndef TESTS_UNIT_AGENT_NET_STAGE_H
#define TESTS_UNIT_AGENT_NET_STAGE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static inline void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(fd >= 0 &&
		  write(fd, text, strlen(text)) == (ssize_t)strlen(text),
		  "%s", path);
	close(fd);
}

/* What @command prints. */
static inline const char *says(const char *command)
{
	static char text[4096];
	FILE *f = popen(command, "r");
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	text[n] = '\0';
	pclose(f);
	return text;
}

static inline void enter_network(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[32];

	if (unshare(CLONE_NEWNET | CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)))
		cr_skip("no namespaces here");
	if (uid) {
		put_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		put_file("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %u 1", gid);
		put_file("/proc/self/gid_map", map);
	}
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", "/etc", "tmpfs", 0, NULL), 0);
	cr_assert_eq(system("ip link set lo up"), 0);
}

#endif
