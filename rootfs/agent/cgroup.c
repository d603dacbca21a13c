/* SPDX-License-Identifier: Apache-2.0 */
/* A command's cgroup v2: its limits, its end, what it used. */
#include "rootfs/agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What of a command's own making is removed with its cgroup: no more at a time
 * than this, so that none of it keeps us long. */
#define BELOW_MAX 256
#define DEEP_MAX  16

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

void cgroup_path(char path[CGROUP_PATH_MAX], const char *root, uint32_t number)
{
	path[0] = '\0';
	say_add(path, CGROUP_PATH_MAX, root);
	say_add(path, CGROUP_PATH_MAX, number ? "/exec." : "/command");
	if (number)
		say_add_num(path, CGROUP_PATH_MAX, number);
}

int cgroup_make(const char *path, uint64_t memory_max, uint32_t pids_max)
{
	int dir;

	if (mkdir(path, 0755))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	put(dir, "memory.oom.group", "1");
	put_limit(dir, "memory.max", memory_max);
	put_limit(dir, "pids.max", pids_max);
	return dir;
}

void cgroup_kill(int dir)
{
	if (dir >= 0)
		put(dir, "cgroup.kill", "1");
}

struct dirent64_head {
	uint64_t ino, off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* Put the name of a directory in @dir into @name. 1 if there is one. (No
 * readdir(): it allocates.) */
static int a_child(int dir, char name[NAME_MAX + 1])
{
	_Alignas(8) char buf[2048];
	struct dirent64_head *d;
	long n, at;

	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n; at += d->reclen) {
			d = (struct dirent64_head *)(buf + at);
			if (d->type != DT_DIR || d->name[0] == '.')
				continue;
			name[0] = '\0';
			say_add(name, NAME_MAX + 1, d->name);
			return 1;
		}
	}
	return 0;
}

/* Go down from @path to a cgroup without children, and remove that one.
 * 1 if it was one below, 0 if it was @path, else -errno. */
static int remove_leaf(const char *path)
{
	const int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	char name[NAME_MAX + 1];
	int up, dir = open(path, how);
	int deep, ret;

	if (dir < 0)
		return -errno;
	for (up = -1, deep = 0; deep < DEEP_MAX && a_child(dir, name); deep++) {
		if (up >= 0)
			close(up);
		up = dir;
		dir = openat(up, name, how);
		if (dir < 0)
			break;
	}
	ret = up < 0 ? rmdir(path) : unlinkat(up, name, AT_REMOVEDIR);
	ret = ret ? -errno : up >= 0;
	if (up >= 0)
		close(up);
	if (dir >= 0)
		close(dir);
	return ret;
}

int cgroup_remove(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n, ret = 1;

	if (dir < 0)
		return -errno;
	cgroup_kill(dir);
	close(dir);
	for (n = 0; n < BELOW_MAX && ret == 1; n++)
		ret = remove_leaf(path);
	return ret == 1 ? -EBUSY : ret;
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

uint64_t cgroup_read_fd(int fd, const char *key)
{
	char text[512];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return WIRE_UNKNOWN;
	text[n] = '\0';
	return cgroup_parse(text, key);
}

uint64_t cgroup_read(int dir, const char *name, const char *key)
{
	uint64_t v;
	int fd;

	if (dir < 0)
		return WIRE_UNKNOWN;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	v = cgroup_read_fd(fd, key);
	if (fd >= 0)
		close(fd);
	return v;
}
