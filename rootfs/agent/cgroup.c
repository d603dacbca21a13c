/* SPDX-License-Identifier: Apache-2.0 */
/* The command's cgroup v2: its limits, its end, what it used. */
#include "rootfs/agent/agent.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* A kernel without this controller: the limit is not there, and the
	 * host learns it from the unknown numbers of the EXIT frame. */
	if (write(fd, text, strlen(text)) < 0)
		(void)0;
	close(fd);
}

static void put_limit(int dir, const char *name, uint64_t limit)
{
	char text[24] = "";

	if (!limit)
		return;
	say_add_num(text, sizeof(text), limit);
	put(dir, name, text);
}

int cgroup_make(const char *root, uint64_t memory_max, uint32_t pids_max)
{
	char path[128] = "";
	int dir;

	say_add(path, sizeof(path), root);
	say_add(path, sizeof(path), "/command");
	if (mkdir(path, 0755))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	put_limit(dir, "memory.max", memory_max);
	put_limit(dir, "pids.max", pids_max);
	return dir;
}

void cgroup_kill(int dir)
{
	if (dir >= 0)
		put(dir, "cgroup.kill", "1");
}

uint64_t cgroup_parse(const char *text, const char *key)
{
	size_t klen = key ? strlen(key) : 0;
	uint64_t n = 0;

	while (key && (strncmp(text, key, klen) || text[klen] != ' ')) {
		text = strchr(text, '\n');
		if (!text++)
			return WIRE_UNKNOWN;
	}
	if (key)
		text += klen + 1;
	if (*text < '0' || *text > '9')
		return WIRE_UNKNOWN;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (n > (UINT64_MAX - 9) / 10)
			return WIRE_UNKNOWN;
		n = n * 10 + (uint64_t)(*text - '0');
	}
	return n;
}

uint64_t cgroup_read(int dir, const char *name, const char *key)
{
	char text[512];
	ssize_t n;
	int fd;

	if (dir < 0)
		return WIRE_UNKNOWN;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return WIRE_UNKNOWN;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return WIRE_UNKNOWN;
	text[n] = '\0';
	return cgroup_parse(text, key);
}
