/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image's passwd and group, of any content, and any name to look up in
 * them. An input is three parts, parted by NUL: name, passwd, group.
 */
#include "rootfs/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuzz/bytes.h"

static char dir[4096];

static const char *path(const char *name)
{
	static char p[4200];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static void remove_dir(void)
{
	unlink(path("passwd"));
	unlink(path("group"));
	rmdir(dir);
}

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/mayfly-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(dir));
	atexit(remove_dir);
}

static void put(const char *name, const char *text, size_t n)
{
	int fd = open(path(name), O_CREAT | O_TRUNC | O_WRONLY, 0600);

	must(fd >= 0 && write(fd, text, n) == (ssize_t)n);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *passwd, *group;
	struct user u;
	int r;

	if (!*dir)
		make_dir();
	must(text);
	memcpy(text, data, size);
	text[size] = '\0';
	passwd = text + strlen(text);
	passwd += passwd < text + size;
	group = passwd + strlen(passwd);
	group += group < text + size;
	put("passwd", passwd, strlen(passwd));
	put("group", group, (size_t)(text + size - group));
	memset(&u, 0xff, sizeof(u));
	r = user_find(dir, text, &u);
	must(r == 0 || r == ENOENT || r == EINVAL);
	must(memchr(u.home, '\0', sizeof(u.home)));
	must(r || (u.uid != UINT32_MAX && u.gid != UINT32_MAX));
	free(text);
	return 0;
}
